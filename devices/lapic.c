/*
 * Local APIC: see lapic.h. "Section" below means a section of the SDM's APIC
 * chapter (vol. 3, chapter 11; 10 in older editions).
 */
#include "devices/lapic.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Section "The Local APIC Block Diagram", table "Local APIC Register Address Map". */
enum {
	REG_ID = 0x020,
	REG_VERSION = 0x030,
	REG_TPR = 0x080,
	REG_APR = 0x090,
	REG_PPR = 0x0a0,
	REG_EOI = 0x0b0,
	REG_RRD = 0x0c0,
	REG_LDR = 0x0d0,
	REG_DFR = 0x0e0,
	REG_SVR = 0x0f0,
	REG_ISR = 0x100,
	REG_TMR = 0x180,
	REG_IRR = 0x200,
	REG_ESR = 0x280,
	REG_ICR_LOW = 0x300,
	REG_ICR_HIGH = 0x310,
	REG_LVT = 0x320,
	REG_INITIAL_COUNT = 0x380,
	REG_CURRENT_COUNT = 0x390,
	REG_DIVIDE = 0x3e0,
};

#define VERSION (0x14u | (KB_LAPIC_LVTS - 1) << 16)
#define VERSION_DIRECTED_EOI (1u << 24)

#define SVR_ENABLE (1u << 8)
#define SVR_WRITABLE 0x3ffu
#define SVR_SUPPRESS_EOI (1u << 12)

#define LVT_MODE (7u << 8)
#define LVT_ACTIVE_LOW (1u << 13)
#define LVT_REMOTE_IRR (1u << 14)
#define LVT_LEVEL (1u << 15)
#define LVT_MASKED (1u << 16)
#define LVT_PERIODIC (1u << 17)

#define ICR_LOGICAL (1u << 11)
#define ICR_ASSERT (1u << 14)
#define ICR_LEVEL (1u << 15)
#define ICR_WRITABLE 0x000ccfffu

#define ESR_SEND_ILLEGAL (1u << 5)
#define ESR_RECEIVE_ILLEGAL (1u << 6)
#define ESR_ILLEGAL_REGISTER (1u << 7)

enum { SHORTHAND_NONE, SHORTHAND_SELF, SHORTHAND_ALL, SHORTHAND_OTHERS };

static const uint32_t lvt_writable[KB_LAPIC_LVTS] = {
	[KB_LAPIC_LVT_TIMER] = 0xff | LVT_MASKED | LVT_PERIODIC,
	[KB_LAPIC_LVT_THERMAL] = 0xff | LVT_MODE | LVT_MASKED,
	[KB_LAPIC_LVT_PERF] = 0xff | LVT_MODE | LVT_MASKED,
	[KB_LAPIC_LVT_LINT0] = 0xff | LVT_MODE | LVT_ACTIVE_LOW | LVT_LEVEL | LVT_MASKED,
	[KB_LAPIC_LVT_LINT1] = 0xff | LVT_MODE | LVT_ACTIVE_LOW | LVT_LEVEL | LVT_MASKED,
	[KB_LAPIC_LVT_ERROR] = 0xff | LVT_MASKED,
};

struct lint {
	bool level;  /* of the pin */
	bool active; /* after the polarity bit, as last seen: edges are changes of this */
};

/*
 * The timer counts input clock ticks since start_ps, divided: count n of them
 * have happened by then. Everything else follows, so nothing drifts.
 */
struct countdown {
	bool running;
	uint64_t start_ps;
	uint64_t first;   /* expires when this many counts have happened... */
	uint32_t initial; /* ...and, if periodic, each time this many more have */
	uint32_t divide;  /* the divide configuration register */
	unsigned shift;
	struct kb_timer timer;
};

