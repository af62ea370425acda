/*
 * A vCPU and its run loop.
 *
 * States: READY -> (KVM_RUN) -> READY | IO_PENDING | HALTED | ENDED.
 * IO_PENDING: the last exit was an access whose instruction KVM completes at the next
 * entry; registers must not be touched until then. HALTED: HLT, waits for
 * an interrupt or NMI. WAITS_FOR_SIPI: an application processor after INIT (Intel SDM vol. 3, "Multiple-Processor (MP)
 * Initialization"). ENDED: kb_vcpu_run() has returned or will.
 *
 * The client (the platform) owns everything a vCPU does not know: devices,
 * timers, the simulator. Everything runs on the thread that calls
 * kb_vcpu_run(), except kb_vcpu_stop(). Several vCPUs take turns on one thread, by kb_vcpu_step().
 */
#ifndef KB_VCPU_H
#define KB_VCPU_H

#include <stdbool.h>
#include <stdint.h>

#include "vcpu/assist.h"
#include "vcpu/clock.h"
#include "vcpu/count.h"
#include "vcpu/cpuid.h"
#include "vcpu/guest_tsc.h"
#include "vcpu/histogram.h"
#include "vcpu/kick.h"
#include "vcpu/msr.h"
#include "vcpu/pvclock.h"
#include "vcpu/steal.h"
#include "vcpu/step.h"
#include "vcpu/vm.h"

struct kb_vcpu_client {
	/* Guest time is now clock.now_ps: fire what is due. Before every entry and every access. */
	void (*advance)(void *opaque);
	/* Guest time at which the guest must be left; at or before now: it must yield first. */
	uint64_t (*deadline)(void *opaque);
	/* Yields until the simulator has caught up with the guest. Non-zero ends the run: KB_END_STOPPED, or an error in err. */
	int (*yield)(void *opaque, struct kvmbox_error *err);
	/* The vCPU is halted: sleeps until something may wake it, moves the clock. Result as yield. */
	int (*idle)(void *opaque, struct kvmbox_error *err);
	/* Interrupt acknowledge: the vector to take. Only called while intr is set. */
	int (*ack)(void *opaque);
	/* CR8 as the guest last wrote it / the value it is to read; APIC base MSR. May be NULL. */
	void (*set_cr8)(void *opaque, uint8_t cr8);
	uint8_t (*get_cr8)(void *opaque);
	void (*set_apic_base)(void *opaque, uint64_t base);
	/* Is no other vCPU's time earlier? False: an exit waits to be served until it is so. NULL: always. */
	bool (*first)(void *opaque);
	void *opaque;
};

enum kb_vcpu_state { KB_VCPU_READY, KB_VCPU_IO_PENDING, KB_VCPU_HALTED, KB_VCPU_WAITS_FOR_SIPI, KB_VCPU_ENDED };

enum kb_end { KB_END_NONE, KB_END_STOPPED, KB_END_COUNTED, KB_END_REQUESTED, KB_END_SHUTDOWN, KB_END_ERROR };

/* Why the guest was left, for the statistics; kvmbox_get_stats() has a field for each. */
enum kb_exit_kind {
	KB_EXIT_MMIO, KB_EXIT_PIO, KB_EXIT_HLT, KB_EXIT_KICK, KB_EXIT_WINDOW, KB_EXIT_MSR, KB_EXIT_STEP,
	KB_EXIT_ASSIST, /* completed by the box what KVM could not */
	KB_EXIT_OTHER, /* handled without a device, or the end of the run */
	KB_EXIT_KINDS
};

struct kb_vcpu_stats {
	uint64_t guest_ticks; /* host TSC inside KVM_RUN */
	uint64_t stolen_ticks; /* of these, the thread was not running */
	uint64_t kvm_ticks;   /* of the rest, what entry and exit cost */
	uint64_t entries;
	uint64_t exits[KB_EXIT_KINDS];
	uint64_t assists[KB_ASSIST_KINDS];
	uint64_t interrupts, nmis;
	uint64_t steps; /* instructions, while they were counted */
	struct kb_histogram overshoot; /* ps past its deadline that a slice which a kick ended ran */
	uint64_t stalls; /* rests of slices too short to run in, charged instead */
};

