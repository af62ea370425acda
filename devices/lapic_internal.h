/*
 * What the parts of the local APIC share: see lapic.h. Private to devices/lapic*.c.
 */
#ifndef KB_LAPIC_INTERNAL_H
#define KB_LAPIC_INTERNAL_H

#include "devices/lapic.h"

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
#define LVT_PENDING (1u << 12)
#define LVT_ACTIVE_LOW (1u << 13)
#define LVT_REMOTE_IRR (1u << 14)
#define LVT_LEVEL (1u << 15)
#define LVT_MASKED (1u << 16)
#define LVT_PERIODIC (1u << 17)
#define LVT_DEADLINE (1u << 18)
#define LVT_TIMER_MODE (LVT_PERIODIC | LVT_DEADLINE)

#define ICR_LOGICAL (1u << 11)
#define ICR_PENDING (1u << 12)
#define ICR_ASSERT (1u << 14)
#define ICR_LEVEL (1u << 15)
#define ICR_WRITABLE 0x000ccfffu

#define ESR_SEND_ILLEGAL (1u << 5)
#define ESR_RECEIVE_ILLEGAL (1u << 6)
#define ESR_ILLEGAL_REGISTER (1u << 7)

enum { SHORTHAND_NONE, SHORTHAND_SELF, SHORTHAND_ALL, SHORTHAND_OTHERS };

struct kb_lapic_lint {
	bool level;  /* of the pin */
	bool active; /* after the polarity bit, as last seen: edges are changes of this */
};

/*
 * The timer counts input clock ticks since start_ps, divided: count n of them
 * have happened by then. Everything else follows, so nothing drifts.
 */
struct kb_lapic_countdown {
	bool running;
	uint64_t start_ps;
	uint64_t first;   /* expires when this many counts have happened... */
	uint32_t initial; /* ...and, if periodic, each time this many more have */
	uint32_t divide;  /* the divide configuration register */
	unsigned shift;
	uint64_t deadline; /* TSC-deadline mode: guest TSC, 0: none */
	struct kb_timer timer;
};

struct kb_lapic {
	struct kb_lapic_config cfg;
	struct kb_region region;
	bool enabled; /* IA32_APIC_BASE bit 11 */
	bool x2apic;  /* bit 10 */
	uint8_t id, tpr, ldr;
	uint32_t dfr, svr, icr_low, icr_high;
	uint32_t esr;    /* as software sees it */
	uint32_t errors; /* since the last write of ESR */
	uint32_t isr[8], tmr[8], irr[8];
	uint32_t lvt[KB_LAPIC_LVTS];
	uint8_t remote_vector; /* whose EOI clears LINT0's remote IRR */
	bool extint_message;   /* an ExtINT message waits for its INTA cycle */
	struct kb_lapic_lint lint[2];
	struct kb_lapic_countdown count;
	uint64_t dropped;
	unsigned long drop_log;
};

/* Vector sets: 256 bits. */
static inline void kb_vector_set(uint32_t *set, uint8_t v)
{
	set[v / 32] |= 1u << v % 32;
}

static inline void kb_vector_clear(uint32_t *set, uint8_t v)
{
	set[v / 32] &= ~(1u << v % 32);
}

static inline bool kb_vector_test(const uint32_t *set, uint8_t v)
{
	return set[v / 32] >> v % 32 & 1;
}

/* -1 if empty. */
static inline int kb_vector_highest(const uint32_t *set)
{
	int i;

	for (i = 7; i >= 0; i--)
		if (set[i])
			return i * 32 + 31 - __builtin_clz(set[i]);
	return -1;
}

/* ---- lapic.c ---- */

/* Registers, by their xAPIC offset. Read: 0 for those that are not there, too, which is an error. */
uint32_t kb_lapic_reg_read(struct kb_lapic *l, unsigned reg);
void kb_lapic_reg_write(struct kb_lapic *l, unsigned reg, uint32_t value);
/* Power-up state, APIC ID kept. */
void kb_lapic_init_state(struct kb_lapic *l);
/* After every change of what the CPU may be given. */
void kb_lapic_update(struct kb_lapic *l);

/* One edge on an LVT entry. ExtINT is a level and not handled here; thermal and perf know no INIT. */
void kb_lapic_lvt_fire(struct kb_lapic *l, enum kb_lapic_lvt entry);
uint32_t kb_lapic_lvt_writable(const struct kb_lapic *l, unsigned entry);
void kb_lapic_self_ipi(struct kb_lapic *l, uint8_t vector);
/* ICR is written. */
void kb_lapic_icr_send(struct kb_lapic *l);

/* ---- lapic_timer.c ---- */

uint32_t kb_lapic_timer_current(const struct kb_lapic *l);
/* Arms the chipset timer anew: LVT entry, count or IRR have changed. */
void kb_lapic_timer_arm(struct kb_lapic *l);
void kb_lapic_timer_divide(struct kb_lapic *l, uint32_t divide);
void kb_lapic_timer_count(struct kb_lapic *l, uint32_t count);
/* The LVT entry is about to become lvt. */
void kb_lapic_timer_mode(struct kb_lapic *l, uint32_t lvt);
void kb_lapic_timer_fire(void *lapic);
uint64_t kb_lapic_timer_get_deadline(struct kb_lapic *l);
void kb_lapic_timer_set_deadline(struct kb_lapic *l, uint64_t tsc);

#endif
