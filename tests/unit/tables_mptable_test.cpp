// platforms/mptable.h: floating pointer and configuration table, entry for entry (MultiProcessor Specification 1.4, chapter 4).
#include <algorithm>

#include "tests/unit/tables_fixture.h"

using namespace tables_fixture;

namespace {

constexpr uint32_t base = 0xf0000;

class mptable : public testing::Test {
protected:
	kb_tables_config cfg = pc();
	bytes pointer = bytes(16), table = bytes(0x10000);
	std::vector<bytes> entries;
	size_t at = 0; // where the table starts

	void build(size_t before = 0)
	{
		kb_buf p{pointer.data(), pointer.size(), 0, false}, t{table.data(), table.size(), before, false};
		kb_mptable_build(&p, &t, base, &cfg);
		ASSERT_FALSE(p.overflow);
		ASSERT_FALSE(t.overflow);
		ASSERT_EQ(p.len, 16u);
		table.resize(t.len);
		at = le(pointer, 4, 4) - base;
		table = slice(table, at, table.size() - at);
		parse();
	}
	void parse()
	{
		size_t i = 44;
		while (i < table.size()) {
			size_t len = table[i] == 0 ? 20 : 8;
			entries.push_back(slice(table, i, len));
			i += len;
		}
		EXPECT_EQ(i, table.size());
	}
	bool has(const bytes &entry) const { return std::find(entries.begin(), entries.end(), entry) != entries.end(); }
};

TEST_F(mptable, pointer_and_header)
{
	build(5);
	EXPECT_EQ(at, 16u) << "aligned";
	EXPECT_EQ(chars(pointer, 0, 4), "_MP_");
	EXPECT_EQ(sum(pointer), 0);
	EXPECT_EQ(pointer[8], 1);
	EXPECT_EQ(pointer[9], 4);
	EXPECT_EQ(slice(pointer, 11, 5), bytes(5)) << "a table, virtual wire mode";
	EXPECT_EQ(chars(table, 0, 4), "PCMP");
	EXPECT_EQ(sum(table), 0);
	EXPECT_EQ(le(table, 4, 2), table.size());
	EXPECT_EQ(table[6], 4);
	EXPECT_EQ(chars(table, 8, 20), "KVMBOX  PC          ");
	EXPECT_EQ(le(table, 34, 2), entries.size());
	EXPECT_EQ(le(table, 36, 4), 0xfee00000u);
	EXPECT_EQ(le(table, 40, 4), 0u);
}

TEST_F(mptable, entries_in_order_of_their_type)
{
	cfg.cpus = 2;
	cfg.ioapic_id = 9;
	build();
	EXPECT_EQ(entries.size(), 2u + 2 + 1 + 16 + 128 + 2);
	EXPECT_TRUE(std::is_sorted(entries.begin(), entries.end(), [](const bytes &a, const bytes &b) { return a[0] < b[0]; }));
	EXPECT_EQ(entries[0], (bytes{0, 0, 0x14, 3, 0xc1, 0x06, 0x08, 0, 0xff, 0xfb, 0x83, 0x07, 0, 0, 0, 0, 0, 0, 0, 0}));
	EXPECT_EQ(entries[1], (bytes{0, 1, 0x14, 1, 0xc1, 0x06, 0x08, 0, 0xff, 0xfb, 0x83, 0x07, 0, 0, 0, 0, 0, 0, 0, 0}));
	EXPECT_EQ(entries[2], (bytes{1, 0, 'P', 'C', 'I', ' ', ' ', ' '}));
	EXPECT_EQ(entries[3], (bytes{1, 1, 'I', 'S', 'A', ' ', ' ', ' '}));
	EXPECT_EQ(entries[4], (bytes{2, 9, 0x20, 1, 0x00, 0x00, 0xc0, 0xfe}));
	EXPECT_EQ(entries[entries.size() - 2], (bytes{4, 3, 0, 0, 1, 0, 0xff, 0})) << "8259 on LINT0";
	EXPECT_EQ(entries.back(), (bytes{4, 1, 0, 0, 1, 0, 0xff, 1})) << "NMI on LINT1";
}

TEST_F(mptable, the_8259s_on_pin_0_if_they_are)
{
	build();
	EXPECT_TRUE(has({3, 3, 0, 0, 1, 0, 0, 0}));
	cfg.pic_on_pin0 = false;
	entries.clear();
	table.assign(0x10000, 0);
	build();
	EXPECT_FALSE(has({3, 3, 0, 0, 1, 0, 0, 0}));
	EXPECT_EQ(entries.size(), 1u + 2 + 1 + 15 + 128 + 2);
}

TEST_F(mptable, interrupts)
{
	build();
	for (uint8_t irq = 0; irq < 16; irq++)
		EXPECT_EQ(has({3, 0, 0, 0, 1, irq, 0, static_cast<uint8_t>(irq ? irq : 2)}), irq != 2) << +irq;
	for (unsigned slot = 0; slot < 32; slot++)
		for (unsigned pin = 0; pin < 4; pin++)
			EXPECT_TRUE(has({3, 0, 0, 0, 0, static_cast<uint8_t>(slot << 2 | pin), 0,
					 static_cast<uint8_t>(16 + (slot + pin) % 4)}))
				<< slot << " " << pin;
}

TEST_F(mptable, most_cpus)
{
	cfg.cpus = KB_TABLES_CPUS_MAX;
	build();
	EXPECT_EQ(entries.size(), 254u + 2 + 1 + 16 + 128 + 2);
	EXPECT_EQ(entries[253][1], 253);
	EXPECT_EQ(sum(table), 0);
}

TEST_F(mptable, no_pointer_to_half_a_table)
{
	kb_buf p{pointer.data(), pointer.size(), 0, false}, t{table.data(), 500, 0, false};
	kb_mptable_build(&p, &t, base, &cfg);
	EXPECT_TRUE(t.overflow);
	EXPECT_EQ(p.len, 0u);
}

} // namespace
