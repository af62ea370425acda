/* ACPI Machine Language: see aml.h. Opcodes: ACPI 6.3, section 20.3; encodings: 20.2. */
#include "platforms/aml.h"

#include <string.h>

enum {
	ZERO_OP = 0x00, ONE_OP = 0x01, NAME_OP = 0x08, BYTE_PREFIX = 0x0a, WORD_PREFIX = 0x0b, DWORD_PREFIX = 0x0c,
	STRING_PREFIX = 0x0d, QWORD_PREFIX = 0x0e, SCOPE_OP = 0x10, BUFFER_OP = 0x11, PACKAGE_OP = 0x12,
	METHOD_OP = 0x14, DUAL_NAME_PREFIX = 0x2e, MULTI_NAME_PREFIX = 0x2f, EXT_PREFIX = 0x5b, LOCAL0_OP = 0x60,
	ARG0_OP = 0x68, STORE_OP = 0x70, DEVICE_OP = 0x82, LEQUAL_OP = 0x93, IF_OP = 0xa0, ELSE_OP = 0xa1,
	RETURN_OP = 0xa4, ONES_OP = 0xff,
};

/* Tags of resource descriptors, section 6.4. */
enum {
	TAG_IRQ = 0x22, TAG_IO = 0x47, TAG_END = 0x79,
	TAG_MEMORY32_FIXED = 0x86, TAG_DWORD = 0x87, TAG_WORD = 0x88, TAG_INTERRUPT = 0x89, TAG_QWORD = 0x8a,
};

enum { RANGE_MEMORY = 0, RANGE_IO = 1, RANGE_BUS = 2 };
#define RANGE_FIXED 0x0c      /* _MIF, _MAF; producer, positive decode */
#define RANGE_ENTIRE 0x03     /* I/O: ISA and non-ISA ranges */
#define RANGE_READ_WRITE 0x01 /* memory: not cacheable */

static void byte(struct kb_aml *a, unsigned v)
{
	kb_buf_le(&a->out, v, 1);
}

void kb_aml_start(struct kb_aml *a, const struct kb_buf *buf)
{
	*a = (struct kb_aml){ .out = *buf };
}

bool kb_aml_ok(const struct kb_aml *a)
{
	return !a->out.overflow && !a->bad && a->depth == 0;
}

void kb_aml_finish(struct kb_aml *a, struct kb_buf *buf)
{
	*buf = a->out;
	buf->overflow = !kb_aml_ok(a);
}

/* ---- names ---------------------------------------------------------------- */

static bool name_char(char c, bool first)
{
	return (c >= 'A' && c <= 'Z') || c == '_' || (c >= '0' && c <= '9' && !first);
}

/* One segment, padded with '_'. Returns what follows it, NULL: it is none. */
static const char *segment(struct kb_aml *a, const char *s)
{
	char seg[4] = { '_', '_', '_', '_' };
	unsigned n;

	for (n = 0; *s && *s != '.'; n++) {
		if (n == sizeof(seg) || !name_char(*s, n == 0))
			return NULL;
		seg[n] = *s++;
	}
	kb_buf_put(&a->out, seg, sizeof(seg));
	return n ? s : NULL;
}

void kb_aml_ref(struct kb_aml *a, const char *name)
{
	unsigned segments = 0, i;
	const char *s;

	for (s = name; *s == '\\' || *s == '^'; s++) {
		if (*s == '\\' && s != name)
			a->bad = true;
		byte(a, (unsigned char)*s);
	}
	for (i = 0; s[i]; i++)
		segments += i == 0 || s[i] == '.';
	if (segments > 255 || (segments == 0 && s == name)) {
		a->bad = true;
		return;
	}
	if (segments == 0)
		byte(a, 0); /* NullName */
	else if (segments == 2)
		byte(a, DUAL_NAME_PREFIX);
	else if (segments > 2) {
		byte(a, MULTI_NAME_PREFIX);
		byte(a, segments);
	}
	for (i = 0; i < segments && s; i++) {
		s = segment(a, s);
		if (s && *s == '.')
			s++;
	}
	if (!s)
		a->bad = true;
}

void kb_aml_name(struct kb_aml *a, const char *name)
{
	byte(a, NAME_OP);
	kb_aml_ref(a, name);
}

/* ---- lengths ---------------------------------------------------------------- */

static void begin(struct kb_aml *a)
{
	if (a->depth >= KB_AML_DEPTH)
		a->bad = true;
	else
		a->open[a->depth] = a->out.len;
	a->depth++;
}

