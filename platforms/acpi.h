/* ACPI tables (ACPI 6.3, chapter 5; HPET: IA-PC HPET Specification 1.0a, 3.2.4; MCFG: PCI Firmware 3.0, 4.1.2). */
#ifndef KB_ACPI_H
#define KB_ACPI_H

#include "platforms/tables.h"

/*
 * Fills b, which is empty and lies at gpa (multiple of 64), below 4 GiB: RSDP first, then FACS, DSDT, FADT, MADT,
 * HPET, MCFG, RSDT and XSDT. b->overflow tells whether it worked.
 */
void kb_acpi_build(struct kb_buf *b, uint32_t gpa, const struct kb_tables_config *cfg);

#endif
