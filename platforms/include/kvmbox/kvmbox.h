/*
 * kvmbox/kvmbox.h - the C ABI of the box: callbacks down, calls up, no C++
 * types, no exceptions. kvmbox/tlm.h is SystemC on top of this; any other
 * simulator can sit here as well (see examples/plain_c).
 *
 * Units: time in picoseconds of simulated time, sizes and offsets in bytes.
 * Threads: everything is called on one thread, the one that calls
 * kvmbox_run(), except kvmbox_stop(), which any thread and signal handlers
 * may call. Callbacks come on the same thread, from within
 * kvmbox_run(). Callbacks may call every "up" function except
 * kvmbox_run() and kvmbox_destroy().
 * Errors: 0 or a positive result on success, a negative errno on failure, with
 * a message in err (which may be NULL).
 */
#ifndef KVMBOX_KVMBOX_H
#define KVMBOX_KVMBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <kvmbox/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kvmbox_box;          /* one PC */
struct kvmbox_function; /* one PCI function of it, implemented outside the box */

#define KVMBOX_TIME_NEVER UINT64_MAX

/* ---- configuration ------------------------------------------------------ */

/* How a load into the box starts the CPU. */
enum kvmbox_guest_format {
	KVMBOX_GUEST_AUTO,  /* the first of these that the file says it is: bzImage, PVH, multiboot 2 and 1, vmlinux, ELF; else refused */
	KVMBOX_GUEST_ELF,   /* ELF64: long mode, identity paging; ELF32: protected mode */
	KVMBOX_GUEST_FLAT,  /* raw bytes at guest_base, 64-bit entry at guest_entry */
	KVMBOX_GUEST_RESET, /* firmware image ending at 4 GiB, real mode at F000:FFF0 */
	KVMBOX_GUEST_LINUX, /* bzImage, or an ELF file with a PVH entry or of a Linux kernel, by Linux's or Xen's boot protocol */
	KVMBOX_GUEST_MULTIBOOT, /* multiboot 2 or 1 */
};

enum kvmbox_clock_source {
	KVMBOX_CLOCK_TSC,   /* host TSC ticks spent in the guest x time_scale */
	KVMBOX_CLOCK_FIXED, /* every exit costs fixed_exit_ps, computing is free: reproducible */
	KVMBOX_CLOCK_STEP,  /* every instruction takes step_ps: reproducible and exact, but single-stepped */
	KVMBOX_CLOCK_PERF_CYCLES, /* cycles the host's PMU counts in the guest, cycle_ps each */
	KVMBOX_CLOCK_PERF_INSNS,  /* instructions it counts there, step_ps each */
	KVMBOX_CLOCK_HOST,  /* the host's time, in the guest and out of it, as of any virtual machine */
};

/* Whose interrupt controllers and PIT the guest has. */
enum kvmbox_irqchip {
	KVMBOX_IRQCHIP_USER,   /* the box's models, on simulated time */
	KVMBOX_IRQCHIP_KERNEL, /* KVM's: quicker, but their timers follow the wall clock. Only with clock=host and one CPU */
};

/* How kvmbox_stop_after() counts. */
enum kvmbox_counting {
	KVMBOX_COUNTING_STEP, /* by single steps, all of them */
	KVMBOX_COUNTING_PMU,  /* by the host's PMU up to short of the number, the rest by steps */
};

/* How a slice meets its end, an event due at t. */
enum kvmbox_slices {
	KVMBOX_SLICES_PRECISE, /* the guest is kicked early by the host's measured latency and stalls up to t */
	KVMBOX_SLICES_EAGER,   /* it is kicked at t and leaves as late as the host lets it */
};

/* What the guest's time-stamp counter counts. */
enum kvmbox_tsc {
	KVMBOX_TSC_AUTO,  /* guest where that works, else host */
	KVMBOX_TSC_GUEST, /* simulated time; kvmbox_create() fails where it cannot */
	KVMBOX_TSC_HOST,  /* the host's TSC, exits, simulation and all */
};

/* What the box does about what KVM on this host cannot (vcpu/assist.h). */
enum kvmbox_assists {
	KVMBOX_ASSISTS_AUTO, /* completes it; what this host needs, and only that, was found out at the start */
	KVMBOX_ASSISTS_NO,   /* nothing: such an instruction ends the run with a report */
};

