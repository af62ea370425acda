/*
 * kvmbox/probe.h - can this host run the box, and what is lost without what
 * it lacks? Established by behaviour (a micro guest) where the kernel's own answers only claim.
 */
#ifndef KVMBOX_PROBE_H
#define KVMBOX_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvmbox/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One line of the report. Strings are static. */
struct kvmbox_capability {
	const char *name;    /* "KVM_CAP_SYNC_REGS", "ring 3 system calls" */
	const char *purpose; /* what the box uses it for */
	const char *without; /* what is lost when it is absent */
	bool present;
	bool required;       /* the box refuses to start without it */
	int value;           /* what KVM_CHECK_EXTENSION said, for those that have one */
};

#define KVMBOX_PROBE_CAPS 48

struct kvmbox_probe_result {
	bool usable;                 /* KVM opens and everything required is there */
	struct kvmbox_error why_not; /* when not usable */
	char backend[64];            /* "VMX", "SVM", "PVM (software)", "unknown": kernel module in use */
	int api_version;
	uint32_t tsc_khz;            /* the guest's TSC frequency; 0 unknown */
	bool ring0_native;           /* guest kernel mode runs on the CPU, not in KVM's emulator */
	bool syscalls;               /* SYSCALL in ring 3 arrives in ring 0; else the box completes it */
	bool ring0_insns;            /* KVM executes all that was tried in ring 0; else the box completes what it does not */
	bool hypercalls;             /* VMCALL ends; else the box sees to it */
	bool step[2];                /* KVM single-steps ring 0 and ring 3 exactly */
	uint64_t exit_ps[2];         /* entry + exit cost of a port write, ring 0 and ring 3, median */
	/*
	 * Its parts: from KVM_RUN's call to the guest's first instruction, from its last to KVM_RUN's return; least and median,
	 * ring 0 and ring 3. All 0: unknown, the guest's TSC is neither the host's nor could it be made so.
	 */
	uint64_t enter_min_ps[2], enter_ps[2], leave_min_ps[2], leave_ps[2];
	bool tsc_offset;             /* the guest's TSC can be shifted */
	uint64_t kick_ps;            /* timer signal to KVM_RUN's return, median */
	struct kvmbox_capability cap[KVMBOX_PROBE_CAPS];
	size_t caps;
};

/*
 * Fills *probe. Takes some tens of milliseconds (runs a small VM). Returns 0 when the box can run,
 * else the negative errno of what is in the way; *probe is filled either way.
 * Any thread; one at a time runs, others wait. Meanwhile it has the handler of the signal SIGRTMIN+7
 * (vcpu/kick.h), passes others' signals on to the handler that was there, and restores that in the end.
 */
int kvmbox_probe(struct kvmbox_probe_result *probe);

#ifdef __cplusplus
}
#endif

#endif
