/*
 * What a character back end brings: private to devices/chardev*.c.
 */
#ifndef KB_CHARDEV_IMPL_H
#define KB_CHARDEV_IMPL_H

#include <sys/types.h>

#include "devices/chardev.h"
#include "devices/ring.h"

#define KB_CHARDEV_QUEUE  (1u << 20) /* output kept for a slow or absent peer */
#define KB_CHARDEV_CHUNK  4096u      /* input read from the host at a time */
#define KB_CHARDEV_TYPED  (64u << 10) /* input kept from a terminal, see `eager` */
#define KB_CHARDEV_MEMORY (64u << 20)

struct kb_chardev_ops {
	const char *kind; /* with the colon if a path follows */
	/* Sets c->state; cleans up after itself on failure. */
	int (*open)(struct kb_chardev *c, const char *path, struct kvmbox_error *err);
	void (*close)(struct kb_chardev *c);
	/* Connections come and go; once per poll. */
	void (*service)(struct kb_chardev *c);
	/* Bytes taken; 0: not now, keep them; negative errno: they are lost. NULL: keep them. */
	ssize_t (*send)(struct kb_chardev *c, const uint8_t *bytes, size_t len);
	/* Up to len (at least 2) bytes of input, 0 if there are none now. */
	size_t (*receive)(struct kb_chardev *c, uint8_t *bytes, size_t len);
	/* wanted: whether input would be taken now. */
	size_t (*fds)(const struct kb_chardev *c, bool wanted, int *fds, size_t max);
};

struct kb_chardev {
	const struct kb_chardev_ops *ops;
	void *state; /* the back end's */
	char *what;
	struct kb_log log;
	struct kb_ring out, in;
	struct kb_chardev *copy; /* gets all output, too; may be NULL */
	bool eager;  /* read ahead while the device takes nothing, to see the escape key */
	unsigned busy; /* callbacks under way */
	bool doomed; /* destroyed by one of them */
	uint64_t dropped;
	unsigned long drop_notes;
	kb_chardev_input_fn input;
	void *input_opaque;
	void (*quit)(void *opaque);
	void *quit_opaque;
};

extern const struct kb_chardev_ops kb_chardev_stdio, kb_chardev_pty, kb_chardev_unix;

/* write(2) that neither raises SIGPIPE nor gives up on EINTR: bytes, 0 on EAGAIN, or -errno. */
ssize_t kb_fd_write(int fd, bool may_sigpipe, const uint8_t *bytes, size_t len);
/* Whether writes to fd can raise SIGPIPE. */
bool kb_fd_may_sigpipe(int fd);

#endif
