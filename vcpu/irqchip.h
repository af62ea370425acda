/*
 * KVM's own interrupt controllers and PIT, instead of the box's models (Linux Documentation/virt/kvm/api.rst, KVM_CREATE_IRQCHIP,
 * KVM_CREATE_PIT2, KVM_SET_GSI_ROUTING). Their timers follow the host's clock.
 *
 * GSIs, as routed here: 0, KVM's PIT: the 8259s' input 0 and the I/O APIC's input 2; n from 1 to 23: input n of the I/O APIC;
 * KB_GSI_PIC + n: input n of the 8259s.
 */
#ifndef KB_IRQCHIP_H
#define KB_IRQCHIP_H

#include <stdbool.h>
#include <stdint.h>

#include "vcpu/vm.h"

#define KB_GSI_PIC 24u
#define KB_IRQCHIP_IOAPIC_VERSION 0x11u

struct kb_irqchip {
	struct kb_vm *vm;
	struct kvm_irqchip start[3]; /* as after power-on */
	struct kvm_pit_state2 pit;
};

/* Before any vCPU is made; vm must outlive it. -EOPNOTSUPP: this KVM has none; or what KVM says. */
int kb_irqchip_create(struct kb_irqchip **out, struct kb_vm *vm, struct kvmbox_error *err);
void kb_irqchip_destroy(struct kb_irqchip *c);
/* A vCPU's local APIC as firmware leaves it (virtual wire), the vCPU ready to run; at the start and at a reset. */
int kb_irqchip_start_cpu(struct kb_irqchip *c, int vcpu_fd, struct kvmbox_error *err);
/* Power-on state of all but the local APICs. */
int kb_irqchip_reset(struct kb_irqchip *c, struct kvmbox_error *err);

/* Inputs of the 8259s that are level-triggered (ELCR), bit mask; from then on also after a reset. */
int kb_irqchip_set_elcr(struct kb_irqchip *c, uint16_t level, struct kvmbox_error *err);
/* Level of a GSI. */
void kb_irqchip_set(struct kb_irqchip *c, unsigned gsi, bool level);
/* A message to the local APICs. True: one has taken it. */
bool kb_irqchip_msi(struct kb_irqchip *c, uint64_t addr, uint32_t data);
/* The PIT's interrupt is the HPET's (legacy replacement). */
void kb_irqchip_mute_pit(struct kb_irqchip *c, bool mute);

#endif
