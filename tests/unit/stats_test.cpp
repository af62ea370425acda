// Statistics as a table and as JSON, and the histogram below them.
#include <gtest/gtest.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include <kvmbox/kvmbox.h>

extern "C" {
#include "vcpu/histogram.h"
}

namespace {

constexpr uint64_t ns = 1000, us = 1000 * ns, ms = 1000 * us, s = 1000 * ms;

// ---- histogram ---------------------------------------------------------------------------------------------------

unsigned bucket_of(uint64_t ps)
{
	kb_histogram h{};

	kb_histogram_add(&h, ps);
	EXPECT_EQ(h.max_ps, ps);
	for (unsigned i = 0; i < KB_HISTOGRAM_BUCKETS; i++)
		if (h.count[i])
			return i;
	ADD_FAILURE() << ps << " is in no bucket";
	return 0;
}

TEST(histogram, each_bucket_holds_what_is_below_its_limit)
{
	EXPECT_EQ(bucket_of(0), 0u);
	EXPECT_EQ(kb_histogram_limit(0), 1u);
	for (unsigned i = 1; i < KB_HISTOGRAM_BUCKETS - 1; i++) {
		const uint64_t limit = kb_histogram_limit(i);
		EXPECT_GT(limit, kb_histogram_limit(i - 1));
		EXPECT_EQ(bucket_of(limit - 1), i);
		EXPECT_EQ(bucket_of(limit), i + 1);
		EXPECT_LE(double(limit) / double(kb_histogram_limit(i - 1)), i > 1 ? 1.334 : 1000);
	}
	EXPECT_EQ(kb_histogram_limit(KB_HISTOGRAM_BUCKETS - 2), 10 * s);
	EXPECT_EQ(kb_histogram_limit(KB_HISTOGRAM_BUCKETS - 1), UINT64_MAX);
	EXPECT_EQ(kb_histogram_limit(UINT32_MAX), UINT64_MAX);
	EXPECT_EQ(bucket_of(UINT64_MAX), KB_HISTOGRAM_BUCKETS - 1u);
}

TEST(histogram, every_decade_is_a_limit)
{
	for (uint64_t decade = ns; decade <= 10 * s; decade *= 10) {
		bool found = false;
		for (unsigned i = 0; i < KB_HISTOGRAM_BUCKETS; i++)
			found |= kvmbox_overshoot_limit(i) == decade;
		EXPECT_TRUE(found) << decade;
	}
}

// ---- figures made of others ------------------------------------------------------------------------------------------

void overshoot(kvmbox_stats &st, uint64_t ps, uint64_t times = 1)
{
	st.overshoot[bucket_of(ps)] += times;
	if (ps > st.overshoot_max_ps)
		st.overshoot_max_ps = ps;
}

TEST(stats, quantiles)
{
	kvmbox_stats st{};

	EXPECT_EQ(kvmbox_overshoot_quantile(&st, 0.5), 0u) << "there are none";
	overshoot(st, 0, 60);
	EXPECT_EQ(kvmbox_overshoot_quantile(&st, 1), 0u);
	overshoot(st, 21 * us, 39);
	EXPECT_EQ(kvmbox_overshoot_quantile(&st, 0), 0u);
	EXPECT_EQ(kvmbox_overshoot_quantile(&st, 0.5), 0u);
	EXPECT_EQ(kvmbox_overshoot_quantile(&st, 0.99), 21 * us) << "none is above the longest";
	overshoot(st, 3 * ms);
	EXPECT_EQ(kvmbox_overshoot_quantile(&st, 0.60), 0u);
	EXPECT_EQ(kvmbox_overshoot_quantile(&st, 0.61), 25 * us) << "the bucket's limit";
	EXPECT_EQ(kvmbox_overshoot_quantile(&st, 0.99), 25 * us);
	EXPECT_EQ(kvmbox_overshoot_quantile(&st, 1), 3 * ms);
	EXPECT_EQ(kvmbox_overshoot_quantile(&st, 7), 3 * ms);
	overshoot(st, 11 * s);
	EXPECT_EQ(kvmbox_overshoot_quantile(&st, 1), 11 * s);
}

TEST(stats, real_time_factor)
{
	kvmbox_stats st{};

	EXPECT_EQ(kvmbox_real_time_factor(&st), 0);
	st.simulated_ps = 3 * s;
	EXPECT_EQ(kvmbox_real_time_factor(&st), 0);
	st.host_ns = 2000000000;
	EXPECT_DOUBLE_EQ(kvmbox_real_time_factor(&st), 1.5);
}

// ---- the table -----------------------------------------------------------------------------------------------------

std::string table(const kvmbox_stats &st)
{
	char *text = nullptr;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	kvmbox_stats_print(&st, f);
	fclose(f);
	std::string out(text, size);
	free(text);
	return out;
}

// The line that begins with the label, blanks squeezed; "" if there is none.
std::string line_of(const std::string &text, const std::string &label)
{
	std::istringstream lines(text);
	std::string line;

	while (std::getline(lines, line)) {
		const size_t at = line.find_first_not_of(' ');
		if (at == std::string::npos || line.compare(at, label.size(), label))
			continue;
		std::string squeezed;
		for (char c : line.substr(at))
			if (c != ' ' || squeezed.back() != ' ')
				squeezed += c;
		return squeezed;
	}
	return "";
}

TEST(table, says_what_happened)
{
	kvmbox_stats st{};
	st.simulated_ps = 2500 * ms;
	st.host_ns = 10000000000;
	st.host_guest_ns = 5000000000;
	st.host_stolen_ns = 500000000;
	st.host_exits_ns = 3500000000;
	st.host_kvm_ns = 3000000000;
	st.host_simulator_ns = 1000000000;
	st.exits = st.entries = 1234567;
	st.exits_mmio = 1234000;
	st.exits_hlt = 567;
	st.slices = 1000;
	st.slices_access = 750;
	st.slices_timer = 250;
	st.transports = 750;
	st.transport_errors = 2;
	st.dma_bytes = 3 << 19;
	overshoot(st, 0, 3);
	overshoot(st, 21 * us);
	const std::string t = table(st);

	EXPECT_EQ(line_of(t, "simulated time"), "simulated time 2.500 s real-time factor 0.25");
	EXPECT_EQ(line_of(t, "host time"), "host time 10.00 s");
	EXPECT_EQ(line_of(t, "guest"), "guest 5.000 s 50.0 % ############");
	EXPECT_EQ(line_of(t, "stolen"), "stolen by the host 500.0 ms 5.0 % #");
	EXPECT_EQ(line_of(t, "exits: KVM"), "exits: KVM 3.000 s 30.0 % #######");
	EXPECT_EQ(line_of(t, "exits: box"), "exits: box 500.0 ms 5.0 % #");
	EXPECT_EQ(line_of(t, "simulator "), "simulator 1.000 s 10.0 % ##");
	EXPECT_EQ(line_of(t, "exits "), "exits 1,234,567 2.835 us of host time each");
	EXPECT_EQ(line_of(t, "memory access"), "memory access 1,234,000 100.0 % ########################");
	EXPECT_EQ(line_of(t, "HLT"), "HLT 567 0.0 %");
	EXPECT_EQ(line_of(t, "slices"), "slices 1,000 2.500 ms of simulated time each");
	EXPECT_EQ(line_of(t, "access to a function"), "access to a function 750 75.0 % ##################");
	EXPECT_EQ(line_of(t, "kicked slices"), "kicked slices 4");
	EXPECT_EQ(line_of(t, "overshoot"), "overshoot: median 0 ps, 99 % within 21.00 us, longest 21.00 us");
	EXPECT_EQ(line_of(t, "none"), "none 3 75.0 % ##################");
	EXPECT_EQ(line_of(t, "below 100 us"), "below 100 us 1 25.0 % ######");
	EXPECT_EQ(line_of(t, "accesses to functions"), "accesses to functions 750");
	EXPECT_EQ(line_of(t, "failed"), "failed 2");
	EXPECT_EQ(line_of(t, "DMA"), "DMA 1.5 MiB");
	for (const char *absent : { "idle", "port access", "kick ", "quantum", "stalls", "NMIs", "MSIs", "below 1 ms", "10 s" })
		EXPECT_EQ(line_of(t, absent), "") << absent;
}

TEST(table, of_nothing)
{
	const std::string t = table(kvmbox_stats{});

	EXPECT_EQ(line_of(t, "simulated time"), "simulated time 0 ps");
	EXPECT_EQ(line_of(t, "kicked"), "");
	EXPECT_EQ(t.find("nan"), std::string::npos) << t;
	EXPECT_EQ(t.find("inf"), std::string::npos) << t;
}

// Whatever the numbers, also those that no run has: columns stay where they are, in 80 of them.
TEST(table, keeps_its_columns)
{
	for (uint64_t n : { uint64_t(1), uint64_t(999949), uint64_t(1000000), uint64_t(999999999999) }) {
		kvmbox_stats st;
		uint64_t *field = reinterpret_cast<uint64_t *>(&st);
		for (size_t i = 0; i < sizeof(st) / sizeof(*field); i++)
			field[i] = n;
		const std::string t = table(st);
		std::istringstream lines(t);
		std::string line;
		while (std::getline(lines, line)) {
			EXPECT_LE(line.size(), 80u) << line;
			EXPECT_TRUE(line.size() < 40 || line[39] != ' ' || line.find("overshoot:") != std::string::npos) << line;
		}
		for (const char *present : { "idle", "interrupt window", "end of the run", "NMIs", "below 1 ns", "10 s and more" })
			EXPECT_NE(line_of(t, present), "") << present;
	}
}

TEST(table, rounds_times_to_the_unit_that_suits_them)
{
	const std::pair<uint64_t, const char *> cases[] = {
		{ 1, "1 ps" }, { 999, "999 ps" }, { 1000, "1.000 ns" }, { 9999, "9.999 ns" }, { 10000, "10.00 ns" },
		{ 999900, "999.9 ns" }, { 999999, "1.000 us" }, { 86400 * s, "86400 s" },
	};
	for (auto &c : cases) {
		kvmbox_stats st{};
		st.simulated_ps = c.first;
		EXPECT_EQ(line_of(table(st), "simulated time"), std::string("simulated time ") + c.second);
	}
}

// ---- JSON ------------------------------------------------------------------------------------------------------------

// Every field by name: what programs rely on.
#define FIELDS(f)                                                                                                        \
	f(guest_ps) f(simulated_ps) f(host_ns) f(host_guest_ns) f(host_stolen_ns) f(host_exits_ns)                      \
	f(host_simulator_ns) f(host_idle_ns)                                                                           \
	f(host_kvm_ns) f(entries) f(exits) f(exits_mmio) f(exits_pio) f(exits_hlt) f(exits_kick) f(exits_window) f(exits_msr) f(exits_step) f(exits_assist) \
	f(exits_other) f(slices) f(slices_quantum) f(slices_timer) f(slices_event) f(slices_access) f(slices_halt)      \
	f(slices_end) f(stalls) f(yields) f(assists_syscall) f(assists_fault) f(assists_int) f(assists_xsave) \
	f(assists_system) f(assists_integer) f(assists_native) f(assists_undefined) f(steps) f(interrupts) f(nmis) f(msis) f(transports) f(transport_errors) f(dma_bytes)  \
	f(dma_errors) f(unassigned) f(overshoot_max_ps)

struct json : testing::Test {
	std::string path;
	kvmbox_error err{};
	std::shared_ptr<json_t> o;

