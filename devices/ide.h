/*
 * One ATA channel with up to two disks at the PC's legacy ports (0x1F0-0x1F7, 0x3F6, IRQ 14), and the PCI function
 * that says so: 82371SB (PIIX3) IDE, 8086:7010, in compatibility mode (82371FB/SB datasheet 2.3; PCI IDE Controller
 * Specification 1.0). ATA/ATAPI-7 volume 2 (T13/1532D) with the general feature set, 48-bit addresses and PIO up to
 * mode 4; no DMA. The second channel is not there.
 *
 * Time: a command is done, or its first block ready, by the time it is written; blocks follow each other at
 * once. What the guest waits for is its own accesses. Status never shows BSY but while SRST is set.
 */
#ifndef KB_IDE_H
#define KB_IDE_H

#include <kvmbox/block.h>

#include "devices/line.h"
#include "devices/pci.h"
#include "vcpu/bus.h"

#define KB_IDE_PORT 0x1f0u
#define KB_IDE_CONTROL_PORT 0x3f6u
#define KB_IDE_SLOT 31 /* out of the way of other devices */

struct kb_ide;

struct kb_ide_config {
	struct kb_bus *io;
	struct kb_pci_bus *pci; /* must outlive the channel, as io and the disks */
	struct kb_line irq;     /* INTRQ; copied */
	/* Devices 0 and 1. The second may be NULL. Their blocks must have 512 bytes. */
	struct kvmbox_block *disk[2];
};

/* -EINVAL: a disk with larger blocks; -EEXIST: ports or slot are taken; -ENOMEM. */
int kb_ide_create(struct kb_ide **out, const struct kb_ide_config *cfg, struct kvmbox_error *err);
/* The PCI function is the bus's and goes with it: first this, then the bus. NULL is fine. */
void kb_ide_destroy(struct kb_ide *ide);
/* Hardware reset: transfers end, settings are lost. */
void kb_ide_reset(struct kb_ide *ide);

#endif
