/*
 * A kernel for each boot protocol (kernel_head.S says which by -D): checks the state it is started in and what it is
 * handed, and prints it in a form that all of them share. Exit status 0, or 1 with the line that failed. With "reset" on
 * its command line it spoils all of that first, resets the machine, and looks at what it is handed then.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct {
	uint32_t ax, bx, si, pad;
	uint64_t flags;
	uint32_t cr0, cr4;
	uint16_t cs, ds, es, ss;
	uint32_t efer, bp, di;
} state = { .pad = 1 }; /* kernel_head.S knows the offsets. Not in .bss, which it clears after that */

static void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static void print(const char *s)
{
	for (; *s; s++) {
		while (!(inb(0x3fd) & 0x20))
			;
		outb(0x3f8, (uint8_t)*s);
	}
}

static void print_hex(uint64_t v)
{
	char text[18], *p = text + 17;

	*p = 0;
	do {
		*--p = "0123456789abcdef"[v & 15];
	} while (v >>= 4);
	print(" ");
	print(p);
}

static _Noreturn void end(uint8_t status)
{
	outb(0xf4, status);
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void check(bool good, unsigned line)
{
	if (good)
		return;
	print("failed in line");
	print_hex(line);
	print(" (hex)\n");
	end(1);
}
#define CHECK(what) check(what, __LINE__)

/* ---- what every protocol hands over ---------------------------------------------- */

static struct {
	const char *cmdline;
	const uint8_t *module; /* NULL: none */
	uint32_t module_size;
	const uint8_t *rsdp;
	struct { uint64_t base, size; uint32_t type; } map[16];
	unsigned ranges;
} given;

static void add_range(uint64_t base, uint64_t size, uint32_t type)
{
	CHECK(given.ranges < 16);
	given.map[given.ranges].base = base;
	given.map[given.ranges].size = size;
	given.map[given.ranges++].type = type;
}

static uint32_t u32(uint32_t addr)
{
	return *(const uint32_t *)(uintptr_t)addr;
}

static uint64_t u64(uint32_t addr)
{
	return u32(addr) | (uint64_t)u32(addr + 4) << 32;
}

static const void *pointer(uint64_t addr)
{
	CHECK(addr >> 32 == 0);
	return (const void *)(uintptr_t)addr;
}

static bool same(const void *a, const char *b, unsigned len)
{
	const char *p = a;

	while (len && *p++ == *b++)
		len--;
	return len == 0;
}

static __attribute__((unused)) void check_meminfo(uint32_t lower, uint32_t upper)
{
	CHECK(given.map[0].base == 0 && given.map[0].size >> 10 == lower);
	for (unsigned i = 0; i < given.ranges; i++)
		if (given.map[i].base == 0x100000)
			CHECK(given.map[i].type == 1 && given.map[i].size >> 10 == upper);
}

/* 32-bit start states are much the same. */
static __attribute__((unused)) void check_state32(void)
{
	CHECK((state.cr0 & 0x80000001) == 1);
	CHECK(state.cr4 == 0);
	CHECK((state.flags & 0x20300) == 0); /* VM, IF, TF */
	CHECK(state.ds == state.es && state.ds == state.ss && state.ds);
}

#if defined(MULTIBOOT1)
static void take(void)
{
	const uint32_t info = state.bx;

	check_state32();
	CHECK(state.ax == 0x2badb002);
	CHECK((u32(info) & 0x24d) == 0x24d);
	CHECK(same(pointer(u32(info + 64)), "kvmbox", 7));
	given.cmdline = pointer(u32(info + 16));
	if (u32(info + 20)) {
		const uint32_t mod = u32(info + 24);

		CHECK(u32(info + 20) == 1 && u32(mod) % 4096 == 0);
		given.module = pointer(u32(mod));
		given.module_size = u32(mod + 4) - u32(mod);
	}
	for (uint32_t at = u32(info + 48), last = at + u32(info + 44); at < last; at += u32(at) + 4)
		add_range(u64(at + 4), u64(at + 12), u32(at + 20));
	check_meminfo(u32(info + 4), u32(info + 8));
	given.rsdp = pointer(0xe0000); /* nobody tells; this is where a scan finds it */
}
#elif defined(MULTIBOOT2)
static void take_tag(uint32_t tag, uint32_t type, uint32_t size)
{
	switch (type) {
	case 1:
		given.cmdline = pointer(tag + 8);
		break;
	case 2:
		CHECK(same(pointer(tag + 8), "kvmbox", 7));
		break;
	case 3:
		CHECK(!given.module && u32(tag + 8) % 4096 == 0);
		given.module = pointer(u32(tag + 8));
		given.module_size = u32(tag + 12) - u32(tag + 8);
		break;
	case 4:
		break;
	case 6:
		CHECK(u32(tag + 8) == 24 && u32(tag + 12) == 0);
		for (uint32_t at = tag + 16; at < tag + size; at += 24)
			add_range(u64(at), u64(at + 8), u32(at + 16));
		break;
	case 14:
		CHECK(size == 8 + 20 && same(pointer(tag + 8), (const char *)0xe0000, 20));
		break;
	case 15:
		CHECK(size == 8 + 36 && same(pointer(tag + 8), (const char *)0xe0000, 36));
		given.rsdp = pointer(0xe0000);
		break;
	default:
		CHECK(type == 9); /* sections of an ELF file */
	}
}

static void take(void)
{
	const uint32_t info = state.bx, size = u32(info);
	uint32_t seen = 0, meminfo = 0, tag;

	check_state32();
	CHECK(state.ax == 0x36d76289 && info % 8 == 0 && u32(info + 4) == 0);
	for (tag = info + 8; u32(tag); tag += (u32(tag + 4) + 7) & ~7u) {
		CHECK(tag < info + size && u32(tag) < 32);
		seen |= 1u << u32(tag);
		if (u32(tag) == 4)
			meminfo = tag;
		take_tag(tag, u32(tag), u32(tag + 4));
	}
	CHECK(u32(tag + 4) == 8 && tag + 8 == info + size);
	CHECK((seen & 0xc056) == 0xc056); /* what the header requires, but for modules */
	check_meminfo(u32(meminfo + 8), u32(meminfo + 12));
}
#elif defined(PVH)
static void take(void)
{
	const uint32_t info = state.bx;

	check_state32();
	CHECK((state.cr0 & ~0x10u) == 1); /* every bit that can be written but PE is clear */
	CHECK(u32(info) == 0x336ec578 && u32(info + 4) == 1 && u32(info + 8) == 0);
	given.cmdline = pointer(u64(info + 24));
	if (u32(info + 12)) {
		const uint32_t mod = (uint32_t)u64(info + 16);

		CHECK(u32(info + 12) == 1 && u64(mod) % 4096 == 0 && u64(mod + 16) == 0);
		given.module = pointer(u64(mod));
		given.module_size = (uint32_t)u64(mod + 8);
	}
	given.rsdp = pointer(u64(info + 32));
	for (uint32_t i = 0, at = (uint32_t)u64(info + 40); i < u32(info + 48); i++, at += 24)
		add_range(u64(at), u64(at + 8), u32(at + 16));
}
#else
static void take(void)
{
	const uint32_t params = state.si;

#ifdef __x86_64__
	CHECK((state.cr0 & 0x80000001) == 0x80000001 && (state.cr4 & 0x20) && (state.efer & 0x500) == 0x500);
	CHECK((state.flags & 0x200) == 0);
#else
	check_state32();
	CHECK(state.bx == 0 && state.bp == 0 && state.di == 0);
#endif
	CHECK(state.cs == 0x10 && state.ds == 0x18 && state.es == 0x18 && state.ss == 0x18);
	CHECK(u32(params + 0x202) == 0x53726448 && *(const uint8_t *)pointer(params + 0x210) == 0xff);
	CHECK(*(const uint8_t *)pointer(params + 0x1ef) == 0 && u32(params + 0x214) == 0x100000);
	CHECK(u32(params) == 0 && u32(params + 0xc8) == 0 && u32(params + 0xc0) == 0);
	given.cmdline = pointer(u32(params + 0x228));
	if (u32(params + 0x21c)) {
		CHECK(u32(params + 0x218) % 4096 == 0);
		given.module = pointer(u32(params + 0x218));
		given.module_size = u32(params + 0x21c);
	}
	given.rsdp = pointer(u64(params + 0x70));
	for (uint32_t i = 0, at = params + 0x2d0; i < (u32(params + 0x1e8) & 0xff); i++, at += 20)
		add_range(u64(at), u64(at + 8), u32(at + 16));
}
#endif

/* ---- looking at it -------------------------------------------------------------------- */

static void show_memory(void)
{
	uint64_t end_of_last = 0;

	for (unsigned i = 0; i < given.ranges; i++) {
		CHECK(given.map[i].base >= end_of_last && given.map[i].size);
		end_of_last = given.map[i].base + given.map[i].size;
		if (given.map[i].type != 1) {
			CHECK(given.map[i].type == 2);
			continue;
		}
		print("RAM");
		print_hex(given.map[i].base);
		print_hex(given.map[i].size);
		print("\n");
	}
}

static void show_module(void)
{
	uint32_t sum = 0;

	if (!given.module)
		return;
	for (uint32_t i = 0; i < given.module_size; i++)
		sum = (sum << 5 | sum >> 27) ^ given.module[i];
	print("module");
	print_hex(given.module_size);
	print_hex(sum);
	print("\n");
}

static void show_rsdp(void)
{
	uint8_t sum = 0;

	CHECK(same(given.rsdp, "RSD PTR ", 8));
	for (unsigned i = 0; i < 20; i++)
		sum = (uint8_t)(sum + given.rsdp[i]);
	CHECK(sum == 0);
	print("RSDP");
	print_hex((uintptr_t)given.rsdp);
	print("\n");
}

/* ---- reset ------------------------------------------------------------------------------ */

#define MARK 0x5ec0d57au
static volatile uint32_t *const mark = (volatile uint32_t *)0x90000;
static volatile uint32_t initialised = 1;

static void spoil(uint8_t *from, uint32_t len)
{
	while (len--)
		*from++ = 0x5a;
}

static void reset_once(void)
{
	CHECK(initialised == 1);
	if (!same(given.cmdline, "reset", 5) || *mark == MARK)
		return;
	*mark = MARK;
	initialised = 2;
	spoil((uint8_t *)0x77000, 0x9000); /* below are the page tables it runs on */
	if (given.module)
		spoil((uint8_t *)(uintptr_t)given.module, given.module_size);
	outb(0xcf9, 2);
	outb(0xcf9, 6);
	for (;;)
		__asm__ volatile("hlt");
}

void kernel_main(void)
{
	take();
	reset_once();
	print("command line ");
	print(given.cmdline);
	print("\n");
	show_memory();
	show_module();
	show_rsdp();
	end(0);
}
