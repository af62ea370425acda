/* Guest kit, see kvmbox_guest.h. This file is compiled with GUEST_KERNEL_CFLAGS: both rings use it. */
#include "kvmbox_guest.h"

#define EXIT_PORT 0xf4

/* ---- memory: by string instructions, an element each where CPL0 is emulated ---------------- */

void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
	void *d = dst;
	size_t words = n / 8, bytes = n % 8;

	__asm__ volatile("rep movsq" : "+D"(d), "+S"(src), "+c"(words) : : "memory");
	__asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(bytes) : : "memory");
	return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
	uint8_t *d = dst;
	const uint8_t *s = src;

	if ((uintptr_t)dst - (uintptr_t)src >= n)
		return memcpy(dst, src, n);
	while (n--) {
		d[n] = s[n];
		barrier(); /* or the compiler finds a memmove here */
	}
	return dst;
}

void *memset(void *dst, int c, size_t n)
{
	void *d = dst;
	size_t words = n / 8, bytes = n % 8;
	uint64_t pattern = 0x0101010101010101u * (uint8_t)c;

	__asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(pattern) : "memory");
	__asm__ volatile("rep stosb" : "+D"(d), "+c"(bytes) : "a"(pattern) : "memory");
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (size_t i = 0; i < n; i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n]) {
		n++;
		barrier(); /* likewise, a strlen */
	}
	return n;
}

/* ---- COM1 (16550) -------------------------------------------------------------------------------- */

enum { COM1 = 0x3f8, UART_DLL = 0, UART_DLM = 1, UART_IER = 1, UART_FCR = 2, UART_IIR = 2, UART_LCR = 3, UART_MCR = 4, UART_LSR = 5 };

static unsigned uart_fifo; /* bytes it takes at once; 0: not set up yet */

static void uart_init(void)
{
	outb(COM1 + UART_LCR, 0x80); /* DLAB */
	outb(COM1 + UART_DLL, 1);    /* 115200 */
	outb(COM1 + UART_DLM, 0);
	outb(COM1 + UART_LCR, 0x03); /* 8N1 */
	outb(COM1 + UART_IER, 0);
	outb(COM1 + UART_FCR, 0x07); /* FIFOs on and empty */
	outb(COM1 + UART_MCR, 0x03); /* DTR, RTS */
	uart_fifo = (inb(COM1 + UART_IIR) & 0xc0) == 0xc0 ? 16 : 1;
}

void write_com1(const char *s, size_t n)
{
	if (!uart_fifo)
		uart_init();
	while (n) {
		unsigned burst = n < uart_fifo ? (unsigned)n : uart_fifo;

		/* With FIFOs THRE means that all 16 places are free: one look per burst. */
		while (!(inb(COM1 + UART_LSR) & 0x20))
			__builtin_ia32_pause();
		for (n -= burst; burst; burst--)
			outb(COM1, (uint8_t)*s++);
	}
}

int putchar(int c)
{
	char ch = (char)c;

	write_com1(&ch, 1);
	return (unsigned char)ch;
}

int puts(const char *s)
{
	return printf("%s\n", s);
}

/* ---- printf ----------------------------------------------------------------------------------------- */

struct sink {
	int total;
	unsigned used;
	char buf[128];
};

static void flush(struct sink *out)
{
	write_com1(out->buf, out->used);
	out->used = 0;
}

static void put(struct sink *out, char c)
{
	if (out->used == sizeof(out->buf))
		flush(out);
	out->buf[out->used++] = c;
	out->total++;
}

struct spec {
	bool left, zero, upper;
	int width, precision;
	unsigned length; /* bytes of an integer argument */
};

/* Sign and digits, or text, padded to the field width. */
static void put_field(struct sink *out, const struct spec *spec, const char *sign, const char *s, size_t n)
{
	size_t used = strlen(sign) + n;
	size_t pad = spec->width > 0 && (size_t)spec->width > used ? (size_t)spec->width - used : 0;

	if (!spec->left && !spec->zero)
		for (; pad; pad--)
			put(out, ' ');
	while (*sign)
		put(out, *sign++);
	if (!spec->left)
		for (; pad; pad--)
			put(out, '0');
	while (n--)
		put(out, *s++);
	for (; pad; pad--)
		put(out, ' ');
}

