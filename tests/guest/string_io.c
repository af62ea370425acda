/* ins and outs, with rep, all widths and both directions, at CPL3; and string instructions on device memory. */
#include "check.h"

#define SCRATCH 0x3ff /* COM1's scratch register */
#define NO_PORT 0x2f0
#define NOWHERE 0xFED90000ull

static const char com1_text[] = "string to COM1\n";
static const char e9_text[] = "string to debugcon\n";
static uint8_t buf[64];
static uint32_t words[16];

static void outs_bytes(uint16_t port, const void *from, size_t n)
{
	__asm__ volatile("rep outsb" : "+S"(from), "+c"(n) : "d"(port) : "memory");
	CHECK(1, n == 0);
}

/* Returns where rdi ended. */
static void *ins_bytes(uint16_t port, void *to, size_t n)
{
	__asm__ volatile("rep insb" : "+D"(to), "+c"(n) : "d"(port) : "memory");
	CHECK(2, n == 0);
	return to;
}

static void wide(void)
{
	void *to = words;
	const void *from = words;
	size_t n = 8;

	for (unsigned i = 0; i < 16; i++)
		words[i] = i;
	__asm__ volatile("rep outsl" : "+S"(from), "+c"(n) : "d"((uint16_t)NO_PORT) : "memory");
	CHECK(10, n == 0 && from == words + 8);
	n = 8;
	__asm__ volatile("rep outsw" : "+S"(from), "+c"(n) : "d"((uint16_t)NO_PORT) : "memory");
	CHECK(11, n == 0 && from == words + 12);
	n = 8;
	__asm__ volatile("rep insl" : "+D"(to), "+c"(n) : "d"((uint16_t)NO_PORT) : "memory");
	CHECK(12, n == 0 && to == words + 8 && words[0] == 0xffffffff && words[7] == 0xffffffff && words[8] == 8);
	n = 3;
	__asm__ volatile("rep insw" : "+D"(to), "+c"(n) : "d"((uint16_t)NO_PORT) : "memory");
	CHECK(13, n == 0 && words[8] == 0xffffffff && words[9] == 0xffff && words[10] == 10);
	/* none: no access at all */
	__asm__ volatile("rep insl" : "+D"(to), "+c"(n) : "d"((uint16_t)NO_PORT) : "memory");
	CHECK(14, words[10] == 10);
}

/* Direction flag set: from the last byte down. */
static void backwards(void)
{
	uint8_t *to = buf + 15;
	size_t n = 4;

	memset(buf, 0, sizeof(buf));
	__asm__ volatile("std; rep insb; cld" : "+D"(to), "+c"(n) : "d"((uint16_t)NO_PORT) : "memory");
	CHECK(20, to == buf + 11 && buf[11] == 0 && buf[12] == 0xff && buf[15] == 0xff && buf[16] == 0);
}

static void device_memory(void)
{
	void *to = (void *)NOWHERE;
	const void *from = (const void *)NOWHERE;
	size_t n = 8;

	__asm__ volatile("rep stosl" : "+D"(to), "+c"(n) : "a"(0) : "memory");
	CHECK(30, n == 0 && to == (void *)(NOWHERE + 32));
	n = 4;
	to = words;
	memset(words, 0, sizeof(words));
	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	CHECK(31, n == 0 && words[0] == 0xffffffff && words[7] == 0xffffffff && words[8] == 0);
}

int main(void)
{
	outs_bytes(0xe9, e9_text, sizeof(e9_text) - 1);
	printf("%s", ""); /* sets up COM1 */
	putchar('>');
	outs_bytes(0x3f8, com1_text, sizeof(com1_text) - 1);
	outs_bytes(SCRATCH, "abcde", 5);
	CHECK(3, ins_bytes(SCRATCH, buf, 32) == buf + 32);
	for (unsigned i = 0; i < 32; i++)
		CHECK(4, buf[i] == 'e');
	CHECK(5, buf[32] == 0);
	wide();
	backwards();
	device_memory();
	return 0;
}
