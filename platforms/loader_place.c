/* Where the parts of a kernel go in RAM: see loader_place.h. */
#include "platforms/loader_place.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "platforms/boot.h"
#include "vcpu/error.h"

#define PAGE 0x1000u
#define HIGH_RAM 0x100000u

void kb_place_init(struct kb_place *place, struct kb_bus *mem, const struct kb_tables_config *tables)
{
	*place = (struct kb_place){ .mem = mem };
	place->ranges = kb_tables_memory_map(tables, place->map);
}

int kb_place_take(struct kb_place *place, const char *what, uint64_t addr, uint64_t size, struct kvmbox_error *err)
{
	int rc = kb_image_check_range(place->mem, what, addr, size, err);

	if (rc)
		return rc;
	if (place->count == KB_PLACE_MAX)
		return kb_fail(err, ENOSPC, "has more than %u parts", KB_PLACE_MAX);
	place->taken[place->count].base = addr;
	place->taken[place->count++].last = addr + (size - 1);
	return 0;
}

int kb_place_take_elf(struct kb_place *place, const struct kb_elf *elf, struct kvmbox_error *err)
{
	unsigned i;
	int rc = 0;

	for (i = 0; !rc && i < elf->count; i++)
		rc = kb_place_take(place, "a segment", elf->segments[i].addr, elf->segments[i].size, err);
	return rc;
}

/* The lowest of what is taken in [addr, last]: below it there may be room. False: it is free. */
static bool lowest_taken(const struct kb_place *place, uint64_t addr, uint64_t last, uint64_t *base)
{
	bool found = false;
	unsigned i;

	for (i = 0; i < place->count; i++) {
		if (place->taken[i].base > last || place->taken[i].last < addr)
			continue;
		if (!found || place->taken[i].base < *base)
			*base = place->taken[i].base;
		found = true;
	}
	return found;
}

static bool high_in(const struct kb_place *place, uint64_t base, uint64_t last, uint64_t size, uint64_t *addr)
{
	while (last >= base && last - base >= size - 1) {
		*addr = (last - (size - 1)) & ~(uint64_t)(PAGE - 1);
		if (*addr < base)
			return false;
		if (!lowest_taken(place, *addr, *addr + (size - 1), &last))
			return true;
		if (last-- == 0)
			return false;
	}
	return false;
}

bool kb_place_high(const struct kb_place *place, uint64_t size, uint64_t last, uint64_t *addr)
{
	unsigned i = place->ranges;

	while (i--) {
		const struct kb_memory_range *r = &place->map[i];
		uint64_t end = r->base + (r->size - 1);

		if (r->type == KB_MEMORY_RAM && r->base >= HIGH_RAM &&
		    high_in(place, r->base, end < last ? end : last, size, addr))
			return true;
	}
	return false;
}

/* ---- initial RAM disk ---------------------------------------------------------- */

/* For a message: the size kb_place_high() would still find a place for. */
static uint64_t largest(const struct kb_place *place, uint64_t last)
{
	uint64_t size = 0, bit, addr;

	for (bit = 1ull << 40; bit; bit >>= 1)
		if (kb_place_high(place, size | bit, last, &addr))
			size |= bit;
	return size;
}

static int find(struct kb_initrd *initrd, struct kb_place *place, uint64_t last, struct kvmbox_error *err)
{
	const uint64_t size = initrd->image.size;

	if (size == 0)
		return kb_fail(err, EINVAL, "the file is empty");
	if (!kb_place_high(place, size, last, &initrd->addr))
		return kb_fail(err, ENOSPC,
			       "its %" PRIu64 " bytes (%" PRIu64 "M) do not fit: beside the kernel, and up to 0x%" PRIx64 " as the kernel allows, %" PRIu64 " bytes are free; say more ram=",
			       size, (size + 0xfffff) >> 20, last, largest(place, last));
	initrd->size = size;
	return kb_place_take(place, "initrd", initrd->addr, size, err);
}

int kb_initrd_place(struct kb_initrd *initrd, struct kb_place *place, const char *path, uint64_t last,
		    struct kvmbox_error *err)
{
	int rc;

	if (!path || !*path)
		return 0;
	rc = kb_image_open(&initrd->image, path, err);
	if (!rc) {
		initrd->opened = true;
		rc = find(initrd, place, last, err);
	}
	return rc ? kb_fail_in(err, rc, "initrd %s", kb_short_path(path)) : 0;
}

int kb_initrd_load(const struct kb_initrd *initrd, struct kb_bus *mem, const char *path, struct kvmbox_error *err)
{
	int rc = initrd->size ? kb_image_load(&initrd->image, mem, initrd->addr, initrd->size, 0, initrd->size, err) : 0;

	return rc ? kb_fail_in(err, rc, "initrd %s", kb_short_path(path)) : 0;
}

void kb_initrd_close(struct kb_initrd *initrd)
{
	if (initrd->opened)
		kb_image_close(&initrd->image);
	initrd->opened = false;
}

/* ---- command line --------------------------------------------------------------- */

int kb_cmdline_check(const char *cmdline, uint64_t max, struct kvmbox_error *err)
{
	size_t len = cmdline ? strlen(cmdline) : 0;

	if (max > KB_CMDLINE_MAX)
		max = KB_CMDLINE_MAX;
	if (len > max)
		return kb_fail(err, E2BIG, "the command line is %zu bytes long; the limit here is %" PRIu64, len, max);
	return 0;
}

void kb_cmdline_write(struct kb_bus *mem, const char *cmdline)
{
	if (!cmdline)
		cmdline = "";
	kb_bus_write(mem, KB_BOOT_CMDLINE, cmdline, strlen(cmdline) + 1);
}
