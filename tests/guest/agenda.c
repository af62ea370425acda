/* See agenda.h. Status 0: came to the end; 1: a step it does not know; the kit's. */
#include "agenda.h"
#include "kvmbox_guest.h"

#define VECTOR 0x50

static volatile int arrived;
static uint64_t arrived_ps;
static unsigned pic_irq; /* INTx: 0 none */

static void on_interrupt(int vector)
{
	arrived_ps = time_ps();
	if (vector != VECTOR) {
		pic_mask(pic_irq);
		pic_eoi(pic_irq);
	}
	lapic_eoi();
	arrived = 1;
}

static uint64_t address(const struct agenda_step *s)
{
	static uint64_t base[32][6];
	uint64_t *b = &base[s->slot][s->bar];

	if (!*b) {
		struct pci_bar bar;

		if (!pci_bar(s->slot << 3, s->bar, &bar))
			panic("slot %u has no BAR %u", s->slot, s->bar);
		pci_enable(s->slot << 3, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		*b = bar.address;
	}
	return *b + s->offset;
}

static void read_bar(struct agenda_step *s)
{
	uint64_t addr = address(s);

	s->before = time_ps();
	switch (s->width) {
	case 1:
		s->value = mmio_read8(addr);
		break;
	case 2:
		s->value = mmio_read16(addr);
		break;
	case 4:
		s->value = mmio_read32(addr);
		break;
	default:
		s->value = mmio_read64(addr);
	}
	s->after = time_ps();
}

static void write_bar(struct agenda_step *s)
{
	uint64_t addr = address(s);

	s->before = time_ps();
	switch (s->width) {
	case 1:
		mmio_write8(addr, (uint8_t)s->value);
		break;
	case 2:
		mmio_write16(addr, (uint16_t)s->value);
		break;
	case 4:
		mmio_write32(addr, (uint32_t)s->value);
		break;
	default:
		mmio_write64(addr, s->value);
	}
	s->after = time_ps();
}

static void enable_interrupt(const struct agenda_step *s)
{
	if (s->op == AGENDA_MSI) {
		irq_handler(VECTOR, on_interrupt);
		if (!msi_enable(s->slot << 3, VECTOR, 0))
			panic("slot %u has no MSI", s->slot);
		return;
	}
	pic_irq = pci_read8(s->slot << 3, PCI_INTERRUPT_LINE);
	irq_handler(PIC_VECTOR + (int)pic_irq, on_interrupt);
	pic_unmask(pic_irq);
}

static void poll_ram(struct agenda_step *s)
{
	volatile uint64_t *p = (volatile uint64_t *)(uintptr_t)s->offset;

	for (unsigned looks = 0; *p != s->value && looks < 20000; looks++)
		time_ps();
	s->value = *p;
}

static bool step(struct agenda_step *s)
{
	switch (s->op) {
	case AGENDA_READ:
		read_bar(s);
		return true;
	case AGENDA_WRITE:
		write_bar(s);
		return true;
	case AGENDA_RAM:
		s->value = *(volatile uint64_t *)(uintptr_t)s->offset;
		return true;
	case AGENDA_POLL:
		poll_ram(s);
		return true;
	case AGENDA_MSI:
	case AGENDA_INTX:
		enable_interrupt(s);
		return true;
	case AGENDA_SLEEP:
		wait_until(&arrived);
		break;
	case AGENDA_SPIN:
		irq_enable();
		while (!arrived)
			time_ps();
		irq_disable();
		break;
	default:
		return false;
	}
	s->value = arrived_ps;
	arrived = 0;
	return true;
}

int main(void)
{
	struct agenda_step *s = (struct agenda_step *)AGENDA_ADDR;

	pic_init();
	for (unsigned i = 0; i < AGENDA_MAX && s[i].op != AGENDA_END; i++)
		if (!step(&s[i]))
			return 1;
	return 0;
}
