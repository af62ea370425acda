/*
 * A guest that compares all clocks it finds with each other, and a model whose accesses take random times. Shared by the guest (C) and
 * the test (C++). The model's BAR 0, registers of 64 bits:
 */
#ifndef TESTS_PLATFORM_ALL_CLOCKS_REGS_H
#define TESTS_PLATFORM_ALL_CLOCKS_REGS_H

#include <stdint.h>

#define CLOCKS_VENDOR 0x1234
#define CLOCKS_DEVICE 0x7300

enum clocks_register {
	CLOCKS_NOW = 0x00,   /* read: SystemC's time, ps; takes none */
	CLOCKS_WAIT = 0x08,  /* read: takes a random time */
	CLOCKS_UNTIL = 0x10, /* read: until when to go on, ps */
	CLOCKS_HAS = 0x18,   /* read: bit n: there is clock n */
};

enum clocks_clock {
	CLOCKS_MODEL,  /* ps */
	CLOCKS_PORT,   /* the time register's ports, ps */
	CLOCKS_PIT,    /* counter 2, mode 2: counts down from 65536 */
	CLOCKS_LAPIC,  /* timer, divided by 16, counts down from 2^32 - 1 */
	CLOCKS_RTC,    /* second of the day */
	CLOCKS_COUNT,
};

struct clocks_sample {
	uint64_t clock;
	uint64_t before, value, after; /* before, after: time register, ps */
};

#define CLOCKS_SAMPLES 0x1000000u /* guest RAM: uint64_t count, then the samples */
#define CLOCKS_MAX 50000u

#endif
