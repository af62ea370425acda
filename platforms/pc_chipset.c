/* The PC's chipset, and the wires between its devices: see pc.h for the map. */
#include "platforms/pc_chipset.h"

#include <errno.h>
#include <string.h>

#include "platforms/pc_cpus.h"

#define IRQ_PIT 0
#define IRQ_RTC 8
#define IRQ_IDE 14
#define WIRE_SCI 4 /* in pic_wires, behind the PIRQs */

/* ISA interrupts of PIRQA-D, as firmware would route them. */
const uint8_t kb_pc_pirq_irq[4] = { 10, 11, 5, 9 };

/* ---- wires ------------------------------------------------------------------ */

/* INTR falls at INTA, so what waits behind is a new edge for the I/O APIC. */
int kb_pc_extint_ack(struct kb_pc *pc)
{
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
	kb_lapic_extint(pc->cpu[0].lapic, 0, level);
	kb_ioapic_set(pc->ioapic, 0, level);
}

static bool wire_ioapic_message(void *opaque, uint64_t addr, uint32_t data)
{
	struct kb_pc *pc = opaque;

	return kb_pc_deliver(pc, addr, data);
}

/* Inputs of the interrupt controllers, the box's or KVM's. */
static void set_pic(struct kb_pc *pc, int irq, bool level)
{
	if (pc->irqchip)
		kb_irqchip_set(pc->irqchip, KB_GSI_PIC + (unsigned)irq, level);
	else
		kb_pic_set_irq(pc->pic, irq, level);
}

static void set_ioapic(struct kb_pc *pc, int input, bool level)
{
	if (pc->irqchip)
		kb_irqchip_set(pc->irqchip, (unsigned)input, level);
	else
		kb_ioapic_set(pc->ioapic, input, level);
}

/* An ISA interrupt with one source. */
static void wire_irq(void *opaque, int irq, bool level)
{
	struct kb_pc *pc = opaque;

	set_pic(pc, irq, level);
	set_ioapic(pc, irq == IRQ_PIT ? KB_PC_IOAPIC_IRQ0 : irq, level);
}

/* One of several wires on an input of the 8259s. */
static void pic_share(struct kb_pc *pc, int irq, unsigned wire, bool level)
{
	uint8_t *wires = &pc->pic_wires[irq];

	*wires = (uint8_t)((*wires & ~(1u << wire)) | (unsigned)level << wire);
	set_pic(pc, irq, *wires != 0);
}

static void wire_pirq(void *opaque, int pirq, bool level)
{
	struct kb_pc *pc = opaque;

	pic_share(pc, kb_pc_pirq_irq[pirq], (unsigned)pirq, level);
	set_ioapic(pc, KB_PC_IOAPIC_PIRQ + pirq, level);
}

static void wire_sci(void *opaque, int irq, bool level)
{
	struct kb_pc *pc = opaque;

	pic_share(pc, irq, WIRE_SCI, level);
	set_ioapic(pc, irq, level);
}

static void wire_hpet(void *opaque, int input, bool level)
{
	struct kb_pc *pc = opaque;

	set_ioapic(pc, input, level);
}

static void wire_hpet_legacy(void *opaque, bool on)
{
	struct kb_pc *pc = opaque;

	if (pc->irqchip)
		kb_irqchip_mute_pit(pc->irqchip, on);
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
	kb_pc_deliver(pc, addr, data);
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
	kb_pc_stop(pc);
}

static struct kb_line irq_line(struct kb_pc *pc, int irq)
{
	return (struct kb_line){ .set = wire_irq, .opaque = pc, .pin = irq };
}

/* ---- chipset ------------------------------------------------------------------ */

static int make_interrupts(struct kb_pc *pc, struct kvmbox_error *err)
{
	struct kb_ioapic_config ioapic = {
		.mem = &pc->vm->mem, .id = KB_PC_IOAPIC_ID, .active_low = KB_PC_IOAPIC_LOW,
		.msi = wire_ioapic_message, .opaque = pc,
	};
	struct kb_pic_config pic = { .io = &pc->vm->io, .out = { .set = wire_pic_intr, .opaque = pc } };
	int rc;

	if (pc->irqchip)
		return 0;
	rc = kb_pc_make_lapics(pc, err);
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
		.msi = kb_pc_msi, .legacy_mode = wire_hpet_legacy, .opaque = pc, .legacy = { irq_line(pc, IRQ_PIT), irq_line(pc, IRQ_RTC) },
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
	int rc = pc->irqchip ? 0 : kb_pit_create(&pc->pit, &pit, err);

	if (!rc)
		rc = kb_rtc_create(&pc->rtc, &rtc, err);
	if (!rc)
		rc = kb_simtime_create(&pc->simtime, &simtime, err);
	return rc;
}

