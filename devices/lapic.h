/*
 * Local APIC of one vCPU (Intel SDM vol. 3, chapter "Advanced Programmable Interrupt
 * Controller (APIC)"): xAPIC mode, 4 KiB of registers at 0xFEE00000, and x2APIC mode, MSRs;
 * timer on simulated time (one-shot, periodic, TSC deadline), LINT0/LINT1 pins, IPIs, messages.
 *
 * The vCPU watches one wire, cfg.intr: high while kb_lapic_ack() has a vector
 * to give. It is right after every call and every register access.
 *
 * Not modelled: APIC base other than the default, SMM (SMIs are dropped, with a note). Not thread-safe: used on the box's thread only.
 */
#ifndef KB_LAPIC_H
#define KB_LAPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/line.h"
#include "devices/timer.h"
#include "vcpu/bus.h"
#include "vcpu/log.h"

#define KB_LAPIC_BASE 0xfee00000ull
#define KB_LAPIC_SIZE 0x1000ull
#define KB_LAPIC_MSR 0x800u /* x2APIC registers, KB_LAPIC_MSRS of them */
#define KB_LAPIC_MSRS 0x40u
#define KB_LAPIC_MSR_DEADLINE 0x6e0u
#define KB_LAPIC_BROADCAST UINT32_MAX /* destination: all, in every mode */

/* Delivery modes: bits 10:8 of LVT entries, ICR, I/O APIC entries and MSI data. */
enum kb_lapic_mode {
	KB_LAPIC_FIXED = 0,
	KB_LAPIC_LOWEST = 1,
	KB_LAPIC_SMI = 2,
	KB_LAPIC_NMI = 4,
	KB_LAPIC_INIT = 5,
	KB_LAPIC_SIPI = 6,
	KB_LAPIC_EXTINT = 7,
};

/* LVT entries in register order: 0x320 + 0x10 * entry. */
enum kb_lapic_lvt {
	KB_LAPIC_LVT_TIMER,
	KB_LAPIC_LVT_THERMAL,
	KB_LAPIC_LVT_PERF,
	KB_LAPIC_LVT_LINT0,
	KB_LAPIC_LVT_LINT1,
	KB_LAPIC_LVT_ERROR,
	KB_LAPIC_LVTS,
};

/* Callbacks get opaque; any may be NULL (nobody there). They may call back into the APIC. */
struct kb_lapic_config {
	struct kb_bus *mem;       /* NULL: somebody else has the page, who calls kb_lapic_read() and kb_lapic_write() */
	struct kb_timers *timers;
	const struct kb_log *log; /* may be NULL; kept */
	uint8_t id;               /* APIC ID after reset */
	uint64_t timer_hz;        /* timer input clock before the divider; 0: 1 GHz; at most 1 THz */
	bool virtual_wire;        /* reset state as PC firmware leaves it: enabled, LINT0 ExtINT, LINT1 NMI */
	bool directed_eoi;        /* software may suppress EOI broadcasts (version bit 24, SVR bit 12) */
	struct kb_line intr;      /* to the CPU: kb_lapic_ack() has something */
	void (*nmi)(void *opaque);
	void (*init)(void *opaque); /* the APIC is already in its INIT state */
	void (*sipi)(void *opaque, uint8_t vector);
	/* End of a level-triggered interrupt, unless software suppresses the broadcast: tell the I/O APICs. */
	void (*eoi)(void *opaque, uint8_t vector);
	/* A message for every *other* APIC that kb_lapic_matches(); always edge-triggered. */
	void (*ipi)(void *opaque, uint32_t dest, bool logical, enum kb_lapic_mode mode, uint8_t vector);
	/* INTA cycle to the 8259: its vector, or negative if there is none. NULL: ExtINT is ignored. */
	int (*extint_ack)(void *opaque);
	/* When the CPU's TSC reaches tsc, in ps of simulated time: at or before now if it has. NULL: no TSC-deadline mode. */
	uint64_t (*tsc_reaches)(void *opaque, uint64_t tsc);
	void *opaque;
};

