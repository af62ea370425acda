/*
 * "nbd:URI": a disk at an NBD server, through libnbd. See kvmbox/block.h,
 * libnbd(3), and the NBD protocol's doc/proto.md and doc/uri.md.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block_impl.h"

#ifndef HAVE_LIBNBD

static int nbd_open(struct kvmbox_block *b, const char *uri, struct kb_spec *s, struct kvmbox_error *err)
{
	(void)s;
	return kb_fail(err, ENOTSUP, "%s: cannot open %s: kvmbox was built without libnbd", b->user.what, uri);
}

const struct kb_block_ops kb_block_nbd = { .kind = "nbd:", .open = nbd_open };

#else

#include <libnbd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define DEFAULT_TIMEOUT_S 30
#define MOST_PER_TRANSFER (4u << 20) /* bytes: an answer that takes longer than the time-out is none */
#define MOST_PER_ZEROING  (1u << 30) /* a length has 32 bits */
#define MOST_OUTSTANDING  256u       /* parts, of which libnbd keeps a list without a limit */
#define EVENTS_PER_POLL   64

struct nbd {
	struct nbd_handle *h;
	struct kb_pollset polled;
	int timer;           /* readable when the server has been silent for too long */
	uint64_t timeout_ms;
	uint64_t heard_ms;   /* host time of the last answer, or of a request that ended the server's rest */
	unsigned outstanding; /* parts of requests */
	uint64_t most;       /* bytes per read or write */
	bool can_flush, can_fua, can_trim, can_zero;
	bool dead, closing;
	struct kvmbox_block_request *issuing; /* start() is busy with it and says what becomes of it */
};

/* One request of the server's, of those that make up one of ours. */
struct part {
	struct kvmbox_block *b;
	struct kvmbox_block_request *r;
};

static int to_result(int error)
{
	if (error == ENOSPC)
		return -ENOSPC;
	return error == EPERM || error == EROFS ? -EROFS : -EIO;
}

/* The server is given up. libnbd no longer touches the buffers once it is closed. */
static void give_up(struct kvmbox_block *b, const char *why)
{
	struct nbd *n = b->state;
	struct kvmbox_block_request *r = b->running, *next;

	kb_logf(&b->user.log, KVMBOX_LOG_ERROR, "%s: %s is lost: %s; every access fails from now on",
		b->user.what, b->spec, why);
	n->dead = true;
	nbd_close(n->h);
	n->h = NULL;
	n->outstanding = 0;
	for (; r; r = next) {
		next = r->priv.next;
		if (r != n->issuing)
			kb_block_complete(b, r, -EIO);
	}
}

/* Within libnbd: no calls of it from here. */
static int part_done(void *opaque, int *error)
{
	const struct part *p = opaque;
	struct nbd *n = p->b->state;
	struct kvmbox_block_request *r = p->r;

	if (n->dead || n->closing)
		return 1;
	n->outstanding--;
	n->heard_ms = kb_host_ms();
	if (*error && !r->priv.result)
		r->priv.result = to_result(*error);
	if (--r->priv.parts == 0)
		kb_block_complete(p->b, r, r->priv.result);
	return 1;
}

static bool is_broken(struct nbd *n)
{
	return nbd_aio_is_dead(n->h) || nbd_aio_is_closed(n->h);
}

static void nbd_progress(struct kvmbox_block *b, bool wait)
{
	struct nbd *n = b->state;
	uint64_t silent = n->outstanding ? kb_host_ms() - n->heard_ms : 0;
	int rc = 0, events = 0;

	if (n->dead)
		return;
	if (is_broken(n)) {
		give_up(b, "the connection has ended");
		return;
	}
	if (silent < n->timeout_ms)
		do
			rc = nbd_poll(n->h, wait ? (int)(n->timeout_ms - silent) : 0);
		while (rc > 0 && !wait && ++events < EVENTS_PER_POLL);
	if (rc < 0 && nbd_get_errno() != EINTR)
		give_up(b, nbd_get_error());
	else if (is_broken(n))
		give_up(b, "the connection has ended");
	else if (n->outstanding && kb_host_ms() - n->heard_ms >= n->timeout_ms)
		give_up(b, "the server has been silent for too long");
}

