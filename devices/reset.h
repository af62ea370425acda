/*
 * The ways a PC guest resets the machine, and the A20 gate: system control
 * port A (0x92), reset control (0xCF9), and a keyboard controller (0x60, 0x64)
 * with no keyboard attached. After the PS/2 Hardware Interface Technical
 * Reference (system control port A; keyboard controller) and the Intel 82371SB
 * (PIIX3) datasheet ("Reset Control Register").
 *
 * 0xCF9 lies inside PCI's configuration mechanism: whoever owns 0xCF8-0xCFF
 * passes byte accesses of 0xCF9 on to kb_reset_cf9_read/write.
 */
#ifndef KB_RESET_H
#define KB_RESET_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/line.h"
#include "vcpu/bus.h"

struct kb_reset_config {
	struct kb_bus *io;
	/*
	 * how: which way, for messages; static. Called from inside the guest's access,
	 * after the register took its value; may call kb_reset_reset(), must not
	 * destroy. May be NULL.
	 */
	void (*reset)(void *opaque, const char *how);
	void *opaque;
	struct kb_line irq1; /* keyboard controller's output buffer full, if its command byte says so; may be unconnected */
};

struct kb_reset;

/* -EEXIST: a port is taken; -ENOMEM. */
int kb_reset_create(struct kb_reset **out, const struct kb_reset_config *cfg, struct kvmbox_error *err);
void kb_reset_destroy(struct kb_reset *r);
/* State as PC firmware leaves it: A20 on, self test passed, keyboard interface and interrupt off. */
void kb_reset_reset(struct kb_reset *r);

/* Port 0xCF9; reset is a struct kb_reset. */
uint8_t kb_reset_cf9_read(void *reset);
void kb_reset_cf9_write(void *reset, uint8_t value);

/* Both gates ORed, as chipsets do. Only kept for reading back: the box never masks address line 20. */
bool kb_reset_a20(const struct kb_reset *r);

#endif
