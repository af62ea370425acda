/* The reference loop of the boot benchmark: see boot_raw.h. Registers as in the 16550D's, MC146818's and PCI 3.0's (3.2.2.3.2) data sheets. */
#include "tests/bench/boot_raw.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include <kvmbox/kvmbox.h>
#include <kvmbox/probe.h>

#include "platforms/boot.h"
#include "platforms/loader.h"
#include "platforms/pc.h"
#include "platforms/tables.h"
#include "vcpu/irqchip.h"
#include "vcpu/vcpu.h"

#define PM_EVENT 0x600u
#define PM_CONTROL 0x604u
#define PM_TIMER 0x608u
#define PM_TIMER_HZ 3579545u
#define COM1 0x3f8u
#define COM1_IRQ 4u

struct uart {
	uint8_t ier, fcr, lcr, mcr, scratch;
	bool sent; /* the interrupt of an empty transmitter is due */
};

struct raw {
	struct kb_vm *vm;
	struct kb_vcpu *v;
	struct kb_irqchip *chip;
	struct uart uart;
	uint32_t pci_address;
	uint8_t cmos_index;
	uint16_t pm_enable;
	char line[256];
	unsigned length;
	bool enough;
	uint64_t exits;
	boot_raw_line *show;
};

/* ---- devices ------------------------------------------------------------------------ */

static void send(struct raw *r, uint8_t c)
{
	if (c != '\n' && r->length < sizeof(r->line) - 1) {
		r->line[r->length++] = (char)c;
		return;
	}
	r->line[r->length] = 0;
	r->length = 0;
	r->enough = r->enough || r->show(r->line, r->exits);
}

static void update_irq(struct raw *r)
{
	kb_irqchip_set(r->chip, COM1_IRQ, r->uart.sent && r->uart.ier & 2);
	kb_irqchip_set(r->chip, KB_GSI_PIC + COM1_IRQ, r->uart.sent && r->uart.ier & 2);
}

static void uart_write(struct raw *r, unsigned reg, uint8_t value)
{
	struct uart *u = &r->uart;

	if (u->lcr & 0x80 && reg < 2) /* divisor */
		return;
	switch (reg) {
	case 0:
		if (!(u->mcr & 0x10))
			send(r, value);
		u->sent = true;
		break;
	case 1:
		u->sent = u->sent || (value & ~u->ier & 2);
		u->ier = value & 0xf;
		break;
	case 2: u->fcr = value; break;
	case 3: u->lcr = value; break;
	case 4: u->mcr = value; break;
	case 7: u->scratch = value; break;
	default: break;
	}
	if (reg < 2)
		update_irq(r);
}

static uint8_t uart_read(struct raw *r, unsigned reg)
{
	struct uart *u = &r->uart;
	uint8_t fifo = u->fcr & 1 ? 0xc0 : 0;

	switch (reg) {
	case 1: return u->lcr & 0x80 ? 0 : u->ier;
	case 2:
		if (!u->sent || !(u->ier & 2))
			return fifo | 1;
		u->sent = false;
		update_irq(r);
		return fifo | 2;
	case 3: return u->lcr;
	case 4: return u->mcr;
	case 5: return 0x60; /* empty, nothing received */
	case 6: /* loop-back: RTS, DTR, OUT1, OUT2 come back as CTS, DSR, RI, DCD */
		return u->mcr & 0x10 ? (uint8_t)((u->mcr & 2) << 3 | (u->mcr & 1) << 5 | (u->mcr & 0xc) << 4) : 0xb0;
	case 7: return u->scratch;
	default: return 0;
	}
}

static uint8_t cmos_read(const struct raw *r)
{
	static const uint8_t reg[14] = { 0, 0, 0, 0, 0, 0, 7, 1, 1, 0, 0x26, 0x02, 0, 0x80 }; /* 1 January 2000 */

	return r->cmos_index < sizeof(reg) ? reg[r->cmos_index] : r->cmos_index == 0x32 ? 0x20 : 0;
}

/* Function 0:0.0 is a host bridge and all there is. */
static uint32_t pci_read(const struct raw *r)
{
	static const uint32_t header[4] = { 0x12378086, 0, 0x06000000, 0 };
	const uint32_t reg = r->pci_address & 0xfc;

	if ((r->pci_address & 0x80ffff00) != 0x80000000)
		return 0xffffffff;
	return reg < sizeof(header) ? header[reg / 4] : 0;
}

