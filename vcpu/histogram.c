/* A histogram of times: see histogram.h. */
#include "vcpu/histogram.h"

/* Where the ten buckets of a decade end, in tenths of its beginning. */
static const uint64_t ends[] = { 12, 15, 20, 25, 30, 40, 50, 60, 80, 100 };

#define STEPS (sizeof(ends) / sizeof(ends[0]))
#define FIRST_PS 1000u

void kb_histogram_add(struct kb_histogram *h, uint64_t ps)
{
	unsigned bucket = ps > 0;
	uint64_t decade;

	if (ps >= FIRST_PS) {
		bucket = 2;
		for (decade = FIRST_PS; ps / decade >= 10 && bucket < KB_HISTOGRAM_BUCKETS - 1; decade *= 10)
			bucket += STEPS;
		while (bucket < KB_HISTOGRAM_BUCKETS - 1 && ps >= kb_histogram_limit(bucket))
			bucket++;
	}
	h->count[bucket]++;
	if (ps > h->max_ps)
		h->max_ps = ps;
}

void kb_histogram_merge(struct kb_histogram *h, const struct kb_histogram *more)
{
	unsigned i;

	for (i = 0; i < KB_HISTOGRAM_BUCKETS; i++)
		h->count[i] += more->count[i];
	if (more->max_ps > h->max_ps)
		h->max_ps = more->max_ps;
}

uint64_t kb_histogram_limit(unsigned bucket)
{
	uint64_t decade = FIRST_PS;

	if (bucket < 2)
		return bucket ? FIRST_PS : 1;
	if (bucket >= KB_HISTOGRAM_BUCKETS - 1)
		return UINT64_MAX;
	for (bucket -= 2; bucket >= STEPS; bucket -= (unsigned)STEPS)
		decade *= 10;
	return decade / 10 * ends[bucket];
}
