/* Stepping ring 3 where KVM does not: see step_user.h. */
#include "vcpu/step_user.h"

#include <string.h>

#include "vcpu/linear.h"

#define MSR_STAR 0xc0000081u
#define USER_FLAGS 0x3c7fd7u /* what SYSRET takes from R11 (SDM vol. 2) */

/* A frame of the 64-bit exception delivery (SDM vol. 3, 6.14), without the error code. */
struct frame {
	uint64_t rip, cs, rflags, rsp, ss;
};

static struct kvm_regs *regs(struct kb_vcpu *v)
{
	return &v->run->s.regs.regs;
}

static struct kvm_sregs *sregs(struct kb_vcpu *v)
{
	return &v->run->s.regs.sregs;
}

static bool read_frame(struct kb_vcpu *v, uint64_t at, struct frame *f)
{
	return kb_linear_read(v, at, f, sizeof(*f)) == sizeof(*f);
}

/*
 * Interrupts in interrupt_bitmap are queued by setting SREGS. KVM adds the one that waits for delivery to it at an exit, a
 * signal's, but takes none away from kvm_run: the guest would get it again with each SREGS set later on.
 */
static void dirty(struct kb_vcpu *v)
{
	memset(sregs(v)->interrupt_bitmap, 0, sizeof(sregs(v)->interrupt_bitmap));
	v->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
	/* As KVM would have it, had it gone there itself: no shadow ends in ring 3. */
	v->run->if_flag = v->run->ready_for_interrupt_injection = !!(regs(v)->rflags & X86_EFLAGS_IF);
}

/* ---- into ring 3 ----------------------------------------------------------------- */

bool kb_step_iret_target(struct kb_vcpu *v, uint64_t *rip)
{
	struct frame f;
	uint32_t f32[2];

	if (v->step.insn.wide) {
		if (!read_frame(v, regs(v)->rsp, &f) || f.cs & 3)
			return false;
		*rip = f.rip;
		return true;
	}
	if (kb_linear_read(v, (kb_code64(sregs(v)) ? 0 : sregs(v)->ss.base) + regs(v)->rsp, f32, sizeof(f32)) != sizeof(f32) ||
	    f32[1] & 3 || !sregs(v)->cs.db)
		return false;
	*rip = f32[0];
	return true;
}

