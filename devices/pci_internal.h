/*
 * What the files of the PCI layer share: see pci.h for the whole.
 *
 * pci.c: bus, mechanism #1, host bridge; pci_function.c: header and
 * capabilities; pci_decode.c: BARs on the buses; pci_msi.c: messages;
 * pci_assign.c: firmware's BAR assignment.
 */
#ifndef KB_PCI_INTERNAL_H
#define KB_PCI_INTERNAL_H

#include <string.h>

#include "devices/pci.h"
#include "devices/pci_regs.h"

#define KB_PCI_FUNCTIONS 256
#define KB_PCI_BARS (KB_PCI_ROM_BAR + 1)

/*
 * One BAR, or the ROM. What the registers ask for (wanted, address) and what
 * the bus grants (decoded, region.base) differ while something is in the way.
 */
struct kb_pci_bar {
	struct kb_pci_function *function;
	unsigned index;
	uint64_t size; /* 0: not implemented */
	bool io, is64;
	bool wanted, decoded;
	bool reported;    /* the log knows that the place wanted is not to be had */
	uint64_t address; /* wanted */
	struct kb_region region;
	char label[64];
};

struct kb_pci_msix {
	unsigned vectors, bar;
	uint32_t table_offset, pba_offset;
	uint8_t *table;    /* the entries as the guest sees them */
	uint64_t *pending; /* the PBA */
};

struct kb_pci_function {
	struct kb_pci_bus *bus;
	char *name;
	unsigned devfn;
	const struct kb_pci_ops *ops;
	void *opaque;
	uint8_t config[KB_PCI_CONFIG_SIZE];
	uint8_t reset[KB_PCI_CONFIG_SIZE];    /* contents after reset */
	uint8_t writable[KB_PCI_CONFIG_SIZE]; /* bits the guest may write */
	uint8_t clearable[KB_PCI_CONFIG_SIZE]; /* bits cleared by writing 1 */
	unsigned cap_last, cap_end; /* while the list is built */
	unsigned pm, msi, msix_cap; /* offsets of the capabilities, 0: none */
	struct kb_pci_bar bar[KB_PCI_BARS];
	unsigned max_access;
	unsigned pin;
	bool intx;          /* the device's wish */
	bool intx_asserted; /* counted in the bus's pirq_count */
	uint16_t command_told; /* what the device knows */
	struct kb_pci_msix msix;
	uint8_t *rom;
};

struct kb_pci_bus {
	struct kb_pci_bus_config cfg; /* intx[] are the live lines */
	struct kb_region ports, ecam;
	uint32_t address; /* CONFIG_ADDRESS */
	struct kb_pci_function *function[KB_PCI_FUNCTIONS];
	unsigned pirq_count[4]; /* functions that assert it */
	unsigned long misplaced; /* BARs that found no place, for the log's sake */
};

static inline uint16_t kb_pci_get16(const uint8_t *config, unsigned off)
{
	uint16_t v;

	memcpy(&v, config + off, sizeof(v));
	return v;
}

static inline uint32_t kb_pci_get32(const uint8_t *config, unsigned off)
{
	uint32_t v;

	memcpy(&v, config + off, sizeof(v));
	return v;
}

static inline void kb_pci_set16(uint8_t *config, unsigned off, unsigned v)
{
	uint16_t v16 = (uint16_t)v;

	memcpy(config + off, &v16, sizeof(v16));
}

static inline void kb_pci_set32(uint8_t *config, unsigned off, uint32_t v)
{
	memcpy(config + off, &v, sizeof(v));
}

/* D0: decodes, interrupts, masters the bus. */
static inline bool kb_pci_powered(const struct kb_pci_function *f)
{
	return !f->pm || (f->config[f->pm + KB_PCI_PM_PMCSR] & KB_PCI_PMCSR_STATE) == KB_PCI_PMCSR_D0;
}

/* See kb_pci_ops.push. */
static inline void kb_pci_push(const struct kb_pci_function *f)
{
	if (f->ops->push)
		f->ops->push(f->opaque);
}

/* pci_function.c */
void kb_pci_function_destroy(struct kb_pci_function *f);
/* Registers to their reset contents; follow with kb_pci_function_update(). */
void kb_pci_function_restore(struct kb_pci_function *f);
void kb_pci_function_config_write(struct kb_pci_function *f, unsigned off, unsigned len, uint32_t value);
/* Registers have changed: decoding, INTx and pending messages follow, the device is told. */
void kb_pci_function_update(struct kb_pci_function *f);

/* pci_decode.c */
unsigned kb_pci_bar_register(unsigned bar);
struct kb_bus *kb_pci_bar_space(const struct kb_pci_bar *bar);
/* The address in the register, decoded or not. */
uint64_t kb_pci_bar_get(const struct kb_pci_bar *bar);
/* Is it what a sizing write of all ones leaves? Never decoded. */
bool kb_pci_bar_sizing(const struct kb_pci_bar *bar, uint64_t address);
/* Sets up bar->region; bar's other members are set. */
void kb_pci_bar_init(struct kb_pci_bar *bar);
void kb_pci_bar_remove(struct kb_pci_bar *bar);
void kb_pci_decode_update(struct kb_pci_function *f);
/* For all functions at once. */
void kb_pci_decode_update_all(struct kb_pci_bus *bus);

/* pci_msi.c */
bool kb_pci_msi_enabled(const struct kb_pci_function *f); /* MSI or MSI-X */
/* Sends pending messages that nothing holds back any more. */
void kb_pci_msi_flush(struct kb_pci_function *f);
void kb_pci_msix_reset(struct kb_pci_function *f);
/* Does an access to the BAR hit table or PBA? */
bool kb_pci_msix_hit(const struct kb_pci_function *f, unsigned bar, uint64_t off);
uint64_t kb_pci_msix_read(const struct kb_pci_function *f, uint64_t off, unsigned len);
void kb_pci_msix_write(struct kb_pci_function *f, uint64_t off, unsigned len, uint64_t value);

#endif
