/*
 * I/O APIC: Intel 82093AA (order 290566) with 24 inputs, at 0xFEC00000, with the
 * EOI register of the later version 0x20 (ICH datasheets, "APIC Memory-Mapped
 * Registers"). What it sends are messages as MSIs are: cfg.msi.
 *
 * Inputs. An input is driven as asserted or not; the wire's voltage is the
 * opposite for those in cfg.active_low, as PCI's interrupt pins are. The polarity
 * bit of an entry is about the voltage: guests must program what the firmware
 * tables say, else an idle wire interrupts. A masked input does nothing: an edge
 * is lost, a level waits. Changing an entry is no edge.
 *
 * Level-triggered entries (fixed and lowest priority; all other modes are
 * edge-triggered whatever the entry says) send once and set remote IRR if somebody
 * took the message; the EOI of their vector clears it, and so does making the entry
 * edge-triggered. A message that nobody takes is tried again when the entry is
 * written, an EOI comes or the input changes.
 *
 * Not modelled: moving the chip (PIIX's APICBASE), the arbitration of the serial APIC bus; delivery status is
 * always idle. Not thread-safe: used on the box's thread only.
 */
#ifndef KB_IOAPIC_H
#define KB_IOAPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "vcpu/bus.h"

#define KB_IOAPIC_BASE 0xfec00000ull
#define KB_IOAPIC_SIZE 0x1000ull
#define KB_IOAPIC_PINS 24
#define KB_IOAPIC_VERSION 0x20u

struct kb_ioapic_config {
	struct kb_bus *mem;  /* must outlive the I/O APIC */
	uint8_t id;          /* after reset, 0-15 */
	uint32_t active_low; /* bit n: input n is asserted by a low voltage */
	/* A message for the local APICs, laid out as an MSI (SDM vol. 3, "Message Signalled Interrupts"). True: one took it. May be NULL. */
	bool (*msi)(void *opaque, uint64_t addr, uint32_t data);
	void *opaque;
};

struct kb_ioapic;

/* All inputs not asserted, everything masked. -EEXIST: the page is taken; -ENOMEM. */
int kb_ioapic_create(struct kb_ioapic **out, const struct kb_ioapic_config *cfg, struct kvmbox_error *err);
void kb_ioapic_destroy(struct kb_ioapic *a); /* NULL is fine */
/* Everything masked, nothing pending; the inputs are their drivers' and stay. */
void kb_ioapic_reset(struct kb_ioapic *a);

/* Asserts or releases an input; pins that do not exist are ignored. The receiving end of a struct kb_line: ioapic is the struct kb_ioapic. */
void kb_ioapic_set(void *ioapic, int pin, bool asserted);
/* A local APIC has ended a level-triggered interrupt. */
void kb_ioapic_eoi(struct kb_ioapic *a, uint8_t vector);

#endif
