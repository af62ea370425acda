/*
 * "user": the host's own sockets behind a NAT, DHCP and DNS forwarder, through
 * libslirp. See kvmbox/net.h and libslirp.h. IPv4 only: router advertisements
 * come at random times.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "devices/net_impl.h"

#ifndef HAVE_SLIRP

static int user_open(struct kvmbox_net *n, const char *place, struct kb_spec *s, struct kvmbox_error *err)
{
	(void)place;
	(void)s;
	return kb_fail(err, ENOTSUP, "%s: no user network: kvmbox was built without slirp", n->user.what);
}

const struct kb_net_ops kb_net_user = { .kind = "user", .open = user_open };

#else

#include <glib.h>
#include <libslirp.h>

#define ROUTER 2
#define DNS    3
#define GUEST  15
#define PS_PER_MS 1000000000ull
#define FULL (KB_NET_QUEUE / 2) /* with that much waiting for the card nothing more is taken from the sockets */

struct timer {
	SlirpTimerCb fire;
	void *opaque;
	int64_t expires_ms; /* -1: not armed */
	struct timer *next;
};

struct user_net {
	Slirp *slirp;
	struct timer *timers;
	struct pollfd *fds; /* what libslirp has asked for last */
	size_t count, capacity;
	struct kb_pollset polled;
	unsigned long guest_notes, library_notes;
	guint log_handler;
};

/* What libslirp calls */

static ssize_t to_card(const void *frame, size_t len, void *opaque)
{
	kb_net_push(opaque, frame, len);
	return (ssize_t)len;
}

static void guest_error(const char *msg, void *opaque)
{
	struct kvmbox_net *n = opaque;
	struct user_net *u = n->state;

	if (kb_log_ratelimit(&u->guest_notes))
		kb_logf(&n->user.log, KVMBOX_LOG_DEBUG, "%s: %s", n->user.what, msg);
}

static int64_t now_ns(void *opaque)
{
	const struct kvmbox_net *n = opaque;

	return (int64_t)(kb_backend_now_ps(&n->user) / 1000);
}

static void *timer_new(SlirpTimerCb fire, void *fire_opaque, void *opaque)
{
	struct kvmbox_net *n = opaque;
	struct user_net *u = n->state;
	struct timer *t = g_new(struct timer, 1); /* libslirp takes no NULL */

	*t = (struct timer){ .fire = fire, .opaque = fire_opaque, .expires_ms = -1, .next = u->timers };
	u->timers = t;
	return t;
}

static void timer_free(void *timer, void *opaque)
{
	struct kvmbox_net *n = opaque;
	struct user_net *u = n->state;
	struct timer **p = &u->timers;

	while (*p && *p != timer)
		p = &(*p)->next;
	if (*p)
		*p = (*p)->next;
	g_free(timer);
}

static void timer_mod(void *timer, int64_t expires_ms, void *opaque)
{
	(void)opaque;
	((struct timer *)timer)->expires_ms = expires_ms;
}

static void ignore_fd(int fd, void *opaque)
{
	(void)fd;
	(void)opaque;
}

static void ignore(void *opaque)
{
	(void)opaque;
}

static const SlirpCb callbacks = {
	.send_packet = to_card,
	.guest_error = guest_error,
	.clock_get_ns = now_ns,
	.timer_new = timer_new,
	.timer_free = timer_free,
	.timer_mod = timer_mod,
	.register_poll_fd = ignore_fd,
	.unregister_poll_fd = ignore_fd,
	.notify = ignore,
};

/* The library would print. */
static void library_log(const gchar *domain, GLogLevelFlags level, const gchar *msg, gpointer opaque)
{
	struct kvmbox_net *n = opaque;
	struct user_net *u = n->state;

	if (kb_log_ratelimit(&u->library_notes))
		kb_logf(&n->user.log, level & (G_LOG_LEVEL_INFO | G_LOG_LEVEL_DEBUG) ? KVMBOX_LOG_DEBUG : KVMBOX_LOG_WARNING,
			"%s: %s: %s", n->user.what, domain, msg);
}

/* Polling */

