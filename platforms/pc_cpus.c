/* A PC's CPUs and how they take turns: see pc_cpus.h. */
#include "platforms/pc_cpus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "platforms/pc_chipset.h"
#include "platforms/pc_clocks.h"
#include "vcpu/cpu_model.h"

#define CPUID_EXT_EDX_PDPE1GB (1u << 26)

/* ---- run loop: the client's side ------------------------------------------- */

static void client_advance(void *opaque)
{
	const struct kb_pc_cpu *cpu = opaque;

	kb_timers_advance(&cpu->pc->timers, cpu->vcpu->clock.now_ps);
}

/* As far as the simulator lets it, and no farther ahead of the CPU behind it than may be. */
static uint64_t client_deadline(void *opaque)
{
	const struct kb_pc_cpu *cpu = opaque;
	struct kb_pc *pc = cpu->pc;
	uint64_t t = pc->host.deadline(pc->host.opaque);

	return pc->limit_ps < t ? pc->limit_ps : t;
}

static int client_yield(void *opaque, struct kvmbox_error *err)
{
	const struct kb_pc_cpu *cpu = opaque;

	return cpu->pc->host.yield(cpu->pc->host.opaque, err);
}

static int client_idle(void *opaque, struct kvmbox_error *err)
{
	const struct kb_pc_cpu *cpu = opaque;

	return cpu->pc->host.idle(cpu->pc->host.opaque, err);
}

static int client_ack(void *opaque)
{
	const struct kb_pc_cpu *cpu = opaque;

	return kb_lapic_ack(cpu->lapic);
}

static void client_set_cr8(void *opaque, uint8_t cr8)
{
	const struct kb_pc_cpu *cpu = opaque;

	kb_lapic_set_tpr(cpu->lapic, (uint8_t)((cr8 & 0xf) << 4));
}

static uint8_t client_get_cr8(void *opaque)
{
	const struct kb_pc_cpu *cpu = opaque;

	return kb_lapic_get_tpr(cpu->lapic) >> 4;
}

static void client_set_apic_base(void *opaque, uint64_t base)
{
	const struct kb_pc_cpu *cpu = opaque;
	struct kb_pc *pc = cpu->pc;

	kb_lapic_set_base(cpu->lapic, base);
	if ((base & ~0xfffull) != KB_LAPIC_BASE && kb_log_ratelimit(&pc->apic_moves))
		kb_logf(&pc->log, KVMBOX_LOG_WARNING,
		       "the guest moved its local APIC to 0x%llx; it stays at 0x%llx",
		       (unsigned long long)(base & ~0xfffull), KB_LAPIC_BASE);
}

/* ---- turns ------------------------------------------------------------------- */

/* The earliest of the CPUs that have something to do, other than not; NULL: all sleep. */
static struct kb_vcpu *earliest(struct kb_pc *pc, const struct kb_vcpu *other_than)
{
	const uint64_t t = pc->vcpu->clock.now_ps;
	struct kb_vcpu *first = NULL;
	unsigned i;

	for (i = 0; i < pc->cpus; i++) {
		struct kb_vcpu *v = pc->cpu[i].vcpu;

		if (v != other_than && kb_vcpu_awake(v, t) && (!first || v->clock.now_ps < first->clock.now_ps))
			first = v;
	}
	return first;
}

static bool client_first(void *opaque)
{
	const struct kb_pc_cpu *cpu = opaque;
	const struct kb_vcpu *behind = earliest(cpu->pc, cpu->vcpu);

	return !behind || behind->clock.now_ps >= cpu->vcpu->clock.now_ps;
}

/* Whose turn it is. When all sleep a timer that is due may wake one; else the first waits for all. */
static struct kb_vcpu *next(struct kb_pc *pc)
{
	struct kb_vcpu *v = earliest(pc, NULL), *first = pc->cpu[0].vcpu;

	if (pc->vcpu->end_requested) /* by the access that was just served: nobody runs on behind it */
		return pc->vcpu;
	if (v)
		return v;
	kb_clock_reach(&first->clock, pc->vcpu->clock.now_ps);
	pc->vcpu = first;
	kb_timers_advance(&pc->timers, first->clock.now_ps);
	v = earliest(pc, NULL);
	return v ? v : first;
}

