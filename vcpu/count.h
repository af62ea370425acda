/*
 * Counting instructions by the host's PMU (perf.h), so that a stop after many of them need not step them all: the guest runs freely up
 * to an overflow that is armed short of the number, the rest is stepped.
 *
 * What counts as in step.h, as far as a PMU sees it: a string instruction with a REP prefix that touches RAM only counts as one, not
 * by iterations, and one that KVM executes itself without an exit to the box (CPUID, some MSRs and control registers) does not count. Accesses to
 * devices, HLT and the MSRs that the box answers are counted by the box.
 */
#ifndef KB_COUNT_H
#define KB_COUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vcpu/error.h"
#include "vcpu/perf.h"

/*
 * Instructions that an overflow is armed early by. It is late by what the interrupt of the PMU and the exit take, some hundreds; later than
 * this is an error, never a wrong place.
 */
#define KB_COUNT_MARGIN 10000u

struct kb_vcpu;

struct kb_count {
	const struct kb_perf_api *api; /* NULL: no PMU, all are stepped */
	struct kb_perf counters;
	pid_t tid;                     /* whose guests are counted */
	uint64_t margin;
	bool on;                       /* step.left goes down by the PMU's count; stepping has not begun */
	uint64_t last;                 /* the count at the last entry */
	uint64_t aim;                  /* the count it overflows at */
};

/* step.left has been set: by the PMU for now? */
void kb_count_start(struct kb_vcpu *v);
/* On, before a stay: arms the PMU, or turns to stepping, what is left being little. -EIO, or as kb_perf_open(): the run ends. */
int kb_count_enter(struct kb_vcpu *v, struct kvmbox_error *err);
/*
 * On, after it: brings step.left up to date. exit: for the box to handle, its instruction counts but for accesses, which
 * kb_step_complete() counts. -ERANGE: the overflow came too late; -EIO: the PMU was taken away.
 */
int kb_count_leave(struct kb_vcpu *v, bool exit, struct kvmbox_error *err);
/* On: n more are done. -ERANGE: more than were left. */
int kb_count_done(struct kb_vcpu *v, uint64_t n, struct kvmbox_error *err);
/* Harmless if it is not on. */
void kb_count_stop(struct kb_count *c);

#endif
