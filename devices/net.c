/* Network back ends: opening, flow to and from the card, and the kinds too small for a file. See kvmbox/net.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/net_impl.h"

#define FRAMES_PER_POLL 64

/* null */

static int null_open(struct kvmbox_net *n, const char *place, struct kb_spec *s, struct kvmbox_error *err)
{
	(void)place;
	return kb_spec_check(s, n->user.what, "mac or pcap", err);
}

static int null_send(struct kvmbox_net *n, const uint8_t *frame, size_t len)
{
	(void)n;
	(void)frame;
	(void)len;
	return 0;
}

static const struct kb_net_ops null_ops = { .kind = "null", .open = null_open, .send = null_send };

static const struct kb_net_ops *const kinds[] = {
	&kb_net_user, &kb_net_tap, &kb_net_unix, &kb_net_udp, &kb_net_hub, &null_ops,
};

/* Opening */

static const struct kb_net_ops *find_kind(const struct kb_spec *s, const char **place)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if ((*place = kb_spec_after(s, kinds[i]->kind)))
			return kinds[i];
	return NULL;
}

static int parse_mac(struct kvmbox_net *n, const char *text, struct kvmbox_error *err)
{
	unsigned b[6];
	int end = 0;

	if (strlen(text) != 17 || strspn(text, "0123456789abcdefABCDEF:") != 17 ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &end) != 6 || end != 17)
		return kb_fail(err, EINVAL, "%s: mac=%s is no MAC address; write it like 52:54:00:12:34:56",
			       n->user.what, text);
	if (b[0] & 1)
		return kb_fail(err, EINVAL, "%s: mac=%s is a group's address; the first byte of a card's is even",
			       n->user.what, text);
	for (size_t i = 0; i < 6; i++)
		n->mac[i] = (uint8_t)b[i];
	n->has_mac = true;
	return 0;
}

static int open_place(struct kvmbox_net *n, struct kb_spec *s, struct kvmbox_error *err)
{
	const char *mac = kb_spec_value(s, "mac");
	const char *pcap = kb_spec_value(s, "pcap");
	const char *place;
	const struct kb_net_ops *ops = find_kind(s, &place);
	int rc;

	if (!ops)
		return kb_fail(err, EINVAL, "%s: no network back end \"%s\"; use user, tap:IFNAME, unix:PATH, "
			       "udp:ADDR:PORT-ADDR:PORT, hub:NAME or null", n->user.what, s->place);
	rc = mac ? parse_mac(n, mac, err) : 0;
	if (!rc)
		rc = ops->open(n, place, s, err);
	if (rc)
		return rc;
	n->ops = ops;
	return pcap ? kb_pcap_open(&n->pcap, pcap, n->user.what, err) : 0;
}

static void release(struct kvmbox_net *n)
{
	if (n->ops && n->ops->close)
		n->ops->close(n);
	kb_pcap_close(n->pcap);
	if (n->fd >= 0)
		close(n->fd);
	if (n->event >= 0)
		close(n->event);
	kb_backend_release(&n->user);
	free(n->in.buf);
	free(n);
}

int kvmbox_net_open(struct kvmbox_net **out, const char *spec, const struct kvmbox_backend_user *user,
		    struct kvmbox_error *err)
{
	struct kvmbox_net *n = calloc(1, sizeof(*n));
	struct kb_spec s;
	int rc;

	if (!n)
		return kb_fail(err, ENOMEM, "net: out of memory");
	n->link = true;
	n->fd = -1;
	n->in.limit = KB_NET_QUEUE;
	memcpy(n->mac, "\x52\x54\x00\x12\x34\x56", 6);
	n->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = n->event < 0 ? kb_fail(err, errno, "net: cannot create an eventfd: %s", strerror(errno)) :
			    kb_backend_init(&n->user, user, "net", err);
	if (!rc)
		rc = kb_spec_parse(&s, spec, n->user.what, err);
	if (!rc) {
		rc = open_place(n, &s, err);
		kb_spec_release(&s);
	}
	if (rc) {
		release(n);
		return rc;
	}
	n->link_changed = false; /* it starts out as it is */
	*out = n;
	return 0;
}

void kvmbox_net_close(struct kvmbox_net *n)
{
	if (!n)
		return;
	n->doomed = true;
	if (!n->busy)
		release(n);
}

static void leave(struct kvmbox_net *n)
{
	if (--n->busy == 0 && n->doomed)
		release(n);
}

void kvmbox_net_attach(struct kvmbox_net *n, const struct kvmbox_net_card *card)
{
	n->card = card ? *card : (struct kvmbox_net_card){ 0 };
}

bool kvmbox_net_link(const struct kvmbox_net *n)
{
	return n->link;
}

void kb_net_set_link(struct kvmbox_net *n, bool up)
{
	n->link_changed |= n->link != up;
	n->link = up;
}

bool kvmbox_net_mac(const struct kvmbox_net *n, uint8_t mac[6])
{
	memcpy(mac, n->mac, 6);
	return n->has_mac;
}

