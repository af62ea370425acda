/*
 * The guest of tests/platform/hostile_test.cpp: random actions against SystemC devices. Steps are configuration writes (BARs over
 * RAM, the local APIC and each other), ports, device memory, string instructions, DMA jobs, MSI-X tables, interrupts, naps.
 *
 * Tame: DMA is aimed so that this program survives it, and what ends or resets the machine is left out. Wild: nothing is.
 * Device addresses are the ones last written to BARs, true or not. All steps are counted in the mailbox, across resets.
 */
#include "hostile_pci.h"
#include "accel_regs.h"
#include "kvmbox_guest.h"

#define MAILBOX ((volatile struct hostile_mailbox *)HOSTILE_MAILBOX)
#define STORM 4 /* interrupts during one step that make the handler pull the plugs */
#define NAP_VECTOR 0x40

enum { ACCEL, NUISANCE, CROWD, FUNCTIONS };

static uint64_t state;
static unsigned bdf[FUNCTIONS], power[FUNCTIONS], msi[FUNCTIONS]; /* of the PM and the MSI-X or MSI capability */
static uint64_t placed[FUNCTIONS][7]; /* where BARs and ROMs were told to be */
static bool wild, irqs_on;
static volatile unsigned storm;

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

#define PICK(array) ((array)[below(sizeof(array) / sizeof((array)[0]))])

/* ---- values --------------------------------------------------------------------------------------- */

/* No value a device may take as an address points to this program. */
static uint32_t harmless(uint32_t value)
{
	return !wild && value >= 0xf0000 && value < HOSTILE_IMAGE_END ? value + HOSTILE_ARENA : value;
}

static uint32_t random_value(void)
{
	static const uint32_t nasty[] = { 0, 0xffffffff, 0xfffffff0, 0x00100000, 0xe0000000, 0xfee00000, 0xfed80000,
					  0xfebff000, 0x00000001, 0x0000c001, 0x80000000, 0xe0000004, 0xfffffffc };

	return below(2) ? PICK(nasty) : (uint32_t)rnd();
}

static uint64_t random_dma_address(void)
{
	switch (below(8)) {
	case 0: /* wraps */
		return 0xffffffffffffffffull - below(0x2000);
	case 1:
		return 0xfee00000ull + (below(2) ? below(0x1000) : below(0x100000));
	case 2: /* holes: VGA, the end of RAM, the PCI window, beyond */
		return (below(2) ? 0xa0000 - 16 : HOSTILE_RAM_SIZE - 64) + below(128);
	case 3:
		return 0xc0000000ull + below(0x40000000);
	case 4:
		return wild ? rnd() : rnd() | 1ull << 60;
	case 5:
		return wild ? below(HOSTILE_RAM_SIZE) : HOSTILE_ARENA + below(HOSTILE_ARENA_SIZE);
	default:
		return HOSTILE_ARENA + below(HOSTILE_ARENA_SIZE);
	}
}

/* Tame: no INIT, which ends this program; an NMI instead. */
static uint32_t tame_message(uint32_t data)
{
	return !wild && (data & 0x700) == 0x500 ? data ^ 0x100 : data;
}

/* An MSI-X entry's or MSI capability's message: mostly one that arrives. */
static uint32_t random_message(unsigned dword)
{
	if (below(8) == 0)
		return tame_message((uint32_t)rnd());
	switch (dword & 3) {
	case 0:
		return 0xfee00000u | (uint32_t)(below(4) ? 0 : rnd() & 0xfffff);
	case 1:
		return 0;
	case 2:
		return tame_message((uint32_t)(below(4) ? 32 + below(224) : rnd() & 0xffff));
	default:
		return (uint32_t)below(2);
	}
}

/* ---- configuration space ---------------------------------------------------------------------------------- */

static uint64_t random_bar_value(unsigned f, unsigned n)
{
	static const uint64_t places[] = { 0xe0000000, 0xe0100000, 0xe1000000, 0xfebf0000, 0x4000000000, 0x4010000000 };
	uint64_t value = below(4) ? PICK(places) + (below(2) ? 0 : below(0x10000)) : random_value();

	if ((f == NUISANCE && (n == 0 || n == 4)) && below(4))
		value = 0xc000 + below(0x400);
	return value;
}

