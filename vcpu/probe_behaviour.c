/*
 * The probe's micro guest: see probe_behaviour.h. Guest state follows the Intel SDM volume 3
 * (26.3 "Checking and loading guest state": busy TSS in TR, ss.dpl = cs.dpl, RFLAGS bit 1...),
 * because kvm_pvm takes anything but VMX does not. Ring 3 gets its ports by the TSS's I/O permission bitmap: IOPL is not kept everywhere.
 */
#include "vcpu/probe_behaviour.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "vcpu/cpuid.h"
#include "vcpu/kick.h"
#include "vcpu/probe_guest.h"

#define EXITS      200                /* samples of each ring's exit cost */
#define KICKS      15
#define KICK_NS    100000             /* work before a measured kick */
#define LOOPS      1000               /* rounds of two instructions */
#define BACKSTOP_NS 500000000LL       /* a piece that takes longer hangs (or the host does) */
#define EMULATED_PS 300000            /* a round slower than this is emulated: CPU 0.5 ns (and a loaded host), emulator over 1 us */
#define TSC_SLACK  100000             /* host ticks that two CPUs may differ by */

#define KVM_TSS_PAGES  0xfffbd000ul   /* 3 pages KVM wants for itself on VMX, and one more */
#define KVM_IDENTITY   0xfffbc000ull

extern const uint8_t kb_pg_start[], kb_pg_out[], kb_pg_loop[], kb_pg_spin[], kb_pg_steps[], kb_pg_syscall[],
	kb_pg_lstar[], kb_pg_tsc[], kb_pg_stamps[], kb_pg_halt[], kb_pg_window[], kb_pg_irq[], kb_pg_traps[], kb_pg_end[];

/* Ends of the instructions at kb_pg_steps. */
static const unsigned step_ends[] = { 1, 3, 6, 11, 14, 15 };

struct guest {
	const struct kb_kvm_api *api;
	int vm, vcpu;
	uint8_t *ram;
	struct kvm_run *run;
	size_t run_size;
	struct kvm_sregs sregs; /* as KVM made them */
	bool syscalls;          /* the MSRs could be set */
	bool io_pending;        /* KVM still has to finish the last I/O */
	timer_t timer;
	bool has_timer;
	volatile sig_atomic_t kicked;
	int64_t took_ns;        /* of the last guest_to_port(), timer calls not included */
	unsigned long failed;   /* request of the ioctl that failed */
};

/* ---- the kick ------------------------------------------------------------- */

/*
 * The handler is the process's, so there is one probe at a time; and another
 * thread's vCPU may be kicked meanwhile, whose signals go to the handler that was there before.
 */
static pthread_mutex_t kick_lock = PTHREAD_MUTEX_INITIALIZER;
static struct guest *volatile kick_guest;
static struct sigaction kick_before;
static sigset_t kick_mask_before;

static void on_kick(int sig, siginfo_t *info, void *context)
{
	struct guest *g = kick_guest;

	if (g && info->si_code == SI_TIMER && info->si_value.sival_ptr == (void *)g) {
		g->kicked = 1;
		__atomic_store_n(&g->run->immediate_exit, 1, __ATOMIC_RELAXED);
	} else if (kick_before.sa_flags & SA_SIGINFO) {
		kick_before.sa_sigaction(sig, info, context);
	} else if (kick_before.sa_handler != SIG_DFL && kick_before.sa_handler != SIG_IGN) {
		kick_before.sa_handler(sig);
	}
}

/* Cannot fail: the signal number is valid. Undone by kick_restore(). */
static void kick_install(void)
{
	struct sigaction sa = { .sa_sigaction = on_kick, .sa_flags = SA_SIGINFO };
	sigset_t unblock;

	pthread_mutex_lock(&kick_lock);
	sigaction(kb_kick_signal(), NULL, &kick_before); /* in place before the handler can run */
	sigemptyset(&sa.sa_mask);
	sigaction(kb_kick_signal(), &sa, NULL);
	sigemptyset(&unblock);
	sigaddset(&unblock, kb_kick_signal());
	pthread_sigmask(SIG_UNBLOCK, &unblock, &kick_mask_before);
}

