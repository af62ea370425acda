/*
 * "raw:PATH": an image file or a block device; "memory:SIZE": a file that has no
 * name. See kvmbox/block.h, pread(2), fallocate(2), fcntl(2) on open file description locks.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/block_impl.h"

struct raw {
	int fd;
	bool device;     /* a block device: cannot shrink or grow */
	bool no_punch, no_zero_range;
	bool lost;       /* a flush has failed: the kernel has forgotten what, so no later one can succeed */
};

/* Locks */

/*
 * QEMU (block/file-posix.c) holds a read lock on byte 100 + n for each permission
 * n it uses and on 200 + n for each it does not share; writing is n = 1.
 * A writer of ours takes the whole file; a reader our own bytes and those that keep QEMU from writing.
 */
#define OUR_BYTES        100
#define QEMU_WRITES      101
#define QEMU_LETS_NOBODY 201

static int lock_range(int fd, short type, off_t start, off_t len)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };

	return fcntl(fd, F_OFD_SETLK, &fl) ? -errno : 0;
}

static int lock(int fd, bool readonly)
{
	struct flock writer = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = QEMU_WRITES, .l_len = 1 };
	int rc;

	if (!readonly)
		return lock_range(fd, F_WRLCK, 0, 0);
	rc = lock_range(fd, F_RDLCK, 0, OUR_BYTES);
	if (!rc)
		rc = lock_range(fd, F_RDLCK, QEMU_LETS_NOBODY, 1);
	if (!rc && fcntl(fd, F_OFD_GETLK, &writer))
		rc = -errno;
	return !rc && writer.l_type != F_UNLCK ? -EAGAIN : rc;
}

static bool has_open(const char *pid, const struct stat *image)
{
	char path[288];
	struct dirent *e;
	struct stat st;
	bool found = false;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	d = opendir(path);
	while (d && !found && (e = readdir(d)))
		found = !fstatat(dirfd(d), e->d_name, &st, 0) && st.st_dev == image->st_dev &&
			st.st_ino == image->st_ino;
	if (d)
		closedir(d);
	return found;
}

/* The kernel does not say who holds such a lock. Who has the file open, other than us, if there is one to be seen? */
static void name_holder(const struct stat *image, char *text, size_t size)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;
	char path[288], name[64];
	FILE *f;

	snprintf(text, size, "another disk of this process or a process that is not ours to see");
	while (proc && (e = readdir(proc))) {
		if (e->d_name[0] < '0' || e->d_name[0] > '9' || atoi(e->d_name) == getpid() || !has_open(e->d_name, image))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", e->d_name);
		f = fopen(path, "re");
		if (!f || fscanf(f, "%63[^\n]", name) != 1)
			strcpy(name, "?");
		if (f)
			fclose(f);
		snprintf(text, size, "process %.20s (%s)", e->d_name, name);
		break;
	}
	if (proc)
		closedir(proc);
}

static int lock_image(const struct kvmbox_block *b, int fd, const struct stat *st, const char *path,
		      struct kvmbox_error *err)
{
	int rc = lock(fd, b->readonly);
	char holder[160];

	if (!rc)
		return 0;
	if (rc != -EAGAIN && rc != -EACCES)
		return kb_fail(err, -rc, "%s: cannot lock %s: %s; if its file system has no locks, option nolock does "
			       "without", b->user.what, path, strerror(-rc));
	name_holder(st, holder, sizeof(holder));
	return kb_fail(err, EBUSY, "%s: %s is in use%s by %s; end that, %s", b->user.what, path,
		       b->readonly ? " for writing" : "", holder,
		       b->readonly ? "or use a copy" : "or, if it only reads, add the option readonly or snapshot");
}

/* Opening */

static int check_type(const struct kvmbox_block *b, const struct stat *st, const char *path, struct kvmbox_error *err)
{
	if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
		return 0;
	return kb_fail(err, EINVAL, "%s: %s is neither a regular file nor a block device", b->user.what, path);
}

