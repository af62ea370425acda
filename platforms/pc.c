/* The PC's life: see pc.h for the map. */
#include "platforms/pc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "platforms/pc_chipset.h"
#include "platforms/pc_cpus.h"
#include "platforms/pc_start.h"

#define PORT_ELCR 0x4d0

static int parse_start(struct kb_pc *pc, struct kvmbox_error *err)
{
	int rc = 0;

	if (!strcmp(pc->cfg->start_date, "host"))
		pc->start_s = (int64_t)time(NULL);
	else if ((rc = kb_rtc_parse_date(pc->cfg->start_date, &pc->start_s, err)) != 0)
		kb_fail_in(err, rc, "start_date");
	return rc;
}

static int make(struct kb_pc *pc, const struct kb_kvm_api *api, struct kvmbox_error *err)
{
	int rc = parse_start(pc, err);

	if (!rc)
		rc = kb_vm_create(&pc->vm, api, &pc->log, err);
	if (!rc)
		rc = kb_pc_make_ram(pc, err);
	if (!rc)
		rc = kb_pc_make_cpus(pc, api, err);
	if (!rc)
		rc = kb_pc_make_chipset(pc, err);
	if (!rc)
		rc = kb_pc_start_cpus(pc, err);
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
	kb_pc_destroy_cpus(pc);
	kb_vm_destroy(pc->vm);
	free(pc);
}

int kb_pc_start(struct kb_pc *pc, struct kvmbox_error *err)
{
	uint16_t level = 0;
	int i, rc = 0;

	for (i = 0; i < 4; i++)
		level = (uint16_t)(level | 1u << kb_pc_pirq_irq[i]);
	if (pc->irqchip)
		rc = kb_irqchip_set_elcr(pc->irqchip, level, err);
	else
		kb_bus_write(&pc->vm->io, PORT_ELCR, &level, sizeof(level));
	if (rc)
		return rc;
	return pc->cfg->assign_bars ? kb_pci_assign_bars(pc->pci, err) : 0;
}

int kb_pc_reset(struct kb_pc *pc, struct kvmbox_error *err)
{
	int rc;

	pc->reset_wanted = false;
	kb_pc_reset_chipset(pc);
	rc = kb_pc_reset_cpus(pc, err);
	if (!rc)
		rc = kb_pc_start_cpus(pc, err);
	return rc ? rc : kb_pc_start(pc, err);
}
