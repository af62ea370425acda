/*
 * A histogram of times in ps, ten buckets to the decade: what is told from it is at most 34 % too much.
 */
#ifndef KB_HISTOGRAM_H
#define KB_HISTOGRAM_H

#include <stdint.h>

/* 0: none at all; 1: below 1 ns; then [1 ns, 1.2 ns) and so on up to 10 s; the last one: all above. */
#define KB_HISTOGRAM_BUCKETS 103

struct kb_histogram {
	uint64_t count[KB_HISTOGRAM_BUCKETS];
	uint64_t max_ps;
};

void kb_histogram_add(struct kb_histogram *h, uint64_t ps);
void kb_histogram_merge(struct kb_histogram *h, const struct kb_histogram *more);
/* Everything in the bucket is less than this (bucket 0: than 1 ps); UINT64_MAX: there is no limit. */
uint64_t kb_histogram_limit(unsigned bucket);

#endif
