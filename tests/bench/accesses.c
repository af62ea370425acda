/* Guest: see accesses.h. Built twice, for ring 3 and (BENCH_RING0) for ring 0. */
#include "accesses.h"
#include "kvmbox_guest.h"

#ifdef BENCH_RING0
GUEST_OPTIONS(GUEST_RING0);
#endif

int main(void)
{
	for (unsigned round = 0; round < BENCH_ROUNDS; round++) {
		for (unsigned i = 0; i < BENCH_BLOCK; i++)
			mmio_read32(BENCH_BAR + BENCH_REG);
		mmio_write32(BENCH_BAR + BENCH_MARK, BENCH_READS_DONE);
		for (unsigned i = 0; i < BENCH_BLOCK; i++)
			mmio_write32(BENCH_BAR + BENCH_REG, i);
		mmio_write32(BENCH_BAR + BENCH_MARK, BENCH_WRITES_DONE);
	}
	return 0;
}
