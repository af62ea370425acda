/* The tables in guest RAM that the CPU starts with: see boot.h. */
#include "platforms/boot.h"

#include "vcpu/bus.h"

_Static_assert(KB_BOOT_END <= KB_BOOT_INFO && KB_BOOT_INFO + KB_BOOT_INFO_SIZE <= KB_BOOT_CMDLINE &&
	       KB_BOOT_CMDLINE + KB_BOOT_CMDLINE_SIZE <= KB_BOOT_AREA_BASE + KB_BOOT_AREA_SIZE, "the boot area's parts overlap");

#define ENTRIES 512u

/* Accessed and dirty from the start: the CPU has nothing to write back. SDM volume 3, section 4.5. */
#define PTE_TABLE 0x23ull /* P, R/W, A */
#define PTE_PAGE 0xe3ull  /* P, R/W, A, D, PS */

static void write_gdt(struct kb_bus *mem, enum kb_boot_mode mode)
{
	const uint64_t gdt[KB_BOOT_GDT_ENTRIES] = {
		[KB_BOOT_CS / 8] = mode == KB_BOOT_LONG64 ? KB_BOOT_CODE64 : KB_BOOT_CODE32,
		[KB_BOOT_DS / 8] = KB_BOOT_DATA,
	};

	kb_bus_write(mem, KB_BOOT_GDT, gdt, sizeof(gdt));
}

static void write_page_tables(struct kb_bus *mem, bool huge1g)
{
	uint64_t table[ENTRIES] = { KB_BOOT_PDPT | PTE_TABLE };
	uint64_t i, pd;

	kb_bus_write(mem, KB_BOOT_PML4, table, sizeof(table));

	for (i = 0; i < ENTRIES; i++) {
		if (i < KB_BOOT_PD_COUNT)
			table[i] = (KB_BOOT_PD + i * 0x1000) | PTE_TABLE;
		else
			table[i] = huge1g ? i << 30 | PTE_PAGE : 0;
	}
	kb_bus_write(mem, KB_BOOT_PDPT, table, sizeof(table));

	for (pd = 0; pd < KB_BOOT_PD_COUNT; pd++) {
		for (i = 0; i < ENTRIES; i++)
			table[i] = pd << 30 | i << 21 | PTE_PAGE;
		kb_bus_write(mem, KB_BOOT_PD + pd * 0x1000, table, sizeof(table));
	}
}

void kb_boot_write_tables(struct kb_bus *mem, const struct kb_boot *boot, bool huge1g)
{
	if (boot->mode == KB_BOOT_REAL16)
		return;
	write_gdt(mem, boot->mode);
	if (boot->mode == KB_BOOT_LONG64)
		write_page_tables(mem, huge1g);
}