static void put_number(struct sink *out, const struct spec *spec, const char *sign, uint64_t value, unsigned base)
{
	const char *digits = spec->upper ? "0123456789ABCDEF" : "0123456789abcdef";
	char buf[20];
	size_t at = sizeof(buf);

	do {
		buf[--at] = digits[value % base];
		value /= base;
	} while (value);
	put_field(out, spec, sign, buf + at, sizeof(buf) - at);
}

static const char *parse_spec(struct spec *spec, const char *fmt, va_list *args)
{
	*spec = (struct spec){ .precision = -1, .length = sizeof(int) };
	for (;; fmt++) {
		if (*fmt == '-')
			spec->left = true;
		else if (*fmt == '0')
			spec->zero = true;
		else
			break;
	}
	if (*fmt == '*') {
		spec->width = va_arg(*args, int);
		fmt++;
	} else {
		for (; *fmt >= '0' && *fmt <= '9'; fmt++)
			spec->width = spec->width * 10 + (*fmt - '0');
	}
	if (*fmt == '.') {
		spec->precision = 0;
		if (*++fmt == '*') {
			spec->precision = va_arg(*args, int);
			fmt++;
		} else {
			for (; *fmt >= '0' && *fmt <= '9'; fmt++)
				spec->precision = spec->precision * 10 + (*fmt - '0');
		}
	}
	for (; *fmt == 'l' || *fmt == 'z'; fmt++)
		spec->length = 8;
	if (spec->left)
		spec->zero = false;
	return fmt;
}

static void put_string(struct sink *out, struct spec *spec, const char *s)
{
	size_t n = 0;

	if (!s)
		s = "(null)";
	while ((spec->precision < 0 || n < (size_t)spec->precision) && s[n])
		n++;
	spec->zero = false;
	put_field(out, spec, "", s, n);
}

static void convert(struct sink *out, struct spec *spec, char conversion, va_list *args)
{
	int64_t number;
	char ch;

	switch (conversion) {
	case 'd':
	case 'i':
		number = spec->length == 8 ? va_arg(*args, long) : va_arg(*args, int);
		put_number(out, spec, number < 0 ? "-" : "", number < 0 ? 0 - (uint64_t)number : (uint64_t)number, 10);
		break;
	case 'u':
	case 'x':
	case 'X':
		spec->upper = conversion == 'X';
		put_number(out, spec, "", spec->length == 8 ? va_arg(*args, unsigned long) : va_arg(*args, unsigned),
			   conversion == 'u' ? 10 : 16);
		break;
	case 'p':
		put_number(out, spec, "0x", (uintptr_t)va_arg(*args, void *), 16);
		break;
	case 's':
		put_string(out, spec, va_arg(*args, const char *));
		break;
	case 'c':
		ch = (char)va_arg(*args, int);
		spec->zero = false;
		put_field(out, spec, "", &ch, 1);
		break;
	default: /* %% and what we do not know */
		put(out, conversion);
	}
}

int vprintf(const char *fmt, va_list args)
{
	struct sink out;
	struct spec spec;
	va_list rest;

	out.total = 0;
	out.used = 0;
	va_copy(rest, args);
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			put(&out, *fmt);
			continue;
		}
		fmt = parse_spec(&spec, fmt + 1, &rest);
		if (!*fmt)
			break;
		convert(&out, &spec, *fmt, &rest);
	}
	va_end(rest);
	flush(&out);
	return out.total;
}

int printf(const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vprintf(fmt, args);
	va_end(args);
	return n;
}

/* ---- end ----------------------------------------------------------------------------------------------- */

void exit(int status)
{
	outb(EXIT_PORT, (uint8_t)status);
	halt();
}

void panic(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	exit(GUEST_EXIT_PANIC);
}

/* ---- CPL0 ------------------------------------------------------------------------------------------------ */

/* At CPL0 already: the same contract without the gate. */
static long direct_call(kernel_fn fn, long a, long b)
{
	struct guest_frame frame = { 0 };
	long result;

	__asm__ volatile("pushfq; cli; popq %0" : "=r"(frame.rflags) : : "memory");
	result = fn(a, b, &frame);
	if (frame.rflags & GUEST_RFLAGS_IF)
		__asm__ volatile("sti" : : : "memory");
	return result;
}

long kernel_call(kernel_fn fn, long a, long b)
{
	long rax = (long)fn;

	if (guest_cpl() == 0)
		return direct_call(fn, a, b);
	__asm__ volatile("int3"
			 : "+a"(rax), "+D"(a), "+S"(b)
			 :
			 : "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc");
	return rax;
}

