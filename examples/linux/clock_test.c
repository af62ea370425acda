// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's side of a comparison of clocks, over ten seconds of sleeping, computing and driver I/O. The simulator's side is what the
 * accelerator says of its jobs: sample I is a job of CLOCK_JOB + I bytes, and the guest's clocks before and after its doorbell:
 *
 *	clock PHASE I MONOTONIC REALTIME MONOTONIC REALTIME COARSE UPTIME UPTIME
 *
 * in ns, REALTIME since shortly before the first sample, UPTIME in hundredths of a second and read before and after all of them. COARSE is the time of the last tick, read first. A line
 * "ticks COUNT MONOTONIC" before and after computing. Built with the kernel's nolibc; tests/linux/clock.awk compares.
 */
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/time.h>

#include "accel_regs.h"
#include "kvmbox_accel.h"

#define CLOCK_JOB 30000u
#define SECOND 1000000000ul

typedef unsigned long ns;

static int accel, uptime_file, interrupts_file;
static unsigned samples, failures;

static ns now(int clock)
{
	struct timespec t = { 0, 0 };

	my_syscall2(__NR_clock_gettime, clock, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

static void failed(const char *what)
{
	printf("FAIL clock: %s: errno %d\n", what, errno);
	failures++;
}

/* The file from its start, as a string. */
static void reread(int fd, char *text, unsigned size)
{
	int got = lseek(fd, 0, SEEK_SET) ? -1 : read(fd, text, size - 1);

	if (got < 0)
		failed("read");
	text[got < 0 ? 0 : got] = 0;
}

static unsigned long uptime(void)
{
	char text[64], *dot;

	reread(uptime_file, text, sizeof(text));
	dot = strchr(text, '.');
	return dot ? 100 * atol(text) + atol(dot + 1) : 0;
}

static void job(unsigned length)
{
	const struct kvmbox_accel_op op = { .dst = 65536, .length = length, .opcode = ACCEL_OP_COPY };

	if (write(accel, &op, sizeof(op)) != sizeof(op))
		failed("write");
}

static void finish_job(void)
{
	struct kvmbox_accel_result r;

	if (read(accel, &r, sizeof(r)) != sizeof(r) || r.error)
		failed("job");
}

static void sample(const char *phase)
{
	const unsigned i = samples++;
	unsigned long up = uptime();
	ns coarse = now(CLOCK_MONOTONIC_COARSE), real[2], mono[2];
	static ns day; /* readers may have 53 bits */

	if (i == 0)
		day = now(CLOCK_REALTIME);
	real[0] = now(CLOCK_REALTIME);
	mono[0] = now(CLOCK_MONOTONIC);
	job(CLOCK_JOB + i);
	mono[1] = now(CLOCK_MONOTONIC);
	real[1] = now(CLOCK_REALTIME);
	finish_job();
	printf("clock %s %u %lu %lu %lu %lu %lu %lu %lu\n", phase, i, mono[0], real[0] - day, mono[1], real[1] - day, coarse, up, uptime());
}

/* Interrupts of the local APIC's timer, so far. */
static void ticks(void)
{
	static char text[4096];
	char *line;

	reread(interrupts_file, text, sizeof(text));
	for (line = text; line && *line; line = strchr(line, '\n')) {
		while (*line == '\n' || *line == ' ')
			line++;
		if (strncmp(line, "LOC:", 4) != 0)
			continue;
		for (line += 4; *line == ' ';)
			line++;
		printf("ticks %ld %lu\n", atol(line), now(CLOCK_MONOTONIC));
		return;
	}
	failed("no LOC in /proc/interrupts");
}

static void sleep_for(ns time)
{
	struct timespec t = { .tv_sec = (long)(time / SECOND), .tv_nsec = (long)(time % SECOND) };

	if (my_syscall2(__NR_nanosleep, &t, NULL))
		failed("nanosleep");
}

/* In user mode for the most part: reading the clock is a system call. */
static void compute_for(ns time)
{
	const ns end = now(CLOCK_MONOTONIC) + time;
	volatile unsigned n;

	do
		for (n = 0; n < 1000000; n++)
			;
	while (now(CLOCK_MONOTONIC) < end);
}

static void do_io_for(ns time)
{
	const ns end = now(CLOCK_MONOTONIC) + time;

	do {
		job(4096);
		finish_job();
	} while (now(CLOCK_MONOTONIC) < end);
}

static void phase(const char *name, void (*pass)(ns), ns time, unsigned times)
{
	unsigned i;

	sample(name);
	for (i = 0; i < times; i++) {
		pass(time);
		sample(name);
	}
}

static int opened(const char *path, int flags)
{
	int fd = open(path, flags, 0);

	if (fd < 0)
		failed(path);
	return fd;
}

int main(void)
{
	accel = opened("/dev/accel0", O_RDWR);
	uptime_file = opened("/proc/uptime", O_RDONLY);
	interrupts_file = opened("/proc/interrupts", O_RDONLY);
	if (failures)
		return 1;
	phase("sleep", sleep_for, 2 * SECOND, 4);
	ticks();
	phase("compute", compute_for, SECOND / 5, 5);
	ticks();
	phase("io", do_io_for, SECOND / 5, 5);
	return failures != 0;
}
