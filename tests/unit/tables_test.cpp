// platforms/tables.h: where the tables go, what they must not cover, BIOS data area, memory map.
#include <algorithm>
#include <cerrno>

#include "tests/unit/tables_fixture.h"

using namespace tables_fixture;

namespace {

constexpr uint8_t fresh = 0xcc;

class tables : public testing::Test {
protected:
	kb_tables_config cfg = pc();
	bytes low = bytes(0xa0000, fresh), firmware = bytes(0x40000, fresh);
	kb_region r_low{}, r_firmware{};
	kb_bus mem{};
	kvmbox_error err{};

	void SetUp() override
	{
		kb_bus_init(&mem, "memory", (1ull << 52) - 1);
		add(r_low, "low RAM", 0, low);
		add(r_firmware, "firmware area", 0xc0000, firmware);
	}
	void TearDown() override { kb_bus_destroy(&mem); }
	void add(kb_region &r, const char *name, uint64_t at, bytes &b)
	{
		r.name = name;
		r.base = at;
		r.size = b.size();
		r.host = b.data();
		ASSERT_EQ(kb_bus_add(&mem, &r, nullptr), 0);
	}
	int write()
	{
		err.msg[0] = 0;
		return kb_tables_write(&mem, &cfg, &err);
	}
	bool says(const char *part) const { return strstr(err.msg, part); }
	bool untouched() const
	{
		for (const bytes *b : {&low, &firmware})
			if (!std::all_of(b->begin(), b->end(), [](uint8_t x) { return x == fresh; }))
				return false;
		return true;
	}
	// The first of the scans that finds it, as Linux does them: from, to.
	uint64_t scan(const std::string &anchor, std::vector<std::pair<uint64_t, uint64_t>> ranges)
	{
		for (auto [from, to] : ranges)
			for (uint64_t at = from; at < to; at += 16) {
				bytes b(anchor.size());
				kb_bus_read(&mem, at, b.data(), b.size());
				if (chars(b, 0, b.size()) == anchor)
					return at;
			}
		return 0;
	}
};

TEST_F(tables, are_where_guests_look)
{
	ASSERT_EQ(write(), 0) << err.msg;
	EXPECT_EQ(scan("RSD PTR ", {{0x9fc00, 0xa0000}, {0xe0000, 0x100000}}), KB_TABLES_RSDP);
	EXPECT_EQ(scan("_SM3_", {{0xf0000, 0x100000}}), KB_TABLES_SMBIOS);
	EXPECT_EQ(scan("_MP_", {{0, 0x400}, {639 * 1024, 640 * 1024}, {0xf0000, 0x100000}}), KB_TABLES_MP_POINTER);
	bytes mp = slice(low, KB_TABLES_MP_POINTER, 16);
	EXPECT_EQ(sum(mp), 0);
	uint64_t table = le(mp, 4, 4);
	ASSERT_GE(table, 0xf0000u);
	EXPECT_EQ(chars(firmware, table - 0xc0000, 4), "PCMP");
	bytes pcmp = slice(firmware, table - 0xc0000, le(firmware, table - 0xc0000 + 4, 2));
	EXPECT_EQ(sum(pcmp), 0);
	bytes smbios = slice(firmware, 0x30000, 24);
	EXPECT_EQ(sum(smbios), 0);
	EXPECT_LE(le(smbios, 16, 8) + le(smbios, 12, 4), table) << "not over one another";
	EXPECT_EQ(sum(slice(firmware, 0x20000, 36)), 0);
}

TEST_F(tables, bios_data_area)
{
	ASSERT_EQ(write(), 0) << err.msg;
	EXPECT_EQ(le(low, 0x400, 2), 0x3f8u);
	EXPECT_EQ(le(low, 0x402, 2), 0u) << "no COM2";
	EXPECT_EQ(le(low, 0x40e, 2), 0x9fc0u);
	EXPECT_EQ(le(low, 0x410, 2), 0x202u) << "one serial port, FPU";
	EXPECT_EQ(le(low, 0x413, 2), 639u);
	EXPECT_EQ(low[0x9fc00], 1) << "EBDA's size in KiB";
	cfg.com1_port = 0;
	ASSERT_EQ(write(), 0) << err.msg;
	EXPECT_EQ(le(low, 0x400, 2), 0u);
	EXPECT_EQ(le(low, 0x410, 2), 2u);
}

TEST_F(tables, nothing_else_is_touched)
{
	ASSERT_EQ(write(), 0) << err.msg;
	for (uint64_t at = 0; at < low.size(); at++)
		ASSERT_TRUE(kb_tables_overlap(at, at) || low[at] == fresh) << std::hex << at;
	for (uint64_t at = 0xc0000; at < 0x100000; at++)
		ASSERT_TRUE(kb_tables_overlap(at, at) || firmware[at - 0xc0000] == fresh) << std::hex << at;
}

TEST_F(tables, the_same_again_whatever_was_there)
{
	ASSERT_EQ(write(), 0) << err.msg;
	bytes l = low, f = firmware;
	for (uint64_t at = 0xe0000; at < 0x100000; at++)
		firmware[at - 0xc0000] = static_cast<uint8_t>(at * 7);
	memcpy(&firmware[0x2f000], "RSD PTR ", 8);
	std::fill(low.begin() + 0x9fc00, low.end(), 0x55);
	std::fill(low.begin() + 0x400, low.begin() + 0x500, 0x55);
	ASSERT_EQ(write(), 0) << err.msg;
	EXPECT_EQ(low, l);
	EXPECT_EQ(firmware, f);
}

TEST_F(tables, refusals)
{
	for (unsigned cpus : {0u, KB_TABLES_CPUS_MAX + 1, 255u, ~0u}) {
		cfg.cpus = cpus;
		EXPECT_EQ(write(), -EINVAL);
		EXPECT_TRUE(says("CPUs")) << err.msg;
	}
	cfg = pc();
	cfg.pci_last_bus = 255;
	EXPECT_EQ(write(), -EINVAL);
	EXPECT_TRUE(says("bus")) << err.msg;
	const kb_tables_window bad[] = {{0xc000, 0x4001}, {0x10000, 1}, {UINT64_MAX, 2}, {0, UINT64_MAX}};
	for (const auto &w : bad) {
		cfg = pc();
		cfg.pci_io = w;
		EXPECT_EQ(write(), -EINVAL);
		EXPECT_TRUE(says("window")) << err.msg;
	}
	cfg = pc();
	cfg.pci_mem32 = {0xe0000000, 0x20000001};
	EXPECT_EQ(write(), -EINVAL);
	cfg = pc();
	cfg.pci_mem64 = {UINT64_MAX - 0xfff, 0x1000};
	EXPECT_EQ(write(), -EINVAL);
	cfg = pc();
	cfg.ecam_base = 1ull << 32;
	EXPECT_EQ(write(), -EINVAL);
	EXPECT_TRUE(says("ECAM")) << err.msg;
	EXPECT_EQ(kb_tables_write(&mem, &cfg, nullptr), -EINVAL);
	EXPECT_TRUE(untouched());
}

TEST_F(tables, most_cpus_fit)
{
	cfg.cpus = KB_TABLES_CPUS_MAX;
	cfg.ecam_base = 0xb0000000;
	EXPECT_EQ(write(), 0) << err.msg;
}

TEST_F(tables, strings_without_end_do_not_fit)
{
	std::string endless(0x10000, 'x');
	cfg.version = endless.c_str();
	EXPECT_EQ(write(), -ENOSPC);
	EXPECT_TRUE(says("SMBIOS and MP") && says("64 KiB")) << err.msg;
}

TEST_F(tables, need_ram)
{
	r_firmware.readonly = true;
	EXPECT_EQ(write(), -EFAULT);
	EXPECT_TRUE(says("no RAM at 0xe0000-0xeffff")) << err.msg;
	kb_bus_remove(&mem, &r_firmware);
	EXPECT_EQ(write(), -EFAULT);
	r_firmware.readonly = false;
	r_firmware.size = 0x30000;
	ASSERT_EQ(kb_bus_add(&mem, &r_firmware, nullptr), 0);
	EXPECT_EQ(write(), -EFAULT);
	EXPECT_TRUE(says("0xf0000-0xfffff")) << err.msg;
	kb_bus_remove(&mem, &r_low);
	EXPECT_EQ(write(), -EFAULT);
}

TEST(tables_overlap, names_what_is_covered)
{
	auto says = [](uint64_t first, uint64_t last, const char *part) {
		const char *s = kb_tables_overlap(first, last);
		return s && strstr(s, part);
	};
	EXPECT_EQ(kb_tables_overlap(0, 0x3ff), nullptr);
	EXPECT_TRUE(says(0, 0x400, "BIOS data area"));
	EXPECT_TRUE(says(0x4ff, 0x4ff, "0x400-0x4ff"));
	EXPECT_EQ(kb_tables_overlap(0x500, 0x9fbff), nullptr);
	EXPECT_TRUE(says(0x9ffff, 0xa0000, "extended BIOS data area"));
	EXPECT_EQ(kb_tables_overlap(0xa0000, 0xdffff), nullptr);
	EXPECT_TRUE(says(0xdffff, 0xe0000, "ACPI"));
	EXPECT_TRUE(says(0xfffff, 0xfffff, "0xe0000-0xfffff"));
	EXPECT_EQ(kb_tables_overlap(0x100000, UINT64_MAX), nullptr);
	EXPECT_TRUE(says(0, UINT64_MAX, "BIOS data area"));
}

// ---- memory map ----

using range = std::tuple<uint64_t, uint64_t, unsigned>; // first, end, type

std::vector<range> memory_map(const kb_tables_config &cfg)
{
	kb_memory_range m[KB_MEMORY_RANGES_MAX];
	unsigned n = kb_tables_memory_map(&cfg, m);
	std::vector<range> v;
	EXPECT_LE(n, unsigned(KB_MEMORY_RANGES_MAX));
	for (unsigned i = 0; i < n; i++)
		v.emplace_back(m[i].base, m[i].base + m[i].size, m[i].type);
	return v;
}

TEST(memory_map, small_machine)
{
	kb_tables_config cfg = pc();
	const std::vector<range> want = {{0, 0x9fc00, 1}, {0x9fc00, 0xa0000, 2}, {0xe0000, 0x100000, 2},
					 {0x100000, 0x10000000, 1}, {0xfec00000, 0x100000000, 2}};
	EXPECT_EQ(memory_map(cfg), want);
	cfg.ram_below_4g = 1 << 20;
	EXPECT_EQ(memory_map(cfg).size(), 4u) << "no RAM above 1 MiB";
}

TEST(memory_map, big_machine)
{
	kb_tables_config cfg = pc();
	cfg.ram_below_4g = 3ull << 30;
	cfg.ram_above_4g = 61ull << 30;
	cfg.ecam_base = 0xd0000000;
	cfg.pci_last_bus = 15;
	const std::vector<range> want = {{0, 0x9fc00, 1}, {0x9fc00, 0xa0000, 2}, {0xe0000, 0x100000, 2},
					 {0x100000, 0xc0000000, 1}, {0xd0000000, 0xd1000000, 2}, {0xfec00000, 0x100000000, 2},
					 {0x100000000, 0x1040000000, 1}};
	EXPECT_EQ(memory_map(cfg), want);
}

} // namespace
