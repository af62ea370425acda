/*
 * kvmbox/backend.h - what block and network back ends have in common: the files,
 * servers and links of the host that device models stand in front of, be they
 * chipset devices in C or SystemC models outside of the box.
 *
 * Text form: KIND:PLACE[,OPTION[=VALUE]]... A comma that belongs to the place or
 * to a value is written twice. kvmbox/block.h and kvmbox/net.h list the kinds.
 *
 * Threads: a back end is used on one thread at a time, as a rule the simulator's.
 * Back ends have no threads of their own.
 * Errors: 0 or a positive result on success, a negative errno on failure, with
 * a message in err (which may be NULL).
 */
#ifndef KVMBOX_BACKEND_H
#define KVMBOX_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvmbox/error.h>

/* Who opens a back end. Everything may be NULL; copied. */
struct kvmbox_backend_user {
	const char *what; /* names the device in messages: "nvme0" */
	void (*log)(void *opaque, enum kvmbox_log_level level, const char *msg);
	void *log_opaque;
	/*
	 * Simulated time in ps, for time stamps and time-outs a guest can see. It must
	 * not go backwards. NULL: the host's monotonic clock.
	 */
	uint64_t (*now_ps)(void *opaque);
	void *now_opaque;
};

#endif
