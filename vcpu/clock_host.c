/*
 * clock=host: the guest's time follows the host's, in the guest or out of it, as a virtual machine's does: what exits and the
 * simulator take on the host shows. For comparison, and for guests that need KVM's own clocks. See clock.h.
 */
#include "vcpu/clock.h"

static uint64_t account(struct kb_clock *c, const struct kb_stay *stay)
{
	uint64_t since = c->host.left ? stay->left - c->host.left : stay->ticks;

	c->host.left = stay->left;
	return kb_rate_ps(&c->rate, since);
}

static uint64_t ticks(const struct kb_clock *c, uint64_t ps)
{
	return kb_rate_ticks(&c->rate, ps);
}

/* What passed while nobody ran the box is nobody's time. */
static int attach(struct kb_clock *c, struct kvmbox_error *err)
{
	(void)err;
	c->host.left = 0;
	return 0;
}

static const struct kb_clock_ops ops = { .name = "host", .account = account, .ticks = ticks, .attach = attach };

void kb_clock_init_host(struct kb_clock *c, uint64_t tsc_hz, double time_scale)
{
	*c = (struct kb_clock){ .ops = &ops, .tsc_hz = tsc_hz };
	kb_rate_init(&c->rate, tsc_hz, 1e12 * time_scale);
}