struct kb_lapic {
	struct kb_lapic_config cfg;
	struct kb_region region;
	bool enabled; /* IA32_APIC_BASE bit 11 */
	uint8_t id, tpr, ldr;
	uint32_t dfr, svr, icr_low, icr_high;
	uint32_t esr;    /* as software sees it */
	uint32_t errors; /* since the last write of ESR */
	uint32_t isr[8], tmr[8], irr[8];
	uint32_t lvt[KB_LAPIC_LVTS];
	uint8_t remote_vector; /* whose EOI clears LINT0's remote IRR */
	bool extint_message;   /* an ExtINT message waits for its INTA cycle */
	struct lint lint[2];
	struct countdown count;
	uint64_t dropped;
	unsigned long drop_log;
};

/* Vector sets: 256 bits. */
static void vector_set(uint32_t *set, uint8_t v)
{
	set[v / 32] |= 1u << v % 32;
}

static void vector_clear(uint32_t *set, uint8_t v)
{
	set[v / 32] &= ~(1u << v % 32);
}

static bool vector_test(const uint32_t *set, uint8_t v)
{
	return set[v / 32] >> v % 32 & 1;
}

/* -1 if empty. */
static int vector_highest(const uint32_t *set)
{
	int i;

	for (i = 7; i >= 0; i--)
		if (set[i])
			return i * 32 + 31 - __builtin_clz(set[i]);
	return -1;
}

static unsigned vector_class(int v)
{
	return v < 0 ? 0 : (unsigned)v & 0xf0;
}

/* Section "Task and Processor Priorities". */
static unsigned ppr(const struct kb_lapic *l)
{
	unsigned service = vector_class(vector_highest(l->isr));

	return (l->tpr & 0xf0u) >= service ? l->tpr : service;
}

/* Section "Lowest Priority Delivery Mode", the P6 formula; later processors have no such register. */
static unsigned apr(const struct kb_lapic *l)
{
	unsigned request = vector_class(vector_highest(l->irr));
	unsigned service = vector_class(vector_highest(l->isr));
	unsigned task = l->tpr & 0xf0u;

	if (task >= request && task > service)
		return l->tpr;
	return (task & service) > request ? task & service : request;
}

/* Highest vector the CPU may be given, -1 if none. */
static int deliverable(const struct kb_lapic *l)
{
	int v = vector_highest(l->irr);

	return vector_class(v) > (ppr(l) & 0xf0) ? v : -1;
}

static unsigned lvt_mode(uint32_t lvt)
{
	return (lvt & LVT_MODE) >> 8;
}

static bool extint_asserted(const struct kb_lapic *l)
{
	int i;

	if (!l->cfg.extint_ack) /* nobody to ask for the vector */
		return false;
	if (!l->enabled)
		return l->lint[0].level;
	if (l->extint_message)
		return true;
	for (i = 0; i < 2; i++) {
		uint32_t lvt = l->lvt[KB_LAPIC_LVT_LINT0 + i];

		if (l->lint[i].active && !(lvt & LVT_MASKED) && lvt_mode(lvt) == KB_LAPIC_EXTINT)
			return true;
	}
	return false;
}

/* To be called after every change of what extint_asserted() and deliverable() look at. */
static void update(struct kb_lapic *l)
{
	kb_line_set(&l->cfg.intr, extint_asserted(l) || (l->enabled && deliverable(l) >= 0));
}

static void drop(struct kb_lapic *l, const char *why, uint64_t what)
{
	l->dropped++;
	if (kb_log_ratelimit(&l->drop_log))
		kb_logf(l->cfg.log, KVMBOX_LOG_WARNING, "lapic %u: message dropped, %s (0x%" PRIx64 "), %" PRIu64 " so far",
		       l->id, why, what, l->dropped);
}

static bool software_enabled(const struct kb_lapic *l)
{
	return l->svr & SVR_ENABLE;
}

/*
 * Timer, section "APIC Timer".
 */

static bool timer_periodic(const struct kb_lapic *l)
{
	return l->lvt[KB_LAPIC_LVT_TIMER] & LVT_PERIODIC;
}

