/*
 * Linux bzImage, and the zero page of every Linux kernel (Linux, Documentation/arch/x86/boot.rst and zero-page.rst): the
 * 64-bit entry where the kernel has one, else the 32-bit one. Everything is checked before the first byte of RAM is written.
 */
#include "platforms/loader_linux.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "platforms/boot.h"
#include "vcpu/error.h"

#define SECTOR 512u
#define HEADER offsetof(struct boot_params, hdr) /* in the file as in the zero page */
#define HEADER_JUMP 0x202u     /* where the jump at 0x200 jumps from: its distance is the header's end */
#define BOOT_FLAG 0xaa55u
#define PROTOCOL_OLDEST 0x206u /* cmdline_size; Linux 2.6.22 */
#define PROTOCOL_2_10 0x20au   /* pref_address, init_size */
#define PROTOCOL_2_12 0x20cu   /* xloadflags */
#define DEFAULT_SECTS 4u
#define DEFAULT_ADDRESS 0x100000u
#define ENTRY64 0x200u
#define LOADER_UNKNOWN 0xffu
#define E820_RAM 1u

_Static_assert(sizeof(struct boot_params) <= KB_BOOT_INFO_SIZE, "the zero page outgrows its place");

/* ---- zero page ------------------------------------------------------------------- */

void kb_linux_write_params(struct kb_place *place, const struct kvmbox_config *cfg, struct boot_params *params,
			   const struct kb_initrd *initrd)
{
	struct setup_header *hdr = &params->hdr;
	unsigned i;

	hdr->type_of_loader = LOADER_UNKNOWN;
	hdr->vid_mode = 0xffff; /* "normal"; screen_info stays zeros: there is no screen */
	hdr->cmd_line_ptr = KB_BOOT_CMDLINE;
	hdr->ramdisk_image = (uint32_t)initrd->addr;
	hdr->ramdisk_size = (uint32_t)initrd->size;
	params->ext_ramdisk_image = (uint32_t)(initrd->addr >> 32);
	params->ext_ramdisk_size = (uint32_t)(initrd->size >> 32);
	params->acpi_rsdp_addr = KB_TABLES_RSDP;
	params->e820_entries = (uint8_t)place->ranges;
	for (i = 0; i < place->ranges; i++)
		params->e820_table[i] = (struct boot_e820_entry){
			.addr = place->map[i].base, .size = place->map[i].size, .type = place->map[i].type,
		};
	kb_bus_write(place->mem, KB_BOOT_INFO, params, sizeof(*params));
	kb_cmdline_write(place->mem, cfg->cmdline);
}

/* ---- bzImage ---------------------------------------------------------------------- */

struct kernel {
	struct boot_params params;
	uint64_t offset, size; /* of the protected-mode part in the file */
	bool is64;
	uint64_t addr;         /* where it goes */
	uint64_t initrd_last;
};

static int read_header(struct kernel *k, const struct kb_image *image, struct kvmbox_error *err)
{
	struct setup_header *hdr = &k->params.hdr;
	uint8_t end;
	int rc = kb_image_read(image, HEADER_JUMP - 1, &end, 1, err);
	uint64_t len = HEADER_JUMP + end - HEADER;

	if (rc)
		return rc;
	if (len > sizeof(*hdr))
		len = sizeof(*hdr); /* of a newer kernel: what it has more is optional */
	return kb_image_read(image, HEADER, hdr, len, err);
}

static int check_header(struct kernel *k, const struct kb_image *image, struct kvmbox_error *err)
{
	struct setup_header *hdr = &k->params.hdr;

	if (hdr->boot_flag != BOOT_FLAG)
		return kb_fail(err, ENOEXEC, "the bzImage's header is corrupt: boot flag 0x%x instead of 0x%x", hdr->boot_flag, BOOT_FLAG);
	if (hdr->version < PROTOCOL_OLDEST)
		return kb_fail(err, ENOEXEC,
			       "is a Linux kernel of boot protocol %u.%02u, too old: it does not say how long a command line it takes; 2.06 is the oldest one that does (Linux 2.6.22)",
			       hdr->version >> 8, hdr->version & 0xff);
	if (!(hdr->loadflags & LOADED_HIGH))
		return kb_fail(err, ENOEXEC, "is a zImage, which loads below 1 MiB; build a bzImage");
	k->offset = ((hdr->setup_sects ? hdr->setup_sects : DEFAULT_SECTS) + 1u) * SECTOR;
	k->size = (uint64_t)hdr->syssize * 16;
	if (k->size <= ENTRY64)
		return kb_fail(err, ENOEXEC, "the bzImage's header is corrupt: a kernel of %" PRIu64 " bytes", k->size);
	if (k->offset + k->size > image->size)
		return kb_fail(err, ENOEXEC,
			       "the file is truncated: the kernel is 0x%" PRIx64 " bytes at 0x%" PRIx64 ", the file ends at 0x%" PRIx64,
			       k->size, k->offset, image->size);
	return 0;
}

