/* The C ABI: life cycle, run, and how guest and simulator take turns. */
#include "platforms/box.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "platforms/config.h"

/*
 * Things may happen at the very time the guest has reached (delta cycles); they get this many turns before the guest
 * goes on, so that an interrupt they raise is not late. Bounded: a simulator may be busy at one time for ever.
 */
#define MAX_TURNS_AT_ONE_TIME 16

/* A check_wait that keeps returning without moving the simulator's time is broken. */
#define MAX_FUTILE_WAITS 1000

/* So is one that lets the guest sleep for ever without an event; but input that does not wake it may come at one time. */
#define MAX_FUTILE_IDLES 1000000

/* Times are added to without a check for wrap: no guest lives that long (213 days), but a target's delay may say so. */
#define END_OF_TIME (KVMBOX_TIME_NEVER - 2 * KB_CONFIG_TIME_MAX)

/* ---- time --------------------------------------------------------------------- */

void kb_box_refresh(struct kvmbox_box *box)
{
	box->sim_ps = box->ops->now(box->opaque);
	box->event_ps = kb_box_sees_events(box) ? box->ops->next_event(box->opaque) : KVMBOX_TIME_NEVER;
}

static bool wait_for(struct kvmbox_box *box, uint64_t t, enum kvmbox_wait how)
{
	enum kb_host host = kb_box_host(box, KB_HOST_SIMULATOR);

	box->yields++;
	if (box->ops->check_wait(box->opaque, t, how) < 0)
		box->cancelled = true;
	kb_box_refresh(box);
	kb_box_host(box, host);
	return !box->cancelled;
}

bool kb_box_catch_up(struct kvmbox_box *box)
{
	struct kb_vcpu *vcpu = box->pc->vcpu;
	unsigned futile = 0;

	if (box->cancelled)
		return false;
	while (box->sim_ps < vcpu->clock.now_ps) {
		uint64_t before = box->sim_ps;

		if (!wait_for(box, vcpu->clock.now_ps, KVMBOX_WAIT_UNTIL))
			return false;
		if (box->sim_ps == before && ++futile == MAX_FUTILE_WAITS) {
			kb_fail(&box->failure, EIO,
				"check_wait(%" PRIu64 " ps) returned %d times while now() stays at %" PRIu64 " ps; it must not return 0 before the simulator has got there",
				vcpu->clock.now_ps, MAX_FUTILE_WAITS, before);
			box->cancelled = true;
			return false;
		}
	}
	/* The simulator may have gone on (another process paused the kernel, say): the guest was stalled. */
	kb_clock_reach(&vcpu->clock, box->sim_ps);
	return true;
}

void kb_box_turn(struct kvmbox_box *box)
{
	if (!box->cancelled)
		wait_for(box, box->sim_ps, KVMBOX_WAIT_UNTIL);
	kb_clock_reach(&box->pc->vcpu->clock, box->sim_ps);
}

void kb_box_push(struct kvmbox_box *box, struct kvmbox_function *f)
{
	enum kb_host host = kb_box_host(box, KB_HOST_SIMULATOR);

	if (box->ops->push && box->ops->push(box->opaque, f) < 0)
		box->cancelled = true;
	kb_box_refresh(box);
	kb_box_host(box, host);
	kb_clock_reach(&box->pc->vcpu->clock, box->sim_ps);
}

/* With bus latency several are under way; those between first and last are at most that latency apart from one of them. */
void kb_box_due(struct kvmbox_box *box, uint64_t t)
{
	if (t < box->due_ps)
		box->due_ps = t;
	box->last_due_ps = t;
}

/* Has the simulator reached a posted write's arrival? Then the next one is waited for. */
static bool arrived(struct kvmbox_box *box)
{
	if (box->due_ps > box->sim_ps)
		return false;
	box->due_ps = box->last_due_ps > box->sim_ps ? box->last_due_ps : KVMBOX_TIME_NEVER;
	return true;
}

/* True: the run has to end because no time is left. */
static bool time_is_up(struct kvmbox_box *box)
{
	if (kb_box_now(box) < END_OF_TIME && box->sim_ps < END_OF_TIME)
		return false;
	kb_fail(&box->failure, EOVERFLOW,
		"simulated time is used up (guest at %" PRIu64 " ps, simulator at %" PRIu64 " ps; it ends at about 213 days): did a target return a delay out of all bounds?",
		kb_box_now(box), box->sim_ps);
	return box->cancelled = true;
}

