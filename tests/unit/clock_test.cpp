#include <gtest/gtest.h>

extern "C" {
#include "vcpu/clock.h"
}

namespace {

constexpr uint64_t hz = 2000000000;

void account(kb_clock &c, uint64_t ticks, bool ring3, bool kicked, uint64_t stolen = 0)
{
	kb_stay stay{};

	stay.ticks = ticks;
	stay.stolen = stolen;
	stay.ring3 = ring3;
	stay.kicked = kicked;

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

// Stepped up to where it takes an interrupt: computing is free then, too, but not for ever.
TEST(clock, FixedMovesOnAfterVeryManySteps)
{
	kb_clock c;
	kb_stay step = {};

	kb_clock_init_fixed(&c, hz, 1000, 77000);
	step.stepped = true;
	step.instructions = 1;
	step.ticks = hz; // however long it took
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 19999; i++)
			kb_clock_account(&c, &step);
		EXPECT_EQ(c.now_ps, round * 77000u);
		kb_clock_account(&c, &step);
	}
	EXPECT_EQ(c.now_ps, 2 * 77000u);
	kb_clock_account(&c, &step);
	account(c, 5, true, false); // an exit begins anew
	for (int i = 0; i < 19999; i++)
		kb_clock_account(&c, &step);
	EXPECT_EQ(c.now_ps, 2 * 77000u + 1000);
}

TEST(clock, StepCountsInstructionsAndNothingElse)
{
	kb_clock c;
	kb_stay stay = {};

	kb_clock_init_step(&c, hz, 250);
	EXPECT_EQ(c.insn_ps, 250u);
	EXPECT_EQ(c.rate.ps_per_tick, 0u);
	EXPECT_STREQ(c.ops->name, "step");
	account(c, hz, true, true);
	account(c, hz, false, false);
	EXPECT_EQ(c.now_ps, 0u);
	stay.instructions = 1;
	kb_clock_account(&c, &stay);
	stay.instructions = 1000;
	stay.ticks = hz;
	kb_clock_account(&c, &stay);
	EXPECT_EQ(c.now_ps, 1001 * 250u);
	stay.instructions = UINT64_MAX;
	kb_clock_account(&c, &stay);
	EXPECT_EQ(c.now_ps, UINT64_MAX - 1);
}

// Calibrated on a busy host, an exit seems to cost more than it does: the shortest stays tell.
TEST(clock, TscLearnsThatExitsCostLess)
{
	const uint64_t cost_ps[2] = { 20000000, 20000000 }; // 40000 ticks
	kb_clock c;

	kb_clock_init_tsc(&c, hz, 1, cost_ps);
	for (int i = 0; i < 1000; i++)
		account(c, 30000 + unsigned(i) * 7919u % 1000, true, false);
	uint64_t before = c.now_ps;
	account(c, 30500 + 8000, true, false);
	EXPECT_NEAR(double(c.now_ps - before), 8000 * 500, 1000 * 500);
	before = c.now_ps;
	account(c, 40000 + 8000, false, false);
	EXPECT_NEAR(double(c.now_ps - before), 8000 * 500, 1) << "the other ring has a cost of its own";
}

// The guest's own work is not taken for a longer exit, however alike all of its stays are.
TEST(clock, TscLearnsNoMoreThanWasCalibrated)
{
	const uint64_t cost_ps[2] = { 20000000, 20000000 };
	kb_clock c;

	kb_clock_init_tsc(&c, hz, 1, cost_ps);
	for (int i = 0; i < 100; i++)
		account(c, 38000, true, false);
	for (int i = 0; i < 10000; i++)
		account(c, 42000, true, false);
	const uint64_t before = c.now_ps;
	account(c, 42000, true, false);
	EXPECT_NEAR(double(c.now_ps - before), 2000 * 500, 20 * 500);
	for (int i = 0; i < 1000; i++)
		account(c, 100, true, true); // kicks are no exits of the guest's
	EXPECT_NEAR(double(c.tsc.cost_ticks[1]), 40000, 20);
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

// As a virtual machine's clock: what passes between two stays counts as well, but not what passes while nobody runs it.
TEST(clock, HostFollowsTheHost)
{
	kb_clock c;
	kb_stay stay{};

	kb_clock_init_host(&c, hz, 2);
	stay.left = 10000;
	stay.ticks = 4000;
	kb_clock_account(&c, &stay);
	EXPECT_NEAR(double(c.now_ps), 4000 * 500 * 2, 1);
	stay.left = 20000;
	kb_clock_account(&c, &stay);
	EXPECT_NEAR(double(c.now_ps), 14000 * 500 * 2, 1);
	EXPECT_EQ(kb_clock_attach(&c, nullptr), 0);
	stay.left = 1000000000;
	kb_clock_account(&c, &stay);
	EXPECT_NEAR(double(c.now_ps), 18000 * 500 * 2, 1);
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
