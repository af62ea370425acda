// devices/rtc.h: the MC146818A on simulated time.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "devices/rtc.h"
}

namespace {

constexpr uint64_t S = KB_PS_PER_S, US = KB_PS_PER_US;

class rtc : public testing::Test {
protected:
	kb_bus io;
	kb_timers q;
	kvmbox_error err{};
	kb_rtc *r = nullptr;
	bool irq = false;
	std::vector<uint64_t> rises;

	static void on_irq(void *o, int, bool level)
	{
		auto *t = static_cast<rtc *>(o);
		t->irq = level;
		if (level)
			t->rises.push_back(kb_timers_now(&t->q));
	}
	void SetUp() override
	{
		kb_bus_init(&io, "port", 0xffff);
		kb_timers_init(&q);
		start("2024-02-28T23:59:50");
	}
	void TearDown() override
	{
		kb_rtc_destroy(r);
		EXPECT_EQ(io.count, 0u);
		EXPECT_EQ(q.head, nullptr);
		kb_bus_destroy(&io);
	}
	void start(const char *date, uint64_t below = 0, uint64_t above = 0)
	{
		kb_rtc_config cfg{};
		kb_rtc_destroy(r);
		r = nullptr;
		cfg.io = &io;
		cfg.timers = &q;
		cfg.irq.set = on_irq;
		cfg.irq.opaque = this;
		cfg.ram_below_4g = below;
		cfg.ram_above_4g = above;
		ASSERT_EQ(kb_rtc_parse_date(date, &cfg.start_unix_s, &err), 0) << err.msg;
		ASSERT_EQ(kb_rtc_create(&r, &cfg, &err), 0) << err.msg;
	}
	void port(uint16_t p, uint8_t v) { kb_bus_write(&io, p, &v, 1); }
	uint8_t get(uint8_t reg)
	{
		uint8_t v = 0;
		port(0x70, reg);
		kb_bus_read(&io, 0x71, &v, 1);
		return v;
	}
	void set(uint8_t reg, uint8_t v)
	{
		port(0x70, reg);
		port(0x71, v);
	}
	void to(uint64_t ps) { kb_timers_advance(&q, ps); }
	uint64_t now() { return kb_timers_now(&q); }
	// All in hex: readable as it is in BCD.
	std::string time()
	{
		char s[64];
		snprintf(s, sizeof(s), "%02x%02x-%02x-%02x %02x:%02x:%02x/%x", get(0x32), get(9), get(8), get(7),
			 get(4), get(2), get(0), get(6));
		return s;
	}
};

TEST_F(rtc, starts_at_the_start_date)
{
	EXPECT_EQ(time(), "2024-02-28 23:59:50/4");
	EXPECT_EQ(get(0x0a), 0x26);
	EXPECT_EQ(get(0x0b), 0x02);
	EXPECT_EQ(get(0x0c), 0x00);
	EXPECT_EQ(get(0x0d), 0x80);
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
}

TEST_F(rtc, follows_simulated_time)
{
	to(S - 1);
	EXPECT_EQ(time(), "2024-02-28 23:59:50/4");
	to(S);
	EXPECT_EQ(time(), "2024-02-28 23:59:51/4");
	to(10 * S);
	EXPECT_EQ(time(), "2024-02-29 00:00:00/5") << "leap day";
	to((10 + 86400) * S);
	EXPECT_EQ(time(), "2024-03-01 00:00:00/6");
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER) << "no interrupt, no timer";
}

TEST_F(rtc, created_late_counts_from_time_0)
{
	to(25 * S);
	start("2024-01-01");
	EXPECT_EQ(time(), "2024-01-01 00:00:25/2");
	EXPECT_EQ(get(0x0c), 0);
}

