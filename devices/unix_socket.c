/* Stream sockets with a path: see unix_socket.h. */
#include "devices/unix_socket.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

static int set_address(struct sockaddr_un *addr, const char *path, const char *what, struct kvmbox_error *err)
{
	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(addr->sun_path))
		return kb_fail(err, ENAMETOOLONG, "%s: the socket path %s is longer than %zu bytes; use a shorter one",
			       what, path, sizeof(addr->sun_path) - 1);
	strcpy(addr->sun_path, path);
	return 0;
}

static int new_socket(const char *what, struct kvmbox_error *err)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? kb_fail(err, errno, "%s: cannot create a socket: %s", what, strerror(errno)) : fd;
}

static int bind_and_listen(struct kb_unix_listener *l, const char *what, struct kvmbox_error *err)
{
	const struct sockaddr *addr = (const struct sockaddr *)&l->addr;
	struct stat st;
	int rc = bind(l->fd, addr, sizeof(l->addr));

	if (rc && errno == EADDRINUSE) {
		rc = clear_path(what, &l->addr, err);
		if (rc)
			return rc;
		rc = bind(l->fd, addr, sizeof(l->addr));
	}
	if (rc)
		return kb_fail(err, errno, "%s: cannot bind to %s: %s", what, l->addr.sun_path, strerror(errno));
	if (lstat(l->addr.sun_path, &st) || listen(l->fd, KB_UNIX_BACKLOG)) {
		rc = kb_fail(err, errno, "%s: cannot listen on %s: %s", what, l->addr.sun_path, strerror(errno));
		unlink(l->addr.sun_path);
		return rc;
	}
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	return 0;
}

int kb_unix_listen(struct kb_unix_listener *l, const char *path, const char *what, struct kvmbox_error *err)
{
	int rc = set_address(&l->addr, path, what, err);

	if (rc)
		return rc;
	l->fd = new_socket(what, err);
	if (l->fd < 0)
		return l->fd;
	rc = bind_and_listen(l, what, err);
	if (rc)
		close(l->fd);
	return rc;
}

void kb_unix_unlisten(struct kb_unix_listener *l)
{
	struct stat st;

	if (!lstat(l->addr.sun_path, &st) && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(l->addr.sun_path);
	close(l->fd);
}

int kb_unix_connect(const char *path, const char *what, struct kvmbox_error *err)
{
	struct sockaddr_un addr;
	int rc = set_address(&addr, path, what, err);
	int fd = rc ? rc : new_socket(what, err);

	if (fd < 0)
		return fd;
	if (!connect(fd, (const struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	rc = kb_fail(err, errno, "%s: cannot connect to %s: %s; the other end has to listen there first", what, path,
		     strerror(errno));
	close(fd);
	return rc;
}
