/* The guest's file and the way into its RAM: see loader_image.h. */
#include "platforms/loader_image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platforms/tables.h"
#include "vcpu/error.h"

/* Above this a program may meet the PCI hole, and more RAM would not help. */
#define LOW_RAM_MAX (2ull << 30)

static int check_file(struct kb_image *image, struct kvmbox_error *err)
{
	struct stat st;

	if (fstat(image->fd, &st) < 0)
		return kb_fail(err, errno, "cannot look at it: %s", strerror(errno));
	if (S_ISDIR(st.st_mode))
		return kb_fail(err, EISDIR, "is a directory; give the path of a program file");
	if (!S_ISREG(st.st_mode))
		return kb_fail(err, EINVAL, "is not a regular file (a pipe, socket or device); copy it into a file first");
	image->size = (uint64_t)st.st_size;
	return 0;
}

int kb_image_open(struct kb_image *image, const char *path, struct kvmbox_error *err)
{
	int rc;

	/* O_NONBLOCK: a FIFO without a writer must not hang us; it means nothing to regular files. */
	image->fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (image->fd < 0) {
		rc = errno;
		return kb_fail(err, rc, "cannot open it: %s; check the path and the file's permissions", strerror(rc));
	}
	rc = check_file(image, err);
	if (rc)
		kb_image_close(image);
	return rc;
}

void kb_image_close(struct kb_image *image)
{
	close(image->fd);
	image->fd = -1;
}

int kb_image_read(const struct kb_image *image, uint64_t off, void *buf, uint64_t len, struct kvmbox_error *err)
{
	uint8_t *p = buf;

	if (off > image->size || len > image->size - off)
		return kb_fail(err, ENOEXEC,
			       "the file is truncated: 0x%" PRIx64 " bytes at 0x%" PRIx64 " are needed, it has 0x%" PRIx64,
			       len, off, image->size);
	while (len) {
		ssize_t n = pread(image->fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return kb_fail(err, errno, "cannot read it: %s", strerror(errno));
		if (n == 0)
			return kb_fail(err, ENOEXEC, "the file was truncated while it was read");
		p += n;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static bool is_ram(const struct kb_region *r)
{
	return r && r->host && !r->readonly;
}

static void ram_extent(const struct kb_bus *mem, uint64_t *bytes, uint64_t *last)
{
	size_t i;

	*bytes = *last = 0;
	for (i = 0; i < mem->count; i++) {
		const struct kb_region *r = mem->regions[i];

		if (!is_ram(r))
			continue;
		*bytes += r->size;
		*last = r->base + (r->size - 1);
	}
}

/* at: the first address of [addr, last] that is not RAM. */
static int not_ram(struct kb_bus *mem, const char *what, uint64_t addr, uint64_t last, uint64_t at,
		   struct kvmbox_error *err)
{
	const struct kb_region *r = kb_bus_find(mem, at);
	uint64_t ram, ram_last;

	ram_extent(mem, &ram, &ram_last);
	if (r)
		return kb_fail(err, ENOSPC,
			       "%s (0x%" PRIx64 "-0x%" PRIx64 ") covers %s at 0x%" PRIx64 ", which is not RAM; link or load it elsewhere",
			       what, addr, last, r->name, r->base);
	if (ram && at < ram_last)
		return kb_fail(err, ENOSPC,
			       "%s (0x%" PRIx64 "-0x%" PRIx64 ") reaches into the hole between RAM regions at 0x%" PRIx64 "; link or load it elsewhere",
			       what, addr, last, at);
	if (last >= LOW_RAM_MAX)
		return kb_fail(err, ENOSPC,
			       "%s (0x%" PRIx64 "-0x%" PRIx64 ") lies outside the guest's RAM (0x%" PRIx64 " bytes, last address 0x%" PRIx64 "); link or load it below 2 GiB",
			       what, addr, last, ram, ram_last);
	return kb_fail(err, ENOSPC,
		       "%s (0x%" PRIx64 "-0x%" PRIx64 ") needs %" PRIu64 "M of RAM, the guest has %" PRIu64 "K (last address 0x%" PRIx64 "); say ram=%" PRIu64 "M or more",
		       what, addr, last, (last >> 20) + 1, ram >> 10, ram_last, (last >> 20) + 1);
}

/* RAM it is; does the box itself write there before the guest starts? */
static int not_taken(const char *what, uint64_t addr, uint64_t last, struct kvmbox_error *err)
{
	const char *area = kb_tables_overlap(addr, last);

	return area ? kb_fail(err, EADDRINUSE,
			      "%s (0x%" PRIx64 "-0x%" PRIx64 ") covers %s; link or load it elsewhere, 0x100000 is usual",
			      what, addr, last, area) : 0;
}

int kb_image_check_range(struct kb_bus *mem, const char *what, uint64_t addr, uint64_t size,
			 struct kvmbox_error *err)
{
	uint64_t last, at = addr;

	if (__builtin_add_overflow(addr, size - 1, &last))
		return kb_fail(err, ENOEXEC, "%s wraps: 0x%" PRIx64 " bytes at 0x%" PRIx64, what, size, addr);
	if (addr < KB_BOOT_AREA_BASE + KB_BOOT_AREA_SIZE && last >= KB_BOOT_AREA_BASE)
		return kb_fail(err, EADDRINUSE,
			       "%s (0x%" PRIx64 "-0x%" PRIx64 ") covers 0x%x-0x%x, where the box keeps what the CPU starts with: GDT, page tables, boot information; link or load it elsewhere, 0x100000 is usual",
			       what, addr, last, KB_BOOT_AREA_BASE, KB_BOOT_AREA_BASE + KB_BOOT_AREA_SIZE - 1);
	for (;;) {
		const struct kb_region *r = kb_bus_find(mem, at);

		if (!is_ram(r))
			return not_ram(mem, what, addr, last, at, err);
		if (last - r->base < r->size)
			return not_taken(what, addr, last, err);
		at = r->base + (r->size - 1);
		if (at++ == UINT64_MAX)
			return not_taken(what, addr, last, err);
	}
}

int kb_image_load(const struct kb_image *image, struct kb_bus *mem, uint64_t addr, uint64_t size,
		  uint64_t off, uint64_t len, struct kvmbox_error *err)
{
	while (size) {
		const struct kb_region *r = kb_bus_find(mem, addr);
		uint64_t room = r->size - (addr - r->base);
		uint64_t n = room < size ? room : size;
		uint64_t copied = n < len ? n : len;
		int rc = copied ? kb_image_read(image, off, r->host + (addr - r->base), copied, err) : 0;

		if (rc)
			return rc;
		memset(r->host + (addr - r->base) + copied, 0, n - copied);
		addr += n;
		size -= n;
		off += copied;
		len -= copied;
	}
	return 0;
}
