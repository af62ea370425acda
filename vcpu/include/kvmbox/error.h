/*
 * kvmbox/error.h - the error message every failing kvmbox call fills in.
 */
#ifndef KVMBOX_ERROR_H
#define KVMBOX_ERROR_H

/*
 * Owned by the caller, filled by the callee when it returns a negative errno;
 * untouched on success. One or more complete sentences, no trailing newline.
 */
struct kvmbox_error {
	char msg[1024];
};

/* Severity of a log message. */
enum kvmbox_log_level {
	KVMBOX_LOG_ERROR,   /* something asked for did not happen */
	KVMBOX_LOG_WARNING, /* it happened, but not as asked; or the guest misbehaves */
	KVMBOX_LOG_INFO,    /* one-off facts: backend, guest loaded, reset */
	KVMBOX_LOG_DEBUG,   /* for those who look into the box */
};

#endif
