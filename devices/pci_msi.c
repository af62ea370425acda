/*
 * MSI and MSI-X (PCI 3.0, 6.8). See pci.h.
 *
 * A message that cannot leave because its vector is masked becomes pending; it
 * leaves when nothing holds it back any more: the vector's and the function's mask, bus
 * master enable, the power state.
 */
#include <errno.h>

#include "devices/pci_internal.h"

static unsigned msi_control(const struct kb_pci_function *f)
{
	return f->msi ? kb_pci_get16(f->config, f->msi + KB_PCI_MSI_CONTROL) : 0;
}

static unsigned msix_control(const struct kb_pci_function *f)
{
	return f->msix_cap ? kb_pci_get16(f->config, f->msix_cap + KB_PCI_MSIX_CONTROL) : 0;
}

bool kb_pci_msi_enabled(const struct kb_pci_function *f)
{
	return (msi_control(f) & KB_PCI_MSI_ENABLE) || (msix_control(f) & KB_PCI_MSIX_ENABLE);
}

static void send(const struct kb_pci_function *f, uint64_t addr, uint32_t data)
{
	const struct kb_pci_bus_config *cfg = &f->bus->cfg;

	if (cfg->msi)
		cfg->msi(cfg->msi_opaque, addr, data);
}

/* Vectors that software has granted; a grant above what was asked for counts as what was asked for. */
static unsigned msi_granted(const struct kb_pci_function *f)
{
	unsigned control = msi_control(f);
	unsigned capable = control >> KB_PCI_MSI_CAPABLE_SHIFT & KB_PCI_MSI_COUNT;
	unsigned granted = control >> KB_PCI_MSI_ENABLED_SHIFT & KB_PCI_MSI_COUNT;

	return 1u << (granted < capable ? granted : capable);
}

/* The vector number replaces the low bits of the data (6.8.1.6). */
static void msi_send(const struct kb_pci_function *f, unsigned vector)
{
	const uint8_t *cap = f->config + f->msi;
	uint64_t addr = kb_pci_get32(cap, KB_PCI_MSI_ADDRESS) |
			(uint64_t)kb_pci_get32(cap, KB_PCI_MSI_ADDRESS_HIGH) << 32;
	uint32_t data = kb_pci_get16(cap, KB_PCI_MSI_DATA);

	send(f, addr, (data & ~(msi_granted(f) - 1)) | vector);
}

static int msi_signal(struct kb_pci_function *f, unsigned vector)
{
	uint8_t *cap = f->config + f->msi;

	if (vector >= msi_granted(f))
		return -EINVAL;
	if (kb_pci_get32(cap, KB_PCI_MSI_MASK) >> vector & 1) {
		kb_pci_set32(cap, KB_PCI_MSI_PENDING, kb_pci_get32(cap, KB_PCI_MSI_PENDING) | 1u << vector);
		return 0;
	}
	if (!kb_pci_bus_master(f))
		return -EPERM;
	msi_send(f, vector);
	return 1;
}

static uint32_t msi_ready(const struct kb_pci_function *f)
{
	const uint8_t *cap = f->config + f->msi;
	uint32_t granted = (uint32_t)((1ull << msi_granted(f)) - 1);

	if (!kb_pci_bus_master(f) || !(msi_control(f) & KB_PCI_MSI_ENABLE))
		return 0;
	return kb_pci_get32(cap, KB_PCI_MSI_PENDING) & ~kb_pci_get32(cap, KB_PCI_MSI_MASK) & granted;
}

/* Looks anew after each message: its receiver may have changed everything. */
static void msi_flush(struct kb_pci_function *f)
{
	uint8_t *cap = f->config + f->msi;
	uint32_t ready;

	while ((ready = msi_ready(f)) != 0) {
		unsigned vector = (unsigned)__builtin_ctz(ready);

		kb_pci_set32(cap, KB_PCI_MSI_PENDING, kb_pci_get32(cap, KB_PCI_MSI_PENDING) & ~(1u << vector));
		msi_send(f, vector);
	}
}

static bool msix_masked(const struct kb_pci_function *f, unsigned vector)
{
	const uint8_t *entry = f->msix.table + vector * KB_PCI_MSIX_ENTRY_SIZE;

	return (msix_control(f) & KB_PCI_MSIX_FUNCTION_MASK) ||
	       (entry[KB_PCI_MSIX_ENTRY_CONTROL] & KB_PCI_MSIX_ENTRY_MASKED);
}

static void msix_send(const struct kb_pci_function *f, unsigned vector)
{
	const uint8_t *entry = f->msix.table + vector * KB_PCI_MSIX_ENTRY_SIZE;
	uint64_t addr;

	memcpy(&addr, entry, sizeof(addr));
	send(f, addr, kb_pci_get32(entry, KB_PCI_MSIX_ENTRY_DATA));
}

