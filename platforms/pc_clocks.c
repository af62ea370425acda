/* Which clocks a PC has, by its configuration and by what this host can: see pc_clocks.h. */
#include "platforms/pc_clocks.h"

#include <errno.h>
#include <string.h>

#include "platforms/config.h"
#include "vcpu/error.h"
#include "vcpu/probe.h"

/* ---- the guest clock ------------------------------------------------------------------ */

/* An instruction's time; a scale so small that nothing is left of it still leaves time moving. */
static uint64_t step_ps(const struct kvmbox_config *cfg)
{
	double ps = (double)cfg->step_ps * cfg->time_scale;

	return ps < 1 ? 1 : ps < (double)KB_CONFIG_TIME_MAX ? (uint64_t)(ps + 0.5) : KB_CONFIG_TIME_MAX;
}

static int make_clock(struct kb_pc *pc, const struct kvmbox_probe_result *host, struct kvmbox_error *err)
{
	const struct kvmbox_config *cfg = pc->cfg;
	struct kb_clock *c = &pc->vcpu->clock;
	const uint64_t hz = pc->vcpu->tsc_hz;

	if (cfg->cpus > 1 && (cfg->clock == KVMBOX_CLOCK_PERF_CYCLES || cfg->clock == KVMBOX_CLOCK_PERF_INSNS))
		return kb_fail(err, EOPNOTSUPP,
			       "clock=perf-* goes with cpus=1 only: the PMU counts the thread, on which all CPUs take turns");
	switch (cfg->clock) {
	case KVMBOX_CLOCK_FIXED:
		kb_clock_init_fixed(c, hz, cfg->fixed_exit_ps, cfg->quantum_ps);
		if (!host->ring0_native && !host->step[0])
			kb_logf(&pc->log, KVMBOX_LOG_WARNING,
				"clock=fixed: KVM on this host neither runs guest kernel mode natively nor single-steps it: when interrupts are taken depends on the host");
		return 0;
	case KVMBOX_CLOCK_STEP:
		kb_clock_init_step(c, hz, step_ps(cfg));
		return 0;
	case KVMBOX_CLOCK_PERF_CYCLES:
		return kb_clock_init_perf(c, &kb_perf_linux, KB_PERF_CYCLES, hz, (double)cfg->cycle_ps * cfg->time_scale, err);
	case KVMBOX_CLOCK_PERF_INSNS:
		return kb_clock_init_perf(c, &kb_perf_linux, KB_PERF_INSNS, hz, (double)cfg->step_ps * cfg->time_scale, err);
	case KVMBOX_CLOCK_HOST:
		if (cfg->time_scale < 1 || cfg->time_scale > 1)
			return kb_fail(err, EINVAL, "clock=host goes with time_scale=1 only: KVM's own clocks know no other");
		kb_clock_init_host(c, hz, 1);
		return 0;
	case KVMBOX_CLOCK_TSC:
		break;
	}
	kb_clock_init_tsc(c, hz, cfg->time_scale, host->exit_ps);
	return 0;
}

static int set_clock(struct kb_pc *pc, struct kvmbox_error *err)
{
	const struct kvmbox_probe_result *host = kb_probe_cached();
	const struct kvmbox_config *cfg = pc->cfg;
	struct kb_view_ways ways;
	int rc;

	kb_vcpu_set_kick(pc->vcpu, host->kick_ps / KB_PS_PER_NS, cfg->slices == KVMBOX_SLICES_PRECISE);
	kb_vcpu_set_exit_cost(pc->vcpu, host->exit_ps);
	memcpy(ways.enter_min_ps, host->enter_min_ps, sizeof(ways.enter_min_ps));
	memcpy(ways.enter_ps, host->enter_ps, sizeof(ways.enter_ps));
	memcpy(ways.leave_min_ps, host->leave_min_ps, sizeof(ways.leave_min_ps));
	memcpy(ways.leave_ps, host->leave_ps, sizeof(ways.leave_ps));
	kb_view_calibrate(&pc->vcpu->view, pc->vcpu->tsc_hz, &ways);
	rc = make_clock(pc, host, err);
	kb_vcpu_set_step(pc->vcpu, host->step, host->ring0_native);
	if (!rc && cfg->clock == KVMBOX_CLOCK_STEP)
		rc = kb_step_supported(pc->vcpu, err);
	if (!rc && cfg->count == KVMBOX_COUNTING_PMU)
		rc = kb_vcpu_count_by(pc->vcpu, &kb_perf_linux, err);
	return rc;
}

/* ---- clocks the guest reads without an exit ------------------------------------------ */

/* How often the TSC ticks per simulated second while the guest runs; 0: its clock stands still then. */
static uint32_t tsc_khz(const struct kb_pc *pc)
{
	const struct kb_vcpu *v = pc->vcpu;
	double khz = v->clock.rate.ps_per_tick ? (double)v->tsc_hz / pc->cfg->time_scale / 1000 + 0.5 : 0;

	return khz < UINT32_MAX ? (uint32_t)khz : 0;
}

