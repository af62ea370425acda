// stats=yes and stats_json=: printed once, at whichever end comes first; what of the host's time was sleep. Over a
// stand-in for the C core; each case in a process of its own, as each has an end.
#include "platform_test.h"
#include "fake_box.h"

#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <memory>
#include <thread>

namespace {

constexpr uint64_t host_ms = 1000000;

class stats : public testing::Test {
protected:
	std::string dir, json, out;

	void SetUp() override
	{
		char d[] = "/tmp/kvmbox_stats_XXXXXX";
		ASSERT_NE(mkdtemp(d), nullptr);
		dir = d;
		json = dir + "/stats.json";
	}
	void TearDown() override
	{
		unlink(json.c_str());
		unlink((dir + "/out").c_str());
		rmdir(dir.c_str());
	}
	kvmbox::config config() const
	{
		kvmbox::config c;
		c->stats = true;
		c.set("stats_json", json);
		return c;
	}
	/* In a child, with its stdout in out. */
	void alone(const std::function<void()> &f)
	{
		int status = 0;
		fflush(nullptr);
		const pid_t child = fork();
		if (child == 0) {
			if (!freopen((dir + "/out").c_str(), "w", stdout))
				_exit(2);
			f();
			fflush(nullptr);
			_exit(HasFailure());
		}
		ASSERT_EQ(waitpid(child, &status, 0), child);
		std::ifstream o(dir + "/out");
		out.assign(std::istreambuf_iterator<char>(o), {});
		EXPECT_EQ(status, 0) << out;
	}
	unsigned tables() const
	{
		unsigned n = 0;
		for (size_t at = 0; (at = out.find("statistics of the run", at)) != std::string::npos; at++)
			n++;
		return n;
	}
	/* -1: no such file or no JSON. */
	json_int_t entries() const
	{
		json_error_t e;
		std::unique_ptr<json_t, void (*)(json_t *)> o(json_load_file(json.c_str(), 0, &e), json_decref);
		return o ? json_integer_value(json_object_get(o.get(), "entries")) : -1;
	}
};

int exit_at_10ns(kvmbox_box &b, kvmbox_error *)
{
	b.wait(10000);
	b.end = KVMBOX_END_EXIT;
	return 0;
}

int shutdown_at_10ns(kvmbox_box &b, kvmbox_error *err)
{
	b.wait(10000);
	b.end = KVMBOX_END_SHUTDOWN;
	snprintf(err->msg, sizeof(err->msg), "triple fault");
	return -EIO;
}

TEST_F(stats, at_the_guests_end)
{
	alone([&] {
		fake::program = exit_at_10ns;
		kvmbox::config c = config();
		c.stop_simulation = false;
		kvmbox::box pc("pc", c);
		sc_core::sc_spawn([&] {
			sc_core::wait(20, sc_core::SC_NS);
			EXPECT_EQ(entries(), 7); /* before the simulation's end */
			unlink(json.c_str());
			sc_core::sc_stop();
		});
		sc_core::sc_start();
	});
	EXPECT_EQ(tables(), 1u) << out;
	EXPECT_NE(out.find("pc: statistics"), std::string::npos) << out;
	EXPECT_NE(out.find("simulated time"), std::string::npos) << out;
	EXPECT_EQ(entries(), -1) << "written again";
}

TEST_F(stats, at_its_failure)
{
	alone([&] {
		fake::program = shutdown_at_10ns;
		kvmbox::box pc("pc", config());
		EXPECT_NE(error_of("/kvmbox/guest", [] { sc_core::sc_start(); }).find("triple fault"), std::string::npos);
	});
	EXPECT_EQ(tables(), 1u) << out;
	EXPECT_EQ(entries(), 7);
}

TEST_F(stats, when_a_target_throws)
{
	alone([&] {
		fake::program = [](kvmbox_box &b, kvmbox_error *) {
			b.log(KVMBOX_LOG_ERROR, "gone wrong");
			return 0;
		};
		kvmbox::box pc("pc", config());
		EXPECT_NE(error_of("/kvmbox/guest", [] { sc_core::sc_start(); }).find("gone wrong"), std::string::npos);
	});
	EXPECT_EQ(tables(), 1u) << out;
	EXPECT_EQ(entries(), 7);
}

TEST_F(stats, at_sc_stop_while_the_guest_goes_on)
{
	alone([&] {
		kvmbox::box pc("pc", config());
		sc_core::sc_spawn([&] {
			sc_core::wait(20, sc_core::SC_NS);
			sc_core::sc_stop();
		});
		sc_core::sc_start();
		EXPECT_EQ(entries(), 7) << "before the box goes";
	});
	EXPECT_EQ(tables(), 1u) << out;
}

TEST_F(stats, when_the_box_goes)
{
	alone([&] {
		kvmbox::box pc("pc", config());
		sc_core::sc_start(20, sc_core::SC_NS);
		EXPECT_LE(entries(), 0) << "the guest still goes on";
	});
	EXPECT_EQ(tables(), 1u) << out;
	EXPECT_EQ(entries(), 7);
}

TEST_F(stats, of_each_box)
{
	const std::string other = dir + "/other.json";
	alone([&] {
		kvmbox::config c = config();
		c.stop_simulation = false;
		fake::program = exit_at_10ns;
		kvmbox::box pc("pc", c);
		c.set("stats_json", other);
		kvmbox::box second("second", c);
		sc_core::sc_start();
	});
	EXPECT_EQ(tables(), 2u) << out;
	EXPECT_NE(out.find("second: statistics"), std::string::npos) << out;
	EXPECT_EQ(unlink(other.c_str()), 0);
}

TEST_F(stats, not_unless_asked_for)
{
	alone([&] {
		fake::program = exit_at_10ns;
		kvmbox::box pc("pc");
		sc_core::sc_start();
	});
	EXPECT_EQ(out.find("statistics"), std::string::npos) << out;
	EXPECT_EQ(entries(), -1);
}

TEST_F(stats, not_of_a_box_that_never_ran)
{
	alone([&] { kvmbox::box pc("pc", config()); });
	EXPECT_EQ(tables(), 0u) << out;
	EXPECT_EQ(entries(), -1);
}

TEST_F(stats, a_path_that_cannot_be_is_reported_at_the_start)
{
	json = dir + "/no/such/folder.json";
	alone([&] {
		kvmbox::box pc("pc", config());
		const std::string e = error_of("/kvmbox/config", [] { sc_core::sc_start(); });
		EXPECT_NE(e.find(json), std::string::npos) << e;
	});
	EXPECT_EQ(tables(), 0u) << out;
}

TEST_F(stats, a_file_that_cannot_be_written_is_reported)
{
	alone([&] {
		kvmbox::config c = config();
		c.set("stats_json", "/dev/full");
		fake::program = exit_at_10ns;
		kvmbox::box pc("pc", c);
		const std::string e = error_of("/kvmbox/guest", [] { sc_core::sc_start(); });
		EXPECT_NE(e.find("/dev/full"), std::string::npos) << e;
	});
	EXPECT_EQ(tables(), 1u) << out;
}

TEST_F(stats, a_file_that_cannot_be_written_does_not_hide_the_guests_failure)
{
	alone([&] {
		kvmbox::config c = config();
		c.set("stats_json", "/dev/full");
		fake::program = shutdown_at_10ns;
		kvmbox::box pc("pc", c);
		EXPECT_NE(error_of("/kvmbox/guest", [] { sc_core::sc_start(); }).find("triple fault"), std::string::npos);
		EXPECT_EQ(reports::count("/kvmbox/guest", "/dev/full"), 1u);
	});
}

TEST_F(stats, a_file_that_cannot_be_written_does_not_throw_from_a_destructor)
{
	alone([&] {
		kvmbox::config c = config();
		c.set("stats_json", "/dev/full");
		{
			kvmbox::box pc("pc", c);
			sc_core::sc_start(20, sc_core::SC_NS);
		}
		EXPECT_EQ(reports::count("/kvmbox/guest", "/dev/full"), 1u);
	});
}

/* ---- sleep ----------------------------------------------------------------------------------------------- */

void later(int ms, const std::function<void()> &f)
{
	std::thread([=] {
		std::this_thread::sleep_for(std::chrono::milliseconds(ms));
		f();
	}).detach();
}

/* On a CPU, not by the wall clock. */
void spend(uint64_t ns)
{
	timespec t;
	auto cpu = [&] {
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
		return static_cast<uint64_t>(t.tv_sec) * 1000 * host_ms + static_cast<uint64_t>(t.tv_nsec);
	};
	for (const uint64_t t0 = cpu(); cpu() - t0 < ns;)
		;
}

uint64_t wall_ns()
{
	return static_cast<uint64_t>(std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count());
}

TEST_F(stats, work_is_not_sleep)
{
	alone([&] {
		fake::program = exit_at_10ns;
		kvmbox::box pc("pc");
		sc_core::sc_spawn([] { spend(20 * host_ms); });
		sc_core::sc_start();
		EXPECT_EQ(pc.stats().host_idle_ns, 0u);
	});
}

TEST_F(stats, pacing_is_sleep_for_all_boxes)
{
	alone([&] {
		fake::program = [](kvmbox_box &b, kvmbox_error *) {
			b.wait(200000000000); /* 200 ms */
			b.end = KVMBOX_END_EXIT;
			return 0;
		};
		kvmbox::config c;
		c.stop_simulation = false;
		kvmbox::box other("other", c);
		c.set("pace", "realtime*2");
		kvmbox::box pc("pc", c);
		const uint64_t t0 = wall_ns();
		sc_core::sc_start();
		const uint64_t wall = wall_ns() - t0;
		for (const kvmbox::box *b : { &pc, &other }) {
			EXPECT_GT(b->stats().host_idle_ns, 0u);
			EXPECT_LE(b->stats().host_idle_ns, wall);
		}
		const bool kept_up = !pc.pace().max_lag_ns && wall < 110 * host_ms;
		EXPECT_GE(pc.stats().host_idle_ns, kept_up ? 50 * host_ms : 0);
	});
}

TEST_F(stats, waiting_for_input_is_sleep)
{
	alone([&] {
		int fds[2];
		ASSERT_EQ(pipe2(fds, O_NONBLOCK), 0);
		fake::program = [&](kvmbox_box &b, kvmbox_error *) {
			char c = 0;
			b.fds = { fds[0] };
			b.on_poll = [&] { return ::read(fds[0], &c, 1) == 1; };
			while (!c)
				b.wait(KVMBOX_TIME_NEVER, KVMBOX_WAIT_IDLE);
			b.end = KVMBOX_END_EXIT;
			return 0;
		};
		kvmbox::box pc("pc");
		sc_core::sc_spawn([] { spend(30 * host_ms); }); /* is not */
		later(300, [&] { EXPECT_EQ(::write(fds[1], "k", 1), 1); });
		const uint64_t t0 = wall_ns();
		sc_core::sc_start();
		const uint64_t wall = wall_ns() - t0, idle = pc.stats().host_idle_ns;
		EXPECT_GE(idle, 100 * host_ms);
		EXPECT_LE(idle, wall - 30 * host_ms);
	});
}

TEST_F(stats, a_pause_is_sleep_as_far_as_it_was)
{
	alone([&] {
		kvmbox::box pc("pc");
		fake::jobs.push_back([](kvmbox_box &b) {
			b.wait(20000);
			b.end = KVMBOX_END_EXIT;
		});
		sc_core::sc_spawn([&] {
			sc_core::wait(10, sc_core::SC_NS);
			pc.pause();
		});
		sc_core::sc_start();
		sc_core::sc_start(1, sc_core::SC_US); /* the guest notices that it is held */
		const uint64_t t0 = wall_ns();
		std::this_thread::sleep_for(std::chrono::milliseconds(100));
		spend(30 * host_ms);
		const uint64_t so_far = pc.stats().host_idle_ns, wall = wall_ns() - t0;
		EXPECT_GE(so_far, 100 * host_ms) << "also while it lasts";
		pc.resume();
		sc_core::sc_start();
		EXPECT_EQ(pc.end(), KVMBOX_END_EXIT);
		EXPECT_GE(pc.stats().host_idle_ns, so_far);
		EXPECT_LE(so_far, wall - 30 * host_ms + 10 * host_ms);
	});
}

} // namespace

void elaborate()
{
}