TEST_F(rtc, centuries_and_leap_years)
{
	struct { const char *start, *after; } cases[] = {
		{"1999-12-31T23:59:59", "2000-01-01 00:00:00/7"},
		{"2000-02-28T23:59:59", "2000-02-29 00:00:00/3"},
		{"2023-02-28T23:59:59", "2023-03-01 00:00:00/4"},
		{"2100-02-28T23:59:59", "2100-03-01 00:00:00/2"},
		{"2199-12-31T23:59:59", "2200-01-01 00:00:00/4"},
		{"9999-12-31T23:59:59", "0000-01-01 00:00:00/7"},
	};
	uint64_t t = 0;
	for (auto &c : cases) {
		start(c.start);
		// start() counts from time 0: take back what has passed.
		set(0x0b, 0x82);
		set(0, 0x59), set(2, 0x59), set(4, 0x23);
		std::string date = c.start;
		auto bcd = [&](size_t at) {
			return static_cast<uint8_t>((date[at] - '0') << 4 | (date[at + 1] - '0'));
		};
		set(0x32, bcd(0)), set(9, bcd(2)), set(8, bcd(5)), set(7, bcd(8));
		set(6, static_cast<uint8_t>((c.after[20] - '0' + 5) % 7 + 1));
		set(0x0b, 0x02);
		to(++t * S);
		EXPECT_EQ(time(), c.after);
	}
}

TEST_F(rtc, agrees_with_the_calendar_of_the_c_library)
{
	std::mt19937_64 rng(1);
	kb_rtc_destroy(r);
	for (int i = 0; i < 2000; i++) {
		kb_rtc_config cfg{};
		cfg.io = &io;
		cfg.timers = &q;
		cfg.start_unix_s = static_cast<int64_t>(rng() % 300000000000ull) - 60000000000ll;
		to(now() + rng() % (5000 * S));
		ASSERT_EQ(kb_rtc_create(&r, &cfg, &err), 0) << err.msg;
		to(now() + rng() % (5000 * S));
		time_t want = static_cast<time_t>(cfg.start_unix_s + static_cast<int64_t>(now() / S));
		struct tm tm;
		ASSERT_NE(gmtime_r(&want, &tm), nullptr);
		char s[128];
		snprintf(s, sizeof(s), "%04d-%02d-%02d %02d:%02d:%02d/%d", tm.tm_year + 1900, tm.tm_mon + 1,
			 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, tm.tm_wday + 1);
		ASSERT_EQ(time(), s);
		kb_rtc_destroy(r);
	}
	r = nullptr;
}

TEST_F(rtc, refuses_a_start_date_it_cannot_show)
{
	kb_bus other;
	kb_bus_init(&other, "port", 0xffff);
	for (int64_t bad : {INT64_MIN, int64_t(-62167219201), int64_t(253402300800), INT64_MAX}) {
		kb_rtc_config cfg{};
		kb_rtc *out = nullptr;
		cfg.io = &other;
		cfg.timers = &q;
		cfg.start_unix_s = bad;
		EXPECT_EQ(kb_rtc_create(&out, &cfg, &err), -EINVAL);
		EXPECT_EQ(out, nullptr);
		EXPECT_EQ(other.count, 0u);
	}
	kb_bus_destroy(&other);
	kb_rtc_config cfg{};
	kb_rtc *out = nullptr;
	cfg.io = &io;
	cfg.timers = &q;
	EXPECT_EQ(kb_rtc_create(&out, &cfg, &err), -EEXIST);
	EXPECT_EQ(io.count, 1u);
	kb_rtc_destroy(nullptr);
}

TEST_F(rtc, binary_and_12_hours)
{
	set(0x0b, 0x86); // SET, binary, 24 h
	set(0, 58), set(2, 59), set(4, 11), set(7, 31), set(8, 12), set(9, 99), set(0x32, 20), set(6, 7);
	set(0x0b, 0x06);
	to(S);
	EXPECT_EQ(get(0), 59);
	EXPECT_EQ(get(4), 11);
	to(2 * S);
	EXPECT_EQ(get(4), 12);
	EXPECT_EQ(get(2), 0);
	to((2 + 12 * 3600) * S);
	EXPECT_EQ(get(4), 0);
	EXPECT_EQ(get(7), 1);
	EXPECT_EQ(get(8), 1);
	EXPECT_EQ(get(9), 0);
	EXPECT_EQ(get(0x32), 21);
	EXPECT_EQ(get(6), 1) << "after Saturday comes Sunday";

	set(0x0b, 0x80); // BCD, 12 h
	set(0, 0x59), set(2, 0x59), set(4, 0x91); // 11 PM
	set(0x0b, 0x00);
	to(now() + S);
	EXPECT_EQ(get(4), 0x12) << "midnight is 12 AM";
	set(0x0b, 0x80);
	set(0, 0x59), set(2, 0x59), set(4, 0x11); // 11 AM
	set(0x0b, 0x00);
	to(now() + S);
	EXPECT_EQ(get(4), 0x92) << "noon is 12 PM";
	to(now() + 3600 * S);
	EXPECT_EQ(get(4), 0x81);
	set(0x0b, 0x04); // binary, 12 h: what the registers hold is taken as it is
	set(4, 0x80 | 11);
	to(now() + 3600 * S);
	EXPECT_EQ(get(4), 12);
}

