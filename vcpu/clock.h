/*
 * The guest clock: simulated time of a vCPU's next instruction, in ps, and how
 * running the guest moves it. It never goes back.
 */
#ifndef KB_CLOCK_H
#define KB_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

enum kb_clock_source {
	KB_CLOCK_TSC,   /* host TSC ticks spent in the guest, less the cost of entry and exit */
	KB_CLOCK_FIXED, /* every exit costs the same, computing is free */
};

struct kb_clock {
	uint64_t now_ps;
	enum kb_clock_source source;
	uint64_t tsc_hz;
	uint64_t ps_per_tick;    /* 32.32 fixed point, time_scale included */
	uint64_t ticks_per_ps;   /* 0.64 fixed point, the inverse */
	uint64_t fraction;       /* of a ps carried over, in 2^-32 ps */
	uint64_t cost_ticks[2];  /* entry + exit with the guest in ring 0-2 and in ring 3 */
	uint64_t fixed_exit_ps;
	uint64_t waited_ticks;   /* fixed: host ticks since the last exit or stride */
	uint64_t fixed_stride_ps; /* fixed: what a kick costs, so that a guest that never exits cannot stop time */
};

/* time_scale: simulated seconds per second in the guest, > 0. cost_ps: entry and exit, measured on this host. */
void kb_clock_init_tsc(struct kb_clock *c, uint64_t tsc_hz, double time_scale, const uint64_t cost_ps[2]);
void kb_clock_init_fixed(struct kb_clock *c, uint64_t tsc_hz, uint64_t exit_ps, uint64_t stride_ps);

/*
 * One stay in the guest is over: ticks of host TSC around KVM_RUN; ring3 at the exit; kicked: left by a signal. With the
 * fixed clock a short stay that a signal ends (a kick left from an earlier stay, anybody's timer) costs nothing:
 * when those come is the host's affair.
 */
void kb_clock_account(struct kb_clock *c, uint64_t ticks, bool ring3, bool kicked);
/* The guest is stalled for ps. */
void kb_clock_charge(struct kb_clock *c, uint64_t ps);
/* Guest time is at least t from now on. */
static inline void kb_clock_reach(struct kb_clock *c, uint64_t t)
{
	if (t > c->now_ps)
		c->now_ps = t;
}

/* Host TSC ticks in which the guest's clock moves by ps; for the kick. */
uint64_t kb_clock_ticks(const struct kb_clock *c, uint64_t ps);

static inline uint64_t kb_tsc(void)
{
	return __builtin_ia32_rdtsc();
}

#endif
