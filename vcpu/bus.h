/*
 * An address space of the box: MMIO (guest physical) or port I/O.
 *
 * Regions are kept sorted; a lookup is a binary search behind a last-hit
 * cache and allocates nothing. A region never straddles another. An access
 * that leaves its region, is unaligned, or is wider than the region takes is
 * split into naturally aligned pieces, lowest address first, as a PC's bridges
 * would (the pieces are separate bus cycles). Bytes nobody decodes read as
 * ones, writes to them are dropped (PCI master abort), both are counted.
 *
 * Not thread-safe: used on the box's thread only.
 */
#ifndef KB_BUS_H
#define KB_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vcpu/error.h"

/* off: from the region's base; len: 1, 2, 4 or 8; value: little endian, zero-extended. */
typedef uint64_t (*kb_read_fn)(void *opaque, uint64_t off, unsigned len);
typedef void (*kb_write_fn)(void *opaque, uint64_t off, unsigned len, uint64_t value);

/* Owned by whoever adds it; must stay in place until removed. Set up before kb_bus_add. */
struct kb_region {
	const char *name;  /* for messages; must outlive the region */
	uint64_t base;
	uint64_t size;     /* bytes, not 0; base + size must not wrap */
	unsigned max_len;  /* widest access passed on: 1, 2, 4 or 8 (0 means 8) */
	kb_read_fn read;   /* NULL: reads as ones */
	kb_write_fn write; /* NULL: writes are dropped */
	void *opaque;
	uint8_t *host;     /* RAM/ROM: the bytes themselves; callbacks unused */
	bool readonly;     /* ROM: writes through the bus are dropped */
};

struct kb_bus {
	const char *name;          /* "memory" or "port" */
	uint64_t limit;            /* highest address */
	struct kb_region **regions; /* sorted by base */
	size_t count, capacity;
	struct kb_region *last;    /* last hit, never stale */
	uint64_t unassigned_reads, unassigned_writes; /* accesses nobody decoded */
};

/* limit: highest valid address (0xffff for ports). name must outlive the bus. */
void kb_bus_init(struct kb_bus *bus, const char *name, uint64_t limit);
/* Frees the table; the regions stay their owners'. */
void kb_bus_destroy(struct kb_bus *bus);

/*
 * -EINVAL: size 0, wraps or above the limit. -EEXIST: overlaps; the message
 * names both regions. -ENOMEM.
 */
int kb_bus_add(struct kb_bus *bus, struct kb_region *region, struct kvmbox_error *err);
/* Removing a region that is not on the bus does nothing. */
void kb_bus_remove(struct kb_bus *bus, struct kb_region *region);

/* The region that decodes addr, or NULL. */
struct kb_region *kb_bus_find(struct kb_bus *bus, uint64_t addr);
/* Any region that shares a byte with [base, base + size), or NULL. size not 0, no wrap. */
struct kb_region *kb_bus_overlap(struct kb_bus *bus, uint64_t base, uint64_t size);

/* One guest access of any length, unaligned and across regions allowed; little endian bytes in buf. */
void kb_bus_read(struct kb_bus *bus, uint64_t addr, void *buf, size_t len);
void kb_bus_write(struct kb_bus *bus, uint64_t addr, const void *buf, size_t len);

#endif
