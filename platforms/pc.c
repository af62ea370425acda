/* The PC: see pc.h for the map. */
#ifdef HAVE_CONFIG_H
#include <config.h> /* PACKAGE_VERSION */
#endif
#include "platforms/pc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <kvmbox/probe.h>
#include "platforms/boot.h"
#include "platforms/pc_clocks.h"
#include "platforms/tables.h"
#include "vcpu/probe.h"

#define IRQ_PIT 0
#define IRQ_COM1 4
#define IRQ_RTC 8
#define COM1_PORT 0x3f8
#define PORT_POST 0x80
#define PORT_ELCR 0x4d0
#define CPUID_EXT_EDX_PDPE1GB (1u << 26)

/* ISA interrupts of PIRQA-D, as firmware would route them. */
static const uint8_t pirq_irq[4] = { 10, 11, 5, 9 };
#define WIRE_SCI 4 /* in pic_wires, behind the PIRQs */

/* What the firmware tables say of the chipset. */
#define PORT_A 0x92
#define PORT_KBD_DATA 0x60 /* of a controller without keyboard, no reason to look for one */
#define PORT_KBD_COMMAND 0x64

/* ---- run loop: the client's side ------------------------------------------- */

static void client_advance(void *opaque)
{
	struct kb_pc *pc = opaque;

	kb_timers_advance(&pc->timers, pc->vcpu->clock.now_ps);
}

static uint64_t client_deadline(void *opaque)
{
	struct kb_pc *pc = opaque;

	return pc->host.deadline(pc->host.opaque);
}

static int client_yield(void *opaque, struct kvmbox_error *err)
{
	struct kb_pc *pc = opaque;

	return pc->host.yield(pc->host.opaque, err);
}

static int client_idle(void *opaque, struct kvmbox_error *err)
{
	struct kb_pc *pc = opaque;

	return pc->host.idle(pc->host.opaque, err);
}

static int client_ack(void *opaque)
{
	struct kb_pc *pc = opaque;

	return kb_lapic_ack(pc->lapic);
}

static void client_set_cr8(void *opaque, uint8_t cr8)
{
	struct kb_pc *pc = opaque;

	kb_lapic_set_tpr(pc->lapic, (uint8_t)((cr8 & 0xf) << 4));
}

static uint8_t client_get_cr8(void *opaque)
{
	struct kb_pc *pc = opaque;

	return kb_lapic_get_tpr(pc->lapic) >> 4;
}

static void client_set_apic_base(void *opaque, uint64_t base)
{
	struct kb_pc *pc = opaque;

	kb_lapic_set_enabled(pc->lapic, base & (1u << 11));
	if ((base & ~0xfffull) != KB_LAPIC_BASE && kb_log_ratelimit(&pc->apic_moves))
		kb_logf(&pc->log, KVMBOX_LOG_WARNING,
		       "the guest moved its local APIC to 0x%llx; it stays at 0x%llx",
		       (unsigned long long)(base & ~0xfffull), KB_LAPIC_BASE);
}

/* ---- wires ------------------------------------------------------------------ */

static void wire_nmi(void *opaque)
{
	struct kb_pc *pc = opaque;

	kb_vcpu_nmi(pc->vcpu);
}

/* INTR falls at INTA, so what waits behind is a new edge for the I/O APIC. */
static int wire_extint_ack(void *opaque)
{
	struct kb_pc *pc = opaque;
	int vector = kb_pic_ack(pc->pic);

	kb_ioapic_set(pc->ioapic, 0, false);
	kb_ioapic_set(pc->ioapic, 0, pc->pic_intr);
	return vector;
}

static void wire_pic_intr(void *opaque, int pin, bool level)
{
	struct kb_pc *pc = opaque;

	(void)pin;
	pc->pic_intr = level;
	kb_lapic_extint(pc->lapic, 0, level);
	kb_ioapic_set(pc->ioapic, 0, level);
}

static void wire_eoi(void *opaque, uint8_t vector)
{
	struct kb_pc *pc = opaque;

	kb_ioapic_eoi(pc->ioapic, vector);
}

