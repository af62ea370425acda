/*
 * The local APIC's timer: Intel SDM vol. 3, section "APIC Timer". See lapic.h.
 */
#include "devices/lapic_internal.h"

static bool timer_periodic(const struct kb_lapic *l)
{
	return (l->lvt[KB_LAPIC_LVT_TIMER] & LVT_TIMER_MODE) == LVT_PERIODIC;
}

static bool by_deadline(uint32_t lvt)
{
	return (lvt & LVT_TIMER_MODE) == LVT_DEADLINE;
}

/* Counts since start_ps that have happened by t. */
static uint64_t timer_counts(const struct kb_lapic *l, uint64_t t_ps)
{
	return kb_ps_to_ticks(t_ps - l->count.start_ps, l->cfg.timer_hz) >> l->count.shift;
}

uint32_t kb_lapic_timer_current(const struct kb_lapic *l)
{
	const struct kb_lapic_countdown *c = &l->count;
	uint64_t n;

	if (!c->running)
		return 0;
	n = timer_counts(l, kb_timers_now(l->cfg.timers));
	if (n < c->first)
		return (uint32_t)(c->first - n);
	return timer_periodic(l) ? c->initial - (uint32_t)((n - c->first) % c->initial) : 0;
}

/* The first expiry behind the advance under way, in counts; 0 if none. */
static uint64_t timer_next(const struct kb_lapic *l)
{
	const struct kb_lapic_countdown *c = &l->count;
	uint64_t n;

	if (!c->running)
		return 0;
	n = timer_counts(l, kb_timers_target(l->cfg.timers));
	if (n < c->first)
		return c->first;
	return timer_periodic(l) ? c->first + ((n - c->first) / c->initial + 1) * c->initial : 0;
}

/* When the deadline is: guest time, KB_TIME_NEVER: none is set. */
static uint64_t deadline_ps(const struct kb_lapic *l)
{
	return l->count.deadline ? l->cfg.tsc_reaches(l->cfg.opaque, l->count.deadline) : KB_TIME_NEVER;
}

/* When the count expires next, in guest time. */
static uint64_t expiry_ps(const struct kb_lapic *l)
{
	uint64_t n = timer_next(l), t = KB_TIME_NEVER;

	if (n && n <= UINT64_MAX >> l->count.shift)
		t = kb_ticks_to_ps(n << l->count.shift, l->cfg.timer_hz);
	return t > KB_TIME_NEVER - l->count.start_ps ? KB_TIME_NEVER : t + l->count.start_ps;
}

/*
 * For an expiry that somebody can notice: not while masked
 * (that expiry is lost), nor while a periodic timer's last one still waits in IRR
 * (it would merge with it). So an idle or hostile guest's timer cuts no slices.
 */
void kb_lapic_timer_arm(struct kb_lapic *l)
{
	uint32_t lvt = l->lvt[KB_LAPIC_LVT_TIMER];
	bool moot = lvt & LVT_MASKED || (timer_periodic(l) && kb_vector_test(l->irr, (uint8_t)lvt));

	kb_timer_arm(&l->count.timer, moot ? KB_TIME_NEVER : by_deadline(lvt) ? deadline_ps(l) : expiry_ps(l));
}

static void start(struct kb_lapic *l, uint32_t count)
{
	l->count.running = count != 0;
	l->count.start_ps = kb_timers_now(l->cfg.timers);
	l->count.first = count;
}

/* The count goes on at the new rate from where it is. */
void kb_lapic_timer_divide(struct kb_lapic *l, uint32_t divide)
{
	uint32_t current = kb_lapic_timer_current(l);

	if (divide == l->count.divide)
		return;
	l->count.divide = divide;
	l->count.shift = (((divide >> 1 & 4) | (divide & 3)) + 1) & 7;
	start(l, current);
	kb_lapic_timer_arm(l);
}

void kb_lapic_timer_count(struct kb_lapic *l, uint32_t count)
{
	if (by_deadline(l->lvt[KB_LAPIC_LVT_TIMER]))
		return;
	l->count.initial = count;
	start(l, count);
	kb_lapic_timer_arm(l);
}

/* To or from TSC-deadline mode: disarmed. Else the countdown runs out when it would have; whether it starts again is the new mode's business. */
void kb_lapic_timer_mode(struct kb_lapic *l, uint32_t lvt)
{
	uint32_t current = kb_lapic_timer_current(l), changes = lvt ^ l->lvt[KB_LAPIC_LVT_TIMER];

	if (!(changes & LVT_TIMER_MODE))
		return;
	if (changes & LVT_DEADLINE) {
		l->count.running = false;
		l->count.initial = 0;
		l->count.deadline = 0;
	} else if (current)
		l->count.first = timer_counts(l, kb_timers_now(l->cfg.timers)) + current;
	else
		l->count.running = false;
}

void kb_lapic_timer_fire(void *opaque)
{
	struct kb_lapic *l = opaque;

	l->count.deadline = 0;
	kb_lapic_lvt_fire(l, KB_LAPIC_LVT_TIMER);
	kb_lapic_timer_arm(l);
}


/* IA32_TSC_DEADLINE. In other modes it reads as 0 and writes do nothing. */
uint64_t kb_lapic_timer_get_deadline(struct kb_lapic *l)
{
	if (deadline_ps(l) <= kb_timers_now(l->cfg.timers)) /* expired while masked */
		l->count.deadline = 0;
	return l->count.deadline;
}

void kb_lapic_timer_set_deadline(struct kb_lapic *l, uint64_t tsc)
{
	if (!by_deadline(l->lvt[KB_LAPIC_LVT_TIMER]))
		return;
	l->count.deadline = tsc;
	kb_lapic_timer_arm(l);
}
