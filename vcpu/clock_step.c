/* clock=step: an instruction takes a configured time, nothing else takes any. See clock.h. */
#include "vcpu/clock.h"

static uint64_t account(struct kb_clock *c, const struct kb_stay *stay)
{
	uint64_t ps;

	return __builtin_mul_overflow(stay->instructions, c->insn_ps, &ps) ? UINT64_MAX : ps;
}

/* Not asked while the guest is stepped; a guess, then. */
static uint64_t ticks(const struct kb_clock *c, uint64_t ps)
{
	(void)ps;
	return c->tsc_hz / 1000;
}

static const struct kb_clock_ops ops = { .name = "step", .account = account, .ticks = ticks };

void kb_clock_init_step(struct kb_clock *c, uint64_t tsc_hz, uint64_t insn_ps)
{
	*c = (struct kb_clock){ .ops = &ops, .tsc_hz = tsc_hz, .exact = true, .insn_ps = insn_ps };
}
