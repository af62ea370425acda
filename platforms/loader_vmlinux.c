/*
 * ELF kernels that are no plain programs: with a PVH entry (Xen, docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h),
 * or a Linux vmlinux without one, which starts at its ELF entry with the zero page as if it had unpacked itself.
 */
#include "platforms/loader_linux.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "platforms/boot.h"
#include "vcpu/error.h"

#define START_INFO_MAGIC 0x336ec578u

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};

struct module {
	uint64_t addr, size, cmdline, reserved;
};

struct memmap {
	uint64_t addr, size;
	uint32_t type, reserved;
};

struct pvh {
	struct start_info info;
	struct module module;
	struct memmap map[KB_MEMORY_RANGES_MAX];
};

_Static_assert(sizeof(struct start_info) == 56 && sizeof(struct memmap) == 24, "as Xen lays it out");
_Static_assert(sizeof(struct pvh) <= KB_BOOT_INFO_SIZE, "the start info outgrows its place");

static void write_start_info(struct kb_place *place, const struct kvmbox_config *cfg, const struct kb_initrd *initrd)
{
	struct pvh p = {
		.info = {
			.magic = START_INFO_MAGIC, .version = 1, .nr_modules = initrd->size ? 1 : 0,
			.modlist = initrd->size ? KB_BOOT_INFO + offsetof(struct pvh, module) : 0,
			.cmdline = KB_BOOT_CMDLINE, .rsdp = KB_TABLES_RSDP,
			.memmap = KB_BOOT_INFO + offsetof(struct pvh, map), .memmap_entries = place->ranges,
		},
		.module = { .addr = initrd->addr, .size = initrd->size },
	};
	unsigned i;

	for (i = 0; i < place->ranges; i++)
		p.map[i] = (struct memmap){ place->map[i].base, place->map[i].size, place->map[i].type, 0 };
	kb_bus_write(place->mem, KB_BOOT_INFO, &p, sizeof(p));
	kb_cmdline_write(place->mem, cfg->cmdline);
}

int kb_load_vmlinux(const struct kb_image *image, const struct kb_elf *elf, struct kb_bus *mem,
		    const struct kvmbox_config *cfg, const struct kb_tables_config *tables, struct kb_boot *boot,
		    struct kvmbox_error *err)
{
	const uint64_t entry = elf->pvh ? elf->pvh_entry : elf->entry;
	struct kb_initrd initrd = { 0 };
	struct kb_place place;
	int rc = kb_elf_check(elf, mem, entry, err);

	if (rc)
		return rc;
	if (elf->pvh && entry > UINT32_MAX)
		return kb_fail(err, ENOEXEC, "the PVH entry 0x%" PRIx64 " lies above 4 GiB, it is a 32-bit one", entry);
	kb_place_init(&place, mem, tables);
	rc = kb_place_take_elf(&place, elf, err);
	rc = rc ? rc : kb_cmdline_check(cfg->cmdline, elf->is_linux ? KB_LINUX_CMDLINE_MAX : KB_CMDLINE_MAX, err);
	rc = rc ? rc : kb_initrd_place(&initrd, &place, cfg->initrd, KB_LINUX_INITRD_MAX, err);
	rc = rc ? rc : kb_elf_load(elf, image, mem, err);
	rc = rc ? rc : kb_initrd_load(&initrd, mem, cfg->initrd, err);
	kb_initrd_close(&initrd);
	if (rc)
		return rc;
	if (elf->pvh) {
		write_start_info(&place, cfg, &initrd);
		*boot = (struct kb_boot){ .mode = KB_BOOT_PROTECTED32, .entry = entry, .bx = KB_BOOT_INFO };
	} else {
		struct boot_params params = { .hdr.loadflags = LOADED_HIGH };

		kb_linux_write_params(&place, cfg, &params, &initrd);
		*boot = (struct kb_boot){
			.mode = elf->is64 ? KB_BOOT_LONG64 : KB_BOOT_PROTECTED32, .entry = entry, .si = KB_BOOT_INFO,
		};
	}
	return 0;
}
