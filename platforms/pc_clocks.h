/*
 * A PC's clocks: where the guest clock gets its time from, and the clocks that the guest reads without an exit (TSC, pvclock page). Private
 * to platforms/.
 */
#ifndef KB_PC_CLOCKS_H
#define KB_PC_CLOCKS_H

#include "platforms/pc.h"

/* Local APIC timer's input; the guest is told (CPUID 0x40000010). */
#define KB_PC_APIC_HZ 1000000000ull

/*
 * Once the vCPU is there and before it runs: sets the clocks up and puts what the guest is to know of them into cpuid and the
 * vCPU. -EINVAL, -EOPNOTSUPP: what is asked for cannot be, or not on this host; or as kb_perf_open().
 */
int kb_pc_make_clocks(struct kb_pc *pc, struct kb_cpuid *cpuid, struct kvmbox_error *err);

#endif
