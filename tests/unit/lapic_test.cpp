// devices/lapic.h: registers, priorities, LVT, timer, IPIs, messages.
#include <gtest/gtest.h>

#include <cerrno>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "devices/lapic.h"
}

namespace {

enum : unsigned {
	ID = 0x20, VERSION = 0x30, TPR = 0x80, APR = 0x90, PPR = 0xa0, EOI = 0xb0, LDR = 0xd0, DFR = 0xe0,
	SVR = 0xf0, ISR = 0x100, TMR = 0x180, IRR = 0x200, ESR = 0x280, ICR = 0x300, ICR2 = 0x310,
	TIMER = 0x320, THERMAL = 0x330, PERF = 0x340, LINT0 = 0x350, LINT1 = 0x360, ERROR = 0x370,
	COUNT = 0x380, CURRENT = 0x390, DIVIDE = 0x3e0,
};
constexpr uint32_t masked = 1 << 16, periodic = 1 << 17, level = 1 << 15, low = 1 << 13, remote = 1 << 14;

struct ipi {
	unsigned dest;
	bool logical;
	int mode;
	unsigned vector;
	bool operator==(const ipi &o) const
	{
		return dest == o.dest && logical == o.logical && mode == o.mode && vector == o.vector;
	}
};

class lapic : public testing::Test {
protected:
	kb_bus mem;
	kb_timers q;
	kb_lapic_config cfg{};
	kb_lapic *l = nullptr;
	kvmbox_error err{};
	bool intr = false;
	int nmis = 0, inits = 0, pic_vector = 0x30, acks = 0;
	std::vector<int> eois, sipis;
	std::vector<ipi> ipis;
	unsigned log_lines = 0;
	struct kb_log log{};