static void move_bar(void)
{
	unsigned f = (unsigned)below(FUNCTIONS), n = (unsigned)below(7);
	uint64_t value = random_bar_value(f, n);

	if (n == 6) {
		pci_write32(bdf[f], 0x30, (uint32_t)value | 1);
	} else {
		pci_write32(bdf[f], PCI_BAR0 + 4 * n, (uint32_t)value);
		if (n < 5 && (value >> 32 || below(8) == 0))
			pci_write32(bdf[f], PCI_BAR0 + 4 * n + 4, (uint32_t)(value >> 32));
	}
	placed[f][n] = value & ~0xfull;
	if (below(2))
		pci_write16(bdf[f], PCI_COMMAND, (uint16_t)(PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER));
}

static void config_access(void)
{
	unsigned f = below(8) ? bdf[below(FUNCTIONS)] : (unsigned)below(0x10000);
	unsigned off = (unsigned)(below(2) ? below(0x40) : below(256));

	switch (below(5)) {
	case 0:
		pci_read32(f, off & ~3u);
		break;
	case 1:
		pci_write8(f, off, (uint8_t)rnd());
		break;
	case 2:
		pci_write16(f, off & ~1u, (uint16_t)random_value());
		break;
	default:
		pci_write32(f, off & ~3u, random_value());
	}
}

static void interrupt_setup(void)
{
	unsigned f = (unsigned)below(FUNCTIONS), cap = msi[f];

	if (f == NUISANCE)
		for (unsigned i = 1; i < 6; i++)
			pci_write32(bdf[f], cap + 4 * i, random_message(i - 1));
	pci_write16(bdf[f], cap + 2, below(4) ? (f == NUISANCE ? 0x31 : 0x8000) : (uint16_t)rnd());
}

/* ---- ports -------------------------------------------------------------------------------------------------- */

/* What ends or resets the machine: debug exit, 8042, port 92h, CF9h (and CF8h-CFFh, which configuration accesses use). */
static bool forbidden(uint16_t port)
{
	static const struct { uint16_t from, to; } no[] = { { 0x60, 0x67 }, { 0x8c, 0x9f }, { 0xf0, 0xf7 }, { 0xcf8, 0xcff } };

	for (unsigned i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		if (port + 3 >= no[i].from && port <= no[i].to)
			return true;
	return false;
}

static uint16_t random_port(void)
{
	static const uint16_t known[] = { 0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x42, 0x43, 0x61, 0x70, 0x71, 0x80, 0xe9, 0x3f8,
					  0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x4d0, 0x4d1, 0x5c0, 0x5c8 };
	static const uint16_t resets[] = { 0x60, 0x64, 0x64, 0x92, 0xcf8, 0xcf9, 0xcfa };
	uint16_t port;

	do {
		switch (below(4)) {
		case 0:
			port = (uint16_t)rnd();
			break;
		case 1:
			port = (uint16_t)(0xc000 + below(0x400));
			break;
		default:
			port = PICK(known);
		}
	} while (forbidden(port));
	if (wild && below(64) == 0) /* not more often, or resets would be all there is */
		port = below(64) ? PICK(resets) : 0xf4;
	return port;
}

/* Tame: the 8259s get no vector base (ICW2) below 20h, where the gates are for exceptions. */
static uint32_t port_value(uint16_t port)
{
	bool pic = (port & 0xff7f) >= 0x1d && (port & 0xff7f) <= 0x21;

	return random_value() | (pic && !wild ? 0x20202020 : 0);
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
		outb(port, (uint8_t)port_value(port));
		break;
	case 4:
		outw(port, (uint16_t)port_value(port));
		break;
	default:
		outl(port, port_value(port));
	}
}

/* Many values from or to one port (or configuration register). KVM hands over those of ins in one exit, those of outs singly. */
static unsigned port_string(void)
{
	static uint32_t buf[64];
	uint16_t port = random_port();
	unsigned long n = 1 + below(sizeof(buf) / sizeof(buf[0])), left = n;
	const void *src = buf;
	void *dst = buf;

	for (unsigned i = 0; i < n; i++)
		buf[i] = port_value(port);
	if (below(2)) {
		outl(0xcf8, 0x80000000u | bdf[below(FUNCTIONS)] << 8 | (uint32_t)(below(4) ? below(16) * 4 : below(256) & 0xfc));
		port = 0xcfc;
	}
	switch (below(8)) {
	case 0:
		__asm__ volatile("rep insb" : "+D"(dst), "+c"(left) : "d"(port) : "memory");
		break;
	case 1:
		__asm__ volatile("rep insw" : "+D"(dst), "+c"(left) : "d"(port) : "memory");
		break;
	case 2:
	case 3:
	case 4:
		__asm__ volatile("rep insl" : "+D"(dst), "+c"(left) : "d"(port) : "memory");
		break;
	case 5:
		__asm__ volatile("rep outsb" : "+S"(src), "+c"(left) : "d"(port) : "memory");
		break;
	case 6:
		__asm__ volatile("rep outsw" : "+S"(src), "+c"(left) : "d"(port) : "memory");
		break;
	default:
		__asm__ volatile("rep outsl" : "+S"(src), "+c"(left) : "d"(port) : "memory");
	}
	return (unsigned)n;
}

