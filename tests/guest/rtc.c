/* MC146818: calendar, NVRAM, periodic interrupt at 1024 Hz and the second's update interrupt, on IRQ 8. */
#include "check.h"

enum { SECONDS = 0, MINUTES = 2, HOURS = 4, DAY = 7, MONTH = 8, YEAR = 9, REG_A = 10, REG_B = 11, REG_C = 12, REG_D = 13 };
enum { A_UIP = 0x80, B_SET = 0x80, B_PIE = 0x40, B_UIE = 0x10, B_BINARY = 4, B_24H = 2, C_IRQF = 0x80, C_PF = 0x40, C_UF = 0x10 };

static volatile int ticks, enough, target;
static volatile uint8_t causes;

static void tick(int vector)
{
	(void)vector;
	causes |= cmos_read(REG_C); /* lets the line go */
	if (++ticks == target)
		enough = 1;
	pic_eoi(8);
}

static void sleep_ticks(int n)
{
	ticks = 0;
	enough = 0;
	target = n;
	wait_until(&enough);
}

static unsigned value(uint8_t index)
{
	uint8_t v = cmos_read(index);

	return cmos_read(REG_B) & B_BINARY ? v : (v >> 4) * 10u + (v & 15);
}

static void calendar(void)
{
	unsigned looks = 0;

	while (cmos_read(REG_A) & A_UIP)
		CHECK(1, ++looks < 100000);
	printf("rtc %02u-%02u-%02u %02u:%02u:%02u\n", value(YEAR), value(MONTH), value(DAY), value(HOURS),
	       value(MINUTES), value(SECONDS));
	CHECK(2, cmos_read(REG_D) == 0x80);
	CHECK(3, cmos_read(REG_B) & B_24H);
	CHECK(4, value(SECONDS) < 60 && value(MINUTES) < 60 && value(HOURS) < 24);
	CHECK(5, value(DAY) >= 1 && value(DAY) <= 31 && value(MONTH) >= 1 && value(MONTH) <= 12);
	CHECK(6, value(YEAR) < 100);
}

static void nvram(void)
{
	cmos_write(0x50, 0x5a);
	cmos_write(0x51, 0xa5);
	CHECK(10, cmos_read(0x50) == 0x5a && cmos_read(0x51) == 0xa5);
}

static void periodic(void)
{
	uint64_t start, elapsed;

	cmos_write(REG_A, 0x26); /* 32768 Hz crystal, 1024 Hz */
	cmos_read(REG_C);
	start = time_ns();
	cmos_write(REG_B, B_24H | B_PIE);
	sleep_ticks(32);
	elapsed = time_ns() - start;
	cmos_write(REG_B, B_24H);
	printf("32 periods of 976562 ns took %lu ns\n", elapsed);
	CHECK(20, causes & C_PF && causes & C_IRQF);
	CHECK(21, elapsed > 31 * 976562ull && elapsed < 32 * 976562ull + SLACK);
}

static void update(void)
{
	uint64_t start, elapsed;
	unsigned before;

	cmos_read(REG_C);
	causes = 0;
	cmos_write(REG_B, B_24H | B_UIE);
	sleep_ticks(1);
	start = time_ns();
	before = value(SECONDS);
	sleep_ticks(1);
	elapsed = time_ns() - start;
	cmos_write(REG_B, B_24H);
	printf("a second took %lu ns\n", elapsed);
	CHECK(30, causes & C_UF);
	CHECK(31, value(SECONDS) == (before + 1) % 60);
	CHECK(32, elapsed > 900 * MS - SLACK && elapsed < 1000 * MS + SLACK);
}

int main(void)
{
	pic_init();
	irq_handler(PIC_VECTOR + 8, tick);
	pic_unmask(8);
	calendar();
	nvram();
	periodic();
	update();
	return 0;
}
