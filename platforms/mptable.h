/* MP configuration table (Intel MultiProcessor Specification 1.4), for guests without ACPI. */
#ifndef KB_MPTABLE_H
#define KB_MPTABLE_H

#include "platforms/tables.h"

/*
 * Appends the floating pointer structure (16 bytes) to pointer and the configuration table, which starts at a multiple
 * of 16, to table, which lies at gpa.
 */
void kb_mptable_build(struct kb_buf *pointer, struct kb_buf *table, uint32_t gpa, const struct kb_tables_config *cfg);

#endif