/* The guest may run up to t, when why ends the slice. An open one goes on, unless it is over. */
static void limit_slice(struct kvmbox_box *box, uint64_t t, enum kb_slice_end why)
{
	struct kb_slice *slice = &box->slice;
	uint64_t now = kb_box_now(box);

	if (now >= slice->end_ps)
		kb_box_end_slice(box, slice->why);
	else if (now >= t)
		kb_box_end_slice(box, why);
	slice->open = now < t;
	slice->end_ps = t;
	slice->why = why;
}

static uint64_t host_deadline(void *opaque)
{
	struct kvmbox_box *box = opaque;
	uint64_t t, timer = kb_timers_next(&box->pc->timers);
	enum kb_slice_end why = KB_SLICE_QUANTUM;

	box->futile_idles = 0; /* it is awake */
	if (box->cancelled || time_is_up(box))
		return 0; /* yield at once, which ends the run */
	t = box->sim_ps + box->cfg.quantum_ps;
	if (timer < t) {
		t = timer;
		why = KB_SLICE_TIMER;
	}
	if (box->due_ps < t) {
		t = box->due_ps;
		why = KB_SLICE_EVENT;
	}
	if (box->event_ps < t) {
		t = box->event_ps;
		why = KB_SLICE_EVENT;
	}
	limit_slice(box, t, why);
	return t;
}

static int cancelled(struct kvmbox_box *box, struct kvmbox_error *err)
{
	if (box->failure.msg[0]) {
		if (err)
			*err = box->failure;
		box->pc->vcpu->end = KB_END_ERROR;
		return -EIO;
	}
	box->pc->vcpu->end = KB_END_STOPPED;
	return -ECANCELED;
}

bool kb_box_settle(struct kvmbox_box *box)
{
	uint64_t now;
	unsigned turns;
	bool due;

	if (!kb_box_catch_up(box))
		return false;
	now = kb_box_now(box);
	due = arrived(box);
	for (turns = 0; (due || box->event_ps <= now) && turns < MAX_TURNS_AT_ONE_TIME; turns++) {
		if (!wait_for(box, now, KVMBOX_WAIT_UNTIL))
			return false;
		due = false;
	}
	if (box->event_ps <= now)
		box->event_ps = KVMBOX_TIME_NEVER;
	kb_clock_reach(&box->pc->vcpu->clock, box->sim_ps); /* a turn may have taken time (a pause) */
	return true;
}

static int host_yield(void *opaque, struct kvmbox_error *err)
{
	struct kvmbox_box *box = opaque;

	if (box->cancelled || time_is_up(box) || !kb_box_settle(box))
		return cancelled(box, err);
	return 0;
}

static int host_idle(void *opaque, struct kvmbox_error *err)
{
	struct kvmbox_box *box = opaque;
	uint64_t until = kb_timers_next(&box->pc->timers), before = box->sim_ps;

	kb_box_end_slice(box, KB_SLICE_HALT);
	if (box->cancelled || time_is_up(box) || !wait_for(box, until, KVMBOX_WAIT_IDLE))
		return cancelled(box, err);
	box->futile_idles = box->sim_ps == before ? box->futile_idles + 1 : 0;
	if (box->futile_idles == MAX_FUTILE_IDLES) {
		kb_fail(&box->failure, EIO,
			"check_wait(%" PRIu64 " ps, idle) returned %d times while now() stays at %" PRIu64 " ps and nothing wakes the guest; with nothing to wait for it must return a negative value",
			until, MAX_FUTILE_IDLES, before);
		return cancelled(box, err);
	}
	/* Woken, or the time has come; either way the guest slept until now. */
	arrived(box);
	kb_clock_reach(&box->pc->vcpu->clock, box->sim_ps);
	return 0;
}

/* ---- life ------------------------------------------------------------------------ */

static void to_log(void *opaque, enum kvmbox_log_level level, const char *msg)
{
	struct kvmbox_box *box = opaque;
	enum kb_host host = kb_box_host(box, KB_HOST_SIMULATOR);

	if (box->ops->log)
		box->ops->log(box->opaque, level, msg);
	kb_box_host(box, host);
}

