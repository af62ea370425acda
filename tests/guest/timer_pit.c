/* 8254 channel 0 at 1 kHz through IRQ 0 of the 8259s: the ticks come, at the right rate, and stop when masked. */
#include "check.h"

#define TICKS 20
#define COUNT 1193

static volatile int ticks, enough;

static void tick(int vector)
{
	(void)vector;
	if (++ticks == TICKS)
		enough = 1;
	pic_eoi(0);
}

static uint16_t pit_now(void)
{
	uint8_t lo;

	outb(0x43, 0x00); /* latch channel 0 */
	lo = inb(0x40);
	return (uint16_t)(inb(0x40) << 8 | lo);
}

int main(void)
{
	uint64_t start, elapsed;
	int seen;

	outb(0x43, 0x34); /* mode 2 makes the output high: an edge that is not a tick, forgotten by pic_init() */
	pic_init();
	irq_handler(PIC_VECTOR, tick);
	pic_unmask(0);
	start = time_ns();
	pit_start(2, COUNT);
	wait_until(&enough);
	elapsed = time_ns() - start;
	printf("%d ticks of %lu ns took %lu ns\n", TICKS, (unsigned long)PIT_NS(COUNT), elapsed);
	CHECK(1, ticks == TICKS);
	CHECK(2, elapsed + CLOCK >= PIT_NS((uint64_t)COUNT * TICKS));
	CHECK(3, elapsed < PIT_NS((uint64_t)COUNT * TICKS) + SLACK);
	for (int i = 0; i < 5; i++) {
		uint16_t now = pit_now();

		CHECK(4, now >= 1 && now <= COUNT);
	}
	/* Masked, the edges go nowhere; one may wait in the 8259. */
	pic_mask(0);
	seen = ticks;
	irq_enable();
	spin_ns(3 * MS);
	irq_disable();
	CHECK(5, ticks == seen);
	/* Interrupts off: one edge is kept, the others are lost (a new one may come while that is handled). */
	pic_unmask(0);
	spin_ns(3 * MS);
	CHECK(6, ticks == seen);
	wait_for_interrupt();
	CHECK(7, ticks == seen + 1 || ticks == seen + 2);
	return 0;
}
