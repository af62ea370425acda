/*
 * The PC's interval timer: Intel 8254 (order 231164) at ports 0x40-0x43, and
 * the control port 0x61 that gates counter 2 and shows its output.
 *
 * The counters are functions of simulated time on the grid of a 1193182 Hz
 * clock: nothing runs while nobody looks. Only OUT0 drives a line and
 * has a timer, armed at its next edge. Edges of one long jump are coalesced to
 * the last few, all of them on the period grid.
 *
 * Gates of counters 0 and 1 are tied high. A count of 1 in modes 2 and 3,
 * illegal in the datasheet, counts as 2. Digits above 9 in BCD counts have
 * their face value.
 */
#ifndef KB_PIT_H
#define KB_PIT_H

#include "devices/line.h"
#include "devices/timer.h"
#include "vcpu/bus.h"

#define KB_PIT_HZ 1193182ull

struct kb_pit;

struct kb_pit_config {
	struct kb_bus *io;        /* must outlive the PIT, as must timers */
	struct kb_timers *timers;
	struct kb_line irq;       /* OUT0; copied, low at first */
};

/* Claims its ports. -ENOMEM, -EEXIST. */
int kb_pit_create(struct kb_pit **out, const struct kb_pit_config *cfg, struct kvmbox_error *err);
void kb_pit_destroy(struct kb_pit *pit); /* NULL is fine */
/* Every counter in mode 0 (LSB then MSB) without a count, outputs low; port 0x61 zero, so gate 2 is low. */
void kb_pit_reset(struct kb_pit *pit);

#endif
