/* The C ABI: PCI functions implemented by the simulator, and their interrupts. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "platforms/box.h"
#include "platforms/config.h"

static uint64_t after(uint64_t t, uint64_t ps)
{
	uint64_t sum;

	return __builtin_add_overflow(t, ps, &sum) ? UINT64_MAX - 1 : sum;
}

static uint64_t lead(const struct kvmbox_box *box)
{
	return kb_box_now(box) > box->sim_ps ? kb_box_now(box) - box->sim_ps : 0;
}

/*
 * One access to the simulator's side and back. Synchronised: the simulator first gets to the time of its arrival and the
 * delay counts from there. Loosely timed: the delay starts as the guest's lead. Either way the guest goes on at the
 * simulator's time plus the delay that comes back and the way back, never earlier than it was.
 */
static bool transport(struct kvmbox_function *f, struct kvmbox_access *access)
{
	struct kvmbox_box *box = f->box;
	struct kb_clock *clock = &box->pc->vcpu->clock;
	enum kb_host host = kb_box_host(box, KB_HOST_SIMULATOR);
	int rc;

	kb_box_end_slice(box, KB_SLICE_ACCESS);
	kb_clock_charge(clock, f->request_ps);
	/* A simulator that ends the run meanwhile gets the access all the same, with the lead: the guest may go on later. */
	if (f->mode == KVMBOX_SYNCHRONISED && !kb_box_catch_up(box) && box->failure.msg[0]) {
		kb_box_host(box, host);
		return false;
	}
	box->transports++;
	f->unpushed = false;
	access->delay_ps = lead(box);
	rc = box->ops->transport(box->opaque, access);
	kb_box_refresh(box);
	kb_box_host(box, host);
	kb_clock_reach(clock, after(box->sim_ps, access->delay_ps));
	kb_clock_charge(clock, f->completion_ps);
	if (rc < 0)
		box->transport_errors++;
	return rc >= 0;
}

/*
 * A posted write ends the guest's slice at its arrival: what the device answers is not late for the guest. One that arrives
 * at once does so here; it needs a turn of its own if the simulator does not have to run to get there, or if there is no
 * telling whether its time has come before or after the write's. A loosely timed one is handed over where the simulator is, so
 * that it does not end the guest's lead.
 */
static void meet(struct kvmbox_function *f)
{
	struct kvmbox_box *box = f->box;

	if (f->mode == KVMBOX_SYNCHRONISED && !f->request_ps) {
		if (box->sim_ps >= kb_box_now(box) || !kb_box_sees_events(box))
			kb_box_due(box, kb_box_now(box));
		kb_box_settle(box);
		return;
	}
	kb_box_refresh(box);
	kb_clock_reach(&box->pc->vcpu->clock, box->sim_ps); /* it had to wait for room */
	if (f->mode == KVMBOX_LOOSELY_TIMED)
		kb_box_turn(box);
	else
		kb_box_due(box, after(kb_box_now(box), f->request_ps));
}

/* A posted write leaves, and the guest goes on. False: it has to go by transport(). */
static bool post(struct kvmbox_function *f, struct kvmbox_access *access)
{
	struct kvmbox_box *box = f->box;
	struct kb_clock *clock = &box->pc->vcpu->clock;
	enum kb_host host = kb_box_host(box, KB_HOST_SIMULATOR);
	int rc;

	access->delay_ps = lead(box);
	rc = box->ops->post(box->opaque, access, after(clock->now_ps, f->request_ps));
	if (rc == -EAGAIN) {
		kb_box_host(box, host);
		return false;
	}
	kb_box_end_slice(box, KB_SLICE_ACCESS);
	box->transports++;
	if (rc < 0)
		box->transport_errors++;
	else
		f->unpushed = true;
	meet(f);
	kb_box_host(box, host);
	kb_clock_charge(clock, f->posted_ps);
	return true;
}

/* Accesses that the box serves itself come after what was posted before, as any other does. */
static void push(void *opaque)
{
	struct kvmbox_function *f = opaque;
	struct kvmbox_box *box = f->box;

	if (!f->unpushed)
		return;
	f->unpushed = false;
	if (f->mode == KVMBOX_SYNCHRONISED && !kb_box_catch_up(box))
		return;
	kb_box_push(box, f);
}

static enum kvmbox_space space_of(const struct kvmbox_function *f, unsigned bar)
{
	return f->io_bars & 1u << bar ? KVMBOX_SPACE_IO : KVMBOX_SPACE_MEMORY;
}

static uint64_t bar_read(void *opaque, unsigned bar, uint64_t off, unsigned len)
{
	struct kvmbox_function *f = opaque;
	uint64_t value = 0;
	struct kvmbox_access access = {
		.function = f, .space = space_of(f, bar), .bar = bar, .offset = off, .data = (uint8_t *)&value, .len = len,
	};

	return transport(f, &access) ? value : UINT64_MAX;
}

static void bar_write(void *opaque, unsigned bar, uint64_t off, unsigned len, uint64_t value)
{
	struct kvmbox_function *f = opaque;
	struct kvmbox_access access = {
		.function = f, .space = space_of(f, bar), .bar = bar, .offset = off, .data = (uint8_t *)&value, .len = len,
		.write = true,
	};

	if (!f->posts || access.space != KVMBOX_SPACE_MEMORY || !post(f, &access))
		transport(f, &access);
}

