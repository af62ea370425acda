/*
 * Data sheet of the study's storage device, for both sides.
 *
 * The driver puts commands into a ring in memory (submission queue) and rings the doorbell. The device fetches them in
 * order, works on up to CHANNELS of them at a time, sends each one's data over a link that carries one transfer at a
 * time, and reports it in the completion queue, by MSI or for the driver to find. Completions may overtake.
 *
 * The device knows the sweep: writing NEXT takes it to the sweep's next point, DEPTH and COMMANDS then say what the driver
 * should do there. Only while no command is under way.
 */
#ifndef STORAGE_REGS_H
#define STORAGE_REGS_H

#ifdef __cplusplus
#include <cstdint>
#else
#include <stdint.h>
#endif

#define STORAGE_VENDOR_ID 0x1234
#define STORAGE_DEVICE_ID 0x5707
#define STORAGE_ID 0x53544f31u
#define STORAGE_QUEUE 128u          /* entries of each queue, used round robin */
#define STORAGE_MAX_DEPTH 64u       /* commands outstanding */
#define STORAGE_MAX_LENGTH 65536u   /* bytes per command, multiple of 8 */

/* BAR 0, 32 bits each. */
enum storage_reg {
	STORAGE_REG_ID = 0x00,
	STORAGE_REG_NEXT = 0x04,     /* write: next point */
	STORAGE_REG_DEPTH = 0x08,    /* commands to keep outstanding; 0: the sweep is over */
	STORAGE_REG_COMMANDS = 0x0c, /* commands to do at this point */
	STORAGE_REG_LENGTH = 0x10,   /* bytes per command */
	STORAGE_REG_POLL = 0x14,     /* 1: no interrupts please */
	STORAGE_REG_SQ = 0x18,       /* physical address of the submission queue, below 4 GiB */
	STORAGE_REG_CQ = 0x1c,       /* and of the completion queue */
	STORAGE_REG_DOORBELL = 0x20, /* write: commands put into the queue since the start, modulo 2^32 */
};

struct storage_command {
	uint32_t id;     /* the driver's; comes back in the completion */
	uint32_t block;  /* every 8 bytes of a block's data hold its number */
	uint32_t buffer; /* physical address */
	uint32_t length;
};

/* Entry n of all since the start has sequence n + 1, written together with the rest. */
struct storage_completion {
	uint32_t id;
	uint32_t sequence;
};

#endif
