/* A vCPU: creation and start states. See vcpu.h. */
#include "vcpu/vcpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vcpu/x86.h"

/* Below this a stay is all entry and exit, whatever the host (see kvm-hosts, "Kicking a vCPU"). */
#define DEFAULT_FLOOR_NS 20000u

/* What comes with every exit: general registers, and segments for the ring. */
#define SYNC_REGS (KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS)

static int vcpu_ioctl(struct kb_vcpu *v, unsigned long request, void *arg, struct kvmbox_error *err)
{
	int rc = kb_kvm_ioctl(v->vm->api, v->fd, request, arg);

	if (rc < 0)
		return kb_fail(err, -rc, "%s failed on vCPU %u: %s", kb_kvm_request_name(request), v->id, strerror(-rc));
	return 0;
}

static uint64_t tsc_hz(struct kb_vcpu *v)
{
	int khz = kb_kvm_ioctl(v->vm->api, v->fd, KVM_GET_TSC_KHZ, NULL);

	return khz > 0 ? (uint64_t)khz * 1000u : 0;
}

/* No KVM_GET_TSC_KHZ: measure the host's TSC against its clock. */
static uint64_t measure_tsc_hz(void)
{
	struct timespec a, b, pause = { 0, 10000000 };
	uint64_t t0, t1;
	double ns;

	clock_gettime(CLOCK_MONOTONIC, &a);
	t0 = kb_tsc();
	nanosleep(&pause, NULL);
	clock_gettime(CLOCK_MONOTONIC, &b);
	t1 = kb_tsc();
	ns = (double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec);
	return (uint64_t)((double)(t1 - t0) * 1e9 / ns);
}

/* The guest's XCR0 with everything its CPUID offers (SDM vol. 1, "Enumeration of CPU support for XSAVE"). */
static uint64_t supported_xcr0(const struct kb_cpuid *cpuid)
{
	uint64_t xcr0 = 0;
	bool xsave = false;
	uint32_t i;

	for (i = 0; i < cpuid->head.nent; i++) {
		const struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		if (e->function == 1)
			xsave = e->ecx & X86_CPUID1_ECX_XSAVE;
		else if (e->function == 0xd && e->index == 0)
			xcr0 = (uint64_t)e->edx << 32 | e->eax;
	}
	return xsave ? xcr0 : 0;
}

int kb_vcpu_set_cpuid(struct kb_vcpu *v, const struct kb_cpuid *cpuid, struct kvmbox_error *err)
{
	v->xcr0 = supported_xcr0(cpuid);
	return vcpu_ioctl(v, KVM_SET_CPUID2, (void *)(uintptr_t)&cpuid->head, err);
}

int kb_vcpu_get_cpuid(struct kb_vcpu *v, struct kb_cpuid *cpuid, struct kvmbox_error *err)
{
	cpuid->head.nent = KB_CPUID_MAX;
	return vcpu_ioctl(v, KVM_GET_CPUID2, &cpuid->head, err);
}

static int setup(struct kb_vcpu *v, const struct kb_cpuid *cpuid, struct kvmbox_error *err)
{
	const struct kb_kvm_api *api = v->vm->api;
	int rc;

	v->fd = kb_kvm_ioctl(api, v->vm->fd, KVM_CREATE_VCPU, (void *)(uintptr_t)v->id);
	if (v->fd < 0)
		return kb_fail(err, -v->fd, "KVM_CREATE_VCPU failed for vCPU %u: %s", v->id, strerror(-v->fd));
	v->run = api->mmap(NULL, v->vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) {
		v->run = NULL;
		return kb_fail(err, errno, "cannot map vCPU %u's kvm_run: %s", v->id, strerror(errno));
	}
	rc = kb_vcpu_set_cpuid(v, cpuid, err);
	if (rc)
		return rc;
	v->sync_regs = ((unsigned)kb_kvm_check(api, v->vm->fd, KVM_CAP_SYNC_REGS) & SYNC_REGS) == SYNC_REGS;
	if (v->sync_regs)
		v->run->kvm_valid_regs = SYNC_REGS;
	v->tsc_hz = tsc_hz(v);
	if (!v->tsc_hz)
		v->tsc_hz = measure_tsc_hz();
	return kb_kick_init(&v->kick, v->run, v->tsc_hz, err);
}

