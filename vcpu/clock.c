/* What all guest clocks share: see clock.h. */
#include "vcpu/clock.h"

#include <stddef.h>

#define ONE (1ull << 32)

void kb_rate_init(struct kb_rate *r, uint64_t tsc_hz, double scale_ps)
{
	*r = (struct kb_rate){ .ps_per_tick = (uint64_t)(scale_ps / (double)tsc_hz * (double)ONE) };
	if (r->ps_per_tick == 0)
		r->ps_per_tick = 1;
	/* A scale so slow that a tick is under a ps only asks for a kick sooner than needed. */
	r->ticks_per_ps = r->ps_per_tick <= ONE ? UINT64_MAX
		: (uint64_t)((((unsigned __int128)1 << 96) - 1) / r->ps_per_tick);
}

uint64_t kb_rate_ps(struct kb_rate *r, uint64_t ticks)
{
	unsigned __int128 ps = (unsigned __int128)ticks * r->ps_per_tick + r->fraction;

	r->fraction = (uint64_t)ps & (ONE - 1);
	ps >>= 32;
	return ps > UINT64_MAX ? UINT64_MAX : (uint64_t)ps;
}

uint64_t kb_rate_ticks(const struct kb_rate *r, uint64_t ps)
{
	return (uint64_t)(((unsigned __int128)ps * r->ticks_per_ps) >> 64) + 1;
}

void kb_clock_charge(struct kb_clock *c, uint64_t ps)
{
	if (__builtin_add_overflow(c->now_ps, ps, &c->now_ps))
		c->now_ps = UINT64_MAX - 1;
}

void kb_clock_account(struct kb_clock *c, const struct kb_stay *stay)
{
	kb_clock_charge(c, c->ops->account(c, stay));
}

void kb_clock_destroy(struct kb_clock *c)
{
	if (c->ops && c->ops->destroy)
		c->ops->destroy(c);
	c->ops = NULL;
}
