/* Firmware tables as files for firmware: see fw_tables.h. Offsets into tables are those of ACPI 6.3, section 5.2. */
#include "platforms/fw_tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "platforms/acpi.h"
#include "platforms/smbios.h"

#define ROOM 0x10000u
#define RSDP_FILE "etc/acpi/rsdp"
#define TABLES_FILE "etc/acpi/tables"

enum { RSDP_CHECKSUM = 8, RSDP_RSDT = 16, RSDP_V1_SIZE = 20, RSDP_XSDT = 24, RSDP_EXTENDED_CHECKSUM = 32, RSDP_SIZE = 36 };
enum { TABLE_LENGTH = 4, TABLE_CHECKSUM = 9, TABLE_HEADER = 36 };
enum { FADT_FIRMWARE_CTRL = 36, FADT_DSDT = 40, FADT_X_FIRMWARE_CTRL = 132, FADT_X_DSDT = 140 };

/* One command of the loader, little endian. */
enum { LOADER_ALLOCATE = 1, LOADER_ADD_POINTER = 2, LOADER_ADD_CHECKSUM = 3 };
enum { ZONE_HIGH = 1, ZONE_FSEG = 2 };
struct __attribute__((packed)) command {
	uint32_t what;
	union {
		struct __attribute__((packed)) {
			char file[56];
			uint32_t align;
			uint8_t zone;
		} allocate;
		struct __attribute__((packed)) {
			char in[56], to[56];
			uint32_t offset;
			uint8_t size;
		} pointer;
		struct __attribute__((packed)) {
			char file[56];
			uint32_t at, start, length;
		} checksum;
		uint8_t room[124];
	};
};
_Static_assert(sizeof(struct command) == 128, "the loader's commands have 128 bytes");

/* Tables built for address 0: a pointer is an offset, to which the loader adds where the file went. */
struct script {
	struct kb_buf out;
	const uint8_t *tables;
};

static void allocate(struct script *s, const char *file, uint32_t align, uint8_t zone)
{
	struct command c = { .what = LOADER_ALLOCATE, .allocate = { .align = align, .zone = zone } };

	strcpy(c.allocate.file, file);
	kb_buf_put(&s->out, &c, sizeof(c));
}

static void add_pointer(struct script *s, const char *in, uint32_t offset, uint8_t size)
{
	struct command c = { .what = LOADER_ADD_POINTER, .pointer = { .offset = offset, .size = size } };

	strcpy(c.pointer.in, in);
	strcpy(c.pointer.to, TABLES_FILE);
	kb_buf_put(&s->out, &c, sizeof(c));
}

static void add_checksum(struct script *s, const char *file, uint32_t at, uint32_t start, uint32_t length)
{
	struct command c = { .what = LOADER_ADD_CHECKSUM, .checksum = { .at = at, .start = start, .length = length } };

	strcpy(c.checksum.file, file);
	kb_buf_put(&s->out, &c, sizeof(c));
}

static uint32_t get(const struct script *s, uint32_t at)
{
	uint32_t v;

	memcpy(&v, s->tables + at, sizeof(v));
	return v;
}

/* A pointer that is 0 says that there is nothing. */
static void move(struct script *s, uint32_t at, uint8_t size)
{
	if (get(s, at))
		add_pointer(s, TABLES_FILE, at, size);
}

static void sum_table(struct script *s, uint32_t table)
{
	add_checksum(s, TABLES_FILE, table + TABLE_CHECKSUM, table, get(s, table + TABLE_LENGTH));
}

static void move_fadt(struct script *s, uint32_t fadt)
{
	move(s, fadt + FADT_FIRMWARE_CTRL, 4);
	move(s, fadt + FADT_DSDT, 4);
	move(s, fadt + FADT_X_FIRMWARE_CTRL, 8);
	move(s, fadt + FADT_X_DSDT, 8);
	sum_table(s, fadt);
}

static void move_root(struct script *s, uint32_t root, uint8_t width)
{
	uint32_t at, end = root + get(s, root + TABLE_LENGTH);

	for (at = root + TABLE_HEADER; at < end; at += width) {
		move(s, at, width);
		if (width == 4 && !memcmp(s->tables + get(s, at), "FACP", 4)) /* once, though both roots list it */
			move_fadt(s, get(s, at));
	}
	sum_table(s, root);
}