static long set_interrupt_flag(long on, long unused, struct guest_frame *frame)
{
	(void)unused;
	if (on)
		frame->rflags |= GUEST_RFLAGS_IF;
	else
		frame->rflags &= ~(uint64_t)GUEST_RFLAGS_IF;
	return 0;
}

void irq_enable(void)
{
	kernel_call(set_interrupt_flag, 1, 0);
}

void irq_disable(void)
{
	kernel_call(set_interrupt_flag, 0, 0);
}

/* The instruction after sti is still protected: no interrupt can come between a test and hlt. */
static inline void sleep_once(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}

static long sleep_call(long flag, long unused, struct guest_frame *frame)
{
	volatile int *until = (volatile int *)flag;

	(void)unused;
	(void)frame;
	if (!until)
		sleep_once();
	else
		while (!*until)
			sleep_once();
	return 0;
}

void wait_for_interrupt(void)
{
	kernel_call(sleep_call, 0, 0);
}

void wait_until(volatile int *flag)
{
	if (!*flag)
		kernel_call(sleep_call, (long)flag, 0);
	barrier();
}

static long halt_call(long a, long b, struct guest_frame *frame)
{
	(void)a;
	(void)b;
	(void)frame;
	for (;;)
		__asm__ volatile("cli; hlt");
	return 0;
}

void halt(void)
{
	for (;;)
		kernel_call(halt_call, 0, 0);
}

/* ---- kvm-clock (Linux Documentation/virt/kvm/x86/msr.rst and cpuid.rst) ------------------------------------------ */

enum { CPUID_HYPERVISOR = 0x40000000, KVM_FEATURE_CLOCKSOURCE2 = 1 << 3, MSR_KVM_WALL_CLOCK = 0x4b564d00, MSR_KVM_SYSTEM_TIME };

volatile struct guest_pvclock guest_pvclock __attribute__((aligned(64)));
static volatile uint32_t guest_wall_clock[3] __attribute__((aligned(16))); /* version, seconds, nanoseconds */

static long pvclock_call(long on, long unused, struct guest_frame *frame)
{
	uint32_t reg[4];

	(void)unused;
	(void)frame;
	cpuid(CPUID_HYPERVISOR, 0, reg);
	if (reg[1] != 0x4b4d564b || reg[2] != 0x564b4d56 || reg[3] != 0x4d) /* KVMKVMKVM */
		return false;
	cpuid(CPUID_HYPERVISOR + 1, 0, reg);
	if (!(reg[0] & KVM_FEATURE_CLOCKSOURCE2))
		return false;
	if (on)
		wrmsr(MSR_KVM_WALL_CLOCK, (uintptr_t)guest_wall_clock);
	wrmsr(MSR_KVM_SYSTEM_TIME, on ? (uintptr_t)&guest_pvclock | 1 : 0);
	return true;
}

bool pvclock_enable(void)
{
	return kernel_call(pvclock_call, 1, 0);
}

void pvclock_disable(void)
{
	kernel_call(pvclock_call, 0, 0);
}

uint32_t pvclock_start_s(void)
{
	return guest_wall_clock[1];
}

/* ---- interrupts and exceptions -------------------------------------------------------------------------------- */

extern void (*guest_irq_table[256])(int vector); /* crt0.S */

/* OCW3 0x0b: the next read of the command port shows the in-service register (8259A data sheet). */
static bool pic_in_service(unsigned irq)
{
	uint16_t port = irq < 8 ? 0x20 : 0xa0;

	outb(port, 0x0b);
	return inb(port) & (1u << (irq & 7));
}

void guest_unexpected_irq(int vector);
void guest_unexpected_irq(int vector)
{
	if (vector == LAPIC_SPURIOUS_VECTOR)
		return;
	if (vector == PIC_VECTOR + 7 && !pic_in_service(7))
		return;
	if (vector == PIC_VECTOR + 15 && !pic_in_service(15)) {
		outb(0x20, 0x20); /* the master did see its cascade input */
		return;
	}
	printf("guest: interrupt vector 0x%x has no handler\n", (unsigned)vector);
	exit(GUEST_EXIT_INTERRUPT);
}

