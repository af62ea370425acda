/* ACPI tables: see acpi.h. Field names are the specification's. */
#include "platforms/acpi.h"

#include <stdio.h>
#include <string.h>

#include "platforms/aml.h"

#define OEM_ID "KVMBOX"
#define OEM_TABLE_ID "KVMBOXPC"
#define PACKED __attribute__((packed))

struct PACKED rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt_address;
	uint32_t length;
	uint64_t xsdt_address;
	uint8_t extended_checksum;
	uint8_t reserved[3];
};
#define RSDP_V1_SIZE 20 /* what checksum covers */

struct PACKED header {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
};

/* Generic address structure, section 5.2.3.2. */
struct PACKED gas {
	uint8_t space, bit_width, bit_offset, access_size;
	uint64_t address;
};
enum { SPACE_MEMORY = 0, SPACE_IO = 1 };
enum { ACCESS_BYTE = 1, ACCESS_WORD = 2, ACCESS_DWORD = 3 };

static struct gas port(uint16_t at, unsigned bytes, uint8_t access_size)
{
	return (struct gas){
		.space = SPACE_IO, .bit_width = (uint8_t)(8 * bytes), .access_size = access_size, .address = at,
	};
}

/* ---- putting tables down ------------------------------------------------------ */

/* Where things went. */
struct layout {
	struct kb_buf *b;
	uint32_t gpa; /* of b */
	const struct kb_tables_config *cfg;
	uint32_t facs, dsdt, rsdt, xsdt;
	uint32_t listed[8]; /* by RSDT and XSDT */
	unsigned count;
};

static size_t begin_table(struct layout *l, const char *signature, uint8_t revision)
{
	struct header h = { .revision = revision, .oem_revision = 1, .creator_revision = 1 };
	size_t at;

	memcpy(h.signature, signature, sizeof(h.signature));
	memcpy(h.oem_id, OEM_ID, sizeof(h.oem_id));
	memcpy(h.oem_table_id, OEM_TABLE_ID, sizeof(h.oem_table_id));
	memcpy(h.creator_id, "KBOX", sizeof(h.creator_id));
	kb_buf_align(l->b, 16);
	at = l->b->len;
	kb_buf_put(l->b, &h, sizeof(h));
	return at;
}

/* Returns the table's address. */
static uint32_t end_table(struct layout *l, size_t at)
{
	size_t len = l->b->len - at;

	kb_buf_set(l->b, at + offsetof(struct header, length), len, 4);
	kb_buf_set(l->b, at + offsetof(struct header, checksum), kb_checksum(l->b->data + at, len), 1);
	return l->gpa + (uint32_t)at;
}

static void list_table(struct layout *l, size_t at)
{
	l->listed[l->count++] = end_table(l, at);
}

/* ---- DSDT ------------------------------------------------------------------------ */

static void hid(struct kb_aml *a, const char *id)
{
	kb_aml_name(a, "_HID");
	kb_aml_eisaid(a, id);
}

static void value(struct kb_aml *a, const char *name, uint64_t v)
{
	kb_aml_name(a, name);
	kb_aml_int(a, v);
}

static void resources(struct kb_aml *a)
{
	kb_aml_name(a, "_CRS");
	kb_aml_resources_begin(a);
}

/* A device with one range of ports; irq below 0: none. */
static void isa_device(struct kb_aml *a, const char *name, const char *id, uint16_t at, uint8_t len, int irq)
{
	kb_aml_device_begin(a, name);
	hid(a, id);
	resources(a);
	kb_aml_io(a, at, len);
	if (irq >= 0)
		kb_aml_irq(a, (unsigned)irq);
	kb_aml_resources_end(a);
	kb_aml_end(a);
}

/* One _PRT: { slot and all its functions, pin, no link device, interrupt }, section 6.2.13. */
static void routes(struct kb_aml *a, const char *name, const uint8_t interrupts[4])
{
	unsigned slot, pin;

	kb_aml_name(a, name);
	kb_aml_package_begin(a, 32 * 4);
	for (slot = 0; slot < 32; slot++)
		for (pin = 0; pin < 4; pin++) {
			kb_aml_package_begin(a, 4);
			kb_aml_int(a, slot << 16 | 0xffff);
			kb_aml_int(a, pin);
			kb_aml_int(a, 0);
			kb_aml_int(a, interrupts[(slot + pin) % 4]);
			kb_aml_end(a);
		}
	kb_aml_end(a);
}