/* Section 20.2.4. The length counts its own bytes: one holds 6 bits, two 12, three 20, four 28. */
void kb_aml_end(struct kb_aml *a)
{
	uint8_t enc[4];
	size_t at, len;
	unsigned n, i;

	if (a->depth == 0) {
		a->bad = true;
		return;
	}
	if (--a->depth >= KB_AML_DEPTH)
		return;
	at = a->open[a->depth];
	len = a->out.len - at;
	for (n = 1; n < 4 && len + n >= (n == 1 ? 1u << 6 : 1u << (8 * n - 4)); n++)
		;
	len += n;
	if (len >= 1u << 28) {
		a->bad = true;
		return;
	}
	enc[0] = (uint8_t)(n == 1 ? len : (n - 1) << 6 | (len & 0xf));
	for (i = 1; i < n; i++)
		enc[i] = (uint8_t)(len >> (8 * i - 4));
	kb_buf_insert(&a->out, at, enc, n);
}

void kb_aml_scope_begin(struct kb_aml *a, const char *name)
{
	byte(a, SCOPE_OP);
	begin(a);
	kb_aml_ref(a, name);
}

void kb_aml_device_begin(struct kb_aml *a, const char *name)
{
	byte(a, EXT_PREFIX);
	byte(a, DEVICE_OP);
	begin(a);
	kb_aml_ref(a, name);
}

void kb_aml_method_begin(struct kb_aml *a, const char *name, unsigned args)
{
	if (args > 7)
		a->bad = true;
	byte(a, METHOD_OP);
	begin(a);
	kb_aml_ref(a, name);
	byte(a, args);
}

void kb_aml_package_begin(struct kb_aml *a, unsigned count)
{
	if (count > 255)
		a->bad = true;
	byte(a, PACKAGE_OP);
	begin(a);
	byte(a, count);
}

void kb_aml_if_begin(struct kb_aml *a)
{
	byte(a, IF_OP);
	begin(a);
}

void kb_aml_else_begin(struct kb_aml *a)
{
	byte(a, ELSE_OP);
	begin(a);
}

/* ---- values ------------------------------------------------------------------- */

/* enc: room for 9 bytes. Returns how many it took. */
static unsigned encode_int(uint8_t *enc, uint64_t v)
{
	unsigned n = v <= UINT8_MAX ? 1 : v <= UINT16_MAX ? 2 : v <= UINT32_MAX ? 4 : 8;

	if (v <= 1 || v == UINT64_MAX) {
		enc[0] = v == UINT64_MAX ? ONES_OP : v ? ONE_OP : ZERO_OP;
		return 1;
	}
	enc[0] = n == 1 ? BYTE_PREFIX : n == 2 ? WORD_PREFIX : n == 4 ? DWORD_PREFIX : QWORD_PREFIX;
	memcpy(enc + 1, &v, n);
	return n + 1;
}

void kb_aml_int(struct kb_aml *a, uint64_t v)
{
	uint8_t enc[9];

	kb_buf_put(&a->out, enc, encode_int(enc, v));
}