	void SetUp() override
	{
		kb_bus_init(&mem, "memory", (1ull << 52) - 1);
		kb_timers_init(&q);
		cfg.mem = &mem;
		cfg.timers = &q;
		cfg.id = 3;
		cfg.opaque = this;
		cfg.intr.opaque = this;
		cfg.intr.set = [](void *o, int, bool on) { self(o)->intr = on; };
		cfg.nmi = [](void *o) { self(o)->nmis++; };
		cfg.init = [](void *o) { self(o)->inits++; };
		cfg.sipi = [](void *o, uint8_t v) { self(o)->sipis.push_back(v); };
		cfg.eoi = [](void *o, uint8_t v) { self(o)->eois.push_back(v); };
		cfg.ipi = [](void *o, uint32_t dest, bool logical, kb_lapic_mode mode, uint8_t v) {
			self(o)->ipis.push_back({dest, logical, mode, v});
		};
		cfg.extint_ack = [](void *o) { self(o)->acks++; return self(o)->pic_vector; };
		log.opaque = this;
		log.fn = [](void *o, kvmbox_log_level, const char *) { self(o)->log_lines++; };
		cfg.log = &log;
	}
	void TearDown() override
	{
		kb_lapic_destroy(l);
		EXPECT_EQ(mem.count, 0u);
		EXPECT_EQ(q.head, nullptr);
		kb_bus_destroy(&mem);
	}
	static lapic *self(void *o) { return static_cast<lapic *>(o); }
	void create()
	{
		ASSERT_EQ(kb_lapic_create(&l, &cfg, &err), 0) << err.msg;
	}
	void enabled()
	{
		create();
		wr(SVR, 0x1ff);
	}
	uint32_t rd(unsigned reg)
	{
		uint32_t v = 0;
		kb_bus_read(&mem, KB_LAPIC_BASE + reg, &v, 4);
		return v;
	}
	void wr(unsigned reg, uint32_t v) { kb_bus_write(&mem, KB_LAPIC_BASE + reg, &v, 4); }
	bool bit(unsigned base, unsigned v) { return rd(base + v / 32 * 0x10) >> v % 32 & 1; }
	void fixed(uint8_t v, bool level_triggered = false) { kb_lapic_deliver(l, KB_LAPIC_FIXED, v, level_triggered); }
	uint32_t errors()
	{
		wr(ESR, 0);
		return rd(ESR);
	}
};

TEST_F(lapic, power_up_state)
{
	create();
	EXPECT_EQ(rd(ID), 3u << 24);
	EXPECT_EQ(rd(VERSION), 0x00050014u);
	EXPECT_EQ(rd(SVR), 0xffu);
	EXPECT_EQ(rd(DFR), 0xffffffffu);
	for (unsigned r : {TPR, APR, PPR, LDR, ESR, ICR, ICR2, COUNT, CURRENT, DIVIDE})
		EXPECT_EQ(rd(r), 0u) << std::hex << r;
	for (unsigned r = ISR; r < ESR; r += 0x10)
		EXPECT_EQ(rd(r), 0u) << std::hex << r;
	for (unsigned r = TIMER; r <= ERROR; r += 0x10)
		EXPECT_EQ(rd(r), masked) << std::hex << r;
	EXPECT_FALSE(intr);
}

TEST_F(lapic, virtual_wire_state_and_reset)
{
	cfg.virtual_wire = true;
	create();
	EXPECT_EQ(rd(SVR), 0x1ffu);
	EXPECT_EQ(rd(LINT0), 0x700u);
	EXPECT_EQ(rd(LINT1), 0x400u);
	EXPECT_EQ(rd(TIMER), masked);
	kb_lapic_extint(l, 0, true);
	EXPECT_TRUE(intr);
	wr(LINT0, masked);
	EXPECT_FALSE(intr);
	wr(ID, 9u << 24);
	EXPECT_EQ(rd(ID), 9u << 24);
	fixed(0x80);
	kb_lapic_reset(l);
	EXPECT_EQ(rd(ID), 3u << 24);
	EXPECT_FALSE(bit(IRR, 0x80));
	EXPECT_TRUE(intr) << "the 8259 still asserts INTR";
	kb_lapic_lint1(l, 0, true);
	EXPECT_EQ(nmis, 1);
}

TEST_F(lapic, create_refuses_and_leaves_nothing)
{
	cfg.timer_hz = KB_PS_PER_S + 1;
	EXPECT_EQ(kb_lapic_create(&l, &cfg, &err), -EINVAL);
	EXPECT_NE(strstr(err.msg, "timer_hz"), nullptr) << err.msg;
	cfg.timer_hz = KB_PS_PER_S;
	create();
	kb_lapic *second = nullptr;
	EXPECT_EQ(kb_lapic_create(&second, &cfg, &err), -EEXIST);
	EXPECT_EQ(second, nullptr);
	EXPECT_EQ(mem.count, 1u);
	kb_lapic_destroy(nullptr);
}

TEST_F(lapic, access_widths)
{
	enabled();
	uint16_t half = 0;
	uint8_t byte = 0;
	kb_bus_read(&mem, KB_LAPIC_BASE + VERSION + 2, &half, 2);
	EXPECT_EQ(half, 5);
	kb_bus_read(&mem, KB_LAPIC_BASE + VERSION, &byte, 1);
	EXPECT_EQ(byte, 0x14);
	kb_bus_read(&mem, KB_LAPIC_BASE + ID + 3, &byte, 1);
	EXPECT_EQ(byte, 3);
	byte = 0x40;
	kb_bus_write(&mem, KB_LAPIC_BASE + TPR, &byte, 1);
	half = 0x40;
	kb_bus_write(&mem, KB_LAPIC_BASE + TPR, &half, 2);
	EXPECT_EQ(rd(TPR), 0u);
	uint64_t wide = 0x0000007700000040;
	kb_bus_write(&mem, KB_LAPIC_BASE + TPR, &wide, 8);
	EXPECT_EQ(rd(TPR), 0x40u);
	kb_bus_read(&mem, KB_LAPIC_BASE + TPR, &wide, 8);
	EXPECT_EQ(wide, 0x40u);
	EXPECT_EQ(errors(), 0u);
}

TEST_F(lapic, only_defined_bits_are_kept)
{
	enabled();
	for (unsigned r = 0; r < 0x400; r += 0x10)
		if (r != EOI && r != ICR && r != SVR)
			wr(r, 0xffffffff);
	EXPECT_EQ(rd(TPR), 0xffu);
	EXPECT_EQ(rd(LDR), 0xff000000u);
	EXPECT_EQ(rd(DFR), 0xffffffffu);
	EXPECT_EQ(rd(VERSION), 0x00050014u);
	EXPECT_EQ(rd(ICR2), 0xff000000u);
	EXPECT_EQ(rd(TIMER), 0x300ffu);
	EXPECT_EQ(rd(THERMAL), 0x107ffu);
	EXPECT_EQ(rd(PERF), 0x107ffu);
	EXPECT_EQ(rd(LINT0), 0x1a7ffu);
	EXPECT_EQ(rd(LINT1), 0x1a7ffu);
	EXPECT_EQ(rd(ERROR), 0x100ffu);
	EXPECT_EQ(rd(DIVIDE), 0xbu);
	EXPECT_EQ(rd(IRR), 0u);
	wr(DFR, 0);
	EXPECT_EQ(rd(DFR), 0x0fffffffu);
	wr(SVR, 0xffffffff);
	EXPECT_EQ(rd(SVR), 0x3ffu);
}

TEST_F(lapic, highest_class_first_and_nested_service)
{
	enabled();
	fixed(0x41);
	fixed(0x62);
	fixed(0x45);
	EXPECT_TRUE(intr);
	EXPECT_TRUE(kb_lapic_pending(l));
	EXPECT_EQ(kb_lapic_ack(l), 0x62);
	EXPECT_TRUE(bit(ISR, 0x62));
	EXPECT_FALSE(bit(IRR, 0x62));
	EXPECT_EQ(rd(PPR), 0x60u);
	EXPECT_FALSE(intr) << "0x45 is below the vector in service";
	fixed(0x6f);
	EXPECT_FALSE(intr) << "same class does not nest";
	fixed(0x80);
	EXPECT_TRUE(intr);
	EXPECT_EQ(kb_lapic_ack(l), 0x80);
	EXPECT_EQ(rd(PPR), 0x80u);
	wr(EOI, 0);
	EXPECT_FALSE(bit(ISR, 0x80));
	EXPECT_EQ(rd(PPR), 0x60u);
	EXPECT_FALSE(intr);
	wr(EOI, 0);
	EXPECT_TRUE(intr);
	EXPECT_EQ(kb_lapic_ack(l), 0x6f);
	wr(EOI, 0);
	EXPECT_EQ(kb_lapic_ack(l), 0x45);
	wr(EOI, 0);
	EXPECT_EQ(kb_lapic_ack(l), 0x41);
	wr(EOI, 0);
	EXPECT_EQ(rd(PPR), 0u);
	wr(EOI, 0);
	EXPECT_TRUE(eois.empty());
}

TEST_F(lapic, task_priority_holds_back)
{
	enabled();
	wr(TPR, 0x5f);
	EXPECT_EQ(rd(PPR), 0x5fu);
	fixed(0x5f);
	EXPECT_FALSE(intr);
	EXPECT_EQ(kb_lapic_ack(l), 0xff) << "spurious";
	EXPECT_TRUE(bit(IRR, 0x5f));
	EXPECT_FALSE(bit(ISR, 0xff));
	fixed(0x60);
	EXPECT_TRUE(intr);
	kb_lapic_set_tpr(l, 0x6 << 4);
	EXPECT_EQ(kb_lapic_get_tpr(l), 0x60);
	EXPECT_EQ(rd(TPR), 0x60u);
	EXPECT_FALSE(intr);
	kb_lapic_set_tpr(l, 0);
	EXPECT_TRUE(intr);
	EXPECT_EQ(kb_lapic_ack(l), 0x60);
	wr(TPR, 0x23);
	EXPECT_EQ(rd(PPR), 0x60u);
	wr(TPR, 0x63);
	EXPECT_EQ(rd(PPR), 0x63u);
}

TEST_F(lapic, arbitration_priority)
{
	enabled();
	wr(TPR, 0x35);
	EXPECT_EQ(rd(APR), 0x35u);
	fixed(0x52);
	EXPECT_EQ(rd(APR), 0x50u);
}

TEST_F(lapic, spurious_vector_is_programmable)
{
	create();
	wr(SVR, 0x1ef);
	EXPECT_EQ(kb_lapic_ack(l), 0xef);
	for (unsigned r = ISR; r < TMR; r += 0x10)
		EXPECT_EQ(rd(r), 0u);
}

TEST_F(lapic, software_disable_masks_and_refuses)
{
	enabled();
	wr(LINT1, 0x400);
	wr(TIMER, 0x40);
	fixed(0x70);
	wr(SVR, 0xff);
	EXPECT_EQ(rd(LINT1), 0x400u | masked);
	EXPECT_EQ(rd(TIMER), 0x40u | masked);
	wr(LINT1, 0x400);
	EXPECT_EQ(rd(LINT1), 0x400u | masked) << "stays masked while disabled";
	EXPECT_TRUE(intr) << "what is pending is held";
	EXPECT_EQ(kb_lapic_ack(l), 0x70);
	uint64_t before = kb_lapic_dropped(l);
	fixed(0x90);
	EXPECT_EQ(kb_lapic_dropped(l), before + 1);
	EXPECT_FALSE(bit(IRR, 0x90));
	kb_lapic_deliver(l, KB_LAPIC_NMI, 0, false);
	EXPECT_EQ(nmis, 1) << "NMI gets through";
	wr(SVR, 0x1ff);
	EXPECT_EQ(rd(LINT1), 0x400u | masked) << "unmasking is software's";
}

TEST_F(lapic, level_triggered_eoi_is_broadcast)
{
	enabled();
	fixed(0x51, true);
	EXPECT_TRUE(bit(TMR, 0x51));
	EXPECT_EQ(kb_lapic_ack(l), 0x51);
	EXPECT_TRUE(eois.empty());
	wr(EOI, 0);
	EXPECT_EQ(eois, std::vector<int>{0x51});
	fixed(0x51, false);
	EXPECT_FALSE(bit(TMR, 0x51));
	kb_lapic_ack(l);
	wr(EOI, 0);
	EXPECT_EQ(eois.size(), 1u);
}

TEST_F(lapic, extint_goes_first_and_past_priorities)
{
	enabled();
	wr(LINT0, 0x700);
	wr(TPR, 0xff);
	kb_lapic_extint(l, 0, true);
	EXPECT_TRUE(intr);
	fixed(0xf0);
	wr(TPR, 0);
	EXPECT_EQ(kb_lapic_ack(l), 0x30);
	EXPECT_EQ(acks, 1);
	EXPECT_EQ(rd(ISR + 0x10), 0u) << "not in service here";
	kb_lapic_extint(l, 0, false);
	EXPECT_TRUE(intr);
	EXPECT_EQ(kb_lapic_ack(l), 0xf0);
	EXPECT_EQ(acks, 1);
	EXPECT_FALSE(intr);
}

TEST_F(lapic, extint_without_a_vector_falls_through)
{
	enabled();
	wr(LINT0, 0x700);
	pic_vector = -1;
	kb_lapic_extint(l, 0, true);
	fixed(0x44);
	EXPECT_EQ(kb_lapic_ack(l), 0x44);
	EXPECT_EQ(kb_lapic_ack(l), 0xff);
}

TEST_F(lapic, extint_message_asks_once)
{
	enabled();
	kb_lapic_deliver(l, KB_LAPIC_EXTINT, 0, false);
	EXPECT_TRUE(intr);
	EXPECT_EQ(kb_lapic_ack(l), 0x30);
	EXPECT_FALSE(intr);
}

TEST_F(lapic, lint_edge_and_masked_edge)
{
	enabled();
	wr(LINT0, 0x48);
	kb_lapic_extint(l, 0, true);
	EXPECT_EQ(kb_lapic_ack(l), 0x48);
	wr(EOI, 0);
	EXPECT_FALSE(intr) << "one edge, one interrupt";
	kb_lapic_extint(l, 0, false);
	wr(LINT0, 0x48 | masked);
	kb_lapic_extint(l, 0, true);
	wr(LINT0, 0x48);
	EXPECT_FALSE(intr) << "the edge came while masked";
	kb_lapic_extint(l, 0, false);
	kb_lapic_extint(l, 0, true);
	EXPECT_TRUE(intr);
	EXPECT_FALSE(bit(TMR, 0x48));
}

TEST_F(lapic, lint0_level_with_remote_irr)
{
	enabled();
	wr(LINT0, 0x48 | level);
	kb_lapic_extint(l, 0, true);
	EXPECT_EQ(rd(LINT0), 0x48u | level | remote);
	EXPECT_TRUE(bit(TMR, 0x48));
	EXPECT_EQ(kb_lapic_ack(l), 0x48);
	EXPECT_FALSE(bit(IRR, 0x48));
	wr(LINT0, 0x48 | level);
	EXPECT_EQ(rd(LINT0), 0x48u | level | remote) << "read-only";
	EXPECT_FALSE(bit(IRR, 0x48)) << "not again before EOI";
	wr(EOI, 0);
	EXPECT_TRUE(bit(IRR, 0x48)) << "still asserted";
	EXPECT_EQ(eois, std::vector<int>{0x48});
	EXPECT_EQ(kb_lapic_ack(l), 0x48);
	kb_lapic_extint(l, 0, false);
	wr(EOI, 0);
	EXPECT_EQ(rd(LINT0), 0x48u | level);
	EXPECT_FALSE(intr);
	wr(LINT0, 0x48 | level | masked);
	kb_lapic_extint(l, 0, true);
	EXPECT_FALSE(intr);
	wr(LINT0, 0x48 | level);
	EXPECT_TRUE(intr) << "a level waits for unmasking";
}

TEST_F(lapic, lint_polarity)
{
	enabled();
	kb_lapic_lint1(l, 0, true);
	wr(LINT1, 0x400 | low);
	EXPECT_EQ(nmis, 0);
	kb_lapic_lint1(l, 0, false);
	EXPECT_EQ(nmis, 1);
	kb_lapic_lint1(l, 0, true);
	EXPECT_EQ(nmis, 1);
}

TEST_F(lapic, lint1_nmi_is_an_edge_and_never_level)
{
	enabled();
	wr(LINT1, 0x400 | level);
	kb_lapic_lint1(l, 0, true);
	kb_lapic_lint1(l, 0, true);
	EXPECT_EQ(nmis, 1);
	wr(LINT1, 0x55 | level);
	EXPECT_FALSE(intr);
	kb_lapic_lint1(l, 0, false);
	kb_lapic_lint1(l, 0, true);
	EXPECT_TRUE(intr);
	EXPECT_EQ(rd(LINT1), 0x55u | level) << "no remote IRR";
}

TEST_F(lapic, a_pin_that_stays_high_over_reset_is_no_edge)
{
	cfg.virtual_wire = true;
	create();
	wr(LINT1, 0x400 | low | masked);
	kb_lapic_lint1(l, 0, true);
	kb_lapic_reset(l);
	wr(LINT1, 0x400);
	EXPECT_EQ(nmis, 0);
	kb_lapic_lint1(l, 0, false);
	kb_lapic_lint1(l, 0, true);
	EXPECT_EQ(nmis, 1);
}

TEST_F(lapic, lint_init_and_smi)
{
	enabled();
	wr(LINT1, 0x200);
	kb_lapic_lint1(l, 0, true);
	EXPECT_FALSE(intr);
	kb_lapic_lint1(l, 0, false);
	wr(LINT1, 0x500);
	kb_lapic_lint1(l, 0, true);
	EXPECT_EQ(inits, 1);
	EXPECT_EQ(rd(SVR), 0xffu);
}

TEST_F(lapic, thermal_and_performance_entries)
{
	enabled();
	wr(THERMAL, 0x66);
	kb_lapic_local(l, KB_LAPIC_LVT_THERMAL);
	EXPECT_TRUE(bit(IRR, 0x66));
	EXPECT_EQ(rd(THERMAL), 0x66u);
	wr(PERF, 0x400);
	kb_lapic_local(l, KB_LAPIC_LVT_PERF);
	EXPECT_EQ(nmis, 1);
	EXPECT_EQ(rd(PERF), 0x400u | masked) << "masks itself";
	kb_lapic_local(l, KB_LAPIC_LVT_PERF);
	EXPECT_EQ(nmis, 1);
	wr(THERMAL, 0x500);
	kb_lapic_local(l, KB_LAPIC_LVT_THERMAL);
	EXPECT_EQ(inits, 0);
}

TEST_F(lapic, errors_latch_on_write_and_interrupt_once)
{
	enabled();
	wr(ERROR, 0xe0);
	fixed(5);
	EXPECT_FALSE(bit(IRR, 5));
	EXPECT_TRUE(bit(IRR, 0xe0));
	EXPECT_EQ(rd(ESR), 0u) << "only a write shows it";
	EXPECT_EQ(kb_lapic_ack(l), 0xe0);
	wr(EOI, 0);
	rd(0x400);
	EXPECT_FALSE(intr) << "not rearmed yet";
	EXPECT_EQ(errors(), 0xc0u);
	EXPECT_EQ(rd(ESR), 0xc0u);
	wr(0x3f0, 1);
	EXPECT_TRUE(intr);
	EXPECT_EQ(errors(), 0x80u);
	EXPECT_EQ(errors(), 0u);
	for (unsigned r : {VERSION, PPR, CURRENT})
		wr(r, 1);
	EXPECT_EQ(errors(), 0u) << "read-only is not reserved";
	rd(0x2f0);
	EXPECT_EQ(errors(), 0x80u) << "no CMCI entry with 6 LVT entries";
}

TEST_F(lapic, error_entry_with_illegal_vector_ends)
{
	enabled();
	wr(ERROR, 3);
	fixed(2);
	EXPECT_EQ(errors(), 0x40u);
	EXPECT_FALSE(intr);
}

TEST_F(lapic, send_illegal_vector)
{
	enabled();
	wr(ICR2, 7u << 24);
	wr(ICR, 0x0f);
	EXPECT_EQ(errors(), 0x20u);
	wr(ICR, 1u << 18 | 0x0f);
	EXPECT_EQ(errors(), 0x60u) << "sent to itself: received, too";
	wr(ICR2, 7u << 24);
	wr(ICR, 0x600);
	EXPECT_EQ(errors(), 0u) << "a start-up page is no vector";
}

TEST_F(lapic, icr_destinations)
{
	enabled();
	wr(ICR2, 7u << 24);
	wr(ICR, 0x31);
	EXPECT_EQ(ipis, (std::vector<ipi>{{7, false, KB_LAPIC_FIXED, 0x31}}));
	EXPECT_FALSE(intr);
	EXPECT_EQ(rd(ICR), 0x31u) << "idle at once";
	ipis.clear();
	wr(ICR2, 3u << 24);
	wr(ICR, 0x32);
	EXPECT_TRUE(ipis.empty());
	EXPECT_TRUE(bit(IRR, 0x32));
	wr(ICR2, 0xffu << 24);
	wr(ICR, 0x4000 | 0x33);
	EXPECT_EQ(ipis, (std::vector<ipi>{{0xff, false, KB_LAPIC_FIXED, 0x33}}));
	EXPECT_TRUE(bit(IRR, 0x33));
	ipis.clear();
	wr(LDR, 0x02000000);
	wr(ICR2, 0x06u << 24);
	wr(ICR, 0x800 | 0x34);
	EXPECT_EQ(ipis, (std::vector<ipi>{{6, true, KB_LAPIC_FIXED, 0x34}}));
	EXPECT_TRUE(bit(IRR, 0x34));
	ipis.clear();
	wr(ICR, 0x900 | 0x35);
	EXPECT_TRUE(ipis.empty()) << "lowest priority goes to one: the sender, if addressed";
	EXPECT_TRUE(bit(IRR, 0x35));
}

TEST_F(lapic, icr_shorthands)
{
	enabled();
	wr(ICR2, 9u << 24);
	wr(ICR, 1u << 18 | 0x41);
	EXPECT_TRUE(ipis.empty());
	EXPECT_TRUE(bit(IRR, 0x41));
	wr(ICR, 2u << 18 | 0x42);
	EXPECT_TRUE(bit(IRR, 0x42));
	wr(ICR, 3u << 18 | 0x43);
	EXPECT_FALSE(bit(IRR, 0x43));
	EXPECT_EQ(ipis, (std::vector<ipi>{{0xff, false, KB_LAPIC_FIXED, 0x42}, {0xff, false, KB_LAPIC_FIXED, 0x43}}));
	ipis.clear();
	wr(ICR, 3u << 18 | 0x400);
	EXPECT_EQ(ipis, (std::vector<ipi>{{0xff, false, KB_LAPIC_NMI, 0}}));
	EXPECT_EQ(nmis, 0);
	ipis.clear();
	wr(ICR, 1u << 18 | 0x400);
	wr(ICR, 2u << 18 | 0x500);
	wr(ICR, 0x300);
	wr(ICR, 0x700);
	EXPECT_TRUE(ipis.empty());
	EXPECT_EQ(nmis + inits, 0) << "invalid combinations";
}

TEST_F(lapic, icr_nmi_init_sipi)
{
	enabled();
	wr(ICR2, 3u << 24);
	wr(ICR, 0x400);
	EXPECT_EQ(nmis, 1);
	wr(ICR2, 7u << 24);
	wr(ICR, 0xc500);
	wr(ICR, 0x8500);
	wr(ICR, 0x69a);
	EXPECT_EQ(ipis, (std::vector<ipi>{{7, false, KB_LAPIC_INIT, 0}, {7, false, KB_LAPIC_SIPI, 0x9a}}))
		<< "INIT level de-assert goes nowhere";
	kb_lapic_deliver(l, KB_LAPIC_SIPI, 0x9a, false);
	EXPECT_EQ(sipis, std::vector<int>{0x9a});
	kb_lapic_deliver(l, KB_LAPIC_SMI, 0, false);
	EXPECT_EQ(kb_lapic_dropped(l), 1u);
}

TEST_F(lapic, init_keeps_the_id)
{
	enabled();
	wr(ID, 5u << 24);
	fixed(0x77);
	wr(TIMER, 0x40);
	wr(COUNT, 100);
	wr(ICR2, 5u << 24);
	wr(ICR, 0x4500);
	EXPECT_EQ(inits, 1);
	EXPECT_EQ(rd(ID), 5u << 24);
	EXPECT_EQ(rd(SVR), 0xffu);
	EXPECT_EQ(rd(COUNT), 0u);
	EXPECT_FALSE(intr);
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
}

TEST_F(lapic, works_without_callbacks)
{
	kb_lapic_config bare{};
	bare.mem = &mem;
	bare.timers = &q;
	bare.virtual_wire = true;
	ASSERT_EQ(kb_lapic_create(&l, &bare, &err), 0);
	kb_lapic_extint(l, 0, true);
	EXPECT_FALSE(kb_lapic_pending(l)) << "nobody to ask for the vector";
	kb_lapic_lint1(l, 0, true);
	for (int mode = 0; mode < 8; mode++)
		kb_lapic_deliver(l, static_cast<kb_lapic_mode>(mode), 0x50, true);
	EXPECT_EQ(kb_lapic_ack(l), 0x50);
	wr(EOI, 0);
	for (uint32_t i = 0; i < 32; i++)
		wr(ICR, (i & 7) << 8 | (i >> 3) << 18 | 0x50);
	kb_lapic_set_base(l, KB_LAPIC_BASE | 0x100);
	EXPECT_EQ(kb_lapic_ack(l), 0xff);
}

// ---- x2APIC, TSC deadline -----------------------------------------------------------------------------------------

enum : uint32_t { msr = KB_LAPIC_MSR, xapic_base = 0xfee00800, x2apic_base = 0xfee00c00 };

class x2apic : public lapic {
protected:
	void SetUp() override
	{
		lapic::SetUp();
		cfg.id = 0x25;
		cfg.tsc_reaches = [](void *, uint64_t tsc) { return tsc * 1000; }; // 1 GHz
	}
	void there()
	{
		create();
		kb_lapic_set_base(l, x2apic_base);
		ASSERT_TRUE(put(SVR, 0x1ff));
	}
	bool put_msr(uint32_t index, uint64_t v) { return kb_lapic_msr_write(l, index, v); }
	bool put(unsigned reg, uint64_t v) { return put_msr(msr + reg / 16, v); }
	bool get(unsigned reg, uint64_t *v) { return kb_lapic_msr_read(l, msr + reg / 16, v); }
	uint64_t get(unsigned reg)
	{
		uint64_t v = 0;
		EXPECT_TRUE(get(reg, &v)) << std::hex << reg;
		return v;
	}
	uint32_t errors_by_msr()
	{
		put(ESR, 0);
		return static_cast<uint32_t>(get(ESR));
	}
	uint64_t deadline()
	{
		uint64_t v = 0;
		EXPECT_TRUE(kb_lapic_msr_read(l, KB_LAPIC_MSR_DEADLINE, &v));
		return v;
	}
};

TEST_F(x2apic, exists_in_its_mode_only)
{
	uint64_t v;
	create();
	EXPECT_FALSE(get(ID, &v));
	EXPECT_FALSE(put(SVR, 0x1ff));
	kb_lapic_set_base(l, x2apic_base);
	EXPECT_EQ(get(ID), 0x25u);
	EXPECT_EQ(get(LDR), 2u << 16 | 1u << 5);
	EXPECT_EQ(rd(ID), UINT32_MAX) << "the page is gone";
	wr(SVR, 0x1ff);
	EXPECT_EQ(get(SVR), 0xffu);
	kb_lapic_set_base(l, 0xfee00000);
	EXPECT_FALSE(get(ID, &v));
	kb_lapic_set_base(l, xapic_base);
	EXPECT_EQ(rd(ID), 0x25u << 24);
	kb_lapic_set_base(l, x2apic_base);
	kb_lapic_reset(l);
	EXPECT_FALSE(get(ID, &v)) << "a reset ends it";
}

TEST_F(x2apic, has_its_registers_and_no_others)
{
	there();
	uint64_t v;
	for (unsigned reg = 0; reg < 0x400; reg += 0x10) {
		bool readable = reg == ID || reg == VERSION || reg == TPR || reg == PPR || reg == LDR || reg == SVR || reg == ESR ||
				(reg >= ISR && reg < ESR) || reg == ICR || (reg >= TIMER && reg <= CURRENT) || reg == DIVIDE;
		bool writable = reg == TPR || reg == EOI || reg == ESR || reg == ICR || (reg >= TIMER && reg <= COUNT) || reg == DIVIDE ||
				reg == SVR || reg == 0x3f0;
		EXPECT_EQ(get(reg, &v), readable) << std::hex << reg;
		if (reg != SVR) { // 0 would disable
			EXPECT_EQ(put(reg, 0), writable) << std::hex << reg;
		}
	}
	EXPECT_EQ(errors_by_msr(), 1u << 5 | 1u << 6) << "vector 0 was sent to itself";
}

TEST_F(x2apic, reserved_bits_are_refused)
{
	there();
	const std::pair<unsigned, uint64_t> bad[] = {
		{TPR, 0x100}, {TPR, 1ull << 32}, {EOI, 1}, {ESR, 1}, {SVR, 1 << 10}, {SVR, 1 << 12}, {DIVIDE, 4}, {COUNT, 1ull << 32},
		{TIMER, 1 << 19}, {TIMER, 1 << 8}, {LINT0, 1 << 11}, {ERROR, 1 << 8}, {ICR, 1 << 13}, {ICR, 1 << 16}, {ICR, 1 << 20}, {0x3f0, 0x100},
	};
	for (auto [reg, v] : bad)
		EXPECT_FALSE(put(reg, v)) << std::hex << reg << " " << v;
	EXPECT_TRUE(put(TIMER, 0x31 | masked | 1 << 12)) << "read-only bits may be written back";
}

TEST_F(x2apic, icr_takes_a_destination_of_32_bits)
{
	there();
	EXPECT_TRUE(put(ICR, 0x0123456700000031));
	EXPECT_EQ(get(ICR), 0x0123456700000031u);
	EXPECT_TRUE(put(ICR, 0xffffffff00000032));
	EXPECT_TRUE(put(ICR, 0x00020021ull << 32 | 0x833)) << "logical: cluster 2, this CPU among others";
	EXPECT_EQ(ipis, (std::vector<ipi>{{0x01234567, false, 0, 0x31}, {0xffffffff, false, 0, 0x32}, {0x00020021, true, 0, 0x33}}));
	EXPECT_EQ(get(IRR + 0x10), 0x0c0000u) << "32 for all, 33 by its bit";
	EXPECT_TRUE(put(0x3f0, 0x41));
	EXPECT_EQ(get(IRR + 0x20), 2u);
	EXPECT_TRUE(intr);
	EXPECT_EQ(kb_lapic_ack(l), 0x41);
	EXPECT_TRUE(put(EOI, 0));
	EXPECT_EQ(kb_lapic_ack(l), 0x33);
}

TEST_F(x2apic, messages_of_8_bits_reach_it)
{
	there();
	EXPECT_TRUE(kb_lapic_msi(l, 0xfee25000, 0x51));
	EXPECT_FALSE(kb_lapic_msi(l, 0xfee26000, 0x52));
	EXPECT_TRUE(kb_lapic_msi(l, 0xfeeff000, 0x53)) << "0xff is everybody in every mode";
	EXPECT_FALSE(kb_lapic_msi(l, 0xfee20004, 0x54)) << "logical: cluster 0 only";
	EXPECT_EQ(get(IRR + 0x20), 1u << 17 | 1u << 19);
}

TEST_F(x2apic, deadline_fires_when_the_tsc_gets_there)
{
	there();
	EXPECT_TRUE(put(TIMER, 0x61 | 1 << 18));
	EXPECT_TRUE(put_msr(KB_LAPIC_MSR_DEADLINE, 5000));
	EXPECT_EQ(deadline(), 5000u);
	EXPECT_TRUE(put(COUNT, 100)) << "does nothing in this mode";
	EXPECT_EQ(get(COUNT), 0u);
	EXPECT_EQ(get(CURRENT), 0u);
	EXPECT_EQ(kb_timers_next(&q), 5000000u);
	kb_timers_advance(&q, 4999999);
	EXPECT_FALSE(intr);
	kb_timers_advance(&q, 5000000);
	EXPECT_TRUE(intr);
	EXPECT_EQ(deadline(), 0u);
	kb_lapic_ack(l);
	put(EOI, 0);
	EXPECT_TRUE(put_msr(KB_LAPIC_MSR_DEADLINE, 1)) << "in the past: at once";
	kb_timers_advance(&q, 5000000);
	EXPECT_TRUE(intr);
}

TEST_F(x2apic, deadline_is_disarmed)
{
	there();
	put(TIMER, 0x61 | 1 << 18);
	put_msr(KB_LAPIC_MSR_DEADLINE, 5000);
	EXPECT_TRUE(put_msr(KB_LAPIC_MSR_DEADLINE, 0));
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
	put_msr(KB_LAPIC_MSR_DEADLINE, 5000);
	put(TIMER, 0x61 | periodic);
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER) << "by another mode";
	EXPECT_EQ(deadline(), 0u);
	EXPECT_TRUE(put_msr(KB_LAPIC_MSR_DEADLINE, 5000));
	EXPECT_EQ(deadline(), 0u) << "ignored in other modes";
	put(TIMER, 0x61 | 1 << 18 | masked);
	put_msr(KB_LAPIC_MSR_DEADLINE, 5000);
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER) << "masked: cuts no slice";
	kb_timers_advance(&q, 5000000);
	EXPECT_EQ(deadline(), 0u) << "but expires";
}

