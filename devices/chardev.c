/* Character back ends: queues, dispatch, and the kinds too small for a file. See chardev.h. */
#include "devices/chardev.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "devices/backend.h"
#include "devices/chardev_impl.h"

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Descriptors */

bool kb_fd_may_sigpipe(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

static ssize_t write_once(int fd, const uint8_t *bytes, size_t len)
{
	ssize_t n;

	do
		n = write(fd, bytes, len);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	return errno == EAGAIN ? 0 : -errno;
}

/*
 * SIGPIPE is a thread's own signal: block it, write, and take away the one that
 * came of it, unless one was pending before. The program's disposition stays.
 */
ssize_t kb_fd_write(int fd, bool may_sigpipe, const uint8_t *bytes, size_t len)
{
	const struct timespec at_once = { 0 };
	sigset_t pipe_only, pending, old;
	ssize_t n;

	if (!may_sigpipe)
		return write_once(fd, bytes, len);
	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &pipe_only, &old);
	n = write_once(fd, bytes, len);
	if (n == -EPIPE && !sigismember(&pending, SIGPIPE))
		while (sigtimedwait(&pipe_only, NULL, &at_once) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return n;
}

/* null, memory, file */

static ssize_t null_send(struct kb_chardev *c, const uint8_t *bytes, size_t len)
{
	(void)c;
	(void)bytes;
	return (ssize_t)len;
}

static const struct kb_chardev_ops null_ops = { .kind = "null", .send = null_send };

static int memory_open(struct kb_chardev *c, const char *path, struct kvmbox_error *err)
{
	(void)path;
	(void)err;
	c->out.limit = c->in.limit = KB_CHARDEV_MEMORY;
	return 0;
}

static const struct kb_chardev_ops memory_ops = { .kind = "memory", .open = memory_open };

struct file {
	int fd;
	bool may_sigpipe;
};

/* O_NONBLOCK: a FIFO nobody reads is an error (ENXIO) rather than a hang. Regular files ignore it. */
static int file_open(struct kb_chardev *c, const char *path, struct kvmbox_error *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
	struct file *f;

	if (fd < 0)
		return kb_fail(err, errno, "%s: cannot open %s for writing: %s", c->what, path, strerror(errno));
	f = malloc(sizeof(*f));
	if (!f) {
		close(fd);
		return kb_fail(err, ENOMEM, "%s: out of memory", c->what);
	}
	*f = (struct file){ .fd = fd, .may_sigpipe = kb_fd_may_sigpipe(fd) };
	c->state = f;
	return 0;
}

static void file_close(struct kb_chardev *c)
{
	struct file *f = c->state;

	close(f->fd);
	free(f);
}

static ssize_t file_send(struct kb_chardev *c, const uint8_t *bytes, size_t len)
{
	struct file *f = c->state;

	return kb_fd_write(f->fd, f->may_sigpipe, bytes, len);
}

static const struct kb_chardev_ops file_ops = {
	.kind = "file:", .open = file_open, .close = file_close, .send = file_send,
};

/* Creation */

static const struct kb_chardev_ops *const kinds[] = {
	&null_ops, &kb_chardev_stdio, &file_ops, &kb_chardev_pty, &kb_chardev_unix, &memory_ops,
};

static const struct kb_chardev_ops *find_kind(const struct kb_spec *s, const char **path)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if ((*path = kb_spec_after(s, kinds[i]->kind)))
			return kinds[i];
	return NULL;
}

static int create(struct kb_chardev **out, const struct kb_chardev_ops *ops, const char *path, const char *what,
		  const struct kb_log *log, struct kvmbox_error *err)
{
	struct kb_chardev *c = calloc(1, sizeof(*c));
	int rc = 0;

	if (!c)
		return kb_fail(err, ENOMEM, "%s: out of memory", what);
	*c = (struct kb_chardev){
		.ops = ops,
		.what = strdup(what),
		.log = log ? *log : (struct kb_log){ 0 },
		.out.limit = KB_CHARDEV_QUEUE,
		.in.limit = KB_CHARDEV_CHUNK,
	};
	if (!c->what)
		rc = kb_fail(err, ENOMEM, "%s: out of memory", what);
	else if (ops->open)
		rc = ops->open(c, path, err);
	if (rc) {
		free(c->what);
		free(c);
		return rc;
	}
	*out = c;
	return 0;
}

struct parsed {
	struct kb_spec spec;
	const struct kb_chardev_ops *ops;
	const char *path, *logfile;
};

/* Release p->spec after success. */
static int parse(struct parsed *p, const char *spec, const char *what, struct kvmbox_error *err)
{
	int rc = kb_spec_parse(&p->spec, spec, what, err);

	if (rc)
		return rc;
	p->logfile = kb_spec_value(&p->spec, "logfile");
	p->ops = find_kind(&p->spec, &p->path);
	if (p->ops)
		rc = kb_spec_check(&p->spec, what, "logfile=PATH", err);
	else
		rc = kb_fail(err, EINVAL, "%s: no back end \"%s\"; use null, stdio, file:PATH, pty, unix:PATH or memory",
			     what, *p->spec.place ? p->spec.place : "(none)");
	if (rc)
		kb_spec_release(&p->spec);
	return rc;
}

int kb_chardev_check(const char *spec, const char *what, struct kvmbox_error *err)
{
	struct parsed p;
	int rc = parse(&p, spec, what, err);

	if (!rc)
		kb_spec_release(&p.spec);
	return rc;
}

