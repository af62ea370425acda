// The guest's end: report, status, sc_stop().
#include "platform_test.h"
#include "fake_box.h"

namespace {

kvmbox::box *pc, *quiet;

TEST(end, exit_and_error)
{
	bool first = true;
	fake::program = [&](kvmbox_box &b, kvmbox_error *err) {
		if (&b == quiet->c_box()) {
			b.wait(10000);
			b.exit_status = 3;
			b.end = KVMBOX_END_EXIT;
			return 0;
		}
		first = false;
		b.wait(50000);
		b.end = KVMBOX_END_SHUTDOWN;
		snprintf(err->msg, sizeof(err->msg), "triple fault at RIP 0x1234");
		return -EIO;
	};
	sc_core::sc_report_handler::set_actions("/kvmbox/guest", sc_core::SC_ERROR, sc_core::SC_CACHE_REPORT);
	reports::clear();
	sc_core::sc_start();
	/* quiet has stop_simulation off: the other one went on to its own end */
	EXPECT_EQ(quiet->end(), KVMBOX_END_EXIT);
	EXPECT_EQ(quiet->exit_status(), 3);
	EXPECT_EQ(pc->end(), KVMBOX_END_SHUTDOWN);
	EXPECT_EQ(sc_core::sc_time_stamp(), ns(50));
	EXPECT_EQ(sc_core::sc_get_status(), sc_core::SC_STOPPED);
	EXPECT_EQ(reports::count("/kvmbox/guest", "triple fault at RIP 0x1234"), 1u);
	EXPECT_FALSE(first);
	/* quantum: the configuration's, else tlm_global_quantum's */
	EXPECT_EQ(quiet->c_box()->quantum_ps, 5000u);
	EXPECT_EQ(pc->c_box()->quantum_ps, 7000u);
}

TEST(end, boxes_can_go_after_the_end)
{
	delete pc;
	delete quiet;
	EXPECT_EQ(fake::boxes, 0u);
}

} // namespace

void elaborate()
{
	kvmbox::config c;
	tlm::tlm_global_quantum::instance().set(ns(7));
	pc = new kvmbox::box("pc", c);
	c->quantum_ps = 5000;
	c.stop_simulation = false;
	quiet = new kvmbox::box("quiet", c);
}