TEST_F(x2apic, no_deadline_without_a_tsc)
{
	uint64_t v;
	cfg.tsc_reaches = nullptr;
	there();
	EXPECT_FALSE(put(TIMER, 0x61 | 1 << 18)) << "a reserved mode";
	EXPECT_FALSE(put_msr(KB_LAPIC_MSR_DEADLINE, 1));
	EXPECT_FALSE(kb_lapic_msr_read(l, KB_LAPIC_MSR_DEADLINE, &v));
}

TEST_F(lapic, matches_flat_and_cluster)
{
	enabled();
	EXPECT_TRUE(kb_lapic_matches(l, 3, false));
	EXPECT_FALSE(kb_lapic_matches(l, 2, false));
	EXPECT_TRUE(kb_lapic_matches(l, 0xff, false));
	EXPECT_FALSE(kb_lapic_matches(l, 0x0f, true));
	EXPECT_TRUE(kb_lapic_matches(l, 0xff, true));
	wr(LDR, 0x24000000);
	EXPECT_TRUE(kb_lapic_matches(l, 0x04, true));
	EXPECT_TRUE(kb_lapic_matches(l, 0x21, true));
	EXPECT_FALSE(kb_lapic_matches(l, 0x13, true));
	wr(DFR, 0x0fffffff);
	EXPECT_TRUE(kb_lapic_matches(l, 0x24, true));
	EXPECT_TRUE(kb_lapic_matches(l, 0x2f, true));
	EXPECT_FALSE(kb_lapic_matches(l, 0x21, true));
	EXPECT_FALSE(kb_lapic_matches(l, 0x34, true));
	EXPECT_TRUE(kb_lapic_matches(l, 0xff, true));
	wr(DFR, 0x5fffffff);
	EXPECT_FALSE(kb_lapic_matches(l, 0x24, true)) << "reserved model";
}

