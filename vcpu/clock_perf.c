/*
 * clock=perf-cycles, perf-insns: what the guest executed, as the host's PMU counts it, times a configured time. Entry and exit cost
 * nothing, for only the guest is counted. See clock.h and perf.h.
 */
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vcpu/clock.h"
#include "vcpu/error.h"

/* A kb_rate of one tick a second has room for twice this. */
#define MAX_EVENT_PS 1e9

static int attach(struct kb_clock *c, struct kvmbox_error *err)
{
	pid_t tid = (pid_t)syscall(SYS_gettid);
	int rc;

	if (c->perf.tid == tid && c->perf.counters.fds)
		return 0;
	kb_perf_close(&c->perf.counters);
	rc = kb_perf_open(&c->perf.counters, c->perf.api, c->perf.event, err);
	if (rc)
		return rc;
	c->perf.tid = tid;
	c->perf.last = 0;
	return 0;
}

/* A counter that was lost says nothing: then the host's TSC stands in for it, at the pace seen before. */
static uint64_t account(struct kb_clock *c, const struct kb_stay *stay)
{
	uint64_t count, ps, ticks = stay->ticks > stay->stolen ? stay->ticks - stay->stolen : 1;

	if (kb_perf_read(&c->perf.counters, &count) < 0) {
		c->perf.lost++;
		return (uint64_t)((double)ticks * c->perf.ps_per_tick) + 1;
	}
	ps = kb_rate_ps(&c->perf.count, count - c->perf.last);
	c->perf.last = count;
	/* Learn from stays long enough to say something; entry and exit are in the ticks. */
	if (ticks > c->tsc_hz / 10000)
		c->perf.ps_per_tick += ((double)ps / (double)ticks - c->perf.ps_per_tick) / 4;
	return ps ? ps : 1;
}

static uint64_t ticks(const struct kb_clock *c, uint64_t ps)
{
	const double t = c->perf.ps_per_tick > 0 ? (double)ps / c->perf.ps_per_tick : 1e18;

	return t < 1e18 ? (uint64_t)t + 1 : (uint64_t)1e18;
}

static void destroy(struct kb_clock *c)
{
	kb_perf_close(&c->perf.counters);
}

static const struct kb_clock_ops cycles_ops = {
	.name = "perf-cycles", .account = account, .ticks = ticks, .attach = attach, .destroy = destroy,
};
static const struct kb_clock_ops insns_ops = {
	.name = "perf-insns", .account = account, .ticks = ticks, .attach = attach, .destroy = destroy,
};

int kb_clock_init_perf(struct kb_clock *c, const struct kb_perf_api *api, enum kb_perf_event event, uint64_t tsc_hz,
		       double event_ps, struct kvmbox_error *err)
{
	if (!(event_ps > 0 && event_ps <= MAX_EVENT_PS))
		return kb_fail(err, EINVAL, "an instruction or cycle that takes %g ps (time_scale included) is out of bounds: more than 0, at most 1 ms",
			       event_ps);
	*c = (struct kb_clock){
		.ops = event == KB_PERF_CYCLES ? &cycles_ops : &insns_ops, .tsc_hz = tsc_hz,
		.perf = { .api = api, .event = event },
	};
	kb_rate_init(&c->perf.count, 1, event_ps);
	c->perf.ps_per_tick = event_ps; /* a guess: one event per tick */
	return attach(c, err);
}
