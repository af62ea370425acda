/* Instructions of kernels that KVM does not know in ring 0 (Intel SDM vol. 2 and 3): see assist_insn.h. */
#include <string.h>

#include "vcpu/assist_insn.h"
#include "vcpu/assist_state.h"
#include "vcpu/linear.h"
#include "vcpu/x86.h"

#define FSW_ES 0x80u /* an unmasked x87 exception waits */

/* ---- ways into handlers -------------------------------------------------------- */

static int trap(struct kb_assisted *a, int vector)
{
	a->kind = KB_ASSIST_INT;
	a->vector = vector;
	return KB_ASSIST_TRAPPED;
}

/* ---- x87 and XCR0 ---------------------------------------------------------------- */

/* SDM vol. 2, WAIT/FWAIT. */
static int fwait(struct kb_assisted *a, struct kvmbox_error *err)
{
	struct kb_fpu f;
	uint16_t fsw;
	int rc;

	if ((a->s->cr0 & (X86_CR0_MP | X86_CR0_TS)) == (X86_CR0_MP | X86_CR0_TS))
		return kb_assist_fault(a, X86_VECTOR_NM);
	rc = kb_fpu_get(&f, a->v, err);
	if (rc)
		return rc;
	memcpy(&fsw, f.area + 2, sizeof(fsw));
	if (!(fsw & FSW_ES))
		return KB_ASSIST_DONE;
	return a->s->cr0 & X86_CR0_NE ? kb_assist_fault(a, X86_VECTOR_MF) : KB_ASSIST_CANNOT;
}

static int xgetbv(struct kb_assisted *a, struct kvmbox_error *err)
{
	uint64_t xcr;
	struct kb_fpu f;
	int rc;

	if (!(a->s->cr4 & X86_CR4_OSXSAVE))
		return kb_assist_fault(a, X86_VECTOR_UD);
	if ((uint32_t)a->r.rcx > 1)
		return kb_assist_fault_code(a, X86_VECTOR_GP, 0);
	rc = kb_fpu_xcr0(a->v, &xcr, err);
	if (!rc && (uint32_t)a->r.rcx == 1) { /* those in use */
		rc = kb_fpu_get(&f, a->v, err);
		if (!rc)
			xcr &= kb_fpu_in_use(&f);
	}
	a->r.rax = (uint32_t)xcr;
	a->r.rdx = xcr >> 32;
	return rc;
}

/* ---- flags ------------------------------------------------------------------------- */

static int set_ac(struct kb_assisted *a, bool on)
{
	if (a->user)
		return kb_assist_fault(a, X86_VECTOR_UD);
	a->r.rflags = (a->r.rflags & ~(uint64_t)X86_EFLAGS_AC) | (on ? X86_EFLAGS_AC : 0);
	return KB_ASSIST_DONE;
}

/* ---- time stamps, caches, translations --------------------------------------------- */

static int rdtscp(struct kb_assisted *a, struct kvmbox_error *err)
{
	struct { /* struct kvm_msrs */
		uint32_t nmsrs, pad;
		struct kvm_msr_entry entry;
	} m = { .nmsrs = 1, .entry = { .index = X86_MSR_TSC_AUX } };
	uint64_t tsc = kb_tsc() + (uint64_t)a->v->tsc.offset;
	int rc = kb_assist_call(a->v, KVM_GET_MSRS, &m, err);

	a->r.rax = (uint32_t)tsc;
	a->r.rdx = tsc >> 32;
	a->r.rcx = (uint32_t)m.entry.data; /* 0 where KVM does not know it */
	return rc;
}

/* Only the address matters. */
static int cache_line(struct kb_assisted *a)
{
	struct kb_assist_span span;

	return kb_assist_operand(a, &a->op[0], 1, false, &span);
}

/* A changed CR4 makes KVM forget all translations, which is more than any kind of INVPCID asks for. */
static int flush_tlb(struct kb_assisted *a, struct kvmbox_error *err)
{
	int rc = kb_step_flush(a->v, err);

	a->s->cr4 ^= X86_CR4_PGE;
	if (!rc)
		rc = kb_assist_call(a->v, KVM_SET_SREGS, a->s, err);
	a->s->cr4 ^= X86_CR4_PGE;
	return rc ? rc : kb_assist_call(a->v, KVM_SET_SREGS, a->s, err);
}

static int invpcid(struct kb_assisted *a, struct kvmbox_error *err)
{
	const uint64_t type = kb_assist_gpr(a, a->op[0].reg.value);
	struct kb_assist_span span;
	uint64_t d[2];

	if (kb_assist_operand(a, &a->op[1], sizeof(d), false, &span))
		return KB_ASSIST_FAULTED;
	kb_assist_read(a, &span, 0, d, sizeof(d));
	if (type > 3 || (type < 2 && (d[0] >> 12 || (d[0] && !(a->s->cr4 & X86_CR4_PCIDE)))) ||
	    (type == 0 && !kb_linear_canonical(a->v, d[1])))
		return kb_assist_fault_code(a, X86_VECTOR_GP, 0);
	return flush_tlb(a, err);
}

/* ---- questions about descriptors ------------------------------------------------------ */

#define BIT(n) (1u << (n))

