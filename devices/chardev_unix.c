/* "unix:PATH": a listening stream socket, one client at a time. See chardev.h and unix(7). */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/chardev_impl.h"
#include "devices/unix_socket.h"

#define ACCEPTS_PER_POLL KB_UNIX_BACKLOG

struct server {
	struct kb_unix_listener listener;
	int client;       /* -1: none */
	bool input_ended; /* the client will send no more (it may still read) */
	bool gone;        /* the client reads no more (there may be input left from it) */
	unsigned long accept_notes;
};

static int unix_open(struct kb_chardev *c, const char *path, struct kvmbox_error *err)
{
	struct server *s;
	int rc;

	s = calloc(1, sizeof(*s));
	if (!s)
		return kb_fail(err, ENOMEM, "%s: out of memory", c->what);
	s->client = -1;
	rc = kb_unix_listen(&s->listener, path, c->what, err);
	if (rc) {
		free(s);
		return rc;
	}
	c->state = s;
	kb_logf(&c->log, KVMBOX_LOG_INFO, "%s listens on unix:%s", c->what, path);
	return 0;
}

static void unix_close(struct kb_chardev *c)
{
	struct server *s = c->state;

	if (s->client >= 0)
		close(s->client);
	kb_unix_unlisten(&s->listener);
	free(s);
}

static void disconnect(struct kb_chardev *c, struct server *s)
{
	close(s->client);
	s->client = -1;
	s->input_ended = s->gone = false;
	kb_logf(&c->log, KVMBOX_LOG_INFO, "%s: client disconnected from unix:%s", c->what, s->listener.addr.sun_path);
}

static void admit(struct kb_chardev *c, struct server *s, int fd)
{
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);

	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	s->client = fd;
	kb_logf(&c->log, KVMBOX_LOG_INFO, "%s: client connected to unix:%s (process %d)",
	       c->what, s->listener.addr.sun_path, (int)peer.pid);
}

static void refuse(struct kb_chardev *c, const struct server *s, int fd)
{
	char note[256];
	int n = snprintf(note, sizeof(note), "kvmbox: %s has a client already\n", c->what);
	size_t len = n < (int)sizeof(note) ? (size_t)n : sizeof(note) - 1;

	/* A courtesy: if it does not arrive, the close does. */
	(void)!send(fd, note, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
	kb_logf(&c->log, KVMBOX_LOG_INFO, "%s: second client on unix:%s refused", c->what, s->listener.addr.sun_path);
}

/*
 * A client that has left stays until its input has been taken; who comes in
 * between waits in the backlog.
 */
static void unix_service(struct kb_chardev *c)
{
	struct server *s = c->state;
	struct pollfd p[2] = { { .fd = s->listener.fd, .events = POLLIN }, { .fd = s->client } };

	if (poll(p, 2, 0) <= 0)
		return;
	if (s->client >= 0 && (p[1].revents & (POLLHUP | POLLERR)))
		s->gone = true;
	if (s->gone && (s->input_ended || !c->input))
		disconnect(c, s);
	for (int i = 0; i < ACCEPTS_PER_POLL && !s->gone && (p[0].revents & POLLIN); i++) {
		int fd = accept4(s->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0) {
			if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED &&
			    kb_log_ratelimit(&s->accept_notes))
				kb_logf(&c->log, KVMBOX_LOG_WARNING, "%s: cannot accept a client: %s",
				       c->what, strerror(errno));
			return;
		}
		if (s->client < 0)
			admit(c, s, fd);
		else
			refuse(c, s, fd);
	}
}

/* Never an error: what this client does not take, the next one may. */
static ssize_t unix_send(struct kb_chardev *c, const uint8_t *bytes, size_t len)
{
	struct server *s = c->state;
	ssize_t n;

	if (s->client < 0 || s->gone)
		return 0;
	n = send(s->client, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n >= 0)
		return n;
	if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
		s->gone = true;
	return 0;
}

static size_t unix_receive(struct kb_chardev *c, uint8_t *bytes, size_t len)
{
	struct server *s = c->state;
	ssize_t n;

	if (s->client < 0 || s->input_ended)
		return 0;
	n = recv(s->client, bytes, len, MSG_DONTWAIT);
	if (n > 0)
		return (size_t)n;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	s->input_ended = true;
	if (n < 0)
		s->gone = true;
	if (s->gone)
		disconnect(c, s);
	return 0;
}

static size_t unix_fds(const struct kb_chardev *c, bool wanted, int *fds, size_t max)
{
	const struct server *s = c->state;
	size_t n = 0;

	if (n < max && !s->gone)
		fds[n++] = s->listener.fd;
	if (n < max && s->client >= 0 && wanted && !s->input_ended)
		fds[n++] = s->client;
	return n;
}

const struct kb_chardev_ops kb_chardev_unix = {
	.kind = "unix:", .open = unix_open, .close = unix_close, .service = unix_service,
	.send = unix_send, .receive = unix_receive, .fds = unix_fds,
};
