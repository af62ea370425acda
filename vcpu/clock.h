/*
 * The guest clock: simulated time of a vCPU's next instruction, in ps, and how
 * running the guest moves it. It never goes back.
 *
 * Where its time comes from is a source: one of a few, each a file of its own
 * (clock_*.c), chosen when the clock is made.
 */
#ifndef KB_CLOCK_H
#define KB_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "vcpu/perf.h"

struct kb_clock;

/* One stay in the guest, from KVM_RUN's call to its return. */
struct kb_stay {
	uint64_t left;   /* host TSC at its end */
	uint64_t ticks;  /* host TSC ticks it took */
	uint64_t stolen; /* of these, the thread was not running */
	uint64_t shown;  /* the guest may have read clocks that go on by themselves up to so many ticks: no less has passed */
	bool ring3;      /* the guest is in ring 3 at the exit */
	bool kicked;     /* a signal ended it */
	bool stepped;    /* it was a single step that made no exit to be served */
	uint64_t instructions; /* done in it, if stepped or the clock counts them */
};

struct kb_clock_ops {
	const char *name; /* as in the configuration */
	/* Guest time the stay took, ps. */
	uint64_t (*account)(struct kb_clock *c, const struct kb_stay *stay);
	/* Host ticks to stay for the guest's clock to move by ps; for the kick. */
	uint64_t (*ticks)(const struct kb_clock *c, uint64_t ps);
	/* An access that KVM did not make an exit of its own for. NULL: nothing to do. */
	void (*exit)(struct kb_clock *c);
	/* The stay is about to begin. NULL: nothing to do. */
	void (*enter)(struct kb_clock *c);
	/* The calling thread begins to run the vCPU. 0 or a negative errno. NULL: nothing to do. */
	int (*attach)(struct kb_clock *c, struct kvmbox_error *err);
	/* Frees what the source holds. NULL: nothing. */
	void (*destroy)(struct kb_clock *c);
};

/* Host ticks <-> guest ps at a constant rate, without drift. */
struct kb_rate {
	uint64_t ps_per_tick;  /* 32.32 fixed point */
	uint64_t ticks_per_ps; /* 0.64 fixed point, the inverse */
	uint64_t fraction;     /* of a ps carried over, in 2^-32 ps */
};

struct kb_clock {
	uint64_t now_ps;
	const struct kb_clock_ops *ops;
	uint64_t tsc_hz;
	/*
	 * Guest time passes at this rate while the guest runs; ps_per_tick 0: it stands still until the exit, and
	 * what the guest can read without one does so, too.
	 */
	struct kb_rate rate;
	uint64_t insn_ps; /* an instruction takes this: the guest has to be stepped; 0: time does not count instructions */
	bool exact;       /* same inputs, same times: whatever depends on the host has to be kept out */
	union {
		struct {
			uint64_t cost_ticks[2]; /* entry + exit with the guest in ring 0-2 and in ring 3, as seen lately, */
			uint64_t most_ticks[2]; /* and as calibrated */
		} tsc;
		struct {
			uint64_t exit_ps;
			uint64_t waited_ticks; /* CPU time of the guest since the last exit or stride */
			uint64_t stride_ps;    /* what a guest that does not exit is moved on by */
			unsigned steps;        /* since the last exit or stride */
		} fixed;
		struct {
			const struct kb_perf_api *api;
			struct kb_perf counters;
			enum kb_perf_event event;
			pid_t tid;           /* whose guests are counted */
			uint64_t last;       /* the count at the last exit */
			uint64_t lost;       /* stays that the PMU did not count */
			struct kb_rate count; /* ps per event */
			double ps_per_tick;  /* seen so far, for the kick */
		} perf;
		struct {
			uint64_t left; /* host TSC at the last exit, 0: none yet */
		} host;
	};
};

/* rate = ps of guest time per host tick; scale_ps is the ps a second of ticks is worth. */
void kb_rate_init(struct kb_rate *r, uint64_t tsc_hz, double scale_ps);
/* ticks in ps; carries the fraction over to the next call. Saturates. */
uint64_t kb_rate_ps(struct kb_rate *r, uint64_t ticks);
/* The ticks after which ps have passed, rounded up. */
uint64_t kb_rate_ticks(const struct kb_rate *r, uint64_t ps);

/*
 * tsc: host TSC ticks in the guest, less those stolen and the cost of entry and exit. time_scale: simulated seconds per
 * second in the guest, > 0. cost_ps: entry and exit, measured on this host.
 */
void kb_clock_init_tsc(struct kb_clock *c, uint64_t tsc_hz, double time_scale, const uint64_t cost_ps[2]);
/*
 * fixed: every exit costs exit_ps, computing is free. A guest that computes for very long without an exit is moved on by
 * stride_ps, so that one that only waits cannot stop time.
 */
void kb_clock_init_fixed(struct kb_clock *c, uint64_t tsc_hz, uint64_t exit_ps, uint64_t stride_ps);
/* step: every instruction takes insn_ps (see step.h for what is one), exits nothing. The guest has to be stepped. */
void kb_clock_init_step(struct kb_clock *c, uint64_t tsc_hz, uint64_t insn_ps);
/*
 * perf-cycles, perf-insns: each event the host's PMU counts in the guest takes event_ps, > 0. Errors as kb_perf_open(); then the
 * clock has no source.
 */
int kb_clock_init_perf(struct kb_clock *c, const struct kb_perf_api *api, enum kb_perf_event event, uint64_t tsc_hz,
		       double event_ps, struct kvmbox_error *err);
/* host: host time, in the guest and out of it, times time_scale. */
void kb_clock_init_host(struct kb_clock *c, uint64_t tsc_hz, double time_scale);
/* Leaves the clock with its time, but no source. */
void kb_clock_destroy(struct kb_clock *c);

static inline void kb_clock_enter(struct kb_clock *c)
{
	if (c->ops->enter)
		c->ops->enter(c);
}
static inline int kb_clock_attach(struct kb_clock *c, struct kvmbox_error *err)
{
	return c->ops->attach ? c->ops->attach(c, err) : 0;
}
/* One stay in the guest is over. */
void kb_clock_account(struct kb_clock *c, const struct kb_stay *stay);
/* The guest is stalled for ps. */
void kb_clock_charge(struct kb_clock *c, uint64_t ps);
/* The box makes an access in KVM's place: it takes what an exit takes. */
static inline void kb_clock_exit(struct kb_clock *c)
{
	if (c->ops->exit)
		c->ops->exit(c);
}
/* Guest time is at least t from now on. */
static inline void kb_clock_reach(struct kb_clock *c, uint64_t t)
{
	if (t > c->now_ps)
		c->now_ps = t;
}

/* Host TSC ticks in which the guest's clock moves by ps; for the kick. */
static inline uint64_t kb_clock_ticks(const struct kb_clock *c, uint64_t ps)
{
	return c->ops->ticks(c, ps);
}

static inline uint64_t kb_tsc(void)
{
	return __builtin_ia32_rdtsc();
}

#endif
