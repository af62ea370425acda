/* clock=tsc: host TSC ticks spent in the guest. See clock.h. */
#include "vcpu/clock.h"

static uint64_t account(struct kb_clock *c, const struct kb_stay *stay)
{
	uint64_t cost = c->tsc.cost_ticks[stay->ring3] + stay->stolen;
	/* Something ran: at least one tick, or a guest that polls a clock could see it stand still. */
	uint64_t ticks = stay->ticks > cost ? stay->ticks - cost : 1;

	return kb_rate_ps(&c->rate, ticks > stay->shown ? ticks : stay->shown);
}

static uint64_t ticks_for(const struct kb_clock *c, uint64_t ps)
{
	return kb_rate_ticks(&c->rate, ps);
}

static const struct kb_clock_ops ops = { .name = "tsc", .account = account, .ticks = ticks_for };

void kb_clock_init_tsc(struct kb_clock *c, uint64_t tsc_hz, double time_scale, const uint64_t cost_ps[2])
{
	int i;

	*c = (struct kb_clock){ .ops = &ops, .tsc_hz = tsc_hz };
	kb_rate_init(&c->rate, tsc_hz, 1e12 * time_scale);
	for (i = 0; i < 2; i++)
		c->tsc.cost_ticks[i] = (uint64_t)((unsigned __int128)cost_ps[i] * tsc_hz / 1000000000000ull);
}
