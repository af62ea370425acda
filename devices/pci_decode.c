/*
 * BARs on the memory and port buses (PCI 3.0, 6.2.5). See pci.h.
 *
 * Whenever registers change, the function's BARs are compared with what they
 * wanted before; only if one differs it leaves the bus, and then every BAR
 * that waits for its place is tried again, lowest function and BAR first.
 */
#include <inttypes.h>
#include <stdio.h>

#include "devices/pci_internal.h"

unsigned kb_pci_bar_register(unsigned bar)
{
	return bar == KB_PCI_ROM_BAR ? KB_PCI_ROM_ADDRESS : KB_PCI_BAR0 + 4 * bar;
}

struct kb_bus *kb_pci_bar_space(const struct kb_pci_bar *bar)
{
	return bar->io ? bar->function->bus->cfg.io : bar->function->bus->cfg.mem;
}

uint64_t kb_pci_bar_get(const struct kb_pci_bar *bar)
{
	unsigned off = kb_pci_bar_register(bar->index);
	uint64_t address = kb_pci_get32(bar->function->config, off);

	if (bar->is64)
		address |= (uint64_t)kb_pci_get32(bar->function->config, off + 4) << 32;
	return address & ~(bar->size - 1); /* the flags lie below any size */
}

/* Address bits of the low register. */
static uint64_t low_bits(const struct kb_pci_bar *bar)
{
	return (bar->io ? 0xffffu : 0xffffffffu) & ~(bar->size - 1);
}

bool kb_pci_bar_sizing(const struct kb_pci_bar *bar, uint64_t address)
{
	return address == low_bits(bar) || (bar->is64 && address == ~(bar->size - 1));
}

/* One half of a 64-bit BAR is being sized: nobody means that address. */
static bool half_sized(const struct kb_pci_bar *bar)
{
	uint64_t low = low_bits(bar);

	return bar->is64 && ((low && (uint32_t)bar->address == low) ||
			     bar->address >> 32 == ~(bar->size - 1) >> 32);
}

static bool enabled(const struct kb_pci_bar *bar)
{
	const struct kb_pci_function *f = bar->function;

	if (!bar->size || !kb_pci_powered(f))
		return false;
	if (bar->index == KB_PCI_ROM_BAR && !(f->config[KB_PCI_ROM_ADDRESS] & KB_PCI_ROM_ENABLE))
		return false;
	return kb_pci_function_command(f) & (bar->io ? KB_PCI_COMMAND_IO : KB_PCI_COMMAND_MEMORY);
}

void kb_pci_bar_remove(struct kb_pci_bar *bar)
{
	if (bar->decoded)
		kb_bus_remove(kb_pci_bar_space(bar), &bar->region);
	bar->decoded = false;
}

static void report(struct kb_pci_bar *bar, const struct kb_region *other)
{
	struct kb_pci_bus *bus = bar->function->bus;
	const struct kb_bus *space = kb_pci_bar_space(bar);
	uint64_t last = bar->address + (bar->size - 1);
	char why[192];

	if (bar->reported)
		return;
	bar->reported = true;
	if (half_sized(bar) || !kb_log_ratelimit(&bus->misplaced))
		return;
	if (other)
		snprintf(why, sizeof(why), "overlaps %.100s (0x%" PRIx64 "-0x%" PRIx64 ")", other->name,
			 other->base, other->base + (other->size - 1));
	else if (bar->address == 0)
		snprintf(why, sizeof(why), "has no address");
	else if (last > space->limit)
		snprintf(why, sizeof(why), "reaches beyond the %s space (last address 0x%" PRIx64 ")",
			 space->name, space->limit);
	else
		snprintf(why, sizeof(why), "found no memory for its region");
	kb_logf(bus->cfg.log, KVMBOX_LOG_WARNING,
	       "PCI %02x.%x: %s (0x%" PRIx64 "-0x%" PRIx64 ") %s and is not decoded (%lu such BARs so far)",
	       bar->function->devfn >> 3, bar->function->devfn & 7, bar->label, bar->address, last, why,
	       bus->misplaced);
}

/* address is a multiple of size, so its end does not wrap. */
static void place(struct kb_pci_bar *bar)
{
	struct kb_bus *space = kb_pci_bar_space(bar);
	struct kb_region *other = NULL;

	if (bar->address != 0 && bar->address + (bar->size - 1) <= space->limit) {
		other = kb_bus_overlap(space, bar->address, bar->size);
		if (!other) {
			bar->region.base = bar->address;
			bar->decoded = kb_bus_add(space, &bar->region, NULL) == 0;
		}
	}
	if (!bar->decoded)
		report(bar, other);
}

void kb_pci_bus_redecode(struct kb_pci_bus *bus)
{
	for (unsigned i = 0; i < KB_PCI_FUNCTIONS; i++) {
		struct kb_pci_function *f = bus->function[i];

		for (unsigned b = 0; f && b < KB_PCI_BARS; b++)
			if (f->bar[b].wanted && !f->bar[b].decoded)
				place(&f->bar[b]);
	}
}

