/* MP configuration table: see mptable.h. Chapter 4 of the specification. */
#include "platforms/mptable.h"

#include <string.h>

#define PACKED __attribute__((packed))
#define SPEC_REV 4 /* 1.4 */

struct PACKED pointer {
	char signature[4];
	uint32_t address;
	uint8_t length; /* in 16 bytes */
	uint8_t spec_rev, checksum;
	uint8_t feature[5]; /* 0: a configuration table is there; virtual wire mode, no IMCR */
};
_Static_assert(sizeof(struct pointer) == 16, "floating pointer");

struct PACKED header {
	char signature[4];
	uint16_t length;
	uint8_t spec_rev, checksum;
	char oem_id[8], product_id[12];
	uint32_t oem_table;
	uint16_t oem_table_size, entries;
	uint32_t lapic;
	uint16_t extended_length;
	uint8_t extended_checksum, reserved;
};
_Static_assert(sizeof(struct header) == 44, "configuration table header");

enum { PROCESSOR = 0, BUS = 1, IOAPIC = 2, IO_INTERRUPT = 3, LOCAL_INTERRUPT = 4 };
enum { INT = 0, NMI = 1, EXTINT = 3 };
#define CPU_ENABLED 1
#define CPU_BOOT 2
#define APIC_VERSION 0x14
#define ALL_LAPICS 0xff
#define CONFORMS 0 /* polarity and trigger mode as the bus has them */
#define BUS_PCI 0
#define ISA_CASCADE 2

struct table {
	struct kb_buf *b;
	const struct kb_tables_config *cfg;
	uint16_t entries;
	uint8_t isa; /* bus number */
};

static void put(struct table *t, const void *entry, size_t len)
{
	kb_buf_put(t->b, entry, len);
	t->entries++;
}

static void put_processors(struct table *t)
{
	unsigned i;

	for (i = 0; i < t->cfg->cpus; i++) {
		const struct PACKED {
			uint8_t type, apic_id, apic_version, flags;
			uint32_t signature, features, reserved[2];
		} e = {
			PROCESSOR, (uint8_t)i, APIC_VERSION, (uint8_t)(CPU_ENABLED | (i == 0 ? CPU_BOOT : 0)),
			t->cfg->cpu_signature, t->cfg->cpu_features, { 0 },
		};

		put(t, &e, sizeof(e));
	}
}

static void put_bus(struct table *t, uint8_t id, const char *name)
{
	uint8_t e[8] = { BUS, id };

	memcpy(e + 2, name, 6);
	put(t, e, sizeof(e));
}

static void put_ioapic(struct table *t)
{
	const struct PACKED {
		uint8_t type, id, version, flags;
		uint32_t address;
	} e = { IOAPIC, t->cfg->ioapic_id, t->cfg->ioapic_version, 1 /* usable */, t->cfg->ioapic_base };

	put(t, &e, sizeof(e));
}

static void put_interrupt(struct table *t, uint8_t entry, uint8_t type, uint8_t bus, unsigned irq, uint8_t apic, uint8_t pin)
{
	const uint8_t e[8] = { entry, type, CONFORMS, 0, bus, (uint8_t)irq, apic, pin };

	put(t, e, sizeof(e));
}

static void put_interrupts(struct table *t)
{
	uint8_t ioapic = t->cfg->ioapic_id;
	unsigned i;

	if (t->cfg->pic_on_pin0)
		put_interrupt(t, IO_INTERRUPT, EXTINT, t->isa, 0, ioapic, 0);
	for (i = 0; i < 16; i++)
		if (i != ISA_CASCADE)
			put_interrupt(t, IO_INTERRUPT, INT, t->isa, i, ioapic, i == 0 ? t->cfg->pit_gsi : (uint8_t)i);
	for (i = 0; i < 32 * 4; i++) /* slot << 2 | pin, as the table has it */
		put_interrupt(t, IO_INTERRUPT, INT, BUS_PCI, i, ioapic, t->cfg->pirq_gsi[((i >> 2) + i) % 4]);
	put_interrupt(t, LOCAL_INTERRUPT, EXTINT, t->isa, 0, ALL_LAPICS, 0);
	put_interrupt(t, LOCAL_INTERRUPT, NMI, t->isa, 0, ALL_LAPICS, 1);
}

static void put_header(struct table *t, size_t at)
{
	struct header h = {
		.length = (uint16_t)(t->b->len - at), .spec_rev = SPEC_REV, .entries = t->entries,
		.lapic = t->cfg->lapic_base,
	};

	memcpy(h.signature, "PCMP", sizeof(h.signature));
	memcpy(h.oem_id, "KVMBOX  ", sizeof(h.oem_id));
	memcpy(h.product_id, "PC          ", sizeof(h.product_id));
	memcpy(t->b->data + at, &h, sizeof(h));
	kb_buf_set(t->b, at + offsetof(struct header, checksum), kb_checksum(t->b->data + at, h.length), 1);
}

void kb_mptable_build(struct kb_buf *pointer, struct kb_buf *table, uint32_t gpa, const struct kb_tables_config *cfg)
{
	struct table t = { .b = table, .cfg = cfg, .isa = (uint8_t)(cfg->pci_last_bus + 1) };
	const struct header later = { .length = 0 };
	struct pointer p = { .length = 1, .spec_rev = SPEC_REV };
	size_t at;

	kb_buf_align(table, 16);
	at = table->len;
	kb_buf_put(table, &later, sizeof(later));
	put_processors(&t);
	put_bus(&t, BUS_PCI, "PCI   ");
	put_bus(&t, t.isa, "ISA   ");
	put_ioapic(&t);
	put_interrupts(&t);
	if (table->overflow)
		return;
	put_header(&t, at);
	memcpy(p.signature, "_MP_", sizeof(p.signature));
	p.address = gpa + (uint32_t)at;
	p.checksum = kb_checksum(&p, sizeof(p));
	kb_buf_put(pointer, &p, sizeof(p));
}
