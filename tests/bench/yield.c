/* Guest: see yield.h. */
#include "yield.h"
#include "kvmbox_guest.h"

int main(void)
{
	uint64_t target[2];

	for (unsigned i = 0; i < 2; i++) {
		const unsigned bdf = pci_find(0x1234, (uint16_t)(BENCH_YIELD_DEVICE + i), 0);
		struct pci_bar bar;

		if (bdf == GUEST_PCI_NONE || !pci_bar(bdf, 0, &bar))
			return 1;
		target[i] = bar.address;
		pci_enable(bdf, PCI_COMMAND_MEMORY);
	}
	for (unsigned round = 0; round < BENCH_YIELD_ROUNDS; round++)
		for (unsigned i = 0; i < 2; i++)
			for (unsigned n = 0; n < BENCH_YIELD_BLOCK; n++)
				mmio_read32(target[i]);
	return 0;
}