TEST_F(lapic, msi)
{
	enabled();
	wr(LDR, 0x10000000);
	kb_lapic_msi(l, 0xfee03000, 0x61);
	EXPECT_TRUE(bit(IRR, 0x61));
	EXPECT_FALSE(bit(TMR, 0x61));
	kb_lapic_msi(l, 0xfee10004, 0x62);
	EXPECT_TRUE(bit(IRR, 0x62)) << "logical without redirection hint";
	kb_lapic_msi(l, 0xfee1000c, 0x163);
	EXPECT_TRUE(bit(IRR, 0x63));
	kb_lapic_msi(l, 0xfeeff000, 0xc064);
	EXPECT_TRUE(bit(IRR, 0x64));
	EXPECT_TRUE(bit(TMR, 0x64));
	kb_lapic_msi(l, 0xfee03000, 0x8065);
	EXPECT_FALSE(bit(IRR, 0x65)) << "level deassert";
	kb_lapic_msi(l, 0xfee03000, 0x400);
	EXPECT_EQ(nmis, 1);
	EXPECT_EQ(kb_lapic_dropped(l), 0u);
	kb_lapic_msi(l, 0xfee04000, 0x66);
	kb_lapic_msi(l, 0x1fee03000, 0x66);
	kb_lapic_msi(l, 0xfed03000, 0x66);
	kb_lapic_msi(l, 0xfee03000, 0x366);
	kb_lapic_msi(l, 0xfee03000, 0x666);
	EXPECT_EQ(kb_lapic_dropped(l), 5u);
	EXPECT_FALSE(bit(IRR, 0x66));
	EXPECT_TRUE(sipis.empty());
	EXPECT_EQ(log_lines, 5u);
	for (int i = 0; i < 1000; i++)
		kb_lapic_msi(l, 0xfee04000, 0x66);
	EXPECT_LT(log_lines, 30u);
}

