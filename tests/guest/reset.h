/*
 * For the guests that reset the machine. With reset_ends they never come back; otherwise the second start finds the
 * marks of the first, in RAM outside of the program or in the NVRAM, and ends with status 0.
 */
#include "check.h"

#define MARK 0x5ec0d57a
static volatile uint32_t *const ram_mark = (volatile uint32_t *)0x90000;

static void begin(void)
{
	bool in_ram = *ram_mark == MARK, in_nvram = cmos_read(0x6e) == 0xc5;

	if (in_ram || in_nvram) {
		printf("second start, mark in%s%s\n", in_ram ? " RAM" : "", in_nvram ? " NVRAM" : "");
		*ram_mark = 0;
		cmos_write(0x6e, 0);
		exit(0);
	}
	CHECK(3, time_ns() < 10000 * MS); /* no mark survives: do not go round for ever */
	*ram_mark = MARK;
	cmos_write(0x6e, 0xc5);
	puts("first start");
}

/* Where the program ends up if nothing was reset. */
static int not_reset(void)
{
	spin_ns(1 * MS);
	*ram_mark = 0;
	cmos_write(0x6e, 0);
	puts("still running");
	return 2;
}
