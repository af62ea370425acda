/*
 * The XSAVE family (Intel SDM vol. 1, chapter 13): between guest memory and the state that KVM holds, which it gives in the standard
 * format. See assist_insn.h.
 */
#include <cpuid.h>
#include <errno.h>
#include <string.h>

#include "vcpu/assist_insn.h"
#include "vcpu/assist_state.h"
#include "vcpu/x86.h"

#define LEGACY 512u
#define HEADER 64u
#define EXTENDED (LEGACY + HEADER)
#define COMPACTED (1ull << 63)

/* The legacy region (13.4.1). */
#define X87_ENV 24u /* FCW to FDP */
#define MXCSR 24u
#define MXCSR_MASK 28u
#define ST0 32u
#define XMM0 160u
#define XMM_END 416u

struct header {
	uint64_t xstate_bv, xcomp_bv, reserved[6];
};
_Static_assert(sizeof(struct header) == HEADER, "");

/* Component i >= 2: where in the standard format, bytes, aligned in the compacted one. The host's are the guest's. */
static bool component(unsigned i, uint32_t *offset, uint32_t *size, bool *align)
{
	uint32_t ecx, edx;

	__cpuid_count(0xd, i, *size, *offset, ecx, edx);
	*align = ecx & 2;
	return *size && !(ecx & 1) && *offset >= EXTENDED && *offset + *size <= KB_FPU_MAX;
}

/* Where component i is in an area of the given format (13.4.3); 0: it has no place. */
static uint32_t place(unsigned wanted, uint64_t xcomp_bv)
{
	uint32_t at = EXTENDED, offset, size;
	unsigned i;
	bool align;

	if (!(xcomp_bv & COMPACTED))
		return component(wanted, &offset, &size, &align) ? offset : 0;
	for (i = 2; i <= wanted; i++) {
		if (!(xcomp_bv >> i & 1) || !component(i, &offset, &size, &align))
			continue;
		if (align)
			at = (at + 63) & ~63u;
		if (i == wanted)
			return at;
		at += size;
	}
	return 0;
}

/* Bytes that an area with these components takes. */
static size_t area_size(uint64_t mask, uint64_t xcomp_bv)
{
	size_t end = EXTENDED;
	unsigned i;

	for (i = 2; i < 63; i++) {
		uint32_t offset, size, at;
		bool align;

		if (!(mask >> i & 1) || !component(i, &offset, &size, &align))
			continue;
		at = place(i, xcomp_bv);
		if (at && at + size > end)
			end = at + size;
	}
	return end;
}

struct xs {
	struct kb_assisted *a;
	struct kb_fpu fpu;
	uint64_t linear, rfbm;
	struct header header;
};

/* What all of the family check first (13.7-13.12); the requested-feature bitmap. */
static int begin(struct xs *x, bool supervisor, struct kvmbox_error *err)
{
	struct kb_assisted *a = x->a;
	const uint64_t asked = (a->r.rdx & 0xffffffffu) << 32 | (a->r.rax & 0xffffffffu);
	uint64_t xcr0 = 0, xss = 0;
	int rc;

	if (!(a->s->cr4 & X86_CR4_OSXSAVE))
		return kb_assist_fault(a, X86_VECTOR_UD);
	if (supervisor && a->user)
		return kb_assist_fault_code(a, X86_VECTOR_GP, 0);
	if (a->s->cr0 & X86_CR0_TS)
		return kb_assist_fault(a, X86_VECTOR_NM);
	if (kb_assist_address(a, &a->op[0], EXTENDED, false, &x->linear))
		return KB_ASSIST_FAULTED;
	if (x->linear % 64)
		return kb_assist_fault_code(a, X86_VECTOR_GP, 0);
	rc = kb_fpu_xcr0(a->v, &xcr0, err);
	if (!rc && supervisor)
		rc = kb_fpu_xss(a->v, &xss, err);
	if (!rc)
		rc = kb_fpu_get(&x->fpu, a->v, err);
	if (rc)
		return rc;
	x->rfbm = asked & (xcr0 | xss);
	return x->rfbm & xss ? KB_ASSIST_CANNOT : KB_ASSIST_DONE; /* KVM's state has no supervisor components */
}

