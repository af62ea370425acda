/*
 * PCI functions: type-0 header, capability list, command, power state and INTx
 * (PCI 3.0, chapter 6 and 2.2.6; PM 1.2, chapter 3). See pci.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "devices/pci_internal.h"

#define MAX_ROM_SIZE (16u << 20) /* 6.2.5.2 */
#define MIN_ROM_SIZE 2048u
#define MAX_BAR32_SIZE (2ull << 30)

static const struct kb_pci_ops no_ops;

static bool power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

static uint32_t msix_table_size(const struct kb_pci_config *cfg)
{
	return cfg->msix_vectors * KB_PCI_MSIX_ENTRY_SIZE;
}

static uint32_t msix_pba_size(const struct kb_pci_config *cfg)
{
	return (cfg->msix_vectors + 63) / 64 * 8;
}

/* ---- is the configuration sound? ---------------------------------------- */

static int check_memory_bar(const struct kb_pci_bus *bus, const struct kb_pci_config *cfg, unsigned i,
			    struct kvmbox_error *err)
{
	const struct kb_pci_bar_config *bar = &cfg->bar[i];

	if (bar->size < 16)
		return kb_fail(err, EINVAL, "BAR %u: size %" PRIu64 " is too small, memory BARs have at least 16 bytes",
			       i, bar->size);
	if (!bar->is64 && bar->size > MAX_BAR32_SIZE)
		return kb_fail(err, EINVAL, "BAR %u: size 0x%" PRIx64 " does not fit in 32 bits (at most 2 GiB); set is64",
			       i, bar->size);
	if (bar->size - 1 > bus->cfg.mem->limit / 2)
		return kb_fail(err, EINVAL, "BAR %u: size 0x%" PRIx64 " is more than half of the %s space (last address 0x%" PRIx64 ")",
			       i, bar->size, bus->cfg.mem->name, bus->cfg.mem->limit);
	if (bar->is64 && (i == 5 || cfg->bar[i + 1].size))
		return kb_fail(err, EINVAL, "BAR %u: is64 takes BAR %u as its upper half, which must be free", i, i + 1);
	return 0;
}

static int check_io_bar(const struct kb_pci_config *cfg, unsigned i, struct kvmbox_error *err)
{
	const struct kb_pci_bar_config *bar = &cfg->bar[i];

	if (bar->size < 4 || bar->size > 256)
		return kb_fail(err, EINVAL, "BAR %u: size %" PRIu64 ", I/O BARs have 4 to 256 bytes", i, bar->size);
	if (bar->is64 || bar->prefetchable)
		return kb_fail(err, EINVAL, "BAR %u: an I/O BAR is neither is64 nor prefetchable", i);
	return 0;
}

static int check_bars(const struct kb_pci_bus *bus, const struct kb_pci_config *cfg, struct kvmbox_error *err)
{
	for (unsigned i = 0; i < 6; i++) {
		const struct kb_pci_bar_config *bar = &cfg->bar[i];
		int rc;

		if (!bar->size)
			continue;
		if (!power_of_two(bar->size))
			return kb_fail(err, EINVAL, "BAR %u: size 0x%" PRIx64 " is not a power of two", i, bar->size);
		rc = bar->io ? check_io_bar(cfg, i, err) : check_memory_bar(bus, cfg, i, err);
		if (rc)
			return rc;
	}
	return 0;
}

static int check_ids(const struct kb_pci_config *cfg, struct kvmbox_error *err)
{
	if (cfg->vendor == 0xffff)
		return kb_fail(err, EINVAL, "vendor 0xffff means \"no function\" to the guest");
	if (cfg->class_code > 0xffffff)
		return kb_fail(err, EINVAL, "class_code 0x%" PRIx32 " has more than 24 bits", cfg->class_code);
	if (cfg->max_access > 8 || (cfg->max_access && !power_of_two(cfg->max_access)))
		return kb_fail(err, EINVAL, "max_access %u is not 0, 1, 2, 4 or 8", cfg->max_access);
	if (cfg->intx_pin > 4)
		return kb_fail(err, EINVAL, "intx_pin %u is not 0 (none) or 1-4 (INTA-INTD)", cfg->intx_pin);
	if (cfg->msi_vectors > 32 || (cfg->msi_vectors && !power_of_two(cfg->msi_vectors)))
		return kb_fail(err, EINVAL, "msi_vectors %u is not 0 or a power of two up to 32", cfg->msi_vectors);
	if (!cfg->rom != !cfg->rom_size)
		return kb_fail(err, EINVAL, "rom and rom_size: set both or neither");
	if (cfg->rom_size > MAX_ROM_SIZE)
		return kb_fail(err, EINVAL, "rom_size %zu: an expansion ROM has at most 16 MiB", cfg->rom_size);
	return 0;
}