TEST_F(lapic, hardware_disable)
{
	cfg.virtual_wire = true;
	create();
	fixed(0x70);
	wr(TIMER, 0x40);
	wr(COUNT, 10);
	kb_lapic_set_base(l, KB_LAPIC_BASE | 0x100);
	EXPECT_FALSE(intr);
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
	EXPECT_EQ(rd(VERSION), 0xffffffffu);
	EXPECT_EQ(mem.unassigned_reads, 0u);
	wr(SVR, 0x1aa);
	EXPECT_FALSE(kb_lapic_matches(l, 3, false));
	fixed(0x71);
	kb_lapic_msi(l, 0xfee03000, 0x72);
	EXPECT_EQ(kb_lapic_dropped(l), 2u);
	kb_lapic_extint(l, 0, true);
	EXPECT_TRUE(intr) << "LINT0 is INTR";
	EXPECT_EQ(kb_lapic_ack(l), 0x30);
	kb_lapic_lint1(l, 0, true);
	EXPECT_EQ(nmis, 1) << "LINT1 is NMI";
	kb_lapic_set_base(l, KB_LAPIC_BASE | 0x900);
	EXPECT_EQ(rd(SVR), 0xffu);
	EXPECT_EQ(rd(LINT0), masked);
	EXPECT_FALSE(intr);
	kb_lapic_set_base(l, KB_LAPIC_BASE | 0x100);
	EXPECT_TRUE(intr);
	kb_lapic_reset(l);
	EXPECT_EQ(rd(SVR), 0x1ffu) << "a machine reset enables it again";
}