TEST_F(rtc, eleven_pm_in_bcd)
{
	set(0x0b, 0x80);
	set(0, 0x59), set(2, 0x59), set(4, 0x80 | 0x11), set(7, 0x30), set(8, 0x04);
	set(0x0b, 0);
	to(S);
	EXPECT_EQ(get(4), 0x12);
	EXPECT_EQ(get(7), 0x01);
	EXPECT_EQ(get(8), 0x05);
}

TEST_F(rtc, set_stops_the_time_but_not_the_divider)
{
	to(S / 2);
	set(0x0b, 0x82);
	to(5 * S + S / 4);
	EXPECT_EQ(get(0), 0x50);
	EXPECT_EQ(get(0x0a) & 0x80, 0);
	set(0x0b, 0x02);
	EXPECT_EQ(get(0), 0x50);
	to(6 * S - 1);
	EXPECT_EQ(get(0), 0x50);
	to(6 * S);
	EXPECT_EQ(get(0), 0x51);
}

TEST_F(rtc, set_clears_uie)
{
	set(0x0b, 0x12);
	EXPECT_EQ(kb_timers_next(&q), S);
	set(0x0b, 0x92);
	EXPECT_EQ(get(0x0b), 0x82);
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
}

TEST_F(rtc, writes_without_set_keep_what_is_written_until_it_rolls_over)
{
	set(7, 0x31); // 31 February, on the way to 31 March
	to(S);
	EXPECT_EQ(get(7), 0x31);
	set(8, 0x03);
	to(10 * S);
	EXPECT_EQ(time(), "2024-04-01 00:00:00/5");
	set(0, 0xff);
	EXPECT_EQ(get(0), 0x7f) << "bit 7 of the seconds is read-only";
}

TEST_F(rtc, update_in_progress_244_us_before)
{
	to(S - 244 * US - 1);
	EXPECT_EQ(get(0x0a), 0x26);
	to(S - 244 * US);
	EXPECT_EQ(get(0x0a), 0xa6);
	to(S - 1);
	EXPECT_EQ(get(0x0a), 0xa6);
	EXPECT_EQ(get(0), 0x50);
	to(S);
	EXPECT_EQ(get(0x0a), 0x26);
	EXPECT_EQ(get(0), 0x51);
	to(2 * S - 1);
	set(0x0b, 0x82);
	EXPECT_EQ(get(0x0a), 0x26) << "SET clears it";
}

TEST_F(rtc, divider_reset_and_release)
{
	to(S / 4);
	set(0x0a, 0x76);
	EXPECT_EQ(get(0x0c), 0x40);
	to(10 * S);
	EXPECT_EQ(get(0), 0x50) << "held";
	EXPECT_EQ(get(0x0c), 0);
	to(10 * S + 12345);
	set(0x0a, 0x26);
	to(10 * S + 12345 + S / 2 - 1);
	EXPECT_EQ(get(0), 0x50);
	EXPECT_EQ(get(0x0a) & 0x80, 0x80);
	to(10 * S + 12345 + S / 2);
	EXPECT_EQ(get(0), 0x51) << "the first update 500 ms after the release";
	to(10 * S + 12345 + S / 2 + S);
	EXPECT_EQ(get(0), 0x52);
}

TEST_F(rtc, update_ended_interrupt)
{
	set(0x0b, 0x12);
	to(S - 1);
	EXPECT_FALSE(irq);
	to(S);
	EXPECT_TRUE(irq);
	to(5 * S);
	EXPECT_EQ(rises.size(), 1u) << "pending until C is read";
	EXPECT_EQ(get(0x0c) & ~0x40, 0x90);
	EXPECT_FALSE(irq);
	EXPECT_EQ(get(0x0c), 0);
	to(6 * S);
	EXPECT_EQ(rises, (std::vector<uint64_t>{S, 6 * S}));
}