/* ---- device memory --------------------------------------------------------------------------------------------- */

static uint64_t random_device_address(void)
{
	uint64_t addr;

	switch (below(8)) {
	case 0: /* local APIC; tame: but the interrupt command */
		addr = GUEST_LAPIC + below(0x1000);
		return wild || addr < GUEST_LAPIC + 0x2f8 || addr >= GUEST_LAPIC + 0x320 ? addr : GUEST_LAPIC;
	case 1:
		return GUEST_TIME_MMIO - 16 + below(48);
	case 2:
		return 0xe0000000ull + below(0x1ebffff0);
	default:
		addr = PICK(placed[below(FUNCTIONS)]) + (below(2) ? below(0x40) : below(0x8000));
		/* RAM, where it might be this program, and what the kit cannot map are not worth an access */
		return (addr >= 0xc0000000 && addr < 0xffff0000 && addr >> 12 != 0xfee00) || addr >> 28 == 0x400 ? addr : 0xe0000000;
	}
}

static void memory_access(void)
{
	uint64_t addr = random_device_address(), value = rnd();

	if (below(2))
		addr &= ~7ull;
	switch (below(9)) {
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
		mmio_write64(addr, (uint64_t)harmless((uint32_t)value) | value >> 32 << 32);
		break;
	default:
		mmio_write32(addr, harmless(random_value()));
	}
}

/* RAM, also where BARs have been put over it: RAM wins. No exits. */
static void ram_access(void)
{
	volatile uint64_t *p = (volatile uint64_t *)(HOSTILE_ARENA + (below(HOSTILE_ARENA_SIZE - 8)));

	if (below(2))
		*p = rnd();
	else
		(void)*p;
}

/* ---- devices ------------------------------------------------------------------------------------------------------ */

/* Where a register BAR is now, powered on; puts it back if it is somewhere strange. */
static uint64_t find_bar(unsigned f, unsigned n)
{
	uint32_t addr;

	if (power[f])
		pci_write16(bdf[f], power[f] + 4, 0);
	addr = pci_read32(bdf[f], PCI_BAR0 + 4 * n) & ~0xfffu;
	if (addr < 0xe0000000 || addr >= 0xfec00000) {
		addr = (uint32_t)(0xe2000000 + f * 0x100000 + n * 0x10000);
		pci_write32(bdf[f], PCI_BAR0 + 4 * n, addr);
	}
	placed[f][n] = addr;
	return addr;
}

static void random_descriptor(struct accel_desc *d)
{
	d->src = below(8) ? random_dma_address() : below(0x200000);
	d->dst = below(8) ? random_dma_address() : below(0x200000);
	if (!wild && d->dst >= 0xf0000 && d->dst < HOSTILE_IMAGE_END)
		d->dst += HOSTILE_ARENA;
	d->length = (uint32_t)(below(8) ? 1 + below(0x2000) : rnd());
	d->opcode = (uint16_t)(below(8) ? 1 + below(6) : rnd());
	d->flags = (uint16_t)rnd();
	d->operand = (uint32_t)rnd();
	d->status = 0;
}

/* Descriptors, most of them valid, from random addresses. */
static void job(void)
{
	struct accel_desc *list = (struct accel_desc *)(uintptr_t)(HOSTILE_LISTS + 32 * below(HOSTILE_LISTS_SIZE / 32 - 8));
	uint64_t regs = find_bar(ACCEL, ACCEL_BAR_REGS), addr = below(4) ? (uintptr_t)list : random_dma_address();

	for (unsigned i = 0; i < 4; i++)
		random_descriptor(&list[i]);
	if (!wild && addr >= 0xe0000 && addr < HOSTILE_IMAGE_END)
		addr += HOSTILE_ARENA;
	pci_write16(bdf[ACCEL], PCI_COMMAND, (uint16_t)(PCI_COMMAND_MEMORY | (below(8) ? PCI_COMMAND_MASTER : 0)));
	mmio_write64(regs + ACCEL_REG_DESC_ADDR, below(8) ? addr & ~31ull : addr);
	mmio_write32(regs + ACCEL_REG_PROC_PS_PER_BYTE, (uint32_t)(below(64) ? below(1000) : rnd()));
	mmio_write32(regs + ACCEL_REG_INT_ENABLE, (uint32_t)rnd());
	mmio_write32(regs + ACCEL_REG_CTRL, (uint32_t)(below(8) ? ACCEL_CTRL_ENABLE : rnd()));
	mmio_write32(regs + ACCEL_REG_DOORBELL, (uint32_t)(below(8) ? 1 + below(4) : rnd()));
	MAILBOX->jobs++;
}