static bool wire_ioapic_message(void *opaque, uint64_t addr, uint32_t data)
{
	struct kb_pc *pc = opaque;

	return kb_lapic_msi(pc->lapic, addr, data);
}

/* An ISA interrupt with one source. */
static void wire_irq(void *opaque, int irq, bool level)
{
	struct kb_pc *pc = opaque;

	kb_pic_set_irq(pc->pic, irq, level);
	kb_ioapic_set(pc->ioapic, irq == IRQ_PIT ? KB_PC_IOAPIC_IRQ0 : irq, level);
}

/* One of several wires on an input of the 8259s. */
static void pic_share(struct kb_pc *pc, int irq, unsigned wire, bool level)
{
	uint8_t *wires = &pc->pic_wires[irq];

	*wires = (uint8_t)((*wires & ~(1u << wire)) | (unsigned)level << wire);
	kb_pic_set_irq(pc->pic, irq, *wires != 0);
}

static void wire_pirq(void *opaque, int pirq, bool level)
{
	struct kb_pc *pc = opaque;

	pic_share(pc, pirq_irq[pirq], (unsigned)pirq, level);
	kb_ioapic_set(pc->ioapic, KB_PC_IOAPIC_PIRQ + pirq, level);
}

static void wire_sci(void *opaque, int irq, bool level)
{
	struct kb_pc *pc = opaque;

	pic_share(pc, irq, WIRE_SCI, level);
	kb_ioapic_set(pc->ioapic, irq, level);
}

static void wire_hpet(void *opaque, int input, bool level)
{
	struct kb_pc *pc = opaque;

	kb_ioapic_set(pc->ioapic, input, level);
}

static void wire_rtc(void *opaque, int pin, bool level)
{
	struct kb_pc *pc = opaque;

	kb_hpet_legacy_in(pc->hpet, pin, level);
	kb_acpi_pm_rtc(pc->acpi_pm, pin, level);
}

void kb_pc_msi(void *opaque, uint64_t addr, uint32_t data)
{
	struct kb_pc *pc = opaque;

	pc->msis++;
	kb_lapic_msi(pc->lapic, addr, data);
}

static void wire_init(void *opaque)
{
	struct kb_pc *pc = opaque;

	if (kb_log_ratelimit(&pc->inits))
		kb_logf(&pc->log, KVMBOX_LOG_WARNING, "INIT sent to the only CPU is ignored; reset through port 0xCF9 instead");
}

static void wire_reset(void *opaque, const char *how)
{
	struct kb_pc *pc = opaque;

	if (kb_log_ratelimit(&pc->resets))
		kb_logf(&pc->log, KVMBOX_LOG_INFO, "the guest resets the machine (%s), %lu so far", how, pc->resets);
	pc->reset_wanted = true;
	kb_vcpu_end(pc->vcpu);
}

static void wire_power_off(void *opaque)
{
	struct kb_pc *pc = opaque;

	pc->powered_off = true;
	pc->exit_status = 0;
	kb_vcpu_end(pc->vcpu);
}

static void wire_exit(void *opaque, unsigned status)
{
	struct kb_pc *pc = opaque;

	pc->exit_status = (int)status;
	kb_vcpu_end(pc->vcpu);
}

static void wire_debugcon(void *opaque, const uint8_t *bytes, size_t len)
{
	kb_chardev_write(opaque, bytes, len);
}

static void wire_quit(void *opaque)
{
	struct kb_pc *pc = opaque;

	kb_logf(&pc->log, KVMBOX_LOG_INFO, "stopped from the terminal (Ctrl-A x)");
	kb_vcpu_stop(pc->vcpu);
}

static struct kb_line irq_line(struct kb_pc *pc, int irq)
{
	return (struct kb_line){ .set = wire_irq, .opaque = pc, .pin = irq };
}

/* ---- chipset ------------------------------------------------------------------ */

