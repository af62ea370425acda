/* A vCPU's run loop: one stay in the guest after the other. See vcpu.h for the states. */
#include <errno.h>
#include <string.h>

#include "vcpu/exit.h"
#include "vcpu/vcpu.h"

/* KVM_RUN may say EAGAIN while a vCPU is not ready; one that never gets ready is an error. */
#define MAX_AGAIN 100000u

/*
 * A stay this long gets something done on any host: a guest found where it was then waits in a loop, and making its
 * slices longer would only make the event that it waits for late.
 */
#define PROGRESS_HZ 10000u

/* ---- interrupts ---------------------------------------------------------- */

/* Can something wake a halted vCPU now? if_flag is that of the HLT exit. */
static bool may_wake(const struct kb_vcpu *v)
{
	return v->nmi || (v->intr && v->run->if_flag);
}

/*
 * Hands over what is pending. Only when KVM says the vCPU is ready (VMX fails the entry
 * otherwise, other backends deliver in spite of IF=0); if it is not, the interrupt window
 * makes it exit when it becomes ready, and every other exit looks again.
 */
static int inject(struct kb_vcpu *v, struct kvmbox_error *err)
{
	int rc, vector;

	v->run->request_interrupt_window = 0;
	if (v->nmi) {
		v->nmi = false;
		rc = kb_kvm_ioctl(v->vm->api, v->fd, KVM_NMI, NULL);
		if (rc < 0)
			return kb_fail(err, -rc, "KVM_NMI failed: %s", strerror(-rc));
		v->stats.nmis++;
		v->view.event = true;
	}
	if (!v->intr)
		return 0;
	if (!v->run->ready_for_interrupt_injection) {
		v->run->request_interrupt_window = 1;
		return 0;
	}
	vector = v->client.ack(v->client.opaque);
	if (vector >= 0) {
		struct kvm_interrupt irq = { .irq = (uint32_t)vector };

		rc = kb_kvm_ioctl(v->vm->api, v->fd, KVM_INTERRUPT, &irq);
		if (rc < 0)
			return kb_fail(err, -rc, "KVM_INTERRUPT of vector %d failed: %s", vector, strerror(-rc));
		v->stats.interrupts++;
		v->view.event = true;
		v->run->ready_for_interrupt_injection = 0;
	}
	if (v->intr)
		v->run->request_interrupt_window = 1;
	return 0;
}

/* ---- one stay in the guest ------------------------------------------------ */

static bool ring3(const struct kb_vcpu *v)
{
	return v->sync_regs && v->run->s.regs.sregs.ss.dpl == 3;
}

/* A kick that finds the guest where the last one left it got nothing done: stay longer next time. */
static void watch_progress(struct kb_vcpu *v)
{
	struct kvm_regs now;

	if (v->sync_regs)
		now = v->run->s.regs.regs;
	else if (kb_kvm_ioctl(v->vm->api, v->fd, KVM_GET_REGS, &now) < 0)
		return;
	if (v->kicked && !memcmp(&now, &v->kicked_regs, sizeof(now))) {
		if (v->min_ticks < v->tsc_hz / PROGRESS_HZ)
			v->min_ticks *= 2;
	} else if (v->min_ticks > v->floor_ticks) {
		v->min_ticks -= v->min_ticks / 8;
	}
	v->kicked_regs = now;
	v->kicked = true;
}

/*
 * A kick ended the stay. Precise: what is left of the slice is less than a kick takes, the guest
 * stalls up to its end. Too late: that is the overshoot.
 */
static void end_slice(struct kb_vcpu *v, uint64_t deadline)
{
	uint64_t now = v->clock.now_ps;
	unsigned bucket = 0;

	if (now < deadline) {
		if (v->precise && kb_clock_ticks(&v->clock, deadline - now) <= 2 * v->kick_ticks)
			kb_clock_reach(&v->clock, deadline);
		else
			return; /* the kick was meant for an earlier deadline */
	} else if (now > deadline) {
		uint64_t ns = (now - deadline) / 1000;

		bucket = ns ? 64 - (unsigned)__builtin_clzll(ns) : 1;
		if (bucket >= KB_OVERSHOOT_BUCKETS)
			bucket = KB_OVERSHOOT_BUCKETS - 1;
		if (now - deadline > v->stats.overshoot_max_ps)
			v->stats.overshoot_max_ps = now - deadline;
	}
	v->stats.overshoot[bucket]++;
}

