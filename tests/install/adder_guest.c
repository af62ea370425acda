/* Guest of README.md's adder: has it add up an array, by MSI. Status 0: the sum is right. */
#include "kvmbox_guest.h"

#define VECTOR 0x40
static uint32_t array[100];
static uint64_t regs;
static volatile int done;

static GUEST_CPL0 void on_msi(int vector)
{
	(void)vector;
	mmio_write32(regs + 0x0c, 1);
	done = 1;
	lapic_eoi();
}

int main(void)
{
	unsigned bdf = pci_find(0x1234, 0xadde, 0);
	struct pci_bar bar;

	if (bdf == GUEST_PCI_NONE || !pci_bar(bdf, 0, &bar))
		return 1;
	regs = bar.address;
	pci_enable(bdf, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	if (mmio_read32(regs) != 0xadde0001)
		return 2;
	lapic_init();
	irq_handler(VECTOR, on_msi);
	if (!msi_enable(bdf, VECTOR, 0))
		return 3;
	for (uint32_t i = 0; i < 100; i++)
		array[i] = i + 1;
	barrier();
	mmio_write32(regs + 0x04, (uint32_t)(uintptr_t)array);
	mmio_write32(regs + 0x08, 100);
	wait_until(&done);
	barrier();
	printf("sum %u\n", array[0]);
	return array[0] == 5050 ? 0 : 4;
}
