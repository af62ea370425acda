/*
 * Several CPUs (SDM volume 3, "Multiple-Processor (MP) Initialization" and "Issuing Interprocessor Interrupts"): INIT and SIPI, IPIs
 * by every kind of destination, time that all of them agree on, INIT of a CPU that runs.
 * All other CPUs the firmware's CPUID counts are started; the box decides how many there are.
 */
#include "check.h"

#define TRAMPOLINE 0x8000u
#define SPINS 100000u
#define VECTOR 0x61
#define TSS_SELECTOR 0x40
enum { ICR = 0x300, ICR_HIGH = 0x310, LDR = 0xd0, PENDING = 1u << 12 };
enum { FIXED = 0, LOWEST = 0x100, NMI = 0x400, INIT = 0x500, SIPI = 0x600, LOGICAL = 0x800, ASSERT = 0x4000, OTHERS = 0xc0000 };

/*
 * From real mode at TRAMPOLINE to long mode with the first CPU's tables. What ap_start_data says follows the code.
 */
extern const uint8_t ap_code[], ap_data[], ap_end[];
__asm__(".section .rodata\n"
	".code16\n"
	"ap_code: cli\n"
	"	xor %eax, %eax\n"
	"	mov %ax, %ds\n"
	"	lgdtl 0x8000 + ap_gdtr - ap_code\n"
	"	mov %cr0, %eax\n"
	"	and $0x9fffffff, %eax\n" /* CD, NW */
	"	or $1, %eax\n"
	"	mov %eax, %cr0\n"
	"	ljmpl $0x08, $0x8000 + 1f - ap_code\n"
	".code32\n"
	"1:	mov $0x10, %eax\n"
	"	mov %eax, %ds\n"
	"	mov %eax, %es\n"
	"	mov %eax, %ss\n"
	"	mov 0x8000 + ap_data - ap_code + 8, %eax\n"
	"	mov %eax, %cr4\n"
	"	mov 0x8000 + ap_data - ap_code, %eax\n"
	"	mov %eax, %cr3\n"
	"	mov $0xc0000080, %ecx\n"
	"	rdmsr\n"
	"	or $0x100, %eax\n"
	"	wrmsr\n"
	"	mov %cr0, %eax\n"
	"	or $0x80010020, %eax\n" /* PG, WP, NE */
	"	mov %eax, %cr0\n"
	"	ljmpl $0x18, $0x8000 + 2f - ap_code\n"
	".code64\n"
	"2:	lgdt 0x8000 + ap_data - ap_code + 32\n"
	"	lidt 0x8000 + ap_data - ap_code + 48\n"
	"	mov 0x8000 + ap_data - ap_code + 16, %rsp\n"
	"	xor %eax, %eax\n"
	"	mov %eax, %ds\n"
	"	mov %eax, %es\n"
	"	mov $0x18, %eax\n" /* the kit's, in its GDT */
	"	mov %eax, %ss\n"
	"	mov 0x8000 + ap_data - ap_code + 24, %rax\n"
	"	pushq 0x8000 + ap_data - ap_code + 64\n"
	"	pushq %rax\n"
	"	lretq\n"
	".balign 8\n"
	"ap_gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff\n"
	"ap_gdtr: .word . - ap_gdt - 1\n"
	"	.long 0x8000 + ap_gdt - ap_code\n"
	".balign 8\n"
	"ap_data: .skip 72\n"
	"ap_end: .text\n");

/* At ap_data. */
struct ap_start {
	uint64_t cr3, cr4, stack, entry;
	uint8_t gdtr[16], idtr[16];
	uint64_t cs;
};

#define CPUS 8
enum job { SLEEP, COUNT_TIME, SEND_BACK, SET_ALARM };

static struct cpu {
	volatile uint32_t alive, hits, nmis, apic_id, done;
	volatile enum job job;
	uint8_t stack[4096] __attribute__((aligned(16)));
} cpus[CPUS];

static volatile unsigned count;
static volatile uint64_t alarm_ns; /* when CPU 1's timer came */
static volatile int woken;
static volatile uint32_t back, turn, disorder;
static volatile uint64_t latest;

