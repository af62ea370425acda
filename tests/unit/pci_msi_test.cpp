// devices/pci.h: INTx, power management, MSI, MSI-X.
#include "tests/unit/pci_fixture.h"

#include <cerrno>
#include <climits>

namespace kvmbox {

/* ---- INTx ------------------------------------------------------------------ */

class pci_intx : public pci {
protected:
	pci_device a, b;
	void SetUp() override
	{
		pci::SetUp();
		kb_pci_config c = config("a", 4);
		c.intx_pin = 1;
		c.power_management = true;
		c.msi_vectors = 1;
		c.msix_vectors = 1;
		c.bar[0].size = 0x1000;
		add(a, c);
		c = config("b", 8);
		c.intx_pin = 1;
		add(b, c);
	}
	uint32_t status3(const pci_device &d) { return cfg(d, KB_PCI_STATUS, 2) & KB_PCI_STATUS_INTERRUPT; }
};

TEST_F(pci_intx, pins_are_swizzled)
{
	for (unsigned slot = 9; slot < 13; slot++)
		for (unsigned pin = 1; pin <= 4; pin++) {
			pci_device d;
			kb_pci_config c = config("d", static_cast<int>(slot));
			c.fn = static_cast<int>(pin - 1);
			c.intx_pin = pin;
			add(d, c);
			EXPECT_EQ(cfg(d, KB_PCI_INTERRUPT_LINE, 1), 10 + (slot + pin - 1) % 4);
			kb_pci_intx(d.f, true);
			for (unsigned i = 0; i < 4; i++)
				EXPECT_EQ(pirq[i], i == (slot + pin - 1) % 4);
			kb_pci_intx(d.f, false);
		}
}

TEST_F(pci_intx, is_a_wired_or)
{
	kb_pci_intx(a.f, true);
	kb_pci_intx(a.f, true);
	kb_pci_intx(b.f, true);
	EXPECT_TRUE(pirq[0]);
	EXPECT_EQ(pirq_edges, 1);
	kb_pci_intx(a.f, false);
	EXPECT_TRUE(pirq[0]);
	kb_pci_intx(b.f, false);
	EXPECT_FALSE(pirq[0]);
	EXPECT_EQ(pirq_edges, 2);
}

TEST_F(pci_intx, disable_bit_stops_the_pin_but_not_the_status)
{
	kb_pci_intx(a.f, true);
	EXPECT_TRUE(status3(a));
	command(a, KB_PCI_COMMAND_INTX_DISABLE);
	EXPECT_FALSE(pirq[0]);
	EXPECT_TRUE(status3(a));
	kb_pci_intx(a.f, false);
	EXPECT_FALSE(status3(a));
	kb_pci_intx(a.f, true);
	EXPECT_FALSE(pirq[0]);
	command(a, 0);
	EXPECT_TRUE(pirq[0]);
	cfg(a, KB_PCI_STATUS, 2, 0xffff);
	EXPECT_TRUE(status3(a));
}

TEST_F(pci_intx, message_interrupts_replace_it)
{
	kb_pci_intx(a.f, true);
	for (unsigned cap : {find_cap(a, KB_PCI_CAP_MSI), find_cap(a, KB_PCI_CAP_MSIX)}) {
		unsigned enable = cap == find_cap(a, KB_PCI_CAP_MSI) ? 1 : 0x8000;
		cfg(a, cap + 2, 2, enable);
		EXPECT_FALSE(pirq[0]);
		EXPECT_TRUE(status3(a));
		cfg(a, cap + 2, 2, 0);
		EXPECT_TRUE(pirq[0]);
	}
}

TEST_F(pci_intx, reset_takes_it_back)
{
	kb_pci_intx(a.f, true);
	kb_pci_bus_reset(bus);
	EXPECT_FALSE(pirq[0]);
	EXPECT_FALSE(status3(a));
	kb_pci_intx(a.f, true);
	EXPECT_TRUE(pirq[0]);
}

TEST_F(pci_intx, a_function_without_a_pin_has_none)
{
	pci_device d;
	add(d, config());
	kb_pci_intx(d.f, true);
	EXPECT_EQ(pirq_edges, 0);
	EXPECT_EQ(cfg(d, KB_PCI_INTERRUPT_PIN, 1), 0u);
	EXPECT_FALSE(status3(d));
}

/* ---- power management -------------------------------------------------------- */

TEST_F(pci_intx, d3hot_answers_configuration_only)
{
	unsigned pmcsr = find_cap(a, KB_PCI_CAP_PM) + KB_PCI_PM_PMCSR;
	map(a, 0, 0xe0000000);
	command(a, 7);
	kb_pci_intx(a.f, true);
	cfg(a, pmcsr, 2, 3);
	EXPECT_EQ(cfg(a, pmcsr, 2), 0x000bu);
	EXPECT_EQ(where(a, 0), 0u);
	EXPECT_FALSE(pirq[0]);
	EXPECT_TRUE(status3(a));
	EXPECT_FALSE(kb_pci_bus_master(a.f));
	EXPECT_EQ(kb_pci_function_command(a.f), 7);
	cfg(a, KB_PCI_INTERRUPT_LINE, 1, 5);
	EXPECT_EQ(cfg(a, KB_PCI_INTERRUPT_LINE, 1), 5u);
	cfg(a, pmcsr, 1, 0);
	EXPECT_EQ(where(a, 0), 0xe0000000u);
	EXPECT_TRUE(pirq[0]);
	EXPECT_TRUE(kb_pci_bus_master(a.f));
}

TEST_F(pci_intx, d1_and_d2_do_not_exist)
{
	unsigned pmcsr = find_cap(a, KB_PCI_CAP_PM) + KB_PCI_PM_PMCSR;
	for (unsigned was : {0u, 3u})
		for (unsigned state : {1u, 2u}) {
			cfg(a, pmcsr, 2, was);
			cfg(a, pmcsr, 2, state);
			EXPECT_EQ(cfg(a, pmcsr, 2) & 3, was);
		}
	kb_pci_bus_reset(bus);
	EXPECT_EQ(cfg(a, pmcsr, 4), 8u);
}

TEST_F(pci_intx, d3hot_holds_messages_back)
{
	unsigned pmcsr = find_cap(a, KB_PCI_CAP_PM) + KB_PCI_PM_PMCSR, msi = find_cap(a, KB_PCI_CAP_MSI);
	command(a, 4);
	cfg(a, msi + 4, 4, 0xfee00000);
	cfg(a, msi + 2, 2, 1);
	cfg(a, msi + 16, 4, 1);
	cfg(a, pmcsr, 2, 3);
	EXPECT_EQ(kb_pci_msi(a.f, 0), 0);
	cfg(a, msi + 16, 4, 0);
	EXPECT_EQ(kb_pci_msi(a.f, 0), -EPERM);
	EXPECT_TRUE(messages.empty());
	cfg(a, pmcsr, 2, 0);
	EXPECT_EQ(messages.size(), 1u);
}

/* ---- MSI ------------------------------------------------------------------- */

class pci_msi : public pci {
protected:
	pci_device d;
	unsigned cap = 0;
	void SetUp() override
	{
		pci::SetUp();
		kb_pci_config c = config();
		c.msi_vectors = 8;
		add(d, c);
		cap = find_cap(d, KB_PCI_CAP_MSI);
		ASSERT_NE(cap, 0u);
		cfg(d, cap + 4, 4, 0xfee01003);
		cfg(d, cap + 8, 4, 0x1);
		cfg(d, cap + 12, 2, 0x41d7);
		command(d, KB_PCI_COMMAND_MASTER);
	}
	// log2 of the vectors granted
	void enable(unsigned granted) { cfg(d, cap + 2, 2, 1 | granted << 4); }
};

TEST_F(pci_msi, registers)
{
	EXPECT_EQ(cfg(d, cap + 2, 2), 0x0186u);
	EXPECT_EQ(cfg(d, cap + 4), 0xfee01000u);
	for (unsigned off = cap; off < cap + 24; off += 4)
		cfg(d, off, 4, 0xffffffff);
	EXPECT_EQ(cfg(d, cap + 2, 2), 0x01f7u);
	EXPECT_EQ(cfg(d, cap + 4), 0xfffffffcu);
	EXPECT_EQ(cfg(d, cap + 8), 0xffffffffu);
	EXPECT_EQ(cfg(d, cap + 12), 0xffffu);
	EXPECT_EQ(cfg(d, cap + 16), 0xffu);
	EXPECT_EQ(cfg(d, cap + 20), 0u);
	kb_pci_bus_reset(bus);
	EXPECT_EQ(cfg(d, cap + 2, 2), 0x0186u);
	EXPECT_EQ(cfg(d, cap + 16), 0u);
}

TEST_F(pci_msi, results)
{
	EXPECT_EQ(kb_pci_msi(d.f, 0), -ENODEV);
	enable(0);
	EXPECT_EQ(kb_pci_msi(d.f, 0), 1);
	EXPECT_EQ(kb_pci_msi(d.f, 1), -EINVAL);
	enable(2);
	EXPECT_EQ(kb_pci_msi(d.f, 3), 1);
	EXPECT_EQ(kb_pci_msi(d.f, 4), -EINVAL);
	enable(3);
	EXPECT_EQ(kb_pci_msi(d.f, 7), 1);
	enable(7); /* more than it can: as many as it can */
	EXPECT_EQ(kb_pci_msi(d.f, 7), 1);
	EXPECT_EQ(kb_pci_msi(d.f, 8), -EINVAL);
	EXPECT_EQ(kb_pci_msi(d.f, UINT_MAX), -EINVAL);
	command(d, 0);
	EXPECT_EQ(kb_pci_msi(d.f, 0), -EPERM);
	const uint64_t a = 0x1fee01000;
	EXPECT_EQ(messages, (std::vector<pci_message>{{a, 0x41d7}, {a, 0x41d7}, {a, 0x41d7}, {a, 0x41d7}}));
}

TEST_F(pci_msi, the_vector_replaces_the_low_bits)
{
	enable(3);
	kb_pci_msi(d.f, 0);
	kb_pci_msi(d.f, 5);
	enable(1);
	kb_pci_msi(d.f, 0);
	const uint64_t a = 0x1fee01000;
	EXPECT_EQ(messages, (std::vector<pci_message>{{a, 0x41d0}, {a, 0x41d5}, {a, 0x41d6}}));
}

TEST_F(pci_msi, masked_vectors_become_pending)
{
	enable(3);
	cfg(d, cap + 16, 4, 0x0a);
	EXPECT_EQ(kb_pci_msi(d.f, 3), 0);
	EXPECT_EQ(kb_pci_msi(d.f, 3), 0);
	EXPECT_EQ(kb_pci_msi(d.f, 1), 0);
	EXPECT_EQ(kb_pci_msi(d.f, 0), 1);
	EXPECT_EQ(cfg(d, cap + 20), 0x0au);
	messages.clear();
	cfg(d, cap + 16, 1, 0x02);
	EXPECT_EQ(messages, (std::vector<pci_message>{{0x1fee01000, 0x41d3}}));
	EXPECT_EQ(cfg(d, cap + 20), 0x02u);
	command(d, 0);
	cfg(d, cap + 16, 4, 0);
	EXPECT_EQ(messages.size(), 1u);
	command(d, KB_PCI_COMMAND_MASTER);
	EXPECT_EQ(messages.size(), 2u);
	EXPECT_EQ(cfg(d, cap + 20), 0u);
}

TEST_F(pci, thirty_two_msi_vectors)
{
	pci_device d;
	kb_pci_config c = config();
	c.msi_vectors = 32;
	add(d, c);
	unsigned cap = find_cap(d, KB_PCI_CAP_MSI);
	command(d, 4);
	cfg(d, cap + 2, 2, 0x51);
	cfg(d, cap + 16, 4, 0xffffffff);
	EXPECT_EQ(cfg(d, cap + 16), 0xffffffffu);
	EXPECT_EQ(kb_pci_msi(d.f, 31), 0);
	EXPECT_EQ(kb_pci_msi(d.f, 32), -EINVAL);
	EXPECT_EQ(cfg(d, cap + 20), 0x80000000u);
	cfg(d, cap + 16, 4, 0);
	EXPECT_EQ(messages, (std::vector<pci_message>{{0, 31}}));
}

/* ---- MSI-X ------------------------------------------------------------------ */

class pci_msix : public pci {
protected:
	static constexpr unsigned vectors = 70;
	static constexpr uint64_t base = 0xe0000000, table = base + 0x1000, pba = base + 0x1800;
	static constexpr unsigned on = 0x8000, mask_all = 0x4000;
	pci_device d;
	unsigned cap = 0;
	void SetUp() override
	{
		pci::SetUp();
		kb_pci_config c = config();
		c.bar[0] = {0x4000, false, true, false};
		c.msi_vectors = 1;
		c.msix_vectors = vectors;
		c.msix_table_offset = 0x1000;
		c.msix_pba_offset = 0x1800;
		c.max_access = 2;
		add(d, c);
		cap = find_cap(d, KB_PCI_CAP_MSIX);
		ASSERT_NE(cap, 0u);
		map(d, 0, base, true);
		command(d, KB_PCI_COMMAND_MEMORY | KB_PCI_COMMAND_MASTER);
	}
	void control(unsigned v) { cfg(d, cap + 2, 2, v); }
	void entry(unsigned v, uint64_t addr, uint32_t data, bool masked)
	{
		write(mem, table + 16 * v, 8, addr);
		write(mem, table + 16 * v + 8, 4, data);
		write(mem, table + 16 * v + 12, 4, masked);
	}
};

TEST_F(pci_msix, registers_and_reset_state)
{
	EXPECT_EQ(cfg(d, cap + 2, 2), vectors - 1);
	EXPECT_EQ(cfg(d, cap + 4), 0x1000u);
	EXPECT_EQ(cfg(d, cap + 8), 0x1800u);
	cfg(d, cap, 4, 0xffffffff);
	cfg(d, cap + 4, 4, 0xffffffff);
	cfg(d, cap + 8, 4, 0xffffffff);
	EXPECT_EQ(cfg(d, cap + 2, 2), 0xc000u | (vectors - 1));
	EXPECT_EQ(cfg(d, cap + 4), 0x1000u);
	EXPECT_EQ(cfg(d, cap + 8), 0x1800u);
	for (unsigned v = 0; v < vectors; v++) {
		EXPECT_EQ(read(mem, table + 16 * v, 8), 0u);
		EXPECT_EQ(read(mem, table + 16 * v + 8, 8), 1ull << 32);
	}
	EXPECT_TRUE(d.log.empty());
}

TEST_F(pci_msix, table_takes_dwords_and_qwords)
{
	write(mem, table + 16, 8, 0x1122334455667788);
	write(mem, table + 24, 8, 0xfffffffeaabbccddull);
	EXPECT_EQ(read(mem, table + 16, 4), 0x55667788u);
	EXPECT_EQ(read(mem, table + 20, 4), 0x11223344u);
	EXPECT_EQ(read(mem, table + 24, 4), 0xaabbccddu);
	EXPECT_EQ(read(mem, table + 28, 4), 0u); /* reserved bits stay 0 */
	write(mem, table + 16, 4, 0xffffffff);
	EXPECT_EQ(read(mem, table + 16, 8), 0x11223344fffffffcu);
	write(mem, table + 16, 1, 0);
	write(mem, table + 18, 2, 0);
	EXPECT_EQ(read(mem, table + 16, 4), 0xfffffffcu);
	EXPECT_TRUE(d.log.empty());
}

TEST_F(pci_msix, pba_is_read_only)
{
	control(on);
	kb_pci_msi(d.f, 1);
	kb_pci_msi(d.f, 69);
	EXPECT_EQ(read(mem, pba, 8), 2u);
	EXPECT_EQ(read(mem, pba + 8, 4), 0x20u);
	EXPECT_EQ(read(mem, pba + 12, 4), 0u);
	write(mem, pba, 8, UINT64_MAX);
	write(mem, pba + 8, 4, 0);
	EXPECT_EQ(read(mem, pba, 8), 2u);
	EXPECT_EQ(read(mem, pba + 8, 8), 0x20u);
	EXPECT_TRUE(d.log.empty());
}

/* The writes before them are on their way to the device, these are served here: in order all the same. */
TEST_F(pci_msix, accesses_to_table_and_pba_push_the_functions_writes)
{
	read(mem, table, 4);
	EXPECT_EQ(d.pushes, 1);
	write(mem, table + 12, 4, 0);
	EXPECT_EQ(d.pushes, 2);
	read(mem, pba, 8);
	EXPECT_EQ(d.pushes, 3);
	read(mem, base, 2);
	write(mem, base, 2, 0);
	EXPECT_EQ(d.pushes, 3) << "those are the device's business";
}

TEST_F(pci_msix, the_rest_of_the_bar_is_the_devices)
{
	d.answer = 0xbeef;
	EXPECT_EQ(read(mem, table - 4, 4), 0xbeefbeefu);
	EXPECT_EQ(read(mem, table + 16 * vectors, 2), 0xbeefu);
	write(mem, pba + 16, 8, 0x4444333322221111);
	write(mem, pba - 1, 1, 7);
	EXPECT_EQ(d.log, (std::vector<pci_cycle>{{0, 0xffc, 2, false, 0},
						 {0, 0xffe, 2, false, 0},
						 {0, 0x1000 + 16 * vectors, 2, false, 0},
						 {0, 0x1810, 2, true, 0x1111},
						 {0, 0x1812, 2, true, 0x2222},
						 {0, 0x1814, 2, true, 0x3333},
						 {0, 0x1816, 2, true, 0x4444},
						 {0, 0x17ff, 1, true, 7}}));
}

TEST_F(pci_msix, a_split_access_ends_when_the_bar_moves)
{
	d.on_access = [&] { command(d, 0); };
	write(mem, base, 8, 1);
	EXPECT_EQ(d.log.size(), 1u);
	d.on_access = nullptr;
	map(d, 0, base, true);
	d.log.clear();
	d.on_access = [&] { cfg(d, 0x10, 4, base + 0x10000); };
	EXPECT_EQ(read(mem, base, 8), 0xffffffffffff2211u);
	EXPECT_EQ(d.log.size(), 1u);
}

TEST_F(pci_msix, results)
{
	entry(3, 0xfee00008, 0x1234567, false);
	EXPECT_EQ(kb_pci_msi(d.f, 3), -ENODEV);
	control(on);
	EXPECT_EQ(kb_pci_msi(d.f, 3), 1);
	EXPECT_EQ(messages, (std::vector<pci_message>{{0xfee00008, 0x1234567}}));
	EXPECT_EQ(kb_pci_msi(d.f, vectors), -EINVAL);
	EXPECT_EQ(kb_pci_msi(d.f, UINT_MAX), -EINVAL);
	EXPECT_EQ(kb_pci_msi(d.f, 4), 0);
	command(d, KB_PCI_COMMAND_MEMORY);
	EXPECT_EQ(kb_pci_msi(d.f, 3), -EPERM);
	EXPECT_EQ(messages.size(), 1u);
}

TEST_F(pci_msix, msix_comes_before_msi)
{
	cfg(d, find_cap(d, KB_PCI_CAP_MSI) + 2, 2, 1);
	EXPECT_EQ(kb_pci_msi(d.f, 1), -EINVAL);
	control(on);
	EXPECT_EQ(kb_pci_msi(d.f, 1), 0);
}

TEST_F(pci_msix, unmasking_a_vector_sends_what_is_pending_once)
{
	entry(2, 0xfee00000, 22, true);
	control(on);
	EXPECT_EQ(kb_pci_msi(d.f, 2), 0);
	EXPECT_EQ(kb_pci_msi(d.f, 2), 0);
	EXPECT_EQ(read(mem, pba, 8), 4u);
	/* Data and control in one: the new data goes out. */
	write(mem, table + 2 * 16 + 8, 8, 33);
	EXPECT_EQ(messages, (std::vector<pci_message>{{0xfee00000, 33}}));
	EXPECT_EQ(read(mem, pba, 8), 0u);
	entry(2, 0xfee00000, 22, true);
	entry(2, 0xfee00000, 22, false);
	EXPECT_EQ(messages.size(), 1u);
}

TEST_F(pci_msix, function_mask_holds_all_back)
{
	for (unsigned v = 0; v < vectors; v++)
		entry(v, 0xfee00000, v, v == 1);
	control(on | mask_all);
	for (unsigned v : {0u, 1u, 64u, 69u})
		EXPECT_EQ(kb_pci_msi(d.f, v), 0);
	EXPECT_TRUE(messages.empty());
	control(on);
	EXPECT_EQ(messages, (std::vector<pci_message>{{0xfee00000, 0}, {0xfee00000, 64}, {0xfee00000, 69}}));
	EXPECT_EQ(read(mem, pba, 8), 2u);
	control(0);
	entry(1, 0xfee00000, 1, false);
	EXPECT_EQ(messages.size(), 3u);
	control(on);
	EXPECT_EQ(messages.size(), 4u);
}

TEST_F(pci_msix, bus_mastering_holds_pending_back)
{
	entry(0, 0xfee00000, 1, true);
	control(on);
	kb_pci_msi(d.f, 0);
	command(d, KB_PCI_COMMAND_MEMORY);
	entry(0, 0xfee00000, 1, false);
	EXPECT_TRUE(messages.empty());
	EXPECT_EQ(read(mem, pba, 8), 1u);
	command(d, KB_PCI_COMMAND_MEMORY | KB_PCI_COMMAND_MASTER);
	EXPECT_EQ(messages.size(), 1u);
}

TEST_F(pci_msix, reset_masks_everything)
{
	entry(0, 0xfee00000, 1, false);
	control(on);
	kb_pci_msi(d.f, 5);
	kb_pci_bus_reset(bus);
	EXPECT_EQ(kb_pci_msi(d.f, 0), -ENODEV);
	map(d, 0, base, true);
	EXPECT_EQ(read(mem, table + 12, 4), 1u);
	EXPECT_EQ(read(mem, table, 8), 0u);
	EXPECT_EQ(read(mem, pba, 8), 0u);
}

TEST_F(pci, the_layout_given_is_the_last_part_of_the_bar)
{
	pci_device d;
	kb_pci_config c = config();
	c.bar[1].size = 64 * 1024;
	c.msix_bar = 1;
	c.msix_vectors = 2048;
	add(d, c);
	unsigned cap = find_cap(d, KB_PCI_CAP_MSIX);
	EXPECT_EQ(cfg(d, cap + 4), (0x10000u - 0x8000 - 0x100) | 1);
	EXPECT_EQ(cfg(d, cap + 8), (0x10000u - 0x100) | 1);
	c.msix_vectors = 3;
	c.bar[1].size = 64;
	pci_device e;
	add(e, c);
	EXPECT_EQ(cfg(e, cap + 4), 1u);
	EXPECT_EQ(cfg(e, cap + 8), 49u);
}

class pci_reentrant : public pci_msix {
protected:
	void prepare() override
	{
		bus_cfg.msi = [](void *p, uint64_t addr, uint32_t data) {
			auto *t = static_cast<pci_reentrant *>(p);
			t->messages.push_back({addr, data});
			if (t->messages.size() == 1)
				t->control(0);
		};
	}
};

TEST_F(pci_reentrant, a_message_may_turn_off_the_rest)
{
	control(on | mask_all);
	for (unsigned v = 0; v < vectors; v++) {
		entry(v, 0xfee00000, v, false);
		kb_pci_msi(d.f, v);
	}
	control(on);
	EXPECT_EQ(messages.size(), 1u);
	EXPECT_EQ(read(mem, pba, 8), UINT64_MAX - 1);
}

} // namespace kvmbox