void irq_handler(int vector, void (*fn)(int vector))
{
	if (vector < 32 || vector > 255)
		panic("irq_handler: vector %d", vector);
	guest_irq_table[vector] = fn ? fn : guest_unexpected_irq;
	barrier();
}

static void dump_exception(struct guest_exception *e)
{
	static bool again;
	uint64_t cr2;

	if (again)
		exit(GUEST_EXIT_EXCEPTION);
	again = true;
	__asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
	printf("guest: exception %lu error 0x%lx rip 0x%lx cs 0x%lx rflags 0x%lx cr2 0x%lx\n", e->vector, e->error_code,
	       e->frame.rip, e->frame.cs, e->frame.rflags, cr2);
	printf("rax %016lx rbx %016lx rcx %016lx rdx %016lx\n", e->rax, e->rbx, e->rcx, e->rdx);
	printf("rsi %016lx rdi %016lx rbp %016lx rsp %016lx\n", e->rsi, e->rdi, e->rbp, e->frame.rsp);
	printf("r8  %016lx r9  %016lx r10 %016lx r11 %016lx\n", e->r8, e->r9, e->r10, e->r11);
	printf("r12 %016lx r13 %016lx r14 %016lx r15 %016lx\n", e->r12, e->r13, e->r14, e->r15);
	exit(GUEST_EXIT_EXCEPTION);
}

void (*guest_exception_handler)(struct guest_exception *e) = dump_exception;

/* ---- paging (SDM volume 3, 4.5): crt0.S maps the first 4 GiB, the rest is mapped when it is touched ------------- */

enum { PAGE_PRESENT = 1, PAGE_OPEN = 7, PAGE_UNCACHED = 0x18, PAGE_2M = 0x80, PAGE_TABLES = 16 };
#define DEVICES_FROM (256ull << 30) /* the 64-bit PCI window: uncached */

extern uint64_t guest_pml4[512];

static uint64_t *next_table(uint64_t *entry)
{
	static uint64_t tables[PAGE_TABLES][512] __attribute__((aligned(4096)));
	static unsigned used;

	if (!(*entry & PAGE_PRESENT)) {
		if (used == PAGE_TABLES)
			return NULL;
		*entry = (uintptr_t)tables[used++] | PAGE_OPEN;
	}
	return (uint64_t *)(*entry & ~0xfffull);
}

/* A page fault (14) on a page that is not present (error code bit 0) above 4 GiB, canonical lower half. */
static bool map_on_demand(const struct guest_exception *e)
{
	uint64_t addr, *table;

	if (e->vector != 14 || e->error_code & 1)
		return false;
	__asm__ volatile("mov %%cr2, %0" : "=r"(addr));
	if (addr >> 32 == 0 || addr >> 47)
		return false;
	table = next_table(&guest_pml4[addr >> 39]);
	if (table)
		table = next_table(&table[addr >> 30 & 511]);
	if (!table)
		return false;
	table[addr >> 21 & 511] = (addr & ~0x1fffffull) | PAGE_OPEN | PAGE_2M | (addr >= DEVICES_FROM ? PAGE_UNCACHED : 0);
	return true;
}

void guest_exception_entry(struct guest_exception *e);
void guest_exception_entry(struct guest_exception *e)
{
	if (!map_on_demand(e))
		guest_exception_handler(e);
}

void lapic_init(void)
{
	lapic_write(LAPIC_SVR, 0x100 | LAPIC_SPURIOUS_VECTOR);
	lapic_write(LAPIC_TPR, 0);
	lapic_write(LAPIC_LVT_LINT0, 0x700); /* ExtINT: the 8259s' output */
	lapic_write(LAPIC_LVT_LINT1, 0x400); /* NMI */
}

static uint8_t pic_imr[2];

void pic_init(void)
{
	lapic_init();
	for (unsigned i = 0; i < 2; i++) {
		uint16_t port = i ? 0xa0 : 0x20;

		outb(port, 0x11);                                /* ICW1: edge, cascade, ICW4 */
		outb(port + 1, (uint8_t)(PIC_VECTOR + 8 * i));   /* ICW2 */
		outb(port + 1, i ? 2 : 4);                       /* ICW3: cascade on IR2 */
		outb(port + 1, 1);                               /* ICW4: 8086 mode */
		pic_imr[i] = i ? 0xff : 0xfb;
		outb(port + 1, pic_imr[i]);
	}
	/* ELCR: PIRQA-D are IRQ 10, 11, 5 and 9, level triggered. */
	outb(0x4d0, 0x20);
	outb(0x4d1, 0x0e);
}