/* Where table and PBA go. */
static void msix_layout(const struct kb_pci_config *cfg, uint64_t *table, uint64_t *pba)
{
	*table = cfg->msix_table_offset;
	*pba = cfg->msix_pba_offset;
	if (*table || *pba)
		return;
	*table = (cfg->bar[cfg->msix_bar].size - msix_table_size(cfg) - msix_pba_size(cfg)) & ~15ull;
	*pba = *table + msix_table_size(cfg);
}

static int check_msix(const struct kb_pci_config *cfg, struct kvmbox_error *err)
{
	uint64_t table_size = msix_table_size(cfg), pba_size = msix_pba_size(cfg), size, table, pba;

	if (!cfg->msix_vectors)
		return 0;
	if (cfg->msix_vectors > 2048)
		return kb_fail(err, EINVAL, "msix_vectors %u, at most 2048", cfg->msix_vectors);
	if (cfg->msix_bar > 5 || !cfg->bar[cfg->msix_bar].size || cfg->bar[cfg->msix_bar].io)
		return kb_fail(err, EINVAL, "msix_bar %u is not a memory BAR", cfg->msix_bar);
	size = cfg->bar[cfg->msix_bar].size;
	if (table_size + pba_size > size)
		return kb_fail(err, EINVAL, "msix_vectors %u need 0x%" PRIx64 " bytes, BAR %u has 0x%" PRIx64,
			       cfg->msix_vectors, table_size + pba_size, cfg->msix_bar, size);
	msix_layout(cfg, &table, &pba);
	if (table % 8 || table + table_size > size)
		return kb_fail(err, EINVAL, "msix_table_offset 0x%" PRIx64 " is not a multiple of 8 or the table (0x%" PRIx64 " bytes) leaves BAR %u",
			       table, table_size, cfg->msix_bar);
	if (pba % 8 || pba + pba_size > size)
		return kb_fail(err, EINVAL, "msix_pba_offset 0x%" PRIx64 " is not a multiple of 8 or the PBA (0x%" PRIx64 " bytes) leaves BAR %u",
			       pba, pba_size, cfg->msix_bar);
	if (table < pba + pba_size && pba < table + table_size)
		return kb_fail(err, EINVAL, "msix_table_offset 0x%" PRIx64 " and msix_pba_offset 0x%" PRIx64 ": table and PBA overlap",
			       table, pba);
	return 0;
}

static int check_caps(const struct kb_pci_config *cfg, struct kvmbox_error *err)
{
	const unsigned room = KB_PCI_CONFIG_SIZE - KB_PCI_HEADER_END;
	unsigned others = 0;

	if (cfg->power_management)
		others += KB_PCI_PM_SIZE;
	if (cfg->msi_vectors)
		others += KB_PCI_MSI_SIZE;
	if (cfg->msix_vectors)
		others += KB_PCI_MSIX_SIZE;
	if (!cfg->vendor_cap && cfg->vendor_cap_len)
		return kb_fail(err, EINVAL, "vendor_cap_len %u without vendor_cap", cfg->vendor_cap_len);
	if (cfg->vendor_cap && (cfg->vendor_cap_len > room || ((cfg->vendor_cap_len + 3 + 3) & ~3u) > room - others))
		return kb_fail(err, EINVAL, "vendor_cap_len %u: configuration space has room for %u bytes",
			       cfg->vendor_cap_len, room - others - 3);
	return 0;
}

static int check_config(const struct kb_pci_bus *bus, const struct kb_pci_config *cfg, struct kvmbox_error *err)
{
	int rc = check_ids(cfg, err);

	if (!rc)
		rc = check_bars(bus, cfg, err);
	if (!rc)
		rc = check_msix(cfg, err);
	return rc ? rc : check_caps(cfg, err);
}

