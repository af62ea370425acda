// devices/uart.h: the 16550A as the PC16550D data sheet has it.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "devices/uart.h"
}

namespace {

enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR, THR = RBR, FCR = IIR, DLL = RBR, DLM = IER };
constexpr uint8_t LOOP = 0x10, OUT2 = 0x08;
constexpr uint16_t BASE = 0x3f8;

class uart : public testing::Test {
protected:
	kb_bus io;
	kb_chardev *c = nullptr;
	kb_uart *u = nullptr;
	kvmbox_error err{};
	std::vector<bool> edges;
	bool irq = false;

	void SetUp() override
	{
		kb_bus_init(&io, "port", 0xffff);
		ASSERT_EQ(kb_chardev_create(&c, "memory", "COM1", nullptr, &err), 0) << err.msg;
		kb_uart_config cfg{};
		cfg.io = &io;
		cfg.port = BASE;
		cfg.irq.set = [](void *o, int, bool level) {
			auto *t = static_cast<uart *>(o);
			t->irq = level;
			t->edges.push_back(level);
		};
		cfg.irq.opaque = this;
		cfg.chardev = c;
		ASSERT_EQ(kb_uart_create(&u, &cfg, &err), 0) << err.msg;
		edges.clear();
	}
	void TearDown() override
	{
		kb_uart_destroy(u);
		kb_chardev_destroy(c);
		kb_bus_destroy(&io);
	}

	uint8_t in(unsigned reg)
	{
		uint8_t v = 0;
		kb_bus_read(&io, BASE + reg, &v, 1);
		return v;
	}
	void out(unsigned reg, uint8_t v) { kb_bus_write(&io, BASE + reg, &v, 1); }
	void feed(const std::string &s) { ASSERT_EQ(kb_chardev_feed(c, s.data(), s.size()), 0); }
	std::string sent()
	{
		const char *text;
		size_t n = kb_chardev_output(c, &text);
		return std::string(text, n);
	}
	std::string drain()
	{
		std::string s;
		while (in(LSR) & 1)
			s += static_cast<char>(in(RBR));
		return s;
	}
};

TEST_F(uart, reset_state)
{
	EXPECT_EQ(in(IER), 0);
	EXPECT_EQ(in(IIR), 0x01);
	EXPECT_EQ(in(LCR), 0);
	EXPECT_EQ(in(MCR), 0);
	EXPECT_EQ(in(LSR), 0x60);
	EXPECT_EQ(in(MSR), 0xb0); // CTS, DSR, DCD; no deltas
	EXPECT_FALSE(irq);
}

TEST_F(uart, reset_keeps_divisor_and_scratch_and_drops_the_rest)
{
	out(LCR, 0x83);
	out(DLL, 0x0c);
	out(DLM, 0x34);
	out(LCR, 0x03);
	out(SCR, 0x5a);
	out(FCR, 0x01);
	out(IER, 0x0f);
	out(MCR, OUT2);
	feed("abc");
	EXPECT_TRUE(kb_uart_poll(u));
	EXPECT_TRUE(irq);
	kb_uart_reset(u);
	EXPECT_FALSE(irq);
	EXPECT_EQ(in(IER), 0);
	EXPECT_EQ(in(IIR), 0x01);
	EXPECT_EQ(in(MCR), 0);
	EXPECT_EQ(in(LSR), 0x60);
	EXPECT_EQ(in(SCR), 0x5a);
	out(LCR, 0x80);
	EXPECT_EQ(in(DLL), 0x0c);
	EXPECT_EQ(in(DLM), 0x34);
}

TEST_F(uart, reserved_bits_read_as_zero)
{
	out(IER, 0xff);
	EXPECT_EQ(in(IER), 0x0f);
	out(IER, 0);
	out(MCR, 0xff);
	EXPECT_EQ(in(MCR), 0x1f);
	out(LCR, 0xff);
	EXPECT_EQ(in(LCR), 0xff);
	out(LSR, 0xff);
	EXPECT_EQ(in(LSR), 0x60);
	out(MCR, 0);
	in(MSR);
	out(MSR, 0xff);
	EXPECT_EQ(in(MSR), 0xb0);
}