static void pic_set_mask(unsigned irq, bool masked)
{
	unsigned i = irq / 8;
	uint8_t bit = (uint8_t)(1u << (irq & 7));

	pic_imr[i] = masked ? pic_imr[i] | bit : pic_imr[i] & (uint8_t)~bit;
	outb(i ? 0xa1 : 0x21, pic_imr[i]);
}

void pic_unmask(unsigned irq)
{
	pic_set_mask(irq & 15, false);
}

void pic_mask(unsigned irq)
{
	pic_set_mask(irq & 15, true);
}

/* ---- PCI ------------------------------------------------------------------------------------------------------ */

static uint16_t pci_select(unsigned bdf, unsigned off)
{
	outl(0xcf8, 0x80000000u | (bdf & 0xffff) << 8 | (off & 0xfc));
	return (uint16_t)(0xcfc + (off & 3));
}

uint32_t pci_read32(unsigned bdf, unsigned off)
{
	return inl(pci_select(bdf, off & 0xfc));
}

uint16_t pci_read16(unsigned bdf, unsigned off)
{
	return inw(pci_select(bdf, off & 0xfe));
}

uint8_t pci_read8(unsigned bdf, unsigned off)
{
	return inb(pci_select(bdf, off));
}

void pci_write32(unsigned bdf, unsigned off, uint32_t value)
{
	outl(pci_select(bdf, off & 0xfc), value);
}

void pci_write16(unsigned bdf, unsigned off, uint16_t value)
{
	outw(pci_select(bdf, off & 0xfe), value);
}

void pci_write8(unsigned bdf, unsigned off, uint8_t value)
{
	outb(pci_select(bdf, off), value);
}

unsigned pci_find(uint16_t vendor, uint16_t device, unsigned index)
{
	uint32_t wanted = (uint32_t)device << 16 | vendor;

	for (unsigned slot = 0; slot < 32; slot++) {
		unsigned bdf = slot << 3, functions = 1;

		for (unsigned fn = 0; fn < functions; fn++) {
			uint32_t id = pci_read32(bdf + fn, PCI_VENDOR);

			if (id == 0xffffffff)
				continue; /* without function 0 there are no others */
			if (fn == 0 && pci_read8(bdf, PCI_HEADER_TYPE) & 0x80)
				functions = 8;
			if (id == wanted && index-- == 0)
				return bdf + fn;
		}
	}
	return GUEST_PCI_NONE;
}

void pci_enable(unsigned bdf, uint16_t bits)
{
	pci_write16(bdf, PCI_COMMAND, pci_read16(bdf, PCI_COMMAND) | bits);
}

void pci_disable(unsigned bdf, uint16_t bits)
{
	pci_write16(bdf, PCI_COMMAND, pci_read16(bdf, PCI_COMMAND) & (uint16_t)~bits);
}

/* PCI 3.0, 6.2.5.1: write ones, read which bits are wired to 0. */
static uint32_t size_bits(unsigned bdf, unsigned off, uint32_t old)
{
	uint32_t bits;

	pci_write32(bdf, off, 0xffffffff);
	bits = pci_read32(bdf, off);
	pci_write32(bdf, off, old);
	return bits;
}

