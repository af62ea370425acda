/*
 * kvmbox/block.h - block back ends: where a disk's sectors are.
 *
 *   raw:PATH[,readonly][,snapshot][,nolock]       an image file or a block device
 *   nbd:URI[,readonly][,snapshot][,timeout=S]     an NBD server; "nbd:" may be left out:
 *                                                 nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=PATH
 *                                                 (libnbd's URIs, nbds:// too; qcow2 and the like: qemu-nbd)
 *   memory:SIZE                                   a RAM disk, zeroes at first; K, M, G
 *
 * readonly: writes fail with -EROFS. snapshot: writes go to a temporary file
 * ($TMPDIR, else /var/tmp) that goes away with the back end; the image is only read
 * (and a server's requests are waited for one by one).
 * timeout: how long the server may stay silent (host time, default 30 s).
 *
 * Time. A back end has no latency of its own: that is the device model's, in
 * simulated time. submit() starts a request; a model that has its own idea of
 * when the request is done lets that time pass and calls wait(), which returns
 * the result and, only if it is not there yet, makes the host (never
 * simulated time) wait for it. Thus many requests can be under way, and
 * nothing of the host's timing is visible: two runs are equal. raw and memory
 * requests are done when submit() returns; NBD's travel meanwhile.
 * A model that wants the host's latency to be seen gives `done` instead, which
 * poll() calls. Requests that overlap and change data take effect in the order of submission.
 *
 * Locks: raw images are locked as a whole while open (OFD locks, fcntl(2)):
 * for one writer, or for any number of readers; QEMU's locks are honoured, too.
 *
 * Hosts fail: every error of the disk or the server is the request's result, to
 * be shown to the guest as a medium error. An image that shrinks under our
 * feet reads as -EIO beyond its new end and takes no writes any more. A server that is
 * lost or silent for `timeout` is given up for good: all requests, those under way
 * included, end with -EIO. There is no reconnection: what a server had not
 * flushed may be gone, and a guest that is not told would go on with a broken disk.
 */
#ifndef KVMBOX_BLOCK_H
#define KVMBOX_BLOCK_H

#include <kvmbox/backend.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kvmbox_block;

/*
 * -EINVAL: spec (the message lists kinds or options); -ENOTSUP: built without
 * the library the kind needs; -EBUSY: locked, the message says by whom; else the errno
 * of the open. Waits for a server at most `timeout`.
 */
int kvmbox_block_open(struct kvmbox_block **out, const char *spec, const struct kvmbox_backend_user *user,
		      struct kvmbox_error *err);
/*
 * NULL is fine. Requests under way are abandoned: no callback, no access to their
 * buffers. Does not flush: that is the guest's to ask for, and the host keeps what was written anyway.
 */
void kvmbox_block_close(struct kvmbox_block *b);

struct kvmbox_block_info {
	uint64_t size;       /* bytes, a multiple of 512. An image's last partial sector is filled up with zeroes */
	uint32_t block_size; /* 512 or a larger power of two: requests must be multiples of it */
	bool readonly;
	bool discard;        /* discarding gives space back; else it does nothing */
	const char *spec;    /* as opened; the back end's */
};

void kvmbox_block_get_info(const struct kvmbox_block *b, struct kvmbox_block_info *info);

enum kvmbox_block_op {
	KVMBOX_BLOCK_READ,
	KVMBOX_BLOCK_WRITE,
	KVMBOX_BLOCK_FLUSH,        /* what was done before survives a power cut of the host; no range */
	KVMBOX_BLOCK_DISCARD,      /* the contents do not matter any more. They stay or become zeroes */
	KVMBOX_BLOCK_WRITE_ZEROES,
};

#define KVMBOX_BLOCK_FUA   1u /* with WRITE, WRITE_ZEROES: done means that it survives a power cut */
#define KVMBOX_BLOCK_UNMAP 2u /* with WRITE_ZEROES: may give the space back */

/*
 * The caller's, zeroed before its first use; it and the buffer stay where they
 * are and as they are until wait() or `done`. May then be submitted again.
 */
struct kvmbox_block_request {
	enum kvmbox_block_op op;
	unsigned flags;
	uint64_t offset; /* bytes */
	uint64_t length; /* bytes; 0 is fine and does nothing */
	void *buffer;    /* READ, WRITE: length bytes of host memory */
	/* Called by poll() once, unless wait() comes first; may do anything. result: see wait() */
	void (*done)(struct kvmbox_block_request *r, int result);
	void *opaque;
	struct {         /* the back end's */
		struct kvmbox_block_request *next;
		int state, result;
		unsigned parts;
	} priv;
};

/* Never fails and never calls `done`: what is wrong with a request is its result. */
void kvmbox_block_submit(struct kvmbox_block *b, struct kvmbox_block_request *r);
/*
 * Ends a submitted request, without `done`: 0, or -EINVAL (beyond the end, not
 * whole blocks, unknown op or flag, not submitted), -EROFS, -ENOSPC, -EIO, or what else the host said. After an error
 * the range of a write, or the buffer of a read, holds anything.
 */
int kvmbox_block_wait(struct kvmbox_block *b, struct kvmbox_block_request *r);
/* Is it done (so that wait() returns at once)? Nothing a reproducible model asks. */
bool kvmbox_block_ready(struct kvmbox_block *b, const struct kvmbox_block_request *r);

/* submit() and wait() in one. */
int kvmbox_block_read(struct kvmbox_block *b, uint64_t offset, void *buffer, uint64_t length);
int kvmbox_block_write(struct kvmbox_block *b, uint64_t offset, const void *buffer, uint64_t length);
int kvmbox_block_flush(struct kvmbox_block *b);

/* Calls `done` of what is done, those submitted meanwhile not. True if any. Not needed by who waits. */
bool kvmbox_block_poll(struct kvmbox_block *b);
/* Descriptors (at most max) that become readable when poll() has something to do. The answer changes with every call: ask each time. */
size_t kvmbox_block_fds(struct kvmbox_block *b, int *fds, size_t max);

#ifdef __cplusplus
}
#endif

#endif
