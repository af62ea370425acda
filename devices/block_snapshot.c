/*
 * Option "snapshot": writes go to a temporary file without a name, the image
 * below is only read. A cluster is either all in the file or all in the image;
 * a bit says which. See kvmbox/block.h, open(2) on O_TMPFILE.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/block_impl.h"

#define CLUSTER 4096u

struct snapshot {
	struct kvmbox_block *lower;
	int fd;
	uint8_t *map;  /* one bit per cluster: it is in the file */
	size_t map_size;
};

static bool present(const struct snapshot *s, uint64_t cluster)
{
	return s->map[cluster / 8] >> cluster % 8 & 1;
}

static void set_present(struct snapshot *s, uint64_t cluster)
{
	s->map[cluster / 8] |= (uint8_t)(1u << cluster % 8);
}

static int file_io(int fd, bool write, char *p, uint64_t n, uint64_t offset)
{
	while (n) {
		ssize_t done = write ? pwrite(fd, p, n, (off_t)offset) : pread(fd, p, n, (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (!done && write)
			return -EIO;
		if (!done) { /* a hole at its end */
			memset(p, 0, n);
			return 0;
		}
		p += done;
		n -= (uint64_t)done;
		offset += (uint64_t)done;
	}
	return 0;
}

/* How many bytes from offset on, up to length, are in the same place as the first. */
static uint64_t run_length(const struct snapshot *s, uint64_t offset, uint64_t length)
{
	bool first = present(s, offset / CLUSTER);
	uint64_t n = CLUSTER - offset % CLUSTER;

	while (n < length && present(s, (offset + n) / CLUSTER) == first)
		n += CLUSTER;
	return n < length ? n : length;
}

static int snapshot_read(struct snapshot *s, char *p, uint64_t length, uint64_t offset)
{
	int rc = 0;

	for (uint64_t n; !rc && length; p += n, offset += n, length -= n) {
		n = run_length(s, offset, length);
		rc = present(s, offset / CLUSTER) ? file_io(s->fd, false, p, n, offset) :
						    kvmbox_block_read(s->lower, offset, p, n);
	}
	return rc;
}

/* Brings a cluster that is about to be written in part. */
static int bring(struct kvmbox_block *b, uint64_t cluster)
{
	struct snapshot *s = b->state;
	char bytes[CLUSTER];
	uint64_t offset = cluster * CLUSTER;
	uint64_t n = b->size - offset < CLUSTER ? b->size - offset : CLUSTER;
	int rc;

	if (present(s, cluster))
		return 0;
	rc = kvmbox_block_read(s->lower, offset, bytes, n);
	if (!rc)
		rc = file_io(s->fd, true, bytes, n, offset);
	if (!rc)
		set_present(s, cluster);
	return rc;
}

static int bring_edges(struct kvmbox_block *b, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;
	int rc = offset % CLUSTER ? bring(b, offset / CLUSTER) : 0;

	if (!rc && end % CLUSTER && end != b->size)
		rc = bring(b, end / CLUSTER);
	return rc;
}

/* Whole bytes at once: a guest may discard the disk in one request. */
static void mark(struct snapshot *s, uint64_t offset, uint64_t length)
{
	uint64_t c = offset / CLUSTER, end = (offset + length - 1) / CLUSTER + 1;

	while (c < end && c % 8)
		set_present(s, c++);
	if (c < end) {
		memset(s->map + c / 8, 0xff, (end - c) / 8);
		c += (end - c) / 8 * 8;
	}
	while (c < end)
		set_present(s, c++);
}

static int snapshot_write(struct kvmbox_block *b, char *p, uint64_t length, uint64_t offset)
{
	struct snapshot *s = b->state;
	int rc = bring_edges(b, offset, length);

	if (!rc)
		rc = file_io(s->fd, true, p, length, offset);
	if (!rc)
		mark(s, offset, length);
	return rc;
}

/* Holes in the file are zeroes. */
static int snapshot_zero(struct kvmbox_block *b, uint64_t length, uint64_t offset)
{
	static char zeroes[64 << 10];
	struct snapshot *s = b->state;
	int rc = bring_edges(b, offset, length);

	if (rc)
		return rc;
	if (fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length))
		for (uint64_t at = 0, n; !rc && at < length; at += n) {
			n = length - at < sizeof(zeroes) ? length - at : sizeof(zeroes);
			rc = file_io(s->fd, true, zeroes, n, offset + at);
		}
	if (!rc)
		mark(s, offset, length);
	return rc;
}

/* Nothing to flush: it will not outlive this process. */
static int snapshot_start(struct kvmbox_block *b, struct kvmbox_block_request *r)
{
	switch (r->op) {
	case KVMBOX_BLOCK_READ:
		return snapshot_read(b->state, r->buffer, r->length, r->offset);
	case KVMBOX_BLOCK_WRITE:
		return snapshot_write(b, r->buffer, r->length, r->offset);
	case KVMBOX_BLOCK_FLUSH:
		return 0;
	default:
		return snapshot_zero(b, r->length, r->offset);
	}
}

static int temporary_file(const char *dir)
{
	char path[PATH_MAX];
	int fd = open(dir, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd;
	if (snprintf(path, sizeof(path), "%s/kvmbox-XXXXXX", dir) >= (int)sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

static void snapshot_close(struct kvmbox_block *b)
{
	struct snapshot *s = b->state;

	if (s->map)
		munmap(s->map, s->map_size);
	if (s->fd >= 0)
		close(s->fd);
	kvmbox_block_close(s->lower);
	free(s);
}

static const struct kb_block_ops ops = { .close = snapshot_close, .start = snapshot_start };

int kb_block_snapshot_over(struct kvmbox_block *b, struct kvmbox_block *lower, struct kvmbox_error *err)
{
	const char *tmpdir = getenv("TMPDIR");
	struct snapshot *s = calloc(1, sizeof(*s));

	if (!s) {
		kvmbox_block_close(lower);
		return kb_fail(err, ENOMEM, "%s: out of memory", b->user.what);
	}
	if (!tmpdir || !*tmpdir)
		tmpdir = "/var/tmp";
	b->state = s;
	b->ops = &ops; /* cleans up from here on */
	s->lower = lower;
	s->fd = temporary_file(tmpdir);
	if (s->fd < 0)
		return kb_fail(err, errno, "%s: cannot make a temporary file for the snapshot in %s: %s; set TMPDIR to "
			       "another folder", b->user.what, tmpdir, strerror(errno));
	b->length = b->size = lower->size;
	b->block_size = lower->block_size;
	b->discard = true;
	s->map_size = (b->size / CLUSTER + 8) / 8;
	/* Costs memory where there are writes only. */
	s->map = mmap(NULL, s->map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s->map == MAP_FAILED) {
		s->map = NULL;
		return kb_fail(err, ENOMEM, "%s: no memory for the snapshot's map", b->user.what);
	}
	return 0;
}
