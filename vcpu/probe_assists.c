/* What the box has to complete on this host: see probe_assists.h. */
#include "vcpu/probe_assists.h"

#include <string.h>

#include "vcpu/probe_behaviour.h"
#include "vcpu/probe_guest.h"
#include "vcpu/x86.h"

#define HYPERCALL_NS 5000000 /* a thousand times what one takes */

/* Does KVM give up on the piece in ring 0? 1 yes, 0: it gets to the end, or to an exception as a CPU may raise; -errno. */
static int gives_up(struct kb_probe_vm *g, const uint8_t *piece)
{
	int rc = kb_probe_piece(g, piece, 0, 0, PG_PORT_OUT);

	if (rc)
		return rc < 0 ? rc : 0;
	return !g->kicked && g->run->exit_reason == KVM_EXIT_INTERNAL_ERROR;
}

static int check_insns(struct kb_probe_vm *g, struct kb_behaviour *b)
{
	const uint8_t *const pieces[] = { kb_pg_int3, kb_pg_popcnt, kb_pg_cx16, kb_pg_fwait, kb_pg_movd };
	size_t i;
	int rc = 0;

	for (i = 0; i < sizeof(pieces) / sizeof(pieces[0]) && rc == 0; i++)
		rc = gives_up(g, pieces[i]);
	if (rc == 0) {
		g->cr4 = X86_CR4_OSXSAVE;
		if (kb_probe_start(g, kb_pg_xsave, 0, 0) == 0) /* else the CPU has no XSAVE */
			rc = gives_up(g, kb_pg_xsave);
		g->cr4 = 0;
	}
	b->insns = rc == 0;
	return rc < 0 ? rc : 0;
}

/* What the piece writes to its port; 1, or 0: nothing. */
static int answer(struct kb_probe_vm *g, const uint8_t *piece, unsigned ring, uint32_t *value)
{
	int rc = kb_probe_piece(g, piece, ring, 0, PG_PORT_OUT);

	if (rc != 1 || g->run->io.size != 4 || g->run->io.data_offset > g->run_size - 4)
		return rc < 0 ? rc : 0;
	memcpy(value, (const uint8_t *)g->run + g->run->io.data_offset, 4);
	return 1;
}

/* The same in both rings? */
static int agrees(struct kb_probe_vm *g, const uint8_t *piece, bool *same)
{
	uint32_t value[2];
	int rc = answer(g, piece, 3, &value[1]);

	if (rc == 1)
		rc = answer(g, piece, 0, &value[0]);
	*same = rc == 1 && value[0] == value[1];
	return rc < 0 ? rc : 0;
}

/* On a KVM where it never ends, ring 0 stays at the instruction. */
static int check_hypercall(struct kb_probe_vm *g, struct kb_behaviour *b)
{
	struct kvm_regs r;
	int rc = kb_probe_start(g, kb_pg_hypercall, 0, 0);

	if (rc < 0)
		return rc;
	kb_probe_arm(g, kb_probe_now_ns() + HYPERCALL_NS);
	rc = kb_probe_run(g);
	kb_probe_disarm(g);
	b->hypercall = true;
	if (rc != 1)
		return rc;
	rc = kb_probe_ioctl(g, g->vcpu, KVM_GET_REGS, &r);
	b->hypercall = r.rip != PG_CODE + (uint64_t)(kb_pg_hypercall - kb_pg_start);
	return rc;
}

int kb_probe_assists(struct kb_probe_vm *g, struct kb_behaviour *b)
{
	int rc = check_insns(g, b);

	if (!rc)
		rc = agrees(g, kb_pg_lzcnt, &b->lzcnt);
	if (!rc)
		rc = agrees(g, kb_pg_tzcnt, &b->tzcnt);
	if (!rc)
		rc = check_hypercall(g, b);
	return rc;
}
