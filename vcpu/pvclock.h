/*
 * kvm-clock, served by the box: a page in guest memory from which the guest computes its time, in ns, without an exit
 * (Linux Documentation/virt/kvm/x86/msr.rst; arch/x86/include/asm/pvclock-abi.h). KVM's own, which shows host time, is hidden.
 *
 *	time = system_time + (TSC - tsc_timestamp) * multiplier
 *
 * At each entry the page is written anew so that this is the guest clock at the moment the guest's view of the TSC opens
 * (view.h), and from then on goes on as clock.rate says; time_scale is in it. At the exit the clock moves at
 * least up to where the view closes (struct kb_stay.shown), so that no later page shows less than the guest has read:
 *	read at TSC r  <=  clock at entry + (r - open) * rate       multiplier and system_time are rounded down
 *	               <=  clock at entry + (close - open) * rate   the guest reads not after the view closes
 *	               <=  clock at the next entry.
 * It costs what view.h says, and only while the guest has a page. The stamp is put where the stay began, not where the view
 * opens (and system_time back by as much): the difference above is unsigned in every guest, and a TSC before the stamp would
 * be a time in the far future.
 *
 * Clocks that stand still while the guest runs (rate 0) show a still page: the guest reads exactly the guest clock.
 *
 * A guest that is stepped has an entry for every instruction, and a reader needs some tens of them without a change. So the page is
 * then a still one, brought up to date after exits, and otherwise every KB_PVCLOCK_STEPS instructions: it lags by no more.
 */
#ifndef KB_PVCLOCK_H
#define KB_PVCLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "vcpu/clock.h"
#include "vcpu/msr.h"
#include "vcpu/view.h"

struct kb_vm;

/* KVM_FEATURE_* in CPUID 0x40000001 EAX that a guest may rely on: old and new MSRs; no steps between vCPUs. */
#define KB_PVCLOCK_FEATURES (1u << 0 | 1u << 3)
#define KB_PVCLOCK_STABLE (1u << 24)

/* ns = ((shift < 0 ? ticks >> -shift : ticks << shift) * mul) >> 32, as guests compute it. Never more than rate's. */
struct kb_pvclock_scale {
	uint32_t mul;
	int8_t shift;
};
struct kb_pvclock_scale kb_pvclock_scale_of(uint64_t ps_per_tick);

#define KB_PVCLOCK_STEPS 1000u

enum kb_pvclock_by {
	KB_PVCLOCK_NOBODY, /* its MSRs are #GP, and so are all of KVM's paravirtual ones */
	KB_PVCLOCK_BOX,
	KB_PVCLOCK_KVM,    /* left to KVM: host time */
};

struct kb_pvclock {
	struct kb_vm *vm;
	enum kb_pvclock_by by;
	bool several;       /* vCPUs have one each: a reading on another may be less */
	int64_t start_s;    /* Unix time at guest time 0 */
	uint64_t system_time, wall_clock; /* the MSRs */
	uint8_t *page;      /* NULL: the guest has not enabled it. RAM stays where it is as long as the VM */
	uint32_t version;
	unsigned steps;     /* since the page was written, while the guest is stepped */
	uint64_t ps_per_tick; /* what scale is for */
	struct kb_pvclock_scale scale;
	unsigned long refused; /* for the log's sake */
};

/*
 * Adds the MSRs of KVM's paravirtual interface to the table: all are taken from KVM, unless it is to serve them. vm must
 * outlive it.
 */
int kb_pvclock_init(struct kb_pvclock *p, struct kb_vm *vm, enum kb_pvclock_by by, struct kb_msrs *msrs, struct kvmbox_error *err);
/* As after power-on: disabled. */
void kb_pvclock_reset(struct kb_pvclock *p);
/* Before an entry, with the view open. tsc_offset: of the guest's TSC to the host's. */
void kb_pvclock_show(struct kb_pvclock *p, const struct kb_clock *clock, const struct kb_view *view, uint64_t tsc_offset);

/* The same before a step. exited: since the last one the guest was out for another reason. */
void kb_pvclock_show_step(struct kb_pvclock *p, const struct kb_clock *clock, bool exited);

#endif
