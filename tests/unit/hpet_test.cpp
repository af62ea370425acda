// devices/hpet.h: counter, comparators and their interrupts, on the 10 ns grid.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <tuple>
#include <vector>

extern "C" {
#include "devices/hpet.h"
}

namespace {

enum : unsigned { CAP = 0, CONF = 0x10, STATUS = 0x20, COUNTER = 0xf0 };
constexpr unsigned tconf(unsigned n) { return 0x100 + 0x20 * n; }
constexpr unsigned comp(unsigned n) { return 0x108 + 0x20 * n; }
constexpr unsigned fsb(unsigned n) { return 0x110 + 0x20 * n; }
enum : uint32_t {
	LEVEL = 1 << 1, ENB = 1 << 2, PERIODIC = 1 << 3, SETVAL = 1 << 6, MODE32 = 1 << 8, FSB = 1 << 14,
	ROUTE20 = 20 << 9, ROUTE21 = 21 << 9,
};
constexpr uint64_t tick_ps = 10000;

// A change of a wire, by tick: pins 0-31 are I/O APIC inputs, 100 and 101 the legacy ones.
using edge = std::tuple<uint64_t, int, bool>;

class hpet : public testing::Test {
protected:
	kb_bus mem;
	kb_timers q;
	kb_hpet_config cfg{};
	kb_hpet *h = nullptr;
	kvmbox_error err{};
	std::vector<edge> log;
	std::vector<std::tuple<uint64_t, uint64_t, uint32_t>> messages;

