/*
 * Entering the guest: what the run loop and stepping share. Private to vcpu/.
 */
#ifndef KB_RUN_H
#define KB_RUN_H

#include "vcpu/vcpu.h"

/* One KVM_RUN of at most ticks. Returns 0 for an exit, or its errno, *stay is then not yet on the clock; negative: the run ends. */
int kb_run_stay(struct kb_vcpu *v, uint64_t ticks, struct kb_stay *stay, struct kvmbox_error *err);
/* KVM_RUN said code, and not EINTR. 0: try again. */
int kb_run_failed(struct kb_vcpu *v, int code, struct kvmbox_error *err);

#endif
