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
	case ZYDIS_MNEMONIC_UD0: case ZYDIS_MNEMONIC_UD1: case ZYDIS_MNEMONIC_UD2:
		a->kind = KB_ASSIST_UNDEFINED;
		return kb_assist_fault(a, X86_VECTOR_UD);
	default:
		return KB_ASSIST_CANNOT;
	}
}