void kb_aml_string(struct kb_aml *a, const char *text)
{
	const char *s;

	for (s = text; *s; s++)
		if ((unsigned char)*s > 0x7f)
			a->bad = true;
	byte(a, STRING_PREFIX);
	kb_buf_string(&a->out, text);
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Three letters of 5 bits, four hexadecimal digits, most significant byte first (section 6.1.5). */
void kb_aml_eisaid(struct kb_aml *a, const char *id)
{
	uint32_t v = 0;
	unsigned i;

	if (strlen(id) != 7) {
		a->bad = true;
		return;
	}
	for (i = 0; i < 3; i++) {
		if (id[i] < 'A' || id[i] > 'Z')
			a->bad = true;
		v = v << 5 | ((uint32_t)(id[i] - 0x40) & 0x1f);
	}
	for (; i < 7; i++) {
		if (hex_digit(id[i]) < 0)
			a->bad = true;
		v = v << 4 | ((uint32_t)hex_digit(id[i]) & 0xf);
	}
	kb_aml_int(a, __builtin_bswap32(v));
}

static void buffer_begin(struct kb_aml *a)
{
	byte(a, BUFFER_OP);
	begin(a);
}

/* The size stands before the bytes, behind the length. */
static void buffer_end(struct kb_aml *a)
{
	uint8_t enc[9];

	if (a->depth && a->depth <= KB_AML_DEPTH) {
		size_t at = a->open[a->depth - 1];

		kb_buf_insert(&a->out, at, enc, encode_int(enc, a->out.len - at));
	}
	kb_aml_end(a);
}

void kb_aml_buffer(struct kb_aml *a, const void *bytes, size_t len)
{
	buffer_begin(a);
	kb_buf_put(&a->out, bytes, len);
	buffer_end(a);
}

void kb_aml_arg(struct kb_aml *a, unsigned n)
{
	if (n > 6)
		a->bad = true;
	byte(a, ARG0_OP + n);
}

void kb_aml_local(struct kb_aml *a, unsigned n)
{
	if (n > 7)
		a->bad = true;
	byte(a, LOCAL0_OP + n);
}

void kb_aml_return(struct kb_aml *a)
{
	byte(a, RETURN_OP);
}

void kb_aml_store(struct kb_aml *a)
{
	byte(a, STORE_OP);
}

void kb_aml_equal(struct kb_aml *a)
{
	byte(a, LEQUAL_OP);
}

/* ---- resources ------------------------------------------------------------------- */

void kb_aml_resources_begin(struct kb_aml *a)
{
	buffer_begin(a);
}

void kb_aml_resources_end(struct kb_aml *a)
{
	byte(a, TAG_END);
	byte(a, 0); /* no checksum */
	buffer_end(a);
}

void kb_aml_io(struct kb_aml *a, uint16_t port, uint8_t len)
{
	byte(a, TAG_IO);
	byte(a, 1); /* 16-bit decode */
	kb_buf_le(&a->out, port, 2);
	kb_buf_le(&a->out, port, 2);
	byte(a, 1); /* alignment */
	byte(a, len);
}

void kb_aml_irq(struct kb_aml *a, unsigned irq)
{
	if (irq > 15)
		a->bad = true;
	byte(a, TAG_IRQ);
	kb_buf_le(&a->out, 1ull << (irq & 15), 2);
}

static void large(struct kb_aml *a, unsigned tag, unsigned len)
{
	byte(a, tag);
	kb_buf_le(&a->out, len, 2);
}

void kb_aml_interrupt(struct kb_aml *a, uint32_t gsi, unsigned flags)
{
	large(a, TAG_INTERRUPT, 6);
	byte(a, flags);
	byte(a, 1); /* interrupts */
	kb_buf_le(&a->out, gsi, 4);
}

void kb_aml_memory32_fixed(struct kb_aml *a, uint32_t base, uint32_t size, bool writable)
{
	large(a, TAG_MEMORY32_FIXED, 9);
	byte(a, writable);
	kb_buf_le(&a->out, base, 4);
	kb_buf_le(&a->out, size, 4);
}

/* Word, DWord and QWord address space descriptors differ in their width only (sections 6.4.3.5.1-3). */
static void window(struct kb_aml *a, unsigned tag, unsigned width, unsigned type, unsigned type_flags, uint64_t first,
		   uint64_t last)
{
	/* The length must fit, too: there is no window of all addresses. */
	if (last < first || last - first >= UINT64_MAX >> (64 - 8 * width))
		a->bad = true;
	large(a, tag, 3 + 5 * width);
	byte(a, type);
	byte(a, RANGE_FIXED);
	byte(a, type_flags);
	kb_buf_le(&a->out, 0, width); /* granularity */
	kb_buf_le(&a->out, first, width);
	kb_buf_le(&a->out, last, width);
	kb_buf_le(&a->out, 0, width); /* translation */
	kb_buf_le(&a->out, last - first + 1, width);
}

void kb_aml_bus_window(struct kb_aml *a, uint16_t first, uint16_t last)
{
	window(a, TAG_WORD, 2, RANGE_BUS, 0, first, last);
}

void kb_aml_io_window(struct kb_aml *a, uint16_t first, uint16_t last)
{
	window(a, TAG_WORD, 2, RANGE_IO, RANGE_ENTIRE, first, last);
}

void kb_aml_memory32_window(struct kb_aml *a, uint32_t first, uint32_t last)
{
	window(a, TAG_DWORD, 4, RANGE_MEMORY, RANGE_READ_WRITE, first, last);
}

void kb_aml_memory64_window(struct kb_aml *a, uint64_t first, uint64_t last)
{
	window(a, TAG_QWORD, 8, RANGE_MEMORY, RANGE_READ_WRITE, first, last);
}