	void SetUp() override
	{
		kb_bus_init(&mem, "memory", (1ull << 52) - 1);
		kb_timers_init(&q);
		cfg.mem = &mem;
		cfg.timers = &q;
		cfg.routes = 0xf00000;
		cfg.opaque = this;
		cfg.input = on_line;
		cfg.msi = [](void *o, uint64_t addr, uint32_t data) {
			self(o)->messages.emplace_back(self(o)->now(), addr, data);
		};
		for (int i = 0; i < 2; i++)
			cfg.legacy[i] = {on_line, this, 100 + i, false};
		ASSERT_EQ(kb_hpet_create(&h, &cfg, &err), 0) << err.msg;
	}
	void TearDown() override
	{
		kb_hpet_destroy(h);
		EXPECT_EQ(mem.count, 0u);
		EXPECT_EQ(q.head, nullptr);
		kb_bus_destroy(&mem);
	}
	static hpet *self(void *o) { return static_cast<hpet *>(o); }
	static void on_line(void *o, int pin, bool on) { self(o)->log.emplace_back(self(o)->now(), pin, on); }
	uint64_t now() { return kb_timers_now(&q) / tick_ps; }
	uint64_t rd(unsigned off, size_t len = 8)
	{
		uint64_t v = 0;
		kb_bus_read(&mem, KB_HPET_BASE + off, &v, len);
		return v;
	}
	void wr(unsigned off, uint64_t v, size_t len = 8) { kb_bus_write(&mem, KB_HPET_BASE + off, &v, len); }
	void to(uint64_t tick) { kb_timers_advance(&q, tick * tick_ps); }
	// Fires timer by timer, as the run loop of a sleeping guest does.
	void walk_to(uint64_t tick)
	{
		while (kb_timers_next(&q) <= tick * tick_ps)
			kb_timers_advance(&q, std::max(kb_timers_next(&q), kb_timers_now(&q)));
		to(tick);
	}
	std::vector<edge> take()
	{
		std::vector<edge> l;
		l.swap(log);
		return l;
	}
	std::vector<uint64_t> rises()
	{
		std::vector<uint64_t> t;
		for (auto [when, pin, on] : take())
			if (on)
				t.push_back(when);
		return t;
	}
	void start() { wr(CONF, 1); }
};

TEST_F(hpet, capabilities_and_reset_state)
{
	uint64_t cap = rd(CAP);
	EXPECT_EQ(cap >> 32, 10000000u) << "femtoseconds: 100 MHz";
	EXPECT_EQ(cap & 0xff, 1u);
	EXPECT_EQ(cap >> 8 & 0x1f, 3u) << "four comparators";
	EXPECT_TRUE(cap & 1 << 13) << "64 bits";
	EXPECT_TRUE(cap & 1 << 15) << "legacy replacement";
	EXPECT_EQ(cap >> 16 & 0xffff, 0x8086u);
	wr(CAP, 0);
	EXPECT_EQ(rd(CAP), cap);
	EXPECT_EQ(rd(CONF), 0u);
	EXPECT_EQ(rd(COUNTER), 0u);
	for (unsigned n = 0; n < 4; n++) {
		EXPECT_EQ(rd(tconf(n)), 0x00f0000000008030u) << "routes, FSB, 64 bits, periodic";
		EXPECT_EQ(rd(comp(n)), UINT64_MAX);
		EXPECT_EQ(rd(fsb(n)), 0u);
	}
	EXPECT_EQ(rd(tconf(4)), 0u);
	EXPECT_EQ(rd(0x3f8), 0u);
	to(1000);
	EXPECT_EQ(rd(COUNTER), 0u) << "halted";
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
}

TEST_F(hpet, counter_runs_halts_and_is_written)
{
	to(7);
	start();
	EXPECT_EQ(rd(COUNTER), 0u);
	to(12);
	EXPECT_EQ(rd(COUNTER), 5u);
	kb_timers_advance(&q, 13 * tick_ps - 1);
	EXPECT_EQ(rd(COUNTER), 5u) << "floor";
	kb_timers_advance(&q, 13 * tick_ps);
	EXPECT_EQ(rd(COUNTER), 6u);
	wr(CONF, 0);
	to(100);
	EXPECT_EQ(rd(COUNTER), 6u);
	wr(COUNTER, 0xfffffffffffffff0);
	EXPECT_EQ(rd(COUNTER), 0xfffffffffffffff0u);
	start();
	to(117);
	EXPECT_EQ(rd(COUNTER), 1u) << "wraps";
	wr(COUNTER + 4, 0x12345678, 4);
	EXPECT_EQ(rd(COUNTER), 0x1234567800000001u);
	wr(COUNTER, 0xfffffffe, 4);
	to(120);
	EXPECT_EQ(rd(COUNTER + 4, 4), 0x12345679u);
	EXPECT_EQ(rd(COUNTER, 4), 1u);
	EXPECT_EQ(rd(COUNTER + 5, 1), 0x56u);
	kb_hpet_reset(h);
	EXPECT_EQ(rd(COUNTER), 0u);
}

TEST_F(hpet, narrow_writes_are_ignored)
{
	wr(CONF, 3, 1);
	wr(CONF, 3, 2);
	wr(CONF + 4, 3, 4);
	EXPECT_EQ(rd(CONF), 0u);
	wr(CONF, ~0ull, 4);
	EXPECT_EQ(rd(CONF), 3u);
}

TEST_F(hpet, one_shot_is_exact)
{
	wr(tconf(2), ENB | ROUTE20);
	wr(comp(2), 5000);
	start();
	to(4999);
	EXPECT_TRUE(log.empty());
	EXPECT_EQ(kb_timers_next(&q), 5000 * tick_ps);
	to(100000);
	EXPECT_EQ(take(), (std::vector<edge>{{5000, 20, true}, {5000, 20, false}}));
	EXPECT_EQ(rd(comp(2)), 5000u);
	EXPECT_EQ(rd(STATUS), 0u) << "edge-triggered: no status";
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER) << "5800 years";
}

TEST_F(hpet, a_comparator_behind_the_counter_waits_for_the_wrap)
{
	start();
	to(5000);
	wr(tconf(0), ENB | ROUTE20 | MODE32);
	wr(comp(0), 5000); // there already
	EXPECT_EQ(kb_timers_next(&q), ((1ull << 32) + 5000) * tick_ps);
	wr(comp(0), 4999);
	EXPECT_EQ(kb_timers_next(&q), ((1ull << 32) + 4999) * tick_ps);
	walk_to(3ull << 32);
	EXPECT_EQ(rises(), (std::vector<uint64_t>{(1ull << 32) + 4999, (2ull << 32) + 4999})) << "once per wrap";
}

TEST_F(hpet, mode32_ignores_the_upper_half)
{
	wr(COUNTER, 0x7fffffff0);
	wr(tconf(1), ENB | ROUTE21 | MODE32);
	wr(comp(1), 0xabcdef0000000010);
	EXPECT_EQ(rd(comp(1)), 0x10u);
	start();
	walk_to(1000);
	EXPECT_EQ(take(), (std::vector<edge>{{0x20, 21, true}, {0x20, 21, false}}));
	wr(comp(1), 5, 4);
	wr(comp(1) + 4, 5, 4);
	EXPECT_EQ(rd(comp(1)), 5u);
}

