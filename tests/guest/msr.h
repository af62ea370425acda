/* Steps that tests/guest/msr.c performs at CPL0, one after the other. */
#ifndef GUEST_MSR_H
#define GUEST_MSR_H

#include <stdint.h>

#define MSR_STEPS 0x1000000u /* struct msr_step, the last one MSR_END */

enum msr_op {
	MSR_END,
	MSR_READ,   /* to value */
	MSR_WRITE,
	MSR_WRITE_ONCE, /* not again after a reset */
	MSR_EXIT,   /* a port access */
	MSR_CPUID,  /* leaf msr, to reg */
	MSR_TSC,    /* to value */
	MSR_RESET,  /* of the machine: the steps start anew */
	MSR_MEMORY, /* 8 bytes at value, to value */
};

struct msr_step {
	uint32_t op, msr;
	uint64_t value;
	uint32_t fault; /* out: 1 #GP */
	uint32_t reg[4];
	uint32_t pad;
};

#endif
