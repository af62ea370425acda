/* For the guests of the KVM tests: a failed check says where and ends with its own status. */
#ifndef GUEST_CHECK_H
#define GUEST_CHECK_H

#include "kvmbox_guest.h"

#define CHECK(status, condition)                                                                                   \
	do {                                                                                                       \
		if (!(condition)) {                                                                                \
			printf("%s:%d: failed: %s\n", __FILE_NAME__, __LINE__, #condition);                        \
			exit(status);                                                                              \
		}                                                                                                  \
	} while (0)

#define MS 1000000ull /* nanoseconds */

/* Scheduling on the host can cost the guest this much: upper bounds are loose, lower ones hold to a timer's clock. */
#define SLACK (300 * MS)
#define CLOCK 2000 /* ns */

/* 8254 channel 0 (Intel 8254 data sheet): mode 0 one-shot or 2 periodic. */
#define PIT_HZ 1193182ull
#define PIT_NS(count) ((count) * 1000000000ull / PIT_HZ)
static inline void pit_start(unsigned mode, unsigned count)
{
	outb(0x43, (uint8_t)(0x30 | mode << 1));
	outb(0x40, (uint8_t)count);
	outb(0x40, (uint8_t)(count >> 8));
}

/* MC146818 */
static inline uint8_t cmos_read(uint8_t index)
{
	outb(0x70, index);
	return inb(0x71);
}
static inline void cmos_write(uint8_t index, uint8_t value)
{
	outb(0x70, index);
	outb(0x71, value);
}

/* Lets simulated time pass without sleeping. A clock that stands still ends with status 120. */
static inline void spin_ns(uint64_t ns)
{
	uint64_t end = time_ns() + ns;
	unsigned looks = 0;

	while (time_ns() < end)
		CHECK(120, ++looks < 1000000);
}

#endif
