/* Multiboot 2 (Multiboot2 Specification 2.0): the header's tags, and the boot information as tags. */
#include "platforms/loader_multiboot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "platforms/boot.h"
#include "platforms/buf.h"
#include "vcpu/error.h"

#define STARTED2 0x36d76289u
#define HEADER 16u
#define TAG 8u /* header of a tag, and what tags are aligned to */
#define OPTIONAL 1u
#define CONSOLE_REQUIRED 1u
#define PREFER_HIGH 2u
#define RSDP_LEN1 20u
#define RSDP_LEN2 36u
#define INFO_MAX (KB_BOOT_INFO_SIZE + KB_BOOT_CMDLINE_SIZE) /* the command line is part of it */

_Static_assert(KB_BOOT_INFO + KB_BOOT_INFO_SIZE == KB_BOOT_CMDLINE, "one piece of memory");

enum header_tag {
	H_END, H_REQUEST, H_ADDRESS, H_ENTRY, H_CONSOLE, H_FRAMEBUFFER, H_MODULE_ALIGN, H_EFI_BOOT_SERVICES, H_EFI_ENTRY32,
	H_EFI_ENTRY64, H_RELOCATABLE,
};

enum info_tag {
	I_END = 0, I_CMDLINE = 1, I_LOADER_NAME = 2, I_MODULE = 3, I_MEMINFO = 4, I_MMAP = 6, I_SECTIONS = 9, I_RSDP1 = 14,
	I_RSDP2 = 15, I_LOAD_BASE = 21,
};
#define GIVEN (1u << I_CMDLINE | 1u << I_LOADER_NAME | 1u << I_MODULE | 1u << I_MEMINFO | 1u << I_MMAP | 1u << I_SECTIONS | \
	       1u << I_RSDP1 | 1u << I_RSDP2 | 1u << I_LOAD_BASE)

struct wishes {
	bool has_addresses, has_entry, relocatable;
	struct kb_multiboot_addresses addresses;
	uint32_t entry;
	struct { uint32_t min_addr, max_addr, align, preference; } move;
};

/* ---- header tags --------------------------------------------------------------------- */

static int check_requests(const struct kb_head *f, unsigned at, unsigned size, struct kvmbox_error *err)
{
	unsigned i;

	for (i = TAG; i + 4 <= size; i += 4) {
		uint32_t type = kb_multiboot_u32(f, at + i);

		if (type > 31 || !(GIVEN >> type & 1))
			return kb_fail(err, ENOTSUP,
				       "requires boot information of type %" PRIu32 ", which the box does not have; mark the request as optional", type);
	}
	return 0;
}

static int cannot(const char *what, struct kvmbox_error *err)
{
	return kb_fail(err, ENOTSUP, "requires %s, and the box has no screen; mark the multiboot 2 tag as optional", what);
}

/* Takes what is in a tag of at least len bytes behind its header. */
static int take(const struct kb_head *f, unsigned at, unsigned size, void *to, unsigned len, struct kvmbox_error *err)
{
	if (size < TAG + len)
		return kb_fail(err, ENOEXEC, "the multiboot 2 header is corrupt: a tag at 0x%x of %u bytes", at, size);
	memcpy(to, f->bytes + at + TAG, len);
	return 0;
}

static int read_tag(const struct kb_head *f, unsigned at, unsigned size, struct wishes *w, struct kvmbox_error *err)
{
	const uint32_t head = kb_multiboot_u32(f, at);
	const bool optional = head >> 16 & OPTIONAL;
	uint32_t flags = 0;
	int rc;

	switch (head & 0xffff) {
	case H_REQUEST:
		return optional ? 0 : check_requests(f, at, size, err);
	case H_ADDRESS:
		w->has_addresses = true;
		return take(f, at, size, &w->addresses, sizeof(w->addresses), err);
	case H_ENTRY:
		w->has_entry = true;
		return take(f, at, size, &w->entry, sizeof(w->entry), err);
	case H_CONSOLE:
		rc = take(f, at, size, &flags, sizeof(flags), err);
		return !rc && (flags & CONSOLE_REQUIRED) && !optional ? cannot("a console", err) : rc;
	case H_FRAMEBUFFER:
		return optional ? 0 : cannot("a framebuffer", err);
	case H_MODULE_ALIGN: /* they are, always */
	case H_EFI_BOOT_SERVICES: case H_EFI_ENTRY32: case H_EFI_ENTRY64: /* for loaders that are EFI programs */
		return 0;
	case H_RELOCATABLE:
		w->relocatable = true;
		return take(f, at, size, &w->move, sizeof(w->move), err);
	}
	return optional ? 0 : kb_fail(err, ENOTSUP, "requires a multiboot 2 feature nobody knows (header tag %u)", head & 0xffff);
}

