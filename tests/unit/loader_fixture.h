// For tests of platforms/loader.h: images made by hand, a machine's memory that shows what was written, loading into it.
#ifndef KB_LOADER_FIXTURE_H
#define KB_LOADER_FIXTURE_H

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "platforms/boot.h"
#include "platforms/loader.h"
#include "platforms/tables.h"
}

namespace loader_fixture {

using bytes = std::vector<uint8_t>;

inline void put(bytes &b, uint64_t v, unsigned n)
{
	for (; n; n--, v >>= 8)
		b.push_back(static_cast<uint8_t>(v));
}

inline void poke(bytes &b, size_t at, uint64_t v, unsigned n)
{
	for (; n; n--, v >>= 8)
		b[at++] = static_cast<uint8_t>(v);
}

inline bytes pattern(size_t len, uint32_t seed = 1)
{
	std::minstd_rand rng(seed);
	bytes b(len);
	for (auto &x : b)
		x = static_cast<uint8_t>(rng() >> 8);
	return b;
}

struct phdr {
	uint32_t type = 1; // PT_LOAD
	uint64_t off = 0, paddr = 0, filesz = 0, memsz = 0;
	uint64_t vaddr = 0;
};

// Offsets in the ELF header (gABI figure 4-3).
enum { e_class = 4, e_data = 5, e_version = 6, e_type = 16, e_machine = 18, e_entry = 24, e_phoff64 = 32, e_phentsize64 = 54, e_phnum64 = 56 };

inline bytes elf(bool is64, uint64_t entry, const std::vector<phdr> &phdrs)
{
	unsigned w = is64 ? 8 : 4, ehsize = is64 ? 64 : 52, phsize = is64 ? 56 : 32;
	bytes b = {0x7f, 'E', 'L', 'F', static_cast<uint8_t>(is64 ? 2 : 1), 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	put(b, 2, 2); // ET_EXEC
	put(b, is64 ? 62 : 3, 2);
	put(b, 1, 4);
	put(b, entry, w);
	put(b, ehsize, w); // e_phoff
	put(b, 0, w);
	put(b, 0, 4);
	put(b, ehsize, 2);
	put(b, phsize, 2);
	put(b, phdrs.size(), 2);
	put(b, is64 ? 64 : 40, 2);
	put(b, 0, 2);
	put(b, 0, 2);
	for (const auto &p : phdrs) {
		put(b, p.type, 4);
		if (is64)
			put(b, 7, 4);
		put(b, p.off, w);
		put(b, p.vaddr ? p.vaddr : p.paddr, w);
		put(b, p.paddr, w);
		put(b, p.filesz, w);
		put(b, p.memsz, w);
		if (!is64)
			put(b, 7, 4);
		put(b, 0x1000, w);
	}
	return b;
}

constexpr uint64_t low_size = 0xa0000, rom_base = 0xf0000, high_base = 0x100000, high_size = 3 << 20;
constexpr uint64_t far_base = 1ull << 32, far_size = 1 << 20;
constexpr uint8_t fresh = 0xcc; // what RAM holds before

struct loader : testing::Test {
	char dir[32] = "/tmp/kb-loader-XXXXXX";
	std::string path, initrd_path;
	bytes low = bytes(low_size, fresh), rom = bytes(0x10000, fresh), high = bytes(high_size, fresh),
	      more = bytes(0x100000, fresh), far = bytes(far_size, fresh);
	kb_region r_low{}, r_rom{}, r_high{}, r_more{}, r_far{};
	kb_bus mem{};
	kvmbox_config cfg{};
	kb_tables_config machine{};
	kb_boot boot{};
	kb_firmware fw{};
	kvmbox_error err{};

	void SetUp() override
	{
		ASSERT_NE(mkdtemp(dir), nullptr);
		path = std::string(dir) + "/guest";
		initrd_path = std::string(dir) + "/initrd";
		cfg.guest = path.data();
		cfg.guest_base = cfg.guest_entry = 0x100000;
		machine.ram_below_4g = high_base + high_size + more.size();
		machine.ram_above_4g = far_size;
		kb_bus_init(&mem, "memory", (1ull << 52) - 1);
		add(r_low, "low RAM", 0, low);
		add(r_rom, "BIOS ROM", rom_base, rom);
		r_rom.readonly = true;
		add(r_high, "RAM", high_base, high);
		add(r_more, "RAM 2", high_base + high_size, more); // adjacent
		add(r_far, "high RAM", far_base, far);
	}
	void add(kb_region &r, const char *name, uint64_t base, bytes &b)
	{
		r.name = name;
		r.base = base;
		r.size = b.size();
		r.host = b.data();
		ASSERT_EQ(kb_bus_add(&mem, &r, nullptr), 0);
	}
	void TearDown() override
	{
		free(fw.image);
		unlink(path.c_str());
		unlink(initrd_path.c_str());
		rmdir(path.c_str());
		rmdir(dir);
		kb_bus_destroy(&mem);
	}
	void write(const bytes &b) { write(path, b); }
	static void write(const std::string &file, const bytes &b)
	{
		int fd = open(file.c_str(), O_WRONLY | O_CREAT, 0600); // not O_TRUNC: ext4 flushes such files
		ASSERT_GE(fd, 0);
		ASSERT_EQ(::write(fd, b.data(), b.size()), static_cast<ssize_t>(b.size()));
		ASSERT_EQ(ftruncate(fd, static_cast<off_t>(b.size())), 0);
		close(fd);
	}
	int load()
	{
		err.msg[0] = 0;
		free(fw.image);
		return kb_load_guest(&mem, &cfg, &machine, &boot, &fw, &err);
	}
	int load(const bytes &b)
	{
		write(b);
		return load();
	}
	void give_initrd(const bytes &b)
	{
		write(initrd_path, b);
		cfg.initrd = initrd_path.data();
	}
	// As it was before anything was loaded.
	void refresh()
	{
		for (bytes *b : {&low, &rom, &high, &more, &far})
			std::fill(b->begin(), b->end(), fresh);
	}
	template <class T> T peek(uint64_t addr)
	{
		T v;
		kb_bus_read(&mem, addr, &v, sizeof(v));
		return v;
	}
	bytes memory(uint64_t addr, size_t len)
	{
		bytes b(len);
		kb_bus_read(&mem, addr, b.data(), len);
		return b;
	}
	std::string text(uint64_t addr)
	{
		std::string s;
		for (char c; (c = peek<char>(addr)); addr++)
			s += c;
		return s;
	}
	bool is_fresh(uint64_t addr, size_t len) { return memory(addr, len) == bytes(len, fresh); }
	// The map kernels are to be told.
	std::vector<kb_memory_range> map() const
	{
		std::vector<kb_memory_range> m(KB_MEMORY_RANGES_MAX);
		m.resize(kb_tables_memory_map(&machine, m.data()));
		return m;
	}
	bool says(const char *text) const { return strstr(err.msg, text) != nullptr; }
	bool untouched() const
	{
		for (const bytes *b : {&low, &rom, &high, &more, &far})
			if (std::any_of(b->begin(), b->end(), [](uint8_t x) { return x != fresh; }))
				return false;
		return true;
	}
};

#define REFUSED(image, rc, ...)                                                                                   \
	do {                                                                                                      \
		EXPECT_EQ(load(image), rc) << err.msg;                                                            \
		for (const char *t : {__VA_ARGS__})                                                               \
			EXPECT_TRUE(says(t)) << t << " is not in: " << err.msg;                                   \
		EXPECT_TRUE(says(path.c_str())) << err.msg;                                                       \
		EXPECT_TRUE(untouched());                                                                         \
	} while (0)

// ---- corruption ----

inline const uint64_t nasty[] = {0, 1, 0x70000, 0xfff, 0x1000, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff,
			  0x8000000000000000, 0xffffffffffffffff, 0xfffffffffffff000, 0x200000, 0x4ff000};

// Any error will do, but nothing may crash, hang, or reach ROM, the first tables or beyond RAM.
template <class Make> void corrupt(loader &l, Make make, size_t from, size_t to, unsigned rounds)
{
	std::mt19937_64 rng(7);
	unsigned loaded = 0;
	for (unsigned i = 0; i < rounds; i++) {
		bytes b = make();
		for (unsigned n = 1 + rng() % 3; n; n--) {
			unsigned len = 1u << rng() % 4;
			poke(b, from + rng() % (to - from - len), rng() % 2 ? nasty[rng() % std::size(nasty)] : rng(), len);
		}
		if (rng() % 8 == 0)
			b.resize(rng() % b.size());
		int rc = l.load(b);
		ASSERT_TRUE(rc == 0 || rc == -ENOEXEC || rc == -ENOSPC || rc == -EADDRINUSE || rc == -EINVAL || rc == -E2BIG ||
			    rc == -ENOTSUP) << rc << l.err.msg;
		ASSERT_TRUE(rc == 0 || l.err.msg[0]);
		loaded += rc == 0;
	}
	EXPECT_GT(loaded, rounds / 50);
	EXPECT_LT(loaded, rounds - rounds / 50);
	EXPECT_TRUE(l.is_fresh(KB_BOOT_AREA_BASE, KB_BOOT_INFO - KB_BOOT_AREA_BASE));
	EXPECT_TRUE(l.is_fresh(rom_base, l.rom.size()));
}

} // namespace loader_fixture

#endif