/* Takes a BAR off the bus if it shall be elsewhere, or nowhere; says whether its wish has changed. */
static bool update_bar(struct kb_pci_bar *bar)
{
	bool wanted = enabled(bar);
	uint64_t address = wanted ? kb_pci_bar_get(bar) : 0;

	if (wanted && kb_pci_bar_sizing(bar, address))
		wanted = false;
	if (wanted == bar->wanted && (!wanted || address == bar->address))
		return false;
	kb_pci_bar_remove(bar);
	bar->wanted = wanted;
	bar->address = address;
	bar->reported = false;
	return true;
}

static bool update_bars(struct kb_pci_function *f)
{
	bool changed = false;

	for (unsigned i = 0; i < KB_PCI_BARS; i++)
		changed |= update_bar(&f->bar[i]);
	return changed;
}

void kb_pci_decode_update(struct kb_pci_function *f)
{
	if (update_bars(f))
		kb_pci_bus_redecode(f->bus);
}

void kb_pci_decode_update_all(struct kb_pci_bus *bus)
{
	bool changed = false;

	for (unsigned i = 0; i < KB_PCI_FUNCTIONS; i++)
		if (bus->function[i])
			changed |= update_bars(bus->function[i]);
	if (changed)
		kb_pci_bus_redecode(bus);
}

bool kb_pci_bar_address(const struct kb_pci_function *f, unsigned bar, uint64_t *address)
{
	if (bar >= KB_PCI_BARS || !f->bar[bar].decoded)
		return false;
	*address = f->bar[bar].region.base;
	return true;
}

/*
 * Only a BAR with an MSI-X table takes wider cycles than its device does: the
 * device's are split here. If a cycle moves the BAR the rest hits nothing.
 */
static uint64_t read_split(struct kb_pci_bar *bar, uint64_t off, unsigned len)
{
	struct kb_pci_function *f = bar->function;
	uint64_t base = bar->region.base, value = UINT64_MAX;

	for (unsigned i = 0; i < len; i += f->max_access) {
		uint64_t part, mask;

		if (!bar->decoded || bar->region.base != base)
			break;
		mask = (UINT64_MAX >> (64 - 8 * f->max_access)) << 8 * i;
		part = f->ops->read(f->opaque, bar->index, off + i, f->max_access) << 8 * i;
		value = (value & ~mask) | (part & mask);
	}
	return value;
}

static void write_split(struct kb_pci_bar *bar, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_pci_function *f = bar->function;
	uint64_t base = bar->region.base, mask = UINT64_MAX >> (64 - 8 * f->max_access);

	for (unsigned i = 0; i < len; i += f->max_access) {
		if (!bar->decoded || bar->region.base != base)
			break;
		f->ops->write(f->opaque, bar->index, off + i, f->max_access, value >> 8 * i & mask);
	}
}

static uint64_t read_bar(void *opaque, uint64_t off, unsigned len)
{
	struct kb_pci_bar *bar = opaque;
	struct kb_pci_function *f = bar->function;

	if (kb_pci_msix_hit(f, bar->index, off)) {
		kb_pci_push(f);
		return kb_pci_msix_read(f, off, len);
	}
	if (!f->ops->read)
		return UINT64_MAX;
	if (len > f->max_access)
		return read_split(bar, off, len);
	return f->ops->read(f->opaque, bar->index, off, len);
}

static void write_bar(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_pci_bar *bar = opaque;
	struct kb_pci_function *f = bar->function;

	if (kb_pci_msix_hit(f, bar->index, off)) {
		kb_pci_push(f);
		kb_pci_msix_write(f, off, len, value);
		return;
	}
	if (!f->ops->write)
		return;
	if (len > f->max_access)
		write_split(bar, off, len, value);
	else
		f->ops->write(f->opaque, bar->index, off, len, value);
}

/* Not a host region: nobody may keep pointers to what the guest can move. */
static uint64_t read_rom(void *opaque, uint64_t off, unsigned len)
{
	const struct kb_pci_bar *bar = opaque;
	uint64_t value = 0;

	memcpy(&value, bar->function->rom + off, len);
	return value;
}

void kb_pci_bar_init(struct kb_pci_bar *bar)
{
	const struct kb_pci_function *f = bar->function;
	bool rom = bar->index == KB_PCI_ROM_BAR;
	bool msix = f->msix.vectors && f->msix.bar == bar->index;

	if (rom)
		snprintf(bar->label, sizeof(bar->label), "%.50s ROM", f->name);
	else
		snprintf(bar->label, sizeof(bar->label), "%.50s BAR %u", f->name, bar->index);
	bar->region = (struct kb_region){
		.name = bar->label, .size = bar->size, .opaque = bar,
		.max_len = rom || msix ? 8 : f->max_access,
		.read = rom ? read_rom : read_bar, .write = rom ? NULL : write_bar,
	};
}