/* How accesses of a function meet simulated time. */
enum kvmbox_access_mode {
	KVMBOX_SYNCHRONISED,  /* simulator first reaches the guest's time; delay starts at 0 */
	KVMBOX_LOOSELY_TIMED, /* no wait; delay starts as the guest's lead over the simulator */
};

/*
 * Set with kvmbox_config_init() and then field by field, or by
 * kvmbox_config_set() / kvmbox_config_parse() from strings. Strings are owned
 * by the config (kvmbox_config_set copies); free with kvmbox_config_clear().
 * The keys of the string form are the field names; kvmbox_config_help() lists
 * them with units and defaults.
 */
struct kvmbox_config {
	uint64_t ram;             /* bytes of guest RAM, multiple of 4 KiB */
	bool hugepages;           /* advise transparent huge pages for RAM */
	char *guest;              /* path of the guest program; NULL: nothing is loaded */
	enum kvmbox_guest_format guest_format;
	char *initrd;             /* linux: the initial RAM disk; multiboot: module 0; a path, NULL: none */
	char *cmdline;            /* linux, multiboot: the command line; NULL or empty: none */
	uint64_t guest_base;      /* flat: load address */
	uint64_t guest_entry;     /* flat: first instruction */
	char *fw_cfg;             /* guest_format=reset: more files for the firmware, NAME:FILE[,NAME:FILE]... */
	uint64_t boot_menu_ps;    /* guest_format=reset: how long the firmware waits for a key that opens its boot menu; 0: it has none */
	char *disk, *disk2;       /* IDE disks, as kvmbox/block.h spells them; NULL: none */
	char *cpu;                /* "[MODEL][,+feature,-feature,...][,key=value,...]"; see kvmbox-info(1), --cpus */
	enum kvmbox_irqchip irqchip;
	unsigned cpus;            /* how many; they take turns on the thread of kvmbox_run() */
	uint64_t cpu_quantum_ps;  /* longest lead of one CPU over another, so what an interrupt between them may be late; not 0 */
	uint64_t quantum_ps;      /* longest lead of the guest over the simulator; not 0 */
	enum kvmbox_clock_source clock;
	double time_scale;        /* simulated seconds per second of guest CPU time */
	uint64_t fixed_exit_ps;   /* clock=fixed: cost of one exit */
	uint64_t step_ps;         /* clock=step, perf-insns: what one instruction takes, before time_scale */
	uint64_t cycle_ps;        /* clock=perf-cycles: what one cycle takes, before time_scale */
	enum kvmbox_counting count;
	enum kvmbox_slices slices;
	bool slice_to_events;     /* end slices at the simulator's next event, too; arrivals of posted writes end them anyway */
	char *pace;               /* none realtime realtime*FACTOR; for the simulator: the box itself does not pace */
	bool assign_bars;         /* the box gives BARs addresses before the guest starts */
	char *serial;             /* COM1 back end: null stdio file:PATH pty unix:PATH memory */
	char *debugcon;           /* debug console back end, same syntax */
	uint64_t debugcon_port;   /* where it is: 0xE9; 0x402 is where SeaBIOS and OVMF write to */
	bool pvclock;             /* kvm-clock: a page from which the guest reads simulated time without an exit */
	enum kvmbox_tsc tsc;
	uint64_t tsc_bound_ps;    /* tsc=guest: set the TSC at an entry when it would be off by more */
	enum kvmbox_assists assists;
	char *start_date;         /* RTC and wall clock at time 0: "YYYY-MM-DDTHH:MM:SS" (UTC) or "host" */
	uint64_t completion_timeout_ps; /* for the simulator side (kvmbox/tlm.h keeps it): a target that takes longer fails the access; 0: never */
	bool reset_ends;          /* guest reset ends the run instead of restarting the guest */
	/* What accesses to BARs cost beside the target's time; functions may have their own. At most a day each. */
	uint64_t bus_request_ps;    /* from CPU to device: the target sees an access that much after the guest made it */
	uint64_t bus_completion_ps; /* from device to CPU: a read's data, a non-posted write's completion */
	uint64_t posted_write_ps;   /* what a posted write costs the guest, whatever its target takes */
	bool stats;               /* for the simulator side, as the next: print statistics to stdout when the guest has ended */
	char *stats_json;         /* write them to this file as well; NULL: do not */
};