static int open_image(const struct kvmbox_block *b, const char *path, struct stat *st, struct kvmbox_error *err)
{
	int flags = b->readonly ? O_RDONLY : O_RDWR;
	int fd, rc;

	if (stat(path, st))
		return kb_fail(err, errno, "%s: cannot open %s: %s", b->user.what, path, strerror(errno));
	rc = check_type(b, st, path, err);
	if (rc)
		return rc;
	if (S_ISBLK(st->st_mode) && !b->readonly)
		flags |= O_EXCL; /* not while it is mounted */
	fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && (errno == EACCES || errno == EROFS || errno == EPERM) && !b->readonly)
		return kb_fail(err, errno, "%s: cannot open %s for writing: %s; use the option readonly or snapshot",
			       b->user.what, path, strerror(errno));
	if (fd < 0)
		return kb_fail(err, errno, "%s: cannot open %s: %s", b->user.what, path,
			       errno == EBUSY ? "it is in use (mounted?)" : strerror(errno));
	rc = fstat(fd, st) ? kb_fail(err, errno, "%s: %s: %s", b->user.what, path, strerror(errno)) :
			     check_type(b, st, path, err);
	if (rc)
		close(fd);
	return rc ? rc : fd;
}

static int measure(struct kvmbox_block *b, int fd, const struct stat *st, const char *path, struct kvmbox_error *err)
{
	int sector = 0;

	b->length = (uint64_t)st->st_size;
	if (!S_ISBLK(st->st_mode))
		return 0;
	if (ioctl(fd, BLKGETSIZE64, &b->length) || ioctl(fd, BLKSSZGET, &sector))
		return kb_fail(err, errno, "%s: cannot find the size of %s: %s", b->user.what, path, strerror(errno));
	if (sector > (int)KB_SECTOR)
		b->block_size = (uint32_t)sector;
	return 0;
}

static int adopt(struct kvmbox_block *b, int fd, bool device, struct kvmbox_error *err)
{
	struct raw *r = calloc(1, sizeof(*r));

	if (!r)
		return kb_fail(err, ENOMEM, "%s: out of memory", b->user.what);
	r->fd = fd;
	r->device = device;
	b->discard = !b->readonly;
	b->state = r;
	return 0;
}

static int raw_open(struct kvmbox_block *b, const char *path, struct kb_spec *s, struct kvmbox_error *err)
{
	bool locked = !kb_spec_flag(s, "nolock");
	struct stat st;
	int rc = kb_spec_check(s, b->user.what, "readonly, snapshot or nolock", err);
	int fd;

	if (rc)
		return rc;
	fd = open_image(b, path, &st, err);
	if (fd < 0)
		return fd;
	rc = locked ? lock_image(b, fd, &st, path, err) : 0;
	if (!rc)
		rc = measure(b, fd, &st, path, err);
	if (!rc)
		rc = adopt(b, fd, S_ISBLK(st.st_mode), err);
	if (rc)
		close(fd);
	return rc;
}

/* 0 if it is not one. */
static uint64_t parse_size(const char *text)
{
	static const char units[] = "KMGT";
	char *end;
	uint64_t n;
	unsigned shift = 0;

	if (*text < '0' || *text > '9')
		return 0;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (*end) {
		const char *unit = strchr(units, *end);

		if (!unit || end[1])
			return 0;
		shift = 10 * (unsigned)(unit - units + 1);
	}
	return errno || n > (uint64_t)INT64_MAX >> shift ? 0 : n << shift;
}

static int memory_open(struct kvmbox_block *b, const char *text, struct kb_spec *s, struct kvmbox_error *err)
{
	int rc = kb_spec_check(s, b->user.what, "readonly or snapshot", err);
	int fd;

	if (rc)
		return rc;
	b->length = parse_size(text);
	if (!b->length)
		return kb_fail(err, EINVAL, "%s: memory:%s is no size; use bytes, or a number with K, M, G or T",
			       b->user.what, text);
	fd = memfd_create("kvmbox-disk", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)b->length))
		rc = kb_fail(err, errno, "%s: cannot get %s bytes of memory: %s", b->user.what, text, strerror(errno));
	else
		rc = adopt(b, fd, false, err);
	if (rc && fd >= 0)
		close(fd);
	return rc;
}

static void raw_close(struct kvmbox_block *b)
{
	struct raw *r = b->state;

	close(r->fd);
	free(r);
}

/* Requests */