struct kb_lapic;

/* Reset and on the bus. -EINVAL: timer_hz; -EEXIST: the page is taken; -ENOMEM. */
int kb_lapic_create(struct kb_lapic **out, const struct kb_lapic_config *cfg, struct kvmbox_error *err);
void kb_lapic_destroy(struct kb_lapic *l);
/* Machine reset: power-up state (or virtual wire), hardware enabled. The pins keep their level. */
void kb_lapic_reset(struct kb_lapic *l);

/* LINT0 (from the 8259's INTR) and LINT1 (NMI); kb_line receivers, lapic is the struct kb_lapic, pin is not used. */
void kb_lapic_extint(void *lapic, int pin, bool level);
void kb_lapic_lint1(void *lapic, int pin, bool level);
/* An event of the CPU itself: KB_LAPIC_LVT_THERMAL or _PERF (others do nothing). */
void kb_lapic_local(struct kb_lapic *l, enum kb_lapic_lvt entry);

/* Level of cfg.intr. */
bool kb_lapic_pending(const struct kb_lapic *l);
/*
 * The CPU takes an interrupt: its vector, now in service. An asserted ExtINT goes
 * first (it has no priority of its own and bypasses TPR and ISR); then the
 * highest vector in IRR above PPR. Neither: the spurious vector, ISR unchanged.
 */
int kb_lapic_ack(struct kb_lapic *l);

/* A message that addresses this APIC. False, and counted as dropped, if it has no effect (disabled, reserved mode, SMI). */
bool kb_lapic_deliver(struct kb_lapic *l, enum kb_lapic_mode mode, uint8_t vector, bool level_triggered);
/* Does a message to dest reach this APIC? Never while disabled by hardware. */
bool kb_lapic_matches(const struct kb_lapic *l, uint32_t dest, bool logical);
/* The lower, the sooner this APIC is given a lowest-priority message: its processor priority. */
unsigned kb_lapic_priority(const struct kb_lapic *l);

struct kb_lapic_message {
	uint32_t dest; /* KB_LAPIC_BROADCAST: all */
	bool logical;
	enum kb_lapic_mode mode;
};
/* What a message addresses; false: it is none. */
bool kb_lapic_decode(uint64_t addr, uint32_t data, struct kb_lapic_message *m);
/*
 * A write to 0xFEExxxxx by a device. The destination mode bit is honoured whatever
 * the redirection hint, as chipsets do. Counted as dropped: other addresses, other
 * destinations, reserved modes. Level-triggered deassert messages do nothing. True: it was taken.
 */
bool kb_lapic_msi(struct kb_lapic *l, uint64_t addr, uint32_t data);
uint64_t kb_lapic_dropped(const struct kb_lapic *l);

/* Task priority, 8 bits. CR8 is TPR >> 4. */
void kb_lapic_set_tpr(struct kb_lapic *l, uint8_t tpr);
uint8_t kb_lapic_get_tpr(const struct kb_lapic *l);
/*
 * IA32_APIC_BASE has changed, by a transition the SDM allows (KVM sees to that). Disabling (bit 11) loses the state (power-up
 * state without virtual wire on re-enabling); while disabled the page reads as ones, messages are
 * dropped, LINT0 is the CPU's INTR pin and LINT1 its NMI pin. With bit 10 it is in x2APIC mode; its page then is as disabled.
 */
void kb_lapic_set_base(struct kb_lapic *l, uint64_t base);

/* Its page: offset, 1 to 4 bytes within an aligned 4. For a bus region. */
uint64_t kb_lapic_read(void *lapic, uint64_t off, unsigned len);
void kb_lapic_write(void *lapic, uint64_t off, unsigned len, uint64_t value);
/* Its MSRs: KB_LAPIC_MSR and on, KB_LAPIC_MSR_DEADLINE. False: #GP. For a struct kb_msr_range. */
bool kb_lapic_msr_read(void *lapic, uint32_t index, uint64_t *value);
bool kb_lapic_msr_write(void *lapic, uint32_t index, uint64_t value);

#endif
