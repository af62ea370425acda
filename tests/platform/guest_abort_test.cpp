// A real guest whose device model throws, and a box that goes away while its guest is suspended in the middle of an access.
#include "puppeteer.h"

#include <stdexcept>

namespace {

struct thrower : kvmbox::pci_device {
	thrower(sc_core::sc_module_name n, kvmbox::box &b) : pci_device(n, b, identity()) {}
	static kvmbox::function_config identity()
	{
		kvmbox::function_config f("", 1, 2);
		f.memory_bar(0, 0x1000);
		return f;
	}
	uint64_t read(unsigned, uint64_t, unsigned, sc_core::sc_time &) override
	{
		sc_core::wait(ns(10));
		throw std::runtime_error("the model is broken");
	}
};

std::string why_not;
kvmbox::box *pc, *other;
puppeteer *guest;
thrower *device;

TEST(guest_abort, exception_of_a_target_leaves_through_sc_start)
{
	if (!pc)
		GTEST_SKIP() << why_not;
	std::string what;
	try {
		guest->run([] {
			uint64_t a = 0;
			guest->set_command(device->function(), 7);
			device->function().bar_address(0, a);
			guest->read(a, 4);
			ADD_FAILURE() << "the guest went on";
		});
	} catch (const std::exception &e) {
		what = e.what();
	}
	EXPECT_NE(what.find("the model is broken"), std::string::npos) << what;
	EXPECT_EQ(pc->end(), KVMBOX_END_STOPPED);
}

/* The other box's guest waits in its mailbox for a command that never comes. */
TEST(guest_abort, boxes_can_be_destroyed_wherever_their_guests_are)
{
	if (!pc)
		GTEST_SKIP() << why_not;
	EXPECT_EQ(other->end(), KVMBOX_END_NONE);
	EXPECT_GT(other->stats().entries, 0u);
	delete other;
	delete pc;
}

} // namespace

void elaborate()
{
	pc = puppet_box("pc", why_not);
	if (!pc)
		return;
	other = puppet_box("other", why_not, "quantum=10us");
	new puppeteer("other_guest", *other);
	guest = new puppeteer("guest", *pc);
	device = new thrower("device", *pc);
}
