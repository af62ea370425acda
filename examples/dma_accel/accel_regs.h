/*
 * The accelerator's programming interface, shared by its SystemC model (C++) and its guest driver (C).
 *
 * A PCI function that works through a list of descriptors in guest memory:
 *   BAR0  4 KiB, 32-bit memory: the registers below, little endian, 32 bits wide; the 64-bit ones (marked so) may
 *         be read and written as one 64-bit or two 32-bit accesses. Other widths and offsets read 0, writes are ignored.
 *   BAR2  1 MiB, 64-bit prefetchable memory: the window, memory local to the device; the guest may read and write it
 *         with any access width at any time, jobs address it by its offset
 *   BAR4  4 KiB, 32-bit memory: MSI-X, two vectors (ACCEL_VECTOR_*). Without MSI-X enabled INTA is the level
 *         INT_STATUS & INT_ENABLE != 0.
 *
 * A job: write 1 to n descriptors into memory, DESC_ADDR, then n to DOORBELL. The device
 *   1. sets STATUS.BUSY and takes JOB_START_PS;
 *   2. for each descriptor, in order: reads it by DMA, checks it, reads its source, waits length x PROC_PS_PER_BYTE,
 *      writes its destination, writes its status word back (4 bytes), adds 1 to COMPLETED, and if ACCEL_FLAG_IRQ is set
 *      raises DONE (not for the last descriptor: that comes in step 4). The first failing descriptor ends the list:
 *      its status tells why, LAST_ERROR has the same, and those behind it are left untouched;
 *   3. takes JOB_END_PS and JOB_DURATION_PS and clears STATUS.BUSY;
 *   4. raises DONE if the last descriptor succeeded and has ACCEL_FLAG_IRQ; or, after a failure, sets STATUS.ERROR and
 *      raises ERROR.
 * To raise an event is: set its INT_STATUS bit and, if INT_ENABLE has the bit, send its MSI-X vector (one message per
 * event, even if the bit was set before). The bit stays also when no message could leave, as without bus mastering.
 *
 * A doorbell with CTRL.ENABLE off, with n = 0 or n > ACCEL_MAX_DESCRIPTORS, while BUSY, or with DESC_ADDR not a multiple of
 * 32 starts nothing: LAST_ERROR = ACCEL_ERR_DOORBELL, STATUS.ERROR set, ERROR raised. A running job is not disturbed.
 *
 * The ring (since version 1.1) is for a driver that adds work while other work is under way. Write RING_ADDR and
 * RING_ENTRIES, then CTRL.ENABLE | CTRL.RING: RING_HEAD = RING_TAIL = 0, and until CTRL.RING is cleared DOORBELL starts
 * nothing, as above. Put descriptors at the tail, then write RING_TAIL, the index behind the last one. The device works while
 * RING_HEAD differs from RING_TAIL, and is BUSY meanwhile: it treats the descriptor at RING_HEAD as in step 2, moves on to the
 * next one, whatever the outcome, and raises DONE if the descriptor succeeded and has ACCEL_FLAG_IRQ; if it failed, sets
 * LAST_ERROR and STATUS.ERROR and raises ERROR. JOB_* are of the last descriptor. Only when a descriptor cannot be
 * read, or its status not be written, the ring halts: RING_HEAD stays there and STATUS.HALTED is set, until CTRL.RESET.
 * CTRL.RING set with RING_ENTRIES or RING_ADDR unfit stays clear, RING_TAIL written with no such index, CTRL.ENABLE or
 * CTRL.RING off, or HALTED stays as it was: both are reported like a doorbell that starts nothing. CTRL.RING does not change
 * while BUSY.
 */
#ifndef ACCEL_REGS_H
#define ACCEL_REGS_H

#if defined(__KERNEL__) /* Linux distinguishes byte orders */
#include <linux/types.h>
typedef __le16 accel_le16;
typedef __le32 accel_le32;
typedef __le64 accel_le64;
#else
#ifdef __cplusplus
#include <cstdint>
#else
#include <stdint.h>
#endif
typedef uint16_t accel_le16;
typedef uint32_t accel_le32;
typedef uint64_t accel_le64;
#endif

#define ACCEL_VENDOR_ID 0x4b58u   /* "KX"; not assigned by the PCI-SIG */
#define ACCEL_DEVICE_ID 0xacc1u
#define ACCEL_CLASS 0x120000u     /* processing accelerator */
#define ACCEL_REVISION 0x01u

#define ACCEL_BAR_REGS 0
#define ACCEL_BAR_WINDOW 2
#define ACCEL_BAR_MSIX 4
#define ACCEL_REGS_SIZE 0x1000u
#define ACCEL_WINDOW_SIZE 0x100000u

enum accel_vector {
	ACCEL_VECTOR_DONE = 0,
	ACCEL_VECTOR_ERROR = 1,
	ACCEL_VECTORS = 2,
};