static void pci_windows(struct kb_aml *a, const struct kb_tables_config *cfg)
{
	const struct kb_tables_window *io = &cfg->pci_io, *m32 = &cfg->pci_mem32, *m64 = &cfg->pci_mem64;

	resources(a);
	kb_aml_bus_window(a, 0, cfg->pci_last_bus);
	kb_aml_io(a, 0xcf8, 8);
	if (io->size)
		kb_aml_io_window(a, (uint16_t)io->base, (uint16_t)(io->base + io->size - 1));
	if (m32->size)
		kb_aml_memory32_window(a, (uint32_t)m32->base, (uint32_t)(m32->base + m32->size - 1));
	if (m64->size)
		kb_aml_memory64_window(a, m64->base, m64->base + m64->size - 1);
	kb_aml_resources_end(a);
}

static void pci_bridge(struct kb_aml *a, const struct kb_tables_config *cfg)
{
	kb_aml_device_begin(a, "PCI0");
	hid(a, cfg->ecam_base ? "PNP0A08" : "PNP0A03");
	if (cfg->ecam_base) {
		kb_aml_name(a, "_CID");
		kb_aml_eisaid(a, "PNP0A03");
	}
	value(a, "_UID", 0);
	value(a, "_SEG", 0);
	value(a, "_BBN", 0);
	pci_windows(a, cfg);
	routes(a, "PRTA", cfg->pirq_gsi);
	routes(a, "PRTP", cfg->pirq_irq);
	kb_aml_method_begin(a, "_PRT", 0);
	kb_aml_if_begin(a);
	kb_aml_ref(a, "PICF");
	kb_aml_return(a);
	kb_aml_ref(a, "PRTA");
	kb_aml_end(a);
	kb_aml_return(a);
	kb_aml_ref(a, "PRTP");
	kb_aml_end(a);
	kb_aml_end(a);
}

/* What is taken and belongs to no device of its own. */
static void motherboard(struct kb_aml *a, const struct kb_tables_config *cfg)
{
	unsigned i;

	kb_aml_device_begin(a, "MBRD");
	hid(a, "PNP0C02");
	value(a, "_UID", 0);
	resources(a);
	kb_aml_io(a, cfg->pm_event, 4);
	kb_aml_io(a, cfg->pm_control, 2);
	kb_aml_io(a, cfg->pm_timer, 4);
	for (i = 0; i < KB_TABLES_PORTS_MAX; i++)
		if (cfg->ports[i].len)
			kb_aml_io(a, cfg->ports[i].port, cfg->ports[i].len);
	kb_aml_memory32_fixed(a, cfg->ioapic_base, 0x1000, true);
	kb_aml_memory32_fixed(a, cfg->lapic_base, 0x1000, true);
	if (cfg->ecam_base)
		kb_aml_memory32_fixed(a, (uint32_t)cfg->ecam_base, (cfg->pci_last_bus + 1u) << 20, true);
	kb_aml_resources_end(a);
	kb_aml_end(a);
}

static void isa_devices(struct kb_aml *a, const struct kb_tables_config *cfg)
{
	kb_aml_device_begin(a, "PIC");
	hid(a, "PNP0000");
	resources(a);
	kb_aml_io(a, 0x20, 2);
	kb_aml_io(a, 0xa0, 2);
	kb_aml_io(a, 0x4d0, 2);
	kb_aml_irq(a, 2);
	kb_aml_resources_end(a);
	kb_aml_end(a);
	isa_device(a, "PIT", "PNP0100", 0x40, 4, 0);
	isa_device(a, "SPKR", "PNP0800", 0x61, 1, -1);
	isa_device(a, "RTC", "PNP0B00", 0x70, 2, 8);
	if (cfg->com1_port) {
		kb_aml_device_begin(a, "COM1");
		hid(a, "PNP0501");
		value(a, "_UID", 1);
		resources(a);
		kb_aml_io(a, cfg->com1_port, 8);
		kb_aml_irq(a, cfg->com1_irq);
		kb_aml_resources_end(a);
		kb_aml_end(a);
	}
	if (cfg->hpet_base) {
		kb_aml_device_begin(a, "HPET");
		hid(a, "PNP0103");
		value(a, "_UID", 0);
		resources(a);
		kb_aml_memory32_fixed(a, cfg->hpet_base, 0x400, true);
		kb_aml_resources_end(a);
		kb_aml_end(a);
	}
}

