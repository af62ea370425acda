// A target that throws: the exception crosses the C core as an error and leaves sc_start() as itself.
#include "platform_test.h"
#include "fake_box.h"

#include <stdexcept>

namespace {

struct thrower : kvmbox::pci_device {
	bool unwound = false;
	thrower(sc_core::sc_module_name n, kvmbox::box &b) : pci_device(n, b, identity()) {}
	static kvmbox::function_config identity()
	{
		kvmbox::function_config f("", 1, 2);
		f.memory_bar(0, 0x1000);
		return f;
	}
	uint64_t read(unsigned, uint64_t, unsigned, sc_core::sc_time &) override
	{
		struct guard {
			bool &b;
			~guard() { b = true; }
		} g{ unwound };
		sc_core::wait(ns(10));
		throw std::runtime_error("the model is broken");
	}
};

kvmbox::box *pc;
thrower *device;

TEST(exception, leaves_through_sc_start_and_ends_the_box)
{
	int first = 0, second = 0, waited = 0;
	bool stop_asked = false;
	fake::program = [&](kvmbox_box &b, kvmbox_error *) {
		uint64_t v = 0, delay = 0;
		first = b.access(0, 0, 0, 4, false, v, delay);
		stop_asked = b.stop;
		second = b.access(0, 0, 0, 4, false, v, delay);
		waited = b.wait(b.now() + 1000);
		b.end = KVMBOX_END_STOPPED;
		return 0;
	};
	std::string what;
	try {
		sc_core::sc_start();
	} catch (const std::exception &e) {
		what = e.what();
	}
	EXPECT_NE(what.find("the model is broken"), std::string::npos) << what;
	EXPECT_TRUE(device->unwound);
	EXPECT_EQ(first, -EIO);
	EXPECT_TRUE(stop_asked);
	EXPECT_EQ(second, -EIO); /* not handed to the target any more */
	EXPECT_LT(waited, 0);
	EXPECT_EQ(sc_core::sc_time_stamp(), ns(10));
}

TEST(exception, box_can_be_destroyed_afterwards)
{
	delete device;
	delete pc;
	EXPECT_EQ(fake::boxes, 0u);
}

} // namespace

void elaborate()
{
	pc = new kvmbox::box("pc");
	device = new thrower("device", *pc);
}
