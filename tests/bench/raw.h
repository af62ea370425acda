/*
 * The reference of the access benchmark: the same guest under a bare loop around KVM_RUN, nothing else.
 */
#ifndef BENCH_RAW_H
#define BENCH_RAW_H

#include <stdint.h>

#include <kvmbox/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct raw;

/* Loads the guest. NULL on failure, with a message. */
struct raw *raw_create(const char *guest, struct kvmbox_error *err);
void raw_destroy(struct raw *r);
/* Runs to the next marker; the TSC at each access of the block before it goes to stamps (BENCH_BLOCK). Returns the marker, or -1. */
int raw_block(struct raw *r, uint64_t *stamps);

#ifdef __cplusplus
}
#endif

#endif
