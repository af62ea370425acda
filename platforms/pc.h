/*
 * The PC: memory map, chipset, PCI bus and vCPUs, wired together.
 *
 * Memory map (guest physical):
 *   0x00000000-0x0009FFFF  RAM (0x70000-0x7FFFF holds the boot tables at start; 0x400 BIOS data area, 0x9FC00 EBDA)
 *   0x000C0000-0x000FFFFF  firmware area: RAM; from 0xE0000 on firmware's tables (tables.h), with guest_format=reset
 *                          the end of the image instead
 *   0x00100000-0xBFFFFFFF  RAM
 *   0xD0000000             PCI configuration space of bus 0 (ECAM), 1 MiB
 *   0xE0000000-0xFEBFFFFF  PCI memory window
 *   0xFEC00000             I/O APIC
 *   0xFED00000             HPET
 *   0xFED80000             simulated-time register
 *   0xFEE00000             local APIC; DMA writes here are MSIs
 *   ...-0xFFFFFFFF         firmware image (guest_format=reset)
 *   0x100000000-           RAM that did not fit below 3 GiB
 *   0x4000000000-          PCI memory window for 64-bit BARs
 * Ports: 0xC000-0xFEFF PCI I/O window, the rest as on every PC; 0xE9 debug console, 0xF4 debug exit,
 * 0x1F0 and 0x3F6 IDE, 0x510 firmware configuration (guest_format=reset), 0x5C0 simulated time, 0x600 ACPI (PM1a event +0, control +4, PM timer +8).
 *
 * Interrupts. 8259 pair: 0 PIT, 4 COM1, 8 RTC, 14 IDE, 9 SCI (level), PIRQA-D 10, 11, 5, 9 (level). I/O APIC, which starts
 * masked (GSI = input number):
 *   0      the 8259s' INTR, for ExtINT
 *   2      IRQ 0, PIT or HPET (MADT: interrupt source override 0 -> 2)
 *   9      SCI, level, active high (override 9 -> 9)
 *   n      ISA IRQ n, edge, active high
 *   16-19  PIRQA-D, level, active low as all inputs from 16 on: INTA of slot n is 16 + n mod 4
 *   20-23  HPET comparators, if so routed
 */
#ifndef KB_PC_H
#define KB_PC_H

#include <kvmbox/kvmbox.h>

#include "devices/acpi_pm.h"
#include "devices/chardev.h"
#include "devices/debugport.h"
#include "devices/fw_cfg.h"
#include "devices/hpet.h"
#include "devices/ide.h"
#include "devices/ioapic.h"
#include "devices/lapic.h"
#include "devices/pci.h"
#include "devices/pic.h"
#include "devices/pit.h"
#include "devices/reset.h"
#include "devices/rtc.h"
#include "devices/simtime.h"
#include "devices/timer.h"
#include "devices/uart.h"
#include "platforms/loader.h"
#include "vcpu/irqchip.h"
#include "vcpu/vcpu.h"

#define KB_PC_LOW_RAM_END 0xa0000ull
#define KB_PC_FIRMWARE_BASE 0xc0000ull
#define KB_PC_HIGH_RAM_BASE 0x100000ull
#define KB_PC_HOLE_BASE 0xc0000000ull
#define KB_PC_ECAM_BASE 0xd0000000ull
#define KB_PC_PCI32_BASE 0xe0000000ull
#define KB_PC_PCI32_END 0xfec00000ull
#define KB_PC_PCI64_BASE 0x4000000000ull
#define KB_PC_PCI64_SIZE 0x2000000000ull
#define KB_PC_PCI_IO_BASE 0xc000u
#define KB_PC_PCI_IO_END 0xff00u
#define KB_PC_4G 0x100000000ull
#define KB_PC_ACPI_PORT 0x600u
#define KB_PC_SCI_IRQ 9
#define KB_PC_IOAPIC_ID 0
#define KB_PC_IOAPIC_IRQ0 2          /* where ISA IRQ 0 goes */
#define KB_PC_IOAPIC_PIRQ 16         /* first of PIRQA-D's inputs */
#define KB_PC_IOAPIC_HPET 0xf00000u  /* inputs for the HPET, bit mask */
#define KB_PC_IOAPIC_LOW 0xff0000u   /* active low inputs, bit mask */

