/*
 * PCI bus: configuration mechanism #1 (PCI 3.0, 3.2.2.3.2) and enhanced configuration access (PCI Express 3.0, 7.2.2), INTx wired-OR, and
 * the host bridge (82441FX PMC datasheet, 3.2). See pci.h.
 */
#include "devices/pci.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/pci_internal.h"

#define ONES UINT32_MAX
#define PAM0 0x59u /* programmable attribute map, 82441FX 3.2.18 */
#define PAM6 0x5fu

static bool valid_access(unsigned off, unsigned len)
{
	return (len == 1 || len == 2 || len == 4) && off % len == 0 && off < KB_PCI_CONFIG_SIZE;
}

uint32_t kb_pci_config_read(struct kb_pci_bus *bus, unsigned bdf, unsigned off, unsigned len)
{
	uint32_t value = 0;

	if (bdf >= KB_PCI_FUNCTIONS || !bus->function[bdf] || !valid_access(off, len))
		return len < 4 ? (1u << (8 * len)) - 1 : ONES;
	memcpy(&value, bus->function[bdf]->config + off, len);
	return value;
}

void kb_pci_config_write(struct kb_pci_bus *bus, unsigned bdf, unsigned off, unsigned len, uint32_t value)
{
	if (bdf < KB_PCI_FUNCTIONS && bus->function[bdf] && valid_access(off, len))
		kb_pci_function_config_write(bus->function[bdf], off, len, value);
}

static uint64_t read_address(struct kb_pci_bus *bus, unsigned port, unsigned len)
{
	if (port == KB_PCI_CONFIG_ADDRESS && len == 4)
		return bus->address;
	if (port == KB_PCI_RESET_CONTROL && len == 1 && bus->cfg.cf9_read)
		return bus->cfg.cf9_read(bus->cfg.cf9_opaque);
	return ONES;
}

static void write_address(struct kb_pci_bus *bus, unsigned port, unsigned len, uint64_t value)
{
	if (port == KB_PCI_CONFIG_ADDRESS && len == 4)
		bus->address = (uint32_t)value & KB_PCI_CONFIG_WRITABLE;
	else if (port == KB_PCI_RESET_CONTROL && len == 1 && bus->cfg.cf9_write)
		bus->cfg.cf9_write(bus->cfg.cf9_opaque, (uint8_t)value);
}

/* CONFIG_ADDRESS bits 23-8 are bus, device and function, 7-2 the register. */
static unsigned selected_bdf(const struct kb_pci_bus *bus)
{
	return bus->address >> 8 & 0xffff;
}

static unsigned selected_register(const struct kb_pci_bus *bus, unsigned port)
{
	return (bus->address & 0xfc) + (port - KB_PCI_CONFIG_DATA);
}

/* Accesses to configuration space come after what was posted before. */
static void push(const struct kb_pci_bus *bus, unsigned bdf)
{
	if (bdf < KB_PCI_FUNCTIONS && bus->function[bdf])
		kb_pci_push(bus->function[bdf]);
}

static uint64_t read_port(void *opaque, uint64_t off, unsigned len)
{
	struct kb_pci_bus *bus = opaque;
	unsigned port = KB_PCI_CONFIG_ADDRESS + (unsigned)off;

	if (port < KB_PCI_CONFIG_DATA)
		return read_address(bus, port, len);
	if (!(bus->address & KB_PCI_CONFIG_ENABLE))
		return ONES;
	push(bus, selected_bdf(bus));
	return kb_pci_config_read(bus, selected_bdf(bus), selected_register(bus, port), len);
}

static void write_port(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_pci_bus *bus = opaque;
	unsigned port = KB_PCI_CONFIG_ADDRESS + (unsigned)off;

	if (port < KB_PCI_CONFIG_DATA) {
		write_address(bus, port, len, value);
	} else if (bus->address & KB_PCI_CONFIG_ENABLE) {
		push(bus, selected_bdf(bus));
		kb_pci_config_write(bus, selected_bdf(bus), selected_register(bus, port), len, (uint32_t)value);
	}
}

/* Address bits 19-12 are device and function, 11-0 the register. What is beyond conventional functions' 256 bytes nobody answers. */
static uint64_t read_ecam(void *opaque, uint64_t off, unsigned len)
{
	struct kb_pci_bus *bus = opaque;
	unsigned bdf = (unsigned)(off >> 12);

	push(bus, bdf);
	return kb_pci_config_read(bus, bdf, (unsigned)off & 0xfff, len);
}

