/*
 * A PC's CPUs: each a vCPU with its local APIC. They take turns on one thread, always the one whose time is the earliest, and none runs
 * ahead of another by more than the cpu_quantum; what reaches a device does so in the order of guest time. Private to platforms/.
 */
#ifndef KB_PC_CPUS_H
#define KB_PC_CPUS_H

#include "platforms/pc.h"

struct kb_pc_cpu {
	struct kb_pc *pc;
	struct kb_vcpu *vcpu;
	struct kb_lapic *lapic;
};

/* Makes cfg->cpus vCPUs and their clocks; pc->vcpu becomes the first. On failure kb_pc_destroy_cpus() frees what was made. */
int kb_pc_make_cpus(struct kb_pc *pc, const struct kb_kvm_api *api, struct kvmbox_error *err);
/* Their local APICs, on the memory bus; pc->vcpu[0]'s has the 8259s. Likewise freed. */
int kb_pc_make_lapics(struct kb_pc *pc, struct kvmbox_error *err);
void kb_pc_destroy_lapics(struct kb_pc *pc);
void kb_pc_destroy_cpus(struct kb_pc *pc);

/* Machine reset: local APICs and clocks. */
int kb_pc_reset_cpus(struct kb_pc *pc, struct kvmbox_error *err);
/* All but the first wait for a SIPI. */
int kb_pc_park_cpus(struct kb_pc *pc, struct kvmbox_error *err);

/* A message to the local APICs. True: one at least has taken it. */
bool kb_pc_deliver(struct kb_pc *pc, uint64_t addr, uint32_t data);

#endif
