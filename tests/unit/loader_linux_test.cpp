// platforms/loader_linux.c, loader_vmlinux.c: bzImages and ELF kernels made by hand, what they are handed, broken ones.
#include "tests/unit/loader_fixture.h"

#include <asm/bootparam.h>

#include <cstddef>

using namespace loader_fixture;

namespace {

constexpr unsigned header_at = offsetof(boot_params, hdr);
#define HDR(field) (header_at + static_cast<unsigned>(offsetof(setup_header, field)))

constexpr size_t kernel_size = 0x3000;

// As a current kernel's: 64-bit, relocatable, one sector of set-up code.
bytes bzimage(unsigned sects = 1)
{
	bytes b = pattern((sects + 1) * 512);
	std::fill(b.begin() + 0x1ef, b.begin() + 0x290, 0);
	b[0x1ef] = 0xff; // sentinel: not part of the header
	b[HDR(setup_sects)] = static_cast<uint8_t>(sects);
	poke(b, HDR(syssize), kernel_size / 16, 4);
	poke(b, HDR(boot_flag), 0xaa55, 2);
	poke(b, HDR(jump), 0x6aeb, 2);
	poke(b, HDR(header), 0x53726448, 4);
	poke(b, HDR(version), 0x20f, 2);
	poke(b, HDR(loadflags), LOADED_HIGH, 1);
	poke(b, HDR(code32_start), 0x100000, 4);
	poke(b, HDR(initrd_addr_max), 0x7fffffff, 4);
	poke(b, HDR(kernel_alignment), 0x10000, 4);
	poke(b, HDR(relocatable_kernel), 1, 1);
	poke(b, HDR(xloadflags), XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G, 2);
	poke(b, HDR(cmdline_size), 2047, 4);
	poke(b, HDR(pref_address), 0x200000, 8);
	poke(b, HDR(init_size), 0x20000, 4);
	poke(b, HDR(payload_offset), 0x2cc, 4);
	bytes kernel = pattern(kernel_size, 2);
	b.insert(b.end(), kernel.begin(), kernel.end());
	return b;
}

bytes with(bytes b, unsigned at, uint64_t v, unsigned n)
{
	poke(b, at, v, n);
	return b;
}

struct loader_linux : loader {
	boot_params params()
	{
		return peek<boot_params>(boot.si);
	}
	void expect_kernel_at(uint64_t addr)
	{
		EXPECT_EQ(memory(addr, kernel_size), pattern(kernel_size, 2)) << std::hex << addr;
		EXPECT_TRUE(is_fresh(addr - 64, 64) && is_fresh(addr + kernel_size, 64));
	}
	void set_cmdline(const std::string &text)
	{
		cmdline = text;
		cfg.cmdline = cmdline.data();
	}
	std::string cmdline;
};

// ---- bzImage ----------------------------------------------------------------------------------------------------

TEST_F(loader_linux, entry64)
{
	set_cmdline("console=ttyS0 a=\"b c\"");
	for (auto format : {KVMBOX_GUEST_AUTO, KVMBOX_GUEST_LINUX}) {
		cfg.guest_format = format;
		refresh();
		ASSERT_EQ(load(bzimage()), 0) << err.msg;
		EXPECT_EQ(boot.mode, KB_BOOT_LONG64);
		EXPECT_EQ(boot.entry, 0x200200u);
		EXPECT_EQ(boot.si, KB_BOOT_INFO);
		EXPECT_EQ(boot.ax, 0u);
		EXPECT_EQ(boot.bx, 0u);
		expect_kernel_at(0x200000);
		boot_params p = params();
		EXPECT_EQ(p.hdr.header, 0x53726448u);
		EXPECT_EQ(p.hdr.version, 0x20f);
		EXPECT_EQ(p.hdr.payload_offset, 0x2ccu);
		EXPECT_EQ(p.hdr.type_of_loader, 0xff);
		EXPECT_EQ(p.hdr.loadflags, LOADED_HIGH);
		EXPECT_EQ(p.hdr.code32_start, 0x200000u);
		EXPECT_EQ(p.hdr.cmd_line_ptr, KB_BOOT_CMDLINE);
		EXPECT_EQ(p.ext_cmd_line_ptr, 0u);
		EXPECT_EQ(text(p.hdr.cmd_line_ptr), cmdline);
		EXPECT_EQ(p.hdr.ramdisk_image, 0u);
		EXPECT_EQ(p.hdr.ramdisk_size, 0u);
		EXPECT_EQ(p.acpi_rsdp_addr, KB_TABLES_RSDP);
		EXPECT_EQ(p.sentinel, 0);
		EXPECT_EQ(p.screen_info.orig_video_isVGA, 0);
		auto m = map();
		ASSERT_EQ(p.e820_entries, m.size());
		for (size_t i = 0; i < m.size(); i++) {
			EXPECT_EQ(p.e820_table[i].addr, m[i].base);
			EXPECT_EQ(p.e820_table[i].size, m[i].size);
			EXPECT_EQ(p.e820_table[i].type, static_cast<unsigned>(m[i].type));
		}
	}
}

TEST_F(loader_linux, entry32)
{
	ASSERT_EQ(load(with(bzimage(), HDR(xloadflags), 0, 2)), 0) << err.msg;
	EXPECT_EQ(boot.mode, KB_BOOT_PROTECTED32);
	EXPECT_EQ(boot.entry, 0x200000u);
	EXPECT_EQ(boot.si, KB_BOOT_INFO);
	expect_kernel_at(0x200000);
	refresh(); // before protocol 2.12 these bits meant nothing
	ASSERT_EQ(load(with(bzimage(), HDR(version), 0x20b, 2)), 0) << err.msg;
	EXPECT_EQ(boot.mode, KB_BOOT_PROTECTED32);
}

TEST_F(loader_linux, oldest_protocol_loads_at_1_mib)
{
	bytes b = with(bzimage(), HDR(version), 0x206, 2);
	poke(b, HDR(init_size), 0xffffffff, 4); // means nothing yet, as the next
	poke(b, HDR(pref_address), 0xffffffffffff, 8);
	ASSERT_EQ(load(b), 0) << err.msg;
	EXPECT_EQ(boot.mode, KB_BOOT_PROTECTED32);
	EXPECT_EQ(boot.entry, 0x100000u);
	EXPECT_EQ(memory(0x100000, kernel_size), pattern(kernel_size, 2));
}

TEST_F(loader_linux, setup_sectors)
{
	for (unsigned sects : {1u, 4u, 30u, 255u}) {
		refresh();
		ASSERT_EQ(load(bzimage(sects)), 0) << err.msg;
		expect_kernel_at(0x200000);
	}
	refresh();
	ASSERT_EQ(load(with(bzimage(4), HDR(setup_sects), 0, 1)), 0) << err.msg;
	expect_kernel_at(0x200000);
}

TEST_F(loader_linux, header_length)
{
	ASSERT_EQ(load(with(bzimage(), 0x201, 0xff, 1)), 0) << err.msg; // a newer kernel's
	EXPECT_EQ(params().hdr.payload_offset, 0x2ccu);
	refresh();
	ASSERT_EQ(load(with(bzimage(), 0x201, HDR(payload_offset) - 0x202, 1)), 0) << err.msg;
	EXPECT_EQ(params().hdr.payload_offset, 0u);
	EXPECT_EQ(params().hdr.pref_address, 0u) << "the header does not reach that far";
}

TEST_F(loader_linux, broken_header)
{
	REFUSED(with(bzimage(), HDR(boot_flag), 0, 2), -ENOEXEC, "boot flag 0x0", "corrupt");
	REFUSED(with(bzimage(), HDR(syssize), 0, 4), -ENOEXEC, "corrupt", "0 bytes");
	REFUSED(with(bzimage(), HDR(syssize), 0x20, 4), -ENOEXEC, "corrupt", "512 bytes");
	REFUSED(with(bzimage(), HDR(syssize), 0xffffffff, 4), -ENOEXEC, "truncated", "0xffffffff0");
	REFUSED(with(bzimage(), HDR(kernel_alignment), 0, 4), -ENOEXEC, "kernel_alignment 0x0");
	REFUSED(with(bzimage(), HDR(kernel_alignment), 0x30000, 4), -ENOEXEC, "kernel_alignment 0x30000");
	cfg.guest_format = KVMBOX_GUEST_LINUX;
	REFUSED(with(bzimage(), HDR(header), 0, 4), -ENOEXEC, "neither a bzImage nor an ELF file");
	cfg.guest_format = KVMBOX_GUEST_ELF;
	REFUSED(bzimage(), -ENOEXEC, "not an ELF file");
	cfg.guest_format = KVMBOX_GUEST_MULTIBOOT;
	REFUSED(bzimage(), -ENOEXEC, "without a multiboot header");
}

TEST_F(loader_linux, too_old)
{
	for (unsigned version : {0u, 0x200u, 0x205u})
		REFUSED(with(bzimage(), HDR(version), version, 2), -ENOEXEC, "too old", "2.06");
	REFUSED(with(bzimage(), HDR(version), 0x203, 2), -ENOEXEC, "protocol 2.03");
	REFUSED(with(bzimage(), HDR(loadflags), 0, 1), -ENOEXEC, "zImage", "bzImage");
}

TEST_F(loader_linux, truncated_at_every_length)
{
	bytes b = bzimage();
	for (size_t n = 0x206; n < b.size(); n += n < 0x500 ? 1 : 97) {
		ASSERT_EQ(load(bytes(b.begin(), b.begin() + static_cast<long>(n))), -ENOEXEC) << n;
		ASSERT_TRUE(says("truncated")) << n << err.msg;
	}
	EXPECT_TRUE(untouched());
	b.resize(b.size() + 100, 0x55); // a signature, say
	EXPECT_EQ(load(b), 0) << err.msg;
	expect_kernel_at(0x200000);
}

TEST_F(loader_linux, a_relocatable_kernel_goes_up_from_where_it_cannot_be)
{
	for (uint64_t pref : {uint64_t(0), uint64_t(0x70000), uint64_t(0xa0000), uint64_t(0xf8000)}) {
		refresh();
		ASSERT_EQ(load(with(bzimage(), HDR(pref_address), pref, 8)), 0) << std::hex << pref << err.msg;
		EXPECT_EQ(boot.entry, 0x100200u) << std::hex << pref;
		EXPECT_EQ(params().hdr.code32_start, 0x100000u);
	}
	ASSERT_EQ(load(with(bzimage(), HDR(pref_address), 0x200008, 8)), 0) << err.msg;
	EXPECT_EQ(boot.entry, 0x210200u) << "where it would align itself to";
}

TEST_F(loader_linux, a_kernel_stays_below_4_gib)
{
	for (unsigned flags : {0, XLF_KERNEL_64, XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G}) {
		bytes b = with(bzimage(), HDR(xloadflags), flags, 2);
		refresh();
		REFUSED(with(b, HDR(pref_address), 0x4f0000, 8), -ENOSPC, "unpacks itself in (0x4f0000-0x50ffff)", "RAM");
		REFUSED(with(b, HDR(pref_address), far_base, 8), -ENOEXEC, "above 4 GiB (0x100000000)");
	}
}

TEST_F(loader_linux, a_fixed_kernel_needs_both_places)
{
	bytes b = with(bzimage(), HDR(relocatable_kernel), 0, 1);
	ASSERT_EQ(load(b), 0) << err.msg;
	EXPECT_EQ(boot.entry, 0x100200u);
	EXPECT_EQ(memory(0x100000, kernel_size), pattern(kernel_size, 2));
	refresh();
	kb_bus_remove(&mem, &r_far);
	REFUSED(with(b, HDR(pref_address), 0x4f0000, 8), -ENOSPC, "the kernel, when it runs (0x4f0000-0x50ffff)", "ram=");
}

TEST_F(loader_linux, needs_its_room)
{
	kb_bus_remove(&mem, &r_far);
	machine.ram_above_4g = 0;
	REFUSED(with(bzimage(), HDR(init_size), 0x300001, 4), -ENOSPC, "0x200000-0x500000", "say ram=6M");
	EXPECT_EQ(load(with(bzimage(), HDR(init_size), 0x300000, 4)), 0) << err.msg;
	refresh();
	REFUSED(with(bzimage(), HDR(init_size), 0xffffffff, 4), -ENOSPC, "RAM");
}

TEST_F(loader_linux, command_line_limit)
{
	set_cmdline(std::string(2047, 'x'));
	ASSERT_EQ(load(bzimage()), 0) << err.msg;
	EXPECT_EQ(text(KB_BOOT_CMDLINE), cmdline);
	refresh();
	set_cmdline(std::string(2048, 'x'));
	REFUSED(bzimage(), -E2BIG, "2048 bytes", "limit here is 2047");
	set_cmdline(std::string(256, 'x'));
	REFUSED(with(bzimage(), HDR(cmdline_size), 255, 4), -E2BIG, "limit here is 255");
	set_cmdline(std::string(KB_BOOT_CMDLINE_SIZE, 'x')); // the kernel takes more than the box has room for
	REFUSED(with(bzimage(), HDR(cmdline_size), 0x7fffffff, 4), -E2BIG, "limit here is 20479");
	set_cmdline(std::string(KB_BOOT_CMDLINE_SIZE - 1, 'x'));
	EXPECT_EQ(load(with(bzimage(), HDR(cmdline_size), 0x7fffffff, 4)), 0) << err.msg;
	EXPECT_TRUE(is_fresh(KB_BOOT_AREA_BASE + KB_BOOT_AREA_SIZE, 256));
	cfg.cmdline = nullptr;
	EXPECT_EQ(load(bzimage()), 0) << err.msg;
	EXPECT_EQ(text(KB_BOOT_CMDLINE), "");
}

// ---- initrd --------------------------------------------------------------------------------------------------------

TEST_F(loader_linux, initrd_above_4_gib)
{
	const bytes disk = pattern(0x12345, 3);
	give_initrd(disk);
	ASSERT_EQ(load(bzimage()), 0) << err.msg;
	uint64_t at = far_base + far_size - 0x13000;
	EXPECT_EQ(params().hdr.ramdisk_image, static_cast<uint32_t>(at));
	EXPECT_EQ(params().ext_ramdisk_image, 1u);
	EXPECT_EQ(params().hdr.ramdisk_size, disk.size());
	EXPECT_EQ(params().ext_ramdisk_size, 0u);
	EXPECT_EQ(memory(at, disk.size()), disk);
	EXPECT_TRUE(is_fresh(at - 64, 64) && is_fresh(at + disk.size(), 64));
	expect_kernel_at(0x200000);
}

TEST_F(loader_linux, initrd_as_high_as_the_kernel_allows)
{
	const bytes disk = pattern(0x1001, 3);
	give_initrd(disk);
	bytes b = with(bzimage(), HDR(xloadflags), XLF_KERNEL_64, 2);
	for (auto [max, at] : {std::pair(0x7fffffffu, 0x4fe000u), {0u, 0x4fe000u}, {0x4fefffu, 0x4fd000u},
			       {0x4ff000u, 0x4fe000u}, {0x23ffffu, 0x23e000u}, {0x22ffffu, 0x22e000u}, {0x21ffffu, 0x1fe000u},
			       {0x1fffffu, 0x1fe000u}, {0x102000u, 0x101000u}, {0x101000u, 0x100000u}}) {
		refresh();
		poke(b, HDR(initrd_addr_max), max, 4);
		ASSERT_EQ(load(b), 0) << std::hex << max << " " << err.msg;
		EXPECT_EQ(params().hdr.ramdisk_image, at) << std::hex << max;
		EXPECT_EQ(params().ext_ramdisk_image, 0u);
		EXPECT_EQ(memory(at, disk.size()), disk);
	}
	refresh();
	poke(b, HDR(initrd_addr_max), 0x100fff, 4);
	REFUSED(b, -ENOSPC, "initrd", initrd_path.c_str(), "4097 bytes (1M) do not fit", "up to 0x100fff", "4096 bytes are free");
}

TEST_F(loader_linux, initrd_beside_a_kernel_at_the_end_of_ram)
{
	give_initrd(pattern(0x2000, 3));
	bytes b = with(bzimage(), HDR(xloadflags), XLF_KERNEL_64, 2);
	poke(b, HDR(pref_address), 0x4e0000, 8);
	ASSERT_EQ(load(b), 0) << err.msg;
	EXPECT_EQ(params().hdr.ramdisk_image, 0x4de000u);
	EXPECT_EQ(memory(0x4e0000, kernel_size), pattern(kernel_size, 2));
	refresh(); // what a fixed kernel loads to is as taken as where it runs
	poke(b, HDR(relocatable_kernel), 0, 1);
	poke(b, HDR(pref_address), 0x104000, 8);
	poke(b, HDR(init_size), 0x3fc000, 4);
	REFUSED(b, -ENOSPC, "initrd", "4096 bytes are free");
}

TEST_F(loader_linux, oversized_initrd)
{
	give_initrd(bytes(6 << 20));
	REFUSED(bzimage(), -ENOSPC, "initrd", "6291456 bytes (6M) do not fit", "3014656 bytes are free", "say more ram=");
}

TEST_F(loader_linux, odd_initrds)
{
	give_initrd({});
	REFUSED(bzimage(), -EINVAL, "initrd", "empty");
	unlink(initrd_path.c_str());
	REFUSED(bzimage(), -ENOENT, "initrd", "No such file");
	cfg.initrd = dir;
	REFUSED(bzimage(), -EISDIR, "initrd", "directory");
	char null[] = "/dev/null";
	cfg.initrd = null;
	REFUSED(bzimage(), -EINVAL, "initrd", "regular file");
}

TEST_F(loader_linux, keys_of_kernels_are_refused_elsewhere)
{
	bytes plain = elf(true, 0x200000, {{1, 0x100, 0x200000, 16, 16}}), none;
	plain.resize(0x200);
	give_initrd({1});
	REFUSED(plain, -EINVAL, "initrd= is given", "plain ELF program");
	cfg.guest_format = KVMBOX_GUEST_FLAT;
	REFUSED(plain, -EINVAL, "initrd= is given", "flat image");
	cfg.guest_format = KVMBOX_GUEST_RESET;
	REFUSED(plain, -EINVAL, "initrd= is given", "firmware image");
	cfg.initrd = nullptr;
	set_cmdline("x");
	REFUSED(plain, -EINVAL, "cmdline= is given", "firmware image");
	cfg.guest_format = KVMBOX_GUEST_ELF;
	REFUSED(plain, -EINVAL, "cmdline= is given", "plain ELF program");
	set_cmdline("");
	EXPECT_EQ(load(plain), 0) << err.msg;
}

// ---- ELF kernels ------------------------------------------------------------------------------------------------------

bytes note(const std::string &name, uint32_t type, const bytes &desc, unsigned align = 4)
{
	bytes b;
	put(b, name.size() + 1, 4);
	put(b, desc.size(), 4);
	put(b, type, 4);
	b.insert(b.end(), name.begin(), name.end());
	b.resize((b.size() + 1 + align - 1) / align * align);
	b.insert(b.end(), desc.begin(), desc.end());
	b.resize((b.size() + align - 1) / align * align);
	return b;
}

bytes le(uint64_t v, unsigned n)
{
	bytes b;
	put(b, v, n);
	return b;
}

const bytes gnu = note("GNU", 3, pattern(20)), salt = note("Linux", 0x100, {0});
bytes pvh(uint64_t entry, unsigned n = 4)
{
	return note("Xen", 18, le(entry, n));
}

// One segment of 0x1000 bytes at 0x200000, entry there, notes in it.
bytes vmlinux(bool is64, const std::vector<bytes> &notes)
{
	bytes all;
	for (const auto &n : notes)
		all.insert(all.end(), n.begin(), n.end());
	bytes b = elf(is64, 0x200010, {{1, 0x1000, 0x200000, 0x1000, 0x2000, 0xffffffff81000000}, {4, 0x1800, 0x200800, all.size(), all.size()}});
	b.resize(0x1000);
	bytes code = pattern(0x1000, 4);
	std::copy(all.begin(), all.end(), code.begin() + 0x800);
	b.insert(b.end(), code.begin(), code.end());
	return b;
}

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};

