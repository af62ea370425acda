/* Debug exit and debug console: see debugport.h. */
#include "devices/debugport.h"

#include <errno.h>
#include <stdlib.h>

struct kb_debugport {
	struct kb_debugport_config cfg;
	struct kb_region exit, console;
};

static void exit_write(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_debugport *d = opaque;

	(void)len;
	if (off == 0 && d->cfg.exit)
		d->cfg.exit(d->cfg.exit_opaque, value & 0xff);
}

static uint64_t console_read(void *opaque, uint64_t off, unsigned len)
{
	(void)opaque, (void)off, (void)len;
	return 0xe9;
}

static void console_write(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_debugport *d = opaque;
	uint8_t byte = (uint8_t)value;

	(void)off, (void)len;
	if (d->cfg.put)
		d->cfg.put(d->cfg.put_opaque, &byte, 1);
}

void kb_debugport_reset(struct kb_debugport *d)
{
	(void)d;
}

int kb_debugport_create(struct kb_debugport **out, const struct kb_debugport_config *cfg, struct kvmbox_error *err)
{
	struct kb_debugport *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return kb_fail(err, ENOMEM, "out of memory creating the debug ports");
	d->cfg = *cfg;
	d->exit = (struct kb_region){
		.name = "debug-exit", .base = KB_DEBUGPORT_EXIT, .size = 4, .max_len = 4,
		.write = exit_write, .opaque = d,
	};
	d->console = (struct kb_region){
		.name = "debug-console", .base = cfg->console_port, .size = 1, .max_len = 1,
		.read = console_read, .write = console_write, .opaque = d,
	};
	rc = kb_bus_add(cfg->io, &d->exit, err);
	if (!rc)
		rc = kb_bus_add(cfg->io, &d->console, err);
	if (rc) {
		kb_debugport_destroy(d);
		return rc;
	}
	*out = d;
	return 0;
}

void kb_debugport_destroy(struct kb_debugport *d)
{
	if (!d)
		return;
	kb_bus_remove(d->cfg.io, &d->exit);
	kb_bus_remove(d->cfg.io, &d->console);
	free(d);
}
