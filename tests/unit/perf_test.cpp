// The clocks that count events of a PMU, with a PMU that the test plays.
#include <gtest/gtest.h>

#include <cerrno>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>
#include <vector>

extern "C" {
#include "vcpu/clock.h"
#include "vcpu/perf.h"
}

namespace {

constexpr uint64_t hz = 2000000000;

std::vector<perf_event_attr> opened; // what was asked for
std::map<int, uint64_t> counters;    // open descriptors, their counts
int open_error, fail_at;             // errno, for the nth open from now
bool taken_away;
std::vector<std::pair<int, pid_t>> notified; // overflow signals asked for
std::map<int, uint64_t> periods;
int notify_error;

const kb_perf_api fake = {
	[](perf_event_attr *attr, pid_t pid, int cpu, int group, unsigned long) {
		EXPECT_EQ(pid, 0);
		EXPECT_EQ(cpu, -1);
		EXPECT_EQ(group, -1);
		if (open_error && fail_at-- == 0) {
			errno = open_error;
			return -1;
		}
		opened.push_back(*attr);
		counters[int(100 + opened.size())] = 0;
		return int(100 + opened.size());
	},
	[](int fd, void *buf, size_t len) -> ssize_t {
		EXPECT_EQ(counters.count(fd), 1u);
		EXPECT_EQ(len, sizeof(uint64_t));
		if (taken_away)
			return 0;
		memcpy(buf, &counters[fd], len);
		return ssize_t(len);
	},
	[](int fd) {
		EXPECT_EQ(counters.erase(fd), 1u) << "closed twice";
		return 0;
	},
	"/nowhere/devices", "/nowhere/paranoid",
	[](int fd, int sig, pid_t tid) {
		EXPECT_EQ(counters.count(fd), 1u);
		notified.push_back({ sig, tid });
		if (!notify_error)
			return 0;
		errno = notify_error;
		return -1;
	},
	[](int fd, uint64_t events) {
		periods[fd] = events;
		return 0;
	},
};

class perf : public testing::Test {
protected:
	void SetUp() override
	{
		opened.clear();
		counters.clear();
		open_error = fail_at = 0;
		taken_away = false;
		notified.clear();
		periods.clear();
		notify_error = 0;
	}
	void TearDown() override
	{
		kb_clock_destroy(&c);
		EXPECT_TRUE(counters.empty()) << "left open";
	}
	void create(kb_perf_event event, double ps)
	{
		ASSERT_EQ(kb_clock_init_perf(&c, &fake, event, hz, ps, &err), 0) << err.msg;
	}
	// The guest runs for ticks, and the first counter goes up by n.
	void stay(uint64_t ticks, uint64_t n)
	{
		kb_stay s{};

		s.ticks = ticks;
		counters.begin()->second += n;
		kb_clock_account(&c, &s);
	}
	bool says(const char *what) { return strstr(err.msg, what); }