/* One turn. Non-zero: the run ends. */
static int turn(struct kb_pc *pc, struct kvmbox_error *err)
{
	struct kb_vcpu *v = next(pc), *behind;

	pc->vcpu = v;
	behind = earliest(pc, v);
	pc->limit_ps = behind ? behind->clock.now_ps + pc->cfg->cpu_quantum_ps : UINT64_MAX;
	return kb_vcpu_step(v, err);
}

/* How the run ended for one CPU, it is over for the others. */
static void finish_others(struct kb_pc *pc, enum kb_end end)
{
	unsigned i;

	for (i = 0; i < pc->cpus; i++) {
		struct kb_vcpu *v = pc->cpu[i].vcpu;

		if (v == pc->vcpu)
			continue;
		v->end = end == KB_END_STOPPED ? end : KB_END_REQUESTED;
		kb_vcpu_finish(v, NULL);
	}
}

enum kb_end kb_pc_run(struct kb_pc *pc, struct kvmbox_error *err)
{
	enum kb_end end;
	unsigned i;
	int rc = 0;

	if (pc->cpus == 1)
		return kb_vcpu_run(pc->vcpu, err);
	for (i = 0; i < pc->cpus && !rc; i++)
		rc = kb_vcpu_begin(pc->cpu[i].vcpu, err);
	while (!rc)
		rc = turn(pc, err);
	end = kb_vcpu_finish(pc->vcpu, err);
	finish_others(pc, end);
	return end;
}

void kb_pc_stop(struct kb_pc *pc)
{
	unsigned i;

	for (i = 0; i < pc->cpus; i++)
		kb_vcpu_stop(pc->cpu[i].vcpu);
}

void kb_pc_stats(const struct kb_pc *pc, struct kb_vcpu_stats *sum)
{
	unsigned i;

	for (i = 0; i < pc->cpus; i++)
		kb_vcpu_stats_add(sum, &pc->cpu[i].vcpu->stats);
}

/* ---- local APICs --------------------------------------------------------------- */

static void wire_nmi(void *opaque)
{
	const struct kb_pc_cpu *cpu = opaque;

	kb_vcpu_nmi(cpu->vcpu);
}

static void wire_init(void *opaque)
{
	const struct kb_pc_cpu *cpu = opaque;
	struct kb_pc *pc = cpu->pc;

	if (cpu == pc->cpu && kb_log_ratelimit(&pc->inits))
		kb_logf(&pc->log, KVMBOX_LOG_WARNING,
			"INIT sent to the first CPU: it goes to the reset vector; a reset of the machine is at port 0xCF9");
	kb_vcpu_init(cpu->vcpu);
}

static void wire_sipi(void *opaque, uint8_t vector)
{
	const struct kb_pc_cpu *cpu = opaque;

	kb_vcpu_sipi(cpu->vcpu, vector);
}

static void wire_eoi(void *opaque, uint8_t vector)
{
	const struct kb_pc_cpu *cpu = opaque;

	kb_ioapic_eoi(cpu->pc->ioapic, vector);
}

static int wire_extint_ack(void *opaque)
{
	const struct kb_pc_cpu *cpu = opaque;

	return kb_pc_extint_ack(cpu->pc);
}

static uint64_t wire_tsc_reaches(void *opaque, uint64_t tsc)
{
	const struct kb_pc_cpu *cpu = opaque;

	return kb_guest_tsc_reaches(&cpu->vcpu->tsc, tsc);
}

/* Of several that a lowest-priority message addresses, the one with the lowest, from a different CPU on each time. */
static struct kb_lapic *lowest(struct kb_pc *pc, const struct kb_lapic *sender, uint32_t dest, bool logical)
{
	struct kb_lapic *best = NULL;
	unsigned i;

	for (i = 0; i < pc->cpus; i++) {
		struct kb_lapic *l = pc->cpu[(pc->lowest + i) % pc->cpus].lapic;

		if (l != sender && kb_lapic_matches(l, dest, logical) && (!best || kb_lapic_priority(l) < kb_lapic_priority(best)))
			best = l;
	}
	pc->lowest = (pc->lowest + 1) % pc->cpus;
	return best;
}

