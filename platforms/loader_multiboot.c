/*
 * Kernels with a multiboot header (Multiboot Specification 0.6.96): finding it, loading by ELF or by addresses, and the
 * boot information of version 1. Version 2 is in loader_multiboot2.c.
 */
#include "platforms/loader_multiboot.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "platforms/boot.h"
#include "vcpu/error.h"

#define MAGIC1 0x1badb002u
#define MAGIC2 0xe85250d6u
#define SEARCH1 0x2000u
#define HEADER1 12u /* without addresses and video mode */
#define HEADER2 16u
#define STARTED1 0x2badb002u
#define HIGH_RAM 0x100000u
#define SECTION_ALIGN 16u

/* Header flags; those in the lower half that nobody knows must not be ignored. */
enum { WANT_PAGES = 1 << 0, WANT_MEMORY = 1 << 1, WANT_VIDEO = 1 << 2, HAS_ADDRESSES = 1 << 16 };
#define REQUIRED 0xffffu

/* ---- the file ------------------------------------------------------------------ */

uint32_t kb_multiboot_u32(const struct kb_head *head, unsigned at)
{
	uint32_t v;

	memcpy(&v, head->bytes + at, sizeof(v));
	return v;
}

static bool is_header(const struct kb_head *head, unsigned at, uint32_t magic, unsigned words)
{
	uint32_t sum = 0;
	unsigned i;

	if (at + 4 * words > head->len || kb_multiboot_u32(head, at) != magic)
		return false;
	for (i = 0; i < words; i++)
		sum += kb_multiboot_u32(head, at + 4 * i);
	return sum == 0;
}

void kb_multiboot_find(struct kb_head *head)
{
	unsigned at;

	for (at = 0; !head->multiboot && at + HEADER2 <= head->len; at += 8)
		if (is_header(head, at, MAGIC2, 4)) {
			head->multiboot = 2;
			head->multiboot_at = at;
		}
	for (at = 0; !head->multiboot && at + HEADER1 <= head->len && at + HEADER1 <= SEARCH1; at += 4)
		if (is_header(head, at, MAGIC1, 3)) {
			head->multiboot = 1;
			head->multiboot_at = at;
		}
}

/* ---- loading by addresses --------------------------------------------------------- */

static int flat_program(struct kb_multiboot *m, const struct kb_multiboot_addresses *a, struct kvmbox_error *err)
{
	const uint64_t before = (uint64_t)a->header_addr - a->load_addr; /* of the header, in memory */
	uint64_t off, len, size;

	if (a->load_addr > a->header_addr || before > m->head->multiboot_at)
		return kb_fail(err, ENOEXEC,
			       "the multiboot header is corrupt: it is to lie at 0x%" PRIx32 " of what loads at 0x%" PRIx32 ", in the file it is at 0x%x",
			       a->header_addr, a->load_addr, m->head->multiboot_at);
	off = m->head->multiboot_at - before;
	len = a->load_end_addr ? (uint64_t)a->load_end_addr - a->load_addr : m->image->size - off;
	size = a->bss_end_addr ? (uint64_t)a->bss_end_addr - a->load_addr : len;
	if ((a->load_end_addr && a->load_end_addr <= a->load_addr) || (a->bss_end_addr && (a->bss_end_addr < a->load_addr || size < len)))
		return kb_fail(err, ENOEXEC,
			       "the multiboot header is corrupt: load 0x%" PRIx32 ", end 0x%" PRIx32 ", bss end 0x%" PRIx32,
			       a->load_addr, a->load_end_addr, a->bss_end_addr);
	if (len > m->image->size - off)
		return kb_fail(err, ENOEXEC,
			       "the file is truncated: 0x%" PRIx64 " bytes at 0x%" PRIx64 " are to be loaded, the file ends at 0x%" PRIx64,
			       len, off, m->image->size);
	m->program = (struct kb_elf){
		.count = 1, .segments[0] = { .addr = a->load_addr, .vaddr = a->load_addr, .size = size, .off = off, .len = len },
	};
	return 0;
}