/* Counts since start_ps that have happened by t. */
static uint64_t timer_counts(const struct kb_lapic *l, uint64_t t_ps)
{
	return kb_ps_to_ticks(t_ps - l->count.start_ps, l->cfg.timer_hz) >> l->count.shift;
}

static uint32_t timer_current(const struct kb_lapic *l)
{
	const struct countdown *c = &l->count;
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
	const struct countdown *c = &l->count;
	uint64_t n;

	if (!c->running)
		return 0;
	n = timer_counts(l, kb_timers_target(l->cfg.timers));
	if (n < c->first)
		return c->first;
	return timer_periodic(l) ? c->first + ((n - c->first) / c->initial + 1) * c->initial : 0;
}

/*
 * Arms the chipset timer for an expiry that somebody can notice: not while masked
 * (that expiry is lost), nor while a periodic timer's last one still waits in IRR
 * (it would merge with it). So an idle or hostile guest's timer cuts no slices.
 */
static void timer_arm(struct kb_lapic *l)
{
	uint32_t lvt = l->lvt[KB_LAPIC_LVT_TIMER];
	uint64_t n = timer_next(l), t = KB_TIME_NEVER;
	bool moot = lvt & LVT_MASKED || (timer_periodic(l) && vector_test(l->irr, (uint8_t)lvt));

	if (n && !moot && n <= UINT64_MAX >> l->count.shift)
		t = kb_ticks_to_ps(n << l->count.shift, l->cfg.timer_hz);
	if (t > KB_TIME_NEVER - l->count.start_ps)
		t = KB_TIME_NEVER;
	else
		t += l->count.start_ps;
	kb_timer_arm(&l->count.timer, t);
}

static void timer_start(struct kb_lapic *l, uint32_t count)
{
	l->count.running = count != 0;
	l->count.start_ps = kb_timers_now(l->cfg.timers);
	l->count.first = count;
}

/* The count goes on at the new rate from where it is. */
static void timer_set_divide(struct kb_lapic *l, uint32_t divide)
{
	uint32_t current = timer_current(l);

	if (divide == l->count.divide)
		return;
	l->count.divide = divide;
	l->count.shift = (((divide >> 1 & 4) | (divide & 3)) + 1) & 7;
	timer_start(l, current);
	timer_arm(l);
}

/* The countdown under way runs out when it would have; whether it starts again is the new mode's business. */
static void timer_mode_changes(struct kb_lapic *l)
{
	uint32_t current = timer_current(l);

	if (current)
		l->count.first = timer_counts(l, kb_timers_now(l->cfg.timers)) + current;
	else
		l->count.running = false;
}

/*
 * Accepting interrupts, sections "Handling Interrupts" and "Error Handling".
 */

static void lvt_fire(struct kb_lapic *l, enum kb_lapic_lvt entry);

/* The error interrupt comes once until ESR is written ("this write also rearms"). */
static void log_error(struct kb_lapic *l, uint32_t bit)
{
	bool armed = !l->errors;

	l->errors |= bit;
	if (armed)
		lvt_fire(l, KB_LAPIC_LVT_ERROR);
}

/* Into IRR; the caller updates intr. False: illegal vector. */
static bool accept_vector(struct kb_lapic *l, uint8_t vector, bool level_triggered)
{
	if (vector < 16) {
		log_error(l, ESR_RECEIVE_ILLEGAL);
		return false;
	}
	vector_set(l->irr, vector);
	if (level_triggered)
		vector_set(l->tmr, vector);
	else
		vector_clear(l->tmr, vector);
	return true;
}

static void init_state(struct kb_lapic *l);

static void take_init(struct kb_lapic *l)
{
	init_state(l);
	update(l);
	l->cfg.init(l->cfg.opaque);
}

