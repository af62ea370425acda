/*
 * PCI: configuration mechanism #1, functions with type-0 headers, MSI, MSI-X
 * (PCI Local Bus 3.0; PCI Bus Power Management 1.2). One bus, 32 devices of 8 functions.
 *
 * A function's registers live outside: BAR accesses go to its ops. The PCI
 * layer owns the header, decodes BARs on the memory and port buses, serves
 * the MSI-X table and PBA inside their BAR itself, and gates by the command register.
 * A BAR that would overlap anything already decoded (RAM, chipset, another BAR)
 * is not decoded until it is moved or the obstacle goes away; of several that
 * wait for the same place the lowest function, then the lowest BAR gets it. Nor are BARs at
 * address 0, beyond the bus, and all ones (sizing).
 *
 * Power management knows D0 and D3hot. In D3hot a function answers configuration
 * accesses only: no memory or I/O decoding, no INTx, no messages, no bus mastering.
 * Back in D0 all registers are as they were (No_Soft_Reset is set).
 *
 * Callbacks (ops, lines, msi) may come back with configuration accesses, kb_pci_intx() and kb_pci_msi(),
 * also from within an access to a BAR that they move away. They must not destroy the bus.
 */
#ifndef KB_PCI_H
#define KB_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/line.h"
#include "vcpu/bus.h"
#include "vcpu/log.h"

#define KB_PCI_ROM_BAR 6 /* index of the expansion ROM beside BARs 0-5 */

struct kb_pci_bus;
struct kb_pci_function;

struct kb_pci_bar_config {
	uint64_t size; /* power of two; memory >= 16, I/O 4..256; 0: none */
	bool io, is64, prefetchable;
};

struct kb_pci_config {
	const char *name; /* copied; NULL: "device.function" */
	int slot, fn;     /* 0-31, 0-7; slot -1: next device with nothing in it, fn 0 */
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code; /* base class << 16 | subclass << 8 | interface */
	uint8_t revision;
	struct kb_pci_bar_config bar[6];
	unsigned max_access;   /* widest access handed to ops, 0: 8 */
	unsigned intx_pin;     /* 0 none, 1-4 INTA-INTD */
	unsigned msi_vectors;  /* 0, or a power of two up to 32 (64-bit, per-vector masking) */
	unsigned msix_vectors; /* 0-2048 */
	unsigned msix_bar;     /* a memory BAR, of which everything but table and PBA is the device's */
	uint32_t msix_table_offset, msix_pba_offset; /* multiples of 8; both 0: the last part of the BAR, PBA behind the table */
	bool power_management;
	const void *vendor_cap; /* body of a vendor-specific capability, read-only; copied; NULL none */
	unsigned vendor_cap_len; /* bytes after the capability's length byte */
	const void *rom;        /* copied; size rounded up to a power of two >= 2 KiB, filled with 0xff */
	size_t rom_size;        /* up to 16 MiB */
};

struct kb_pci_ops {
	/* bar 0-5 (the ROM never gets here); len 1, 2, 4, 8 and <= max_access, naturally aligned; off from the BAR's start. May be NULL (ones / dropped). */
	uint64_t (*read)(void *opaque, unsigned bar, uint64_t off, unsigned len);
	void (*write)(void *opaque, unsigned bar, uint64_t off, unsigned len, uint64_t value);
	/* Command register changed (also by reset). May be NULL. */
	void (*command_changed)(void *opaque, uint16_t command);
	/* Machine reset. May be NULL. */
	void (*reset)(void *opaque);
	/*
	 * Before the guest accesses what is served here, its registers in configuration space, MSI-X table and PBA: writes
	 * on their way to the device have to arrive first (PCI 3.0 section 3.2.5). May be NULL.
	 */
	void (*push)(void *opaque);
};

struct kb_pci_bus_config {
	struct kb_bus *mem, *io;
	const struct kb_log *log;
	struct kb_line intx[4]; /* PIRQA-D: level of the wired-OR of all pins swizzled to it: (slot + pin - 1) % 4 */
	void (*msi)(void *opaque, uint64_t addr, uint32_t data); /* a message leaves */
	void *msi_opaque;
	/* Byte accesses to port 0xCF9, the chipset's reset control register, which CONFIG_ADDRESS hides. May be NULL. */
	uint8_t (*cf9_read)(void *opaque);
	void (*cf9_write)(void *opaque, uint8_t value);
	void *cf9_opaque;
	uint8_t pirq_irq[4];    /* ISA IRQ of PIRQA-D, preset in interrupt_line */
	/* Windows in which kb_pci_assign_bars() places BARs: base, size */
	uint64_t mem32_base, mem32_size, mem64_base, mem64_size;
	uint16_t io_base, io_size;
	uint64_t ecam_base;     /* enhanced configuration access: KB_PCI_ECAM_SIZE bytes of memory for bus 0; 0: none */
};

