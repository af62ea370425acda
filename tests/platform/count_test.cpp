// box::stop_after(): a real guest stops after exactly so many instructions, and simulated time with it.
#include "puppeteer.h"

namespace {

struct gadget : kvmbox::pci_device {
	std::function<void()> on_read;

	gadget(sc_core::sc_module_name n, kvmbox::box &b) : pci_device(n, b, identity()) {}
	static kvmbox::function_config identity()
	{
		kvmbox::function_config f("", 0x1234, 1);
		f.memory_bar(0, 0x1000);
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
unsigned counted;

class count_test : public testing::Test {
protected:
	void SetUp() override
	{
		if (!pc)
			GTEST_SKIP() << why_not;
		counted = 0;
	}
};

TEST_F(count_test, first_the_guest_is_set_up)
{
	guest->run([] { guest->set_command(device->function(), 7); });
}

/* The instruction of the access, and four more: with clock=step at 10 ns each it can be read off the time. */
TEST_F(count_test, from_within_an_access)
{
	sc_core::sc_time read_at;
	bool done = false;
	device->on_read = [&] {
		read_at = sc_core::sc_time_stamp();
		pc->stop_after(5);
	};
	guest->begin([&] {
		guest->read(device->address(), 4);
		done = true;
		sc_core::sc_pause();
	});
	sc_core::sc_start();
	EXPECT_EQ(sc_core::sc_get_status(), sc_core::SC_PAUSED);
	EXPECT_TRUE(pc->paused());
	EXPECT_FALSE(done);
	EXPECT_EQ(counted, 1u);
	EXPECT_EQ(pc->end(), KVMBOX_END_COUNTED);
	EXPECT_EQ(pc->time(), read_at + ns(700) + ns(4 * 10)); // the access is at the end of its instruction
	EXPECT_EQ(sc_core::sc_time_stamp(), pc->time());
	/* once more, from between two sc_start() */
	const auto before = pc->time();
	pc->stop_after(1000);
	pc->resume();
	sc_core::sc_start();
	if (!done) { /* else the guest waits for its next command */
		EXPECT_EQ(counted, 2u);
		EXPECT_EQ(pc->time(), before + ns(10000));
		pc->resume();
		sc_core::sc_start();
	}
	pc->stop_after(KVMBOX_COUNT_NEVER);
	EXPECT_TRUE(done);
}

TEST_F(count_test, the_guest_does_not_notice)
{
	uint64_t took[2] = { 0, 1 };
	for (int stops = 0; stops < 2; stops++) {
		bool done = false;
		device->on_read = [&] {
			if (stops)
				pc->stop_after(17);
		};
		guest->begin([&] {
			const uint64_t t0 = guest->time();
			guest->read(device->address(), 4);
			took[stops] = guest->time() - t0;
			done = true;
			sc_core::sc_pause();
		});
		sc_core::sc_start();
		if (stops) {
			EXPECT_EQ(counted, 1u);
			EXPECT_FALSE(done);
			pc->resume();
			sc_core::sc_start();
		}
		EXPECT_TRUE(done);
	}
	EXPECT_EQ(took[0], took[1]);
}

} // namespace

void elaborate()
{
	pc = puppet_box("pc", why_not, "completion_timeout=0 clock=step step=10ns");
	if (!pc)
		return;
	guest = new puppeteer("guest", *pc);
	device = new gadget("device", *pc);
	sc_core::sc_spawn_options o;
	o.spawn_method();
	o.dont_initialize();
	o.set_sensitivity(&pc->counted());
	sc_core::sc_spawn([] { counted++; }, "count", &o);
}
