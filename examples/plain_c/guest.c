/* Guest of the plain C example: sets the alarm, sleeps, and checks that it woke at the right time. */
#include "alarm_regs.h"
#include "kvmbox_guest.h"

static uint64_t regs;
static unsigned irq;
static volatile int rang;
static volatile uint64_t rang_ps;

static GUEST_CPL0 void on_alarm(int vector)
{
	(void)vector;
	if (mmio_read32(regs + ALARM_STATUS)) {
		rang_ps = time_ps();
		rang = 1;
	}
	pic_eoi(irq);
}

int main(void)
{
	unsigned bdf = pci_find(ALARM_VENDOR, ALARM_DEVICE, 0);
	struct pci_bar bar;

	if (bdf == GUEST_PCI_NONE || !pci_bar(bdf, 0, &bar))
		panic("no alarm clock on the PCI bus\n");
	regs = bar.address;
	pci_enable(bdf, PCI_COMMAND_MEMORY);
	if (mmio_read32(regs + ALARM_ID) != ALARM_ID_VALUE)
		panic("that is no alarm clock\n");
	irq = pci_read8(bdf, PCI_INTERRUPT_LINE);
	pic_init();
	irq_handler(PIC_VECTOR + (int)irq, on_alarm);
	pic_unmask(irq);
	for (uint32_t ns = 10000; ns <= 10000000; ns *= 10) {
		uint64_t start = time_ps(), slept;

		mmio_write32(regs + ALARM_START, ns);
		wait_until(&rang);
		rang = 0;
		slept = (rang_ps - start) / 1000;
		printf("alarm after %8u ns: awake after %8lu ns\n", ns, slept);
		if (slept < ns)
			return 1;
	}
	return 0;
}
