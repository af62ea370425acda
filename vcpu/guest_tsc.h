/*
 * The guest's time-stamp counter (Intel SDM volume 3, 17.17 "Time-stamp counter"; AMD APM volume 2, 13.2.4): the host's, or,
 * where the host's KVM can shift it (KVM_VCPU_TSC_OFFSET), simulated: guest time x hz. A simulated TSC is
 * set at an entry when it would differ by more than a bound, exact where the guest's view opens (view.h); it never goes back, unless
 * the guest itself writes IA32_TSC or IA32_TSC_ADJUST. Those writes come to the box where the TSC can be shifted, for KVM would move
 * the offset under the box's feet; elsewhere they are KVM's (and without effect).
 */
#ifndef KB_GUEST_TSC_H
#define KB_GUEST_TSC_H

#include <stdbool.h>
#include <stdint.h>

#include "vcpu/clock.h"
#include "vcpu/msr.h"
#include "vcpu/view.h"

struct kb_guest_tsc {
	const struct kb_kvm_api *api;
	const struct kb_clock *clock;
	int fd;               /* the vCPU */
	bool shifts;          /* KVM honours the offset */
	bool simulated;       /* the TSC is guest time; implies shifts */
	uint64_t hz;          /* simulated: ticks per simulated second */
	uint64_t bound_ticks; /* it may differ by this */
	uint64_t set_ticks;   /* setting the offset takes at least this, host ticks */
	uint64_t offset;      /* guest's less host's, mod 2^64, as KVM has it */
	uint64_t moved;       /* simulated: what the guest's own writes have added */
	uint64_t adjust;      /* IA32_TSC_ADJUST */
	uint64_t seen;        /* the guest may have read this much; valid if was_seen */
	bool was_seen;
	uint64_t sets;        /* of the offset */
};

/* The TSC becomes the host's, as far as this KVM can do that. clock and the descriptor must outlive it. Adds MSRs. */
int kb_guest_tsc_init(struct kb_guest_tsc *g, const struct kb_kvm_api *api, int vcpu_fd, bool shifts, const struct kb_clock *clock,
		      struct kb_msrs *msrs, struct kvmbox_error *err);
/* From now on it is simulated. -EOPNOTSUPP: it cannot be; the message says why and what to do. */
int kb_guest_tsc_simulate(struct kb_guest_tsc *g, uint64_t hz, uint64_t bound_ps, struct kvmbox_error *err);
/* Power-on: what the guest has written is forgotten. */
int kb_guest_tsc_reset(struct kb_guest_tsc *g, struct kvmbox_error *err);

/* The simulated TSC at guest time ps. */
uint64_t kb_guest_tsc_at(const struct kb_guest_tsc *g, uint64_t ps);
/* When the simulated TSC reaches tsc, guest time; 0: it has at the start, UINT64_MAX: beyond the end of time. */
uint64_t kb_guest_tsc_reaches(const struct kb_guest_tsc *g, uint64_t tsc);
/* Before an entry: opens the view and sets the TSC for it if need be. */
int kb_guest_tsc_enter(struct kb_guest_tsc *g, struct kb_view *view, bool ring3, struct kvmbox_error *err);
/* After the exit: the view was open for ticks. */
static inline void kb_guest_tsc_leave(struct kb_guest_tsc *g, const struct kb_view *view, uint64_t ticks)
{
	g->seen = kb_view_opens(view) + ticks + g->offset;
	g->was_seen = true;
}

#endif