static uint32_t port_read(struct raw *r, unsigned port)
{
	if (port - COM1 < 8)
		return uart_read(r, port - COM1);
	if (port - 0xcfc < 4)
		return pci_read(r) >> 8 * (port - 0xcfc);
	switch (port) {
	case 0x71: return cmos_read(r);
	case 0xcf8: return r->pci_address;
	case PM_EVENT: return 0;
	case PM_EVENT + 2: return r->pm_enable;
	case PM_CONTROL: return 1; /* ACPI mode */
	case PM_TIMER:
		return (uint32_t)((unsigned __int128)kb_tsc() * PM_TIMER_HZ / r->v->tsc_hz) & 0xffffff;
	default: return 0xffffffff;
	}
}

static void port_write(struct raw *r, unsigned port, uint32_t value)
{
	if (port - COM1 < 8)
		uart_write(r, port - COM1, (uint8_t)value);
	else if (port == 0xcf8)
		r->pci_address = value;
	else if (port == 0x70)
		r->cmos_index = value & 0x7f;
	else if (port == PM_EVENT + 2)
		r->pm_enable = (uint16_t)value;
}

static void port_access(struct raw *r)
{
	struct kvm_run *run = r->v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	uint32_t i, value = 0;

	for (i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_IN) {
			value = port_read(r, run->io.port);
			memcpy(data, &value, run->io.size);
		} else {
			memcpy(&value, data, run->io.size);
			port_write(r, run->io.port, value);
		}
	}
}

/* ---- the loop ------------------------------------------------------------------------- */

static int unexpected(struct raw *r, struct kvmbox_error *err)
{
	char where[512];

	kb_vcpu_where(r->v, where, sizeof(where));
	return kb_fail(err, EIO, "the reference loop got exit %u; %s", r->v->run->exit_reason, where);
}

static int handle(struct raw *r, struct kvmbox_error *err)
{
	struct kvm_run *run = r->v->run;
	int rc;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		port_access(r);
		return 0;
	case KVM_EXIT_MMIO:
		if (!run->mmio.is_write)
			memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
		return 0;
	case KVM_EXIT_X86_RDMSR: case KVM_EXIT_X86_WRMSR:
		kb_msr_exit(r->v);
		return 0;
	case KVM_EXIT_DEBUG:
		return kb_assist_debug(r->v) ? 0 : unexpected(r, err);
	case KVM_EXIT_INTERNAL_ERROR:
		rc = run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION ? kb_assist_insn(r->v, err) : 1;
		return rc > 0 ? unexpected(r, err) : rc;
	default:
		return unexpected(r, err);
	}
}

