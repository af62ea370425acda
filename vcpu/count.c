/* Counting by the PMU up to where stepping begins: see count.h. */
#include "vcpu/count.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vcpu/vcpu.h"

void kb_count_stop(struct kb_count *c)
{
	kb_perf_close(&c->counters);
	c->on = false;
}

void kb_count_start(struct kb_vcpu *v)
{
	struct kb_count *c = &v->count;

	kb_count_stop(c);
	/* A clock that steps needs no PMU; one that steps up to interrupts has counted what the PMU counts, too. */
	c->on = c->api && v->step.left > c->margin && v->step.left != UINT64_MAX && !v->clock.insn_ps &&
		!(v->clock.exact && v->step.emulated);
}

static int open_here(struct kb_count *c, struct kvmbox_error *err)
{
	pid_t tid = (pid_t)syscall(SYS_gettid);
	int rc;

	if (c->counters.fds && c->tid == tid)
		return 0;
	kb_perf_close(&c->counters);
	rc = kb_perf_open_overflow(&c->counters, c->api, KB_PERF_INSNS, kb_kick_signal(), tid, err);
	c->tid = tid;
	c->last = c->aim = 0;
	return rc;
}

/*
 * One counter overflows at the very place. Of several, for a CPU with cores of different types, none knows what the others
 * count: each gets its share, so that one overflows before their sum is there.
 */
static int arm(struct kb_count *c, uint64_t instructions, struct kvmbox_error *err)
{
	uint64_t share = instructions / (unsigned)c->counters.fds;

	if (c->counters.fds == 1 && c->aim == c->last + share)
		return 0;
	c->aim = c->last + share;
	if (kb_perf_arm(&c->counters, share ? share : 1) < 0)
		return kb_fail(err, EIO, "stop by instruction count: the performance counter cannot be armed");
	return 0;
}

static int look(struct kb_count *c, uint64_t *count, struct kvmbox_error *err)
{
	if (kb_perf_read(&c->counters, count) < 0)
		return kb_fail(err, EIO, "stop by instruction count: the performance counter was taken away (another user of the PMU), so the count is lost");
	return 0;
}

int kb_count_enter(struct kb_vcpu *v, struct kvmbox_error *err)
{
	struct kb_count *c = &v->count;
	int rc = open_here(c, err);

	/* Several counters would be armed with ever smaller shares. */
	if (!rc && v->step.left <= c->margin * (c->counters.fds > 1 ? 2 : 1)) {
		kb_count_stop(c);
		v->step.why |= KB_STEP_COUNT;
		return 0;
	}
	/* Not those that the thread's other guests have done meanwhile. */
	if (!rc)
		rc = look(c, &c->last, err);
	return rc ? rc : arm(c, v->step.left - c->margin, err);
}

int kb_count_done(struct kb_vcpu *v, uint64_t n, struct kvmbox_error *err)
{
	if (n > v->step.left)
		return kb_fail(err, ERANGE,
			       "stop by instruction count: the guest is %" PRIu64 " instructions too far, though the performance counter is armed %" PRIu64 " early",
			       n - v->step.left, v->count.margin);
	v->step.left -= n;
	return 0;
}

int kb_count_leave(struct kb_vcpu *v, bool exit, struct kvmbox_error *err)
{
	uint32_t reason = exit ? v->run->exit_reason : KVM_EXIT_UNKNOWN;
	bool boxes = reason == KVM_EXIT_HLT || reason == KVM_EXIT_X86_RDMSR || reason == KVM_EXIT_X86_WRMSR;
	uint64_t count;
	int rc = look(&v->count, &count, err);

	return rc ? rc : kb_count_done(v, count - v->count.last + boxes, err);
}