TEST_F(uart, dlab_switches_the_first_two_ports)
{
	out(LCR, 0x80);
	out(DLL, 'x');
	out(DLM, 0x0f);
	EXPECT_EQ(sent(), "");
	EXPECT_EQ(in(DLL), 'x');
	out(LCR, 0x03);
	EXPECT_EQ(in(IER), 0);
	out(THR, 'y');
	EXPECT_EQ(sent(), "y");
	EXPECT_EQ(in(RBR), 0);
	out(LCR, 0x83);
	EXPECT_EQ(in(DLL), 'x');
	EXPECT_EQ(in(DLM), 0x0f);
}

TEST_F(uart, sixteen_bit_access_is_two_bytes)
{
	uint16_t v = 0x0c01;
	out(LCR, 0x80);
	kb_bus_write(&io, BASE, &v, 2);
	EXPECT_EQ(in(DLL), 0x01);
	EXPECT_EQ(in(DLM), 0x0c);
}

TEST_F(uart, transmits_whole_bytes_at_once)
{
	for (char ch : std::string("hello\xff"))
		out(THR, static_cast<uint8_t>(ch)); // LCR still says 5 bits: means nothing to the back end
	EXPECT_EQ(sent(), "hello\xff");
	EXPECT_EQ(in(LSR) & 0x60, 0x60);
}

TEST_F(uart, thre_interrupt_comes_with_enable_and_goes_with_iir_read)
{
	out(MCR, OUT2);
	EXPECT_FALSE(irq);
	out(IER, 0x02);
	EXPECT_TRUE(irq);
	EXPECT_EQ(in(IIR), 0x02);
	EXPECT_FALSE(irq);
	EXPECT_EQ(in(IIR), 0x01);
	out(IER, 0x02); // already set: no news
	EXPECT_EQ(in(IIR), 0x01);
	out(IER, 0x00);
	out(IER, 0x02);
	EXPECT_EQ(in(IIR), 0x02);
}

TEST_F(uart, each_thr_write_is_an_edge)
{
	out(MCR, OUT2);
	out(IER, 0x02);
	in(IIR);
	edges.clear();
	out(THR, 'a');
	EXPECT_EQ(edges, (std::vector<bool>{true}));
	out(THR, 'b'); // without reading IIR: clears, then raises
	EXPECT_EQ(edges, (std::vector<bool>{true, false, true}));
	EXPECT_EQ(in(IIR), 0x02);
	EXPECT_FALSE(irq);
}

TEST_F(uart, iir_read_clears_thre_only_if_it_is_reported)
{
	out(IER, 0x03);
	feed("a");
	kb_uart_poll(u);
	EXPECT_EQ(in(IIR), 0x04);
	EXPECT_EQ(in(RBR), 'a');
	EXPECT_EQ(in(IIR), 0x02);
	EXPECT_EQ(in(IIR), 0x01);
}

TEST_F(uart, out2_gates_the_pin)
{
	out(IER, 0x02);
	EXPECT_FALSE(irq);
	out(MCR, OUT2);
	EXPECT_TRUE(irq);
	out(MCR, 0);
	EXPECT_FALSE(irq);
	out(MCR, OUT2 | LOOP); // loopback forces the OUT2 pin inactive
	EXPECT_FALSE(irq);
	EXPECT_EQ(in(IIR), 0x02); // the part itself still reports it
}

TEST_F(uart, receives_one_character_without_fifo)
{
	out(MCR, OUT2);
	out(IER, 0x01);
	feed("ab");
	EXPECT_TRUE(kb_uart_poll(u));
	EXPECT_FALSE(kb_uart_poll(u)); // no room
	EXPECT_TRUE(irq);
	EXPECT_EQ(in(IIR), 0x04);
	EXPECT_EQ(in(LSR), 0x61);
	edges.clear();
	EXPECT_EQ(in(RBR), 'a');
	EXPECT_EQ(edges, (std::vector<bool>{false, true})); // 'b' follows at once, with an edge of its own
	EXPECT_EQ(in(RBR), 'b');
	EXPECT_FALSE(irq);
	EXPECT_EQ(in(LSR), 0x60);
	EXPECT_EQ(in(IIR), 0x01);
}

