/* What block and network back ends share: see backend.h, epoll(7). */
#include "devices/backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

static uint64_t host_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t kb_host_ms(void)
{
	return host_ns() / 1000000;
}

static uint64_t host_ps(void *opaque)
{
	(void)opaque;
	return host_ns() * 1000;
}

int kb_backend_init(struct kb_backend *b, const struct kvmbox_backend_user *user, const char *otherwise,
		    struct kvmbox_error *err)
{
	static const struct kvmbox_backend_user nobody;

	if (!user)
		user = &nobody;
	*b = (struct kb_backend){
		.what = strdup(user->what ? user->what : otherwise),
		.log = { .fn = user->log, .opaque = user->log_opaque },
		.now_ps = user->now_ps ? user->now_ps : host_ps,
		.now_opaque = user->now_opaque,
	};
	return b->what ? 0 : kb_fail(err, ENOMEM, "%s: out of memory", otherwise);
}

void kb_backend_release(struct kb_backend *b)
{
	free(b->what);
}

/* Text forms */

/* Ends the item that starts at p, undoing doubled commas; returns the next one or NULL. */
static char *cut_item(char *p)
{
	char *to = p;

	for (; *p; p++) {
		if (*p == ',' && *++p != ',') {
			*to = 0;
			return p;
		}
		*to++ = *p;
	}
	*to = 0;
	return NULL;
}

int kb_spec_parse(struct kb_spec *s, const char *text, const char *what, struct kvmbox_error *err)
{
	char *next, *p;

	*s = (struct kb_spec){ .text = strdup(text ? text : "") };
	if (!s->text)
		return kb_fail(err, ENOMEM, "%s: out of memory", what);
	s->place = s->text;
	for (next = cut_item(s->text); (p = next) != NULL;) {
		char *value;

		next = cut_item(p);
		if (s->options == KB_SPEC_OPTIONS) {
			kb_spec_release(s);
			return kb_fail(err, EINVAL, "%s: more than %u options in \"%s\"", what, KB_SPEC_OPTIONS, text);
		}
		value = strchr(p, '=');
		if (value)
			*value++ = 0;
		s->option[s->options].key = p;
		s->option[s->options++].value = value;
	}
	return 0;
}

void kb_spec_release(struct kb_spec *s)
{
	free(s->text);
}

const char *kb_spec_after(const struct kb_spec *s, const char *kind)
{
	size_t n = strlen(kind);
	bool takes_place = kind[n - 1] == ':';

	if (strncmp(s->place, kind, n) || takes_place != (s->place[n] != 0))
		return NULL;
	return s->place + n;
}

bool kb_spec_flag(struct kb_spec *s, const char *key)
{
	for (size_t i = 0; i < s->options; i++)
		if (!s->option[i].used && !s->option[i].value && !strcmp(s->option[i].key, key))
			return s->option[i].used = true;
	return false;
}

const char *kb_spec_value(struct kb_spec *s, const char *key)
{
	for (size_t i = 0; i < s->options; i++)
		if (!s->option[i].used && s->option[i].value && !strcmp(s->option[i].key, key)) {
			s->option[i].used = true;
			return s->option[i].value;
		}
	return NULL;
}

int kb_spec_check(const struct kb_spec *s, const char *what, const char *accepted, struct kvmbox_error *err)
{
	for (size_t i = 0; i < s->options; i++)
		if (!s->option[i].used)
			return kb_fail(err, EINVAL, "%s: option \"%s%s%s\" of %s is unknown or given twice; use %s "
				       "(a comma in a path is written ,,)", what, s->option[i].key,
				       s->option[i].value ? "=" : "", s->option[i].value ? s->option[i].value : "",
				       s->place, accepted);
	return 0;
}

bool kb_spec_number(const char *text, uint64_t min, uint64_t max, uint64_t *number)
{
	char *end;
	uint64_t n;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || *end || n < min || n > max)
		return false;
	*number = n;
	return true;
}

/* Descriptors */

int kb_pollset_init(struct kb_pollset *p)
{
	*p = (struct kb_pollset){ .epoll = epoll_create1(EPOLL_CLOEXEC) };
	return p->epoll < 0 ? -errno : 0;
}

void kb_pollset_release(struct kb_pollset *p)
{
	if (p->epoll >= 0)
		close(p->epoll);
	free(p->known);
}

static bool listed(int fd, const struct pollfd *fds, size_t n)
{
	while (n--)
		if (fds[n].fd == fd)
			return true;
	return false;
}

/* MOD first and for all: a number may have been closed, and so removed, and opened again since. */
static void watch(int epoll, int fd, short events)
{
	struct epoll_event e = { .events = (uint32_t)events, .data.fd = fd };

	if (epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &e) && errno == ENOENT)
		epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
}

void kb_pollset_set(struct kb_pollset *p, const struct pollfd *fds, size_t n)
{
	if (n > p->capacity) {
		int *more = realloc(p->known, n * sizeof(*more));

		if (!more)
			return; /* as before; the next call tries again */
		p->known = more;
		p->capacity = n;
	}
	for (size_t i = 0; i < p->count; i++)
		if ((i >= n || fds[i].fd != p->known[i]) && !listed(p->known[i], fds, n)) /* most keep their places */
			epoll_ctl(p->epoll, EPOLL_CTL_DEL, p->known[i], NULL);
	for (size_t i = 0; i < n; i++) {
		watch(p->epoll, fds[i].fd, fds[i].events);
		p->known[i] = fds[i].fd;
	}
	p->count = n;
}
