/*
 * Local APIC in x2APIC mode (SDM volume 3, "Extended XAPIC"): the way there and back, its registers, what is a #GP, self IPI,
 * ICR, timer.
 */
#include "check.h"

#define VECTOR 0x71
enum {
	BASE = 0x1b, EXTD = 0x400, ENABLE = 0x800,
	ID = 0x802, VERSION, TPR = 0x808, EOI = 0x80b, LDR = 0x80d, DFR, SVR, ISR, IRR = 0x820, ESR = 0x828, ICR = 0x830, ICR_HIGH,
	LVT_TIMER, INITIAL = 0x838, CURRENT, DIVIDE = 0x83e, SELF_IPI, DEADLINE = 0x6e0,
};

static volatile int faults, ticks, seen;

/* RDMSR and WRMSR are two bytes. */
static void GUEST_CPL0 on_exception(struct guest_exception *e)
{
	CHECK(1, e->vector == 13);
	faults++;
	e->frame.rip += 2;
}

static void GUEST_CPL0 tick(int vector)
{
	(void)vector;
	ticks++;
	seen = 1;
	wrmsr(EOI, 0);
}

static bool GUEST_CPL0 write_faults(uint32_t msr, uint64_t value)
{
	int before = faults;

	wrmsr(msr, value);
	return faults != before;
}

static bool GUEST_CPL0 read_faults(uint32_t msr)
{
	int before = faults;

	rdmsr(msr);
	return faults != before;
}

static void GUEST_CPL0 go_there(void)
{
	uint64_t base = rdmsr(BASE);

	CHECK(10, (base & (EXTD | ENABLE)) == ENABLE);
	CHECK(11, read_faults(ID) && write_faults(SVR, 0x1ff)); /* xAPIC mode has no MSRs */
	wrmsr(BASE, base & ~(uint64_t)ENABLE);
	CHECK(12, write_faults(BASE, base | EXTD | ENABLE)); /* not from disabled */
	wrmsr(BASE, base);
	wrmsr(BASE, base | EXTD);
	CHECK(13, (rdmsr(BASE) & (EXTD | ENABLE)) == (EXTD | ENABLE));
	CHECK(14, write_faults(BASE, base)); /* nor back */
	CHECK(15, mmio_read32(0xfee00030) == 0xffffffff);
}

static void GUEST_CPL0 registers(void)
{
	uint32_t reg[4];

	cpuid(0xb, 0, reg);
	CHECK(20, rdmsr(ID) == 0 && rdmsr(ID) == reg[3]);
	CHECK(21, (rdmsr(VERSION) & 0xff) == 0x14);
	CHECK(22, rdmsr(LDR) == 1);
	wrmsr(TPR, 0x40);
	CHECK(23, rdmsr(TPR) == 0x40);
	wrmsr(TPR, 0);
	wrmsr(SVR, 0x1ff);
	CHECK(24, rdmsr(SVR) == 0x1ff);
	wrmsr(ICR, 0x12345678000400f0ull); /* to itself, by shorthand */
	CHECK(25, rdmsr(ICR) >> 32 == 0x12345678);
	CHECK(26, read_faults(DFR) && read_faults(ICR_HIGH) && read_faults(SELF_IPI) && read_faults(EOI) && read_faults(0x80c));
	CHECK(27, write_faults(ID, 1) && write_faults(LDR, 1) && write_faults(ISR, 0) && write_faults(CURRENT, 1));
	CHECK(29, !write_faults(ESR, 0) && !write_faults(EOI, 0));
	cpuid(1, 0, reg);
	CHECK(30, reg[2] >> 21 & 1);
	CHECK(31, read_faults(DEADLINE) == !(reg[2] >> 24 & 1));
}

static long GUEST_CPL0 first(long a, long b, struct guest_frame *frame)
{
	(void)a;
	(void)b;
	(void)frame;
	go_there();
	registers();
	wrmsr(SELF_IPI, VECTOR);
	CHECK(32, rdmsr(IRR + VECTOR / 32) == 1u << VECTOR % 32);
	return 0;
}

static long GUEST_CPL0 start_timer(long periodic, long ms, struct guest_frame *frame)
{
	(void)frame;
	wrmsr(DIVIDE, 0xb);
	wrmsr(LVT_TIMER, (uint64_t)VECTOR | (periodic ? 0x20000 : 0));
	wrmsr(INITIAL, (uint64_t)ms * 1000000); /* 1 GHz, as CPUID 0x15 says */
	CHECK(40, !ms || rdmsr(CURRENT) <= (uint64_t)ms * 1000000);
	return 0;
}

/* KVM's own APIC does not mind most of them. */
static long GUEST_CPL0 reserved_bits(long a, long b, struct guest_frame *frame)
{
	(void)a;
	(void)b;
	(void)frame;
	CHECK(60, write_faults(EOI, 1) && write_faults(ESR, 1) && write_faults(TPR, 0x100) && write_faults(TPR, 1ull << 32) &&
			  write_faults(DIVIDE, 4) && write_faults(SVR, 1u << 13) && write_faults(SELF_IPI, 0x100) &&
			  write_faults(ICR, 1u << 20) && write_faults(LVT_TIMER, 1u << 19));
	return 0;
}

static long GUEST_CPL0 leave(long a, long b, struct guest_frame *frame)
{
	uint64_t base = rdmsr(BASE);

	(void)a;
	(void)b;
	(void)frame;
	wrmsr(BASE, base & ~(uint64_t)(EXTD | ENABLE));
	wrmsr(BASE, (base & ~(uint64_t)EXTD) | ENABLE);
	CHECK(50, read_faults(ID) && (mmio_read32(0xfee00030) & 0xff) == 0x14);
	return 0;
}

static void wait_for_one(void)
{
	seen = 0;
	wait_until(&seen);
}

int main(void)
{
	uint64_t start, elapsed;

	guest_exception_handler = on_exception;
	irq_handler(VECTOR, tick);
	irq_handler(0xf0, tick);
	kernel_call(first, 0, 0);
	irq_enable();
	spin_ns(MS);
	irq_disable();
	CHECK(2, ticks == 2); /* 0xf0 and VECTOR */

	start = time_ns();
	kernel_call(start_timer, 1, 2);
	for (ticks = 0; ticks < 5;)
		wait_for_one();
	elapsed = time_ns() - start;
	CHECK(3, elapsed >= 10 * MS - CLOCK && elapsed < 10 * MS + SLACK);
	kernel_call(start_timer, 0, 0);
	printf("x2apic timer: 5 ticks of 2 ms took %lu ns\n", elapsed);
	kernel_call(reserved_bits, 0, 0);
	kernel_call(leave, 0, 0);
	return 0;
}