static void command_changed(void *opaque, uint16_t command)
{
	struct kvmbox_function *f = opaque;
	struct kvmbox_box *box = f->box;
	enum kb_host host = kb_box_host(box, KB_HOST_SIMULATOR);

	if (box->ops->command_changed)
		box->ops->command_changed(box->opaque, f, command);
	kb_box_host(box, host);
}

static const struct kb_pci_ops function_ops = {
	.read = bar_read, .write = bar_write, .command_changed = command_changed, .push = push,
};

static int set_latency(uint64_t *out, uint64_t own, uint64_t boxs, const char *key, const char *name, struct kvmbox_error *err)
{
	if (own != KVMBOX_NO_LATENCY && own > KB_CONFIG_TIME_MAX)
		return kb_fail(err, EINVAL, "function %s: %s must be at most one day (86400s)", name, key);
	*out = own == KVMBOX_NO_LATENCY ? 0 : own ? own : boxs;
	return 0;
}

static int set_timing(struct kvmbox_function *f, const struct kvmbox_function_config *cfg, const char *name,
		      struct kvmbox_error *err)
{
	const struct kvmbox_config *box = &f->box->cfg;
	int rc;

	if (cfg->mode != KVMBOX_SYNCHRONISED && cfg->mode != KVMBOX_LOOSELY_TIMED)
		return kb_fail(err, EINVAL, "function %s: mode %u is none of its enum's values", name, (unsigned)cfg->mode);
	f->mode = cfg->mode;
	f->posts = f->box->ops->post && !cfg->non_posted_writes;
	rc = set_latency(&f->request_ps, cfg->bus_request_ps, box->bus_request_ps, "bus_request", name, err);
	if (!rc)
		rc = set_latency(&f->completion_ps, cfg->bus_completion_ps, box->bus_completion_ps, "bus_completion", name, err);
	if (!rc)
		rc = set_latency(&f->posted_ps, cfg->posted_write_ps, box->posted_write_ps, "posted_write", name, err);
	return rc;
}

int kvmbox_add_function(struct kvmbox_box *box, const struct kvmbox_function_config *cfg, void *opaque,
			struct kvmbox_function **out, struct kvmbox_error *err)
{
	struct kb_pci_config pci = {
		.name = cfg->name, .slot = cfg->slot, .fn = cfg->fn, .vendor = cfg->vendor, .device = cfg->device,
		.subsystem_vendor = cfg->subsystem_vendor, .subsystem = cfg->subsystem, .class_code = cfg->class_code,
		.revision = cfg->revision, .max_access = cfg->max_access, .intx_pin = cfg->intx_pin,
		.msi_vectors = cfg->msi_vectors, .msix_vectors = cfg->msix_vectors, .msix_bar = cfg->msix_bar,
		.msix_table_offset = cfg->msix_table_offset, .msix_pba_offset = cfg->msix_pba_offset,
		.power_management = cfg->power_management, .vendor_cap = cfg->vendor_cap,
		.vendor_cap_len = cfg->vendor_cap_len, .rom = cfg->rom, .rom_size = cfg->rom_size,
	};
	const char *name = cfg->name && *cfg->name ? cfg->name : "(unnamed)";
	struct kvmbox_function *f;
	int i, rc;

	*out = NULL;
	if (box->started)
		return kb_fail(err, EBUSY, "function %s: functions are added before the box runs", name);
	for (i = 0; i < 6; i++)
		pci.bar[i] = (struct kb_pci_bar_config){
			.size = cfg->bar[i].size, .io = cfg->bar[i].io, .is64 = cfg->bar[i].is64,
			.prefetchable = cfg->bar[i].prefetchable,
		};
	f = calloc(1, sizeof(*f));
	if (!f)
		return kb_fail(err, ENOMEM, "out of memory adding function %s", name);
	f->box = box;
	f->opaque = opaque;
	for (i = 0; i < 6; i++)
		if (cfg->bar[i].io)
			f->io_bars = (uint8_t)(f->io_bars | 1u << i);
	rc = set_timing(f, cfg, name, err);
	if (!rc)
		rc = kb_pci_function_create(&f->pci, box->pc->pci, &pci, &function_ops, f, err);
	if (rc) {
		free(f);
		return rc;
	}
	f->next = box->functions;
	box->functions = f;
	*out = f;
	return 0;
}

void *kvmbox_function_opaque(const struct kvmbox_function *f)
{
	return f->opaque;
}

const char *kvmbox_function_name(const struct kvmbox_function *f)
{
	return kb_pci_function_name(f->pci);
}

unsigned kvmbox_function_bdf(const struct kvmbox_function *f)
{
	return kb_pci_function_bdf(f->pci);
}

bool kvmbox_function_bar_address(const struct kvmbox_function *f, unsigned bar, uint64_t *address)
{
	return kb_pci_bar_address(f->pci, bar, address);
}

bool kvmbox_bus_master(const struct kvmbox_function *f)
{
	return kb_pci_bus_master(f->pci);
}

void kvmbox_post_failed(struct kvmbox_function *f)
{
	f->box->transport_errors++;
}

void kvmbox_intx(struct kvmbox_function *f, bool active)
{
	kb_pci_intx(f->pci, active);
}

int kvmbox_msi(struct kvmbox_function *f, unsigned vector)
{
	return kb_pci_msi(f->pci, vector);
}