TEST_F(hpet, periodic_stays_on_its_grid)
{
	start();
	to(100);
	wr(tconf(0), ENB | PERIODIC | SETVAL | ROUTE20);
	wr(comp(0), 1100);
	wr(comp(0), 333);
	EXPECT_EQ(rd(tconf(0)) & SETVAL, 0u) << "clears itself";
	EXPECT_EQ(rd(comp(0)), 1100u);
	walk_to(1100 + 333 * 1000);
	auto t = rises();
	ASSERT_EQ(t.size(), 1001u);
	for (size_t i = 0; i < t.size(); i++)
		ASSERT_EQ(t[i], 1100 + 333 * i);
	EXPECT_EQ(rd(comp(0)), 1100u + 333 * 1001) << "the accumulator";
}

TEST_F(hpet, set_value_by_halves)
{
	wr(tconf(0), PERIODIC | SETVAL);
	wr(comp(0), 0x11111111, 4);
	wr(comp(0) + 4, 0x22, 4);
	EXPECT_EQ(rd(comp(0)), 0x2211111111u) << "both halves of one value";
	wr(comp(0), 7, 4);
	wr(comp(0) + 4, 0, 4);
	EXPECT_EQ(rd(comp(0)), 0x2211111111u) << "now the period";
	wr(tconf(0), PERIODIC);
	wr(comp(0), 9);
	EXPECT_EQ(rd(comp(0)), 0x2211111111u);
	wr(tconf(0), SETVAL);
	EXPECT_EQ(rd(tconf(0)) & SETVAL, 0u) << "for periodic comparators only";
	wr(comp(0), 9);
	EXPECT_EQ(rd(comp(0)), 9u);
}

TEST_F(hpet, long_jump_is_one_edge)
{
	wr(tconf(0), ENB | PERIODIC | SETVAL | ROUTE20);
	wr(comp(0), 1000);
	start();
	to(1000ull * 1000 * 1000 + 500);
	EXPECT_EQ(rises(), (std::vector<uint64_t>{1000}));
	EXPECT_EQ(kb_timers_next(&q), (1000ull * 1000 * 1000 + 1000) * tick_ps) << "on the grid";
	EXPECT_EQ(rd(comp(0)), 1000ull * 1000 * 1000 + 1000);
}

// A guest that asks for an interrupt every 10 ns gets one per microsecond.
TEST_F(hpet, fastest_period_is_bounded)
{
	wr(tconf(0), ENB | PERIODIC | SETVAL | ROUTE20);
	wr(comp(0), 1);
	start();
	walk_to(1000);
	auto t = rises();
	ASSERT_EQ(t.size(), 10u);
	for (size_t i = 1; i < t.size(); i++)
		EXPECT_EQ(t[i] - t[i - 1], KB_HPET_MIN_PS / tick_ps);
	to(1050);
	EXPECT_EQ(rd(comp(0)), 1051u) << "what the counter says is not bounded";
	wr(tconf(0), ENB | PERIODIC | FSB);
	walk_to(2000);
	EXPECT_LE(messages.size(), 10u);
	EXPECT_GE(messages.size(), 9u);
}

TEST_F(hpet, period_zero_is_a_one_shot)
{
	wr(tconf(0), ENB | PERIODIC | SETVAL | ROUTE20);
	wr(comp(0), 50);
	wr(comp(0), 0);
	start();
	walk_to(1000000);
	EXPECT_EQ(rises(), (std::vector<uint64_t>{50}));
	EXPECT_EQ(rd(comp(0)), 50u);
}

TEST_F(hpet, level_stays_until_cleared)
{
	wr(tconf(1), ENB | LEVEL | PERIODIC | SETVAL | ROUTE21);
	wr(comp(1), 200);
	start();
	walk_to(450);
	EXPECT_EQ(take(), (std::vector<edge>{{200, 21, true}})) << "the second match changes nothing";
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER) << "nor does it cut a slice";
	EXPECT_EQ(rd(STATUS), 2u);
	wr(STATUS, 1); // another one's
	EXPECT_EQ(rd(STATUS), 2u);
	wr(STATUS, 2);
	EXPECT_EQ(take(), (std::vector<edge>{{450, 21, false}}));
	EXPECT_EQ(rd(STATUS), 0u);
	walk_to(600);
	EXPECT_EQ(take(), (std::vector<edge>{{600, 21, true}}));
	wr(CONF, 0);
	EXPECT_EQ(take(), (std::vector<edge>{{600, 21, false}})) << "all interrupts are off";
	start();
	EXPECT_EQ(take(), (std::vector<edge>{{600, 21, true}}));
	wr(tconf(1), ENB | ROUTE21);
	EXPECT_EQ(take(), (std::vector<edge>{{600, 21, false}}));
	EXPECT_EQ(rd(STATUS), 0u);
}