static int msix_signal(struct kb_pci_function *f, unsigned vector)
{
	if (vector >= f->msix.vectors)
		return -EINVAL;
	if (msix_masked(f, vector)) {
		f->msix.pending[vector / 64] |= 1ull << vector % 64;
		return 0;
	}
	if (!kb_pci_bus_master(f))
		return -EPERM;
	msix_send(f, vector);
	return 1;
}

/* Sends a vector's pending message if it may leave. */
static void msix_flush_vector(struct kb_pci_function *f, unsigned vector)
{
	uint64_t bit = 1ull << vector % 64;

	if (!(f->msix.pending[vector / 64] & bit) || !(msix_control(f) & KB_PCI_MSIX_ENABLE) ||
	    msix_masked(f, vector) || !kb_pci_bus_master(f))
		return;
	f->msix.pending[vector / 64] &= ~bit;
	msix_send(f, vector);
}

static void msix_flush(struct kb_pci_function *f)
{
	for (unsigned i = 0; i < f->msix.vectors; i += 64)
		for (uint64_t p = f->msix.pending[i / 64]; p; p &= p - 1)
			msix_flush_vector(f, i + (unsigned)__builtin_ctzll(p));
}

void kb_pci_msi_flush(struct kb_pci_function *f)
{
	unsigned control = msix_control(f);

	if (control & KB_PCI_MSIX_ENABLE) {
		if (!(control & KB_PCI_MSIX_FUNCTION_MASK))
			msix_flush(f);
	} else if (f->msi) {
		msi_flush(f);
	}
}

int kb_pci_msi(struct kb_pci_function *f, unsigned vector)
{
	if (msix_control(f) & KB_PCI_MSIX_ENABLE)
		return msix_signal(f, vector);
	if (msi_control(f) & KB_PCI_MSI_ENABLE)
		return msi_signal(f, vector);
	return -ENODEV;
}

/* Every vector is masked after reset (6.8.2.9). */
void kb_pci_msix_reset(struct kb_pci_function *f)
{
	for (unsigned i = 0; i < f->msix.vectors; i++) {
		uint8_t *entry = f->msix.table + i * KB_PCI_MSIX_ENTRY_SIZE;

		memset(entry, 0, KB_PCI_MSIX_ENTRY_SIZE);
		entry[KB_PCI_MSIX_ENTRY_CONTROL] = KB_PCI_MSIX_ENTRY_MASKED;
		f->msix.pending[i / 64] = 0;
	}
}

static bool in_table(const struct kb_pci_msix *x, uint64_t off)
{
	return off - x->table_offset < x->vectors * KB_PCI_MSIX_ENTRY_SIZE;
}

static bool in_pba(const struct kb_pci_msix *x, uint64_t off)
{
	return off - x->pba_offset < (x->vectors + 63) / 64 * 8;
}

bool kb_pci_msix_hit(const struct kb_pci_function *f, unsigned bar, uint64_t off)
{
	const struct kb_pci_msix *x = &f->msix;

	return x->vectors && bar == x->bar && (in_table(x, off) || in_pba(x, off));
}

/* Table and PBA begin and end at multiples of 8: an aligned access does not leave them. */
uint64_t kb_pci_msix_read(const struct kb_pci_function *f, uint64_t off, unsigned len)
{
	const struct kb_pci_msix *x = &f->msix;
	uint64_t value = 0;

	if (in_table(x, off))
		memcpy(&value, x->table + (off - x->table_offset), len);
	else
		memcpy(&value, (const uint8_t *)x->pending + (off - x->pba_offset), len);
	return value;
}

void kb_pci_msix_write(struct kb_pci_function *f, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_pci_msix *x = &f->msix;
	unsigned vector;
	uint8_t *entry;

	/* Narrower writes are undefined (6.8.2), the PBA is read-only: dropped. */
	if (!in_table(x, off) || len < 4)
		return;
	memcpy(x->table + (off - x->table_offset), &value, len);
	vector = (unsigned)((off - x->table_offset) / KB_PCI_MSIX_ENTRY_SIZE);
	entry = x->table + vector * KB_PCI_MSIX_ENTRY_SIZE;
	entry[0] &= 0xfc; /* messages are aligned */
	kb_pci_set32(entry, KB_PCI_MSIX_ENTRY_CONTROL,
		     kb_pci_get32(entry, KB_PCI_MSIX_ENTRY_CONTROL) & KB_PCI_MSIX_ENTRY_MASKED);
	msix_flush_vector(f, vector);
}