static bool device_empty(const struct kb_pci_bus *bus, unsigned slot)
{
	for (unsigned fn = 0; fn < 8; fn++)
		if (bus->function[slot << 3 | fn])
			return false;
	return true;
}

static int choose_devfn(const struct kb_pci_bus *bus, const struct kb_pci_config *cfg, unsigned *devfn,
			struct kvmbox_error *err)
{
	unsigned slot = 0;

	if (cfg->slot < -1 || cfg->slot > 31 || cfg->fn < 0 || cfg->fn > 7)
		return kb_fail(err, EINVAL, "slot %d, fn %d: devices are 0-31 (-1: the next free one), functions 0-7",
			       cfg->slot, cfg->fn);
	if (cfg->slot >= 0) {
		*devfn = (unsigned)cfg->slot << 3 | (unsigned)cfg->fn;
		if (bus->function[*devfn])
			return kb_fail(err, EEXIST, "slot %d, fn %d is taken by %s; choose another or slot -1",
				       cfg->slot, cfg->fn, bus->function[*devfn]->name);
		return 0;
	}
	if (cfg->fn)
		return kb_fail(err, EINVAL, "fn %d of a new device: a guest finds no device without function 0; name the slot",
			       cfg->fn);
	while (slot < 32 && !device_empty(bus, slot))
		slot++;
	if (slot == 32)
		return kb_fail(err, ENOSPC, "all 32 devices of the PCI bus are taken; use further functions (fn) of one");
	*devfn = slot << 3;
	return 0;
}

/* ---- building the registers --------------------------------------------- */

static void init_header(struct kb_pci_function *f, const struct kb_pci_config *cfg)
{
	uint8_t *r = f->reset;

	kb_pci_set16(r, KB_PCI_VENDOR_ID, cfg->vendor);
	kb_pci_set16(r, KB_PCI_DEVICE_ID, cfg->device);
	kb_pci_set32(r, KB_PCI_REVISION_ID, cfg->class_code << 8 | cfg->revision);
	kb_pci_set16(r, KB_PCI_SUBSYSTEM_VENDOR_ID, cfg->subsystem_vendor);
	kb_pci_set16(r, KB_PCI_SUBSYSTEM_ID, cfg->subsystem);
	kb_pci_set16(f->writable, KB_PCI_COMMAND,
		     KB_PCI_COMMAND_IO | KB_PCI_COMMAND_MEMORY | KB_PCI_COMMAND_MASTER |
		     KB_PCI_COMMAND_PARITY | KB_PCI_COMMAND_SERR | KB_PCI_COMMAND_INTX_DISABLE);
	kb_pci_set16(f->clearable, KB_PCI_STATUS, KB_PCI_STATUS_ERRORS);
	f->writable[KB_PCI_CACHE_LINE_SIZE] = 0xff;
	f->writable[KB_PCI_LATENCY_TIMER] = KB_PCI_LATENCY_WRITABLE;
	if (!f->pin)
		return;
	r[KB_PCI_INTERRUPT_PIN] = (uint8_t)f->pin;
	r[KB_PCI_INTERRUPT_LINE] = f->bus->cfg.pirq_irq[((f->devfn >> 3) + f->pin - 1) % 4];
	f->writable[KB_PCI_INTERRUPT_LINE] = 0xff;
}

static void init_bar(struct kb_pci_function *f, unsigned i, const struct kb_pci_bar_config *cfg)
{
	struct kb_pci_bar *bar = &f->bar[i];
	unsigned off = kb_pci_bar_register(i);
	uint64_t mask = ~(cfg->size - 1);

	bar->function = f;
	bar->index = i;
	if (!cfg->size)
		return;
	bar->size = cfg->size;
	bar->io = cfg->io;
	bar->is64 = cfg->is64;
	/* A PC has 64 Ki ports: the upper half of an I/O BAR is hardwired to 0 (6.2.5.1). */
	kb_pci_set32(f->writable, off, (uint32_t)(cfg->io ? mask & 0xffff : mask));
	if (cfg->io)
		f->reset[off] = KB_PCI_BAR_IO;
	else
		f->reset[off] = (uint8_t)((cfg->is64 ? KB_PCI_BAR_64 : 0) |
					  (cfg->prefetchable ? KB_PCI_BAR_PREFETCHABLE : 0));
	if (cfg->is64)
		kb_pci_set32(f->writable, off + 4, (uint32_t)(mask >> 32));
	kb_pci_bar_init(bar);
}

