// Guest and SystemC measure the same durations: accesses to targets that annotate, wait or mix, in both access modes, and
// the periods of PIT and RTC. Compiled once per clock source, TEST_CLOCK_FIXED 1 or 0
// (tsc, or step with TEST_CLOCK_STEP): SystemC elaborates once.
#include "platform_test.h"
#include "clock_study_regs.h"

#ifndef TEST_CLOCK_STEP
#define TEST_CLOCK_STEP 0
#endif

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace {

enum style { annotate, wait_for_it, mix };
const char *const style_names[] = { "annotate", "wait", "mix" };
// Bit 0: loosely timed; bit 1: writes are not posted.
const char *const mode_names[STUDY_TARGETS] = { "synchronised", "loosely timed", "synchronised, not posted",
						"loosely timed, not posted" };

const uint64_t exit_ps = 1000000; // fixed_exit, set below
const uint64_t step_ps = 100000;  // likewise: a slow CPU, the guest spins for a while

struct step {
	uint64_t command, argument, count;
	uint64_t delay;                          // ps
	style how;
	uint64_t from, to;                       // guest
	uint64_t begin, end;                     // SystemC: the delayed access
	std::vector<uint64_t> guest, systemc;    // ticks
};

std::vector<step> steps;
size_t current;

step &now_playing()
{
	return steps.at(current - 1);
}

struct conductor : kvmbox::pci_device {
	conductor(sc_core::sc_module_name n, kvmbox::box &b) : pci_device(n, b, identity()) {}

private:
	static kvmbox::function_config identity()
	{
		kvmbox::function_config f("", STUDY_VENDOR, STUDY_CONDUCTOR);

		f.memory_bar(0, 0x1000);
		return f;
	}
	uint64_t read(unsigned, uint64_t offset, unsigned, sc_core::sc_time &) override
	{
		if (offset == STUDY_COUNT)
			return now_playing().count;
		if (offset != STUDY_COMMAND || current == steps.size())
			return STUDY_END;
		current++;
		return now_playing().command | now_playing().argument << 8;
	}
	void write(unsigned, uint64_t offset, unsigned, uint64_t value, sc_core::sc_time &) override
	{
		step &s = now_playing();

		if (offset == STUDY_FROM)
			s.from = value;
		if (offset == STUDY_TO)
			s.to = value;
		if (offset == STUDY_TICK) {
			s.guest.push_back(value);
			s.systemc.push_back(kvmbox::to_ps(sc_core::sc_time_stamp()));
		}
	}
};

struct target : kvmbox::pci_device {
	target(sc_core::sc_module_name n, kvmbox::box &b, unsigned i) : pci_device(n, b, identity(i)) {}

private:
	static kvmbox::function_config identity(unsigned i)
	{
		kvmbox::function_config f("", STUDY_VENDOR, uint16_t(STUDY_TARGET + i));

		f.memory_bar(0, 0x1000);
		f.mode = i & 1 ? KVMBOX_LOOSELY_TIMED : KVMBOX_SYNCHRONISED;
		f.posted_writes = !(i & 2);
		return f;
	}
	void take_time(uint64_t offset, sc_core::sc_time &delay)
	{
		if (offset != STUDY_DELAYED)
			return;
		step &s = now_playing();
		const uint64_t waited = s.how == annotate ? 0 : s.how == mix ? s.delay / 3 : s.delay;

		s.begin = kvmbox::to_ps(sc_core::sc_time_stamp() + delay);
		if (waited)
			sc_core::wait(kvmbox::from_ps(waited));
		delay += kvmbox::from_ps(s.delay - waited);
		s.end = kvmbox::to_ps(sc_core::sc_time_stamp() + delay);
	}
	uint64_t read(unsigned, uint64_t offset, unsigned, sc_core::sc_time &delay) override
	{
		take_time(offset, delay);
		return 0;
	}
	void write(unsigned, uint64_t offset, unsigned, uint64_t, sc_core::sc_time &delay) override
	{
		take_time(offset, delay);
	}
};

// 100 ns to 1 s, and some that are nobody's multiple.
const uint64_t delays[] = { 100000, 123457, 1000000, 10000019, 100000000, 1000000000, 10000000000, 100000000000,
			    1000000000000 };
const unsigned repeats = TEST_CLOCK_FIXED || TEST_CLOCK_STEP ? 1 : 9;

kvmbox::box *pc;
std::string why_not;

struct clock_study : testing::Test {
	void SetUp() override
	{
		if (!pc)
			GTEST_SKIP() << why_not;
		if (pc->end() == KVMBOX_END_NONE)
			sc_core::sc_start();
		ASSERT_EQ(pc->exit_status(), 0) << pc->serial_output();
		ASSERT_EQ(current, steps.size());
	}
};

std::string name(const step &s)
{
	return std::string(s.command == STUDY_READ ? "read" : "write") + ", " + mode_names[s.argument] + ", " +
	       style_names[s.how] + ", " + std::to_string(s.delay) + " ps";
}

bool is_access(const step &s)
{
	return s.command == STUDY_READ || s.command == STUDY_WRITE;
}

TEST_F(clock_study, systemc_sees_the_delay)
{
	for (const step &s : steps) {
		if (is_access(s)) {
			EXPECT_EQ(s.end - s.begin, s.delay) << name(s);
		}
	}
}

// Whatever the clock: SystemC's moments lie between the guest's.
TEST_F(clock_study, guest_sees_the_delay)
{
	for (const step &s : steps) {
		if (!is_access(s))
			continue;
		EXPECT_GE(s.to - s.from, s.delay) << name(s);
		EXPECT_LE(s.from, s.begin) << name(s);
		EXPECT_GE(s.to, s.end) << name(s);
	}
}

#if TEST_CLOCK_FIXED
// Two exits around a read, three around write and read. A posted write goes on while the guest leaves for its read, which waits
// for it; any other is over before.
TEST_F(clock_study, durations_are_exact)
{
	for (const step &s : steps) {
		if (!is_access(s))
			continue;
		const uint64_t seen = s.to - s.from;

		if (s.command == STUDY_READ) {
			EXPECT_EQ(seen, s.delay + 2 * exit_ps) << name(s);
		} else if (s.argument & 2) {
			EXPECT_EQ(seen, s.delay + 3 * exit_ps) << name(s);
		} else {
			EXPECT_EQ(seen, std::max(s.delay, exit_ps) + 2 * exit_ps) << name(s);
		}
	}
}
#else
#if TEST_CLOCK_STEP
// What is not the delay is instructions, the same for every read.
TEST_F(clock_study, durations_are_exact)
{
	uint64_t own = 0;

	for (const step &s : steps) {
		if (s.command != STUDY_READ)
			continue;
		if (!own)
			own = s.to - s.from - s.delay;
		EXPECT_EQ(s.to - s.from, s.delay + own) << name(s);
	}
	EXPECT_GT(own, 0u);
	EXPECT_EQ(own % step_ps, 0u);
	EXPECT_LT(own, 20 * step_ps);
}
#endif

TEST_F(clock_study, reports_the_error)
{
	std::printf("clock=%s: guest minus SystemC, median over all styles and modes\n%14s %14s %14s\n",
		    TEST_CLOCK_STEP ? "step" : "tsc", "delay, ns", "read, ns",
		    "write+read, ns");
	for (uint64_t d : delays) {
		std::vector<double> error[2];

		for (const step &s : steps) {
			if (is_access(s) && s.delay == d)
				error[s.command == STUDY_WRITE].push_back((double(s.to - s.from) - double(d)) / 1e3);
		}
		for (auto &e : error) {
			ASSERT_EQ(e.size(), 3 * STUDY_TARGETS * repeats);
			std::nth_element(e.begin(), e.begin() + long(e.size() / 2), e.end());
		}
		std::printf("%14.3f %14.0f %14.0f\n", double(d) / 1e3, error[0][error[0].size() / 2], error[1][error[1].size() / 2]);
	}
}
#endif

double period_ps(const step &s)
{
	return s.command == STUDY_PIT ? double(s.argument) * 1e12 / 1193182 : double(1u << (s.argument - 1)) * 1e12 / 32768;
}

TEST_F(clock_study, timers_tick_in_guest_and_systemc)
{
	for (const step &s : steps) {
		if (is_access(s))
			continue;
		SCOPED_TRACE(testing::Message() << (s.command == STUDY_PIT ? "PIT divisor " : "RTC rate ") << s.argument);
		const double period = period_ps(s);
		ASSERT_EQ(s.guest.size(), s.count);
		std::vector<double> late; // against a grid through the earliest tick
		double first = 1e300;

		for (size_t i = 0; i < s.count; i++) {
			EXPECT_LE(s.guest[i], s.systemc[i]); // the handler reads the time, then pokes the device
			first = std::min(first, double(s.guest[i]) - double(i) * period);
		}
		for (size_t i = 0; i < s.count; i++)
			late.push_back(double(s.guest[i]) - double(i) * period - first);
		// On a busy host the guest may be away for longer than a period.
		const unsigned lost = unsigned((late.back() + 1) / period);
		if (TEST_CLOCK_FIXED) {
			for (size_t i = 0; i < s.count; i++) {
				EXPECT_EQ(s.systemc[i] - s.guest[i], exit_ps) << i;
				EXPECT_LE(late[i], 2) << i; // each tick is rounded to a ps, and the average stays exact
			}
		}
		for (double &l : late)
			l = std::fmod(l, period);
		std::nth_element(late.begin(), late.begin() + long(late.size() / 2), late.end());
		std::printf("%s, period %.3f us: %u ticks, %u lost, the guest's handler a median of %.3f us after the grid\n",
			    s.command == STUDY_PIT ? "PIT" : "RTC", period / 1e6, unsigned(s.count), lost,
			    late[late.size() / 2] / 1e6);
	}
}

step make(study_command c, uint64_t argument)
{
	step s{};

	s.command = c;
	s.argument = argument;
	return s;
}

void compose()
{
	for (unsigned i = 0; i < repeats; i++)
		for (uint64_t d : delays)
			for (study_command c : { STUDY_READ, STUDY_WRITE })
				for (unsigned mode = 0; mode < STUDY_TARGETS; mode++)
					for (style how : { annotate, wait_for_it, mix }) {
						step s = make(c, mode);

						s.delay = d;
						s.how = how;
						steps.push_back(s);
					}
	// Periods: 2 ms, 10 ms and the longest of the PIT; 1024, 256 and 2 Hz of the RTC.
	if (TEST_CLOCK_STEP) // where every instruction of a handler costs
		return;
	for (unsigned divisor : { 2387u, 11932u, 65535u })
		steps.push_back(make(STUDY_PIT, divisor));
	for (unsigned rate : { 6u, 8u, 15u })
		steps.push_back(make(STUDY_RTC, rate));
	for (step &s : steps)
		s.count = is_access(s) ? 0 : 50;
}

} // namespace

void elaborate()
{
	compose();
	kvmbox::config cfg("serial=memory completion_timeout=10s guest=" CLOCK_STUDY);
	cfg->clock = TEST_CLOCK_FIXED ? KVMBOX_CLOCK_FIXED : TEST_CLOCK_STEP ? KVMBOX_CLOCK_STEP : KVMBOX_CLOCK_TSC;
	cfg->fixed_exit_ps = exit_ps;
	cfg->step_ps = step_ps;
	try {
		pc = new kvmbox::box("pc", cfg);
	} catch (const sc_core::sc_report &r) {
		if (std::string(r.get_msg_type()) != kvmbox::msg_kvm)
			throw;
		why_not = r.get_msg();
		return;
	}
	new conductor("conductor", *pc);
	for (unsigned i = 0; i < STUDY_TARGETS; i++)
		new target(("target" + std::to_string(i)).c_str(), *pc, i);
}
