// A real guest that is paused, held and put to sleep; guest and simulated time stop together.
#include "puppeteer.h"

#include <chrono>
#include <thread>

namespace {

struct gadget : kvmbox::pci_device {
	std::function<void()> on_read;

	gadget(sc_core::sc_module_name n, kvmbox::box &b) : pci_device(n, b, identity()) {}
	static kvmbox::function_config identity()
	{
		kvmbox::function_config f("", 0x1234, 1);
		f.memory_bar(0, 0x1000);
		f.msi_vectors = 1;
		return f;
	}
	uint64_t read(unsigned, uint64_t, unsigned, sc_core::sc_time &delay) override
	{
		delay += ns(700);
		on_read();
		return 1;
	}
	uint64_t address()
	{
		uint64_t a = 0;
		EXPECT_TRUE(function().bar_address(0, a));
		return a;
	}
};

std::string why_not;
kvmbox::box *pc;
puppeteer *guest;
gadget *device;

class pause_test : public testing::Test {
protected:
	void SetUp() override
	{
		if (!pc)
			GTEST_SKIP() << why_not;
	}
	/* Nothing moves, whatever time passes on the host. */
	static void expect_still()
	{
		const auto t = pc->time(), now = sc_core::sc_time_stamp();
		const auto entries = pc->stats().entries;
		std::this_thread::sleep_for(std::chrono::milliseconds(20));
		EXPECT_EQ(pc->time(), t);
		EXPECT_EQ(sc_core::sc_time_stamp(), now);
		EXPECT_EQ(pc->stats().entries, entries);
	}
};

TEST_F(pause_test, first_the_guest_is_set_up)
{
	guest->run([] {
		guest->set_command(device->function(), 7);
		EXPECT_EQ(guest->command(PUPPET_USE_MSI, device->function().bdf(), 0x51), 1u);
	});
}

/* The target of the guest's own access pauses: the guest must not get one instruction further. */
TEST_F(pause_test, by_the_target_of_an_access)
{
	bool done = false;
	uint64_t entries = 0, t0 = 0, t1 = 0;
	device->on_read = [&] {
		pc->pause();
		entries = pc->stats().entries;
	};
	guest->begin([&] {
		t0 = guest->time();
		guest->read(device->address(), 4);
		t1 = guest->time();
		done = true;
		sc_core::sc_pause();
	});
	sc_core::sc_start();
	EXPECT_EQ(sc_core::sc_get_status(), sc_core::SC_PAUSED);
	EXPECT_FALSE(done);
	EXPECT_EQ(pc->stats().entries, entries);
	expect_still();
	/* continued without resume(): simulated time goes on, the guest does not */
	sc_core::sc_start(3, sc_core::SC_MS);
	EXPECT_EQ(pc->stats().entries, entries);
	pc->resume();
	sc_core::sc_start();
	EXPECT_TRUE(done);
	EXPECT_GE(t1 - t0, 3000000000u) << "it was stalled for 3 ms";
	EXPECT_LT(t1 - t0, 3100000000u);
}

/* A pause in which no simulated time passes leaves no trace. */
TEST_F(pause_test, is_invisible_to_the_guest)
{
	uint64_t took[2] = { 0, 1 };
	for (int paused = 0; paused < 2; paused++) {
		device->on_read = [&] {
			if (paused)
				pc->pause();
		};
		guest->begin([&] {
			const uint64_t t0 = guest->time();
			guest->read(device->address(), 4);
			took[paused] = guest->time() - t0;
			sc_core::sc_pause();
		});
		sc_core::sc_start();
		if (paused) {
			expect_still();
			pc->resume();
			sc_core::sc_start();
		}
	}
	EXPECT_EQ(took[0], took[1]);
}

TEST_F(pause_test, by_a_process_while_the_guest_computes)
{
	sc_core::sc_time at;
	const auto t0 = sc_core::sc_time_stamp();
	uint64_t woke = 0;
	guest->begin([&] {
		guest->start(PUPPET_SPIN);
		sc_core::wait(1234567, sc_core::SC_NS);
		at = sc_core::sc_time_stamp();
		pc->pause();
		sc_core::wait(1, sc_core::SC_NS);
		pc->resume();
		sc_core::wait(5, sc_core::SC_US);
		device->function().interrupt();
		woke = guest->result();
		sc_core::sc_pause();
	});
	sc_core::sc_start();
	EXPECT_EQ(at, t0 + ns(1234567));
	EXPECT_EQ(sc_core::sc_time_stamp(), at);
	expect_still();
	sc_core::sc_start();
	EXPECT_GE(woke, kvmbox::to_ps(at + ns(5001)));
}

TEST_F(pause_test, from_another_thread_while_the_guest_computes)
{
	bool done = false;
	guest->begin([&] {
		guest->start(PUPPET_SPIN);
		guest->result();
		done = true;
		sc_core::sc_pause();
	});
	std::thread t([] {
		std::this_thread::sleep_for(std::chrono::milliseconds(30));
		pc->pause();
	});
	sc_core::sc_start();
	t.join();
	EXPECT_TRUE(pc->paused());
	EXPECT_FALSE(done);
	expect_still();
	pc->resume();
	device->function().interrupt();
	sc_core::sc_start();
	EXPECT_TRUE(done);
}

/* An hour costs as many turns as it has events, not as many as it has quanta. */
TEST_F(pause_test, an_hour_of_sleep_costs_next_to_nothing)
{
	const auto host = std::chrono::steady_clock::now();
	guest->run([] {
		guest->start(PUPPET_SLEEP);
		sc_core::wait(1, sc_core::SC_MS);
		const auto before = pc->stats();
		const auto t0 = kvmbox::to_ps(pc->time());
		sc_core::wait(3600, sc_core::SC_SEC);
		device->function().interrupt();
		EXPECT_GE(guest->result() - t0, 3600000000000000u);
		EXPECT_LE(pc->stats().entries - before.entries, 20u);
		EXPECT_LE(pc->stats().slices - before.slices, 20u);
	});
	EXPECT_LT(std::chrono::steady_clock::now() - host, std::chrono::seconds(10));
}

/* Last. */
TEST_F(pause_test, sc_stop_by_a_process_stops_both)
{
	sc_core::sc_spawn([&] {
		sc_core::wait(777, sc_core::SC_US);
		sc_core::sc_stop();
	});
	const auto t0 = sc_core::sc_time_stamp();
	guest->begin([] { guest->start(PUPPET_SPIN); });
	sc_core::sc_start();
	EXPECT_EQ(sc_core::sc_time_stamp(), t0 + sc_core::sc_time(777, sc_core::SC_US));
	/* clock=fixed moves a guest that never exits in strides of the quantum */
	EXPECT_LE(pc->time(), sc_core::sc_time_stamp() + sc_core::sc_time(1, sc_core::SC_MS));
	expect_still();
}

} // namespace

void elaborate()
{
	pc = puppet_box("pc", why_not, "completion_timeout=0 clock=fixed fixed_exit=1us");
	if (!pc)
		return;
	guest = new puppeteer("guest", *pc);
	device = new gadget("device", *pc);
}
