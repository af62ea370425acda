// devices/pit.h: the 8254 against its datasheet, in clock ticks.
#include <gtest/gtest.h>

#include <cerrno>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "devices/pit.h"
}

namespace {

using edges = std::vector<std::pair<uint64_t, bool>>;

class pit : public testing::Test {
protected:
	kb_bus io;
	kb_timers q;
	kvmbox_error err{};
	kb_pit *p = nullptr;
	edges log; // of OUT0, by tick

	static void on_irq(void *o, int, bool level)
	{
		auto *t = static_cast<pit *>(o);
		t->log.push_back({kb_ps_to_ticks(kb_timers_now(&t->q), KB_PIT_HZ), level});
	}
	void SetUp() override
	{
		kb_bus_init(&io, "port", 0xffff);
		kb_timers_init(&q);
		kb_pit_config cfg{};
		cfg.io = &io;
		cfg.timers = &q;
		cfg.irq.set = on_irq;
		cfg.irq.opaque = this;
		ASSERT_EQ(kb_pit_create(&p, &cfg, &err), 0) << err.msg;
	}
	void TearDown() override
	{
		kb_pit_destroy(p);
		EXPECT_EQ(io.count, 0u);
		EXPECT_EQ(q.head, nullptr);
		kb_bus_destroy(&io);
	}
	void out(uint16_t port, uint8_t v) { kb_bus_write(&io, port, &v, 1); }
	uint8_t in(uint16_t port)
	{
		uint8_t v = 0;
		kb_bus_read(&io, port, &v, 1);
		return v;
	}
	void to(uint64_t tick) { kb_timers_advance(&q, kb_ticks_to_ps(tick, KB_PIT_HZ)); }
	uint64_t now() { return kb_ps_to_ticks(kb_timers_now(&q), KB_PIT_HZ); }
	// Counter n, access LSB then MSB.
	void program(int n, int mode, uint16_t count, bool bcd = false)
	{
		out(0x43, static_cast<uint8_t>(n << 6 | 0x30 | mode << 1 | bcd));
		count_of(n, count);
	}
	void count_of(int n, uint16_t count)
	{
		out(static_cast<uint16_t>(0x40 + n), count & 0xff);
		out(static_cast<uint16_t>(0x40 + n), static_cast<uint8_t>(count >> 8));
	}
	uint16_t value(int n)
	{
		out(0x43, static_cast<uint8_t>(n << 6));
		return both(n);
	}
	uint16_t both(int n)
	{
		uint16_t v = in(static_cast<uint16_t>(0x40 + n));
		return static_cast<uint16_t>(v | in(static_cast<uint16_t>(0x40 + n)) << 8);
	}
	uint8_t status(int n)
	{
		out(0x43, static_cast<uint8_t>(0xe0 | 2 << n));
		return in(static_cast<uint16_t>(0x40 + n));
	}
	bool out2() { return in(0x61) & 0x20; }
	// OUT2 and the count over the next ticks, as "level count level count ...".
	std::string trace2(int ticks)
	{
		std::string s;
		for (int i = 0; i < ticks; i++) {
			s += (out2() ? "H" : "L") + std::to_string(value(2)) + " ";
			to(now() + 1);
		}
		return s;
	}
};

TEST_F(pit, reset_state)
{
	EXPECT_TRUE(log.empty());
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
	EXPECT_EQ(in(0x61), 0);
	EXPECT_EQ(in(0x43), 0xff);
	for (int n = 0; n < 3; n++)
		EXPECT_EQ(status(n), 0x70) << "mode 0, both bytes, no count";
	program(0, 2, 100);
	out(0x61, 3);
	EXPECT_NE(kb_timers_next(&q), KB_TIME_NEVER);
	kb_pit_reset(p);
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
	EXPECT_EQ(status(0), 0x70);
	EXPECT_EQ(in(0x61), 0);
	EXPECT_EQ(log, (edges{{0, true}, {0, false}}));
}

TEST_F(pit, create_refuses_taken_ports_and_leaves_nothing)
{
	kb_pit *second = nullptr;
	kb_pit_config cfg{};
	cfg.io = &io;
	cfg.timers = &q;
	EXPECT_EQ(kb_pit_create(&second, &cfg, &err), -EEXIST);
	EXPECT_EQ(second, nullptr);
	EXPECT_EQ(io.count, 2u);
	kb_pit_destroy(nullptr);
}

TEST_F(pit, mode0_rises_n_plus_1_ticks_after_the_count)
{
	to(1000);
	program(0, 0, 4);
	EXPECT_TRUE(log.empty());
	to(2000);
	EXPECT_EQ(log, (edges{{1005, true}}));
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
	count_of(0, 3);
	to(3000);
	EXPECT_EQ(log, (edges{{1005, true}, {2000, false}, {2004, true}}));
}

TEST_F(pit, mode0_counts_wraps_and_obeys_the_gate)
{
	out(0x61, 1);
	program(2, 0, 3);
	to(1);
	EXPECT_EQ(trace2(6), "L3 L2 L1 H0 H65535 H65534 ");
	program(2, 0, 4);
	to(now() + 1);
	EXPECT_EQ(trace2(2), "L4 L3 ");
	out(0x61, 0);
	EXPECT_EQ(trace2(3), "L2 L2 L2 ");
	out(0x61, 1);
	EXPECT_EQ(trace2(3), "L2 L1 H0 ");
	// The count is loaded with the gate low, too.
	out(0x61, 0);
	count_of(2, 9);
	to(now() + 1);
	EXPECT_EQ(trace2(2), "L9 L9 ");
}

TEST_F(pit, mode0_first_byte_stops_the_count)
{
	out(0x61, 1);
	program(2, 0, 3);
	to(10);
	EXPECT_TRUE(out2());
	out(0x42, 5);
	EXPECT_FALSE(out2());
	to(2000);
	EXPECT_FALSE(out2());
	out(0x42, 0);
	to(2005);
	EXPECT_FALSE(out2());
	to(2006);
	EXPECT_TRUE(out2());
}

TEST_F(pit, mode1_one_shot)
{
	program(2, 1, 3);
	to(10);
	EXPECT_TRUE(out2());
	EXPECT_EQ(status(2) & 0x40, 0x40) << "not loaded before the trigger";
	out(0x61, 1);
	EXPECT_TRUE(out2());
	to(11);
	EXPECT_EQ(trace2(2), "L3 L2 ");
	out(0x61, 0); // neither this
	count_of(2, 7); // nor a new count touches the pulse
	EXPECT_EQ(trace2(3), "L1 H0 H65535 ");
	out(0x61, 1);
	to(now() + 1);
	EXPECT_EQ(trace2(2), "L7 L6 ");
	out(0x61, 0);
	out(0x61, 1); // retriggered
	EXPECT_EQ(trace2(3), "L5 L7 L6 ");
}

TEST_F(pit, mode1_without_a_count_ignores_triggers)
{
	out(0x43, 0xb2);
	out(0x61, 1);
	to(5);
	EXPECT_TRUE(out2());
	EXPECT_EQ(status(2), 0xf2);
}

TEST_F(pit, mode2_rate_generator)
{
	out(0x61, 1);
	program(2, 2, 3);
	EXPECT_TRUE(out2());
	to(1);
	EXPECT_EQ(trace2(7), "H3 H2 L1 H3 H2 L1 H3 ");
	out(0x61, 0);
	EXPECT_EQ(trace2(2), "H2 H2 ");
	out(0x61, 1);
	EXPECT_EQ(trace2(4), "H2 H3 H2 L1 ");
}

TEST_F(pit, mode2_gate_raises_out_at_once)
{
	out(0x61, 1);
	program(2, 2, 3);
	to(3);
	EXPECT_FALSE(out2());
	out(0x61, 0);
	EXPECT_TRUE(out2());
}

TEST_F(pit, mode2_new_count_waits_for_the_end_of_the_period)
{
	out(0x61, 1);
	program(2, 2, 4);
	to(2);
	count_of(2, 2);
	EXPECT_EQ(status(2) & 0x40, 0x40);
	EXPECT_EQ(trace2(6), "H3 H2 L1 H2 L1 H2 ");
	EXPECT_EQ(status(2) & 0x40, 0);
	count_of(2, 5);
	out(0x61, 0);
	out(0x61, 1); // the trigger loads it now
	count_of(2, 5); // and writing it again does not take that back
	to(now() + 1);
	EXPECT_EQ(trace2(2), "H5 H4 ");
}

TEST_F(pit, mode2_half_a_count_is_not_loaded)
{
	out(0x61, 1);
	program(2, 2, 3);
	to(2);
	out(0x42, 0x11);
	EXPECT_EQ(trace2(4), "H2 L1 H3 H2 ");
	out(0x42, 0x01);
	EXPECT_EQ(trace2(2), "L1 H273 ");
}

TEST_F(pit, mode3_square_wave)
{
	out(0x61, 1);
	program(2, 3, 4);
	to(1);
	EXPECT_EQ(trace2(6), "H4 H2 L4 L2 H4 H2 ");
	program(2, 3, 5);
	to(now() + 1);
	EXPECT_EQ(trace2(7), "H4 H2 H0 L4 L2 H4 H2 ");
}

TEST_F(pit, mode3_new_count_at_the_end_of_the_half)
{
	out(0x61, 1);
	program(2, 3, 6);
	to(2);
	count_of(2, 4); // in the high half: the low half is of the new count
	EXPECT_EQ(trace2(7), "H4 H2 L4 L2 H4 H2 L4 ");
	count_of(2, 8); // in the low half
	EXPECT_EQ(trace2(4), "L2 H8 H6 H4 ");
}

TEST_F(pit, mode4_software_strobe)
{
	out(0x61, 1);
	program(2, 4, 2);
	EXPECT_TRUE(out2());
	to(1);
	EXPECT_EQ(trace2(5), "H2 H1 L0 H65535 H65534 ");
	count_of(2, 3);
	to(now() + 1);
	out(0x61, 0);
	EXPECT_EQ(trace2(2), "H3 H3 ");
	out(0x61, 1);
	EXPECT_EQ(trace2(3), "H3 H2 H1 ");
	EXPECT_FALSE(out2());
	out(0x61, 0);
	EXPECT_FALSE(out2()) << "the gate does not touch OUT";
	to(now() + 1);
	EXPECT_TRUE(out2()) << "nor stretches the strobe";
}

TEST_F(pit, mode4_strobe_on_the_line)
{
	program(0, 4, 10);
	to(100000);
	EXPECT_EQ(log, (edges{{0, true}, {11, false}, {12, true}}));
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER) << "once per count";
}