static int read_all(int fd, char *p, uint64_t n, uint64_t offset)
{
	while (n) {
		ssize_t got = pread(fd, p, n, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? -errno : -EIO; /* it ends before where it did when it was opened */
		p += got;
		n -= (uint64_t)got;
		offset += (uint64_t)got;
	}
	return 0;
}

static int write_all(int fd, const char *p, uint64_t n, uint64_t offset)
{
	while (n) {
		ssize_t put = pwrite(fd, p, n, (off_t)offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put ? -errno : -EIO;
		p += put;
		n -= (uint64_t)put;
		offset += (uint64_t)put;
	}
	return 0;
}

/* Someone has shortened the image: writing would make zeroes of what is lost. */
static bool has_shrunk(const struct kvmbox_block *b)
{
	const struct raw *r = b->state;
	struct stat st;

	return !r->device && (fstat(r->fd, &st) || (uint64_t)st.st_size < b->length);
}

/* May fill up the image's last sector. */
static int do_write(struct kvmbox_block *b, const struct kvmbox_block_request *q)
{
	const struct raw *r = b->state;
	int rc = write_all(r->fd, q->buffer, q->length, q->offset);

	if (!rc && q->offset + q->length > b->length)
		b->length = q->offset + q->length;
	return rc;
}

static int flush(struct kvmbox_block *b)
{
	struct raw *r = b->state;
	int rc = 0;

	if (b->readonly)
		return 0;
	if (r->lost)
		return -EIO;
	while (fdatasync(r->fd)) {
		if (errno == EINTR)
			continue;
		rc = -errno;
		r->lost = true;
		break;
	}
	return rc;
}

static bool unsupported(int rc)
{
	return rc == -EOPNOTSUPP || rc == -ENODEV || rc == -EINVAL || rc == -ENOSYS;
}

/* 1: the host cannot, and is not asked again. */
static int allocate(struct raw *r, int mode, bool *never, uint64_t offset, uint64_t length)
{
	int rc;

	if (*never)
		return 1;
	do
		rc = fallocate(r->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length) ? -errno : 0;
	while (rc == -EINTR);
	if (!unsupported(rc))
		return rc;
	*never = true;
	return 1;
}

static int punch(struct kvmbox_block *b, uint64_t offset, uint64_t length)
{
	struct raw *r = b->state;
	int rc = allocate(r, FALLOC_FL_PUNCH_HOLE, &r->no_punch, offset, length);

	if (r->no_punch)
		b->discard = false;
	return rc;
}

static int write_zeroes(struct kvmbox_block *b, const struct kvmbox_block_request *q, uint64_t length)
{
	static const char zeroes[64 << 10];
	struct raw *r = b->state;
	int rc = q->flags & KVMBOX_BLOCK_UNMAP ? punch(b, q->offset, length) : 1;

	if (rc > 0)
		rc = allocate(r, FALLOC_FL_ZERO_RANGE, &r->no_zero_range, q->offset, length);
	if (rc > 0)
		rc = punch(b, q->offset, length);
	if (rc <= 0)
		return rc;
	for (uint64_t at = 0, n; at < length; at += n) {
		n = length - at < sizeof(zeroes) ? length - at : sizeof(zeroes);
		rc = write_all(r->fd, zeroes, n, q->offset + at);
		if (rc)
			return rc;
	}
	return 0;
}

static int change(struct kvmbox_block *b, const struct kvmbox_block_request *q, uint64_t within)
{
	int rc;

	if (has_shrunk(b))
		return -EIO;
	if (q->op == KVMBOX_BLOCK_WRITE)
		rc = do_write(b, q);
	else if (q->op == KVMBOX_BLOCK_WRITE_ZEROES)
		rc = within ? write_zeroes(b, q, within) : 0;
	else
		rc = within ? punch(b, q->offset, within) : 0;
	if (rc > 0)
		rc = 0; /* a discard the host cannot do */
	return !rc && (q->flags & KVMBOX_BLOCK_FUA) ? flush(b) : rc;
}

/* At once: the page cache's answer is there in microseconds, and a disk's delay is not part of simulated time. */
static int raw_start(struct kvmbox_block *b, struct kvmbox_block_request *q)
{
	const struct raw *r = b->state;
	uint64_t within = q->op == KVMBOX_BLOCK_FLUSH ? 0 : kb_block_within(b, q);

	switch (q->op) {
	case KVMBOX_BLOCK_READ:
		return read_all(r->fd, q->buffer, within, q->offset);
	case KVMBOX_BLOCK_FLUSH:
		return flush(b);
	default:
		return change(b, q, within);
	}
}

const struct kb_block_ops kb_block_raw = {
	.kind = "raw:", .open = raw_open, .close = raw_close, .start = raw_start,
};

const struct kb_block_ops kb_block_memory = {
	.kind = "memory:", .open = memory_open, .close = raw_close, .start = raw_start,
};