static int send_part(struct kvmbox_block *b, struct kvmbox_block_request *r, enum kvmbox_block_op op, char *bytes,
		     uint64_t offset, uint64_t length)
{
	struct nbd *n = b->state;
	uint32_t fua = r->flags & KVMBOX_BLOCK_FUA && n->can_fua ? LIBNBD_CMD_FLAG_FUA : 0;
	uint32_t hole = r->flags & KVMBOX_BLOCK_UNMAP ? 0 : LIBNBD_CMD_FLAG_NO_HOLE;
	nbd_completion_callback done = { .callback = part_done, .free = free };
	struct part *p = malloc(sizeof(*p));
	int64_t rc;

	if (!p)
		return -ENOMEM;
	*p = (struct part){ b, r };
	done.user_data = p;
	if (!n->outstanding++)
		n->heard_ms = kb_host_ms();
	r->priv.parts++;
	switch (op) {
	case KVMBOX_BLOCK_READ:
		rc = nbd_aio_pread(n->h, bytes, length, offset, done, 0);
		break;
	case KVMBOX_BLOCK_WRITE:
		rc = nbd_aio_pwrite(n->h, bytes, length, offset, done, fua);
		break;
	case KVMBOX_BLOCK_DISCARD:
		rc = nbd_aio_trim(n->h, length, offset, done, 0);
		break;
	case KVMBOX_BLOCK_WRITE_ZEROES:
		rc = nbd_aio_zero(n->h, length, offset, done, fua | hole);
		break;
	default:
		rc = nbd_aio_flush(n->h, done, 0);
		break;
	}
	if (rc >= 0)
		return 0;
	n->outstanding--;
	r->priv.parts--;
	return to_result(nbd_get_errno());
}

/* In pieces a server takes; bytes NULL: none move. same: all pieces are the one at bytes. */
static int send_parts(struct kvmbox_block *b, struct kvmbox_block_request *r, enum kvmbox_block_op op, char *bytes,
		      bool same, uint64_t most, uint64_t length)
{
	struct nbd *n = b->state;
	int rc = 0;

	for (uint64_t at = 0, len; !rc && at < length; at += len) {
		len = length - at < most ? length - at : most;
		while (n->outstanding >= MOST_OUTSTANDING && !n->dead)
			nbd_progress(b, true);
		if (n->dead)
			return -EIO;
		rc = send_part(b, r, op, same || !bytes ? bytes : bytes + at, r->offset + at, len);
	}
	return rc;
}

static int send_changes(struct kvmbox_block *b, struct kvmbox_block_request *r)
{
	static char zeroes[64 << 10];
	struct nbd *n = b->state;
	uint64_t within = kb_block_within(b, r);

	if (r->op == KVMBOX_BLOCK_DISCARD)
		return n->can_trim ? send_parts(b, r, r->op, NULL, false, MOST_PER_ZEROING, within) : 0;
	if (r->op == KVMBOX_BLOCK_WRITE_ZEROES)
		return n->can_zero ? send_parts(b, r, r->op, NULL, false, MOST_PER_ZEROING, within) :
				     send_parts(b, r, KVMBOX_BLOCK_WRITE, zeroes, true, sizeof(zeroes), within);
	if (!kb_is_zero((const char *)r->buffer + within, r->length - within))
		return -ENOSPC; /* the export ends within its last sector */
	return send_parts(b, r, r->op, r->buffer, false, n->most, within);
}

static int send_request(struct kvmbox_block *b, struct kvmbox_block_request *r)
{
	struct nbd *n = b->state;
	int rc;

	if (r->op == KVMBOX_BLOCK_READ)
		return send_parts(b, r, r->op, r->buffer, false, n->most, kb_block_within(b, r));
	if (r->op == KVMBOX_BLOCK_FLUSH)
		return n->can_flush ? send_part(b, r, r->op, NULL, 0, 0) : 0;
	rc = send_changes(b, r);
	if (rc || !(r->flags & KVMBOX_BLOCK_FUA) || n->can_fua || !n->can_flush)
		return rc;
	while (r->priv.parts > 1 && !n->dead)
		nbd_progress(b, true);
	if (n->dead)
		return -EIO;
	return r->priv.result ? 0 : send_part(b, r, KVMBOX_BLOCK_FLUSH, NULL, 0, 0);
}

static int nbd_start(struct kvmbox_block *b, struct kvmbox_block_request *r)
{
	struct nbd *n = b->state;
	int rc;

	if (n->dead)
		return -EIO;
	r->priv.result = 0;
	r->priv.parts = 1; /* ours: it is not complete before all of it is sent */
	n->issuing = r;
	rc = send_request(b, r);
	n->issuing = NULL;
	if (n->dead)
		return -EIO;
	if (rc && !r->priv.result)
		r->priv.result = rc;
	return --r->priv.parts ? -EINPROGRESS : r->priv.result;
}