static int make_interrupts(struct kb_pc *pc, struct kvmbox_error *err)
{
	struct kb_lapic_config lapic = {
		.mem = &pc->vm->mem, .timers = &pc->timers, .log = &pc->log, .timer_hz = KB_PC_APIC_HZ,
		.virtual_wire = true, .directed_eoi = true, .intr = { .set = kb_vcpu_intr, .opaque = pc->vcpu },
		.nmi = wire_nmi, .init = wire_init, .eoi = wire_eoi, .extint_ack = wire_extint_ack, .opaque = pc,
	};
	struct kb_ioapic_config ioapic = {
		.mem = &pc->vm->mem, .id = KB_PC_IOAPIC_ID, .active_low = KB_PC_IOAPIC_LOW,
		.msi = wire_ioapic_message, .opaque = pc,
	};
	struct kb_pic_config pic = { .io = &pc->vm->io, .out = { .set = wire_pic_intr, .opaque = pc } };
	int rc = kb_lapic_create(&pc->lapic, &lapic, err);

	if (!rc)
		rc = kb_ioapic_create(&pc->ioapic, &ioapic, err);
	if (!rc)
		rc = kb_pic_create(&pc->pic, &pic, err);
	return rc;
}

/* HPET and ACPI hardware, which the older timekeepers' interrupts go through. */
static int make_acpi(struct kb_pc *pc, struct kvmbox_error *err)
{
	struct kb_hpet_config hpet = {
		.mem = &pc->vm->mem, .timers = &pc->timers, .routes = KB_PC_IOAPIC_HPET, .input = wire_hpet,
		.msi = kb_pc_msi, .opaque = pc, .legacy = { irq_line(pc, IRQ_PIT), irq_line(pc, IRQ_RTC) },
	};
	struct kb_acpi_pm_config acpi = {
		.io = &pc->vm->io, .timers = &pc->timers, .log = &pc->log, .port = KB_PC_ACPI_PORT,
		.sci = { .set = wire_sci, .opaque = pc, .pin = KB_PC_SCI_IRQ }, .power_off = wire_power_off, .opaque = pc,
	};
	int rc = kb_hpet_create(&pc->hpet, &hpet, err);

	return rc ? rc : kb_acpi_pm_create(&pc->acpi_pm, &acpi, err);
}

static int make_timekeepers(struct kb_pc *pc, struct kvmbox_error *err)
{
	uint64_t ram = pc->cfg->ram;
	struct kb_pit_config pit = {
		.io = &pc->vm->io, .timers = &pc->timers, .irq = { .set = kb_hpet_legacy_in, .opaque = pc->hpet, .pin = 0 },
	};
	struct kb_rtc_config rtc = {
		.io = &pc->vm->io, .timers = &pc->timers, .irq = { .set = wire_rtc, .opaque = pc, .pin = 1 },
		.ram_below_4g = ram < KB_PC_HOLE_BASE ? ram : KB_PC_HOLE_BASE,
		.ram_above_4g = ram < KB_PC_HOLE_BASE ? 0 : ram - KB_PC_HOLE_BASE,
		.start_unix_s = pc->start_s,
	};
	struct kb_simtime_config simtime = { .mem = &pc->vm->mem, .io = &pc->vm->io, .timers = &pc->timers };
	int rc = kb_pit_create(&pc->pit, &pit, err);

	if (!rc)
		rc = kb_rtc_create(&pc->rtc, &rtc, err);
	if (!rc)
		rc = kb_simtime_create(&pc->simtime, &simtime, err);
	return rc;
}

static int make_consoles(struct kb_pc *pc, struct kvmbox_error *err)
{
	struct kb_uart_config uart = { .io = &pc->vm->io, .port = COM1_PORT, .irq = irq_line(pc, IRQ_COM1) };
	struct kb_debugport_config debug = {
		.io = &pc->vm->io, .exit = wire_exit, .exit_opaque = pc, .put = wire_debugcon,
	};
	int rc = kb_chardev_create(&pc->serial, pc->cfg->serial, "COM1", &pc->log, err);

	if (!rc)
		rc = kb_chardev_create(&pc->debugcon, pc->cfg->debugcon, "debug console", &pc->log, err);
	if (rc)
		return rc;
	kb_chardev_on_quit(pc->serial, wire_quit, pc);
	kb_chardev_on_quit(pc->debugcon, wire_quit, pc);
	uart.chardev = pc->serial;
	debug.put_opaque = pc->debugcon;
	rc = kb_uart_create(&pc->uart, &uart, err);
	if (!rc)
		rc = kb_debugport_create(&pc->debugport, &debug, err);
	return rc;
}