void kvmbox_config_init(struct kvmbox_config *cfg);
void kvmbox_config_clear(struct kvmbox_config *cfg);
/* Deep copy; dst's old content is overwritten, not freed. -ENOMEM: dst is cleared. */
int kvmbox_config_copy(struct kvmbox_config *dst, const struct kvmbox_config *src);
/*
 * One key. Sizes take K/M/G, times take ps/ns/us/ms/s, booleans yes/no. The key "cmdline+" adds to the command line, after a
 * blank. -EINVAL names key, value and what is accepted.
 */
int kvmbox_config_set(struct kvmbox_config *cfg, const char *key, const char *value,
		      struct kvmbox_error *err);
/* "key=value key=value ..." separated by blanks; values may be quoted with '' or "". */
int kvmbox_config_parse(struct kvmbox_config *cfg, const char *text, struct kvmbox_error *err);
/* The key pace as a number: simulated seconds per second of the wall clock, 0: not paced. */
double kvmbox_config_pace(const struct kvmbox_config *cfg);
/* One line per key: name, unit, default, meaning. */
void kvmbox_config_help(FILE *out);

/* ---- the simulator's side ------------------------------------------------ */

enum kvmbox_space { KVMBOX_SPACE_MEMORY, KVMBOX_SPACE_IO };

/* One bus cycle to a PCI function. */
struct kvmbox_access {
	struct kvmbox_function *function;
	enum kvmbox_space space;
	unsigned bar;     /* 0-5 */
	uint64_t offset;  /* in the BAR */
	uint8_t *data;    /* len bytes, little endian; filled by reads */
	unsigned len;     /* 1, 2, 4 or 8, naturally aligned, never above the function's max_access */
	bool write;
	uint64_t delay_ps; /* in: the guest's lead over the simulator (0 when synchronised); out: the
			    * guest continues at simulator time + delay_ps */
};

enum kvmbox_wait {
	KVMBOX_WAIT_UNTIL, /* return when the simulator has reached the time */
	KVMBOX_WAIT_IDLE,  /* may return earlier, as soon as an up-call gave the guest a reason to wake */
};

/* Filled by the simulator; must outlive the box. opaque is kvmbox_create's. */
struct kvmbox_ops {
	/*
	 * The box yields: let the simulator run until t_ps (KVMBOX_TIME_NEVER:
	 * until woken). With t_ps at or before now() it gives everything due at
	 * this time one turn (a delta cycle) and returns. Returns 0, or a negative
	 * value to end the run; an access that waited for the time is then still
	 * handed over, with the guest's lead as its delay.
	 */
	int (*check_wait)(void *opaque, uint64_t t_ps, enum kvmbox_wait how);
	/* The simulator's time. */
	uint64_t (*now)(void *opaque);
	/* Time of the simulator's next event, KVMBOX_TIME_NEVER if none. May be NULL. */
	uint64_t (*next_event)(void *opaque);
	/*
	 * An access to a function whose end the guest waits for: reads, non-posted writes. What was posted to the function
	 * before completes first (PCI 3.0 section 3.2.5). Returns 0, or a negative errno: reads give ones, writes are dropped.
	 */
	int (*transport)(void *opaque, struct kvmbox_access *access);
	/* A function's command register (PCI 3.0 section 6.2.2) changed. May be NULL. */
	void (*command_changed)(void *opaque, struct kvmbox_function *function, uint16_t command);
	/* A message. May be NULL. */
	void (*log)(void *opaque, enum kvmbox_log_level level, const char *msg);
	/*
	 * A posted write (PCI 3.0 section 3.2.5): memory writes, unless the function is configured otherwise. The guest
	 * leaves it to the simulator and goes on. It arrives at at_ps; access->delay_ps is the guest's lead now, less than
	 * at_ps by the bus latency. Synchronised: the target sees it when the simulator has reached at_ps, and next_event()
	 * is not later than that. Loosely timed: it may see it at once, with at_ps less now() as its delay. A function's
	 * writes stay in order, and each begins when the one before has completed. access and its data are valid during
	 * the call only. Returns at once, unless there is no room: then it may let the simulator run until there is, and
	 * the guest stalls until now(). Returns 0; -EAGAIN: do this one by transport; another negative errno: it is
	 * dropped. One that fails later is told by kvmbox_post_failed(). NULL: every write goes by transport.
	 */
	int (*post)(void *opaque, const struct kvmbox_access *access, uint64_t at_ps);
	/*
	 * Lets the simulator run until everything posted to function (NULL: to all of them) has completed: the guest
	 * accesses the function's configuration space, or is reset. Returns 0, or a negative value to end the run. NULL
	 * only without post.
	 */
	int (*push)(void *opaque, struct kvmbox_function *function);
};

