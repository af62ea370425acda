/*
 * Chipset timers on simulated time (unsigned 64-bit picoseconds).
 *
 * One queue per box. The run loop asks kb_timers_next() where the slice must
 * end and calls kb_timers_advance() with the guest clock before each guest
 * entry and each access, so a device's `now` is always the guest's time.
 * No guest instruction runs between the deadlines one advance passes: a
 * periodic device re-arms behind kb_timers_target() and coalesces the edges
 * in between, which makes the cost of a long jump independent of its period.
 */
#ifndef KB_TIMER_H
#define KB_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#define KB_TIME_NEVER UINT64_MAX
#define KB_PS_PER_NS 1000ull
#define KB_PS_PER_US 1000000ull
#define KB_PS_PER_MS 1000000000ull
#define KB_PS_PER_S  1000000000000ull

struct kb_timers;

struct kb_timer {
	void (*fire)(void *opaque); /* may arm and cancel any timer of the queue */
	void *opaque;
	struct kb_timers *queue;
	uint64_t deadline_ps;
	bool armed;
	struct kb_timer *next;      /* armed timers, earliest first, FIFO among equals */
};

struct kb_timers {
	uint64_t now_ps;    /* guest time; the deadline while a timer fires */
	uint64_t target_ps; /* where the advance under way will end; now_ps outside one */
	struct kb_timer *head;
};

void kb_timers_init(struct kb_timers *q);
void kb_timer_init(struct kb_timer *t, struct kb_timers *q, void (*fire)(void *), void *opaque);
/* (Re-)arms; a deadline in the past fires at the next advance. KB_TIME_NEVER cancels. */
void kb_timer_arm(struct kb_timer *t, uint64_t deadline_ps);
void kb_timer_cancel(struct kb_timer *t);

/* Earliest deadline, KB_TIME_NEVER if none is armed. */
static inline uint64_t kb_timers_next(const struct kb_timers *q)
{
	return q->head ? q->head->deadline_ps : KB_TIME_NEVER;
}

static inline uint64_t kb_timers_now(const struct kb_timers *q)
{
	return q->now_ps;
}

static inline uint64_t kb_timers_target(const struct kb_timers *q)
{
	return q->target_ps;
}

/* Fires everything due up to now_ps in order; time never goes back (an earlier now_ps is ignored). */
void kb_timers_advance(struct kb_timers *q, uint64_t now_ps);

/*
 * Ticks of a clock of `hz` that have happened by t (floor), and the earliest
 * time by which n ticks have happened (ceiling; KB_TIME_NEVER on overflow),
 * both exact: no drift however long the run.
 */
uint64_t kb_ps_to_ticks(uint64_t t_ps, uint64_t hz);
uint64_t kb_ticks_to_ps(uint64_t ticks, uint64_t hz);

#endif
