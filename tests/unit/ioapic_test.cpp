// devices/ioapic.h: registers, edges, levels and remote IRR, messages, with and without a local APIC behind.
#include <gtest/gtest.h>

#include <cerrno>
#include <random>
#include <vector>

extern "C" {
#include "devices/ioapic.h"
#include "devices/lapic.h"
}

namespace {

constexpr uint32_t masked = 1 << 16, level = 1 << 15, remote = 1 << 14, low = 1 << 13, logical = 1 << 11;
enum : uint32_t { FIXED = 0, LOWEST = 1 << 8, SMI = 2 << 8, NMI = 4 << 8, INIT = 5 << 8, EXTINT = 7 << 8 };

struct message {
	uint64_t addr;
	uint32_t data;
	bool operator==(const message &o) const { return addr == o.addr && data == o.data; }
	friend void PrintTo(const message &m, std::ostream *o) { *o << std::hex << m.addr << ":" << m.data; }
};

class ioapic : public testing::Test {
protected:
	kb_bus mem;
	kb_ioapic_config cfg{};
	kb_ioapic *a = nullptr;
	kvmbox_error err{};
	std::vector<message> sent;
	bool taken = true;

	void SetUp() override
	{
		kb_bus_init(&mem, "memory", (1ull << 52) - 1);
		cfg.mem = &mem;
		cfg.id = 5;
		cfg.active_low = 0xff0000;
		cfg.opaque = this;
		cfg.msi = [](void *o, uint64_t addr, uint32_t data) {
			auto *t = static_cast<ioapic *>(o);
			t->sent.push_back({addr, data});
			return t->taken;
		};
		ASSERT_EQ(kb_ioapic_create(&a, &cfg, &err), 0) << err.msg;
	}
	void TearDown() override
	{
		kb_ioapic_destroy(a);
		EXPECT_EQ(mem.count, 0u);
		kb_bus_destroy(&mem);
	}
	uint32_t load(unsigned off, size_t len = 4)
	{
		uint32_t v = 0;
		kb_bus_read(&mem, KB_IOAPIC_BASE + off, &v, len);
		return v;
	}
	void store(unsigned off, uint32_t v, size_t len = 4) { kb_bus_write(&mem, KB_IOAPIC_BASE + off, &v, len); }
	uint32_t rd(unsigned reg)
	{
		store(0, reg);
		return load(0x10);
	}
	void wr(unsigned reg, uint32_t v)
	{
		store(0, reg);
		store(0x10, v);
	}
	uint32_t entry(int pin) { return rd(0x10 + 2 * static_cast<unsigned>(pin)); }
	void set_entry(int pin, uint32_t lower, uint8_t dest = 0)
	{
		wr(0x11 + 2 * static_cast<unsigned>(pin), static_cast<uint32_t>(dest) << 24);
		wr(0x10 + 2 * static_cast<unsigned>(pin), lower);
	}
	void pulse(int pin)
	{
		kb_ioapic_set(a, pin, true);
		kb_ioapic_set(a, pin, false);
	}
	size_t take()
	{
		size_t n = sent.size();
		sent.clear();
		return n;
	}
};

TEST_F(ioapic, reset_state)
{
	EXPECT_EQ(rd(0), 5u << 24);
	EXPECT_EQ(rd(1), 0x00170020u) << "24 entries, version with an EOI register";
	EXPECT_EQ(rd(2), 5u << 24);
	for (int i = 0; i < 24; i++) {
		EXPECT_EQ(entry(i), masked);
		EXPECT_EQ(rd(0x11 + 2 * static_cast<unsigned>(i)), 0u);
	}
	for (unsigned reg : {3u, 0xfu, 0x40u, 0x41u, 0xffu}) {
		wr(reg, ~0u);
		EXPECT_EQ(rd(reg), 0u) << reg;
	}
	EXPECT_TRUE(sent.empty());
}

TEST_F(ioapic, only_defined_bits_are_kept)
{
	wr(0, ~0u);
	EXPECT_EQ(rd(0), 0x0f000000u);
	EXPECT_EQ(rd(2), 0x0f000000u) << "the arbitration ID follows";
	wr(1, 0);
	wr(2, 0);
	EXPECT_EQ(rd(1), 0x00170020u);
	EXPECT_EQ(rd(2), 0x0f000000u);
	set_entry(3, ~0u, 0xa5);
	EXPECT_EQ(entry(3), 0x1afffu);
	wr(0x17, ~0u);
	EXPECT_EQ(rd(0x17), 0xff000000u);
	kb_ioapic_reset(a);
	EXPECT_EQ(rd(0), 5u << 24);
	EXPECT_EQ(entry(3), masked);
}

TEST_F(ioapic, access_widths)
{
	store(0, 0xffffff01); // select is 8 bits
	EXPECT_EQ(load(0), 1u);
	EXPECT_EQ(load(0x10, 1), 0x20u);
	EXPECT_EQ(load(0x12, 1), 0x17u);
	EXPECT_EQ(load(0x12, 2), 0x17u);
	store(0, 0x10, 1);
	store(0x10, 0x30, 1); // narrower than the window
	store(0x10, 0x30, 2);
	store(0x12, 0, 1);
	EXPECT_EQ(load(0x10), masked);
	uint64_t both = 0x11;
	kb_bus_write(&mem, KB_IOAPIC_BASE, &both, 8);
	EXPECT_EQ(load(0), 0x11u);
	EXPECT_EQ(load(0x14), 0u);
	EXPECT_EQ(load(0x40), 0u) << "write-only";
}

TEST_F(ioapic, edge_sends_once_and_forgets_while_masked)
{
	set_entry(4, 0x31, 7);
	kb_ioapic_set(a, 4, true);
	kb_ioapic_set(a, 4, true);
	ASSERT_EQ(sent, (std::vector<message>{{0xfee07000, 0x4031}}));
	kb_ioapic_set(a, 4, false);
	kb_ioapic_eoi(a, 0x31);
	EXPECT_EQ(take(), 1u);
	set_entry(4, 0x31 | masked);
	pulse(4);
	kb_ioapic_set(a, 4, true);
	set_entry(4, 0x31);
	EXPECT_EQ(take(), 0u) << "masked edges are lost";
	kb_ioapic_set(a, 4, false);
	EXPECT_EQ(take(), 0u);
	pulse(4);
	EXPECT_EQ(take(), 1u);
	EXPECT_EQ(entry(4), 0x31u);
}

TEST_F(ioapic, modes_and_destinations_of_messages)
{
	set_entry(1, 0x40 | LOWEST | logical, 0x83);
	pulse(1);
	set_entry(1, 0x41 | SMI, 1);
	pulse(1);
	set_entry(1, 0x42 | NMI | level, 1);
	pulse(1);
	set_entry(1, INIT | level, 2);
	pulse(1);
	set_entry(1, EXTINT | level, 0);
	pulse(1);
	set_entry(1, 0x50 | FIXED | logical, 0xff);
	pulse(1);
	EXPECT_EQ(sent, (std::vector<message>{{0xfee8300c, 0x4140}, {0xfee01000, 0x4241}, {0xfee01000, 0x4442},
					      {0xfee02000, 0x4500}, {0xfee00000, 0x4700}, {0xfeeff004, 0x4050}}))
		<< "all but fixed and lowest priority are edges whatever the entry says";
}

TEST_F(ioapic, level_waits_for_eoi)
{
	set_entry(9, 0x61 | level);
	kb_ioapic_set(a, 9, true);
	ASSERT_EQ(sent, (std::vector<message>{{0xfee00000, 0xc061}}));
	EXPECT_EQ(entry(9), 0x61u | level | remote);
	kb_ioapic_set(a, 9, false);
	kb_ioapic_set(a, 9, true);
	EXPECT_EQ(take(), 1u) << "not again before the EOI";
	kb_ioapic_eoi(a, 0x62);
	EXPECT_EQ(take(), 0u) << "another vector";
	kb_ioapic_eoi(a, 0x61);
	EXPECT_EQ(take(), 1u) << "still asserted";
	EXPECT_TRUE(entry(9) & remote);
	kb_ioapic_set(a, 9, false);
	kb_ioapic_eoi(a, 0x61);
	EXPECT_EQ(take(), 0u);
	EXPECT_EQ(entry(9), 0x61u | level);
}

TEST_F(ioapic, eoi_register_is_the_broadcast)
{
	set_entry(9, 0x61 | level);
	set_entry(10, 0x61 | level);
	kb_ioapic_set(a, 9, true);
	kb_ioapic_set(a, 10, true);
	take();
	store(0x40, 0x60);
	EXPECT_EQ(take(), 0u);
	kb_ioapic_set(a, 9, false);
	store(0x40, 0xffffff61);
	EXPECT_EQ(take(), 1u) << "both entries ended, one is still asserted";
	EXPECT_FALSE(entry(9) & remote);
	EXPECT_TRUE(entry(10) & remote);
	kb_ioapic_set(a, 10, false);
	store(0x40, 0x61, 1);
	EXPECT_FALSE(entry(10) & remote);
}

TEST_F(ioapic, masked_level_waits)
{
	set_entry(9, 0x61 | level | masked);
	kb_ioapic_set(a, 9, true);
	EXPECT_EQ(take(), 0u);
	EXPECT_FALSE(entry(9) & remote);
	set_entry(9, 0x61 | level);
	EXPECT_EQ(take(), 1u);
	// Masked in service, ended, unmasked: what operating systems do.
	wr(0x10 + 18, 0x61 | level | masked);
	EXPECT_TRUE(entry(9) & remote);
	kb_ioapic_eoi(a, 0x61);
	EXPECT_FALSE(entry(9) & remote);
	EXPECT_EQ(take(), 0u);
	wr(0x10 + 18, 0x61 | level);
	EXPECT_EQ(take(), 1u);
}

// How software for version 0x11 clears remote IRR without an EOI register.
TEST_F(ioapic, becoming_edge_triggered_clears_remote_irr)
{
	set_entry(9, 0x61 | level);
	kb_ioapic_set(a, 9, true);
	take();
	set_entry(9, 0x61 | masked);
	EXPECT_EQ(entry(9), 0x61u | masked);
	set_entry(9, 0x61 | level);
	EXPECT_EQ(take(), 1u);
	set_entry(9, 0x61 | level | NMI);
	EXPECT_FALSE(entry(9) & remote) << "not a level-triggered mode";
}

TEST_F(ioapic, remote_irr_is_read_only)
{
	set_entry(9, 0x61 | level | remote);
	EXPECT_EQ(entry(9), 0x61u | level);
	kb_ioapic_set(a, 9, true);
	wr(0x10 + 18, 0x61 | level);
	EXPECT_EQ(entry(9), 0x61u | level | remote);
	EXPECT_EQ(take(), 1u);
}

TEST_F(ioapic, polarity_is_of_the_voltage)
{
	set_entry(16, 0x70 | level | low); // a PCI pin as _PRT says
	EXPECT_EQ(take(), 0u);
	kb_ioapic_set(a, 16, true);
	EXPECT_EQ(take(), 1u);
	kb_ioapic_set(a, 16, false);
	kb_ioapic_eoi(a, 0x70);
	EXPECT_EQ(take(), 0u);
	set_entry(16, 0x70 | level);
	EXPECT_EQ(take(), 1u) << "the idle wire is high";
	set_entry(17, 0x71 | low);
	pulse(17);
	EXPECT_EQ(take(), 1u);
	set_entry(17, 0x71);
	kb_ioapic_set(a, 17, true);
	EXPECT_EQ(take(), 0u);
	kb_ioapic_set(a, 17, false);
	EXPECT_EQ(take(), 1u) << "the rising edge is the end";
	set_entry(9, 0x72 | level | low | masked);
	EXPECT_EQ(take(), 0u);
	set_entry(9, 0x72 | level | low);
	EXPECT_EQ(take(), 1u);
	kb_ioapic_set(a, 9, true);
	kb_ioapic_eoi(a, 0x72);
	EXPECT_EQ(take(), 0u);
}

TEST_F(ioapic, nobody_takes_the_message)
{
	taken = false;
	set_entry(9, 0x61 | level, 3);
	kb_ioapic_set(a, 9, true);
	EXPECT_EQ(take(), 1u);
	EXPECT_FALSE(entry(9) & remote);
	taken = true;
	wr(0x11 + 18, 0); // to somebody who is there
	EXPECT_EQ(sent, (std::vector<message>{{0xfee00000, 0xc061}}));
	EXPECT_TRUE(entry(9) & remote);
}

TEST_F(ioapic, reset_keeps_the_inputs)
{
	set_entry(9, 0x61 | level);
	kb_ioapic_set(a, 9, true);
	take();
	kb_ioapic_reset(a);
	EXPECT_EQ(entry(9), masked);
	set_entry(9, 0x62 | level);
	EXPECT_EQ(take(), 1u) << "still asserted";
}

TEST_F(ioapic, create_leaves_nothing_on_failure)
{
	kb_ioapic *second = nullptr;
	EXPECT_EQ(kb_ioapic_create(&second, &cfg, &err), -EEXIST);
	EXPECT_EQ(second, nullptr);
	EXPECT_EQ(mem.count, 1u);
	kb_ioapic_destroy(nullptr);
}

TEST_F(ioapic, hostile)
{
	std::mt19937_64 rng(11);
	for (int i = 0; i < 300000; i++) {
		uint64_t r = rng(), v = rng();
		unsigned off = r & 1 ? (r & 2 ? 0 : 0x10) : static_cast<unsigned>(r >> 16) % 0x1000;
		size_t len = 1 + (r >> 8) % 8;
		taken = r & 4;
		if (r & 8)
			kb_ioapic_set(a, static_cast<int>(r >> 40) % 40 - 4, v & 1);
		else if (r & 16)
			kb_bus_write(&mem, KB_IOAPIC_BASE + off, &v, len);
		else
			kb_bus_read(&mem, KB_IOAPIC_BASE + off, &v, len);
		ASSERT_LE(take(), 24u) << "one access, at most one message per entry";
	}
	for (int i = 0; i < 24; i++) {
		uint32_t e = entry(i);
		EXPECT_EQ(e & ~0x1efffu, 0u);
		EXPECT_TRUE(!(e & remote) || e & level);
	}
}

// ---- with a local APIC behind -------------------------------------------------------------------------------------

class ioapic_lapic : public testing::Test {
protected:
	kb_bus mem;
	kb_timers q;
	kb_ioapic *a = nullptr;
	kb_lapic *l = nullptr;
	kvmbox_error err{};
	int nmis = 0, inits = 0;

