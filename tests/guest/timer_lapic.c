/*
 * Local APIC timer (SDM volume 3, 10.5.4): its rate against simulated time, periodic, one-shot, masked. Interrupts go
 * straight to the CPU, without the 8259s.
 */
#include "check.h"

#define VECTOR 0x60
#define TICKS 20
enum { LVT_MASKED = 0x10000, LVT_PERIODIC = 0x20000, DIVIDE_1 = 0xb, DIVIDE_16 = 0x3 };

static volatile int ticks, enough;
static volatile int target;

static void tick(int vector)
{
	(void)vector;
	if (++ticks == target)
		enough = 1;
	lapic_eoi();
}

static void sleep_ticks(int n)
{
	ticks = 0;
	enough = 0;
	target = n;
	wait_until(&enough);
}

/* Stops the timer and takes a tick that is still waiting. */
static void stop(void)
{
	lapic_write(LAPIC_TIMER_INITIAL, 0);
	irq_enable();
	spin_ns(MS / 10);
	irq_disable();
}

/* The counter and the time it was read, as exactly as the host lets us: the best of some tries. */
static uint32_t sample(uint64_t *when)
{
	uint64_t best = ~0ull;
	uint32_t count = 0;

	for (unsigned i = 0; i < 6; i++) {
		uint64_t before = time_ns();
		uint32_t c = lapic_read(LAPIC_TIMER_CURRENT);
		uint64_t gap = time_ns() - before;

		if (gap < best) {
			best = gap;
			count = c;
			*when = before + gap / 2;
		}
	}
	return count;
}

/* Timer counts per millisecond, from a masked run of the counter. */
static uint32_t calibrate(void)
{
	uint64_t t1 = 0, t2 = 0;
	uint32_t c1, c2;

	lapic_write(LAPIC_LVT_TIMER, LVT_MASKED | VECTOR);
	lapic_write(LAPIC_TIMER_INITIAL, 0xffffffff);
	c1 = sample(&t1);
	spin_ns(2 * MS);
	c2 = sample(&t2);
	CHECK(1, c2 < c1);
	return (uint32_t)((c1 - c2) * MS / (t2 - t1));
}

int main(void)
{
	uint64_t start, elapsed;
	uint32_t per_ms, slow;

	lapic_init();
	CHECK(2, lapic_read(LAPIC_SVR) & 0x100);
	irq_handler(VECTOR, tick);

	lapic_write(LAPIC_TIMER_DIVIDE, DIVIDE_16);
	slow = calibrate();
	lapic_write(LAPIC_TIMER_DIVIDE, DIVIDE_1);
	per_ms = calibrate();
	printf("lapic timer %u kHz\n", per_ms);
	CHECK(3, per_ms > slow * 8 && per_ms < slow * 32);

	lapic_write(LAPIC_LVT_TIMER, LVT_PERIODIC | VECTOR);
	start = time_ns();
	lapic_write(LAPIC_TIMER_INITIAL, per_ms);
	sleep_ticks(TICKS);
	elapsed = time_ns() - start;
	printf("%d ticks of 1 ms took %lu ns\n", TICKS, elapsed);
	CHECK(4, elapsed > TICKS * MS * 9 / 10);
	CHECK(5, elapsed < TICKS * MS * 11 / 10 + SLACK);

	stop();

	/* One shot: fires once and stays at 0. */
	lapic_write(LAPIC_LVT_TIMER, VECTOR);
	start = time_ns();
	lapic_write(LAPIC_TIMER_INITIAL, 2 * per_ms);
	sleep_ticks(1);
	elapsed = time_ns() - start;
	CHECK(6, elapsed > 2 * MS * 9 / 10 && elapsed < 2 * MS + SLACK);
	CHECK(7, lapic_read(LAPIC_TIMER_CURRENT) == 0);
	irq_enable();
	spin_ns(4 * MS);
	irq_disable();
	CHECK(8, ticks == 1);

	/* Masked, or stopped by an initial count of 0: nothing. */
	lapic_write(LAPIC_LVT_TIMER, LVT_MASKED | VECTOR);
	lapic_write(LAPIC_TIMER_INITIAL, per_ms);
	irq_enable();
	spin_ns(2 * MS);
	lapic_write(LAPIC_LVT_TIMER, VECTOR);
	lapic_write(LAPIC_TIMER_INITIAL, 1000 * per_ms);
	lapic_write(LAPIC_TIMER_INITIAL, 0);
	spin_ns(2 * MS);
	irq_disable();
	CHECK(9, ticks == 1);
	CHECK(10, lapic_read(LAPIC_TIMER_CURRENT) == 0);
	return 0;
}