/* ---- life cycle ---------------------------------------------------------- */

/*
 * Makes the PC: VM, vCPU, RAM, chipset. cfg is copied. On failure *out is
 * NULL and nothing is left behind. -ENOENT, -EACCES, -ENODEV: /dev/kvm is not
 * usable, the message says why and what to do; -EINVAL: configuration;
 * -ENOMEM; other errnos from KVM.
 */
int kvmbox_create(struct kvmbox_box **out, const struct kvmbox_config *cfg,
		  const struct kvmbox_ops *ops, void *opaque, struct kvmbox_error *err);
void kvmbox_destroy(struct kvmbox_box *box);

/* A base address register. size 0: not implemented. */
struct kvmbox_bar {
	uint64_t size;      /* power of two; memory >= 16, I/O 4..256 */
	bool io;
	bool is64;          /* memory: takes the next BAR as upper half */
	bool prefetchable;
};

struct kvmbox_function_config {
	const char *name;          /* for messages; copied */
	int slot, fn;              /* device 0-31 and function 0-7; slot -1: the next free device */
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code;       /* 24 bits: base class, subclass, interface */
	uint8_t revision;
	struct kvmbox_bar bar[6];
	unsigned intx_pin;         /* 0 none, 1-4 = INTA-INTD */
	unsigned msi_vectors;      /* 0, 1, 2, 4, 8, 16 or 32 */
	unsigned msix_vectors;     /* 0-2048 */
	unsigned msix_bar;         /* BAR that holds table and PBA; the box serves that part itself */
	uint32_t msix_table_offset, msix_pba_offset; /* multiple of 8; both 0: the box lays them out */
	bool power_management;     /* PM capability, D0/D3hot */
	const void *vendor_cap;    /* body of a vendor-specific capability, copied; NULL: none */
	unsigned vendor_cap_len;   /* bytes behind the length byte */
	const void *rom;           /* expansion ROM image, copied; served by the box; NULL: none */
	size_t rom_size;
	enum kvmbox_access_mode mode;
	unsigned max_access;       /* widest access handed over: 1, 2, 4 or 8; 0 means 8 */
	bool non_posted_writes;    /* memory writes stall the guest until they complete, as reads do */
	uint64_t bus_request_ps, bus_completion_ps, posted_write_ps; /* 0: the box's; KVMBOX_NO_LATENCY: none */
};

#define KVMBOX_NO_LATENCY UINT64_MAX

/* Adds a function; before the first kvmbox_run(). -EINVAL, -EEXIST (slot taken), -ENOSPC, -ENOMEM. */
int kvmbox_add_function(struct kvmbox_box *box, const struct kvmbox_function_config *cfg, void *opaque,
			struct kvmbox_function **out, struct kvmbox_error *err);
void *kvmbox_function_opaque(const struct kvmbox_function *function);
const char *kvmbox_function_name(const struct kvmbox_function *function);
/* bus << 8 | device << 3 | function */
unsigned kvmbox_function_bdf(const struct kvmbox_function *function);
/* Where the guest has put a BAR; false while it is not decoded. */
bool kvmbox_function_bar_address(const struct kvmbox_function *function, unsigned bar, uint64_t *address);

