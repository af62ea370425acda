/*
 * Getting a vCPU out of the guest: a per-thread POSIX timer and kicks from
 * other threads send one signal, whose handler sets kvm_run->immediate_exit;
 * together they close the window between the last check and KVM_RUN.
 */
#ifndef KB_KICK_H
#define KB_KICK_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>
#include <linux/kvm.h>

#include "vcpu/error.h"

/* glibc before 2.41 has the field but no name for it. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* The real-time signal kvmbox keeps for itself in this process. */
static inline int kb_kick_signal(void)
{
	return SIGRTMIN + 7;
}

struct kb_kick {
	struct kvm_run *run;
	timer_t timer;
	bool has_timer;
	pid_t thread;               /* tid of the bound thread, 0: none (atomic) */
	uint64_t tsc_hz;
	uint64_t armed_tsc;         /* host TSC at which it will fire, UINT64_MAX: not armed */
	uint64_t latest_tsc;        /* it was armed to fire no later than this, likewise */
	volatile sig_atomic_t fired; /* since the last kb_kick_clear() */
};

/* Installs the process-wide handler; run must outlive the kick. */
int kb_kick_init(struct kb_kick *k, struct kvm_run *run, uint64_t tsc_hz, struct kvmbox_error *err);
/* The calling thread is the one to kick until kb_kick_unbind(); makes its timer. */
int kb_kick_bind(struct kb_kick *k, struct kvmbox_error *err);
/* Nobody is; a thread that has ended must never stay bound. */
void kb_kick_unbind(struct kb_kick *k);

/*
 * The guest must be left within ticks of the host's TSC, which now is now_tsc. Programming the timer costs as much as a
 * short exit, so an earlier expiry that is still pending is left alone: it makes
 * one spare exit, after which the caller asks again.
 */
void kb_kick_within(struct kb_kick *k, uint64_t now_tsc, uint64_t ticks);
/* Forgets a kick that has been answered. */
static inline void kb_kick_clear(struct kb_kick *k)
{
	k->fired = 0;
	k->armed_tsc = k->latest_tsc = UINT64_MAX;
	__atomic_store_n(&k->run->immediate_exit, 0, __ATOMIC_RELAXED);
}
/* From any thread, async-signal-safe: the bound thread leaves the guest. */
void kb_kick_now(struct kb_kick *k);

#endif
