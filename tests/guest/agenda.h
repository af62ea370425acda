/*
 * The agenda guest: does what a list in guest RAM says, and notes values and times. The test writes the list before the
 * simulation starts and reads it afterwards. Shared by tests/guest/agenda.c and the tests in tests/platform.
 */
#ifndef GUEST_AGENDA_H
#define GUEST_AGENDA_H

#ifdef __cplusplus
#include <cstdint>
#else
#include <stdint.h>
#endif

#define AGENDA_ADDR 0x1000000u
#define AGENDA_MAX 1024u

enum agenda_op {
	AGENDA_END,
	AGENDA_READ,   /* BAR bar of slot, at offset, width bytes */
	AGENDA_WRITE,
	AGENDA_RAM,    /* reads RAM at offset */
	AGENDA_POLL,   /* reads RAM at offset until it is value, 20000 times at most */
	AGENDA_MSI,    /* enables MSI of the slot */
	AGENDA_INTX,   /* unmasks the slot's INTx, for one interrupt */
	AGENDA_SLEEP,  /* HLT until the next interrupt since the last of these two; value: when its handler looked at the clock */
	AGENDA_SPIN,   /* likewise, but looks at the clock all the time */
};

struct agenda_step {
	uint32_t op, slot, bar, width;
	uint64_t offset, value;  /* value: read, or to write */
	uint64_t before, after;  /* READ, WRITE: guest time (ps) as read immediately before and after the access */
};

#endif