/* One edge on an LVT entry. ExtINT is a level and not handled here; thermal and perf know no INIT. */
static void lvt_fire(struct kb_lapic *l, enum kb_lapic_lvt entry)
{
	uint32_t lvt = l->lvt[entry];

	if (lvt & LVT_MASKED)
		return;
	switch (lvt_mode(lvt)) {
	case KB_LAPIC_FIXED:
		accept_vector(l, (uint8_t)lvt, false);
		update(l);
		break;
	case KB_LAPIC_NMI:
		if (l->cfg.nmi)
			l->cfg.nmi(l->cfg.opaque);
		break;
	case KB_LAPIC_INIT:
		if (l->cfg.init && (entry == KB_LAPIC_LVT_LINT0 || entry == KB_LAPIC_LVT_LINT1))
			take_init(l);
		break;
	}
}

static void timer_fire(void *opaque)
{
	struct kb_lapic *l = opaque;

	lvt_fire(l, KB_LAPIC_LVT_TIMER);
	timer_arm(l);
}

void kb_lapic_local(struct kb_lapic *l, enum kb_lapic_lvt entry)
{
	uint32_t *lvt = &l->lvt[KB_LAPIC_LVT_PERF];

	if (!l->enabled)
		return;
	if (entry == KB_LAPIC_LVT_THERMAL)
		lvt_fire(l, entry);
	if (entry == KB_LAPIC_LVT_PERF) {
		lvt_fire(l, entry);
		*lvt |= LVT_MASKED; /* "when the local APIC handles a performance-monitoring counters interrupt" */
	}
}

/* Section "Local Vector Table": only fixed interrupts of LINT0 are ever level-triggered. */
static bool lint_level_triggered(const struct kb_lapic *l, int n)
{
	uint32_t lvt = l->lvt[KB_LAPIC_LVT_LINT0];

	return n == 0 && lvt & LVT_LEVEL && lvt_mode(lvt) == KB_LAPIC_FIXED;
}

/* After a change of pin n, its LVT entry or its remote IRR. */
static void lint_update(struct kb_lapic *l, int n)
{
	uint32_t *lvt = &l->lvt[KB_LAPIC_LVT_LINT0 + n];
	bool was = l->lint[n].active;
	bool active = l->lint[n].level != !!(*lvt & LVT_ACTIVE_LOW);

	l->lint[n].active = active;
	if (!lint_level_triggered(l, n)) {
		if (active && !was)
			lvt_fire(l, n ? KB_LAPIC_LVT_LINT1 : KB_LAPIC_LVT_LINT0);
	} else if (active && !(*lvt & (LVT_MASKED | LVT_REMOTE_IRR)) && accept_vector(l, (uint8_t)*lvt, true)) {
		*lvt |= LVT_REMOTE_IRR;
		l->remote_vector = (uint8_t)*lvt;
	}
	update(l);
}

static void lint_set(struct kb_lapic *l, int n, bool level)
{
	bool rises = level && !l->lint[n].level;

	l->lint[n].level = level;
	if (l->enabled) {
		lint_update(l, n);
		return;
	}
	update(l);
	if (n == 1 && rises && l->cfg.nmi)
		l->cfg.nmi(l->cfg.opaque);
}

void kb_lapic_extint(void *lapic, int pin, bool level)
{
	(void)pin;
	lint_set(lapic, 0, level);
}

void kb_lapic_lint1(void *lapic, int pin, bool level)
{
	(void)pin;
	lint_set(lapic, 1, level);
}

bool kb_lapic_pending(const struct kb_lapic *l)
{
	return l->cfg.intr.level;
}

int kb_lapic_ack(struct kb_lapic *l)
{
	int v;

	if (extint_asserted(l)) {
		l->extint_message = false;
		v = l->cfg.extint_ack(l->cfg.opaque);
		update(l);
		if (v >= 0)
			return v & 0xff;
	}
	v = l->enabled ? deliverable(l) : -1;
	if (v < 0)
		return (int)(l->svr & 0xff);
	vector_clear(l->irr, (uint8_t)v);
	vector_set(l->isr, (uint8_t)v);
	if ((uint8_t)v == (uint8_t)l->lvt[KB_LAPIC_LVT_TIMER])
		timer_arm(l);
	update(l);
	return v;
}

