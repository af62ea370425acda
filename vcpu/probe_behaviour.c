/* What is measured and tried with the micro guest: see probe_behaviour.h. */
#include "vcpu/probe_behaviour.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#include "vcpu/probe_assists.h"
#include "vcpu/probe_guest.h"
#include "vcpu/probe_vm.h"

#define EXITS      200                /* samples of each ring's exit cost */
#define KICKS      15
#define KICK_NS    100000             /* work before a measured kick */
#define LOOPS      1000               /* rounds of two instructions */
#define EMULATED_PS 300000            /* a round slower than this is emulated: CPU 0.5 ns (and a loaded host), emulator over 1 us */
#define TSC_SLACK  100000             /* host ticks that two CPUs may differ by */

/* Ends of the instructions at kb_pg_steps. */
static const unsigned step_ends[] = { 1, 3, 6, 11, 14, 15 };

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t median_ps(int64_t *ns, size_t n)
{
	qsort(ns, n, sizeof(*ns), by_value);
	return ns[n / 2] > 0 ? (uint64_t)ns[n / 2] * 1000 : 1;
}

/* ---- what is measured -------------------------------------------------------
 * Each function returns 0 with its findings in *b, or -errno if the vCPU cannot go on.
 */

/* The first thing tried: if ring 0 code does not even get to a port, nothing will. */
static int check_alive(struct kb_probe_vm *g, struct kvmbox_error *err)
{
	const struct kvm_run *run = g->run;
	int rc = kb_probe_piece(g, kb_pg_out, 0, 0, PG_PORT_OUT);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (g->kicked)
		return kb_fail(err, ETIMEDOUT, "KVM runs no guest: a test guest of one instruction did not end in time");
	if (run->exit_reason == KVM_EXIT_FAIL_ENTRY)
		return kb_fail(err, EIO, "KVM runs no guest: the CPU refused entry, hardware reason 0x%" PRIx64,
			       (uint64_t)run->fail_entry.hardware_entry_failure_reason);
	if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		return kb_fail(err, EIO, "KVM runs no guest: internal error %u at the test guest's first instruction",
			       run->internal.suberror);
	return kb_fail(err, EIO, "KVM runs no guest: exit reason %u at the test guest's first instruction",
		       run->exit_reason);
}

static int check_exits(struct kb_probe_vm *g, unsigned ring, struct kb_behaviour *b)
{
	int64_t ns[EXITS];
	int i, rc = kb_probe_start(g, kb_pg_out, ring, 0);

	if (rc < 0)
		return rc;
	kb_probe_arm(g, kb_probe_now_ns() + KB_PROBE_BACKSTOP_NS);
	for (i = 0; i < EXITS && rc == 0; i++) {
		int64_t start = kb_probe_now_ns();

		rc = kb_probe_run(g);
		ns[i] = kb_probe_now_ns() - start;
		if (rc == 0 && !kb_probe_at_port(g, PG_PORT_OUT))
			break;
	}
	kb_probe_disarm(g);
	b->ports[ring != 0] = rc == 0 && i == EXITS;
	if (b->ports[ring != 0])
		b->exit_ps[ring != 0] = median_ps(ns, EXITS);
	return rc < 0 ? rc : 0;
}

/* After check_exits(): what the loop takes beyond an exit. Best of three, as the host may preempt. */
static int check_native(struct kb_probe_vm *g, unsigned ring, struct kb_behaviour *b)
{
	int64_t best = INT64_MAX;
	int i;

	for (i = 0; i < 3; i++) {
		int rc = kb_probe_piece(g, kb_pg_loop, ring, LOOPS, PG_PORT_OUT);

		if (rc <= 0)
			return rc;
		if (g->took_ns < best)
			best = g->took_ns;
	}
	b->native[ring != 0] = best * 1000 - (int64_t)b->exit_ps[ring != 0] < (int64_t)LOOPS * EMULATED_PS;
	return 0;
}