	void SetUp() override
	{
		kb_bus_init(&mem, "memory", (1ull << 52) - 1);
		kb_timers_init(&q);
		kb_lapic_config lc{};
		lc.mem = &mem;
		lc.timers = &q;
		lc.id = 2;
		lc.directed_eoi = true;
		lc.opaque = this;
		lc.nmi = [](void *o) { self(o)->nmis++; };
		lc.init = [](void *o) { self(o)->inits++; };
		lc.extint_ack = [](void *) { return 0x28; };
		lc.eoi = [](void *o, uint8_t v) { kb_ioapic_eoi(self(o)->a, v); };
		ASSERT_EQ(kb_lapic_create(&l, &lc, &err), 0) << err.msg;
		kb_ioapic_config c{};
		c.mem = &mem;
		c.opaque = this;
		c.msi = [](void *o, uint64_t addr, uint32_t data) { return kb_lapic_msi(self(o)->l, addr, data); };
		ASSERT_EQ(kb_ioapic_create(&a, &c, &err), 0) << err.msg;
		store(KB_LAPIC_BASE + 0xf0, 0x1ff);
	}
	void TearDown() override
	{
		kb_ioapic_destroy(a);
		kb_lapic_destroy(l);
		kb_bus_destroy(&mem);
	}
	static ioapic_lapic *self(void *o) { return static_cast<ioapic_lapic *>(o); }
	void store(uint64_t addr, uint32_t v) { kb_bus_write(&mem, addr, &v, 4); }
	uint32_t load(uint64_t addr)
	{
		uint32_t v = 0;
		kb_bus_read(&mem, addr, &v, 4);
		return v;
	}
	void set_entry(unsigned pin, uint32_t lower, uint8_t dest = 2)
	{
		store(KB_IOAPIC_BASE, 0x11 + 2 * pin);
		store(KB_IOAPIC_BASE + 0x10, static_cast<uint32_t>(dest) << 24);
		store(KB_IOAPIC_BASE, 0x10 + 2 * pin);
		store(KB_IOAPIC_BASE + 0x10, lower);
	}
	uint32_t entry(unsigned pin)
	{
		store(KB_IOAPIC_BASE, 0x10 + 2 * pin);
		return load(KB_IOAPIC_BASE + 0x10);
	}
	void eoi() { store(KB_LAPIC_BASE + 0xb0, 0); }
};

TEST_F(ioapic_lapic, level_interrupt_from_pin_to_eoi)
{
	set_entry(9, 0x61 | level);
	kb_ioapic_set(a, 9, true);
	EXPECT_TRUE(kb_lapic_pending(l));
	EXPECT_EQ(kb_lapic_ack(l), 0x61);
	EXPECT_TRUE(entry(9) & remote);
	eoi();
	EXPECT_TRUE(kb_lapic_pending(l)) << "still asserted: again";
	kb_ioapic_set(a, 9, false);
	EXPECT_EQ(kb_lapic_ack(l), 0x61);
	eoi();
	EXPECT_FALSE(kb_lapic_pending(l));
	EXPECT_FALSE(entry(9) & remote);
}

TEST_F(ioapic_lapic, directed_eoi)
{
	EXPECT_TRUE(load(KB_LAPIC_BASE + 0x30) & 1 << 24);
	store(KB_LAPIC_BASE + 0xf0, 0x11ff);
	EXPECT_EQ(load(KB_LAPIC_BASE + 0xf0), 0x11ffu);
	set_entry(9, 0x61 | level);
	kb_ioapic_set(a, 9, true);
	EXPECT_EQ(kb_lapic_ack(l), 0x61);
	kb_ioapic_set(a, 9, false);
	eoi();
	EXPECT_TRUE(entry(9) & remote) << "no broadcast";
	store(KB_IOAPIC_BASE + 0x40, 0x61);
	EXPECT_FALSE(entry(9) & remote);
}

TEST_F(ioapic_lapic, edge_has_no_broadcast)
{
	set_entry(4, 0x61);
	set_entry(9, 0x61 | level);
	kb_ioapic_set(a, 9, true);
	EXPECT_EQ(kb_lapic_ack(l), 0x61);
	kb_ioapic_set(a, 4, true); // the same vector as an edge: TMR is cleared
	EXPECT_EQ(load(KB_LAPIC_BASE + 0x180 + 0x30) >> 1 & 1, 0u);
	eoi();
	EXPECT_TRUE(entry(9) & remote);
}

TEST_F(ioapic_lapic, wrong_destination_and_disabled_apic)
{
	set_entry(9, 0x61 | level, 7);
	kb_ioapic_set(a, 9, true);
	EXPECT_FALSE(kb_lapic_pending(l));
	EXPECT_EQ(kb_lapic_dropped(l), 1u);
	EXPECT_FALSE(entry(9) & remote);
	store(KB_LAPIC_BASE + 0xf0, 0xff);
	set_entry(9, 0x61 | level, 2);
	EXPECT_FALSE(entry(9) & remote) << "software-disabled";
	store(KB_LAPIC_BASE + 0xf0, 0x1ff);
	set_entry(9, 0x61 | level, 2);
	EXPECT_TRUE(kb_lapic_pending(l));
	EXPECT_TRUE(entry(9) & remote);
}

TEST_F(ioapic_lapic, other_modes)
{
	set_entry(1, NMI);
	kb_ioapic_set(a, 1, true);
	EXPECT_EQ(nmis, 1);
	set_entry(2, SMI);
	kb_ioapic_set(a, 2, true);
	EXPECT_EQ(kb_lapic_dropped(l), 1u) << "there is no SMM; the log says so";
	set_entry(0, EXTINT);
	kb_ioapic_set(a, 0, true);
	EXPECT_TRUE(kb_lapic_pending(l));
	EXPECT_EQ(kb_lapic_ack(l), 0x28);
	EXPECT_FALSE(kb_lapic_pending(l));
	set_entry(3, INIT);
	kb_ioapic_set(a, 3, true);
	EXPECT_EQ(inits, 1);
	store(KB_LAPIC_BASE + 0xf0, 0x1ff);
	store(KB_LAPIC_BASE + 0xd0, 4u << 24);
	set_entry(5, 0x44 | LOWEST | logical, 0x0c);
	kb_ioapic_set(a, 5, true);
	EXPECT_EQ(kb_lapic_ack(l), 0x44);
}

} // namespace
