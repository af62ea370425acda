// SPDX-License-Identifier: GPL-2.0
/*
 * How long the kernel's delays are, which drivers keep their hardware's timings with: a line "delay NAME ASKED TOOK" each, in ns by
 * the kernel's clock, and "delay.loops N", what the kernel would count in 10 ms. Loading it does it; it does not stay.
 */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/ktime.h>
#include <linux/module.h>

#define LOOPS 50000

static void __init report(const char *name, u64 asked, u64 start)
{
	pr_info("delay %s %llu %llu\n", name, asked, ktime_get_ns() - start);
}

/* The least of a few: the host may have been away. */
static u64 __init loops_take(void)
{
	u64 least = U64_MAX;
	int i;

	for (i = 0; i < 3; i++) {
		u64 start = ktime_get_ns();

		__delay(LOOPS);
		least = min(least, ktime_get_ns() - start);
	}
	return least;
}

static int __init delay_test(void)
{
	static const unsigned int us[] = { 10, 100, 1000 };
	unsigned int i;
	u64 start;

	pr_info("delay.loops %llu\n", LOOPS * 10000000ull / loops_take());
	for (i = 0; i < ARRAY_SIZE(us); i++) {
		start = ktime_get_ns();
		udelay(us[i]);
		report("udelay", us[i] * 1000ull, start);
	}
	start = ktime_get_ns();
	mdelay(10);
	report("mdelay", 10000000, start);
	start = ktime_get_ns();
	usleep_range(2000, 3000);
	report("usleep", 2000000, start);
	return -ECANCELED;
}
module_init(delay_test);

MODULE_DESCRIPTION("Test of the kernel's delays");
MODULE_LICENSE("GPL");
