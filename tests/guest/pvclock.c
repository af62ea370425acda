/*
 * Reads the kvm-clock page over and over, in both rings, between exits of all kinds: it must never step back, and must
 * agree with the time register. Prints what it found; the test checks it.
 */
#include "check.h"
#include "pvclock.h"

static volatile uint64_t last, last_in_handler, ticks;
static struct pvclock_result result;

/* The page says no less than what was read before. A handler that comes after the floor was fetched may read more. */
static uint64_t GUEST_CPL0 look_from(uint64_t floor)
{
	uint64_t t = pvclock_ns();

	if (t < floor) {
		result.steps_back++;
		if (floor - t > result.worst_back_ns)
			result.worst_back_ns = floor - t;
	}
	result.looks++;
	return t;
}

static void GUEST_CPL0 look(void)
{
	uint64_t floor = last > last_in_handler ? last : last_in_handler, t = look_from(floor);

	if (t > floor)
		result.moves++;
	last = t;
}

static void GUEST_CPL0 tick(int vector)
{
	(void)vector;
	last_in_handler = look_from(last > last_in_handler ? last : last_in_handler);
	ticks++;
	pic_eoi(0);
	last_in_handler = look_from(last_in_handler);
}

static void GUEST_CPL0 register_between(void)
{
	uint64_t before, at, after;

	look();
	before = last;
	at = time_ns();
	look();
	after = last;
	if (at < before)
		result.before++;
	if (at > after)
		result.behind++;
	if (at > after && at - after > result.worst_behind_ns)
		result.worst_behind_ns = at - after;
	if (at - before > result.worst_register_ns)
		result.worst_register_ns = at - before;
	result.exact += at == after;
	result.registers++;
}

static void GUEST_CPL0 spin(unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++)
		look();
}

static void GUEST_CPL0 between_exits(unsigned rounds, unsigned spins)
{
	for (unsigned i = 0; i < rounds; i++) {
		register_between();
		spin(spins);
		outb(0x80, 0);
		look();
		inb(0x70);
		look();
		mmio_write32(0xfed80000, 0);
		look();
		mmio_read64(0xfed80000);
		look();
		mmio_read32(0xe0000000); /* nobody there */
		look();
	}
}

/* Sleeps between looks; the interrupt looks, too. */
static void halts(unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		uint64_t was = ticks, start = last;

		pit_start(0, 1193);
		while (ticks == was) {
			look();
			wait_for_interrupt();
			look();
		}
		look();
		if (last - start < PIT_NS(1193) - CLOCK)
			result.short_halts++;
	}
}

static long GUEST_CPL0 in_ring0(long rounds, long spins, struct guest_frame *frame)
{
	(void)frame;
	between_exits((unsigned)rounds, (unsigned)spins);
	return 0;
}

int main(void)
{
	CHECK(1, pvclock_enable());
	last = time_ns();
	between_exits(PVCLOCK_ROUNDS, 300);
	kernel_call(in_ring0, PVCLOCK_ROUNDS, 3);
	pic_init();
	irq_handler(PIC_VECTOR, tick);
	pic_unmask(0);
	halts(50);
	pit_start(2, 40000); /* periodic, while it computes and accesses; not more often, or a fast guest does nothing else */
	irq_enable();
	for (unsigned i = 0; i < 20; i++) {
		spin(20000);
		between_exits(2, 1000);
	}
	irq_disable();
	result.ticks = ticks;
	result.start_s = pvclock_start_s();
	*(volatile struct pvclock_result *)(uintptr_t)PVCLOCK_RESULT = result;
	return 0;
}