/* Is l one of those that the message goes to? one: the result of lowest(), for lowest priority. */
static bool addressed(const struct kb_lapic_message *m, const struct kb_lapic *l, const struct kb_lapic *one)
{
	return m->mode == KB_LAPIC_LOWEST ? l == one : kb_lapic_matches(l, m->dest, m->logical);
}

static struct kb_lapic *choose(struct kb_pc *pc, const struct kb_lapic *sender, const struct kb_lapic_message *m)
{
	return m->mode == KB_LAPIC_LOWEST ? lowest(pc, sender, m->dest, m->logical) : NULL;
}

static void wire_ipi(void *opaque, uint32_t dest, bool logical, enum kb_lapic_mode mode, uint8_t vector)
{
	const struct kb_pc_cpu *cpu = opaque;
	const struct kb_lapic_message m = { dest, logical, mode };
	const struct kb_lapic *one = choose(cpu->pc, cpu->lapic, &m);
	unsigned i;

	for (i = 0; i < cpu->pc->cpus; i++) {
		struct kb_lapic *l = cpu->pc->cpu[i].lapic;

		if (l != cpu->lapic && addressed(&m, l, one))
			kb_lapic_deliver(l, mode, vector, false);
	}
}

bool kb_pc_deliver(struct kb_pc *pc, uint64_t addr, uint32_t data)
{
	struct kb_lapic_message m;
	const struct kb_lapic *one;
	bool taken = false, any = false;
	unsigned i;

	if (pc->irqchip)
		return kb_irqchip_msi(pc->irqchip, addr, data);
	if (pc->cpus == 1 || !kb_lapic_decode(addr, data, &m))
		return kb_lapic_msi(pc->cpu[0].lapic, addr, data);
	one = choose(pc, NULL, &m);
	for (i = 0; i < pc->cpus; i++) {
		struct kb_lapic *l = pc->cpu[i].lapic;

		if (!addressed(&m, l, one))
			continue;
		any = true;
		taken |= kb_lapic_msi(l, addr, data);
	}
	return any ? taken : kb_lapic_msi(pc->cpu[0].lapic, addr, data); /* which drops it, and says so */
}

/* The page at KB_LAPIC_BASE is to each CPU its own. */
static uint64_t page_read(void *opaque, uint64_t off, unsigned len)
{
	struct kb_pc *pc = opaque;

	return kb_lapic_read(pc->cpu[pc->vcpu->id].lapic, off, len);
}

static void page_write(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_pc *pc = opaque;

	kb_lapic_write(pc->cpu[pc->vcpu->id].lapic, off, len, value);
}

static bool msr_read(void *opaque, uint32_t index, uint64_t *value)
{
	const struct kb_pc_cpu *cpu = opaque;

	return kb_lapic_msr_read(cpu->lapic, index, value);
}

static bool msr_write(void *opaque, uint32_t index, uint64_t value)
{
	const struct kb_pc_cpu *cpu = opaque;

	return kb_lapic_msr_write(cpu->lapic, index, value);
}

static int make_lapic(struct kb_pc_cpu *cpu, struct kvmbox_error *err)
{
	struct kb_pc *pc = cpu->pc;
	const bool first = cpu == pc->cpu;
	const struct kb_lapic_config cfg = {
		.timers = &pc->timers, .log = &pc->log, .id = (uint8_t)cpu->vcpu->id, .timer_hz = KB_PC_APIC_HZ,
		.virtual_wire = first, .directed_eoi = true, .intr = { .set = kb_vcpu_intr, .opaque = cpu->vcpu },
		.nmi = wire_nmi, .init = wire_init, .sipi = wire_sipi, .eoi = wire_eoi, .ipi = wire_ipi,
		.extint_ack = first ? wire_extint_ack : NULL,
		.tsc_reaches = cpu->vcpu->tsc.simulated ? wire_tsc_reaches : NULL, .opaque = cpu,
	};

	return kb_lapic_create(&cpu->lapic, &cfg, err);
}

int kb_pc_make_lapics(struct kb_pc *pc, struct kvmbox_error *err)
{
	unsigned i;
	int rc = 0;

	for (i = 0; i < pc->cpus && !rc; i++)
		rc = make_lapic(&pc->cpu[i], err);
	if (rc)
		return rc;
	pc->lapic_page = (struct kb_region){
		.name = "local APIC", .base = KB_LAPIC_BASE, .size = KB_LAPIC_SIZE, .max_len = 4,
		.read = page_read, .write = page_write, .opaque = pc,
	};
	return kb_bus_add(&pc->vm->mem, &pc->lapic_page, err);
}