static uint32_t rom_bar_size(size_t rom_size)
{
	uint32_t size = MIN_ROM_SIZE;

	while (size < rom_size)
		size *= 2;
	return size;
}

static void init_bars(struct kb_pci_function *f, const struct kb_pci_config *cfg)
{
	struct kb_pci_bar_config rom = { .size = cfg->rom ? rom_bar_size(cfg->rom_size) : 0 };

	for (unsigned i = 0; i < 6; i++)
		init_bar(f, i, &cfg->bar[i]);
	init_bar(f, KB_PCI_ROM_BAR, &rom);
	if (!cfg->rom)
		return;
	f->writable[KB_PCI_ROM_ADDRESS] |= KB_PCI_ROM_ENABLE;
	memset(f->rom, 0xff, rom.size);
	memcpy(f->rom, cfg->rom, cfg->rom_size);
}

/* Appends a capability; check_caps() has seen to it that all fit. Returns its offset. */
static unsigned add_cap(struct kb_pci_function *f, uint8_t id, unsigned len)
{
	unsigned off = f->cap_end;

	f->reset[f->cap_last ? f->cap_last + KB_PCI_CAP_NEXT : KB_PCI_CAPABILITIES] = (uint8_t)off;
	f->reset[off] = id;
	f->cap_last = off;
	f->cap_end = (off + len + 3) & ~3u;
	kb_pci_set16(f->reset, KB_PCI_STATUS, KB_PCI_STATUS_CAP_LIST);
	return off;
}

/* D0 and D3hot; leaving D3hot keeps the registers (No_Soft_Reset). */
static void init_pm(struct kb_pci_function *f)
{
	f->pm = add_cap(f, KB_PCI_CAP_PM, KB_PCI_PM_SIZE);
	kb_pci_set16(f->reset, f->pm + KB_PCI_PM_PMC, KB_PCI_PMC_VERSION_1_2);
	kb_pci_set16(f->reset, f->pm + KB_PCI_PM_PMCSR, KB_PCI_PMCSR_NO_SOFT_RESET);
	kb_pci_set16(f->writable, f->pm + KB_PCI_PM_PMCSR, KB_PCI_PMCSR_STATE);
}

static void init_msi(struct kb_pci_function *f, unsigned vectors)
{
	unsigned off = f->msi = add_cap(f, KB_PCI_CAP_MSI, KB_PCI_MSI_SIZE);
	unsigned capable = (unsigned)__builtin_ctz(vectors);

	kb_pci_set16(f->reset, off + KB_PCI_MSI_CONTROL,
		     capable << KB_PCI_MSI_CAPABLE_SHIFT | KB_PCI_MSI_64BIT | KB_PCI_MSI_MASKING);
	kb_pci_set16(f->writable, off + KB_PCI_MSI_CONTROL,
		     KB_PCI_MSI_ENABLE | KB_PCI_MSI_COUNT << KB_PCI_MSI_ENABLED_SHIFT);
	kb_pci_set32(f->writable, off + KB_PCI_MSI_ADDRESS, ~3u);
	kb_pci_set32(f->writable, off + KB_PCI_MSI_ADDRESS_HIGH, ~0u);
	kb_pci_set16(f->writable, off + KB_PCI_MSI_DATA, 0xffff);
	kb_pci_set32(f->writable, off + KB_PCI_MSI_MASK, (uint32_t)((1ull << vectors) - 1));
}

static void init_msix(struct kb_pci_function *f, const struct kb_pci_config *cfg)
{
	unsigned off = f->msix_cap = add_cap(f, KB_PCI_CAP_MSIX, KB_PCI_MSIX_SIZE);

	kb_pci_set16(f->reset, off + KB_PCI_MSIX_CONTROL, cfg->msix_vectors - 1);
	kb_pci_set16(f->writable, off + KB_PCI_MSIX_CONTROL, KB_PCI_MSIX_ENABLE | KB_PCI_MSIX_FUNCTION_MASK);
	kb_pci_set32(f->reset, off + KB_PCI_MSIX_TABLE, f->msix.table_offset | f->msix.bar);
	kb_pci_set32(f->reset, off + KB_PCI_MSIX_PBA, f->msix.pba_offset | f->msix.bar);
}

