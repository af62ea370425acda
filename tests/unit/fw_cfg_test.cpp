// devices/fw_cfg.h: selector, data port, directory and DMA of the firmware configuration device.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "devices/fw_cfg.h"
}

namespace {

constexpr uint32_t error_bit = 1, read_bit = 2, skip_bit = 4, select_bit = 8, write_bit = 16;

class fw_cfg : public testing::Test {
protected:
	static constexpr uint64_t ram_base = 0x1000, ram2_base = 0x3000, rom_base = 0x8000, device_base = 0x10000;
	kb_bus io, mem;
	std::vector<uint8_t> ram = std::vector<uint8_t>(0x2000, 0xcc), ram2 = std::vector<uint8_t>(0x1000, 0xcc),
			     rom = std::vector<uint8_t>(0x1000, 0xcc);
	kb_region regions[4] = {};
	int device_accesses = 0;
	kb_fw_cfg *f = nullptr;
	kvmbox_error err{};

	void add_memory(kb_region &r, const char *name, uint64_t base, std::vector<uint8_t> &bytes)
	{
		r.name = name;
		r.base = base;
		r.size = bytes.size();
		r.host = bytes.data();
		ASSERT_EQ(kb_bus_add(&mem, &r, &err), 0) << err.msg;
	}
	void SetUp() override
	{
		kb_bus_init(&io, "port", 0xffff);
		kb_bus_init(&mem, "memory", UINT64_MAX);
		regions[2].readonly = true;
		add_memory(regions[0], "RAM", ram_base, ram);
		add_memory(regions[1], "more RAM", ram2_base, ram2);
		add_memory(regions[2], "ROM", rom_base, rom);
		regions[3].name = "device";
		regions[3].base = device_base;
		regions[3].size = 0x1000;
		regions[3].opaque = &device_accesses;
		regions[3].read = [](void *o, uint64_t, unsigned) -> uint64_t { return ++*static_cast<int *>(o), 0; };
		regions[3].write = [](void *o, uint64_t, unsigned, uint64_t) { ++*static_cast<int *>(o); };
		ASSERT_EQ(kb_bus_add(&mem, &regions[3], &err), 0);
		ASSERT_EQ(kb_fw_cfg_create(&f, &io, &mem, &err), 0) << err.msg;
	}
	void TearDown() override
	{
		kb_fw_cfg_destroy(f);
		EXPECT_EQ(io.count, 0u);
		kb_bus_destroy(&io);
		kb_bus_destroy(&mem);
	}
	void out(uint16_t port, uint32_t v, size_t len) { kb_bus_write(&io, port, &v, len); }
	uint32_t in(uint16_t port, size_t len)
	{
		uint32_t v = 0;
		kb_bus_read(&io, port, &v, len);
		return v;
	}
	std::string take(size_t n)
	{
		std::string s;
		while (n--)
			s += static_cast<char>(in(0x511, 1));
		return s;
	}
	std::string item(unsigned key, size_t n)
	{
		out(0x510, key, 2);
		return take(n);
	}
	static uint32_t be32(const std::string &s, size_t at)
	{
		uint32_t v;
		memcpy(&v, s.data() + at, 4);
		return __builtin_bswap32(v);
	}
	static unsigned be16(const std::string &s, size_t at)
	{
		return static_cast<uint8_t>(s[at]) << 8 | static_cast<uint8_t>(s[at + 1]);
	}
	int add_file(const std::string &name, const std::string &bytes)
	{
		return kb_fw_cfg_add_file(f, name.c_str(), bytes.data(), bytes.size(), &err);
	}
	// Name to key and size.
	std::map<std::string, std::pair<unsigned, uint32_t>> directory()
	{
		std::map<std::string, std::pair<unsigned, uint32_t>> files;
		uint32_t n = be32(item(0x19, 4), 0);
		for (uint32_t i = 0; i < n; i++) {
			std::string e = take(64);
			files[e.c_str() + 8] = {be16(e, 4), be32(e, 0)};
		}
		return files;
	}
	void put_access(uint64_t at, uint32_t control, uint32_t length, uint64_t address)
	{
		control = __builtin_bswap32(control);
		length = __builtin_bswap32(length);
		address = __builtin_bswap64(address);
		kb_bus_write(&mem, at, &control, 4);
		kb_bus_write(&mem, at + 4, &length, 4);
		kb_bus_write(&mem, at + 8, &address, 8);
	}
	uint32_t control(uint64_t at)
	{
		uint32_t v;
		kb_bus_read(&mem, at, &v, 4);
		return __builtin_bswap32(v);
	}
	void start(uint64_t at)
	{
		out(0x514, __builtin_bswap32(static_cast<uint32_t>(at >> 32)), 4);
		out(0x518, __builtin_bswap32(static_cast<uint32_t>(at)), 4);
	}
	// Returns what the device left in the control word.
	uint32_t dma(uint32_t ctl, uint32_t length, uint64_t address, uint64_t at = ram_base)
	{
		put_access(at, ctl, length, address);
		start(at);
		return control(at);
	}
	std::string memory(uint64_t at, size_t n)
	{
		std::string s(n, 0);
		kb_bus_read(&mem, at, s.data(), n);
		return s;
	}
};

TEST_F(fw_cfg, signature_and_features)
{
	EXPECT_EQ(take(4), "QEMU"); // selected after reset
	EXPECT_EQ(item(0, 6), std::string("QEMU\0\0", 6));
	EXPECT_EQ(item(1, 4), std::string("\3\0\0\0", 4));
	EXPECT_EQ(__builtin_bswap32(in(0x514, 4)), 0x51454d55u);
	EXPECT_EQ(__builtin_bswap32(in(0x518, 4)), 0x20434647u);
}

TEST_F(fw_cfg, numbered_items)
{
	uint16_t cpus = 3;
	ASSERT_EQ(kb_fw_cfg_add(f, KB_FW_CFG_CPUS, &cpus, 2, &err), 0);
	EXPECT_EQ(item(5, 3), std::string("\3\0\0", 3));
	EXPECT_EQ(kb_fw_cfg_add(f, KB_FW_CFG_CPUS, &cpus, 2, &err), -EEXIST);
	EXPECT_EQ(kb_fw_cfg_add(f, KB_FW_CFG_SIGNATURE, &cpus, 2, &err), -EEXIST);
	EXPECT_EQ(kb_fw_cfg_add(f, KB_FW_CFG_FILE_FIRST, &cpus, 2, &err), -EINVAL);
}

TEST_F(fw_cfg, what_is_not_there_reads_as_zeros)
{
	for (unsigned key : {2u, 0x18u, 0x20u, 0x3fffu, 0x8000u, 0xbfffu, 0xffffu}) {
		EXPECT_EQ(item(key, 3), std::string(3, 0)) << key;
		EXPECT_EQ(dma(key << 16 | select_bit | read_bit, 3, ram_base + 64), 0u);
		EXPECT_EQ(memory(ram_base + 64, 3), std::string(3, 0)) << key;
	}
	EXPECT_EQ(item(0x4000, 4), "QEMU"); // bit 14 once meant writing
}

TEST_F(fw_cfg, files)
{
	const std::string longest(55, 'n');
	ASSERT_EQ(add_file("etc/a", "alpha"), 0);
	ASSERT_EQ(add_file(longest, ""), 0);
	ASSERT_EQ(add_file("opt/b", std::string("b\0c", 3)), 0);
	auto d = directory();
	ASSERT_EQ(d.size(), 3u);
	EXPECT_EQ(d["etc/a"].second, 5u);
	EXPECT_EQ(d[longest].second, 0u);
	EXPECT_EQ(item(d["etc/a"].first, 7), std::string("alpha\0\0", 7));
	EXPECT_EQ(item(d["opt/b"].first, 3), std::string("b\0c", 3));
	EXPECT_GE(d["etc/a"].first, 0x20u);
	EXPECT_EQ(add_file("etc/a", "again"), -EEXIST);
	EXPECT_EQ(add_file("", "x"), -EINVAL);
	EXPECT_EQ(add_file(std::string(56, 'n'), "x"), -EINVAL);
	EXPECT_EQ(directory().size(), 3u);
}

TEST_F(fw_cfg, an_item_added_while_another_is_read)
{
	ASSERT_EQ(add_file("etc/a", "alpha"), 0);
	EXPECT_EQ(item(0x20, 2), "al");
	for (int i = 0; i < 100; i++)
		ASSERT_EQ(add_file("x" + std::to_string(i), "x"), 0);
	EXPECT_EQ(take(3), "pha");
	EXPECT_EQ(directory().size(), 101u);
}

TEST_F(fw_cfg, the_keys_end)
{
	for (int i = 0x20; i < 0x4000; i++)
		ASSERT_EQ(add_file("f" + std::to_string(i), "x"), 0);
	EXPECT_EQ(add_file("one more", "x"), -ENOSPC);
	EXPECT_EQ(item(0x3fff, 1), "x");
}

TEST_F(fw_cfg, widths_of_the_ports)
{
	item(0, 1);
	EXPECT_EQ(in(0x510, 1), 0xffu); // no register there to read
	EXPECT_EQ(in(0x510, 2), 0xffffu);
	out(0x510, 1, 1);
	out(0x511, 1, 1);
	out(0x514, 1, 2);
	EXPECT_EQ(take(3), "EMU");
}

TEST_F(fw_cfg, dma_reads)
{
	ASSERT_EQ(add_file("etc/a", "alphabet"), 0);
	EXPECT_EQ(dma(0x20 << 16 | select_bit | read_bit, 5, ram_base + 0x100), 0u);
	EXPECT_EQ(memory(ram_base + 0x100, 6), "alpha\xcc");
	EXPECT_EQ(dma(read_bit, 5, ram_base + 0x100), 0u); // goes on; zeros behind the end
	EXPECT_EQ(memory(ram_base + 0x100, 6), std::string("bet\0\0\xcc", 6));
	EXPECT_EQ(dma(0x20 << 16 | select_bit, 0, 0), 0u);
	EXPECT_EQ(dma(skip_bit, 2, 0), 0u);
	EXPECT_EQ(take(3), "pha");
	EXPECT_EQ(dma(skip_bit, UINT32_MAX, 0), 0u);
	EXPECT_EQ(take(1), std::string(1, 0));
	EXPECT_EQ(dma(0x20 << 16 | select_bit | read_bit, 0, UINT64_MAX), 0u);
}

TEST_F(fw_cfg, a_low_half_alone_and_a_high_half_used_once)
{
	put_access(ram_base, select_bit | read_bit, 4, ram_base + 0x100);
	out(0x518, __builtin_bswap32(ram_base), 4);
	EXPECT_EQ(memory(ram_base + 0x100, 4), "QEMU");
	out(0x514, __builtin_bswap32(1), 4);
	put_access(ram_base, select_bit | read_bit, 4, ram_base + 0x200);
	out(0x518, __builtin_bswap32(ram_base), 4); // 4 GiB higher there is nothing
	EXPECT_EQ(control(ram_base), select_bit | read_bit);
	out(0x518, __builtin_bswap32(ram_base), 4);
	EXPECT_EQ(memory(ram_base + 0x200, 4), "QEMU");
}

TEST_F(fw_cfg, dma_across_regions)
{
	ASSERT_EQ(add_file("etc/a", std::string(0x1800, 'a')), 0);
	EXPECT_EQ(dma(0x20 << 16 | select_bit | read_bit, 0x1800, ram_base + 0x1400), 0u);
	EXPECT_EQ(memory(ram_base + 0x1400, 0x1800), std::string(0x1800, 'a'));
	// The descriptor itself
	EXPECT_EQ(dma(select_bit | read_bit, 4, ram_base, ram2_base - 8), 0u);
	EXPECT_EQ(memory(ram_base, 4), "QEMU");
}

TEST_F(fw_cfg, dma_into_anything_but_ram_fails_as_a_whole)
{
	const std::vector<uint8_t> rom_before = rom;
	for (uint64_t addr : {rom_base, device_base, uint64_t{0}, ram2_base + 0xffe, uint64_t{0x7000}, UINT64_MAX - 1, UINT64_MAX}) {
		EXPECT_EQ(dma(select_bit | read_bit, 4, addr), error_bit) << addr;
		EXPECT_EQ(take(4), "QEMU") << addr; // nothing was taken
	}
	EXPECT_EQ(memory(ram2_base + 0xffe, 2), "\xcc\xcc");
	EXPECT_EQ(dma(select_bit | read_bit, UINT32_MAX, ram_base + 64), error_bit);
	EXPECT_EQ(rom, rom_before);
	EXPECT_EQ(device_accesses, 0);
}

TEST_F(fw_cfg, nothing_is_writable)
{
	ASSERT_EQ(add_file("etc/a", "alpha"), 0);
	EXPECT_EQ(dma(0x20 << 16 | select_bit | write_bit, 5, ram_base + 0x100), error_bit);
	EXPECT_EQ(item(0x20, 5), "alpha");
	// Reading goes before writing, writing before skipping.
	EXPECT_EQ(dma(0x20 << 16 | select_bit | read_bit | write_bit | skip_bit, 1, ram_base + 0x100), 0u);
	EXPECT_EQ(take(1), "l");
	EXPECT_EQ(dma(write_bit | skip_bit, 1, ram_base + 0x100), error_bit);
	EXPECT_EQ(take(1), "p");
}

TEST_F(fw_cfg, a_descriptor_outside_of_ram_is_dropped)
{
	for (uint64_t at : {rom_base, device_base, uint64_t{0}, ram2_base + 0xff8, UINT64_MAX - 7, UINT64_MAX, uint64_t{1} << 40})
		start(at);
	EXPECT_EQ(device_accesses, 0);
	EXPECT_EQ(take(4), "QEMU");
}

TEST_F(fw_cfg, reset)
{
	ASSERT_EQ(add_file("etc/a", "alpha"), 0);
	item(0x20, 2);
	out(0x514, 0xffffffff, 4);
	kb_fw_cfg_reset(f);
	EXPECT_EQ(take(4), "QEMU");
	EXPECT_EQ(item(0x20, 5), "alpha");
	put_access(ram_base, select_bit | read_bit, 4, ram_base + 0x100);
	out(0x518, __builtin_bswap32(ram_base), 4);
	EXPECT_EQ(memory(ram_base + 0x100, 4), "QEMU");
}

TEST_F(fw_cfg, create_leaves_nothing_on_failure)
{
	kb_fw_cfg *other = nullptr;
	EXPECT_EQ(kb_fw_cfg_create(&other, &io, &mem, &err), -EEXIST);
	EXPECT_EQ(other, nullptr);
	EXPECT_EQ(io.count, 2u);
}

TEST_F(fw_cfg, hostile)
{
	std::mt19937_64 rng(7);
	const std::vector<uint8_t> rom_before = rom;
	ASSERT_EQ(add_file("etc/a", std::string(300, 'a')), 0);
	const uint64_t places[] = {0, ram_base, ram_base + 0x1ff0, ram2_base + 0xff8, rom_base, device_base, 0x20000, UINT64_MAX - 40};
	for (int i = 0; i < 200000; i++) {
		uint64_t r = rng(), v = rng();
		uint16_t port = static_cast<uint16_t>(0x50c + r % 0x14);
		size_t len = 1 + (r >> 8) % 8;
		if (r >> 16 & 1)
			kb_bus_read(&io, port, &v, len);
		else if (r >> 17 & 1)
			kb_bus_write(&io, port, &v, len);
		else
			dma(static_cast<uint32_t>(v & 0x3f001f), static_cast<uint32_t>(r >> 18 & 1 ? v >> 32 : v >> 52),
			    places[r >> 20 & 7] + (r >> 23 & 31), places[r >> 30 & 7] + (r >> 33 & 31));
	}
	EXPECT_EQ(rom, rom_before);
	out(0x518, 0, 4);
	EXPECT_EQ(item(0, 4), "QEMU");
	EXPECT_EQ(item(0x20, 301), std::string(300, 'a') + '\0');
}

} // namespace
