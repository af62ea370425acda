/*
 * What KVM on this host does, as opposed to what it says: measured with a
 * micro guest in a VM of its own. Used by probe.c only.
 */
#ifndef KB_PROBE_BEHAVIOUR_H
#define KB_PROBE_BEHAVIOUR_H

#include <stdbool.h>
#include <stdint.h>

#include "vcpu/kvm.h"

/* Pairs are guest ring 0 and ring 3. */
struct kb_behaviour {
	uint32_t tsc_khz;    /* 0 unknown */
	bool native[2];      /* instructions run on the CPU, not in KVM's emulator */
	bool ports[2];       /* port writes come out (ring 3: through the TSS's bitmap) */
	uint64_t exit_ps[2]; /* port write, KVM_RUN entry to return, median */
	struct kb_way {
		uint64_t min_ps, median_ps;
	} enter[2], leave[2]; /* KVM_RUN's call to the first instruction, last instruction to its return; 0 unknown */
	bool immediate_exit; /* KVM_RUN returns at once and runs no instruction */
	bool kick;           /* a timer signal ends KVM_RUN every time */
	uint64_t kick_ps;    /* deadline to KVM_RUN's return, median */
	bool step[2];        /* single-step stops after each instruction, exactly */
	bool syscall;        /* SYSCALL in ring 3 arrives in ring 0 */
	bool tsc_offset;     /* the guest's TSC follows KVM_VCPU_TSC_OFFSET in both rings */
	bool halt;           /* HLT exits, KVM_INTERRUPT then reaches the guest's handler */
	bool window;         /* interrupt-window exit after STI */
	/* Ring 0: */
	bool insns;          /* KVM does what instructions there are, or at least does not give up on those tried */
	bool hypercall;      /* VMCALL ends, whatever comes of it */
	bool lzcnt, tzcnt;   /* these are what they are in ring 3 */
};

/*
 * Runs the micro guest on kvm_fd (/dev/kvm). 0, or a negative errno with a message when
 * a VM cannot be made or run at all; what merely does not work is false in *b.
 * Takes over the kick signal's handler meanwhile (other vCPUs' kicks are passed on).
 */
int kb_probe_behaviour(const struct kb_kvm_api *api, int kvm_fd, struct kb_behaviour *b, struct kvmbox_error *err);

#endif
