/*
 * A VM of one vCPU with the micro guest of probe_guest.S: both rings, a handler for each exception. For the probe, and for
 * instructions that have to run in ring 3 (assist_native.c). Private to vcpu/.
 */
#ifndef KB_PROBE_VM_H
#define KB_PROBE_VM_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "vcpu/kvm.h"

#define KB_PROBE_BACKSTOP_NS 500000000LL /* a piece that takes longer hangs (or the host does) */

/* Pieces of the micro guest. */
extern const uint8_t kb_pg_start[], kb_pg_out[], kb_pg_loop[], kb_pg_spin[], kb_pg_steps[], kb_pg_syscall[],
	kb_pg_lstar[], kb_pg_tsc[], kb_pg_stamps[], kb_pg_halt[], kb_pg_window[], kb_pg_irq[], kb_pg_traps[], kb_pg_int3[], kb_pg_popcnt[], kb_pg_cx16[],
	kb_pg_fwait[], kb_pg_movd[], kb_pg_xsave[], kb_pg_lzcnt[], kb_pg_tzcnt[], kb_pg_hypercall[], kb_pg_end[];

struct kb_probe_vm {
	const struct kb_kvm_api *api;
	int vm, vcpu;
	uint8_t *ram;
	struct kvm_run *run;
	size_t run_size;
	struct kvm_sregs sregs; /* as KVM made them */
	uint64_t cr4;           /* bits besides those it starts with */
	bool syscalls;          /* the MSRs could be set */
	bool io_pending;        /* KVM still has to finish the last I/O */
	timer_t timer;
	bool has_timer;
	volatile sig_atomic_t kicked;
	int64_t took_ns;        /* of the last kb_probe_to_port(), timer calls not included */
	unsigned long failed;   /* request of the ioctl that failed */
};

/* 0 or -errno; the caller destroys it either way. */
int kb_probe_vm_create(struct kb_probe_vm *g, const struct kb_kvm_api *api, int kvm_fd);
void kb_probe_vm_destroy(struct kb_probe_vm *g);
/* SYSCALL's MSRs; g->syscalls says whether KVM took them. */
void kb_probe_msrs(struct kb_probe_vm *g);
int kb_probe_ioctl(struct kb_probe_vm *g, int fd, unsigned long request, void *arg);

/* The kick signal's handler is the process's: one at a time has it. */
void kb_probe_kick_install(void);
void kb_probe_kick_restore(void);
/* With that, a timer that kicks this VM. */
int kb_probe_timer(struct kb_probe_vm *g);
int64_t kb_probe_now_ns(void);
/* Kicks at the deadline and then again and again. */
void kb_probe_arm(struct kb_probe_vm *g, int64_t deadline_ns);
void kb_probe_disarm(struct kb_probe_vm *g);

/* 0: an exit, in g->run; 1: kicked; -errno. */
int kb_probe_run(struct kb_probe_vm *g);
/* Lets KVM finish the last I/O without running the guest; registers may not be set before. */
int kb_probe_settle(struct kb_probe_vm *g);
/* Segments and control registers for ring 0 or 3. */
struct kvm_sregs kb_probe_sregs(const struct kb_probe_vm *g, unsigned ring);
/* Makes the vCPU begin piece in ring 0 or 3, interrupts off. */
int kb_probe_start(struct kb_probe_vm *g, const uint8_t *piece, unsigned ring, uint64_t rcx);
bool kb_probe_at_port(const struct kb_probe_vm *g, unsigned port);
/* One run up to an exit. 1: it was a write to port; 0: something else or none at all; -errno. */
int kb_probe_to_port(struct kb_probe_vm *g, unsigned port);
/* Both. */
int kb_probe_piece(struct kb_probe_vm *g, const uint8_t *piece, unsigned ring, uint64_t rcx, unsigned port);

#endif
