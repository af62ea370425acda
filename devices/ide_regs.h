/* Registers of an ATA channel (ATA/ATAPI-7 volume 2, 8) and of PIIX3's IDE function (82371SB datasheet, 2.3). */
#ifndef KB_IDE_REGS_H
#define KB_IDE_REGS_H

/* Command block; the last is status when read, command when written. */
enum {
	KB_ATA_DATA, KB_ATA_ERROR /* written: features */, KB_ATA_COUNT, KB_ATA_LOW, KB_ATA_MID, KB_ATA_HIGH,
	KB_ATA_DEVICE, KB_ATA_STATUS,
};

enum { /* status */
	KB_ATA_BSY = 0x80, KB_ATA_DRDY = 0x40, KB_ATA_DSC = 0x10, KB_ATA_DRQ = 0x08, KB_ATA_ERR = 0x01,
};
enum { /* error */
	KB_ATA_UNC = 0x40, KB_ATA_IDNF = 0x10, KB_ATA_ABRT = 0x04, KB_ATA_DIAG_PASSED = 0x01,
};
enum { /* device */
	KB_ATA_LBA = 0x40, KB_ATA_DEV1 = 0x10, KB_ATA_DEVICE_ONES = 0xa0, /* obsolete bits, as old drivers like them */
};
enum { /* device control */
	KB_ATA_HOB = 0x80, KB_ATA_SRST = 0x04, KB_ATA_NIEN = 0x02,
};

/* IDE timing of the primary channel: bit 15 lets its ports be decoded. */
enum { IDETIM = 0x40, IDETIM_DECODE = 0x8000 };

#endif