static int add_fd(int fd, int events, void *opaque)
{
	struct user_net *u = opaque;

	if (u->count == u->capacity) {
		size_t capacity = u->capacity ? 2 * u->capacity : 16;
		struct pollfd *more = realloc(u->fds, capacity * sizeof(*more));

		if (!more)
			return -1;
		u->fds = more;
		u->capacity = capacity;
	}
	u->fds[u->count] = (struct pollfd){
		.fd = fd,
		.events = (short)((events & SLIRP_POLL_IN ? POLLIN : 0) | (events & SLIRP_POLL_OUT ? POLLOUT : 0) |
				  (events & SLIRP_POLL_PRI ? POLLPRI : 0)),
	};
	return (int)u->count++;
}

static int ready(int index, void *opaque)
{
	const struct user_net *u = opaque;
	short revents = index < 0 ? 0 : u->fds[index].revents;

	return (revents & POLLIN ? SLIRP_POLL_IN : 0) | (revents & POLLOUT ? SLIRP_POLL_OUT : 0) |
	       (revents & POLLPRI ? SLIRP_POLL_PRI : 0) | (revents & POLLERR ? SLIRP_POLL_ERR : 0) |
	       (revents & POLLHUP ? SLIRP_POLL_HUP : 0);
}

/* Asks libslirp for its descriptors; returns in how many simulated ms it wants to be called, UINT32_MAX: any. */
static uint32_t collect(struct user_net *u)
{
	uint32_t timeout = UINT32_MAX;

	u->count = 0;
	slirp_pollfds_fill(u->slirp, &timeout, add_fd, u);
	return timeout;
}

static void fire_timers(struct kvmbox_net *n)
{
	struct user_net *u = n->state;
	int64_t now_ms = now_ns(n) / 1000000;
	struct timer *t = u->timers, *next;

	for (; t; t = next) {
		next = t->next;
		if (t->expires_ms < 0 || t->expires_ms > now_ms)
			continue;
		t->expires_ms = -1;
		t->fire(t->opaque);
	}
}

static void user_service(struct kvmbox_net *n)
{
	struct user_net *u = n->state;

	if (n->in.count >= FULL)
		return;
	collect(u);
	slirp_pollfds_poll(u->slirp, poll(u->fds, u->count, 0) < 0, ready, u);
	fire_timers(n);
}

/*
 * Of an IPv4 datagram. libslirp 4.7 crashes putting together fragments whose
 * headers do not agree (ip_reass() follows pointers that lie in the packet by then).
 */
static bool is_fragment(const uint8_t *frame, size_t len)
{
	return len >= 22 && frame[12] == 0x08 && frame[13] == 0x00 && ((frame[20] & 0x3f) || frame[21]);
}

static int user_send(struct kvmbox_net *n, const uint8_t *frame, size_t len)
{
	struct user_net *u = n->state;

	if (is_fragment(frame, len)) {
		guest_error("fragments of IP datagrams are not forwarded", n);
		return -EPROTONOSUPPORT;
	}
	slirp_input(u->slirp, frame, (int)len);
	return 0;
}

static size_t user_fds(struct kvmbox_net *n, bool wanted, int *fds, size_t max)
{
	struct user_net *u = n->state;

	if (!wanted || !max || n->in.count >= FULL)
		return 0;
	collect(u);
	kb_pollset_set(&u->polled, u->fds, u->count);
	fds[0] = u->polled.epoll;
	return 1;
}

static uint64_t user_deadline(struct kvmbox_net *n)
{
	struct user_net *u = n->state;
	uint64_t now_ps = kb_backend_now_ps(&n->user);
	uint32_t timeout = collect(u);
	uint64_t deadline = timeout == UINT32_MAX ? UINT64_MAX : now_ps + timeout * PS_PER_MS;

	for (const struct timer *t = u->timers; t; t = t->next)
		if (t->expires_ms >= 0 && (uint64_t)t->expires_ms * PS_PER_MS < deadline)
			deadline = (uint64_t)t->expires_ms * PS_PER_MS;
	return deadline;
}

/* Options */

/* A.B.C.D/N */
static bool parse_network(const char *text, struct in_addr *network, struct in_addr *mask)
{
	const char *slash = strchr(text, '/');
	char address[INET_ADDRSTRLEN];
	uint64_t bits;

	if (!slash || (size_t)(slash - text) >= sizeof(address) || !kb_spec_number(slash + 1, 8, 24, &bits))
		return false;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = 0;
	mask->s_addr = htonl(UINT32_MAX << (32 - bits));
	return inet_pton(AF_INET, address, network) == 1 && !(network->s_addr & ~mask->s_addr);
}