void kvmbox_net_get_counts(const struct kvmbox_net *n, struct kvmbox_net_counts *counts)
{
	*counts = n->counts;
}

/* Frames */

bool kb_frame_push(struct kb_ring *r, const uint8_t *frame, size_t len)
{
	uint32_t prefix = htonl((uint32_t)len);

	if (r->limit - r->count < sizeof(prefix) + len || !kb_ring_reserve(r, r->count + sizeof(prefix) + len))
		return false;
	kb_ring_push(r, (const uint8_t *)&prefix, sizeof(prefix));
	kb_ring_push(r, frame, len);
	return true;
}

void kb_net_push(struct kvmbox_net *n, const uint8_t *frame, size_t len)
{
	if (len < KVMBOX_NET_FRAME_MIN || len > KVMBOX_NET_FRAME_MAX || !kb_frame_push(&n->in, frame, len))
		n->counts.receive_dropped++;
}

static ssize_t pop(struct kvmbox_net *n)
{
	uint32_t len;

	if (!n->in.count)
		return -EAGAIN;
	kb_ring_read(&n->in, (uint8_t *)&len, sizeof(len));
	len = ntohl(len);
	kb_ring_read(&n->in, n->held, len);
	return (ssize_t)len;
}

static void record(struct kvmbox_net *n, const uint8_t *frame, size_t len)
{
	if (!n->pcap || kb_pcap_write(n->pcap, kb_backend_now_ps(&n->user), frame, len))
		return;
	kb_logf(&n->user.log, KVMBOX_LOG_WARNING, "%s: the capture ends here: its file cannot be written", n->user.what);
	kb_pcap_close(n->pcap);
	n->pcap = NULL;
}

bool kvmbox_net_send(struct kvmbox_net *n, const void *frame, size_t len)
{
	bool proper = len >= KVMBOX_NET_FRAME_MIN && len <= KVMBOX_NET_FRAME_MAX;

	if (proper)
		record(n, frame, len);
	if (!proper || n->ops->send(n, frame, len)) {
		n->counts.send_dropped++;
		return false;
	}
	n->counts.sent++;
	return true;
}

/* Gets the next frame into n->held. False: there is none now. */
static bool fetch(struct kvmbox_net *n, bool from_host)
{
	ssize_t len = -EAGAIN;

	if (!n->ops->receive)
		len = pop(n);
	else if (from_host)
		len = n->ops->receive(n, n->held, sizeof(n->held));
	if (len == -EAGAIN)
		return false;
	if (len < (ssize_t)KVMBOX_NET_FRAME_MIN || len > (ssize_t)KVMBOX_NET_FRAME_MAX)
		n->counts.receive_dropped++;
	else
		n->held_len = (size_t)len;
	return true;
}

/* Called with n->busy held, which also keeps a card from being given a frame while it takes one. */
static bool deliver(struct kvmbox_net *n, bool from_host)
{
	bool any = false;

	for (int i = 0; i < FRAMES_PER_POLL && n->card.receive && !n->doomed; i++) {
		if (!n->held_len && !fetch(n, from_host))
			break;
		if (!n->held_len)
			continue;
		if (!n->card.receive(n->card.opaque, n->held, n->held_len))
			break;
		record(n, n->held, n->held_len);
		n->held_len = 0;
		n->counts.received++;
		any = true;
	}
	return any;
}

bool kvmbox_net_offer(struct kvmbox_net *n)
{
	bool any;

	if (n->busy)
		return false;
	n->busy++;
	any = deliver(n, false);
	leave(n);
	return any;
}

static bool wanted(const struct kvmbox_net *n)
{
	return n->card.receive && !n->held_len;
}

bool kvmbox_net_poll(struct kvmbox_net *n)
{
	bool any = false;

	if (n->busy)
		return false;
	n->busy++;
	if (n->ops->service)
		n->ops->service(n);
	if (n->link_changed) {
		n->link_changed = false;
		any = true;
		if (n->card.link)
			n->card.link(n->card.opaque);
	}
	any |= deliver(n, true);
	leave(n);
	return any;
}

/* What waits in memory makes n->event readable; not frames the card has no room for: it will ask. */
static bool update_event(struct kvmbox_net *n)
{
	bool pending = n->link_changed || (wanted(n) && n->in.count);
	uint64_t one = 1;

	/* Neither can fail but for what is the case already. */
	if (pending)
		(void)!write(n->event, &one, sizeof(one));
	else if (!n->ops->receive)
		(void)!read(n->event, &one, sizeof(one));
	return pending || (wanted(n) && !n->ops->receive);
}

size_t kvmbox_net_fds(struct kvmbox_net *n, int *fds, size_t max)
{
	size_t count = n->ops->fds ? n->ops->fds(n, wanted(n), fds, max) : 0;

	if (n->fd >= 0 && wanted(n) && n->link && count < max)
		fds[count++] = n->fd;
	if (update_event(n) && count < max)
		fds[count++] = n->event;
	return count;
}

uint64_t kvmbox_net_deadline(struct kvmbox_net *n)
{
	return n->ops->deadline ? n->ops->deadline(n) : UINT64_MAX;
}