int kb_chardev_create(struct kb_chardev **out, const char *spec, const char *what,
		      const struct kb_log *log, struct kvmbox_error *err)
{
	struct kb_chardev *copy = NULL;
	struct parsed p;
	int rc;

	if (!what)
		what = "chardev";
	rc = parse(&p, spec, what, err);
	if (rc)
		return rc;
	if (p.logfile)
		rc = create(&copy, &file_ops, p.logfile, what, log, err);
	if (!rc)
		rc = create(out, p.ops, p.path, what, log, err);
	if (rc)
		kb_chardev_destroy(copy);
	else
		(*out)->copy = copy;
	kb_spec_release(&p.spec);
	return rc;
}

static void drop(struct kb_chardev *c, size_t len, const char *why)
{
	c->dropped += len;
	if (kb_log_ratelimit(&c->drop_notes))
		kb_logf(&c->log, KVMBOX_LOG_WARNING, "%s: output dropped (%" PRIu64 " bytes so far): %s",
		       c->what, c->dropped, why);
}

/* Moves queued output out until the back end has enough. */
static void flush(struct kb_chardev *c)
{
	const uint8_t *bytes;
	size_t len;

	while (c->ops->send && (len = kb_ring_peek(&c->out, &bytes))) {
		ssize_t n = c->ops->send(c, bytes, len);

		if (n < 0) {
			drop(c, c->out.count, strerror((int)-n));
			kb_ring_pop(&c->out, c->out.count);
		} else if (n == 0) {
			return;
		} else {
			kb_ring_pop(&c->out, (size_t)n);
		}
	}
}

static void release(struct kb_chardev *c)
{
	flush(c);
	if (c->ops->close)
		c->ops->close(c);
	kb_chardev_destroy(c->copy);
	free(c->out.buf);
	free(c->in.buf);
	free(c->what);
	free(c);
}

void kb_chardev_destroy(struct kb_chardev *c)
{
	if (!c)
		return;
	if (c->busy) {
		c->doomed = true;
		c->input = NULL;
		c->quit = NULL;
	} else {
		release(c);
	}
}

static void leave(struct kb_chardev *c)
{
	if (--c->busy == 0 && c->doomed)
		release(c);
}

/* Output */

void kb_chardev_write(struct kb_chardev *c, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	size_t n;

	if (c->copy)
		kb_chardev_write(c->copy, bytes, len);
	flush(c);
	while (len && !c->out.count && c->ops->send) {
		ssize_t sent = c->ops->send(c, p, len);

		if (sent < 0) {
			drop(c, len, strerror((int)-sent));
			return;
		}
		if (sent == 0)
			break;
		p += sent;
		len -= (size_t)sent;
	}
	n = len ? kb_ring_push(&c->out, p, len) : 0;
	if (n < len)
		drop(c, len - n, "the queue is full");
}

uint64_t kb_chardev_dropped(const struct kb_chardev *c)
{
	return c->dropped;
}

size_t kb_chardev_output(const struct kb_chardev *c, const char **text)
{
	*text = "";
	if (c->ops != &memory_ops || !c->out.buf)
		return 0;
	c->out.buf[c->out.count] = 0; /* head is 0: nothing ever leaves this queue */
	*text = (const char *)c->out.buf;
	return c->out.count;
}

/* Input */

void kb_chardev_on_input(struct kb_chardev *c, kb_chardev_input_fn fn, void *opaque)
{
	c->input = c->doomed ? NULL : fn;
	c->input_opaque = opaque;
}

void kb_chardev_on_quit(struct kb_chardev *c, void (*fn)(void *opaque), void *opaque)
{
	c->quit = c->doomed ? NULL : fn;
	c->quit_opaque = opaque;
}

/* Called with c->busy held: that also stops a device from being offered input while it takes some. */
static bool offer(struct kb_chardev *c)
{
	const uint8_t *bytes;
	bool any = false;
	size_t len;

	while (c->input && (len = kb_ring_peek(&c->in, &bytes))) {
		size_t n = smaller(c->input(c->input_opaque, bytes, len), len);

		if (!n)
			break;
		kb_ring_pop(&c->in, n);
		any = true;
	}
	return any;
}

bool kb_chardev_offer(struct kb_chardev *c)
{
	bool any;

	if (c->busy || !c->in.count)
		return false;
	c->busy++;
	any = offer(c);
	leave(c);
	return any;
}

/*
 * Nothing is read from the host while the device still has to take what was
 * read before, so that a pipe or a socket sees back-pressure.
 */
static size_t room(const struct kb_chardev *c)
{
	if (!c->input || (c->in.count && !c->eager))
		return 0;
	return smaller(c->in.limit - c->in.count, KB_CHARDEV_CHUNK);
}

bool kb_chardev_poll(struct kb_chardev *c)
{
	uint8_t buf[KB_CHARDEV_CHUNK];
	bool any;
	size_t n;

	if (c->busy)
		return false;
	c->busy++;
	if (c->ops->service)
		c->ops->service(c);
	flush(c);
	any = offer(c);
	n = room(c);
	/* Grow first: what has been read must not be lost for want of memory. */
	if (c->ops->receive && n >= 2 && kb_ring_reserve(&c->in, c->in.count + n)) {
		n = c->ops->receive(c, buf, n);
		kb_ring_push(&c->in, buf, n);
		any |= offer(c);
	}
	leave(c);
	return any;
}

size_t kb_chardev_fds(const struct kb_chardev *c, int *fds, size_t max)
{
	return c->ops->fds ? c->ops->fds(c, room(c) >= 2, fds, max) : 0;
}

int kb_chardev_feed(struct kb_chardev *c, const void *bytes, size_t len)
{
	if (c->ops != &memory_ops)
		return -EINVAL;
	if (len > c->in.limit - c->in.count)
		return -ENOSPC;
	if (!kb_ring_reserve(&c->in, c->in.count + len))
		return -ENOMEM;
	kb_ring_push(&c->in, bytes, len);
	return 0;
}