int kb_vcpu_create(struct kb_vcpu **out, struct kb_vm *vm, unsigned id, const struct kb_cpuid *cpuid,
		   const struct kb_vcpu_client *client, struct kvmbox_error *err)
{
	struct kb_vcpu *v = calloc(1, sizeof(*v));
	uint64_t no_cost[2] = { 0, 0 };
	int rc;

	*out = NULL;
	if (!v)
		return kb_fail(err, ENOMEM, "out of memory creating vCPU %u", id);
	v->vm = vm;
	v->id = id;
	v->client = *client;
	v->fd = -1;
	v->sipi = -1;
	rc = setup(v, cpuid, err);
	if (!rc)
		rc = kb_vcpu_start_reset(v, err);
	if (rc) {
		kb_vcpu_destroy(v);
		return rc;
	}
	kb_clock_init_tsc(&v->clock, v->tsc_hz, 1.0, no_cost);
	kb_steal_init(&v->steal, v->tsc_hz);
	kb_vcpu_set_kick(v, DEFAULT_FLOOR_NS, false);
	kb_vcpu_set_step(v, (const bool[2]){ false, false }, true);
	*out = v;
	return 0;
}

void kb_vcpu_destroy(struct kb_vcpu *v)
{
	if (!v)
		return;
	kb_kick_unbind(&v->kick);
	kb_count_stop(&v->count);
	kb_clock_destroy(&v->clock);
	kb_assist_destroy(v);
	if (v->run)
		v->vm->api->munmap(v->run, v->vm->run_size);
	if (v->fd >= 0)
		v->vm->api->close(v->fd);
	free(v);
}

void kb_vcpu_set_kick(struct kb_vcpu *v, uint64_t latency_ns, bool precise)
{
	const uint64_t mhz = v->tsc_hz / 1000000u;

	v->precise = precise;
	v->kick_ticks = latency_ns * mhz / 1000u;
	v->view.slack_ticks = 8 * v->kick_ticks; /* a late one takes a few medians */
	v->floor_ticks = v->min_ticks = (latency_ns > DEFAULT_FLOOR_NS ? latency_ns : DEFAULT_FLOOR_NS) * mhz / 1000u;
}

void kb_vcpu_set_exit_cost(struct kb_vcpu *v, const uint64_t cost_ps[2])
{
	int i;

	for (i = 0; i < 2; i++)
		v->exit_ticks[i] = (uint64_t)((unsigned __int128)cost_ps[i] * v->tsc_hz / 1000000000000ull);
}

void kb_vcpu_set_step(struct kb_vcpu *v, const bool can[2], bool ring0_native)
{
	kb_step_init(&v->step, can, ring0_native);
	if (v->clock.insn_ps)
		v->step.why |= KB_STEP_CLOCK;
}

int kb_vcpu_count_by(struct kb_vcpu *v, const struct kb_perf_api *api, struct kvmbox_error *err)
{
	struct kb_perf p;
	int rc = api ? kb_perf_open(&p, api, KB_PERF_INSNS, err) : 0;

	if (rc)
		return rc;
	if (api)
		kb_perf_close(&p);
	kb_count_stop(&v->count);
	v->count = (struct kb_count){ .api = api, .margin = KB_COUNT_MARGIN };
	return 0;
}

int kb_vcpu_stop_after(struct kb_vcpu *v, uint64_t n, struct kvmbox_error *err)
{
	int rc = n == UINT64_MAX ? 0 : kb_step_supported(v, err);

	if (rc)
		return rc;
	v->step.left = n;
	kb_count_start(v);
	if (n == UINT64_MAX || v->count.on)
		v->step.why &= ~(unsigned)KB_STEP_COUNT;
	else
		v->step.why |= KB_STEP_COUNT;
	return 0;
}

void kb_vcpu_stats_add(struct kb_vcpu_stats *sum, const struct kb_vcpu_stats *s)
{
	unsigned i;

	sum->guest_ticks += s->guest_ticks;
	sum->stolen_ticks += s->stolen_ticks;
	sum->kvm_ticks += s->kvm_ticks;
	sum->entries += s->entries;
	for (i = 0; i < KB_EXIT_KINDS; i++)
		sum->exits[i] += s->exits[i];
	for (i = 0; i < KB_ASSIST_KINDS; i++)
		sum->assists[i] += s->assists[i];
	sum->interrupts += s->interrupts;
	sum->nmis += s->nmis;
	sum->steps += s->steps;
	sum->stalls += s->stalls;
	kb_histogram_merge(&sum->overshoot, &s->overshoot);
}