TEST_F(lapic, timer_one_shot_is_exact)
{
	cfg.timer_hz = 1000000000;
	enabled();
	kb_timers_advance(&q, 777);
	wr(DIVIDE, 0xb);
	wr(TIMER, 0x40);
	wr(COUNT, 100);
	EXPECT_EQ(rd(COUNT), 100u);
	EXPECT_EQ(rd(CURRENT), 100u);
	EXPECT_EQ(kb_timers_next(&q), 777u + 100000);
	kb_timers_advance(&q, 777 + 999);
	EXPECT_EQ(rd(CURRENT), 100u);
	kb_timers_advance(&q, 777 + 1000);
	EXPECT_EQ(rd(CURRENT), 99u);
	kb_timers_advance(&q, 777 + 99999);
	EXPECT_EQ(rd(CURRENT), 1u);
	EXPECT_FALSE(intr);
	kb_timers_advance(&q, 777 + 100000);
	EXPECT_EQ(rd(CURRENT), 0u);
	EXPECT_TRUE(intr);
	EXPECT_EQ(kb_lapic_ack(l), 0x40);
	wr(EOI, 0);
	kb_timers_advance(&q, 10000000);
	EXPECT_FALSE(intr);
	EXPECT_EQ(rd(CURRENT), 0u);
	EXPECT_EQ(rd(COUNT), 100u);
}