TEST_F(pit, mode5_hardware_strobe)
{
	program(2, 5, 2);
	to(10);
	EXPECT_TRUE(out2());
	out(0x61, 1);
	to(11);
	EXPECT_EQ(trace2(4), "H2 H1 L0 H65535 ");
}

TEST_F(pit, periodic_edges_stay_on_the_grid)
{
	program(0, 2, 1000);
	for (uint64_t ms = 1; ms <= 1000; ms++)
		kb_timers_advance(&q, ms * 777 * KB_PS_PER_US);
	uint64_t rises = 0;
	for (auto &e : log) {
		if (e.first == 0)
			continue;
		EXPECT_EQ(e.first % 1000, e.second ? 1u : 0u);
		if (e.second) {
			rises++;
			EXPECT_EQ(e.first, rises * 1000 + 1) << "none lost, none moved";
		}
	}
	EXPECT_EQ(rises, (now() - 1) / 1000);
}

TEST_F(pit, irq_time_is_exact)
{
	program(0, 3, 0); // 65536, as firmware leaves it: 18.2 Hz
	to(1);
	const uint64_t year = 200ull * 86400 * 18;
	kb_timers_advance(&q, kb_ticks_to_ps(1 + year * 65536, KB_PIT_HZ) - 1);
	log.clear();
	kb_timers_advance(&q, kb_timers_now(&q) + 1);
	EXPECT_EQ(log, (edges{{1 + year * 65536, true}}));
}