static void kick_restore(void)
{
	struct sigaction now;

	pthread_sigmask(SIG_SETMASK, &kick_mask_before, NULL);
	if (sigaction(kb_kick_signal(), NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) &&
	    now.sa_sigaction == on_kick) /* else someone installed another one meanwhile */
		sigaction(kb_kick_signal(), &kick_before, NULL);
	pthread_mutex_unlock(&kick_lock);
}

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Kicks at the deadline and then again and again, should the first one get lost. */
static void guest_arm(struct guest *g, int64_t deadline_ns)
{
	struct itimerspec its = {
		.it_value = { deadline_ns / 1000000000, deadline_ns % 1000000000 },
		.it_interval = { 0, 20000000 },
	};

	g->kicked = 0;
	__atomic_store_n(&g->run->immediate_exit, 0, __ATOMIC_RELAXED);
	timer_settime(g->timer, TIMER_ABSTIME, &its, NULL);
}

static void guest_disarm(struct guest *g)
{
	struct itimerspec its = { 0 };

	timer_settime(g->timer, 0, &its, NULL);
}

static int guest_timer(struct guest *g)
{
	struct sigevent sev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = kb_kick_signal() };

	sev.sigev_value.sival_ptr = g;
	sev.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
	if (timer_create(CLOCK_MONOTONIC, &sev, &g->timer) < 0)
		return -errno;
	g->has_timer = true;
	return 0;
}

/* ---- tables in guest memory ------------------------------------------------- */

static void poke(struct guest *g, uint32_t addr, uint64_t value)
{
	memcpy(g->ram + addr, &value, sizeof(value));
}

/* A gate (SDM volume 3 section 6.14.1) for ring 0, type 14: IF cleared. */
static void poke_gate(struct guest *g, unsigned vector, const uint8_t *handler)
{
	uint64_t addr = PG_CODE + (uint64_t)(handler - kb_pg_start);

	poke(g, PG_IDT + 16 * vector, (addr & 0xffff) | (uint64_t)PG_KCS << 16 | 0x8e00ull << 32 | (addr >> 16) << 48);
	poke(g, PG_IDT + 16 * vector + 8, 0);
}

static void guest_tables(struct guest *g)
{
	unsigned v;

	poke(g, PG_GDT + PG_KCS, 0x00af9b000000ffff);
	poke(g, PG_GDT + PG_KDS, 0x00cf93000000ffff);
	poke(g, PG_GDT + (PG_USER32 & ~7), 0x00cffb000000ffff);
	poke(g, PG_GDT + (PG_UDS & ~7), 0x00cff3000000ffff);
	poke(g, PG_GDT + (PG_UCS & ~7), 0x00affb000000ffff);
	poke(g, PG_GDT + PG_TR, 0x00008b000000206f | (uint64_t)PG_TSS << 16);
	for (v = 0; v < 32; v++)
		poke_gate(g, v, kb_pg_traps + 16 * v);
	poke_gate(g, PG_VECTOR, kb_pg_irq);
	poke(g, PG_TSS + 4, PG_RSP0);
	poke(g, PG_TSS + 0x60, 0x68ull << 48);                /* I/O map base: all ports allowed */
	memset(g->ram + PG_TSS + 0x68 + 0x2000, 0xff, 8); /* SDM volume 1 section 18.5.2: ends in ones */
	poke(g, PG_PML4, PG_PDPT | 7);
	poke(g, PG_PDPT, PG_PD | 7);
	poke(g, PG_PD, 0x87); /* 2 MiB page at 0, present, writable, user */
	memcpy(g->ram + PG_CODE, kb_pg_start, (size_t)(kb_pg_end - kb_pg_start));
}

/* ---- life of the guest ------------------------------------------------------- */

static int guest_ioctl(struct guest *g, int fd, unsigned long request, void *arg)
{
	int rc = kb_kvm_ioctl(g->api, fd, request, arg);

	if (rc < 0)
		g->failed = request;
	return rc;
}

