/* Block back ends: opening, checking of requests, completion. See kvmbox/block.h; the kinds are in block_*.c. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/block_impl.h"

enum { NOT_SUBMITTED, UNDER_WAY, DONE }; /* priv.state */

static const struct kb_block_ops *const kinds[] = { &kb_block_raw, &kb_block_nbd, &kb_block_memory };

/* Opening */

static bool is_uri(const char *place)
{
	static const char *const schemes[] = { "nbd://", "nbds://", "nbd+unix://", "nbds+unix://" };

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (!strncmp(place, schemes[i], strlen(schemes[i])))
			return true;
	return false;
}

static const struct kb_block_ops *find_kind(const struct kb_spec *s, const char **place)
{
	*place = s->place;
	if (is_uri(s->place))
		return &kb_block_nbd;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if ((*place = kb_spec_after(s, kinds[i]->kind)))
			return kinds[i];
	return NULL;
}

static void release(struct kvmbox_block *b)
{
	if (b->ops)
		b->ops->close(b);
	if (b->always_ready >= 0)
		close(b->always_ready);
	kb_backend_release(&b->user);
	free(b->spec);
	free(b);
}

/* All of it but the back end itself. */
static int create(struct kvmbox_block **out, const char *spec, const struct kvmbox_backend_user *user,
		  struct kvmbox_error *err)
{
	struct kvmbox_block *b = calloc(1, sizeof(*b));
	int rc;

	if (!b)
		return kb_fail(err, ENOMEM, "block: out of memory");
	b->finished_end = &b->finished;
	b->block_size = KB_SECTOR;
	b->always_ready = eventfd(1, EFD_CLOEXEC);
	rc = b->always_ready < 0 ? kb_fail(err, errno, "block: cannot create an eventfd: %s", strerror(errno)) :
				   kb_backend_init(&b->user, user, "block", err);
	if (!rc) {
		b->spec = strdup(spec);
		if (!b->spec)
			rc = kb_fail(err, ENOMEM, "%s: out of memory", b->user.what);
	}
	if (rc)
		release(b);
	else
		*out = b;
	return rc;
}

static int open_kind(struct kvmbox_block *b, struct kb_spec *s, struct kvmbox_error *err)
{
	const char *place;
	const struct kb_block_ops *ops = find_kind(s, &place);
	int rc;

	if (!ops)
		return kb_fail(err, EINVAL, "%s: no block back end \"%s\"; use raw:PATH, nbd:URI or memory:SIZE",
			       b->user.what, s->place);
	rc = ops->open(b, place, s, err);
	if (rc)
		return rc;
	b->ops = ops;
	if (!b->length)
		return kb_fail(err, EINVAL, "%s: %s is empty; a disk needs at least one sector", b->user.what, s->place);
	if (b->length > (uint64_t)INT64_MAX - b->block_size)
		return kb_fail(err, EFBIG, "%s: %s is larger than 2^63 bytes", b->user.what, s->place);
	b->size = (b->length + b->block_size - 1) / b->block_size * b->block_size;
	return 0;
}

/* b becomes the snapshot; the image itself is one more back end below it. */
static int open_snapshot(struct kvmbox_block *b, struct kb_spec *s, const struct kvmbox_backend_user *user,
			 struct kvmbox_error *err)
{
	struct kvmbox_block *lower;
	int rc = create(&lower, b->spec, user, err);

	if (rc)
		return rc;
	lower->readonly = true;
	rc = open_kind(lower, s, err);
	if (rc) {
		release(lower);
		return rc;
	}
	return kb_block_snapshot_over(b, lower, err);
}

int kvmbox_block_open(struct kvmbox_block **out, const char *spec, const struct kvmbox_backend_user *user,
		      struct kvmbox_error *err)
{
	struct kvmbox_block *b;
	struct kb_spec s;
	int rc = create(&b, spec ? spec : "", user, err);