TEST_F(rtc, flags_are_right_without_interrupts)
{
	set(0x0a, 0x2f); // 2 Hz
	set(1, 0x52), set(3, 0xff), set(5, 0xff);
	to(S / 2 - 1);
	EXPECT_EQ(get(0x0c), 0);
	to(S / 2);
	EXPECT_EQ(get(0x0c), 0x40);
	EXPECT_EQ(get(0x0c), 0);
	to(S);
	EXPECT_EQ(get(0x0c), 0x50);
	to(2 * S);
	EXPECT_EQ(get(0x0c), 0x70) << "alarm at :52";
	to(3 * S);
	set(0x0b, 0x12);
	EXPECT_TRUE(irq) << "enabling an interrupt whose flag is up";
	set(0x0b, 0x02);
	EXPECT_FALSE(irq);
	EXPECT_EQ(get(0x0c), 0x50);
}

TEST_F(rtc, periodic_rates_are_exact)
{
	for (unsigned rs = 1; rs < 16; rs++) {
		uint64_t hz = rs < 3 ? 512u >> rs : 65536u >> rs;
		set(0x0a, static_cast<uint8_t>(0x20 | rs));
		get(0x0c);
		rises.clear();
		uint64_t begin = now() / S;
		set(0x0b, 0x42);
		for (uint64_t i = 1; i <= hz; i++) {
			kb_timers_advance(&q, kb_timers_next(&q));
			ASSERT_TRUE(irq);
			// The k-th edge of the second, rounded up to a picosecond: no drift.
			ASSERT_EQ(now(), begin * S + (i * S + hz - 1) / hz) << rs;
			ASSERT_EQ(get(0x0c) & 0xc0, 0xc0);
		}
		EXPECT_EQ(rises.size(), hz);
		EXPECT_EQ(now(), (begin + 1) * S);
		set(0x0b, 0x02);
	}
	set(0x0a, 0x20);
	get(0x0c);
	set(0x0b, 0x42);
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER) << "rate 0: none";
	to(now() + 2 * S);
	EXPECT_EQ(get(0x0c), 0x10);
}

TEST_F(rtc, a_long_jump_costs_one_interrupt)
{
	set(0x0a, 0x23);
	set(0x0b, 0x72);
	set(1, 0xc0), set(3, 0xff), set(5, 0xff);
	to(1000000 * S);
	EXPECT_EQ(rises.size(), 1u);
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
	EXPECT_EQ(get(0x0c), 0xf0);
	EXPECT_NE(kb_timers_next(&q), KB_TIME_NEVER);
}

TEST_F(rtc, alarm)
{
	set(1, 0x03), set(3, 0x00), set(5, 0x00);
	set(0x0b, 0x22);
	EXPECT_EQ(kb_timers_next(&q), 13 * S);
	to(13 * S);
	EXPECT_TRUE(irq);
	EXPECT_EQ(get(0x0c) & 0xb0, 0xb0);
	EXPECT_EQ(kb_timers_next(&q), (13 + 86400) * S) << "again tomorrow";
}

TEST_F(rtc, alarm_dont_care_codes)
{
	struct { uint8_t s, m, h; uint64_t delay; } cases[] = {
		{0xff, 0xff, 0xff, 1},
		{0xc0, 0xc0, 0xc0, 1},
		{0x50, 0xff, 0xff, 60},
		{0x51, 0xff, 0xff, 1},
		{0x00, 0x30, 0xff, 10 + 1800},
		{0x00, 0x59, 0xff, 10 + 59 * 60},
		{0xff, 0x59, 0x23, 1},
		{0xff, 0x58, 0x23, 10 + 23 * 3600 + 58 * 60},
		{0x50, 0x59, 0x23, 86400},
		{0x49, 0x59, 0x23, 86399},
		{0x00, 0xff, 0x05, 10 + 5 * 3600},
	};
	for (auto &c : cases) {
		set(1, c.s), set(3, c.m), set(5, c.h);
		set(0x0b, 0x22);
		EXPECT_EQ(kb_timers_next(&q), c.delay * S) << c.delay;
		set(0x0b, 0x02);
	}
}

TEST_F(rtc, alarm_codes_that_never_match)
{
	struct { uint8_t s, m, h; } cases[] = {
		{0x60, 0xff, 0xff}, {0x0a, 0xff, 0xff}, {0xff, 0x7f, 0xff}, {0xff, 0xff, 0x24}, {0xff, 0xff, 0x92},
	};
	for (auto &c : cases) {
		set(1, c.s), set(3, c.m), set(5, c.h);
		set(0x0b, 0x22);
		EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
	}
	to(100000 * S);
	EXPECT_EQ(get(0x0c) & 0x20, 0);
	EXPECT_FALSE(irq);
}