static void processors(struct kb_aml *a, unsigned count)
{
	char name[5];
	unsigned i;

	for (i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "C%03X", i & 0xfff);
		kb_aml_device_begin(a, name);
		kb_aml_name(a, "_HID");
		kb_aml_string(a, "ACPI0007");
		value(a, "_UID", i); /* the MADT's */
		kb_aml_end(a);
	}
}

static void sleep_states(struct kb_aml *a, uint8_t s5)
{
	kb_aml_name(a, "_S5");
	kb_aml_package_begin(a, 4);
	kb_aml_int(a, s5); /* PM1a_CNT, PM1b_CNT, reserved */
	kb_aml_int(a, s5);
	kb_aml_int(a, 0);
	kb_aml_int(a, 0);
	kb_aml_end(a);
}

/* Which interrupt controller is in use: _PIC is told, _PRT asks. */
static void pic_mode(struct kb_aml *a)
{
	value(a, "PICF", 0);
	kb_aml_method_begin(a, "_PIC", 1);
	kb_aml_store(a);
	kb_aml_arg(a, 0);
	kb_aml_ref(a, "PICF");
	kb_aml_end(a);
}

static void build_dsdt(struct layout *l)
{
	size_t at = begin_table(l, "DSDT", 2); /* 64-bit integers */
	struct kb_aml a;

	kb_aml_start(&a, l->b);
	pic_mode(&a);
	sleep_states(&a, l->cfg->s5_type);
	kb_aml_scope_begin(&a, "\\_SB");
	pci_bridge(&a, l->cfg);
	motherboard(&a, l->cfg);
	isa_devices(&a, l->cfg);
	processors(&a, l->cfg->cpus);
	kb_aml_end(&a);
	kb_aml_finish(&a, l->b);
	l->dsdt = end_table(l, at);
}

/* ---- FACS, FADT --------------------------------------------------------------------- */

struct PACKED facs {
	char signature[4];
	uint32_t length, hardware_signature, waking_vector, global_lock, flags;
	uint64_t x_waking_vector;
	uint8_t version;
	uint8_t reserved[3];
	uint32_t ospm_flags;
	uint8_t reserved2[24];
};
_Static_assert(sizeof(struct facs) == 64, "FACS is 64 bytes");

static void build_facs(struct layout *l)
{
	struct facs f = { .signature = { 'F', 'A', 'C', 'S' }, .length = sizeof(f), .version = 2 };

	kb_buf_align(l->b, 64);
	l->facs = l->gpa + (uint32_t)l->b->len;
	kb_buf_put(l->b, &f, sizeof(f));
}

struct PACKED fadt { /* without header */
	uint32_t firmware_ctrl, dsdt;
	uint8_t reserved, preferred_pm_profile;
	uint16_t sci_int;
	uint32_t smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
	uint32_t pm1a_evt_blk, pm1b_evt_blk, pm1a_cnt_blk, pm1b_cnt_blk, pm2_cnt_blk, pm_tmr_blk, gpe0_blk, gpe1_blk;
	uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_blk_len, gpe1_blk_len, gpe1_base, cst_cnt;
	uint16_t p_lvl2_lat, p_lvl3_lat, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alrm, mon_alrm, century;
	uint16_t iapc_boot_arch;
	uint8_t reserved2;
	uint32_t flags;
	struct gas reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_version;
	uint64_t x_firmware_ctrl, x_dsdt;
	struct gas x_pm1a_evt_blk, x_pm1b_evt_blk, x_pm1a_cnt_blk, x_pm1b_cnt_blk, x_pm2_cnt_blk, x_pm_tmr_blk,
		x_gpe0_blk, x_gpe1_blk, sleep_control_reg, sleep_status_reg;
	uint64_t hypervisor_vendor_id;
};
_Static_assert(sizeof(struct header) + sizeof(struct fadt) == 276, "FADT revision 6 is 276 bytes");