TEST_F(loader_linux, pvh)
{
	const bytes disk = pattern(5000, 3);
	set_cmdline("hello");
	for (int i = 0; i < 8; i++) {
		bool is64 = i & 1, initrd = i & 2;
		cfg.guest_format = i & 4 ? KVMBOX_GUEST_LINUX : KVMBOX_GUEST_AUTO;
		refresh();
		cfg.initrd = nullptr;
		if (initrd)
			give_initrd(disk);
		bytes image = vmlinux(is64, {gnu, pvh(0x200123, is64 ? 8 : 4)});
		ASSERT_EQ(load(image), 0) << err.msg;
		EXPECT_EQ(boot.mode, KB_BOOT_PROTECTED32);
		EXPECT_EQ(boot.entry, 0x200123u);
		EXPECT_EQ(boot.bx, KB_BOOT_INFO);
		EXPECT_EQ(boot.ax, 0u);
		EXPECT_EQ(boot.si, 0u);
		EXPECT_EQ(memory(0x200000, 0x1000), bytes(image.begin() + 0x1000, image.end()));
		EXPECT_EQ(memory(0x201000, 0x1000), bytes(0x1000));
		auto info = peek<start_info>(boot.bx);
		EXPECT_EQ(info.magic, 0x336ec578u);
		EXPECT_EQ(info.version, 1u);
		EXPECT_EQ(info.flags, 0u);
		EXPECT_EQ(info.reserved, 0u);
		EXPECT_EQ(info.rsdp, KB_TABLES_RSDP);
		EXPECT_EQ(text(info.cmdline), "hello");
		ASSERT_EQ(info.nr_modules, initrd ? 1u : 0u);
		if (initrd) {
			uint64_t at = peek<uint64_t>(info.modlist);
			EXPECT_EQ(at, 0x4fe000u);
			EXPECT_EQ(peek<uint64_t>(info.modlist + 8), disk.size());
			EXPECT_EQ(peek<uint64_t>(info.modlist + 16), 0u);
			EXPECT_EQ(peek<uint64_t>(info.modlist + 24), 0u);
			EXPECT_EQ(memory(at, disk.size()), disk);
		}
		auto m = map();
		ASSERT_EQ(info.memmap_entries, m.size());
		for (size_t k = 0; k < m.size(); k++) {
			EXPECT_EQ(peek<uint64_t>(info.memmap + 24 * k), m[k].base);
			EXPECT_EQ(peek<uint64_t>(info.memmap + 24 * k + 8), m[k].size);
			EXPECT_EQ(peek<uint64_t>(info.memmap + 24 * k + 16), static_cast<unsigned>(m[k].type));
		}
	}
}

