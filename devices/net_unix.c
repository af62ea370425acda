/*
 * "unix:PATH[,listen]": frames over a stream socket, each after its length in
 * 4 bytes, big-endian, as QEMU's "-netdev stream" has it. See kvmbox/net.h, unix(7).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/net_impl.h"
#include "devices/unix_socket.h"

#define PREFIX         sizeof(uint32_t)
#define READ_AHEAD     (32u << 10)  /* bytes; a power of two, more than a frame */
#define LENGTH_NO_PEER (128u << 10) /* who sends such a length does not speak this language */

struct stream {
	struct kb_unix_listener listener; /* fd -1: we connected */
	int peer;         /* -1: none */
	bool gone;        /* the peer has hung up; what it sent before is still read */
	struct kb_ring in, out;
	size_t skip;      /* bytes left of a frame that is too long */
	struct kb_pollset polled;
	unsigned long accept_notes;
};

static void drop_peer(struct kvmbox_net *n, const char *why)
{
	struct stream *s = n->state;

	close(s->peer);
	s->peer = -1;
	s->gone = false;
	s->skip = 0;
	kb_ring_pop(&s->in, s->in.count);
	kb_ring_pop(&s->out, s->out.count);
	kb_net_set_link(n, false);
	kb_logf(&n->user.log, KVMBOX_LOG_INFO, "%s: the peer on %s is gone: %s", n->user.what,
		s->listener.fd >= 0 ? s->listener.addr.sun_path : "the socket", why);
}

static void adopt(struct kvmbox_net *n, int fd)
{
	struct stream *s = n->state;

	s->peer = fd;
	kb_net_set_link(n, true);
}

/* One at a time; who comes when there is one is turned away. */
static void accept_peers(struct kvmbox_net *n)
{
	struct stream *s = n->state;

	for (int i = 0; i < KB_UNIX_BACKLOG; i++) {
		int fd = accept4(s->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0) {
			if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED && kb_log_ratelimit(&s->accept_notes))
				kb_logf(&n->user.log, KVMBOX_LOG_WARNING, "%s: cannot accept a peer: %s",
					n->user.what, strerror(errno));
			return;
		}
		if (s->peer >= 0) {
			close(fd);
			continue;
		}
		adopt(n, fd);
		kb_logf(&n->user.log, KVMBOX_LOG_INFO, "%s: a peer has connected to %s", n->user.what,
			s->listener.addr.sun_path);
	}
}

/* Moves queued frames out. */
static void flush(struct stream *s)
{
	const uint8_t *bytes;
	size_t len;

	while (s->peer >= 0 && !s->gone && (len = kb_ring_peek(&s->out, &bytes))) {
		ssize_t put = send(s->peer, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (put < 0) {
			s->gone = errno != EAGAIN && errno != EINTR && errno != ENOBUFS;
			return;
		}
		kb_ring_pop(&s->out, (size_t)put);
	}
}

static void stream_service(struct kvmbox_net *n)
{
	struct stream *s = n->state;
	struct pollfd p = { .fd = s->peer };

	if (s->peer >= 0 && poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)))
		s->gone = true;
	if (s->gone && !n->card.receive)
		drop_peer(n, "it hung up"); /* nobody will read what is left */
	if (s->listener.fd >= 0)
		accept_peers(n);
	flush(s);
}

static int stream_send(struct kvmbox_net *n, const uint8_t *frame, size_t len)
{
	struct stream *s = n->state;

	if (s->peer < 0 || s->gone)
		return -ENOTCONN;
	flush(s);
	if (!kb_frame_push(&s->out, frame, len))
		return -ENOBUFS;
	flush(s);
	return 0;
}

/* False: nothing more now. */
static bool read_more(struct kvmbox_net *n)
{
	struct stream *s = n->state;
	uint8_t buf[READ_AHEAD];
	ssize_t got = recv(s->peer, buf, s->in.limit - s->in.count, MSG_DONTWAIT);

	if (got > 0) {
		if (kb_ring_push(&s->in, buf, (size_t)got) == (size_t)got)
			return true;
		drop_peer(n, "out of memory");
	} else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
		drop_peer(n, got ? strerror(errno) : "it hung up");
	}
	return false;
}

static uint32_t frame_length(const struct kb_ring *r)
{
	uint32_t prefix;

	for (size_t i = 0; i < sizeof(prefix); i++)
		((uint8_t *)&prefix)[i] = r->buf[(r->head + i) % r->capacity];
	return ntohl(prefix);
}