#define RTC_CENTURY 0x32 /* in CMOS RAM */
/* Latencies above these say that there is no C2, no C3. */
#define NO_C2 101
#define NO_C3 1001

enum { /* IAPC_BOOT_ARCH, section 5.2.9.3 */
	LEGACY_DEVICES = 1 << 0, I8042 = 1 << 1, VGA_NOT_PRESENT = 1 << 2,
};
enum { /* flags, table 5-34 of section 5.2.9 */
	WBINVD = 1 << 0, PROC_C1 = 1 << 2, PWR_BUTTON = 1 << 4, SLP_BUTTON = 1 << 5, FIX_RTC = 1 << 6,
	TMR_VAL_EXT = 1 << 8, RESET_REG_SUP = 1 << 10, HEADLESS = 1 << 12,
};

/* Set, the bits of buttons and RTC say that there is none in the fixed hardware. */
static uint32_t fadt_flags(const struct kb_tables_config *cfg)
{
	return WBINVD | PROC_C1 | SLP_BUTTON | RESET_REG_SUP | HEADLESS | (cfg->power_button ? 0 : PWR_BUTTON) |
		(cfg->rtc_event ? 0 : FIX_RTC) | (cfg->pm_timer_32bit ? TMR_VAL_EXT : 0);
}

static void build_fadt(struct layout *l)
{
	const struct kb_tables_config *cfg = l->cfg;
	struct fadt f = {
		.firmware_ctrl = l->facs, .dsdt = l->dsdt, .preferred_pm_profile = 1 /* desktop */,
		.sci_int = cfg->sci_irq, .smi_cmd = 0, /* no legacy mode to leave */
		.pm1a_evt_blk = cfg->pm_event, .pm1a_cnt_blk = cfg->pm_control, .pm_tmr_blk = cfg->pm_timer,
		.pm1_evt_len = 4, .pm1_cnt_len = 2, .pm_tmr_len = 4,
		.p_lvl2_lat = NO_C2, .p_lvl3_lat = NO_C3, .century = RTC_CENTURY,
		.iapc_boot_arch = (uint16_t)(LEGACY_DEVICES | VGA_NOT_PRESENT | (cfg->i8042 ? I8042 : 0)),
		.flags = fadt_flags(cfg),
		.reset_reg = port(cfg->reset_port, 1, ACCESS_BYTE), .reset_value = cfg->reset_value,
		.minor_version = 3, .x_dsdt = l->dsdt,
		.x_pm1a_evt_blk = port(cfg->pm_event, 4, ACCESS_WORD),
		.x_pm1a_cnt_blk = port(cfg->pm_control, 2, ACCESS_WORD),
		.x_pm_tmr_blk = port(cfg->pm_timer, 4, ACCESS_DWORD),
	};
	size_t at = begin_table(l, "FACP", 6);

	kb_buf_put(l->b, &f, sizeof(f));
	list_table(l, at);
}

/* ---- MADT, HPET, MCFG ------------------------------------------------------------------ */

enum { MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_LAPIC_NMI = 4 };
#define PCAT_COMPAT 1 /* there are 8259s as well */
#define LAPIC_ENABLED 1
/* MPS INTI flags: polarity in bits 1:0, trigger mode in bits 3:2; 0: as the bus has it. */
#define INTI_HIGH_LEVEL 0xd

static void madt_override(struct kb_buf *b, uint8_t irq, uint8_t gsi, uint16_t flags)
{
	kb_buf_le(b, MADT_OVERRIDE, 1);
	kb_buf_le(b, 10, 1);
	kb_buf_le(b, 0, 1); /* ISA */
	kb_buf_le(b, irq, 1);
	kb_buf_le(b, gsi, 4);
	kb_buf_le(b, flags, 2);
}