/* Which TSC, as configured and as this host can. */
static int choose_tsc(struct kb_pc *pc, struct kvmbox_error *err)
{
	struct kb_guest_tsc *tsc = &pc->vcpu->tsc;
	struct kvmbox_error why;
	int rc;

	if (pc->cfg->tsc == KVMBOX_TSC_HOST || (pc->cfg->tsc == KVMBOX_TSC_AUTO && pc->cfg->clock == KVMBOX_CLOCK_HOST))
		return 0;
	if (pc->cfg->clock == KVMBOX_CLOCK_HOST)
		rc = kb_fail(&why, EINVAL, "with clock=host the TSC is the host's");
	else if (!tsc_khz(pc) && tsc->clock->rate.ps_per_tick)
		rc = kb_fail(&why, EOPNOTSUPP, "at this time_scale the TSC's frequency cannot be told to the guest; use tsc=host or tsc=auto");
	else
		rc = kb_guest_tsc_simulate(tsc, (uint64_t)tsc_khz(pc) * 1000u, pc->cfg->tsc_bound_ps, &why);
	if (!rc)
		return 0;
	if (pc->vcpu->id && pc->cfg->tsc != KVMBOX_TSC_GUEST) /* has been said */
		return 0;
	if (pc->cfg->tsc == KVMBOX_TSC_GUEST)
		return kb_fail(err, -rc, "tsc=guest: %s", why.msg);
	kb_logf(&pc->log, KVMBOX_LOG_INFO, "tsc=host: %s", why.msg);
	return 0;
}

/* The page's line goes through TSC values: the guest's must be known, unless the page stands still anyway. */
static enum kb_pvclock_by pvclock_server(struct kb_pc *pc)
{
	if (!pc->cfg->pvclock)
		return KB_PVCLOCK_NOBODY;
	if (pc->cfg->clock == KVMBOX_CLOCK_HOST)
		return KB_PVCLOCK_KVM;
	if (kb_probe_cached()->leave_min_ps[0] || !pc->vcpu->clock.rate.ps_per_tick)
		return KB_PVCLOCK_BOX;
	kb_logf(&pc->log, KVMBOX_LOG_WARNING,
		"no kvm-clock (pvclock): on this host the guest's TSC cannot be related to the host's (kvmbox-info: way in and way out)");
	return KB_PVCLOCK_NOBODY;
}

/* Takes the MSRs that are the box's from KVM. With one that keeps them (false) there can be neither the page nor a TSC of ours. */
static bool take_msrs(struct kb_pc *pc)
{
	struct kb_vcpu *v = pc->vcpu;
	struct kvmbox_error why;

	if (!kb_msrs_install(&v->msrs, pc->vm->api, pc->vm->fd, &why))
		return true;
	if (v->pvclock.by == KB_PVCLOCK_BOX) {
		kb_logf(&pc->log, KVMBOX_LOG_WARNING, "no kvm-clock (pvclock): %s; the time register tells simulated time", why.msg);
		v->pvclock.by = KB_PVCLOCK_NOBODY;
	}
	if (v->assist.needs.syscall)
		kb_logf(&pc->log, KVMBOX_LOG_WARNING, "no system calls from ring 3, which need the box's help on this host: %s", why.msg);
	v->assist.needs.syscall = false;
	v->tsc.shifts = false;
	return false;
}

/* What KVM on this host cannot do the box completes. */
static int init_assists(struct kb_pc *pc, struct kvmbox_error *err)
{
	const struct kvmbox_probe_result *host = kb_probe_cached();
	const struct kb_assist_needs needs = {
		.insns = !host->ring0_insns, .syscall = !host->syscalls, .hypercall = !host->hypercalls,
	};

	if (pc->cfg->assists == KVMBOX_ASSISTS_NO)
		return 0;
	return kb_assist_init(pc->vcpu, &needs, err);
}

int kb_pc_make_clocks(struct kb_pc *pc, struct kb_cpuid *cpuid, struct kvmbox_error *err)
{
	struct kb_cpuid_clocks told = { .apic_hz = KB_PC_APIC_HZ };
	struct kb_vcpu *v = pc->vcpu;
	int rc = set_clock(pc, err);

	if (!rc)
		rc = kb_guest_tsc_init(&v->tsc, pc->vm->api, v->fd, kb_probe_cached()->tsc_offset, &v->clock, &v->msrs, err);
	if (!rc)
		rc = kb_pvclock_init(&v->pvclock, pc->vm, pvclock_server(pc), &v->msrs, err);
	if (!rc)
		rc = init_assists(pc, err);
	if (rc)
		return rc;
	told.x2apic = take_msrs(pc) || pc->irqchip;
	rc = choose_tsc(pc, err);
	if (rc)
		return rc;
	v->pvclock.start_s = pc->start_s;
	v->pvclock.several = pc->cfg->cpus > 1;
	if (v->pvclock.by != KB_PVCLOCK_NOBODY)
		told.paravirt = KB_PVCLOCK_FEATURES | (v->pvclock.several ? 0 : KB_PVCLOCK_STABLE);
	told.tsc_khz = tsc_khz(pc);
	told.tsc_simulated = v->tsc.simulated;
	told.tsc_deadline = pc->irqchip ? kb_kvm_check(pc->vm->api, pc->vm->kvm_fd, KVM_CAP_TSC_DEADLINE_TIMER) > 0 : v->tsc.simulated;
	kb_cpuid_tell_clocks(cpuid, &told);
	return kb_vcpu_set_cpuid(v, cpuid, err);
}
