// platforms/loader_multiboot.c, loader_multiboot2.c: kernels of both versions made by hand, what they are handed, broken ones.
#include "tests/unit/loader_fixture.h"

#include <map>

using namespace loader_fixture;

namespace {

constexpr uint32_t magic1 = 0x1badb002, magic2 = 0xe85250d6;

struct addresses {
	uint32_t header, load, load_end, bss_end, entry;
};

bytes header1(uint32_t flags, const addresses *a = nullptr)
{
	bytes b;
	put(b, magic1, 4);
	put(b, flags, 4);
	put(b, -(magic1 + flags), 4);
	if (a)
		for (uint32_t v : {a->header, a->load, a->load_end, a->bss_end, a->entry})
			put(b, v, 4);
	return b;
}

bytes tag(unsigned type, const std::vector<uint32_t> &words, bool optional = false)
{
	bytes b;
	put(b, type | (optional ? 0x10000 : 0), 4);
	put(b, 8 + 4 * words.size(), 4);
	for (uint32_t w : words)
		put(b, w, 4);
	b.resize((b.size() + 7) & ~size_t(7));
	return b;
}

bytes header2(const std::vector<bytes> &tags, uint32_t arch = 0)
{
	bytes b, all;
	for (const auto &t : tags)
		all.insert(all.end(), t.begin(), t.end());
	bytes end = tag(0, {});
	all.insert(all.end(), end.begin(), end.end());
	uint32_t len = static_cast<uint32_t>(16 + all.size());
	put(b, magic2, 4);
	put(b, arch, 4);
	put(b, len, 4);
	put(b, -(magic2 + arch + len), 4);
	b.insert(b.end(), all.begin(), all.end());
	return b;
}

constexpr uint64_t base = 0x200000, entry = 0x200010;
constexpr size_t code_size = 0x1000;

// An ELF kernel: one segment of code_size bytes at base, the header 0x40 bytes into it.
bytes elf_kernel(bool is64, const bytes &header, uint64_t vaddr = 0, uint64_t start = entry, size_t at = 0x40)
{
	bytes b = elf(is64, start, {{1, 0x1000, base, code_size, code_size + 0x100, vaddr}});
	b.resize(0x1000);
	bytes code = pattern(code_size, 5);
	std::copy(header.begin(), header.end(), code.begin() + static_cast<long>(at));
	b.insert(b.end(), code.begin(), code.end());
	return b;
}

// No ELF: 0x80 bytes that nobody loads, then the code, its header 0x40 bytes into it.
bytes raw_kernel(const bytes &header, size_t size = code_size)
{
	bytes b = pattern(0x80 + size, 6);
	std::copy(header.begin(), header.end(), b.begin() + 0x80 + 0x40);
	return b;
}

const addresses plain = {base + 0x40, base, 0, 0, entry};

// The tag as words, for header2: without the entry.
std::vector<uint32_t> address_tag(const addresses &a)
{
	return {a.header, a.load, a.load_end, a.bss_end};
}

struct loader_multiboot : loader {
	std::string cmdline = "one \"two three\"";
	const bytes disk = pattern(5000, 3);

