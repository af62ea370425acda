/* "pty": a pseudo terminal for the user's terminal program. See chardev.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "devices/chardev_impl.h"

/*
 * The slave is held open: otherwise the master hangs up (and polls as ready for
 * ever) each time the user's program closes it.
 */
struct pty {
	int master, slave;
};

static int make_raw(int fd)
{
	struct termios t;

	if (tcgetattr(fd, &t))
		return -1;
	cfmakeraw(&t);
	return tcsetattr(fd, TCSANOW, &t);
}

static int open_pair(struct pty *p, char *path, size_t size)
{
	/* The master's description is ours alone, so O_NONBLOCK is ours to set. */
	p->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (p->master < 0)
		return -errno;
	p->slave = -1;
	if (grantpt(p->master) || unlockpt(p->master) || ptsname_r(p->master, path, size) ||
	    (p->slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0 || make_raw(p->slave)) {
		int rc = -errno;

		if (p->slave >= 0)
			close(p->slave);
		close(p->master);
		return rc;
	}
	return 0;
}

static int pty_open(struct kb_chardev *c, const char *unused, struct kvmbox_error *err)
{
	struct pty *p = malloc(sizeof(*p));
	char path[64];
	int rc;

	(void)unused;
	if (!p)
		return kb_fail(err, ENOMEM, "%s: out of memory", c->what);
	rc = open_pair(p, path, sizeof(path));
	if (rc) {
		free(p);
		return kb_fail(err, -rc, "%s: cannot get a pseudo terminal: %s", c->what, strerror(-rc));
	}
	c->state = p;
	kb_logf(&c->log, KVMBOX_LOG_INFO, "%s is on %s", c->what, path);
	return 0;
}

static void pty_close(struct kb_chardev *c)
{
	struct pty *p = c->state;

	close(p->slave);
	close(p->master);
	free(p);
}

static ssize_t pty_send(struct kb_chardev *c, const uint8_t *bytes, size_t len)
{
	const struct pty *p = c->state;

	return kb_fd_write(p->master, false, bytes, len);
}

static size_t pty_receive(struct kb_chardev *c, uint8_t *bytes, size_t len)
{
	const struct pty *p = c->state;
	ssize_t n = read(p->master, bytes, len);

	return n > 0 ? (size_t)n : 0;
}

static size_t pty_fds(const struct kb_chardev *c, bool wanted, int *fds, size_t max)
{
	const struct pty *p = c->state;

	if (!wanted || !max)
		return 0;
	fds[0] = p->master;
	return 1;
}

const struct kb_chardev_ops kb_chardev_pty = {
	.kind = "pty", .open = pty_open, .close = pty_close,
	.send = pty_send, .receive = pty_receive, .fds = pty_fds,
};