bool pci_bar(unsigned bdf, unsigned n, struct pci_bar *bar)
{
	unsigned off = PCI_BAR0 + 4 * n;
	uint32_t lo, hi = 0, bits, bits_hi = 0xffffffff;
	uint16_t command;

	*bar = (struct pci_bar){ 0 };
	if (n > 5)
		return false;
	command = pci_read16(bdf, PCI_COMMAND);
	pci_write16(bdf, PCI_COMMAND, command & (uint16_t)~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
	lo = pci_read32(bdf, off);
	bits = size_bits(bdf, off, lo);
	if (!(lo & 1) && (lo & 6) == 4 && n < 5) {
		hi = pci_read32(bdf, off + 4);
		bits_hi = size_bits(bdf, off + 4, hi);
	}
	pci_write16(bdf, PCI_COMMAND, command);
	if (!bits)
		return false;
	bar->io = lo & 1;
	if (bar->io) {
		bar->address = lo & 0xfffc;
		bar->size = (~(bits & 0xfffc) & 0xffff) + 1u;
		return true;
	}
	bar->is64 = (lo & 6) == 4;
	bar->prefetchable = lo & 8;
	bar->address = (uint64_t)hi << 32 | (lo & ~0xfu);
	bar->size = ~((uint64_t)bits_hi << 32 | (bits & ~0xfu)) + 1;
	return true;
}

unsigned pci_capability(unsigned bdf, uint8_t id)
{
	unsigned off, limit = 48;

	if (!(pci_read16(bdf, PCI_STATUS) & 0x10))
		return 0;
	off = pci_read8(bdf, PCI_CAPABILITIES) & 0xfc;
	while (off >= 0x40 && limit--) {
		uint16_t head = pci_read16(bdf, off);

		if ((head & 0xff) == id)
			return off;
		off = head >> 8 & 0xfc;
	}
	return 0;
}

/* ---- MSI-X and MSI (PCI 3.0, 6.8) --------------------------------------------------------------------------------- */

enum { MSIX_ENABLE = 0x8000, MSIX_MASK_ALL = 0x4000 };

static uint64_t msix_address(unsigned bdf, uint32_t where)
{
	struct pci_bar bar;

	if (!pci_bar(bdf, where & 7, &bar))
		panic("MSI-X table in BAR %u, which does not exist", where & 7);
	return bar.address + (where & ~7u);
}

bool msix_init(struct msix *m, unsigned bdf)
{
	uint16_t control;

	*m = (struct msix){ .bdf = bdf, .cap = pci_capability(bdf, PCI_CAP_MSIX) };
	if (!m->cap)
		return false;
	control = pci_read16(bdf, m->cap + 2);
	m->entries = (control & 0x7ffu) + 1;
	m->table = msix_address(bdf, pci_read32(bdf, m->cap + 4));
	m->pba = msix_address(bdf, pci_read32(bdf, m->cap + 8));
	pci_enable(bdf, PCI_COMMAND_MEMORY);
	pci_write16(bdf, m->cap + 2, MSIX_ENABLE | MSIX_MASK_ALL);
	for (unsigned i = 0; i < m->entries; i++)
		msix_mask(m, i, true);
	pci_write16(bdf, m->cap + 2, MSIX_ENABLE);
	return true;
}

void msix_route(const struct msix *m, unsigned entry, int vector)
{
	uint64_t e = m->table + 16 * entry;

	mmio_write32(e, (uint32_t)GUEST_LAPIC | lapic_read(LAPIC_ID) >> 24 << 12);
	mmio_write32(e + 4, 0);
	mmio_write32(e + 8, (uint32_t)vector & 0xff);
	mmio_write32(e + 12, 0);
}

void msix_mask(const struct msix *m, unsigned entry, bool masked)
{
	mmio_write32(m->table + 16 * entry + 12, masked);
}

bool msix_pending(const struct msix *m, unsigned entry)
{
	return mmio_read64(m->pba + entry / 64 * 8) >> (entry % 64) & 1;
}

void msix_disable(const struct msix *m)
{
	pci_write16(m->bdf, m->cap + 2, 0);
}

unsigned msi_enable(unsigned bdf, int vector, unsigned log2_count)
{
	unsigned cap = pci_capability(bdf, PCI_CAP_MSI), data;
	uint16_t control;

	if (!cap)
		return 0;
	control = pci_read16(bdf, cap + 2);
	if (log2_count > (control >> 1 & 7u))
		log2_count = control >> 1 & 7u;
	pci_write32(bdf, cap + 4, (uint32_t)GUEST_LAPIC | lapic_read(LAPIC_ID) >> 24 << 12);
	data = cap + 8;
	if (control & 0x80) { /* 64-bit address */
		pci_write32(bdf, cap + 8, 0);
		data = cap + 12;
	}
	pci_write16(bdf, data, (uint16_t)(vector & 0xff));
	if (control & 0x100) /* per-vector masking */
		pci_write32(bdf, data + 4, 0);
	pci_write16(bdf, cap + 2, (uint16_t)((control & ~0x70u) | log2_count << 4 | 1));
	return 1u << log2_count;
}

void msi_disable(unsigned bdf)
{
	unsigned cap = pci_capability(bdf, PCI_CAP_MSI);

	if (cap)
		pci_write16(bdf, cap + 2, pci_read16(bdf, cap + 2) & (uint16_t)~1u);
}
