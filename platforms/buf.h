/*
 * Bytes put one after the other into memory of a fixed size, little endian.
 * What does not fit sets overflow and is dropped, as is everything after it: look once, at the end.
 */
#ifndef KB_BUF_H
#define KB_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kb_buf {
	uint8_t *data; /* the caller's */
	size_t cap, len;
	bool overflow;
};

void kb_buf_put(struct kb_buf *b, const void *bytes, size_t len);
/* The low len bytes of v. */
void kb_buf_le(struct kb_buf *b, uint64_t v, unsigned len);
/* With a zero at its end. */
void kb_buf_string(struct kb_buf *b, const char *text);
/* Zeros up to a multiple of align. */
void kb_buf_align(struct kb_buf *b, size_t align);
/* Makes room at at (not behind the end) for bytes. */
void kb_buf_insert(struct kb_buf *b, size_t at, const void *bytes, size_t len);
/* Overwrites what is there already. */
void kb_buf_set(struct kb_buf *b, size_t at, uint64_t v, unsigned len);

/* What has to be added to the len bytes for a sum of 0, modulo 256: ACPI, SMBIOS and MP tables alike. */
uint8_t kb_checksum(const void *bytes, size_t len);

#endif
