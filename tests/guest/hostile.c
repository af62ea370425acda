/*
 * Random accesses: configuration space (BARs over RAM, each other and the chipset included), ports, device memory of
 * all widths and alignments. The box must survive; status 0 says that the guest did as well.
 *
 * Interrupts stay off, and bus mastering is kept off because a device told to do random DMA would overwrite this very
 * program; hostile_rom.S does not mind that. Left out: the debug exit and what resets the machine.
 */
#include "kvmbox_guest.h"

#ifndef STEPS
#define STEPS 4000
#endif
#ifndef SEED
#define SEED 1
#endif

static uint64_t state = 0x9e3779b97f4a7c15u + SEED;

static uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint64_t below(uint64_t n)
{
	return (rnd() >> 8) % n;
}

/* NMI by a random LVT entry: nothing to do. Everything else is reported as ever. */
static void (*dump)(struct guest_exception *e);
static void ignore_nmi(struct guest_exception *e)
{
	if (e->vector != 2)
		dump(e);
}

/* ---- configuration space ------------------------------------------------------------------------------- */

static uint32_t random_value(void)
{
	static const uint32_t nasty[] = { 0, 0xffffffff, 0xfffffff0, 0x00100000, 0xe0000000, 0xfee00000, 0xfed80000,
					  0xfebff000, 0x00000001, 0x0000c001, 0x80000000, 0x000003f9, 0xfffffffc };

	return below(2) ? nasty[below(sizeof(nasty) / sizeof(nasty[0]))] : (uint32_t)rnd();
}

/* Slots that have devices are few and at the start. */
static unsigned random_bdf(void)
{
	unsigned slot = (unsigned)(below(4) ? below(8) : below(32));

	return slot << 3 | (unsigned)(below(4) ? 0 : below(8)) | (below(16) ? 0 : (unsigned)below(256) << 8);
}

static void config_write(unsigned bdf, unsigned off, unsigned width, uint32_t value)
{
	/* width bytes at off, off aligned: clear bit 2 of the command register */
	if ((off & ~3u) == PCI_COMMAND && (off & 3) == 0)
		value &= ~(uint32_t)PCI_COMMAND_MASTER;
	if (width == 4)
		pci_write32(bdf, off, value);
	else if (width == 2)
		pci_write16(bdf, off, (uint16_t)value);
	else
		pci_write8(bdf, off, (uint8_t)value);
}

static void config_space(void)
{
	unsigned bdf = random_bdf(), width = 1u << below(3);
	unsigned off = (unsigned)(below(2) ? below(0x40) : below(256)) & ~(width - 1);

	if (below(3) == 0) {
		pci_read32(bdf, off);
		return;
	}
	if (below(3) == 0) { /* a BAR, with decoding on */
		config_write(bdf, PCI_BAR0 + 4 * (unsigned)below(6), 4, random_value());
		config_write(bdf, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | random_value());
		return;
	}
	config_write(bdf, off, width, random_value());
}

/* ---- ports ------------------------------------------------------------------------------------------------ */

/* Debug exit, 8042 and port 92 (reset), CF8-CFF (above, and CF9), power management. */
static bool forbidden(uint16_t port)
{
	static const struct { uint16_t from, to; } no[] = { { 0x60, 0x67 }, { 0x8c, 0x9f }, { 0xf0, 0xf7 }, { 0x600, 0x67f },
							    { 0xb000, 0xb07f }, { 0xcf8, 0xcff } };

	for (unsigned i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		if (port + 3 >= no[i].from && port <= no[i].to)
			return true;
	return false;
}

static uint16_t random_port(void)
{
	static const uint16_t known[] = { 0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x42, 0x43, 0x70, 0x71, 0x80, 0xe9, 0x3f8, 0x3f9,
					  0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x4d0, 0x4d1, 0x5c0, 0x5c8 };
	uint16_t port;

	do {
		switch (below(4)) {
		case 0:
			port = (uint16_t)rnd();
			break;
		case 1:
			port = (uint16_t)(0xc000 + below(0x3f00));
			break;
		default:
			port = known[below(sizeof(known) / sizeof(known[0]))];
		}
	} while (forbidden(port));
	return port;
}

static void port_access(void)
{
	uint16_t port = random_port();

	switch (below(6)) {
	case 0:
		inb(port);
		break;
	case 1:
		inw(port);
		break;
	case 2:
		inl(port);
		break;
	case 3:
		outb(port, (uint8_t)random_value());
		break;
	case 4:
		outw(port, (uint16_t)random_value());
		break;
	default:
		outl(port, random_value());
	}
}

/* ---- device memory -------------------------------------------------------------------------------------------- */

static uint64_t random_device_address(void)
{
	switch (below(6)) {
	case 0: /* 64-bit PCI window, where BARs are placed first */
		return 0x4000000000ull + below(64 << 20);
	case 1:
		return GUEST_TIME_MMIO - 16 + below(48);
	case 2: /* local APIC but the interrupt command, which could stop or restart this CPU */
		return GUEST_LAPIC + below(0x2f8);
	case 3:
		return GUEST_LAPIC + 0x320 + below(0xcd8);
	case 4: /* where BARs are placed first */
		return 0xe0000000ull + below(16 << 20);
	default:
		return 0xe0000000ull + below(0x1ec00000 - 8);
	}
}

static void memory_access(void)
{
	uint64_t addr = random_device_address(), value = rnd();

	if (below(2))
		addr &= ~7ull;
	switch (below(8)) {
	case 0:
		mmio_read8(addr);
		break;
	case 1:
		mmio_read16(addr);
		break;
	case 2:
		mmio_read32(addr);
		break;
	case 3:
		mmio_read64(addr);
		break;
	case 4:
		mmio_write8(addr, (uint8_t)value);
		break;
	case 5:
		mmio_write16(addr, (uint16_t)value);
		break;
	case 6:
		mmio_write32(addr, random_value());
		break;
	default:
		mmio_write64(addr, value);
	}
}

int main(void)
{
	dump = guest_exception_handler;
	guest_exception_handler = ignore_nmi;
	for (unsigned step = 0; step < STEPS; step++) {
		switch (below(3)) {
		case 0:
			config_space();
			break;
		case 1:
			port_access();
			break;
		default:
			memory_access();
		}
	}
	return 0;
}
