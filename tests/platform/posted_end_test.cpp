// How runs end while posted writes are under way: exceptions, the guest's end, sc_stop(), kill(). Over a stand-in box; each
// case in a process of its own.
#include "platform_test.h"
#include "fake_box.h"

#include <stdexcept>

#include <sys/wait.h>
#include <unistd.h>

namespace {

struct device : kvmbox::pci_device {
	std::function<void()> on_read = [] {}, on_write = [] {};
	std::vector<std::pair<uint64_t, sc_core::sc_time>> written;
	unsigned unwound = 0;

	device(sc_core::sc_module_name n, kvmbox::box &b) : pci_device(n, b, identity()) {}
	static kvmbox::function_config identity()
	{
		kvmbox::function_config f("", 1, 2);
		f.memory_bar(0, 0x1000);
		return f;
	}
	struct guard {
		unsigned &n;
		~guard() { n++; }
	};
	uint64_t read(unsigned, uint64_t, unsigned, sc_core::sc_time &) override
	{
		guard g{ unwound };
		on_read();
		return 0;
	}
	void write(unsigned, uint64_t, unsigned, uint64_t value, sc_core::sc_time &) override
	{
		guard g{ unwound };
		written.push_back({ value, sc_core::sc_time_stamp() });
		on_write();
	}
};

struct bench {
	explicit bench(kvmbox::config cfg = kvmbox::config())
		: pc(new kvmbox::box("pc", cfg)), one(new device("one", *pc)), two(new device("two", *pc))
	{
	}
	void go()
	{
		delete one;
		delete two;
		delete pc;
		EXPECT_EQ(fake::boxes, 0u);
	}
	/* sc_start(), and what comes out of it. */
	static std::string run()
	{
		try {
			sc_core::sc_start();
		} catch (const std::exception &e) {
			return e.what();
		}
		return "";
	}
	kvmbox::box *pc;
	device *one, *two;
};

void in_child(void (*f)())
{
	int status = 0;
	const pid_t child = fork();

	if (child == 0) {
		f();
		fflush(nullptr);
		_exit(testing::Test::HasFailure());
	}
	EXPECT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(status, 0);
}

int post(kvmbox_box &b, unsigned fn, uint64_t value, uint64_t ps = 0)
{
	return b.post(fn, 0, 0, 4, value, b.now() + ps, 0);
}

bool broken(const std::string &what)
{
	return what.find("the model is broken") != std::string::npos;
}

void breaks()
{
	sc_core::wait(ns(10));
	throw std::runtime_error("the model is broken");
}

/* ---- exceptions ------------------------------------------------------------------------- */

TEST(posted_end, an_exception_comes_out_at_once_while_the_guest_waits)
{
	in_child([] {
		bench t;
		int waited = 0, posted = 0, transported = 0, pushed = 0;
		bool stop_asked = false;
		t.one->on_write = breaks;
		fake::program = [&](kvmbox_box &b, kvmbox_error *) {
			uint64_t v = 0, delay = 0;
			post(b, 0, 1, 5000);
			post(b, 0, 2, 5000);
			waited = b.wait(b.now() + 1000000000);
			stop_asked = b.stop;
			posted = post(b, 0, 3);
			pushed = b.push(0);
			transported = b.access(0, 0, 0, 4, false, v, delay);
			b.end = KVMBOX_END_STOPPED;
			return 0;
		};
		EXPECT_TRUE(broken(bench::run()));
		EXPECT_EQ(sc_core::sc_time_stamp(), ns(15));
		EXPECT_LT(waited, 0);
		EXPECT_TRUE(stop_asked);
		EXPECT_EQ(posted, -EIO);
		EXPECT_EQ(transported, -EIO);
		EXPECT_LT(pushed, 0);
		EXPECT_EQ(t.one->unwound, 1u);
		EXPECT_EQ(t.one->written.size(), 1u);
		EXPECT_EQ(t.one->function().c_function()->post_failures, 1u) << "the one behind it";
		EXPECT_EQ(t.pc->end(), KVMBOX_END_STOPPED) << "the guest has come to an end";
		t.go();
	});
}

TEST(posted_end, an_exception_under_another_access_of_the_guest)
{
	in_child([] {
		bench t;
		int result = 0;
		t.one->on_write = breaks;
		t.two->on_read = [] { sc_core::wait(ns(500)); };
		fake::program = [&](kvmbox_box &b, kvmbox_error *) {
			uint64_t v = 0, delay = 0;
			post(b, 0, 1);
			result = b.access(1, 0, 0, 4, false, v, delay);
			b.end = KVMBOX_END_STOPPED;
			return 0;
		};
		EXPECT_TRUE(broken(bench::run()));
		EXPECT_EQ(sc_core::sc_time_stamp(), ns(10));
		EXPECT_EQ(result, -EIO);
		EXPECT_EQ(t.two->unwound, 1u);
		EXPECT_EQ(t.pc->end(), KVMBOX_END_STOPPED);
		t.go();
	});
}

TEST(posted_end, an_exception_while_a_read_waits_for_the_write)
{
	in_child([] {
		bench t;
		int result = 0;
		t.one->on_write = breaks;
		fake::program = [&](kvmbox_box &b, kvmbox_error *) {
			uint64_t v = 0, delay = 0;
			post(b, 0, 1);
			result = b.access(0, 0, 0, 4, false, v, delay);
			b.end = KVMBOX_END_STOPPED;
			return 0;
		};
		EXPECT_TRUE(broken(bench::run()));
		EXPECT_EQ(result, -EIO);
		EXPECT_EQ(t.one->unwound, 1u) << "the read was not handed over";
		t.go();
	});
}

TEST(posted_end, an_exception_while_the_queue_is_full)
{
	in_child([] {
		bench t;
		int result = 0;
		t.one->on_write = breaks;
		fake::program = [&](kvmbox_box &b, kvmbox_error *) {
			while ((result = post(b, 0, 1)) == 0)
				;
			b.end = KVMBOX_END_STOPPED;
			return 0;
		};
		EXPECT_TRUE(broken(bench::run()));
		EXPECT_EQ(result, -EIO);
		EXPECT_EQ(sc_core::sc_time_stamp(), ns(10));
		t.go();
	});
}

TEST(posted_end, an_exception_while_the_guest_sleeps)
{
	in_child([] {
		bench t;
		int waited = 0;
		t.one->on_write = breaks;
		fake::program = [&](kvmbox_box &b, kvmbox_error *) {
			post(b, 0, 1);
			waited = b.wait(KVMBOX_TIME_NEVER, KVMBOX_WAIT_IDLE);
			b.end = KVMBOX_END_STOPPED;
			return 0;
		};
		EXPECT_TRUE(broken(bench::run()));
		EXPECT_EQ(sc_core::sc_time_stamp(), ns(10));
		EXPECT_LT(waited, 0);
		EXPECT_EQ(t.pc->end(), KVMBOX_END_STOPPED);
		t.go();
	});
}

TEST(posted_end, an_exception_after_the_guests_end)
{
	in_child([] {
		bench t;
		t.one->on_write = breaks;
		fake::program = [&](kvmbox_box &b, kvmbox_error *) {
			post(b, 0, 1);
			b.end = KVMBOX_END_EXIT;
			return 0;
		};
		EXPECT_TRUE(broken(bench::run()));
		EXPECT_EQ(sc_core::sc_time_stamp(), ns(10));
		EXPECT_EQ(t.pc->end(), KVMBOX_END_EXIT);
		t.go();
	});
}

/* A report action that throws is an exception like any other. */
TEST(posted_end, an_error_response_that_the_user_made_an_error)
{
	in_child([] {
		bench t;
		t.one->on_write = [] { SC_REPORT_ERROR("/user/model", "the model is broken"); };
		fake::program = [&](kvmbox_box &b, kvmbox_error *) {
			post(b, 0, 1);
			b.wait(1000);
			b.end = KVMBOX_END_STOPPED;
			return 0;
		};
		EXPECT_TRUE(broken(bench::run()));
		EXPECT_EQ(t.pc->end(), KVMBOX_END_STOPPED);
		t.go();
	});
}

/* ---- the guest's end ---------------------------------------------------------------------- */

TEST(posted_end, writes_arrive_before_the_box_stops_the_simulation)
{
	in_child([] {
		bench t;
		sc_core::sc_time ended;
		t.one->on_write = t.two->on_write = [] { sc_core::wait(ns(700)); };
		fake::program = [&](kvmbox_box &b, kvmbox_error *) {
			post(b, 0, 1, 5000);
			post(b, 0, 2, 6000);
			post(b, 1, 3, 7000);
			b.exit_status = 5;
			b.end = KVMBOX_END_EXIT;
			return 0;
		};
		sc_core::sc_spawn([&] {
			sc_core::wait(t.pc->ended());
			ended = sc_core::sc_time_stamp();
			for (;;)
				sc_core::wait(ns(1)); /* something else goes on */
		});
		EXPECT_EQ(bench::run(), "");
		EXPECT_EQ(sc_core::sc_get_status(), sc_core::SC_STOPPED);
		EXPECT_EQ(ended, sc_core::SC_ZERO_TIME);
		ASSERT_EQ(t.one->written.size(), 2u);
		EXPECT_EQ(t.one->written[1].second, ns(705));
		ASSERT_EQ(t.two->written.size(), 1u);
		EXPECT_EQ(t.two->written[0].second, ns(7));
		EXPECT_EQ(t.one->unwound + t.two->unwound, 3u) << "and are over";
		EXPECT_EQ(sc_core::sc_time_stamp(), ns(1405));
		t.go();
	});
}

TEST(posted_end, a_target_that_never_answers_does_not_hold_up_the_end_for_ever)
{
	in_child([] {
		bench t;
		sc_core::sc_event never;
		t.one->on_write = [&] { sc_core::wait(never); };
		fake::program = [&](kvmbox_box &b, kvmbox_error *) {
			post(b, 0, 1, 5000);
			b.end = KVMBOX_END_EXIT;
			return 0;
		};
		sc_core::sc_spawn([] {
			for (;;)
				sc_core::wait(ns(1));
		});
		EXPECT_EQ(bench::run(), "");
		EXPECT_EQ(sc_core::sc_get_status(), sc_core::SC_STOPPED);
		EXPECT_EQ(sc_core::sc_time_stamp(), ns(1005));
		t.go();
	});
}

TEST(posted_end, a_box_that_does_not_stop_the_simulation_leaves_them_to_it)
{
	in_child([] {
		kvmbox::config cfg;
		cfg.stop_simulation = false;
		bench t(cfg);
		fake::program = [&](kvmbox_box &b, kvmbox_error *) {
			post(b, 0, 1, 5000);
			b.end = KVMBOX_END_EXIT;
			return 0;
		};
		EXPECT_EQ(bench::run(), "");
		EXPECT_NE(sc_core::sc_get_status(), sc_core::SC_STOPPED);
		EXPECT_EQ(sc_core::sc_time_stamp(), ns(5)) << "the timeout keeps nothing going";
		EXPECT_EQ(t.one->written.size(), 1u);
	});
}

TEST(posted_end, stop_of_the_box_leaves_them_to_the_simulation)
{
	in_child([] {
		bench t;
		fake::program = [&](kvmbox_box &b, kvmbox_error *) {
			post(b, 0, 1, 5000);
			t.pc->stop();
			EXPECT_LT(b.push(0), 0);
			b.end = KVMBOX_END_STOPPED;
			return 0;
		};
		EXPECT_EQ(bench::run(), "");
		EXPECT_EQ(t.one->written.size(), 1u);
	});
}

/* ---- from elsewhere --------------------------------------------------------------------------- */

TEST(posted_end, sc_stop_by_the_target)
{
	in_child([] {
		bench t;
		bool went_on = false;
		t.one->on_write = [] { sc_core::sc_stop(); };
		fake::program = [&](kvmbox_box &b, kvmbox_error *) {
			post(b, 0, 1, 5000);
			post(b, 0, 2, 9000);
			b.wait(20000);
			went_on = true;
			return 0;
		};
		EXPECT_EQ(bench::run(), "");
		EXPECT_EQ(sc_core::sc_get_status(), sc_core::SC_STOPPED);
		EXPECT_EQ(sc_core::sc_time_stamp(), ns(5));
		EXPECT_FALSE(went_on);
		t.go(); /* with one on its way */
	});
}

TEST(posted_end, sc_stop_under_a_write)
{
	in_child([] {
		bench t;
		t.one->on_write = [] { sc_core::wait(ns(500)); };
		fake::program = [&](kvmbox_box &b, kvmbox_error *) {
			uint64_t v = 0, delay = 0;
			post(b, 0, 1);
			b.access(0, 0, 0, 4, false, v, delay);
			return 0;
		};
		sc_core::sc_spawn([] {
			sc_core::wait(ns(100));
			sc_core::sc_stop();
		});
		EXPECT_EQ(bench::run(), "");
		EXPECT_EQ(sc_core::sc_time_stamp(), ns(100));
		t.go(); /* target and guest are in the midst of it */
	});
}

TEST(posted_end, kill_of_the_guests_process_under_a_read_that_waits)
{
	in_child([] {
		bench t;
		int result = 0;
		t.one->on_write = [] { sc_core::wait(ns(500)); };
		fake::program = [&](kvmbox_box &b, kvmbox_error *) {
			uint64_t v = 0, delay = 0;
			post(b, 0, 1);
			result = b.access(0, 0, 0, 4, false, v, delay);
			b.end = KVMBOX_END_STOPPED;
			return 0;
		};
		sc_core::sc_spawn([] {
			sc_core::wait(ns(100));
			sc_core::sc_process_handle(sc_core::sc_find_object("pc.vcpu")).kill();
		});
		EXPECT_EQ(bench::run(), "");
		EXPECT_LT(result, 0);
		EXPECT_EQ(t.one->unwound, 1u) << "the write is over, the read never was handed over";
		EXPECT_EQ(sc_core::sc_time_stamp(), ns(500));
	});
}

} // namespace

void elaborate()
{
}