/* Section "Signaling Interrupt Servicing Completion". */
static void end_of_interrupt(struct kb_lapic *l)
{
	int v = vector_highest(l->isr);
	uint32_t *lint0 = &l->lvt[KB_LAPIC_LVT_LINT0];
	bool level_triggered;

	if (v < 0)
		return;
	level_triggered = vector_test(l->tmr, (uint8_t)v);
	vector_clear(l->isr, (uint8_t)v);
	if (*lint0 & LVT_REMOTE_IRR && l->remote_vector == v) {
		*lint0 &= ~LVT_REMOTE_IRR;
		lint_update(l, 0);
	}
	update(l);
	if (level_triggered && l->cfg.eoi && !(l->svr & SVR_SUPPRESS_EOI))
		l->cfg.eoi(l->cfg.opaque, (uint8_t)v);
}

/*
 * Messages, sections "Issuing Interprocessor Interrupts" and "Message Signalled Interrupts".
 */

static bool deliver_vector(struct kb_lapic *l, uint8_t vector, bool level_triggered)
{
	bool taken;

	if (!software_enabled(l)) {
		drop(l, "the APIC is software-disabled, vector", vector);
		return false;
	}
	taken = accept_vector(l, vector, level_triggered);
	update(l);
	return taken;
}

static bool deliver_extint(struct kb_lapic *l)
{
	if (!software_enabled(l) || !l->cfg.extint_ack) {
		drop(l, "nobody to take ExtINT", 0);
		return false;
	}
	l->extint_message = true;
	update(l);
	return true;
}

/* NMI, INIT and SIPI get through to a software-disabled APIC; SIPI matters to a waiting CPU only, which is the platform's to know. */
static bool deliver_signal(struct kb_lapic *l, enum kb_lapic_mode mode, uint8_t vector)
{
	void *opaque = l->cfg.opaque;

	if (mode == KB_LAPIC_NMI && l->cfg.nmi)
		l->cfg.nmi(opaque);
	else if (mode == KB_LAPIC_INIT && l->cfg.init)
		take_init(l);
	else if (mode == KB_LAPIC_SIPI && l->cfg.sipi)
		l->cfg.sipi(opaque, vector);
	else
		return false;
	return true;
}

bool kb_lapic_deliver(struct kb_lapic *l, enum kb_lapic_mode mode, uint8_t vector, bool level_triggered)
{
	if (!l->enabled)
		drop(l, "the APIC is disabled, vector", vector);
	else if (mode == KB_LAPIC_FIXED || mode == KB_LAPIC_LOWEST)
		return deliver_vector(l, vector, level_triggered);
	else if (mode == KB_LAPIC_EXTINT)
		return deliver_extint(l);
	else if (deliver_signal(l, mode, vector))
		return true;
	else
		drop(l, "nobody takes this delivery mode", mode);
	return false;
}

/* Section "Determining IPI Destination". */
bool kb_lapic_matches(const struct kb_lapic *l, uint8_t dest, bool logical)
{
	if (!l->enabled)
		return false;
	if (dest == 0xff)
		return true;
	if (!logical)
		return dest == l->id;
	switch (l->dfr >> 28) {
	case 0xf: /* flat */
		return dest & l->ldr;
	case 0x0: /* cluster */
		return dest >> 4 == l->ldr >> 4 && dest & l->ldr & 0xf;
	default: /* reserved */
		return false;
	}
}

