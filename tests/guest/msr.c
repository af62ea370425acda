/* Model-specific registers and CPUID as the test says: see msr.h. */
#include "check.h"
#include "msr.h"

static volatile uint32_t fault;

/* RDMSR and WRMSR are two bytes. */
static void GUEST_CPL0 on_exception(struct guest_exception *e)
{
	CHECK(1, e->vector == 13);
	fault = 1;
	e->frame.rip += 2;
}

static void GUEST_CPL0 perform(volatile struct msr_step *s)
{
	uint32_t reg[4] = { 0 };

	fault = 0;
	switch (s->op) {
	case MSR_READ:
		s->value = rdmsr(s->msr);
		break;
	case MSR_WRITE_ONCE:
		s->op = MSR_EXIT;
		wrmsr(s->msr, s->value);
		break;
	case MSR_WRITE:
		wrmsr(s->msr, s->value);
		break;
	case MSR_EXIT:
		outb(0x80, 0);
		break;
	case MSR_CPUID:
		cpuid(s->msr, 0, reg);
		for (int i = 0; i < 4; i++)
			s->reg[i] = reg[i];
		break;
	case MSR_TSC:
		s->value = rdtsc();
		break;
	case MSR_MEMORY:
		s->value = mmio_read64(s->value);
		break;
	case MSR_RESET:
		s->op = MSR_EXIT; /* once */
		outb(0xcf9, 0x06);
		break;
	default:
		CHECK(2, false);
	}
	s->fault = fault;
}

static long GUEST_CPL0 run(long a, long b, struct guest_frame *frame)
{
	volatile struct msr_step *s = (volatile struct msr_step *)(uintptr_t)MSR_STEPS;

	(void)a;
	(void)b;
	(void)frame;
	for (; s->op != MSR_END; s++)
		perform(s);
	return 0;
}

int main(void)
{
	guest_exception_handler = on_exception;
	kernel_call(run, 0, 0);
	return 0;
}