static int check_immediate_exit(struct kb_probe_vm *g, struct kb_behaviour *b)
{
	struct kvm_regs regs;
	int rc = kb_probe_start(g, kb_pg_out, 0, 0);

	if (rc < 0)
		return rc;
	kb_probe_arm(g, kb_probe_now_ns() + KB_PROBE_BACKSTOP_NS);
	__atomic_store_n(&g->run->immediate_exit, 1, __ATOMIC_RELAXED);
	rc = g->api->ioctl(g->vcpu, KVM_RUN, NULL);
	if (rc < 0 && errno != EINTR) {
		g->failed = KVM_RUN;
		rc = -errno;
		kb_probe_disarm(g);
		return rc;
	}
	g->io_pending = rc >= 0;
	b->immediate_exit = rc < 0 && !g->kicked;
	kb_probe_disarm(g);
	rc = kb_probe_ioctl(g, g->vcpu, KVM_GET_REGS, &regs);
	if (rc == 0 && regs.rip != PG_CODE + (uint64_t)(kb_pg_out - kb_pg_start))
		b->immediate_exit = false;
	return rc;
}

static int check_kicks(struct kb_probe_vm *g, struct kb_behaviour *b)
{
	int64_t ns[KICKS];
	int i, rc = kb_probe_start(g, kb_pg_spin, 3, 0);

	if (rc < 0)
		return rc;
	for (i = 0; i < KICKS; i++) {
		int64_t deadline = kb_probe_now_ns() + KICK_NS;

		kb_probe_arm(g, deadline);
		rc = kb_probe_run(g);
		ns[i] = kb_probe_now_ns() - deadline;
		kb_probe_disarm(g);
		if (rc != 1)
			return rc;
	}
	b->kick = true;
	b->kick_ps = median_ps(ns, KICKS);
	return 0;
}

/* One step of many; 1 exact, 0 not, -errno. */
static int step_to(struct kb_probe_vm *g, uint64_t rip)
{
	int rc;

	kb_probe_arm(g, kb_probe_now_ns() + KB_PROBE_BACKSTOP_NS);
	rc = kb_probe_run(g);
	kb_probe_disarm(g);
	return rc < 0 ? rc : rc == 0 && g->run->exit_reason == KVM_EXIT_DEBUG && g->run->debug.arch.pc == rip;
}

static int check_step(struct kb_probe_vm *g, unsigned ring, struct kb_behaviour *b)
{
	struct kvm_guest_debug debug = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };
	uint64_t base = PG_CODE + (uint64_t)(kb_pg_steps - kb_pg_start);
	int rc = kb_probe_start(g, kb_pg_steps, ring, 0);
	size_t i;

	if (rc < 0)
		return rc;
	if (kb_kvm_ioctl(g->api, g->vcpu, KVM_SET_GUEST_DEBUG, &debug) < 0)
		return 0;
	for (i = 0, rc = 1; i < sizeof(step_ends) / sizeof(step_ends[0]) && rc == 1; i++)
		rc = step_to(g, base + step_ends[i]);
	b->step[ring != 0] = rc == 1;
	if (rc < 0)
		return rc;
	debug.control = 0;
	rc = kb_probe_ioctl(g, g->vcpu, KVM_SET_GUEST_DEBUG, &debug); /* or it would go on stepping below */
	return rc < 0 ? rc : 0;
}

static int check_syscall(struct kb_probe_vm *g, struct kb_behaviour *b)
{
	uint32_t cs;
	int rc;

	if (!g->syscalls)
		return 0;
	rc = kb_probe_piece(g, kb_pg_syscall, 3, 0, PG_PORT_SYSCALL);
	if (rc != 1)
		return rc;
	if (g->run->io.size != 4 || g->run->io.data_offset > g->run_size - 4)
		return 0;
	memcpy(&cs, (const uint8_t *)g->run + g->run->io.data_offset, 4);
	b->syscall = (cs & 3) == 0;
	return 0;
}

static uint64_t host_tsc(void)
{
	_mm_lfence();
	return __rdtsc();
}

