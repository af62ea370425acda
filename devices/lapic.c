/*
 * Local APIC: see lapic.h. "Section" below means a section of the SDM's APIC
 * chapter (vol. 3, chapter 11; 10 in older editions).
 */
#include "devices/lapic_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t lvt_writable[KB_LAPIC_LVTS] = {
	[KB_LAPIC_LVT_TIMER] = 0xff | LVT_MASKED | LVT_TIMER_MODE,
	[KB_LAPIC_LVT_THERMAL] = 0xff | LVT_MODE | LVT_MASKED,
	[KB_LAPIC_LVT_PERF] = 0xff | LVT_MODE | LVT_MASKED,
	[KB_LAPIC_LVT_LINT0] = 0xff | LVT_MODE | LVT_ACTIVE_LOW | LVT_LEVEL | LVT_MASKED,
	[KB_LAPIC_LVT_LINT1] = 0xff | LVT_MODE | LVT_ACTIVE_LOW | LVT_LEVEL | LVT_MASKED,
	[KB_LAPIC_LVT_ERROR] = 0xff | LVT_MASKED,
};

uint32_t kb_lapic_lvt_writable(const struct kb_lapic *l, unsigned entry)
{
	bool no_deadline = entry == KB_LAPIC_LVT_TIMER && !l->cfg.tsc_reaches;

	return lvt_writable[entry] & ~(no_deadline ? LVT_DEADLINE : 0);
}

static unsigned vector_class(int v)
{
	return v < 0 ? 0 : (unsigned)v & 0xf0;
}

/* Section "Task and Processor Priorities". */
static unsigned ppr(const struct kb_lapic *l)
{
	unsigned service = vector_class(kb_vector_highest(l->isr));

	return (l->tpr & 0xf0u) >= service ? l->tpr : service;
}

/* Section "Lowest Priority Delivery Mode", the P6 formula; later processors have no such register. */
static unsigned apr(const struct kb_lapic *l)
{
	unsigned request = vector_class(kb_vector_highest(l->irr));
	unsigned service = vector_class(kb_vector_highest(l->isr));
	unsigned task = l->tpr & 0xf0u;

	if (task >= request && task > service)
		return l->tpr;
	return (task & service) > request ? task & service : request;
}