/* Both devices are told to write to the guarded memory, but may not master the bus. */
static void forbidden_job(void)
{
	uint64_t regs = find_bar(ACCEL, ACCEL_BAR_REGS), nuisance = find_bar(NUISANCE, HOSTILE_REGS_BAR);
	uint32_t target = (uint32_t)(HOSTILE_GUARD + below(HOSTILE_GUARD_SIZE - 4096));

	pci_write16(bdf[ACCEL], PCI_COMMAND, PCI_COMMAND_MEMORY);
	pci_write16(bdf[NUISANCE], PCI_COMMAND, PCI_COMMAND_MEMORY);
	mmio_write64(regs + ACCEL_REG_DESC_ADDR, target & ~31u);
	mmio_write32(regs + ACCEL_REG_CTRL, ACCEL_CTRL_ENABLE);
	mmio_write32(regs + ACCEL_REG_DOORBELL, 1);
	mmio_write64(regs + ACCEL_REG_DESC_ADDR, 1ull << 63);
	mmio_write32(nuisance + HOSTILE_ADDR, target);
	mmio_write32(nuisance + HOSTILE_ADDR_HI, 0);
	mmio_write32(nuisance + HOSTILE_LENGTH, (uint32_t)rnd());
	mmio_write32(nuisance + HOSTILE_GO, (uint32_t)rnd() | 1);
	mmio_write32(nuisance + HOSTILE_ADDR, HOSTILE_ARENA);
	MAILBOX->forbidden_jobs++;
}

static void nuisance(void)
{
	uint64_t regs = find_bar(NUISANCE, HOSTILE_REGS_BAR), addr = random_dma_address();

	pci_write16(bdf[NUISANCE], PCI_COMMAND, (uint16_t)(PCI_COMMAND_MEMORY | (below(8) ? PCI_COMMAND_MASTER : 0)));
	mmio_write32(regs + HOSTILE_ADDR, harmless((uint32_t)addr));
	mmio_write32(regs + HOSTILE_ADDR_HI, (uint32_t)(addr >> 32));
	mmio_write32(regs + HOSTILE_LENGTH, (uint32_t)(below(2) ? 4 : rnd()));
	for (unsigned i = 0; i < 4; i++)
		mmio_write32(regs + HOSTILE_GO + 4 * below(6), (uint32_t)rnd());
}

/* MSI-X entries, of the accelerator or of the crowd, and their mask and pending bits. */
static void msix_garbage(void)
{
	unsigned f = below(2) ? ACCEL : CROWD, bar = f == ACCEL ? ACCEL_BAR_MSIX : 0;
	uint64_t table = find_bar(f, bar), entries = f == ACCEL ? ACCEL_VECTORS : HOSTILE_CROWD_VECTORS;
	unsigned entry = (unsigned)below(entries);

	pci_write16(bdf[f], PCI_COMMAND, (uint16_t)(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER));
	if (below(2))
		pci_write16(bdf[f], msi[f] + 2, 0x8000);
	for (unsigned i = 0; i < 4; i++)
		mmio_write32(table + 16 * entry + 4 * i, random_message(i));
	if (f == CROWD)
		mmio_write32(find_bar(NUISANCE, HOSTILE_REGS_BAR) + HOSTILE_CROWD_MSI, below(2) ? entry : (uint32_t)rnd());
}

/* ---- interrupts ------------------------------------------------------------------------------------------------------ */

static void any_interrupt(int vector)
{
	(void)vector;
	MAILBOX->interrupts++;
	if (++storm > STORM) {
		outb(0x21, 0xff);
		outb(0xa1, 0xff);
		lapic_write(LAPIC_LVT_TIMER, 0x10000);
	}
	outb(0xa0, 0x20);
	outb(0x20, 0x20);
	lapic_eoi();
}

static void (*dump)(struct guest_exception *e);
static void exception(struct guest_exception *e)
{
	if (wild)
		outb(0xcf9, 0x06); /* something got broken: again from the start */
	else if (e->vector != 2) /* NMI by some message or interrupt command */
		dump(e);
}

