/* Does what the test wrote into its RAM: see script.h. */
#include "script.h"
#include "check.h"

static struct script_step *const steps = (struct script_step *)SCRIPT_STEPS;
static volatile struct script_result *const result = (struct script_result *)SCRIPT_RESULT;
static volatile int rang;

static void count(int vector)
{
	result->last_ps = time_ps();
	result->last = (uint32_t)vector;
	result->vector[vector]++;
	result->interrupts++;
	rang = 1;
	if (vector >= PIC_VECTOR && vector < PIC_VECTOR + 16)
		pic_eoi((unsigned)vector - PIC_VECTOR);
	else
		lapic_eoi();
}

static uint64_t read(uint64_t addr, unsigned width)
{
	switch (width) {
	case 1:
		return mmio_read8(addr);
	case 2:
		return mmio_read16(addr);
	case 4:
		return mmio_read32(addr);
	default:
		return mmio_read64(addr);
	}
}

static void write(uint64_t addr, unsigned width, uint64_t value)
{
	switch (width) {
	case 1:
		mmio_write8(addr, (uint8_t)value);
		break;
	case 2:
		mmio_write16(addr, (uint16_t)value);
		break;
	case 4:
		mmio_write32(addr, (uint32_t)value);
		break;
	default:
		mmio_write64(addr, value);
	}
}

static void port(struct script_step *s)
{
	uint16_t p = (uint16_t)s->addr;
	bool in = s->op == SCRIPT_IN;

	if (s->width == 1 && in)
		s->value = inb(p);
	else if (s->width == 2 && in)
		s->value = inw(p);
	else if (in)
		s->value = inl(p);
	else if (s->width == 1)
		outb(p, (uint8_t)s->value);
	else if (s->width == 2)
		outw(p, (uint16_t)s->value);
	else
		outl(p, (uint32_t)s->value);
}

static void config(struct script_step *s)
{
	unsigned bdf = (unsigned)(s->addr >> 8), off = (unsigned)s->addr & 0xff;

	if (s->op == SCRIPT_CONFIG_READ)
		s->value = s->width == 1 ? pci_read8(bdf, off) : s->width == 2 ? pci_read16(bdf, off) : pci_read32(bdf, off);
	else if (s->width == 1)
		pci_write8(bdf, off, (uint8_t)s->value);
	else if (s->width == 2)
		pci_write16(bdf, off, (uint16_t)s->value);
	else
		pci_write32(bdf, off, (uint32_t)s->value);
}

static void copy16(struct script_step *s)
{
	__asm__ volatile("movdqu (%0), %%xmm0; movdqu %%xmm0, (%1)"
			 :
			 : "r"(s->addr), "r"(SCRIPT_SCRATCH + s->value)
			 : "memory");
}

static struct script_step *step(struct script_step *s)
{
	switch (s->op) {
	case SCRIPT_READ:
		s->value = read(s->addr, s->width);
		break;
	case SCRIPT_WRITE:
		write(s->addr, s->width, s->value);
		break;
	case SCRIPT_IN:
	case SCRIPT_OUT:
		port(s);
		break;
	case SCRIPT_CONFIG_READ:
	case SCRIPT_CONFIG_WRITE:
		config(s);
		break;
	case SCRIPT_TIME:
		s->value = time_ps();
		break;
	case SCRIPT_UNMASK:
		pic_unmask((unsigned)s->addr);
		break;
	case SCRIPT_IRQ:
		if (s->addr)
			irq_enable();
		else
			irq_disable();
		break;
	case SCRIPT_SLEEP:
		wait_until(&rang);
		rang = 0;
		s->value = result->interrupts;
		break;
	case SCRIPT_COUNT:
		s->value = result->vector[s->addr];
		break;
	case SCRIPT_COPY16:
		copy16(s);
		break;
	case SCRIPT_ADD:
		__asm__ volatile("lock addl %1, (%0)" : : "r"(s->addr), "r"((uint32_t)s->value) : "memory", "cc");
		break;
	case SCRIPT_GOTO:
		return steps + s->addr;
	default:
		exit((int)s->value);
	}
	return s + 1;
}

int main(void)
{
	pic_init();
	for (int v = PIC_VECTOR; v < 255; v++)
		irq_handler(v, count);
	for (struct script_step *s = steps;;) {
		s = step(s);
		result->steps++;
	}
}