	if (rc)
		return rc;
	rc = kb_spec_parse(&s, spec, b->user.what, err);
	if (rc) {
		release(b);
		return rc;
	}
	b->readonly = kb_spec_flag(&s, "readonly");
	if (!kb_spec_flag(&s, "snapshot"))
		rc = open_kind(b, &s, err);
	else if (b->readonly)
		rc = kb_fail(err, EINVAL, "%s: \"%s\" is to be readonly and a snapshot; choose one", b->user.what, spec);
	else
		rc = open_snapshot(b, &s, user, err);
	kb_spec_release(&s);
	if (rc)
		release(b);
	else
		*out = b;
	return rc;
}

void kvmbox_block_close(struct kvmbox_block *b)
{
	if (!b)
		return;
	b->doomed = true;
	if (!b->busy)
		release(b);
}

void kvmbox_block_get_info(const struct kvmbox_block *b, struct kvmbox_block_info *info)
{
	*info = (struct kvmbox_block_info){
		.size = b->size,
		.block_size = b->block_size,
		.readonly = b->readonly,
		.discard = b->discard,
		.spec = b->spec,
	};
}

/* Requests */

static bool changes(const struct kvmbox_block_request *r)
{
	return r->op == KVMBOX_BLOCK_WRITE || r->op == KVMBOX_BLOCK_DISCARD || r->op == KVMBOX_BLOCK_WRITE_ZEROES;
}

static unsigned allowed_flags(enum kvmbox_block_op op)
{
	if (op == KVMBOX_BLOCK_WRITE)
		return KVMBOX_BLOCK_FUA;
	return op == KVMBOX_BLOCK_WRITE_ZEROES ? KVMBOX_BLOCK_FUA | KVMBOX_BLOCK_UNMAP : 0;
}

static int check(const struct kvmbox_block *b, const struct kvmbox_block_request *r)
{
	bool moves = r->op == KVMBOX_BLOCK_READ || r->op == KVMBOX_BLOCK_WRITE;

	if ((unsigned)r->op > KVMBOX_BLOCK_WRITE_ZEROES || (r->flags & ~allowed_flags(r->op)))
		return -EINVAL;
	if (r->op == KVMBOX_BLOCK_FLUSH)
		return 0;
	if (r->offset > b->size || r->length > b->size - r->offset ||
	    r->offset % b->block_size || r->length % b->block_size)
		return -EINVAL;
	if (moves && r->length && !r->buffer)
		return -EINVAL;
	return changes(r) && b->readonly ? -EROFS : 0;
}

/* Would the order matter? */
static bool conflict(const struct kvmbox_block_request *a, const struct kvmbox_block_request *b)
{
	if (a->op == KVMBOX_BLOCK_FLUSH || b->op == KVMBOX_BLOCK_FLUSH || !(changes(a) || changes(b)))
		return false;
	return a->offset < b->offset + b->length && b->offset < a->offset + a->length;
}

static void wait_for_conflicts(struct kvmbox_block *b, const struct kvmbox_block_request *r)
{
	struct kvmbox_block_request *q = b->running;

	while (q)
		if (conflict(q, r)) {
			b->ops->progress(b, true);
			q = b->running;
		} else {
			q = q->priv.next;
		}
}

uint64_t kb_block_within(const struct kvmbox_block *b, const struct kvmbox_block_request *r)
{
	if (r->offset >= b->length)
		return 0;
	return r->length < b->length - r->offset ? r->length : b->length - r->offset;
}

static void note_error(struct kvmbox_block *b, const struct kvmbox_block_request *r, int result)
{
	static const char *const names[] = { "read", "write", "flush", "discard", "write zeroes" };

	if (result == -EINVAL || result == -EROFS || !kb_log_ratelimit(&b->error_notes))
		return; /* the guest's mistake, not the disk's */
	kb_logf(&b->user.log, KVMBOX_LOG_WARNING, "%s: %s of %" PRIu64 " bytes at %" PRIu64 " of %s failed: %s",
		b->user.what, names[r->op], r->length, r->offset, b->spec, strerror(-result));
}

static void finish(struct kvmbox_block *b, struct kvmbox_block_request *r, int result)
{
	if (result < 0)
		note_error(b, r, result);
	r->priv.result = result;
	r->priv.state = DONE;
	r->priv.next = NULL;
	if (r->done) {
		*b->finished_end = r;
		b->finished_end = &r->priv.next;
	}
}