enum kvmbox_end_reason {
	KVMBOX_END_NONE,     /* still going */
	KVMBOX_END_EXIT,     /* guest wrote the debug-exit port; kvmbox_exit_status() */
	KVMBOX_END_STOPPED,  /* kvmbox_stop() or check_wait said so; can be run again */
	KVMBOX_END_RESET,    /* guest reset the machine and reset_ends is set */
	KVMBOX_END_POWEROFF, /* guest turned the machine off (ACPI S5): a clean end, exit status 0 */
	KVMBOX_END_SHUTDOWN, /* triple fault */
	KVMBOX_END_ERROR,    /* KVM or the guest cannot go on: see the message */
	KVMBOX_END_COUNTED,  /* kvmbox_stop_after()'s instructions are done; can be run again */
};

/*
 * Runs the guest on the calling thread until it ends. Returns 0 for
 * END_EXIT, END_STOPPED, END_COUNTED, END_RESET and END_POWEROFF; a negative errno for SHUTDOWN
 * and ERROR with a report (reason, RIP, mode, bytes at RIP). May be called
 * again after END_STOPPED and END_COUNTED.
 */
int kvmbox_run(struct kvmbox_box *box, struct kvmbox_error *err);
enum kvmbox_end_reason kvmbox_end(const struct kvmbox_box *box);
/* Status the guest wrote to the debug-exit port (0-255); 0 if it powered off; -1 if neither. */
int kvmbox_exit_status(const struct kvmbox_box *box);
/*
 * Ends kvmbox_run() soon, or the next one at once when none is under way. Any thread, async-signal-safe. A
 * simulator that sleeps in check_wait must be woken by other means.
 */
void kvmbox_stop(struct kvmbox_box *box);
#define KVMBOX_COUNT_NEVER UINT64_MAX
/*
 * kvmbox_run() ends with END_COUNTED when exactly this many further instructions are done: before the next one, and before
 * an interrupt that is due then is taken. 0: at once. KVMBOX_COUNT_NEVER: forgets an earlier call, as every further call does;
 * other ends do not. From a callback within an access: its instruction is the first one.
 *
 * An instruction is one that completes, in any ring, run by the CPU or emulated by KVM. Each iteration of a REP string
 * instruction is one (a count of 0: one in all); one that accesses devices is done after its last access; HLT is when it halts,
 * and the time halted counts nothing; INT n, INT3 and SYSCALL count. An instruction that faults does not, and taking an
 * interrupt or exception is none: the first one of its handler is the next.
 *
 * Works with every clock. The guest is single-stepped up to there (some 10 us of host time per instruction where KVM
 * emulates ring 0, several times that in ring 3), and clock=tsc counts what of that was spent in the guest.
 * With count=pmu only the last ten thousand are stepped: the guest runs freely up to an overflow of the host's performance counter that
 * is armed so much short of the number. (Not with clock=step, which steps anyway.) An overflow later than that ends the run with END_ERROR and the message how
 * late, as does a counter that another user of the PMU takes away; a wrong place is never passed off as the right one. What the
 * PMU sees counts there: as above, but a REP string instruction over RAM is one, not one per iteration, and what
 * KVM executes itself without telling the box (CPUID, some MSRs and control registers) is none.
 * -EOPNOTSUPP: KVM on this host cannot single-step (kvmbox-info says so), or the box has more than one CPU.
 */
int kvmbox_stop_after(struct kvmbox_box *box, uint64_t instructions, struct kvmbox_error *err);
/* Guest time: of the next instruction; with several CPUs, of the one whose turn it is. */
uint64_t kvmbox_time(const struct kvmbox_box *box);
/* Another quantum from the next slice on. -EINVAL: 0, or longer than a day. */
int kvmbox_set_quantum(struct kvmbox_box *box, uint64_t quantum_ps);
const struct kvmbox_config *kvmbox_get_config(const struct kvmbox_box *box);

/* ---- calls up: what devices do to the box -------------------------------- */

/* A write that post() took has failed: it is counted in transport_errors. */
void kvmbox_post_failed(struct kvmbox_function *function);

/* Drives the function's INTx pin (active = asserted). */
void kvmbox_intx(struct kvmbox_function *function, bool active);
/*
 * Signals MSI-X (if enabled, else MSI) vector. Masked vectors become pending.
 * 1 sent, 0 pending, -ENODEV neither is enabled (use INTx), -EINVAL no such vector,
 * -EPERM bus mastering is off.
 */
