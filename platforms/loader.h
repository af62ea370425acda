/*
 * Puts a guest program into memory and says how the CPU starts it: ELF32/ELF64 (libelf), a Linux kernel, a PVH or multiboot
 * kernel, raw bytes, or a firmware image at the reset vector.
 *
 * Start states (all registers not named, nor in struct kb_boot, are 0, interrupts off, RSP/ESP = KB_BOOT_STACK_TOP):
 *  LONG64     CR0.PG|PE|NE|MP|ET|WP, CR4.PAE|OSFXSR|OSXMMEXCPT (and OSXSAVE + XCR0 when the CPU has it), EFER.LME|LMA|NXE|SCE,
 *             identity map of the first 512 GiB, flat 64-bit CS 0x10, data segments 0x18
 *  PROTECTED32 CR0.PE|ET, flat 32-bit CS 0x10, data segments 0x18
 *  REAL16     the CPU's reset state, F000:FFF0
 */
#ifndef KB_LOADER_H
#define KB_LOADER_H

#include <stdint.h>

#include <kvmbox/kvmbox.h>
#include "vcpu/bus.h"

/*
 * Low memory the box itself writes for LONG64 and PROTECTED32. A program must not load over it, nor over the firmware
 * tables (platforms/tables.h); kb_image_check_range() sees to that. For the guest it is RAM like any other.
 *   0x70000  GDT
 *   0x71000  page tables, six pages (boot.h)
 *   0x77000  what the boot protocol hands over: Linux's zero page, PVH's start info, multiboot's information
 *   0x7b000  command line
 */
#define KB_BOOT_AREA_BASE 0x70000u
#define KB_BOOT_AREA_SIZE 0x10000u
#define KB_BOOT_STACK_TOP 0x70000u
#define KB_BOOT_INFO (KB_BOOT_AREA_BASE + 0x7000u)
#define KB_BOOT_INFO_SIZE 0x4000u
#define KB_BOOT_CMDLINE (KB_BOOT_AREA_BASE + 0xb000u)
#define KB_BOOT_CMDLINE_SIZE 0x5000u

enum kb_boot_mode { KB_BOOT_LONG64, KB_BOOT_PROTECTED32, KB_BOOT_REAL16 };

struct kb_tables_config;

struct kb_boot {
	enum kb_boot_mode mode;
	uint64_t entry;
	uint32_t ax, bx, si; /* what EAX, EBX, ESI start with */
};

/* A firmware image as read from disk: for the platform to map as ROM ending at 4 GiB. */
struct kb_firmware {
	uint8_t *image; /* malloc'ed; caller frees */
	size_t size;
};

/*
 * Loads cfg->guest into the RAM regions on mem according to cfg->guest_format; tables: what kernels are told of the
 * machine. Nothing is written when the file or its surroundings are refused. For KVMBOX_GUEST_RESET it only reads the file
 * into *firmware (otherwise left zeroed). Errors carry the path and what to do:
 * -ENOENT, -EACCES, -EISDIR, -EINVAL: guest or initrd cannot be opened, or are no files;
 * -ENOEXEC: of no known kind, truncated, corrupt, for another machine, compressed, too old, not executable as it is;
 * -ENOSPC: it, or the initrd, does not fit into RAM: names addresses and the RAM size;
 * -EADDRINUSE: it covers the boot area or the firmware tables;
 * -E2BIG: the command line is longer than the kernel takes; -ENOTSUP: the kernel requires what the box does not have;
 * -EINVAL: firmware size not a multiple of 4 KiB, > 16 MiB or < 4 KiB; entry outside the image; initrd or cmdline without
 * a kernel that takes them.
 */
int kb_load_guest(struct kb_bus *mem, const struct kvmbox_config *cfg, const struct kb_tables_config *tables,
		  struct kb_boot *boot, struct kb_firmware *firmware, struct kvmbox_error *err);

#endif
