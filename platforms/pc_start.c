/* How the PC's memory and CPU are before the first instruction: see pc_start.h. */
#ifdef HAVE_CONFIG_H
#include <config.h> /* PACKAGE_VERSION */
#endif
#include "platforms/pc_start.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "platforms/boot.h"
#include "platforms/pc_chipset.h"
#include "platforms/pc_cpus.h"
#include "platforms/pc_firmware.h"
#include "platforms/tables.h"

/* What the firmware tables say of the chipset. */
#define PORT_A 0x92
#define PORT_KBD_DATA 0x60 /* of a controller without keyboard, no reason to look for one */
#define PORT_KBD_COMMAND 0x64

/* ---- memory -------------------------------------------------------------------- */

int kb_pc_make_ram(struct kb_pc *pc, struct kvmbox_error *err)
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

static int load(struct kb_pc *pc, const struct kb_tables_config *tables, struct kvmbox_error *err)
{
	struct kb_firmware fw = { 0 };
	int rc = kb_load_guest(&pc->vm->mem, pc->cfg, tables, &pc->boot, &fw, err);

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
	if (kb_pc_has_pci64(pc))
		t->pci_mem64 = (struct kb_tables_window){ KB_PC_PCI64_BASE, KB_PC_PCI64_SIZE };
	for (i = 0; i < 4; i++) {
		t->pirq_gsi[i] = (uint8_t)(KB_PC_IOAPIC_PIRQ + i);
		t->pirq_irq[i] = kb_pc_pirq_irq[i];
	}
}

/* What firmware would have found. */
static struct kb_tables_config describe(struct kb_pc *pc)
{
	uint64_t ram = pc->cfg->ram, low = ram < KB_PC_HOLE_BASE ? ram : KB_PC_HOLE_BASE;
	struct kb_tables_config t = {
		.cpus = pc->cpus, .cpu_vendor = pc->cpu_id.vendor, .cpu_name = pc->cpu_id.name,
		.cpu_signature = pc->cpu_id.signature, .cpu_features = pc->cpu_id.features,
		.ram_below_4g = low, .ram_above_4g = ram - low,
		.lapic_base = (uint32_t)KB_LAPIC_BASE, .ioapic_base = (uint32_t)KB_IOAPIC_BASE, .ioapic_id = KB_PC_IOAPIC_ID,
		.ioapic_version = pc->irqchip ? KB_IRQCHIP_IOAPIC_VERSION : KB_IOAPIC_VERSION, .pit_gsi = KB_PC_IOAPIC_IRQ0, .pic_on_pin0 = !pc->irqchip,
		.hpet_base = (uint32_t)KB_HPET_BASE,
		.hpet_min_tick = (uint16_t)(KB_HPET_MIN_PS / (KB_PS_PER_S / KB_HPET_HZ)),
		.sci_irq = KB_PC_SCI_IRQ, .pm_event = KB_PC_ACPI_PORT + KB_ACPI_PM_EVT,
		.pm_control = KB_PC_ACPI_PORT + KB_ACPI_PM_CNT, .pm_timer = KB_PC_ACPI_PORT + KB_ACPI_PM_TMR,
		.power_button = true, .rtc_event = true, .reset_port = 0xcf9, .reset_value = 0x06, .s5_type = KB_ACPI_SLP_TYP_S5,
		.com1_port = KB_PC_COM1_PORT, .com1_irq = KB_PC_COM1_IRQ, .version = PACKAGE_VERSION,
		.ports = { { KB_PC_POST_PORT, 1 }, { PORT_A, 1 }, { (uint16_t)pc->cfg->debugcon_port, 1 }, { KB_DEBUGPORT_EXIT, 4 },
			   { KB_SIMTIME_PORT, KB_SIMTIME_PORTS }, { PORT_KBD_DATA, 1 }, { PORT_KBD_COMMAND, 1 } },
	};

	kb_bus_read(&pc->vm->mem, KB_HPET_BASE, &t.hpet_id, sizeof(t.hpet_id)); /* low half of its capabilities */
	t.ecam_base = KB_PC_ECAM_BASE;
	describe_pci(pc, &t);
	return t;
}

int kb_pc_describe(struct kb_pc *pc, struct kvmbox_error *err)
{
	const struct kb_tables_config t = describe(pc);

	return pc->fw_cfg ? kb_pc_tell_firmware(pc, &t, err) : 0;
}

static int start_vcpu(struct kb_pc *pc, struct kvmbox_error *err)
{
	const struct kb_boot *boot = &pc->boot;
	int rc;

	switch (boot->mode) {
	case KB_BOOT_LONG64:
		rc = kb_vcpu_start_long64(pc->vcpu, boot->entry, KB_BOOT_STACK_TOP, KB_BOOT_GDT, KB_BOOT_PML4, err);
		break;
	case KB_BOOT_PROTECTED32:
		rc = kb_vcpu_start_protected32(pc->vcpu, (uint32_t)boot->entry, KB_BOOT_STACK_TOP, KB_BOOT_GDT, err);
		break;
	default:
		return kb_vcpu_start_reset(pc->vcpu, err);
	}
	return rc ? rc : kb_vcpu_start_args(pc->vcpu, boot->ax, boot->bx, boot->si, err);
}

int kb_pc_start_cpus(struct kb_pc *pc, struct kvmbox_error *err)
{
	const struct kb_tables_config t = describe(pc);
	int rc = kb_pc_park_cpus(pc, err);

	if (rc)
		return rc;
	if (!pc->cfg->guest && (pc->cfg->initrd || (pc->cfg->cmdline && *pc->cfg->cmdline)))
		return kb_fail(err, EINVAL, "initrd= and cmdline= are for a kernel; say guest=PATH, too");
	if (!pc->cfg->guest)
		return kb_vcpu_start_reset(pc->vcpu, err);
	if (pc->cfg->guest_format != KVMBOX_GUEST_RESET) /* firmware makes its own */
		rc = kb_tables_write(&pc->vm->mem, &t, err);
	if (!rc) /* after the tables: a loader may hand on copies */
		rc = load(pc, &t, err);
	if (rc)
		return rc;
	kb_boot_write_tables(&pc->vm->mem, &pc->boot, pc->huge1g);
	return start_vcpu(pc, err);
}
