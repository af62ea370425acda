/*
 * The tables in guest RAM that the CPU starts with (see loader.h for the start
 * states): Intel SDM volume 3, 3.4.5 (descriptors), 4.5 (4-level paging).
 */
#ifndef KB_BOOT_H
#define KB_BOOT_H

#include <stdbool.h>

#include "platforms/loader.h"

/* Guest physical addresses; each paging structure is a 4 KiB page. */
#define KB_BOOT_GDT (KB_BOOT_AREA_BASE + 0x0000u)
#define KB_BOOT_PML4 (KB_BOOT_AREA_BASE + 0x1000u) /* CR3 */
#define KB_BOOT_PDPT (KB_BOOT_AREA_BASE + 0x2000u)
#define KB_BOOT_PD (KB_BOOT_AREA_BASE + 0x3000u) /* KB_BOOT_PD_COUNT of them, 1 GiB each */
#define KB_BOOT_PD_COUNT 4u
#define KB_BOOT_END (KB_BOOT_PD + KB_BOOT_PD_COUNT * 0x1000u)

/* Selectors; 0x08 is unused. */
#define KB_BOOT_CS 0x10u
#define KB_BOOT_DS 0x18u
#define KB_BOOT_GDT_ENTRIES 4u
#define KB_BOOT_GDT_LIMIT (KB_BOOT_GDT_ENTRIES * 8u - 1)

/* Descriptors: flat, ring 0, present, already accessed. The CPU's hidden state must be the same. */
#define KB_BOOT_CODE64 0x00af9b000000ffffull
#define KB_BOOT_CODE32 0x00cf9b000000ffffull
#define KB_BOOT_DATA 0x00cf93000000ffffull

/*
 * Writes GDT (LONG64, PROTECTED32) and page tables (LONG64) into RAM; nothing
 * for REAL16. huge1g: the guest CPU has 1 GiB pages (CPUID 0x80000001 EDX bit
 * 26); without them only the first 4 GiB are mapped instead of 512.
 */
void kb_boot_write_tables(struct kb_bus *mem, const struct kb_boot *boot, bool huge1g);

#endif
