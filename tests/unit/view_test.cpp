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
		calibrate(1.05);
		w.slack_ticks = 1000;
	}
	// Least: 1600, 16000; 800, 8000 ticks. The medians are above by a factor.
	void calibrate(double medians)
	{
		kb_view_ways ways = {{1600000, 16000000}, {}, {800000, 8000000}, {}};
		for (int i = 0; i < 2; i++) {
			ways.enter_ps[i] = uint64_t(double(ways.enter_min_ps[i]) * medians);
			ways.leave_ps[i] = uint64_t(double(ways.leave_min_ps[i]) * medians);
		}
		kb_view_calibrate(&w, hz, &ways);
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
	EXPECT_EQ(kb_view_opens(&w), 1000000u + 1200);
	EXPECT_EQ(close(1100000, false), 100000u - 1200 - 600);
	kb_view_open(&w, 1000000, true);
	EXPECT_EQ(kb_view_opens(&w), 1000000u + 12000);
	EXPECT_EQ(close(1100000, true), 100000u - 12000 - 6000);
	kb_view_open(&w, 1000000, true);
	EXPECT_EQ(close(1100000, false), 100000u - 12000 - 600) << "the way out is that of the ring it left from";
}

TEST_F(view, exits_between_instructions_are_quicker)
{
	kb_view_open(&w, 0, false);
	EXPECT_EQ(close(100000, false, false), 100000u - 1200 - 300);
}

TEST_F(view, an_event_may_take_either_way_in)
{
	w.event = true;
	kb_view_open(&w, 0, true);
	EXPECT_EQ(kb_view_opens(&w), 1200u);
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
	EXPECT_EQ(close(1000000, false, false, 200000, 500000), 200000u + 1000 - 1200);
	kb_view_open(&w, 0, false);
	EXPECT_EQ(close(1000000, false, false, never, 500000), 1000000u - 1200 - 300) << "no kick: it went on";
	kb_view_open(&w, 0, false);
	EXPECT_EQ(close(1000000, false, false, 200000, 0), 1000000u - 1200 - 300) << "nothing stolen: the kick was late";
	kb_view_open(&w, 0, false);
	EXPECT_EQ(close(1000000, false, false, never - 10, 500000), 1000000u - 1200 - 300);
}

// Calibrated on a busy host: stays show that it can be quicker.
TEST_F(view, learns_from_a_stay_that_was_shorter)
{
	kb_view_open(&w, 0, true);
	close(9600, true); // 12000 + 6000 were relied on
	EXPECT_EQ(w.enter_ticks[1], 6000u);
	EXPECT_EQ(w.leave_ticks[1], 3000u);
	EXPECT_EQ(w.enter_ticks[0], 1200u);
	kb_view_open(&w, 0, true);
	close(9000, true, false); // a kick before the guest ran says nothing
	EXPECT_EQ(w.enter_ticks[1], 6000u);
	kb_view_open(&w, 0, false);
	close(9000, true); // came from the other ring
	EXPECT_EQ(w.enter_ticks[1], 6000u);
}

// Medians far above the least: it is not the least there is.
TEST_F(view, a_busy_calibration_is_relied_on_less)
{
	calibrate(2);
	EXPECT_EQ(w.enter_ticks[0], 800u);
	EXPECT_EQ(w.leave_ticks[1], 4000u);
	calibrate(4);
	EXPECT_EQ(w.enter_ticks[0], 0u);
	calibrate(0.5); // no such medians
	EXPECT_EQ(w.enter_ticks[0], 1200u);
}

} // namespace