TEST_F(uart, fifo_holds_sixteen_and_never_overruns_from_the_back_end)
{
	std::string text = "0123456789abcdefghijklmnopqrstuvwxyz";
	out(FCR, 0xc1);
	out(IER, 0x05);
	feed(text);
	kb_uart_poll(u);
	EXPECT_EQ(in(IIR), 0xc4);
	std::string got;
	for (int i = 0; i < 16; i++) {
		EXPECT_EQ(in(LSR), 0x61);
		got += static_cast<char>(in(RBR));
	}
	EXPECT_EQ(got, text.substr(0, 16));
	EXPECT_EQ(got + drain(), text);
	EXPECT_EQ(in(LSR), 0x60);
}

TEST_F(uart, trigger_levels_and_timeout)
{
	const unsigned levels[] = {1, 4, 8, 14};
	out(MCR, OUT2);
	out(IER, 0x01);
	for (unsigned i = 0; i < 4; i++) {
		out(FCR, static_cast<uint8_t>(0x01 | i << 6));
		for (unsigned n = 1; n <= 16; n++) {
			feed("x");
			kb_uart_poll(u);
			EXPECT_EQ(in(IIR), n >= levels[i] ? 0xc4 : 0xcc) << levels[i] << " " << n;
			EXPECT_TRUE(irq);
		}
		for (unsigned n = 15; n > 0; n--) {
			in(RBR);
			EXPECT_EQ(in(IIR), n >= levels[i] ? 0xc4 : 0xcc) << levels[i] << " " << n;
		}
		in(RBR);
		EXPECT_EQ(in(IIR), 0xc1);
		EXPECT_FALSE(irq);
	}
}

TEST_F(uart, a_read_in_timeout_is_an_edge_and_above_the_trigger_is_not)
{
	out(MCR, OUT2);
	out(IER, 0x01);
	out(FCR, 0x41); // 4
	feed("123456");
	kb_uart_poll(u);
	edges.clear();
	in(RBR);
	in(RBR);
	EXPECT_TRUE(edges.empty()); // 4 left
	in(RBR);
	EXPECT_EQ(edges, (std::vector<bool>{false, true}));
	in(RBR);
	in(RBR);
	in(RBR);
	EXPECT_FALSE(irq);
}

TEST_F(uart, fcr_bits_need_the_enable_bit)
{
	out(FCR, 0xc0);
	EXPECT_EQ(in(IIR), 0x01);
	feed("a");
	kb_uart_poll(u);
	out(FCR, 0x02); // without FCR0: not programmed
	EXPECT_EQ(in(LSR) & 1, 1);
	out(FCR, 0x01); // mode change clears
	EXPECT_EQ(in(LSR) & 1, 0);
	EXPECT_EQ(in(IIR), 0xc1);
	feed("b");
	kb_uart_poll(u);
	out(FCR, 0x01); // no change
	EXPECT_EQ(in(LSR) & 1, 1);
	out(FCR, 0x03);
	EXPECT_EQ(in(LSR) & 1, 0);
	feed("c");
	kb_uart_poll(u);
	out(FCR, 0x05); // transmitter only
	EXPECT_EQ(in(LSR) & 1, 1);
	out(FCR, 0x00);
	EXPECT_EQ(in(LSR) & 1, 0);
	EXPECT_EQ(in(IIR), 0x01);
}

TEST_F(uart, fifo_reset_takes_what_the_back_end_holds)
{
	out(FCR, 0x01);
	feed("0123456789abcdefXYZ");
	kb_uart_poll(u);
	out(FCR, 0x03);
	EXPECT_EQ(drain(), "XYZ");
}

TEST_F(uart, receive_fifo_reset_drops_the_interrupt)
{
	out(MCR, OUT2);
	out(IER, 0x01);
	out(FCR, 0x01);
	feed("a");
	kb_uart_poll(u);
	EXPECT_TRUE(irq);
	out(FCR, 0x03);
	EXPECT_FALSE(irq);
}