/* ---- saving ---------------------------------------------------------------------- */

struct form {
	bool compacted, init; /* XSAVEC, XSAVES; components in their initial state are left out */
	bool supervisor;
};

static void save_legacy(struct xs *x, const struct kb_assist_span *span, const struct form *f, uint64_t saved)
{
	const uint8_t *s = x->fpu.area;

	if (saved & 1) {
		kb_assist_write(x->a, span, 0, s, X87_ENV);
		kb_assist_write(x->a, span, ST0, s + ST0, XMM0 - ST0);
	}
	if (f->compacted ? x->rfbm & 2 : x->rfbm & 6)
		kb_assist_write(x->a, span, MXCSR, s + MXCSR, 8);
	if (saved & 2)
		kb_assist_write(x->a, span, XMM0, s + XMM0, XMM_END - XMM0);
}

static int save(struct kb_assisted *a, const struct form *f, struct kvmbox_error *err)
{
	struct xs x = { .a = a };
	struct kb_assist_span span;
	uint64_t in_use, saved, xcomp_bv;
	unsigned i;
	int end = begin(&x, f->supervisor, err);

	if (end)
		return end;
	xcomp_bv = f->compacted ? x.rfbm | COMPACTED : 0;
	in_use = kb_fpu_in_use(&x.fpu);
	saved = f->init ? x.rfbm & in_use : x.rfbm;
	if (kb_assist_map(a, x.linear, area_size(x.rfbm, xcomp_bv), true, &span))
		return KB_ASSIST_FAULTED;
	save_legacy(&x, &span, f, saved);
	for (i = 2; i < 63; i++) {
		uint32_t offset, size;
		bool align;

		if (saved >> i & 1 && component(i, &offset, &size, &align))
			kb_assist_write(a, &span, place(i, xcomp_bv), x.fpu.area + offset, size);
	}
	kb_assist_read(a, &span, LEGACY, &x.header, sizeof(x.header));
	x.header.xstate_bv = (f->compacted ? 0 : x.header.xstate_bv & ~x.rfbm) | (x.rfbm & in_use);
	x.header.xcomp_bv = xcomp_bv;
	kb_assist_write(a, &span, LEGACY, &x.header, f->compacted ? 16 : 8);
	return KB_ASSIST_DONE;
}

/* ---- restoring ------------------------------------------------------------------- */

/* What is not as XRSTOR wants it (13.8, 13.12). */
static bool header_wrong(const struct xs *x, bool supervisor, uint64_t valid)
{
	const struct header *h = &x->header;
	unsigned i;

	for (i = 0; i < 6; i++)
		if (h->reserved[i] && (i == 0 || h->xcomp_bv & COMPACTED))
			return true;
	if (h->xcomp_bv & COMPACTED)
		return (h->xcomp_bv & ~COMPACTED & ~valid) || (h->xstate_bv & ~h->xcomp_bv);
	return supervisor || h->xcomp_bv || (h->xstate_bv & ~valid);
}

static void init_legacy(struct xs *x, uint64_t init)
{
	const uint16_t fcw = X86_FCW_INIT;
	uint8_t *s = x->fpu.area;

	if (init & 1) {
		memset(s, 0, X87_ENV);
		memcpy(s, &fcw, sizeof(fcw));
		memset(s + ST0, 0, XMM0 - ST0);
	}
	if (init & 2)
		memset(s + XMM0, 0, XMM_END - XMM0);
}

