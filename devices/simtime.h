/*
 * The box's clock for guests: simulated time as two 64-bit read-only registers,
 * +0 picoseconds, +8 nanoseconds, in an MMIO page and at 16 I/O ports. kvmbox's
 * own device, no specification but this one.
 *
 * Reads of 8 bytes (MMIO) are atomic. A narrower read that includes a
 * register's byte 0 latches the whole register; its other bytes are always
 * read from that latch, so parts read from the lowest up belong together. The
 * page and the ports latch separately. Offsets from 16 on read as 0.
 */
#ifndef KB_SIMTIME_H
#define KB_SIMTIME_H

#include <stdint.h>

#include "devices/timer.h"
#include "vcpu/bus.h"

#define KB_SIMTIME_BASE 0xfed80000ull
#define KB_SIMTIME_SIZE 0x1000ull
#define KB_SIMTIME_PORT 0x5c0u
#define KB_SIMTIME_PORTS 0x10u

struct kb_simtime_config {
	struct kb_bus *mem, *io;
	struct kb_timers *timers;
};

struct kb_simtime;

/* -EEXIST: page or ports taken; -ENOMEM. */
int kb_simtime_create(struct kb_simtime **out, const struct kb_simtime_config *cfg, struct kvmbox_error *err);
void kb_simtime_destroy(struct kb_simtime *s);
/* Clears the latches; time goes on. */
void kb_simtime_reset(struct kb_simtime *s);

#endif
