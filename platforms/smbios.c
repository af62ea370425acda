/* SMBIOS tables: see smbios.h. Chapters of DSP0134 3.0 stand with the structures. */
#include "platforms/smbios.h"

#include <string.h>

#define PACKED __attribute__((packed))
#define NO_HANDLE 0xffffu      /* not provided */
#define NO_ERRORS 0xfffeu      /* no error information structure */
#define HANDLE_MEMORY 0x1000u

/* 5.2.2 */
struct PACKED entry_point {
	char anchor[5];
	uint8_t checksum, length, major, minor, docrev, revision, reserved;
	uint32_t max_size;
	uint64_t address;
};
_Static_assert(sizeof(struct entry_point) == KB_SMBIOS_ENTRY_SIZE, "entry point");

/* 6.1.2; strings are numbered from 1 on, 0 is none. */
struct PACKED header {
	uint8_t type, length;
	uint16_t handle;
};

/* s: a structure that starts with its header and is length bytes long. strings: "" for an unknown one; ends with NULL. */
static void put(struct kb_buf *b, uint8_t type, uint16_t handle, void *s, size_t length, const char *const *strings)
{
	const struct header h = { .type = type, .length = (uint8_t)length, .handle = handle };

	memcpy(s, &h, sizeof(h));
	kb_buf_put(b, s, length);
	if (!*strings)
		kb_buf_le(b, 0, 1);
	for (; *strings; strings++)
		kb_buf_string(b, **strings ? *strings : "unknown"); /* an empty one would end the list */
	kb_buf_le(b, 0, 1);
}

#define PUT(b, type, handle, s, ...) \
	put(b, type, handle, &(s), sizeof(s), (const char *const[]){ __VA_ARGS__ __VA_OPT__(,) NULL })

static const char *or_unknown(const char *text)
{
	return text ? text : "";
}

/* 7.1 */
static void put_bios(struct kb_buf *b, const struct kb_tables_config *cfg)
{
	struct PACKED {
		struct header h;
		uint8_t vendor, version;
		uint16_t start_segment;
		uint8_t release_date, rom_size;
		uint64_t characteristics;
		uint8_t extension[2];
		uint8_t major, minor, ec_major, ec_minor;
	} s = {
		.vendor = 1, .version = 2, .start_segment = KB_TABLES_ACPI >> 4, .release_date = 3, .rom_size = 1 /* 128 KiB */,
		.characteristics = 1 << 3 /* not told */, .extension = { 1 << 0 /* ACPI */, 1 << 4 /* virtual machine */ },
		.major = 0xff, .minor = 0xff, .ec_major = 0xff, .ec_minor = 0xff,
	};

	_Static_assert(sizeof(s) == 0x18, "7.1");
	PUT(b, 0, 0, s, "kvmbox", or_unknown(cfg->version), "01/01/2026");
}

/* 7.2 */
static void put_system(struct kb_buf *b, const struct kb_tables_config *cfg)
{
	struct PACKED {
		struct header h;
		uint8_t manufacturer, product, version, serial;
		uint8_t uuid[16];
		uint8_t wake_up, sku, family;
	} s = { .manufacturer = 1, .product = 2, .version = 3, .wake_up = 6 /* power switch */ };

	_Static_assert(sizeof(s) == 0x1b, "7.2");
	memcpy(s.uuid, cfg->uuid, sizeof(s.uuid));
	PUT(b, 1, 0x100, s, "kvmbox", "kvmbox PC", or_unknown(cfg->version));
}

/* 7.4 */
static void put_chassis(struct kb_buf *b)
{
	struct PACKED {
		struct header h;
		uint8_t manufacturer, type, version, serial, asset, boot_state, power_state, thermal_state, security;
		uint32_t oem;
		uint8_t height, cords, elements, element_size, sku;
	} s = {
		.manufacturer = 1, .type = 1 /* other */, .boot_state = 3 /* safe */, .power_state = 3, .thermal_state = 3,
		.security = 2 /* unknown */,
	};

	_Static_assert(sizeof(s) == 0x16, "7.4");
	PUT(b, 3, 0x300, s, "kvmbox");
}

/* 7.5: one socket, a core for every CPU. */
static void put_processor(struct kb_buf *b, const struct kb_tables_config *cfg)
{
	uint8_t cpus = (uint8_t)cfg->cpus;
	struct PACKED {
		struct header h;
		uint8_t socket, type, family, manufacturer;
		uint32_t signature, features;
		uint8_t version, voltage;
		uint16_t external_clock, max_mhz, mhz;
		uint8_t status, upgrade;
		uint16_t l1, l2, l3;
		uint8_t serial, asset, part, cores, cores_enabled, threads;
		uint16_t characteristics, family2, cores2, cores_enabled2, threads2;
	} s = {
		.socket = 1, .type = 3 /* central */, .family = 1 /* other */, .manufacturer = 2,
		.signature = cfg->cpu_signature, .features = cfg->cpu_features, .version = 3,
		.status = 0x41 /* populated, enabled */, .upgrade = 1 /* other */,
		.l1 = NO_HANDLE, .l2 = NO_HANDLE, .l3 = NO_HANDLE,
		.cores = cpus, .cores_enabled = cpus, .threads = cpus,
		.characteristics = (uint16_t)(1 << 2 /* 64-bit */ | (cpus > 1) << 3 /* multi-core */), .family2 = 1,
		.cores2 = cpus, .cores_enabled2 = cpus, .threads2 = cpus,
	};

	_Static_assert(sizeof(s) == 0x30, "7.5");
	PUT(b, 4, 0x400, s, "CPU 0", or_unknown(cfg->cpu_vendor), or_unknown(cfg->cpu_name));
}