static int make_consoles(struct kb_pc *pc, struct kvmbox_error *err)
{
	struct kb_uart_config uart = { .io = &pc->vm->io, .port = KB_PC_COM1_PORT, .irq = irq_line(pc, KB_PC_COM1_IRQ) };
	struct kb_debugport_config debug = {
		.io = &pc->vm->io, .console_port = (unsigned)pc->cfg->debugcon_port, .exit = wire_exit, .exit_opaque = pc, .put = wire_debugcon,
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

bool kb_pc_has_pci64(const struct kb_pc *pc)
{
	return pc->vm->gpa_limit >= KB_PC_PCI64_BASE + KB_PC_PCI64_SIZE - 1;
}

static int make_pci(struct kb_pc *pc, struct kvmbox_error *err)
{
	struct kb_reset_config reset = { .io = &pc->vm->io, .reset = wire_reset, .opaque = pc };
	struct kb_pci_bus_config pci = {
		.mem = &pc->vm->mem, .io = &pc->vm->io, .log = &pc->log, .msi = kb_pc_msi, .msi_opaque = pc,
		.mem32_base = KB_PC_PCI32_BASE, .mem32_size = KB_PC_PCI32_END - KB_PC_PCI32_BASE,
		.ecam_base = KB_PC_ECAM_BASE, .io_base = KB_PC_PCI_IO_BASE, .io_size = KB_PC_PCI_IO_END - KB_PC_PCI_IO_BASE,
	};
	int i, rc = kb_reset_create(&pc->reset, &reset, err);

	if (rc)
		return rc;
	pci.cf9_read = kb_reset_cf9_read;
	pci.cf9_write = kb_reset_cf9_write;
	pci.cf9_opaque = pc->reset;
	if (kb_pc_has_pci64(pc)) {
		pci.mem64_base = KB_PC_PCI64_BASE;
		pci.mem64_size = KB_PC_PCI64_SIZE;
	}
	for (i = 0; i < 4; i++) {
		pci.intx[i] = (struct kb_line){ .set = wire_pirq, .opaque = pc, .pin = i };
		pci.pirq_irq[i] = kb_pc_pirq_irq[i];
	}
	pc->post = (struct kb_region){ .name = "POST code port", .base = KB_PC_POST_PORT, .size = 1, .max_len = 1 };
	rc = kb_bus_add(&pc->vm->io, &pc->post, err);
	return rc ? rc : kb_pci_bus_create(&pc->pci, &pci, err);
}

static int open_disk(struct kb_pc *pc, int i, const char *spec, struct kvmbox_error *err)
{
	const struct kvmbox_backend_user user = {
		.what = i ? "disk2" : "disk", .log = pc->log.fn, .log_opaque = pc->log.opaque,
	};

	return spec ? kvmbox_block_open(&pc->disk[i], spec, &user, err) : 0;
}

static int make_disks(struct kb_pc *pc, struct kvmbox_error *err)
{
	struct kb_ide_config ide = { .io = &pc->vm->io, .pci = pc->pci, .irq = irq_line(pc, IRQ_IDE) };
	int rc;

	if (!pc->cfg->disk)
		return pc->cfg->disk2 ? kb_fail(err, EINVAL, "disk2 without disk: the first disk is the one to begin with") : 0;
	rc = open_disk(pc, 0, pc->cfg->disk, err);
	if (!rc)
		rc = open_disk(pc, 1, pc->cfg->disk2, err);
	if (rc)
		return rc;
	memcpy(ide.disk, pc->disk, sizeof(ide.disk));
	return kb_ide_create(&pc->ide, &ide, err);
}

int kb_pc_make_chipset(struct kb_pc *pc, struct kvmbox_error *err)
{
	int rc = make_interrupts(pc, err);

	if (!rc)
		rc = make_acpi(pc, err);
	if (!rc)
		rc = make_timekeepers(pc, err);
	if (!rc)
		rc = make_consoles(pc, err);
	if (!rc)
		rc = make_pci(pc, err);
	if (!rc)
		rc = make_disks(pc, err);
	if (!rc && pc->cfg->guest_format == KVMBOX_GUEST_RESET)
		rc = kb_fw_cfg_create(&pc->fw_cfg, &pc->vm->io, &pc->vm->mem, err);
	return rc;
}

void kb_pc_destroy_chipset(struct kb_pc *pc)
{
	kb_fw_cfg_destroy(pc->fw_cfg);
	kb_ide_destroy(pc->ide);
	kvmbox_block_close(pc->disk[1]);
	kvmbox_block_close(pc->disk[0]);
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
	kb_pc_destroy_lapics(pc);
}

void kb_pc_reset_chipset(struct kb_pc *pc)
{
	kb_pci_bus_reset(pc->pci);
	if (!pc->irqchip) {
		kb_ioapic_reset(pc->ioapic);
		kb_pic_reset(pc->pic);
		kb_pit_reset(pc->pit);
	}
	kb_hpet_reset(pc->hpet);
	kb_acpi_pm_reset(pc->acpi_pm);
	kb_rtc_reset(pc->rtc);
	kb_uart_reset(pc->uart);
	kb_debugport_reset(pc->debugport);
	kb_simtime_reset(pc->simtime);
	kb_reset_reset(pc->reset);
	if (pc->ide)
		kb_ide_reset(pc->ide);
	if (pc->fw_cfg)
		kb_fw_cfg_reset(pc->fw_cfg);
}
