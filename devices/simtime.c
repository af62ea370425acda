/* Simulated time for guests: see simtime.h. */
#include "devices/simtime.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { REG_PS, REG_NS, REGS };

struct window {
	struct kb_region region;
	const struct kb_timers *timers;
	uint64_t latch[REGS];
};

struct kb_simtime {
	struct kb_simtime_config cfg;
	struct window mem, io;
};

static uint64_t window_read(void *opaque, uint64_t off, unsigned len)
{
	struct window *w = opaque;
	uint64_t reg = off / 8;
	unsigned byte = (unsigned)off % 8;

	if (reg >= REGS)
		return 0;
	if (byte == 0) {
		uint64_t now = kb_timers_now(w->timers);

		w->latch[reg] = reg == REG_PS ? now : now / KB_PS_PER_NS;
	}
	return w->latch[reg] >> 8 * byte & UINT64_MAX >> (64 - 8 * len);
}

void kb_simtime_reset(struct kb_simtime *s)
{
	memset(s->mem.latch, 0, sizeof(s->mem.latch));
	memset(s->io.latch, 0, sizeof(s->io.latch));
}

static void window_init(struct window *w, const struct kb_timers *timers, uint64_t base, uint64_t size, unsigned max_len)
{
	w->timers = timers;
	w->region = (struct kb_region){
		.name = "simtime", .base = base, .size = size, .max_len = max_len,
		.read = window_read, .opaque = w,
	};
}

int kb_simtime_create(struct kb_simtime **out, const struct kb_simtime_config *cfg, struct kvmbox_error *err)
{
	struct kb_simtime *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return kb_fail(err, ENOMEM, "out of memory creating simtime");
	s->cfg = *cfg;
	window_init(&s->mem, cfg->timers, KB_SIMTIME_BASE, KB_SIMTIME_SIZE, 8);
	window_init(&s->io, cfg->timers, KB_SIMTIME_PORT, KB_SIMTIME_PORTS, 4);
	rc = kb_bus_add(cfg->mem, &s->mem.region, err);
	if (!rc)
		rc = kb_bus_add(cfg->io, &s->io.region, err);
	if (rc) {
		kb_simtime_destroy(s);
		return rc;
	}
	*out = s;
	return 0;
}

void kb_simtime_destroy(struct kb_simtime *s)
{
	if (!s)
		return;
	kb_bus_remove(s->cfg.mem, &s->mem.region);
	kb_bus_remove(s->cfg.io, &s->io.region);
	free(s);
}