bool kb_lapic_msi(struct kb_lapic *l, uint64_t addr, uint32_t data)
{
	uint8_t dest = (uint8_t)(addr >> 12);
	enum kb_lapic_mode mode = (enum kb_lapic_mode)(data >> 8 & 7);
	bool level_triggered = data >> 15 & 1, assert_level = data >> 14 & 1;

	if (addr >> 20 != KB_LAPIC_BASE >> 20)
		drop(l, "no interrupt message address", addr);
	else if (!kb_lapic_matches(l, dest, addr >> 2 & 1))
		drop(l, "no APIC has this destination", dest);
	else if (mode == KB_LAPIC_SIPI)
		drop(l, "reserved delivery mode in message data", data);
	else if (!level_triggered || assert_level)
		return kb_lapic_deliver(l, mode, (uint8_t)data, level_triggered);
	return false;
}

uint64_t kb_lapic_dropped(const struct kb_lapic *l)
{
	return l->dropped;
}

/* Table "Valid Combinations for the Pentium 4 and Intel Xeon Processors' Local xAPIC Interrupt Command Register". */
static bool icr_valid(unsigned mode, unsigned shorthand)
{
	if (mode == 3 || mode == KB_LAPIC_EXTINT)
		return false;
	return mode == KB_LAPIC_FIXED || shorthand == SHORTHAND_NONE || shorthand == SHORTHAND_OTHERS;
}

/*
 * Sends what ICR says; invalid combinations do nothing. The trigger and level
 * bits mean nothing since the Pentium 4 but for INIT level de-assert, which does nothing.
 * Lowest priority goes to the sender if it is among those addressed.
 */
static void icr_send(struct kb_lapic *l)
{
	uint32_t icr = l->icr_low;
	enum kb_lapic_mode mode = (enum kb_lapic_mode)(icr >> 8 & 7);
	unsigned shorthand = icr >> 18 & 3;
	uint8_t vector = (uint8_t)icr, dest = (uint8_t)(l->icr_high >> 24);
	bool logical = icr & ICR_LOGICAL, self, others;

	if (!icr_valid(mode, shorthand) || (mode == KB_LAPIC_INIT && icr & ICR_LEVEL && !(icr & ICR_ASSERT)))
		return;
	if (vector < 16 && (mode == KB_LAPIC_FIXED || mode == KB_LAPIC_LOWEST))
		log_error(l, ESR_SEND_ILLEGAL);
	if (shorthand == SHORTHAND_NONE) {
		self = kb_lapic_matches(l, dest, logical);
		others = logical || dest == 0xff || dest != l->id;
	} else {
		self = shorthand != SHORTHAND_OTHERS;
		others = shorthand != SHORTHAND_SELF;
		dest = 0xff;
		logical = false;
	}
	if (others && !(self && mode == KB_LAPIC_LOWEST) && l->cfg.ipi)
		l->cfg.ipi(l->cfg.opaque, dest, logical, mode, vector);
	if (self)
		kb_lapic_deliver(l, mode, vector, false);
}

/*
 * Registers.
 */

void kb_lapic_set_tpr(struct kb_lapic *l, uint8_t tpr)
{
	l->tpr = tpr;
	update(l);
}

uint8_t kb_lapic_get_tpr(const struct kb_lapic *l)
{
	return l->tpr;
}

/* Section "Local APIC State After It Has Been Software Disabled": every LVT entry is masked and stays so. */
static void svr_write(struct kb_lapic *l, uint32_t value)
{
	int i;

	l->svr = value & (SVR_WRITABLE | (l->cfg.directed_eoi ? SVR_SUPPRESS_EOI : 0));
	if (!software_enabled(l))
		for (i = 0; i < KB_LAPIC_LVTS; i++)
			l->lvt[i] |= LVT_MASKED;
	timer_arm(l);
	update(l);
}

