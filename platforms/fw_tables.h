/*
 * The firmware tables handed to firmware that installs them itself: as files of the firmware configuration device.
 * ACPI tables come with a script for QEMU's table loader (etc/table-loader: allocate, add pointer, add checksum), SMBIOS
 * as etc/smbios/.
 */
#ifndef KB_FW_TABLES_H
#define KB_FW_TABLES_H

#include "devices/fw_cfg.h"
#include "platforms/tables.h"

/* Adds etc/acpi/rsdp, etc/acpi/tables, etc/table-loader, etc/smbios/smbios-anchor, etc/smbios/smbios-tables and etc/e820. Errors as kb_tables_write() and kb_fw_cfg_add_file(). */
int kb_fw_tables_add(struct kb_fw_cfg *f, const struct kb_tables_config *cfg, struct kvmbox_error *err);

#endif