TEST_F(pit, long_jump_costs_a_handful_of_edges_but_has_one)
{
	for (int mode : {2, 3}) {
		for (uint16_t count : {1, 2, 3, 100, 0}) {
			program(0, mode, count);
			uint64_t n = count ? (count == 1 ? 2 : count) : 65536;
			to(now() + 1);
			uint64_t start = now();
			for (uint64_t skip : {0u, 1u, 2u, 3u}) {
				// From each phase of the wave, to each other one.
				log.clear();
				to(now() + skip);
				log.clear();
				kb_timers_advance(&q, kb_timers_now(&q) + 10 * KB_PS_PER_S + skip * 1000000);
				bool rise = false;
				for (auto &e : log)
					rise |= e.second;
				EXPECT_TRUE(rise) << mode << " " << count << " " << skip;
				EXPECT_LE(log.size(), 6u);
				for (auto &e : log) {
					uint64_t pos = (e.first - start) % n;
					uint64_t low = mode == 2 ? n - 1 : (n + 1) / 2;
					EXPECT_EQ(pos, e.second ? 0 : low);
				}
				EXPECT_EQ(status(0) >> 7, log.back().second);
				EXPECT_GT(kb_timers_next(&q), kb_timers_now(&q));
			}
		}
	}
}

TEST_F(pit, a_reload_inside_a_long_jump)
{
	program(0, 2, 1000);
	to(500);
	count_of(0, 50);
	log.clear();
	to(1000 + 1 + 500000);
	ASSERT_FALSE(log.empty());
	EXPECT_EQ(log[0], (std::pair<uint64_t, bool>{1000, false}));
	for (size_t i = 1; i < log.size(); i++)
		EXPECT_EQ((log[i].first - 1001) % 50, log[i].second ? 0u : 49u);
	EXPECT_GE(log.size(), 4u);
	EXPECT_LE(log.size(), 8u);
}

