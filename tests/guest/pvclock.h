/* What tests/guest/pvclock.c leaves in guest memory. */
#ifndef GUEST_PVCLOCK_H
#define GUEST_PVCLOCK_H

#include <stdint.h>

#define PVCLOCK_RESULT 0x1800000u
#define PVCLOCK_ROUNDS 100

struct pvclock_result {
	uint64_t looks, moves, steps_back, worst_back_ns, registers, before, behind, worst_behind_ns, worst_register_ns, exact,
		short_halts, ticks, start_s;
};

#endif
