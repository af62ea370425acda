#include <gtest/gtest.h>

extern "C" {
#include "vcpu/clock.h"
}

namespace {

constexpr uint64_t hz = 2000000000;

TEST(clock, FixedCountsExits)
{
	kb_clock c;

	kb_clock_init_fixed(&c, hz, 1000, 77000);
	kb_clock_account(&c, 5, true, false);
	kb_clock_account(&c, hz, false, false); // however long it took
	EXPECT_EQ(c.now_ps, 2000u);
}

TEST(clock, FixedMovesOnWhenAGuestComputesForLong)
{
	kb_clock c;

	kb_clock_init_fixed(&c, hz, 1000, 77000);
	kb_clock_account(&c, kb_clock_ticks(&c, 1), true, true);
	EXPECT_EQ(c.now_ps, 77000u);
}

// An expiry left over from an earlier entry, or a kick by another thread: no reason for time to pass.
TEST(clock, FixedIgnoresKicksThatCameEarly)
{
	kb_clock c;

	kb_clock_init_fixed(&c, hz, 1000, 77000);
	kb_clock_account(&c, kb_clock_ticks(&c, 1) / 10, true, true);
	EXPECT_EQ(c.now_ps, 0u);
}

TEST(clock, TscScalesTicksAndDropsTheCostOfEntryAndExit)
{
	const uint64_t cost_ps[2] = { 1000000, 2000000 };
	kb_clock c;

	kb_clock_init_tsc(&c, hz, 0.5, cost_ps);
	kb_clock_account(&c, 2000 + 1000, false, false);
	EXPECT_NEAR(double(c.now_ps), 1000 * 500 * 0.5, 1);
	kb_clock_account(&c, 4000 + 1000, true, true);
	EXPECT_NEAR(double(c.now_ps), 2 * 1000 * 500 * 0.5, 2);
	kb_clock_account(&c, 10, true, false); // cheaper than the cost: still it moves
	EXPECT_GT(c.now_ps, 2u * 1000 * 500 / 2 - 2);
}

TEST(clock, SaturatesBelowNever)
{
	kb_clock c;

	kb_clock_init_fixed(&c, hz, UINT64_MAX / 2 + 1, 1);
	kb_clock_account(&c, 1, true, false);
	kb_clock_account(&c, 1, true, false);
	EXPECT_EQ(c.now_ps, UINT64_MAX - 1);
}

} // namespace
