// devices/pci.h: mechanism #1, headers, capability list, BAR assignment.
#include "tests/unit/pci_fixture.h"

#include <cerrno>
#include <cstring>

namespace kvmbox {

/* ---- configuration mechanism #1 ------------------------------------------ */

TEST_F(pci, finds_the_host_bridge_through_the_ports)
{
	write(io, 0xcf8, 4, 0x80000000);
	EXPECT_EQ(read(io, 0xcfc, 4), 0x12378086u);
	EXPECT_EQ(read(io, 0xcfe, 2), 0x1237u);
	EXPECT_EQ(read(io, 0xcfd, 1), 0x80u);
	write(io, 0xcf8, 4, 0x80000008);
	EXPECT_EQ(read(io, 0xcfc, 4) >> 8, 0x060000u);
	EXPECT_EQ(kb_pci_config_read(bus, 0, KB_PCI_COMMAND, 2), 6u);
	kb_pci_config_write(bus, 0, KB_PCI_COMMAND, 2, 0);
	EXPECT_EQ(kb_pci_config_read(bus, 0, KB_PCI_COMMAND, 2), 6u);
}

TEST_F(pci, config_address_is_dwords_only_and_masks_reserved_bits)
{
	write(io, 0xcf8, 4, 0xffffffff);
	EXPECT_EQ(read(io, 0xcf8, 4), 0x80fffffcu);
	write(io, 0xcf8, 4, 0x80001234);
	write(io, 0xcf8, 1, 0);
	write(io, 0xcf8, 2, 0);
	write(io, 0xcfa, 2, 0);
	EXPECT_EQ(read(io, 0xcf8, 4), 0x80001234u);
	EXPECT_EQ(read(io, 0xcf8, 1), 0xffu);
	EXPECT_EQ(read(io, 0xcfa, 2), 0xffffu);
	kb_pci_bus_reset(bus);
	EXPECT_EQ(read(io, 0xcf8, 4), 0u);
}

TEST_F(pci, needs_the_enable_bit_and_bus_0)
{
	write(io, 0xcf8, 4, 0);
	EXPECT_EQ(read(io, 0xcfc, 4), 0xffffffffu);
	write(io, 0xcf8, 4, 0x80010000);
	EXPECT_EQ(read(io, 0xcfc, 4), 0xffffffffu);
	write(io, 0xcf8, 4, 0x80000100);
	EXPECT_EQ(read(io, 0xcfc, 2), 0xffffu);
	pci_device d;
	add(d, config());
	write(io, 0xcf8, 4, 0x00000804);
	write(io, 0xcfc, 4, 7);
	EXPECT_EQ(kb_pci_function_command(d.f), 0);
	write(io, 0xcf8, 4, 0x80000804);
	write(io, 0xcfc, 4, 7);
	EXPECT_EQ(kb_pci_function_command(d.f), 7);
	write(io, 0xcfd, 1, 1);
	EXPECT_EQ(kb_pci_function_command(d.f), 0x107);
}

class pci_ecam : public pci {
	void prepare() override { bus_cfg.ecam_base = 0xd0000000; }
};

TEST_F(pci_ecam, is_the_same_configuration_space)
{
	pci_device d;
	add(d, config("d", 31));
	const uint64_t at = 0xd0000000 + (31 << 15);
	for (unsigned off = 0; off < 256; off += 4) {
		write(io, 0xcf8, 4, 0x8000f800 + off);
		EXPECT_EQ(read(mem, at + off, 4), read(io, 0xcfc, 4)) << off;
	}
	write(mem, at + KB_PCI_COMMAND, 2, 7);
	EXPECT_EQ(kb_pci_function_command(d.f), 7);
	write(mem, at + KB_PCI_COMMAND + 1, 1, 1);
	EXPECT_EQ(kb_pci_function_command(d.f), 0x107);
	EXPECT_EQ(d.pushes, 64 * 2 + 2) << "each comes after what was posted";
	EXPECT_EQ(read(mem, at, 8), uint64_t{kb_pci_config_read(bus, 0xf8, 4, 4)} << 32 | kb_pci_config_read(bus, 0xf8, 0, 4));
}

TEST_F(pci_ecam, answers_for_functions_and_their_registers_only)
{
	pci_device d;
	add(d, config("d", 3));
	const uint64_t at = 0xd0000000 + (3 << 15);
	for (uint64_t off : {uint64_t{0x100}, uint64_t{0xffc}, uint64_t{0x1000}, uint64_t{1 << 15}, uint64_t{0xd00ff000 - at}})
		EXPECT_EQ(read(mem, at + off, 4), 0xffffffffu) << off;
	for (uint64_t off = 0x100; off < 0x1000; off += 4)
		write(mem, at + off, 4, 0xffffffff);
	EXPECT_EQ(kb_pci_function_command(d.f), 0);
	EXPECT_EQ(read(mem, 0xd0100000, 4), 0xffffffffu) << "bus 1 is not there";
}

TEST_F(pci, configuration_accesses_push_the_functions_writes)
{
	pci_device d, other;
	add(d, config("d", 1));
	add(other, config("other", 2));
	write(io, 0xcf8, 4, 0x80000804);
	EXPECT_EQ(d.pushes, 0) << "that was the host bridge's";
	read(io, 0xcfc, 4);
	EXPECT_EQ(d.pushes, 1);
	read(io, 0xcfe, 2);
	EXPECT_EQ(d.pushes, 2);
	write(io, 0xcfc, 2, 2);
	EXPECT_EQ(d.pushes, 3);
	write(io, 0xcf8, 4, 0x00000804); // not enabled
	read(io, 0xcfc, 4);
	write(io, 0xcf8, 4, 0x8000f804); // nobody
	read(io, 0xcfc, 4);
	write(io, 0xcf8, 4, 0x80ffff04); // another bus
	write(io, 0xcfc, 4, 7);
	EXPECT_EQ(d.pushes, 3);
	EXPECT_EQ(other.pushes, 0);
}

class pci_cf9 : public pci {
protected:
	uint8_t reset_control = 0x5a;
	void prepare() override
	{
		bus_cfg.cf9_opaque = this;
		bus_cfg.cf9_read = [](void *p) { return static_cast<pci_cf9 *>(p)->reset_control; };
		bus_cfg.cf9_write = [](void *p, uint8_t v) { static_cast<pci_cf9 *>(p)->reset_control = v; };
	}
};

TEST_F(pci_cf9, byte_accesses_go_to_the_hooks)
{
	write(io, 0xcf8, 4, 0x80001234);
	EXPECT_EQ(reset_control, 0x5a);
	EXPECT_EQ(read(io, 0xcf9, 1), 0x5au);
	write(io, 0xcf9, 1, 0x06);
	EXPECT_EQ(reset_control, 0x06);
	EXPECT_EQ(read(io, 0xcf8, 4), 0x80001234u);
	EXPECT_EQ(read(io, 0xcf8, 2), 0xffffu);
}

TEST_F(pci, cf9_without_hooks_is_nothing)
{
	write(io, 0xcf9, 1, 6);
	EXPECT_EQ(read(io, 0xcf9, 1), 0xffu);
}

TEST_F(pci, refuses_nonsense_config_accesses)
{
	EXPECT_EQ(kb_pci_config_read(bus, 0, 256, 4), 0xffffffffu);
	EXPECT_EQ(kb_pci_config_read(bus, 0, 1, 2), 0xffffu);
	EXPECT_EQ(kb_pci_config_read(bus, 0, 0, 3), 0xffffffu);
	EXPECT_EQ(kb_pci_config_read(bus, 256, 0, 4), 0xffffffffu);
	kb_pci_config_write(bus, 256, 0, 4, 0);
	kb_pci_config_write(bus, 0, 0xfffffffc, 4, 0);
}

TEST_F(pci, create_fails_cleanly_if_the_ports_are_taken)
{
	kb_pci_bus *second = nullptr;
	EXPECT_EQ(kb_pci_bus_create(&second, &bus_cfg, &err), -EEXIST);
	EXPECT_EQ(second, nullptr);
	EXPECT_EQ(io.count, 1u);
	kb_pci_bus_config no_mem = bus_cfg;
	no_mem.mem = nullptr;
	EXPECT_EQ(kb_pci_bus_create(&second, &no_mem, &err), -EINVAL);
}

/* ---- header --------------------------------------------------------------- */

TEST_F(pci, header_holds_what_was_configured)
{
	pci_device d;
	kb_pci_config c = config();
	c.intx_pin = 2;
	add(d, c);
	EXPECT_EQ(kb_pci_function_bdf(d.f), 1u << 3);
	EXPECT_STREQ(kb_pci_function_name(d.f), "dev");
	EXPECT_EQ(cfg(d, 0x00), 0x12341af4u);
	EXPECT_EQ(cfg(d, 0x04), 0u);
	EXPECT_EQ(cfg(d, 0x08), 0x02030407u);
	EXPECT_EQ(cfg(d, 0x0c), 0u);
	EXPECT_EQ(cfg(d, 0x2c), 0x5678abcdu);
	EXPECT_EQ(cfg(d, 0x34), 0u);
	EXPECT_EQ(cfg(d, 0x3d, 1), 2u);
	EXPECT_EQ(cfg(d, 0x3c, 1), 10u + (1 + 2 - 1) % 4);
	cfg(d, 0x3c, 1, 99);
	EXPECT_EQ(cfg(d, 0x3c, 1), 99u);
	kb_pci_bus_reset(bus);
	EXPECT_EQ(cfg(d, 0x3c, 1), 12u);
}

TEST_F(pci, only_writable_bits_can_be_written)
{
	pci_device d;
	add(d, config());
	for (unsigned off = 0; off < 256; off += 4)
		if (off != KB_PCI_COMMAND)
			cfg(d, off, 4, 0xffffffff);
	cfg(d, KB_PCI_COMMAND, 2, 0xffff);
	EXPECT_EQ(cfg(d, 0x00), 0x12341af4u);
	EXPECT_EQ(cfg(d, 0x04), 0x0547u);
	EXPECT_EQ(cfg(d, 0x08), 0x02030407u);
	EXPECT_EQ(cfg(d, 0x0c), 0x0000f8ffu);
	for (unsigned off = 0x10; off < 0x2c; off += 4)
		EXPECT_EQ(cfg(d, off), 0u) << off;
	EXPECT_EQ(cfg(d, 0x2c), 0x5678abcdu);
	for (unsigned off = 0x30; off < 0x100; off += 4)
		EXPECT_EQ(cfg(d, off), 0u) << off;
}

TEST_F(pci, status_errors_are_cleared_by_writing_ones)
{
	pci_device d;
	add(d, config());
	kb_pci_status_set(d.f, 0xffff);
	EXPECT_EQ(cfg(d, KB_PCI_STATUS, 2), 0xf900u);
	cfg(d, KB_PCI_STATUS, 2, 0);
	EXPECT_EQ(cfg(d, KB_PCI_STATUS, 2), 0xf900u);
	cfg(d, KB_PCI_STATUS, 2, KB_PCI_STATUS_RECEIVED_MASTER_ABORT);
	EXPECT_EQ(cfg(d, KB_PCI_STATUS, 2), 0xd900u);
	cfg(d, KB_PCI_COMMAND, 4, 0xffff0000);
	EXPECT_EQ(cfg(d, KB_PCI_COMMAND), 0u);
}

TEST_F(pci, function_0_tells_of_the_others)
{
	pci_device a, b, c;
	kb_pci_config k = config("b", 5);
	k.fn = 3;
	add(b, k);
	add(a, config("a", 5));
	EXPECT_EQ(cfg(a, KB_PCI_HEADER_TYPE, 1), 0x80u);
	add(c, config("c", 6));
	EXPECT_EQ(cfg(c, KB_PCI_HEADER_TYPE, 1), 0u);
	pci_device d;
	k.slot = 6;
	add(d, k);
	EXPECT_EQ(cfg(c, KB_PCI_HEADER_TYPE, 1), 0x80u);
	kb_pci_bus_reset(bus);
	EXPECT_EQ(cfg(a, KB_PCI_HEADER_TYPE, 1), 0x80u);
	EXPECT_EQ(kb_pci_config_read(bus, 5 << 3 | 1, 0, 4), 0xffffffffu);
}

TEST_F(pci, slots_are_given_and_refused)
{
	EXPECT_EQ(try_add(config("x", 0)), -EEXIST);
	EXPECT_NE(strstr(err.msg, "host bridge"), nullptr) << err.msg;
	EXPECT_EQ(try_add(config("x", 32)), -EINVAL);
	EXPECT_EQ(try_add(config("x", -2)), -EINVAL);
	kb_pci_config k = config("x");
	k.fn = 1;
	EXPECT_EQ(try_add(k), -EINVAL);
	k.slot = 2;
	EXPECT_EQ(try_add(k), 0);
	pci_device d, e;
	add(d, config());
	add(e, config());
	EXPECT_EQ(kb_pci_function_bdf(d.f), 1u << 3);
	EXPECT_EQ(kb_pci_function_bdf(e.f), 3u << 3);
	for (int i = 4; i < 32; i++)
		EXPECT_EQ(try_add(config()), 0);
	EXPECT_EQ(try_add(config()), -ENOSPC);
	EXPECT_EQ(try_add(config("x", 2)), 0);
}

TEST_F(pci, an_unnamed_function_is_called_by_its_place)
{
	pci_device d;
	add(d, config(nullptr, 10));
	EXPECT_STREQ(kb_pci_function_name(d.f), "0a.0");
}

TEST_F(pci, bad_configurations_are_named)
{
	struct bad {
		const char *word;
		std::function<void(kb_pci_config &)> spoil;
	};
	const char body[4] = "abc";
	const bad all[] = {
		{"vendor", [](kb_pci_config &c) { c.vendor = 0xffff; }},
		{"class_code", [](kb_pci_config &c) { c.class_code = 0x1000000; }},
		{"max_access", [](kb_pci_config &c) { c.max_access = 3; }},
		{"max_access", [](kb_pci_config &c) { c.max_access = 16; }},
		{"intx_pin", [](kb_pci_config &c) { c.intx_pin = 5; }},
		{"msi_vectors", [](kb_pci_config &c) { c.msi_vectors = 3; }},
		{"msi_vectors", [](kb_pci_config &c) { c.msi_vectors = 64; }},
		{"BAR 0", [](kb_pci_config &c) { c.bar[0].size = 8; }},
		{"BAR 1", [](kb_pci_config &c) { c.bar[1].size = 0x3000; }},
		{"BAR 2", [](kb_pci_config &c) { c.bar[2].size = 1ull << 32; }},
		{"BAR 2", [](kb_pci_config &c) { c.bar[2] = {1ull << 46, false, true, false}; }},
		{"BAR 5", [](kb_pci_config &c) { c.bar[5] = {0x1000, false, true, false}; }},
		{"BAR 3", [](kb_pci_config &c) {
			 c.bar[3] = {0x1000, false, true, false};
			 c.bar[4].size = 0x1000;
		 }},
		{"BAR 0", [](kb_pci_config &c) { c.bar[0] = {2, true, false, false}; }},
		{"BAR 0", [](kb_pci_config &c) { c.bar[0] = {512, true, false, false}; }},
		{"BAR 0", [](kb_pci_config &c) { c.bar[0] = {4, true, true, false}; }},
		{"BAR 0", [](kb_pci_config &c) { c.bar[0] = {4, true, false, true}; }},
		{"msix_vectors", [](kb_pci_config &c) { c.msix_vectors = 2049; }},
		{"msix_bar", [](kb_pci_config &c) { c.msix_vectors = 1; }},
		{"msix_bar", [](kb_pci_config &c) {
			 c.msix_vectors = 1;
			 c.msix_bar = 6;
		 }},
		{"msix_bar", [](kb_pci_config &c) {
			 c.msix_vectors = 1;
			 c.bar[0] = {256, true, false, false};
		 }},
		{"msix_vectors", [](kb_pci_config &c) {
			 c.msix_vectors = 16;
			 c.bar[0].size = 256;
		 }},
		{"msix_table_offset", [](kb_pci_config &c) {
			 c.msix_vectors = 1;
			 c.bar[0].size = 256;
			 c.msix_table_offset = 4;
			 c.msix_pba_offset = 64;
		 }},
		{"msix_table_offset", [](kb_pci_config &c) {
			 c.msix_vectors = 1;
			 c.bar[0].size = 256;
			 c.msix_table_offset = 248;
		 }},
		{"msix_pba_offset", [](kb_pci_config &c) {
			 c.msix_vectors = 1;
			 c.bar[0].size = 256;
			 c.msix_pba_offset = 256;
		 }},
		{"overlap", [](kb_pci_config &c) {
			 c.msix_vectors = 1;
			 c.bar[0].size = 256;
			 c.msix_pba_offset = 8;
		 }},
		{"vendor_cap", [](kb_pci_config &c) { c.vendor_cap_len = 1; }},
		{"vendor_cap", [&](kb_pci_config &c) {
			 c.vendor_cap = body;
			 c.vendor_cap_len = 190;
		 }},
		{"vendor_cap", [&](kb_pci_config &c) {
			 c.vendor_cap = body;
			 c.vendor_cap_len = UINT32_MAX;
		 }},
		{"rom", [](kb_pci_config &c) { c.rom_size = 1; }},
		{"rom", [&](kb_pci_config &c) { c.rom = body; }},
		{"rom_size", [&](kb_pci_config &c) {
			 c.rom = body;
			 c.rom_size = (16 << 20) + 1;
		 }},
	};
	for (const bad &b : all) {
		kb_pci_config c = config("victim");
		b.spoil(c);
		EXPECT_EQ(try_add(c), -EINVAL) << b.word;
		EXPECT_NE(strstr(err.msg, b.word), nullptr) << b.word << ": " << err.msg;
		EXPECT_NE(strstr(err.msg, "victim"), nullptr) << err.msg;
	}
	EXPECT_EQ(kb_pci_config_read(bus, 1 << 3, 0, 4), 0xffffffffu);
}

TEST_F(pci, the_largest_vendor_capability_fits)
{
	uint8_t body[189];
	for (unsigned i = 0; i < sizeof(body); i++)
		body[i] = static_cast<uint8_t>(i + 1);
	kb_pci_config c = config();
	c.vendor_cap = body;
	c.vendor_cap_len = sizeof(body);
	pci_device d;
	add(d, c);
	EXPECT_EQ(cfg(d, 0x40), 0x01c00009u);
	EXPECT_EQ(cfg(d, 0xff, 1), 189u);
	cfg(d, 0x40, 4, 0);
	cfg(d, 0xfc, 4, 0);
	EXPECT_EQ(cfg(d, 0x40), 0x01c00009u);
	EXPECT_EQ(cfg(d, 0xff, 1), 189u);
}

TEST_F(pci, capabilities_are_linked)
{
	kb_pci_config c = config();
	c.power_management = true;
	c.msi_vectors = 8;
	c.msix_vectors = 5;
	c.bar[2].size = 0x1000;
	c.msix_bar = 2;
	c.vendor_cap = "xyz";
	c.vendor_cap_len = 3;
	pci_device d;
	add(d, c);
	EXPECT_EQ(cfg(d, KB_PCI_STATUS, 2), 0x0010u);
	unsigned pm = find_cap(d, 1), msi = find_cap(d, 5), msix = find_cap(d, 0x11), vendor = find_cap(d, 9);
	ASSERT_TRUE(pm && msi && msix && vendor);
	EXPECT_EQ(cfg(d, pm + 2, 2), 3u);
	EXPECT_EQ(cfg(d, pm + 4), 8u);
	EXPECT_EQ(cfg(d, msi + 2, 2), 0x0186u);
	EXPECT_EQ(cfg(d, msix + 2, 2), 4u);
	EXPECT_EQ(cfg(d, msix + 4), (0x1000u - 5 * 16 - 8 - 8) | 2);
	EXPECT_EQ(cfg(d, msix + 8), (0x1000u - 16) | 2);
	EXPECT_EQ(cfg(d, vendor + 1, 1), 0u);
	EXPECT_EQ(cfg(d, vendor + 2, 2), 0x7806u);
}

/* ---- firmware's BAR assignment --------------------------------------------- */

TEST_F(pci, assigns_naturally_aligned_and_enables)
{
	pci_device a, b;
	kb_pci_config c = config("a");
	c.bar[0].size = 0x1000;
	c.bar[1] = {0x20, true, false, false};
	c.bar[2] = {0x100000, false, true, true};
	c.rom = "rom";
	c.rom_size = 3;
	add(a, c);
	kb_pci_config e = config("b");
	e.bar[3].size = 0x1000000;
	add(b, e);
	ASSERT_EQ(kb_pci_assign_bars(bus, &err), 0) << err.msg;
	EXPECT_EQ(where(b, 3), mem32);
	EXPECT_EQ(where(a, 0), mem32 + 0x1000000);
	EXPECT_EQ(where(a, 2), mem32 + 0x1100000);
	EXPECT_EQ(where(a, 1), 0xc000u);
	EXPECT_EQ(where(a, KB_PCI_ROM_BAR), 0u);
	EXPECT_EQ(cfg(a, KB_PCI_ROM_ADDRESS), mem32 + 0x1001000);
	EXPECT_EQ(kb_pci_function_command(a.f), 3);
	EXPECT_EQ(kb_pci_function_command(b.f), 2);
	EXPECT_EQ(a.commands, (std::vector<uint16_t>{3}));
	EXPECT_FALSE(kb_pci_bus_master(a.f));
	EXPECT_EQ(cfg(a, 0x14), 0xc001u);
	EXPECT_EQ(cfg(a, 0x18), static_cast<uint32_t>(mem32 + 0x1100000) | 0xc);
	EXPECT_EQ(kb_pci_config_read(bus, 0, KB_PCI_COMMAND, 2), 6u);
	EXPECT_TRUE(warnings.empty());
	/* Again: nothing left to do. */
	ASSERT_EQ(kb_pci_assign_bars(bus, &err), 0);
	EXPECT_EQ(where(a, 0), mem32 + 0x1000000);
}

TEST_F(pci, assignment_keeps_clear_of_what_is_there)
{
	kb_region chipset{};
	chipset.name = "chipset";
	chipset.base = mem32 + 0x800;
	chipset.size = 0x100;
	ASSERT_EQ(kb_bus_add(&mem, &chipset, &err), 0);
	pci_device a, b, c;
	kb_pci_config k = config();
	k.bar[0].size = 0x1000;
	add(a, k);
	add(b, k);
	add(c, k);
	map(b, 0, mem32 + 0x1000);
	cfg(c, 0x10, 4, mem32 + 0x2000); /* has an address, but is not decoded */
	ASSERT_EQ(kb_pci_assign_bars(bus, &err), 0) << err.msg;
	EXPECT_EQ(where(a, 0), mem32 + 0x3000);
	EXPECT_EQ(where(b, 0), mem32 + 0x1000);
	EXPECT_EQ(where(c, 0), mem32 + 0x2000);
	kb_bus_remove(&mem, &chipset);
}

TEST_F(pci, only_64_bit_bars_go_above_4g_and_only_if_they_must)
{
	pci_device a, b;
	kb_pci_config k = config("a");
	k.bar[0] = {0x8000000, false, true, true};
	k.bar[2] = {0x20000000, false, true, true};
	add(a, k);
	k = config("b");
	k.bar[0].size = 0x8000000;
	add(b, k);
	ASSERT_EQ(kb_pci_assign_bars(bus, &err), 0) << err.msg;
	EXPECT_EQ(where(b, 0), mem32);
	EXPECT_EQ(where(a, 0), mem32 + 0x8000000);
	EXPECT_EQ(where(a, 2), mem64);
	EXPECT_EQ(cfg(a, 0x1c), 1u);
}

TEST_F(pci, enospc_names_the_bar_and_changes_nothing)
{
	pci_device a, b;
	kb_pci_config k = config("small");
	k.bar[0].size = 0x1000;
	add(a, k);
	k = config("huge");
	k.bar[4].size = 0x20000000;
	add(b, k);
	EXPECT_EQ(kb_pci_assign_bars(bus, &err), -ENOSPC);
	EXPECT_NE(strstr(err.msg, "huge BAR 4"), nullptr) << err.msg;
	EXPECT_EQ(cfg(a, 0x10), 0u);
	EXPECT_EQ(kb_pci_function_command(a.f), 0);
}

TEST_F(pci, enospc_for_ports_and_for_both_windows)
{
	kb_pci_config k = config("ports");
	for (auto &bar : k.bar)
		bar = {256, true, false, false};
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(try_add(k), 0);
	EXPECT_EQ(kb_pci_assign_bars(bus, &err), -ENOSPC);
	EXPECT_NE(strstr(err.msg, "ports BAR 4"), nullptr) << err.msg;
	k = config("wide");
	k.bar[0] = {1ull << 40, false, true, true};
	ASSERT_EQ(try_add(k), 0);
	EXPECT_EQ(kb_pci_assign_bars(bus, &err), -ENOSPC);
	EXPECT_NE(strstr(err.msg, "ports BAR 4"), nullptr) << err.msg;
}

TEST_F(pci, assignment_warns_of_devices_nobody_finds)
{
	pci_device d;
	kb_pci_config k = config("lost", 9);
	k.fn = 2;
	add(d, k);
	ASSERT_EQ(kb_pci_assign_bars(bus, &err), 0);
	ASSERT_EQ(warnings.size(), 1u);
	EXPECT_NE(warnings[0].find("lost"), std::string::npos);
}

// Firmware's shadow registers take what it writes, and only where there are bits.
TEST_F(pci, host_bridge_has_attribute_maps)
{
	for (unsigned off = 0x58; off <= 0x60; off++)
		kb_pci_config_write(bus, 0, off, 1, 0xff);
	EXPECT_EQ(kb_pci_config_read(bus, 0, 0x58, 4), 0x33333000u);
	EXPECT_EQ(kb_pci_config_read(bus, 0, 0x5c, 4), 0x33333333u);
	EXPECT_EQ(kb_pci_config_read(bus, 0, 0x60, 1), 0u);
	kb_pci_bus_reset(bus);
	EXPECT_EQ(kb_pci_config_read(bus, 0, 0x5c, 4), 0u);
}

} // namespace kvmbox