/* The descriptor, if the selector leads to one whose privilege lets the guest ask. */
static bool visible(struct kb_assisted *a, uint16_t selector, uint64_t *d, bool *system, unsigned *type)
{
	const struct kvm_segment *ldt = &a->s->ldt;
	const bool local = selector & 4;
	const uint64_t base = local ? ldt->base : a->s->gdt.base;
	const uint32_t limit = local ? ldt->limit : a->s->gdt.limit;
	unsigned dpl, cpl = a->s->ss.dpl, rpl = selector & 3;

	if (!(selector & ~3u) || (local && ldt->unusable) || (selector | 7u) > limit ||
	    kb_linear_read(a->v, base + (selector & ~7u), d, 8) != 8)
		return false;
	*type = *d >> 40 & 15;
	*system = !(*d >> 44 & 1);
	dpl = *d >> 45 & 3;
	return (!*system && (*type & 12) == 12) || (dpl >= cpl && dpl >= rpl); /* conforming code: anybody's */
}

/* LAR, LSL, VERR and VERW (SDM vol. 2, with the tables of types there). */
static int ask_descriptor(struct kb_assisted *a)
{
	const bool lma = a->s->efer & X86_EFER_LMA, verify = a->in.operand_count_visible == 1;
	const ZydisDecodedOperand *from = &a->op[verify ? 0 : 1];
	const ZydisMnemonic m = a->in.mnemonic;
	uint32_t types = lma ? BIT(2) | BIT(9) | BIT(11) : BIT(1) | BIT(2) | BIT(3) | BIT(9) | BIT(11), limit;
	struct kb_assist_span span;
	bool system = false, good;
	unsigned type = 0;
	uint16_t selector = 0;
	uint64_t d = 0;

	if (!(a->s->cr0 & X86_CR0_PE) || a->r.rflags & X86_EFLAGS_VM)
		return kb_assist_fault(a, X86_VECTOR_UD);
	if (from->type == ZYDIS_OPERAND_TYPE_MEMORY) {
		if (kb_assist_operand(a, from, sizeof(selector), false, &span))
			return KB_ASSIST_FAULTED;
		kb_assist_read(a, &span, 0, &selector, sizeof(selector));
	} else {
		selector = (uint16_t)kb_assist_gpr(a, from->reg.value);
	}
	if (m == ZYDIS_MNEMONIC_LAR)
		types |= lma ? BIT(12) : BIT(4) | BIT(5) | BIT(12);
	good = visible(a, selector, &d, &system, &type);
	if (m == ZYDIS_MNEMONIC_VERR)
		good &= !system && (type & 10) != 8; /* not code that is only executed */
	else if (m == ZYDIS_MNEMONIC_VERW)
		good &= !system && (type & 10) == 2;
	else
		good &= !system || types & BIT(type);
	a->r.rflags = (a->r.rflags & ~(uint64_t)X86_EFLAGS_ZF) | (good ? X86_EFLAGS_ZF : 0);
	if (!good || verify)
		return KB_ASSIST_DONE;
	limit = (uint32_t)((d & 0xffff) | (d >> 32 & 0xf0000));
	if (d >> 55 & 1)
		limit = limit << 12 | 0xfff;
	kb_assist_set_gpr(a, a->op[0].reg.value, m == ZYDIS_MNEMONIC_LSL ? limit : d >> 32 & 0x00ffff00u);
	return KB_ASSIST_DONE;
}

int kb_assist_system(struct kb_assisted *a, struct kvmbox_error *err)
{
	switch (a->in.mnemonic) {
	case ZYDIS_MNEMONIC_INT3:
		return trap(a, X86_VECTOR_BP);
	case ZYDIS_MNEMONIC_INT1:
		return trap(a, X86_VECTOR_DB);
	case ZYDIS_MNEMONIC_INTO:
		return a->r.rflags & X86_EFLAGS_OF ? trap(a, X86_VECTOR_OF) : KB_ASSIST_DONE;
	case ZYDIS_MNEMONIC_INT:
		return trap(a, (int)(a->op[0].imm.value.u & 0xff));
	case ZYDIS_MNEMONIC_FWAIT:
		return fwait(a, err);
	case ZYDIS_MNEMONIC_XGETBV:
		return xgetbv(a, err);
	case ZYDIS_MNEMONIC_CLAC:
		return set_ac(a, false);
	case ZYDIS_MNEMONIC_STAC:
		return set_ac(a, true);
	case ZYDIS_MNEMONIC_RDTSCP:
		return rdtscp(a, err);
	case ZYDIS_MNEMONIC_CLFLUSH: case ZYDIS_MNEMONIC_CLFLUSHOPT: case ZYDIS_MNEMONIC_CLWB:
		return cache_line(a);
	case ZYDIS_MNEMONIC_INVPCID:
		return a->user ? kb_assist_fault_code(a, X86_VECTOR_GP, 0) : invpcid(a, err);
	case ZYDIS_MNEMONIC_LAR: case ZYDIS_MNEMONIC_LSL: case ZYDIS_MNEMONIC_VERR: case ZYDIS_MNEMONIC_VERW:
		return ask_descriptor(a);
	case ZYDIS_MNEMONIC_MONITOR: case ZYDIS_MNEMONIC_MWAIT: /* which may end for any reason: at once, as with KVM */
		return a->user ? kb_assist_fault(a, X86_VECTOR_UD) : KB_ASSIST_DONE;
	case ZYDIS_MNEMONIC_IRET: case ZYDIS_MNEMONIC_IRETD:
		return kb_assist_iret(a, err);
	case ZYDIS_MNEMONIC_UD0: case ZYDIS_MNEMONIC_UD1: case ZYDIS_MNEMONIC_UD2:
		a->kind = KB_ASSIST_UNDEFINED;
		return kb_assist_fault(a, X86_VECTOR_UD);
	default:
		return KB_ASSIST_CANNOT;
	}
}