/* False: MXCSR has reserved bits. */
static bool restore_legacy(struct xs *x, const struct kb_assist_span *span, uint64_t load)
{
	const bool compacted = x->header.xcomp_bv & COMPACTED;
	uint8_t *s = x->fpu.area;
	uint32_t mxcsr = X86_MXCSR_INIT, mask;

	memcpy(&mask, s + MXCSR_MASK, sizeof(mask));
	if (compacted ? x->rfbm & 2 : x->rfbm & 6) {
		if (!compacted || load & 2)
			kb_assist_read(x->a, span, MXCSR, &mxcsr, sizeof(mxcsr));
		if (mxcsr & ~(mask ? mask : 0xffbfu))
			return false;
		memcpy(s + MXCSR, &mxcsr, sizeof(mxcsr));
	}
	if (load & 1) {
		kb_assist_read(x->a, span, 0, s, X87_ENV);
		kb_assist_read(x->a, span, ST0, s + ST0, XMM0 - ST0);
	}
	if (load & 2)
		kb_assist_read(x->a, span, XMM0, s + XMM0, XMM_END - XMM0);
	return true;
}

static int restore(struct kb_assisted *a, bool supervisor, struct kvmbox_error *err)
{
	struct xs x = { .a = a };
	struct kb_assist_span span;
	uint64_t load, init, valid;
	unsigned i;
	int end = begin(&x, supervisor, err);

	if (end)
		return end;
	end = kb_fpu_xcr0(a->v, &valid, err);
	if (end)
		return end;
	if (kb_assist_map(a, x.linear, EXTENDED, false, &span))
		return KB_ASSIST_FAULTED;
	kb_assist_read(a, &span, LEGACY, &x.header, sizeof(x.header));
	if (header_wrong(&x, supervisor, valid))
		return kb_assist_fault_code(a, X86_VECTOR_GP, 0);
	load = x.rfbm & x.header.xstate_bv;
	init = x.rfbm & ~x.header.xstate_bv;
	if (kb_assist_map(a, x.linear, area_size(load, x.header.xcomp_bv), false, &span))
		return KB_ASSIST_FAULTED;
	init_legacy(&x, init);
	if (!restore_legacy(&x, &span, load))
		return kb_assist_fault_code(a, X86_VECTOR_GP, 0);
	for (i = 2; i < 63; i++) {
		uint32_t offset, size;
		bool align;

		if (!(x.rfbm >> i & 1) || !component(i, &offset, &size, &align))
			continue;
		if (load >> i & 1)
			kb_assist_read(a, &span, place(i, x.header.xcomp_bv), x.fpu.area + offset, size);
		else
			memset(x.fpu.area + offset, 0, size);
	}
	kb_fpu_set_in_use(&x.fpu, load, init);
	end = kb_fpu_put(&x.fpu, a->v, err);
	return end == -EINVAL ? kb_assist_fault_code(a, X86_VECTOR_GP, 0) : end;
}

int kb_assist_xsave(struct kb_assisted *a, struct kvmbox_error *err)
{
	enum kb_assist_kind was = a->kind;

	a->kind = KB_ASSIST_XSAVE;
	switch (a->in.mnemonic) {
	case ZYDIS_MNEMONIC_XSAVE: case ZYDIS_MNEMONIC_XSAVE64:
		return save(a, &(struct form){ 0 }, err);
	case ZYDIS_MNEMONIC_XSAVEOPT: case ZYDIS_MNEMONIC_XSAVEOPT64:
		return save(a, &(struct form){ .init = true }, err);
	case ZYDIS_MNEMONIC_XSAVEC: case ZYDIS_MNEMONIC_XSAVEC64:
		return save(a, &(struct form){ .compacted = true, .init = true }, err);
	case ZYDIS_MNEMONIC_XSAVES: case ZYDIS_MNEMONIC_XSAVES64:
		return save(a, &(struct form){ .compacted = true, .init = true, .supervisor = true }, err);
	case ZYDIS_MNEMONIC_XRSTOR: case ZYDIS_MNEMONIC_XRSTOR64:
		return restore(a, false, err);
	case ZYDIS_MNEMONIC_XRSTORS: case ZYDIS_MNEMONIC_XRSTORS64:
		return restore(a, true, err);
	default:
		a->kind = was;
		return KB_ASSIST_CANNOT;
	}
}
