/*
 * The one place that talks to the kernel: every system call on /dev/kvm and
 * its descriptors goes through this table, so that a test can make each of
 * them fail. Follows the kernel's Documentation/virt/kvm/api.rst.
 */
#ifndef KB_KVM_H
#define KB_KVM_H

#include <linux/kvm.h>
#include <stddef.h>
#include <sys/types.h>

#include "vcpu/error.h"

/* Same results as the system calls: -1 and errno on failure. */
struct kb_kvm_api {
	int (*open)(const char *path, int flags);
	int (*close)(int fd);
	int (*ioctl)(int fd, unsigned long request, void *arg);
	void *(*mmap)(void *addr, size_t len, int prot, int flags, int fd, off_t off);
	int (*munmap)(void *addr, size_t len);
};

extern const struct kb_kvm_api kb_kvm_linux; /* the real ones */

/*
 * Opens /dev/kvm and checks its API version. Returns the descriptor, or a negative errno with a
 * message that says why KVM is not usable and what to do (missing device, permission, wrong version).
 */
int kb_kvm_open(const struct kb_kvm_api *api, struct kvmbox_error *err);

/* api->ioctl with EINTR retried; returns >= 0 or -errno. */
int kb_kvm_ioctl(const struct kb_kvm_api *api, int fd, unsigned long request, void *arg);

/* KVM_CHECK_EXTENSION: its value, 0 when absent. */
int kb_kvm_check(const struct kb_kvm_api *api, int fd, int cap);

/* "KVM_CREATE_VM" and so on, for messages; never NULL. */
const char *kb_kvm_request_name(unsigned long request);

#endif