int kb_box_create(struct kvmbox_box **out, const struct kvmbox_config *cfg, const struct kvmbox_ops *ops, void *opaque,
		  const struct kb_kvm_api *api, struct kvmbox_error *err)
{
	struct kb_pc_host host = { .deadline = host_deadline, .yield = host_yield, .idle = host_idle };
	struct kb_log log = { .fn = to_log };
	struct kvmbox_box *box;
	int rc;

	*out = NULL;
	if (!ops || !ops->check_wait || !ops->now || !ops->transport)
		return kb_fail(err, EINVAL, "kvmbox_ops must have check_wait, now and transport");
	if (ops->post && !ops->push)
		return kb_fail(err, EINVAL, "kvmbox_ops with post must have push");
	rc = kb_config_check(cfg, err);
	if (rc)
		return rc;
	box = calloc(1, sizeof(*box));
	if (!box)
		return kb_fail(err, ENOMEM, "out of memory creating the box");
	rc = kvmbox_config_copy(&box->cfg, cfg);
	if (rc) {
		free(box);
		return kb_fail(err, ENOMEM, "out of memory creating the box");
	}
	box->ops = ops;
	box->opaque = opaque;
	box->event_ps = box->due_ps = KVMBOX_TIME_NEVER;
	host.opaque = log.opaque = box;
	rc = kb_pc_create(&box->pc, &box->cfg, api, &log, &host, err);
	if (rc) {
		kvmbox_destroy(box);
		return rc;
	}
	*out = box;
	return 0;
}

int kvmbox_create(struct kvmbox_box **out, const struct kvmbox_config *cfg, const struct kvmbox_ops *ops, void *opaque,
		  struct kvmbox_error *err)
{
	return kb_box_create(out, cfg, ops, opaque, &kb_kvm_linux, err);
}

void kvmbox_destroy(struct kvmbox_box *box)
{
	if (!box)
		return;
	kb_pc_destroy(box->pc);
	while (box->functions) {
		struct kvmbox_function *f = box->functions;

		box->functions = f->next;
		free(f);
	}
	kvmbox_config_clear(&box->cfg);
	free(box);
}

/* ---- run --------------------------------------------------------------------------- */

static int start(struct kvmbox_box *box, struct kvmbox_error *err)
{
	int rc;

	if (box->started)
		return 0;
	rc = kb_pc_start(box->pc, err);
	if (!rc)
		box->started = true;
	return rc;
}

/* One run of the vCPU; true: the guest was reset and goes on. */
static bool run_once(struct kvmbox_box *box, struct kvmbox_error *err, int *rc)
{
	switch (kb_pc_run(box->pc, err)) {
	case KB_END_STOPPED:
		box->end = KVMBOX_END_STOPPED;
		return false;
	case KB_END_COUNTED:
		box->end = KVMBOX_END_COUNTED;
		return false;
	case KB_END_REQUESTED:
		if (!box->pc->reset_wanted) {
			box->end = box->pc->powered_off ? KVMBOX_END_POWEROFF : KVMBOX_END_EXIT;
			return false;
		}
		if (box->cfg.reset_ends) {
			box->end = KVMBOX_END_RESET;
			return false;
		}
		/* What left the CPU before the reset arrives before it, too. */
		kb_box_push(box, NULL);
		*rc = kb_pc_reset(box->pc, err);
		return *rc == 0;
	case KB_END_SHUTDOWN:
		box->end = KVMBOX_END_SHUTDOWN;
		*rc = -EIO;
		return false;
	default:
		*rc = -EIO;
		return false;
	}
}

static void begin_statistics(struct kvmbox_box *box)
{
	box->run_from_ps = kb_box_now(box);
	box->host.now = KB_HOST_BOX;
	box->host.since = kb_tsc();
}

static void end_statistics(struct kvmbox_box *box)
{
	kb_box_end_slice(box, KB_SLICE_END);
	kb_box_host(box, KB_HOST_OUTSIDE);
	box->run_ps += kb_box_now(box) - box->run_from_ps;
	box->run_from_ps = kb_box_now(box);
}

static void log_assists(const struct kvmbox_box *box)
{
	struct kb_vcpu_stats sum = { 0 };

	kb_pc_stats(box->pc, &sum);
	kb_assist_log(&box->pc->log, sum.assists);
}

int kvmbox_run(struct kvmbox_box *box, struct kvmbox_error *err)
{
	int rc;

	if (box->running)
		return kb_fail(err, EBUSY, "kvmbox_run() was called from within a callback of kvmbox_run()");
	if (box->end != KVMBOX_END_NONE && box->end != KVMBOX_END_STOPPED && box->end != KVMBOX_END_COUNTED)
		return kb_fail(err, EINVAL, "the guest has ended; create a new box to run it again");
	if (!box->cfg.guest)
		return kb_fail(err, EINVAL, "there is nothing to run: give the box a guest program (guest=PATH)");
	rc = start(box, err);
	if (rc)
		return rc;
	box->running = true;
	box->cancelled = false;
	box->end = KVMBOX_END_NONE;
	kb_box_refresh(box);
	kb_clock_reach(&box->pc->vcpu->clock, box->sim_ps);
	begin_statistics(box);
	while (run_once(box, err, &rc))
		;
	if (rc && box->end == KVMBOX_END_NONE)
		box->end = KVMBOX_END_ERROR;
	end_statistics(box);
	box->running = false;
	if (box->end != KVMBOX_END_STOPPED && box->end != KVMBOX_END_COUNTED)
		log_assists(box);
	return rc;
}

