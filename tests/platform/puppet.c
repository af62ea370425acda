/* A guest on strings: see puppet_regs.h. */
#include "kvmbox_guest.h"
#include "puppet_regs.h"

static uint64_t mailbox;
static volatile int interrupted;
static unsigned irq;

static GUEST_CPL0 void intx(int vector)
{
	mmio_write64(mailbox + PUPPET_ACK, (uint64_t)vector);
	pic_eoi(irq);
	interrupted = 1;
}

static GUEST_CPL0 void msi(int vector)
{
	mmio_write64(mailbox + PUPPET_ACK, (uint64_t)vector);
	lapic_eoi();
	interrupted = 1;
}

static uint64_t read_memory(uint64_t address, unsigned len)
{
	switch (len) {
	case 1: return mmio_read8(address);
	case 2: return mmio_read16(address);
	case 4: return mmio_read32(address);
	default: return mmio_read64(address);
	}
}

static void write_memory(uint64_t address, unsigned len, uint64_t value)
{
	switch (len) {
	case 1: mmio_write8(address, (uint8_t)value); break;
	case 2: mmio_write16(address, (uint16_t)value); break;
	case 4: mmio_write32(address, (uint32_t)value); break;
	default: mmio_write64(address, value);
	}
}

static uint64_t use_intx(unsigned bdf)
{
	irq = pci_read8(bdf, PCI_INTERRUPT_LINE);
	pic_init();
	irq_handler(PIC_VECTOR + (int)irq, intx);
	pic_unmask(irq);
	return irq;
}

static uint64_t use_msi(unsigned bdf, int vector)
{
	lapic_init();
	irq_handler(vector, msi);
	return msi_enable(bdf, vector, 0);
}

static uint64_t sleep(void)
{
	wait_until(&interrupted);
	interrupted = 0;
	return time_ps();
}

static uint64_t spin(void)
{
	irq_enable();
	while (!interrupted)
		__asm__ volatile("pause");
	irq_disable();
	interrupted = 0;
	return time_ps();
}

static uint64_t execute(unsigned op, unsigned len, uint64_t address, uint64_t value)
{
	const unsigned bdf = (unsigned)(address >> 8), off = address & 0xff;

	switch (op) {
	case PUPPET_READ:
		return read_memory(address, len);
	case PUPPET_WRITE:
		write_memory(address, len, value);
		return 0;
	case PUPPET_CFG_READ:
		return pci_read32(bdf, off);
	case PUPPET_CFG_WRITE:
		pci_write32(bdf, off, (uint32_t)value);
		return 0;
	case PUPPET_TIME:
		return time_ps();
	case PUPPET_USE_INTX:
		return use_intx((unsigned)address);
	case PUPPET_USE_MSI:
		return use_msi((unsigned)address, (int)value);
	case PUPPET_SLEEP:
		return sleep();
	case PUPPET_SPIN:
		return spin();
	case PUPPET_EXIT:
		exit((int)value);
	default:
		panic("puppet: operation %u\n", op);
	}
}

int main(void)
{
	const unsigned bdf = pci_find(PUPPET_VENDOR, PUPPET_DEVICE, 0);
	struct pci_bar bar;

	if (bdf == GUEST_PCI_NONE || !pci_bar(bdf, 0, &bar))
		panic("puppet: no mailbox\n");
	mailbox = bar.address;
	pci_enable(bdf, PCI_COMMAND_MEMORY);
	for (;;) {
		const uint64_t command = mmio_read64(mailbox + PUPPET_COMMAND);
		const uint64_t address = mmio_read64(mailbox + PUPPET_ADDRESS), value = mmio_read64(mailbox + PUPPET_VALUE);

		mmio_write64(mailbox + PUPPET_RESULT, execute(command & 0xff, (unsigned)(command >> 8), address, value));
	}
}
