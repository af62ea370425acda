/*
 * What the loaders of the guest formats share: the opened file, and the way
 * from it into guest RAM. Messages come without the file's name; the caller,
 * kb_load_guest(), puts it before them.
 */
#ifndef KB_LOADER_IMAGE_H
#define KB_LOADER_IMAGE_H

#include <stdbool.h>

#include "platforms/loader.h"

struct kb_image {
	int fd;
	uint64_t size; /* bytes, at the time it was opened */
};

/* -ENOENT, -EACCES, ...: open; -EISDIR, -EINVAL: not a regular file. Close with kb_image_close(). */
int kb_image_open(struct kb_image *image, const char *path, struct kvmbox_error *err);
void kb_image_close(struct kb_image *image);

/* All of [off, off + len). -ENOEXEC: the file ends before; else the errno of the read. */
int kb_image_read(const struct kb_image *image, uint64_t off, void *buf, uint64_t len, struct kvmbox_error *err);

/*
 * May [addr, addr + size) be loaded? what ("segment 1") names it in messages.
 * size not 0. -ENOEXEC: wraps; -EADDRINUSE: covers the boot area or the firmware tables; -ENOSPC: not all RAM.
 */
int kb_image_check_range(struct kb_bus *mem, const char *what, uint64_t addr, uint64_t size,
			 struct kvmbox_error *err);
/* Copies len bytes at off of the file to addr and clears the rest of size; the range has been checked. */
int kb_image_load(const struct kb_image *image, struct kb_bus *mem, uint64_t addr, uint64_t size,
		  uint64_t off, uint64_t len, struct kvmbox_error *err);

/* The beginning of a file, and what it says the file is. */
#define KB_HEAD_MAX 0x8000u /* a multiboot 2 header lies within, one of version 1 in the first 8 KiB */
struct kb_head {
	unsigned len;
	uint8_t *bytes;        /* malloc'ed */
	unsigned multiboot;    /* version of the multiboot header in it; 0: none */
	unsigned multiboot_at;
};
/* Free it in any case. */
int kb_head_read(const struct kb_image *image, struct kb_head *head, struct kvmbox_error *err);
void kb_head_free(struct kb_head *head);
bool kb_head_is_elf(const struct kb_head *head);
bool kb_head_is_bzimage(const struct kb_head *head);
/* -ENOEXEC: it is what is known of such files, else just what ("not an ELF file"). */
int kb_head_refuse(const struct kb_head *head, const char *what, struct kvmbox_error *err);

/* The message has room for the end of a long path only. */
const char *kb_short_path(const char *path);

/* An ELF executable for this CPU, as its headers say. Linkers make a handful of segments; the bound keeps a broken file from costing time. */
#define KB_ELF_SEGMENTS_MAX 256

struct kb_elf_segment {
	unsigned index; /* of its program header */
	uint64_t addr, vaddr, size, off, len; /* addr: physical */
};

struct kb_elf {
	bool is64;
	uint64_t entry;
	bool pvh;           /* it has a PVH entry */
	uint64_t pvh_entry;
	bool is_linux;      /* it is a Linux kernel (its build salt note says so; Linux 4.20) */
	unsigned count;
	struct kb_elf_segment segments[KB_ELF_SEGMENTS_MAX];
	uint64_t shoff;     /* section headers, unchecked: their place in the file, number, size, index of the names */
	unsigned shnum, shentsize, shstrndx;
};

/* Headers and notes. -ENOEXEC: no ELF file, truncated, corrupt, not for this CPU, not executable as it is. */
int kb_elf_read(struct kb_elf *elf, const struct kb_image *image, struct kvmbox_error *err);
/* Are the segments' places free RAM, apart from one another, and does entry lie in one? */
int kb_elf_check(const struct kb_elf *elf, struct kb_bus *mem, uint64_t entry, struct kvmbox_error *err);
int kb_elf_load(const struct kb_elf *elf, const struct kb_image *image, struct kb_bus *mem, struct kvmbox_error *err);

/* The formats. */
int kb_load_elf(const struct kb_image *image, const struct kb_elf *elf, struct kb_bus *mem, struct kb_boot *boot,
		struct kvmbox_error *err);
int kb_load_vmlinux(const struct kb_image *image, const struct kb_elf *elf, struct kb_bus *mem,
		    const struct kvmbox_config *cfg, const struct kb_tables_config *tables, struct kb_boot *boot,
		    struct kvmbox_error *err);
/* Fills in head->multiboot. */
void kb_multiboot_find(struct kb_head *head);
int kb_load_multiboot(const struct kb_image *image, const struct kb_head *head, struct kb_bus *mem,
		      const struct kvmbox_config *cfg, const struct kb_tables_config *tables, struct kb_boot *boot,
		      struct kvmbox_error *err);
int kb_load_bzimage(const struct kb_image *image, struct kb_bus *mem, const struct kvmbox_config *cfg,
		    const struct kb_tables_config *tables, struct kb_boot *boot, struct kvmbox_error *err);
int kb_load_flat(const struct kb_image *image, struct kb_bus *mem, const struct kvmbox_config *cfg,
		 struct kb_boot *boot, struct kvmbox_error *err);
int kb_load_reset(const struct kb_image *image, struct kb_boot *boot, struct kb_firmware *firmware,
		  struct kvmbox_error *err);

#endif
