/*
 * Model-specific registers the box answers itself, instead of KVM or because KVM does not know them
 * (KVM_CAP_X86_USER_SPACE_MSR, KVM_X86_SET_MSR_FILTER in the kernel's Documentation/virt/kvm/api.rst). Whoever models some
 * adds a range to the vCPU's table before it first runs. What nobody knows is a general protection fault, as on a CPU.
 */
#ifndef KB_MSR_H
#define KB_MSR_H

#include <stdbool.h>
#include <stdint.h>

#include "vcpu/kvm.h"

struct kb_vcpu;

#define KB_MSR_RANGES 16 /* what KVM's filter takes */
#define KB_MSR_RANGE_MAX 256

struct kb_msr_range {
	uint32_t first, count;    /* count 1 to KB_MSR_RANGE_MAX */
	bool take_reads, take_writes; /* from KVM, which would answer these itself */
	/* On the vCPU's thread, guest time is clock.now_ps. False, or no handler: #GP. */
	bool (*read)(void *opaque, uint32_t index, uint64_t *value);
	bool (*write)(void *opaque, uint32_t index, uint64_t value);
	void *opaque;
};

struct kb_msrs {
	struct kb_msr_range range[KB_MSR_RANGES];
	unsigned count;
	unsigned long unknown; /* accesses that ended in #GP, for the log's sake */
};

/* -EINVAL: no such range, or it overlaps one; -ENOSPC. */
int kb_msrs_add(struct kb_msrs *m, const struct kb_msr_range *range, struct kvmbox_error *err);
/* Makes KVM hand over the table's accesses on all vCPUs of the VM. Negative errno: this KVM cannot. */
int kb_msrs_install(const struct kb_msrs *m, const struct kb_kvm_api *api, int vm_fd, struct kvmbox_error *err);

/* For the exit: answers run->msr; KVM completes the instruction at the next entry. */
void kb_msr_exit(struct kb_vcpu *v);

#endif