/* Highest vector the CPU may be given, -1 if none. */
static int deliverable(const struct kb_lapic *l)
{
	int v = kb_vector_highest(l->irr);

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
void kb_lapic_update(struct kb_lapic *l)
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
 * Accepting interrupts, sections "Handling Interrupts" and "Error Handling".
 */

/* The error interrupt comes once until ESR is written ("this write also rearms"). */
static void log_error(struct kb_lapic *l, uint32_t bit)
{
	bool armed = !l->errors;

	l->errors |= bit;
	if (armed)
		kb_lapic_lvt_fire(l, KB_LAPIC_LVT_ERROR);
}

/* Into IRR; the caller updates intr. False: illegal vector. */
static bool accept_vector(struct kb_lapic *l, uint8_t vector, bool level_triggered)
{
	if (vector < 16) {
		log_error(l, ESR_RECEIVE_ILLEGAL);
		return false;
	}
	kb_vector_set(l->irr, vector);
	if (level_triggered)
		kb_vector_set(l->tmr, vector);
	else
		kb_vector_clear(l->tmr, vector);
	return true;
}

static void take_init(struct kb_lapic *l)
{
	kb_lapic_init_state(l);
	kb_lapic_update(l);
	l->cfg.init(l->cfg.opaque);
}

/* One edge on an LVT entry. ExtINT is a level and not handled here; thermal and perf know no INIT. */
void kb_lapic_lvt_fire(struct kb_lapic *l, enum kb_lapic_lvt entry)
{
	uint32_t lvt = l->lvt[entry];

	if (lvt & LVT_MASKED)
		return;
	switch (lvt_mode(lvt)) {
	case KB_LAPIC_FIXED:
		accept_vector(l, (uint8_t)lvt, false);
		kb_lapic_update(l);
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

void kb_lapic_local(struct kb_lapic *l, enum kb_lapic_lvt entry)
{
	uint32_t *lvt = &l->lvt[KB_LAPIC_LVT_PERF];

	if (!l->enabled)
		return;
	if (entry == KB_LAPIC_LVT_THERMAL)
		kb_lapic_lvt_fire(l, entry);
	if (entry == KB_LAPIC_LVT_PERF) {
		kb_lapic_lvt_fire(l, entry);
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
			kb_lapic_lvt_fire(l, n ? KB_LAPIC_LVT_LINT1 : KB_LAPIC_LVT_LINT0);
	} else if (active && !(*lvt & (LVT_MASKED | LVT_REMOTE_IRR)) && accept_vector(l, (uint8_t)*lvt, true)) {
		*lvt |= LVT_REMOTE_IRR;
		l->remote_vector = (uint8_t)*lvt;
	}
	kb_lapic_update(l);
}

static void lint_set(struct kb_lapic *l, int n, bool level)
{
	bool rises = level && !l->lint[n].level;

	l->lint[n].level = level;
	if (l->enabled) {
		lint_update(l, n);
		return;
	}
	kb_lapic_update(l);
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
		kb_lapic_update(l);
		if (v >= 0)
			return v & 0xff;
	}
	v = l->enabled ? deliverable(l) : -1;
	if (v < 0)
		return (int)(l->svr & 0xff);
	kb_vector_clear(l->irr, (uint8_t)v);
	kb_vector_set(l->isr, (uint8_t)v);
	if ((uint8_t)v == (uint8_t)l->lvt[KB_LAPIC_LVT_TIMER])
		kb_lapic_timer_arm(l);
	kb_lapic_update(l);
	return v;
}

/* Section "Signaling Interrupt Servicing Completion". */
static void end_of_interrupt(struct kb_lapic *l)
{
	int v = kb_vector_highest(l->isr);
	uint32_t *lint0 = &l->lvt[KB_LAPIC_LVT_LINT0];
	bool level_triggered;

	if (v < 0)
		return;
	level_triggered = kb_vector_test(l->tmr, (uint8_t)v);
	kb_vector_clear(l->isr, (uint8_t)v);
	if (*lint0 & LVT_REMOTE_IRR && l->remote_vector == v) {
		*lint0 &= ~LVT_REMOTE_IRR;
		lint_update(l, 0);
	}
	kb_lapic_update(l);
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
	kb_lapic_update(l);
	return taken;
}

static bool deliver_extint(struct kb_lapic *l)
{
	if (!software_enabled(l) || !l->cfg.extint_ack) {
		drop(l, "nobody to take ExtINT", 0);
		return false;
	}
	l->extint_message = true;
	kb_lapic_update(l);
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

/* Section "Logical Destination Mode in x2APIC Mode". */
static uint32_t x2apic_ldr(const struct kb_lapic *l)
{
	return (l->id & ~0xfu) << 12 | 1u << (l->id & 0xf);
}

static bool matches_x2apic(const struct kb_lapic *l, uint32_t dest, bool logical)
{
	uint32_t ldr = x2apic_ldr(l);

	if (!logical)
		return dest == l->id;
	return dest >> 16 == ldr >> 16 && dest & ldr & 0xffff;
}

/* Section "Determining IPI Destination". */
bool kb_lapic_matches(const struct kb_lapic *l, uint32_t dest, bool logical)
{
	if (!l->enabled)
		return false;
	if (dest == KB_LAPIC_BROADCAST)
		return true;
	if (l->x2apic)
		return matches_x2apic(l, dest, logical);
	if (dest == 0xff)
		return true;
	if (!logical)
		return dest == l->id;
	switch (l->dfr >> 28) {
	case 0xf: /* flat */
		return dest & l->ldr;
	case 0x0: /* cluster */
		return dest >> 4 == l->ldr >> 4u && dest & l->ldr & 0xf;
	default: /* reserved */
		return false;
	}
}

unsigned kb_lapic_priority(const struct kb_lapic *l)
{
	return ppr(l);
}

bool kb_lapic_decode(uint64_t addr, uint32_t data, struct kb_lapic_message *m)
{
	m->dest = addr >> 12 & 0xff;
	if (m->dest == 0xff)
		m->dest = KB_LAPIC_BROADCAST;
	m->logical = addr >> 2 & 1;
	m->mode = (enum kb_lapic_mode)(data >> 8 & 7);
	return addr >> 20 == KB_LAPIC_BASE >> 20;
}

bool kb_lapic_msi(struct kb_lapic *l, uint64_t addr, uint32_t data)
{
	struct kb_lapic_message m;
	bool level_triggered = data >> 15 & 1, assert_level = data >> 14 & 1;

	if (!kb_lapic_decode(addr, data, &m))
		drop(l, "no interrupt message address", addr);
	else if (!kb_lapic_matches(l, m.dest, m.logical))
		drop(l, "no APIC has this destination", m.dest & 0xff);
	else if (m.mode == KB_LAPIC_SIPI)
		drop(l, "reserved delivery mode in message data", data);
	else if (!level_triggered || assert_level)
		return kb_lapic_deliver(l, m.mode, (uint8_t)data, level_triggered);
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
void kb_lapic_icr_send(struct kb_lapic *l)
{
	uint32_t icr = l->icr_low;
	enum kb_lapic_mode mode = (enum kb_lapic_mode)(icr >> 8 & 7);
	unsigned shorthand = icr >> 18 & 3;
	uint8_t vector = (uint8_t)icr;
	uint32_t everybody = l->x2apic ? KB_LAPIC_BROADCAST : 0xff, dest = l->x2apic ? l->icr_high : l->icr_high >> 24;
	bool logical = icr & ICR_LOGICAL, self, others;

	if (!icr_valid(mode, shorthand) || (mode == KB_LAPIC_INIT && icr & ICR_LEVEL && !(icr & ICR_ASSERT)))
		return;
	if (vector < 16 && (mode == KB_LAPIC_FIXED || mode == KB_LAPIC_LOWEST))
		log_error(l, ESR_SEND_ILLEGAL);
	if (shorthand == SHORTHAND_NONE) {
		self = kb_lapic_matches(l, dest, logical);
		others = logical || dest == everybody || dest != l->id;
	} else {
		self = shorthand != SHORTHAND_OTHERS;
		others = shorthand != SHORTHAND_SELF;
		dest = everybody;
		logical = false;
	}
	if (others && !(self && mode == KB_LAPIC_LOWEST) && l->cfg.ipi)
		l->cfg.ipi(l->cfg.opaque, dest, logical, mode, vector);
	if (self)
		kb_lapic_deliver(l, mode, vector, false);
}

/* Section "SELF IPI Register". */
void kb_lapic_self_ipi(struct kb_lapic *l, uint8_t vector)
{
	if (vector < 16)
		log_error(l, ESR_SEND_ILLEGAL);
	kb_lapic_deliver(l, KB_LAPIC_FIXED, vector, false);
}

/*
 * Registers.
 */

void kb_lapic_set_tpr(struct kb_lapic *l, uint8_t tpr)
{
	l->tpr = tpr;
	kb_lapic_update(l);
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
	kb_lapic_timer_arm(l);
	kb_lapic_update(l);
}

static void lvt_write(struct kb_lapic *l, unsigned entry, uint32_t value)
{
	uint32_t *lvt = &l->lvt[entry];

	value &= kb_lapic_lvt_writable(l, entry);
	if (!software_enabled(l))
		value |= LVT_MASKED;
	if (entry == KB_LAPIC_LVT_TIMER) {
		kb_lapic_timer_mode(l, value);
		*lvt = value;
		kb_lapic_timer_arm(l);
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
uint32_t kb_lapic_reg_read(struct kb_lapic *l, unsigned reg)
{
	switch (reg) {
	case REG_ID: return l->x2apic ? l->id : (uint32_t)l->id << 24;
	case REG_VERSION: return VERSION | (l->cfg.directed_eoi ? VERSION_DIRECTED_EOI : 0);
	case REG_TPR: return l->tpr;
	case REG_APR: return apr(l);
	case REG_PPR: return ppr(l);
	case REG_EOI: /* write-only */
	case REG_RRD: return 0;
	case REG_LDR: return l->x2apic ? x2apic_ldr(l) : (uint32_t)l->ldr << 24;
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
	case REG_CURRENT_COUNT: return kb_lapic_timer_current(l);
	case REG_DIVIDE: return l->count.divide;
	default:
		log_error(l, ESR_ILLEGAL_REGISTER);
		return 0;
	}
}

void kb_lapic_reg_write(struct kb_lapic *l, unsigned reg, uint32_t value)
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
		kb_lapic_icr_send(l);
		break;
	case REG_ICR_HIGH:
		l->icr_high = value & 0xff000000;
		break;
	case REG_LVT ... REG_LVT + 0x50:
		lvt_write(l, (reg - REG_LVT) / 0x10, value);
		break;
	case REG_INITIAL_COUNT:
		kb_lapic_timer_count(l, value);
		break;
	case REG_DIVIDE:
		kb_lapic_timer_divide(l, value & 0xb);
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
uint64_t kb_lapic_read(void *lapic, uint64_t off, unsigned len)
{
	struct kb_lapic *l = lapic;

	if (!l->enabled || l->x2apic)
		return UINT64_MAX >> (64 - 8 * len);
	if (off & 0xc)
		return 0;
	return (kb_lapic_reg_read(l, (unsigned)off & ~3u) >> 8 * (off & 3)) & (UINT32_MAX >> (32 - 8 * len));
}

/* Writes narrower than a register are ignored: the SDM allows 32-bit stores only. */
void kb_lapic_write(void *lapic, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_lapic *l = lapic;

	if (l->enabled && !l->x2apic && len == 4 && !(off & 0xf))
		kb_lapic_reg_write(l, (unsigned)off, (uint32_t)value);
}

/* Section "Local APIC State After It Receives an INIT Reset": power-up state, APIC ID kept. */
void kb_lapic_init_state(struct kb_lapic *l)
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
	l->count.deadline = 0;
	l->count.shift = 1;
	kb_timer_cancel(&l->count.timer);
}

void kb_lapic_reset(struct kb_lapic *l)
{
	kb_lapic_init_state(l);
	l->id = l->cfg.id;
	l->enabled = true;
	l->x2apic = false;
	if (l->cfg.virtual_wire) {
		l->svr = SVR_ENABLE | 0xff;
		l->lvt[KB_LAPIC_LVT_LINT0] = KB_LAPIC_EXTINT << 8;
		l->lvt[KB_LAPIC_LVT_LINT1] = KB_LAPIC_NMI << 8;
	}
	kb_lapic_update(l);
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
		.read = kb_lapic_read, .write = kb_lapic_write, .opaque = l,
	};
	kb_timer_init(&l->count.timer, cfg->timers, kb_lapic_timer_fire, l);
	rc = cfg->mem ? kb_bus_add(cfg->mem, &l->region, err) : 0;
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
	if (l->cfg.mem)
		kb_bus_remove(l->cfg.mem, &l->region);
	free(l);
}