void kb_block_complete(struct kvmbox_block *b, struct kvmbox_block_request *r, int result)
{
	struct kvmbox_block_request **p = &b->running;

	while (*p && *p != r)
		p = &(*p)->priv.next;
	if (*p)
		*p = r->priv.next;
	finish(b, r, result);
}

void kvmbox_block_submit(struct kvmbox_block *b, struct kvmbox_block_request *r)
{
	int rc = check(b, r);

	r->priv.parts = 0;
	r->priv.state = UNDER_WAY;
	if (rc || (!r->length && r->op != KVMBOX_BLOCK_FLUSH)) {
		finish(b, r, rc);
		return;
	}
	wait_for_conflicts(b, r);
	if (r->op == KVMBOX_BLOCK_READ) {
		uint64_t n = kb_block_within(b, r);

		memset((char *)r->buffer + n, 0, r->length - n);
	}
	r->priv.next = b->running;
	b->running = r;
	rc = b->ops->start(b, r);
	if (rc != -EINPROGRESS)
		kb_block_complete(b, r, rc);
}

/* The callback is not wanted any more. */
static void unqueue(struct kvmbox_block *b, struct kvmbox_block_request *r)
{
	struct kvmbox_block_request **p = &b->finished;

	while (*p && *p != r)
		p = &(*p)->priv.next;
	if (!*p)
		return;
	*p = r->priv.next;
	if (!*p)
		b->finished_end = p;
}

int kvmbox_block_wait(struct kvmbox_block *b, struct kvmbox_block_request *r)
{
	if (r->priv.state == NOT_SUBMITTED)
		return -EINVAL;
	while (r->priv.state == UNDER_WAY)
		b->ops->progress(b, true);
	unqueue(b, r);
	r->priv.state = NOT_SUBMITTED;
	return r->priv.result;
}

bool kvmbox_block_ready(struct kvmbox_block *b, const struct kvmbox_block_request *r)
{
	if (r->priv.state == UNDER_WAY)
		b->ops->progress(b, false);
	return r->priv.state == DONE;
}

static int at_once(struct kvmbox_block *b, enum kvmbox_block_op op, uint64_t offset, void *buffer, uint64_t length)
{
	struct kvmbox_block_request r = { .op = op, .offset = offset, .length = length, .buffer = buffer };

	kvmbox_block_submit(b, &r);
	return kvmbox_block_wait(b, &r);
}

int kvmbox_block_read(struct kvmbox_block *b, uint64_t offset, void *buffer, uint64_t length)
{
	return at_once(b, KVMBOX_BLOCK_READ, offset, buffer, length);
}

int kvmbox_block_write(struct kvmbox_block *b, uint64_t offset, const void *buffer, uint64_t length)
{
	return at_once(b, KVMBOX_BLOCK_WRITE, offset, (void *)(uintptr_t)buffer, length);
}

int kvmbox_block_flush(struct kvmbox_block *b)
{
	return at_once(b, KVMBOX_BLOCK_FLUSH, 0, NULL, 0);
}

/* Each of those here now once: a callback that submits again must not keep us here. */
bool kvmbox_block_poll(struct kvmbox_block *b)
{
	size_t count = 0;
	bool any = false;

	if (b->busy)
		return false;
	if (b->running)
		b->ops->progress(b, false);
	for (const struct kvmbox_block_request *r = b->finished; r; r = r->priv.next)
		count++;
	b->busy++;
	for (; count && b->finished && !b->doomed; count--) {
		struct kvmbox_block_request *r = b->finished;

		unqueue(b, r);
		r->priv.state = NOT_SUBMITTED;
		r->done(r, r->priv.result);
		any = true;
	}
	if (--b->busy == 0 && b->doomed)
		release(b);
	return any;
}

size_t kvmbox_block_fds(struct kvmbox_block *b, int *fds, size_t max)
{
	int fd = b->finished ? b->always_ready : b->running && b->ops->fd ? b->ops->fd(b) : -1;

	if (fd < 0 || !max)
		return 0;
	fds[0] = fd;
	return 1;
}

bool kb_is_zero(const void *bytes, uint64_t len)
{
	const char *p = bytes;

	return !len || (!p[0] && !memcmp(p, p + 1, len - 1));
}
