/*
 * The PC's real-time clock: Motorola MC146818A at ports 0x70/0x71 with 128
 * bytes of CMOS RAM, the century at 0x32 (in the data mode of the others).
 *
 * The time of day is the start date plus simulated time, never the host's. It
 * is brought forward when somebody looks; a timer is armed only for an
 * interrupt that is enabled and not yet flagged. The update is a point in
 * time, with UIP up for the 244 us before it. The time base is a 32768 Hz
 * crystal whatever divider is selected (11x holds it in reset). Years
 * are Gregorian; daylight saving (DSE) is stored and without effect.
 */
#ifndef KB_RTC_H
#define KB_RTC_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/line.h"
#include "devices/timer.h"
#include "vcpu/bus.h"

struct kb_rtc;

struct kb_rtc_config {
	struct kb_bus *io;        /* must outlive the RTC, as must timers */
	struct kb_timers *timers;
	struct kb_line irq;       /* IRQ pin, high while register C has IRQF; copied */
	int64_t start_unix_s;     /* date at simulated time 0, UTC; years 0000-9999 */
	uint64_t ram_below_4g, ram_above_4g; /* bytes, for the memory size cells */
};

/* Claims its ports. -EINVAL: start date out of range; -ENOMEM; -EEXIST. */
int kb_rtc_create(struct kb_rtc **out, const struct kb_rtc_config *cfg, struct kvmbox_error *err);
void kb_rtc_destroy(struct kb_rtc *rtc); /* NULL is fine */
/* The chip's RESET pin: interrupts disabled, flags cleared. Battery-backed: time, alarm and CMOS stay. */
void kb_rtc_reset(struct kb_rtc *rtc);

/* Bit 7 of the last write to port 0x70: the PC's NMI gate. */
bool kb_rtc_nmi_masked(const struct kb_rtc *rtc);

/*
 * "YYYY-MM-DDTHH:MM:SS" or "YYYY-MM-DD" (midnight), UTC, nothing else around
 * it. -EINVAL: another form or a date that does not exist; *unix_s untouched.
 */
int kb_rtc_parse_date(const char *text, int64_t *unix_s, struct kvmbox_error *err);

#endif
