/*
 * ACPI fixed hardware (ACPI 6.4 section 4.8): PM1a event and control blocks and the PM timer, with the SCI.
 *
 *   base + 0  PM1_STS    base + 4  PM1_CNT    FADT: PM1a_EVT_BLK 4 bytes, PM1a_CNT_BLK 2 bytes,
 *   base + 2  PM1_EN     base + 8  PM_TMR           PM_TMR_BLK 4 bytes
 *
 * The machine is always in ACPI mode: SCI_EN reads as 1, there is no SMI command
 * port (FADT SMI_CMD 0). The only sleep state is S5, KB_ACPI_SLP_TYP_S5; others are ignored
 * with a note. The timer is a function of simulated time; a chipset timer is
 * armed only for an overflow that makes an SCI. Registers take accesses of any width.
 */
#ifndef KB_ACPI_PM_H
#define KB_ACPI_PM_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/line.h"
#include "devices/timer.h"
#include "vcpu/bus.h"
#include "vcpu/log.h"

#define KB_ACPI_PM_HZ 3579545ull
#define KB_ACPI_PM_EVT 0u /* offsets from the base */
#define KB_ACPI_PM_CNT 4u
#define KB_ACPI_PM_TMR 8u
#define KB_ACPI_PM_PORTS 12u
#define KB_ACPI_SLP_TYP_S5 7u /* for \_S5 */

struct kb_acpi_pm;

struct kb_acpi_pm_config {
	struct kb_bus *io;        /* must outlive the device, as must timers and log */
	struct kb_timers *timers;
	const struct kb_log *log; /* may be NULL */
	uint16_t port;            /* base, a multiple of 4 */
	bool timer32;             /* 32 bits (FADT flag TMR_VAL_EXT), else 24 */
	struct kb_line sci;       /* high while an enabled event waits; copied, low at first */
	/* Soft off: S5 was entered. From within the guest's access. May be NULL. */
	void (*power_off)(void *opaque);
	void *opaque;
};

/* -EINVAL: port; -EEXIST: ports are taken; -ENOMEM. */
int kb_acpi_pm_create(struct kb_acpi_pm **out, const struct kb_acpi_pm_config *cfg, struct kvmbox_error *err);
void kb_acpi_pm_destroy(struct kb_acpi_pm *pm); /* NULL is fine */
/* No event waits, none is enabled. The timer goes on. */
void kb_acpi_pm_reset(struct kb_acpi_pm *pm);

/* Somebody pressed (and released) the power button. */
void kb_acpi_pm_power_button(struct kb_acpi_pm *pm);
/* The RTC's IRQ: its rising edge is RTC_STS. The receiving end of a struct kb_line: pm is the struct kb_acpi_pm, pin is not used. */
void kb_acpi_pm_rtc(void *pm, int pin, bool level);

#endif
