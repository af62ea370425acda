/* clock=fixed: exits cost a fixed time, computing is free. See clock.h. */
#include "vcpu/clock.h"

/* CPU time a guest may compute between exits before the clock moves on by itself: a tenth of a second. */
#define PATIENCE_HZ 10

/* The same for one that is stepped up to where it takes an interrupt: instructions. */
#define PATIENCE_STEPS 20000u

static uint64_t account_step(struct kb_clock *c)
{
	if (++c->fixed.steps < PATIENCE_STEPS)
		return 0;
	c->fixed.steps = 0;
	return c->fixed.stride_ps;
}

/*
 * Any signal ends a stay: another box's kick on this thread, a profiler's. Only patience used up (roughly: kicks come
 * early) is a reason to move on, or the run would not be reproducible. For the same reason a host that takes the CPU away
 * uses none of it.
 */
static uint64_t account(struct kb_clock *c, const struct kb_stay *stay)
{
	if (stay->stepped)
		return account_step(c);
	if (!stay->kicked) {
		c->fixed.waited_ticks = 0;
		c->fixed.steps = 0;
		return c->fixed.exit_ps;
	}
	if (__builtin_add_overflow(c->fixed.waited_ticks, stay->ticks - stay->stolen, &c->fixed.waited_ticks))
		c->fixed.waited_ticks = UINT64_MAX;
	if (c->fixed.waited_ticks < c->tsc_hz / PATIENCE_HZ / 2)
		return 0;
	c->fixed.waited_ticks = 0;
	return c->fixed.stride_ps;
}

static uint64_t ticks(const struct kb_clock *c, uint64_t ps)
{
	(void)ps;
	return c->tsc_hz / PATIENCE_HZ;
}

static void pay_exit(struct kb_clock *c)
{
	c->fixed.waited_ticks = 0;
	c->fixed.steps = 0;
	kb_clock_charge(c, c->fixed.exit_ps);
}

static const struct kb_clock_ops ops = { .name = "fixed", .account = account, .ticks = ticks, .exit = pay_exit };

void kb_clock_init_fixed(struct kb_clock *c, uint64_t tsc_hz, uint64_t exit_ps, uint64_t stride_ps)
{
	*c = (struct kb_clock){
		.ops = &ops, .tsc_hz = tsc_hz, .exact = true, .fixed = { .exit_ps = exit_ps, .stride_ps = stride_ps },
	};
}
