/* Accesses of all widths, MMIO and ports, aligned or not, to the time register, the debug port and to nobody. */
#include "check.h"

#define NOWHERE 0xFED90000ull
#define NO_PORT 0x2f0

/* a <= b <= c */
static bool ordered(uint64_t a, uint64_t b, uint64_t c)
{
	return a <= b && b <= c;
}

/*
 * Narrow reads (devices/simtime.h): one that includes byte 0 latches the register, the others read from that latch, so
 * parts read from the lowest up are one time.
 */
static uint64_t mmio_parts(uint64_t reg, unsigned width)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 8; i += width) {
		uint64_t part = width == 4 ? mmio_read32(reg + i) : width == 2 ? mmio_read16(reg + i) : mmio_read8(reg + i);

		value |= part << 8 * i;
	}
	return value;
}

static uint64_t port_parts(uint16_t reg, unsigned width)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 8; i += width) {
		uint16_t port = (uint16_t)(reg + i);
		uint64_t part = width == 4 ? inl(port) : width == 2 ? inw(port) : inb(port);

		value |= part << 8 * i;
	}
	return value;
}

static void time_register(void)
{
	uint64_t a = time_ps(), ns = time_ns(), b = time_ps(), parts;

	CHECK(1, a < b);
	CHECK(2, ordered(a / 1000, ns, b / 1000));
	for (unsigned width = 1; width <= 4; width *= 2) {
		a = time_ps();
		parts = mmio_parts(GUEST_TIME_MMIO, width);
		b = time_ps();
		CHECK(3, ordered(a, parts, b));
		ns = mmio_parts(GUEST_TIME_MMIO + 8, width);
		CHECK(4, ordered(b / 1000, ns, time_ns()));
	}
	/* Unaligned: the upper half of the latched picoseconds, the lower half of the nanoseconds of now. */
	parts = mmio_read32(GUEST_TIME_MMIO);
	parts |= (uint64_t)mmio_read32(GUEST_TIME_MMIO + 4) << 32;
	a = mmio_read64(GUEST_TIME_MMIO + 4);
	CHECK(5, (uint32_t)a == parts >> 32);
	CHECK(6, mmio_read32(GUEST_TIME_MMIO + 2) == (uint32_t)(parts >> 16));

	/* Writes change nothing. */
	a = time_ps();
	mmio_write64(GUEST_TIME_MMIO, 0);
	mmio_write32(GUEST_TIME_MMIO, 1);
	mmio_write16(GUEST_TIME_MMIO + 8, 2);
	mmio_write8(GUEST_TIME_MMIO + 15, 3);
	CHECK(7, time_ps() > a);
}

static void time_ports(void)
{
	uint64_t a, parts;

	for (unsigned width = 1; width <= 4; width *= 2) {
		a = time_ps();
		parts = port_parts(GUEST_TIME_PORT, width);
		CHECK(10, ordered(a, parts, time_ps()));
		a = time_ns();
		parts = port_parts(GUEST_TIME_PORT + 8, width);
		CHECK(11, ordered(a, parts, time_ns()));
	}
	a = time_ps();
	outb(GUEST_TIME_PORT, 0);
	outw(GUEST_TIME_PORT + 2, 0);
	outl(GUEST_TIME_PORT + 4, 0);
	CHECK(12, time_ps() > a);
}

/* Two 8-byte cycles, low first. */
static void sixteen_bytes(void)
{
	uint64_t value[2] __attribute__((aligned(16)));
	uint64_t a = time_ps();

	__asm__ volatile("movdqu (%0), %%xmm0; movdqa %%xmm0, (%1)"
			 :
			 : "r"(GUEST_TIME_MMIO), "r"(value)
			 : "memory");
	CHECK(20, ordered(a, value[0], time_ps()));
	CHECK(21, value[1] >= value[0] / 1000);
}

static void nobody(void)
{
	CHECK(30, mmio_read8(NOWHERE) == 0xff);
	CHECK(31, mmio_read16(NOWHERE + 2) == 0xffff);
	CHECK(32, mmio_read32(NOWHERE + 4) == 0xffffffff);
	CHECK(33, mmio_read64(NOWHERE + 8) == ~0ull);
	CHECK(34, mmio_read64(NOWHERE + 3) == ~0ull);
	CHECK(35, mmio_read64(NOWHERE + 0xffc) == ~0ull); /* across pages */
	mmio_write8(NOWHERE, 0);
	mmio_write16(NOWHERE + 2, 0);
	mmio_write32(NOWHERE + 4, 0);
	mmio_write64(NOWHERE + 8, 0);
	mmio_write64(NOWHERE + 0xffd, 0);
	CHECK(36, mmio_read64(NOWHERE + 8) == ~0ull);
	/* read, then write */
	__asm__ volatile("lock addl $1, (%0)" : : "r"(NOWHERE + 16) : "memory", "cc");
	__asm__ volatile("orb $1, (%0)" : : "r"(NOWHERE + 16) : "memory", "cc");
	CHECK(37, mmio_read32(NOWHERE + 16) == 0xffffffff);
	CHECK(40, inb(NO_PORT) == 0xff);
	CHECK(41, inw(NO_PORT) == 0xffff);
	CHECK(42, inl(NO_PORT) == 0xffffffff);
	outb(NO_PORT, 0);
	outw(NO_PORT, 0);
	outl(NO_PORT, 0);
}

/* From the last bytes of one decoder (reserved: 0) into the hole behind it. */
static void straddling(void)
{
	CHECK(50, mmio_read64(GUEST_TIME_MMIO + 0xffc) == 0xffffffff00000000ull);
}

/* Reads as its own number: how guests find it. */
static void debug_port(void)
{
	CHECK(60, inb(0xe9) == 0xe9);
	outb(0xe9, 'd');
	outb(0xe9, 'e');
	outb(0xe9, 'b');
	outb(0xe9, 'u');
	outb(0xe9, 'g');
	outb(0xe9, '\n');
}

int main(void)
{
	time_register();
	time_ports();
	sixteen_bytes();
	nobody();
	straddling();
	debug_port();
	return 0;
}