static struct kvm_segment segment(uint16_t selector, uint64_t base, uint32_t limit, uint8_t type, bool system)
{
	return (struct kvm_segment){
		.selector = selector, .base = base, .limit = limit, .type = type, .present = 1, .s = !system,
	};
}

static void set_data(struct kvm_sregs *s, struct kvm_segment data)
{
	s->ds = s->es = s->fs = s->gs = s->ss = data;
}

/* x87 and SSE as after FNINIT; xcr0 decides what XSAVE and AVX code may use. */
static int reset_fpu(struct kb_vcpu *v, uint64_t xcr0, struct kvmbox_error *err)
{
	struct kvm_fpu fpu = { .fcw = X86_FCW_INIT, .mxcsr = X86_MXCSR_INIT };
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0] = { .xcr = 0, .value = xcr0 } };
	int rc = vcpu_ioctl(v, KVM_SET_FPU, &fpu, err);

	if (!rc && v->xcr0)
		rc = vcpu_ioctl(v, KVM_SET_XCRS, &xcrs, err);
	return rc;
}

static int start(struct kb_vcpu *v, struct kvm_sregs *s, struct kvm_regs *r, struct kvmbox_error *err)
{
	struct kvm_vcpu_events events = { 0 };
	struct kvm_debugregs debug = { .dr6 = X86_DR6_RESET, .dr7 = X86_DR7_RESET };
	int rc;

	r->rflags = X86_EFLAGS_FIXED;
	rc = vcpu_ioctl(v, KVM_SET_SREGS, s, err);
	if (!rc)
		rc = vcpu_ioctl(v, KVM_SET_REGS, r, err);
	if (!rc)
		rc = vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, &events, err);
	if (!rc)
		rc = vcpu_ioctl(v, KVM_SET_DEBUGREGS, &debug, err);
	if (rc)
		return rc;
	rc = reset_fpu(v, s->cr4 & X86_CR4_OSXSAVE ? v->xcr0 : X86_XCR0_X87, err);
	if (rc)
		return rc;
	v->run->kvm_dirty_regs = 0;
	kb_step_forget(v);
	v->run->if_flag = 0;
	v->run->ready_for_interrupt_injection = 0;
	v->state = KB_VCPU_READY;
	v->nmi = v->init = v->exit_waits = false;
	v->sipi = -1;
	v->cr8 = 0;
	v->apic_base = s->apic_base;
	return 0;
}

/* IA32_APIC_BASE after reset: enabled, and who is the bootstrap processor. */
static uint64_t reset_apic_base(const struct kb_vcpu *v)
{
	return v->id ? X86_APIC_BASE_RESET & ~(uint64_t)X86_APIC_BASE_BSP : X86_APIC_BASE_RESET;
}

/* What every start state shares: no LDT, a valid TR (VMX insists), empty IDT. */
static void common(const struct kb_vcpu *v, struct kvm_sregs *s)
{
	memset(s, 0, sizeof(*s));
	s->apic_base = reset_apic_base(v);
	s->tr = segment(0, 0, 0xffff, X86_TYPE_TSS32_BUSY, true);
	s->ldt = segment(0, 0, 0xffff, X86_TYPE_LDT, true);
}

/* Real mode, as reset and INIT leave it, at the paragraph cs. SDM vol. 3 "Processor state after reset". */
static int start_real(struct kb_vcpu *v, uint64_t apic_base, uint16_t cs, uint64_t base, uint64_t ip, struct kvmbox_error *err)
{
	struct kvm_regs r = { .rip = ip, .rdx = 0x600 };
	struct kvm_sregs s = { 0 };

	common(v, &s);
	s.apic_base = apic_base;
	s.cs = segment(cs, base, 0xffff, X86_TYPE_CODE, false);
	set_data(&s, segment(0, 0, 0xffff, X86_TYPE_DATA, false));
	s.gdt.limit = s.idt.limit = 0xffff;
	s.cr0 = X86_CR0_ET | X86_CR0_NW | X86_CR0_CD;
	return start(v, &s, &r, err);
}

