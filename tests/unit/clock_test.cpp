#include <gtest/gtest.h>

extern "C" {
#include "vcpu/clock.h"
}

namespace {

constexpr uint64_t hz = 2000000000;

void account(kb_clock &c, uint64_t ticks, bool ring3, bool kicked, uint64_t stolen = 0)
{
	const kb_stay stay = { ticks, stolen, 0, ring3, kicked };

	kb_clock_account(&c, &stay);
}

TEST(clock, FixedCountsExits)
{
	kb_clock c;

	kb_clock_init_fixed(&c, hz, 1000, 77000);
	account(c, 5, true, false);
	account(c, hz, false, false); // however long it took
	EXPECT_EQ(c.now_ps, 2000u);
}

TEST(clock, FixedMovesOnWhenAGuestComputesForLong)
{
	kb_clock c;

	kb_clock_init_fixed(&c, hz, 1000, 77000);
	account(c, kb_clock_ticks(&c, 1), true, true);
	EXPECT_EQ(c.now_ps, 77000u);
}

// An expiry left over from an earlier entry, or a kick by another thread: no reason for time to pass.
TEST(clock, FixedIgnoresKicksThatCameEarly)
{
	kb_clock c;

	kb_clock_init_fixed(&c, hz, 1000, 77000);
	account(c, kb_clock_ticks(&c, 1) / 10, true, true);
	EXPECT_EQ(c.now_ps, 0u);
}

TEST(clock, TscScalesTicksAndDropsTheCostOfEntryAndExit)
{
	const uint64_t cost_ps[2] = { 1000000, 2000000 };
	kb_clock c;

	kb_clock_init_tsc(&c, hz, 0.5, cost_ps);
	account(c, 2000 + 1000, false, false);
	EXPECT_NEAR(double(c.now_ps), 1000 * 500 * 0.5, 1);
	account(c, 4000 + 1000, true, true);
	EXPECT_NEAR(double(c.now_ps), 2 * 1000 * 500 * 0.5, 2);
	account(c, 10, true, false); // cheaper than the cost: still it moves
	EXPECT_GT(c.now_ps, 2u * 1000 * 500 / 2 - 2);
}

// A host that gives the CPU to others makes no guest time, and uses up no patience.
TEST(clock, StolenTimeDoesNotCount)
{
	const uint64_t no_cost[2] = { 0, 0 };
	kb_clock c;

	kb_clock_init_tsc(&c, hz, 1, no_cost);
	account(c, 5000, true, false, 3000);
	EXPECT_NEAR(double(c.now_ps), 2000 * 500, 1);
	account(c, 5000, true, false, 5000);
	EXPECT_GT(c.now_ps, 2000u * 500 - 1);
	kb_clock_init_fixed(&c, hz, 1000, 77000);
	account(c, hz, true, true, hz - 1000);
	EXPECT_EQ(c.now_ps, 0u);
}

// What the guest may have read is the past: the clock is not behind it, whatever the exit cost.
TEST(clock, TscReachesWhatWasShown)
{
	const uint64_t cost_ps[2] = { 1000000, 1000000 }; // 2000 ticks
	kb_stay stay{};
	kb_clock c;

	kb_clock_init_tsc(&c, hz, 1, cost_ps);
	stay.ticks = 3000;
	stay.shown = 1500;
	kb_clock_account(&c, &stay);
	EXPECT_NEAR(double(c.now_ps), 1500 * 500, 1);
	stay.shown = 500; // less than it is charged anyway
	kb_clock_account(&c, &stay);
	EXPECT_NEAR(double(c.now_ps), 2500 * 500, 1);
	stay.stolen = 1000;
	stay.shown = 3000; // stolen, but seen
	kb_clock_account(&c, &stay);
	EXPECT_NEAR(double(c.now_ps), 5500 * 500, 2);
	kb_clock_init_fixed(&c, hz, 1000, 77000);
	kb_clock_account(&c, &stay);
	EXPECT_EQ(c.now_ps, 1000u) << "nothing moved that could have been seen";
}

TEST(clock, RatesDoNotDrift)
{
	kb_rate r;
	uint64_t ps = 0;

	kb_rate_init(&r, 3000000000, 1e12);
	for (int i = 0; i < 3000; i++)
		ps += kb_rate_ps(&r, 1000);
	EXPECT_NEAR(double(ps), 1e9, 1);
	EXPECT_NEAR(double(kb_rate_ticks(&r, 1000000000)), 3e6, 1);
}

TEST(clock, SaturatesBelowNever)
{
	kb_clock c;

	kb_clock_init_fixed(&c, hz, UINT64_MAX / 2 + 1, 1);
	account(c, 1, true, false);
	account(c, 1, true, false);
	EXPECT_EQ(c.now_ps, UINT64_MAX - 1);
}

} // namespace