/*
 * Host ticks to stay in the guest for a slice of ticks. Precise slices are left early by what a kick takes. One too
 * short for that is not run at all but stalls (0), unless the last one did: whatever the slices, the guest gets on.
 */
static uint64_t stay(struct kb_vcpu *v, uint64_t ticks)
{
	if (v->precise) {
		if (ticks <= v->kick_ticks && !v->stalled)
			return 0;
		ticks = ticks > v->kick_ticks ? ticks - v->kick_ticks : 0;
	}
	return ticks > v->min_ticks ? ticks : v->min_ticks;
}

/* Does the guest have clocks that it can see moving between two exits? */
static bool shows_clocks(const struct kb_vcpu *v)
{
	return v->pvclock.page || v->tsc.simulated;
}

/* Last thing before an entry: what it reads without an exit shows guest time. */
static int show_clocks(struct kb_vcpu *v, struct kvmbox_error *err)
{
	int rc = kb_guest_tsc_enter(&v->tsc, &v->view, ring3(v), err);

	if (!rc)
		kb_pvclock_show(&v->pvclock, &v->clock, &v->view, v->tsc.offset);
	return rc;
}

/* First thing after an exit at tsc: up to where it may have read them. Without any, too: it learns from each stay. */
static uint64_t clocks_shown(struct kb_vcpu *v, uint64_t tsc, const struct kb_stay *stay, bool access)
{
	const struct kb_view_end end = {
		.tsc = tsc, .ring3 = stay->ring3, .access = access, .kick = v->kick.latest_tsc, .stolen = stay->stolen,
	};
	uint64_t shown = kb_view_close(&v->view, &end);

	kb_guest_tsc_leave(&v->tsc, &v->view, shown);
	return shown;
}

static bool is_access(const struct kvm_run *run)
{
	switch (run->exit_reason) {
	case KVM_EXIT_IO: case KVM_EXIT_MMIO: case KVM_EXIT_HLT: case KVM_EXIT_X86_RDMSR: case KVM_EXIT_X86_WRMSR:
		return true;
	default:
		return false;
	}
}

static int run_failed(struct kb_vcpu *v, int code, struct kvmbox_error *err)
{
	char where[512];

	if (code == EAGAIN && ++v->again < MAX_AGAIN)
		return 0;
	kb_vcpu_where(v, where, sizeof(where));
	if (code == EFAULT)
		return kb_fail(err, code, "KVM_RUN: the guest touched memory the host cannot provide (EFAULT); %s", where);
	return kb_fail(err, code, "KVM_RUN failed: %s; %s", strerror(code), where);
}

/* Enters the guest up to the deadline. Returns 1 for an exit to handle, 0 to go on, negative: the run ends. */
static int enter(struct kb_vcpu *v, uint64_t deadline, struct kvmbox_error *err)
{
	uint64_t t0, shown, ticks = stay(v, kb_clock_ticks(&v->clock, deadline - v->clock.now_ps));
	bool shows = shows_clocks(v);
	struct kb_stay stayed;
	int rc, code;

	v->stalled = !ticks;
	if (v->stalled) {
		v->stats.stalls++;
		kb_clock_reach(&v->clock, deadline);
		return 0;
	}

	if (v->client.get_cr8)
		v->run->cr8 = v->cr8 = v->client.get_cr8(v->client.opaque);
	kb_clock_enter(&v->clock);
	t0 = kb_tsc();
	kb_kick_within(&v->kick, t0, ticks);
	kb_steal_enter(&v->steal, t0);
	kb_view_open(&v->view, t0, ring3(v));
	if (shows) {
		rc = show_clocks(v, err);
		if (rc)
			return rc;
	}
	rc = v->vm->api->ioctl(v->fd, KVM_RUN, NULL);
	code = rc < 0 ? errno : 0;
	stayed.ticks = kb_tsc() - t0;
	stayed.stolen = kb_steal_leave(&v->steal, t0, stayed.ticks);
	stayed.ring3 = ring3(v);
	stayed.kicked = code == EINTR;
	shown = clocks_shown(v, t0 + stayed.ticks, &stayed, !code && is_access(v->run));
	stayed.shown = shows ? shown : 0;

	v->state = KB_VCPU_READY;
	v->stats.entries++;
	v->stats.guest_ticks += stayed.ticks;
	v->stats.stolen_ticks += stayed.stolen;
	kb_clock_account(&v->clock, &stayed);
	if (v->client.set_cr8 && v->run->cr8 != v->cr8)
		v->client.set_cr8(v->client.opaque, (uint8_t)v->run->cr8);
	if (v->client.set_apic_base && v->run->apic_base != v->apic_base)
		v->client.set_apic_base(v->client.opaque, v->apic_base = v->run->apic_base);
	if (code == EINTR) {
		v->stats.exits_kick++;
		watch_progress(v);
		end_slice(v, deadline);
		return 0;
	}
	if (code)
		return run_failed(v, code, err);
	v->again = 0;
	v->kicked = false;
	v->view.event = false;
	return 1;
}