static int loop(struct raw *r, struct kvmbox_error *err)
{
	while (!r->enough) {
		int rc = kb_assist_arm(r->v, err);

		if (rc)
			return rc;
		if (ioctl(r->v->fd, KVM_RUN, 0) < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			return kb_fail(err, errno, "KVM_RUN: %s", strerror(errno));
		}
		r->exits++;
		rc = handle(r, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- set-up ---------------------------------------------------------------------------- */

static int load(struct raw *r, const struct kvmbox_config *cfg, struct kvmbox_error *err)
{
	/* The box's, word by word: Linux interprets them. Of the HPET it is told not to use it. */
	const struct kb_tables_config tables = {
		.cpus = 1, .ram_below_4g = cfg->ram, .lapic_base = 0xfee00000u, .ioapic_base = 0xfec00000u,
		.ioapic_version = KB_IRQCHIP_IOAPIC_VERSION, .pit_gsi = 2, .sci_irq = 9, .pm_event = PM_EVENT,
		.pm_control = PM_CONTROL, .pm_timer = PM_TIMER, .reset_port = 0xcf9, .reset_value = 6, .s5_type = 5,
		.pci_io = { KB_PC_PCI_IO_BASE, KB_PC_PCI_IO_END - KB_PC_PCI_IO_BASE },
		.pci_mem32 = { KB_PC_PCI32_BASE, KB_PC_PCI32_END - KB_PC_PCI32_BASE },
		.pci_mem64 = { KB_PC_PCI64_BASE, KB_PC_PCI64_SIZE },
		.pirq_gsi = { 16, 17, 18, 19 }, .pirq_irq = { 10, 11, 5, 9 }, .com1_port = COM1, .com1_irq = COM1_IRQ,
		.power_button = true, .rtc_event = true, .hpet_base = 0xfed00000u, .hpet_id = 0x8086a301u, .hpet_min_tick = 100,
		.ports = { { 0x80, 1 }, { 0x92, 1 }, { 0xe9, 1 }, { 0xf4, 4 }, { 0x5c0, 16 }, { 0x60, 1 }, { 0x64, 1 } },
	};
	struct kb_boot boot;
	struct kb_firmware fw;
	int rc = kb_tables_write(&r->vm->mem, &tables, err);

	if (!rc)
		rc = kb_load_guest(&r->vm->mem, cfg, &tables, &boot, &fw, err);
	if (rc)
		return rc;
	kb_boot_write_tables(&r->vm->mem, &boot, false);
	if (boot.mode == KB_BOOT_LONG64)
		rc = kb_vcpu_start_long64(r->v, boot.entry, KB_BOOT_STACK_TOP, KB_BOOT_GDT, KB_BOOT_PML4, err);
	else
		rc = kb_vcpu_start_protected32(r->v, (uint32_t)boot.entry, KB_BOOT_STACK_TOP, KB_BOOT_GDT, err);
	return rc ? rc : kb_vcpu_start_args(r->v, boot.ax, boot.bx, boot.si, err);
}

static void nothing_due(void *opaque)
{
	(void)opaque;
}

static int make_cpu(struct raw *r, const struct kvmbox_probe_result *host, struct kvmbox_error *err)
{
	static const struct kb_vcpu_client none = { .advance = nothing_due };
	const struct kb_assist_needs needs = {
		.insns = !host->ring0_insns, .syscall = !host->syscalls, .hypercall = !host->hypercalls,
	};
	struct kb_cpuid cpuid;
	int rc = kb_cpuid_supported(&cpuid, &kb_kvm_linux, r->vm->kvm_fd, err);

	if (rc)
		return rc;
	kb_cpuid_fit(&cpuid, 0, 1);
	kb_cpuid_tell_clocks(&cpuid, &(struct kb_cpuid_clocks){
		.paravirt = KB_PVCLOCK_FEATURES | KB_PVCLOCK_STABLE, .tsc_khz = host->tsc_khz, .apic_hz = 1000000000, .x2apic = true,
		.tsc_deadline = kb_kvm_check(&kb_kvm_linux, r->vm->kvm_fd, KVM_CAP_TSC_DEADLINE_TIMER) > 0,
	});
	rc = kb_vcpu_create(&r->v, r->vm, 0, &cpuid, &none, err);
	if (!rc)
		rc = kb_irqchip_start_cpu(r->chip, r->v->fd, err);
	if (!rc)
		rc = kb_assist_init(r->v, &needs, err);
	return rc ? rc : kb_msrs_install(&r->v->msrs, &kb_kvm_linux, r->vm->fd, err);
}

static int make(struct raw *r, const struct kvmbox_config *cfg, struct kvmbox_error *err)
{
	struct kvmbox_probe_result host;
	int rc = kvmbox_probe(&host);

	if (rc)
		return kb_fail(err, -rc, "%s", host.why_not.msg);
	rc = kb_vm_create(&r->vm, &kb_kvm_linux, NULL, err);
	if (!rc)
		rc = kb_vm_add_ram(r->vm, "RAM", 0, cfg->ram, KB_RAM_HUGEPAGES, NULL, err);
	if (!rc)
		rc = kb_irqchip_create(&r->chip, r->vm, err);
	if (!rc)
		rc = make_cpu(r, &host, err);
	return rc ? rc : load(r, cfg, err);
}

int boot_raw(const struct kvmbox_config *cfg, boot_raw_line *line, struct kvmbox_error *err)
{
	struct raw r = { .show = line };
	int rc = make(&r, cfg, err);

	if (!rc)
		rc = loop(&r, err);
	kb_vcpu_destroy(r.v);
	kb_irqchip_destroy(r.chip);
	kb_vm_destroy(r.vm);
	return rc;
}