/* Not all hosts have the address bits. */
static bool has_pci64(const struct kb_pc *pc)
{
	return pc->vm->gpa_limit >= KB_PC_PCI64_BASE + KB_PC_PCI64_SIZE - 1;
}

static int make_pci(struct kb_pc *pc, struct kvmbox_error *err)
{
	struct kb_reset_config reset = { .io = &pc->vm->io, .reset = wire_reset, .opaque = pc };
	struct kb_pci_bus_config pci = {
		.mem = &pc->vm->mem, .io = &pc->vm->io, .log = &pc->log, .msi = kb_pc_msi, .msi_opaque = pc,
		.mem32_base = KB_PC_PCI32_BASE, .mem32_size = KB_PC_PCI32_END - KB_PC_PCI32_BASE,
		.io_base = KB_PC_PCI_IO_BASE, .io_size = KB_PC_PCI_IO_END - KB_PC_PCI_IO_BASE,
	};
	int i, rc = kb_reset_create(&pc->reset, &reset, err);

	if (rc)
		return rc;
	pci.cf9_read = kb_reset_cf9_read;
	pci.cf9_write = kb_reset_cf9_write;
	pci.cf9_opaque = pc->reset;
	if (has_pci64(pc)) {
		pci.mem64_base = KB_PC_PCI64_BASE;
		pci.mem64_size = KB_PC_PCI64_SIZE;
	}
	for (i = 0; i < 4; i++) {
		pci.intx[i] = (struct kb_line){ .set = wire_pirq, .opaque = pc, .pin = i };
		pci.pirq_irq[i] = pirq_irq[i];
	}
	pc->post = (struct kb_region){ .name = "POST code port", .base = PORT_POST, .size = 1, .max_len = 1 };
	rc = kb_bus_add(&pc->vm->io, &pc->post, err);
	return rc ? rc : kb_pci_bus_create(&pc->pci, &pci, err);
}

/* ---- memory -------------------------------------------------------------------- */

static int make_ram(struct kb_pc *pc, struct kvmbox_error *err)
{
	unsigned flags = pc->cfg->hugepages ? KB_RAM_HUGEPAGES : 0;
	uint64_t ram = pc->cfg->ram, low = ram < KB_PC_HOLE_BASE ? ram : KB_PC_HOLE_BASE;
	int rc = kb_vm_add_ram(pc->vm, "low RAM", 0, KB_PC_LOW_RAM_END, flags, NULL, err);

	if (!rc)
		rc = kb_vm_add_ram(pc->vm, "firmware area", KB_PC_FIRMWARE_BASE,
				   KB_PC_HIGH_RAM_BASE - KB_PC_FIRMWARE_BASE, flags, NULL, err);
	if (!rc && low > KB_PC_HIGH_RAM_BASE)
		rc = kb_vm_add_ram(pc->vm, "RAM", KB_PC_HIGH_RAM_BASE, low - KB_PC_HIGH_RAM_BASE, flags, NULL, err);
	if (!rc && ram > low)
		rc = kb_vm_add_ram(pc->vm, "RAM above 4 GiB", KB_PC_4G, ram - low, flags, NULL, err);
	return rc;
}

