/*
 * The probe's micro guest: see probe_vm.h. Guest state follows the Intel SDM volume 3
 * (26.3 "Checking and loading guest state": busy TSS in TR, ss.dpl = cs.dpl, RFLAGS bit 1...),
 * because kvm_pvm takes anything but VMX does not. Ring 3 gets its ports by the TSS's I/O permission bitmap: IOPL is not kept everywhere.
 */
#include "vcpu/probe_vm.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vcpu/cpuid.h"
#include "vcpu/kick.h"
#include "vcpu/probe_guest.h"

#define BACKSTOP_NS KB_PROBE_BACKSTOP_NS

#define KVM_TSS_PAGES  0xfffbd000ul   /* 3 pages KVM wants for itself on VMX, and one more */
#define KVM_IDENTITY   0xfffbc000ull

/* ---- the kick ------------------------------------------------------------- */

/*
 * The handler is the process's, so there is one probe at a time; and another
 * thread's vCPU may be kicked meanwhile, whose signals go to the handler that was there before.
 */
static pthread_mutex_t kick_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kb_probe_vm *volatile kick_guest;
static struct sigaction kick_before;
static sigset_t kick_mask_before;

static void on_kick(int sig, siginfo_t *info, void *context)
{
	struct kb_probe_vm *g = kick_guest;

	if (g && info->si_code == SI_TIMER && info->si_value.sival_ptr == (void *)g) {
		g->kicked = 1;
		__atomic_store_n(&g->run->immediate_exit, 1, __ATOMIC_RELAXED);
	} else if (kick_before.sa_flags & SA_SIGINFO) {
		kick_before.sa_sigaction(sig, info, context);
	} else if (kick_before.sa_handler != SIG_DFL && kick_before.sa_handler != SIG_IGN) {
		kick_before.sa_handler(sig);
	}
}

/* Cannot fail: the signal number is valid. Undone by kb_probe_kick_restore(). */
void kb_probe_kick_install(void)
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

void kb_probe_kick_restore(void)
{
	struct sigaction now;

	pthread_sigmask(SIG_SETMASK, &kick_mask_before, NULL);
	if (sigaction(kb_kick_signal(), NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) &&
	    now.sa_sigaction == on_kick) /* else someone installed another one meanwhile */
		sigaction(kb_kick_signal(), &kick_before, NULL);
	pthread_mutex_unlock(&kick_lock);
}

int64_t kb_probe_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Kicks at the deadline and then again and again, should the first one get lost. */
void kb_probe_arm(struct kb_probe_vm *g, int64_t deadline_ns)
{
	struct itimerspec its = {
		.it_value = { deadline_ns / 1000000000, deadline_ns % 1000000000 },
		.it_interval = { 0, 20000000 },
	};

	g->kicked = 0;
	__atomic_store_n(&g->run->immediate_exit, 0, __ATOMIC_RELAXED);
	timer_settime(g->timer, TIMER_ABSTIME, &its, NULL);
}

void kb_probe_disarm(struct kb_probe_vm *g)
{
	struct itimerspec its = { 0 };

	timer_settime(g->timer, 0, &its, NULL);
}

int kb_probe_timer(struct kb_probe_vm *g)
{
	struct sigevent sev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = kb_kick_signal() };

	sev.sigev_value.sival_ptr = g;
	sev.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
	if (timer_create(CLOCK_MONOTONIC, &sev, &g->timer) < 0)
		return -errno;
	g->has_timer = true;
	kick_guest = g;
	return 0;
}

/* ---- tables in guest memory ------------------------------------------------- */

static void poke(struct kb_probe_vm *g, uint32_t addr, uint64_t value)
{
	memcpy(g->ram + addr, &value, sizeof(value));
}

/* A gate (SDM volume 3 section 6.14.1) for ring 0, type 14: IF cleared. */
static void poke_gate(struct kb_probe_vm *g, unsigned vector, const uint8_t *handler)
{
	uint64_t addr = PG_CODE + (uint64_t)(handler - kb_pg_start);

	poke(g, PG_IDT + 16 * vector, (addr & 0xffff) | (uint64_t)PG_KCS << 16 | 0x8e00ull << 32 | (addr >> 16) << 48);
	poke(g, PG_IDT + 16 * vector + 8, 0);
}

static void guest_tables(struct kb_probe_vm *g)
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

int kb_probe_ioctl(struct kb_probe_vm *g, int fd, unsigned long request, void *arg)
{
	int rc = kb_kvm_ioctl(g->api, fd, request, arg);

	if (rc < 0)
		g->failed = request;
	return rc;
}

