/*
 * What the loaders of kernels share: what in RAM is taken, the initial RAM disk, the command line. Nothing is written
 * before all of it has a place.
 */
#ifndef KB_LOADER_PLACE_H
#define KB_LOADER_PLACE_H

#include "platforms/loader_image.h"
#include "platforms/tables.h"

#define KB_PLACE_MAX (KB_ELF_SEGMENTS_MAX + 8)

struct kb_place {
	struct kb_bus *mem;
	struct kb_memory_range map[KB_MEMORY_RANGES_MAX]; /* as the guest is told */
	unsigned ranges;
	struct { uint64_t base, last; } taken[KB_PLACE_MAX];
	unsigned count;
};

void kb_place_init(struct kb_place *place, struct kb_bus *mem, const struct kb_tables_config *tables);
/* As kb_image_check_range(), and from now on it is taken. What is taken may overlap: the caller knows why. */
int kb_place_take(struct kb_place *place, const char *what, uint64_t addr, uint64_t size, struct kvmbox_error *err);
int kb_place_take_elf(struct kb_place *place, const struct kb_elf *elf, struct kvmbox_error *err);
/*
 * The highest free place in RAM above 1 MiB, page aligned, whose bytes are not above last. size not 0. False: none has the
 * size.
 */
bool kb_place_high(const struct kb_place *place, uint64_t size, uint64_t last, uint64_t *addr);

/* cfg->initrd. size 0: none is given. Begins as zeros; close in any case. */
struct kb_initrd {
	bool opened;
	struct kb_image image;
	uint64_t addr, size;
};
/* Opens it and finds it a place that reaches up to last at most. -ENOSPC with numbers; the errnos of kb_image_open(). */
int kb_initrd_place(struct kb_initrd *initrd, struct kb_place *place, const char *path, uint64_t last,
		    struct kvmbox_error *err);
int kb_initrd_load(const struct kb_initrd *initrd, struct kb_bus *mem, const char *path, struct kvmbox_error *err);
void kb_initrd_close(struct kb_initrd *initrd);

/* The longest command line there is room for, without its NUL. */
#define KB_CMDLINE_MAX (KB_BOOT_CMDLINE_SIZE - 1)
/* -E2BIG: longer than max bytes, or than there is room for. */
int kb_cmdline_check(const char *cmdline, uint64_t max, struct kvmbox_error *err);
/* To KB_BOOT_CMDLINE, with its NUL. NULL as "". */
void kb_cmdline_write(struct kb_bus *mem, const char *cmdline);

#endif
