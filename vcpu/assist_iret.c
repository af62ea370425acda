/* IRET in 16 and 32-bit protected mode (Intel SDM vol. 2, IRET; vol. 3, 6.12): back to the same ring, or to an outer one. */
#include <string.h>

#include "vcpu/assist_insn.h"
#include "vcpu/linear.h"
#include "vcpu/x86.h"

struct frame {
	uint32_t ip, cs, flags, sp, ss;
};

#define WORDS 5u

/* Words from the stack: three, and two more for another ring. */
static int pop(struct kb_assisted *a, unsigned words, struct frame *f)
{
	const unsigned size = a->in.operand_width / 8u;
	const struct kvm_segment *ss = &a->s->ss;
	const uint64_t sp = a->r.rsp & (ss->db ? 0xffffffffu : 0xffffu), bytes = (uint64_t)words * size;
	struct kb_assist_span span;
	uint32_t word[WORDS] = { 0 };
	unsigned i;

	if (!(ss->type & 4) && sp + bytes - 1 > ss->limit)
		return kb_assist_fault_code(a, X86_VECTOR_SS, 0);
	if (kb_assist_map(a, (ss->base + sp) & 0xffffffffu, bytes, false, &span))
		return KB_ASSIST_FAULTED;
	for (i = 0; i < words; i++)
		kb_assist_read(a, &span, i * size, &word[i], size);
	*f = (struct frame){ word[0], word[1] & 0xffff, word[2], word[3], word[4] & 0xffff };
	return KB_ASSIST_DONE;
}

/* The selector's descriptor; what is wrong with it is told by the others. */
static int descriptor(struct kb_assisted *a, uint32_t selector, int not_present, struct kvm_segment *seg)
{
	bool present;

	if (!(selector & ~3u))
		return kb_assist_fault_code(a, X86_VECTOR_GP, 0);
	*seg = (struct kvm_segment){ 0 };
	present = kb_linear_segment(a->v, (uint16_t)selector, seg);
	if (!present)
		return kb_assist_fault_code(a, seg->selector == selector ? not_present : X86_VECTOR_GP, selector & ~3u);
	return KB_ASSIST_DONE;
}

static int check_code(struct kb_assisted *a, const struct frame *f, unsigned cpl, struct kvm_segment *cs)
{
	const unsigned rpl = f->cs & 3;
	int end = descriptor(a, f->cs, X86_VECTOR_NP, cs);

	if (end)
		return end;
	if (rpl < cpl || !cs->s || !(cs->type & 8) || (cs->type & 4 ? cs->dpl > rpl : cs->dpl != rpl))
		return kb_assist_fault_code(a, X86_VECTOR_GP, f->cs & ~3u);
	if (!cs->l && f->ip > cs->limit)
		return kb_assist_fault_code(a, X86_VECTOR_GP, 0);
	return KB_ASSIST_DONE;
}

static int check_stack(struct kb_assisted *a, const struct frame *f, struct kvm_segment *ss)
{
	const unsigned rpl = f->cs & 3;
	int end = descriptor(a, f->ss, X86_VECTOR_SS, ss);

	if (!end && ((f->ss & 3) != rpl || !ss->s || (ss->type & 10) != 2 || ss->dpl != rpl))
		return kb_assist_fault_code(a, X86_VECTOR_GP, f->ss & ~3u);
	return end;
}

/* An outer ring does not keep segments of inner ones. */
static void drop(struct kvm_segment *s, unsigned ring)
{
	if (!s->unusable && s->dpl < ring && !((s->type & 12) == 12)) {
		s->selector = 0;
		s->unusable = 1;
		s->present = 0;
	}
}

static uint64_t new_flags(const struct kb_assisted *a, uint32_t popped, unsigned cpl)
{
	uint64_t mask = X86_EFLAGS_STATUS | 0x4500u; /* TF DF NT */

	if (a->in.operand_width == 32)
		mask |= X86_EFLAGS_RF | X86_EFLAGS_AC | 0x200000u; /* ID */
	if (cpl == 0)
		mask |= X86_EFLAGS_IOPL;
	if (cpl <= (a->r.rflags & X86_EFLAGS_IOPL) >> 12)
		mask |= X86_EFLAGS_IF;
	return (a->r.rflags & ~mask) | (popped & mask) | X86_EFLAGS_FIXED;
}

static int unmask_nmis(struct kb_vcpu *v, struct kvmbox_error *err)
{
	struct kvm_vcpu_events e;
	int rc = kb_assist_call(v, KVM_GET_VCPU_EVENTS, &e, err);

	if (rc || !e.nmi.masked)
		return rc;
	e.nmi.masked = 0;
	return kb_assist_call(v, KVM_SET_VCPU_EVENTS, &e, err);
}

int kb_assist_iret(struct kb_assisted *a, struct kvmbox_error *err)
{
	const unsigned size = a->in.operand_width / 8u, cpl = a->s->ss.dpl;
	struct kvm_segment cs, ss;
	struct frame f;
	unsigned ring;
	int end;

	a->kind = KB_ASSIST_INT;
	if (a->code64 || !(a->s->cr0 & X86_CR0_PE) || a->r.rflags & (X86_EFLAGS_NT | X86_EFLAGS_VM))
		return KB_ASSIST_CANNOT;
	end = pop(a, 3, &f);
	if (!end && size == 4 && f.flags & X86_EFLAGS_VM)
		return KB_ASSIST_CANNOT; /* to virtual-8086 mode, which such a KVM does not run either */
	if (!end)
		end = check_code(a, &f, cpl, &cs);
	ring = f.cs & 3;
	if (!end && ring > cpl) {
		end = pop(a, WORDS, &f);
		if (!end)
			end = check_stack(a, &f, &ss);
	}
	if (end)
		return end;
	a->r.rip = f.ip;
	a->r.rflags = new_flags(a, f.flags, cpl);
	cs.type |= 1;
	a->s->cs = cs;
	if (ring > cpl) {
		ss.type |= 1;
		a->s->ss = ss;
		a->r.rsp = ss.db ? f.sp : (a->r.rsp & ~0xffffull) | (f.sp & 0xffff);
		drop(&a->s->ds, ring);
		drop(&a->s->es, ring);
		drop(&a->s->fs, ring);
		drop(&a->s->gs, ring);
	} else {
		uint64_t mask = a->s->ss.db ? 0xffffffffu : 0xffffu;

		a->r.rsp = (a->r.rsp & ~mask) | ((a->r.rsp + 3u * size) & mask);
	}
	a->v->run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
	a->v->run->if_flag = a->v->run->ready_for_interrupt_injection = !!(a->r.rflags & X86_EFLAGS_IF);
	end = unmask_nmis(a->v, err);
	return end ? end : KB_ASSIST_MOVED;
}