/* Does the guest's TSC show the host's plus offset? 1 yes, 0 no, -errno. */
static int tsc_follows(struct kb_probe_vm *g, unsigned ring, uint64_t offset)
{
	uint64_t before, after, seen;
	int rc = kb_probe_start(g, kb_pg_tsc, ring, 0);

	if (rc < 0)
		return rc;
	before = host_tsc();
	rc = kb_probe_to_port(g, PG_PORT_TSC);
	after = host_tsc();
	if (rc != 1)
		return rc;
	memcpy(&seen, g->ram + PG_DATA, sizeof(seen));
	return seen - offset - before + TSC_SLACK <= after - before + 2 * TSC_SLACK;
}

static int check_tsc(struct kb_probe_vm *g, struct kb_behaviour *b)
{
	uint64_t offset = 1ull << 50;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)&offset,
	};
	int rc;

	if (kb_kvm_ioctl(g->api, g->vcpu, KVM_SET_DEVICE_ATTR, &attr) < 0)
		return 0;
	rc = tsc_follows(g, 0, offset);
	if (rc == 1)
		rc = tsc_follows(g, 3, offset);
	b->tsc_offset = rc == 1;
	return rc < 0 ? rc : 0;
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint64_t ticks_ps(const struct kb_behaviour *b, uint32_t ticks)
{
	return (uint64_t)ticks * 1000000000u / b->tsc_khz;
}

/* Of two rounds the one on the quieter host counts. */
static void note_way(const struct kb_behaviour *b, struct kb_way *way, uint32_t *ticks, unsigned n)
{
	struct kb_way found;

	qsort(ticks, n, sizeof(*ticks), by_size);
	found.min_ps = ticks_ps(b, ticks[0]);
	found.median_ps = ticks_ps(b, ticks[n / 2]);
	if (!way->min_ps || found.median_ps < way->median_ps) {
		if (way->min_ps && way->min_ps < found.min_ps)
			found.min_ps = way->min_ps;
		*way = found;
	} else if (found.min_ps < way->min_ps) {
		way->min_ps = found.min_ps;
	}
}

/*
 * One entry to kb_pg_stamps. 1: *in and *out are the parts of the stay before its first and after its last reading of
 * the TSC; 0: its readings are not between ours, the guest has another TSC; -errno.
 */
static int stamp(struct kb_probe_vm *g, uint32_t *in, uint32_t *out)
{
	uint32_t first, last;
	uint64_t before = host_tsc(), after;
	int rc = kb_probe_run(g);

	after = host_tsc();
	if (rc != 0 || !kb_probe_at_port(g, PG_PORT_TSC) || g->run->io.size != 4 || g->run->io.data_offset > g->run_size - 4)
		return rc < 0 ? rc : 0;
	memcpy(&first, g->ram + PG_DATA, sizeof(first));
	memcpy(&last, (const uint8_t *)g->run + g->run->io.data_offset, sizeof(last));
	*in = first - (uint32_t)before;
	*out = (uint32_t)after - last;
	return (uint64_t)*in + (last - first) + *out == after - before;
}

/* How an exit's cost is shared between the ways in and out. Unknown where the guest's TSC cannot be that of the host. */
static int check_stamps(struct kb_probe_vm *g, unsigned ring, struct kb_behaviour *b)
{
	static const uint64_t no_offset;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)&no_offset,
	};
	uint32_t in[PG_STAMPS], out[PG_STAMPS];
	unsigned i, n = 0;
	int rc;

	if (!b->tsc_khz)
		return 0;
	kb_kvm_ioctl(g->api, g->vcpu, KVM_SET_DEVICE_ATTR, &attr); /* whether it took is seen below */
	rc = kb_probe_start(g, kb_pg_stamps, ring, 0);
	if (rc < 0)
		return rc;
	kb_probe_arm(g, kb_probe_now_ns() + KB_PROBE_BACKSTOP_NS);
	for (i = 0; i < PG_STAMPS && rc >= 0; i++) {
		rc = stamp(g, &in[n], &out[n]);
		if (i > 0 && rc == 1) /* the first one sets up more than an entry does */
			n++;
	}
	kb_probe_disarm(g);
	if (rc < 0 || n < PG_STAMPS / 2)
		return rc < 0 ? rc : 0;
	note_way(b, &b->enter[ring != 0], in, n);
	note_way(b, &b->leave[ring != 0], out, n);
	return 0;
}