static unsigned GUEST_CPL0 me(void)
{
	return lapic_read(LAPIC_ID) >> 24;
}

static void GUEST_CPL0 on_ipi(int vector)
{
	(void)vector;
	cpus[me()].hits++;
	lapic_eoi();
}

static void GUEST_CPL0 on_back(int vector)
{
	(void)vector;
	back++;
	lapic_eoi();
}

static void GUEST_CPL0 on_timer(int vector)
{
	(void)vector;
	if (me())
		alarm_ns = time_ns();
	else
		woken = 1;
	lapic_eoi();
}

/* One shot, in ns: the timer's clock is 1 GHz. */
static void GUEST_CPL0 set_timer(uint32_t ns)
{
	lapic_write(LAPIC_TIMER_DIVIDE, 0xb);
	lapic_write(LAPIC_LVT_TIMER, VECTOR + 2);
	lapic_write(LAPIC_TIMER_INITIAL, ns);
}

static void GUEST_CPL0 on_exception(struct guest_exception *e)
{
	CHECK(1, e->vector == 2);
	cpus[me()].nmis++;
}

/* An exit, which takes time with every clock. */
static void GUEST_CPL0 relax(void)
{
	inb(0x80);
}

/* Device time, read by turns on all CPUs, never steps back. */
static void GUEST_CPL0 look_at_time(unsigned id)
{
	for (unsigned round = 0; round < 20; round++) {
		uint64_t t;

		while (turn != id)
			relax();
		t = time_ps();
		if (t < latest)
			disorder++;
		latest = t;
		turn = (id + 1) % count;
	}
}

static void GUEST_CPL0 ipi(uint32_t dest, uint32_t command)
{
	lapic_write(ICR_HIGH, dest << 24);
	lapic_write(ICR, command);
	CHECK(2, !(lapic_read(ICR) & PENDING));
}

/* The kit's TSS serves all: only its NMI stack is used, by one CPU at a time. */
static void GUEST_CPL0 load_tss(void)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} gdtr;

	__asm__ volatile("sgdt %0" : "=m"(gdtr));
	((volatile uint8_t *)gdtr.base)[TSS_SELECTOR + 5] = 0x89; /* no longer busy */
	__asm__ volatile("ltr %%ax" : : "a"(TSS_SELECTOR));
}

static void GUEST_CPL0 ap_main(void)
{
	unsigned id = me();
	struct cpu *c = &cpus[id];

	load_tss();
	c->apic_id = id;
	lapic_write(LAPIC_SVR, 0x1ff);
	lapic_write(LDR, 1u << (24 + id));
	c->alive++;
	for (;;) {
		switch (c->job) {
		case COUNT_TIME:
			c->job = SLEEP;
			look_at_time(id);
			c->done = 1;
			break;
		case SEND_BACK:
			c->job = SLEEP;
			ipi(0, ASSERT | FIXED | (VECTOR + 1));
			break;
		case SET_ALARM:
			c->job = SLEEP;
			set_timer(MS);
			break;
		default:
			__asm__ volatile("sti; hlt; cli" : : : "memory");
		}
	}
}

static struct ap_start *GUEST_CPL0 start_data(void)
{
	return (struct ap_start *)(uintptr_t)(TRAMPOLINE + (uint32_t)(ap_data - ap_code));
}

static void GUEST_CPL0 prepare(void)
{
	struct ap_start *s = start_data();
	uint64_t cr3, cr4, cs;

	for (unsigned i = 0; i < (uint32_t)(ap_end - ap_code); i++)
		((volatile uint8_t *)(uintptr_t)TRAMPOLINE)[i] = ap_code[i];
	__asm__("mov %%cr3, %0; mov %%cr4, %1; mov %%cs, %2" : "=r"(cr3), "=r"(cr4), "=r"(cs));
	s->cr3 = cr3;
	s->cr4 = cr4;
	s->cs = cs;
	s->entry = (uintptr_t)ap_main;
	__asm__ volatile("sgdt %0; sidt %1" : "=m"(s->gdtr), "=m"(s->idtr));
}

static void GUEST_CPL0 wait_for(volatile uint32_t *value, uint32_t wanted, int status)
{
	for (unsigned i = 0; *value != wanted; i++) {
		CHECK(status, i < SPINS);
		relax();
	}
}

