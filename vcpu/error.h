/*
 * Error reporting of the C side: functions return 0 or a negative errno and
 * fill a message that says what happened, where, and what to do next.
 */
#ifndef KB_ERROR_H
#define KB_ERROR_H

#include <kvmbox/error.h>

/* Formats the message into err (which may be NULL) and returns -code. */
int kb_fail(struct kvmbox_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the message already in err. Returns rc unchanged. */
int kb_fail_in(struct kvmbox_error *err, int rc, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
