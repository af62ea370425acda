// What is wrong before the simulation runs: configuration and binding errors, objects that go away early.
#include "platform_test.h"
#include "fake_box.h"

#include <tlm_utils/simple_target_socket.h>

namespace {

struct target : sc_core::sc_module {
	tlm_utils::simple_target_socket<target> socket;
	explicit target(sc_core::sc_module_name n) : sc_module(n), socket("socket")
	{
		socket.register_b_transport(this, &target::b_transport);
	}
	void b_transport(tlm::tlm_generic_payload &gp, sc_core::sc_time &)
	{
		gp.set_response_status(tlm::TLM_OK_RESPONSE);
	}
};

TEST(config, errors_are_reports_of_their_own_type)
{
	kvmbox::config c;
	EXPECT_NE(error_of("/kvmbox/config", [&] { c.set("nonsense", "1"); }), "");
	EXPECT_NE(error_of("/kvmbox/config", [&] { c.set("stop_simulation", "perhaps"); }), "");
	const char *args[] = { "prog", "hello.elf" };
	EXPECT_NE(error_of("/kvmbox/config", [&] { kvmbox::config d(2, args); }).find("'hello.elf': expected key=value"),
		  std::string::npos);
}

TEST(config, arguments)
{
	const char *args[] = { "prog", "guest=a=b", "stop_simulation=no", "help" };
	kvmbox::config c(4, args);
	EXPECT_STREQ(c->guest, "a=b");
	EXPECT_FALSE(c.stop_simulation);
	EXPECT_TRUE(c.help_wanted());
}

TEST(config, copies_own_their_strings)
{
	kvmbox::config a, b;
	a.set("guest", "one");
	b = a;
	kvmbox::config c(b);
	a.set("guest", "two");
	EXPECT_STREQ(b->guest, "one");
	EXPECT_STREQ(c->guest, "one");
	EXPECT_NE(b->guest, c->guest);
	c = *&c;
	EXPECT_STREQ(c->guest, "one");
}

/* A box that cannot be made, and one that goes away during elaboration, leave nothing behind. */
TEST(elaboration, failed_and_abandoned_boxes)
{
	fake::create_error = -EACCES;
	EXPECT_EQ(error_of("/kvmbox/kvm", [] { kvmbox::box pc("pc"); }), "no box today");
	fake::create_error = -EINVAL;
	EXPECT_EQ(error_of("/kvmbox/config", [] { kvmbox::box pc("pc"); }), "no box today");
	fake::create_error = 0;
	EXPECT_EQ(fake::boxes, 0u);
	{
		kvmbox::box pc("pc");
		target t("t");
		kvmbox::function_config f("f", 1, 2);
		f.memory_bar(0, 0x1000);
		pc.add_function(f).bar(0).bind(t.socket);
		pc.add_function(f).dma();
		EXPECT_EQ(fake::boxes, 1u);
	}
	EXPECT_EQ(fake::boxes, 0u);
}

TEST(elaboration, wrong_models_are_named)
{
	kvmbox::box pc("pc");
	target t("t"), u("u");
	kvmbox::function_config f("f", 1, 2);

	f.slot = 99;
	EXPECT_EQ(error_of("/kvmbox/config", [&] { pc.add_function(f); }), "slot 99");
	f.slot = -1;
	f.memory_bar(0, 0x1000);
	f.memory_bar(2, 0x2000);
	kvmbox::pci_function &fn = pc.add_function(f);
	EXPECT_NE(error_of("/kvmbox/bind", [&] { fn.bar(6); }).find("BARs are 0 to 5"), std::string::npos);
	EXPECT_NE(error_of("/kvmbox/bind", [&] { fn.bar(1).bind(t.socket); }).find("its size is 0"), std::string::npos);
	fn.bar(0).bind(t.socket);
	EXPECT_NE(error_of("/kvmbox/bind", [&] { fn.bar(0).bind(u.socket); }).find("bar0 is bound already"),
		  std::string::npos);
}

/* Last: the kernel does not elaborate twice. */
TEST(elaboration, unbound_bar_is_named_before_the_simulation_runs)
{
	kvmbox::box pc("pc");
	target t("t");
	kvmbox::function_config f("card", 1, 2);
	f.memory_bar(0, 0x1000);
	f.memory_bar(2, 0x2000);
	pc.add_function(f).bar(0).bind(t.socket);
	const std::string e = error_of("/kvmbox/bind", [] { sc_core::sc_start(); });
	EXPECT_NE(e.find(".card: BAR 2 (8192 bytes) is not bound"), std::string::npos);
	EXPECT_NE(e.find("bar(2).bind(target_socket)"), std::string::npos);
}

} // namespace

void elaborate()
{
}