TEST_F(loader_linux, pvh_only_when_it_is_wanted)
{
	bytes b = vmlinux(true, {pvh(0x200123), salt});
	cfg.guest_format = KVMBOX_GUEST_ELF;
	ASSERT_EQ(load(b), 0) << err.msg;
	EXPECT_EQ(boot.mode, KB_BOOT_LONG64);
	EXPECT_EQ(boot.entry, 0x200010u);
	EXPECT_EQ(boot.bx, 0u);
	EXPECT_TRUE(is_fresh(KB_BOOT_INFO, KB_BOOT_INFO_SIZE));
	cfg.guest_format = KVMBOX_GUEST_MULTIBOOT;
	refresh();
	REFUSED(b, -ENOEXEC, "without a multiboot header");
}

TEST_F(loader_linux, pvh_refusals)
{
	REFUSED(vmlinux(true, {pvh(0x1fffff)}), -EINVAL, "entry point 0x1fffff");
	REFUSED(vmlinux(true, {pvh(far_base, 8)}), -EINVAL, "entry point 0x100000000");
	bytes far_code = elf(true, far_base, {{1, 0x1000, far_base, 16, 16}, {4, 0x1010, 0, 20, 20}});
	far_code.resize(0x1010);
	bytes n = note("Xen", 18, le(far_base, 8));
	poke(far_code, 64 + 56 + 32, n.size(), 8);
	far_code.insert(far_code.end(), n.begin(), n.end());
	REFUSED(far_code, -ENOEXEC, "PVH entry 0x100000000", "above 4 GiB");
	set_cmdline(std::string(2048, 'x'));
	REFUSED(vmlinux(true, {pvh(0x200000), salt}), -E2BIG, "2047");
	EXPECT_EQ(load(vmlinux(true, {pvh(0x200000)})), 0) << "another kernel than Linux takes more: " << err.msg;
}

