// platforms/loader.h, platforms/boot.h: ELF images made by hand, flat and reset images, odd files, the first tables.
#include "tests/unit/loader_fixture.h"

using namespace loader_fixture;

namespace {

// One segment of 16 bytes 1..16 at 0x200000, memsz 64, entry in it.
bytes good(bool is64 = true)
{
	bytes b = elf(is64, 0x200004, {{1, 0x100, 0x200000, 16, 64}});
	b.resize(0x100);
	for (uint8_t i = 1; i <= 16; i++)
		b.push_back(i);
	return b;
}

void expect_good_loaded(const loader &l)
{
	const uint8_t *p = &l.high[0x100000];
	for (unsigned i = 0; i < 16; i++)
		ASSERT_EQ(p[i], i + 1);
	for (unsigned i = 16; i < 64; i++)
		ASSERT_EQ(p[i], 0);
	EXPECT_EQ(p[-1], fresh);
	EXPECT_EQ(p[64], fresh);
}

TEST_F(loader, elf64)
{
	ASSERT_EQ(load(good()), 0) << err.msg;
	EXPECT_EQ(boot.mode, KB_BOOT_LONG64);
	EXPECT_EQ(boot.entry, 0x200004u);
	EXPECT_EQ(fw.image, nullptr);
	EXPECT_EQ(fw.size, 0u);
	expect_good_loaded(*this);
	cfg.guest_format = KVMBOX_GUEST_ELF;
	EXPECT_EQ(load(), 0) << err.msg;
	EXPECT_EQ(kb_load_guest(&mem, &cfg, &machine, &boot, &fw, nullptr), 0);
}

TEST_F(loader, elf32)
{
	ASSERT_EQ(load(good(false)), 0) << err.msg;
	EXPECT_EQ(boot.mode, KB_BOOT_PROTECTED32);
	EXPECT_EQ(boot.entry, 0x200004u);
	expect_good_loaded(*this);
}

TEST_F(loader, several_segments_go_to_their_physical_addresses)
{
	bytes b = elf(true, 0x1000,
		      {{4, 0, 0x5000000, 4, 4},                   // PT_NOTE: nowhere
		       {1, 0x200, 0x1000, 4, 4, 0xffff800000001000}, // vaddr differs
		       {1, 0x204, far_base, 4, 4},
		       {1, 0xffffffff, 0x90000, 0, 0x100},        // bss alone: its offset means nothing
		       {1, 0, 0x8000000, 0, 0}});                 // empty
	b.resize(0x200);
	for (uint8_t i = 1; i <= 8; i++)
		b.push_back(i);
	ASSERT_EQ(load(b), 0) << err.msg;
	EXPECT_EQ(memcmp(&low[0x1000], "\1\2\3\4", 4), 0);
	EXPECT_EQ(low[0x1004], fresh);
	EXPECT_EQ(memcmp(&far[0], "\5\6\7\10", 4), 0);
	EXPECT_EQ(low[0x900ff], 0);
	EXPECT_EQ(low[0x90100], fresh);
}

TEST_F(loader, a_segment_may_cross_adjacent_ram_regions)
{
	uint64_t at = high_base + high_size - 2;
	bytes b = elf(true, at, {{1, 0x100, at, 4, 8}});
	b.resize(0x100);
	put(b, 0x04030201, 4);
	ASSERT_EQ(load(b), 0) << err.msg;
	EXPECT_EQ(memcmp(&high[high_size - 2], "\1\2", 2), 0);
	EXPECT_EQ(memcmp(&more[0], "\3\4\0\0\0\0", 6), 0);
	EXPECT_EQ(more[6], fresh);
	EXPECT_EQ(high[high_size - 3], fresh);
}

TEST_F(loader, truncated_at_every_length)
{
	bytes b = good();
	for (size_t n = 4; n < b.size(); n++) {
		ASSERT_EQ(load(bytes(b.begin(), b.begin() + static_cast<long>(n))), -ENOEXEC) << n;
		ASSERT_TRUE(says("truncated")) << n << err.msg;
	}
	EXPECT_TRUE(untouched());
	b = good(false);
	for (size_t n = 4; n < b.size(); n++)
		ASSERT_EQ(load(bytes(b.begin(), b.begin() + static_cast<long>(n))), -ENOEXEC) << n;
}

TEST_F(loader, other_machines)
{
	bytes b = good();
	poke(b, e_machine, 183, 2);
	REFUSED(b, -ENOEXEC, "AArch64");
	poke(b, e_machine, 0x1234, 2);
	REFUSED(b, -ENOEXEC, "machine 4660");
	poke(b, e_machine, 3, 2);
	REFUSED(b, -ENOEXEC, "64-bit", "i386");
	b = good(false);
	poke(b, e_machine, 62, 2);
	REFUSED(b, -ENOEXEC, "x32");
	poke(b, e_machine, 6, 2);
	REFUSED(b, -ENOEXEC, "Intel MCU");
	b = good();
	b[e_data] = 2;
	REFUSED(b, -ENOEXEC, "big-endian");
	for (unsigned at : {unsigned(e_class), unsigned(e_data), unsigned(e_version)}) {
		b = good();
		b[at] = 9;
		REFUSED(b, -ENOEXEC, "corrupt");
	}
}

TEST_F(loader, other_types)
{
	bytes b = good();
	poke(b, e_type, 3, 2);
	REFUSED(b, -ENOEXEC, "position independent", "-static -no-pie");
	poke(b, e_type, 1, 2);
	REFUSED(b, -ENOEXEC, "object file", "link");
	poke(b, e_type, 4, 2);
	REFUSED(b, -ENOEXEC, "no executable");
	b = elf(true, 0x200000, {{3, 0x100, 0x200000, 16, 16}, {1, 0x100, 0x200000, 16, 16}});
	b.resize(0x200);
	REFUSED(b, -ENOEXEC, "dynamically linked", "-static");
}

TEST_F(loader, header_tables)
{
	bytes b = good();
	poke(b, e_phnum64, 0, 2);
	REFUSED(b, -ENOEXEC, "no program headers");
	for (unsigned n : {257u, 0xfffeu, 0xffffu}) {
		poke(b, e_phnum64, n, 2);
		REFUSED(b, -ENOEXEC, "program headers");
	}
	poke(b, e_phnum64, 200, 2);
	REFUSED(b, -ENOEXEC, "truncated");
	b = good();
	poke(b, e_phentsize64, 32, 2);
	REFUSED(b, -ENOEXEC, "corrupt");
	for (uint64_t off : {uint64_t(0x110), uint64_t(0x111), UINT64_MAX, UINT64_MAX - 10, uint64_t(1) << 63}) {
		b = good();
		poke(b, e_phoff64, off, 8);
		REFUSED(b, -ENOEXEC, "truncated");
	}
	b = elf(true, 0x200000, {{4, 0, 0, 0, 0}});
	REFUSED(b, -ENOEXEC, "no loadable segment");
}

TEST_F(loader, segment_values)
{
	auto one = [](const phdr &p, bool is64 = true) {
		bytes b = elf(is64, p.paddr, {p});
		b.resize(0x200);
		return b;
	};
	REFUSED(one({1, 0x100, 0x200000, 32, 16}), -ENOEXEC, "corrupt");
	REFUSED(one({1, 0x100, 0x200000, 0x101, 0x101}), -ENOEXEC, "truncated");
	REFUSED(one({1, UINT64_MAX, 0x200000, 1, 1}), -ENOEXEC, "truncated");
	REFUSED(one({1, UINT64_MAX - 4, 0x200000, 16, 16}), -ENOEXEC, "truncated");
	REFUSED(one({1, 0x100, 0x200000, UINT64_MAX, UINT64_MAX}), -ENOEXEC, "truncated");
	REFUSED(one({1, 0x100, 0x200000, 16, UINT64_MAX}), -ENOEXEC, "wraps");
	REFUSED(one({1, 0x100, UINT64_MAX, 16, 16}), -ENOEXEC, "wraps");
	REFUSED(one({1, 0x100, 0xfffffff8, 16, 16}, false), -ENOEXEC, "wraps");
	REFUSED(one({1, 0x100, UINT64_MAX - 15, 16, 16}), -ENOSPC, "0xfffffffffffffff0", "outside");
}

TEST_F(loader, outside_ram)
{
	auto at = [](uint64_t addr, uint64_t size) {
		bytes b = elf(true, addr, {{1, 0x100, addr, 16, size}});
		b.resize(0x200);
		return b;
	};
	kb_bus_remove(&mem, &r_far);
	REFUSED(at(high_base, 0x400001), -ENOSPC, "segment 0", "0x100000-0x500000", "needs 6M", "4736K", "ram=6M");
	REFUSED(at(0x4000000, 16), -ENOSPC, "ram=65M");
	REFUSED(at(0xc0000000, 16), -ENOSPC, "outside", "below 2 GiB");
	ASSERT_EQ(kb_bus_add(&mem, &r_far, nullptr), 0);
	REFUSED(at(0x9fff8, 16), -ENOSPC, "hole", "0xa0000");
	REFUSED(at(0xa0000, 16), -ENOSPC, "hole");
	REFUSED(at(0xf0000, 16), -ENOSPC, "BIOS ROM", "not RAM");
	REFUSED(at(0x80000, 0x100000), -ENOSPC, "hole");
	REFUSED(at(high_base, far_base), -ENOSPC, "hole");
	REFUSED(at(far_base + far_size - 1, 16), -ENOSPC, "outside");
	for (kb_region *r : {&r_low, &r_rom, &r_high, &r_more, &r_far})
		kb_bus_remove(&mem, r);
	REFUSED(at(0x100000, 16), -ENOSPC, "0K", "ram=2M");
}

TEST_F(loader, boot_area)
{
	auto at = [](uint64_t addr, uint64_t size) {
		bytes b = elf(true, addr, {{4, 0, 0, 0, 0}, {1, 0x100, addr, 16, size}});
		b.resize(0x200);
		return b;
	};
	REFUSED(at(0x70000, 16), -EADDRINUSE, "segment 1", "0x70000", "0x7ffff");
	REFUSED(at(0x7ffff, 16), -EADDRINUSE, "segment 1");
	REFUSED(at(0x6fff1, 16), -EADDRINUSE, "segment 1");
	REFUSED(at(0x1000, 0x90000), -EADDRINUSE, "segment 1");
	EXPECT_EQ(load(at(0x6fff0, 16)), 0) << err.msg;
	EXPECT_EQ(load(at(0x80000, 16)), 0) << err.msg;
}

TEST_F(loader, firmware_tables)
{
	auto at = [](uint64_t addr, uint64_t size) {
		bytes b = elf(true, addr, {{1, 0x100, addr, 16, size}});
		b.resize(0x200);
		return b;
	};
	bytes shadow(0x40000, fresh);
	kb_region r_shadow{};
	kb_bus_remove(&mem, &r_rom);
	add(r_shadow, "firmware area", 0xc0000, shadow);
	REFUSED(at(0x3f1, 16), -EADDRINUSE, "segment 0 (0x3f1-0x400)", "0x400-0x4ff", "BIOS data area", "elsewhere");
	REFUSED(at(0x100, 0x10000), -EADDRINUSE, "BIOS data area");
	REFUSED(at(0x9fbf8, 16), -EADDRINUSE, "extended BIOS data area");
	REFUSED(at(0xdfff8, 16), -EADDRINUSE, "0xe0000-0xfffff", "ACPI");
	REFUSED(at(0xffff8, 16), -EADDRINUSE, "ACPI");
	REFUSED(at(0xd0000, 0x100000), -EADDRINUSE, "ACPI");
	cfg.guest_format = KVMBOX_GUEST_FLAT;
	cfg.guest_base = cfg.guest_entry = 0xf0000;
	REFUSED(bytes({1, 2, 3}), -EADDRINUSE, "flat image", "ACPI");
	cfg.guest_format = KVMBOX_GUEST_AUTO;
	for (uint64_t addr : {0x3f0, 0x500, 0x9fbf0, 0xdfff0, 0x100000})
		EXPECT_EQ(load(at(addr, 16)), 0) << std::hex << addr << " " << err.msg;
	kb_bus_remove(&mem, &r_shadow);
}

TEST_F(loader, overlapping_segments)
{
	bytes b = elf(true, 0x200000, {{1, 0x100, 0x200000, 16, 64}, {1, 0x100, 0x20003f, 16, 16}});
	b.resize(0x200);
	REFUSED(b, -ENOEXEC, "segments 0", "and 1", "overlap");
	b = elf(true, 0x200000, {{1, 0x100, 0x200000, 16, 64}, {1, 0x100, 0x200040, 16, 16}});
	b.resize(0x200);
	EXPECT_EQ(load(b), 0) << err.msg;
}

TEST_F(loader, entry_outside)
{
	for (uint64_t entry : {uint64_t(0), uint64_t(0x1fffff), uint64_t(0x200040), UINT64_MAX}) {
		bytes b = good();
		poke(b, e_entry, entry, 8);
		REFUSED(b, -EINVAL, "entry point");
	}
	bytes b = good();
	poke(b, e_entry, 0x20003f, 8);
	EXPECT_EQ(load(b), 0) << err.msg;
}

TEST_F(loader, no_elf)
{
	const bytes text = {'#', '!', '/', 'b', 'i', 'n'};
	REFUSED(text, -ENOEXEC, "neither an ELF file nor a kernel (starts with 23 21 2f 62 \"#!/b\")", "guest_format=flat", "guest_format=reset");
	cfg.guest_format = KVMBOX_GUEST_ELF;
	REFUSED(text, -ENOEXEC, "not an ELF file");
	REFUSED(bytes({0x7f}), -ENOEXEC, "starts with 7f \".\"");
	REFUSED(bytes(), -ENOEXEC, "empty");
	cfg.guest_format = KVMBOX_GUEST_FLAT;
	REFUSED(bytes(), -ENOEXEC, "empty");
	cfg.guest_format = KVMBOX_GUEST_RESET;
	REFUSED(bytes(), -EINVAL, "empty");
	memset(&cfg.guest_format, 0x7f, sizeof(cfg.guest_format));
	REFUSED(text, -EINVAL, "guest_format");
}

TEST_F(loader, flat)
{
	cfg.guest_format = KVMBOX_GUEST_FLAT;
	cfg.guest_base = 0x100010;
	cfg.guest_entry = 0x100013;
	ASSERT_EQ(load({1, 2, 3, 4}), 0) << err.msg;
	EXPECT_EQ(boot.mode, KB_BOOT_LONG64);
	EXPECT_EQ(boot.entry, 0x100013u);
	EXPECT_EQ(memcmp(&high[0x10], "\1\2\3\4", 4), 0);
	EXPECT_EQ(high[0xf], fresh);
	EXPECT_EQ(high[0x14], fresh);
	EXPECT_EQ(fw.image, nullptr);
}

TEST_F(loader, flat_refusals)
{
	const bytes b = {1, 2, 3, 4};
	cfg.guest_format = KVMBOX_GUEST_FLAT;
	for (uint64_t entry : {uint64_t(0xfffff), uint64_t(0x100004), uint64_t(0), UINT64_MAX}) {
		cfg.guest_entry = entry;
		REFUSED(b, -EINVAL, "guest_entry");
	}
	cfg.guest_base = cfg.guest_entry = 0x6fffd;
	REFUSED(b, -EADDRINUSE, "flat image");
	cfg.guest_base = cfg.guest_entry = 0x7000000;
	REFUSED(b, -ENOSPC, "flat image");
	cfg.guest_base = cfg.guest_entry = UINT64_MAX;
	REFUSED(b, -ENOEXEC, "wraps");
	cfg.guest_base = cfg.guest_entry = 0xfffff;
	REFUSED(b, -ENOSPC, "BIOS ROM");
	kb_bus_remove(&mem, &r_far);
	cfg.guest_base = cfg.guest_entry = 0x100000;
	REFUSED(bytes(5 << 20), -ENOSPC, "needs 6M", "ram=6M");
}

TEST_F(loader, reset)
{
	cfg.guest_format = KVMBOX_GUEST_RESET;
	bytes b(0x2000, 0xf4);
	b[0x1ff0] = 0xea;
	ASSERT_EQ(load(b), 0) << err.msg;
	EXPECT_EQ(boot.mode, KB_BOOT_REAL16);
	EXPECT_EQ(boot.entry, 0xfffffff0u);
	ASSERT_EQ(fw.size, b.size());
	EXPECT_EQ(memcmp(fw.image, b.data(), b.size()), 0);
	EXPECT_TRUE(untouched());
	for (size_t n : {size_t(1), size_t(0xfff), size_t(0x1001), size_t((16 << 20) + 0x1000)}) {
		REFUSED(bytes(n), -EINVAL, "multiple of 4 KiB");
		EXPECT_EQ(fw.image, nullptr);
		EXPECT_EQ(fw.size, 0u);
	}
	EXPECT_EQ(load(bytes(16 << 20)), 0) << err.msg;
}

TEST_F(loader, odd_files)
{
	EXPECT_EQ(load(), -ENOENT);
	EXPECT_TRUE(says("No such file") && says(path.c_str())) << err.msg;
	cfg.guest = nullptr;
	EXPECT_EQ(load(), -EINVAL);
	EXPECT_TRUE(says("guest=")) << err.msg;
	cfg.guest = dir;
	EXPECT_EQ(load(), -EISDIR);
	EXPECT_TRUE(says("directory")) << err.msg;
	char null[] = "/dev/null";
	cfg.guest = null;
	EXPECT_EQ(load(), -EINVAL);
	EXPECT_TRUE(says("regular file")) << err.msg;
	std::string longest = std::string(dir) + std::string(3000, '/') + "nothing";
	cfg.guest = longest.data();
	EXPECT_EQ(load(), -ENOENT);
	EXPECT_TRUE(says("No such file") && says("/nothing")) << err.msg;
}

TEST_F(loader, a_fifo_does_not_hang)
{
	ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
	alarm(20);
	EXPECT_EQ(load(), -EINVAL);
	alarm(0);
	EXPECT_TRUE(says("regular file")) << err.msg;
}

TEST_F(loader, no_permission)
{
	write(good());
	ASSERT_EQ(chmod(path.c_str(), 0), 0);
	bool root = geteuid() == 0;
	if (root && seteuid(65534) != 0)
		GTEST_SKIP() << "root may read everything, and seteuid failed";
	int rc = load();
	if (root) {
		ASSERT_EQ(seteuid(0), 0);
	}
	EXPECT_EQ(rc, -EACCES);
	EXPECT_TRUE(says("ermission")) << err.msg;
}

// Corrupt headers: any error will do, but nothing may crash, hang, or reach ROM, the boot area or beyond RAM.
TEST_F(loader, survives_corruption)
{
	const uint64_t nasty[] = {0, 1, 0x70000, 0xfff, 0x1000, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
				  0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff, 0xfffffffffffff000};
	std::mt19937_64 rng(1);
	unsigned loaded = 0;
	for (int i = 0; i < 6000; i++) {
		bytes b = elf(i & 1, 0x200004,
			      {{1, 0x180, 0x200000, 16, 64}, {1, 0x190, 0x300000, 16, 0x2000}, {4, 0, 0, 0, 0}});
		size_t header = b.size();
		b.resize(0x180);
		b.resize(0x200, 0x90);
		for (unsigned n = 1 + rng() % 3; n; n--) {
			unsigned len = 1u << rng() % 4;
			size_t at = 4 + rng() % (header - 4 - len);
			poke(b, rng() % 2 ? at & ~size_t(3) : at, rng() % 3 ? nasty[rng() % std::size(nasty)] : rng(), len);
		}
		if (rng() % 8 == 0)
			b.resize(rng() % b.size());
		int rc = load(b);
		ASSERT_TRUE(rc == 0 || rc == -ENOEXEC || rc == -ENOSPC || rc == -EADDRINUSE || rc == -EINVAL) << rc << err.msg;
		ASSERT_TRUE(rc == 0 || err.msg[0]);
		loaded += rc == 0;
	}
	EXPECT_GT(loaded, 100u);
	EXPECT_LT(loaded, 5000u);
	auto is_fresh = [](uint8_t x) { return x == fresh; };
	EXPECT_TRUE(std::all_of(rom.begin(), rom.end(), is_fresh));
	EXPECT_TRUE(std::all_of(low.begin() + KB_BOOT_AREA_BASE, low.begin() + KB_BOOT_AREA_BASE + KB_BOOT_AREA_SIZE, is_fresh));
}

// ---- boot.h ----

struct tables : loader {
	uint64_t get(uint64_t at)
	{
		uint64_t v;
		kb_bus_read(&mem, at, &v, 8);
		return v;
	}
	// 4-level walk as the CPU does it (SDM volume 3, 4.5); false: not present.
	bool walk(uint64_t va, uint64_t &pa)
	{
		uint64_t table = KB_BOOT_PML4;
		for (unsigned shift = 39; shift >= 12; shift -= 9) {
			uint64_t e = get(table + 8 * (va >> shift & 511));
			if ((e & 3) != 3)
				return false;
			bool leaf = shift == 12 || (shift < 39 && (e & 0x80));
			table = e & 0x000ffffffffff000;
			if (leaf) {
				uint64_t mask = (1ull << shift) - 1;
				EXPECT_EQ(table & mask, 0u) << "reserved bits";
				pa = table | (va & mask);
				return true;
			}
			EXPECT_LT(table - KB_BOOT_AREA_BASE, KB_BOOT_AREA_SIZE);
		}
		return false;
	}
	void expect_within_boot_area()
	{
		for (size_t i = 0; i < low.size(); i++)
			if (i < KB_BOOT_AREA_BASE || i >= KB_BOOT_AREA_BASE + KB_BOOT_AREA_SIZE) {
				ASSERT_EQ(low[i], fresh) << i;
			}
		for (const bytes *b : {&rom, &high, &more, &far})
			EXPECT_TRUE(std::all_of(b->begin(), b->end(), [](uint8_t x) { return x == fresh; }));
	}
};

TEST_F(tables, long64)
{
	const kb_boot b = {KB_BOOT_LONG64, 0, 0, 0, 0};
	const uint64_t low4g[] = {0, 0x1fffff, 0x200000, 0x70000, 0x3fffffff, 0x40000000, 0xfee00000, 0xffffffff};
	const uint64_t beyond[] = {0x100000000, 0x123456789a, 0x7fffffffff};
	uint64_t pa;
	for (bool huge : {true, false}) {
		kb_boot_write_tables(&mem, &b, huge);
		for (uint64_t va : low4g) {
			ASSERT_TRUE(walk(va, pa)) << std::hex << va;
			EXPECT_EQ(pa, va);
		}
		for (uint64_t va : beyond) {
			ASSERT_EQ(walk(va, pa), huge) << std::hex << va;
			if (huge) {
				EXPECT_EQ(pa, va);
			}
		}
		EXPECT_FALSE(walk(0x8000000000, pa));
		EXPECT_FALSE(walk(0xffff800000000000, pa));
	}
	EXPECT_EQ(get(KB_BOOT_GDT), 0u);
	EXPECT_EQ(get(KB_BOOT_GDT + 8), 0u);
	EXPECT_EQ(get(KB_BOOT_GDT + KB_BOOT_CS), 0x00af9b000000ffffu); // L=1, D=0
	EXPECT_EQ(get(KB_BOOT_GDT + KB_BOOT_DS), 0x00cf93000000ffffu);
	EXPECT_EQ(KB_BOOT_GDT_LIMIT, 31u);
	expect_within_boot_area();
}

TEST_F(tables, protected32)
{
	const kb_boot b = {KB_BOOT_PROTECTED32, 0, 0, 0, 0};
	kb_boot_write_tables(&mem, &b, true);
	EXPECT_EQ(get(KB_BOOT_GDT), 0u);
	EXPECT_EQ(get(KB_BOOT_GDT + KB_BOOT_CS), 0x00cf9b000000ffffu); // L=0, D=1
	EXPECT_EQ(get(KB_BOOT_GDT + KB_BOOT_DS), 0x00cf93000000ffffu);
	EXPECT_EQ(low[KB_BOOT_PML4], fresh) << "no paging, no tables";
	expect_within_boot_area();
}

TEST_F(tables, real16_writes_nothing)
{
	const kb_boot b = {KB_BOOT_REAL16, 0, 0, 0, 0};
	kb_boot_write_tables(&mem, &b, true);
	EXPECT_TRUE(untouched());
}

} // namespace
