/* clock=tsc: host TSC ticks spent in the guest. See clock.h. */
#include "vcpu/clock.h"

/*
 * A calibration made while the host was busy is too long, and the guest's clock would stand still from one access to the next. Stays
 * shorter than the cost tell: it follows the tenth part of them that is shortest, up to what was calibrated. More is not learnt: a
 * stay that takes longer may be the guest's own work.
 */
#define LEARN 256u
#define SHORTER 9u /* to 1 */

static void learn(struct kb_clock *c, const struct kb_stay *stay)
{
	uint64_t *cost = &c->tsc.cost_ticks[stay->ring3], most = c->tsc.most_ticks[stay->ring3], step = most / LEARN / (SHORTER + 1);

	if (stay->kicked || stay->stepped)
		return;
	if (stay->ticks < *cost)
		*cost -= step * SHORTER < *cost ? step * SHORTER : *cost;
	else if (*cost < most && stay->ticks < most + most / 4)
		*cost += step;
}

static uint64_t account(struct kb_clock *c, const struct kb_stay *stay)
{
	uint64_t cost = c->tsc.cost_ticks[stay->ring3] + stay->stolen;
	/* Something ran: at least one tick, or a guest that polls a clock could see it stand still. */
	uint64_t ticks = stay->ticks > cost ? stay->ticks - cost : 1;

	learn(c, stay);
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
		c->tsc.cost_ticks[i] = c->tsc.most_ticks[i] = (uint64_t)((unsigned __int128)cost_ps[i] * tsc_hz / 1000000000000ull);
}
