/*
 * What a block back end brings: private to devices/block*.c. See kvmbox/block.h.
 */
#ifndef KB_BLOCK_IMPL_H
#define KB_BLOCK_IMPL_H

#include <kvmbox/block.h>

#include "devices/backend.h"

#define KB_SECTOR 512u

struct kb_block_ops {
	/*
	 * With the colon. open: sets b->state, length, block_size if larger than a
	 * sector, readonly, discard; cleans up after itself on failure.
	 */
	const char *kind;
	int (*open)(struct kvmbox_block *b, const char *place, struct kb_spec *s, struct kvmbox_error *err);
	void (*close)(struct kvmbox_block *b);
	/*
	 * A request that has been checked, and has a range. The result, or -EINPROGRESS: kb_block_complete() follows.
	 * A read's bytes beyond b->length are zero already; a write may reach beyond it.
	 */
	int (*start)(struct kvmbox_block *b, struct kvmbox_block_request *r);
	/* Completes what can be; wait: at least one of those under way. NULL: nothing is ever under way. */
	void (*progress)(struct kvmbox_block *b, bool wait);
	/* Becomes readable when progress() has something to do. -1: none. */
	int (*fd)(struct kvmbox_block *b);
};

struct kvmbox_block {
	const struct kb_block_ops *ops;
	void *state; /* the back end's */
	struct kb_backend user;
	char *spec;
	uint64_t length; /* of the image; the disk's size is this rounded up to whole blocks */
	uint64_t size;
	uint32_t block_size;
	bool readonly, discard;
	struct kvmbox_block_request *running;             /* any order */
	struct kvmbox_block_request *finished, **finished_end; /* those with a callback, first come first */
	int always_ready; /* an eventfd that is, for fds() */
	unsigned busy;    /* callbacks under way */
	bool doomed;      /* closed by one of them */
	unsigned long error_notes;
};

extern const struct kb_block_ops kb_block_raw, kb_block_memory, kb_block_nbd;

void kb_block_complete(struct kvmbox_block *b, struct kvmbox_block_request *r, int result);
/* The part of the request's range that lies within the image. */
uint64_t kb_block_within(const struct kvmbox_block *b, const struct kvmbox_block_request *r);
/* Puts a snapshot over lower, which it owns from then on (also on failure). */
int kb_block_snapshot_over(struct kvmbox_block *b, struct kvmbox_block *lower, struct kvmbox_error *err);
bool kb_is_zero(const void *bytes, uint64_t len);

#endif
