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
	KVMBOX_GUEST_AUTO,  /* ELF by its magic, else refused: say which */
	KVMBOX_GUEST_ELF,   /* ELF64: long mode, identity paging; ELF32: protected mode */
	KVMBOX_GUEST_FLAT,  /* raw bytes at guest_base, 64-bit entry at guest_entry */
	KVMBOX_GUEST_RESET, /* firmware image ending at 4 GiB, real mode at F000:FFF0 */
};

enum kvmbox_clock_source {
	KVMBOX_CLOCK_TSC,   /* host TSC ticks spent in the guest x time_scale */
	KVMBOX_CLOCK_FIXED, /* every exit costs fixed_exit_ps, computing is free: reproducible */
};

/* How a slice meets its end, an event due at t. */
enum kvmbox_slices {
	KVMBOX_SLICES_PRECISE, /* the guest is kicked early by the host's measured latency and stalls up to t */
	KVMBOX_SLICES_EAGER,   /* it is kicked at t and leaves as late as the host lets it */
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
	uint64_t guest_base;      /* flat: load address */
	uint64_t guest_entry;     /* flat: first instruction */
	char *cpu;                /* CPUID edits: "+name,-name,..." */
	uint64_t quantum_ps;      /* longest lead of the guest over the simulator; not 0 */
	enum kvmbox_clock_source clock;
	double time_scale;        /* simulated seconds per second of guest CPU time */
	uint64_t fixed_exit_ps;   /* clock=fixed: cost of one exit */
	enum kvmbox_slices slices;
	bool slice_to_events;     /* end slices at the simulator's next event, too */
	char *pace;               /* none realtime realtime*FACTOR; for the simulator: the box itself does not pace */
	bool assign_bars;         /* the box gives BARs addresses before the guest starts */
	char *serial;             /* COM1 back end: null stdio file:PATH pty unix:PATH memory */
	char *debugcon;           /* port 0xE9 back end, same syntax */
	char *start_date;         /* RTC at time 0: "YYYY-MM-DDTHH:MM:SS" (UTC) or "host" */
	uint64_t completion_timeout_ps; /* for the simulator side (kvmbox/tlm.h keeps it): a target that takes longer fails the access; 0: never */
	bool reset_ends;          /* guest reset ends the run instead of restarting the guest */
};

void kvmbox_config_init(struct kvmbox_config *cfg);
void kvmbox_config_clear(struct kvmbox_config *cfg);
/* Deep copy; dst's old content is overwritten, not freed. -ENOMEM: dst is cleared. */
int kvmbox_config_copy(struct kvmbox_config *dst, const struct kvmbox_config *src);
/* One key. Sizes take K/M/G, times take ps/ns/us/ms/s, booleans yes/no. -EINVAL names key, value and what is accepted. */
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
	/* An access to a function. Returns 0, or a negative errno: reads give ones, writes are dropped. */
	int (*transport)(void *opaque, struct kvmbox_access *access);
	/* A function's command register (PCI 3.0 section 6.2.2) changed. May be NULL. */
	void (*command_changed)(void *opaque, struct kvmbox_function *function, uint16_t command);
	/* A message. May be NULL. */
	void (*log)(void *opaque, enum kvmbox_log_level level, const char *msg);
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
};

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
};

/*
 * Runs the guest on the calling thread until it ends. Returns 0 for
 * END_EXIT, END_STOPPED, END_RESET and END_POWEROFF; a negative errno for SHUTDOWN
 * and ERROR with a report (reason, RIP, mode, bytes at RIP). May be called
 * again after END_STOPPED.
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
/* Guest time: of the vCPU's next instruction. */
uint64_t kvmbox_time(const struct kvmbox_box *box);
/* Another quantum from the next slice on. -EINVAL: 0, or longer than a day. */
int kvmbox_set_quantum(struct kvmbox_box *box, uint64_t quantum_ps);
const struct kvmbox_config *kvmbox_get_config(const struct kvmbox_box *box);

/* ---- calls up: what devices do to the box -------------------------------- */

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

/* ---- statistics ---------------------------------------------------------- */

struct kvmbox_stats {
	uint64_t guest_ps;        /* guest clock */
	uint64_t host_guest_ns;   /* host time inside KVM_RUN */
	uint64_t entries;         /* KVM_RUN calls */
	uint64_t exits_mmio, exits_pio, exits_hlt, exits_kick, exits_window, exits_other;
	uint64_t slices;          /* yields to the simulator */
	uint64_t interrupts, nmis;
	uint64_t transports, transport_errors; /* accesses to functions */
	uint64_t dma_bytes, dma_errors;
	uint64_t msis;
	uint64_t unassigned;      /* accesses nobody decoded */
};
void kvmbox_get_stats(const struct kvmbox_box *box, struct kvmbox_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