enum kvmbox_end_reason kvmbox_end(const struct kvmbox_box *box)
{
	return box->end;
}

int kvmbox_exit_status(const struct kvmbox_box *box)
{
	return box->pc->exit_status;
}

void kvmbox_stop(struct kvmbox_box *box)
{
	kb_pc_stop(box->pc);
}

int kvmbox_stop_after(struct kvmbox_box *box, uint64_t instructions, struct kvmbox_error *err)
{
	if (box->pc->cpus > 1)
		return kb_fail(err, EOPNOTSUPP, "kvmbox_stop_after() counts the instructions of one CPU, and this box has %u", box->pc->cpus);
	return kb_vcpu_stop_after(box->pc->vcpu, instructions, err);
}

uint64_t kvmbox_time(const struct kvmbox_box *box)
{
	return kb_box_now(box);
}

int kvmbox_set_quantum(struct kvmbox_box *box, uint64_t quantum_ps)
{
	if (quantum_ps == 0 || quantum_ps > KB_CONFIG_TIME_MAX)
		return -EINVAL;
	box->cfg.quantum_ps = quantum_ps;
	return 0;
}

const struct kvmbox_config *kvmbox_get_config(const struct kvmbox_box *box)
{
	return &box->cfg;
}

void kvmbox_power_button(struct kvmbox_box *box)
{
	kb_acpi_pm_power_button(box->pc->acpi_pm);
}

/* ---- consoles ------------------------------------------------------------------------ */

size_t kvmbox_serial_output(struct kvmbox_box *box, const char **text)
{
	return kb_chardev_output(box->pc->serial, text);
}

int kvmbox_serial_input(struct kvmbox_box *box, const void *bytes, size_t len)
{
	int rc = kb_chardev_feed(box->pc->serial, bytes, len);

	if (!rc)
		kb_uart_poll(box->pc->uart);
	return rc;
}

size_t kvmbox_poll_fds(const struct kvmbox_box *box, int *fds, size_t max)
{
	size_t n = kb_chardev_fds(box->pc->serial, fds, max);

	n += kb_chardev_fds(box->pc->debugcon, fds + n, max - n);
	for (const struct kvmbox_watch *w = box->watches; w; w = w->next)
		n += w->fds(w->opaque, fds + n, max - n);
	return n;
}

bool kvmbox_poll(struct kvmbox_box *box)
{
	bool any = kb_uart_poll(box->pc->uart);
	struct kvmbox_watch *w, *next;

	any |= kb_chardev_poll(box->pc->debugcon);
	for (w = box->watches; w; w = next) {
		next = w->next;
		any |= w->poll(w->opaque);
	}
	return any;
}

void kvmbox_add_watch(struct kvmbox_box *box, struct kvmbox_watch *watch)
{
	watch->next = box->watches;
	box->watches = watch;
}

void kvmbox_remove_watch(struct kvmbox_box *box, struct kvmbox_watch *watch)
{
	struct kvmbox_watch **p = &box->watches;

	while (*p && *p != watch)
		p = &(*p)->next;
	if (*p)
		*p = watch->next;
}

/* ---- statistics ------------------------------------------------------------------------- */

static uint64_t to_ns(const struct kvmbox_box *box, uint64_t ticks)
{
	return (uint64_t)((unsigned __int128)ticks * 1000000000u / box->pc->vcpu->tsc_hz);
}

/* Only the simulator knows when it sleeps; what it says is believed as far as the time was its own. */
void kvmbox_slept(struct kvmbox_box *box, uint64_t host_ns)
{
	struct kb_host_time *h = &box->host;
	unsigned __int128 slept = (unsigned __int128)host_ns * box->pc->vcpu->tsc_hz / 1000000000u;
	uint64_t t = kb_tsc(), *simulator = &h->ticks[KB_HOST_SIMULATOR];

	if (h->now != KB_HOST_SIMULATOR)
		return;
	*simulator += t - h->since;
	h->since = t;
	if (slept > *simulator)
		slept = *simulator;
	*simulator -= (uint64_t)slept;
	h->ticks[KB_HOST_IDLE] += (uint64_t)slept;
}

