/* A vCPU's run loop: one stay in the guest after the other. See vcpu.h for the states. */
#include <errno.h>
#include <string.h>

#include "vcpu/exit.h"
#include "vcpu/run.h"
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
 * What waits for the guest to take interrupts: KVM's window, whose exit some KVMs make late. A clock that must not depend
 * on the host steps up to there instead.
 */
static void wait_for_window(struct kb_vcpu *v)
{
	if (v->clock.exact && v->step.emulated && v->step.can[0])
		v->step.why |= KB_STEP_IRQ;
	else
		v->run->request_interrupt_window = 1;
}

static int inject_nmi(struct kb_vcpu *v, struct kvmbox_error *err)
{
	int rc = kb_kvm_ioctl(v->vm->api, v->fd, KVM_NMI, NULL);

	v->nmi = false;
	if (rc < 0)
		return kb_fail(err, -rc, "KVM_NMI failed: %s", strerror(-rc));
	v->stats.nmis++;
	v->view.event = true;
	v->step.nmi = v->step.why != 0;
	return 0;
}

/*
 * Hands over what is pending. Only when KVM says the vCPU is ready (VMX fails the entry
 * otherwise, other backends deliver in spite of IF=0); if it is not, the interrupt window
 * makes it exit when it becomes ready, and every other exit looks again.
 */
