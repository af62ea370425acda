/*
 * Can this host run the box? See kvmbox/probe.h. Capability numbers from the kernel's
 * Documentation/virt/kvm/api.rst; what they are worth is measured in probe_behaviour.c.
 */
#include "vcpu/probe.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vcpu/probe_behaviour.h"

struct wanted {
	const char *name, *purpose, *without;
	int cap;
	int bits;      /* all of them must be in the answer; 0: any answer but 0 */
	bool required;
};

#define CAP(c) .name = #c, .cap = (c)
static const struct wanted wanted[] = {
	{ CAP(KVM_CAP_USER_MEMORY), .required = true, .purpose = "guest RAM and ROM",
	  .without = "the guest has no memory" },
	{ CAP(KVM_CAP_NR_MEMSLOTS), .required = true, .purpose = "number of RAM, ROM and BAR windows",
	  .without = "the guest has no memory" },
	{ CAP(KVM_CAP_READONLY_MEM), .required = true, .purpose = "ROM and flash: reads from memory, writes as exits",
	  .without = "firmware could be overwritten by the guest" },
	{ CAP(KVM_CAP_EXT_CPUID), .required = true, .purpose = "the guest's CPUID table",
	  .without = "the guest has no long mode" },
	{ CAP(KVM_CAP_SET_TSS_ADDR), .required = true, .purpose = "real mode on Intel CPUs",
	  .without = "firmware and boot code do not run" },
	{ CAP(KVM_CAP_SET_IDENTITY_MAP_ADDR), .required = true, .purpose = "real mode on Intel CPUs",
	  .without = "firmware and boot code do not run" },
	{ CAP(KVM_CAP_IMMEDIATE_EXIT), .required = true, .purpose = "ending slices without losing a signal",
	  .without = "the guest could run past its quantum for ever" },
	{ CAP(KVM_CAP_SYNC_REGS), .bits = KVM_SYNC_X86_VALID_FIELDS, .required = true,
	  .purpose = "registers at an exit without further system calls",
	  .without = "register state is not at hand when a slice ends" },
	{ CAP(KVM_CAP_VCPU_EVENTS), .required = true, .purpose = "pending exceptions and interrupts at reset and in fix-ups",
	  .without = "reset and instruction fix-ups lose events" },
	{ CAP(KVM_CAP_USER_NMI), .required = true, .purpose = "NMIs from the chipset",
	  .without = "NMIs are never delivered" },
	{ CAP(KVM_CAP_MP_STATE), .purpose = "vCPU state at reset", .without = "a halted vCPU cannot be restarted by state" },
	{ CAP(KVM_CAP_DEBUGREGS), .purpose = "debug registers at reset",
	  .without = "guest breakpoints survive a reset" },
	{ CAP(KVM_CAP_XSAVE), .purpose = "vector registers at reset and in fix-ups",
	  .without = "vector registers survive a reset" },
	{ CAP(KVM_CAP_XCRS), .purpose = "XCR0 at reset", .without = "XCR0 survives a reset" },
	{ CAP(KVM_CAP_X86_USER_SPACE_MSR), .purpose = "MSRs the box models itself (paravirtual clock and such)",
	  .without = "the guest gets #GP for MSRs KVM does not know; no paravirtual clock" },
	{ CAP(KVM_CAP_X86_MSR_FILTER), .purpose = "taking MSRs away from KVM",
	  .without = "KVM answers the guest's clock MSRs with host time" },
	{ CAP(KVM_CAP_GET_TSC_KHZ), .purpose = "the guest's TSC frequency", .without = "the frequency is measured" },
	{ CAP(KVM_CAP_TSC_CONTROL), .purpose = "scaling the guest's TSC",
	  .without = "the guest's TSC ticks at the host's rate" },
	{ CAP(KVM_CAP_VCPU_ATTRIBUTES), .purpose = "offset of the guest's TSC",
	  .without = "the guest's TSC cannot follow simulated time" },
	{ CAP(KVM_CAP_SET_GUEST_DEBUG), .purpose = "single-step clock source, breakpoints",
	  .without = "no exact stepping, no breakpoints" },
	{ CAP(KVM_CAP_IRQCHIP), .purpose = "interrupt controllers in the kernel (option)",
	  .without = "only the box's own interrupt controllers" },
	{ CAP(KVM_CAP_SPLIT_IRQCHIP), .purpose = "local APIC in the kernel, the rest in the box (option)",
	  .without = "only the box's own interrupt controllers" },
	{ CAP(KVM_CAP_IOEVENTFD), .purpose = "doorbells without an exit to the box (option)",
	  .without = "each doorbell write costs a full exit" },
	{ CAP(KVM_CAP_COALESCED_MMIO), .purpose = "write-only registers without an exit each (option)",
	  .without = "each write costs a full exit" },
	{ CAP(KVM_CAP_X86_SMM), .purpose = "system management mode of firmware",
	  .without = "firmware that needs SMM does not run" },
};
#define WANTED (sizeof(wanted) / sizeof(wanted[0]))