void kb_pc_destroy_lapics(struct kb_pc *pc)
{
	unsigned i;

	if (pc->lapic_page.size)
		kb_bus_remove(&pc->vm->mem, &pc->lapic_page);
	for (i = 0; i < pc->cpus; i++)
		kb_lapic_destroy(pc->cpu[i].lapic);
}

/* ---- life -------------------------------------------------------------------------- */

static void note_cpu(struct kb_pc *pc, struct kb_cpuid *cpuid)
{
	const struct kvm_cpuid_entry2 *e = kb_cpuid_find(cpuid, 0, 0);
	uint32_t i;

	if (e) {
		memcpy(pc->cpu_id.vendor, &e->ebx, 4);
		memcpy(pc->cpu_id.vendor + 4, &e->edx, 4);
		memcpy(pc->cpu_id.vendor + 8, &e->ecx, 4);
	}
	e = kb_cpuid_find(cpuid, 1, 0);
	if (e) {
		pc->cpu_id.signature = e->eax;
		pc->cpu_id.features = e->edx;
	}
	for (i = 0; i < 3; i++) {
		e = kb_cpuid_find(cpuid, 0x80000002 + i, 0);
		if (e)
			memcpy(pc->cpu_id.name + 16 * i, (const uint32_t[]){ e->eax, e->ebx, e->ecx, e->edx }, 16);
	}
	e = kb_cpuid_find(cpuid, 0x80000001, 0);
	pc->huge1g = e && (e->edx & CPUID_EXT_EDX_PDPE1GB);
}

/* x2APIC registers cannot be taken from KVM, but it has none without a local APIC of its own. */
static int add_msrs(struct kb_pc_cpu *cpu, struct kvmbox_error *err)
{
	const struct kb_msr_range x2apic = {
		.first = KB_LAPIC_MSR, .count = KB_LAPIC_MSRS, .read = msr_read, .write = msr_write, .opaque = cpu,
	};
	const struct kb_msr_range deadline = {
		.first = KB_LAPIC_MSR_DEADLINE, .count = 1, .take_reads = true, .take_writes = true,
		.read = msr_read, .write = msr_write, .opaque = cpu,
	};
	int rc = kb_msrs_add(&cpu->vcpu->msrs, &x2apic, err);

	return rc ? rc : kb_msrs_add(&cpu->vcpu->msrs, &deadline, err);
}

/* KVM may have added to what it was told; for who has asked for something. */
static void tell_difference(const struct kb_pc *pc, const struct kb_cpuid *wanted)
{
	struct kb_cpuid shown;
	char names[600];

	if (!pc->cfg->cpu || !*pc->cfg->cpu || kb_vcpu_get_cpuid(pc->vcpu, &shown, NULL) < 0)
		return;
	kb_cpu_difference(wanted, &shown, names, sizeof(names));
	if (names[0])
		kb_logf(&pc->log, KVMBOX_LOG_INFO, "CPUID shows the guest, whatever cpu= says: %s", names);
}

static int make_cpu(struct kb_pc *pc, unsigned id, const struct kb_cpuid *host, struct kvmbox_error *err)
{
	struct kb_vcpu_client client = {
		.advance = client_advance, .deadline = client_deadline, .yield = client_yield, .idle = client_idle,
		.first = pc->cfg->cpus > 1 ? client_first : NULL, .opaque = &pc->cpu[id],
	};
	struct kb_cpuid cpuid = *host;
	int rc;

	if (!pc->irqchip) {
		client.ack = client_ack;
		client.set_cr8 = client_set_cr8;
		client.get_cr8 = client_get_cr8;
		client.set_apic_base = client_set_apic_base;
	}
	kb_cpuid_fit(&cpuid, id, pc->cfg->cpus);
	if (id == 0)
		note_cpu(pc, &cpuid);
	pc->cpu[id].pc = pc;
	rc = kb_vcpu_create(&pc->cpu[id].vcpu, pc->vm, id, &cpuid, &client, err);
	if (rc)
		return rc;
	pc->cpus = id + 1;
	rc = pc->irqchip ? kb_irqchip_start_cpu(pc->irqchip, pc->cpu[id].vcpu->fd, err) : add_msrs(&pc->cpu[id], err);
	if (rc)
		return rc;
	pc->vcpu = pc->cpu[id].vcpu;
	rc = kb_pc_make_clocks(pc, &cpuid, err);
	if (!rc && id == 0)
		tell_difference(pc, &cpuid);
	return rc;
}