TEST_F(lapic, timer_divider)
{
	enabled();
	wr(TIMER, 0x40 | masked);
	const unsigned by[] = {2, 4, 8, 16, 0, 0, 0, 0, 32, 64, 128, 1};
	for (unsigned d = 0; d < 12; d++) {
		if (!by[d])
			continue;
		wr(DIVIDE, d);
		wr(COUNT, 1000);
		kb_timers_advance(&q, q.now_ps + 1000 * by[d] * 10 - 1);
		EXPECT_EQ(rd(CURRENT), 991u) << d;
		kb_timers_advance(&q, q.now_ps + 1);
		EXPECT_EQ(rd(CURRENT), 990u) << d;
	}
	wr(DIVIDE, 0);
	EXPECT_EQ(rd(CURRENT), 990u) << "goes on from where it is";
	kb_timers_advance(&q, q.now_ps + 2000);
	EXPECT_EQ(rd(CURRENT), 989u);
}

TEST_F(lapic, timer_periodic_does_not_drift)
{
	cfg.timer_hz = 333333333; /* 3.000000003 ns */
	enabled();
	wr(DIVIDE, 0xb);
	wr(TIMER, 0x40 | periodic);
	wr(COUNT, 7);
	for (uint64_t n = 1; n < 2000; n++) {
		ASSERT_EQ(kb_timers_next(&q), kb_ticks_to_ps(n * 7, cfg.timer_hz));
		kb_timers_advance(&q, kb_timers_next(&q));
		ASSERT_EQ(rd(CURRENT), 7u);
		ASSERT_EQ(kb_lapic_ack(l), 0x40);
		wr(EOI, 0);
	}
}

TEST_F(lapic, timer_long_jumps_cost_nothing)
{
	cfg.timer_hz = KB_PS_PER_S; /* a period of 1 ps */
	enabled();
	wr(DIVIDE, 0xb);
	wr(TIMER, 0x40 | periodic);
	wr(COUNT, 1);
	kb_timers_advance(&q, 3600 * KB_PS_PER_S);
	EXPECT_TRUE(bit(IRR, 0x40));
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER) << "merges with the one in IRR until that is taken";
	EXPECT_EQ(kb_lapic_ack(l), 0x40);
	EXPECT_EQ(kb_timers_next(&q), 3600 * KB_PS_PER_S + 1);
	wr(EOI, 0);
	kb_timers_advance(&q, UINT64_MAX - 1);
	EXPECT_EQ(kb_lapic_ack(l), 0x40);
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER) << "end of time";
}

