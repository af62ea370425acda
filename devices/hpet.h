/*
 * HPET: IA-PC High Precision Event Timers specification 1.0a, at 0xFED00000,
 * with a 64-bit main counter of 100 MHz and four comparators, all of them 64
 * bits wide, periodic or one-shot, edge- or level-triggered, or sending messages (FSB).
 *
 * Everything is a function of simulated time on the counter's 10 ns grid:
 * nothing runs while nobody looks, nothing drifts. A chipset timer is armed only
 * for a match that makes an interrupt: not while interrupts are off, nor while a
 * level-triggered one is still unanswered. Matches in one long jump make one edge, and edges
 * (or messages) of one comparator are at least KB_HPET_MIN_PS apart, whatever its period:
 * what comes sooner is delivered then, merged.
 *
 * A match is the counter's arriving at the comparator's value: one that is written when the counter is
 * there already waits for the counter to wrap. In periodic mode with a period of 0 the
 * comparator stays. Registers are written by 32 or 64 bits; narrower writes are ignored.
 */
#ifndef KB_HPET_H
#define KB_HPET_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/line.h"
#include "devices/timer.h"
#include "vcpu/bus.h"

#define KB_HPET_BASE 0xfed00000ull
#define KB_HPET_SIZE 0x400ull
#define KB_HPET_HZ 100000000ull
#define KB_HPET_COMPARATORS 4
#define KB_HPET_MIN_PS KB_PS_PER_US

struct kb_hpet;

struct kb_hpet_config {
	struct kb_bus *mem;        /* must outlive the HPET, as must timers */
	struct kb_timers *timers;
	uint32_t routes;           /* bit n: comparators can be routed to I/O APIC input n */
	void (*input)(void *opaque, int n, bool level); /* drives one of these inputs; may be NULL */
	void (*msi)(void *opaque, uint64_t addr, uint32_t data); /* FSB delivery; may be NULL */
	void (*legacy_mode)(void *opaque, bool on); /* legacy replacement is switched; may be NULL */
	void *opaque;
	struct kb_line legacy[2];  /* IRQ 0 and IRQ 8; copied, low at first */
};

/* Everything off. -EEXIST: the page is taken; -ENOMEM. */
int kb_hpet_create(struct kb_hpet **out, const struct kb_hpet_config *cfg, struct kvmbox_error *err);
void kb_hpet_destroy(struct kb_hpet *h); /* NULL is fine */
/* Halted at 0, everything off; the legacy inputs keep their levels. */
void kb_hpet_reset(struct kb_hpet *h);

/*
 * What IRQ 0 and IRQ 8 are while legacy replacement is off: pin 0 is the PIT's
 * output, pin 1 the RTC's. The receiving end of a struct kb_line: hpet is the struct kb_hpet.
 */
void kb_hpet_legacy_in(void *hpet, int pin, bool level);

#endif