TEST_F(hpet, status_without_interrupt)
{
	wr(tconf(3), LEVEL | ROUTE20);
	wr(comp(3), 100);
	start();
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
	to(99);
	EXPECT_EQ(rd(STATUS), 0u);
	to(100);
	EXPECT_EQ(rd(STATUS), 8u);
	EXPECT_TRUE(log.empty());
	wr(tconf(3), LEVEL | ENB | ROUTE20);
	EXPECT_EQ(take(), (std::vector<edge>{{100, 20, true}}));
}

TEST_F(hpet, two_comparators_share_an_input)
{
	for (unsigned n = 0; n < 2; n++) {
		wr(tconf(n), ENB | LEVEL | ROUTE20);
		wr(comp(n), 100 + 100 * n);
	}
	start();
	walk_to(300);
	wr(STATUS, 1);
	EXPECT_EQ(take(), (std::vector<edge>{{100, 20, true}})) << "the other one still asserts it";
	wr(STATUS, 2);
	EXPECT_EQ(take(), (std::vector<edge>{{300, 20, false}}));
}

TEST_F(hpet, only_offered_routes_are_taken)
{
	wr(tconf(0), ROUTE20);
	wr(tconf(0), 5 << 9);
	EXPECT_EQ(rd(tconf(0)) >> 9 & 0x1f, 20u);
	wr(tconf(0), 23 << 9);
	EXPECT_EQ(rd(tconf(0)) >> 9 & 0x1f, 23u);
	// Never routed: an interrupt to nowhere.
	wr(tconf(1), ENB);
	wr(comp(1), 10);
	start();
	walk_to(100);
	EXPECT_TRUE(log.empty());
}

TEST_F(hpet, messages)
{
	wr(tconf(0), ENB | FSB | LEVEL | PERIODIC | SETVAL);
	wr(comp(0), 1000);
	wr(fsb(0), 0x0000004d, 4);
	wr(fsb(0) + 4, 0xfee00000, 4);
	EXPECT_EQ(rd(fsb(0)), 0xfee000000000004du);
	start();
	walk_to(3000);
	ASSERT_EQ(messages.size(), 3u);
	EXPECT_EQ(messages[2], std::make_tuple(uint64_t{3000}, uint64_t{0xfee00000}, uint32_t{0x4d}));
	EXPECT_TRUE(log.empty());
	EXPECT_EQ(rd(STATUS), 0u);
}

TEST_F(hpet, legacy_replacement)
{
	kb_hpet_legacy_in(h, 0, true);
	kb_hpet_legacy_in(h, 1, true);
	EXPECT_EQ(take(), (std::vector<edge>{{0, 100, true}, {0, 101, true}})) << "PIT and RTC pass";
	wr(CONF, 2);
	EXPECT_TRUE(log.empty()) << "not while halted";
	wr(CONF, 3);
	EXPECT_EQ(take(), (std::vector<edge>{{0, 100, false}, {0, 101, false}}));
	kb_hpet_legacy_in(h, 0, false);
	kb_hpet_legacy_in(h, 0, true);
	EXPECT_TRUE(log.empty()) << "cut off";
	wr(tconf(0), ENB | ROUTE20);
	wr(comp(0), 100);
	wr(tconf(1), ENB | LEVEL);
	wr(comp(1), 200);
	wr(tconf(2), ENB | ROUTE20);
	wr(comp(2), 300);
	walk_to(400);
	EXPECT_EQ(take(), (std::vector<edge>{{100, 100, true}, {100, 100, false}, {200, 101, true}, {300, 20, true}, {300, 20, false}}))
		<< "0 and 1 whatever their route says";
	wr(STATUS, 2);
	kb_hpet_legacy_in(h, 0, false);
	take();
	wr(CONF, 1);
	EXPECT_EQ(take(), (std::vector<edge>{{400, 101, true}})) << "the RTC's again";
}

