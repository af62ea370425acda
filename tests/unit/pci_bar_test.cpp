// devices/pci.h: BAR registers, decoding, what reaches the device.
#include "tests/unit/pci_fixture.h"

#include <algorithm>

namespace kvmbox {

class pci_bar : public pci {
protected:
	pci_device d;
	void SetUp() override
	{
		pci::SetUp();
		kb_pci_config c = config();
		c.bar[0].size = 0x1000;
		c.bar[1] = {0x20, true, false, false};
		c.bar[2] = {1ull << 33, false, true, true};
		c.bar[4] = {0x100000, false, true, false};
		c.rom = "\x55\xaa\x01rom";
		c.rom_size = 6;
		add(d, c);
	}
	// Another function, behind d, with one BAR.
	void add_memory(pci_device &o, const char *name, uint64_t size)
	{
		kb_pci_config c = config(name);
		c.bar[0].size = size;
		add(o, c);
	}
	bool logged(const char *a, const char *b)
	{
		return std::any_of(warnings.begin(), warnings.end(), [&](const std::string &w) {
			return w.find(a) != w.npos && w.find(b) != w.npos;
		});
	}
};

TEST_F(pci_bar, sizing_protocol)
{
	const uint32_t flags[] = {0, 1, 4, 0, 4, 0};
	for (unsigned i = 0; i < 6; i++)
		EXPECT_EQ(cfg(d, 0x10 + 4 * i), flags[i] | (i == 2 ? 8 : 0)) << i;
	for (unsigned i = 0; i < 6; i++)
		cfg(d, 0x10 + 4 * i, 4, 0xffffffff);
	cfg(d, 0x30, 4, 0xffffffff);
	EXPECT_EQ(cfg(d, 0x10), 0xfffff000u);
	EXPECT_EQ(cfg(d, 0x14), 0x0000ffe1u);
	EXPECT_EQ(cfg(d, 0x18), 0x0000000cu);
	EXPECT_EQ(cfg(d, 0x1c), 0xfffffffeu);
	EXPECT_EQ(cfg(d, 0x20), 0xfff00004u);
	EXPECT_EQ(cfg(d, 0x24), 0xffffffffu);
	EXPECT_EQ(cfg(d, 0x30), 0xfffff801u);
	cfg(d, 0x30, 4, 0xfffffffe);
	EXPECT_EQ(cfg(d, 0x30), 0xfffff800u);
	/* Bytes and words, too. */
	cfg(d, 0x10, 4, 0);
	cfg(d, 0x12, 2, 0xe123);
	EXPECT_EQ(cfg(d, 0x10), 0xe1230000u);
	cfg(d, 0x11, 1, 0xff);
	EXPECT_EQ(cfg(d, 0x10), 0xe123f000u);
}

TEST_F(pci_bar, sizing_while_decoded_is_silent)
{
	map(d, 0, 0xe0000000);
	map(d, 1, 0xc000);
	map(d, 2, 1ull << 34, true);
	map(d, 4, 0xe0100000, true);
	cfg(d, 0x30, 4, 0xe0200001);
	warnings.clear(); /* of BARs without an address */
	kb_region flash{};
	flash.name = "flash";
	flash.base = 0xfff00000;
	flash.size = 0x100000;
	ASSERT_EQ(kb_bus_add(&mem, &flash, &err), 0);
	for (unsigned off : {0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x30}) {
		uint32_t before = cfg(d, off);
		cfg(d, off, 4, 0xffffffff);
		cfg(d, off, 4, before);
	}
	EXPECT_TRUE(warnings.empty()) << warnings[0];
	EXPECT_EQ(where(d, 0), 0xe0000000u);
	EXPECT_EQ(where(d, 1), 0xc000u);
	EXPECT_EQ(where(d, 2), 1ull << 34);
	EXPECT_EQ(where(d, 4), 0xe0100000u);
	EXPECT_EQ(where(d, 6), 0xe0200000u);
	kb_bus_remove(&mem, &flash);
}

TEST_F(pci_bar, command_register_gates)
{
	cfg(d, 0x10, 4, 0xe0000000);
	cfg(d, 0x14, 4, 0xc000);
	EXPECT_EQ(where(d, 0), 0u);
	EXPECT_EQ(read(mem, 0xe0000000, 4), 0xffffffffu);
	command(d, KB_PCI_COMMAND_MEMORY);
	EXPECT_EQ(where(d, 0), 0xe0000000u);
	EXPECT_EQ(where(d, 1), 0u);
	command(d, KB_PCI_COMMAND_IO);
	EXPECT_EQ(where(d, 0), 0u);
	EXPECT_EQ(where(d, 1), 0xc000u);
	EXPECT_EQ(read(mem, 0xe0000000, 4), 0xffffffffu);
	EXPECT_TRUE(d.log.empty());
	command(d, 7);
	EXPECT_TRUE(kb_pci_bus_master(d.f));
	command(d, 7);
	EXPECT_EQ(d.commands, (std::vector<uint16_t>{2, 1, 7}));
	kb_pci_bus_reset(bus);
	EXPECT_EQ(d.commands.back(), 0);
	EXPECT_EQ(d.resets, 1);
	EXPECT_EQ(where(d, 0), 0u);
	EXPECT_EQ(cfg(d, 0x10), 0u);
	EXPECT_EQ(cfg(d, 0x14), 1u);
	kb_pci_bus_reset(bus);
	EXPECT_EQ(d.commands.size(), 4u);
	EXPECT_EQ(d.resets, 2);
}

TEST_F(pci_bar, accesses_reach_the_device)
{
	map(d, 0, 0xe0000000);
	map(d, 1, 0xc000);
	map(d, 2, 1ull << 34, true);
	EXPECT_EQ(read(mem, 0xe0000ff8, 8), d.answer);
	write(mem, 0xe0000004, 4, 0x12345678);
	write(io, 0xc01f, 1, 0xab);
	write(mem, (1ull << 34) + 0x1fffffff8, 8, 1);
	EXPECT_EQ(d.log, (std::vector<pci_cycle>{{0, 0xff8, 8, false, 0},
						 {0, 4, 4, true, 0x12345678},
						 {1, 0x1f, 1, true, 0xab},
						 {2, 0x1fffffff8, 8, true, 1}}));
}

TEST_F(pci_bar, wide_accesses_are_split_to_max_access)
{
	pci_device n;
	kb_pci_config c = config("narrow");
	c.bar[0].size = 0x100;
	c.max_access = 4;
	add(n, c);
	map(n, 0, 0xe0000000);
	EXPECT_EQ(read(mem, 0xe0000008, 8), 0x4433221144332211u);
	EXPECT_EQ(n.log, (std::vector<pci_cycle>{{0, 8, 4, false, 0}, {0, 12, 4, false, 0}}));
}

TEST_F(pci_bar, no_ops_reads_ones)
{
	kb_pci_config c = config("dumb", 20);
	c.bar[0].size = 0x100;
	ASSERT_EQ(try_add(c), 0);
	ASSERT_EQ(kb_pci_assign_bars(bus, &err), 0) << err.msg;
	uint64_t at = kb_pci_config_read(bus, 20 << 3, 0x10, 4);
	ASSERT_NE(kb_bus_find(&mem, at), nullptr);
	write(mem, at, 4, 0);
	EXPECT_EQ(read(mem, at, 4), 0xffffffffu);
}

TEST_F(pci_bar, rom)
{
	cfg(d, 0x30, 4, 0xe0000000);
	command(d, KB_PCI_COMMAND_MEMORY);
	EXPECT_EQ(where(d, KB_PCI_ROM_BAR), 0u);
	cfg(d, 0x30, 4, 0xe0000001);
	EXPECT_EQ(where(d, KB_PCI_ROM_BAR), 0xe0000000u);
	EXPECT_EQ(read(mem, 0xe0000000, 8), 0xffff6d6f7201aa55u);
	write(mem, 0xe0000000, 4, 0);
	EXPECT_EQ(read(mem, 0xe0000000, 2), 0xaa55u);
	EXPECT_EQ(read(mem, 0xe00007ff, 1), 0xffu);
	EXPECT_EQ(kb_bus_find(&mem, 0xe0000800), nullptr);
	EXPECT_TRUE(d.log.empty());
	command(d, 0);
	EXPECT_EQ(where(d, KB_PCI_ROM_BAR), 0u);
}

TEST_F(pci_bar, a_bar_over_ram_is_not_decoded_and_named)
{
	map(d, 0, 0x8000);
	EXPECT_EQ(where(d, 0), 0u);
	EXPECT_TRUE(logged("dev BAR 0", "RAM"));
	EXPECT_EQ(read(mem, 0x8000, 4), 0u);
	EXPECT_TRUE(d.log.empty());
	map(d, 0, 0xe0000000);
	EXPECT_EQ(where(d, 0), 0xe0000000u);
}

TEST_F(pci_bar, a_bar_at_0_or_beyond_the_bus_is_not_decoded)
{
	map(d, 0, 0);
	EXPECT_EQ(where(d, 0), 0u);
	EXPECT_TRUE(logged("dev BAR 0", "no address"));
	map(d, 2, 1ull << 46, true);
	EXPECT_EQ(where(d, 2), 0u);
	EXPECT_TRUE(logged("dev BAR 2", "beyond"));
	map(d, 2, UINT64_MAX << 34, true);
	EXPECT_EQ(where(d, 2), 0u);
	map(d, 2, (1ull << 46) - (1ull << 33), true);
	EXPECT_EQ(where(d, 2), (1ull << 46) - (1ull << 33));
}

TEST_F(pci_bar, a_bar_over_the_config_ports_is_not_decoded)
{
	map(d, 1, 0xce0);
	EXPECT_EQ(where(d, 1), 0u);
	EXPECT_TRUE(logged("dev BAR 1", "PCI configuration"));
}

TEST_F(pci_bar, what_is_decoded_stays_and_the_waiting_move_in)
{
	pci_device a, b;
	add_memory(a, "a", 0x1000);
	add_memory(b, "b", 0x10000);
	map(b, 0, 0xe0000000);
	map(a, 0, 0xe0001000);
	map(d, 0, 0xe0002000);
	EXPECT_EQ(where(b, 0), 0xe0000000u);
	EXPECT_EQ(where(a, 0), 0u);
	EXPECT_EQ(where(d, 0), 0u);
	EXPECT_TRUE(logged("a BAR 0", "b BAR 0"));
	map(b, 0, 0xe1000000);
	EXPECT_EQ(where(a, 0), 0xe0001000u);
	EXPECT_EQ(where(d, 0), 0xe0002000u);
	EXPECT_EQ(where(b, 0), 0xe1000000u);
}

TEST_F(pci_bar, the_lowest_function_gets_a_place_that_becomes_free)
{
	pci_device a, b;
	add_memory(a, "a", 0x1000);
	add_memory(b, "b", 0x1000);
	map(a, 0, 0xe0000000);
	map(b, 0, 0xe0000000);
	map(d, 0, 0xe0000000);
	EXPECT_EQ(where(a, 0), 0xe0000000u);
	command(a, 0);
	EXPECT_EQ(where(d, 0), 0xe0000000u);
	EXPECT_EQ(where(b, 0), 0u);
	command(a, 2);
	EXPECT_EQ(where(a, 0), 0u);
	command(d, 0);
	EXPECT_EQ(where(a, 0), 0xe0000000u);
}

TEST_F(pci_bar, of_one_function_the_lowest_bar_wins)
{
	cfg(d, 0x10, 4, 0xe0000000);
	cfg(d, 0x20, 4, 0xe0000000);
	command(d, KB_PCI_COMMAND_MEMORY);
	EXPECT_EQ(where(d, 0), 0xe0000000u);
	EXPECT_EQ(where(d, 4), 0u);
}

TEST_F(pci_bar, redecode_after_the_chipset_moved)
{
	kb_region chipset{};
	chipset.name = "chipset";
	chipset.base = 0xe0000000;
	chipset.size = 0x10;
	ASSERT_EQ(kb_bus_add(&mem, &chipset, &err), 0);
	map(d, 0, 0xe0000000);
	EXPECT_EQ(where(d, 0), 0u);
	kb_bus_remove(&mem, &chipset);
	kb_pci_bus_redecode(bus);
	EXPECT_EQ(where(d, 0), 0xe0000000u);
}

TEST_F(pci_bar, a_place_is_reported_once_and_the_log_is_limited)
{
	pci_device o;
	add_memory(o, "o", 0x1000);
	map(d, 0, 0x8000);
	size_t n = warnings.size();
	for (int i = 0; i < 10; i++) {
		map(o, 0, 0xe0000000u + 0x1000u * static_cast<unsigned>(i));
		cfg(d, KB_PCI_INTERRUPT_LINE, 1, static_cast<uint32_t>(i));
	}
	EXPECT_EQ(warnings.size(), n);
	for (unsigned i = 0; i < 10000; i++)
		map(d, 0, 0x1000 + 0x1000 * (i % 64));
	EXPECT_LT(warnings.size(), 40u);
}

TEST_F(pci_bar, the_guest_may_move_a_bar_under_its_access)
{
	map(d, 0, 0xe0000000);
	d.on_access = [&] {
		d.on_access = nullptr;
		cfg(d, 0x10, 4, 0xe1000000);
	};
	/* Two cycles: the second one hits nothing. */
	EXPECT_EQ(read(mem, 0xe0000004, 8), 0xffffffff44332211u);
	EXPECT_EQ(d.log.size(), 1u);
	EXPECT_EQ(where(d, 0), 0xe1000000u);
	d.on_access = [&] { command(d, 0); };
	write(mem, 0xe1000000, 8, 1);
	EXPECT_EQ(where(d, 0), 0u);
	EXPECT_EQ(mem.count, 1u);
}

TEST_F(pci_bar, reset_from_within_an_access)
{
	map(d, 0, 0xe0000000);
	d.on_access = [&] { kb_pci_bus_reset(bus); };
	write(mem, 0xe0000000, 1, 1);
	EXPECT_EQ(d.resets, 1);
	EXPECT_EQ(mem.count, 1u);
}

} // namespace kvmbox