/* An ELF file's entry is a virtual address where it lies in a segment's virtual range; else it is a physical one already. */
static uint64_t physical_entry(const struct kb_elf *elf)
{
	unsigned i;

	for (i = 0; i < elf->count; i++)
		if (elf->entry - elf->segments[i].vaddr < elf->segments[i].size)
			return elf->entry - elf->segments[i].vaddr + elf->segments[i].addr;
	return elf->entry;
}

int kb_multiboot_program(struct kb_multiboot *m, const struct kb_multiboot_addresses *a, const uint32_t *entry,
			 struct kvmbox_error *err)
{
	const bool is_elf = m->head->len >= SELFMAG && !memcmp(m->head->bytes, ELFMAG, SELFMAG);
	int rc;

	if (a) {
		rc = flat_program(m, a, err);
	} else if (is_elf) {
		rc = kb_elf_read(&m->program, m->image, err);
		m->entry = physical_entry(&m->program);
		m->is_elf = true;
	} else {
		rc = kb_fail(err, ENOEXEC, "has a multiboot header without load addresses, but is not an ELF file");
	}
	if (entry)
		m->entry = *entry;
	return rc;
}

/* ---- sections ------------------------------------------------------------------------ */

/* Elf32_Shdr and Elf64_Shdr alike. */
struct section {
	uint32_t type;
	uint64_t addr, offset, size;
};

static struct section get_section(const struct kb_multiboot_sections *s, bool is64, unsigned i)
{
	const uint8_t *p = s->table + i * s->entsize;
	Elf64_Shdr h64;
	Elf32_Shdr h32;

	if (is64) {
		memcpy(&h64, p, sizeof(h64));
		return (struct section){ h64.sh_type, h64.sh_addr, h64.sh_offset, h64.sh_size };
	}
	memcpy(&h32, p, sizeof(h32));
	return (struct section){ h32.sh_type, h32.sh_addr, h32.sh_offset, h32.sh_size };
}

static void set_section_addr(struct kb_multiboot_sections *s, bool is64, unsigned i, uint64_t addr)
{
	const size_t at = is64 ? offsetof(Elf64_Shdr, sh_addr) : offsetof(Elf32_Shdr, sh_addr);

	memcpy(s->table + i * s->entsize + at, &addr, is64 ? 8 : 4); /* little endian */
}

/* Symbols, strings, debugging information: what the file has and no segment. */
static bool is_left_over(const struct kb_multiboot *m, const struct section *s)
{
	return s->type != SHT_NULL && s->type != SHT_NOBITS && s->addr == 0 && s->size && s->offset < m->image->size &&
	       s->size <= m->image->size - s->offset;
}

static uint64_t round_up(uint64_t v, uint64_t align)
{
	return (v + (align - 1)) & ~(align - 1);
}

static uint64_t sections_size(const struct kb_multiboot *m)
{
	uint64_t size = 0;
	unsigned i;

	for (i = 0; i < m->sections.count; i++) {
		const struct section s = get_section(&m->sections, m->program.is64, i);

		if (is_left_over(m, &s))
			size += round_up(s.size, SECTION_ALIGN);
	}
	return size;
}

static int read_sections(struct kb_multiboot *m, unsigned table_max, struct kvmbox_error *err)
{
	struct kb_multiboot_sections *s = &m->sections;
	const struct kb_elf *elf = &m->program;
	const uint64_t len = (uint64_t)elf->shnum * elf->shentsize;

	if (!m->is_elf || !len || elf->shentsize != (elf->is64 ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr)) ||
	    len > table_max || elf->shoff > m->image->size || len > m->image->size - elf->shoff)
		return 0;
	s->table = malloc(len);
	if (!s->table)
		return kb_fail(err, ENOMEM, "out of memory for %u section headers", elf->shnum);
	s->count = elf->shnum;
	s->entsize = elf->shentsize;
	s->shndx = elf->shstrndx;
	return kb_image_read(m->image, elf->shoff, s->table, len, err);
}

/* They are no reason to refuse a kernel: without room for all of them it is told of none. */
static int place_sections(struct kb_multiboot *m, unsigned table_max, struct kvmbox_error *err)
{
	struct kb_multiboot_sections *s = &m->sections;
	uint64_t size;
	int rc = read_sections(m, table_max, err);

	size = rc ? 0 : sections_size(m);
	if (!size)
		return rc;
	if (size > m->image->size || !kb_place_high(&m->place, size, UINT32_MAX, &s->addr)) {
		s->count = 0;
		return 0;
	}
	s->size = size;
	return kb_place_take(&m->place, "the sections", s->addr, size, err);
}