TEST_F(uart, loopback_data_does_not_leave_and_input_does_not_enter)
{
	out(LCR, 0x03);
	out(MCR, LOOP);
	feed("z");
	EXPECT_FALSE(kb_uart_poll(u));
	out(THR, 0xa5);
	EXPECT_EQ(in(LSR), 0x61);
	EXPECT_EQ(in(RBR), 0xa5);
	EXPECT_EQ(in(LSR), 0x60);
	EXPECT_EQ(sent(), "");
	out(MCR, 0); // connected again: what waited comes in
	EXPECT_EQ(in(RBR), 'z');
}

TEST_F(uart, loopback_honours_the_word_length)
{
	out(MCR, LOOP);
	const uint8_t want[] = {0x1f, 0x3f, 0x7f, 0xff};
	for (uint8_t wls = 0; wls < 4; wls++) {
		out(LCR, wls);
		out(THR, 0xff);
		EXPECT_EQ(in(RBR), want[wls]);
	}
}

TEST_F(uart, loopback_overrun_without_fifo_destroys_the_previous_character)
{
	out(LCR, 0x03);
	out(MCR, LOOP);
	out(IER, 0x07);
	out(THR, 'a');
	EXPECT_EQ(in(IIR), 0x04);
	out(THR, 'b');
	EXPECT_EQ(in(IIR), 0x06);
	EXPECT_EQ(in(LSR), 0x63);
	EXPECT_EQ(in(LSR), 0x61); // OE gone with the read
	EXPECT_EQ(in(IIR), 0x04);
	EXPECT_EQ(in(RBR), 'b');
	EXPECT_EQ(in(IIR), 0x02);
}

TEST_F(uart, loopback_overrun_with_fifo_loses_the_new_character)
{
	out(LCR, 0x03);
	out(FCR, 0x01);
	out(MCR, LOOP);
	for (uint8_t i = 0; i < 16; i++)
		out(THR, i);
	EXPECT_EQ(in(LSR), 0x61);
	out(THR, 99);
	EXPECT_EQ(in(LSR), 0x63);
	for (uint8_t i = 0; i < 16; i++)
		EXPECT_EQ(in(RBR), i);
	EXPECT_EQ(in(LSR), 0x60);
}

TEST_F(uart, line_status_interrupt_outranks_all)
{
	out(LCR, 0x03);
	out(MCR, LOOP);
	out(THR, 'a');
	out(THR, 'b');
	out(IER, 0x0f);
	const uint8_t order[] = {0x06, 0x04, 0x02, 0x00, 0x01};
	EXPECT_EQ(in(IIR), order[0]);
	in(LSR);
	EXPECT_EQ(in(IIR), order[1]);
	in(RBR);
	EXPECT_EQ(in(IIR), order[2]);
	EXPECT_EQ(in(IIR), order[3]); // MSR deltas from entering loopback
	in(MSR);
	EXPECT_EQ(in(IIR), order[4]);
}

TEST_F(uart, loopback_modem_lines)
{
	out(MCR, LOOP);
	EXPECT_EQ(in(MSR), 0x0b); // CTS, DSR, DCD fell
	out(MCR, LOOP | 0x02);    // RTS -> CTS
	EXPECT_EQ(in(MSR), 0x11);
	EXPECT_EQ(in(MSR), 0x10); // deltas gone
	out(MCR, LOOP | 0x03);    // DTR -> DSR
	EXPECT_EQ(in(MSR), 0x32);
	out(MCR, LOOP | 0x07);    // OUT1 -> RI: no delta when it begins to ring
	EXPECT_EQ(in(MSR), 0x70);
	out(MCR, LOOP | 0x03);    // but when it ends
	EXPECT_EQ(in(MSR), 0x34);
	out(MCR, LOOP | 0x0b);    // OUT2 -> DCD
	EXPECT_EQ(in(MSR), 0xb8);
	out(MCR, LOOP);
	out(MCR, LOOP | 0x0b);    // deltas accumulate until read
	EXPECT_EQ(in(MSR), 0xbb);
}

TEST_F(uart, modem_status_interrupt)
{
	out(IER, 0x08);
	EXPECT_EQ(in(IIR), 0x01);
	out(MCR, LOOP);
	EXPECT_EQ(in(IIR), 0x00);
	out(MCR, OUT2); // back: lines rise again, the interrupt reaches the pin
	EXPECT_TRUE(irq);
	EXPECT_EQ(in(MSR), 0xbb);
	EXPECT_FALSE(irq);
	EXPECT_EQ(in(IIR), 0x01);
}

