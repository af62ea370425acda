/* An address space of the box: see bus.h. */
#include "vcpu/bus.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void kb_bus_init(struct kb_bus *bus, const char *name, uint64_t limit)
{
	*bus = (struct kb_bus){ .name = name, .limit = limit };
}

void kb_bus_destroy(struct kb_bus *bus)
{
	free(bus->regions);
	*bus = (struct kb_bus){ 0 };
}

/* Index of the first region whose end lies above addr; count if none. */
static size_t first_above(const struct kb_bus *bus, uint64_t addr)
{
	size_t lo = 0, hi = bus->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct kb_region *r = bus->regions[mid];

		if (addr - r->base < r->size || addr < r->base)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

struct kb_region *kb_bus_overlap(struct kb_bus *bus, uint64_t base, uint64_t size)
{
	size_t i = first_above(bus, base);

	if (i < bus->count && bus->regions[i]->base <= base + (size - 1))
		return bus->regions[i];
	return NULL;
}

static int check_range(const struct kb_bus *bus, const struct kb_region *r, struct kvmbox_error *err)
{
	if (r->size == 0)
		return kb_fail(err, EINVAL, "%s region %s at 0x%" PRIx64 " has size 0",
			       bus->name, r->name, r->base);
	if (r->size - 1 > UINT64_MAX - r->base || r->base + (r->size - 1) > bus->limit)
		return kb_fail(err, EINVAL,
			       "%s region %s at 0x%" PRIx64 ", 0x%" PRIx64 " bytes, reaches beyond the %s space (last address 0x%" PRIx64 ")",
			       bus->name, r->name, r->base, r->size, bus->name, bus->limit);
	return 0;
}

int kb_bus_add(struct kb_bus *bus, struct kb_region *region, struct kvmbox_error *err)
{
	struct kb_region *other;
	size_t at;
	int rc = check_range(bus, region, err);

	if (rc)
		return rc;
	other = kb_bus_overlap(bus, region->base, region->size);
	if (other)
		return kb_fail(err, EEXIST,
			       "%s region %s (0x%" PRIx64 "-0x%" PRIx64 ") overlaps %s (0x%" PRIx64 "-0x%" PRIx64 "); move or shrink one of them",
			       bus->name, region->name, region->base, region->base + (region->size - 1),
			       other->name, other->base, other->base + (other->size - 1));
	if (bus->count == bus->capacity) {
		size_t capacity = bus->capacity ? bus->capacity * 2 : 16;
		struct kb_region **regions = realloc(bus->regions, capacity * sizeof(*regions));

		if (!regions)
			return kb_fail(err, ENOMEM, "out of memory adding %s region %s", bus->name, region->name);
		bus->regions = regions;
		bus->capacity = capacity;
	}
	at = first_above(bus, region->base);
	memmove(&bus->regions[at + 1], &bus->regions[at], (bus->count - at) * sizeof(*bus->regions));
	bus->regions[at] = region;
	bus->count++;
	return 0;
}

void kb_bus_remove(struct kb_bus *bus, struct kb_region *region)
{
	size_t i;

	for (i = 0; i < bus->count && bus->regions[i] != region; i++)
		;
	if (i == bus->count)
		return;
	bus->count--;
	memmove(&bus->regions[i], &bus->regions[i + 1], (bus->count - i) * sizeof(*bus->regions));
	if (bus->last == region)
		bus->last = NULL;
}

struct kb_region *kb_bus_find(struct kb_bus *bus, uint64_t addr)
{
	struct kb_region *r = bus->last;
	size_t i;

	if (r && addr - r->base < r->size)
		return r;
	i = first_above(bus, addr);
	if (i == bus->count || addr < bus->regions[i]->base)
		return NULL;
	return bus->last = bus->regions[i];
}

/* Bytes from addr to the end of what decodes it: the region, or the gap before the next one. */
static uint64_t run_length(struct kb_bus *bus, const struct kb_region *r, uint64_t addr)
{
	size_t i;

	if (r)
		return r->size - (addr - r->base);
	i = first_above(bus, addr);
	return i < bus->count ? bus->regions[i]->base - addr : UINT64_MAX;
}

/* Longest naturally aligned power of two at addr, not above len, avail and max. */
static unsigned piece_len(uint64_t addr, size_t len, uint64_t avail, unsigned max)
{
	unsigned n = max ? max : 8;

	while (n > len || n > avail || (addr & (n - 1)))
		n /= 2;
	return n;
}

static uint64_t load_le(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	memcpy(&v, p, n);
	return v;
}

void kb_bus_read(struct kb_bus *bus, uint64_t addr, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		struct kb_region *r = kb_bus_find(bus, addr);
		uint64_t avail = run_length(bus, r, addr);
		size_t n;

		if (!r) {
			n = avail < len ? (size_t)avail : len;
			memset(p, 0xff, n);
			bus->unassigned_reads++;
		} else if (r->host) {
			n = avail < len ? (size_t)avail : len;
			memcpy(p, r->host + (addr - r->base), n);
		} else {
			uint64_t v;

			n = piece_len(addr - r->base, len, avail, r->max_len);
			v = r->read ? r->read(r->opaque, addr - r->base, (unsigned)n) : UINT64_MAX;
			memcpy(p, &v, n);
		}
		p += n;
		addr += n;
		len -= n;
	}
}

void kb_bus_write(struct kb_bus *bus, uint64_t addr, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	while (len) {
		struct kb_region *r = kb_bus_find(bus, addr);
		uint64_t avail = run_length(bus, r, addr);
		size_t n;

		if (!r) {
			n = avail < len ? (size_t)avail : len;
			bus->unassigned_writes++;
		} else if (r->host) {
			n = avail < len ? (size_t)avail : len;
			if (!r->readonly)
				memcpy(r->host + (addr - r->base), p, n);
		} else {
			n = piece_len(addr - r->base, len, avail, r->max_len);
			if (r->write)
				r->write(r->opaque, addr - r->base, (unsigned)n, load_le(p, (unsigned)n));
		}
		p += n;
		addr += n;
		len -= n;
	}
}