TEST_F(rtc, alarm_in_12_hours)
{
	set(0x0b, 0x80);
	set(0, 0), set(2, 0), set(4, 0x12); // midnight
	set(1, 0), set(3, 0), set(5, 0x91); // 11 PM
	set(0x0b, 0x20);
	EXPECT_EQ(kb_timers_next(&q), 23 * 3600 * S);
	set(5, 0x12); // 12 AM: now, so tomorrow
	EXPECT_EQ(kb_timers_next(&q), 86400 * S);
	set(5, 0x92);
	EXPECT_EQ(kb_timers_next(&q), 12 * 3600 * S);
	set(5, 0x80); // there is no hour 0
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
}

TEST_F(rtc, alarm_agrees_with_a_search)
{
	std::mt19937 rng(3);
	auto bcd = [](unsigned v) { return static_cast<uint8_t>(v / 10 << 4 | v % 10); };
	for (int i = 0; i < 300; i++) {
		unsigned t = rng() % 86400, h = rng() % 24, m = rng() % 60, s = rng() % 60, any = rng() % 8, d;
		set(0x0b, 0x82);
		set(0, bcd(t % 60)), set(2, bcd(t / 60 % 60)), set(4, bcd(t / 3600));
		set(1, any & 1 ? 0xff : bcd(s)), set(3, any & 2 ? 0xff : bcd(m)), set(5, any & 4 ? 0xff : bcd(h));
		set(0x0b, 0x22);
		for (d = 1; d <= 86400; d++) {
			unsigned x = (t + d) % 86400;
			if ((any & 1 || x % 60 == s) && (any & 2 || x / 60 % 60 == m) && (any & 4 || x / 3600 == h))
				break;
		}
		ASSERT_EQ(kb_timers_next(&q), d * S) << t << " " << h << ":" << m << ":" << s << " " << any;
	}
}

TEST_F(rtc, index_port_and_nmi_mask)
{
	EXPECT_FALSE(kb_rtc_nmi_masked(r));
	port(0x70, 0x8d);
	EXPECT_TRUE(kb_rtc_nmi_masked(r));
	uint8_t v = 0;
	kb_bus_read(&io, 0x71, &v, 1);
	EXPECT_EQ(v, 0x80) << "bit 7 is not part of the index";
	kb_bus_read(&io, 0x70, &v, 1);
	EXPECT_EQ(v, 0xff);
	port(0x70, 0x0d);
	EXPECT_FALSE(kb_rtc_nmi_masked(r));
}

TEST_F(rtc, ram_and_read_only_registers)
{
	for (unsigned reg = 0x0e; reg < 0x80; reg++)
		set(static_cast<uint8_t>(reg), static_cast<uint8_t>(reg * 3));
	for (unsigned reg = 0x0e; reg < 0x80; reg++)
		EXPECT_EQ(get(static_cast<uint8_t>(reg)), static_cast<uint8_t>(reg * 3));
	set(0x0c, 0xff);
	set(0x0d, 0x00);
	set(0x0a, 0xa6);
	EXPECT_EQ(get(0x0c), 0);
	EXPECT_EQ(get(0x0d), 0x80);
	EXPECT_EQ(get(0x0a), 0x26);
}

TEST_F(rtc, memory_size_cells)
{
	auto cell = [&](uint8_t at, int n) {
		uint64_t v = 0;
		for (int i = n; i-- > 0;)
			v = v << 8 | get(static_cast<uint8_t>(at + i));
		return v;
	};
	const uint64_t mib = 1 << 20;
	start("2024-01-01", 32 * mib, 0);
	EXPECT_EQ(cell(0x15, 2), 640u);
	EXPECT_EQ(cell(0x17, 2), 31u * 1024);
	EXPECT_EQ(cell(0x30, 2), 31u * 1024);
	EXPECT_EQ(cell(0x34, 2), 16u * 16);
	EXPECT_EQ(cell(0x5b, 3), 0u);
	start("2024-01-01", 3072 * mib, 5120 * mib);
	EXPECT_EQ(cell(0x17, 2), 65535u);
	EXPECT_EQ(cell(0x30, 2), 65535u);
	EXPECT_EQ(cell(0x34, 2), 3056u * 16);
	EXPECT_EQ(cell(0x5b, 3), 5120u * 16);
	start("2024-01-01", 512 * 1024, UINT64_MAX);
	EXPECT_EQ(cell(0x15, 2), 512u);
	EXPECT_EQ(cell(0x17, 2), 0u);
	EXPECT_EQ(cell(0x34, 2), 0u);
	EXPECT_EQ(cell(0x5b, 3), 0xffffffu);
}