static int load_sections(struct kb_multiboot *m, struct kvmbox_error *err)
{
	uint64_t at = m->sections.addr;
	unsigned i;
	int rc = 0;

	for (i = 0; !rc && i < m->sections.count; i++) {
		const struct section s = get_section(&m->sections, m->program.is64, i);

		if (!is_left_over(m, &s))
			continue;
		rc = kb_image_load(m->image, m->place.mem, at, s.size, s.offset, s.size, err);
		set_section_addr(&m->sections, m->program.is64, i, at);
		at += round_up(s.size, SECTION_ALIGN);
	}
	return rc;
}

/* ---- placing and loading --------------------------------------------------------------- */

int kb_multiboot_place(struct kb_multiboot *m, unsigned table_max, struct kvmbox_error *err)
{
	int rc = kb_elf_check(&m->program, m->place.mem, m->entry, err);

	if (!rc && m->entry > UINT32_MAX)
		rc = kb_fail(err, ENOEXEC, "the entry 0x%" PRIx64 " lies above 4 GiB, multiboot kernels start in 32-bit mode", m->entry);
	rc = rc ? rc : kb_place_take_elf(&m->place, &m->program, err);
	rc = rc ? rc : kb_initrd_place(&m->initrd, &m->place, m->cfg->initrd, UINT32_MAX, err);
	return rc ? rc : place_sections(m, table_max, err);
}

int kb_multiboot_load(struct kb_multiboot *m, struct kvmbox_error *err)
{
	int rc = kb_elf_load(&m->program, m->image, m->place.mem, err);

	rc = rc ? rc : load_sections(m, err);
	return rc ? rc : kb_initrd_load(&m->initrd, m->place.mem, m->cfg->initrd, err);
}

void kb_multiboot_meminfo(const struct kb_multiboot *m, uint32_t *lower, uint32_t *upper)
{
	unsigned i;

	*lower = *upper = 0;
	for (i = 0; i < m->place.ranges; i++) {
		const struct kb_memory_range *r = &m->place.map[i];

		if (r->type == KB_MEMORY_RAM && r->base == 0)
			*lower = (uint32_t)(r->size >> 10);
		if (r->type == KB_MEMORY_RAM && r->base == HIGH_RAM)
			*upper = (uint32_t)(r->size >> 10);
	}
}

/* ---- version 1 ----------------------------------------------------------------------------- */

/* What of the information is valid. */
enum { MEMORY = 1 << 0, CMDLINE = 1 << 2, MODULES = 1 << 3, SECTIONS = 1 << 5, MMAP = 1 << 6, LOADER_NAME = 1 << 9 };

struct info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
	struct { uint32_t num, size, addr, shndx; } elf;
	uint32_t mmap_length, mmap_addr, drives_length, drives_addr, config_table, boot_loader_name, apm_table;
	uint32_t vbe[4], framebuffer[7];
};

struct module {
	uint32_t start, end, string, reserved; /* end: the first byte behind it */
};

struct mmap {
	uint32_t size; /* of the rest */
	uint64_t base, length;
	uint32_t type;
} __attribute__((packed));

struct handed {
	struct info info;
	struct module module;
	struct mmap map[KB_MEMORY_RANGES_MAX];
	char loader[8];
};
#define SECTION_TABLE (KB_BOOT_INFO + (uint32_t)((sizeof(struct handed) + 7) & ~7u))
#define SECTION_TABLE_MAX (KB_BOOT_INFO + KB_BOOT_INFO_SIZE - SECTION_TABLE)

_Static_assert(sizeof(struct info) == 116, "the specification's layout");

static uint32_t handed_at(size_t offset)
{
	return KB_BOOT_INFO + (uint32_t)offset;
}

static void describe_sections(struct kb_multiboot *m, struct info *info)
{
	const struct kb_multiboot_sections *s = &m->sections;

	if (!s->count)
		return;
	info->flags |= SECTIONS;
	info->elf.num = s->count;
	info->elf.size = s->entsize;
	info->elf.addr = SECTION_TABLE;
	info->elf.shndx = s->shndx;
	kb_bus_write(m->place.mem, SECTION_TABLE, s->table, (size_t)s->count * s->entsize);
}

