/* The loop of the guest-share benchmark, the same code in the guest and as a host process. */
#ifndef BENCH_COMPUTE_H
#define BENCH_COMPUTE_H

#include <stdint.h>

#define BENCH_COMPUTE_STEPS 150000000ull

static inline uint64_t bench_compute(void)
{
	uint64_t x = 88172645463325252ull;

	for (uint64_t i = 0; i < BENCH_COMPUTE_STEPS; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	return x;
}

#endif