/* More of the same, of another vCPU. */
void kb_vcpu_stats_add(struct kb_vcpu_stats *sum, const struct kb_vcpu_stats *s);

struct kb_vcpu {
	struct kb_vm *vm;
	struct kb_vcpu_client client;
	unsigned id;
	int fd;
	struct kvm_run *run;
	bool sync_regs;          /* registers come with each exit */
	enum kb_vcpu_state state;
	enum kb_end end;
	bool intr;               /* INTR pin */
	bool nmi;                /* NMI latched */
	bool init;               /* INIT, likewise */
	int sipi;                /* vector of a SIPI, -1: none */
	bool asleep;             /* as kb_vcpu_awake() last found it */
	bool exit_waits;         /* to be served, for other vCPUs' time to come up */
	bool end_requested;      /* by a device, on this thread */
	bool stop;               /* by kb_vcpu_stop(), any thread (atomic) */
	struct kb_clock clock;
	struct kb_steal steal;
	struct kb_step step;
	struct kb_count count;       /* kb_vcpu_stop_after() with a PMU */
	struct kb_assist assist;
	struct kb_kick kick;
	struct kb_view view;         /* what the guest can see of the TSC in a stay */
	struct kb_guest_tsc tsc;     /* the clocks it reads without an exit */
	struct kb_pvclock pvclock;
	bool exited;                 /* at the last entry, other than by a step's end */
	struct kb_msrs msrs;         /* answered by the box */
	uint64_t tsc_hz;
	uint64_t xcr0;           /* all features of the guest's CPUID; 0: no XSAVE */
	bool precise;            /* kick early by kick_ticks and charge the rest as stall */
	bool stalled;            /* the last slice was all stall: the next one runs, however short */
	uint64_t exit_ticks[2];  /* host's entry + exit with the guest in ring 0-2 and in ring 3, for the statistics */
	uint64_t kick_ticks;     /* from a kick to the guest's being left, measured */
	uint64_t min_ticks;      /* shortest stay that gets anything done; grows until it does */
	uint64_t floor_ticks;    /* where min_ticks starts */
	struct kvm_regs kicked_regs; /* at the last kick, to see progress */
	bool kicked;
	unsigned again;          /* KVM_RUN's EAGAIN in a row */
	uint64_t apic_base;
	uint8_t cr8;             /* what KVM holds */
	struct kb_vcpu_stats stats;
};

/* cpuid is copied into KVM. The vCPU starts in the CPU's reset state. *out NULL on failure. */
int kb_vcpu_create(struct kb_vcpu **out, struct kb_vm *vm, unsigned id, const struct kb_cpuid *cpuid,
		   const struct kb_vcpu_client *client, struct kvmbox_error *err);
void kb_vcpu_destroy(struct kb_vcpu *v);
/* The host's measured kick latency: also the shortest stay that gets anything done. precise: see kb_vcpu.precise. */
void kb_vcpu_set_kick(struct kb_vcpu *v, uint64_t latency_ns, bool precise);
/* The host's measured cost of an entry and exit, by ring as in kb_clock: only statistics are kept by it. */
void kb_vcpu_set_exit_cost(struct kb_vcpu *v, const uint64_t cost_ps[2]);

/* How this host steps the guest, from the probe; without it the vCPU cannot be stepped. After the clock was set. */
void kb_vcpu_set_step(struct kb_vcpu *v, const bool can[2], bool ring0_native);
/*
 * kb_vcpu_stop_after() may count by this PMU; NULL: it steps. Opens a counter to see whether there is one, errors as kb_perf_open().
 * On the thread that will run the vCPU.
 */
