// devices/simtime.h: values, widths, latches.
#include <gtest/gtest.h>

#include <cerrno>
#include <random>

extern "C" {
#include "devices/simtime.h"
}

namespace {

class simtime : public testing::Test {
protected:
	kb_bus mem, io;
	kb_timers q;
	kb_simtime_config cfg{};
	kb_simtime *s = nullptr;
	kvmbox_error err{};
	void SetUp() override
	{
		kb_bus_init(&mem, "memory", (1ull << 52) - 1);
		kb_bus_init(&io, "port", 0xffff);
		kb_timers_init(&q);
		cfg = {&mem, &io, &q};
		ASSERT_EQ(kb_simtime_create(&s, &cfg, &err), 0) << err.msg;
	}
	void TearDown() override
	{
		kb_simtime_destroy(s);
		EXPECT_EQ(mem.count + io.count, 0u);
		kb_bus_destroy(&mem);
		kb_bus_destroy(&io);
	}
	uint64_t rd(kb_bus *b, uint64_t addr, size_t len)
	{
		uint64_t v = 0;
		kb_bus_read(b, addr, &v, len);
		return v;
	}
	uint64_t mmio(uint64_t off, size_t len) { return rd(&mem, KB_SIMTIME_BASE + off, len); }
	uint64_t port(uint64_t off, size_t len) { return rd(&io, KB_SIMTIME_PORT + off, len); }
};

TEST_F(simtime, whole_registers)
{
	EXPECT_EQ(mmio(0, 8), 0u);
	kb_timers_advance(&q, 0x123456789abcdef0);
	EXPECT_EQ(mmio(0, 8), 0x123456789abcdef0u);
	EXPECT_EQ(mmio(8, 8), 0x123456789abcdef0u / 1000);
	kb_timers_advance(&q, UINT64_MAX);
	EXPECT_EQ(mmio(0, 8), UINT64_MAX);
	EXPECT_EQ(mmio(8, 8), UINT64_MAX / 1000);
	EXPECT_EQ(mmio(16, 8), 0u);
	EXPECT_EQ(mmio(0xff8, 8), 0u);
}

TEST_F(simtime, low_half_latches_the_upper)
{
	kb_timers_advance(&q, 0x1ffffffff);
	EXPECT_EQ(mmio(0, 4), 0xffffffffu);
	kb_timers_advance(&q, 0x200000000);
	EXPECT_EQ(mmio(4, 4), 1u) << "belongs to the low half read before";
	EXPECT_EQ(mmio(0, 4), 0u);
	EXPECT_EQ(mmio(4, 4), 2u);
	kb_timers_advance(&q, 0x5000000000);
	EXPECT_EQ(mmio(8, 4), 0x5000000000u / 1000 & 0xffffffff);
	EXPECT_EQ(mmio(4, 4), 2u) << "registers latch separately";
}

TEST_F(simtime, ports_have_their_own_latch)
{
	kb_timers_advance(&q, 0x300000001);
	EXPECT_EQ(port(0, 4), 1u);
	kb_timers_advance(&q, 0x700000000);
	EXPECT_EQ(mmio(0, 4), 0u);
	EXPECT_EQ(port(4, 4), 3u);
	EXPECT_EQ(mmio(4, 4), 7u);
	EXPECT_EQ(port(8, 4) | port(12, 4) << 32, 0x700000000u / 1000);
	EXPECT_EQ(port(0, 8), 0x700000000u) << "two cycles, low first";
}

TEST_F(simtime, bytes_from_the_lowest_up_belong_together)
{
	kb_timers_advance(&q, 0x0807060504030201);
	EXPECT_EQ(mmio(0, 1), 1u);
	kb_timers_advance(&q, 0x1817161514131211);
	for (unsigned i = 1; i < 8; i++)
		EXPECT_EQ(mmio(i, 1), i + 1);
	EXPECT_EQ(mmio(2, 2), 0x0403u);
	EXPECT_EQ(mmio(0, 2), 0x1211u);
}

TEST_F(simtime, read_only_and_reset)
{
	uint64_t v = 0;
	kb_timers_advance(&q, 0x900000000);
	kb_bus_write(&mem, KB_SIMTIME_BASE, &v, 8);
	kb_bus_write(&io, KB_SIMTIME_PORT, &v, 4);
	EXPECT_EQ(mmio(0, 8), 0x900000000u);
	EXPECT_EQ(mmio(4, 4), 9u);
	kb_simtime_reset(s);
	EXPECT_EQ(mmio(4, 4), 0u);
	EXPECT_EQ(mmio(0, 8), 0x900000000u);
}

TEST_F(simtime, create_leaves_nothing_on_failure)
{
	kb_simtime *second = nullptr;
	EXPECT_EQ(kb_simtime_create(&second, &cfg, &err), -EEXIST);
	kb_bus other;
	kb_bus_init(&other, "memory", UINT32_MAX);
	kb_simtime_config c = {&other, &io, &q};
	EXPECT_EQ(kb_simtime_create(&second, &c, &err), -EEXIST) << "ports are taken";
	EXPECT_EQ(other.count, 0u);
	EXPECT_EQ(second, nullptr);
	kb_bus_destroy(&other);
}

TEST_F(simtime, hostile)
{
	std::mt19937_64 rng(3);
	for (int i = 0; i < 200000; i++) {
		uint64_t r = rng(), v = rng();
		kb_bus *b = r & 1 ? &mem : &io;
		uint64_t a = r & 1 ? KB_SIMTIME_BASE + (r >> 16) % 0x1000 : KB_SIMTIME_PORT + (r >> 16) % 16;
		size_t len = 1 + (r >> 8) % 8;
		if (r & 2)
			kb_bus_write(b, a, &v, len);
		else
			kb_bus_read(b, a, &v, len);
		kb_timers_advance(&q, q.now_ps + (v & 0xffffffffff));
		ASSERT_EQ(mmio(0, 8), q.now_ps);
	}
}

} // namespace