TEST_F(loader_linux, notes_of_8_bytes_alignment)
{
	bytes b = vmlinux(true, {note("GNU", 5, pattern(9), 8), note("Xen", 18, le(0x200123, 8), 8)});
	poke(b, 64 + 56 + 48, 8, 8);
	ASSERT_EQ(load(b), 0) << err.msg;
	EXPECT_EQ(boot.entry, 0x200123u);
}

TEST_F(loader_linux, other_notes_make_no_kernel)
{
	for (const bytes &n : {gnu, note("Xen", 17, le(0x200123, 4)), note("Xen!", 18, le(0x200123, 4)), note("Xen", 18, le(1, 3)),
			       note("Xen", 18, pattern(12)), note("Linux", 0x101, {0}), note("Linus", 0x100, {0}), bytes(11, 1)}) {
		ASSERT_EQ(load(vmlinux(true, {n})), 0) << err.msg;
		EXPECT_EQ(boot.mode, KB_BOOT_LONG64);
		EXPECT_EQ(boot.si, 0u);
	}
	cfg.guest_format = KVMBOX_GUEST_LINUX;
	refresh();
	REFUSED(vmlinux(true, {gnu}), -ENOEXEC, "CONFIG_PVH=y", "bzImage", "guest_format=elf");
	cfg.guest_format = KVMBOX_GUEST_AUTO;
	bytes b = vmlinux(true, {pvh(0x200123)});
	for (uint64_t off : {uint64_t(0x1000 + 0x1000), UINT64_MAX, UINT64_MAX - 8, uint64_t(1) << 63, uint64_t(0x1fff)}) {
		poke(b, 64 + 56 + 8, off, 8); // a note segment that is not in the file: no reason to refuse it
		ASSERT_EQ(load(b), 0) << std::hex << off << err.msg;
		EXPECT_EQ(boot.mode, KB_BOOT_LONG64);
	}
}