static int read_header(const struct kb_head *f, struct wishes *w, struct kvmbox_error *err)
{
	const uint32_t arch = kb_multiboot_u32(f, f->multiboot_at + 4), length = kb_multiboot_u32(f, f->multiboot_at + 8);
	unsigned at = f->multiboot_at + HEADER, end;
	int rc = 0;

	if (arch != 0)
		return kb_fail(err, ENOEXEC, "is a multiboot 2 kernel for architecture %" PRIu32 "; the guest CPU runs x86-64 and i386", arch);
	if (length < HEADER || length > f->len - f->multiboot_at)
		return kb_fail(err, ENOEXEC, "the multiboot 2 header is corrupt or truncated: %" PRIu32 " bytes at 0x%x", length, f->multiboot_at);
	end = f->multiboot_at + length;
	while (!rc && at + TAG <= end) {
		uint32_t size = kb_multiboot_u32(f, at + 4);

		if (size < TAG || size > end - at)
			return kb_fail(err, ENOEXEC, "the multiboot 2 header is corrupt: a tag at 0x%x of %" PRIu32 " bytes", at, size);
		if ((kb_multiboot_u32(f, at) & 0xffff) == H_END)
			break;
		rc = read_tag(f, at, size, w, err);
		at += (size + (TAG - 1)) & ~(TAG - 1);
	}
	if (!rc && w->has_addresses && !w->has_entry)
		return kb_fail(err, ENOEXEC, "the multiboot 2 header has load addresses, but no entry address");
	if (!rc && w->has_addresses && w->addresses.load_addr == UINT32_MAX) /* from the file's beginning */
		w->addresses.load_addr = w->addresses.header_addr - f->multiboot_at;
	return rc;
}

/* ---- relocation ------------------------------------------------------------------------- */

static void extent(const struct kb_elf *elf, uint64_t *base, uint64_t *last)
{
	unsigned i;

	*base = UINT64_MAX;
	*last = 0;
	for (i = 0; i < elf->count; i++) {
		const struct kb_elf_segment *s = &elf->segments[i];
		uint64_t end = s->addr + (s->size - 1);

		*base = s->addr < *base ? s->addr : *base;
		*last = end > *last ? end : *last;
	}
}

/* An address for size bytes that the header allows; false: there is none. */
static bool choose(const struct kb_multiboot *m, const struct wishes *w, uint64_t size, uint64_t *addr)
{
	const uint64_t align = w->move.align ? w->move.align : 1, max = w->move.max_addr;
	const bool high = w->move.preference == PREFER_HIGH;
	bool found = false;
	unsigned i;

	for (i = 0; i < m->place.ranges && !(found && !high); i++) {
		const struct kb_memory_range *r = &m->place.map[i];
		uint64_t base = r->base > w->move.min_addr ? r->base : w->move.min_addr;
		uint64_t last = r->base + (r->size - 1) < max ? r->base + (r->size - 1) : max;
		uint64_t at = (base + (align - 1)) / align * align;

		if (r->type != KB_MEMORY_RAM || last < at || last - at < size - 1)
			continue;
		if (high)
			at = (last - (size - 1)) / align * align;
		if (kb_image_check_range(m->place.mem, "", at, size, NULL))
			continue;
		*addr = at;
		found = true;
	}
	return found;
}

/* Returns where the kernel's lowest byte is loaded. Preference 0: where it is linked to, if that can be. */
static int relocate(struct kb_multiboot *m, const struct wishes *w, uint64_t *base, struct kvmbox_error *err)
{
	uint64_t last, to = 0;
	unsigned i;

	extent(&m->program, base, &last);
	if (!m->program.count || last < *base)
		return 0; /* refused by whoever looks next */
	if (!w->move.preference && *base >= w->move.min_addr && last <= w->move.max_addr &&
	    !kb_image_check_range(m->place.mem, "", *base, last - *base + 1, NULL))
		return 0;
	if (!choose(m, w, last - *base + 1, &to))
		return kb_fail(err, ENOSPC,
			       "its 0x%" PRIx64 " bytes have no place in RAM from 0x%" PRIx32 " to 0x%" PRIx32 ", where it can be relocated to; say more ram=",
			       last - *base + 1, w->move.min_addr, w->move.max_addr);
	for (i = 0; i < m->program.count; i++)
		m->program.segments[i].addr += to - *base;
	m->entry += to - *base;
	*base = to;
	return 0;
}

/* ---- information ---------------------------------------------------------------------------- */

/* Returns where the tag is, for end_tag(). */
static size_t begin_tag(struct kb_buf *b, enum info_tag type)
{
	size_t at;

	kb_buf_align(b, TAG);
	at = b->len;
	kb_buf_le(b, type, 4);
	kb_buf_le(b, 0, 4);
	return at;
}

static void end_tag(struct kb_buf *b, size_t at)
{
	if (!b->overflow)
		kb_buf_set(b, at + 4, b->len - at, 4);
}

static void put_string(struct kb_buf *b, enum info_tag type, const char *text)
{
	size_t at = begin_tag(b, type);

	kb_buf_string(b, text ? text : "");
	end_tag(b, at);
}

