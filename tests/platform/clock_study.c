/* A guest that times accesses and timers: see clock_study_regs.h. */
#include "clock_study_regs.h"
#include "kvmbox_guest.h"

static uint64_t conductor, target[STUDY_TARGETS];
static volatile int enough;
static uint64_t ticks, wanted;

/* The first one may have been pending since before it was unmasked: it does not count. */
static GUEST_CPL0 void tick(void)
{
	if (ticks && ticks <= wanted)
		mmio_write64(conductor + STUDY_TICK, time_ps());
	if (ticks++ >= wanted)
		enough = 1;
}

static GUEST_CPL0 void pit(int vector)
{
	(void)vector;
	tick();
	pic_eoi(0);
}

static GUEST_CPL0 void rtc(int vector)
{
	(void)vector;
	tick();
	outb(0x70, 0x0c); /* reading register C releases IRQ 8 */
	inb(0x71);
	pic_eoi(8);
}

static uint64_t find(unsigned device)
{
	const unsigned bdf = pci_find(STUDY_VENDOR, (uint16_t)device, 0);
	struct pci_bar bar;

	if (bdf == GUEST_PCI_NONE || !pci_bar(bdf, 0, &bar))
		panic("clock study: no device %x\n", device);
	pci_enable(bdf, PCI_COMMAND_MEMORY);
	return bar.address;
}

static void time_access(bool write, uint64_t address)
{
	const uint64_t from = time_ps();
	uint64_t to;

	if (write) {
		mmio_write32(address + STUDY_DELAYED, 1);
		mmio_read32(address + STUDY_FLUSH);
	} else {
		mmio_read32(address + STUDY_DELAYED);
	}
	to = time_ps();
	mmio_write64(conductor + STUDY_FROM, from);
	mmio_write64(conductor + STUDY_TO, to);
}

static void count_ticks(unsigned irq)
{
	ticks = 0;
	enough = 0;
	wanted = mmio_read64(conductor + STUDY_COUNT);
	pic_unmask(irq);
	wait_until(&enough);
	pic_mask(irq);
}

static void time_pit(unsigned divisor)
{
	outb(0x43, 0x34); /* counter 0, low and high byte, mode 2 */
	outb(0x40, (uint8_t)divisor);
	outb(0x40, (uint8_t)(divisor >> 8));
	count_ticks(0);
	outb(0x43, 0x38); /* mode 4 without a count: quiet */
}

static uint8_t cmos(uint8_t reg)
{
	outb(0x70, reg);
	return inb(0x71);
}

static void set_cmos(uint8_t reg, uint8_t value)
{
	outb(0x70, reg);
	outb(0x71, value);
}

static void time_rtc(unsigned rate)
{
	set_cmos(0x0a, (uint8_t)((cmos(0x0a) & 0xf0) | rate));
	set_cmos(0x0b, cmos(0x0b) | 0x40); /* PIE */
	cmos(0x0c);
	count_ticks(8);
	set_cmos(0x0b, cmos(0x0b) & 0xbf);
}

int main(void)
{
	conductor = find(STUDY_CONDUCTOR);
	for (unsigned i = 0; i < STUDY_TARGETS; i++)
		target[i] = find(STUDY_TARGET + i);
	pic_init();
	irq_handler(PIC_VECTOR, pit);
	irq_handler(PIC_VECTOR + 8, rtc);
	for (;;) {
		const uint64_t command = mmio_read64(conductor + STUDY_COMMAND);
		const unsigned argument = (unsigned)(command >> 8);

		switch (command & 0xff) {
		case STUDY_READ:
		case STUDY_WRITE:
			time_access((command & 0xff) == STUDY_WRITE, target[argument % STUDY_TARGETS]);
			break;
		case STUDY_PIT:
			time_pit(argument);
			break;
		case STUDY_RTC:
			time_rtc(argument);
			break;
		default:
			return 0;
		}
	}
}