static void build_madt(struct layout *l)
{
	size_t at = begin_table(l, "APIC", 5);
	struct kb_buf *b = l->b;
	unsigned i;

	kb_buf_le(b, l->cfg->lapic_base, 4);
	kb_buf_le(b, PCAT_COMPAT, 4);
	for (i = 0; i < l->cfg->cpus; i++) {
		const uint8_t lapic[8] = { MADT_LAPIC, 8, (uint8_t)i, (uint8_t)i, LAPIC_ENABLED };

		kb_buf_put(b, lapic, sizeof(lapic));
	}
	kb_buf_le(b, MADT_IOAPIC, 1);
	kb_buf_le(b, 12, 1);
	kb_buf_le(b, l->cfg->ioapic_id, 2);
	kb_buf_le(b, l->cfg->ioapic_base, 4);
	kb_buf_le(b, 0, 4); /* its first GSI */
	if (l->cfg->pit_gsi != 0)
		madt_override(b, 0, l->cfg->pit_gsi, 0);
	madt_override(b, l->cfg->sci_irq, l->cfg->sci_irq, INTI_HIGH_LEVEL);
	kb_buf_put(b, (const uint8_t[]){ MADT_LAPIC_NMI, 6, 0xff /* all CPUs */, 0, 0, 1 /* LINT1 */ }, 6);
	list_table(l, at);
}

static void build_hpet(struct layout *l)
{
	const struct gas where = { .space = SPACE_MEMORY, .bit_width = 64, .address = l->cfg->hpet_base };
	size_t at;

	if (!l->cfg->hpet_base)
		return;
	at = begin_table(l, "HPET", 1);
	kb_buf_le(l->b, l->cfg->hpet_id, 4);
	kb_buf_put(l->b, &where, sizeof(where));
	kb_buf_le(l->b, 0, 1); /* the first one */
	kb_buf_le(l->b, l->cfg->hpet_min_tick, 2);
	kb_buf_le(l->b, 0, 1); /* no guarantee for what else is in its page */
	list_table(l, at);
}

static void build_mcfg(struct layout *l)
{
	size_t at;

	if (!l->cfg->ecam_base)
		return;
	at = begin_table(l, "MCFG", 1);
	kb_buf_le(l->b, 0, 8);
	kb_buf_le(l->b, l->cfg->ecam_base, 8);
	kb_buf_le(l->b, 0, 2); /* segment */
	kb_buf_le(l->b, 0, 1); /* first bus */
	kb_buf_le(l->b, l->cfg->pci_last_bus, 1);
	kb_buf_le(l->b, 0, 4);
	list_table(l, at);
}

/* ---- the roots --------------------------------------------------------------------------- */

static uint32_t build_root(struct layout *l, const char *signature, unsigned width)
{
	size_t at = begin_table(l, signature, 1);
	unsigned i;

	for (i = 0; i < l->count; i++)
		kb_buf_le(l->b, l->listed[i], width);
	return end_table(l, at);
}

static void write_rsdp(struct layout *l)
{
	struct rsdp r = {
		.revision = 2, .rsdt_address = l->rsdt, .length = sizeof(r), .xsdt_address = l->xsdt,
	};

	memcpy(r.signature, "RSD PTR ", sizeof(r.signature));
	memcpy(r.oem_id, OEM_ID, sizeof(r.oem_id));
	r.checksum = kb_checksum(&r, RSDP_V1_SIZE);
	r.extended_checksum = kb_checksum(&r, sizeof(r));
	memcpy(l->b->data, &r, sizeof(r));
}

void kb_acpi_build(struct kb_buf *b, uint32_t gpa, const struct kb_tables_config *cfg)
{
	const struct rsdp later = { 0 };
	struct layout l = { .b = b, .gpa = gpa, .cfg = cfg };

	kb_buf_put(b, &later, sizeof(later));
	build_facs(&l);
	build_dsdt(&l);
	build_fadt(&l);
	build_madt(&l);
	build_hpet(&l);
	build_mcfg(&l);
	l.rsdt = build_root(&l, "RSDT", 4);
	l.xsdt = build_root(&l, "XSDT", 8);
	if (!b->overflow)
		write_rsdp(&l);
}
