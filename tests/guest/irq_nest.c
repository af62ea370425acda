/*
 * Nesting by 8259 priority: IRQ 0 interrupts the handler of IRQ 8 once that allows interrupts; IRQ 8 waits for the
 * end-of-interrupt of IRQ 0 however long that takes with interrupts on.
 */
#include "check.h"

static volatile int order[8], count, done;
static volatile int pit_ran;
enum { PIT_IN = 1, PIT_OUT, RTC_IN, RTC_OUT };

static void note(int what)
{
	if (count < 8)
		order[count++] = what;
}

static void rtc_waits_for_pit(int vector)
{
	(void)vector;
	cmos_write(11, 0x02); /* no further ones */
	cmos_read(12);
	note(RTC_IN);
	pit_ran = 0;
	pit_start(0, 1193); /* one shot, 1 ms */
	while (!pit_ran)
		wait_for_interrupt();
	note(RTC_OUT);
	pic_eoi(8);
	done = 1;
}

static void pit_short(int vector)
{
	(void)vector;
	note(PIT_IN);
	pit_ran = 1;
	note(PIT_OUT);
	pic_eoi(0);
}

static void pit_holds_back_rtc(int vector)
{
	(void)vector;
	note(PIT_IN);
	cmos_read(12);
	cmos_write(11, 0x42); /* periodic: due several times before we leave */
	irq_enable();
	spin_ns(4 * MS);
	irq_disable();
	note(PIT_OUT);
	pic_eoi(0);
}

static void rtc_last(int vector)
{
	(void)vector;
	cmos_write(11, 0x02);
	cmos_read(12);
	note(RTC_IN);
	pic_eoi(8);
	done = 1;
}

int main(void)
{
	outb(0x43, 0x30); /* channel 0 idle: mode 0 without a count keeps its output low */
	pic_init();
	pic_unmask(0);
	pic_unmask(8);

	irq_handler(PIC_VECTOR, pit_short);
	irq_handler(PIC_VECTOR + 8, rtc_waits_for_pit);
	cmos_read(12);
	cmos_write(10, 0x26);
	cmos_write(11, 0x42);
	wait_until(&done);
	CHECK(1, count == 4);
	CHECK(2, order[0] == RTC_IN && order[1] == PIT_IN && order[2] == PIT_OUT && order[3] == RTC_OUT);

	count = 0;
	done = 0;
	irq_handler(PIC_VECTOR, pit_holds_back_rtc);
	irq_handler(PIC_VECTOR + 8, rtc_last);
	pit_start(0, 1193);
	wait_until(&done);
	CHECK(3, count == 3);
	CHECK(4, order[0] == PIT_IN && order[1] == PIT_OUT && order[2] == RTC_IN);
	return 0;
}
