// What the guest's clock counts, by source: the box with each of them on real KVM.
#include <ctime>

#include "tests/kvm/box_fixture.h"

using namespace fixture;

namespace {

class source : public box_test {
protected:
	// Guest time between two looks at the clock around a read whose target takes 100 ms of the host's time, but none of the guest's.
	uint64_t around_a_slow_target(const char *clock)
	{
		set("clock", clock);
		create_script();
		kvmbox_function *f = add(simple_function());
		power_on();
		sim.on_access = [](kvmbox_access &) {
			timespec t{0, 100000000};
			while (nanosleep(&t, &t)) // the kick's signal
				;
			return 0;
		};
		size_t from = time();
		read(bar_address(f, 0));
		size_t to = time();
		play();
		return value(to) - value(from);
	}
};

TEST_F(source, tsc_does_not_see_what_the_simulator_takes)
{
	EXPECT_LT(around_a_slow_target("tsc"), 80 * ms);
}

TEST_F(source, fixed_does_not_see_what_the_simulator_takes)
{
	EXPECT_EQ(around_a_slow_target("fixed"), 2 * cfg.fixed_exit_ps);
}

TEST_F(source, host_does)
{
	EXPECT_GE(around_a_slow_target("host"), 100 * ms);
}

// A box with a PMU counts; one without says so. It never takes another clock instead.
TEST_F(source, perf_counts_or_is_refused)
{
	for (const char *clock : {"perf-cycles", "perf-insns"}) {
		set("clock", clock);
		set("guest", guest_path("script.elf"));
		if (create() < 0) {
			EXPECT_TRUE(says("performance counters") || says("perf_event_paranoid")) << err.msg;
			EXPECT_EQ(box, nullptr);
			continue;
		}
		EXPECT_STREQ(box->pc->vcpu->clock.ops->name, clock);
		steps.clear();
		size_t from = time(), to = time();
		play();
		EXPECT_GT(value(to), value(from));
		destroy();
	}
}

// Likewise what stops by count are counted by.
TEST_F(source, counts_by_the_pmu_or_is_refused)
{
	set("count", "pmu");
	set("guest", guest_path("script.elf"));
	if (create() < 0) {
		EXPECT_TRUE(says("performance counters") || says("perf_event_paranoid")) << err.msg;
		EXPECT_EQ(box, nullptr);
		return;
	}
	EXPECT_NE(box->pc->vcpu->count.api, nullptr);
	ASSERT_EQ(kvmbox_stop_after(box, 100000, &err), 0) << err.msg;
	ASSERT_EQ(run(), 0) << err.msg;
}

} // namespace
