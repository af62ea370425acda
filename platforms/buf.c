/* Bytes put one after the other: see buf.h. */
#include "platforms/buf.h"

#include <string.h>

static bool room(struct kb_buf *b, size_t len)
{
	if (!b->overflow && len > b->cap - b->len)
		b->overflow = true;
	return !b->overflow;
}

void kb_buf_insert(struct kb_buf *b, size_t at, const void *bytes, size_t len)
{
	if (!len || !room(b, len))
		return;
	memmove(b->data + at + len, b->data + at, b->len - at);
	memcpy(b->data + at, bytes, len);
	b->len += len;
}

void kb_buf_put(struct kb_buf *b, const void *bytes, size_t len)
{
	kb_buf_insert(b, b->len, bytes, len);
}

void kb_buf_le(struct kb_buf *b, uint64_t v, unsigned len)
{
	kb_buf_put(b, &v, len); /* x86: the host has the guest's byte order */
}

void kb_buf_string(struct kb_buf *b, const char *text)
{
	kb_buf_put(b, text, strlen(text) + 1);
}

void kb_buf_align(struct kb_buf *b, size_t align)
{
	while (!b->overflow && b->len % align)
		kb_buf_le(b, 0, 1);
}

void kb_buf_set(struct kb_buf *b, size_t at, uint64_t v, unsigned len)
{
	if (at <= b->len && len <= b->len - at) /* else it was dropped */
		memcpy(b->data + at, &v, len);
}

uint8_t kb_checksum(const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}