int kvmbox_msi(struct kvmbox_function *function, unsigned vector);
/*
 * DMA to guest memory; function NULL: the chipset itself. A 4-byte write into
 * 0xFEE00000-0xFEEFFFFF is an MSI. -EPERM bus mastering is off, -EFAULT
 * the range is not all RAM (nothing was transferred).
 */
int kvmbox_dma(struct kvmbox_box *box, struct kvmbox_function *function, uint64_t addr, void *buf,
	       size_t len, bool write);
/* Host pointer to the byte at addr, NULL if that is not RAM or ROM. start/end: of the region around it, inclusive. */
uint8_t *kvmbox_dma_ptr(struct kvmbox_box *box, uint64_t addr, uint64_t *start, uint64_t *end, bool *readonly);
/* May the function master the bus (command register bit 2)? */
bool kvmbox_bus_master(const struct kvmbox_function *function);
/* Presses the ACPI power button: the guest gets an SCI if it has enabled that event. */
void kvmbox_power_button(struct kvmbox_box *box);
/* The in-memory back end of COM1: bytes the guest sent so far; and bytes for it to receive. */
size_t kvmbox_serial_output(struct kvmbox_box *box, const char **text);
int kvmbox_serial_input(struct kvmbox_box *box, const void *bytes, size_t len);
/* File descriptors whose readability is a reason to call kvmbox_poll() while the box is idle; returns how many. */
size_t kvmbox_poll_fds(const struct kvmbox_box *box, int *fds, size_t max);
/* Lets character back ends take input. True if a device may now have a reason to interrupt. */
bool kvmbox_poll(struct kvmbox_box *box);
/*
 * More that is polled when the box's own back ends are, and wakes an idle box: for models outside of the box with
 * a back end of their own (kvmbox/net.h, kvmbox/block.h). The caller's; stays where it is until it is removed or the box
 * destroyed. poll() may remove its own.
 */
struct kvmbox_watch {
	size_t (*fds)(void *opaque, int *fds, size_t max); /* as kvmbox_poll_fds() */
	bool (*poll)(void *opaque);                        /* as kvmbox_poll() */
	void *opaque;
	struct kvmbox_watch *next;                         /* the box's */
};
void kvmbox_add_watch(struct kvmbox_box *box, struct kvmbox_watch *watch);
void kvmbox_remove_watch(struct kvmbox_box *box, struct kvmbox_watch *watch);

/* ---- statistics ---------------------------------------------------------- */

#define KVMBOX_OVERSHOOT_BUCKETS 103

/*
 * Of all kvmbox_run() of the box together. Times: _ps simulated, _ns of the host; everything else is a count. All of it
 * costs a few readings of the host's TSC per access.
 *
 * Host time is the time within kvmbox_run(), but for getting the guest ready to start, and is the sum of five:
 * - guest: within KVM_RUN, less what entries and exits cost (as measured on this host at the start);
 * - stolen: within KVM_RUN as well, but the host had given the CPU to somebody else (as far as its kernel tells);
 * - exits: entries and exits, and all that the box does itself, chipset devices included;
 * - simulator: within the callbacks of struct kvmbox_ops, with what the simulator calls up from there;
 * - idle: what the simulator says that it slept there, see kvmbox_slept().
 *
 * A slice is what the guest computes between two moments at which it loses control to the simulator or reaches a
 * chipset timer. Exits that the box serves by itself do not end it. The slice under way is not counted.
 */
struct kvmbox_stats {
	uint64_t guest_ps;          /* guest clock */
	uint64_t simulated_ps;      /* how far kvmbox_run() has moved it */
	uint64_t host_ns;           /* the sum of the next five */
	uint64_t host_guest_ns, host_stolen_ns, host_exits_ns, host_simulator_ns, host_idle_ns;
	uint64_t host_kvm_ns;       /* entries and exits; part of host_exits_ns */