/* The whole image ends at 4 GiB as ROM; its last 128 KiB also below 1 MiB, where real mode finds them. */
static int place_firmware(struct kb_pc *pc, const struct kb_firmware *fw, struct kvmbox_error *err)
{
	struct kb_region *rom = kb_bus_find(&pc->vm->mem, KB_PC_4G - 1);
	struct kb_region *shadow = kb_bus_find(&pc->vm->mem, KB_PC_HIGH_RAM_BASE - 1);
	size_t tail = fw->size < 0x20000 ? fw->size : 0x20000;

	if (!rom) {
		struct kb_ram *ram;
		int rc = kb_vm_add_ram(pc->vm, "firmware ROM", KB_PC_4G - fw->size, fw->size, KB_RAM_READONLY, &ram, err);

		if (rc)
			return rc;
		rom = &ram->region;
	}
	if (rom->size != fw->size)
		return kb_fail(err, EINVAL, "firmware %s changed its size while the box ran", pc->cfg->guest);
	memcpy(rom->host, fw->image, fw->size);
	memcpy(shadow->host + shadow->size - tail, fw->image + fw->size - tail, tail);
	return 0;
}

static int load(struct kb_pc *pc, struct kvmbox_error *err)
{
	struct kb_firmware fw = { 0 };
	int rc = kb_load_guest(&pc->vm->mem, pc->cfg, &pc->boot, &fw, err);

	if (!rc && fw.image)
		rc = place_firmware(pc, &fw, err);
	free(fw.image);
	return rc;
}

/* ---- firmware tables --------------------------------------------------------------- */

static void describe_pci(const struct kb_pc *pc, struct kb_tables_config *t)
{
	int i;

	t->pci_io = (struct kb_tables_window){ KB_PC_PCI_IO_BASE, KB_PC_PCI_IO_END - KB_PC_PCI_IO_BASE };
	t->pci_mem32 = (struct kb_tables_window){ KB_PC_PCI32_BASE, KB_PC_PCI32_END - KB_PC_PCI32_BASE };
	if (has_pci64(pc))
		t->pci_mem64 = (struct kb_tables_window){ KB_PC_PCI64_BASE, KB_PC_PCI64_SIZE };
	for (i = 0; i < 4; i++) {
		t->pirq_gsi[i] = (uint8_t)(KB_PC_IOAPIC_PIRQ + i);
		t->pirq_irq[i] = pirq_irq[i];
	}
}

/* What firmware would have found. */
static struct kb_tables_config describe(struct kb_pc *pc)
{
	uint64_t ram = pc->cfg->ram, low = ram < KB_PC_HOLE_BASE ? ram : KB_PC_HOLE_BASE;
	struct kb_tables_config t = {
		.cpus = 1, .cpu_vendor = pc->cpu.vendor, .cpu_name = pc->cpu.name,
		.cpu_signature = pc->cpu.signature, .cpu_features = pc->cpu.features,
		.ram_below_4g = low, .ram_above_4g = ram - low,
		.lapic_base = (uint32_t)KB_LAPIC_BASE, .ioapic_base = (uint32_t)KB_IOAPIC_BASE, .ioapic_id = KB_PC_IOAPIC_ID,
		.ioapic_version = KB_IOAPIC_VERSION, .pit_gsi = KB_PC_IOAPIC_IRQ0, .pic_on_pin0 = true,
		.hpet_base = (uint32_t)KB_HPET_BASE,
		.hpet_min_tick = (uint16_t)(KB_HPET_MIN_PS / (KB_PS_PER_S / KB_HPET_HZ)),
		.sci_irq = KB_PC_SCI_IRQ, .pm_event = KB_PC_ACPI_PORT + KB_ACPI_PM_EVT,
		.pm_control = KB_PC_ACPI_PORT + KB_ACPI_PM_CNT, .pm_timer = KB_PC_ACPI_PORT + KB_ACPI_PM_TMR,
		.power_button = true, .rtc_event = true, .reset_port = 0xcf9, .reset_value = 0x06, .s5_type = KB_ACPI_SLP_TYP_S5,
		.com1_port = COM1_PORT, .com1_irq = IRQ_COM1, .version = PACKAGE_VERSION,
		.ports = { { PORT_POST, 1 }, { PORT_A, 1 }, { KB_DEBUGPORT_CONSOLE, 1 }, { KB_DEBUGPORT_EXIT, 4 },
			   { KB_SIMTIME_PORT, KB_SIMTIME_PORTS }, { PORT_KBD_DATA, 1 }, { PORT_KBD_COMMAND, 1 } },
	};

