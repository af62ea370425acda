// Picoseconds and sc_time, at a resolution that is not SystemC's default: TEST_RESOLUTION (seconds' exponent).
#include "platform_test.h"
#include "fake_box.h"

namespace {

kvmbox::box *pc;

#if TEST_RESOLUTION == -15
TEST(time, femtoseconds)
{
	using sc_core::sc_time;
	EXPECT_EQ(kvmbox::from_ps(5).value(), 5000u);
	EXPECT_EQ(kvmbox::to_ps(sc_time::from_value(5999)), 5u);
	EXPECT_EQ(kvmbox::to_ps_up(sc_time::from_value(5001)), 6u);
	EXPECT_EQ(kvmbox::from_ps(UINT64_MAX / 1000 + 1), kvmbox::never()); /* more than sc_time can hold */
	EXPECT_EQ(kvmbox::to_ps(kvmbox::never()), KVMBOX_TIME_NEVER);
	/* exact where double is not */
	EXPECT_EQ(kvmbox::to_ps(kvmbox::from_ps(9007199254740993)), 9007199254740993u);
}
#else
TEST(time, nanoseconds)
{
	using sc_core::sc_time;
	EXPECT_EQ(kvmbox::from_ps(1).value(), 1u); /* up: never early */
	EXPECT_EQ(kvmbox::from_ps(1000).value(), 1u);
	EXPECT_EQ(kvmbox::from_ps(1001).value(), 2u);
	EXPECT_EQ(kvmbox::to_ps(sc_time::from_value(7)), 7000u);
	EXPECT_EQ(kvmbox::to_ps(sc_time::from_value(UINT64_MAX - 1)), UINT64_MAX); /* saturates */
	EXPECT_EQ(kvmbox::from_ps(KVMBOX_TIME_NEVER), kvmbox::never());
	EXPECT_EQ(kvmbox::to_ps(kvmbox::from_ps(9007199254740993000)), 9007199254740993000u);
}
#endif

TEST(time, waits_are_never_early)
{
	bool done = false;
	fake::jobs.push_back([&](kvmbox_box &b) {
		for (uint64_t t : { 1ull, 999ull, 1000ull, 1001ull, 123456789ull, 1ull << 62 }) {
			b.wait(t, t % 2 ? KVMBOX_WAIT_UNTIL : KVMBOX_WAIT_IDLE);
			if (t >> 62 && TEST_RESOLUTION == -15)
				break;
			EXPECT_GE(b.now(), t);
			EXPECT_LT(b.now(), t + 1000);
		}
		done = true;
	});
	sc_core::sc_start();
	EXPECT_TRUE(done || TEST_RESOLUTION == -15); /* 2^62 ps are more than femtoseconds can count: no end */
}

} // namespace

void elaborate()
{
	sc_core::sc_set_time_resolution(1, TEST_RESOLUTION == -15 ? sc_core::SC_FS : sc_core::SC_NS);
	pc = new kvmbox::box("pc");
}