TEST_F(uart, disabling_an_interrupt_lowers_the_pin_but_keeps_the_state)
{
	out(MCR, OUT2);
	out(IER, 0x01);
	feed("a");
	kb_uart_poll(u);
	EXPECT_TRUE(irq);
	out(IER, 0);
	EXPECT_FALSE(irq);
	EXPECT_EQ(in(LSR), 0x61);
	out(IER, 0x01);
	EXPECT_TRUE(irq);
}

// The sequence by which drivers tell a 16550A from its ancestors.
TEST_F(uart, is_recognised_as_16550a)
{
	out(IER, 0);
	EXPECT_EQ(in(IER), 0);
	out(IER, 0x0f);
	EXPECT_EQ(in(IER), 0x0f);
	out(IER, 0);
	out(MCR, LOOP | 0x0a);
	EXPECT_EQ(in(MSR) & 0xf0, 0x90);
	out(MCR, 0);
	out(FCR, 0x01);
	EXPECT_EQ(in(IIR) >> 6, 3);
	out(FCR, 0);
	out(SCR, 0xa5);
	EXPECT_EQ(in(SCR), 0xa5);
}

TEST_F(uart, works_with_nothing_connected)
{
	kb_uart_config cfg{};
	cfg.io = &io;
	cfg.port = 0x2f8;
	kb_uart *other = nullptr;
	ASSERT_EQ(kb_uart_create(&other, &cfg, &err), 0) << err.msg;
	uint8_t v = 'x';
	kb_bus_write(&io, 0x2f8, &v, 1);
	kb_bus_read(&io, 0x2f8 + LSR, &v, 1);
	EXPECT_EQ(v, 0x60);
	kb_bus_read(&io, 0x2f8 + MSR, &v, 1);
	EXPECT_EQ(v, 0x00);
	kb_bus_read(&io, 0x2f8 + RBR, &v, 1);
	EXPECT_EQ(v, 0);
	EXPECT_FALSE(kb_uart_poll(other));
	kb_uart_destroy(other);
	kb_bus_read(&io, 0x2f8 + LSR, &v, 1);
	EXPECT_EQ(v, 0xff);
}

TEST_F(uart, refuses_a_taken_or_odd_port)
{
	kb_uart_config cfg{};
	cfg.io = &io;
	cfg.port = BASE;
	kb_uart *other = nullptr;
	EXPECT_EQ(kb_uart_create(&other, &cfg, &err), -EEXIST);
	EXPECT_NE(strstr(err.msg, "COM1"), nullptr) << err.msg;
	cfg.port = 0x2f9;
	EXPECT_EQ(kb_uart_create(&other, &cfg, &err), -EINVAL);
	EXPECT_EQ(other, nullptr);
	kb_uart_destroy(nullptr);
}

TEST_F(uart, leaves_the_chardev_alone_when_destroyed)
{
	feed("a");
	kb_uart_destroy(u);
	u = nullptr;
	EXPECT_FALSE(kb_chardev_poll(c));
}

// The pin must always be what the registers say, whatever the guest does.
TEST_F(uart, hostile)
{
	std::mt19937 rng(16550);
	for (int i = 0; i < 300000; i++) {
		unsigned reg = rng() % 8, what = rng() % 16;
		if (what < 7) {
			out(reg, static_cast<uint8_t>(rng()));
		} else if (what < 13) {
			in(reg);
		} else if (what == 13) {
			uint64_t v = rng();
			kb_bus_write(&io, BASE + reg, &v, 1 + rng() % 8);
		} else if (what == 14) {
			std::string s(rng() % 40, 'x');
			kb_chardev_feed(c, s.data(), s.size());
			kb_uart_poll(u);
		} else if (i % 50 == 0) {
			kb_uart_reset(u);
		}
		if (i % 7 == 0) {
			uint8_t mcr = in(MCR), iir;
			bool level = irq;
			iir = in(IIR);
			ASSERT_EQ(level, (mcr & (LOOP | OUT2)) == OUT2 && !(iir & 1)) << i;
			ASSERT_EQ(in(LSR) & 0x9c, 0) << i;
		}
	}
}

} // namespace
