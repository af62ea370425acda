// A PCI bus with RAM below it, everything that comes out of it recorded.
#ifndef PCI_FIXTURE_H
#define PCI_FIXTURE_H

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

extern "C" {
#include "devices/pci.h"
#include "devices/pci_regs.h"
}

namespace kvmbox {

struct pci_cycle {
	unsigned bar;
	uint64_t off;
	unsigned len;
	bool write;
	uint64_t value;
	bool operator==(const pci_cycle &o) const
	{
		return bar == o.bar && off == o.off && len == o.len && write == o.write && value == o.value;
	}
};

// A function that records what reaches it.
struct pci_device {
	kb_pci_function *f = nullptr;
	std::vector<pci_cycle> log;
	std::vector<uint16_t> commands;
	int resets = 0, pushes = 0;
	uint64_t answer = 0x8877665544332211ull;
	std::function<void()> on_access;

	static const kb_pci_ops *ops()
	{
		static const kb_pci_ops o = {
			[](void *p, unsigned bar, uint64_t off, unsigned len) -> uint64_t {
				auto *d = static_cast<pci_device *>(p);
				d->log.push_back({bar, off, len, false, 0});
				if (d->on_access)
					d->on_access();
				return d->answer;
			},
			[](void *p, unsigned bar, uint64_t off, unsigned len, uint64_t v) {
				auto *d = static_cast<pci_device *>(p);
				d->log.push_back({bar, off, len, true, v});
				if (d->on_access)
					d->on_access();
			},
			[](void *p, uint16_t c) { static_cast<pci_device *>(p)->commands.push_back(c); },
			[](void *p) { static_cast<pci_device *>(p)->resets++; },
			[](void *p) { static_cast<pci_device *>(p)->pushes++; },
		};
		return &o;
	}
};

struct pci_message {
	uint64_t addr;
	uint32_t data;
	bool operator==(const pci_message &o) const { return addr == o.addr && data == o.data; }
};

class pci : public testing::Test {
protected:
	static constexpr uint64_t ram_size = 1 << 20;
	static constexpr uint64_t mem32 = 0xe0000000, mem32_size = 0x10000000;
	static constexpr uint64_t mem64 = 1ull << 32, mem64_size = 1ull << 36;

	kb_bus mem, io;
	kb_region ram{};
	std::vector<uint8_t> ram_bytes = std::vector<uint8_t>(ram_size);
	struct kb_log log {};
	std::vector<std::string> warnings;
	bool pirq[4] = {};
	int pirq_edges = 0;
	std::vector<pci_message> messages;
	kb_pci_bus_config bus_cfg{};
	kb_pci_bus *bus = nullptr;
	kvmbox_error err{};

	void SetUp() override
	{
		kb_bus_init(&mem, "memory", (1ull << 46) - 1);
		kb_bus_init(&io, "port", 0xffff);
		ram.name = "RAM";
		ram.size = ram_size;
		ram.host = ram_bytes.data();
		ASSERT_EQ(kb_bus_add(&mem, &ram, &err), 0);
		log.opaque = this;
		log.fn = [](void *p, kvmbox_log_level level, const char *msg) {
			EXPECT_EQ(level, KVMBOX_LOG_WARNING);
			static_cast<pci *>(p)->warnings.push_back(msg);
		};
		bus_cfg.mem = &mem;
		bus_cfg.io = &io;
		bus_cfg.log = &log;
		for (int i = 0; i < 4; i++) {
			bus_cfg.intx[i].pin = i;
			bus_cfg.intx[i].opaque = this;
			bus_cfg.intx[i].set = [](void *p, int pin, bool level) {
				static_cast<pci *>(p)->pirq[pin] = level;
				static_cast<pci *>(p)->pirq_edges++;
			};
			bus_cfg.pirq_irq[i] = static_cast<uint8_t>(10 + i);
		}
		bus_cfg.msi_opaque = this;
		bus_cfg.msi = [](void *p, uint64_t addr, uint32_t data) {
			static_cast<pci *>(p)->messages.push_back({addr, data});
		};
		bus_cfg.mem32_base = mem32;
		bus_cfg.mem32_size = mem32_size;
		bus_cfg.mem64_base = mem64;
		bus_cfg.mem64_size = mem64_size;
		bus_cfg.io_base = 0xc000;
		bus_cfg.io_size = 0x1000;
		prepare();
		ASSERT_EQ(kb_pci_bus_create(&bus, &bus_cfg, &err), 0) << err.msg;
	}
	void TearDown() override
	{
		kb_pci_bus_destroy(bus);
		EXPECT_EQ(io.count, 0u);
		EXPECT_EQ(mem.count, 1u);
		kb_bus_destroy(&mem);
		kb_bus_destroy(&io);
	}
	// Last changes to bus_cfg.
	virtual void prepare() {}