/* Injects PG_VECTOR, which KVM said it is ready for; 1 if the handler was reached. */
static int inject(struct kb_probe_vm *g)
{
	struct kvm_interrupt irq = { .irq = PG_VECTOR };

	if (!g->run->ready_for_interrupt_injection)
		return 0;
	if (kb_kvm_ioctl(g->api, g->vcpu, KVM_INTERRUPT, &irq) < 0)
		return 0;
	return kb_probe_to_port(g, PG_PORT_IRQ);
}

static int check_halt(struct kb_probe_vm *g, struct kb_behaviour *b)
{
	int rc = kb_probe_start(g, kb_pg_halt, 0, 0);

	if (rc < 0)
		return rc;
	rc = kb_probe_to_port(g, PG_PORT_OUT); /* which it will not reach */
	if (rc < 0 || g->kicked || g->run->exit_reason != KVM_EXIT_HLT)
		return rc < 0 ? rc : 0;
	rc = inject(g);
	b->halt = rc == 1;
	return rc < 0 ? rc : 0;
}

static int check_window(struct kb_probe_vm *g, struct kb_behaviour *b)
{
	int rc = kb_probe_start(g, kb_pg_window, 0, 0);

	if (rc < 0)
		return rc;
	g->run->request_interrupt_window = 1;
	rc = kb_probe_to_port(g, PG_PORT_OUT);
	g->run->request_interrupt_window = 0;
	if (rc < 0 || g->kicked || g->run->exit_reason != KVM_EXIT_IRQ_WINDOW_OPEN)
		return rc < 0 ? rc : 0;
	rc = inject(g);
	b->window = rc == 1;
	return rc < 0 ? rc : 0;
}

static int check_all(struct kb_probe_vm *g, struct kb_behaviour *b)
{
	unsigned ring;
	int khz = kb_kvm_ioctl(g->api, g->vcpu, KVM_GET_TSC_KHZ, NULL), rc = 0;

	b->tsc_khz = khz > 0 ? (uint32_t)khz : 0;
	for (ring = 0; ring <= 3 && rc == 0; ring += 3) {
		rc = check_exits(g, ring, b);
		if (rc == 0)
			rc = check_native(g, ring, b);
		if (rc == 0)
			rc = check_step(g, ring, b);
		if (rc == 0)
			rc = check_stamps(g, ring, b);
	}
	if (rc == 0)
		rc = check_immediate_exit(g, b);
	if (rc == 0)
		rc = check_kicks(g, b);
	if (rc == 0)
		rc = check_syscall(g, b);
	if (rc == 0)
		rc = check_tsc(g, b);
	if (rc == 0)
		rc = check_halt(g, b);
	if (rc == 0)
		rc = check_window(g, b);
	if (rc == 0)
		rc = kb_probe_assists(g, b);
	/* Once more, some time later: the host may be quieter now. */
	for (ring = 0; ring <= 3 && rc == 0; ring += 3)
		rc = check_stamps(g, ring, b);
	return rc < 0 ? rc : 0;
}

int kb_probe_behaviour(const struct kb_kvm_api *api, int kvm_fd, struct kb_behaviour *b, struct kvmbox_error *err)
{
	struct kvmbox_error why = { "" };
	struct kb_probe_vm g;
	int rc;

	memset(b, 0, sizeof(*b));
	kb_probe_kick_install();
	rc = kb_probe_vm_create(&g, api, kvm_fd);
	if (rc == 0)
		rc = kb_probe_timer(&g);
	if (rc == 0) {
		kb_probe_msrs(&g);
		rc = check_alive(&g, &why);
	}
	if (rc == 0)
		rc = check_all(&g, b);
	kb_probe_vm_destroy(&g);
	kb_probe_kick_restore();
	if (rc == 0)
		return 0;
	if (why.msg[0])
		return kb_fail(err, -rc, "%s", why.msg);
	return kb_fail(err, -rc, "the test guest cannot be %s: %s failed: %s", g.failed == KVM_RUN ? "run" : "set up",
		       g.failed ? kb_kvm_request_name(g.failed) : "getting memory or a timer", strerror(-rc));
}