int kb_vcpu_count_by(struct kb_vcpu *v, const struct kb_perf_api *api, struct kvmbox_error *err);
/*
 * kb_vcpu_run() ends with KB_END_COUNTED before the instruction that comes after the next n (step.h: what counts); an
 * instruction whose access is under way is the first of them. UINT64_MAX: never, forgets an earlier call. -EOPNOTSUPP.
 */
int kb_vcpu_stop_after(struct kb_vcpu *v, uint64_t n, struct kvmbox_error *err);

/* The table as KVM shows it to the guest. */
int kb_vcpu_get_cpuid(struct kb_vcpu *v, struct kb_cpuid *cpuid, struct kvmbox_error *err);
/* Another table than kb_vcpu_create's, before the first run. */
int kb_vcpu_set_cpuid(struct kb_vcpu *v, const struct kb_cpuid *cpuid, struct kvmbox_error *err);

/* Start states; see platforms/loader.h. Not while IO_PENDING (kb_vcpu_run() never leaves it so). */
int kb_vcpu_start_reset(struct kb_vcpu *v, struct kvmbox_error *err);
int kb_vcpu_start_protected32(struct kb_vcpu *v, uint32_t eip, uint32_t esp, uint64_t gdt, struct kvmbox_error *err);
int kb_vcpu_start_long64(struct kb_vcpu *v, uint64_t rip, uint64_t rsp, uint64_t gdt, uint64_t cr3,
			 struct kvmbox_error *err);
/* After one of these: registers in which a boot protocol hands something over. */
int kb_vcpu_start_args(struct kb_vcpu *v, uint32_t eax, uint32_t ebx, uint32_t esi, struct kvmbox_error *err);

/* After INIT: the bootstrap processor (id 0) starts as after reset, others wait for a SIPI. The local APIC stays as it is. */
int kb_vcpu_start_init(struct kb_vcpu *v, struct kvmbox_error *err);
/* Real mode at vector * 4 KiB. */
int kb_vcpu_start_sipi(struct kb_vcpu *v, uint8_t vector, struct kvmbox_error *err);

/*
 * Runs until stopped, a device asks for the end, or the guest cannot go on. KB_END_STOPPED, COUNTED and REQUESTED can be
 * continued. SHUTDOWN and ERROR fill err with a report. The vCPU is left consistent: no access is half done.
 */
enum kb_end kb_vcpu_run(struct kb_vcpu *v, struct kvmbox_error *err);
/*
 * The same in pieces, for several vCPUs on the calling thread: begin; steps, one stay in the guest each at most, until one returns
 * non-zero; finish, also after a failed begin, gives what kb_vcpu_run() would. A vCPU none of whose steps ended the run is
 * finished with its end set by the caller.
 */
int kb_vcpu_begin(struct kb_vcpu *v, struct kvmbox_error *err);
int kb_vcpu_step(struct kb_vcpu *v, struct kvmbox_error *err);
enum kb_end kb_vcpu_finish(struct kb_vcpu *v, struct kvmbox_error *err);
/* Has the vCPU something to do? One that has been asleep goes on at guest time t. */
bool kb_vcpu_awake(struct kb_vcpu *v, uint64_t t);
/* Any thread, async-signal-safe. */
void kb_vcpu_stop(struct kb_vcpu *v);
/* This thread, from a device: end the run after the access under way. */
void kb_vcpu_end(struct kb_vcpu *v);
/* For struct kb_line: the INTR pin. */
void kb_vcpu_intr(void *vcpu, int pin, bool level);
void kb_vcpu_nmi(struct kb_vcpu *v);
/* Messages of the local APIC; they take effect at the vCPU's next step. A SIPI is ignored unless it waits for one. */
void kb_vcpu_init(struct kb_vcpu *v);
void kb_vcpu_sipi(struct kb_vcpu *v, uint8_t vector);

/* Writes where the guest is into buf: RIP, mode, CPL, control registers, bytes at RIP. */
void kb_vcpu_where(struct kb_vcpu *v, char *buf, size_t size);

#endif
