/*
 * The reference of the boot benchmark: the same kernel under a bare loop around KVM_RUN, with KVM's interrupt controllers and PIT and the
 * least of devices: a 16550 that is always ready, CMOS, PM timer, a host bridge. Set-up, loader, tables and what is completed in KVM's
 * place are the library's, the loop and the devices are not. Its time is the host's.
 */
#ifndef BENCH_BOOT_RAW_H
#define BENCH_BOOT_RAW_H

#include <stdbool.h>
#include <stdint.h>

#include <kvmbox/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kvmbox_config;

/* Called for every line the guest has sent, with the exits so far; true: enough. */
typedef bool boot_raw_line(const char *line, uint64_t exits);

/* Boots cfg's guest with its RAM, initrd and command line until line() has had enough. Negative errno with a message. */
int boot_raw(const struct kvmbox_config *cfg, boot_raw_line *line, struct kvmbox_error *err);

#ifdef __cplusplus
}
#endif

#endif