TEST_F(loader_linux, vmlinux_without_pvh)
{
	const bytes disk = pattern(5000, 3);
	give_initrd(disk);
	set_cmdline("hello");
	for (bool is64 : {true, false}) {
		refresh();
		ASSERT_EQ(load(vmlinux(is64, {gnu, salt})), 0) << err.msg;
		EXPECT_EQ(boot.mode, is64 ? KB_BOOT_LONG64 : KB_BOOT_PROTECTED32);
		EXPECT_EQ(boot.entry, 0x200010u);
		EXPECT_EQ(boot.si, KB_BOOT_INFO);
		EXPECT_EQ(boot.bx, 0u);
		EXPECT_EQ(params().hdr.type_of_loader, 0xff);
		EXPECT_EQ(params().hdr.loadflags & LOADED_HIGH, LOADED_HIGH);
		EXPECT_EQ(params().hdr.ramdisk_image, 0x4fe000u);
		EXPECT_EQ(params().hdr.ramdisk_size, disk.size());
		EXPECT_EQ(params().e820_entries, map().size());
		EXPECT_EQ(text(params().hdr.cmd_line_ptr), "hello");
		EXPECT_EQ(memory(0x4fe000, disk.size()), disk);
	}
}

// ---- other files --------------------------------------------------------------------------------------------------------

