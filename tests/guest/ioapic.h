/* I/O APIC (82093AA) and HPET registers, for the guests that test the chipset. */
#ifndef GUEST_IOAPIC_H
#define GUEST_IOAPIC_H

#include "check.h"

#define IOAPIC 0xfec00000ull
enum { IOAPIC_ID = 0, IOAPIC_VERSION = 1, IOAPIC_ENTRY = 0x10 };
enum {
	ENTRY_NMI = 0x400, ENTRY_EXTINT = 0x700, ENTRY_LOW = 0x2000, ENTRY_REMOTE_IRR = 0x4000, ENTRY_LEVEL = 0x8000,
	ENTRY_MASKED = 0x10000,
};
/* Wired as platforms/pc.h says. */
enum { PIN_PIC = 0, PIN_PIT = 2, PIN_SCI = 9, PIN_HPET = 20 };

static inline uint32_t ioapic_read(unsigned reg)
{
	mmio_write32(IOAPIC, reg);
	return mmio_read32(IOAPIC + 0x10);
}
static inline void ioapic_write(unsigned reg, uint32_t value)
{
	mmio_write32(IOAPIC, reg);
	mmio_write32(IOAPIC + 0x10, value);
}
static inline uint32_t ioapic_entry(unsigned pin)
{
	return ioapic_read(IOAPIC_ENTRY + 2 * pin);
}
/* To this CPU. */
static inline void ioapic_route(unsigned pin, uint32_t entry)
{
	ioapic_write(IOAPIC_ENTRY + 2 * pin + 1, lapic_read(LAPIC_ID));
	ioapic_write(IOAPIC_ENTRY + 2 * pin, entry);
}
static inline void ioapic_eoi(uint8_t vector)
{
	mmio_write32(IOAPIC + 0x40, vector);
}

#define HPET 0xfed00000ull
enum { HPET_CAP = 0, HPET_CONF = 0x10, HPET_STATUS = 0x20, HPET_COUNTER = 0xf0 };
#define HPET_TCONF(n) (0x100u + 0x20u * (n))
#define HPET_COMP(n) (0x108u + 0x20u * (n))
#define HPET_FSB(n) (0x110u + 0x20u * (n))
enum {
	HPET_LEVEL = 2, HPET_ENABLE = 4, HPET_PERIODIC = 8, HPET_SETVAL = 0x40, HPET_32 = 0x100,
	HPET_ROUTE = PIN_HPET << 9, HPET_FSB_ENABLE = 0x4000,
};
#define HPET_MS 100000ull /* ticks */

static inline uint64_t hpet_read(unsigned reg)
{
	return mmio_read64(HPET + reg);
}
static inline void hpet_write(unsigned reg, uint64_t value)
{
	mmio_write64(HPET + reg, value);
}

/* What the tests count interrupts with. */
static volatile int ticks, enough, target;

static inline void expect_ticks(int n)
{
	ticks = 0;
	enough = 0;
	target = n;
}
static inline void tick(void)
{
	if (++ticks == target)
		enough = 1;
}

#endif
