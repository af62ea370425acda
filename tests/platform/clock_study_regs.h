/*
 * The clock study: a conductor tells a guest what to time. Registers of the conductor's BAR 0, 64 bits each.
 * Targets are functions of their own, in their BAR 0; every access to one takes what the conductor has set.
 */
#ifndef TESTS_PLATFORM_CLOCK_STUDY_REGS_H
#define TESTS_PLATFORM_CLOCK_STUDY_REGS_H

#define STUDY_VENDOR 0x1234
#define STUDY_CONDUCTOR 0x7100
#define STUDY_TARGET 0x7101 /* the first; the others follow, each has another access mode */
#define STUDY_TARGETS 4

enum study_register {
	STUDY_COMMAND = 0x00, /* read: command | argument << 8 */
	STUDY_COUNT = 0x08,   /* read: of ticks */
	STUDY_FROM = 0x10,    /* write: ps before the access */
	STUDY_TO = 0x18,      /* write: ps after it */
	STUDY_TICK = 0x20,    /* write: from the handler, ps at which it read the time */
};

enum study_command {
	STUDY_END,
	STUDY_READ,  /* argument: target. Time, read, time */
	STUDY_WRITE, /* Time, write, a read that takes no time but pushes the write, time */
	STUDY_PIT,   /* argument: divisor. COUNT ticks of counter 0, mode 2 */
	STUDY_RTC,   /* argument: rate select. COUNT periodic interrupts */
};

#define STUDY_DELAYED 0x00 /* in a target: takes its time */
#define STUDY_FLUSH 0x08   /* takes none */

#endif