TEST_F(rtc, reset_keeps_time_and_cmos)
{
	set(0x0a, 0x2f);
	set(0x0b, 0x7a);
	set(0x40, 0x55);
	port(0x70, 0x80);
	to(2 * S);
	EXPECT_TRUE(irq);
	kb_rtc_reset(r);
	EXPECT_FALSE(irq);
	EXPECT_FALSE(kb_rtc_nmi_masked(r));
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
	EXPECT_EQ(get(0x0b), 0x02);
	EXPECT_EQ(get(0x0c), 0);
	EXPECT_EQ(get(0x0a), 0x2f);
	EXPECT_EQ(get(0x40), 0x55);
	EXPECT_EQ(time(), "2024-02-28 23:59:52/4");
}

TEST(rtc_date, parses)
{
	struct { const char *text; int64_t want; } good[] = {
		{"1970-01-01T00:00:00", 0},
		{"1970-01-01", 0},
		{"1969-12-31T23:59:59", -1},
		{"2000-02-29", 951782400},
		{"2024-02-28T23:59:50", 1709164790},
		{"9999-12-31T23:59:59", 253402300799},
		{"0000-01-01", -62167219200},
	};
	for (auto &c : good) {
		int64_t t = 42;
		kvmbox_error err{};
		EXPECT_EQ(kb_rtc_parse_date(c.text, &t, &err), 0) << err.msg;
		EXPECT_EQ(t, c.want) << c.text;
	}
}

TEST(rtc_date, rejects)
{
	const char *bad[] = {
		"", "2024", "2024-1-1", "2024-01-01T", "2024-01-01T00:00", "2024-01-01 00:00:00",
		"2024-01-01T00:00:00Z", " 2024-01-01", "2024-01-01 ", "+024-01-01", "2024-01--1", "20240101",
		"2024-00-01", "2024-13-01", "2024-01-00", "2024-01-32", "2024-04-31", "2023-02-29", "1900-02-29",
		"2024-01-01T24:00:00", "2024-01-01T00:60:00", "2024-01-01T00:00:60", "2024-01-01T00:00:0a",
	};
	for (const char *text : bad) {
		int64_t t = 42;
		kvmbox_error err{};
		EXPECT_EQ(kb_rtc_parse_date(text, &t, &err), -EINVAL) << text;
		EXPECT_NE(strstr(err.msg, text), nullptr) << err.msg;
		EXPECT_EQ(t, 42);
	}
	EXPECT_EQ(kb_rtc_parse_date("x", nullptr, nullptr), -EINVAL);
}

TEST_F(rtc, hostile)
{
	std::mt19937 rng(1);
	uint64_t t = 0;
	for (int i = 0; i < 400000; i++) {
		uint32_t x = rng();
		uint8_t reg = static_cast<uint8_t>(x & 0x80 ? x >> 8 & 0x0f : x >> 8);
		switch (x % 4) {
		case 0:
			get(reg);
			break;
		case 1:
			t += x % 32 == 1 ? static_cast<uint64_t>(x >> 12) * S / 16 : x;
			kb_timers_advance(&q, t);
			break;
		default:
			set(reg, static_cast<uint8_t>(x >> 16));
		}
		ASSERT_GT(kb_timers_next(&q), kb_timers_now(&q));
		ASSERT_FALSE(irq && kb_timers_next(&q) != KB_TIME_NEVER);
	}
	// Set properly, it goes on as ever.
	set(0x0a, 0x26);
	set(0x0b, 0x82);
	set(0, 0x58), set(2, 0x59), set(4, 0x23), set(6, 7), set(7, 0x31), set(8, 0x12), set(9, 0x23), set(0x32, 0x20);
	set(0x0b, 0x02);
	to(now() + 2 * S);
	EXPECT_EQ(time().substr(0, 16), "2024-01-01 00:00");
	kb_timers_advance(&q, UINT64_MAX - 1);
	set(0x0a, 0x76);
	set(0x0a, 0x26);
	get(0x0c);
	set(0x0b, 0x72);
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER) << "the end of time";
	time();
}

} // namespace