/* 7.17 */
static void put_memory_array(struct kb_buf *b, uint64_t ram)
{
	struct PACKED {
		struct header h;
		uint8_t location, use, error_correction;
		uint32_t capacity; /* KiB */
		uint16_t error_handle, devices;
		uint64_t extended_capacity;
	} s = {
		.location = 3 /* system board */, .use = 3 /* system memory */, .error_correction = 3 /* none */,
		.capacity = (uint32_t)(ram >> 10), .error_handle = NO_ERRORS, .devices = 1,
	};

	_Static_assert(sizeof(s) == 0x17, "7.17");
	PUT(b, 16, HANDLE_MEMORY, s);
}

/* MiB, or KiB with bit 15 set; 0x7fff: see extended_size. */
static uint16_t module_size(uint64_t ram)
{
	if (ram & 0xfffff && ram >> 10 < 0x7fff)
		return (uint16_t)(0x8000 | ram >> 10);
	return (uint16_t)(ram >> 20 < 0x7fff ? ram >> 20 : 0x7fff);
}

/* 7.18: all RAM in one module. */
static void put_memory_module(struct kb_buf *b, uint64_t ram)
{
	struct PACKED {
		struct header h;
		uint16_t array, error_handle, total_width, data_width, size;
		uint8_t form_factor, set, locator, bank, type;
		uint16_t type_detail, speed;
		uint8_t manufacturer, serial, asset, part, attributes;
		uint32_t extended_size; /* MiB */
		uint16_t configured_speed, min_mv, max_mv, configured_mv;
	} s = {
		.array = HANDLE_MEMORY, .error_handle = NO_ERRORS, .total_width = 64, .data_width = 64,
		.size = module_size(ram), .form_factor = 9 /* DIMM */, .locator = 1, .type = 7 /* RAM */,
		.type_detail = 1 << 1 /* other */, .manufacturer = 2,
	};

	_Static_assert(sizeof(s) == 0x28, "7.18");
	if (s.size == 0x7fff)
		s.extended_size = (uint32_t)(ram >> 20);
	PUT(b, 17, 0x1100, s, "DIMM 0", "kvmbox");
}

/* 7.20; [first, first + size), no gap for the legacy hole. */
static void put_memory_range(struct kb_buf *b, uint16_t handle, uint64_t first, uint64_t size)
{
	struct PACKED {
		struct header h;
		uint32_t first_kib, last_kib;
		uint16_t array;
		uint8_t width;
		uint64_t extended_first, extended_last;
	} s = {
		.first_kib = (uint32_t)(first >> 10), .last_kib = (uint32_t)(((first + size) >> 10) - 1),
		.array = HANDLE_MEMORY, .width = 1,
	};

	_Static_assert(sizeof(s) == 0x1f, "7.20");
	if (size)
		PUT(b, 19, handle, s);
}

/* 7.33, 7.45 */
static void put_end(struct kb_buf *b)
{
	struct PACKED {
		struct header h;
		uint8_t reserved[6], status;
	} boot = { .status = 0 /* no errors */ };
	struct header end;

	PUT(b, 32, 0x2000, boot);
	PUT(b, 127, 0x7f00, end);
}

void kb_smbios_build(struct kb_buf *b, uint32_t gpa, const struct kb_tables_config *cfg)
{
	uint64_t ram = cfg->ram_below_4g + cfg->ram_above_4g;
	struct entry_point ep = { .length = sizeof(ep), .major = 3, .minor = 0, .revision = 1 };
	size_t at = b->len, structures;

	kb_buf_put(b, &ep, sizeof(ep));
	kb_buf_align(b, 16);
	structures = b->len;
	put_bios(b, cfg);
	put_system(b, cfg);
	put_chassis(b);
	put_processor(b, cfg);
	put_memory_array(b, ram);
	put_memory_module(b, ram);
	put_memory_range(b, 0x1300, 0, cfg->ram_below_4g);
	put_memory_range(b, 0x1301, 1ull << 32, cfg->ram_above_4g);
	put_end(b);
	if (b->overflow)
		return;
	memcpy(ep.anchor, "_SM3_", sizeof(ep.anchor));
	ep.max_size = (uint32_t)(b->len - structures);
	ep.address = gpa + structures;
	ep.checksum = kb_checksum(&ep, sizeof(ep));
	memcpy(b->data + at, &ep, sizeof(ep));
}