struct behaviour_line {
	const char *name, *purpose, *without;
	bool required;
	bool (*present)(const struct kb_behaviour *b);
};

static bool ring0_native(const struct kb_behaviour *b) { return b->native[0]; }
static bool ring3_native(const struct kb_behaviour *b) { return b->native[1]; }
static bool ring3_ports(const struct kb_behaviour *b) { return b->ports[1]; }
static bool immediate_exit(const struct kb_behaviour *b) { return b->immediate_exit; }
static bool kick(const struct kb_behaviour *b) { return b->kick; }
static bool step0(const struct kb_behaviour *b) { return b->step[0]; }
static bool step3(const struct kb_behaviour *b) { return b->step[1]; }
static bool syscalls(const struct kb_behaviour *b) { return b->syscall; }
static bool insns(const struct kb_behaviour *b) { return b->insns; }
static bool hypercall(const struct kb_behaviour *b) { return b->hypercall; }
static bool lzcnt(const struct kb_behaviour *b) { return b->lzcnt; }
static bool tzcnt(const struct kb_behaviour *b) { return b->tzcnt; }
static bool tsc_offset(const struct kb_behaviour *b) { return b->tsc_offset; }
static bool injection(const struct kb_behaviour *b) { return b->halt; }
static bool window(const struct kb_behaviour *b) { return b->window; }

static const struct behaviour_line lines[] = {
	{ "ring 0 native", "guest kernels at the CPU's speed",
	  "KVM emulates guest kernel mode, about a thousand times slower, and knows not every instruction", false, ring0_native },
	{ "ring 3 native", "guest user mode at the CPU's speed", "guest user mode is slow, too", false, ring3_native },
	{ "ring 3 ports", "port access of user mode by the TSS's permission bitmap",
	  "drivers in guest user mode cannot use ports", false, ring3_ports },
	{ "immediate exit", "KVM_RUN that runs nothing", "a slice could start after its end", true, immediate_exit },
	{ "kick by signal", "ending a slice in time", "the guest could run past its quantum for ever", true, kick },
	{ "single-step in ring 0", "exact stepping of guest kernels", "no exact stepping of guest kernels", false, step0 },
	{ "single-step in ring 3", "exact stepping of guest user mode", "no exact stepping of guest user mode", false, step3 },
	{ "ring 3 system calls", "an ordinary operating system in the guest",
	  "SYSCALL does not reach the guest kernel by itself; the box completes it (assists=auto), at an exit for each and for each page fault", false, syscalls },
	{ "ring 0 instructions", "INT3, POPCNT, XSAVE, vector code... in guest kernels",
	  "KVM gives up on many; the box completes them (assists=auto), at an exit each", false, insns },
	{ "hypercalls end", "VMCALL and VMMCALL in guest kernels",
	  "they hang in KVM; the box ends them (assists=auto) at the next end of a slice, with KVM's answer to an unknown one", false, hypercall },
	{ "ring 0 LZCNT", "counting leading zeros in guest kernels",
	  "LZCNT silently gives what BSR gives, which nobody can mend: kernels must not use it (no lzcnt in their CPUID)", false, lzcnt },
	{ "ring 0 TZCNT of 0", "counting trailing zeros in guest kernels",
	  "TZCNT of 0 silently leaves its destination, which nobody can mend: kernels must not use it (no bmi1 in their CPUID)", false, tzcnt },
	{ "TSC offset", "a guest TSC on simulated time",
	  "the guest's TSC is the host's; timers, PM timer and paravirtual clock tell simulated time", false, tsc_offset },
	{ "interrupt injection", "interrupts from the box's own controllers", "interrupts are never delivered", true, injection },
	{ "interrupt window", "interrupts as soon as the guest allows them",
	  "interrupts wait for the next exit of the guest", false, window },
};
#define LINES (sizeof(lines) / sizeof(lines[0]))