static void init_caps(struct kb_pci_function *f, const struct kb_pci_config *cfg)
{
	f->cap_end = KB_PCI_HEADER_END;
	if (cfg->power_management)
		init_pm(f);
	if (cfg->msi_vectors)
		init_msi(f, cfg->msi_vectors);
	if (cfg->msix_vectors)
		init_msix(f, cfg);
	if (cfg->vendor_cap) {
		unsigned off = add_cap(f, KB_PCI_CAP_VENDOR, 3 + cfg->vendor_cap_len);

		f->reset[off + 2] = (uint8_t)(3 + cfg->vendor_cap_len);
		memcpy(f->reset + off + 3, cfg->vendor_cap, cfg->vendor_cap_len);
	}
}

/* ---- life cycle ---------------------------------------------------------- */

static bool allocate(struct kb_pci_function *f, const struct kb_pci_config *cfg)
{
	char address[16];

	snprintf(address, sizeof(address), "%02x.%x", f->devfn >> 3, f->devfn & 7);
	f->name = strdup(cfg->name && *cfg->name ? cfg->name : address);
	if (cfg->rom)
		f->rom = malloc(rom_bar_size(cfg->rom_size));
	if (cfg->msix_vectors) {
		f->msix.table = malloc(msix_table_size(cfg));
		f->msix.pending = malloc(msix_pba_size(cfg));
	}
	return f->name && (!cfg->rom || f->rom) && (!cfg->msix_vectors || (f->msix.table && f->msix.pending));
}

static void init_msix_state(struct kb_pci_function *f, const struct kb_pci_config *cfg)
{
	uint64_t table, pba;

	if (!cfg->msix_vectors)
		return;
	msix_layout(cfg, &table, &pba);
	f->msix.vectors = cfg->msix_vectors;
	f->msix.bar = cfg->msix_bar;
	f->msix.table_offset = (uint32_t)table;
	f->msix.pba_offset = (uint32_t)pba;
}

/* The header of function 0 tells whether a guest should look for more (6.2.1). */
static void mark_multifunction(struct kb_pci_bus *bus, unsigned slot)
{
	struct kb_pci_function *first = bus->function[slot << 3];

	for (unsigned fn = 1; first && fn < 8; fn++)
		if (bus->function[slot << 3 | fn])
			first->reset[KB_PCI_HEADER_TYPE] = first->config[KB_PCI_HEADER_TYPE] =
				KB_PCI_HEADER_MULTIFUNCTION;
}

int kb_pci_function_create(struct kb_pci_function **out, struct kb_pci_bus *bus,
			   const struct kb_pci_config *cfg, const struct kb_pci_ops *ops, void *opaque,
			   struct kvmbox_error *err)
{
	const char *name = cfg->name && *cfg->name ? cfg->name : "(unnamed)";
	struct kb_pci_function *f;
	unsigned devfn = 0;
	int rc;

	*out = NULL;
	rc = check_config(bus, cfg, err);
	if (!rc)
		rc = choose_devfn(bus, cfg, &devfn, err);
	if (rc)
		return kb_fail_in(err, rc, "PCI function %s", name);
	f = calloc(1, sizeof(*f));
	if (f) {
		f->bus = bus;
		f->devfn = devfn;
	}
	if (!f || !allocate(f, cfg)) {
		kb_pci_function_destroy(f);
		return kb_fail(err, ENOMEM, "out of memory creating PCI function %s", name);
	}
	f->ops = ops ? ops : &no_ops;
	f->opaque = opaque;
	f->pin = cfg->intx_pin;
	f->max_access = cfg->max_access ? cfg->max_access : 8;
	init_msix_state(f, cfg);
	init_header(f, cfg);
	init_bars(f, cfg);
	init_caps(f, cfg);
	kb_pci_function_restore(f);
	f->command_told = kb_pci_function_command(f);
	bus->function[devfn] = f;
	mark_multifunction(bus, devfn >> 3);
	*out = f;
	return 0;
}

void kb_pci_function_destroy(struct kb_pci_function *f)
{
	if (!f)
		return;
	for (unsigned i = 0; i < KB_PCI_BARS; i++)
		kb_pci_bar_remove(&f->bar[i]);
	free(f->name);
	free(f->rom);
	free(f->msix.table);
	free(f->msix.pending);
	free(f);
}