/* Passes over a frame that is too long as it comes in. */
static void skip(struct stream *s)
{
	size_t len = s->skip < s->in.count ? s->skip : s->in.count;

	kb_ring_pop(&s->in, len);
	s->skip -= len;
}

/* What has been read up to now: a frame's length, -EMSGSIZE: one that is too long begins, -EAGAIN: half of one, -EPROTO. */
static ssize_t next_length(const struct stream *s, size_t size)
{
	uint32_t len;

	if (s->skip || s->in.count < sizeof(len))
		return -EAGAIN;
	len = frame_length(&s->in);
	if (len > LENGTH_NO_PEER)
		return -EPROTO;
	if (len >= size)
		return -EMSGSIZE;
	return s->in.count - sizeof(len) < len ? -EAGAIN : (ssize_t)len;
}

static ssize_t stream_receive(struct kvmbox_net *n, uint8_t *frame, size_t size)
{
	struct stream *s = n->state;
	ssize_t len = -EAGAIN;

	while (s->peer >= 0) {
		skip(s);
		len = next_length(s, size);
		if (len != -EAGAIN || !read_more(n))
			break;
	}
	if (len == -EMSGSIZE) {
		s->skip = PREFIX + frame_length(&s->in);
	} else if (len == -EPROTO) {
		drop_peer(n, "what it sends is not frames after their length");
		return -EAGAIN;
	} else if (len >= 0) {
		kb_ring_pop(&s->in, PREFIX);
		kb_ring_read(&s->in, frame, (size_t)len);
	}
	return len;
}

static size_t stream_fds(struct kvmbox_net *n, bool wanted, int *fds, size_t max)
{
	struct stream *s = n->state;
	struct pollfd p[2];
	size_t count = 0;

	if (s->listener.fd >= 0)
		p[count++] = (struct pollfd){ .fd = s->listener.fd, .events = POLLIN };
	if (s->peer >= 0 && (wanted || !s->gone))
		p[count++] = (struct pollfd){
			.fd = s->peer,
			.events = (short)((wanted ? POLLIN : 0) | (s->out.count ? POLLOUT : 0)),
		};
	if (!count || !max)
		return 0;
	kb_pollset_set(&s->polled, p, count);
	fds[0] = s->polled.epoll;
	return 1;
}

/* Opening */

static void stream_close(struct kvmbox_net *n)
{
	struct stream *s = n->state;

	if (s->peer >= 0)
		close(s->peer);
	if (s->listener.fd >= 0)
		kb_unix_unlisten(&s->listener);
	kb_pollset_release(&s->polled);
	free(s->in.buf);
	free(s->out.buf);
	free(s);
}

static int start(struct kvmbox_net *n, const char *path, bool listens, struct kvmbox_error *err)
{
	struct stream *s = n->state;
	int rc = kb_pollset_init(&s->polled);

	if (rc)
		return kb_fail(err, -rc, "%s: no descriptors left", n->user.what);
	if (listens) {
		rc = kb_unix_listen(&s->listener, path, n->user.what, err);
		if (rc)
			s->listener.fd = -1;
		return rc;
	}
	rc = kb_unix_connect(path, n->user.what, err);
	if (rc < 0)
		return rc;
	adopt(n, rc);
	return 0;
}

static int stream_open(struct kvmbox_net *n, const char *path, struct kb_spec *spec, struct kvmbox_error *err)
{
	bool listens = kb_spec_flag(spec, "listen");
	int rc = kb_spec_check(spec, n->user.what, "listen, mac or pcap", err);
	struct stream *s;

	if (rc)
		return rc;
	s = calloc(1, sizeof(*s));
	if (!s)
		return kb_fail(err, ENOMEM, "%s: out of memory", n->user.what);
	s->listener.fd = s->peer = s->polled.epoll = -1;
	s->in.limit = READ_AHEAD;
	s->out.limit = KB_NET_QUEUE;
	n->state = s;
	n->link = false;
	rc = start(n, path, listens, err);
	if (rc)
		stream_close(n);
	return rc;
}

const struct kb_net_ops kb_net_unix = {
	.kind = "unix:", .open = stream_open, .close = stream_close,
	.service = stream_service, .send = stream_send, .receive = stream_receive, .fds = stream_fds,
};
