// devices/pic.h: the 8259A pair against its datasheet.
#include <gtest/gtest.h>

#include <cerrno>
#include <random>

extern "C" {
#include "devices/pic.h"
}

namespace {

class pic : public testing::Test {
protected:
	kb_bus io;
	kvmbox_error err{};
	kb_pic *p = nullptr;
	bool intr = false;
	int rises = 0;

	static void on_intr(void *o, int, bool level)
	{
		auto *t = static_cast<pic *>(o);
		t->intr = level;
		t->rises += level;
	}
	void SetUp() override
	{
		kb_bus_init(&io, "port", 0xffff);
		kb_pic_config cfg{};
		cfg.io = &io;
		cfg.out.set = on_intr;
		cfg.out.opaque = this;
		ASSERT_EQ(kb_pic_create(&p, &cfg, &err), 0) << err.msg;
	}
	void TearDown() override
	{
		kb_pic_destroy(p);
		EXPECT_EQ(io.count, 0u);
		kb_bus_destroy(&io);
	}
	void out(uint16_t port, uint8_t v) { kb_bus_write(&io, port, &v, 1); }
	uint8_t in(uint16_t port)
	{
		uint8_t v = 0;
		kb_bus_read(&io, port, &v, 1);
		return v;
	}
	// As PC firmware does: vectors 0x30 and 0x70, all unmasked.
	void init(uint8_t icw4_master = 0x01, uint8_t icw4_slave = 0x01)
	{
		out(0x20, 0x11);
		out(0x21, 0x30);
		out(0x21, 0x04);
		out(0x21, icw4_master);
		out(0xa0, 0x11);
		out(0xa1, 0x70);
		out(0xa1, 0x02);
		out(0xa1, icw4_slave);
	}
	void pulse(int irq)
	{
		kb_pic_set_irq(p, irq, true);
		kb_pic_set_irq(p, irq, false);
	}
	uint8_t isr(uint16_t port)
	{
		out(port, 0x0b);
		uint8_t v = in(port);
		out(port, 0x0a);
		return v;
	}
};

TEST_F(pic, reset_state_is_quiet)
{
	EXPECT_EQ(in(0x21), 0xff);
	EXPECT_EQ(in(0xa1), 0xff);
	EXPECT_EQ(in(0x4d0), 0);
	EXPECT_EQ(in(0x4d1), 0);
	pulse(0);
	pulse(9);
	EXPECT_FALSE(intr);
}

TEST_F(pic, create_refuses_taken_ports_and_leaves_nothing)
{
	kb_pic *second = nullptr;
	kb_pic_config cfg{};
	cfg.io = &io;
	EXPECT_EQ(kb_pic_create(&second, &cfg, &err), -EEXIST);
	EXPECT_NE(strstr(err.msg, "PIC"), nullptr) << err.msg;
	EXPECT_EQ(second, nullptr);
	EXPECT_EQ(io.count, 3u);
	kb_pic_destroy(nullptr);

	kb_bus other;
	kb_region elcr{};
	kb_bus_init(&other, "port", 0xffff);
	elcr.name = "other";
	elcr.base = 0x4d1;
	elcr.size = 1;
	ASSERT_EQ(kb_bus_add(&other, &elcr, &err), 0);
	cfg.io = &other;
	EXPECT_EQ(kb_pic_create(&second, &cfg, &err), -EEXIST);
	EXPECT_EQ(other.count, 1u);
	kb_bus_destroy(&other);
}

TEST_F(pic, init_sequence_and_masks)
{
	init();
	EXPECT_EQ(in(0x21), 0) << "ICW1 clears the mask";
	out(0x21, 0xa5);
	out(0xa1, 0x5a);
	EXPECT_EQ(in(0x21), 0xa5);
	EXPECT_EQ(in(0xa1), 0x5a);
	// Single without ICW4: the write after ICW2 is OCW1 already.
	out(0x20, 0x12);
	out(0x21, 0x40);
	out(0x21, 0xfe);
	EXPECT_EQ(in(0x21), 0xfe);
	pulse(0);
	EXPECT_EQ(kb_pic_ack(p), 0x40);
}

TEST_F(pic, no_interrupt_before_the_icws_are_complete)
{
	out(0x4d0, 0x20);
	kb_pic_set_irq(p, 5, true);
	out(0x20, 0x11);
	out(0x21, 0x30);
	out(0x21, 0x04);
	EXPECT_FALSE(intr);
	out(0x21, 0x01);
	EXPECT_TRUE(intr);
	EXPECT_EQ(kb_pic_ack(p), 0x35);
}

TEST_F(pic, icw2_low_bits_are_the_level)
{
	out(0x20, 0x13);
	out(0x21, 0x37);
	out(0x21, 0x01);
	pulse(1);
	EXPECT_EQ(kb_pic_ack(p), 0x31);
}

TEST_F(pic, fully_nested_priorities)
{
	init();
	pulse(4);
	pulse(3);
	EXPECT_EQ(in(0x20), 0x18) << "IRR is what A0=0 reads after ICW1";
	EXPECT_EQ(kb_pic_ack(p), 0x33);
	EXPECT_EQ(isr(0x20), 0x08);
	EXPECT_EQ(in(0x20), 0x10);
	EXPECT_FALSE(intr) << "4 waits for 3";
	pulse(1);
	EXPECT_TRUE(intr) << "1 interrupts 3";
	EXPECT_EQ(kb_pic_ack(p), 0x31);
	EXPECT_EQ(isr(0x20), 0x0a);
	out(0x20, 0x20);
	EXPECT_EQ(isr(0x20), 0x08) << "non-specific EOI ends the highest";
	EXPECT_FALSE(intr);
	out(0x20, 0x63);
	EXPECT_EQ(isr(0x20), 0);
	EXPECT_TRUE(intr);
	EXPECT_EQ(kb_pic_ack(p), 0x34);
	out(0x20, 0x61);
	EXPECT_EQ(isr(0x20), 0x10) << "specific EOI of a level not in service does nothing";
	out(0x20, 0x20);
	out(0x20, 0x20);
	EXPECT_EQ(isr(0x20), 0);
}

TEST_F(pic, mask_holds_back_but_remembers)
{
	init();
	out(0x21, 0x02);
	pulse(1);
	EXPECT_FALSE(intr);
	EXPECT_EQ(in(0x20), 0x02);
	out(0x21, 0);
	EXPECT_TRUE(intr);
	EXPECT_EQ(kb_pic_ack(p), 0x31);
}

TEST_F(pic, edge_inputs_need_a_new_edge)
{
	init();
	kb_pic_set_irq(p, 3, true);
	EXPECT_EQ(kb_pic_ack(p), 0x33);
	out(0x20, 0x20);
	EXPECT_FALSE(intr);
	kb_pic_set_irq(p, 3, true);
	EXPECT_FALSE(intr);
	kb_pic_set_irq(p, 3, false);
	kb_pic_set_irq(p, 3, true);
	EXPECT_TRUE(intr);
	init();
	EXPECT_FALSE(intr) << "ICW1 resets the edge sense of a high input";
	kb_pic_set_irq(p, 3, false);
	kb_pic_set_irq(p, 3, true);
	EXPECT_TRUE(intr);
}

TEST_F(pic, level_inputs_follow_the_pin)
{
	init();
	out(0x4d0, 0xff);
	out(0x4d1, 0xff);
	EXPECT_EQ(in(0x4d0), 0xf8);
	EXPECT_EQ(in(0x4d1), 0xde);
	kb_pic_set_irq(p, 5, true);
	EXPECT_EQ(kb_pic_ack(p), 0x35);
	EXPECT_EQ(in(0x20), 0x20) << "still requested";
	out(0x20, 0x20);
	EXPECT_TRUE(intr) << "still high, interrupts again";
	kb_pic_set_irq(p, 5, false);
	EXPECT_FALSE(intr);
	EXPECT_EQ(in(0x20), 0);
	EXPECT_EQ(kb_pic_ack(p), 0x37) << "gone: spurious";
	EXPECT_EQ(isr(0x20), 0) << "a spurious interrupt is not in service";
}

TEST_F(pic, elcr_change_forgets_the_old_kind)
{
	init();
	out(0x4d0, 0x20);
	kb_pic_set_irq(p, 5, true);
	EXPECT_TRUE(intr);
	out(0x4d0, 0);
	EXPECT_FALSE(intr);
	kb_pic_set_irq(p, 5, false);
	pulse(5);
	EXPECT_TRUE(intr);
	out(0x4d0, 0x20);
	EXPECT_FALSE(intr);
}

TEST_F(pic, ltim_is_ignored)
{
	out(0x20, 0x1b);
	out(0x21, 0x30);
	out(0x21, 0x01);
	pulse(4);
	EXPECT_TRUE(intr);
	EXPECT_EQ(in(0x4d0), 0);
}

TEST_F(pic, cascade)
{
	init();
	pulse(12);
	EXPECT_EQ(in(0xa0), 0x10);
	EXPECT_EQ(in(0x20), 0x04);
	EXPECT_EQ(kb_pic_ack(p), 0x74);
	EXPECT_EQ(isr(0x20), 0x04);
	EXPECT_EQ(isr(0xa0), 0x10);
	pulse(8);
	EXPECT_FALSE(intr) << "IR2 is in service in the master";
	pulse(0);
	EXPECT_EQ(kb_pic_ack(p), 0x30);
	out(0x20, 0x20);
	out(0xa0, 0x20);
	out(0x20, 0x20);
	EXPECT_TRUE(intr);
	EXPECT_EQ(kb_pic_ack(p), 0x70);
}

TEST_F(pic, slave_requests_one_after_the_other_are_all_delivered)
{
	init();
	for (int irq = 8; irq < 16; irq++)
		pulse(irq);
	for (int i = 0; i < 8; i++) {
		ASSERT_TRUE(intr) << i;
		EXPECT_EQ(kb_pic_ack(p), 0x70 + i);
		out(0x20, 0x20);
		out(0xa0, 0x20);
	}
	EXPECT_FALSE(intr);
}

TEST_F(pic, irq2_is_the_cascade_and_bad_numbers_are_ignored)
{
	init();
	for (int irq : {2, -1, 16, 1000})
		kb_pic_set_irq(p, irq, true);
	EXPECT_FALSE(intr);
	EXPECT_EQ(in(0x20), 0);
	EXPECT_EQ(in(0xa0), 0);
}

TEST_F(pic, spurious_of_the_slave)
{
	init();
	out(0x4d1, 0x04);
	kb_pic_set_irq(p, 10, true);
	ASSERT_TRUE(intr);
	kb_pic_set_irq(p, 10, false);
	EXPECT_EQ(kb_pic_ack(p), 0x77);
	EXPECT_EQ(isr(0xa0), 0);
	EXPECT_EQ(isr(0x20), 0x04) << "the master believes it";
}

TEST_F(pic, spurious_without_any_request)
{
	init();
	EXPECT_EQ(kb_pic_ack(p), 0x37);
	EXPECT_EQ(isr(0x20), 0);
}

TEST_F(pic, special_fully_nested_lets_the_slave_nest)
{
	init(0x11);
	pulse(12);
	EXPECT_EQ(kb_pic_ack(p), 0x74);
	pulse(14);
	EXPECT_FALSE(intr) << "lower inside the slave";
	pulse(4);
	EXPECT_FALSE(intr) << "IR2 still holds back what is below it";
	pulse(9);
	EXPECT_TRUE(intr);
	EXPECT_EQ(kb_pic_ack(p), 0x71);
	EXPECT_EQ(isr(0xa0), 0x12);
}

TEST_F(pic, automatic_eoi)
{
	init(0x03);
	pulse(3);
	EXPECT_EQ(kb_pic_ack(p), 0x33);
	EXPECT_EQ(isr(0x20), 0);
	pulse(5);
	EXPECT_TRUE(intr);
	EXPECT_EQ(kb_pic_ack(p), 0x35);
}

TEST_F(pic, automatic_eoi_of_both_delivers_all_of_the_slave)
{
	init(0x03, 0x03);
	pulse(9);
	pulse(10);
	EXPECT_EQ(kb_pic_ack(p), 0x71);
	ASSERT_TRUE(intr);
	EXPECT_EQ(kb_pic_ack(p), 0x72);
	EXPECT_FALSE(intr);
}

TEST_F(pic, rotation_in_automatic_eoi)
{
	init(0x03);
	out(0x20, 0x80);
	pulse(3);
	EXPECT_EQ(kb_pic_ack(p), 0x33);
	pulse(3);
	pulse(4);
	EXPECT_EQ(kb_pic_ack(p), 0x34) << "3 is the lowest now";
	out(0x20, 0x00);
	EXPECT_EQ(kb_pic_ack(p), 0x33);
	pulse(3);
	pulse(5);
	EXPECT_EQ(kb_pic_ack(p), 0x35) << "rotation is off, 4 stays the lowest";
}

TEST_F(pic, rotation_on_eoi)
{
	init();
	pulse(4);
	EXPECT_EQ(kb_pic_ack(p), 0x34);
	out(0x20, 0xa0);
	pulse(4);
	pulse(5);
	EXPECT_EQ(kb_pic_ack(p), 0x35);
	out(0x20, 0xe5);
	pulse(6);
	EXPECT_EQ(kb_pic_ack(p), 0x36) << "rotate on specific EOI: 5 is the lowest";
	out(0x20, 0x66);
	out(0x20, 0xc3);
	pulse(0);
	EXPECT_EQ(kb_pic_ack(p), 0x34) << "set priority: 3 is the lowest";
	out(0x20, 0x64);
	EXPECT_EQ(kb_pic_ack(p), 0x30);
	out(0x20, 0x40);
	EXPECT_EQ(isr(0x20), 0x01) << "no operation";
}

TEST_F(pic, special_mask_mode)
{
	init();
	pulse(1);
	EXPECT_EQ(kb_pic_ack(p), 0x31);
	pulse(6);
	EXPECT_FALSE(intr);
	out(0x21, 0x02);
	EXPECT_FALSE(intr);
	out(0x20, 0x68);
	EXPECT_TRUE(intr) << "a masked level in service holds nothing back";
	EXPECT_EQ(kb_pic_ack(p), 0x36);
	out(0x20, 0x20);
	EXPECT_EQ(isr(0x20), 0x02) << "non-specific EOI passes over the masked level";
	out(0x20, 0x08);
	pulse(6);
	EXPECT_TRUE(intr) << "ESMM 0 leaves the mode alone";
	out(0x20, 0x48);
	EXPECT_FALSE(intr);
}

TEST_F(pic, poll_mode)
{
	init();
	out(0x20, 0x0c);
	EXPECT_EQ(in(0x20), 0) << "nothing requested";
	EXPECT_EQ(in(0x20), 0);
	pulse(5);
	out(0x20, 0x0c);
	EXPECT_EQ(in(0x20), 0x85);
	EXPECT_EQ(isr(0x20), 0x20) << "a poll acknowledges";
	EXPECT_FALSE(intr);
	pulse(13);
	out(0x20, 0x0c);
	EXPECT_EQ(in(0x20), 0x82);
	out(0xa0, 0x0c);
	EXPECT_EQ(in(0xa1), 0x85) << "at either address";
	EXPECT_EQ(in(0xa1), 0) << "once";
	EXPECT_EQ(isr(0xa0), 0x20);
}

TEST_F(pic, line_adapter_and_reset)
{
	kb_line line{};
	line.set = kb_pic_line_set;
	line.opaque = p;
	line.pin = 6;
	init();
	out(0x4d0, 0x40);
	kb_line_set(&line, true);
	EXPECT_TRUE(intr);
	kb_pic_reset(p);
	EXPECT_FALSE(intr);
	EXPECT_EQ(in(0x4d0), 0);
	EXPECT_EQ(in(0x21), 0xff);
	init();
	EXPECT_FALSE(intr) << "an edge input that stayed high";
	out(0x4d0, 0x40);
	EXPECT_TRUE(intr) << "its level survived the reset";
	kb_line_set(&line, false);
	EXPECT_FALSE(intr);
}

TEST_F(pic, hostile)
{
	static const uint16_t ports[] = {0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1};
	std::mt19937 rng(1);
	init();
	for (int i = 0; i < 400000; i++) {
		uint32_t r = rng();
		switch (r % 4) {
		case 0: out(ports[(r >> 8) % 6], static_cast<uint8_t>(r >> 16)); break;
		case 1: in(ports[(r >> 8) % 6]); break;
		case 2: kb_pic_set_irq(p, static_cast<int>((r >> 8) & 15), r >> 31); break;
		default: {
			int v = kb_pic_ack(p);
			ASSERT_GE(v, 0);
			ASSERT_LE(v, 255);
		}
		}
	}
	// Whatever happened, an initialised pair works.
	for (int irq = 0; irq < 16; irq++)
		kb_pic_set_irq(p, irq, false);
	out(0x4d0, 0);
	out(0x4d1, 0);
	init();
	ASSERT_FALSE(intr);
	int before = rises;
	pulse(9);
	EXPECT_EQ(rises, before + 1);
	EXPECT_EQ(kb_pic_ack(p), 0x71);
}

} // namespace
