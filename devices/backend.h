/*
 * What block and network back ends share: their user, the text form of their
 * options, and descriptors to be polled. Private to devices/; see kvmbox/backend.h.
 */
#ifndef KB_BACKEND_H
#define KB_BACKEND_H

#include <poll.h>

#include <kvmbox/backend.h>

#include "vcpu/error.h"
#include "vcpu/log.h"

/* A copy of struct kvmbox_backend_user with the defaults filled in. */
struct kb_backend {
	char *what;
	struct kb_log log;
	uint64_t (*now_ps)(void *opaque);
	void *now_opaque;
};

/* -ENOMEM. */
int kb_backend_init(struct kb_backend *b, const struct kvmbox_backend_user *user, const char *otherwise,
		    struct kvmbox_error *err);
void kb_backend_release(struct kb_backend *b);
static inline uint64_t kb_backend_now_ps(const struct kb_backend *b)
{
	return b->now_ps(b->now_opaque);
}
/* The host's monotonic clock. */
uint64_t kb_host_ms(void);

/* Text forms */

#define KB_SPEC_OPTIONS 32

struct kb_spec {
	char *text;
	const char *place; /* all before the first single comma, kind included */
	struct {
		const char *key, *value; /* value NULL: none given */
		bool used;
	} option[KB_SPEC_OPTIONS];
	size_t options;
};

/* -EINVAL, -ENOMEM. Release with kb_spec_release() only after success. */
int kb_spec_parse(struct kb_spec *s, const char *text, const char *what, struct kvmbox_error *err);
void kb_spec_release(struct kb_spec *s);
/* Of a kind that ends with a colon what follows it in the place, of another ""; NULL if it is of another kind. */
const char *kb_spec_after(const struct kb_spec *s, const char *kind);
/* Takes an option without a value, or the (next, if it is given several times) value of one that has one. */
bool kb_spec_flag(struct kb_spec *s, const char *key);
const char *kb_spec_value(struct kb_spec *s, const char *key);
/* -EINVAL if an option has not been taken; accepted: list for the message. */
int kb_spec_check(const struct kb_spec *s, const char *what, const char *accepted, struct kvmbox_error *err);
/* Decimal number from min to max, whole text. */
bool kb_spec_number(const char *text, uint64_t min, uint64_t max, uint64_t *number);

/*
 * Descriptors of a library that names them anew each time, as one that is
 * readable when any of them is ready: who polls a box looks for readability only.
 */
struct kb_pollset {
	int epoll; /* -1: none */
	int *known;
	size_t count, capacity;
};

/* -errno of epoll_create1(2). */
int kb_pollset_init(struct kb_pollset *p);
void kb_pollset_release(struct kb_pollset *p);
/* From now on these. A descriptor that cannot be watched is left out. */
void kb_pollset_set(struct kb_pollset *p, const struct pollfd *fds, size_t n);

#endif