/* Offsets in BAR0. "reset": value after power-on, machine reset and CTRL.RESET. */
enum accel_reg {
	ACCEL_REG_ID = 0x00,               /* RO: ACCEL_ID */
	ACCEL_REG_VERSION = 0x04,          /* RO: major << 16 | minor */
	ACCEL_REG_CTRL = 0x08,             /* RW: ACCEL_CTRL_*; reset 0 */
	ACCEL_REG_STATUS = 0x0c,           /* RO: ACCEL_STATUS_* */
	ACCEL_REG_INT_ENABLE = 0x10,       /* RW: ACCEL_INT_*; reset 0 */
	ACCEL_REG_INT_STATUS = 0x14,       /* RW1C: ACCEL_INT_*; clearing ERROR clears STATUS.ERROR as well */
	ACCEL_REG_DESC_ADDR = 0x18,        /* RW, 64-bit: guest-physical address of the list, multiple of 32; reset 0 */
	ACCEL_REG_DOORBELL = 0x20,         /* WO: number of descriptors, 1-ACCEL_MAX_DESCRIPTORS; reads 0 */
	ACCEL_REG_COMPLETED = 0x24,        /* RO: descriptors with status written back since reset, modulo 2^32 */
	ACCEL_REG_PROC_PS_PER_BYTE = 0x28, /* RW: processing time; latched at the doorbell; reset ACCEL_PROC_PS_DEFAULT */
	ACCEL_REG_LAST_ERROR = 0x2c,       /* RO: enum accel_status of the last failure; reset 0 */
	ACCEL_REG_JOB_START_PS = 0x30,     /* RO, 64-bit: simulated time of the last job's doorbell; reset 0 */
	ACCEL_REG_JOB_END_PS = 0x38,       /* RO, 64-bit: and of its end */
	ACCEL_REG_JOB_DURATION_PS = 0x40,  /* RO, 64-bit: their difference */
	ACCEL_REG_MAX_LENGTH = 0x48,       /* RO: ACCEL_MAX_LENGTH */
	ACCEL_REG_SCRATCH = 0x4c,          /* RW: no effect; reset 0 */
	ACCEL_REG_RING_ADDR = 0x50,        /* RW, 64-bit: guest-physical address of the ring, multiple of 32; latched by CTRL.RING; reset 0 */
	ACCEL_REG_RING_ENTRIES = 0x58,     /* RW: 2-ACCEL_MAX_RING; latched by CTRL.RING; reset 0 */
	ACCEL_REG_RING_TAIL = 0x5c,        /* RW: 0 to entries - 1; reset 0 */
	ACCEL_REG_RING_HEAD = 0x60,        /* RO: the descriptor the device is at, or will be; reset 0 */
};

#define ACCEL_ID 0x4b584143u
#define ACCEL_VERSION 0x00010001u
#define ACCEL_PROC_PS_DEFAULT 250u      /* 4 GB/s */
#define ACCEL_MAX_LENGTH 0x100000u      /* bytes of one descriptor */
#define ACCEL_MAX_DESCRIPTORS 256u
#define ACCEL_MAX_RING 4096u            /* descriptors; one is always free: head = tail is empty */

#define ACCEL_CTRL_ENABLE 0x1u
#define ACCEL_CTRL_RESET 0x2u /* reads 0. Aborts a job, registers to reset values; the window's content stays */
#define ACCEL_CTRL_RING 0x4u

#define ACCEL_STATUS_BUSY 0x1u
#define ACCEL_STATUS_ERROR 0x2u
#define ACCEL_STATUS_HALTED 0x4u

#define ACCEL_INT_DONE 0x1u
#define ACCEL_INT_ERROR 0x2u

/* 32 bytes, little endian, 32-byte aligned. */
struct accel_desc {
	accel_le64 src;     /* guest-physical address, or offset in the window */
	accel_le64 dst;     /* likewise */
	accel_le32 length;  /* bytes, 1-ACCEL_MAX_LENGTH, any alignment */
	accel_le16 opcode;  /* enum accel_opcode */
	accel_le16 flags;   /* ACCEL_FLAG_*; other bits are ignored */
	accel_le32 operand; /* add: low 8 bits; xor: 4-byte key */
	accel_le32 status;  /* written by the device: enum accel_status; the driver clears it before the doorbell */
};

/* Source and destination may be the same range; if they overlap otherwise the result is undefined. */
enum accel_opcode {
	ACCEL_OP_COPY = 1,        /* memory to memory */
	ACCEL_OP_ADD = 2,         /* dst[i] = (src[i] + operand) mod 256 */
	ACCEL_OP_XOR = 3,         /* dst[i] = src[i] ^ byte i mod 4 of operand (byte 0 is the lowest) */
	ACCEL_OP_CHECKSUM = 4,    /* 8 bytes at dst = sum of all source bytes, mod 2^64 */
	ACCEL_OP_TO_WINDOW = 5,   /* memory src to window offset dst */
	ACCEL_OP_FROM_WINDOW = 6, /* window offset src to memory dst */
};

#define ACCEL_FLAG_IRQ 0x1u /* raise DONE when this descriptor is done */

enum accel_status {
	ACCEL_PENDING = 0,
	ACCEL_OK = 1,
	ACCEL_ERR_OPCODE = 2,   /* no such opcode */
	ACCEL_ERR_LENGTH = 3,   /* 0 or above ACCEL_MAX_LENGTH */
	ACCEL_ERR_WINDOW = 4,   /* not entirely inside the window */
	ACCEL_ERR_DMA = 5,      /* an address is not memory, or bus mastering is off (then only LAST_ERROR can tell) */
	ACCEL_ERR_DOORBELL = 6, /* LAST_ERROR only: see above */
};

#endif
