/* SMBIOS tables (DMTF DSP0134 3.0). */
#ifndef KB_SMBIOS_H
#define KB_SMBIOS_H

#include "platforms/tables.h"

#define KB_SMBIOS_ENTRY_SIZE 24 /* then zeros up to a multiple of 16, then the structures */

/* Appends the 64-bit entry point and the structures to b, which lies at gpa and holds a multiple of 16 bytes. */
void kb_smbios_build(struct kb_buf *b, uint32_t gpa, const struct kb_tables_config *cfg);

#endif
