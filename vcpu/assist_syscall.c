/*
 * SYSCALL from ring 3 (AMD64 APM vol. 3, SYSCALL) where the CPU jumps to LSTAR but stays in ring 3: see assist.h. The fetch there faults,
 * and the guest's #PF handler is stopped before its first instruction.
 */
#include <string.h>

#include "vcpu/assist.h"
#include "vcpu/assist_insn.h"
#include "vcpu/linear.h"
#include "vcpu/step_user.h"
#include "vcpu/x86.h"

#define BREAKPOINT (KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP)
#define STEP (KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP)
#define DR7_L0 1u

#define FREE_FLAGS 0x244dd5u /* RFLAGS that ring 3 may change: status, TF, DF, NT, AC, ID */

#define PF_USER 4u
#define PF_FETCH 16u

/* A page fault's frame in 64-bit mode (SDM vol. 3, 6.14). */
struct frame {
	uint64_t error, rip, cs, rflags, rsp, ss;
};

static struct kvm_regs *regs(struct kb_vcpu *v)
{
	return &v->run->s.regs.regs;
}

static struct kvm_sregs *sregs(struct kb_vcpu *v)
{
	return &v->run->s.regs.sregs;
}

/* The guest's #PF handler, if SYSCALL can lead there. */
static uint64_t handler(struct kb_vcpu *v)
{
	const uint64_t wanted = X86_EFER_SCE | X86_EFER_LMA;
	uint64_t at;

	if (!v->assist.lstar || (sregs(v)->efer & wanted) != wanted || !kb_linear_gate(v, X86_VECTOR_PF, &at))
		return 0;
	return at;
}

int kb_assist_arm(struct kb_vcpu *v, struct kvmbox_error *err)
{
	struct kvm_guest_debug d = { .control = BREAKPOINT, .arch.debugreg = { [7] = DR7_L0 } };
	struct kb_assist *a = &v->assist;
	uint64_t at;
	bool over;
	int rc;

	if (!a->needs.syscall || v->step.armed || !a->lstar)
		return 0;
	kb_assist_syscall(v); /* a signal came before the breakpoint was told */
	at = handler(v);
	/* A breakpoint where the guest is would stop it again. */
	over = at && !kb_user(sregs(v)) && regs(v)->rip == at;
	if (at == a->watched && over == a->over)
		return 0;
	d.arch.debugreg[0] = at;
	if (over)
		d.control = STEP;
	else if (!at)
		d.control = 0;
	rc = kb_step_flush(v, err);
	if (!rc)
		rc = kb_assist_call(v, KVM_SET_GUEST_DEBUG, &d, err);
	a->watched = rc ? 0 : at;
	a->over = over;
	return rc;
}

/* Did SYSCALL lead to LSTAR, or something else? A jump there is a page fault on any host. */
static bool by_syscall(struct kb_vcpu *v, const struct frame *f)
{
	uint8_t insn[2];

	return f->rip == v->assist.lstar && (f->cs & 3) == 3 && (f->error & (PF_USER | PF_FETCH)) == (PF_USER | PF_FETCH) &&
		sregs(v)->cr2 == f->rip && kb_linear_read(v, regs(v)->rcx - 2, insn, 2) == 2 && insn[0] == 0x0f && insn[1] == 0x05;
}

bool kb_assist_syscall(struct kb_vcpu *v)
{
	struct kvm_regs *r = regs(v);
	struct frame f;
	uint64_t at = v->assist.needs.syscall ? handler(v) : 0;

	if (!at || r->rip != at || kb_user(sregs(v)) || kb_linear_read(v, r->rsp, &f, sizeof(f)) != sizeof(f) || !by_syscall(v, &f))
		return false;
	r->rip = f.rip;
	r->rsp = f.rsp;
	/* R11 could be the program's invention: it gets what it may set itself. Ring 3 has interrupts on. */
	r->r11 = (r->r11 & FREE_FLAGS) | X86_EFLAGS_IF | X86_EFLAGS_FIXED;
	r->rflags = (r->r11 & ~v->assist.fmask) | X86_EFLAGS_FIXED;
	v->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
	v->run->if_flag = v->run->ready_for_interrupt_injection = !!(r->rflags & X86_EFLAGS_IF);
	v->stats.assists[KB_ASSIST_SYSCALL]++;
	return true;
}

/* Bytes of an instruction that does nothing here; 0: it does. */
static unsigned idle_insn(struct kb_vcpu *v)
{
	static const struct {
		uint8_t bytes[4], length;
	} idle[] = {
		{ { 0xf3, 0x0f, 0x1e, 0xfa }, 4 }, /* ENDBR64 */
		{ { 0x0f, 0x1f, 0x00 }, 3 }, { { 0x66, 0x90 }, 2 }, { { 0x90 }, 1 }, /* NOP */
	};
	uint8_t bytes[4] = { 0 };
	size_t n = kb_linear_read(v, regs(v)->rip, bytes, sizeof(bytes)), i;

	for (i = 0; i < sizeof(idle) / sizeof(idle[0]); i++)
		if (idle[i].length <= n && !memcmp(bytes, idle[i].bytes, idle[i].length))
			return idle[i].length;
	return 0;
}

bool kb_assist_debug(struct kb_vcpu *v)
{
	unsigned n;

	if (!v->assist.watched)
		return false;
	if (kb_assist_syscall(v) || v->assist.over)
		return true;
	if (regs(v)->rip != v->assist.watched) /* it was moved meanwhile */
		return true;
	v->stats.assists[KB_ASSIST_FAULT]++;
	n = idle_insn(v);
	if (n) {
		regs(v)->rip += n;
		v->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
	}
	return true;
}