	void SetUp() override
	{
		loader::SetUp();
		cfg.cmdline = cmdline.data();
	}
	void expect_started(unsigned version, uint64_t at = entry)
	{
		EXPECT_EQ(boot.mode, KB_BOOT_PROTECTED32);
		EXPECT_EQ(boot.entry, at);
		EXPECT_EQ(boot.ax, version == 1 ? 0x2badb002 : 0x36d76289);
		EXPECT_EQ(boot.bx, KB_BOOT_INFO);
		EXPECT_EQ(boot.si, 0u);
	}
	uint32_t word(unsigned off) { return peek<uint32_t>(KB_BOOT_INFO + off); }
	// The tags of multiboot 2, checked for their form; content without type and size.
	std::multimap<unsigned, bytes> tags()
	{
		std::multimap<unsigned, bytes> t;
		uint32_t total = word(0), at = 8;
		EXPECT_EQ(word(4), 0u);
		EXPECT_LE(total, KB_BOOT_INFO_SIZE + KB_BOOT_CMDLINE_SIZE);
		while (at + 8 <= total) {
			uint32_t type = word(at), size = word(at + 4);
			EXPECT_GE(size, 8u);
			EXPECT_LE(size, total - at);
			if (size < 8 || size > total - at)
				break;
			t.emplace(type, memory(KB_BOOT_INFO + at + 8, size - 8));
			at = (at + size + 7) & ~7u;
			if (type == 0)
				break;
		}
		EXPECT_EQ(at, total);
		EXPECT_EQ(t.count(0), 1u);
		return t;
	}
	bytes one(const std::multimap<unsigned, bytes> &t, unsigned type)
	{
		EXPECT_EQ(t.count(type), 1u) << type;
		auto i = t.find(type);
		return i == t.end() ? bytes() : i->second;
	}
};

std::string as_text(const bytes &b)
{
	return {b.begin(), b.end()};
}

uint64_t get(const bytes &b, size_t at, unsigned n)
{
	uint64_t v = 0;
	while (n--)
		v = v << 8 | b.at(at + n);
	return v;
}

// ---- version 1 ----------------------------------------------------------------------------------------------------

TEST_F(loader_multiboot, version1)
{
	for (int i = 0; i < 8; i++) {
		bool is64 = i & 1, initrd = i & 2;
		cfg.guest_format = i & 4 ? KVMBOX_GUEST_MULTIBOOT : KVMBOX_GUEST_AUTO;
		cfg.initrd = nullptr;
		if (initrd)
			give_initrd(disk);
		refresh();
		bytes b = elf_kernel(is64, header1(3));
		ASSERT_EQ(load(b), 0) << err.msg;
		expect_started(1);
		EXPECT_EQ(memory(base, code_size), bytes(b.begin() + 0x1000, b.end()));
		EXPECT_EQ(memory(base + code_size, 0x100), bytes(0x100));
		EXPECT_EQ(word(0), 0x24du); // memory, command line, modules, map, loader
		EXPECT_EQ(word(4), 639u);
		EXPECT_EQ(word(8), 4096u);
		EXPECT_EQ(text(word(16)), cmdline);
		EXPECT_EQ(text(word(64)), "kvmbox");
		ASSERT_EQ(word(20), initrd ? 1u : 0u);
		if (initrd) {
			uint32_t at = peek<uint32_t>(word(24));
			EXPECT_EQ(at % 0x1000, 0u);
			EXPECT_EQ(peek<uint32_t>(word(24) + 4), at + disk.size());
			EXPECT_EQ(peek<uint32_t>(word(24) + 8), 0u);
			EXPECT_EQ(memory(at, disk.size()), disk);
			EXPECT_LT(at, 0x500000u) << "below 4 GiB, though there is RAM above";
		}
		auto m = map();
		ASSERT_EQ(word(44), m.size() * 24);
		for (size_t k = 0; k < m.size(); k++) {
			uint64_t e = word(48) + 24 * k;
			EXPECT_EQ(peek<uint32_t>(e), 20u);
			EXPECT_EQ(peek<uint64_t>(e + 4), m[k].base);
			EXPECT_EQ(peek<uint64_t>(e + 12), m[k].size);
			EXPECT_EQ(peek<uint32_t>(e + 20), static_cast<unsigned>(m[k].type));
		}
	}
}

TEST_F(loader_multiboot, the_plain_way_can_be_forced)
{
	cfg.guest_format = KVMBOX_GUEST_ELF;
	cfg.cmdline = nullptr;
	ASSERT_EQ(load(elf_kernel(true, header1(3))), 0) << err.msg;
	EXPECT_EQ(boot.mode, KB_BOOT_LONG64);
	EXPECT_EQ(boot.ax, 0u);
	EXPECT_TRUE(is_fresh(KB_BOOT_INFO, KB_BOOT_INFO_SIZE));
	cfg.guest_format = KVMBOX_GUEST_LINUX;
	refresh();
	REFUSED(elf_kernel(true, header1(3)), -ENOEXEC, "PVH");
	REFUSED(raw_kernel(header1(0x10003, &plain)), -ENOEXEC, "neither a bzImage nor an ELF file");
}

TEST_F(loader_multiboot, where_a_header_is_looked_for)
{
	bytes b = raw_kernel(header1(0x10000, &plain));
	ASSERT_EQ(load(b), 0) << err.msg;
	const uint32_t at = 0x2000 - 12; // the last place of version 1
	for (bool too_far : {false, true}) {
		bytes far_header(0x3000);
		bytes h = elf_kernel(false, {});
		far_header.insert(far_header.begin(), h.begin(), h.end());
		h = header1(0);
		std::copy(h.begin(), h.end(), far_header.begin() + at + (too_far ? 4 : 0));
		ASSERT_EQ(load(far_header), too_far ? -EINVAL : 0) << "a plain program takes no command line: " << err.msg;
	}
	for (bool too_far : {false, true}) {
		bytes far_header(0x8000 + 64);
		bytes h = elf_kernel(false, {});
		std::copy(h.begin(), h.end(), far_header.begin());
		h = header2({});
		std::copy(h.begin(), h.end(), far_header.begin() + 0x8000 - 24 + (too_far ? 16 : 0));
		ASSERT_EQ(load(far_header), too_far ? -EINVAL : 0) << err.msg;
	}
	bytes odd = elf_kernel(false, header1(0), 0, entry, 0x42); // not aligned
	EXPECT_EQ(load(odd), -EINVAL);
	odd = elf_kernel(false, header2({}), 0, entry, 0x44);
	EXPECT_EQ(load(odd), -EINVAL);
	odd = elf_kernel(false, header1(0));
	odd[0x1000 + 0x40 + 8]++; // its checksum
	EXPECT_EQ(load(odd), -EINVAL);
	cfg.guest_format = KVMBOX_GUEST_MULTIBOOT;
	refresh();
	REFUSED(odd, -ENOEXEC, "without a multiboot header", "32 KiB", "8 KiB");
	REFUSED(bytes({1, 2, 3}), -ENOEXEC, "without a multiboot header");
}

TEST_F(loader_multiboot, version2_goes_before_version1)
{
	bytes b = elf_kernel(false, header1(0));
	bytes h = header2({});
	std::copy(h.begin(), h.end(), b.begin() + 0x1000 + 0x100);
	ASSERT_EQ(load(b), 0) << err.msg;
	expect_started(2);
}

TEST_F(loader_multiboot, flags_of_version1)
{
	REFUSED(elf_kernel(false, header1(4)), -ENOTSUP, "video mode", "no screen");
	REFUSED(elf_kernel(false, header1(8)), -ENOTSUP, "flags 0x8");
	REFUSED(elf_kernel(false, header1(0x8003)), -ENOTSUP, "flags 0x8003");
	EXPECT_EQ(load(elf_kernel(false, header1(0xfffe0003))), 0) << "optional ones may be ignored: " << err.msg;
}

TEST_F(loader_multiboot, loaded_by_addresses)
{
	for (unsigned version : {1u, 2u}) {
		auto kernel = [&](const addresses &a) {
			return raw_kernel(version == 1 ? header1(0x10003, &a) :
					  header2({tag(2, address_tag(a)), tag(3, {a.entry})}));
		};
		bytes b = kernel(plain);
		refresh();
		ASSERT_EQ(load(b), 0) << err.msg;
		expect_started(version);
		EXPECT_EQ(memory(base, code_size), bytes(b.begin() + 0x80, b.end()));
		EXPECT_TRUE(is_fresh(base - 64, 64) && is_fresh(base + code_size, 64));

		addresses a = {base + 0x40, base, base + 0x800, base + 0x900, base + 0x8ff};
		b = kernel(a);
		refresh();
		ASSERT_EQ(load(b), 0) << err.msg;
		expect_started(version, base + 0x8ff);
		EXPECT_EQ(memory(base, 0x800), bytes(b.begin() + 0x80, b.begin() + 0x880));
		EXPECT_EQ(memory(base + 0x800, 0x100), bytes(0x100));
		EXPECT_TRUE(is_fresh(base + 0x900, 64));
		refresh();
		REFUSED(kernel({base + 0x40, base, base + 0x1001, 0, entry}), -ENOEXEC, "truncated", "0x1001 bytes at 0x80");
		REFUSED(kernel({base + 0xc1, base, 0, 0, entry}), -ENOEXEC, "corrupt", "in the file it is at 0xc0");
		REFUSED(kernel({base, base + 1, 0, 0, entry}), -ENOEXEC, "corrupt");
		REFUSED(kernel({base + 0x40, base, base, 0, entry}), -ENOEXEC, "corrupt");
		REFUSED(kernel({base + 0x40, base, 0x1000, 0, entry}), -ENOEXEC, "corrupt");
		REFUSED(kernel({base + 0x40, base, 0, base + 0x800, entry}), -ENOEXEC, "corrupt", "bss end");
		REFUSED(kernel({base + 0x40, base, 0, 0x1000, entry}), -ENOEXEC, "corrupt");
		REFUSED(kernel({base + 0x40, base, 0, 0, base + 0x1000}), -EINVAL, "entry point");
		REFUSED(kernel({base + 0x40, base, 0, 0xffffffff, entry}), -ENOSPC, "RAM");
		REFUSED(kernel({0xa0040, 0xa0000, 0, 0, 0xa0010}), -ENOSPC, "hole");
		REFUSED(kernel({0x70040, 0x70000, 0, 0, 0x70010}), -EADDRINUSE, "0x70000-0x7ffff");
	}
}

TEST_F(loader_multiboot, addresses_go_before_elf)
{
	addresses a = {0x300040 + 0x1000, 0x300000, 0, 0, 0x301010}; // the whole file
	bytes b = elf_kernel(true, header1(0x10000, &a));
	poke(b, e_machine, 183, 2); // nobody looks
	cfg.guest_format = KVMBOX_GUEST_MULTIBOOT;
	ASSERT_EQ(load(b), 0) << err.msg;
	expect_started(1, 0x301010);
	EXPECT_EQ(memory(0x300000, b.size()), b);
	EXPECT_EQ(word(0) & 0x20, 0u) << "no sections of a file that is not read as ELF";
}

TEST_F(loader_multiboot, raw_without_addresses)
{
	REFUSED(raw_kernel(header1(3)), -ENOEXEC, "without load addresses", "not an ELF file");
	REFUSED(raw_kernel(header2({})), -ENOEXEC, "without load addresses", "not an ELF file");
	bytes cut = raw_kernel(header1(0x10003, &plain));
	for (size_t n = 0xcc; n < 0xe0; n++) {
		cut.resize(n);
		EXPECT_EQ(load(cut), -ENOEXEC);
		EXPECT_TRUE(says("truncated within the multiboot header")) << err.msg;
		cut.resize(0xe0);
	}
}

TEST_F(loader_multiboot, an_entry_in_the_higher_half)
{
	ASSERT_EQ(load(elf_kernel(false, header1(0), 0xc0200000, 0xc0200010)), 0) << err.msg;
	expect_started(1);
	ASSERT_EQ(load(elf_kernel(true, header2({}), 0xffffffff80200000, 0xffffffff80200010)), 0) << err.msg;
	expect_started(2);
	ASSERT_EQ(load(elf_kernel(false, header1(0), 0xc0200000)), 0) << "a physical one: " << err.msg;
	expect_started(1);
	refresh();
	REFUSED(elf_kernel(false, header1(0), 0xc0200000, 0xc0300000), -EINVAL, "entry point");
	bytes b = elf_kernel(true, header1(0), 0, far_base + 4);
	poke(b, 64 + 24, far_base, 8); // p_paddr
	poke(b, 64 + 16, far_base, 8);
	REFUSED(b, -ENOEXEC, "0x100000004", "above 4 GiB");
}

TEST_F(loader_multiboot, broken_elf_kernels)
{
	for (const bytes &h : {header1(0), header2({})}) {
		for (auto format : {KVMBOX_GUEST_AUTO, KVMBOX_GUEST_MULTIBOOT}) {
			cfg.guest_format = format;
			bytes b = elf_kernel(true, h);
			poke(b, e_machine, 183, 2);
			REFUSED(b, -ENOEXEC, "AArch64");
			b = elf_kernel(true, h);
			b.pop_back();
			REFUSED(b, -ENOEXEC, "truncated");
			REFUSED(elf_kernel(true, h, 0, 0x1ffff), -EINVAL, "entry point");
		}
	}
}

TEST_F(loader_multiboot, modules_and_command_lines_that_do_not_fit)
{
	for (const bytes &h : {header1(0), header2({})}) {
		cmdline = std::string(KB_BOOT_CMDLINE_SIZE, 'x');
		cfg.cmdline = cmdline.data();
		cfg.initrd = nullptr;
		REFUSED(elf_kernel(true, h), -E2BIG, "20480 bytes", "limit here is 20479");
		cmdline.pop_back();
		ASSERT_EQ(load(elf_kernel(true, h)), 0) << err.msg;
		EXPECT_TRUE(is_fresh(0x80000, 256));
		refresh();
		cfg.cmdline = nullptr;
		give_initrd(bytes(4 << 20));
		REFUSED(elf_kernel(true, h), -ENOSPC, "initrd", "do not fit", "up to 0xffffffff", "3137536 bytes are free");
		EXPECT_EQ(load(elf_kernel(true, h)), -ENOSPC);
		give_initrd({});
		REFUSED(elf_kernel(true, h), -EINVAL, "initrd", "empty");
	}
}

// ---- sections -----------------------------------------------------------------------------------------------------------

struct section {
	uint32_t type;
	uint64_t addr, off, size;
};

// Adds section headers at the end of the file; the last one's are the names.
bytes with_sections(bytes b, bool is64, const std::vector<section> &sections)
{
	unsigned w = is64 ? 8 : 4;
	poke(b, is64 ? 40 : 32, b.size(), w);
	poke(b, is64 ? 58 : 46, is64 ? 64 : 40, 2);
	poke(b, is64 ? 60 : 48, sections.size(), 2);
	poke(b, is64 ? 62 : 50, sections.size() - 1, 2);
	for (const auto &s : sections) {
		put(b, 7, 4);
		put(b, s.type, 4);
		put(b, 0, w);
		put(b, s.addr, w);
		put(b, s.off, w);
		put(b, s.size, w);
		put(b, 0, 8);
		put(b, 0, 2 * w);
	}
	return b;
}

const std::vector<section> some = {{0, 0, 0, 0}, {1, base, 0x1000, 0x100}, {8, 0, 0x1000, 0x5000}, {2, 0, 0x1234, 0x33},
				   {3, 0, 0x1400, 0x101}};

TEST_F(loader_multiboot, sections_of_no_segment_are_loaded)
{
	give_initrd(disk);
	for (int i = 0; i < 4; i++) {
		bool is64 = i & 1;
		unsigned version = i & 2 ? 2 : 1;
		bytes b = with_sections(elf_kernel(is64, version == 1 ? header1(0) : header2({tag(1, {9})})), is64, some);
		refresh();
		ASSERT_EQ(load(b), 0) << err.msg;
		size_t entsize = is64 ? 64 : 40, w = is64 ? 8 : 4;
		bytes table;
		if (version == 1) {
			EXPECT_EQ(word(0), 0x26du);
			EXPECT_EQ(word(28), some.size());
			EXPECT_EQ(word(32), entsize);
			EXPECT_EQ(word(40), some.size() - 1);
			table = memory(word(36), some.size() * entsize);
		} else {
			table = one(tags(), 9);
			EXPECT_EQ(get(table, 0, 4), some.size());
			EXPECT_EQ(get(table, 4, 4), entsize);
			EXPECT_EQ(get(table, 8, 4), some.size() - 1);
			table.erase(table.begin(), table.begin() + 12);
		}
		ASSERT_EQ(table.size(), some.size() * entsize);
		for (size_t k = 0; k < some.size(); k++) {
			uint64_t addr = get(table, k * entsize + 8 + w, static_cast<unsigned>(w));
			EXPECT_EQ(get(table, k * entsize + 4, 4), some[k].type);
			if (k < 3) {
				EXPECT_EQ(addr, some[k].addr) << k;
				continue;
			}
			long off = static_cast<long>(some[k].off), size = static_cast<long>(some[k].size);
			EXPECT_EQ(memory(addr, some[k].size), bytes(b.begin() + off, b.begin() + off + size)) << k;
		}
	}
}

TEST_F(loader_multiboot, odd_sections_are_no_reason_to_refuse)
{
	for (unsigned version : {1u, 2u}) {
		const bytes h = version == 1 ? header1(0) : header2({tag(1, {9})}), none = elf_kernel(true, h);
		auto told = [&] { return version == 1 ? (word(0) & 0x20) != 0 : tags().count(9) != 0; };
		auto tell = [&](const bytes &b) {
			refresh();
			EXPECT_EQ(load(b), 0) << err.msg;
			return told();
		};
		EXPECT_FALSE(tell(none));
		EXPECT_TRUE(tell(with_sections(none, true, some)));
		bytes b = with_sections(none, true, some);
		b.pop_back(); // the table is cut short
		EXPECT_FALSE(tell(b));
		b = with_sections(none, true, some);
		poke(b, 58, 63, 2); // e_shentsize
		EXPECT_FALSE(tell(b));
		b = with_sections(none, true, some);
		poke(b, 40, UINT64_MAX - 8, 8); // e_shoff
		EXPECT_FALSE(tell(b));
		EXPECT_TRUE(tell(with_sections(none, true, {{3, 0, 0x1fff, 2}}))) << "told, but not loaded";
		EXPECT_FALSE(tell(with_sections(none, true, std::vector<section>(300)))) << "no room for the headers";
		std::vector<section> many(200, {3, 0, 0, 0x1000}); // more than the file has
		EXPECT_FALSE(tell(with_sections(none, true, many)));
		EXPECT_TRUE(tell(with_sections(none, true, std::vector<section>(200))));
	}
}

// ---- version 2 ----------------------------------------------------------------------------------------------------------

TEST_F(loader_multiboot, version2)
{
	bytes area(0x10000), rsdp = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '};
	kb_region acpi{};
	add(acpi, "tables", 0xe0000, area);
	for (int i = 0; i < 16; i++) {
		bool is64 = i & 1, initrd = i & 2, tables = i & 8;
		cfg.guest_format = i & 4 ? KVMBOX_GUEST_MULTIBOOT : KVMBOX_GUEST_AUTO;
		cfg.initrd = nullptr;
		if (initrd)
			give_initrd(disk);
		refresh();
		std::fill(area.begin(), area.end(), 0);
		if (tables) {
			bytes r = pattern(36, 9);
			std::copy(rsdp.begin(), rsdp.end(), r.begin());
			std::copy(r.begin(), r.end(), area.begin());
		}
		bytes b = elf_kernel(is64, header2({tag(1, {1, 2, 3, 4, 6, 9, 14, 15, 21}), tag(6, {})}));
		ASSERT_EQ(load(b), 0) << err.msg;
		expect_started(2);
		EXPECT_EQ(memory(base, code_size), bytes(b.begin() + 0x1000, b.end()));
		auto t = tags();
		EXPECT_EQ(as_text(one(t, 1)), cmdline + '\0');
		EXPECT_EQ(as_text(one(t, 2)), std::string("kvmbox") + '\0');
		ASSERT_EQ(t.count(3), initrd ? 1u : 0u);
		if (initrd) {
			bytes m = one(t, 3);
			uint64_t at = get(m, 0, 4);
			EXPECT_EQ(at % 0x1000, 0u);
			EXPECT_EQ(get(m, 4, 4), at + disk.size());
			EXPECT_EQ(m.size(), 9u);
			EXPECT_EQ(m.back(), 0);
			EXPECT_EQ(memory(at, disk.size()), disk);
		}
		EXPECT_EQ(get(one(t, 4), 0, 4), 639u);
		EXPECT_EQ(get(one(t, 4), 4, 4), 4096u);
		bytes mm = one(t, 6);
		auto m = map();
		ASSERT_EQ(mm.size(), 8 + m.size() * 24);
		EXPECT_EQ(get(mm, 0, 8), 24u);
		for (size_t k = 0; k < m.size(); k++) {
			EXPECT_EQ(get(mm, 8 + 24 * k, 8), m[k].base);
			EXPECT_EQ(get(mm, 16 + 24 * k, 8), m[k].size);
			EXPECT_EQ(get(mm, 24 + 24 * k, 8), static_cast<unsigned>(m[k].type));
		}
		if (tables) {
			EXPECT_EQ(one(t, 14), bytes(area.begin(), area.begin() + 20));
			EXPECT_EQ(one(t, 15), bytes(area.begin(), area.begin() + 36));
		} else {
			EXPECT_EQ(t.count(14) + t.count(15), 0u);
		}
		EXPECT_EQ(t.count(21), 0u);
	}
	kb_bus_remove(&mem, &acpi);
}

TEST_F(loader_multiboot, requirements_of_version2)
{
	auto kernel = [](const bytes &t) { return elf_kernel(false, header2({t})); };
	for (uint32_t type : {5u, 7u, 8u, 12u, 22u, 31u, 32u, 0x80000001u}) {
		const std::string number = std::to_string(type);
		REFUSED(kernel(tag(1, {1, type})), -ENOTSUP, "requires boot information of type", number.c_str());
		EXPECT_EQ(load(kernel(tag(1, {1, type}, true))), 0) << err.msg;
		refresh();
	}
	REFUSED(kernel(tag(4, {1})), -ENOTSUP, "requires a console");
	REFUSED(kernel(tag(5, {1024, 768, 32})), -ENOTSUP, "requires a framebuffer");
	REFUSED(kernel(tag(11, {})), -ENOTSUP, "header tag 11");
	for (const bytes &t : {tag(4, {2}), tag(4, {1}, true), tag(5, {1024, 768, 32}, true), tag(6, {}), tag(7, {}), tag(8, {entry}),
			       tag(9, {entry}), tag(0x1234, {}, true)}) {
		EXPECT_EQ(load(kernel(t)), 0) << err.msg;
		expect_started(2);
	}
	ASSERT_EQ(load(kernel(tag(3, {entry + 4}))), 0) << err.msg;
	expect_started(2, entry + 4);
	refresh();
	REFUSED(elf_kernel(false, header2({}, 4)), -ENOEXEC, "architecture 4");
	REFUSED(raw_kernel(header2({tag(2, address_tag(plain))})), -ENOEXEC, "no entry address");
}

TEST_F(loader_multiboot, load_address_minus_1_is_the_files_beginning)
{
	addresses a = {base + 0xc0, 0xffffffff, 0, 0, entry};
	bytes b = raw_kernel(header2({tag(2, address_tag(a)), tag(3, {a.entry})}));
	ASSERT_EQ(load(b), 0) << err.msg;
	EXPECT_EQ(memory(base, b.size()), b);
}

TEST_F(loader_multiboot, broken_header_of_version2)
{
	for (unsigned type : {2u, 3u, 4u, 10u})
		REFUSED(elf_kernel(false, header2({tag(type, {})})), -ENOEXEC, "corrupt", "8 bytes");
	bytes h = header2({tag(6, {})});
	poke(h, 20, 7, 4);
	REFUSED(elf_kernel(false, h), -ENOEXEC, "corrupt", "7 bytes");
	poke(h, 20, 0xffffffff, 4);
	REFUSED(elf_kernel(false, h), -ENOEXEC, "corrupt");
	for (uint32_t len : {0u, 15u, 0x8000u, 0xffffffffu}) {
		h = header2({});
		poke(h, 8, len, 4);
		poke(h, 12, -(magic2 + len), 4);
		REFUSED(elf_kernel(false, h), -ENOEXEC, "corrupt or truncated");
	}
	h = header2({}); // without an end tag: the length ends it
	poke(h, 8, 16, 4);
	poke(h, 12, -(magic2 + 16), 4);
	EXPECT_EQ(load(elf_kernel(false, h)), 0) << err.msg;
}

TEST_F(loader_multiboot, relocation)
{
	constexpr uint32_t none = 0, lowest = 1, highest = 2;
	auto kernel = [](uint32_t min, uint32_t max, uint32_t align, uint32_t preference) {
		return elf_kernel(false, header2({tag(10, {min, max, align, preference})}));
	};
	const struct {
		uint32_t min, max, align, preference;
		uint64_t at;
	} cases[] = {
		{0, 0xffffffff, 0x1000, none, base},
		{base, base + code_size + 0xff, 0x1000, none, base},
		{base + 1, 0xffffffff, 0x1000, none, base + 0x1000},
		{0x100000, base + code_size + 0xfe, 0x10000, none, 0x100000},
		{0x100000, 0xffffffff, 0x1000, lowest, 0x100000},
		{0x234567, 0xffffffff, 0x1000, lowest, 0x235000},
		{0x234567, 0xffffffff, 0, lowest, 0x234567},
		{0, 0x5ffff, 0x1000, highest, 0x5e000},
		{0, 0xffffffff, 0x10000, highest, 0x4f0000},
	};
	for (const auto &c : cases) {
		bytes b = kernel(c.min, c.max, c.align, c.preference);
		refresh();
		ASSERT_EQ(load(b), 0) << err.msg;
		EXPECT_EQ(one(tags(), 21).size(), 4u);
		uint64_t told = get(one(tags(), 21), 0, 4);
		EXPECT_EQ(told, c.at) << std::hex << c.min << " " << c.max << " " << c.preference;
		EXPECT_EQ(boot.entry, told + 0x10);
		EXPECT_EQ(memory(told, code_size), bytes(b.begin() + 0x1000, b.end()));
		EXPECT_EQ(memory(told + code_size, 0x100), bytes(0x100));
	}
	refresh();
	REFUSED(kernel(0x300000, 0x3010fe, 0x1000, none), -ENOSPC, "0x1100 bytes", "from 0x300000 to 0x3010fe");
	REFUSED(kernel(0xa0000, 0xfffff, 0x1000, highest), -ENOSPC, "no place");
	REFUSED(kernel(0x600000, 0xffffffff, 0x1000, lowest), -ENOSPC, "no place");
}

// ---- corruption -----------------------------------------------------------------------------------------------------------

TEST_F(loader_multiboot, survives_corruption)
{
	give_initrd(disk);
	cfg.guest_format = KVMBOX_GUEST_MULTIBOOT;
	const addresses a = {base + 0x40, base, base + 0x800, base + 0x900, entry};
	corrupt(*this, [&] { return raw_kernel(header1(0x10003, &a)); }, 0x80 + 0x40 + 12, 0x80 + 0x40 + 32, 2000);
	const bytes h2 = header2({tag(1, {1, 2}), tag(2, address_tag(a)), tag(3, {a.entry}), tag(4, {2}), tag(5, {0, 0, 0}, true),
				  tag(10, {0x100000, 0xffffffff, 0x1000, 1})});
	corrupt(*this, [&] { return raw_kernel(h2); }, 0x80 + 0x40 + 16, 0x80 + 0x40 + h2.size(), 4000);
	for (bool is64 : {false, true}) {
		bytes b = with_sections(elf_kernel(is64, header2({tag(10, {0x100000, 0xffffffff, 0x1000, 2})})), is64, some);
		corrupt(*this, [&] { return b; }, b.size() - some.size() * (is64 ? 64 : 40), b.size(), 2000);
		corrupt(*this, [&] { return b; }, 4, is64 ? 64 + 56 : 52 + 32, 4000);
	}
}

} // namespace
