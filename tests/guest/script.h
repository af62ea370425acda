/*
 * The scripted guest: does what a list in guest RAM says, and notes values and times. The test writes the list before the
 * simulation starts and reads it afterwards. Shared by tests/guest/script.c and the tests in tests/platform.
 */
#ifndef GUEST_SCRIPT_H
#define GUEST_SCRIPT_H

#ifdef __cplusplus
#include <cstdint>
#else
#include <stdint.h>
#endif

#define SCRIPT_ADDR 0x1000000u
#define SCRIPT_MAX 1024u

enum script_op {
	SCRIPT_END,
	SCRIPT_READ,   /* BAR bar of slot, at offset, width bytes */
	SCRIPT_WRITE,
	SCRIPT_RAM,    /* reads RAM at offset */
	SCRIPT_POLL,   /* reads RAM at offset until it is value, 20000 times at most */
	SCRIPT_MSI,    /* enables MSI of the slot */
	SCRIPT_INTX,   /* unmasks the slot's INTx, for one interrupt */
	SCRIPT_SLEEP,  /* HLT until the next interrupt since the last of these two; value: when its handler looked at the clock */
	SCRIPT_SPIN,   /* likewise, but looks at the clock all the time */
};

struct script_step {
	uint32_t op, slot, bar, width;
	uint64_t offset, value;  /* value: read, or to write */
	uint64_t before, after;  /* READ, WRITE: guest time (ps) as read immediately before and after the access */
};

#endif