static void lvt_write(struct kb_lapic *l, unsigned entry, uint32_t value)
{
	uint32_t *lvt = &l->lvt[entry];

	value &= lvt_writable[entry];
	if (!software_enabled(l))
		value |= LVT_MASKED;
	if (entry == KB_LAPIC_LVT_TIMER) {
		if ((value ^ *lvt) & LVT_PERIODIC)
			timer_mode_changes(l);
		*lvt = value;
		timer_arm(l);
	} else if (entry == KB_LAPIC_LVT_LINT0 || entry == KB_LAPIC_LVT_LINT1) {
		uint32_t remote_irr = *lvt & LVT_REMOTE_IRR;
		int n = (int)entry - KB_LAPIC_LVT_LINT0;

		*lvt = value;
		if (lint_level_triggered(l, n))
			*lvt |= remote_irr;
		lint_update(l, n);
	} else {
		*lvt = value;
	}
}

/* 0 for the reserved ones, too, which are an error. */
static uint32_t reg_read(struct kb_lapic *l, unsigned reg)
{
	switch (reg) {
	case REG_ID: return (uint32_t)l->id << 24;
	case REG_VERSION: return VERSION | (l->cfg.directed_eoi ? VERSION_DIRECTED_EOI : 0);
	case REG_TPR: return l->tpr;
	case REG_APR: return apr(l);
	case REG_PPR: return ppr(l);
	case REG_EOI: /* write-only */
	case REG_RRD: return 0;
	case REG_LDR: return (uint32_t)l->ldr << 24;
	case REG_DFR: return l->dfr;
	case REG_SVR: return l->svr;
	case REG_ISR ... REG_ISR + 0x70: return l->isr[(reg - REG_ISR) / 0x10];
	case REG_TMR ... REG_TMR + 0x70: return l->tmr[(reg - REG_TMR) / 0x10];
	case REG_IRR ... REG_IRR + 0x70: return l->irr[(reg - REG_IRR) / 0x10];
	case REG_ESR: return l->esr;
	case REG_ICR_LOW: return l->icr_low; /* delivery status: always idle */
	case REG_ICR_HIGH: return l->icr_high;
	case REG_LVT ... REG_LVT + 0x50: return l->lvt[(reg - REG_LVT) / 0x10];
	case REG_INITIAL_COUNT: return l->count.initial;
	case REG_CURRENT_COUNT: return timer_current(l);
	case REG_DIVIDE: return l->count.divide;
	default:
		log_error(l, ESR_ILLEGAL_REGISTER);
		return 0;
	}
}

static void reg_write(struct kb_lapic *l, unsigned reg, uint32_t value)
{
	switch (reg) {
	case REG_ID:
		l->id = (uint8_t)(value >> 24);
		break;
	case REG_TPR:
		kb_lapic_set_tpr(l, (uint8_t)value);
		break;
	case REG_EOI:
		end_of_interrupt(l);
		break;
	case REG_LDR:
		l->ldr = (uint8_t)(value >> 24);
		break;
	case REG_DFR:
		l->dfr = value | 0x0fffffff;
		break;
	case REG_SVR:
		svr_write(l, value);
		break;
	case REG_ESR: /* whatever is written: shows the errors since the last time */
		l->esr = l->errors;
		l->errors = 0;
		break;
	case REG_ICR_LOW:
		l->icr_low = value & ICR_WRITABLE;
		icr_send(l);
		break;
	case REG_ICR_HIGH:
		l->icr_high = value & 0xff000000;
		break;
	case REG_LVT ... REG_LVT + 0x50:
		lvt_write(l, (reg - REG_LVT) / 0x10, value);
		break;
	case REG_INITIAL_COUNT:
		l->count.initial = value;
		timer_start(l, value);
		timer_arm(l);
		break;
	case REG_DIVIDE:
		timer_set_divide(l, value & 0xb);
		break;
	case REG_VERSION: /* read-only ones */
	case REG_APR:
	case REG_PPR:
	case REG_RRD:
	case REG_ISR ... REG_IRR + 0x70:
	case REG_CURRENT_COUNT:
		break;
	default:
		log_error(l, ESR_ILLEGAL_REGISTER);
	}
}

/*
 * Registers are the first 4 bytes of each 16; what lies between reads as 0. Reads
 * narrower than a register give its bytes.
 */
