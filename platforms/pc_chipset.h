/* The PC's chipset: its devices and their wires. Private to platforms/. */
#ifndef KB_PC_CHIPSET_H
#define KB_PC_CHIPSET_H

#include "platforms/pc.h"

#define KB_PC_COM1_PORT 0x3f8
#define KB_PC_COM1_IRQ 4
#define KB_PC_POST_PORT 0x80

/* ISA interrupts of PIRQA-D. */
extern const uint8_t kb_pc_pirq_irq[4];

/* Is there a PCI window above 4 GiB? Not all hosts have the address bits. */
bool kb_pc_has_pci64(const struct kb_pc *pc);

/* The chipset's MSRs; before the vCPU's are taken from KVM. */
int kb_pc_add_msrs(struct kb_pc *pc, struct kvmbox_error *err);
/* The vCPU and its clocks are there. On failure kb_pc_destroy_chipset() frees what was made. */
int kb_pc_make_chipset(struct kb_pc *pc, struct kvmbox_error *err);
void kb_pc_destroy_chipset(struct kb_pc *pc);
void kb_pc_reset_chipset(struct kb_pc *pc);

#endif