/* What newer protocols say; what older ones mean. */
static void complete_header(struct kernel *k)
{
	struct setup_header *hdr = &k->params.hdr;

	if (hdr->version < PROTOCOL_2_10) {
		hdr->pref_address = DEFAULT_ADDRESS;
		hdr->init_size = 0;
		hdr->relocatable_kernel = 0;
	}
	if (hdr->version < PROTOCOL_2_12)
		hdr->xloadflags = 0;
	k->is64 = hdr->xloadflags & XLF_KERNEL_64;
	k->initrd_last = hdr->initrd_addr_max ? hdr->initrd_addr_max : KB_LINUX_INITRD_MAX;
	if (k->is64 && (hdr->xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G))
		k->initrd_last = UINT64_MAX;
}

/* Is all of it RAM, and free? */
static bool is_usable(const struct kb_place *place, uint64_t addr, uint64_t size)
{
	return kb_image_check_range(place->mem, "", addr, size, NULL) == 0;
}

static uint64_t align_up(uint64_t addr, uint64_t align)
{
	return (addr + (align - 1)) & ~(align - 1);
}

/*
 * pref_address, or the next address above it that has the room: when told to run below, a kernel moves itself up again.
 * Never above 4 GiB, which the first page tables may not reach.
 */
static uint64_t choose_address(const struct setup_header *hdr, const struct kb_place *place, uint64_t room)
{
	const uint64_t first = align_up(hdr->pref_address, hdr->kernel_alignment);
	unsigned i;

	for (i = 0; !is_usable(place, first, room) && i < place->ranges; i++) {
		const struct kb_memory_range *r = &place->map[i];
		uint64_t addr = align_up(r->base, hdr->kernel_alignment);

		if (r->type == KB_MEMORY_RAM && addr > first && addr <= UINT32_MAX && is_usable(place, addr, room))
			return addr;
	}
	return first;
}

static int place_kernel(struct kernel *k, struct kb_place *place, struct kvmbox_error *err)
{
	struct setup_header *hdr = &k->params.hdr;
	uint64_t room = hdr->init_size > k->size ? hdr->init_size : k->size;
	int rc;

	if (!hdr->relocatable_kernel) { /* loads here, runs there */
		k->addr = DEFAULT_ADDRESS;
		rc = kb_place_take(place, "the kernel", k->addr, k->size, err);
		return rc ? rc : kb_place_take(place, "the kernel, when it runs", hdr->pref_address, room, err);
	}
	if (!hdr->kernel_alignment || (hdr->kernel_alignment & (hdr->kernel_alignment - 1)))
		return kb_fail(err, ENOEXEC, "the bzImage's header is corrupt: kernel_alignment 0x%x is no power of two",
			       hdr->kernel_alignment);
	k->addr = choose_address(hdr, place, room);
	if (k->addr > UINT32_MAX)
		return kb_fail(err, ENOEXEC, "the bzImage's header is corrupt: a kernel that starts above 4 GiB (0x%" PRIx64 ")", k->addr);
	return kb_place_take(place, "the kernel with the room it unpacks itself in", k->addr, room, err);
}

int kb_load_bzimage(const struct kb_image *image, struct kb_bus *mem, const struct kvmbox_config *cfg,
		    const struct kb_tables_config *tables, struct kb_boot *boot, struct kvmbox_error *err)
{
	struct kernel k = { 0 };
	struct kb_initrd initrd = { 0 };
	struct kb_place place;
	int rc = read_header(&k, image, err);

	kb_place_init(&place, mem, tables);
	rc = rc ? rc : check_header(&k, image, err);
	if (!rc)
		complete_header(&k);
	rc = rc ? rc : kb_cmdline_check(cfg->cmdline, k.params.hdr.cmdline_size, err);
	rc = rc ? rc : place_kernel(&k, &place, err);
	rc = rc ? rc : kb_initrd_place(&initrd, &place, cfg->initrd, k.initrd_last, err);
	rc = rc ? rc : kb_image_load(image, mem, k.addr, k.size, k.offset, k.size, err);
	rc = rc ? rc : kb_initrd_load(&initrd, mem, cfg->initrd, err);
	kb_initrd_close(&initrd);
	if (rc)
		return rc;
	k.params.hdr.code32_start = (uint32_t)k.addr;
	kb_linux_write_params(&place, cfg, &k.params, &initrd);
	*boot = (struct kb_boot){
		.mode = k.is64 ? KB_BOOT_LONG64 : KB_BOOT_PROTECTED32,
		.entry = k.is64 ? k.addr + ENTRY64 : k.addr, .si = KB_BOOT_INFO,
	};
	return 0;
}
