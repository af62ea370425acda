/* Error messages: see error.h. */
#include "vcpu/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int kb_fail(struct kvmbox_error *err, int code, const char *fmt, ...)
{
	if (err) {
		va_list ap;

		va_start(ap, fmt);
		vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
		va_end(ap);
	}
	return -code;
}

int kb_fail_in(struct kvmbox_error *err, int rc, const char *fmt, ...)
{
	if (err) {
		char rest[sizeof(err->msg)];
		va_list ap;
		size_t n;

		memcpy(rest, err->msg, sizeof(rest));
		va_start(ap, fmt);
		vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
		va_end(ap);
		n = strlen(err->msg);
		snprintf(err->msg + n, sizeof(err->msg) - n, ": %s", rest);
	}
	return rc;
}
