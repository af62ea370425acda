/*
 * I/O APIC (82093AA): registers; edges of the PIT on pin 2, masked, as NMI; a level from the HPET with remote IRR, EOI
 * broadcast and directed EOI; the 8259s by ExtINT on pin 0.
 */
#include "ioapic.h"

#define VECTOR 0x60
#define COUNT 1193 /* of the PIT: 1 ms */
#define TICKS 10
enum { SVR_SUPPRESS_EOI = 0x1000 };

static volatile int nmis;
static volatile uint32_t in_service, after_eoi;
static volatile bool directed;
static void (*dump)(struct guest_exception *);

static void on_edge(int vector)
{
	(void)vector;
	tick();
	lapic_eoi();
}

static void on_extint(int vector)
{
	tick();
	if (vector == PIC_VECTOR + 4)
		inb(0x3fa); /* the UART's request goes */
	else
		pic_eoi(0);
}

static void on_nmi(struct guest_exception *e)
{
	if (e->vector == 2)
		nmis++;
	else
		dump(e);
}

/* Answers the device at the second time only. */
static void on_level(int vector)
{
	tick();
	in_service = ioapic_entry(PIN_HPET);
	if (ticks == 2)
		hpet_write(HPET_STATUS, 1);
	lapic_eoi();
	after_eoi = ioapic_entry(PIN_HPET);
	if (directed)
		ioapic_eoi((uint8_t)vector);
}

static void registers(void)
{
	CHECK(1, ioapic_read(IOAPIC_VERSION) == 0x00170020);
	for (unsigned pin = 0; pin < 24; pin++)
		CHECK(2, ioapic_entry(pin) == ENTRY_MASKED);
	ioapic_write(IOAPIC_ENTRY + 6, ~0u);
	CHECK(3, ioapic_entry(3) == 0x1afff);
	ioapic_write(IOAPIC_ENTRY + 6, ENTRY_MASKED);
	CHECK(4, ioapic_entry(3) == ENTRY_MASKED);
}

static void edges(void)
{
	uint64_t start = time_ns(), elapsed;

	irq_handler(VECTOR, on_edge);
	expect_ticks(TICKS);
	pit_start(2, COUNT);
	ioapic_route(PIN_PIT, VECTOR); /* behind the edge that the mode makes */
	wait_until(&enough);
	elapsed = time_ns() - start;
	printf("%d ticks of %llu ns took %lu ns\n", TICKS, PIT_NS(COUNT), elapsed);
	CHECK(10, elapsed > TICKS * PIT_NS(COUNT) - CLOCK && elapsed < TICKS * PIT_NS(COUNT) + SLACK);

	ioapic_route(PIN_PIT, ENTRY_MASKED | VECTOR);
	irq_enable();
	spin_ns(MS / 10); /* one may have been on its way */
	expect_ticks(TICKS);
	spin_ns(3 * MS);
	CHECK(11, ticks == 0);

	dump = guest_exception_handler;
	guest_exception_handler = on_nmi;
	nmis = 0;
	ioapic_route(PIN_PIT, ENTRY_NMI);
	spin_ns(3 * MS);
	ioapic_route(PIN_PIT, ENTRY_MASKED);
	irq_disable();
	printf("NMIs %s\n", nmis >= 1 ? "come" : "do not come");
	CHECK(12, nmis >= 1 && ticks == 0);
}

static void level(void)
{
	irq_handler(VECTOR + 1, on_level);
	ioapic_route(PIN_HPET, ENTRY_LEVEL | ENTRY_LOW | (VECTOR + 1));
	hpet_write(HPET_TCONF(0), HPET_ENABLE | HPET_LEVEL | HPET_ROUTE);
	expect_ticks(2);
	hpet_write(HPET_COMP(0), hpet_read(HPET_COUNTER) + HPET_MS);
	wait_until(&enough);
	irq_enable();
	spin_ns(MS);
	irq_disable();
	printf("a level is answered after %d interrupts\n", ticks);
	CHECK(20, ticks == 2);
	CHECK(21, in_service & ENTRY_REMOTE_IRR);
	CHECK(22, !(after_eoi & ENTRY_REMOTE_IRR));
	CHECK(23, ioapic_entry(PIN_HPET) == (ENTRY_LEVEL | ENTRY_LOW | (VECTOR + 1)));
}

static void directed_eoi(void)
{
	lapic_write(LAPIC_SVR, SVR_SUPPRESS_EOI | 0x100 | LAPIC_SPURIOUS_VECTOR);
	CHECK(30, lapic_read(LAPIC_SVR) & SVR_SUPPRESS_EOI);
	directed = true;
	expect_ticks(2);
	hpet_write(HPET_COMP(0), hpet_read(HPET_COUNTER) + HPET_MS);
	wait_until(&enough);
	irq_enable();
	spin_ns(MS / 10);
	irq_disable();
	CHECK(31, ticks == 2);
	CHECK(32, after_eoi & ENTRY_REMOTE_IRR);
	CHECK(33, !(ioapic_entry(PIN_HPET) & ENTRY_REMOTE_IRR));
	ioapic_route(PIN_HPET, ENTRY_MASKED);
	lapic_init();
	CHECK(34, !(lapic_read(LAPIC_SVR) & SVR_SUPPRESS_EOI));
}

static void extint(void)
{
	lapic_write(LAPIC_LVT_LINT0, 0x10000);
	irq_handler(PIC_VECTOR, on_extint);
	pic_unmask(0);
	pit_start(0, COUNT);
	irq_enable();
	expect_ticks(TICKS);
	spin_ns(2 * MS);
	irq_disable();
	CHECK(40, ticks == 0);
	ioapic_route(PIN_PIC, ENTRY_EXTINT);
	/* The request that waits is no edge; acknowledge it by polling. */
	outb(0x20, 0x0c);
	inb(0x20);
	pic_eoi(0);
	pit_start(2, COUNT);
	wait_until(&enough);
	pic_mask(0);
	puts("ExtINT on pin 0");
	CHECK(41, ticks >= TICKS);
}

/* Two requests at once, and automatic EOI: INTR would stay high, but each is an edge for the I/O APIC. */
static void extint_twice(void)
{
	irq_handler(PIC_VECTOR + 4, on_extint);
	outb(0x20, 0x11);
	outb(0x21, PIC_VECTOR);
	outb(0x21, 4);
	outb(0x21, 3); /* 8086, automatic EOI */
	pic_mask(0);
	expect_ticks(2);
	pit_start(0, 12);
	outb(0x3fc, 0x0b); /* DTR, RTS, OUT2 */
	outb(0x3f9, 2);    /* transmitter empty: IRQ 4 */
	spin_ns(MS / 10);
	outb(0x21, 0xea); /* IRQ 0, 2, 4 */
	irq_enable();
	spin_ns(MS);
	irq_disable();
	outb(0x3f9, 0);
	CHECK(50, ticks == 2);
}

int main(void)
{
	pic_init();
	hpet_write(HPET_CONF, 1);
	registers();
	edges();
	level();
	directed_eoi();
	extint();
	extint_twice();
	return 0;
}
