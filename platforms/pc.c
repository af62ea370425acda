/* The PC's life, and its side of the run loop: see pc.h for the map. */
#include "platforms/pc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "platforms/pc_chipset.h"
#include "platforms/pc_clocks.h"
#include "platforms/pc_start.h"

#define PORT_ELCR 0x4d0
#define CPUID_EXT_EDX_PDPE1GB (1u << 26)

/* ---- run loop: the client's side ------------------------------------------- */

static void client_advance(void *opaque)
{
	struct kb_pc *pc = opaque;

	kb_timers_advance(&pc->timers, pc->vcpu->clock.now_ps);
}

static uint64_t client_deadline(void *opaque)
{
	struct kb_pc *pc = opaque;

	return pc->host.deadline(pc->host.opaque);
}

static int client_yield(void *opaque, struct kvmbox_error *err)
{
	struct kb_pc *pc = opaque;

	return pc->host.yield(pc->host.opaque, err);
}

static int client_idle(void *opaque, struct kvmbox_error *err)
{
	struct kb_pc *pc = opaque;

	return pc->host.idle(pc->host.opaque, err);
}

static int client_ack(void *opaque)
{
	struct kb_pc *pc = opaque;

	return kb_lapic_ack(pc->lapic);
}

static void client_set_cr8(void *opaque, uint8_t cr8)
{
	struct kb_pc *pc = opaque;

	kb_lapic_set_tpr(pc->lapic, (uint8_t)((cr8 & 0xf) << 4));
}

static uint8_t client_get_cr8(void *opaque)
{
	struct kb_pc *pc = opaque;

	return kb_lapic_get_tpr(pc->lapic) >> 4;
}

static void client_set_apic_base(void *opaque, uint64_t base)
{
	struct kb_pc *pc = opaque;

	kb_lapic_set_base(pc->lapic, base);
	if ((base & ~0xfffull) != KB_LAPIC_BASE && kb_log_ratelimit(&pc->apic_moves))
		kb_logf(&pc->log, KVMBOX_LOG_WARNING,
		       "the guest moved its local APIC to 0x%llx; it stays at 0x%llx",
		       (unsigned long long)(base & ~0xfffull), KB_LAPIC_BASE);
}

/* ---- life ------------------------------------------------------------------------ */

static void note_cpu(struct kb_pc *pc, struct kb_cpuid *cpuid)
{
	const struct kvm_cpuid_entry2 *e = kb_cpuid_find(cpuid, 0, 0);
	uint32_t i;

	if (e) {
		memcpy(pc->cpu.vendor, &e->ebx, 4);
		memcpy(pc->cpu.vendor + 4, &e->edx, 4);
		memcpy(pc->cpu.vendor + 8, &e->ecx, 4);
	}
	e = kb_cpuid_find(cpuid, 1, 0);
	if (e) {
		pc->cpu.signature = e->eax;
		pc->cpu.features = e->edx;
	}
	for (i = 0; i < 3; i++) {
		e = kb_cpuid_find(cpuid, 0x80000002 + i, 0);
		if (e)
			memcpy(pc->cpu.name + 16 * i, (const uint32_t[]){ e->eax, e->ebx, e->ecx, e->edx }, 16);
	}
}

static int parse_start(struct kb_pc *pc, struct kvmbox_error *err)
{
	int rc = 0;

	if (!strcmp(pc->cfg->start_date, "host"))
		pc->start_s = (int64_t)time(NULL);
	else if ((rc = kb_rtc_parse_date(pc->cfg->start_date, &pc->start_s, err)) != 0)
		kb_fail_in(err, rc, "start_date");
	return rc;
}

static int make_cpu(struct kb_pc *pc, const struct kb_kvm_api *api, struct kb_cpuid *cpuid, struct kvmbox_error *err)
{
	const struct kb_vcpu_client client = {
		.advance = client_advance, .deadline = client_deadline, .yield = client_yield, .idle = client_idle,
		.ack = client_ack, .set_cr8 = client_set_cr8, .get_cr8 = client_get_cr8,
		.set_apic_base = client_set_apic_base, .opaque = pc,
	};
	struct kvm_cpuid_entry2 *ext;
	int rc = kb_cpuid_supported(cpuid, api, pc->vm->kvm_fd, err);

	if (!rc)
		rc = kb_cpuid_edit(cpuid, pc->cfg->cpu, err);
	if (rc)
		return rc;
	kb_cpuid_fit(cpuid, 0, 1);
	note_cpu(pc, cpuid);
	ext = kb_cpuid_find(cpuid, 0x80000001, 0);
	pc->huge1g = ext && (ext->edx & CPUID_EXT_EDX_PDPE1GB);
	return kb_vcpu_create(&pc->vcpu, pc->vm, 0, cpuid, &client, err);
}

static int make(struct kb_pc *pc, const struct kb_kvm_api *api, struct kvmbox_error *err)
{
	struct kb_cpuid cpuid;
	int rc = parse_start(pc, err);

	if (!rc)
		rc = kb_vm_create(&pc->vm, api, &pc->log, err);
	if (!rc)
		rc = kb_pc_make_ram(pc, err);
	if (!rc)
		rc = make_cpu(pc, api, &cpuid, err);
	if (!rc)
		rc = kb_pc_add_msrs(pc, err);
	if (!rc)
		rc = kb_pc_make_clocks(pc, &cpuid, err);
	if (!rc)
		rc = kb_pc_make_chipset(pc, err);
	if (!rc)
		rc = kb_pc_start_cpu(pc, err);
	return rc;
}

int kb_pc_create(struct kb_pc **out, const struct kvmbox_config *cfg, const struct kb_kvm_api *api,
		 const struct kb_log *log, const struct kb_pc_host *host, struct kvmbox_error *err)
{
	struct kb_pc *pc = calloc(1, sizeof(*pc));
	int rc;

	*out = NULL;
	if (!pc)
		return kb_fail(err, ENOMEM, "out of memory creating the PC");
	pc->cfg = cfg;
	pc->log = *log;
	pc->host = *host;
	pc->exit_status = -1;
	kb_timers_init(&pc->timers);
	rc = make(pc, api, err);
	if (rc) {
		kb_pc_destroy(pc);
		return rc;
	}
	*out = pc;
	return 0;
}

void kb_pc_destroy(struct kb_pc *pc)
{
	if (!pc)
		return;
	kb_pc_destroy_chipset(pc);
	kb_vcpu_destroy(pc->vcpu);
	kb_vm_destroy(pc->vm);
	free(pc);
}

int kb_pc_start(struct kb_pc *pc, struct kvmbox_error *err)
{
	uint16_t level = 0;
	int i;

	for (i = 0; i < 4; i++)
		level = (uint16_t)(level | 1u << kb_pc_pirq_irq[i]);
	kb_bus_write(&pc->vm->io, PORT_ELCR, &level, sizeof(level));
	return pc->cfg->assign_bars ? kb_pci_assign_bars(pc->pci, err) : 0;
}

int kb_pc_reset(struct kb_pc *pc, struct kvmbox_error *err)
{
	int rc;

	pc->reset_wanted = false;
	kb_pc_reset_chipset(pc);
	kb_pvclock_reset(&pc->vcpu->pvclock);
	rc = kb_guest_tsc_reset(&pc->vcpu->tsc, err);
	if (!rc)
		rc = kb_pc_start_cpu(pc, err);
	return rc ? rc : kb_pc_start(pc, err);
}
