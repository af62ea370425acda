/*
 * The box without SystemC: this program is the simulator. It has a clock, one
 * future event and one device, an alarm clock on PCI, and sits on the C ABI alone.
 *
 *	plain_c [key=value ...]
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <kvmbox/kvmbox.h>

#include "alarm_regs.h"

#define REGISTER_LATENCY_PS 500000u /* what an access to the device costs */

struct simulator {
	uint64_t now_ps, alarm_ps; /* alarm_ps: KVMBOX_TIME_NEVER while it is off */
	bool ringing;
	unsigned rings;
	struct kvmbox_function *function;
};

static void ring(struct simulator *s)
{
	s->now_ps = s->alarm_ps;
	s->alarm_ps = KVMBOX_TIME_NEVER;
	s->ringing = true;
	s->rings++;
	kvmbox_intx(s->function, true);
}

/* Simulates up to t. A box that idles is woken by the alarm; one that waits for ever with nothing to come is stuck. */
static int check_wait(void *opaque, uint64_t t_ps, enum kvmbox_wait how)
{
	struct simulator *s = opaque;

	if (s->alarm_ps <= t_ps && s->alarm_ps != KVMBOX_TIME_NEVER) {
		ring(s);
		if (how == KVMBOX_WAIT_IDLE)
			return 0;
	}
	if (t_ps == KVMBOX_TIME_NEVER)
		return -1;
	if (t_ps > s->now_ps)
		s->now_ps = t_ps;
	return 0;
}

static uint64_t now(void *opaque)
{
	return ((struct simulator *)opaque)->now_ps;
}

static uint64_t next_event(void *opaque)
{
	return ((struct simulator *)opaque)->alarm_ps;
}

static int transport(void *opaque, struct kvmbox_access *a)
{
	struct simulator *s = opaque;
	uint32_t value = 0;

	if (a->len != 4)
		return -1;
	a->delay_ps += REGISTER_LATENCY_PS;
	memcpy(&value, a->data, sizeof(value));
	if (a->write) {
		if (a->offset == ALARM_START)
			s->alarm_ps = s->now_ps + value * UINT64_C(1000);
		return 0;
	}
	value = a->offset == ALARM_ID ? ALARM_ID_VALUE : 0;
	if (a->offset == ALARM_STATUS) {
		value = s->ringing;
		s->ringing = false;
		kvmbox_intx(s->function, false);
	}
	memcpy(a->data, &value, sizeof(value));
	return 0;
}

static void print_log(void *opaque, enum kvmbox_log_level level, const char *msg)
{
	(void)opaque;
	if (level <= KVMBOX_LOG_WARNING)
		fprintf(stderr, "kvmbox: %s\n", msg);
}

/* Without post and push, the guest waits for its writes as it does for its reads. */
static const struct kvmbox_ops ops = {
	.check_wait = check_wait, .now = now, .next_event = next_event, .transport = transport, .log = print_log,
};

static int configure(struct kvmbox_config *cfg, int argc, char **argv, struct kvmbox_error *err)
{
	int i, rc = kvmbox_config_set(cfg, "guest", GUEST, err);

	for (i = 1; i < argc && !rc; i++)
		rc = kvmbox_config_parse(cfg, argv[i], err);
	return rc;
}

static int simulate(const struct kvmbox_config *cfg, struct kvmbox_error *err)
{
	struct kvmbox_function_config alarm = {
		.name = "alarm", .slot = -1, .vendor = ALARM_VENDOR, .device = ALARM_DEVICE, .class_code = 0x080280,
		.bar[0].size = 0x1000, .intx_pin = 1,
	};
	struct simulator s = { .alarm_ps = KVMBOX_TIME_NEVER };
	struct kvmbox_stats stats;
	struct kvmbox_box *box;
	int rc = kvmbox_create(&box, cfg, &ops, &s, err);

	if (rc)
		return rc;
	rc = kvmbox_add_function(box, &alarm, NULL, &s.function, err);
	if (!rc)
		rc = kvmbox_run(box, err);
	if (!rc && kvmbox_end(box) == KVMBOX_END_STOPPED) {
		snprintf(err->msg, sizeof(err->msg), "the guest sleeps for ever: it waits for an interrupt and none will come");
		rc = -1;
	}
	if (!rc) {
		kvmbox_get_stats(box, &stats);
		rc = kvmbox_exit_status(box);
		printf("guest exit status %d after %" PRIu64 " us of simulated time, %" PRIu64 " device accesses, %u rings\n", rc,
		       stats.guest_ps / 1000000, stats.transports, s.rings);
		if (cfg->stats) {
			putchar('\n');
			kvmbox_stats_print(&stats, stdout);
		}
		if (cfg->stats_json && kvmbox_stats_write_json(&stats, cfg->stats_json, err) < 0)
			rc = -1;
	}
	kvmbox_destroy(box);
	return rc;
}

int main(int argc, char **argv)
{
	struct kvmbox_config cfg;
	struct kvmbox_error err;
	int rc;

	kvmbox_config_init(&cfg);
	rc = configure(&cfg, argc, argv, &err);
	if (!rc)
		rc = simulate(&cfg, &err);
	if (rc < 0)
		fprintf(stderr, "plain_c: %s\n", err.msg);
	kvmbox_config_clear(&cfg);
	return rc != 0;
}
