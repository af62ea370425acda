/*
 * What the script guest does, step by step: the test writes the steps into guest RAM before the run and finds the
 * results there afterwards. Shared by the guest (C) and the tests (C++).
 */
#ifndef GUEST_SCRIPT_H
#define GUEST_SCRIPT_H

#include <stdint.h>

#define SCRIPT_STEPS 0x1000000u /* struct script_step, the last one SCRIPT_END */
#define SCRIPT_RESULT 0x1800000u /* struct script_result */
#define SCRIPT_SCRATCH 0x1900000u /* RAM the guest leaves alone */

enum script_op {
	SCRIPT_END,    /* exit with status value */
	SCRIPT_READ,   /* memory, width bytes at addr, to value */
	SCRIPT_WRITE,
	SCRIPT_IN,     /* port */
	SCRIPT_OUT,
	SCRIPT_CONFIG_READ, /* addr = bdf << 8 | offset, width 4, 2 or 1 */
	SCRIPT_CONFIG_WRITE,
	SCRIPT_TIME,   /* value = time in ps */
	SCRIPT_UNMASK, /* IRQ addr of the 8259s */
	SCRIPT_IRQ,    /* interrupts on (addr 1) or off */
	SCRIPT_SLEEP,  /* until an interrupt has come since the last SLEEP; value = number of interrupts so far */
	SCRIPT_COUNT,  /* value = interrupts by vector addr so far */
	SCRIPT_COPY16, /* movdqu of 16 bytes from addr to SCRIPT_SCRATCH + value */
	SCRIPT_ADD,    /* lock add of value at addr, 4 bytes */
	SCRIPT_GOTO,   /* step addr */
};

struct script_step {
	uint32_t op, width;
	uint64_t addr, value;
};

struct script_result {
	uint32_t steps;     /* done */
	uint32_t interrupts;
	uint32_t vector[256]; /* interrupts by vector */
	uint32_t last;      /* vector of the last one */
	uint32_t reserved;
	uint64_t last_ps;   /* when its handler ran */
};

#endif
