/* What the PC tells firmware, through the firmware configuration device. Private to platforms/. */
#ifndef KB_PC_FIRMWARE_H
#define KB_PC_FIRMWARE_H

#include "platforms/pc.h"
#include "platforms/tables.h"

/* Fills pc->fw_cfg, once: the items stay over resets. -EINVAL: cfg->fw_cfg; or the errno of a file there. */
int kb_pc_tell_firmware(struct kb_pc *pc, const struct kb_tables_config *tables, struct kvmbox_error *err);

#endif