int kb_vcpu_start_reset(struct kb_vcpu *v, struct kvmbox_error *err)
{
	return start_real(v, reset_apic_base(v), 0xf000, 0xffff0000, 0xfff0, err);
}

int kb_vcpu_start_init(struct kb_vcpu *v, struct kvmbox_error *err)
{
	int rc = start_real(v, v->apic_base, 0xf000, 0xffff0000, 0xfff0, err);

	if (!rc && v->id)
		v->state = KB_VCPU_WAITS_FOR_SIPI;
	return rc;
}

int kb_vcpu_start_sipi(struct kb_vcpu *v, uint8_t vector, struct kvmbox_error *err)
{
	return start_real(v, v->apic_base, (uint16_t)(vector << 8), (uint64_t)vector << 12, 0, err);
}

static struct kvm_segment flat(uint16_t selector, uint8_t type, bool db, bool l)
{
	struct kvm_segment seg = segment(selector, 0, 0xffffffff, type, false);

	seg.g = 1;
	seg.db = db;
	seg.l = l;
	return seg;
}

#define GDT_CODE 0x10
#define GDT_DATA 0x18
#define GDT_LIMIT 0x1f

int kb_vcpu_start_protected32(struct kb_vcpu *v, uint32_t eip, uint32_t esp, uint64_t gdt, struct kvmbox_error *err)
{
	struct kvm_regs r = { .rip = eip, .rsp = esp };
	struct kvm_sregs s = { 0 };

	common(v, &s);
	s.cs = flat(GDT_CODE, X86_TYPE_CODE, true, false);
	set_data(&s, flat(GDT_DATA, X86_TYPE_DATA, true, false));
	s.gdt.base = gdt;
	s.gdt.limit = GDT_LIMIT;
	s.tr.limit = 0x67; /* this and CR0: as Xen's PVH ABI wants it */
	s.cr0 = X86_CR0_PE | X86_CR0_ET;
	return start(v, &s, &r, err);
}

int kb_vcpu_start_long64(struct kb_vcpu *v, uint64_t rip, uint64_t rsp, uint64_t gdt, uint64_t cr3,
			 struct kvmbox_error *err)
{
	struct kvm_regs r = { .rip = rip, .rsp = rsp };
	struct kvm_sregs s = { 0 };

	common(v, &s);
	s.tr.type = X86_TYPE_TSS64_BUSY;
	s.cs = flat(GDT_CODE, X86_TYPE_CODE, false, true);
	set_data(&s, flat(GDT_DATA, X86_TYPE_DATA, true, false));
	s.gdt.base = gdt;
	s.gdt.limit = GDT_LIMIT;
	s.cr0 = X86_CR0_PG | X86_CR0_WP | X86_CR0_NE | X86_CR0_ET | X86_CR0_MP | X86_CR0_PE;
	s.cr3 = cr3;
	s.cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
	if (v->xcr0)
		s.cr4 |= X86_CR4_OSXSAVE;
	s.efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE | X86_EFER_SCE;
	return start(v, &s, &r, err);
}

int kb_vcpu_start_args(struct kb_vcpu *v, uint32_t eax, uint32_t ebx, uint32_t esi, struct kvmbox_error *err)
{
	struct kvm_regs r;
	int rc = vcpu_ioctl(v, KVM_GET_REGS, &r, err);

	if (rc)
		return rc;
	r.rax = eax;
	r.rbx = ebx;
	r.rsi = esi;
	return vcpu_ioctl(v, KVM_SET_REGS, &r, err);
}

void kb_vcpu_intr(void *vcpu, int pin, bool level)
{
	struct kb_vcpu *v = vcpu;

	(void)pin;
	v->intr = level;
}

void kb_vcpu_nmi(struct kb_vcpu *v)
{
	v->nmi = true;
}

void kb_vcpu_init(struct kb_vcpu *v)
{
	v->init = true;
	v->sipi = -1;
}

void kb_vcpu_sipi(struct kb_vcpu *v, uint8_t vector)
{
	if ((v->init || v->state == KB_VCPU_WAITS_FOR_SIPI) && v->sipi < 0)
		v->sipi = vector;
}

void kb_vcpu_end(struct kb_vcpu *v)
{
	v->end_requested = true;
}

void kb_vcpu_stop(struct kb_vcpu *v)
{
	__atomic_store_n(&v->stop, true, __ATOMIC_SEQ_CST);
	kb_kick_now(&v->kick);
}