static bool canonical(uint64_t address)
{
	return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

static bool plain_user_segments(const struct kvm_segment *cs, const struct kvm_segment *ss)
{
	return cs->s && cs->dpl == 3 && (cs->type & 8) && cs->l && !cs->db && ss->s && ss->dpl == 3 && (ss->type & 10) == 2;
}

/* Segments of ring 0 are not taken along (SDM vol. 2, IRET). */
static void drop(struct kvm_segment *s)
{
	if (s->selector & ~3u && s->dpl < 3) {
		s->selector = 0;
		s->unusable = 1;
		s->present = 0;
	}
}

static void enter_user(struct kb_vcpu *v, const struct frame *f, struct kvm_segment cs, struct kvm_segment ss)
{
	struct kvm_sregs *s = sregs(v);

	cs.type |= 1;
	ss.type |= 1;
	s->cs = cs;
	s->ss = ss;
	drop(&s->ds);
	drop(&s->es);
	drop(&s->fs);
	drop(&s->gs);
	regs(v)->rip = f->rip;
	regs(v)->rsp = f->rsp;
	regs(v)->rflags = (f->rflags & USER_FLAGS & ~(uint64_t)X86_EFLAGS_TF) | X86_EFLAGS_FIXED;
	v->step.guest_tf = f->rflags & X86_EFLAGS_TF;
	dirty(v);
}

/* What IRET does besides. If it then faults it has done so, too. */
static bool unmask_nmis(struct kb_vcpu *v)
{
	struct kvm_vcpu_events events;

	if (kb_kvm_ioctl(v->vm->api, v->fd, KVM_GET_VCPU_EVENTS, &events) < 0)
		return false;
	if (!events.nmi.masked)
		return true;
	events.nmi.masked = 0;
	return kb_kvm_ioctl(v->vm->api, v->fd, KVM_SET_VCPU_EVENTS, &events) >= 0;
}

static bool iret(struct kb_vcpu *v)
{
	struct kvm_segment cs, ss;
	struct frame f;

	if (!v->step.insn.wide || !read_frame(v, regs(v)->rsp, &f) || (f.cs & 3) != 3 || (f.ss & 3) != 3 ||
	    regs(v)->rflags & X86_EFLAGS_NT || f.rflags & X86_EFLAGS_VM || !canonical(f.rip))
		return false;
	if (!kb_linear_segment(v, (uint16_t)f.cs, &cs) || !kb_linear_segment(v, (uint16_t)f.ss, &ss) ||
	    !plain_user_segments(&cs, &ss))
		return false;
	enter_user(v, &f, cs, ss);
	return true;
}

static bool sysret(struct kb_vcpu *v)
{
	struct { /* struct kvm_msrs */
		uint32_t nmsrs, pad;
		struct kvm_msr_entry entry;
	} m = { .nmsrs = 1, .entry = { .index = MSR_STAR } };
	struct frame f = { .rip = regs(v)->rcx, .rsp = regs(v)->rsp, .rflags = regs(v)->r11 };
	struct kvm_segment cs = { .limit = 0xffffffff, .type = 11, .present = 1, .dpl = 3, .s = 1, .l = 1, .g = 1 };
	struct kvm_segment ss = { .limit = 0xffffffff, .type = 3, .present = 1, .dpl = 3, .s = 1, .db = 1, .g = 1 };
	uint16_t base;

	if (!v->step.insn.wide || !(sregs(v)->efer & X86_EFER_SCE) || !canonical(f.rip) ||
	    kb_kvm_ioctl(v->vm->api, v->fd, KVM_GET_MSRS, &m) != 1)
		return false;
	base = (uint16_t)(m.entry.data >> 48);
	cs.selector = (uint16_t)((base + 16) | 3);
	ss.selector = (uint16_t)((base + 8) | 3);
	enter_user(v, &f, cs, ss);
	return true;
}

bool kb_step_to_user(struct kb_vcpu *v)
{
	if (kb_user(sregs(v)) || !kb_code64(sregs(v)))
		return false;
	if (v->step.insn.kind == KB_INSN_IRET)
		return (!v->stats.nmis || unmask_nmis(v)) && iret(v);
	return v->step.insn.kind == KB_INSN_SYSRET && sysret(v);
}

bool kb_step_trap_handler(struct kb_vcpu *v, uint64_t *handler)
{
	uint64_t top;
	uint8_t ist, byte;
	struct frame f;

	if (!kb_linear_gate(v, X86_VECTOR_DB, handler) || kb_linear_read(v, *handler, &byte, 1) != 1 ||
	    kb_linear_read(v, sregs(v)->idt.base + X86_VECTOR_DB * 16 + 4, &ist, 1) != 1)
		return false;
	ist &= 7; /* 0: RSP0 (SDM vol. 3, 7.7) */
	return kb_linear_read(v, sregs(v)->tr.base + (ist ? 0x1c + ist * 8u : 4), &top, 8) == 8 &&
		read_frame(v, (top & ~15ull) - sizeof(f), &f);
}

/* ---- out of ring 3 --------------------------------------------------------------- */

/* Frame at the top of a stack, as delivered from ring 3: clear it of our TF. */
static void clean_frame(struct kb_vcpu *v, uint64_t top)
{
	struct frame f;
	uint64_t at = (top & ~15ull) - sizeof(f);

	if (!read_frame(v, at, &f) || (f.cs & 3) != 3 || f.rsp != v->step.regs.rsp || !(f.rflags & X86_EFLAGS_TF))
		return;
	f.rflags &= ~(uint64_t)X86_EFLAGS_TF;
	kb_linear_write(v, at, &f, sizeof(f));
}

/* Which stack that is depends on the gate: RSP0 or one of the TSS's others (SDM vol. 3, 7.7). */
static void clean_frames(struct kb_vcpu *v)
{
	enum { RSP0 = 0, IST1 = 4, STACKS = 11 };
	uint64_t top[STACKS];
	unsigned i;

	if (v->step.guest_tf || kb_linear_read(v, sregs(v)->tr.base + 4, top, sizeof(top)) != sizeof(top))
		return;
	clean_frame(v, top[RSP0]);
	for (i = IST1; i < STACKS; i++)
		clean_frame(v, top[i]);
}

static bool same_registers(const struct kvm_regs *a, const struct kvm_regs *b)
{
	return a->rcx == b->rcx && a->rax == b->rax && a->rdi == b->rdi && a->rsi == b->rsi;
}

/* In the guest's #DB handler: because the instruction completed, or do others lead there, too? */
static bool is_trap(struct kb_vcpu *v, const struct frame *f)
{
	const struct kb_step *s = &v->step;

	if (regs(v)->rsp % 16 == 0) /* an error code lies there */
		return false;
	if (s->insn.kind == KB_INSN_INT)
		return false;
	return f->rip != s->regs.rip || s->insn.kind == KB_INSN_BRANCH ||
		(s->insn.kind == KB_INSN_STRING && !same_registers(&s->regs, regs(v)));
}

/* Back to ring 3, as if there had been no #DB. */
static void undo(struct kb_vcpu *v, const struct frame *f)
{
	const struct kb_step *s = &v->step;
	struct kvm_segment cs = s->sregs.cs, ss = s->sregs.ss;

	if ((uint16_t)f->cs != cs.selector)
		kb_linear_segment(v, (uint16_t)f->cs, &cs);
	if ((uint16_t)f->ss != ss.selector)
		kb_linear_segment(v, (uint16_t)f->ss, &ss);
	cs.dpl = ss.dpl = 3; /* whatever became of the tables */
	sregs(v)->cs = cs;
	sregs(v)->ss = ss;
	regs(v)->rip = f->rip;
	regs(v)->rsp = f->rsp;
	regs(v)->rflags = f->rflags & ~(uint64_t)X86_EFLAGS_TF;
	dirty(v);
}

/* PUSHF shows the guest a TF that is ours. */
static void clean_pushed(struct kb_vcpu *v)
{
	uint64_t at = regs(v)->rsp + 1; /* TF is bit 0 of the second byte */
	uint8_t flags;

	if (kb_linear_read(v, at, &flags, 1) != 1 || !(flags & 1))
		return;
	flags &= 0xfe;
	kb_linear_write(v, at, &flags, 1);
}

/* The trap behind an instruction of ring 3 is out of the way. Returns how many completed. */
static uint64_t trapped(struct kb_vcpu *v)
{
	if (v->step.insn.kind == KB_INSN_PUSHF)
		clean_pushed(v);
	return 1 + (v->step.insn.kind == KB_INSN_MOV_SS);
}

uint64_t kb_step_interrupted(struct kb_vcpu *v)
{
	struct kb_step *s = &v->step;
	uint64_t nmi;
	struct frame f;

	if (s->nmi && kb_linear_gate(v, X86_VECTOR_NMI, &nmi) && nmi == regs(v)->rip) {
		s->nmi = false;
		return kb_code64(sregs(v)) && read_frame(v, regs(v)->rsp, &f) && f.rip != s->regs.rip;
	}
	/* INT n goes the way of faults, but is done. */
	return s->insn.kind == KB_INSN_INT && kb_code64(sregs(v)) && read_frame(v, regs(v)->rsp, &f) &&
		f.rip == s->regs.rip + s->insn.length;
}

uint64_t kb_step_after_trap(struct kb_vcpu *v, bool hit)
{
	struct kb_step *s = &v->step;
	uint64_t handler, n;
	struct frame f;
	bool trap = hit && kb_linear_gate(v, X86_VECTOR_DB, &handler) && handler == regs(v)->rip &&
		read_frame(v, regs(v)->rsp, &f) && is_trap(v, &f);

	if (!trap) { /* an exception; without a breakpoint there its handler's first instruction has run */
		clean_frames(v);
		n = hit ? kb_step_interrupted(v) : 1;
		s->guest_tf = false;
		return n;
	}
	if (s->guest_tf) { /* the guest's own */
		s->guest_tf = false;
		return 1;
	}
	s->guest_tf = s->insn.kind == KB_INSN_POPF && f.rflags & X86_EFLAGS_TF;
	undo(v, &f);
	return trapped(v);
}
