/* The C ABI: PCI functions implemented by the simulator, and their interrupts. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "platforms/box.h"

/*
 * One access to the simulator's side and back. Synchronised: the simulator first gets to the guest's time and the
 * delay counts from there. Loosely timed: the delay starts as the guest's lead. Either way the guest goes on at the
 * simulator's time plus the delay that comes back, never earlier than it was.
 */
static bool transport(struct kvmbox_function *f, struct kvmbox_access *access)
{
	struct kvmbox_box *box = f->box;
	struct kb_clock *clock = &box->pc->vcpu->clock;
	uint64_t back;
	int rc;

	/* A simulator that ends the run meanwhile gets the access all the same, with the lead: the guest may go on later. */
	if (f->mode == KVMBOX_SYNCHRONISED && !kb_box_catch_up(box) && box->failure.msg[0])
		return false;
	box->transports++;
	access->delay_ps = clock->now_ps > box->sim_ps ? clock->now_ps - box->sim_ps : 0;
	rc = box->ops->transport(box->opaque, access);
	kb_box_refresh(box);
	if (__builtin_add_overflow(box->sim_ps, access->delay_ps, &back))
		back = UINT64_MAX - 1;
	kb_clock_reach(clock, back);
	if (rc < 0)
		box->transport_errors++;
	return rc >= 0;
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

	transport(f, &access);
}

static void command_changed(void *opaque, uint16_t command)
{
	struct kvmbox_function *f = opaque;
	struct kvmbox_box *box = f->box;

	if (box->ops->command_changed)
		box->ops->command_changed(box->opaque, f, command);
}

static const struct kb_pci_ops function_ops = {
	.read = bar_read, .write = bar_write, .command_changed = command_changed,
};

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
	if (cfg->mode != KVMBOX_SYNCHRONISED && cfg->mode != KVMBOX_LOOSELY_TIMED)
		return kb_fail(err, EINVAL, "function %s: mode %u is none of its enum's values", name, (unsigned)cfg->mode);
	for (i = 0; i < 6; i++)
		pci.bar[i] = (struct kb_pci_bar_config){
			.size = cfg->bar[i].size, .io = cfg->bar[i].io, .is64 = cfg->bar[i].is64,
			.prefetchable = cfg->bar[i].prefetchable,
		};
	f = calloc(1, sizeof(*f));
	if (!f)
		return kb_fail(err, ENOMEM, "out of memory adding function %s", name);
	f->box = box;
	f->mode = cfg->mode;
	f->opaque = opaque;
	for (i = 0; i < 6; i++)
		if (cfg->bar[i].io)
			f->io_bars = (uint8_t)(f->io_bars | 1u << i);
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

void kvmbox_intx(struct kvmbox_function *f, bool active)
{
	kb_pci_intx(f->pci, active);
}

int kvmbox_msi(struct kvmbox_function *f, unsigned vector)
{
	return kb_pci_msi(f->pci, vector);
}
