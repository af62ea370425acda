// kill() of the box's process unwinds through the C core; up-calls throw what a report action threw.
#include "platform_test.h"
#include "fake_box.h"

namespace {

kvmbox::box *pc;

TEST(kill, error_in_the_log_of_an_up_call_is_thrown_to_the_caller)
{
	/* what C code called from outside kvmbox_run() would do */
	sc_core::sc_start(sc_core::SC_ZERO_TIME);
	pc->c_box()->log(KVMBOX_LOG_WARNING, "only a warning");
	pc->c_box()->log(KVMBOX_LOG_ERROR, "worse"); /* kept: this is C */
	EXPECT_EQ(error_of("/kvmbox/guest", [] { pc->serial_input("x"); }), "worse");
	EXPECT_EQ(error_of("/kvmbox/guest", [] { pc->serial_input("x"); }), "");
}

TEST(kill, unwinds_the_idle_guest)
{
	int waited = 0;
	bool done = false;
	fake::jobs.push_back([&](kvmbox_box &b) {
		waited = b.wait(KVMBOX_TIME_NEVER, KVMBOX_WAIT_IDLE);
		done = true;
	});
	pc->serial_input("");
	sc_core::sc_start(ns(1));
	EXPECT_FALSE(done);
	sc_core::sc_object *vcpu = sc_core::sc_find_object("pc.vcpu");
	ASSERT_NE(vcpu, nullptr);
	sc_core::sc_process_handle h(vcpu);
	sc_core::sc_spawn([&] { h.kill(); });
	sc_core::sc_start(ns(1));
	EXPECT_TRUE(done);
	EXPECT_LT(waited, 0);
	EXPECT_TRUE(h.terminated());
	EXPECT_FALSE(pc->c_box()->in_run);
}

} // namespace

void elaborate()
{
	pc = new kvmbox::box("pc");
}
