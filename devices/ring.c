/* Bytes in order: see ring.h. */
#include "devices/ring.h"

#include <stdlib.h>
#include <string.h>

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

bool kb_ring_reserve(struct kb_ring *r, size_t need)
{
	size_t capacity = r->capacity ? r->capacity : 4096;
	size_t first;
	uint8_t *buf;

	if (need <= r->capacity)
		return true;
	while (capacity < need)
		capacity *= 2;
	buf = malloc(capacity + 1);
	if (!buf)
		return false;
	if (r->count) {
		first = smaller(r->count, r->capacity - r->head);
		memcpy(buf, r->buf + r->head, first);
		memcpy(buf + first, r->buf, r->count - first);
	}
	free(r->buf);
	r->buf = buf;
	r->head = 0;
	r->capacity = capacity;
	return true;
}

size_t kb_ring_push(struct kb_ring *r, const uint8_t *bytes, size_t len)
{
	size_t n = smaller(len, r->limit - r->count);
	size_t tail, first;

	if (!kb_ring_reserve(r, r->count + n))
		n = r->capacity - r->count;
	if (!n)
		return 0;
	tail = (r->head + r->count) % r->capacity;
	first = smaller(n, r->capacity - tail);
	memcpy(r->buf + tail, bytes, first);
	memcpy(r->buf, bytes + first, n - first);
	r->count += n;
	return n;
}

size_t kb_ring_peek(const struct kb_ring *r, const uint8_t **bytes)
{
	if (!r->count)
		return 0;
	*bytes = r->buf + r->head;
	return smaller(r->count, r->capacity - r->head);
}

void kb_ring_pop(struct kb_ring *r, size_t len)
{
	r->count -= len;
	r->head = r->count ? (r->head + len) % r->capacity : 0;
}

void kb_ring_read(struct kb_ring *r, uint8_t *bytes, size_t len)
{
	size_t first = smaller(len, r->capacity - r->head);

	memcpy(bytes, r->buf + r->head, first);
	memcpy(bytes + first, r->buf, len - first);
	kb_ring_pop(r, len);
}
