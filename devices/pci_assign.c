/*
 * What firmware does before an operating system starts: an address for every
 * BAR (PCI 3.0, 6.2.5.1; PCI Firmware 3.0, chapter 3). See pci.h.
 *
 * First fit, largest first, on a bus of its own that holds what is planned; the
 * registers change only when everything has a place.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "devices/pci_internal.h"

struct planned {
	struct kb_pci_bar *bar;
	struct kb_region region;
};

struct plan {
	struct kb_bus mem, io;
	size_t count;
	struct planned bars[];
};

/* Goes to at a multiple of size; false if there is none. */
static bool align(uint64_t *at, uint64_t size)
{
	if (*at > UINT64_MAX - (size - 1))
		return false;
	*at = (*at + (size - 1)) & ~(size - 1);
	return true;
}

/* The lowest place for a BAR in [base, base + window) that is free on both buses. */
static bool find_room(struct kb_bus *planned, const struct kb_pci_bar *bar, uint64_t base, uint64_t window,
		      uint64_t *at)
{
	struct kb_bus *real = kb_pci_bar_space(bar);
	uint64_t end;

	if (!window)
		return false;
	end = window - 1 > UINT64_MAX - base ? UINT64_MAX : base + (window - 1);
	if (end > real->limit)
		end = real->limit;
	for (*at = base ? base : 1; align(at, bar->size) && *at <= end && bar->size - 1 <= end - *at;) {
		const struct kb_region *other = kb_bus_overlap(planned, *at, bar->size);
		uint64_t last;

		if (!other)
			other = kb_bus_overlap(real, *at, bar->size);
		if (!other && !kb_pci_bar_sizing(bar, *at))
			return true;
		last = other ? other->base + (other->size - 1) : *at + (bar->size - 1);
		if (last == UINT64_MAX)
			return false;
		*at = last + 1;
	}
	return false;
}

static bool place(struct plan *plan, struct planned *p)
{
	const struct kb_pci_bus_config *cfg = &p->bar->function->bus->cfg;
	uint64_t at;

	if (p->bar->io) {
		if (!find_room(&plan->io, p->bar, cfg->io_base, cfg->io_size, &at))
			return false;
	} else if (!find_room(&plan->mem, p->bar, cfg->mem32_base, cfg->mem32_size, &at)) {
		if (!p->bar->is64 || !find_room(&plan->mem, p->bar, cfg->mem64_base, cfg->mem64_size, &at))
			return false;
	}
	p->region.base = at;
	return true;
}

static int no_room(const struct planned *p, struct kvmbox_error *err)
{
	const struct kb_pci_function *f = p->bar->function;
	const struct kb_pci_bus_config *cfg = &f->bus->cfg;

	if (p->bar->io)
		return kb_fail(err, ENOSPC,
			       "PCI %02x.%x: no room for %s (%" PRIu64 " ports) in the I/O window (0x%x, 0x%x ports)",
			       f->devfn >> 3, f->devfn & 7, p->bar->label, p->bar->size, cfg->io_base, cfg->io_size);
	if (!p->bar->is64)
		return kb_fail(err, ENOSPC,
			       "PCI %02x.%x: no room for %s (0x%" PRIx64 " bytes) in the memory window below 4 GiB (0x%" PRIx64 ", 0x%" PRIx64 " bytes); make it smaller or is64",
			       f->devfn >> 3, f->devfn & 7, p->bar->label, p->bar->size, cfg->mem32_base,
			       cfg->mem32_size);
	return kb_fail(err, ENOSPC,
		       "PCI %02x.%x: no room for %s (0x%" PRIx64 " bytes) in the memory windows (0x%" PRIx64 ", 0x%" PRIx64 " bytes; 0x%" PRIx64 ", 0x%" PRIx64 " bytes)",
		       f->devfn >> 3, f->devfn & 7, p->bar->label, p->bar->size, cfg->mem32_base, cfg->mem32_size,
		       cfg->mem64_base, cfg->mem64_size);
}

