/* I/O APIC: see ioapic.h. Names are the 82093AA datasheet's, section 3. */
#include "devices/ioapic.h"

#include <errno.h>
#include <stdlib.h>

/* Memory-mapped: index, data, and (from version 0x20 on) end of interrupt. */
enum { IOREGSEL = 0x00, IOWIN = 0x10, IOEOI = 0x40 };

/* Behind the window. Entry n is the pair IOREDTBL + 2 * n (low half) and the next. */
enum { IOAPICID = 0x00, IOAPICVER = 0x01, IOAPICARB = 0x02, IOREDTBL = 0x10 };

#define ID_SHIFT 24
#define ID_MASK 0x0fu
#define VERSION (KB_IOAPIC_VERSION | (KB_IOAPIC_PINS - 1) << 16)

/* Redirection table entry, bits 31:0. Bits 63:32 have the destination in 31:24 and nothing else. */
#define INTVEC 0xffu
#define DELMOD_SHIFT 8
#define DESTMOD (1u << 11)
#define INTPOL (1u << 13) /* active low */
#define REMOTE_IRR (1u << 14)
#define TRIGGER (1u << 15) /* level */
#define MASK (1u << 16)
#define ENTRY_WRITABLE 0x0001afffu
#define DEST_WRITABLE 0xff000000u

enum delmod { FIXED = 0, LOWEST = 1, SMI = 2, NMI = 4, INIT = 5, EXTINT = 7 };

#define MSI_BASE 0xfee00000u
#define MSI_DEST_SHIFT 12
#define MSI_REDIRECTION_HINT (1u << 3)
#define MSI_LOGICAL (1u << 2)
#define MSI_ASSERT (1u << 14)
#define MSI_LEVEL (1u << 15)

struct entry {
	uint32_t low, high;
};

struct kb_ioapic {
	struct kb_ioapic_config cfg;
	struct kb_region region;
	uint8_t select, id, arb;
	uint32_t pins; /* asserted inputs */
	struct entry entry[KB_IOAPIC_PINS];
};

static enum delmod delivery_mode(const struct entry *e)
{
	return (enum delmod)(e->low >> DELMOD_SHIFT & 7);
}

static bool level_triggered(const struct entry *e)
{
	return e->low & TRIGGER && (delivery_mode(e) == FIXED || delivery_mode(e) == LOWEST);
}

/* After the polarity bit. */
static bool active(const struct kb_ioapic *a, int pin)
{
	bool high = ((a->pins ^ a->cfg.active_low) >> pin & 1) != 0;

	return high != !!(a->entry[pin].low & INTPOL);
}

static bool send(struct kb_ioapic *a, const struct entry *e)
{
	uint32_t addr = MSI_BASE | (e->high >> 24) << MSI_DEST_SHIFT;
	uint32_t data = (e->low & (INTVEC | 7u << DELMOD_SHIFT)) | MSI_ASSERT;

	if (e->low & DESTMOD)
		addr |= MSI_LOGICAL;
	if (delivery_mode(e) == LOWEST)
		addr |= MSI_REDIRECTION_HINT;
	if (level_triggered(e))
		data |= MSI_LEVEL;
	return a->cfg.msi && a->cfg.msi(a->cfg.opaque, addr, data);
}

/* Sends a level that is due; to be called after every change of what it looks at. */
static void serve_level(struct kb_ioapic *a, int pin)
{
	struct entry *e = &a->entry[pin];

	if (!level_triggered(e) || e->low & (MASK | REMOTE_IRR) || !active(a, pin))
		return;
	if (send(a, e))
		e->low |= REMOTE_IRR;
}

void kb_ioapic_set(void *ioapic, int pin, bool asserted)
{
	struct kb_ioapic *a = ioapic;
	bool was;

	if (pin < 0 || pin >= KB_IOAPIC_PINS)
		return;
	was = active(a, pin);
	a->pins = (a->pins & ~(1u << pin)) | (uint32_t)asserted << pin;
	if (level_triggered(&a->entry[pin]))
		serve_level(a, pin);
	else if (!was && active(a, pin) && !(a->entry[pin].low & MASK))
		send(a, &a->entry[pin]);
}

