// Clocks the guest reads without an exit, on the whole PC: the kvm-clock page, its MSRs, CPUID, the TSC.
#include "tests/kvm/box_fixture.h"

#include <algorithm>
#include <cmath>

#include "tests/guest/msr.h"
#include "tests/guest/pvclock.h"

using namespace fixture;

namespace {

class pvclock : public box_test {
protected:
	pvclock_result play_page()
	{
		set("guest", guest_path("pvclock.elf"));
		EXPECT_EQ(create(), 0) << err.msg;
		EXPECT_EQ(run(), 0) << err.msg << serial();
		EXPECT_EQ(kvmbox_exit_status(box), 0) << serial();
		EXPECT_FALSE(sim.backwards);
		return peek<pvclock_result>(PVCLOCK_RESULT);
	}
};

// ---- the page ------------------------------------------------------------------------------------------------

struct setting {
	const char *name;
	std::vector<std::pair<const char *, const char *>> keys;
};

void PrintTo(const setting &s, std::ostream *o) { *o << s.name; }

class page : public pvclock, public testing::WithParamInterface<setting> {
};

TEST_P(page, never_steps_back_and_agrees_with_the_time_register)
{
	for (auto &k : GetParam().keys)
		set(k.first, k.second);
	pvclock_result r = play_page();
	const bool still = cfg.clock == KVMBOX_CLOCK_FIXED;
	EXPECT_EQ(r.steps_back, 0u) << r.worst_back_ns << " ns";
	EXPECT_EQ(r.before, 0u);
	EXPECT_EQ(r.behind, 0u) << r.worst_behind_ns << " ns";
	EXPECT_EQ(r.short_halts, 0u);
	EXPECT_GT(r.ticks, 50u);
	EXPECT_EQ(r.start_s, 946684800u);
	EXPECT_GT(r.registers, 200u);
	EXPECT_GT(r.looks, 50000u);
	if (still) {
		EXPECT_EQ(r.exact, r.registers);
	} else if (cfg.time_scale >= 1) {
		EXPECT_GT(r.moves, r.looks * 9 / 10);
	}
	RecordProperty("looks", int(r.looks));
}

INSTANTIATE_TEST_SUITE_P(clocks, page,
			 testing::Values(setting{"tsc", {}}, setting{"slow", {{"time_scale", "0.1"}}},
					 setting{"fast", {{"time_scale", "10"}}}, setting{"fixed", {{"clock", "fixed"}}},
					 setting{"short_slices", {{"quantum", "50us"}}},
					 setting{"eager", {{"slices", "eager"}, {"quantum", "100us"}}}),
			 [](auto &i) { return std::string(i.param.name); });

} // namespace
