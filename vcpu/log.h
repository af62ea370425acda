/*
 * The log: the library never prints; messages go to one callback.
 */
#ifndef KB_LOG_H
#define KB_LOG_H

#include <stdbool.h>
#include <kvmbox/error.h>

struct kb_log {
	void (*fn)(void *opaque, enum kvmbox_log_level level, const char *msg);
	void *opaque;
};

/* Formats and hands over one message; log or log->fn may be NULL (dropped). */
void kb_logf(const struct kb_log *log, enum kvmbox_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Rate limit for messages a guest can provoke: says yes for the first
 * KB_LOG_BURST calls on a counter, then at each power of two, so that a guest
 * can neither flood the log nor hide. The counter starts at 0 and holds the
 * number of calls so far.
 */
#define KB_LOG_BURST 8
bool kb_log_ratelimit(unsigned long *count);

#endif