void kb_pci_function_register(struct kb_pci_function *f, unsigned off, unsigned len, uint32_t reset, uint32_t writable)
{
	memcpy(f->reset + off, &reset, len);
	memcpy(f->writable + off, &writable, len);
	memcpy(f->config + off, &reset, len);
}

void kb_pci_function_restore(struct kb_pci_function *f)
{
	memcpy(f->config, f->reset, sizeof(f->config));
	kb_pci_msix_reset(f);
	f->intx = false;
}

/* ---- at work ------------------------------------------------------------- */

const char *kb_pci_function_name(const struct kb_pci_function *f)
{
	return f->name;
}

unsigned kb_pci_function_bdf(const struct kb_pci_function *f)
{
	return f->devfn;
}

uint16_t kb_pci_function_config16(const struct kb_pci_function *f, unsigned off)
{
	return kb_pci_get16(f->config, off);
}

uint16_t kb_pci_function_command(const struct kb_pci_function *f)
{
	return kb_pci_get16(f->config, KB_PCI_COMMAND);
}

bool kb_pci_bus_master(const struct kb_pci_function *f)
{
	return (kb_pci_function_command(f) & KB_PCI_COMMAND_MASTER) && kb_pci_powered(f);
}

void kb_pci_status_set(struct kb_pci_function *f, uint16_t errors)
{
	kb_pci_set16(f->config, KB_PCI_STATUS,
		     kb_pci_get16(f->config, KB_PCI_STATUS) | (errors & kb_pci_get16(f->clearable, KB_PCI_STATUS)));
}

/* The pin follows the device's wish as far as the registers let it. */
static void update_intx(struct kb_pci_function *f)
{
	struct kb_pci_bus *bus = f->bus;
	unsigned pirq = ((f->devfn >> 3) + f->pin - 1) % 4;
	bool level = f->intx && kb_pci_powered(f) && !kb_pci_msi_enabled(f) &&
		     !(kb_pci_function_command(f) & KB_PCI_COMMAND_INTX_DISABLE);

	if (!f->pin || level == f->intx_asserted)
		return;
	f->intx_asserted = level;
	bus->pirq_count[pirq] += level ? 1u : -1u;
	kb_line_set(&bus->cfg.intx[pirq], bus->pirq_count[pirq] != 0);
}

void kb_pci_intx(struct kb_pci_function *f, bool active)
{
	unsigned status = kb_pci_get16(f->config, KB_PCI_STATUS);

	if (!f->pin)
		return;
	f->intx = active;
	kb_pci_set16(f->config, KB_PCI_STATUS,
		     active ? status | KB_PCI_STATUS_INTERRUPT : status & ~(unsigned)KB_PCI_STATUS_INTERRUPT);
	update_intx(f);
}

void kb_pci_function_update(struct kb_pci_function *f)
{
	uint16_t command;

	kb_pci_decode_update(f);
	update_intx(f);
	kb_pci_msi_flush(f);
	/* The callbacks above may have written the register and told the device already. */
	command = kb_pci_function_command(f);
	if (f->command_told == command)
		return;
	f->command_told = command;
	if (f->ops->command_changed)
		f->ops->command_changed(f->opaque, command);
}

/* D1 and D2 do not exist: writing them changes nothing (PM 1.2, 3.2.4). */
static void check_power_state(struct kb_pci_function *f, uint8_t before)
{
	uint8_t *pmcsr = &f->config[f->pm + KB_PCI_PM_PMCSR];
	unsigned state = *pmcsr & KB_PCI_PMCSR_STATE;

	if (state != KB_PCI_PMCSR_D0 && state != KB_PCI_PMCSR_D3HOT)
		*pmcsr = before;
}

void kb_pci_function_config_write(struct kb_pci_function *f, unsigned off, unsigned len, uint32_t value)
{
	uint8_t before[4], pmcsr = f->config[f->pm + KB_PCI_PM_PMCSR];

	memcpy(before, f->config + off, len);
	for (unsigned i = 0; i < len; i++) {
		uint8_t v = (uint8_t)(value >> 8 * i), writable = f->writable[off + i];
		uint8_t cleared = v & f->clearable[off + i];

		f->config[off + i] = (uint8_t)(((before[i] & ~writable) | (v & writable)) & ~cleared);
	}
	if (f->pm)
		check_power_state(f, pmcsr);
	if (memcmp(before, f->config + off, len))
		kb_pci_function_update(f);
}