	kb_bus_read(&pc->vm->mem, KB_HPET_BASE, &t.hpet_id, sizeof(t.hpet_id)); /* low half of its capabilities */
	describe_pci(pc, &t);
	return t;
}

/* Loads the guest and puts the CPU at its entry. */
static int start_cpu(struct kb_pc *pc, struct kvmbox_error *err)
{
	int rc;

	if (!pc->cfg->guest)
		return kb_vcpu_start_reset(pc->vcpu, err);
	rc = load(pc, err);
	if (rc)
		return rc;
	if (pc->boot.mode != KB_BOOT_REAL16) { /* firmware makes its own */
		const struct kb_tables_config t = describe(pc);

		rc = kb_tables_write(&pc->vm->mem, &t, err);
		if (rc)
			return rc;
	}
	kb_boot_write_tables(&pc->vm->mem, &pc->boot, pc->huge1g);
	switch (pc->boot.mode) {
	case KB_BOOT_LONG64:
		return kb_vcpu_start_long64(pc->vcpu, pc->boot.entry, KB_BOOT_STACK_TOP, KB_BOOT_GDT, KB_BOOT_PML4, err);
	case KB_BOOT_PROTECTED32:
		return kb_vcpu_start_protected32(pc->vcpu, (uint32_t)pc->boot.entry, KB_BOOT_STACK_TOP, KB_BOOT_GDT, err);
	default:
		return kb_vcpu_start_reset(pc->vcpu, err);
	}
}

/* ---- life ------------------------------------------------------------------------ */

static void note_cpu(struct kb_pc *pc, struct kb_cpuid *cpuid)
{
	const struct kvm_cpuid_entry2 *e = kb_cpuid_find(cpuid, 0, 0);
	uint32_t i;

	if (e) {
		memcpy(pc->cpu.vendor, &e->ebx, 4);
		memcpy(pc->cpu.vendor + 4, &e->edx, 4);
		memcpy(pc->cpu.vendor + 8, &e->ecx, 4);
	}
	e = kb_cpuid_find(cpuid, 1, 0);
	if (e) {
		pc->cpu.signature = e->eax;
		pc->cpu.features = e->edx;
	}
	for (i = 0; i < 3; i++) {
		e = kb_cpuid_find(cpuid, 0x80000002 + i, 0);
		if (e)
			memcpy(pc->cpu.name + 16 * i, (const uint32_t[]){ e->eax, e->ebx, e->ecx, e->edx }, 16);
	}
}

static int parse_start(struct kb_pc *pc, struct kvmbox_error *err)
{
	int rc = 0;

	if (!strcmp(pc->cfg->start_date, "host"))
		pc->start_s = (int64_t)time(NULL);
	else if ((rc = kb_rtc_parse_date(pc->cfg->start_date, &pc->start_s, err)) != 0)
		kb_fail_in(err, rc, "start_date");
	return rc;
}

static int make_cpu(struct kb_pc *pc, const struct kb_kvm_api *api, struct kb_cpuid *cpuid, struct kvmbox_error *err)
{
	const struct kb_vcpu_client client = {
		.advance = client_advance, .deadline = client_deadline, .yield = client_yield, .idle = client_idle,
		.ack = client_ack, .set_cr8 = client_set_cr8, .get_cr8 = client_get_cr8,
		.set_apic_base = client_set_apic_base, .opaque = pc,
	};
	struct kvm_cpuid_entry2 *ext;
	int rc = kb_cpuid_supported(cpuid, api, pc->vm->kvm_fd, err);

	if (!rc)
		rc = kb_cpuid_edit(cpuid, pc->cfg->cpu, err);
	if (rc)
		return rc;
	kb_cpuid_fit(cpuid, 0, 1);
	note_cpu(pc, cpuid);
	ext = kb_cpuid_find(cpuid, 0x80000001, 0);
	pc->huge1g = ext && (ext->edx & CPUID_EXT_EDX_PDPE1GB);
	return kb_vcpu_create(&pc->vcpu, pc->vm, 0, cpuid, &client, err);
}

