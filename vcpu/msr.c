/* MSRs the box answers itself: see msr.h. */
#include "vcpu/msr.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vcpu/vcpu.h"

_Static_assert(KB_MSR_RANGES <= KVM_MSR_FILTER_MAX_RANGES, "KVM's filter takes no more");

int kb_msrs_add(struct kb_msrs *m, const struct kb_msr_range *range, struct kvmbox_error *err)
{
	unsigned i;

	if (range->count < 1 || range->count > KB_MSR_RANGE_MAX || range->first > UINT32_MAX - (range->count - 1))
		return kb_fail(err, EINVAL, "MSR range 0x%" PRIx32 ", %" PRIu32 " registers: there must be 1 to %d", range->first,
			       range->count, KB_MSR_RANGE_MAX);
	for (i = 0; i < m->count; i++) {
		const struct kb_msr_range *o = &m->range[i];

		if (range->first - o->first < o->count || o->first - range->first < range->count)
			return kb_fail(err, EINVAL, "MSR range 0x%" PRIx32 " overlaps 0x%" PRIx32, range->first, o->first);
	}
	if (m->count == KB_MSR_RANGES)
		return kb_fail(err, ENOSPC, "no room for MSR range 0x%" PRIx32 ": KVM's filter takes %d", range->first, KB_MSR_RANGES);
	m->range[m->count++] = *range;
	return 0;
}

int kb_msrs_install(const struct kb_msrs *m, const struct kb_kvm_api *api, int vm_fd, struct kvmbox_error *err)
{
	static uint8_t deny[KB_MSR_RANGE_MAX / 8]; /* KVM only reads it */
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_X86_USER_SPACE_MSR,
		.args[0] = KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_FILTER,
	};
	struct kvm_msr_filter filter = { .flags = KVM_MSR_FILTER_DEFAULT_ALLOW };
	unsigned i, n = 0;
	int rc;

	for (i = 0; i < m->count; i++) {
		const struct kb_msr_range *r = &m->range[i];

		if (!r->take_reads && !r->take_writes)
			continue;
		filter.ranges[n++] = (struct kvm_msr_filter_range){
			.flags = (r->take_reads ? KVM_MSR_FILTER_READ : 0u) | (r->take_writes ? KVM_MSR_FILTER_WRITE : 0u),
			.nmsrs = r->count, .base = r->first, .bitmap = deny,
		};
	}
	rc = kb_kvm_ioctl(api, vm_fd, KVM_ENABLE_CAP, &cap);
	if (rc < 0)
		return kb_fail(err, -rc, "KVM hands no MSR accesses over (KVM_CAP_X86_USER_SPACE_MSR: %s)", strerror(-rc));
	rc = kb_kvm_ioctl(api, vm_fd, KVM_X86_SET_MSR_FILTER, &filter);
	if (rc < 0)
		return kb_fail(err, -rc, "KVM keeps its own MSRs (KVM_X86_SET_MSR_FILTER: %s)", strerror(-rc));
	return 0;
}

static const struct kb_msr_range *find(const struct kb_msrs *m, uint32_t index)
{
	unsigned i;

	for (i = 0; i < m->count; i++)
		if (index - m->range[i].first < m->range[i].count)
			return &m->range[i];
	return NULL;
}

void kb_msr_exit(struct kb_vcpu *v)
{
	struct kvm_run *run = v->run;
	const struct kb_msr_range *r = find(&v->msrs, run->msr.index);
	bool write = run->exit_reason == KVM_EXIT_X86_WRMSR, done = false;
	uint64_t value = 0;

	v->stats.exits[KB_EXIT_MSR]++;
	v->client.advance(v->client.opaque);
	if (write && r && r->write)
		done = r->write(r->opaque, run->msr.index, run->msr.data);
	else if (!write && r && r->read)
		done = r->read(r->opaque, run->msr.index, &value);
	if (!write)
		run->msr.data = value;
	run->msr.error = !done;
	if (!done && kb_log_ratelimit(&v->msrs.unknown))
		kb_logf(v->vm->log, KVMBOX_LOG_DEBUG, "the guest %s MSR 0x%" PRIx32 ", which %s: #GP", write ? "writes" : "reads",
			run->msr.index, r ? "refuses that" : "this machine does not have");
	v->state = KB_VCPU_IO_PENDING;
}