	kb_clock c{};
	kvmbox_error err{};
};

TEST_F(perf, counts_the_guest_only)
{
	create(KB_PERF_INSNS, 1000);
	ASSERT_EQ(opened.size(), 1u);
	EXPECT_EQ(opened[0].type, uint32_t(PERF_TYPE_HARDWARE));
	EXPECT_EQ(opened[0].config, uint64_t(PERF_COUNT_HW_INSTRUCTIONS));
	EXPECT_TRUE(opened[0].exclude_host);
	EXPECT_FALSE(opened[0].exclude_guest);
	EXPECT_FALSE(opened[0].disabled);
	EXPECT_TRUE(opened[0].pinned);
}

TEST_F(perf, time_is_events_times_their_time)
{
	create(KB_PERF_INSNS, 333);
	EXPECT_STREQ(c.ops->name, "perf-insns");
	for (int i = 0; i < 1000; i++)
		stay(50000, 7); // whatever the host's clock says
	EXPECT_EQ(c.now_ps, 7000u * 333);
	stay(50000, 0); // but time does not stand still
	EXPECT_EQ(c.now_ps, 7000u * 333 + 1);
	EXPECT_EQ(c.rate.ps_per_tick, 0u) << "what happens between exits does not show in the TSC";
}

TEST_F(perf, fractions_are_kept)
{
	create(KB_PERF_CYCLES, 384.6);
	EXPECT_EQ(opened[0].config, uint64_t(PERF_COUNT_HW_CPU_CYCLES));
	EXPECT_STREQ(c.ops->name, "perf-cycles");
	for (int i = 0; i < 10000; i++)
		stay(100, 1);
	EXPECT_NEAR(double(c.now_ps), 3846000, 2);
}

TEST_F(perf, kicks_come_when_the_pace_seen_says)
{
	create(KB_PERF_INSNS, 1000);
	for (int i = 0; i < 50; i++)
		stay(hz / 1000, hz / 1000 * 2); // two instructions per tick, 2000 ps
	EXPECT_NEAR(double(kb_clock_ticks(&c, 2000000)), 1000, 20);
	for (int i = 0; i < 50; i++)
		stay(hz / 1000, 0); // a guest that gets nothing done: the kick still comes
	EXPECT_GT(kb_clock_ticks(&c, 2000000), 1000000u);
}

TEST_F(perf, all_core_types_of_a_hybrid_cpu_count)
{
	const auto dir = std::filesystem::temp_directory_path() / ("perf_test." + std::to_string(getpid()));
	for (auto [name, type] : std::map<std::string, int>{ { "cpu_core", 4 }, { "cpu_atom", 10 }, { "uncore_x", 12 } }) {
		std::filesystem::create_directories(dir / name);
		std::ofstream(dir / name / "type") << type << "\n";
		std::ofstream(dir / name / "cpus") << "0-3\n";
	}
	std::filesystem::create_directories(dir / "cpu_meter"); // no "cpus": not cores
	std::ofstream(dir / "cpu_meter" / "type") << "33\n";
	kb_perf_api hybrid = fake;
	const std::string devices = dir.string();
	hybrid.devices = devices.c_str();
	ASSERT_EQ(kb_clock_init_perf(&c, &hybrid, KB_PERF_INSNS, hz, 1000, &err), 0) << err.msg;
	ASSERT_EQ(opened.size(), 2u);
	const uint64_t types = opened[0].config >> 32 | (opened[1].config >> 32) << 32;
	EXPECT_TRUE(types == (4ull | 10ull << 32) || types == (10ull | 4ull << 32)) << std::hex << types;
	for (auto &o : opened) {
		EXPECT_EQ(o.config & 0xffffffff, uint64_t(PERF_COUNT_HW_INSTRUCTIONS));
		EXPECT_FALSE(o.pinned) << "it is not always its turn";
	}
	counters.rbegin()->second = 5;
	stay(100, 3);
	EXPECT_EQ(c.now_ps, 8000u);
	open_error = EPERM;
	fail_at = 1;
	kb_clock_destroy(&c);
	EXPECT_EQ(kb_clock_init_perf(&c, &hybrid, KB_PERF_INSNS, hz, 1000, &err), -EPERM);
	EXPECT_TRUE(counters.empty()) << "the first is closed when the second fails";
	std::filesystem::remove_all(dir);
}

TEST_F(perf, goes_with_the_thread_that_runs_the_vcpu)
{
	create(KB_PERF_INSNS, 1000);
	stay(100, 5);
	EXPECT_EQ(kb_clock_attach(&c, &err), 0);
	EXPECT_EQ(opened.size(), 1u) << "the same thread";
	std::thread([&] { EXPECT_EQ(kb_clock_attach(&c, &err), 0); }).join();
	EXPECT_EQ(opened.size(), 2u);
	EXPECT_EQ(counters.size(), 1u);
	stay(100, 7);
	EXPECT_EQ(c.now_ps, 12000u);
}

TEST_F(perf, a_counter_taken_away_does_not_stop_time)
{
	create(KB_PERF_INSNS, 1000);
	for (int i = 0; i < 50; i++)
		stay(hz / 1000, hz / 1000 * 2);
	const uint64_t before = c.now_ps;
	taken_away = true;
	stay(1000, 0);
	EXPECT_NEAR(double(c.now_ps - before), 2e6, 4e4) << "as long as the TSC says, at the pace seen";
	EXPECT_EQ(c.perf.lost, 1u);
}

TEST_F(perf, no_pmu_is_said)
{
	for (int e : { ENOENT, EOPNOTSUPP, ENODEV, ENOSYS }) {
		open_error = e;
		fail_at = 0;
		EXPECT_EQ(kb_clock_init_perf(&c, &fake, KB_PERF_CYCLES, hz, 500, &err), -e);
		EXPECT_TRUE(says("no performance counters")) << err.msg;
		EXPECT_TRUE(says("clock=tsc")) << err.msg;
	}
}

TEST_F(perf, no_permission_is_said)
{
	const auto file = std::filesystem::temp_directory_path() / ("paranoid." + std::to_string(getpid()));
	std::ofstream(file) << "4\n";
	kb_perf_api strict = fake;
	const std::string name = file.string();
	strict.paranoid = name.c_str();
	for (int e : { EACCES, EPERM }) {
		open_error = e;
		fail_at = 0;
		EXPECT_EQ(kb_clock_init_perf(&c, &strict, KB_PERF_CYCLES, hz, 500, &err), -e);
		EXPECT_TRUE(says("perf_event_paranoid is 4")) << err.msg;
		EXPECT_TRUE(says("CAP_PERFMON")) << err.msg;
	}
	std::filesystem::remove(file);
}

TEST_F(perf, counters_that_overflow)
{
	kb_perf p;

	ASSERT_EQ(kb_perf_open_overflow(&p, &fake, KB_PERF_INSNS, 41, 1234, &err), 0) << err.msg;
	ASSERT_EQ(opened.size(), 1u);
	EXPECT_GT(opened[0].sample_period, 1ull << 40) << "none before it is armed";
	EXPECT_FALSE(opened[0].freq);
	EXPECT_TRUE(opened[0].exclude_host);
	EXPECT_TRUE(opened[0].pinned);
	EXPECT_EQ(notified, (std::vector<std::pair<int, pid_t>>{ { 41, 1234 } }));
	EXPECT_EQ(kb_perf_arm(&p, 777), 0);
	EXPECT_EQ(periods[p.fd[0]], 777u);
	kb_perf_close(&p);
	notify_error = EBADF;
	EXPECT_EQ(kb_perf_open_overflow(&p, &fake, KB_PERF_INSNS, 41, 1234, &err), -EBADF);
	EXPECT_TRUE(says("signal")) << err.msg;
	EXPECT_TRUE(counters.empty());
	create(KB_PERF_INSNS, 1000);
	EXPECT_EQ(opened.back().sample_period, 0u) << "a clock needs none";
}

TEST_F(perf, bounds_of_an_events_time)
{
	for (double bad : { 0.0, -1.0, 2e9, double(NAN) })
		EXPECT_EQ(kb_clock_init_perf(&c, &fake, KB_PERF_CYCLES, hz, bad, &err), -EINVAL) << bad;
	EXPECT_EQ(opened.size(), 0u);
	create(KB_PERF_CYCLES, 1e9);
	stay(1, 3);
	EXPECT_EQ(c.now_ps, 3000000000u);
}

} // namespace
