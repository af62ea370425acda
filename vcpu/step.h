/*
 * Executing the guest one instruction at a time, and counting.
 *
 * What counts as one instruction (the C ABI's definition as well, see kvmbox_stop_after()):
 * - an instruction that completes, in whatever ring, whether the CPU or KVM's emulator executes it;
 * - each iteration of a string instruction with a REP prefix; one with a count of 0 counts as one;
 * - one that accesses devices counts when its last access is done, however many it makes;
 * - HLT counts when it halts; the time halted counts nothing;
 * - one that traps by design (INT n, INT3, SYSCALL) counts;
 * - one that faults does not count. Taking an interrupt, an NMI or an exception is no instruction either: it happens
 *   between two, without time, and the handler's first instruction is the next one.
 * - MOV SS, POP SS and STI count like others, but no interrupt is taken right after them.
 *
 * How: KVM_GUESTDBG_SINGLESTEP where KVM does it right (the probe's "single-step in ring 0/ring 3"). KVM that
 * emulates ring 0 is exact there but for a few instructions, which are recognised and stopped by a breakpoint behind
 * them. Where ring 3 cannot be stepped, RFLAGS.TF makes the CPU do it: a breakpoint on the guest's own #DB handler stops there
 * and the exception is undone; that needs 64-bit code with an IDT and a TSS, and leaves DR6.BS set and a dead exception
 * frame below the stack of ring 0. SYSRET and far returns from ring 0 to ring 3 are there one step with the instruction they lead to.
 *
 * A guest may use RFLAGS.TF in ring 3 itself. In ring 0 its own TF has no effect while it is stepped, and its own
 * breakpoints have none where ring 3 is stepped as above.
 */
#ifndef KB_STEP_H
#define KB_STEP_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "vcpu/error.h"
#include "vcpu/insn.h"

struct kb_vcpu;

/* Why the guest is stepped; it runs freely while there is no reason. */
enum kb_step_reason {
	KB_STEP_CLOCK = 1, /* the clock counts instructions */
	KB_STEP_COUNT = 2, /* up to a number of instructions */
	KB_STEP_IRQ = 4,   /* up to where an interrupt can be taken */
};

#define KB_STEP_BREAKPOINTS 4u

struct kb_step {
	unsigned why;                     /* kb_step_reason bits */
	bool can[2];                      /* KVM steps ring 0 and ring 3 */
	bool emulated;                    /* KVM emulates ring 0 */
	bool armed;                       /* KVM has been told */
	bool guest_tf;                    /* the guest's own TF, in ring 3 */
	int vector;                       /* KVM is to deliver this interrupt next; -1: nothing */
	bool fault;                       /* KVM is to deliver an exception next */
	bool nmi;                         /* KVM is to deliver an NMI as soon as it can */
	uint64_t left;                    /* KB_STEP_COUNT: instructions */
	/* the instruction under way: */
	bool charged;                     /* its time has been, it waits for its access */
	uint64_t stop;                    /* breakpoint behind it, 0: none */
	bool tail;                        /* of a string instruction, only RIP is left to be moved */
	uint64_t rest;                    /* iterations taken out of RCX meanwhile */
	struct kb_insn insn;
	struct kvm_regs regs;             /* before it */
	struct kvm_sregs sregs;
	struct kvm_guest_debug debug;     /* as KVM has it */
};

/* From the probe's findings. */
void kb_step_init(struct kb_step *s, const bool can[2], bool ring0_native);
/* The vCPU has got another state, or runs freely: forgets what was under way. */
void kb_step_forget(struct kb_vcpu *v);
/* Before the first step, so that registers and readiness for interrupts are known. Nothing may be pending. */
int kb_step_begin(struct kb_vcpu *v, struct kvmbox_error *err);
/* Can this guest's ring 0 be stepped at all? 0, or -EOPNOTSUPP with the reason. */
int kb_step_supported(const struct kb_vcpu *v, struct kvmbox_error *err);

/*
 * A signal came while the guest ran freely: may KVM have a #BP to deliver? It does not tell, and drops it if registers are set: on
 * to its handler, then, before the guest is stopped or stepped.
 */
bool kb_step_owes_trap(struct kb_vcpu *v);

/*
 * One instruction, or the delivery of v->step.vector, or neither (a signal). 1: an exit to handle, in v->run; 0: go on;
 * negative: the run ends. budget_ps: guest time up to the deadline, which string instructions keep.
 */
int kb_step_enter(struct kb_vcpu *v, uint64_t budget_ps, struct kvmbox_error *err);
/*
 * Stepped for an interrupt's sake only, native code in ring 3 may run freely: it cannot let interrupts in. Up to where it
 * enters ring 0 (by #BP, #PF, #GP, #UD; other ways go unseen), which ends the next stay with KVM_EXIT_DEBUG.
 */
bool kb_step_may_glide(const struct kb_vcpu *v);
int kb_step_glide(struct kb_vcpu *v, struct kvmbox_error *err);
/* The access of the instruction under way is done, KVM may complete it. Result as kb_exit_handle(). */
int kb_step_complete(struct kb_vcpu *v, struct kvmbox_error *err);
/* The box itself has completed the instruction under way (assist.h); it is to deliver an exception. Nothing if the guest is not stepped. */
void kb_step_completed(struct kb_vcpu *v);
void kb_step_injected(struct kb_vcpu *v, int vector);
/* KVM gets changed registers now; KVM_SET_GUEST_DEBUG looks at them. */
int kb_step_flush(struct kb_vcpu *v, struct kvmbox_error *err);
/* The guest is to run freely again, or not at all. */
int kb_step_leave(struct kb_vcpu *v, struct kvmbox_error *err);

#endif
