/* The PC's memory, and what is in it when the CPU starts: the guest, and what firmware would have left. Private to platforms/. */
#ifndef KB_PC_START_H
#define KB_PC_START_H

#include "platforms/pc.h"

/* Before anything else is on the memory bus. */
int kb_pc_make_ram(struct kb_pc *pc, struct kvmbox_error *err);
/* Loads the guest and puts the first CPU at its entry. */
int kb_pc_start_cpus(struct kb_pc *pc, struct kvmbox_error *err);

#endif
