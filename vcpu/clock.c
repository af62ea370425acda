/* The guest clock: see clock.h. */
#include "vcpu/clock.h"

#define ONE (1ull << 32)

/* Host time a guest may compute between exits before the fixed clock moves on by itself. */
#define FIXED_PATIENCE_HZ 10

void kb_clock_init_tsc(struct kb_clock *c, uint64_t tsc_hz, double time_scale, const uint64_t cost_ps[2])
{
	int i;

	*c = (struct kb_clock){ .source = KB_CLOCK_TSC, .tsc_hz = tsc_hz };
	c->ps_per_tick = (uint64_t)(1e12 / (double)tsc_hz * time_scale * (double)ONE);
	if (c->ps_per_tick == 0)
		c->ps_per_tick = 1;
	/* A scale so slow that a tick is under a ps only asks for a kick sooner than needed. */
	c->ticks_per_ps = c->ps_per_tick <= ONE ? UINT64_MAX
		: (uint64_t)((((unsigned __int128)1 << 96) - 1) / c->ps_per_tick);
	for (i = 0; i < 2; i++)
		c->cost_ticks[i] = (uint64_t)((unsigned __int128)cost_ps[i] * tsc_hz / 1000000000000ull);
}

void kb_clock_init_fixed(struct kb_clock *c, uint64_t tsc_hz, uint64_t exit_ps, uint64_t stride_ps)
{
	*c = (struct kb_clock){
		.source = KB_CLOCK_FIXED, .tsc_hz = tsc_hz, .fixed_exit_ps = exit_ps, .fixed_stride_ps = stride_ps,
	};
}

void kb_clock_charge(struct kb_clock *c, uint64_t ps)
{
	if (__builtin_add_overflow(c->now_ps, ps, &c->now_ps))
		c->now_ps = UINT64_MAX - 1;
}

/*
 * Any signal ends a stay: another box's kick on this thread, a profiler's. Only patience used up (roughly: kicks
 * come early) is a reason to move on, or the run would not be reproducible.
 */
static void account_fixed(struct kb_clock *c, uint64_t ticks, bool kicked)
{
	if (!kicked) {
		c->waited_ticks = 0;
		kb_clock_charge(c, c->fixed_exit_ps);
		return;
	}
	if (__builtin_add_overflow(c->waited_ticks, ticks, &c->waited_ticks))
		c->waited_ticks = UINT64_MAX;
	if (c->waited_ticks < c->tsc_hz / FIXED_PATIENCE_HZ / 2)
		return;
	c->waited_ticks = 0;
	kb_clock_charge(c, c->fixed_stride_ps);
}

void kb_clock_account(struct kb_clock *c, uint64_t ticks, bool ring3, bool kicked)
{
	unsigned __int128 ps;

	if (c->source == KB_CLOCK_FIXED) {
		account_fixed(c, ticks, kicked);
		return;
	}
	/* Something ran: at least one tick, or a guest that polls a clock could see it stand still. */
	ticks = ticks > c->cost_ticks[ring3] ? ticks - c->cost_ticks[ring3] : 1;
	ps = (unsigned __int128)ticks * c->ps_per_tick + c->fraction;
	c->fraction = (uint64_t)ps & (ONE - 1);
	ps >>= 32;
	kb_clock_charge(c, ps > UINT64_MAX ? UINT64_MAX : (uint64_t)ps);
}

uint64_t kb_clock_ticks(const struct kb_clock *c, uint64_t ps)
{
	if (c->source == KB_CLOCK_FIXED)
		return c->tsc_hz / FIXED_PATIENCE_HZ;
	return (uint64_t)(((unsigned __int128)ps * c->ticks_per_ps) >> 64) + 1;
}