/*
 * KVM completes an access at the next entry; with immediate_exit it does only that. The completion may need another
 * access (a second half, a write after a read), which is served, too. Bounded: an instruction has few.
 */
static int complete_io(struct kb_vcpu *v, struct kvmbox_error *err)
{
	int i, rc;

	for (i = 0; i < 64 && v->state == KB_VCPU_IO_PENDING; i++) {
		__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_RELAXED);
		rc = v->vm->api->ioctl(v->fd, KVM_RUN, NULL);
		v->state = KB_VCPU_READY;
		if (rc == 0)
			rc = kb_exit_handle(v, err);
		else
			rc = errno == EINTR || errno == EAGAIN ? 0 : run_failed(v, errno, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- the loop -------------------------------------------------------------- */

static int end(struct kb_vcpu *v, enum kb_end how)
{
	if (v->end == KB_END_NONE)
		v->end = how;
	return -ECANCELED;
}

/* One step: fire timers, wait or yield if need be, else one stay in the guest and its exit. Non-zero: the run ends. */
static int step(struct kb_vcpu *v, struct kvmbox_error *err)
{
	uint64_t deadline;
	int rc;

	if (v->kick.fired)
		kb_kick_clear(&v->kick);
	if (v->end_requested)
		return end(v, KB_END_REQUESTED);
	if (__atomic_load_n(&v->stop, __ATOMIC_SEQ_CST))
		return end(v, KB_END_STOPPED);
	v->client.advance(v->client.opaque);
	if (v->state == KB_VCPU_HALTED) {
		if (!may_wake(v))
			return v->client.idle(v->client.opaque, err);
		v->state = KB_VCPU_READY;
	}
	deadline = v->client.deadline(v->client.opaque);
	if (deadline <= v->clock.now_ps)
		return v->client.yield(v->client.opaque, err);
	rc = inject(v, err);
	if (!rc)
		rc = enter(v, deadline, err);
	if (rc > 0)
		rc = kb_exit_handle(v, err);
	return rc;
}

enum kb_end kb_vcpu_run(struct kb_vcpu *v, struct kvmbox_error *err)
{
	int rc = kb_kick_bind(&v->kick, err);

	v->end = KB_END_NONE;
	v->end_requested = false;
	kb_kick_clear(&v->kick);
	kb_steal_forget(&v->steal);
	while (!rc)
		rc = step(v, err);
	if (v->end == KB_END_NONE)
		v->end = KB_END_ERROR;
	if (v->end == KB_END_STOPPED || v->end == KB_END_REQUESTED) {
		rc = complete_io(v, err);
		if (rc && v->end != KB_END_SHUTDOWN)
			v->end = KB_END_ERROR;
	}
	if (v->end == KB_END_STOPPED) /* answered; any other end leaves it for the next run */
		__atomic_store_n(&v->stop, false, __ATOMIC_SEQ_CST);
	kb_kick_unbind(&v->kick);
	v->state = v->state == KB_VCPU_HALTED ? KB_VCPU_HALTED : KB_VCPU_READY;
	return v->end;
}