static int make(struct kb_pc *pc, const struct kb_kvm_api *api, struct kvmbox_error *err)
{
	struct kb_cpuid cpuid;
	int rc = parse_start(pc, err);

	if (!rc)
		rc = kb_vm_create(&pc->vm, api, &pc->log, err);
	if (!rc)
		rc = make_ram(pc, err);
	if (!rc)
		rc = make_cpu(pc, api, &cpuid, err);
	if (!rc)
		rc = kb_pc_make_clocks(pc, &cpuid, err);
	if (!rc)
		rc = make_interrupts(pc, err);
	if (!rc)
		rc = make_acpi(pc, err);
	if (!rc)
		rc = make_timekeepers(pc, err);
	if (!rc)
		rc = make_consoles(pc, err);
	if (!rc)
		rc = make_pci(pc, err);
	if (!rc)
		rc = start_cpu(pc, err);
	return rc;
}

int kb_pc_create(struct kb_pc **out, const struct kvmbox_config *cfg, const struct kb_kvm_api *api,
		 const struct kb_log *log, const struct kb_pc_host *host, struct kvmbox_error *err)
{
	struct kb_pc *pc = calloc(1, sizeof(*pc));
	int rc;

	*out = NULL;
	if (!pc)
		return kb_fail(err, ENOMEM, "out of memory creating the PC");
	pc->cfg = cfg;
	pc->log = *log;
	pc->host = *host;
	pc->exit_status = -1;
	kb_timers_init(&pc->timers);
	rc = make(pc, api, err);
	if (rc) {
		kb_pc_destroy(pc);
		return rc;
	}
	*out = pc;
	return 0;
}

void kb_pc_destroy(struct kb_pc *pc)
{
	if (!pc)
		return;
	kb_pci_bus_destroy(pc->pci);
	kb_reset_destroy(pc->reset);
	kb_debugport_destroy(pc->debugport);
	kb_uart_destroy(pc->uart);
	kb_chardev_destroy(pc->debugcon);
	kb_chardev_destroy(pc->serial);
	kb_simtime_destroy(pc->simtime);
	kb_rtc_destroy(pc->rtc);
	kb_pit_destroy(pc->pit);
	kb_acpi_pm_destroy(pc->acpi_pm);
	kb_hpet_destroy(pc->hpet);
	kb_pic_destroy(pc->pic);
	kb_ioapic_destroy(pc->ioapic);
	kb_lapic_destroy(pc->lapic);
	kb_vcpu_destroy(pc->vcpu);
	kb_vm_destroy(pc->vm);
	free(pc);
}

int kb_pc_start(struct kb_pc *pc, struct kvmbox_error *err)
{
	uint16_t level = 0;
	int i;

	for (i = 0; i < 4; i++)
		level = (uint16_t)(level | 1u << pirq_irq[i]);
	kb_bus_write(&pc->vm->io, PORT_ELCR, &level, sizeof(level));
	return pc->cfg->assign_bars ? kb_pci_assign_bars(pc->pci, err) : 0;
}

int kb_pc_reset(struct kb_pc *pc, struct kvmbox_error *err)
{
	int rc;

	pc->reset_wanted = false;
	kb_pci_bus_reset(pc->pci);
	kb_ioapic_reset(pc->ioapic);
	kb_pic_reset(pc->pic);
	kb_lapic_reset(pc->lapic);
	kb_hpet_reset(pc->hpet);
	kb_acpi_pm_reset(pc->acpi_pm);
	kb_pit_reset(pc->pit);
	kb_rtc_reset(pc->rtc);
	kb_uart_reset(pc->uart);
	kb_debugport_reset(pc->debugport);
	kb_simtime_reset(pc->simtime);
	kb_reset_reset(pc->reset);
	kb_pvclock_reset(&pc->vcpu->pvclock);
	rc = kb_guest_tsc_reset(&pc->vcpu->tsc, err);
	if (!rc)
		rc = start_cpu(pc, err);
	return rc ? rc : kb_pc_start(pc, err);
}