#define KB_PCI_ECAM_SIZE 0x100000ull

/*
 * Claims ports 0xCF8-0xCFF, ecam_base and puts a host bridge (8086:1237, class 060000) at 00:00.0. cfg is copied;
 * its buses and log must outlive the PCI bus. -EINVAL, -ENOMEM, -EEXIST.
 */
int kb_pci_bus_create(struct kb_pci_bus **out, const struct kb_pci_bus_config *cfg, struct kvmbox_error *err);
/* Destroys the functions on it, too. Lines keep their levels, nobody is called. NULL is fine. */
void kb_pci_bus_destroy(struct kb_pci_bus *bus);
/* Every function to its reset state (BARs 0, command 0, MSI off, INTx deasserted). */
void kb_pci_bus_reset(struct kb_pci_bus *bus);
/* To call when other regions have left the buses: tries again the BARs that are not decoded for want of room. */
void kb_pci_bus_redecode(struct kb_pci_bus *bus);
/*
 * Firmware's job: gives every BAR and ROM that has none an address, naturally aligned and free of anything
 * on the buses (32-bit ones first, largest first; then 64-bit ones, in the window above 4 GiB only if they do not fit
 * below), enables memory and I/O decoding (not bus mastering; ROMs stay disabled). All or nothing: -ENOSPC
 * names the BAR that does not fit, -ENOMEM.
 */
int kb_pci_assign_bars(struct kb_pci_bus *bus, struct kvmbox_error *err);

/* -EINVAL: bad config, the message says which field and why; -EEXIST: slot taken; -ENOSPC: bus full; -ENOMEM. ops is kept, not copied. */
int kb_pci_function_create(struct kb_pci_function **out, struct kb_pci_bus *bus,
			   const struct kb_pci_config *cfg, const struct kb_pci_ops *ops, void *opaque,
			   struct kvmbox_error *err);
/*
 * For functions of the chipset, right after their creation: the len bytes (1, 2, 4) at off are reset after a reset, and
 * hold what the guest writes to the bits of writable. From 0x40 on: the caller sees to it that no capability is there.
 */
void kb_pci_function_register(struct kb_pci_function *f, unsigned off, unsigned len, uint32_t reset, uint32_t writable);
const char *kb_pci_function_name(const struct kb_pci_function *f);
unsigned kb_pci_function_bdf(const struct kb_pci_function *f); /* bus << 8 | slot << 3 | fn */
uint16_t kb_pci_function_config16(const struct kb_pci_function *f, unsigned off);
uint16_t kb_pci_function_command(const struct kb_pci_function *f);
/* May it master the bus: command bit 2, and in D0? */
bool kb_pci_bus_master(const struct kb_pci_function *f);
/* Error bits of the status register (PCI 3.0 section 6.2.3: 8, 11-15), e.g. received master abort; the guest clears them. */
void kb_pci_status_set(struct kb_pci_function *f, uint16_t errors);
/* Address of a BAR, or of KB_PCI_ROM_BAR, while it is decoded. */
bool kb_pci_bar_address(const struct kb_pci_function *f, unsigned bar, uint64_t *address);

/* Device side of INTx: status bit 3 follows, the pin only while not disabled (command bit 10), in D0 and neither MSI nor MSI-X is on. */
void kb_pci_intx(struct kb_pci_function *f, bool active);
/*
 * See kvmbox_msi() for the results. A masked vector becomes pending whatever else holds it back, and leaves as soon
 * as it is unmasked and the function may master the bus. MSI vectors beyond those the guest granted are -EINVAL.
 */
int kb_pci_msi(struct kb_pci_function *f, unsigned vector);

/* Configuration space by bus number, for mechanism #1 and tests; len 1, 2, 4, off aligned and below 256. Anything else, and no function: ones, dropped. */
uint32_t kb_pci_config_read(struct kb_pci_bus *bus, unsigned bdf, unsigned off, unsigned len);
void kb_pci_config_write(struct kb_pci_bus *bus, unsigned bdf, unsigned off, unsigned len, uint32_t value);

#endif
