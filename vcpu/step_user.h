/*
 * Stepping ring 3 by RFLAGS.TF, and the ways into and out of it, where KVM does not: see step.h. Private to vcpu/.
 */
#ifndef KB_STEP_USER_H
#define KB_STEP_USER_H

#include "vcpu/vcpu.h"
#include "vcpu/x86.h"

static inline bool kb_user(const struct kvm_sregs *s)
{
	return s->ss.dpl == 3;
}

static inline bool kb_code64(const struct kvm_sregs *s)
{
	return s->cs.l && (s->efer & X86_EFER_LMA);
}

/* The bits of RCX that count a string instruction's iterations (an address-size prefix is not looked at). */
static inline uint64_t kb_step_count_mask(const struct kb_step *s)
{
	return kb_code64(&s->sregs) ? UINT64_MAX : s->sregs.cs.db ? 0xffffffffu : 0xffffu;
}

/* Where IRET in ring 0 leads, if that is ring 0. */
bool kb_step_iret_target(struct kb_vcpu *v, uint64_t *rip);
/* Does IRETQ or SYSRETQ to 64-bit ring 3 in KVM's place, which would go on there. False: it is none, or not a plain one. */
bool kb_step_to_user(struct kb_vcpu *v);
/* The guest's #DB handler, if the CPU would get there from ring 3. */
bool kb_step_trap_handler(struct kb_vcpu *v, uint64_t *handler);
/* Ring 3 was left by an exception. Returns how many instructions completed. hit: at a breakpoint. */
uint64_t kb_step_after_trap(struct kb_vcpu *v, bool hit);
/* The guest is at the first instruction of a handler. Did the instruction before complete? */
uint64_t kb_step_interrupted(struct kb_vcpu *v);

#endif
