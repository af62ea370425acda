/*
 * Misuses the other CPUs: messages of every kind to them, well-formed or not, while they are starting, running whatever is at a random
 * page, or waiting; nothing of it may harm the box. The first CPU only spares itself INIT, and ends the run.
 */
#include "check.h"

#define ROUNDS 1500
enum { ICR = 0x300, ICR_HIGH = 0x310 };

static uint32_t state = 12345;

static uint32_t GUEST_CPL0 next(void)
{
	state ^= state << 13;
	state ^= state >> 17;
	return state ^= state << 5;
}

static volatile uint32_t interrupts, exceptions;

static void GUEST_CPL0 on_interrupt(int vector)
{
	(void)vector;
	interrupts++;
	lapic_eoi();
}

static void GUEST_CPL0 on_exception(struct guest_exception *e)
{
	(void)e; /* an NMI, the others' */
	exceptions++;
}

/* Real-mode code for the others: HLT with and without interrupts, loops, port writes, nonsense. */
static void GUEST_CPL0 sow(void)
{
	static const uint8_t code[][4] = {
		{ 0xfa, 0xf4, 0xeb, 0xfc }, { 0xfb, 0xf4, 0xeb, 0xfc }, { 0xeb, 0xfe }, { 0xe6, 0x80, 0xeb, 0xfc }, { 0x0f, 0x0b }, { 0xf4 },
		{ 0xcd, 0x03 }, { 0x0f, 0x01, 0xc1, 0xf4 },
	};

	for (uint32_t page = 0x20; page < 0x60; page++)
		for (unsigned i = 0; i < 4; i++)
			((volatile uint8_t *)(uintptr_t)(page << 12))[i] = code[page % 8][i];
}

static long GUEST_CPL0 run(long a, long b, struct guest_frame *frame)
{
	(void)a;
	(void)b;
	(void)frame;
	sow();
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint32_t icr = next() & 0xcdfff, mode = icr >> 8 & 7;

		if (mode == 6) /* SIPI: to a page that was sown, mostly */
			icr = (icr & ~0xffu) | (next() % 8 ? 0x20 + next() % 0x40 : next() % 256);
		if (mode < 2) /* not an exception's vector: this CPU gets some, too */
			icr |= 0x20;
		if (mode == 5 || mode == 4) /* spare this CPU */
			icr = (icr & ~0xc0800u) | 0xc0000;
		lapic_write(ICR_HIGH, next() % 4 ? (1 + next() % 3) << 24 : next());
		lapic_write(ICR, icr);
		if (i % 64 == 0)
			__asm__ volatile("sti; nop; nop; cli" : : : "memory");
		if (i % 256 == 0)
			inb(0x80);
	}
	return 0;
}

int main(void)
{
	guest_exception_handler = on_exception;
	lapic_init();
	for (int vector = 32; vector < 256; vector++)
		irq_handler(vector, on_interrupt);
	kernel_call(run, 0, 0);
	return 0;
}