static int make_irqchip(struct kb_pc *pc, struct kvmbox_error *err)
{
	if (pc->cfg->clock != KVMBOX_CLOCK_HOST)
		return kb_fail(err, EINVAL,
			       "irqchip=kernel: KVM's timers follow the wall clock, so the guest's time has to, too; say clock=host, or irqchip=user for simulated time");
	if (pc->cfg->cpus > 1)
		return kb_fail(err, EOPNOTSUPP,
			       "irqchip=kernel goes with cpus=1 only: CPUs take turns on one thread, and KVM would make all of it wait for one that is halted");
	return kb_irqchip_create(&pc->irqchip, pc->vm, err);
}

static int apply_model(struct kb_pc *pc, struct kb_cpuid *cpuid, struct kvmbox_error *err)
{
	char missing[KB_CPU_MISSING_MAX];
	int rc = kb_cpu_apply(cpuid, pc->cfg->cpu, missing, err);

	if (rc)
		return kb_fail_in(err, rc, "cpu");
	if (missing[0])
		kb_logf(&pc->log, KVMBOX_LOG_WARNING, "cpu=%s: KVM on this host does not offer: %s", pc->cfg->cpu, missing);
	return 0;
}

int kb_pc_make_cpus(struct kb_pc *pc, const struct kb_kvm_api *api, struct kvmbox_error *err)
{
	struct kb_cpuid cpuid;
	unsigned i;
	int rc = kb_cpuid_supported(&cpuid, api, pc->vm->kvm_fd, err);

	if (!rc)
		rc = apply_model(pc, &cpuid, err);
	if (!rc && pc->cfg->irqchip == KVMBOX_IRQCHIP_KERNEL)
		rc = make_irqchip(pc, err);
	if (rc)
		return rc;
	pc->limit_ps = UINT64_MAX;
	pc->cpu = calloc(pc->cfg->cpus, sizeof(*pc->cpu));
	if (!pc->cpu)
		return kb_fail(err, ENOMEM, "out of memory creating %u CPUs", pc->cfg->cpus);
	for (i = 0; i < pc->cfg->cpus && !rc; i++)
		rc = make_cpu(pc, i, &cpuid, err);
	pc->vcpu = pc->cpu[0].vcpu;
	return rc;
}

void kb_pc_destroy_cpus(struct kb_pc *pc)
{
	unsigned i;

	for (i = 0; i < pc->cpus; i++)
		kb_vcpu_destroy(pc->cpu[i].vcpu);
	free(pc->cpu);
	kb_irqchip_destroy(pc->irqchip);
}

int kb_pc_reset_cpus(struct kb_pc *pc, struct kvmbox_error *err)
{
	const uint64_t t = pc->vcpu->clock.now_ps;
	unsigned i;
	int rc = 0;

	pc->vcpu = pc->cpu[0].vcpu;
	if (pc->irqchip)
		rc = kb_irqchip_reset(pc->irqchip, err);
	for (i = 0; i < pc->cpus && !rc; i++) {
		struct kb_vcpu *v = pc->cpu[i].vcpu;

		kb_clock_reach(&v->clock, t);
		if (pc->irqchip)
			rc = kb_irqchip_start_cpu(pc->irqchip, v->fd, err);
		else
			kb_lapic_reset(pc->cpu[i].lapic);
		if (rc)
			return rc;
		kb_pvclock_reset(&v->pvclock);
		rc = kb_guest_tsc_reset(&v->tsc, err);
	}
	return rc;
}

int kb_pc_park_cpus(struct kb_pc *pc, struct kvmbox_error *err)
{
	unsigned i;
	int rc = 0;

	for (i = 1; i < pc->cpus && !rc; i++) {
		rc = kb_vcpu_start_reset(pc->cpu[i].vcpu, err);
		if (!rc)
			rc = kb_vcpu_start_init(pc->cpu[i].vcpu, err);
	}
	return rc;
}