static int nbd_fd(struct kvmbox_block *b)
{
	struct nbd *n = b->state;
	struct itimerspec alarm = { 0 };
	struct pollfd fds[2] = { { .fd = n->timer, .events = POLLIN }, { 0 } };
	uint64_t left = n->heard_ms + n->timeout_ms - kb_host_ms();
	unsigned direction;

	if (n->dead)
		return -1;
	if (left > n->timeout_ms)
		left = 0;
	alarm.it_value.tv_sec = (time_t)(left / 1000);
	alarm.it_value.tv_nsec = (long)(left % 1000) * 1000000 + 1;
	timerfd_settime(n->timer, 0, &alarm, NULL);
	direction = nbd_aio_get_direction(n->h);
	fds[1].fd = nbd_aio_get_fd(n->h);
	fds[1].events = (short)((direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
				(direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
	kb_pollset_set(&n->polled, fds, fds[1].fd < 0 ? 1 : 2);
	return n->polled.epoll;
}

/* Opening */

static void nbd_release(struct nbd *n)
{
	n->closing = true;
	if (n->h)
		nbd_close(n->h);
	if (n->timer >= 0)
		close(n->timer);
	kb_pollset_release(&n->polled);
	free(n);
}

static void nbd_block_close(struct kvmbox_block *b)
{
	nbd_release(b->state);
}

static int connect_to(struct kvmbox_block *b, struct nbd *n, const char *uri, struct kvmbox_error *err)
{
	uint64_t end = kb_host_ms() + n->timeout_ms, now;

	if (nbd_aio_connect_uri(n->h, uri) < 0)
		return kb_fail(err, nbd_get_errno() ? nbd_get_errno() : EINVAL, "%s: cannot connect to %s: %s",
			       b->user.what, uri, nbd_get_error());
	while (nbd_aio_is_connecting(n->h)) {
		now = kb_host_ms();
		if (now >= end)
			return kb_fail(err, ETIMEDOUT, "%s: the NBD server at %s did not answer within %u s", b->user.what,
				       uri, (unsigned)(n->timeout_ms / 1000));
		if (nbd_poll(n->h, (int)(end - now)) < 0 && nbd_get_errno() != EINTR)
			break;
	}
	if (!nbd_aio_is_ready(n->h))
		return kb_fail(err, nbd_get_errno() ? nbd_get_errno() : EIO, "%s: cannot connect to %s: %s",
			       b->user.what, uri, nbd_get_error());
	return 0;
}

static int learn(struct kvmbox_block *b, struct nbd *n, const char *uri, struct kvmbox_error *err)
{
	int64_t size = nbd_get_size(n->h);
	int64_t least = nbd_get_block_size(n->h, LIBNBD_SIZE_MINIMUM);
	int64_t most = nbd_get_block_size(n->h, LIBNBD_SIZE_MAXIMUM);

	if (size < 0)
		return kb_fail(err, EIO, "%s: %s has no size: %s", b->user.what, uri, nbd_get_error());
	if (!b->readonly && nbd_is_read_only(n->h))
		return kb_fail(err, EROFS, "%s: the server exports %s for reading only; use the option readonly or snapshot",
			       b->user.what, uri);
	if (least > (64 << 10) || (least > 0 && (least & (least - 1))))
		return kb_fail(err, EINVAL, "%s: %s wants blocks of %lld bytes, which no disk has", b->user.what, uri,
			       (long long)least);
	b->length = (uint64_t)size;
	if (least > (int64_t)KB_SECTOR)
		b->block_size = (uint32_t)least;
	n->most = most > 0 && most < MOST_PER_TRANSFER ? (uint64_t)most / b->block_size * b->block_size : MOST_PER_TRANSFER;
	if (!n->most)
		return kb_fail(err, EINVAL, "%s: %s takes no whole block at a time", b->user.what, uri);
	n->can_flush = nbd_can_flush(n->h) > 0;
	n->can_fua = nbd_can_fua(n->h) > 0;
	n->can_trim = nbd_can_trim(n->h) > 0;
	n->can_zero = nbd_can_zero(n->h) > 0;
	b->discard = !b->readonly && n->can_trim;
	return 0;
}

static int set_up(struct kvmbox_block *b, struct nbd *n, const char *uri, struct kvmbox_error *err)
{
	int rc = kb_pollset_init(&n->polled);

	n->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (rc || n->timer < 0)
		return kb_fail(err, rc ? -rc : errno, "%s: no descriptors left", b->user.what);
	n->h = nbd_create();
	if (!n->h)
		return kb_fail(err, ENOMEM, "%s: %s", b->user.what, nbd_get_error());
	nbd_set_pread_initialize(n->h, false);
	rc = connect_to(b, n, uri, err);
	return rc ? rc : learn(b, n, uri, err);
}

static int nbd_open(struct kvmbox_block *b, const char *uri, struct kb_spec *s, struct kvmbox_error *err)
{
	const char *timeout = kb_spec_value(s, "timeout");
	uint64_t seconds = DEFAULT_TIMEOUT_S;
	struct nbd *n;
	int rc = kb_spec_check(s, b->user.what, "readonly, snapshot or timeout=SECONDS", err);

	if (rc)
		return rc;
	if (timeout && !kb_spec_number(timeout, 1, 86400, &seconds))
		return kb_fail(err, EINVAL, "%s: timeout=%s: use whole seconds, 1 to 86400", b->user.what, timeout);
	n = calloc(1, sizeof(*n));
	if (!n)
		return kb_fail(err, ENOMEM, "%s: out of memory", b->user.what);
	n->timeout_ms = seconds * 1000;
	n->polled.epoll = n->timer = -1;
	rc = set_up(b, n, uri, err);
	if (rc)
		nbd_release(n);
	else
		b->state = n;
	return rc;
}

const struct kb_block_ops kb_block_nbd = {
	.kind = "nbd:", .open = nbd_open, .close = nbd_block_close,
	.start = nbd_start, .progress = nbd_progress, .fd = nbd_fd,
};

#endif
