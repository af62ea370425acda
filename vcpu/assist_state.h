/*
 * A vCPU's x87 and vector state as KVM gives it: an XSAVE area in the standard format (Intel SDM vol. 1, 13.4). Private to the files
 * assist*.c.
 */
#ifndef KB_ASSIST_STATE_H
#define KB_ASSIST_STATE_H

#include <linux/kvm.h>
#include <stdint.h>

#include "vcpu/error.h"

struct kb_vcpu;

#define KB_FPU_MAX 4096u /* KVM_GET_XSAVE's; AMX tiles would need more */

struct kb_fpu {
	_Alignas(64) uint8_t area[KB_FPU_MAX];
};

int kb_fpu_get(struct kb_fpu *f, struct kb_vcpu *v, struct kvmbox_error *err);
/* -EINVAL: KVM refuses the contents. */
int kb_fpu_put(const struct kb_fpu *f, struct kb_vcpu *v, struct kvmbox_error *err);
/* Components not in their initial state; an MXCSR that is not makes SSE one of them. */
uint64_t kb_fpu_in_use(const struct kb_fpu *f);
/* Components were loaded or initialised (and are, in the area). */
void kb_fpu_set_in_use(struct kb_fpu *f, uint64_t loaded, uint64_t initialised);
int kb_fpu_xcr0(struct kb_vcpu *v, uint64_t *xcr0, struct kvmbox_error *err);
/* IA32_XSS; 0 where KVM has none. */
int kb_fpu_xss(struct kb_vcpu *v, uint64_t *xss, struct kvmbox_error *err);

#endif