TEST_F(pit, counter_latch_holds_until_read)
{
	out(0x61, 1);
	program(2, 2, 0x1234);
	to(1);
	out(0x43, 0x80);
	to(100);
	out(0x43, 0x80); // ignored: the first is still unread
	EXPECT_EQ(in(0x42), 0x34);
	to(200);
	EXPECT_EQ(in(0x42), 0x12);
	EXPECT_EQ(both(2), 0x1234 - 199) << "live again";
	out(0x43, 0x80);
	program(2, 2, 0x2000);
	to(201);
	EXPECT_EQ(both(2), 0x2000) << "programming drops the latch";
}

TEST_F(pit, byte_access)
{
	out(0x61, 1);
	out(0x43, 0x94); // counter 2, LSB only, mode 2
	out(0x42, 0x80);
	to(1);
	EXPECT_EQ(in(0x42), 0x80);
	EXPECT_EQ(in(0x42), 0x80);
	out(0x43, 0xa4); // MSB only
	out(0x42, 0x80);
	to(2);
	EXPECT_EQ(in(0x42), 0x80);
	to(3);
	EXPECT_EQ(in(0x42), 0x7f);
	out(0x43, 0x80);
	EXPECT_EQ(in(0x42), 0x7f);
	to(3 + 0x100);
	EXPECT_EQ(in(0x42), 0x7e) << "one byte releases the latch";
}

TEST_F(pit, read_and_write_flip_flops_are_separate)
{
	out(0x61, 1);
	program(2, 2, 0x3344);
	to(1);
	EXPECT_EQ(in(0x42), 0x44);
	out(0x42, 0x66);
	EXPECT_EQ(in(0x42), 0x33);
	out(0x42, 0x55);
	to(1 + 0x3344);
	EXPECT_EQ(value(2), 0x5566);
}

TEST_F(pit, read_back)
{
	out(0x61, 1);
	program(0, 2, 0x100);
	program(2, 3, 0x200);
	EXPECT_EQ(status(2), 0xf6) << "OUT high, null count, mode 3";
	to(1);
	EXPECT_EQ(status(2), 0xb6);
	to(0x101);
	EXPECT_EQ(status(2), 0x36) << "low half";
	out(0x43, 0xca); // counts and status of 0 and 2
	to(0x150);
	EXPECT_EQ(in(0x40), 0xb4) << "status first";
	EXPECT_EQ(both(0), 0x100);
	EXPECT_EQ(in(0x42), 0x36);
	EXPECT_EQ(both(2), 0x200);
	out(0x43, 0xd8); // counts only, of 1 and 2: nothing yet in 1
	to(0x160);
	EXPECT_EQ(both(1), 0);
	EXPECT_EQ(both(2), 0x200 - 2 * 0x4f);
	out(0x43, 0xf8); // neither
	EXPECT_EQ(both(2), 0x200 - 2 * 0x5f);
}