TEST_F(lapic, timer_illegal_vector_still_coalesces)
{
	cfg.timer_hz = KB_PS_PER_S;
	enabled();
	wr(DIVIDE, 0xb);
	wr(TIMER, 5 | periodic);
	wr(COUNT, 1);
	kb_timers_advance(&q, KB_PS_PER_S);
	EXPECT_EQ(kb_timers_next(&q), KB_PS_PER_S + 1);
	EXPECT_EQ(errors(), 0x40u);
}

TEST_F(lapic, timer_masked_counts_and_loses)
{
	enabled();
	wr(DIVIDE, 0xb);
	wr(TIMER, 0x40 | masked);
	wr(COUNT, 10);
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER) << "nothing anybody could notice";
	kb_timers_advance(&q, 4000);
	EXPECT_EQ(rd(CURRENT), 6u);
	wr(TIMER, 0x40);
	EXPECT_EQ(kb_timers_next(&q), 10000u);
	wr(TIMER, 0x40 | masked);
	kb_timers_advance(&q, 20000);
	wr(TIMER, 0x40);
	EXPECT_FALSE(intr);
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
	wr(TIMER, 0x40 | periodic | masked);
	EXPECT_EQ(rd(CURRENT), 0u) << "a run-out count starts with the initial count only";
	wr(COUNT, 10);
	kb_timers_advance(&q, 20000 + 13000);
	EXPECT_EQ(rd(CURRENT), 7u);
	wr(TIMER, 0x40);
	EXPECT_EQ(rd(CURRENT), 7u) << "the countdown under way goes on";
	EXPECT_EQ(kb_timers_next(&q), 40000u);
	kb_timers_advance(&q, 50000);
	EXPECT_EQ(rd(CURRENT), 0u);
	EXPECT_TRUE(intr);
}

TEST_F(lapic, timer_zero_count_stops)
{
	enabled();
	wr(TIMER, 0x40 | periodic);
	wr(COUNT, 10);
	wr(COUNT, 0);
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
	EXPECT_EQ(rd(CURRENT), 0u);
}

// The whole device against a hostile guest: nothing crashes, and intr is always what ack() would say.
TEST_F(lapic, hostile)
{
	std::mt19937_64 rng(42);
	cfg.timer_hz = 3000000001;
	enabled();
	for (int i = 0; i < 300000; i++) {
		uint64_t r = rng();
		uint32_t v = static_cast<uint32_t>(rng());
		switch (r % 16) {
		case 0 ... 6: {
			uint64_t off = r >> 8 & 1 ? (r >> 16) % 0x40 * 0x10 : (r >> 16) % 0x1000;
			uint64_t x = r >> 9 & 1 ? v : v & 0xff;
			kb_bus_write(&mem, KB_LAPIC_BASE + off, &x, r >> 10 & 1 ? 4 : 1 + (r >> 12) % 8);
			break;
		}
		case 7 ... 8: {
			uint64_t x;
			kb_bus_read(&mem, KB_LAPIC_BASE + (r >> 16) % 0x1000, &x, 1 + (r >> 12) % 8);
			break;
		}
		case 9:
			kb_lapic_deliver(l, static_cast<kb_lapic_mode>(r >> 8 & 7), static_cast<uint8_t>(v), r >> 16 & 1);
			break;
		case 10:
			kb_lapic_msi(l, r >> 8 & 1 ? 0xfee00000 | (v & 0xfffff) : rng(), v);
			break;
		case 11:
			kb_lapic_extint(l, 0, r >> 8 & 1);
			break;
		case 12:
			kb_lapic_lint1(l, 0, r >> 8 & 1);
			break;
		case 13:
			kb_timers_advance(&q, q.now_ps + (r >> 8 & 1 ? v : uint64_t{v} << 10));
			break;
		case 14:
			kb_lapic_set_tpr(l, static_cast<uint8_t>(v));
			if (v % 256 == 0)
				kb_lapic_set_base(l, r & 0xc00);
			if (v % 64 == 1)
				wr(SVR, 0x1ff);
			break;
		case 15:
			if (kb_lapic_pending(l)) {
				int before = acks;
				int vector = kb_lapic_ack(l);
				ASSERT_TRUE(acks != before || vector >= 16);
			}
			kb_lapic_local(l, static_cast<kb_lapic_lvt>(v % KB_LAPIC_LVTS));
			break;
		}
		ASSERT_EQ(intr, kb_lapic_pending(l));
	}
	EXPECT_GT(acks, 0);
	EXPECT_GT(nmis, 0);
	EXPECT_GT(inits, 0);
}

// intr against a model computed from the registers a guest can read.
TEST_F(lapic, intr_always_agrees_with_the_registers)
{
	std::mt19937_64 rng(7);
	enabled();
	bool pin = false;
	for (int i = 0; i < 100000; i++) {
		uint64_t r = rng();
		uint8_t v = static_cast<uint8_t>(rng());
		switch (r % 8) {
		case 0 ... 1:
			fixed(v, r >> 8 & 1);
			break;
		case 2:
			wr(TPR, r >> 8 & 1 ? v : 0);
			break;
		case 3:
			wr(EOI, 0);
			break;
		case 4:
			pin = r >> 8 & 1;
			kb_lapic_extint(l, 0, pin);
			break;
		case 5:
			wr(LINT0, (static_cast<uint32_t>(r >> 8) & 0x18700) | v);
			break;
		case 6:
			if (intr)
				kb_lapic_ack(l);
			break;
		case 7:
			wr(SVR, r >> 8 & 7 ? 0x1ff : 0xff);
			break;
		}
		int irrv = -1;
		for (int b = 0; b < 256; b++)
			if (bit(IRR, static_cast<unsigned>(b)))
				irrv = b;
		uint32_t lint0 = rd(LINT0);
		bool extint = pin && (lint0 & 0x10700) == 0x700;
		ASSERT_EQ(intr, extint || (irrv >= 0 && (irrv & 0xf0) > static_cast<int>(rd(PPR) & 0xf0))) << i;
	}
}

} // namespace
