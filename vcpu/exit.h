/*
 * What each KVM_EXIT_* means. Private to vcpu/.
 */
#ifndef KB_EXIT_H
#define KB_EXIT_H

#include "vcpu/vcpu.h"

/* Handles run->exit_reason. 0: go on; negative: the run ends, v->end says how and err has the report. */
int kb_exit_handle(struct kb_vcpu *v, struct kvmbox_error *err);

/* "KVM_EXIT_MMIO" and so on; never NULL. */
const char *kb_exit_name(uint32_t reason);

#endif
