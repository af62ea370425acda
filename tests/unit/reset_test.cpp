// devices/reset.h: port 0x92, 0xCF9, the keyboard controller without a keyboard.
#include <gtest/gtest.h>

#include <cerrno>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "devices/reset.h"
}

namespace {

enum : uint8_t { OBF = 1, SYS = 4, COMMAND = 8, UNLOCKED = 0x10, TIMEOUT = 0x40 };

class reset : public testing::Test {
protected:
	kb_bus io;
	kb_reset_config cfg{};
	kb_reset *r = nullptr;
	kvmbox_error err{};
	std::vector<std::string> resets;
	bool irq = false, whole = false;
	void SetUp() override
	{
		kb_bus_init(&io, "port", 0xffff);
		cfg.io = &io;
		cfg.opaque = this;
		cfg.reset = [](void *o, const char *how) {
			auto *t = static_cast<reset *>(o);
			t->resets.push_back(how);
			if (t->whole)
				kb_reset_reset(t->r);
		};
		cfg.irq1.opaque = this;
		cfg.irq1.set = [](void *o, int, bool on) { static_cast<reset *>(o)->irq = on; };
		ASSERT_EQ(kb_reset_create(&r, &cfg, &err), 0) << err.msg;
	}
	void TearDown() override
	{
		kb_reset_destroy(r);
		EXPECT_EQ(io.count, 0u);
		kb_bus_destroy(&io);
	}
	uint8_t in(uint16_t port)
	{
		uint8_t v = 0;
		kb_bus_read(&io, port, &v, 1);
		return v;
	}
	void out(uint16_t port, uint8_t v) { kb_bus_write(&io, port, &v, 1); }
	uint8_t ask(uint8_t cmd)
	{
		out(0x64, cmd);
		EXPECT_TRUE(in(0x64) & OBF);
		return in(0x60);
	}
};

TEST_F(reset, reset_state)
{
	EXPECT_EQ(in(0x92), 2);
	EXPECT_EQ(kb_reset_cf9_read(r), 0);
	EXPECT_EQ(in(0x64), SYS | UNLOCKED);
	EXPECT_EQ(ask(0x20), 0x74);
	EXPECT_TRUE(kb_reset_a20(r));
	EXPECT_TRUE(resets.empty());
}

TEST_F(reset, port_92)
{
	out(0x92, 3);
	EXPECT_EQ(resets.size(), 1u);
	EXPECT_NE(resets[0].find("0x92"), std::string::npos);
	out(0x92, 3);
	EXPECT_EQ(resets.size(), 1u) << "no edge";
	out(0x92, 0xfe);
	EXPECT_EQ(in(0x92), 2);
	out(0x92, 1);
	EXPECT_EQ(resets.size(), 2u);
	EXPECT_EQ(in(0x92), 1);
}

TEST_F(reset, cf9)
{
	kb_reset_cf9_write(r, 0x02);
	EXPECT_TRUE(resets.empty());
	EXPECT_EQ(kb_reset_cf9_read(r), 0x02);
	kb_reset_cf9_write(r, 0x06);
	ASSERT_EQ(resets.size(), 1u);
	EXPECT_NE(resets[0].find("hard"), std::string::npos);
	kb_reset_cf9_write(r, 0x06);
	EXPECT_EQ(resets.size(), 1u) << "no edge";
	kb_reset_cf9_write(r, 0xf1);
	EXPECT_EQ(kb_reset_cf9_read(r), 0);
	kb_reset_cf9_write(r, 0x04);
	ASSERT_EQ(resets.size(), 2u);
	EXPECT_NE(resets[1].find("soft"), std::string::npos);
}

TEST_F(reset, a_reset_inside_the_access_wins)
{
	whole = true;
	out(0x92, 1);
	EXPECT_EQ(in(0x92), 2);
	kb_reset_cf9_write(r, 0x06);
	EXPECT_EQ(kb_reset_cf9_read(r), 0);
	out(0x64, 0xd1);
	out(0x60, 0);
	EXPECT_EQ(ask(0xd0) & 3, 3);
	EXPECT_EQ(resets.size(), 3u);
	out(0x64, 0xfe);
	EXPECT_EQ(in(0x64), SYS | UNLOCKED);
}

TEST_F(reset, keyboard_controller_resets)
{
	out(0x64, 0xfe);
	EXPECT_EQ(resets.size(), 1u);
	out(0x64, 0xf0);
	EXPECT_EQ(resets.size(), 2u) << "pulses all four bits";
	out(0x64, 0xff);
	out(0x64, 0xfd);
	EXPECT_EQ(resets.size(), 2u) << "bit 0 is not pulsed";
	out(0x64, 0xd1);
	out(0x60, 0x02);
	EXPECT_EQ(resets.size(), 3u);
	out(0x64, 0xd1);
	out(0x60, 0x03);
	EXPECT_EQ(resets.size(), 3u);
}

TEST_F(reset, self_tests)
{
	EXPECT_EQ(ask(0xaa), 0x55);
	EXPECT_EQ(ask(0xab), 0x00);
	EXPECT_EQ(in(0x64) & (OBF | SYS | COMMAND | UNLOCKED), SYS | COMMAND | UNLOCKED);
}

TEST_F(reset, command_byte)
{
	out(0x64, 0x60);
	EXPECT_TRUE(in(0x64) & COMMAND);
	out(0x60, 0xff);
	EXPECT_FALSE(in(0x64) & COMMAND);
	EXPECT_EQ(ask(0x20), 0x7f);
	out(0x64, 0x60);
	out(0x60, 0x00);
	EXPECT_FALSE(in(0x64) & SYS);
	out(0x64, 0xad);
	EXPECT_EQ(ask(0x20), 0x10);
	out(0x64, 0xae);
	EXPECT_EQ(ask(0x20), 0x00);
	EXPECT_EQ(ask(0xaa), 0x55);
	EXPECT_TRUE(in(0x64) & SYS);
}

TEST_F(reset, a_new_command_forgets_the_old_ones_byte)
{
	out(0x64, 0xd1);
	out(0x64, 0x20);
	in(0x60);
	out(0x60, 0x00);
	EXPECT_TRUE(resets.empty());
	EXPECT_TRUE(in(0x64) & TIMEOUT) << "went to the keyboard";
}

TEST_F(reset, a20_gates)
{
	out(0x64, 0xd1);
	out(0x60, 0x01);
	EXPECT_EQ(ask(0xd0), 0xc1);
	EXPECT_TRUE(kb_reset_a20(r)) << "port 0x92 holds it";
	out(0x92, 0);
	EXPECT_FALSE(kb_reset_a20(r));
	out(0x64, 0xdf);
	EXPECT_EQ(ask(0xd0), 0xc3);
	EXPECT_TRUE(kb_reset_a20(r));
	out(0x64, 0xdd);
	EXPECT_FALSE(kb_reset_a20(r));
}

TEST_F(reset, no_keyboard)
{
	out(0x60, 0xff);
	EXPECT_EQ(in(0x64) & (OBF | TIMEOUT), OBF | TIMEOUT);
	EXPECT_EQ(in(0x60), 0xfe);
	EXPECT_EQ(in(0x64) & (OBF | TIMEOUT), 0);
	EXPECT_EQ(in(0x60), 0xfe) << "the buffer keeps its byte";
}

TEST_F(reset, no_mouse_port)
{
	for (uint8_t cmd : {0xa7, 0xa8, 0xa9}) {
		out(0x64, cmd);
		EXPECT_FALSE(in(0x64) & OBF);
	}
	for (uint8_t cmd : {0xd3, 0xd4}) {
		out(0x64, cmd);
		out(0x60, 0x5a);
		EXPECT_FALSE(in(0x64) & OBF);
	}
}

TEST_F(reset, output_buffer_and_interrupt)
{
	out(0x64, 0xd2);
	out(0x60, 0x1c);
	EXPECT_FALSE(irq) << "off in the command byte";
	EXPECT_EQ(ask(0xd0) & 0x10, 0x10);
	out(0x64, 0x60);
	out(0x60, 0x01);
	out(0x64, 0xd2);
	out(0x60, 0x1c);
	EXPECT_TRUE(irq);
	EXPECT_EQ(in(0x60), 0x1c);
	EXPECT_FALSE(irq);
}

TEST_F(reset, create_names_a_taken_port)
{
	kb_reset *second = nullptr;
	EXPECT_EQ(kb_reset_create(&second, &cfg, &err), -EEXIST);
	EXPECT_EQ(second, nullptr);
	EXPECT_EQ(io.count, 3u);
}

TEST_F(reset, hostile)
{
	std::mt19937_64 rng(11);
	const uint16_t ports[] = {0x60, 0x64, 0x92};
	for (int i = 0; i < 300000; i++) {
		uint64_t v = rng(), x = rng();
		uint16_t port = ports[v % 3];
		whole = v >> 20 & 1;
		if (v & 8)
			kb_bus_write(&io, port, &x, 1 + (v >> 8) % 8);
		else
			kb_bus_read(&io, port, &x, 1 + (v >> 8) % 8);
		if (v & 16)
			kb_reset_cf9_write(r, static_cast<uint8_t>(x));
		ASSERT_EQ(in(0x64) & 0xa2, 0);
		ASSERT_EQ(kb_reset_cf9_read(r) & 0xf1, 0);
	}
	EXPECT_GT(resets.size(), 100u);
}

} // namespace
