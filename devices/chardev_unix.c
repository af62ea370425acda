/* "unix:PATH": a listening stream socket, one client at a time. See chardev.h and unix(7). */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices/chardev_impl.h"

#define ACCEPTS_PER_POLL 4

struct server {
	int listener;
	int client;       /* -1: none */
	bool input_ended; /* the client will send no more (it may still read) */
	bool gone;        /* the client reads no more (there may be input left from it) */
	dev_t dev;        /* the socket's file, so as not to remove someone else's */
	ino_t ino;
	unsigned long accept_notes;
	struct sockaddr_un addr;
};

/*
 * Is anyone listening? Asked with a socket of another type, which the kernel
 * refuses (EPROTOTYPE) without the listener noticing, if there is one.
 */
static bool is_stale(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool stale;

	if (fd < 0)
		return false;
	stale = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 && errno == ECONNREFUSED;
	close(fd);
	return stale;
}

/* Something is at the path already: removes it if it is our own, left by a process that is no more. */
static int clear_path(const char *what, const struct sockaddr_un *addr, struct kvmbox_error *err)
{
	struct stat st;

	if (lstat(addr->sun_path, &st))
		return errno == ENOENT ? 0 : kb_fail(err, errno, "%s: %s: %s", what, addr->sun_path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return kb_fail(err, EEXIST, "%s: %s exists and is not a socket; remove it or use another path",
			       what, addr->sun_path);
	if (st.st_uid != geteuid())
		return kb_fail(err, EEXIST, "%s: the socket %s belongs to user %u; use another path",
			       what, addr->sun_path, (unsigned)st.st_uid);
	if (!is_stale(addr))
		return kb_fail(err, EADDRINUSE, "%s: another process listens on %s; use another path",
			       what, addr->sun_path);
	if (unlink(addr->sun_path) && errno != ENOENT)
		return kb_fail(err, errno, "%s: cannot remove the stale socket %s: %s",
			       what, addr->sun_path, strerror(errno));
	return 0;
}

static int listen_at(struct server *s, const char *what, struct kvmbox_error *err)
{
	const struct sockaddr *addr = (const struct sockaddr *)&s->addr;
	struct stat st;
	int rc = bind(s->listener, addr, sizeof(s->addr));

	if (rc && errno == EADDRINUSE) {
		rc = clear_path(what, &s->addr, err);
		if (rc)
			return rc;
		rc = bind(s->listener, addr, sizeof(s->addr));
	}
	if (rc)
		return kb_fail(err, errno, "%s: cannot bind to %s: %s", what, s->addr.sun_path, strerror(errno));
	if (lstat(s->addr.sun_path, &st) || listen(s->listener, ACCEPTS_PER_POLL)) {
		rc = kb_fail(err, errno, "%s: cannot listen on %s: %s", what, s->addr.sun_path, strerror(errno));
		unlink(s->addr.sun_path);
		return rc;
	}
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	return 0;
}

static int unix_open(struct kb_chardev *c, const char *path, struct kvmbox_error *err)
{
	struct server *s;
	int rc;

	if (strlen(path) >= sizeof(s->addr.sun_path))
		return kb_fail(err, ENAMETOOLONG, "%s: the socket path %s is longer than %zu bytes; use a shorter one",
			       c->what, path, sizeof(s->addr.sun_path) - 1);
	s = calloc(1, sizeof(*s));
	if (!s)
		return kb_fail(err, ENOMEM, "%s: out of memory", c->what);
	s->client = -1;
	s->addr.sun_family = AF_UNIX;
	strcpy(s->addr.sun_path, path);
	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listener < 0) {
		rc = kb_fail(err, errno, "%s: cannot create a socket: %s", c->what, strerror(errno));
		free(s);
		return rc;
	}
	rc = listen_at(s, c->what, err);
	if (rc) {
		close(s->listener);
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
	struct stat st;

	if (!lstat(s->addr.sun_path, &st) && st.st_dev == s->dev && st.st_ino == s->ino)
		unlink(s->addr.sun_path);
	if (s->client >= 0)
		close(s->client);
	close(s->listener);
	free(s);
}

static void disconnect(struct kb_chardev *c, struct server *s)
{
	close(s->client);
	s->client = -1;
	s->input_ended = s->gone = false;
	kb_logf(&c->log, KVMBOX_LOG_INFO, "%s: client disconnected from unix:%s", c->what, s->addr.sun_path);
}

static void admit(struct kb_chardev *c, struct server *s, int fd)
{
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);

	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	s->client = fd;
	kb_logf(&c->log, KVMBOX_LOG_INFO, "%s: client connected to unix:%s (process %d)",
	       c->what, s->addr.sun_path, (int)peer.pid);
}

static void refuse(struct kb_chardev *c, const struct server *s, int fd)
{
	char note[256];
	int n = snprintf(note, sizeof(note), "kvmbox: %s has a client already\n", c->what);
	size_t len = n < (int)sizeof(note) ? (size_t)n : sizeof(note) - 1;

	/* A courtesy: if it does not arrive, the close does. */
	(void)!send(fd, note, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
	kb_logf(&c->log, KVMBOX_LOG_INFO, "%s: second client on unix:%s refused", c->what, s->addr.sun_path);
}

/*
 * A client that has left stays until its input has been taken; who comes in
 * between waits in the backlog.
 */
static void unix_service(struct kb_chardev *c)
{
	struct server *s = c->state;
	struct pollfd p[2] = { { .fd = s->listener, .events = POLLIN }, { .fd = s->client } };

	if (poll(p, 2, 0) <= 0)
		return;
	if (s->client >= 0 && (p[1].revents & (POLLHUP | POLLERR)))
		s->gone = true;
	if (s->gone && (s->input_ended || !c->input))
		disconnect(c, s);
	for (int i = 0; i < ACCEPTS_PER_POLL && !s->gone && (p[0].revents & POLLIN); i++) {
		int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

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
		fds[n++] = s->listener;
	if (n < max && s->client >= 0 && wanted && !s->input_ended)
		fds[n++] = s->client;
	return n;
}

const struct kb_chardev_ops kb_chardev_unix = {
	.kind = "unix:", .open = unix_open, .close = unix_close, .service = unix_service,
	.send = unix_send, .receive = unix_receive, .fds = unix_fds,
};
