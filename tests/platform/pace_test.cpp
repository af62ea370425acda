// pace=realtime: never ahead of the wall clock, says when it is behind, and pause() from other threads. No KVM.
#include "platform_test.h"
#include "fake_box.h"
#include "tlm_glue/pacer.h"

#include <chrono>
#include <thread>

namespace {

using clk = std::chrono::steady_clock;
constexpr double factor = 20; /* simulated per wall clock second */
kvmbox::box *pc;
clk::time_point origin;

double wall(clk::time_point since)
{
	return std::chrono::duration<double>(clk::now() - since).count();
}

void later(int ms, const std::function<void()> &f)
{
	std::thread([=] {
		std::this_thread::sleep_for(std::chrono::milliseconds(ms));
		f();
	}).detach();
}

TEST(pacer, never_lets_time_get_ahead)
{
	kvmbox::pacer p(2);
	EXPECT_EQ(p.tick_ps(), 2000000000u);
	const auto t0 = clk::now();
	for (uint64_t t = 0; t < 50000000000; t += p.tick_ps())
		p.hold(t, t + p.tick_ps());
	EXPECT_GE(wall(t0), 0.025);
}

TEST(pacer, counts_lag_and_gives_up_what_is_too_much)
{
	kvmbox::pacer p(1e6); /* a tick is a second */
	p.hold(0, 1);
	std::this_thread::sleep_for(std::chrono::milliseconds(150));
	EXPECT_TRUE(p.hold(2, 3));
	EXPECT_GE(p.stats().lag_ns, 150000000u);
	EXPECT_FALSE(p.hold(4, 5)) << "a second warning at once";
	EXPECT_EQ(p.stats().given_up_ns, 0u);
	std::this_thread::sleep_for(std::chrono::milliseconds(1000));
	p.hold(6, 7);
	EXPECT_GE(p.stats().given_up_ns, 1000000000u);
	EXPECT_EQ(p.stats().given_up_ns, p.stats().max_lag_ns);
	p.hold(8, 9);
	EXPECT_LT(p.stats().lag_ns, 900000000u);
	p.rebase();
	std::this_thread::sleep_for(std::chrono::milliseconds(5));
	p.hold(10, 1000000010);
	EXPECT_EQ(p.stats().lag_ns, 0u);
}

/* Events at odd times: none of them before its time on the wall clock. */
TEST(pace, whole_simulation_is_never_ahead)
{
	unsigned early = 0, events = 0;
	sc_core::sc_spawn([&] {
		for (int i = 0; i < 200; i++) {
			sc_core::wait(sc_core::sc_time(1 + (i * 7919) % 20011, sc_core::SC_US));
			early += wall(origin) * factor < sc_core::sc_time_stamp().to_seconds();
			events++;
		}
	});
	origin = clk::now();
	sc_core::sc_start(3, sc_core::SC_SEC);
	EXPECT_EQ(events, 200u);
	EXPECT_EQ(early, 0u);
	EXPECT_GE(wall(origin) * factor, 2.97);
}

TEST(pace, lag_is_reported_but_not_often)
{
	reports::clear();
	const auto before = pc->pace();
	sc_core::sc_spawn([] {
		for (int i = 0; i < 3; i++) {
			std::this_thread::sleep_for(std::chrono::milliseconds(150));
			sc_core::wait(100, sc_core::SC_MS);
		}
	});
	sc_core::sc_start(200, sc_core::SC_MS);
	EXPECT_GT(pc->pace().max_lag_ns, before.max_lag_ns);
	EXPECT_GE(pc->pace().max_lag_ns, 100000000u);
	EXPECT_EQ(reports::count("/kvmbox/guest", "does not keep up"), 1u);
	sc_core::sc_start(20, sc_core::SC_SEC);
	EXPECT_LT(pc->pace().lag_ns, 90000000u) << "it has caught up";
}

/* The fake guest is idle for ever. */
TEST(pace, pause_from_another_thread_ends_sc_start)
{
	later(50, [] { pc->pause(); });
	sc_core::sc_start();
	EXPECT_TRUE(pc->paused());
	EXPECT_EQ(sc_core::sc_get_status(), sc_core::SC_PAUSED);
	std::this_thread::sleep_for(std::chrono::milliseconds(200));
	pc->resume();
	reports::clear();
	const auto lag = pc->pace();
	sc_core::sc_start(1, sc_core::SC_SEC);
	EXPECT_LT(pc->pace().lag_ns, 100000000u);
	EXPECT_EQ(pc->pace().given_up_ns, lag.given_up_ns);
}

TEST(pace, paused_guest_waits_for_resume)
{
	bool went_on = false;
	uint64_t at = 0;
	const uint64_t t0 = kvmbox::to_ps(sc_core::sc_time_stamp());
	fake::jobs.push_back([&](kvmbox_box &b) {
		b.wait(t0 + 1000000);
		went_on = true;
		at = b.now();
	});
	pc->serial_input("");
	pc->pause();
	sc_core::sc_start(10, sc_core::SC_MS);
	EXPECT_FALSE(went_on);
	/* from another thread, too */
	later(20, [] { pc->resume(); });
	sc_core::sc_start(2, sc_core::SC_SEC);
	EXPECT_TRUE(went_on);
	EXPECT_GE(at, t0 + 10000000000);
}

TEST(pace, stop_from_another_thread_ends_a_paused_box)
{
	pc->pause();
	later(50, [] { pc->stop(); });
	sc_core::sc_start(); /* returns: the box no longer ticks */
	EXPECT_EQ(pc->end(), KVMBOX_END_STOPPED);
}

} // namespace

void elaborate()
{
	kvmbox::config c;
	c.set("pace", "realtime*20");
	pc = new kvmbox::box("pc", c);
}
