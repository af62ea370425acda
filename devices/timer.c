/* Chipset timers on simulated time: see timer.h. */
#include "devices/timer.h"

#include <stddef.h>

void kb_timers_init(struct kb_timers *q)
{
	*q = (struct kb_timers){ 0 };
}

void kb_timer_init(struct kb_timer *t, struct kb_timers *q, void (*fire)(void *), void *opaque)
{
	*t = (struct kb_timer){ .fire = fire, .opaque = opaque, .queue = q };
}

void kb_timer_cancel(struct kb_timer *t)
{
	struct kb_timer **p;

	if (!t->armed)
		return;
	for (p = &t->queue->head; *p != t; p = &(*p)->next)
		;
	*p = t->next;
	t->next = NULL;
	t->armed = false;
}

void kb_timer_arm(struct kb_timer *t, uint64_t deadline_ps)
{
	struct kb_timer **p;

	if (t->armed && t->deadline_ps == deadline_ps)
		return;
	kb_timer_cancel(t);
	if (deadline_ps == KB_TIME_NEVER)
		return;
	t->deadline_ps = deadline_ps;
	t->armed = true;
	for (p = &t->queue->head; *p && (*p)->deadline_ps <= deadline_ps; p = &(*p)->next)
		;
	t->next = *p;
	*p = t;
}

void kb_timers_advance(struct kb_timers *q, uint64_t now_ps)
{
	if (now_ps < q->now_ps)
		return;
	q->target_ps = now_ps;
	while (q->head && q->head->deadline_ps <= now_ps) {
		struct kb_timer *t = q->head;

		q->head = t->next;
		t->next = NULL;
		t->armed = false;
		if (t->deadline_ps > q->now_ps)
			q->now_ps = t->deadline_ps;
		t->fire(t->opaque);
	}
	q->now_ps = now_ps;
}

uint64_t kb_ps_to_ticks(uint64_t t_ps, uint64_t hz)
{
	return (uint64_t)((unsigned __int128)t_ps * hz / KB_PS_PER_S);
}

uint64_t kb_ticks_to_ps(uint64_t ticks, uint64_t hz)
{
	unsigned __int128 ps = ((unsigned __int128)ticks * KB_PS_PER_S + hz - 1) / hz;

	return ps >= KB_TIME_NEVER ? KB_TIME_NEVER : (uint64_t)ps;
}
