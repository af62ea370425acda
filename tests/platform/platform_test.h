/*
 * Platform tests: one elaboration per program (SystemC has one kernel per
 * process). A program defines elaborate(), which builds what its tests share;
 * the tests then run the simulation in steps.
 */
#ifndef TESTS_PLATFORM_TEST_H
#define TESTS_PLATFORM_TEST_H

#include <kvmbox/pci_device.h>
#include <kvmbox/tlm.h>

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

void elaborate();

/* Reports since the last clear(), by their message type. */
struct reports {
	static std::vector<std::pair<std::string, std::string>> &all()
	{
		static std::vector<std::pair<std::string, std::string>> r;
		return r;
	}
	static void clear() { all().clear(); }
	static unsigned count(const std::string &type, const std::string &part = "")
	{
		unsigned n = 0;
		for (auto &r : all())
			n += r.first == type && r.second.find(part) != std::string::npos;
		return n;
	}
	static void handler(const sc_core::sc_report &r, const sc_core::sc_actions &a)
	{
		all().push_back({ r.get_msg_type(), r.get_msg() });
		sc_core::sc_report_handler::default_handler(r, a);
	}
};

/* What f reports as an error of this type, or "". */
inline std::string error_of(const char *type, const std::function<void()> &f)
{
	try {
		f();
	} catch (const sc_core::sc_report &r) {
		EXPECT_STREQ(r.get_msg_type(), type);
		return r.get_msg();
	}
	return "";
}

inline sc_core::sc_time ns(double v)
{
	return sc_core::sc_time(v, sc_core::SC_NS);
}

int sc_main(int argc, char **argv)
{
	testing::InitGoogleTest(&argc, argv);
	sc_core::sc_report_handler::set_handler(reports::handler);
	elaborate();
	return RUN_ALL_TESTS();
}

#endif