static uint64_t lapic_read(void *opaque, uint64_t off, unsigned len)
{
	struct kb_lapic *l = opaque;

	if (!l->enabled)
		return UINT64_MAX >> (64 - 8 * len);
	if (off & 0xc)
		return 0;
	return (reg_read(l, (unsigned)off & ~3u) >> 8 * (off & 3)) & (UINT32_MAX >> (32 - 8 * len));
}

/* Writes narrower than a register are ignored: the SDM allows 32-bit stores only. */
static void lapic_write(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_lapic *l = opaque;

	if (l->enabled && len == 4 && !(off & 0xf))
		reg_write(l, (unsigned)off, (uint32_t)value);
}

/* Section "Local APIC State After It Receives an INIT Reset": power-up state, APIC ID kept. */
static void init_state(struct kb_lapic *l)
{
	int i;

	l->tpr = l->ldr = 0;
	l->dfr = 0xffffffff;
	l->svr = 0xff;
	l->icr_low = l->icr_high = l->esr = l->errors = 0;
	memset(l->isr, 0, sizeof(l->isr));
	memset(l->tmr, 0, sizeof(l->tmr));
	memset(l->irr, 0, sizeof(l->irr));
	for (i = 0; i < KB_LAPIC_LVTS; i++)
		l->lvt[i] = LVT_MASKED;
	l->remote_vector = 0;
	l->extint_message = false;
	for (i = 0; i < 2; i++)
		l->lint[i].active = l->lint[i].level;
	l->count.running = false;
	l->count.initial = l->count.divide = 0;
	l->count.shift = 1;
	kb_timer_cancel(&l->count.timer);
}

void kb_lapic_reset(struct kb_lapic *l)
{
	init_state(l);
	l->id = l->cfg.id;
	l->enabled = true;
	if (l->cfg.virtual_wire) {
		l->svr = SVR_ENABLE | 0xff;
		l->lvt[KB_LAPIC_LVT_LINT0] = KB_LAPIC_EXTINT << 8;
		l->lvt[KB_LAPIC_LVT_LINT1] = KB_LAPIC_NMI << 8;
	}
	update(l);
}

/* Section "Enabling or Disabling the Local APIC". */
void kb_lapic_set_enabled(struct kb_lapic *l, bool enabled)
{
	if (l->enabled == enabled)
		return;
	init_state(l);
	l->id = l->cfg.id;
	l->enabled = enabled;
	update(l);
}

int kb_lapic_create(struct kb_lapic **out, const struct kb_lapic_config *cfg, struct kvmbox_error *err)
{
	struct kb_lapic *l;
	int rc;

	if (cfg->timer_hz > KB_PS_PER_S)
		return kb_fail(err, EINVAL, "lapic %u: timer_hz is %" PRIu64 "; it can be at most 1 THz, as time is counted in ps",
			       cfg->id, cfg->timer_hz);
	l = calloc(1, sizeof(*l));
	if (!l)
		return kb_fail(err, ENOMEM, "out of memory creating lapic %u", cfg->id);
	l->cfg = *cfg;
	if (!l->cfg.timer_hz)
		l->cfg.timer_hz = 1000000000;
	l->region = (struct kb_region){
		.name = "lapic", .base = KB_LAPIC_BASE, .size = KB_LAPIC_SIZE, .max_len = 4,
		.read = lapic_read, .write = lapic_write, .opaque = l,
	};
	kb_timer_init(&l->count.timer, cfg->timers, timer_fire, l);
	rc = kb_bus_add(cfg->mem, &l->region, err);
	if (rc) {
		free(l);
		return rc;
	}
	kb_lapic_reset(l);
	*out = l;
	return 0;
}

void kb_lapic_destroy(struct kb_lapic *l)
{
	if (!l)
		return;
	kb_timer_cancel(&l->count.timer);
	kb_bus_remove(l->cfg.mem, &l->region);
	free(l);
}
