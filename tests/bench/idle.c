/* Guest: sleeps in HLT, woken by the local APIC's timer again and again. */
#include "idle.h"
#include "kvmbox_guest.h"

#define VECTOR 0x40
#define PERIODIC 0x20000u
#define DIVIDE_BY_1 0xbu
#define COUNT 100000u

static volatile int enough;
static int wakes;

static GUEST_CPL0 void tick(int vector)
{
	(void)vector;
	if (++wakes >= BENCH_IDLE_WAKES)
		enough = 1;
	lapic_eoi();
}

int main(void)
{
	irq_handler(VECTOR, tick);
	lapic_init();
	lapic_write(LAPIC_TIMER_DIVIDE, DIVIDE_BY_1);
	lapic_write(LAPIC_LVT_TIMER, PERIODIC | VECTOR);
	lapic_write(LAPIC_TIMER_INITIAL, COUNT);
	wait_until(&enough);
	return 0;
}
