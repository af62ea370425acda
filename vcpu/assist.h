/*
 * Host assists: what the guest may do, but KVM on this host cannot, the box completes.
 *
 * KVM that emulates guest ring 0 (kvm_pvm) gives up on many instructions there (KVM_EXIT_INTERNAL_ERROR, suberror 1); any KVM does so on
 * most vector instructions that access devices. And on kvm_pvm, SYSCALL in ring 3 arrives at LSTAR, but in ring 3, where fetching it
 * is a page fault: a breakpoint on the guest's #PF handler stops there, and what SYSCALL left undone is done.
 *
 * An instruction counts as one when it is completed, as if KVM had executed it (step.h), and its time is what the clock takes
 * for one: the exit exists only because of the host. With clock=tsc that is the stay less the cost of an exit, with clock=fixed nothing
 * (but each access to a device costs an exit), with clock=step one instruction. A page fault seen by the breakpoint takes no time, either.
 *
 * Not completed: ENTER with levels, SYSENTER, DAA and its kin, gathers and scatters, x87 and vector code in 16-bit modes, supervisor
 * states of XSAVES. Out of reach, because KVM does something else without an exit: LZCNT and TZCNT of 0 (wrong results), MOVBE and RDPID
 * (#UD) in ring 0; INT n and SYSENTER (#UD) in ring 3.
 *
 * While the breakpoint is armed the guest's own breakpoints (DR0-DR3) do not work, and neither do they while it is stepped.
 */
#ifndef KB_ASSIST_H
#define KB_ASSIST_H

#include <stdbool.h>
#include <stdint.h>

#include "vcpu/error.h"
#include "vcpu/log.h"

struct kb_vcpu;

/* What was completed, for the statistics. */
enum kb_assist_kind {
	KB_ASSIST_SYSCALL,   /* SYSCALL from ring 3 brought into ring 0 */
	KB_ASSIST_FAULT,     /* a page fault that stopped at the breakpoint for SYSCALL */
	KB_ASSIST_INT,       /* INT3, INT n, INT1, IRET */
	KB_ASSIST_XSAVE,     /* XSAVE and XRSTOR of all kinds */
	KB_ASSIST_SYSTEM,    /* other instructions of kernels: CLAC, FWAIT, INVPCID, LAR... */
	KB_ASSIST_INTEGER,   /* POPCNT, CMPXCHG16B and such */
	KB_ASSIST_NATIVE,    /* executed by the CPU, in ring 3 of a VM of its own: vector, x87, BMI... */
	KB_ASSIST_UNDEFINED, /* no instruction: #UD */
	KB_ASSIST_KINDS
};

/* What this host needs, from the probe. */
struct kb_assist_needs {
	bool insns;   /* instructions of ring 0 */
	bool syscall; /* SYSCALL from ring 3 */
	bool hypercall; /* VMCALL, which loops in KVM for ever */
};

struct kb_assist_native;

struct kb_assist {
	bool on;                       /* complete what fails */
	struct kb_assist_needs needs;
	uint64_t lstar, fmask;         /* the guest's, as far as needed */
	uint64_t watched;              /* breakpoint KVM has, on the #PF handler; 0: none */
	bool over;                     /* single-stepping past it */
	struct kb_assist_native *native; /* made at the first need */
};

/*
 * Before the first run, before kb_msrs_install(): may add to v->msrs. Whatever the needs, what KVM gives up on is tried. Without this
 * call nothing is assisted.
 */
int kb_assist_init(struct kb_vcpu *v, const struct kb_assist_needs *needs, struct kvmbox_error *err);
void kb_assist_destroy(struct kb_vcpu *v);

/* KVM gave up on an instruction. 0: completed, or an exception waits to be delivered; 1: cannot; negative: the run ends, err says why. */
int kb_assist_insn(struct kb_vcpu *v, struct kvmbox_error *err);
/* Before an entry that does not step: the breakpoint is where the guest's #PF handler is. */
int kb_assist_arm(struct kb_vcpu *v, struct kvmbox_error *err);
/* KVM_SET_GUEST_DEBUG was used by somebody else. */
static inline void kb_assist_disarmed(struct kb_assist *a)
{
	a->watched = 0;
	a->over = false;
}
/* The guest is at the start of its #PF handler, maybe: brings SYSCALL to its end. True: it was that. */
bool kb_assist_syscall(struct kb_vcpu *v);
/* A signal ended the stay. Should the guest hang in a hypercall, it gets the answer of a KVM that knows none. */
void kb_assist_kicked(struct kb_vcpu *v);
/* KVM_EXIT_DEBUG while nobody steps. False: not ours. */
bool kb_assist_debug(struct kb_vcpu *v);
/* Name of the instruction at RIP and its length, for reports; "?" if there is none. */
void kb_assist_name(struct kb_vcpu *v, char *buf, unsigned size);

/* What was completed, to the log; nothing if that is nothing. */
void kb_assist_log(const struct kb_log *log, const uint64_t assists[KB_ASSIST_KINDS]);

/* "system calls" and so on, for reports. */
const char *kb_assist_kind_name(enum kb_assist_kind kind);

#endif
