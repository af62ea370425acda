// kvmbox::config over the real parser. Needs no KVM.
#include "platform_test.h"

namespace {

TEST(config_real, strings_become_fields)
{
	kvmbox::config c("ram=32M quantum=5us serial='memory' clock=fixed");
	EXPECT_EQ(c->ram, 32u << 20);
	EXPECT_EQ(c->quantum_ps, 5000000u);
	EXPECT_STREQ(c->serial, "memory");
	EXPECT_EQ(c->clock, KVMBOX_CLOCK_FIXED);
	kvmbox::config d(c);
	c.set("serial", "null");
	EXPECT_STREQ(d->serial, "memory");
}

TEST(config_real, errors_name_key_and_value_and_change_nothing)
{
	kvmbox::config c;
	const uint64_t ram = c->ram;
	std::string e = error_of("/kvmbox/config", [&] { c.set("ram", "plenty"); });
	EXPECT_NE(e.find("ram"), std::string::npos) << e;
	EXPECT_NE(e.find("plenty"), std::string::npos) << e;
	EXPECT_EQ(c->ram, ram);
	EXPECT_NE(error_of("/kvmbox/config", [&] { c.set("rum", "1M"); }), "");
	EXPECT_NE(error_of("/kvmbox/config", [&] { c.parse("quantum=0"); }), "");
	EXPECT_NE(error_of("/kvmbox/config", [&] { kvmbox::config d("serial='memory"); }), "");
}

/* Found when the box is made, whatever the host. */
TEST(config_real, box_without_its_guest)
{
	kvmbox::config c("guest=/nonexistent/guest.elf serial=null");
	try {
		kvmbox::box pc("pc", c);
		kvmbox::function_config f("f", 1, 2);
		sc_core::sc_start();
		FAIL() << "the simulation ran without a guest program";
	} catch (const sc_core::sc_report &r) {
		const std::string type = r.get_msg_type();
		EXPECT_TRUE(type == "/kvmbox/kvm" || type == "/kvmbox/config" || type == "/kvmbox/guest") << type;
		const std::string msg = r.get_msg();
		EXPECT_TRUE(msg.find("/nonexistent/guest.elf") != std::string::npos ||
			    msg.find("/dev/kvm") != std::string::npos) << msg;
	}
}

} // namespace

void elaborate()
{
}
