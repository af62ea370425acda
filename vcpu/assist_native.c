/* stub for now */
#include "vcpu/assist_insn.h"

int kb_assist_run_native(struct kb_assisted *a, struct kvmbox_error *err)
{
	(void)a;
	(void)err;
	return KB_ASSIST_CANNOT;
}

void kb_assist_destroy(struct kb_vcpu *v)
{
	(void)v;
}