	void SetUp() override
	{
		char p[] = "/tmp/kvmbox_stats_XXXXXX";
		const int fd = mkstemp(p);
		ASSERT_GE(fd, 0);
		close(fd);
		path = p;
	}
	void TearDown() override { unlink(path.c_str()); }
	void round_trip(const kvmbox_stats &st)
	{
		json_error_t e;
		ASSERT_EQ(kvmbox_stats_write_json(&st, path.c_str(), &err), 0) << err.msg;
		o.reset(json_load_file(path.c_str(), JSON_REJECT_DUPLICATES, &e), json_decref);
		ASSERT_TRUE(o) << e.text;
	}
	json_t *get(const char *name) const { return json_object_get(o.get(), name); }
	uint64_t integer(const char *name) const
	{
		EXPECT_TRUE(json_is_integer(get(name))) << name;
		return uint64_t(json_integer_value(get(name)));
	}
};

TEST_F(json, has_every_field_to_the_last_digit)
{
	kvmbox_stats st{};
	uint64_t n = (1ull << 53) + 1;
#define FILL(name) st.name = n += 1234567890123457;
	FIELDS(FILL)
	st.overshoot[0] = (1ull << 53) + 1;
	st.overshoot[KVMBOX_OVERSHOOT_BUCKETS - 1] = 2;
	round_trip(st);
#define CHECK(name) EXPECT_EQ(integer(#name), st.name);
	FIELDS(CHECK)
#define COUNT(name) +1
	const size_t fields = 0 FIELDS(COUNT);
	EXPECT_EQ((fields + KVMBOX_OVERSHOOT_BUCKETS) * sizeof(uint64_t), sizeof(st)) << "a field is missing in this test";
	EXPECT_EQ(json_object_size(o.get()), fields + 6);
	EXPECT_TRUE(json_is_string(get("version")));
	EXPECT_DOUBLE_EQ(json_real_value(get("real_time_factor")), kvmbox_real_time_factor(&st));
	EXPECT_EQ(integer("overshoots"), (1ull << 53) + 3);
}

TEST_F(json, histogram)
{
	kvmbox_stats st{};
	overshoot(st, 0, 90);
	overshoot(st, 21 * us, 9);
	overshoot(st, 11 * s);
	round_trip(st);
	EXPECT_EQ(integer("overshoots"), 100u);
	EXPECT_EQ(integer("overshoot_median_ps"), 0u);
	EXPECT_EQ(integer("overshoot_p99_ps"), 25 * us);
	EXPECT_EQ(integer("overshoot_max_ps"), 11 * s);
	json_t *a = get("overshoot");
	ASSERT_EQ(json_array_size(a), 3u);
	const std::pair<uint64_t, uint64_t> want[] = { { 1, 90 }, { 25 * us, 9 }, { 0, 1 } };
	for (size_t i = 0; i < 3; i++) {
		json_t *below = json_object_get(json_array_get(a, i), "below_ps");
		EXPECT_EQ(uint64_t(json_integer_value(below)), want[i].first);
		EXPECT_EQ(json_is_null(below), i == 2);
		EXPECT_EQ(uint64_t(json_integer_value(json_object_get(json_array_get(a, i), "count"))), want[i].second);
	}
}

TEST_F(json, of_nothing)
{
	round_trip(kvmbox_stats{});
	EXPECT_EQ(integer("exits"), 0u);
	EXPECT_EQ(json_real_value(get("real_time_factor")), 0.0);
	EXPECT_EQ(json_array_size(get("overshoot")), 0u);
}

TEST_F(json, above_int64_is_rounded_not_wrong)
{
	kvmbox_stats st{};
	st.guest_ps = INT64_MAX;
	st.simulated_ps = UINT64_MAX;
	round_trip(st);
	EXPECT_EQ(integer("guest_ps"), uint64_t(INT64_MAX));
	ASSERT_TRUE(json_is_real(get("simulated_ps")));
	EXPECT_DOUBLE_EQ(json_real_value(get("simulated_ps")), 18446744073709551615.0);
}

TEST_F(json, replaces_what_was_there)
{
	std::ofstream(path) << std::string(100000, 'x');
	round_trip(kvmbox_stats{});
}

TEST_F(json, failures_name_the_path)
{
	const kvmbox_stats st{};
	const std::pair<const char *, int> cases[] = {
		{ "/nonexistent/stats.json", -ENOENT }, { "/tmp", -EISDIR }, { "/dev/full", -ENOSPC }, { "", -ENOENT },
	};
	for (auto &c : cases) {
		EXPECT_EQ(kvmbox_stats_write_json(&st, c.first, &err), c.second) << c.first;
		EXPECT_NE(strstr(err.msg, c.first), nullptr) << err.msg;
		EXPECT_NE(strstr(err.msg, strerror(-c.second)), nullptr) << err.msg;
		EXPECT_EQ(kvmbox_stats_write_json(&st, c.first, nullptr), c.second);
	}
}

} // namespace