/* Vectors 16-31 can come as interrupts, without the error codes their gates expect: send them to an interrupt's gate. */
static long open_gates(long a, long b, struct guest_frame *frame)
{
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) idt;

	(void)a, (void)b, (void)frame;
	__asm__ volatile("sidt %0" : "=m"(idt));
	for (unsigned v = 16; v < 32; v++)
		memcpy((void *)(idt.base + 16 * v), (void *)(idt.base + 16 * 0xf0), 16);
	return 0;
}

static void toggle_interrupts(void)
{
	static const uint8_t masks[] = { 0xff, 0x00, 0xfb, 0xfe };

	storm = 0;
	irqs_on = !irqs_on;
	if (irqs_on) {
		if (!wild || below(4) == 0)
			pic_init(); /* or a mask might become a vector base */
		outb(0x21, PICK(masks));
		outb(0xa1, PICK(masks));
		irq_enable();
	} else {
		irq_disable();
	}
}

/* Sleeps until the local APIC's timer; random values may have changed anything but that it can wake. */
static void nap(void)
{
	irq_disable();
	irqs_on = false;
	storm = 0;
	lapic_init();
	for (unsigned i = 0; i < 8 && lapic_read(LAPIC_ISR + 16 * i); i++)
		lapic_eoi();
	lapic_write(LAPIC_TIMER_DIVIDE, 0xb);
	lapic_write(LAPIC_LVT_TIMER, NAP_VECTOR);
	lapic_write(LAPIC_TIMER_INITIAL, 100000 + (uint32_t)below(100000));
	wait_for_interrupt();
	MAILBOX->naps++;
}

/* ---- all of it ------------------------------------------------------------------------------------------------------ */

static unsigned step(void)
{
	uint64_t what = below(wild ? 101 : 100);

	storm = 0;
	if (what < 16)
		config_access();
	else if (what < 28)
		port_access();
	else if (what < 50)
		return port_string();
	else if (what < 68)
		memory_access();
	else if (what < 78)
		ram_access();
	else if (what < 84)
		move_bar();
	else if (what < 88)
		job();
	else if (what < 90)
		forbidden_job();
	else if (what < 93)
		nuisance();
	else if (what < 96)
		msix_garbage();
	else if (what < 97)
		interrupt_setup();
	else if (what < 99)
		toggle_interrupts();
	else if (below(4) == 0)
		nap();
	return 1;
}

/* Steps to do. */
static uint64_t introduce(void)
{
	uint64_t steps;

	bdf[ACCEL] = pci_find(ACCEL_VENDOR_ID, ACCEL_DEVICE_ID, 0);
	bdf[NUISANCE] = pci_find(HOSTILE_VENDOR, HOSTILE_NUISANCE, 0);
	bdf[CROWD] = pci_find(HOSTILE_VENDOR, HOSTILE_CROWD, 0);
	for (unsigned f = 0; f < FUNCTIONS; f++) {
		if (bdf[f] == GUEST_PCI_NONE)
			panic("function %u is missing", f);
		power[f] = pci_capability(bdf[f], PCI_CAP_PM);
		msi[f] = pci_capability(bdf[f], f == NUISANCE ? PCI_CAP_MSI : PCI_CAP_MSIX);
		for (unsigned n = 0; n < 6; n++)
			placed[f][n] = pci_read32(bdf[f], PCI_BAR0 + 4 * n) & ~0xfu;
	}
	wild = pci_read8(bdf[NUISANCE], PCI_REVISION) & HOSTILE_WILD;
	steps = 1000u * pci_read16(bdf[NUISANCE], 0x2c);
	if (MAILBOX->magic != HOSTILE_MAGIC) {
		memset((void *)MAILBOX, 0, sizeof(*MAILBOX));
		MAILBOX->magic = HOSTILE_MAGIC;
	}
	MAILBOX->boots++;
	state = 0x9e3779b97f4a7c15u * (pci_read16(bdf[NUISANCE], 0x2e) + 1u) + MAILBOX->steps;
	return steps;
}

int main(void)
{
	uint64_t steps = introduce();

	dump = guest_exception_handler;
	guest_exception_handler = exception;
	for (int v = 32; v < 256; v++)
		irq_handler(v, any_interrupt);
	kernel_call(open_gates, 0, 0);
	pic_init();
	while (MAILBOX->steps < steps)
		MAILBOX->steps += step();
	return 0;
}