	uint64_t entries;           /* KVM_RUN calls, but for those that only complete an access */
	uint64_t exits;             /* the sum of the next nine */
	uint64_t exits_mmio;        /* accesses to memory addresses */
	uint64_t exits_pio;         /* accesses to ports */
	uint64_t exits_hlt;
	uint64_t exits_kick;        /* the end of a slice, or any other signal */
	uint64_t exits_window;      /* the guest has become ready for an interrupt that waits */
	uint64_t exits_msr;         /* accesses to MSRs that the box serves, or that nobody knows */
	uint64_t exits_step;        /* a single step is done */
	uint64_t exits_assist;      /* the box completed what KVM on this host cannot */
	uint64_t exits_other;

	uint64_t slices;            /* the sum of the next six */
	uint64_t slices_quantum;    /* the guest was a quantum ahead */
	uint64_t slices_timer;      /* a chipset timer was due */
	uint64_t slices_event;      /* an event of the simulator was due, a posted write to arrive, or a pause */
	uint64_t slices_access;     /* an access to a function, posted ones included */
	uint64_t slices_halt;       /* the guest waits for an interrupt */
	uint64_t slices_end;        /* kvmbox_run() ended: stopped, guest's exit or reset, error */
	uint64_t stalls;            /* slices, or rests of them, too short to run in: charged instead */
	uint64_t yields;            /* check_wait calls */

	/* What the box completed at exits_assist, or while it stepped the guest. */
	uint64_t assists_syscall;   /* system calls from ring 3 */
	uint64_t assists_fault;     /* page faults that had to be told from these */
	uint64_t assists_int;       /* INT3, INT n, IRET */
	uint64_t assists_xsave;     /* XSAVE, XRSTOR and their kin */
	uint64_t assists_system;    /* other instructions of kernels */
	uint64_t assists_integer;   /* POPCNT, CMPXCHG16B */
	uint64_t assists_native;    /* vector, x87 and the like: run by the CPU in a VM of their own */
	uint64_t assists_undefined; /* no instructions: #UD */

	uint64_t steps;             /* instructions while the guest was stepped (clock=step, kvmbox_stop_after()) */
	uint64_t interrupts, nmis;  /* that the CPU took */
	uint64_t msis;              /* messages, from functions and by DMA */
	uint64_t transports, transport_errors; /* accesses to functions */
	uint64_t dma_bytes, dma_errors;
	uint64_t unassigned;        /* accesses nobody decoded */

	/* By how much slices that a kick ended ran too far, see kvmbox_overshoot_limit(). Bucket 0: not at all. */
	uint64_t overshoot_max_ps;
	uint64_t overshoot[KVMBOX_OVERSHOOT_BUCKETS];
};
/* At any time, also within a run. */
void kvmbox_get_stats(const struct kvmbox_box *box, struct kvmbox_stats *stats);
/* Overshoots in the bucket are less than this, in ps; UINT64_MAX: the last bucket. Ten buckets to the decade. */
uint64_t kvmbox_overshoot_limit(unsigned bucket);
/* What at least the given share (0 to 1) of the overshoots does not exceed, in ps, rounded up to a bucket's limit: 0.5 is the median. */
uint64_t kvmbox_overshoot_quantile(const struct kvmbox_stats *stats, double share);
/* Simulated time per host time of the run; 0 when there was none. */
double kvmbox_real_time_factor(const struct kvmbox_stats *stats);
/* A table for people to read; its form may change. */
void kvmbox_stats_print(const struct kvmbox_stats *stats, FILE *out);
/*
 * For programs: a JSON object with the fields of struct kvmbox_stats by their names, as integers (above INT64_MAX, which JSON
 * readers rarely take: rounded, as a real), and:
 *   "version": the box's, a string; "real_time_factor": a real;
 *   "overshoots", "overshoot_median_ps", "overshoot_p99_ps": how many, and quantiles;
 *   "overshoot": an array of the buckets that are not empty, {"below_ps": limit (null: none), "count": n}.
 * Overwrites the file. Negative errno with a message that names the path.
 */
int kvmbox_stats_write_json(const struct kvmbox_stats *stats, const char *path, struct kvmbox_error *err);
/*
 * An up-call: the simulator has slept for host_ns in the callback under way, be it to keep to a wall clock or for input.
 * Only for the statistics. Ignored outside of callbacks; more than the simulator's time counts as all of it.
 */
void kvmbox_slept(struct kvmbox_box *box, uint64_t host_ns);

#ifdef __cplusplus
}
#endif

#endif