static void write_script(struct script *s)
{
	allocate(s, RSDP_FILE, 16, ZONE_FSEG);
	allocate(s, TABLES_FILE, 64, ZONE_HIGH);
	move_root(s, get(s, RSDP_RSDT), 4);
	move_root(s, get(s, RSDP_XSDT), 8);
	add_pointer(s, RSDP_FILE, RSDP_RSDT, 4);
	add_pointer(s, RSDP_FILE, RSDP_XSDT, 8);
	add_checksum(s, RSDP_FILE, RSDP_CHECKSUM, 0, RSDP_V1_SIZE);
	add_checksum(s, RSDP_FILE, RSDP_EXTENDED_CHECKSUM, 0, RSDP_SIZE);
}

static int add_acpi(struct kb_fw_cfg *f, const struct kb_tables_config *cfg, uint8_t *room, struct kvmbox_error *err)
{
	struct kb_buf tables = { .data = room, .cap = ROOM };
	struct script s = { .out = { .data = room + ROOM, .cap = ROOM }, .tables = room };
	int rc;

	kb_acpi_build(&tables, 0, cfg);
	if (tables.overflow)
		return kb_fail(err, ENOSPC, "the ACPI tables for %u CPUs do not fit into 64 KiB", cfg->cpus);
	write_script(&s);
	rc = kb_fw_cfg_add_file(f, RSDP_FILE, room, RSDP_SIZE, err);
	memset(room, 0, RSDP_SIZE); /* there is one RSDP only */
	if (!rc)
		rc = kb_fw_cfg_add_file(f, TABLES_FILE, room, tables.len, err);
	return rc ? rc : kb_fw_cfg_add_file(f, "etc/table-loader", s.out.data, s.out.len, err);
}

static int add_smbios(struct kb_fw_cfg *f, const struct kb_tables_config *cfg, uint8_t *room, struct kvmbox_error *err)
{
	struct kb_buf b = { .data = room, .cap = ROOM };
	size_t structures = (KB_SMBIOS_ENTRY_SIZE + 15u) & ~15u;
	int rc;

	kb_smbios_build(&b, 0, cfg);
	if (b.overflow)
		return kb_fail(err, ENOSPC, "the SMBIOS tables do not fit into 64 KiB");
	rc = kb_fw_cfg_add_file(f, "etc/smbios/smbios-anchor", room, KB_SMBIOS_ENTRY_SIZE, err);
	return rc ? rc : kb_fw_cfg_add_file(f, "etc/smbios/smbios-tables", room + structures, b.len - structures, err);
}

static void put_range(struct kb_buf *b, uint64_t base, uint64_t size, enum kb_memory_type type)
{
	if (!size)
		return;
	kb_buf_le(b, base, 8);
	kb_buf_le(b, size, 8);
	kb_buf_le(b, type, 4);
}

/* What is reserved below 1 MiB, and at the end of 4 GiB, is the firmware's to tell. */
static int add_e820(struct kb_fw_cfg *f, const struct kb_tables_config *cfg, uint8_t *room, struct kvmbox_error *err)
{
	struct kb_buf b = { .data = room, .cap = ROOM };

	put_range(&b, 0, cfg->ram_below_4g, KB_MEMORY_RAM);
	put_range(&b, cfg->ecam_base, cfg->ecam_base ? (cfg->pci_last_bus + 1ull) << 20 : 0, KB_MEMORY_RESERVED);
	put_range(&b, 1ull << 32, cfg->ram_above_4g, KB_MEMORY_RAM);
	return kb_fw_cfg_add_file(f, "etc/e820", room, b.len, err);
}

int kb_fw_tables_add(struct kb_fw_cfg *f, const struct kb_tables_config *cfg, struct kvmbox_error *err)
{
	uint8_t *room = calloc(2, ROOM);
	int rc;

	if (!room)
		return kb_fail(err, ENOMEM, "out of memory for the firmware tables");
	rc = kb_tables_check(cfg, err);
	if (!rc)
		rc = add_acpi(f, cfg, room, err);
	if (!rc)
		rc = add_smbios(f, cfg, room, err);
	if (!rc)
		rc = add_e820(f, cfg, room, err);
	free(room);
	return rc;
}
