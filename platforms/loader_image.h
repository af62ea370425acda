/*
 * What the loaders of the guest formats share: the opened file, and the way
 * from it into guest RAM. Messages come without the file's name; the caller,
 * kb_load_guest(), puts it before them.
 */
#ifndef KB_LOADER_IMAGE_H
#define KB_LOADER_IMAGE_H

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

/* The formats. */
int kb_load_elf(const struct kb_image *image, struct kb_bus *mem, struct kb_boot *boot, struct kvmbox_error *err);
int kb_load_flat(const struct kb_image *image, struct kb_bus *mem, const struct kvmbox_config *cfg,
		 struct kb_boot *boot, struct kvmbox_error *err);
int kb_load_reset(const struct kb_image *image, struct kb_boot *boot, struct kb_firmware *firmware,
		  struct kvmbox_error *err);

#endif