void kb_ioapic_eoi(struct kb_ioapic *a, uint8_t vector)
{
	int i;

	for (i = 0; i < KB_IOAPIC_PINS; i++) {
		struct entry *e = &a->entry[i];

		if ((e->low & INTVEC) != vector || !level_triggered(e))
			continue;
		e->low &= ~REMOTE_IRR;
		serve_level(a, i);
	}
}

/* ---- registers --------------------------------------------------------------- */

static void entry_write(struct kb_ioapic *a, int pin, uint32_t value)
{
	struct entry *e = &a->entry[pin];

	e->low = (e->low & REMOTE_IRR) | (value & ENTRY_WRITABLE);
	if (!level_triggered(e))
		e->low &= ~REMOTE_IRR;
	serve_level(a, pin);
}

static void window_write(struct kb_ioapic *a, uint32_t value)
{
	int pin = (a->select - IOREDTBL) / 2;

	if (a->select == IOAPICID) {
		a->id = value >> ID_SHIFT & ID_MASK;
		a->arb = a->id; /* "loaded when the IOAPICID register is written" */
	}
	if (a->select < IOREDTBL || pin >= KB_IOAPIC_PINS)
		return;
	if (a->select & 1) {
		a->entry[pin].high = value & DEST_WRITABLE;
		serve_level(a, pin); /* somebody may be there now */
	} else {
		entry_write(a, pin, value);
	}
}

static uint32_t window_read(const struct kb_ioapic *a)
{
	int pin = (a->select - IOREDTBL) / 2;

	switch (a->select) {
	case IOAPICID: return (uint32_t)a->id << ID_SHIFT;
	case IOAPICVER: return VERSION;
	case IOAPICARB: return (uint32_t)a->arb << ID_SHIFT;
	}
	if (a->select < IOREDTBL || pin >= KB_IOAPIC_PINS)
		return 0;
	return a->select & 1 ? a->entry[pin].high : a->entry[pin].low;
}

static uint64_t ioapic_read(void *opaque, uint64_t off, unsigned len)
{
	struct kb_ioapic *a = opaque;
	uint32_t v = 0;

	if ((off & ~3ull) == IOREGSEL)
		v = a->select;
	else if ((off & ~3ull) == IOWIN)
		v = window_read(a);
	return v >> 8 * (off & 3) & UINT32_MAX >> (32 - 8 * len);
}

/* Select and EOI take the byte they have; the window takes whole registers only, as the datasheet demands. */
static void ioapic_write(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_ioapic *a = opaque;

	if (off == IOREGSEL)
		a->select = (uint8_t)value;
	else if (off == IOWIN && len == 4)
		window_write(a, (uint32_t)value);
	else if (off == IOEOI)
		kb_ioapic_eoi(a, (uint8_t)value);
}

/* ---- life ----------------------------------------------------------------------- */

void kb_ioapic_reset(struct kb_ioapic *a)
{
	int i;

	a->select = 0;
	a->id = a->arb = a->cfg.id & ID_MASK;
	for (i = 0; i < KB_IOAPIC_PINS; i++)
		a->entry[i] = (struct entry){ .low = MASK };
}

int kb_ioapic_create(struct kb_ioapic **out, const struct kb_ioapic_config *cfg, struct kvmbox_error *err)
{
	struct kb_ioapic *a = calloc(1, sizeof(*a));
	int rc;

	if (!a)
		return kb_fail(err, ENOMEM, "out of memory creating the I/O APIC");
	a->cfg = *cfg;
	a->region = (struct kb_region){
		.name = "I/O APIC", .base = KB_IOAPIC_BASE, .size = KB_IOAPIC_SIZE, .max_len = 4,
		.read = ioapic_read, .write = ioapic_write, .opaque = a,
	};
	kb_ioapic_reset(a);
	rc = kb_bus_add(cfg->mem, &a->region, err);
	if (rc) {
		free(a);
		return rc;
	}
	*out = a;
	return 0;
}

void kb_ioapic_destroy(struct kb_ioapic *a)
{
	if (!a)
		return;
	kb_bus_remove(a->cfg.mem, &a->region);
	free(a);
}
