/*
 * The tables a PC's firmware leaves in memory, for guests that are loaded without firmware: ACPI (acpi.h), SMBIOS
 * (smbios.h), MP table (mptable.h), BIOS data area, and the memory map that loaders hand on.
 *
 * Where they are, all of it RAM that the memory map calls reserved:
 *   0x00400  BIOS data area
 *   0x9FC00  EBDA, 1 KiB: the MP floating pointer at 0x9FC10, where Linux looks second
 *   0xE0000  ACPI, the RSDP first
 *   0xF0000  SMBIOS, the entry point first; then the MP configuration table
 * Each is what a guest's scan meets first: on hosts that emulate ring 0, scanning 64 KiB takes seconds.
 */
#ifndef KB_TABLES_H
#define KB_TABLES_H

#include <stdbool.h>
#include <stdint.h>

#include "platforms/buf.h"
#include "vcpu/bus.h"

#define KB_TABLES_BDA 0x400u
#define KB_TABLES_BDA_SIZE 0x100u
#define KB_TABLES_EBDA 0x9fc00u
#define KB_TABLES_EBDA_SIZE 0x400u
#define KB_TABLES_MP_POINTER (KB_TABLES_EBDA + 0x10u)
#define KB_TABLES_ACPI 0xe0000u
#define KB_TABLES_RSDP KB_TABLES_ACPI /* for loaders that hand it on */
#define KB_TABLES_SMBIOS 0xf0000u
#define KB_TABLES_END 0x100000u

#define KB_TABLES_CPUS_MAX 254u
#define KB_TABLES_PORTS_MAX 8

struct kb_tables_window {
	uint64_t base, size; /* size 0: none */
};

/* All that the tables tell. Interrupts: gsi is an I/O APIC pin, irq an ISA interrupt. */
struct kb_tables_config {
	/* CPUs: APIC IDs 0, 1, ... below cpus. */
	unsigned cpus;               /* 1-KB_TABLES_CPUS_MAX */
	const char *cpu_vendor, *cpu_name; /* NULL: not told */
	uint32_t cpu_signature, cpu_features; /* CPUID.1 EAX, EDX */

	uint64_t ram_below_4g, ram_above_4g; /* bytes from 0 and from 4 GiB on */

	uint32_t lapic_base, ioapic_base;
	uint8_t ioapic_id, ioapic_version; /* what its registers say */
	uint8_t pit_gsi;             /* where ISA interrupt 0 arrives */
	bool pic_on_pin0;            /* the 8259s' INTR goes to I/O APIC pin 0 as well as to LINT0 */
	uint32_t hpet_base;          /* 0: no HPET */
	uint32_t hpet_id;            /* low half of its capabilities register */
	uint16_t hpet_min_tick;      /* shortest period without lost interrupts, in its ticks */

	/* ACPI's fixed hardware, always in ACPI mode (SCI_EN reads as 1). */
	uint8_t sci_irq;             /* level, active high */
	uint16_t pm_event, pm_control, pm_timer; /* ports; 4, 2, 4 bytes */
	bool pm_timer_32bit;         /* else 24 bits count */
	bool power_button;           /* PWRBTN_STS/EN are there */
	bool rtc_event;              /* RTC_STS/EN are there */
	uint16_t reset_port;
	uint8_t reset_value;
	uint8_t s5_type;             /* SLP_TYP that means power off */

	/* PCI */
	uint8_t pci_last_bus;
	struct kb_tables_window pci_io, pci_mem32, pci_mem64;
	uint64_t ecam_base;          /* of bus 0; 0: no ECAM: no MCFG */
	uint8_t pirq_gsi[4], pirq_irq[4]; /* PIRQA-D with and without I/O APIC; pin p of slot n is PIRQ (n + p) % 4 */

	uint16_t com1_port;          /* 0: none */
	uint8_t com1_irq;
	bool i8042;                  /* tell of the keyboard controller: guests will look for a keyboard */
	/* More ports that are taken. */
	struct { uint16_t port; uint8_t len; } ports[KB_TABLES_PORTS_MAX]; /* len 0: unused */

	/* SMBIOS */
	const char *version;         /* of the product; NULL: "" */
	uint8_t uuid[16];            /* as SMBIOS stores it; zeros: not told */
};

/*
 * Writes everything into the RAM on mem. -EINVAL: cpus or a name that AML cannot express; -ENOSPC: more than the
 * place has room for; -EFAULT: the place is not RAM.
 */
int kb_tables_write(struct kb_bus *mem, const struct kb_tables_config *cfg, struct kvmbox_error *err);

/* What kb_tables_write() asks of cfg: -EINVAL. */
int kb_tables_check(const struct kb_tables_config *cfg, struct kvmbox_error *err);

/* The area of the tables that [addr, last] covers, as a message can say it ("..., where the box ..."); NULL: none. */
const char *kb_tables_overlap(uint64_t addr, uint64_t last);

/* Memory map, types as INT 15h, AX=E820h (ACPI 6.3, section 15). */
enum kb_memory_type { KB_MEMORY_RAM = 1, KB_MEMORY_RESERVED = 2 };
struct kb_memory_range {
	uint64_t base, size;
	enum kb_memory_type type;
};
#define KB_MEMORY_RANGES_MAX 8
/* Sorted, without overlaps. Returns how many. */
unsigned kb_tables_memory_map(const struct kb_tables_config *cfg, struct kb_memory_range map[KB_MEMORY_RANGES_MAX]);

#endif
