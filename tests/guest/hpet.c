/*
 * HPET: its counter against simulated time; one-shot, periodic, by message, in place of the PIT; sleeping for long; a
 * period nobody can serve.
 */
#include "ioapic.h"

#define VECTOR 0x60
#define MESSAGE 0x61
#define TICKS 10

static volatile uint64_t last;

static void on_tick(int vector)
{
	last = hpet_read(HPET_COUNTER);
	tick();
	if (vector == PIC_VECTOR)
		pic_eoi(0);
	else
		lapic_eoi();
}

static void registers(void)
{
	uint64_t cap = hpet_read(HPET_CAP);

	CHECK(1, cap >> 32 == 10000000 && (cap & 0xff) && (cap >> 8 & 0x1f) >= 2 && cap & 0x2000 && cap & 0x8000);
	CHECK(2, hpet_read(HPET_COUNTER) == 0 && hpet_read(HPET_COUNTER) == 0);
	hpet_write(HPET_COUNTER, 0xfffffff0);
	CHECK(3, mmio_read32(HPET + HPET_COUNTER) == 0xfffffff0 && mmio_read32(HPET + HPET_COUNTER + 4) == 0);
	hpet_write(HPET_COUNTER, 0);
}

/* Each reading of the counter lies between two of simulated time, to the tick. */
static void rate(void)
{
	uint64_t before, after, ticks0, ticks1, t0, t1;

	hpet_write(HPET_CONF, 1);
	t0 = time_ps();
	ticks0 = hpet_read(HPET_COUNTER);
	before = time_ps();
	spin_ns(5 * MS);
	after = time_ps();
	ticks1 = hpet_read(HPET_COUNTER);
	t1 = time_ps();
	CHECK(10, (ticks1 - ticks0 + 1) * 10000 > after - before);
	CHECK(11, (ticks1 - ticks0 - 1) * 10000 < t1 - t0);
}

static void one_shot(void)
{
	uint64_t due;

	hpet_write(HPET_TCONF(2), HPET_ENABLE | HPET_ROUTE);
	expect_ticks(1);
	due = hpet_read(HPET_COUNTER) + 2 * HPET_MS;
	hpet_write(HPET_COMP(2), due);
	wait_until(&enough);
	CHECK(20, last >= due && last < due + SLACK / 10);
	irq_enable();
	spin_ns(3 * MS);
	irq_disable();
	CHECK(21, ticks == 1);
	/* Long: the guest sleeps, nobody else does. */
	expect_ticks(1);
	due = hpet_read(HPET_COUNTER) + 100000 * HPET_MS;
	hpet_write(HPET_COMP(2), due);
	wait_until(&enough);
	CHECK(22, last >= due && last < due + SLACK / 10);
	hpet_write(HPET_TCONF(2), HPET_ROUTE);
}

/* TICKS of 1 ms by comparator n; they must come where the comparator says. */
static void periodic(int status, unsigned n, uint32_t conf)
{
	uint64_t first, mask = conf & HPET_32 ? 0xffffffff : ~0ull, late;

	expect_ticks(TICKS);
	hpet_write(HPET_TCONF(n), HPET_ENABLE | HPET_PERIODIC | HPET_SETVAL | conf);
	first = (hpet_read(HPET_COUNTER) + HPET_MS) & mask;
	hpet_write(HPET_COMP(n), first);
	hpet_write(HPET_COMP(n), HPET_MS);
	wait_until(&enough);
	late = (last - first - (TICKS - 1) * HPET_MS) & mask;
	CHECK(status, late < SLACK / 10);
	CHECK(status + 1, ((hpet_read(HPET_COMP(n)) - first) & mask) % HPET_MS == 0);
	hpet_write(HPET_TCONF(n), conf);
	irq_enable();
	spin_ns(MS / 10);
	expect_ticks(TICKS);
	spin_ns(2 * MS);
	irq_disable();
	CHECK(status + 2, ticks == 0);
}

static void legacy(void)
{
	uint64_t due;

	pit_start(2, 119); /* 100 us: cut off */
	irq_handler(PIC_VECTOR, on_tick);
	pic_unmask(0);
	hpet_write(HPET_CONF, 3);
	irq_enable();
	spin_ns(MS); /* one of the PIT's may wait */
	expect_ticks(TICKS);
	spin_ns(2 * MS);
	irq_disable();
	CHECK(50, ticks == 0);
	periodic(51, 0, HPET_32);
	pic_mask(0);
	/* And by pin 2 of the I/O APIC. */
	ioapic_route(PIN_PIT, VECTOR);
	expect_ticks(1);
	hpet_write(HPET_TCONF(0), HPET_ENABLE);
	due = hpet_read(HPET_COUNTER) + HPET_MS;
	hpet_write(HPET_COMP(0), due);
	wait_until(&enough);
	CHECK(55, last >= due);
	ioapic_route(PIN_PIT, ENTRY_MASKED);
	hpet_write(HPET_TCONF(0), 0);
	hpet_write(HPET_CONF, 1);
}

/* A period of one tick: this program must get on. */
static void too_fast(void)
{
	uint64_t before = hpet_read(HPET_COUNTER);

	hpet_write(HPET_TCONF(1), HPET_ENABLE | HPET_PERIODIC | HPET_SETVAL | HPET_FSB_ENABLE);
	hpet_write(HPET_COMP(1), before + 1000);
	hpet_write(HPET_COMP(1), 1);
	for (unsigned i = 0; i < 100; i++)
		hpet_read(HPET_COUNTER);
	CHECK(60, hpet_read(HPET_COUNTER) > before);
	hpet_write(HPET_TCONF(1), 0);
}

int main(void)
{
	pic_init();
	irq_handler(VECTOR, on_tick);
	irq_handler(MESSAGE, on_tick);
	ioapic_route(PIN_HPET, ENTRY_LOW | VECTOR);
	registers();
	rate();
	one_shot();
	periodic(30, 2, HPET_ROUTE);
	hpet_write(HPET_FSB(1), 0xfee0000000000000 | (uint64_t)lapic_read(LAPIC_ID) >> 12 << 32 | MESSAGE);
	periodic(40, 1, HPET_FSB_ENABLE);
	legacy();
	too_fast();
	printf("hpet %lu ticks\n", hpet_read(HPET_COUNTER));
	return 0;
}