static void write_ecam(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_pci_bus *bus = opaque;
	unsigned bdf = (unsigned)(off >> 12);

	push(bus, bdf);
	kb_pci_config_write(bus, bdf, (unsigned)off & 0xfff, len, (uint32_t)value);
}

/*
 * The PMC's command register is mostly hardwired: it always forwards to memory
 * and masters the bus, and never claims I/O (82441FX, 3.2.3).
 */
static int add_host_bridge(struct kb_pci_bus *bus, struct kvmbox_error *err)
{
	static const struct kb_pci_config cfg = {
		.name = "host bridge", .vendor = 0x8086, .device = 0x1237,
		.class_code = 0x060000, .revision = 2,
	};
	struct kb_pci_function *f;
	int rc = kb_pci_function_create(&f, bus, &cfg, NULL, NULL, err);

	if (rc)
		return rc;
	kb_pci_set16(f->reset, KB_PCI_COMMAND, KB_PCI_COMMAND_MEMORY | KB_PCI_COMMAND_MASTER);
	kb_pci_set16(f->reset, KB_PCI_STATUS, KB_PCI_STATUS_FAST_B2B | KB_PCI_STATUS_DEVSEL_MEDIUM);
	kb_pci_set16(f->writable, KB_PCI_COMMAND, KB_PCI_COMMAND_PARITY | KB_PCI_COMMAND_SERR);
	f->writable[KB_PCI_CACHE_LINE_SIZE] = 0;
	/* Where firmware turns its shadow in RAM on and off; here it is RAM whatever they say. */
	for (unsigned pam = PAM0; pam <= PAM6; pam++)
		kb_pci_function_register(f, pam, 1, 0, pam == PAM0 ? 0x30 : 0x33);
	kb_pci_function_restore(f);
	kb_pci_function_update(f);
	return 0;
}

int kb_pci_bus_create(struct kb_pci_bus **out, const struct kb_pci_bus_config *cfg, struct kvmbox_error *err)
{
	struct kb_pci_bus *bus;
	int rc;

	*out = NULL;
	if (!cfg->mem || !cfg->io)
		return kb_fail(err, EINVAL, "the PCI bus needs a memory and a port bus; set mem and io");
	bus = calloc(1, sizeof(*bus));
	if (!bus)
		return kb_fail(err, ENOMEM, "out of memory creating the PCI bus");
	bus->cfg = *cfg;
	for (unsigned i = 0; i < 4; i++)
		bus->cfg.intx[i].level = false;
	bus->ports = (struct kb_region){
		.name = "PCI configuration", .base = KB_PCI_CONFIG_ADDRESS, .size = 8, .max_len = 4,
		.read = read_port, .write = write_port, .opaque = bus,
	};
	bus->ecam = (struct kb_region){
		.name = "PCI enhanced configuration", .base = cfg->ecam_base, .size = KB_PCI_ECAM_SIZE, .max_len = 4,
		.read = read_ecam, .write = write_ecam, .opaque = bus,
	};
	rc = kb_bus_add(cfg->io, &bus->ports, err);
	if (!rc && cfg->ecam_base)
		rc = kb_bus_add(cfg->mem, &bus->ecam, err);
	if (!rc)
		rc = add_host_bridge(bus, err);
	if (rc) {
		kb_pci_bus_destroy(bus);
		return rc;
	}
	*out = bus;
	return 0;
}

void kb_pci_bus_destroy(struct kb_pci_bus *bus)
{
	if (!bus)
		return;
	for (unsigned i = 0; i < KB_PCI_FUNCTIONS; i++)
		kb_pci_function_destroy(bus->function[i]);
	kb_bus_remove(bus->cfg.io, &bus->ports);
	kb_bus_remove(bus->cfg.mem, &bus->ecam);
	free(bus);
}

void kb_pci_bus_reset(struct kb_pci_bus *bus)
{
	bus->address = 0;
	/* All registers first, so that callbacks meet a bus that is reset as a whole. */
	for (unsigned i = 0; i < KB_PCI_FUNCTIONS; i++)
		if (bus->function[i])
			kb_pci_function_restore(bus->function[i]);
	kb_pci_decode_update_all(bus);
	for (unsigned i = 0; i < KB_PCI_FUNCTIONS; i++) {
		struct kb_pci_function *f = bus->function[i];

		if (!f)
			continue;
		kb_pci_function_update(f);
		if (f->ops->reset)
			f->ops->reset(f->opaque);
	}
}
