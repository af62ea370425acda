/* A vCPU's x87 and vector state: see assist_state.h. */
#include "vcpu/assist_state.h"

#include <errno.h>
#include <string.h>

#include "vcpu/assist_insn.h"
#include "vcpu/x86.h"

#define MXCSR 24u
#define XSTATE_BV 512u
#define LEGACY_BITS 3u /* x87, SSE */

_Static_assert(sizeof(struct kvm_xsave) == KB_FPU_MAX, "KVM_GET_XSAVE's size");

int kb_fpu_get(struct kb_fpu *f, struct kb_vcpu *v, struct kvmbox_error *err)
{
	return kb_assist_call(v, KVM_GET_XSAVE, f->area, err);
}

int kb_fpu_put(const struct kb_fpu *f, struct kb_vcpu *v, struct kvmbox_error *err)
{
	return kb_assist_call(v, KVM_SET_XSAVE, (void *)(uintptr_t)f->area, err);
}

uint64_t kb_fpu_in_use(const struct kb_fpu *f)
{
	uint64_t bv;
	uint32_t mxcsr;

	memcpy(&bv, f->area + XSTATE_BV, sizeof(bv));
	memcpy(&mxcsr, f->area + MXCSR, sizeof(mxcsr));
	return bv | (mxcsr != X86_MXCSR_INIT ? 2 : 0);
}

/* The legacy components always count as loaded: KVM would reset MXCSR with them. */
void kb_fpu_set_in_use(struct kb_fpu *f, uint64_t loaded, uint64_t initialised)
{
	uint64_t bv;

	memcpy(&bv, f->area + XSTATE_BV, sizeof(bv));
	bv = (bv & ~initialised) | loaded | LEGACY_BITS;
	memcpy(f->area + XSTATE_BV, &bv, sizeof(bv));
}

int kb_fpu_xcr0(struct kb_vcpu *v, uint64_t *xcr0, struct kvmbox_error *err)
{
	struct kvm_xcrs x = { 0 };
	int rc = kb_assist_call(v, KVM_GET_XCRS, &x, err);

	*xcr0 = X86_XCR0_X87;
	if (!rc && x.nr_xcrs && !x.xcrs[0].xcr)
		*xcr0 = x.xcrs[0].value;
	return rc;
}

int kb_fpu_xss(struct kb_vcpu *v, uint64_t *xss, struct kvmbox_error *err)
{
	struct { /* struct kvm_msrs */
		uint32_t nmsrs, pad;
		struct kvm_msr_entry entry;
	} m = { .nmsrs = 1, .entry = { .index = X86_MSR_XSS } };
	int rc = kb_kvm_ioctl(v->vm->api, v->fd, KVM_GET_MSRS, &m);

	*xss = rc == 1 ? m.entry.data : 0;
	return rc < 0 ? kb_fail(err, -rc, "completing XSAVES: KVM_GET_MSRS failed: %s", strerror(-rc)) : 0;
}