static void write_info(struct kb_multiboot *m)
{
	struct handed h = {
		.info = {
			.flags = MEMORY | CMDLINE | MODULES | MMAP | LOADER_NAME, .cmdline = KB_BOOT_CMDLINE,
			.mods_count = m->initrd.size ? 1 : 0, .mods_addr = handed_at(offsetof(struct handed, module)),
			.mmap_length = (uint32_t)(m->place.ranges * sizeof(struct mmap)),
			.mmap_addr = handed_at(offsetof(struct handed, map)),
			.boot_loader_name = handed_at(offsetof(struct handed, loader)),
		},
		.module = { (uint32_t)m->initrd.addr, (uint32_t)(m->initrd.addr + m->initrd.size), 0, 0 },
		.loader = KB_MULTIBOOT_LOADER,
	};
	unsigned i;

	for (i = 0; i < m->place.ranges; i++)
		h.map[i] = (struct mmap){
			sizeof(struct mmap) - 4, m->place.map[i].base, m->place.map[i].size, m->place.map[i].type,
		};
	kb_multiboot_meminfo(m, &h.info.mem_lower, &h.info.mem_upper);
	describe_sections(m, &h.info);
	kb_bus_write(m->place.mem, KB_BOOT_INFO, &h, sizeof(h));
	kb_cmdline_write(m->place.mem, m->cfg->cmdline);
}

static int load1(struct kb_multiboot *m, struct kb_boot *boot, struct kvmbox_error *err)
{
	const struct kb_head *f = m->head;
	const uint32_t flags = kb_multiboot_u32(f, f->multiboot_at + 4);
	struct kb_multiboot_addresses a;
	uint32_t entry = 0;
	int rc;

	if (flags & WANT_VIDEO)
		return kb_fail(err, ENOTSUP, "wants a video mode (multiboot header flag 2): the box has no screen; clear the flag");
	if (flags & REQUIRED & ~(uint32_t)(WANT_PAGES | WANT_MEMORY))
		return kb_fail(err, ENOTSUP, "its multiboot header has flags 0x%" PRIx32 ", of which nobody knows what they require", flags);
	if (flags & HAS_ADDRESSES) {
		if (f->multiboot_at + HEADER1 + sizeof(a) + sizeof(entry) > f->len)
			return kb_fail(err, ENOEXEC, "the file is truncated within the multiboot header");
		memcpy(&a, f->bytes + f->multiboot_at + HEADER1, sizeof(a));
		entry = kb_multiboot_u32(f, f->multiboot_at + HEADER1 + sizeof(a));
	}
	rc = kb_multiboot_program(m, flags & HAS_ADDRESSES ? &a : NULL, flags & HAS_ADDRESSES ? &entry : NULL, err);
	rc = rc ? rc : kb_cmdline_check(m->cfg->cmdline, KB_CMDLINE_MAX, err);
	rc = rc ? rc : kb_multiboot_place(m, SECTION_TABLE_MAX, err);
	rc = rc ? rc : kb_multiboot_load(m, err);
	if (rc)
		return rc;
	write_info(m);
	*boot = (struct kb_boot){
		.mode = KB_BOOT_PROTECTED32, .entry = m->entry, .ax = STARTED1, .bx = KB_BOOT_INFO,
	};
	return 0;
}

int kb_load_multiboot(const struct kb_image *image, const struct kb_head *head, struct kb_bus *mem,
		      const struct kvmbox_config *cfg, const struct kb_tables_config *tables, struct kb_boot *boot,
		      struct kvmbox_error *err)
{
	struct kb_multiboot *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return kb_fail(err, ENOMEM, "out of memory loading a multiboot kernel");
	m->image = image;
	m->cfg = cfg;
	m->head = head;
	kb_place_init(&m->place, mem, tables);
	rc = head->multiboot == 2 ? kb_load_multiboot2(m, boot, err) : load1(m, boot, err);
	kb_initrd_close(&m->initrd);
	free(m->sections.table);
	free(m);
	return rc;
}
