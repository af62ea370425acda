// What the host takes away from a thread is told from what the thread used.
#include <gtest/gtest.h>

#include <time.h>

extern "C" {
#include "vcpu/clock.h"
#include "vcpu/steal.h"
}

namespace {

double ns_of(clockid_t id)
{
	timespec t;

	clock_gettime(id, &t);
	return double(t.tv_sec) * 1e9 + double(t.tv_nsec);
}

double measured_hz()
{
	const double ns = ns_of(CLOCK_MONOTONIC);
	const uint64_t tsc = kb_tsc();

	while (ns_of(CLOCK_MONOTONIC) < ns + 2e7)
		;
	return double(kb_tsc() - tsc) * 1e9 / (ns_of(CLOCK_MONOTONIC) - ns);
}

class steal : public testing::Test {
protected:
	void SetUp() override { kb_steal_init(&s, uint64_t(hz)); }
	void compute(double ns)
	{
		const double end = ns_of(CLOCK_THREAD_CPUTIME_ID) + ns;

		while (ns_of(CLOCK_THREAD_CPUTIME_ID) < end)
			;
	}
	void sleep(long ns)
	{
		const timespec t = { 0, ns };

		nanosleep(&t, nullptr);
	}
	// One stay: what it used of the CPU as kb_steal sees it, in ns.
	template <class F> double used(F f)
	{
		const uint64_t t0 = kb_tsc();

		kb_steal_enter(&s, t0);
		f();
		const uint64_t ticks = kb_tsc() - t0, stolen = kb_steal_leave(&s, t0, ticks);
		EXPECT_LE(stolen, ticks);
		return double(ticks - stolen) * 1e9 / hz;
	}

	const double hz = measured_hz();
	kb_steal s;
};

TEST_F(steal, TimeAsleepIsStolen)
{
	EXPECT_LT(used([&] { sleep(50000000); }), 5e6);
	EXPECT_NEAR(used([&] {
			    compute(3e6);
			    sleep(50000000);
			    compute(2e6);
		    }),
		    5e6, 1e6);
}

// Whatever the host does meanwhile.
TEST_F(steal, TimeComputingIsNot)
{
	for (int i = 0; i < 20; i++)
		EXPECT_NEAR(used([&] { compute(2e6); }), 2e6, 3e5);
}

// What was lost before the stay is not put down to it, but for the grain.
TEST_F(steal, TimeAsleepBetweenStaysIsNobodys)
{
	used([&] { compute(1e6); });
	sleep(30000000);
	EXPECT_NEAR(used([&] { compute(1e6); }), 1e6, 3e5);
}

TEST_F(steal, ShortStaysAreTaken)
{
	EXPECT_GT(used([] {}), 0);
	const uint64_t t0 = kb_tsc();

	kb_steal_enter(&s, t0);
	EXPECT_EQ(kb_steal_leave(&s, t0, s.grain), 0u);
}

} // namespace