TEST_F(hpet, disabling_forgets_what_is_owed)
{
	wr(tconf(0), ENB | PERIODIC | SETVAL | ROUTE20);
	wr(comp(0), 10);
	start();
	walk_to(50); // the next edge is held back
	EXPECT_EQ(rises().size(), 1u);
	wr(tconf(0), PERIODIC | SETVAL | ROUTE20);
	wr(comp(0), 1500);
	walk_to(1000);
	EXPECT_TRUE(log.empty());
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
	wr(tconf(0), ENB | PERIODIC | ROUTE20);
	walk_to(1600);
	EXPECT_EQ(rises(), (std::vector<uint64_t>{1500}));
}

TEST_F(hpet, halting_keeps_the_distance)
{
	wr(tconf(0), ENB | ROUTE20);
	wr(comp(0), 1000);
	wr(tconf(1), ENB | ROUTE21);
	wr(comp(1), 0); // behind the counter
	start();
	to(400);
	wr(CONF, 0);
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
	to(5000);
	wr(comp(1), 350);
	start();
	walk_to(10000);
	EXPECT_EQ(rises(), (std::vector<uint64_t>{5600})) << "350 is past, whatever passed while it was halted";
}

TEST_F(hpet, create_leaves_nothing_on_failure)
{
	kb_hpet *second = nullptr;
	EXPECT_EQ(kb_hpet_create(&second, &cfg, &err), -EEXIST);
	EXPECT_EQ(second, nullptr);
	EXPECT_EQ(mem.count, 1u);
	kb_hpet_destroy(nullptr);
}

TEST_F(hpet, end_of_time)
{
	start();
	kb_timers_advance(&q, UINT64_MAX - 1);
	wr(tconf(0), ENB | ROUTE20 | PERIODIC | SETVAL);
	wr(comp(0), UINT64_MAX - 1);
	wr(comp(0), UINT64_MAX);
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
	EXPECT_EQ(rd(COUNTER), (UINT64_MAX - 1) / tick_ps);
}

// Whatever is written: registers stay sane, and no step of time costs more than a handful of edges.
TEST_F(hpet, hostile)
{
	std::mt19937_64 rng(5);
	size_t worst = 0;
	for (int i = 0; i < 300000; i++) {
		uint64_t r = rng(), v = rng() >> rng() % 64;
		unsigned off = static_cast<unsigned>(r >> 16) % 0x180;
		size_t len = 1 + (r >> 8) % 8;
		if (r & 1)
			off = (off & ~7u) + (r & 64 ? 4 : 0);
		if (r & 2)
			len = 4;
		if (r & 4)
			kb_bus_write(&mem, KB_HPET_BASE + off, &v, len);
		else
			kb_bus_read(&mem, KB_HPET_BASE + off, &v, len);
		if (r & 8)
			kb_hpet_legacy_in(h, static_cast<int>(r >> 4) & 1, r >> 5 & 1);
		log.clear();
		messages.clear();
		kb_timers_advance(&q, q.now_ps + (rng() & 0xffffffffffull) % (1ull << rng() % 40));
		worst = std::max(worst, log.size() + messages.size());
		ASSERT_LE(log.size() + messages.size(), 2u * 4 + 2);
		ASSERT_EQ(rd(CONF) & ~3ull, 0u);
		ASSERT_EQ(rd(STATUS) & ~15ull, 0u);
	}
	EXPECT_GT(worst, 0u);
	start();
	wr(CONF, 0);
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
}

// The lazy comparator against one that looks at every tick.
TEST_F(hpet, matches_are_those_of_a_tick_by_tick_model)
{
	std::mt19937 rng(8);
	for (int round = 0; round < 200; round++) {
		bool per = rng() % 2;
		uint64_t period = 100 + rng() % 400, first = 1 + rng() % 500, value = first;
		wr(CONF, 0);
		wr(COUNTER, 0);
		wr(tconf(0), ENB | ROUTE20 | (per ? PERIODIC | SETVAL : 0u));
		wr(comp(0), first);
		if (per)
			wr(comp(0), period);
		uint64_t t0 = now();
		start();
		std::vector<uint64_t> expected;
		for (uint64_t c = 1; c <= 3000; c++)
			if (c == value) {
				expected.push_back(t0 + c);
				if (per)
					value += period;
			}
		take();
		// Steps of any size, with reads between.
		for (uint64_t t = t0; t < t0 + 3000;) {
			t = std::min(t + 1 + rng() % 60, t0 + 3000);
			walk_to(t);
			ASSERT_EQ(rd(COUNTER), t - t0);
			rd(comp(0));
		}
		ASSERT_EQ(rises(), expected) << (per ? "periodic " : "one-shot ") << first << " " << period;
		to(now() + 1000);
	}
}

} // namespace