/* What the box above contributes to the run loop; see struct kb_vcpu_client. */
struct kb_pc_host {
	uint64_t (*deadline)(void *opaque);
	int (*yield)(void *opaque, struct kvmbox_error *err);
	int (*idle)(void *opaque, struct kvmbox_error *err);
	void *opaque;
};

struct kb_pc_cpu; /* pc_cpus.h */

struct kb_pc {
	struct kb_pc_host host;
	const struct kvmbox_config *cfg; /* the box's copy */
	struct kb_log log;
	struct kb_vm *vm;
	struct kb_vcpu *vcpu;  /* whose turn it is */
	struct kb_pc_cpu *cpu; /* cpus of them */
	unsigned cpus, lowest; /* where the search for the lowest priority begins */
	uint64_t limit_ps;     /* that vCPU runs so far, for the others to come up */
	struct kb_timers timers;
	struct kb_irqchip *irqchip; /* irqchip=kernel: instead of pic, ioapic, pit and the local APICs */
	struct kb_pic *pic;
	struct kb_region lapic_page;
	struct kb_ioapic *ioapic;
	struct kb_hpet *hpet;
	struct kb_acpi_pm *acpi_pm;
	uint8_t pic_wires[16]; /* who asserts a shared IRQ of the 8259s: PIRQ n is bit n, the SCI bit 4 */
	bool pic_intr;         /* the 8259s' output */
	struct kb_pit *pit;
	struct kb_rtc *rtc;
	struct kb_chardev *serial, *debugcon;
	struct kb_uart *uart;
	struct kb_reset *reset;
	struct kb_debugport *debugport;
	struct kb_simtime *simtime;
	struct kb_pci_bus *pci;
	struct kvmbox_block *disk[2];
	struct kb_ide *ide;       /* NULL without disks */
	struct kb_fw_cfg *fw_cfg; /* guest_format=reset only */
	struct kb_region post; /* port 0x80 */
	struct kb_boot boot;
	struct {
		char vendor[13], name[49];
		uint32_t signature, features; /* CPUID.1 EAX, EDX */
	} cpu_id;              /* for the tables */
	bool huge1g;           /* the CPU has 1 GiB pages */
	int64_t start_s;       /* Unix time at simulated time 0 */
	unsigned long inits, apic_moves, resets; /* for the log's sake */
	bool reset_wanted, powered_off;
	int exit_status;       /* -1 until the guest writes the debug-exit port; 0 after power-off */
	uint64_t msis;         /* messages that went to the local APIC */
};

/* Makes the machine and loads the guest. cfg must outlive it. */
int kb_pc_create(struct kb_pc **out, const struct kvmbox_config *cfg, const struct kb_kvm_api *api,
		 const struct kb_log *log, const struct kb_pc_host *host, struct kvmbox_error *err);
void kb_pc_destroy(struct kb_pc *pc);
/* After the last function was added: the firmware's work (BARs, IRQ routing). */
int kb_pc_start(struct kb_pc *pc, struct kvmbox_error *err);
/* Machine reset: chipset, functions and CPU to their reset state, the guest loaded anew. */
int kb_pc_reset(struct kb_pc *pc, struct kvmbox_error *err);
/* Runs the CPUs; as kb_vcpu_run(). */
enum kb_end kb_pc_run(struct kb_pc *pc, struct kvmbox_error *err);
/* Of all CPUs together. */
void kb_pc_stats(const struct kb_pc *pc, struct kb_vcpu_stats *sum);
/* As kb_vcpu_stop(): any thread, async-signal-safe. */
void kb_pc_stop(struct kb_pc *pc);
/* A message, from a function or by DMA. */
void kb_pc_msi(void *pc, uint64_t addr, uint32_t data);

#endif
