/*
 * QEMU's firmware configuration device (QEMU's docs/specs/fw_cfg): named files and numbered items that firmware
 * reads to find out about the machine. Selector at port 0x510, data at 0x511, DMA at 0x514. Little endian
 * contents are the items' own; directory and DMA descriptors are big endian.
 *
 * Items are read-only. DMA reaches RAM only: a descriptor elsewhere is dropped, a buffer elsewhere (or in ROM) ends
 * in the error bit with nothing transferred. Transfers are done at once and cost the guest no time.
 */
#ifndef KB_FW_CFG_H
#define KB_FW_CFG_H

#include <stddef.h>
#include <stdint.h>

#include "vcpu/bus.h"

#define KB_FW_CFG_PORT 0x510u
#define KB_FW_CFG_DMA_PORT 0x514u
#define KB_FW_CFG_NAME_MAX 55u

/* Items with numbers of their own, from QEMU's list. */
enum {
	KB_FW_CFG_SIGNATURE = 0x00, /* "QEMU", the device's own */
	KB_FW_CFG_ID = 0x01,        /* its features, the device's own */
	KB_FW_CFG_RAM_SIZE = 0x03,  /* 8 bytes */
	KB_FW_CFG_CPUS = 0x05,      /* 2 bytes */
	KB_FW_CFG_BOOT_MENU = 0x0e, /* 2 bytes: show it? */
	KB_FW_CFG_MAX_CPUS = 0x0f,  /* 2 bytes: APIC IDs are below */
	KB_FW_CFG_FILE_DIR = 0x19,  /* the device's own */
	KB_FW_CFG_FILE_FIRST = 0x20,
};

struct kb_fw_cfg;

/* Claims its ports on io; mem is what DMA reaches. Both must outlive it. -EEXIST, -ENOMEM. */
int kb_fw_cfg_create(struct kb_fw_cfg **out, struct kb_bus *io, struct kb_bus *mem, struct kvmbox_error *err);
void kb_fw_cfg_destroy(struct kb_fw_cfg *f); /* NULL is fine */
/* Nothing selected is as item 0 selected. Items stay. */
void kb_fw_cfg_reset(struct kb_fw_cfg *f);

/* Adds an item below KB_FW_CFG_FILE_FIRST; bytes are copied. -EINVAL: key; -EEXIST, -ENOMEM. */
int kb_fw_cfg_add(struct kb_fw_cfg *f, unsigned key, const void *bytes, size_t len, struct kvmbox_error *err);
/*
 * Adds a file under the next free key; bytes are copied. -EINVAL: a name that is empty or longer than
 * KB_FW_CFG_NAME_MAX; -EFBIG: 4 GiB or more; -ENOSPC: no key left; -EEXIST, -ENOMEM.
 */
int kb_fw_cfg_add_file(struct kb_fw_cfg *f, const char *name, const void *bytes, size_t len, struct kvmbox_error *err);

#endif