TEST_F(loader_linux, files_that_are_known_not_to_be_kernels)
{
	const struct {
		size_t at;
		bytes magic;
		const char *name;
	} files[] = {
		{0, {0x1f, 0x8b, 8}, "gzip"},
		{0, {0xfd, '7', 'z', 'X', 'Z', 0}, "xz"},
		{0, {0x28, 0xb5, 0x2f, 0xfd}, "zstd"},
		{0, {'B', 'Z', 'h', '9'}, "bzip2"},
		{0, {4, 0x22, 0x4d, 0x18}, "lz4"},
		{0, {2, 0x21, 0x4c, 0x18}, "lz4"},
		{0, {0x5d, 0, 0, 0x80}, "lzma"},
		{0, {0x89, 'L', 'Z', 'O'}, "lzop"},
		{0x38, {'A', 'R', 'M', 0x64}, "AArch64"},
		{0x38, {'R', 'S', 'C', 5}, "RISC-V"},
		{0x24, {0x18, 0x28, 0x6f, 0x01}, "ARM"},
		{0, {0x27, 0x05, 0x19, 0x56}, "U-Boot"},
		{0, {'0', '7', '0', '7', '0', '1'}, "initrd="},
		{0, {'Q', 'F', 'I', 0xfb}, "qcow2"},
		{0, {'M', 'Z'}, "UEFI"},
	};
	for (auto format : {KVMBOX_GUEST_AUTO, KVMBOX_GUEST_LINUX, KVMBOX_GUEST_MULTIBOOT, KVMBOX_GUEST_ELF})
		for (const auto &f : files) {
			bytes b(4096);
			std::copy(f.magic.begin(), f.magic.end(), b.begin() + static_cast<long>(f.at));
			cfg.guest_format = format;
			REFUSED(b, -ENOEXEC, f.name);
			b.resize(f.at + f.magic.size());
			REFUSED(b, -ENOEXEC, f.name);
		}
}

// ---- corruption -----------------------------------------------------------------------------------------------------------

TEST_F(loader_linux, bzimage_survives_corruption)
{
	give_initrd(pattern(5000));
	set_cmdline("console=ttyS0");
	corrupt(*this, [] { return bzimage(); }, header_at, header_at + sizeof(setup_header), 6000);
}

TEST_F(loader_linux, pvh_survives_corruption)
{
	give_initrd(pattern(5000));
	set_cmdline("console=ttyS0");
	corrupt(*this, [] { return vmlinux(true, {gnu, pvh(0x200123, 8), salt}); }, 4, 64 + 2 * 56, 3000);
	corrupt(*this, [] { return vmlinux(false, {gnu, pvh(0x200123, 8), salt}); }, 4, 52 + 2 * 32, 3000);
	corrupt(*this, [] { return vmlinux(true, {gnu, pvh(0x200123, 8), salt}); }, 0x1800, 0x1880, 3000);
}

} // namespace