static void put_module(struct kb_buf *b, const struct kb_initrd *initrd)
{
	size_t at;

	if (!initrd->size)
		return;
	at = begin_tag(b, I_MODULE);
	kb_buf_le(b, initrd->addr, 4);
	kb_buf_le(b, initrd->addr + initrd->size, 4);
	kb_buf_string(b, "");
	end_tag(b, at);
}

static void put_memory(struct kb_buf *b, const struct kb_multiboot *m)
{
	uint32_t lower, upper;
	size_t at = begin_tag(b, I_MEMINFO);
	unsigned i;

	kb_multiboot_meminfo(m, &lower, &upper);
	kb_buf_le(b, lower, 4);
	kb_buf_le(b, upper, 4);
	end_tag(b, at);
	at = begin_tag(b, I_MMAP);
	kb_buf_le(b, 24, 4); /* size of an entry, version */
	kb_buf_le(b, 0, 4);
	for (i = 0; i < m->place.ranges; i++) {
		kb_buf_le(b, m->place.map[i].base, 8);
		kb_buf_le(b, m->place.map[i].size, 8);
		kb_buf_le(b, m->place.map[i].type, 8);
	}
	end_tag(b, at);
}

static void put_sections(struct kb_buf *b, const struct kb_multiboot_sections *s)
{
	size_t at;

	if (!s->count)
		return;
	at = begin_tag(b, I_SECTIONS);
	kb_buf_le(b, s->count, 4);
	kb_buf_le(b, s->entsize, 4);
	kb_buf_le(b, s->shndx, 4);
	kb_buf_put(b, s->table, (size_t)s->count * s->entsize);
	end_tag(b, at);
}

/* Both tags are copies; the tables are in memory already. */
static void put_rsdp(struct kb_buf *b, struct kb_bus *mem)
{
	uint8_t rsdp[RSDP_LEN2];
	size_t at;

	kb_bus_read(mem, KB_TABLES_RSDP, rsdp, sizeof(rsdp));
	if (memcmp(rsdp, "RSD PTR ", 8))
		return;
	at = begin_tag(b, I_RSDP1);
	kb_buf_put(b, rsdp, RSDP_LEN1);
	end_tag(b, at);
	at = begin_tag(b, I_RSDP2);
	kb_buf_put(b, rsdp, RSDP_LEN2);
	end_tag(b, at);
}

static void build_info(struct kb_buf *b, const struct kb_multiboot *m, const struct wishes *w, uint64_t base)
{
	size_t at;

	kb_buf_le(b, 0, 8); /* total size, reserved */
	put_string(b, I_CMDLINE, m->cfg->cmdline);
	put_string(b, I_LOADER_NAME, KB_MULTIBOOT_LOADER);
	put_module(b, &m->initrd);
	put_memory(b, m);
	put_sections(b, &m->sections);
	put_rsdp(b, m->place.mem);
	if (w->relocatable) {
		at = begin_tag(b, I_LOAD_BASE);
		kb_buf_le(b, base, 4);
		end_tag(b, at);
	}
	end_tag(b, begin_tag(b, I_END));
	if (!b->overflow)
		kb_buf_set(b, 0, b->len, 4);
}

/* Room in the information for everything but the command line and the section headers. */
#define FIXED_INFO 0x400u

static int write_info(const struct kb_multiboot *m, const struct wishes *w, uint64_t base, struct kvmbox_error *err)
{
	struct kb_buf info = { .data = malloc(INFO_MAX), .cap = INFO_MAX };

	if (!info.data)
		return kb_fail(err, ENOMEM, "out of memory for the multiboot 2 information");
	build_info(&info, m, w, base);
	if (!info.overflow)
		kb_bus_write(m->place.mem, KB_BOOT_INFO, info.data, info.len);
	free(info.data);
	return info.overflow ? kb_fail(err, ENOSPC, "the multiboot 2 information does not fit into %u bytes", INFO_MAX) : 0;
}

int kb_load_multiboot2(struct kb_multiboot *m, struct kb_boot *boot, struct kvmbox_error *err)
{
	struct wishes w = { 0 };
	uint64_t base = 0;
	int rc = read_header(m->head, &w, err);

	rc = rc ? rc : kb_multiboot_program(m, w.has_addresses ? &w.addresses : NULL, w.has_entry ? &w.entry : NULL, err);
	if (!rc && w.relocatable)
		rc = relocate(m, &w, &base, err);
	rc = rc ? rc : kb_cmdline_check(m->cfg->cmdline, KB_CMDLINE_MAX, err);
	rc = rc ? rc : kb_multiboot_place(m, KB_BOOT_INFO_SIZE - FIXED_INFO, err);
	rc = rc ? rc : kb_multiboot_load(m, err);
	rc = rc ? rc : write_info(m, &w, base, err);
	if (rc)
		return rc;
	*boot = (struct kb_boot){
		.mode = KB_BOOT_PROTECTED32, .entry = m->entry, .ax = STARTED2, .bx = KB_BOOT_INFO,
	};
	return 0;
}
