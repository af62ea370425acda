/*
 * Debug ports for tests and freestanding guests: a write to 0xF4 ends the run
 * with a status, a byte written to 0xE9 goes to the debug console (as guests
 * written for Bochs and other emulators expect). No hardware specification.
 */
#ifndef KB_DEBUGPORT_H
#define KB_DEBUGPORT_H

#include <stddef.h>
#include <stdint.h>

#include "vcpu/bus.h"

#define KB_DEBUGPORT_EXIT 0xf4u /* four ports wide; only accesses that start at the first count */
#define KB_DEBUGPORT_CONSOLE 0xe9u /* reads as 0xe9: that is how guests find it */

struct kb_debugport_config {
	struct kb_bus *io;
	unsigned console_port;    /* as a rule KB_DEBUGPORT_CONSOLE; 0x402 is where SeaBIOS and OVMF look for it */
	/* Byte, word or dword written to the exit port, low 8 bits. The write itself completes. May be NULL. */
	void (*exit)(void *opaque, unsigned status);
	void *exit_opaque;
	/* Console output; shaped like kb_chardev_write(). May be NULL. */
	void (*put)(void *opaque, const uint8_t *bytes, size_t len);
	void *put_opaque;
};

struct kb_debugport;

/* -EEXIST: a port is taken; -ENOMEM. */
int kb_debugport_create(struct kb_debugport **out, const struct kb_debugport_config *cfg, struct kvmbox_error *err);
void kb_debugport_destroy(struct kb_debugport *d);
/* There is no state: for symmetry only. */
void kb_debugport_reset(struct kb_debugport *d);

#endif