_Static_assert(WANTED + LINES <= KVMBOX_PROBE_CAPS, "kvmbox_probe.cap is too small");

/* kvm_fd < 0, b NULL: lists what is wanted, all absent. */
static void list_caps(const struct kb_kvm_api *api, int kvm_fd, struct kvmbox_probe_result *probe)
{
	size_t i;

	for (i = 0; i < WANTED; i++) {
		const struct wanted *w = &wanted[i];
		int value = kvm_fd < 0 ? 0 : kb_kvm_check(api, kvm_fd, w->cap);

		probe->cap[probe->caps++] = (struct kvmbox_capability){
			.name = w->name, .purpose = w->purpose, .without = w->without, .required = w->required,
			.value = value, .present = w->bits ? (value & w->bits) == w->bits : value > 0,
		};
	}
}

static void list_behaviour(const struct kb_behaviour *b, struct kvmbox_probe_result *probe)
{
	size_t i;

	for (i = 0; i < LINES; i++) {
		const struct behaviour_line *l = &lines[i];
		bool present = l->present(b);

		probe->cap[probe->caps++] = (struct kvmbox_capability){
			.name = l->name, .purpose = l->purpose, .without = l->without, .required = l->required,
			.value = present, .present = present,
		};
	}
	probe->tsc_khz = b->tsc_khz;
	probe->ring0_native = b->native[0];
	probe->syscalls = b->syscall;
	probe->ring0_insns = b->insns;
	probe->hypercalls = b->hypercall;
	memcpy(probe->step, b->step, sizeof(probe->step));
	memcpy(probe->exit_ps, b->exit_ps, sizeof(probe->exit_ps));
	for (i = 0; i < 2; i++) {
		probe->enter_min_ps[i] = b->enter[i].min_ps;
		probe->enter_ps[i] = b->enter[i].median_ps;
		probe->leave_min_ps[i] = b->leave[i].min_ps;
		probe->leave_ps[i] = b->leave[i].median_ps;
	}
	probe->tsc_offset = b->tsc_offset;
	probe->kick_ps = b->kick_ps;
}

/* The module in use; where several are loaded or /sys is hidden, behaviour decides. */
static const char *backend(bool ran, bool native)
{
	bool intel = access("/sys/module/kvm_intel", F_OK) == 0;
	bool amd = access("/sys/module/kvm_amd", F_OK) == 0;
	bool pvm = access("/sys/module/kvm_pvm", F_OK) == 0;

	if (pvm && !((intel || amd) && ran && native))
		return "PVM (software)";
	if (intel != amd)
		return intel ? "VMX" : "SVM";
	if (ran && !native)
		return "unknown (software)";
	return "unknown";
}

static int check_required(struct kvmbox_probe_result *probe)
{
	size_t i;

	for (i = 0; i < probe->caps; i++) {
		const struct kvmbox_capability *c = &probe->cap[i];

		if (c->required && !c->present)
			return kb_fail(&probe->why_not, EOPNOTSUPP,
				       "KVM on this host lacks %s, which kvmbox needs for %s (without it, %s). Use a newer kernel or another host",
				       c->name, c->purpose, c->without);
	}
	return 0;
}

int kb_probe(const struct kb_kvm_api *api, struct kvmbox_probe_result *probe)
{
	struct kb_behaviour b = { 0 };
	int kvm_fd, rc;

	memset(probe, 0, sizeof(*probe));
	kvm_fd = rc = kb_kvm_open(api, &probe->why_not);
	list_caps(api, kvm_fd, probe);
	if (kvm_fd >= 0) {
		probe->api_version = KVM_API_VERSION; /* kb_kvm_open() takes no other */
		rc = kb_probe_behaviour(api, kvm_fd, &b, &probe->why_not);
		api->close(kvm_fd);
	}
	list_behaviour(&b, probe);
	snprintf(probe->backend, sizeof(probe->backend), "%s", backend(rc == 0, probe->ring0_native));
	if (rc == 0)
		rc = check_required(probe);
	probe->usable = rc == 0;
	return rc;
}

int kvmbox_probe(struct kvmbox_probe_result *probe)
{
	return kb_probe(&kb_kvm_linux, probe);
}

static struct kvmbox_probe_result cached;

static void fill_cached(void)
{
	kvmbox_probe(&cached);
}

const struct kvmbox_probe_result *kb_probe_cached(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, fill_cached);
	return &cached;
}