static int inject(struct kb_vcpu *v, struct kvmbox_error *err)
{
	int rc, vector = -1;

	if (v->step.vector >= 0) /* KVM has not delivered the last one yet */
		return 0;
	v->run->request_interrupt_window = 0;
	v->step.why &= ~(unsigned)KB_STEP_IRQ;
	if (v->nmi) {
		rc = inject_nmi(v, err);
		if (rc)
			return rc;
	}
	if (!v->intr || v->step.nmi) /* stepping takes one at a time */
		return 0;
	if (!v->run->ready_for_interrupt_injection) {
		wait_for_window(v);
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
		wait_for_window(v);
	if (v->step.why)
		v->step.vector = vector;
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

	if (now < deadline) {
		if (v->precise && kb_clock_ticks(&v->clock, deadline - now) <= 2 * v->kick_ticks)
			kb_clock_reach(&v->clock, deadline);
		else
			return; /* the kick was meant for an earlier deadline */
	}
	kb_histogram_add(&v->stats.overshoot, now > deadline ? now - deadline : 0);
}

/* For the statistics: a stay is over. */
static void count_stay(struct kb_vcpu *v, const struct kb_stay *stay)
{
	uint64_t cost = v->exit_ticks[stay->ring3];
	uint64_t stolen = stay->stolen < stay->ticks ? stay->stolen : stay->ticks;
	uint64_t rest = stay->ticks - stolen;

	v->stats.entries++;
	v->stats.guest_ticks += stay->ticks;
	v->stats.stolen_ticks += stolen;
	v->stats.kvm_ticks += rest < cost ? rest : cost;
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

/* Does the guest have clocks that it can see moving between two exits? Stepped, its page does not. */
static bool shows_clocks(const struct kb_vcpu *v)
{
	return (v->pvclock.page && !v->step.armed) || v->tsc.simulated;
}

/* Last thing before an entry: what it reads without an exit shows guest time. */
static int show_clocks(struct kb_vcpu *v, struct kvmbox_error *err)
{
	int rc = kb_guest_tsc_enter(&v->tsc, &v->view, ring3(v), err);

	if (rc)
		return rc;
	if (v->step.armed)
		kb_pvclock_show_step(&v->pvclock, &v->clock, v->exited);
	else
		kb_pvclock_show(&v->pvclock, &v->clock, &v->view, v->tsc.offset);
	return 0;
}

/* First thing after an exit: up to where it may have read them. Without any, too: it learns from each stay. */
static uint64_t clocks_shown(struct kb_vcpu *v, const struct kb_stay *stay, bool access)
{
	const struct kb_view_end end = {
		.tsc = stay->left, .ring3 = stay->ring3, .access = access, .kick = v->kick.latest_tsc, .stolen = stay->stolen,
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

/* An exit that exists because of how this host runs the guest: no time of the guest's. */
static bool is_hosts(const struct kvm_run *run)
{
	return run->exit_reason == KVM_EXIT_DEBUG ||
		(run->exit_reason == KVM_EXIT_INTERNAL_ERROR && run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION);
}

int kb_run_failed(struct kb_vcpu *v, int code, struct kvmbox_error *err)
{
	char where[512];

	if (code == EAGAIN && ++v->again < MAX_AGAIN)
		return 0;
	kb_vcpu_where(v, where, sizeof(where));
	if (code == EFAULT)
		return kb_fail(err, code, "KVM_RUN: the guest touched memory the host cannot provide (EFAULT); %s", where);
	return kb_fail(err, code, "KVM_RUN failed: %s; %s", strerror(code), where);
}

int kb_run_stay(struct kb_vcpu *v, uint64_t ticks, struct kb_stay *stay, struct kvmbox_error *err)
{
	uint64_t t0, shown;
	bool shows = shows_clocks(v);
	int rc, code;

	if (v->client.get_cr8)
		v->run->cr8 = v->cr8 = v->client.get_cr8(v->client.opaque);
	kb_clock_enter(&v->clock);
	t0 = kb_tsc();
	kb_kick_within(&v->kick, t0, ticks);
	kb_steal_enter(&v->steal, t0);
	kb_view_open(&v->view, t0, ring3(v));
	if (shows || v->pvclock.page) {
		rc = show_clocks(v, err);
		if (rc)
			return rc;
	}
	rc = v->vm->api->ioctl(v->fd, KVM_RUN, NULL);
	code = rc < 0 ? errno : 0;
	*stay = (struct kb_stay){ .left = kb_tsc(), .ring3 = ring3(v), .kicked = code == EINTR,
		.stepped = !code && is_hosts(v->run) };
	stay->ticks = stay->left - t0;
	stay->stolen = kb_steal_leave(&v->steal, t0, stay->ticks);
	shown = clocks_shown(v, stay, !code && is_access(v->run));
	stay->shown = shows ? shown : 0;
	v->exited = !stay->stepped;
	if (!code)
		v->view.event = false;

	v->state = KB_VCPU_READY;
	count_stay(v, stay);
	if (v->client.set_cr8 && v->run->cr8 != v->cr8)
		v->client.set_cr8(v->client.opaque, (uint8_t)v->run->cr8);
	if (v->client.set_apic_base && v->run->apic_base != v->apic_base)
		v->client.set_apic_base(v->client.opaque, v->apic_base = v->run->apic_base);
	return code;
}

/* Entries in a row that a signal ended where a #BP may wait. Each long enough to deliver it, none as long as the one before: loops do resonate. */
#define MAX_OWED 16

/* One stay, on the clock. Result as kb_run_stay(). */
static int run_freely(struct kb_vcpu *v, uint64_t ticks, struct kvmbox_error *err)
{
	struct kb_stay stayed;
	int i, code;

	for (i = 0;; i++) {
		code = kb_run_stay(v, ticks, &stayed, err);
		if (code >= 0)
			kb_clock_account(&v->clock, &stayed);
		if (code != EINTR || i == MAX_OWED || !kb_step_owes_trap(v))
			return code;
		kb_kick_clear(&v->kick);
		ticks = v->tsc_hz / PROGRESS_HZ * (8 + (unsigned)i) / 8;
	}
}

/* Enters the guest up to the deadline. Returns 1 for an exit to handle, 0 to go on, negative: the run ends. */
static int enter(struct kb_vcpu *v, uint64_t deadline, struct kvmbox_error *err)
{
	uint64_t ticks = stay(v, kb_clock_ticks(&v->clock, deadline - v->clock.now_ps));
	int code;

	v->stalled = !ticks;
	if (v->stalled) {
		v->stats.stalls++;
		kb_clock_reach(&v->clock, deadline);
		return 0;
	}
	code = kb_assist_arm(v, err);
	if (!code)
		code = run_freely(v, ticks, err);
	if (code < 0)
		return code;
	if (code == EINTR) {
		v->stats.exits[KB_EXIT_KICK]++;
		watch_progress(v);
		end_slice(v, deadline);
		kb_assist_kicked(v);
		return 0;
	}
	if (code)
		return kb_run_failed(v, code, err);
	v->again = 0;
	v->kicked = false;
	return 1;
}

static bool stepping(const struct kb_vcpu *v)
{
	return v->step.why || v->step.armed;
}

/*
 * KVM completes an access at the next entry; with immediate_exit it does only that. The completion may need another
 * access (a second half, a write after a read), which is served, too. Bounded: an instruction has few.
 */
static int complete_io(struct kb_vcpu *v, struct kvmbox_error *err)
{
	int i, rc;

	for (i = 0; i < 64 && v->state == KB_VCPU_IO_PENDING; i++) {
		if (stepping(v) || v->count.on) {
			rc = kb_step_complete(v, err);
			if (rc)
				return rc;
			continue;
		}
		__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_RELAXED);
		rc = v->vm->api->ioctl(v->fd, KVM_RUN, NULL);
		v->state = KB_VCPU_READY;
		if (rc == 0)
			rc = kb_exit_handle(v, err);
		else
			rc = errno == EINTR || errno == EAGAIN ? 0 : kb_run_failed(v, errno, err);
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

/* Enters the guest for one instruction; or no more, the reason is gone. */
static int enter_stepping(struct kb_vcpu *v, uint64_t deadline, struct kvmbox_error *err)
{
	int rc;

	if (kb_step_may_glide(v)) {
		rc = kb_step_glide(v, err);
		if (!rc)
			rc = enter(v, deadline, err);
		if (rc <= 0 || v->run->exit_reason != KVM_EXIT_DEBUG)
			return rc;
		kb_assist_syscall(v);
		return 0;
	}
	if (v->step.why)
		return kb_step_enter(v, deadline - v->clock.now_ps, err);
	rc = kb_step_leave(v, err);
	kb_step_forget(v);
	return rc ? rc : enter(v, deadline, err);
}

/* INIT and SIPI take effect between instructions: the access under way, maybe the one that sent them, is done first. */
static int take_signals(struct kb_vcpu *v, struct kvmbox_error *err)
{
	int rc = complete_io(v, err);

	if (rc)
		return rc;
	if (v->init) {
		v->init = false;
		rc = kb_vcpu_start_init(v, err);
	}
	if (!rc && v->sipi >= 0 && v->state == KB_VCPU_WAITS_FOR_SIPI)
		rc = kb_vcpu_start_sipi(v, (uint8_t)v->sipi, err);
	v->sipi = -1;
	return rc;
}

/* The exit, unless it has to wait for vCPUs whose time is earlier. */
static int serve(struct kb_vcpu *v, struct kvmbox_error *err)
{
	v->exit_waits = v->client.first && !v->client.first(v->client.opaque);
	return v->exit_waits ? 0 : kb_exit_handle(v, err);
}

int kb_vcpu_step(struct kb_vcpu *v, struct kvmbox_error *err)
{
	uint64_t deadline;
	int rc;

	if (v->kick.fired)
		kb_kick_clear(&v->kick);
	if (v->end_requested)
		return end(v, KB_END_REQUESTED);
	if (__atomic_load_n(&v->stop, __ATOMIC_SEQ_CST))
		return end(v, KB_END_STOPPED);
	if (v->exit_waits)
		return serve(v, err);
	if (v->init || v->sipi >= 0)
		return take_signals(v, err);
	if ((stepping(v) || v->count.on) && v->state == KB_VCPU_IO_PENDING) /* counts, and no PMU counts it */
		return kb_step_complete(v, err);
	if (v->count.on && (rc = kb_count_enter(v, err)) != 0)
		return rc;
	if (stepping(v)) {
		if (v->step.why & KB_STEP_COUNT && !v->step.left)
			return end(v, KB_END_COUNTED);
		if (!v->step.armed && (rc = kb_step_begin(v, err)) != 0)
			return rc;
	}
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
	if (!rc && stepping(v) && v->state == KB_VCPU_IO_PENDING) /* a reason has come up; registers are not to be touched yet */
		return kb_step_complete(v, err);
	if (!rc)
		rc = stepping(v) ? enter_stepping(v, deadline, err) : enter(v, deadline, err);
	if (rc >= 0 && v->count.on) {
		int counted = kb_count_leave(v, rc > 0, err);

		rc = counted ? counted : rc;
	}
	return rc > 0 ? serve(v, err) : rc;
}

bool kb_vcpu_awake(struct kb_vcpu *v, uint64_t t)
{
	bool awake = v->init || v->sipi >= 0 || v->exit_waits ||
		(v->state == KB_VCPU_HALTED ? may_wake(v) : v->state != KB_VCPU_WAITS_FOR_SIPI);

	if (awake && v->asleep)
		kb_clock_reach(&v->clock, t);
	v->asleep = !awake;
	return awake;
}

int kb_vcpu_begin(struct kb_vcpu *v, struct kvmbox_error *err)
{
	int rc = kb_kick_bind(&v->kick, err);

	v->end = KB_END_NONE;
	v->end_requested = false;
	kb_kick_clear(&v->kick);
	kb_steal_forget(&v->steal);
	return rc ? rc : kb_clock_attach(&v->clock, err);
}

/* What has been begun is done: an exit that waits, an access under way, stepping. */
static int settle(struct kb_vcpu *v, struct kvmbox_error *err)
{
	int rc = 0;

	if (v->exit_waits) {
		v->exit_waits = false;
		rc = kb_exit_handle(v, err);
	}
	if (!rc)
		rc = complete_io(v, err);
	return rc ? rc : kb_step_leave(v, err);
}

enum kb_end kb_vcpu_finish(struct kb_vcpu *v, struct kvmbox_error *err)
{
	if (v->end == KB_END_NONE)
		v->end = KB_END_ERROR;
	if (v->end == KB_END_STOPPED || v->end == KB_END_COUNTED || v->end == KB_END_REQUESTED) {
		if (settle(v, err) && v->end != KB_END_SHUTDOWN)
			v->end = KB_END_ERROR;
	}
	if (v->end == KB_END_COUNTED)
		v->step.why &= ~(unsigned)KB_STEP_COUNT;
	if (v->end == KB_END_STOPPED) /* answered; any other end leaves it for the next run */
		__atomic_store_n(&v->stop, false, __ATOMIC_SEQ_CST);
	kb_kick_unbind(&v->kick);
	if (v->state != KB_VCPU_HALTED && v->state != KB_VCPU_WAITS_FOR_SIPI)
		v->state = KB_VCPU_READY;
	return v->end;
}

enum kb_end kb_vcpu_run(struct kb_vcpu *v, struct kvmbox_error *err)
{
	int rc = kb_vcpu_begin(v, err);

	while (!rc)
		rc = kb_vcpu_step(v, err);
	return kb_vcpu_finish(v, err);
}