	static kb_pci_config config(const char *name = "dev", int slot = -1)
	{
		kb_pci_config c{};
		c.name = name;
		c.slot = slot;
		c.vendor = 0x1af4;
		c.device = 0x1234;
		c.subsystem_vendor = 0xabcd;
		c.subsystem = 0x5678;
		c.class_code = 0x020304;
		c.revision = 7;
		return c;
	}
	void add(pci_device &d, const kb_pci_config &c)
	{
		ASSERT_EQ(kb_pci_function_create(&d.f, bus, &c, pci_device::ops(), &d, &err), 0) << err.msg;
	}
	int try_add(const kb_pci_config &c)
	{
		kb_pci_function *f = nullptr;
		int rc = kb_pci_function_create(&f, bus, &c, nullptr, nullptr, &err);
		EXPECT_EQ(f == nullptr, rc != 0);
		return rc;
	}

	uint32_t cfg(const pci_device &d, unsigned off, unsigned len = 4)
	{
		return kb_pci_config_read(bus, kb_pci_function_bdf(d.f), off, len);
	}
	void cfg(const pci_device &d, unsigned off, unsigned len, uint32_t v)
	{
		kb_pci_config_write(bus, kb_pci_function_bdf(d.f), off, len, v);
	}
	void command(const pci_device &d, uint32_t v) { cfg(d, KB_PCI_COMMAND, 2, v); }
	// Sets a BAR's address; memory and I/O decoding are on afterwards.
	void map(const pci_device &d, unsigned bar, uint64_t addr, bool is64 = false)
	{
		cfg(d, KB_PCI_BAR0 + 4 * bar, 4, static_cast<uint32_t>(addr));
		if (is64)
			cfg(d, KB_PCI_BAR0 + 4 * bar + 4, 4, static_cast<uint32_t>(addr >> 32));
		command(d, cfg(d, KB_PCI_COMMAND, 2) | KB_PCI_COMMAND_IO | KB_PCI_COMMAND_MEMORY);
	}
	// Where a BAR is decoded, 0: nowhere.
	static uint64_t where(const pci_device &d, unsigned bar)
	{
		uint64_t a = 0;
		return kb_pci_bar_address(d.f, bar, &a) ? a : 0;
	}
	unsigned find_cap(const pci_device &d, unsigned id)
	{
		unsigned off = cfg(d, KB_PCI_CAPABILITIES, 1);
		for (int i = 0; off && i < 48; i++, off = cfg(d, off + 1, 1))
			if (cfg(d, off, 1) == id)
				return off;
		return 0;
	}

	static uint64_t read(kb_bus &b, uint64_t addr, unsigned len)
	{
		uint64_t v = 0;
		kb_bus_read(&b, addr, &v, len);
		return v;
	}
	static void write(kb_bus &b, uint64_t addr, unsigned len, uint64_t v) { kb_bus_write(&b, addr, &v, len); }
};

} // namespace kvmbox

#endif
