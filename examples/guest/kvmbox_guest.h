/*
 * Guest kit: what a small freestanding x86-64 guest program of the box needs. Link crt0.S and guest.c with guest.ld
 * (examples/guest/local.mk has the rules) and write main(); its result becomes the exit status.
 *
 * main() runs at CPL3 with interrupts off, unless GUEST_OPTIONS() says otherwise. That is deliberate: on kvm_pvm
 * hosts CPL0 code is emulated at about one instruction per microsecond while CPL3 runs natively. CPL3 may use all
 * ports and all memory; what needs CPL0 goes through kernel_call().
 *
 * Functions that run at CPL0 (interrupt handlers, kernel_call() functions, everything they call) must not touch SSE
 * or x87 registers: mark them GUEST_CPL0, or compile their file with GUEST_KERNEL_CFLAGS. Keep them short.
 *
 * Everything costs exits (about 28 us each at CPL3 on kvm_pvm): one per port or MMIO access, so print little.
 * Never use memcpy() and friends on device memory; the mmio functions do one plain mov each.
 */
#ifndef KVMBOX_GUEST_H
#define KVMBOX_GUEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_CPL0 __attribute__((target("general-regs-only")))
#define GUEST_INLINE static inline GUEST_CPL0

/* ---- start and end --------------------------------------------------------- */

#define GUEST_RING0 1  /* main() at CPL0; compile it with GUEST_KERNEL_CFLAGS */
#define GUEST_IRQ_ON 2 /* interrupts are on when main() starts */
/* Once, at file scope. */
#define GUEST_OPTIONS(flags) const uint32_t guest_options = (flags)
extern const uint32_t guest_options;

int main(void);

/* Debug-exit port: ends the simulation's run with this status (0-255). Never returns. */
__attribute__((noreturn)) void exit(int status);
/* The kit's own statuses. */
#define GUEST_EXIT_EXCEPTION 125  /* an exception nobody handles; registers were printed */
#define GUEST_EXIT_INTERRUPT 126  /* an interrupt without handler */
#define GUEST_EXIT_PANIC 127      /* panic() */

/* ---- ports and device memory ------------------------------------------------- */

#define GUEST_PORT(type, suffix, insn)                                                                             \
	GUEST_INLINE void out##suffix(uint16_t port, type value)                                                   \
	{                                                                                                          \
		__asm__ volatile("out" insn " %0, %1" : : "a"(value), "Nd"(port) : "memory");                      \
	}                                                                                                          \
	GUEST_INLINE type in##suffix(uint16_t port)                                                                \
	{                                                                                                          \
		type value;                                                                                        \
		__asm__ volatile("in" insn " %1, %0" : "=a"(value) : "Nd"(port) : "memory");                       \
		return value;                                                                                      \
	}
GUEST_PORT(uint8_t, b, "b")
GUEST_PORT(uint16_t, w, "w")
GUEST_PORT(uint32_t, l, "l")
#undef GUEST_PORT

/*
 * Physical = virtual; above 4 GiB 2 MiB pages are mapped at the first touch, in up to 16 different GiB. Accesses keep
 * their order.
 */
#define GUEST_MMIO(bits, insn, constraint)                                                                         \
	GUEST_INLINE uint##bits##_t mmio_read##bits(uint64_t addr)                                                 \
	{                                                                                                          \
		uint##bits##_t value;                                                                              \
		__asm__ volatile(insn " (%1), %0" : "=" constraint(value) : "r"(addr) : "memory");                 \
		return value;                                                                                      \
	}                                                                                                          \
	GUEST_INLINE void mmio_write##bits(uint64_t addr, uint##bits##_t value)                                    \
	{                                                                                                          \
		__asm__ volatile(insn " %0, (%1)" : : constraint(value), "r"(addr) : "memory");                    \
	}
GUEST_MMIO(8, "movb", "q")
GUEST_MMIO(16, "movw", "r")
GUEST_MMIO(32, "movl", "r")
GUEST_MMIO(64, "movq", "r")
#undef GUEST_MMIO

/* Keeps the compiler from moving memory accesses across: around DMA buffers. x86 needs no fence for RAM. */
#define barrier() __asm__ volatile("" : : : "memory")

/* ---- memory and text ------------------------------------------------------------ */

void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);

/* COM1, 115200 8N1, FIFOs on; set up by the first byte. */
void write_com1(const char *s, size_t n);
int putchar(int c);
int puts(const char *s); /* with a newline */
/* %s %c %d %i %u %x %X %p %%, with l, ll or z, '-', '0', width or '*', and precision for %s. Returns bytes printed. */
__attribute__((format(printf, 1, 2))) int printf(const char *fmt, ...);
int vprintf(const char *fmt, va_list args);
/* Prints and ends with GUEST_EXIT_PANIC. */
__attribute__((format(printf, 1, 2), noreturn)) void panic(const char *fmt, ...);

