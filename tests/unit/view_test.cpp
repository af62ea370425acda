// From when on and up to when a guest may have read the TSC in a stay.
#include <gtest/gtest.h>

extern "C" {
#include "vcpu/view.h"
}

namespace {

constexpr uint64_t hz = 1000000000, never = UINT64_MAX;

struct view : testing::Test {
	kb_view w{};

	view()
	{
		const uint64_t enter[2] = {1600000, 16000000}, leave[2] = {800000, 8000000}; // ps: 1600, 16000; 800, 8000 ticks
		kb_view_calibrate(&w, hz, enter, leave);
		w.slack_ticks = 1000;
	}
	uint64_t close(uint64_t tsc, bool ring3, bool access = true, uint64_t kick = never, uint64_t stolen = 0)
	{
		const kb_view_end end = {tsc, ring3, access, kick, stolen};
		return kb_view_close(&w, &end);
	}
};

TEST_F(view, lies_between_the_shortest_ways_in_and_out)
{
	kb_view_open(&w, 1000000, false);
	EXPECT_EQ(kb_view_opens(&w), 1000000u + 1500);
	EXPECT_EQ(close(1100000, false), 100000u - 1500 - 750);
	kb_view_open(&w, 1000000, true);
	EXPECT_EQ(kb_view_opens(&w), 1000000u + 15000);
	EXPECT_EQ(close(1100000, true), 100000u - 15000 - 7500);
	kb_view_open(&w, 1000000, true);
	EXPECT_EQ(close(1100000, false), 100000u - 15000 - 750) << "the way out is that of the ring it left from";
}

TEST_F(view, exits_between_instructions_are_quicker)
{
	kb_view_open(&w, 0, false);
	EXPECT_EQ(close(100000, false, false), 100000u - 1500 - 375);
}

TEST_F(view, an_event_may_take_either_way_in)
{
	w.event = true;
	kb_view_open(&w, 0, true);
	EXPECT_EQ(kb_view_opens(&w), 1500u);
}

TEST_F(view, was_never_open_if_the_stay_was_too_short)
{
	kb_view_open(&w, 0, true);
	EXPECT_EQ(close(10000, true, false), 0u);
}

TEST_F(view, uncalibrated_is_the_whole_stay)
{
	kb_view u{};
	const kb_view_end end = {12345, true, true, never, 0};
	kb_view_open(&u, 345, true);
	EXPECT_EQ(kb_view_opens(&u), 345u);
	EXPECT_EQ(kb_view_close(&u, &end), 12000u);
}

// Stolen time may have been seen, but not after a kick.
TEST_F(view, closes_at_the_kick)
{
	kb_view_open(&w, 0, false);
	EXPECT_EQ(close(1000000, false, false, 200000, 500000), 200000u + 1000 - 1500);
	kb_view_open(&w, 0, false);
	EXPECT_EQ(close(1000000, false, false, never, 500000), 1000000u - 1500 - 375) << "no kick: it went on";
	kb_view_open(&w, 0, false);
	EXPECT_EQ(close(1000000, false, false, 200000, 0), 1000000u - 1500 - 375) << "nothing stolen: the kick was late";
	kb_view_open(&w, 0, false);
	EXPECT_EQ(close(1000000, false, false, never - 10, 500000), 1000000u - 1500 - 375);
}

// Calibrated on a busy host: stays show that it can be quicker.
TEST_F(view, learns_from_a_stay_that_was_shorter)
{
	kb_view_open(&w, 0, true);
	close(12000, true); // half of 16000 + 8000
	EXPECT_EQ(w.enter_ticks[1], 8000u);
	EXPECT_EQ(w.leave_ticks[1], 4000u);
	EXPECT_EQ(w.enter_ticks[0], 1600u);
	kb_view_open(&w, 0, true);
	close(11000, true, false); // a kick before the guest ran says nothing
	EXPECT_EQ(w.enter_ticks[1], 8000u);
	kb_view_open(&w, 0, false);
	close(11000, true); // came from the other ring
	EXPECT_EQ(w.enter_ticks[1], 8000u);
}

} // namespace