/* All parts, in host TSC ticks, as of now: a run may be under way. */
static void get_host_time(const struct kvmbox_box *box, const struct kb_vcpu_stats *v, struct kvmbox_stats *s)
{
	struct kb_host_time h = box->host;
	uint64_t guest = v->guest_ticks - v->stolen_ticks - v->kvm_ticks;

	if (h.now != KB_HOST_OUTSIDE)
		h.ticks[h.now] += kb_tsc() - h.since;
	s->host_guest_ns = to_ns(box, guest);
	s->host_exits_ns = to_ns(box, h.ticks[KB_HOST_BOX] - guest - v->stolen_ticks);
	s->host_stolen_ns = to_ns(box, v->stolen_ticks);
	s->host_kvm_ns = to_ns(box, v->kvm_ticks);
	s->host_simulator_ns = to_ns(box, h.ticks[KB_HOST_SIMULATOR]);
	s->host_idle_ns = to_ns(box, h.ticks[KB_HOST_IDLE]);
	s->host_ns = s->host_guest_ns + s->host_stolen_ns + s->host_exits_ns + s->host_simulator_ns + s->host_idle_ns;
}

_Static_assert(KVMBOX_OVERSHOOT_BUCKETS == KB_HISTOGRAM_BUCKETS, "the buckets are the histogram's");
_Static_assert(KB_EXIT_KINDS == 9 && KB_SLICE_ENDS == 6 && KB_ASSIST_KINDS == 8,
	       "each has a field in struct kvmbox_stats, a line below, and two in stats.c, for the table and JSON");

void kvmbox_get_stats(const struct kvmbox_box *box, struct kvmbox_stats *s)
{
	const struct kb_vm *vm = box->pc->vm;
	const uint64_t *ended = box->slice.ended;
	struct kb_vcpu_stats sum = { 0 };
	const struct kb_vcpu_stats *v = &sum;
	const uint64_t *exits = v->exits, *assists = v->assists;
	unsigned i;

	kb_pc_stats(box->pc, &sum);
	*s = (struct kvmbox_stats){
		.guest_ps = kb_box_now(box), .simulated_ps = box->run_ps,
		.entries = v->entries,
		.exits_mmio = exits[KB_EXIT_MMIO], .exits_pio = exits[KB_EXIT_PIO], .exits_hlt = exits[KB_EXIT_HLT],
		.exits_kick = exits[KB_EXIT_KICK], .exits_window = exits[KB_EXIT_WINDOW],
		.exits_msr = exits[KB_EXIT_MSR], .exits_step = exits[KB_EXIT_STEP], .exits_assist = exits[KB_EXIT_ASSIST],
		.exits_other = exits[KB_EXIT_OTHER],
		.slices_quantum = ended[KB_SLICE_QUANTUM], .slices_timer = ended[KB_SLICE_TIMER],
		.slices_event = ended[KB_SLICE_EVENT], .slices_access = ended[KB_SLICE_ACCESS],
		.slices_halt = ended[KB_SLICE_HALT], .slices_end = ended[KB_SLICE_END],
		.assists_syscall = assists[KB_ASSIST_SYSCALL], .assists_fault = assists[KB_ASSIST_FAULT],
		.assists_int = assists[KB_ASSIST_INT], .assists_xsave = assists[KB_ASSIST_XSAVE],
		.assists_system = assists[KB_ASSIST_SYSTEM], .assists_integer = assists[KB_ASSIST_INTEGER],
		.assists_native = assists[KB_ASSIST_NATIVE], .assists_undefined = assists[KB_ASSIST_UNDEFINED],
		.stalls = v->stalls, .yields = box->yields,
		.steps = v->steps, .interrupts = v->interrupts, .nmis = v->nmis, .msis = box->pc->msis,
		.transports = box->transports, .transport_errors = box->transport_errors,
		.dma_bytes = box->dma_bytes, .dma_errors = box->dma_errors,
		.unassigned = vm->mem.unassigned_reads + vm->mem.unassigned_writes + vm->io.unassigned_reads +
			vm->io.unassigned_writes,
		.overshoot_max_ps = v->overshoot.max_ps,
	};
	if (box->running)
		s->simulated_ps += kb_box_now(box) - box->run_from_ps;
	for (i = 0; i < KB_SLICE_ENDS; i++)
		s->slices += ended[i];
	for (i = 0; i < KB_EXIT_KINDS; i++)
		s->exits += exits[i];
	memcpy(s->overshoot, v->overshoot.count, sizeof(s->overshoot));
	get_host_time(box, v, s);
}
