/* Reads each clock between two looks at the time register, over and over, while devices take their time: see all_clocks_regs.h. */
#include "all_clocks_regs.h"
#include "kvmbox_guest.h"

static uint64_t *const count = (uint64_t *)CLOCKS_SAMPLES;
static struct clocks_sample *const samples = (struct clocks_sample *)(CLOCKS_SAMPLES + sizeof(*count));
static uint64_t model, has;
static volatile int woken;

static uint64_t read_model(void)
{
	return mmio_read64(model + CLOCKS_NOW);
}

static uint64_t read_port(void)
{
	const uint64_t low = inl(GUEST_TIME_PORT);

	return low | (uint64_t)inl(GUEST_TIME_PORT + 4) << 32;
}

static uint64_t read_pit(void)
{
	uint64_t low;

	outb(0x43, 0x80); /* latch counter 2 */
	low = inb(0x42);
	return low | (uint64_t)inb(0x42) << 8;
}

static uint64_t read_lapic(void)
{
	return lapic_read(LAPIC_TIMER_CURRENT);
}

static uint8_t cmos(uint8_t reg)
{
	outb(0x70, reg);
	return inb(0x71);
}

static uint64_t read_rtc(void)
{
	const uint8_t hour = cmos(4), minute = cmos(2), second = cmos(0);

	return hour * 3600u + minute * 60u + second;
}

static uint64_t (*const readers[CLOCKS_COUNT])(void) = {
	[CLOCKS_MODEL] = read_model, [CLOCKS_PORT] = read_port, [CLOCKS_PIT] = read_pit, [CLOCKS_LAPIC] = read_lapic,
	[CLOCKS_RTC] = read_rtc,
};

/* Of the RTC's reading only the second itself is atomic: not while it is updated, and not across a carry. */
static bool rtc_is_settled(void)
{
	return !(cmos(0x0a) & 0x80) && cmos(0) < 59;
}

static void sample(unsigned clock)
{
	struct clocks_sample *s = &samples[*count];

	if (*count == CLOCKS_MAX || !(has & 1u << clock) || (clock == CLOCKS_RTC && !rtc_is_settled()))
		return;
	s->clock = clock;
	s->before = time_ps();
	s->value = readers[clock]();
	s->after = time_ps();
	if (clock == CLOCKS_RTC && cmos(0x0a) & 0x80)
		return; /* the update began meanwhile */
	++*count;
}

static GUEST_CPL0 void pit(int vector)
{
	(void)vector;
	woken = 1;
	pic_eoi(0);
}

/* About 10 ms in HLT. */
static void sleep_a_while(void)
{
	woken = 0;
	outb(0x43, 0x30); /* counter 0, mode 0 */
	outb(0x40, 11932 & 0xff);
	outb(0x40, 11932 >> 8);
	wait_until(&woken);
}

static void compute_a_while(void)
{
	for (volatile unsigned i = 0; i < 100000; i++)
		;
}

static void set_up(void)
{
	const unsigned bdf = pci_find(CLOCKS_VENDOR, CLOCKS_DEVICE, 0);
	struct pci_bar bar;

	if (bdf == GUEST_PCI_NONE || !pci_bar(bdf, 0, &bar))
		panic("all clocks: no device\n");
	pci_enable(bdf, PCI_COMMAND_MEMORY);
	model = bar.address;
	has = mmio_read64(model + CLOCKS_HAS);
	pic_init();
	irq_handler(PIC_VECTOR, pit);
	pic_unmask(0);
	outb(0x61, (uint8_t)((inb(0x61) & ~2) | 1)); /* gate of counter 2 */
	outb(0x43, 0xb4);                            /* counter 2, both bytes, mode 2 */
	outb(0x42, 0);
	outb(0x42, 0);
	lapic_write(LAPIC_TIMER_DIVIDE, 3); /* 16 */
	lapic_write(LAPIC_LVT_TIMER, 0x10000);
	lapic_write(LAPIC_TIMER_INITIAL, 0xffffffff);
	outb(0x70, 0x0b);
	outb(0x71, 0x06); /* binary, 24 hours */
}

int main(void)
{
	unsigned round, clock;
	uint64_t until;

	set_up();
	until = mmio_read64(model + CLOCKS_UNTIL);
	for (round = 0; time_ps() < until; round++) {
		for (clock = 0; clock < CLOCKS_COUNT; clock++)
			sample(clock);
		switch (round % 4) {
		case 0:
			sleep_a_while();
			break;
		case 1:
			compute_a_while();
			break;
		default:
			mmio_read64(model + CLOCKS_WAIT);
		}
	}
	return 0;
}
