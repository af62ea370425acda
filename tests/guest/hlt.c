/* Sleeping: a one-shot of the 8254 ends HLT, and simulated time has moved by as much as the count says. */
#include "check.h"

static volatile int fired;

static void wake(int vector)
{
	(void)vector;
	fired = 1;
	pic_eoi(0);
}

int main(void)
{
	static const unsigned counts[] = { 120, 1193, 11932, 59659 };

	pic_init();
	irq_handler(PIC_VECTOR, wake);
	pic_unmask(0);
	for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		uint64_t expect = PIT_NS(counts[i]), start, elapsed;

		fired = 0;
		start = time_ns();
		pit_start(0, counts[i]);
		wait_until(&fired);
		elapsed = time_ns() - start;
		printf("sleep %lu ns took %lu ns\n", expect, elapsed);
		CHECK(1, elapsed + CLOCK >= expect);
		CHECK(2, elapsed < expect + SLACK);
	}
	return 0;
}
