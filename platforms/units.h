/*
 * Sizes, times and numbers as people write them. Every parser takes the whole
 * text or nothing, stores only on success, and returns NULL, or else what is
 * wrong and what is accepted (a static string, fit to follow "key=value: ").
 */
#ifndef KB_UNITS_H
#define KB_UNITS_H

#include <stdint.h>

/* Bytes: decimal or 0x hex, then optionally K, M, G or KiB, MiB, GiB (powers of 1024). */
const char *kb_parse_size(const char *text, uint64_t *bytes);
/* Decimal with ps, ns, us, ms or s; fractions as long as they are whole picoseconds. 0 needs no unit. */
const char *kb_parse_time(const char *text, uint64_t *ps);
/* Decimal, up to UINT_MAX. */
const char *kb_parse_count(const char *text, unsigned *count);
/* Decimal floating point, finite; whatever the locale, the point is '.'. */
const char *kb_parse_double(const char *text, double *number);

#endif
