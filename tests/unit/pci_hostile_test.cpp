// devices/pci.h against a hostile guest: random configuration and BAR accesses.
#include "tests/unit/pci_fixture.h"

#include <memory>
#include <random>

namespace kvmbox {

class pci_hostile : public pci {
protected:
	std::mt19937 rng{20240607};
	std::vector<std::unique_ptr<pci_device>> devices;
	const uint64_t places[6] = {0x8000, 0xe0000000, 0xe0001000, 0xe0002000, 0xfffff000, 0x100000000};

	void SetUp() override
	{
		pci::SetUp();
		for (int i = 0; i < 3; i++)
			add_function(3 * i + 1, 0);
		add_function(4, 5);
	}
	void add_function(int slot, int fn)
	{
		static const char rom[100] = "rom";
		kb_pci_config c = config("dev", slot);
		c.fn = fn;
		c.bar[0].size = 0x4000;
		c.bar[1] = {0x10, true, false, false};
		c.bar[2] = {0x1000, false, true, true};
		c.bar[4] = {1ull << 32, false, true, true};
		c.intx_pin = static_cast<unsigned>(slot % 4 + 1);
		c.msi_vectors = 16;
		c.msix_vectors = 100;
		c.max_access = 4;
		c.power_management = true;
		c.rom = rom;
		c.rom_size = sizeof(rom);
		devices.push_back(std::make_unique<pci_device>());
		add(*devices.back(), c);
	}
	uint32_t pick_bdf() { return rng() % 4 ? kb_pci_function_bdf(devices[rng() % 4]->f) : rng() % 256; }
	uint32_t pick_value()
	{
		switch (rng() % 4) {
		case 0: return static_cast<uint32_t>(places[rng() % 6] + 0x800 * (rng() % 4)) | 1;
		case 1: return rng() % 16;
		case 2: return 0xffffffff;
		default: return rng();
		}
	}
	void config_access()
	{
		/* PM at 0x40, MSI at 0x48, MSI-X at 0x60: see add_function(). */
		static const unsigned hot[] = {4, 4, 5, 0x10, 0x12, 0x14, 0x18, 0x1c, 0x20, 0x24,
					       0x30, 0x44, 0x4a, 0x58, 0x60, 0x62, 0x63};
		unsigned off = rng() % 4 ? hot[rng() % 17] : rng() % 256, len = 1u << rng() % 3;
		uint32_t value = pick_value();

		while (off % len)
			len /= 2;
		if (off == 4 || off == 0x44) /* mostly on */
			value = rng() % 3 ? (off == 4 ? 7 : 0) : value;
		write(io, 0xcf8, 4, 0x80000000 | pick_bdf() << 8 | (off & ~3u));
		if (rng() % 4)
			write(io, 0xcfc + off % 4, len, value);
		else
			read(io, 0xcfc + off % 4, len);
	}
	void bar_access()
	{
		const pci_device &d = *devices[rng() % 4];
		uint64_t at = places[rng() % 6] + rng() % 0x4000;
		unsigned bar = rng() % 2 ? 0 : rng() % 7, len = 1u << rng() % 4;

		if (kb_pci_bar_address(d.f, bar, &at)) /* MSI-X is the last 0x650 bytes of BAR 0 */
			at += rng() % 2 ? 0x4000 - rng() % 0x700 : rng() % 0x4000;
		if (rng() % 2)
			at &= ~3ull;
		if (rng() % 2)
			write(bar == 1 ? io : mem, at, len, pick_value());
		else
			read(bar == 1 ? io : mem, at, len);
		read(io, rng() % 0x10000, 1u << rng() % 3);
	}
	void device_acts()
	{
		kb_pci_function *f = devices[rng() % 4]->f;
		if (rng() % 2)
			kb_pci_intx(f, rng() % 2);
		else
			kb_pci_msi(f, rng() % 110);
	}
	// Regions sorted, apart, found; what is decoded is on the bus and nothing else is.
	void check(kb_bus &b)
	{
		for (size_t i = 0; i < b.count; i++) {
			kb_region *r = b.regions[i];
			ASSERT_LE(r->base + (r->size - 1), b.limit);
			ASSERT_TRUE(!i || b.regions[i - 1]->base + (b.regions[i - 1]->size - 1) < r->base);
			ASSERT_EQ(kb_bus_find(&b, r->base), r);
			ASSERT_EQ(kb_bus_find(&b, r->base + (r->size - 1)), r);
		}
	}
	void check_decoded()
	{
		size_t count = 0;
		for (auto &d : devices)
			for (unsigned bar = 0; bar < 7; bar++) {
				uint64_t at;
				if (!kb_pci_bar_address(d->f, bar, &at))
					continue;
				count++;
				kb_region *r = kb_bus_find(bar == 1 ? &io : &mem, at);
				ASSERT_TRUE(r && r->base == at);
				ASSERT_TRUE(kb_pci_function_command(d->f) & (bar == 1 ? 1 : 2));
			}
		ASSERT_EQ(count + 2, mem.count + io.count); /* RAM, config ports */
	}
	// A BAR that is not decoded has a reason: off, sizing, out of bounds, or something in its place.
	void check_undecoded()
	{
		static const struct {
			unsigned bar, off;
			uint64_t size;
			bool io, is64;
		} bars[] = {{0, 0x10, 0x4000, false, false},
			    {1, 0x14, 0x10, true, false},
			    {2, 0x18, 0x1000, false, true},
			    {4, 0x20, 1ull << 32, false, true},
			    {6, 0x30, 2048, false, false}};
		for (auto &d : devices)
			for (auto &b : bars) {
				uint64_t low = (b.io ? 0xffff : 0xffffffff) & ~(b.size - 1), at = cfg(*d, b.off);
				bool on = cfg(*d, 4, 2) & (b.io ? 1 : 2) && !(cfg(*d, 0x44, 1) & 3) &&
					  (b.bar != 6 || (at & 1));
				if (b.is64)
					at |= static_cast<uint64_t>(cfg(*d, b.off + 4)) << 32;
				at &= ~(b.size - 1);
				on = on && at && at != low && at != ~(b.size - 1);
				kb_bus &space = b.io ? io : mem;
				if (!on || at + (b.size - 1) > space.limit) {
					ASSERT_EQ(where(*d, b.bar), 0u);
				} else if (where(*d, b.bar) != at) {
					ASSERT_NE(kb_bus_overlap(&space, at, b.size), nullptr);
					ASSERT_EQ(where(*d, b.bar), 0u);
				}
			}
	}
	void check_lines()
	{
		bool want[4] = {};
		for (auto &d : devices) {
			unsigned bdf = kb_pci_function_bdf(d->f), pin = cfg(*d, KB_PCI_INTERRUPT_PIN, 1);
			unsigned pm = find_cap(*d, KB_PCI_CAP_PM), msi = find_cap(*d, KB_PCI_CAP_MSI),
				 msix = find_cap(*d, KB_PCI_CAP_MSIX);
			want[((bdf >> 3) + pin - 1) % 4] |=
				(cfg(*d, KB_PCI_STATUS, 2) & 8) && !(cfg(*d, KB_PCI_COMMAND, 2) & 0x400) &&
				!(cfg(*d, pm + 4, 2) & 3) && !(cfg(*d, msi + 2, 2) & 1) &&
				!(cfg(*d, msix + 2, 2) & 0x8000);
		}
		for (int i = 0; i < 4; i++)
			ASSERT_EQ(pirq[i], want[i]) << i;
	}
};

TEST_F(pci_hostile, random_accesses)
{
	size_t decoded = 0, accesses = 0, sent = 0;
	for (int i = 0; i < 1000000; i++) {
		switch (rng() % 8) {
		case 0: bar_access(); break;
		case 1: device_acts(); break;
		default: config_access();
		}
		if (i % 16)
			continue;
		decoded += mem.count + io.count - 2;
		ASSERT_NO_FATAL_FAILURE(check(mem));
		ASSERT_NO_FATAL_FAILURE(check(io));
		ASSERT_NO_FATAL_FAILURE(check_decoded());
		ASSERT_NO_FATAL_FAILURE(check_undecoded());
		ASSERT_NO_FATAL_FAILURE(check_lines());
		for (auto &d : devices) {
			accesses += d->log.size();
			d->log.clear(), d->commands.clear();
		}
		sent += messages.size();
		messages.clear();
		if (i % 65536 == 0)
			kb_pci_bus_reset(bus);
	}
	/* The test reached what it is about. */
	EXPECT_GT(decoded, 100000u);
	EXPECT_GT(accesses, 10000u);
	EXPECT_GT(sent, 1000u);
	EXPECT_GT(pirq_edges, 1000);
	EXPECT_LT(warnings.size(), 100u);
}

TEST_F(pci_hostile, callbacks_come_back_with_configuration_writes)
{
	int depth = 0;
	for (auto &d : devices)
		d->on_access = [&] {
			if (depth > 2)
				return;
			depth++;
			config_access();
			if (rng() % 4 == 0)
				bar_access();
			depth--;
		};
	for (int i = 0; i < 200000; i++) {
		rng() % 2 ? bar_access() : config_access();
		messages.clear();
		if (i % 64)
			continue;
		ASSERT_NO_FATAL_FAILURE(check(mem));
		ASSERT_NO_FATAL_FAILURE(check_decoded());
		ASSERT_NO_FATAL_FAILURE(check_undecoded());
		for (auto &d : devices)
			d->log.clear(), d->commands.clear();
	}
}

} // namespace kvmbox