/* [ADDR]:PORT, which ends at end. */
static bool parse_end(const char *text, const char *end, struct in_addr *addr, int *port)
{
	const char *colon = memchr(text, ':', (size_t)(end - text));
	char address[INET_ADDRSTRLEN], number[8];
	uint64_t value;

	if (!colon || (size_t)(colon - text) >= sizeof(address) || (size_t)(end - colon) > sizeof(number))
		return false;
	memcpy(address, text, (size_t)(colon - text));
	address[colon - text] = 0;
	memcpy(number, colon + 1, (size_t)(end - colon - 1));
	number[end - colon - 1] = 0;
	if ((*address && inet_pton(AF_INET, address, addr) != 1) || !kb_spec_number(number, 1, 65535, &value))
		return false;
	*port = (int)value;
	return true;
}

static int forward(struct kvmbox_net *n, const char *rule, struct in_addr guest, struct kvmbox_error *err)
{
	struct user_net *u = n->state;
	struct in_addr host = { .s_addr = htonl(INADDR_LOOPBACK) };
	bool udp = !strncmp(rule, "udp:", 4);
	const char *dash = strchr(rule, '-');
	int host_port, guest_port;

	if ((!udp && strncmp(rule, "tcp:", 4)) || !dash || !parse_end(rule + 4, dash, &host, &host_port) ||
	    !parse_end(dash + 1, dash + strlen(dash), &guest, &guest_port))
		return kb_fail(err, EINVAL, "%s: hostfwd=%s is not tcp|udp:[ADDR]:PORT-[GUEST]:PORT", n->user.what, rule);
	if (slirp_add_hostfwd(u->slirp, udp, host, host_port, guest, guest_port))
		return kb_fail(err, errno ? errno : EADDRINUSE, "%s: hostfwd=%s: cannot listen there: %s", n->user.what,
			       rule, strerror(errno ? errno : EADDRINUSE));
	return 0;
}

/* Opening */

static void user_close(struct kvmbox_net *n)
{
	struct user_net *u = n->state;

	if (u->slirp)
		slirp_cleanup(u->slirp);
	g_log_remove_handler("Slirp", u->log_handler);
	kb_pollset_release(&u->polled);
	free(u->fds);
	free(u);
}

static int start(struct kvmbox_net *n, struct kb_spec *s, struct kvmbox_error *err)
{
	struct user_net *u = n->state;
	const char *net = kb_spec_value(s, "net"), *rule;
	SlirpConfig cfg = { .version = 1, .in_enabled = true, .restricted = kb_spec_flag(s, "restrict") };
	int rc = kb_pollset_init(&u->polled);

	if (rc)
		return kb_fail(err, -rc, "%s: no descriptors left", n->user.what);
	if (!parse_network(net ? net : "10.0.2.0/24", &cfg.vnetwork, &cfg.vnetmask))
		return kb_fail(err, EINVAL, "%s: net=%s is no network A.B.C.D/N with N from 8 to 24 and zeroes after that",
			       n->user.what, net);
	cfg.vhost.s_addr = cfg.vnetwork.s_addr | htonl(ROUTER);
	cfg.vnameserver.s_addr = cfg.vnetwork.s_addr | htonl(DNS);
	cfg.vdhcp_start.s_addr = cfg.vnetwork.s_addr | htonl(GUEST);
	u->slirp = slirp_new(&cfg, &callbacks, n);
	if (!u->slirp)
		return kb_fail(err, EINVAL, "%s: libslirp does not start", n->user.what);
	while (!rc && (rule = kb_spec_value(s, "hostfwd")))
		rc = forward(n, rule, cfg.vdhcp_start, err);
	return rc ? rc : kb_spec_check(s, n->user.what, "net, hostfwd, restrict, mac or pcap", err);
}

static int user_open(struct kvmbox_net *n, const char *place, struct kb_spec *s, struct kvmbox_error *err)
{
	struct user_net *u = calloc(1, sizeof(*u));
	int rc;

	(void)place;
	if (!u)
		return kb_fail(err, ENOMEM, "%s: out of memory", n->user.what);
	u->polled.epoll = -1;
	n->state = u;
	u->log_handler = g_log_set_handler("Slirp", G_LOG_LEVEL_MASK, library_log, n);
	rc = start(n, s, err);
	if (rc)
		user_close(n);
	return rc;
}

const struct kb_net_ops kb_net_user = {
	.kind = "user", .open = user_open, .close = user_close,
	.service = user_service, .send = user_send, .fds = user_fds, .deadline = user_deadline,
};

#endif
