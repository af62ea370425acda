/* The guest's TSC: see guest_tsc.h. */
#include "vcpu/guest_tsc.h"

#include <errno.h>
#include <string.h>

#define PS_PER_S 1000000000000ull
#define TRIES 16

enum { MSR_IA32_TSC = 0x10, MSR_IA32_TSC_ADJUST = 0x3b };

static int set_offset(struct kb_guest_tsc *g, uint64_t offset, struct kvmbox_error *err)
{
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)&offset,
	};
	int rc = kb_kvm_ioctl(g->api, g->fd, KVM_SET_DEVICE_ATTR, &attr);

	if (rc < 0)
		return kb_fail(err, -rc, "cannot set the guest's TSC (KVM_VCPU_TSC_OFFSET): %s; tsc=host does without", strerror(-rc));
	g->offset = offset;
	g->sets++;
	return 0;
}

uint64_t kb_guest_tsc_at(const struct kb_guest_tsc *g, uint64_t ps)
{
	return (uint64_t)((unsigned __int128)ps * g->hz / PS_PER_S) + g->moved;
}

uint64_t kb_guest_tsc_reaches(const struct kb_guest_tsc *g, uint64_t tsc)
{
	uint64_t ticks = tsc - g->moved;
	unsigned __int128 ps;

	if ((int64_t)ticks < 0 && tsc < g->moved)
		return 0;
	ps = ((unsigned __int128)ticks * PS_PER_S + g->hz - 1) / g->hz;
	return ps < UINT64_MAX ? (uint64_t)ps : UINT64_MAX;
}

/* Now, at an exit. */
static uint64_t now(const struct kb_guest_tsc *g)
{
	return g->simulated ? kb_guest_tsc_at(g, g->clock->now_ps) : kb_tsc() + g->offset;
}

/* IA32_TSC itself is read in KVM, like by RDTSC. */
static bool msr_read(void *opaque, uint32_t index, uint64_t *value)
{
	const struct kb_guest_tsc *g = opaque;

	*value = g->adjust;
	return index == MSR_IA32_TSC_ADJUST;
}

/* SDM volume 3, 17.17.3: a write to one moves the other, too. A simulated TSC gets its new offset at the next entry. */
static bool msr_write(void *opaque, uint32_t index, uint64_t value)
{
	struct kb_guest_tsc *g = opaque;
	uint64_t by = value - (index == MSR_IA32_TSC ? now(g) : g->adjust);

	g->was_seen = false;
	if (g->simulated)
		g->moved += by;
	else if (set_offset(g, g->offset + by, NULL))
		return false;
	g->adjust += by;
	return true;
}

int kb_guest_tsc_init(struct kb_guest_tsc *g, const struct kb_kvm_api *api, int vcpu_fd, bool shifts, const struct kb_clock *clock,
		      struct kb_msrs *msrs, struct kvmbox_error *err)
{
	struct kb_msr_range range = {
		.first = MSR_IA32_TSC, .count = 1, .take_writes = true, .write = msr_write, .opaque = g,
	};
	int rc;

	*g = (struct kb_guest_tsc){ .api = api, .fd = vcpu_fd, .shifts = shifts, .clock = clock };
	if (!shifts)
		return 0;
	rc = kb_msrs_add(msrs, &range, err);
	if (rc)
		return rc;
	range.first = MSR_IA32_TSC_ADJUST;
	range.take_reads = true;
	range.read = msr_read;
	rc = kb_msrs_add(msrs, &range, err);
	return rc ? rc : set_offset(g, 0, err);
}

int kb_guest_tsc_simulate(struct kb_guest_tsc *g, uint64_t hz, uint64_t bound_ps, struct kvmbox_error *err)
{
	uint64_t least = UINT64_MAX;
	int i;

	if (!g->shifts)
		return kb_fail(err, EOPNOTSUPP,
			       "this host's KVM cannot shift the guest's TSC (kvmbox-info: TSC offset, KVM_CAP_X86_MSR_FILTER); use tsc=host or tsc=auto, and read the kvm-clock page or the time register for simulated time");
	if (!g->clock->rate.ps_per_tick)
		return kb_fail(err, EOPNOTSUPP,
			       "with clock=%s guest time stands still while the guest runs, which a TSC cannot; use tsc=host or tsc=auto, and read the kvm-clock page or the time register for simulated time",
			       g->clock->ops->name);
	for (i = 0; i < TRIES; i++) {
		uint64_t start = kb_tsc(), took;
		int rc = set_offset(g, 0, err);

		took = kb_tsc() - start;
		if (rc)
			return rc;
		if (took < least)
			least = took;
	}
	g->simulated = true;
	g->hz = hz;
	g->bound_ticks = (uint64_t)((unsigned __int128)bound_ps * hz / PS_PER_S);
	g->set_ticks = least - least / 16; /* some may be quicker */
	g->moved = g->adjust = g->sets = 0;
	g->was_seen = false;
	return 0;
}

int kb_guest_tsc_reset(struct kb_guest_tsc *g, struct kvmbox_error *err)
{
	g->moved = g->adjust = 0;
	g->was_seen = false;
	return g->shifts && !g->simulated ? set_offset(g, 0, err) : 0;
}

int kb_guest_tsc_enter(struct kb_guest_tsc *g, struct kb_view *view, bool ring3, struct kvmbox_error *err)
{
	uint64_t want, is;

	kb_view_open(view, kb_tsc(), ring3);
	if (!g->simulated)
		return 0;
	want = kb_guest_tsc_at(g, g->clock->now_ps);
	is = kb_view_opens(view) + g->offset;
	if (is - want + g->bound_ticks <= 2 * g->bound_ticks)
		return 0;
	kb_view_open(view, kb_tsc() + g->set_ticks, ring3);
	if (g->was_seen && (int64_t)(want - g->seen) < 0)
		want = g->seen;
	return set_offset(g, want - kb_view_opens(view), err);
}