static int guest_memory(struct guest *g)
{
	struct kvm_userspace_memory_region slot = { .memory_size = PG_SIZE };
	void *p = g->api->mmap(NULL, PG_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	g->ram = p;
	guest_tables(g);
	slot.userspace_addr = (uintptr_t)p;
	return guest_ioctl(g, g->vm, KVM_SET_USER_MEMORY_REGION, &slot);
}

static int guest_vm(struct guest *g, int kvm_fd)
{
	uint64_t identity = KVM_IDENTITY;
	int rc;

	g->vm = guest_ioctl(g, kvm_fd, KVM_CREATE_VM, NULL);
	if (g->vm < 0)
		return g->vm;
	/* Before the first vCPU; VMX wants them for real mode, the others do not mind. */
	rc = guest_ioctl(g, g->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	if (rc < 0)
		return rc;
	rc = guest_ioctl(g, g->vm, KVM_SET_TSS_ADDR, (void *)KVM_TSS_PAGES);
	if (rc < 0)
		return rc;
	return guest_memory(g);
}

static int guest_run_area(struct guest *g, int kvm_fd)
{
	int size = guest_ioctl(g, kvm_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
	void *p;

	if (size < 0)
		return size;
	if ((size_t)size < sizeof(*g->run))
		return -EPROTO;
	p = g->api->mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, g->vcpu, 0);
	if (p == MAP_FAILED)
		return -errno;
	g->run = p;
	g->run_size = (size_t)size;
	return 0;
}

/* SYSCALL's MSRs (SDM volume 4): segments, entry, all flags cleared on entry. Failing is a finding, not an error. */
static void guest_msrs(struct guest *g)
{
	struct { /* struct kvm_msrs */
		uint32_t nmsrs, pad;
		struct kvm_msr_entry entry[3];
	} m = { .nmsrs = 3, .entry = {
		{ .index = 0xc0000081, .data = (uint64_t)PG_USER32 << 48 | (uint64_t)PG_KCS << 32 },
		{ .index = 0xc0000082, .data = PG_CODE + (uint64_t)(kb_pg_lstar - kb_pg_start) },
		{ .index = 0xc0000084, .data = 0x47700 },
	} };

	g->syscalls = kb_kvm_ioctl(g->api, g->vcpu, KVM_SET_MSRS, &m) == 3;
}

static int guest_vcpu(struct guest *g, int kvm_fd)
{
	struct kb_cpuid cpuid;
	int rc;

	g->vcpu = guest_ioctl(g, g->vm, KVM_CREATE_VCPU, NULL);
	if (g->vcpu < 0)
		return g->vcpu;
	rc = guest_run_area(g, kvm_fd);
	if (rc < 0)
		return rc;
	rc = kb_cpuid_supported(&cpuid, g->api, kvm_fd, NULL);
	if (rc < 0) {
		g->failed = KVM_GET_SUPPORTED_CPUID;
		return rc;
	}
	kb_cpuid_fit(&cpuid, 0, 1);
	rc = guest_ioctl(g, g->vcpu, KVM_SET_CPUID2, &cpuid); /* without it KVM refuses long mode */
	if (rc < 0)
		return rc;
	return guest_ioctl(g, g->vcpu, KVM_GET_SREGS, &g->sregs);
}

static void guest_destroy(struct guest *g)
{
	if (g->has_timer)
		timer_delete(g->timer);
	kick_guest = NULL;
	if (g->run)
		g->api->munmap(g->run, g->run_size);
	if (g->vcpu >= 0)
		g->api->close(g->vcpu);
	if (g->vm >= 0)
		g->api->close(g->vm);
	if (g->ram)
		g->api->munmap(g->ram, PG_SIZE);
}

/* On failure the caller still calls guest_destroy(). */
static int guest_create(struct guest *g, const struct kb_kvm_api *api, int kvm_fd)
{
	int rc;

	*g = (struct guest){ .api = api, .vm = -1, .vcpu = -1 };
	rc = guest_vm(g, kvm_fd);
	if (rc == 0)
		rc = guest_vcpu(g, kvm_fd);
	if (rc < 0)
		return rc;
	kick_guest = g;
	return guest_timer(g);
}

/* ---- running pieces --------------------------------------------------------- */

/* 0: an exit, in g->run; 1: kicked; -errno. */
static int guest_run(struct guest *g)
{
	for (;;) {
		if (g->api->ioctl(g->vcpu, KVM_RUN, NULL) >= 0) {
			g->io_pending = g->run->exit_reason == KVM_EXIT_IO || g->run->exit_reason == KVM_EXIT_MMIO;
			return 0;
		}
		if (errno != EINTR && errno != EAGAIN) {
			g->failed = KVM_RUN;
			return -errno;
		}
		g->io_pending = false;
		if (g->kicked) /* else it was somebody else's signal */
			return 1;
	}
}

/* Lets KVM finish the last I/O without running the guest; registers may not be set before. */
static int guest_settle(struct guest *g)
{
	int i;

	for (i = 0; g->io_pending; i++) {
		__atomic_store_n(&g->run->immediate_exit, 1, __ATOMIC_RELAXED);
		if (g->api->ioctl(g->vcpu, KVM_RUN, NULL) < 0) {
			if (errno != EINTR) {
				g->failed = KVM_RUN;
				return -errno;
			}
			g->io_pending = false;
		} else if (i == 8) {
			g->failed = KVM_RUN;
			return -EPROTO;
		}
	}
	__atomic_store_n(&g->run->immediate_exit, 0, __ATOMIC_RELAXED);
	return 0;
}

static struct kvm_segment segment(uint16_t selector, unsigned ring, bool code)
{
	return (struct kvm_segment){
		.limit = 0xffffffff, .selector = selector, .type = code ? 11 : 3, .present = 1,
		.dpl = (uint8_t)ring, .db = !code, .s = 1, .l = code, .g = 1,
	};
}

static struct kvm_sregs guest_sregs(const struct guest *g, unsigned ring)
{
	struct kvm_sregs s = g->sregs;

	s.cs = segment(ring ? PG_UCS : PG_KCS, ring, true);
	s.ss = segment(ring ? PG_UDS : PG_KDS, ring, false);
	s.ds = s.es = s.fs = s.gs = s.ss;
	s.tr = (struct kvm_segment){ .base = PG_TSS, .limit = 0x206f, .selector = PG_TR, .type = 11, .present = 1 };
	s.ldt = (struct kvm_segment){ .unusable = 1 };
	s.gdt = (struct kvm_dtable){ .base = PG_GDT, .limit = PG_TR + 15 };
	s.idt = (struct kvm_dtable){ .base = PG_IDT, .limit = 16 * (PG_VECTOR + 1) - 1 };
	s.cr0 = 0x80050033; /* PG AM WP NE ET MP PE */
	s.cr3 = PG_PML4;
	s.cr4 = 0x620;      /* OSXMMEXCPT OSFXSR PAE */
	s.efer = 0x501;     /* LMA LME SCE */
	return s;
}

/* Makes the vCPU begin piece in ring 0 or 3, interrupts off. */
static int guest_start(struct guest *g, const uint8_t *piece, unsigned ring, uint64_t rcx)
{
	struct kvm_sregs sregs = guest_sregs(g, ring);
	struct kvm_regs regs = {
		.rip = PG_CODE + (uint64_t)(piece - kb_pg_start),
		.rsp = ring ? PG_RSP3 : PG_RSP0,
		.rflags = 2,
		.rcx = rcx,
	};
	int rc = guest_settle(g);

	if (rc == 0)
		rc = guest_ioctl(g, g->vcpu, KVM_SET_SREGS, &sregs);
	return rc < 0 ? rc : guest_ioctl(g, g->vcpu, KVM_SET_REGS, &regs);
}

static bool at_port(const struct guest *g, unsigned port)
{
	return g->run->exit_reason == KVM_EXIT_IO && g->run->io.direction == KVM_EXIT_IO_OUT && g->run->io.port == port;
}

/* One run up to an exit. 1: it was a write to port; 0: something else or none at all; -errno. */
static int guest_to_port(struct guest *g, unsigned port)
{
	int64_t start;
	int rc;

	guest_arm(g, now_ns() + BACKSTOP_NS);
	start = now_ns();
	rc = guest_run(g);
	g->took_ns = now_ns() - start;
	guest_disarm(g);
	return rc < 0 ? rc : rc == 0 && at_port(g, port);
}

static int guest_piece(struct guest *g, const uint8_t *piece, unsigned ring, uint64_t rcx, unsigned port)
{
	int rc = guest_start(g, piece, ring, rcx);

	return rc < 0 ? rc : guest_to_port(g, port);
}

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
static int check_alive(struct guest *g, struct kvmbox_error *err)
{
	const struct kvm_run *run = g->run;
	int rc = guest_piece(g, kb_pg_out, 0, 0, PG_PORT_OUT);

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

static int check_exits(struct guest *g, unsigned ring, struct kb_behaviour *b)
{
	int64_t ns[EXITS];
	int i, rc = guest_start(g, kb_pg_out, ring, 0);

	if (rc < 0)
		return rc;
	guest_arm(g, now_ns() + BACKSTOP_NS);
	for (i = 0; i < EXITS && rc == 0; i++) {
		int64_t start = now_ns();

		rc = guest_run(g);
		ns[i] = now_ns() - start;
		if (rc == 0 && !at_port(g, PG_PORT_OUT))
			break;
	}
	guest_disarm(g);
	b->ports[ring != 0] = rc == 0 && i == EXITS;
	if (b->ports[ring != 0])
		b->exit_ps[ring != 0] = median_ps(ns, EXITS);
	return rc < 0 ? rc : 0;
}

/* After check_exits(): what the loop takes beyond an exit. Best of three, as the host may preempt. */
static int check_native(struct guest *g, unsigned ring, struct kb_behaviour *b)
{
	int64_t best = INT64_MAX;
	int i;

	for (i = 0; i < 3; i++) {
		int rc = guest_piece(g, kb_pg_loop, ring, LOOPS, PG_PORT_OUT);

		if (rc <= 0)
			return rc;
		if (g->took_ns < best)
			best = g->took_ns;
	}
	b->native[ring != 0] = best * 1000 - (int64_t)b->exit_ps[ring != 0] < (int64_t)LOOPS * EMULATED_PS;
	return 0;
}

static int check_immediate_exit(struct guest *g, struct kb_behaviour *b)
{
	struct kvm_regs regs;
	int rc = guest_start(g, kb_pg_out, 0, 0);

	if (rc < 0)
		return rc;
	guest_arm(g, now_ns() + BACKSTOP_NS);
	__atomic_store_n(&g->run->immediate_exit, 1, __ATOMIC_RELAXED);
	rc = g->api->ioctl(g->vcpu, KVM_RUN, NULL);
	if (rc < 0 && errno != EINTR) {
		g->failed = KVM_RUN;
		rc = -errno;
		guest_disarm(g);
		return rc;
	}
	g->io_pending = rc >= 0;
	b->immediate_exit = rc < 0 && !g->kicked;
	guest_disarm(g);
	rc = guest_ioctl(g, g->vcpu, KVM_GET_REGS, &regs);
	if (rc == 0 && regs.rip != PG_CODE + (uint64_t)(kb_pg_out - kb_pg_start))
		b->immediate_exit = false;
	return rc;
}

static int check_kicks(struct guest *g, struct kb_behaviour *b)
{
	int64_t ns[KICKS];
	int i, rc = guest_start(g, kb_pg_spin, 3, 0);

	if (rc < 0)
		return rc;
	for (i = 0; i < KICKS; i++) {
		int64_t deadline = now_ns() + KICK_NS;

		guest_arm(g, deadline);
		rc = guest_run(g);
		ns[i] = now_ns() - deadline;
		guest_disarm(g);
		if (rc != 1)
			return rc;
	}
	b->kick = true;
	b->kick_ps = median_ps(ns, KICKS);
	return 0;
}

/* One step of many; 1 exact, 0 not, -errno. */
static int step_to(struct guest *g, uint64_t rip)
{
	int rc;

	guest_arm(g, now_ns() + BACKSTOP_NS);
	rc = guest_run(g);
	guest_disarm(g);
	return rc < 0 ? rc : rc == 0 && g->run->exit_reason == KVM_EXIT_DEBUG && g->run->debug.arch.pc == rip;
}

static int check_step(struct guest *g, unsigned ring, struct kb_behaviour *b)
{
	struct kvm_guest_debug debug = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };
	uint64_t base = PG_CODE + (uint64_t)(kb_pg_steps - kb_pg_start);
	int rc = guest_start(g, kb_pg_steps, ring, 0);
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
	rc = guest_ioctl(g, g->vcpu, KVM_SET_GUEST_DEBUG, &debug); /* or it would go on stepping below */
	return rc < 0 ? rc : 0;
}

static int check_syscall(struct guest *g, struct kb_behaviour *b)
{
	uint32_t cs;
	int rc;

	if (!g->syscalls)
		return 0;
	rc = guest_piece(g, kb_pg_syscall, 3, 0, PG_PORT_SYSCALL);
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
static int tsc_follows(struct guest *g, unsigned ring, uint64_t offset)
{
	uint64_t before, after, seen;
	int rc = guest_start(g, kb_pg_tsc, ring, 0);

	if (rc < 0)
		return rc;
	before = host_tsc();
	rc = guest_to_port(g, PG_PORT_TSC);
	after = host_tsc();
	if (rc != 1)
		return rc;
	memcpy(&seen, g->ram + PG_DATA, sizeof(seen));
	return seen - offset - before + TSC_SLACK <= after - before + 2 * TSC_SLACK;
}

static int check_tsc(struct guest *g, struct kb_behaviour *b)
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
static int stamp(struct guest *g, uint32_t *in, uint32_t *out)
{
	uint32_t first, last;
	uint64_t before = host_tsc(), after;
	int rc = guest_run(g);

	after = host_tsc();
	if (rc != 0 || !at_port(g, PG_PORT_TSC) || g->run->io.size != 4 || g->run->io.data_offset > g->run_size - 4)
		return rc < 0 ? rc : 0;
	memcpy(&first, g->ram + PG_DATA, sizeof(first));
	memcpy(&last, (const uint8_t *)g->run + g->run->io.data_offset, sizeof(last));
	*in = first - (uint32_t)before;
	*out = (uint32_t)after - last;
	return (uint64_t)*in + (last - first) + *out == after - before;
}

/* How an exit's cost is shared between the ways in and out. Unknown where the guest's TSC cannot be that of the host. */
static int check_stamps(struct guest *g, unsigned ring, struct kb_behaviour *b)
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
	rc = guest_start(g, kb_pg_stamps, ring, 0);
	if (rc < 0)
		return rc;
	guest_arm(g, now_ns() + BACKSTOP_NS);
	for (i = 0; i < PG_STAMPS && rc >= 0; i++) {
		rc = stamp(g, &in[n], &out[n]);
		if (i > 0 && rc == 1) /* the first one sets up more than an entry does */
			n++;
	}
	guest_disarm(g);
	if (rc < 0 || n < PG_STAMPS / 2)
		return rc < 0 ? rc : 0;
	note_way(b, &b->enter[ring != 0], in, n);
	note_way(b, &b->leave[ring != 0], out, n);
	return 0;
}

/* Injects PG_VECTOR, which KVM said it is ready for; 1 if the handler was reached. */
static int inject(struct guest *g)
{
	struct kvm_interrupt irq = { .irq = PG_VECTOR };

	if (!g->run->ready_for_interrupt_injection)
		return 0;
	if (kb_kvm_ioctl(g->api, g->vcpu, KVM_INTERRUPT, &irq) < 0)
		return 0;
	return guest_to_port(g, PG_PORT_IRQ);
}

static int check_halt(struct guest *g, struct kb_behaviour *b)
{
	int rc = guest_start(g, kb_pg_halt, 0, 0);

	if (rc < 0)
		return rc;
	rc = guest_to_port(g, PG_PORT_OUT); /* which it will not reach */
	if (rc < 0 || g->kicked || g->run->exit_reason != KVM_EXIT_HLT)
		return rc < 0 ? rc : 0;
	rc = inject(g);
	b->halt = rc == 1;
	return rc < 0 ? rc : 0;
}

static int check_window(struct guest *g, struct kb_behaviour *b)
{
	int rc = guest_start(g, kb_pg_window, 0, 0);

	if (rc < 0)
		return rc;
	g->run->request_interrupt_window = 1;
	rc = guest_to_port(g, PG_PORT_OUT);
	g->run->request_interrupt_window = 0;
	if (rc < 0 || g->kicked || g->run->exit_reason != KVM_EXIT_IRQ_WINDOW_OPEN)
		return rc < 0 ? rc : 0;
	rc = inject(g);
	b->window = rc == 1;
	return rc < 0 ? rc : 0;
}

static int check_all(struct guest *g, struct kb_behaviour *b)
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
	/* Once more, some time later: the host may be quieter now. */
	for (ring = 0; ring <= 3 && rc == 0; ring += 3)
		rc = check_stamps(g, ring, b);
	return rc < 0 ? rc : 0;
}

int kb_probe_behaviour(const struct kb_kvm_api *api, int kvm_fd, struct kb_behaviour *b, struct kvmbox_error *err)
{
	struct kvmbox_error why = { "" };
	struct guest g;
	int rc;

	memset(b, 0, sizeof(*b));
	kick_install();
	rc = guest_create(&g, api, kvm_fd);
	if (rc == 0) {
		guest_msrs(&g);
		rc = check_alive(&g, &why);
	}
	if (rc == 0)
		rc = check_all(&g, b);
	guest_destroy(&g);
	kick_restore();
	if (rc == 0)
		return 0;
	if (why.msg[0])
		return kb_fail(err, -rc, "%s", why.msg);
	return kb_fail(err, -rc, "the test guest cannot be %s: %s failed: %s", g.failed == KVM_RUN ? "run" : "set up",
		       g.failed ? kb_kvm_request_name(g.failed) : "getting memory or a timer", strerror(-rc));
}