/* ---- simulated time ----------------------------------------------------------------- */

/* The box's time register (devices/simtime.h), memory and ports: +0 picoseconds, +8 nanoseconds, 64 bits each. */
#define GUEST_TIME_MMIO 0xFED80000ull
#define GUEST_TIME_PORT 0x5C0
GUEST_INLINE uint64_t time_ps(void)
{
	return mmio_read64(GUEST_TIME_MMIO);
}
GUEST_INLINE uint64_t time_ns(void)
{
	return mmio_read64(GUEST_TIME_MMIO + 8);
}

/*
 * kvm-clock: simulated time from a page that the box keeps up to date, without an exit, in either ring. pvclock_enable()
 * asks the box for it (CPUID, MSR); false: there is none (pvclock=no, or this host cannot; the box's log says why). It costs some
 * accuracy: while enabled, each exit takes a microsecond or two more of simulated time with clock=tsc (vcpu/view.h).
 */
bool pvclock_enable(void);
void pvclock_disable(void);
/* Seconds since 1970 at time 0; 0: none. After pvclock_enable(). */
uint32_t pvclock_start_s(void);

struct guest_pvclock { /* Linux arch/x86/include/asm/pvclock-abi.h */
	uint32_t version, pad0;
	uint64_t tsc_timestamp, system_time;
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags, pad[2];
};
extern volatile struct guest_pvclock guest_pvclock;

/* The host's TSC, unless the box could make it guest time (tsc=guest): then it ticks as CPUID 0x15 says. */
GUEST_INLINE uint64_t rdtsc(void)
{
	uint32_t lo, hi;
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

/* Only once pvclock_enable() was true. */
GUEST_INLINE uint64_t pvclock_ns(void)
{
	const volatile struct guest_pvclock *p = &guest_pvclock;
	uint64_t delta, ns;
	uint32_t version;

	do {
		version = p->version & ~1u; /* odd: it is just being written */
		barrier();
		__asm__ volatile("lfence" : : : "memory");
		delta = rdtsc() - p->tsc_timestamp;
		delta = p->tsc_shift < 0 ? delta >> -p->tsc_shift : delta << p->tsc_shift;
		ns = p->system_time + (uint64_t)((unsigned __int128)delta * p->tsc_to_system_mul >> 32);
		barrier();
	} while (p->version != version);
	return ns;
}

/* CPL0 only. */
GUEST_INLINE uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;
	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (uint64_t)hi << 32 | lo;
}
GUEST_INLINE void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(msr) : "memory");
}
/* At CPL3 on kvm_pvm this is the host's CPUID, not the guest's. */
GUEST_INLINE void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t reg[4])
{
	__asm__ volatile("cpuid" : "=a"(reg[0]), "=b"(reg[1]), "=c"(reg[2]), "=d"(reg[3]) : "a"(leaf), "c"(subleaf));
}

/* ---- CPL0 ---------------------------------------------------------------------------- */

/* What an interrupt pushes (SDM volume 3, 6.14.2). */
struct guest_frame {
	uint64_t rip, cs, rflags, rsp, ss;
};
#define GUEST_RFLAGS_IF 0x200u

/*
 * Calls fn(a, b, frame) at CPL0 with interrupts off; afterwards the caller continues with *frame. From CPL3 this is
 * an int3 (a DPL3 gate: kvm_pvm knows neither int n nor syscall there), from CPL0 a plain call.
 */
typedef long (*kernel_fn)(long a, long b, struct guest_frame *frame);
long kernel_call(kernel_fn fn, long a, long b);

GUEST_INLINE unsigned guest_cpl(void)
{
	unsigned cs;
	__asm__ volatile("mov %%cs, %0" : "=r"(cs));
	return cs & 3;
}

/* ---- interrupts and exceptions ---------------------------------------------------------- */

/*
 * fn runs at CPL0 with interrupts off whenever vector (32-255) arrives; it does the end-of-interrupt itself. NULL:
 * as at the start, that is, report and exit (spurious 8259 interrupts are ignored).
 */
void irq_handler(int vector, void (*fn)(int vector));
void irq_enable(void);
void irq_disable(void);
/* sti; hlt: returns after one interrupt. To wait for something a handler does use wait_until(): it cannot miss it. */
void wait_for_interrupt(void);
/* Sleeps with interrupts on until a handler has made *flag non-zero; the interrupt flag is then as before. */
void wait_until(volatile int *flag);
/* cli; hlt for ever. */
__attribute__((noreturn)) void halt(void);

struct guest_exception {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error_code;
	struct guest_frame frame;
};
/* Called at CPL0 for vectors 0-31 except 3 and page faults the kit handles; may change *e and return. The start value prints everything and exits. */
extern void (*guest_exception_handler)(struct guest_exception *e);