static void GUEST_CPL0 start(unsigned id)
{
	uint32_t alive = cpus[id].alive;

	start_data()->stack = (uintptr_t)(cpus[id].stack + sizeof(cpus[id].stack));
	ipi(id, INIT | ASSERT);
	ipi(id, SIPI | ASSERT | TRAMPOLINE >> 12);
	ipi(id, SIPI | ASSERT | 0x55); /* it is running by then, or on its way: ignored */
	wait_for(&cpus[id].alive, alive + 1, 10);
	CHECK(11, cpus[id].apic_id == id);
}

static uint32_t GUEST_CPL0 hits(void)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < count; i++)
		sum += cpus[i].hits;
	return sum;
}

/* Simulated time goes on for all. */
static void GUEST_CPL0 settle(void)
{
	for (uint64_t end = time_ns() + MS; time_ns() < end;)
		;
}

static void GUEST_CPL0 interrupts(void)
{
	ipi(1, ASSERT | FIXED | VECTOR);
	wait_for(&cpus[1].hits, 1, 20);
	ipi(0, ASSERT | FIXED | OTHERS | VECTOR);
	settle();
	CHECK(21, cpus[0].hits == 0 && cpus[1].hits == 2 && hits() == count);
	ipi(2, ASSERT | FIXED | LOGICAL | VECTOR); /* bit 1 is CPU 1 */
	wait_for(&cpus[1].hits, 3, 22);
	ipi(0xfe, ASSERT | LOWEST | LOGICAL | VECTOR);
	settle();
	CHECK(23, hits() == count + 2);
	ipi(1, ASSERT | NMI);
	wait_for(&cpus[1].nmis, 1, 24);
	mmio_write32(0xfee00000 + 0x300, 0); /* vector 0 to whoever: an error of the sender, nothing else */
	cpus[1].job = SEND_BACK;
	ipi(1, ASSERT | FIXED | VECTOR);
	__asm__ volatile("sti");
	wait_for(&back, 1, 25);
	__asm__ volatile("cli");
}

static void GUEST_CPL0 one_time(void)
{
	for (unsigned i = 1; i < count; i++)
		cpus[i].job = COUNT_TIME;
	ipi(0, ASSERT | FIXED | OTHERS | VECTOR);
	turn = 0;
	look_at_time(0);
	for (unsigned i = 1; i < count; i++)
		wait_for(&cpus[i].done, 1, 30);
	CHECK(31, disorder == 0);
}

/* While all sleep each is woken at its own time. */
static void GUEST_CPL0 alarms(void)
{
	uint64_t start = time_ns();

	cpus[1].job = SET_ALARM;
	ipi(1, ASSERT | FIXED | VECTOR);
	set_timer(50 * MS);
	while (!woken)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	CHECK(40, time_ns() - start >= 50 * MS - CLOCK);
	CHECK(41, alarm_ns - start >= MS - CLOCK && alarm_ns - start < 25 * MS);
}

static long GUEST_CPL0 run(long a, long b, struct guest_frame *frame)
{
	uint32_t reg[4];

	(void)a;
	(void)b;
	(void)frame;
	cpuid(1, 0, reg);
	count = reg[1] >> 16 & 0xff;
	CHECK(3, count >= 2 && count <= CPUS && reg[1] >> 24 == 0);
	cpuid(0xb, 1, reg);
	CHECK(4, (reg[1] & 0xffff) == count || reg[1] == 0);
	lapic_write(LDR, 1u << 24);
	prepare();
	for (unsigned i = 1; i < count; i++)
		start(i);
	interrupts();
	one_time();
	alarms();
	start(1); /* again, out of its sleep */
	ipi(1, ASSERT | FIXED | VECTOR);
	settle();
	CHECK(5, cpus[1].alive == 2);
	return 0;
}

int main(void)
{
	guest_exception_handler = on_exception;
	lapic_init();
	irq_handler(VECTOR, on_ipi);
	irq_handler(VECTOR + 1, on_back);
	irq_handler(VECTOR + 2, on_timer);
	kernel_call(run, 0, 0);
	printf("%u CPUs\n", count);
	return 0;
}
