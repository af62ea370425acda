/* The log callback: see log.h. */
#include "vcpu/log.h"

#include <stdarg.h>
#include <stdio.h>

void kb_logf(const struct kb_log *log, enum kvmbox_log_level level, const char *fmt, ...)
{
	char msg[1024];
	va_list ap;

	if (!log || !log->fn)
		return;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	log->fn(log->opaque, level, msg);
}

bool kb_log_ratelimit(unsigned long *count)
{
	unsigned long n = ++*count;

	return n <= KB_LOG_BURST || (n & (n - 1)) == 0;
}
