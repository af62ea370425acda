/* What a PC's firmware leaves in memory: see tables.h. */
#include "platforms/tables.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "platforms/acpi.h"
#include "platforms/mptable.h"
#include "platforms/smbios.h"

#define KIB 1024u
#define FOUR_GIB (1ull << 32)
#define HIGH_RAM 0x100000u
#define CHIPSET 0xfec00000u /* from here to 4 GiB: APICs, HPET, firmware image */

/* BIOS data area, offsets from 0x400 (the PC's technical reference). */
enum { BDA_COM1 = 0x00, BDA_EBDA = 0x0e, BDA_EQUIPMENT = 0x10, BDA_BASE_KIB = 0x13 };
enum { EQUIPMENT_FPU = 1 << 1, EQUIPMENT_SERIAL = 1 << 9 };

/* ---- where -------------------------------------------------------------------- */

static const struct {
	uint32_t base, size;
	const char *what;
} areas[] = {
	{ KB_TABLES_BDA, KB_TABLES_BDA_SIZE, "0x400-0x4ff, where the box keeps the BIOS data area" },
	{ KB_TABLES_EBDA, KB_TABLES_EBDA_SIZE, "0x9fc00-0x9ffff, where the box keeps the extended BIOS data area" },
	{ KB_TABLES_ACPI, KB_TABLES_END - KB_TABLES_ACPI, "0xe0000-0xfffff, where the box keeps the ACPI, SMBIOS and MP tables" },
};

const char *kb_tables_overlap(uint64_t addr, uint64_t last)
{
	size_t i;

	for (i = 0; i < sizeof(areas) / sizeof(areas[0]); i++)
		if (addr < areas[i].base + areas[i].size && last >= areas[i].base)
			return areas[i].what;
	return NULL;
}

/* Cleared: a guest before a reset may have left anything there. */
static int place(struct kb_bus *mem, uint32_t base, uint32_t end, struct kb_buf *b, struct kvmbox_error *err)
{
	struct kb_region *r = kb_bus_find(mem, base);

	if (!r || !r->host || r->readonly || end - r->base > r->size)
		return kb_fail(err, EFAULT, "no RAM at 0x%" PRIx32 "-0x%" PRIx32 " for the firmware tables", base, end - 1);
	*b = (struct kb_buf){ .data = r->host + (base - r->base), .cap = end - base };
	memset(b->data, 0, b->cap);
	return 0;
}

/* ---- what ---------------------------------------------------------------------- */

static bool window_fits(const struct kb_tables_window *w, uint64_t limit)
{
	return w->size == 0 || (w->base < limit && w->size <= limit - w->base);
}

int kb_tables_check(const struct kb_tables_config *cfg, struct kvmbox_error *err)
{
	if (cfg->cpus < 1 || cfg->cpus > KB_TABLES_CPUS_MAX)
		return kb_fail(err, EINVAL, "%u CPUs: firmware tables can tell of 1 to %u", cfg->cpus, KB_TABLES_CPUS_MAX);
	if (cfg->pci_last_bus == 255)
		return kb_fail(err, EINVAL, "PCI has 256 buses: the MP table needs a number for the ISA bus");
	if (!window_fits(&cfg->pci_io, 0x10000) || !window_fits(&cfg->pci_mem32, FOUR_GIB) ||
	    !window_fits(&cfg->pci_mem64, 1ull << 63))
		return kb_fail(err, EINVAL, "a PCI window reaches beyond its address space");
	if (cfg->ecam_base >= FOUR_GIB)
		return kb_fail(err, EINVAL, "ECAM at 0x%" PRIx64 ": must lie below 4 GiB", cfg->ecam_base);
	return 0;
}

static void write_bda(struct kb_buf *b, const struct kb_tables_config *cfg)
{
	b->len = b->cap; /* zeros */
	kb_buf_set(b, BDA_COM1, cfg->com1_port, 2);
	kb_buf_set(b, BDA_EBDA, KB_TABLES_EBDA >> 4, 2);
	kb_buf_set(b, BDA_EQUIPMENT, EQUIPMENT_FPU | (cfg->com1_port ? EQUIPMENT_SERIAL : 0), 2);
	kb_buf_set(b, BDA_BASE_KIB, KB_TABLES_EBDA / KIB, 2);
}

int kb_tables_write(struct kb_bus *mem, const struct kb_tables_config *cfg, struct kvmbox_error *err)
{
	struct kb_buf bda, ebda, acpi, rest;
	int rc = kb_tables_check(cfg, err);

	rc = rc ? rc : place(mem, KB_TABLES_BDA, KB_TABLES_BDA + KB_TABLES_BDA_SIZE, &bda, err);
	rc = rc ? rc : place(mem, KB_TABLES_EBDA, KB_TABLES_EBDA + KB_TABLES_EBDA_SIZE, &ebda, err);
	rc = rc ? rc : place(mem, KB_TABLES_ACPI, KB_TABLES_SMBIOS, &acpi, err);
	rc = rc ? rc : place(mem, KB_TABLES_SMBIOS, KB_TABLES_END, &rest, err);
	if (rc)
		return rc;
	write_bda(&bda, cfg);
	kb_buf_le(&ebda, KB_TABLES_EBDA_SIZE / KIB, 1);
	kb_buf_align(&ebda, KB_TABLES_MP_POINTER - KB_TABLES_EBDA);
	kb_acpi_build(&acpi, KB_TABLES_ACPI, cfg);
	kb_smbios_build(&rest, KB_TABLES_SMBIOS, cfg);
	kb_mptable_build(&ebda, &rest, KB_TABLES_SMBIOS, cfg);
	if (acpi.overflow || rest.overflow)
		return kb_fail(err, ENOSPC, "the %s tables for %u CPUs do not fit into 64 KiB",
			       acpi.overflow ? "ACPI" : "SMBIOS and MP", cfg->cpus);
	return 0;
}

/* ---- memory map ------------------------------------------------------------------ */

struct map {
	struct kb_memory_range *out;
	unsigned count;
};

static void add(struct map *m, uint64_t base, uint64_t end, enum kb_memory_type type)
{
	if (end > base)
		m->out[m->count++] = (struct kb_memory_range){ .base = base, .size = end - base, .type = type };
}

unsigned kb_tables_memory_map(const struct kb_tables_config *cfg, struct kb_memory_range map[KB_MEMORY_RANGES_MAX])
{
	struct map m = { .out = map };
	uint64_t ecam = cfg->ecam_base;

	add(&m, 0, KB_TABLES_EBDA, KB_MEMORY_RAM);
	add(&m, KB_TABLES_EBDA, KB_TABLES_EBDA + KB_TABLES_EBDA_SIZE, KB_MEMORY_RESERVED);
	add(&m, KB_TABLES_ACPI, KB_TABLES_END, KB_MEMORY_RESERVED);
	add(&m, HIGH_RAM, cfg->ram_below_4g, KB_MEMORY_RAM);
	if (ecam)
		add(&m, ecam, ecam + ((cfg->pci_last_bus + 1ull) << 20), KB_MEMORY_RESERVED);
	add(&m, CHIPSET, FOUR_GIB, KB_MEMORY_RESERVED);
	add(&m, FOUR_GIB, FOUR_GIB + cfg->ram_above_4g, KB_MEMORY_RAM);
	return m.count;
}
