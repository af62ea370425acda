/*
 * A queue of bytes between a device and the host: grows up to its limit.
 */
#ifndef KB_RING_H
#define KB_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes in order; limit is a power of two. The buffer has one byte to spare, for a NUL. */
struct kb_ring {
	uint8_t *buf;
	size_t head, count, capacity, limit;
};

/* Makes the buffer hold at least need bytes (not more than limit). False: no memory. */
bool kb_ring_reserve(struct kb_ring *r, size_t need);
/* How many of the bytes fitted. */
size_t kb_ring_push(struct kb_ring *r, const uint8_t *bytes, size_t len);
/* The first bytes that lie in one piece. */
size_t kb_ring_peek(const struct kb_ring *r, const uint8_t **bytes);
void kb_ring_pop(struct kb_ring *r, size_t len);
/* Takes out len bytes, which must be there. */
void kb_ring_read(struct kb_ring *r, uint8_t *bytes, size_t len);

#endif