/* Local APIC (SDM volume 3, 10.4): registers are 32 bits wide at multiples of 16. */
#define GUEST_LAPIC 0xFEE00000ull
enum {
	LAPIC_ID = 0x20, LAPIC_TPR = 0x80, LAPIC_EOI = 0xb0, LAPIC_SVR = 0xf0, LAPIC_ISR = 0x100, LAPIC_IRR = 0x200,
	LAPIC_LVT_TIMER = 0x320, LAPIC_LVT_LINT0 = 0x350, LAPIC_LVT_LINT1 = 0x360, LAPIC_TIMER_INITIAL = 0x380,
	LAPIC_TIMER_CURRENT = 0x390, LAPIC_TIMER_DIVIDE = 0x3e0,
};
#define LAPIC_SPURIOUS_VECTOR 0xff
GUEST_INLINE uint32_t lapic_read(unsigned reg)
{
	return mmio_read32(GUEST_LAPIC + reg);
}
GUEST_INLINE void lapic_write(unsigned reg, uint32_t value)
{
	mmio_write32(GUEST_LAPIC + reg, value);
}
GUEST_INLINE void lapic_eoi(void)
{
	lapic_write(LAPIC_EOI, 0);
}
/* Enables the local APIC for MSIs, with LINT0 = 8259 (ExtINT), LINT1 = NMI. */
void lapic_init(void);

/* 8259 pair: IRQ 0-15 become vectors 0x20-0x2f, all masked but the cascade; calls lapic_init(). */
#define PIC_VECTOR 0x20
void pic_init(void);
void pic_unmask(unsigned irq);
void pic_mask(unsigned irq);
GUEST_INLINE void pic_eoi(unsigned irq)
{
	if (irq >= 8)
		outb(0xa0, 0x20);
	outb(0x20, 0x20);
}

/* ---- PCI ----------------------------------------------------------------------------------- */

#define GUEST_PCI_NONE 0xffffu
enum {
	PCI_VENDOR = 0x00, PCI_DEVICE = 0x02, PCI_COMMAND = 0x04, PCI_STATUS = 0x06, PCI_REVISION = 0x08,
	PCI_HEADER_TYPE = 0x0e, PCI_BAR0 = 0x10, PCI_CAPABILITIES = 0x34, PCI_INTERRUPT_LINE = 0x3c,
	PCI_INTERRUPT_PIN = 0x3d,
};
enum { PCI_COMMAND_IO = 1, PCI_COMMAND_MEMORY = 2, PCI_COMMAND_MASTER = 4, PCI_COMMAND_INTX_OFF = 0x400 };
enum { PCI_CAP_PM = 0x01, PCI_CAP_MSI = 0x05, PCI_CAP_VENDOR = 0x09, PCI_CAP_MSIX = 0x11 };

/* Configuration mechanism #1 (PCI 3.0, 3.2.2.3.2). bdf = bus << 8 | device << 3 | function. Not for handlers: CF8 is shared. */
uint32_t pci_read32(unsigned bdf, unsigned off);
uint16_t pci_read16(unsigned bdf, unsigned off);
uint8_t pci_read8(unsigned bdf, unsigned off);
void pci_write32(unsigned bdf, unsigned off, uint32_t value);
void pci_write16(unsigned bdf, unsigned off, uint16_t value);
void pci_write8(unsigned bdf, unsigned off, uint8_t value);

/* The index-th function on bus 0 with these IDs, GUEST_PCI_NONE if there is none. */
unsigned pci_find(uint16_t vendor, uint16_t device, unsigned index);
/* Command register bits on or off. */
void pci_enable(unsigned bdf, uint16_t bits);
void pci_disable(unsigned bdf, uint16_t bits);

struct pci_bar {
	uint64_t address, size;
	bool io, is64, prefetchable;
};
/* Reads and sizes BAR n (decoding is off meanwhile). False, and *bar zeroed, if it is not implemented. */
bool pci_bar(unsigned bdf, unsigned n, struct pci_bar *bar);
/* Offset of the first capability with this ID; 0: none. */
unsigned pci_capability(unsigned bdf, uint8_t id);

struct msix {
	unsigned bdf, cap, entries;
	uint64_t table, pba; /* addresses */
};
/* Finds the capability and enables MSI-X with every entry masked. False: the function has none. */
bool msix_init(struct msix *m, unsigned bdf);
/* Routes an entry to a vector of this CPU and unmasks it. */
void msix_route(const struct msix *m, unsigned entry, int vector);
void msix_mask(const struct msix *m, unsigned entry, bool masked);
bool msix_pending(const struct msix *m, unsigned entry);
void msix_disable(const struct msix *m);

/*
 * Enables MSI with up to 2^log2_count messages, as vector, vector + 1, ...; vector must be a multiple of 2^log2_count.
 * Returns how many messages were enabled, 0: the function has no MSI.
 */
unsigned msi_enable(unsigned bdf, int vector, unsigned log2_count);
void msi_disable(unsigned bdf);

#endif
