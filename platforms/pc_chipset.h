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

/* INTA cycle to the 8259s: their vector. */
int kb_pc_extint_ack(struct kb_pc *pc);
/* The vCPUs and their clocks are there. On failure kb_pc_destroy_chipset() frees what was made. */
int kb_pc_make_chipset(struct kb_pc *pc, struct kvmbox_error *err);
void kb_pc_destroy_chipset(struct kb_pc *pc);
void kb_pc_reset_chipset(struct kb_pc *pc);

#endif