/* Those that must lie below 4 GiB first, then by size, then by function and BAR. */
static int compare(const void *a, const void *b)
{
	const struct kb_pci_bar *x = ((const struct planned *)a)->bar, *y = ((const struct planned *)b)->bar;

	if (x->is64 != y->is64)
		return x->is64 ? 1 : -1;
	if (x->size != y->size)
		return x->size < y->size ? 1 : -1;
	if (x->function != y->function)
		return x->function->devfn < y->function->devfn ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

/* The BARs without an address go into the list, addresses that are not on the bus yet onto the planned one. */
static int collect(struct kb_pci_bus *bus, struct plan *plan, struct planned *taken)
{
	for (unsigned i = 0; i < KB_PCI_FUNCTIONS * KB_PCI_BARS; i++) {
		struct kb_pci_function *f = bus->function[i / KB_PCI_BARS];
		struct kb_pci_bar *bar = f ? &f->bar[i % KB_PCI_BARS] : NULL;
		struct planned p = { .bar = bar };

		if (!bar || !bar->size || bar->decoded)
			continue;
		p.region = (struct kb_region){ .name = bar->label, .base = kb_pci_bar_get(bar), .size = bar->size };
		if (!p.region.base) {
			plan->bars[plan->count++] = p;
			continue;
		}
		*taken = p;
		if (kb_bus_add(bar->io ? &plan->io : &plan->mem, &taken->region, NULL) == -ENOMEM)
			return -ENOMEM;
		taken++;
	}
	return 0;
}

static int make_plan(struct kb_pci_bus *bus, struct plan *plan, struct kvmbox_error *err)
{
	int rc = collect(bus, plan, plan->bars + KB_PCI_FUNCTIONS * KB_PCI_BARS);

	qsort(plan->bars, plan->count, sizeof(plan->bars[0]), compare);
	for (size_t i = 0; !rc && i < plan->count; i++) {
		struct planned *p = &plan->bars[i];

		if (!place(plan, p))
			return no_room(p, err);
		rc = kb_bus_add(p->bar->io ? &plan->io : &plan->mem, &p->region, NULL);
	}
	return rc ? kb_fail(err, ENOMEM, "out of memory assigning PCI addresses") : 0;
}

static void set_address(const struct planned *p)
{
	uint8_t *config = p->bar->function->config;
	unsigned off = kb_pci_bar_register(p->bar->index);

	kb_pci_set32(config, off, kb_pci_get32(config, off) | (uint32_t)p->region.base);
	if (p->bar->is64)
		kb_pci_set32(config, off + 4, (uint32_t)(p->region.base >> 32));
}

static void enable(struct kb_pci_function *f)
{
	unsigned command = kb_pci_function_command(f);

	for (unsigned i = 0; i < KB_PCI_BARS; i++)
		if (f->bar[i].size && i != KB_PCI_ROM_BAR)
			command |= f->bar[i].io ? KB_PCI_COMMAND_IO : KB_PCI_COMMAND_MEMORY;
	kb_pci_set16(f->config, KB_PCI_COMMAND, command);
}

static void carry_out(struct kb_pci_bus *bus, const struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		set_address(&plan->bars[i]);
	for (unsigned i = 0; i < KB_PCI_FUNCTIONS; i++)
		if (bus->function[i])
			enable(bus->function[i]);
	kb_pci_decode_update_all(bus);
	for (unsigned i = 0; i < KB_PCI_FUNCTIONS; i++)
		if (bus->function[i])
			kb_pci_function_update(bus->function[i]);
}

/* A guest asks function 0 first and takes its absence for the whole device's. */
static void warn_unreachable(const struct kb_pci_bus *bus)
{
	for (unsigned i = 0; i < KB_PCI_FUNCTIONS; i++)
		if (bus->function[i] && !bus->function[i & ~7u])
			kb_logf(bus->cfg.log, KVMBOX_LOG_WARNING,
			       "PCI %02x.%x (%s): guests will not find it, its device has no function 0", i >> 3, i & 7,
			       bus->function[i]->name);
}

int kb_pci_assign_bars(struct kb_pci_bus *bus, struct kvmbox_error *err)
{
	/* Two lists: those to place, and those that have their place. */
	size_t slots = 2 * KB_PCI_FUNCTIONS * KB_PCI_BARS;
	struct plan *plan = calloc(1, sizeof(*plan) + slots * sizeof(plan->bars[0]));
	int rc;

	if (!plan)
		return kb_fail(err, ENOMEM, "out of memory assigning PCI addresses");
	kb_bus_init(&plan->mem, "planned memory", UINT64_MAX);
	kb_bus_init(&plan->io, "planned port", UINT64_MAX);
	rc = make_plan(bus, plan, err);
	if (!rc) {
		carry_out(bus, plan);
		warn_unreachable(bus);
	}
	kb_bus_destroy(&plan->mem);
	kb_bus_destroy(&plan->io);
	free(plan);
	return rc;
}
