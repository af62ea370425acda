/* ACPI fixed hardware: PM timer against simulated time; SCI by its overflow and the RTC, through 8259 and I/O APIC. */
#include "ioapic.h"

#define VECTOR 0x60
enum { PM1_STS = 0x600, PM1_EN = 0x602, PM1_CNT = 0x604, PM_TMR = 0x608 };
enum { TMR = 1, PWRBTN = 0x100, RTC = 0x400 };
#define PM_HZ 3579545ull

static volatile unsigned events;

static void on_sci(int vector)
{
	uint16_t status = inw(PM1_STS) & inw(PM1_EN);

	events |= status;
	outw(PM1_STS, status);
	tick();
	if (vector == VECTOR)
		lapic_eoi();
	else
		pic_eoi(9);
}

static void rate(void)
{
	uint64_t t0 = time_ps(), before, after, t1;
	uint32_t c0 = inl(PM_TMR), c1, passed;

	before = time_ps();
	spin_ns(5 * MS);
	after = time_ps();
	c1 = inl(PM_TMR);
	t1 = time_ps();
	passed = (c1 - c0) & 0xffffff;
	CHECK(10, (passed + 1) * (1000000000000ull / PM_HZ + 1) > after - before);
	CHECK(11, (passed - 1) * (1000000000000ull / PM_HZ) < t1 - t0);
}

static void overflow(int status)
{
	uint32_t before = inl(PM_TMR);
	uint64_t start = time_ns(), elapsed;

	outw(PM1_STS, 0xffff);
	events = 0;
	expect_ticks(1);
	outw(PM1_EN, TMR);
	wait_until(&enough);
	elapsed = time_ns() - start;
	outw(PM1_EN, 0);
	CHECK(status, events == TMR && ticks == 1);
	CHECK(status + 1, (before ^ inl(PM_TMR)) & 0x800000);
	CHECK(status + 2, elapsed < (1ull << 23) * 1000000000 / PM_HZ + SLACK);
}

/* The RTC's update interrupt is an alarm for ACPI, too, also while its own IRQ is masked. */
static void alarm(void)
{
	cmos_read(0x0c);
	outw(PM1_STS, 0xffff);
	events = 0;
	expect_ticks(1);
	outw(PM1_EN, RTC);
	cmos_write(0x0b, 0x12);
	wait_until(&enough);
	cmos_write(0x0b, 0x02);
	cmos_read(0x0c);
	CHECK(40, events == RTC && ticks == 1);
	outw(PM1_EN, 0);
}

int main(void)
{
	pic_init();
	CHECK(1, inw(PM1_STS) == 0 && inw(PM1_EN) == 0 && inw(PM1_CNT) == 1);
	outw(PM1_EN, PWRBTN);
	CHECK(2, inb(PM1_EN) == 0 && inb(PM1_EN + 1) == 1);
	rate();

	irq_handler(PIC_VECTOR + 9, on_sci);
	pic_unmask(9);
	overflow(20);
	pic_mask(9);

	irq_handler(VECTOR, on_sci);
	ioapic_route(PIN_SCI, ENTRY_LEVEL | VECTOR);
	overflow(30);
	alarm();
	printf("acpi events %x\n", events);
	return 0;
}
