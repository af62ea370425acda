// A guest that waits for input from outside: the kernel sleeps instead of ending, and wakes for others, too.
#include "platform_test.h"
#include "fake_box.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <thread>

namespace {

kvmbox::box *pc, *second;
int pipe_fds[2];

double cpu_seconds()
{
	timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

void later(int ms, const std::function<void()> &f)
{
	std::thread([=] {
		std::this_thread::sleep_for(std::chrono::milliseconds(ms));
		f();
	}).detach();
}

/* Other threads' asynchronous updates must get through while the box sleeps. */
struct bell : sc_core::sc_prim_channel {
	sc_core::sc_event rung;
	bell() : sc_prim_channel("bell") {}
	void update() override { rung.notify(sc_core::SC_ZERO_TIME); }
	void ring() { async_request_update(); }
} *door;

char receive(kvmbox_box &b)
{
	char c = 0;
	b.fds = { pipe_fds[0] };
	b.on_poll = [&c] { return ::read(pipe_fds[0], &c, 1) == 1; };
	while (!c && b.wait(KVMBOX_TIME_NEVER, KVMBOX_WAIT_IDLE) == 0)
		;
	b.fds.clear();
	b.on_poll = nullptr;
	return c;
}

TEST(input, keeps_the_simulation_until_it_comes_and_costs_nothing)
{
	char c = 0;
	fake::jobs.push_back([&](kvmbox_box &b) { c = receive(b); });
	later(300, [] { EXPECT_EQ(::write(pipe_fds[1], "k", 1), 1); });
	const double cpu = cpu_seconds();
	sc_core::sc_start();
	EXPECT_EQ(c, 'k');
	EXPECT_EQ(sc_core::sc_time_stamp(), sc_core::SC_ZERO_TIME);
	EXPECT_LT(cpu_seconds() - cpu, 0.1); /* it slept: 300 ms of waiting are not 300 ms of work */
}

TEST(input, other_threads_are_served_meanwhile)
{
	bool rung = false;
	char c = 0;
	fake::jobs.push_back([&](kvmbox_box &b) { c = receive(b); });
	pc->serial_input("");
	sc_core::sc_spawn([&] {
		sc_core::wait(door->rung);
		rung = true;
		EXPECT_EQ(::write(pipe_fds[1], "x", 1), 1);
	});
	later(50, [] { door->ring(); });
	sc_core::sc_start();
	EXPECT_TRUE(rung);
	EXPECT_EQ(c, 'x');
}

TEST(input, simulated_time_goes_on_when_something_else_is_pending)
{
	fake::jobs.push_back([&](kvmbox_box &b) {
		b.fds = { pipe_fds[0] };
		const uint64_t t0 = b.now();
		b.wait(t0 + 5000, KVMBOX_WAIT_IDLE);
		EXPECT_EQ(b.now(), t0 + 5000);
		b.fds.clear();
	});
	pc->serial_input("");
	sc_core::sc_start();
}

TEST(input, the_power_button_wakes_an_idle_guest)
{
	uint64_t woken = 0;
	const uint64_t t0 = kvmbox::to_ps(sc_core::sc_time_stamp());
	fake::jobs.push_back([&](kvmbox_box &b) {
		b.wait(KVMBOX_TIME_NEVER, KVMBOX_WAIT_IDLE);
		woken = b.now();
	});
	pc->serial_input("");
	sc_core::sc_spawn([] {
		sc_core::wait(ns(50));
		pc->power_button();
	});
	sc_core::sc_start();
	EXPECT_EQ(woken, t0 + 50000);
	EXPECT_EQ(pc->c_box()->power_presses, 1u);
}

/* Input nobody takes must not burn the host. */
TEST(input, that_stays_unread_does_not_spin)
{
	EXPECT_EQ(::write(pipe_fds[1], "y", 1), 1);
	uint64_t loops = 0;
	fake::jobs.push_back([&](kvmbox_box &b) {
		b.fds = { pipe_fds[0] };
		bool over = false;
		later(200, [&] {
			over = true;
			door->ring();
		});
		while (!over) {
			b.wait(KVMBOX_TIME_NEVER, KVMBOX_WAIT_IDLE);
			loops++;
		}
		b.fds.clear();
	});
	pc->serial_input("");
	sc_core::sc_start();
	EXPECT_GT(loops, 5u);
	EXPECT_LT(loops, 1000u);
}

TEST(input, stop_from_another_thread_ends_the_wait)
{
	char c = 1;
	EXPECT_EQ(::read(pipe_fds[0], &c, 1), 1);
	fake::jobs.push_back([&](kvmbox_box &b) { c = receive(b); });
	pc->serial_input("");
	/* pc last: it is the one whose input keeps the simulation from ending. */
	later(50, [] {
		second->stop();
		pc->stop();
	});
	sc_core::sc_start();
	EXPECT_EQ(c, 0);
	EXPECT_EQ(pc->end(), KVMBOX_END_STOPPED);
	EXPECT_EQ(second->end(), KVMBOX_END_STOPPED);
	delete second;
	delete pc;
}

} // namespace

void elaborate()
{
	pc = new kvmbox::box("pc");
	second = new kvmbox::box("second");
	fake::program = [](kvmbox_box &b, kvmbox_error *e) {
		if (&b == pc->c_box())
			return fake::serve_jobs(b, e);
		/* the second box waits for input that never comes */
		static int silent[2];
		EXPECT_EQ(pipe2(silent, O_NONBLOCK), 0);
		while (b.wait(KVMBOX_TIME_NEVER, KVMBOX_WAIT_IDLE) == 0)
			;
		b.end = KVMBOX_END_STOPPED;
		return 0;
	};
	door = new bell;
	EXPECT_EQ(pipe2(pipe_fds, O_NONBLOCK), 0);
}