TEST_F(pit, status_gives_the_mode_as_written)
{
	out(0x43, 0xbf);
	EXPECT_EQ(status(2), 0xff);
	count_of(2, 0x0100);
	out(0x61, 1);
	to(1);
	EXPECT_EQ(value(2), 0x0100) << "mode 7 is mode 3, in BCD";
	to(2);
	EXPECT_EQ(value(2), 0x0098);
}

TEST_F(pit, bcd)
{
	out(0x61, 1);
	program(2, 0, 0x1001, true);
	to(3);
	EXPECT_EQ(value(2), 0x0999);
	to(1 + 1001);
	EXPECT_TRUE(out2());
	EXPECT_EQ(value(2), 0);
	to(2 + 1001);
	EXPECT_EQ(value(2), 0x9999);
	program(2, 2, 0, true);
	uint64_t t = now() + 1;
	to(t);
	EXPECT_EQ(value(2), 0) << "10000";
	to(t + 1);
	EXPECT_EQ(value(2), 0x9999);
	to(t + 9999);
	EXPECT_FALSE(out2());
	program(2, 2, 0xffff, true);
	to(now() + 1);
	value(2);
}

TEST_F(pit, port61)
{
	out(0x61, 0xff);
	EXPECT_EQ(in(0x61) & 0xcf, 0x0f);
	out(0x61, 0x02);
	EXPECT_EQ(in(0x61), 0x02);
	to(18);
	EXPECT_EQ(in(0x61), 0x12) << "refresh toggles every 18 ticks, 15 us";
	to(35);
	EXPECT_EQ(in(0x61), 0x12);
	to(36);
	EXPECT_EQ(in(0x61), 0x02);
}

TEST_F(pit, tsc_calibration_loop_of_linux_works)
{
	// 50 ms in mode 0 on counter 2, polled through port 0x61.
	out(0x61, 1);
	program(2, 0, 59659);
	uint64_t us = 0;
	while (!out2())
		kb_timers_advance(&q, ++us * KB_PS_PER_US);
	EXPECT_EQ(us, 50001u);
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER) << "counter 2 needs no timer";
}

TEST_F(pit, hostile)
{
	std::mt19937 rng(1);
	uint64_t t = 0;
	for (int i = 0; i < 400000; i++) {
		uint32_t r = rng();
		uint16_t port = static_cast<uint16_t>((r >> 8) % 5 == 4 ? 0x61 : 0x40 + (r >> 8) % 5);
		uint8_t v = static_cast<uint8_t>(r >> 16);
		switch (r % 4) {
		case 0:
			in(port);
			break;
		case 1:
			t += r % 16 == 1 ? static_cast<uint64_t>(r) * 10000 : r >> 12;
			kb_timers_advance(&q, t);
			break;
		default:
			out(port, v & (r & 8 ? 3 : 0xff));
		}
		ASSERT_GT(kb_timers_next(&q), kb_timers_now(&q));
	}
	// The line agrees with the status whatever happened.
	to(now() + 1);
	out(0x43, 0x34);
	bool level = log.back().second;
	EXPECT_TRUE(level) << "mode 2 starts high";
	kb_timers_advance(&q, UINT64_MAX);
	program(0, 2, 1);
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER) << "the end of time";
	in(0x61);
}

TEST_F(pit, the_line_always_shows_out0)
{
	std::mt19937 rng(2);
	bool level = false;
	for (int i = 0; i < 100000; i++) {
		uint32_t r = rng();
		if (r % 8 == 0)
			out(0x43, static_cast<uint8_t>(0x30 | (r >> 8 & 0x0f)));
		else if (r % 8 < 3)
			out(0x40, r >> 8 & 7 ? 0 : 3);
		else
			to(now() + (r >> 8) % 9);
		for (; !log.empty(); log.clear())
			level = log.back().second;
		ASSERT_EQ(status(0) >> 7, level) << i;
		if (r >> 31)
			to(now() + 70000 + (r >> 8) % 70000);
		for (; !log.empty(); log.clear())
			level = log.back().second;
		ASSERT_EQ(status(0) >> 7, level) << i;
	}
}

} // namespace