static int guest_memory(struct kb_probe_vm *g)
{
	struct kvm_userspace_memory_region slot = { .memory_size = PG_SIZE };
	void *p = g->api->mmap(NULL, PG_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	g->ram = p;
	guest_tables(g);
	slot.userspace_addr = (uintptr_t)p;
	return kb_probe_ioctl(g, g->vm, KVM_SET_USER_MEMORY_REGION, &slot);
}

static int guest_vm(struct kb_probe_vm *g, int kvm_fd)
{
	uint64_t identity = KVM_IDENTITY;
	int rc;

	g->vm = kb_probe_ioctl(g, kvm_fd, KVM_CREATE_VM, NULL);
	if (g->vm < 0)
		return g->vm;
	/* Before the first vCPU; VMX wants them for real mode, the others do not mind. */
	rc = kb_probe_ioctl(g, g->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	if (rc < 0)
		return rc;
	rc = kb_probe_ioctl(g, g->vm, KVM_SET_TSS_ADDR, (void *)KVM_TSS_PAGES);
	if (rc < 0)
		return rc;
	return guest_memory(g);
}

static int guest_run_area(struct kb_probe_vm *g, int kvm_fd)
{
	int size = kb_probe_ioctl(g, kvm_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
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
void kb_probe_msrs(struct kb_probe_vm *g)
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

static int guest_vcpu(struct kb_probe_vm *g, int kvm_fd)
{
	struct kb_cpuid cpuid;
	int rc;

	g->vcpu = kb_probe_ioctl(g, g->vm, KVM_CREATE_VCPU, NULL);
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
	rc = kb_probe_ioctl(g, g->vcpu, KVM_SET_CPUID2, &cpuid); /* without it KVM refuses long mode */
	if (rc < 0)
		return rc;
	return kb_probe_ioctl(g, g->vcpu, KVM_GET_SREGS, &g->sregs);
}

void kb_probe_vm_destroy(struct kb_probe_vm *g)
{
	if (g->has_timer) {
		timer_delete(g->timer);
		kick_guest = NULL;
	}
	if (g->run)
		g->api->munmap(g->run, g->run_size);
	if (g->vcpu >= 0)
		g->api->close(g->vcpu);
	if (g->vm >= 0)
		g->api->close(g->vm);
	if (g->ram)
		g->api->munmap(g->ram, PG_SIZE);
}

/* On failure the caller still calls kb_probe_vm_destroy(). */
int kb_probe_vm_create(struct kb_probe_vm *g, const struct kb_kvm_api *api, int kvm_fd)
{
	int rc;

	*g = (struct kb_probe_vm){ .api = api, .vm = -1, .vcpu = -1 };
	rc = guest_vm(g, kvm_fd);
	return rc < 0 ? rc : guest_vcpu(g, kvm_fd);
}

/* ---- running pieces --------------------------------------------------------- */

/* 0: an exit, in g->run; 1: kicked; -errno. */
int kb_probe_run(struct kb_probe_vm *g)
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
int kb_probe_settle(struct kb_probe_vm *g)
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

struct kvm_sregs kb_probe_sregs(const struct kb_probe_vm *g, unsigned ring)
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
	s.cr4 = 0x620 | g->cr4; /* OSXMMEXCPT OSFXSR PAE */
	s.efer = 0x501;     /* LMA LME SCE */
	return s;
}

/* Makes the vCPU begin piece in ring 0 or 3, interrupts off. */
int kb_probe_start(struct kb_probe_vm *g, const uint8_t *piece, unsigned ring, uint64_t rcx)
{
	struct kvm_sregs sregs = kb_probe_sregs(g, ring);
	struct kvm_regs regs = {
		.rip = PG_CODE + (uint64_t)(piece - kb_pg_start),
		.rsp = ring ? PG_RSP3 : PG_RSP0,
		.rflags = 2,
		.rcx = rcx,
	};
	int rc = kb_probe_settle(g);

	if (rc == 0)
		rc = kb_probe_ioctl(g, g->vcpu, KVM_SET_SREGS, &sregs);
	return rc < 0 ? rc : kb_probe_ioctl(g, g->vcpu, KVM_SET_REGS, &regs);
}

bool kb_probe_at_port(const struct kb_probe_vm *g, unsigned port)
{
	return g->run->exit_reason == KVM_EXIT_IO && g->run->io.direction == KVM_EXIT_IO_OUT && g->run->io.port == port;
}

/* One run up to an exit. 1: it was a write to port; 0: something else or none at all; -errno. */
int kb_probe_to_port(struct kb_probe_vm *g, unsigned port)
{
	int64_t start;
	int rc;

	kb_probe_arm(g, kb_probe_now_ns() + BACKSTOP_NS);
	start = kb_probe_now_ns();
	rc = kb_probe_run(g);
	g->took_ns = kb_probe_now_ns() - start;
	kb_probe_disarm(g);
	return rc < 0 ? rc : rc == 0 && kb_probe_at_port(g, port);
}

int kb_probe_piece(struct kb_probe_vm *g, const uint8_t *piece, unsigned ring, uint64_t rcx, unsigned port)
{
	int rc = kb_probe_start(g, piece, ring, rcx);

	return rc < 0 ? rc : kb_probe_to_port(g, port);
}

