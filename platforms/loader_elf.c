/*
 * Statically linked ELF executables for x86-64 and i386, read with libelf
 * (System V gABI, chapters 4 and 5). Everything is checked before the first
 * byte of RAM is written. Segments go to their physical addresses (p_paddr).
 */
#include "platforms/loader_image.h"

#include <errno.h>
#include <gelf.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vcpu/error.h"

/* Xen's note with the PVH entry; Linux's with its build salt (include/linux/build-salt.h). */
#define XEN_PHYS32_ENTRY 18
#define LINUX_BUILD_SALT 0x100
#define NOTES_MAX 0x10000u /* bytes of one segment that are looked at */

static const char *machine_name(unsigned machine)
{
	switch (machine) {
	case EM_X86_64: return " (x86-64)";
	case EM_386: return " (i386)";
	case EM_IAMCU: return " (Intel MCU)";
	case EM_AARCH64: return " (AArch64)";
	case EM_ARM: return " (ARM)";
	case EM_RISCV: return " (RISC-V)";
	case EM_PPC64: return " (PowerPC64)";
	default: return "";
	}
}

static int check_ident(const struct kb_image *image, struct kvmbox_error *err)
{
	unsigned char ident[EI_NIDENT];
	int rc = kb_image_read(image, 0, ident, sizeof(ident), err);

	if (rc)
		return rc;
	if (ident[EI_CLASS] != ELFCLASS32 && ident[EI_CLASS] != ELFCLASS64)
		return kb_fail(err, ENOEXEC, "the ELF header is corrupt: class %u is neither 32 nor 64 bit",
			       ident[EI_CLASS]);
	if (ident[EI_DATA] == ELFDATA2MSB)
		return kb_fail(err, ENOEXEC, "is a big-endian ELF file; the guest CPU is x86: build it for x86-64 or i386");
	if (ident[EI_DATA] != ELFDATA2LSB || ident[EI_VERSION] != EV_CURRENT)
		return kb_fail(err, ENOEXEC, "the ELF header is corrupt: byte order %u, version %u",
			       ident[EI_DATA], ident[EI_VERSION]);
	if (image->size < (ident[EI_CLASS] == ELFCLASS64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr)))
		return kb_fail(err, ENOEXEC, "the file is truncated within the ELF header");
	return 0;
}

static int check_machine(const GElf_Ehdr *ehdr, struct kvmbox_error *err)
{
	bool is64 = ehdr->e_ident[EI_CLASS] == ELFCLASS64;

	if (ehdr->e_machine == EM_X86_64 && !is64)
		return kb_fail(err, ENOEXEC, "is an x32 program (x86-64 code in a 32-bit ELF file); build it with -m64 or -m32");
	if (ehdr->e_machine == (is64 ? EM_X86_64 : EM_386))
		return 0;
	return kb_fail(err, ENOEXEC, "is a %d-bit ELF file for machine %u%s; the guest CPU runs x86-64 and i386",
		       is64 ? 64 : 32, ehdr->e_machine, machine_name(ehdr->e_machine));
}

static int check_type(const GElf_Ehdr *ehdr, struct kvmbox_error *err)
{
	switch (ehdr->e_type) {
	case ET_EXEC:
		return 0;
	case ET_DYN:
		return kb_fail(err, ENOEXEC,
			       "is position independent or a shared library, nobody would relocate it; link with -static -no-pie");
	case ET_REL:
		return kb_fail(err, ENOEXEC, "is an object file; link it first (ld -static -Ttext=0x100000)");
	default:
		return kb_fail(err, ENOEXEC, "is no executable (ELF type %u)", ehdr->e_type);
	}
}

static int check_headers(const struct kb_image *image, Elf *elf, const GElf_Ehdr *ehdr, struct kvmbox_error *err)
{
	size_t size = gelf_fsize(elf, ELF_T_PHDR, 1, EV_CURRENT);

	if (ehdr->e_phnum == 0)
		return kb_fail(err, ENOEXEC, "has no program headers, there is nothing to load; was it linked?");
	if (ehdr->e_phnum > KB_ELF_SEGMENTS_MAX)
		return kb_fail(err, ENOEXEC, "has %u program headers, more than the %u this loader takes",
			       ehdr->e_phnum, KB_ELF_SEGMENTS_MAX);
	if (ehdr->e_phentsize != size)
		return kb_fail(err, ENOEXEC, "the ELF header is corrupt: program headers of %u bytes instead of %zu",
			       ehdr->e_phentsize, size);
	if (ehdr->e_phoff > image->size || ehdr->e_phnum * size > image->size - ehdr->e_phoff)
		return kb_fail(err, ENOEXEC,
			       "the file is truncated: its %u program headers at 0x%" PRIx64 " lie beyond its end (0x%" PRIx64 ")",
			       ehdr->e_phnum, ehdr->e_phoff, image->size);
	return 0;
}

static int add_segment(struct kb_elf *prog, const struct kb_image *image, unsigned index, const GElf_Phdr *phdr,
		       struct kvmbox_error *err)
{
	if (phdr->p_filesz > phdr->p_memsz)
		return kb_fail(err, ENOEXEC,
			       "segment %u is corrupt: 0x%" PRIx64 " bytes in the file, 0x%" PRIx64 " in memory",
			       index, phdr->p_filesz, phdr->p_memsz);
	if (phdr->p_filesz && (phdr->p_offset > image->size || phdr->p_filesz > image->size - phdr->p_offset))
		return kb_fail(err, ENOEXEC,
			       "the file is truncated: segment %u is 0x%" PRIx64 " bytes at 0x%" PRIx64 ", the file ends at 0x%" PRIx64,
			       index, phdr->p_filesz, phdr->p_offset, image->size);
	if (phdr->p_memsz)
		prog->segments[prog->count++] = (struct kb_elf_segment){
			.index = index, .addr = phdr->p_paddr, .vaddr = phdr->p_vaddr, .size = phdr->p_memsz,
			.off = phdr->p_offset, .len = phdr->p_filesz,
		};
	return 0;
}

static void look_at_note(struct kb_elf *prog, const GElf_Nhdr *note, const char *name, const uint8_t *desc)
{
	if (note->n_type == XEN_PHYS32_ENTRY && note->n_namesz == sizeof("Xen") && !memcmp(name, "Xen", sizeof("Xen")) &&
	    (note->n_descsz == 4 || note->n_descsz == 8)) {
		prog->pvh = true;
		prog->pvh_entry = 0;
		memcpy(&prog->pvh_entry, desc, note->n_descsz);
	}
	if (note->n_type == LINUX_BUILD_SALT && note->n_namesz == sizeof("Linux") && !memcmp(name, "Linux", sizeof("Linux")))
		prog->is_linux = true;
}

/* Notes are no reason to refuse a file: what libelf cannot read is not there. */
static void read_notes(struct kb_elf *prog, Elf *elf, const GElf_Phdr *phdr)
{
	const size_t size = phdr->p_filesz < NOTES_MAX ? phdr->p_filesz : NOTES_MAX;
	Elf_Data *data = elf_getdata_rawchunk(elf, (int64_t)phdr->p_offset, size, phdr->p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
	size_t at = 0, name, desc;
	GElf_Nhdr note;

	while (data && (at = gelf_getnote(data, at, &note, &name, &desc)) > 0)
		look_at_note(prog, &note, (const char *)data->d_buf + name, (const uint8_t *)data->d_buf + desc);
}

static int read_program(struct kb_elf *prog, const struct kb_image *image, Elf *elf, struct kvmbox_error *err)
{
	GElf_Ehdr ehdr;
	int rc, i;

	if (elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, &ehdr))
		return kb_fail(err, ENOEXEC, "the ELF header is corrupt: %s", elf_errmsg(-1));
	rc = check_machine(&ehdr, err);
	rc = rc ? rc : check_type(&ehdr, err);
	rc = rc ? rc : check_headers(image, elf, &ehdr, err);
	for (i = 0; !rc && i < ehdr.e_phnum; i++) {
		GElf_Phdr phdr;

		if (!gelf_getphdr(elf, i, &phdr))
			return kb_fail(err, ENOEXEC, "program header %d cannot be read: %s", i, elf_errmsg(-1));
		if (phdr.p_type == PT_INTERP)
			return kb_fail(err, ENOEXEC, "is dynamically linked, there is no interpreter in the box; link with -static -no-pie");
		if (phdr.p_type == PT_LOAD)
			rc = add_segment(prog, image, (unsigned)i, &phdr, err);
		if (phdr.p_type == PT_NOTE)
			read_notes(prog, elf, &phdr);
	}
	prog->is64 = ehdr.e_ident[EI_CLASS] == ELFCLASS64;
	prog->entry = ehdr.e_entry;
	prog->shoff = ehdr.e_shoff;
	prog->shnum = ehdr.e_shnum;
	prog->shentsize = ehdr.e_shentsize;
	prog->shstrndx = ehdr.e_shstrndx;
	return rc;
}

/* Ranges do not wrap. Overlapping segments would load by luck of order, and cost time without bound. */
static int check_overlap(const struct kb_elf *prog, struct kvmbox_error *err)
{
	unsigned i, j;

	for (i = 0; i < prog->count; i++)
		for (j = 0; j < i; j++) {
			const struct kb_elf_segment *a = &prog->segments[j], *b = &prog->segments[i];

			if (b->addr - a->addr < a->size || a->addr - b->addr < b->size)
				return kb_fail(err, ENOEXEC,
					       "segments %u (0x%" PRIx64 ") and %u (0x%" PRIx64 ") overlap at their physical addresses; see AT() in the linker script",
					       a->index, a->addr, b->index, b->addr);
		}
	return 0;
}

static int check_segments(const struct kb_elf *prog, struct kb_bus *mem, struct kvmbox_error *err)
{
	unsigned i;

	if (prog->count == 0)
		return kb_fail(err, ENOEXEC, "has no loadable segment");
	for (i = 0; i < prog->count; i++) {
		const struct kb_elf_segment *s = &prog->segments[i];
		char what[24];
		int rc;

		snprintf(what, sizeof(what), "segment %u", s->index);
		if (!prog->is64 && s->addr + (s->size - 1) > UINT32_MAX) /* 32-bit values: no wrap */
			return kb_fail(err, ENOEXEC, "%s wraps: 0x%" PRIx64 " bytes at 0x%" PRIx64, what, s->size, s->addr);
		rc = kb_image_check_range(mem, what, s->addr, s->size, err);
		if (rc)
			return rc;
	}
	return check_overlap(prog, err);
}

static int check_entry(const struct kb_elf *prog, uint64_t entry, struct kvmbox_error *err)
{
	unsigned i;

	for (i = 0; i < prog->count; i++)
		if (entry - prog->segments[i].addr < prog->segments[i].size)
			return 0;
	return kb_fail(err, EINVAL,
		       "the entry point 0x%" PRIx64 " lies in no loaded segment; the CPU starts with memory mapped one to one, the entry must be a physical address",
		       entry);
}

int kb_elf_load(const struct kb_elf *prog, const struct kb_image *image, struct kb_bus *mem, struct kvmbox_error *err)
{
	unsigned i;

	for (i = 0; i < prog->count; i++) {
		const struct kb_elf_segment *s = &prog->segments[i];
		int rc = kb_image_load(image, mem, s->addr, s->size, s->off, s->len, err);

		if (rc)
			return rc;
	}
	return 0;
}

int kb_elf_check(const struct kb_elf *prog, struct kb_bus *mem, uint64_t entry, struct kvmbox_error *err)
{
	int rc = check_segments(prog, mem, err);

	return rc ? rc : check_entry(prog, entry, err);
}

int kb_elf_read(struct kb_elf *prog, const struct kb_image *image, struct kvmbox_error *err)
{
	Elf *elf;
	int rc = check_ident(image, err);

	*prog = (struct kb_elf){ 0 };
	if (rc)
		return rc;
	elf_version(EV_CURRENT);
	elf = elf_begin(image->fd, ELF_C_READ, NULL); /* not mmap: a file cut short meanwhile would be SIGBUS */
	if (!elf)
		return kb_fail(err, ENOEXEC, "libelf cannot read it: %s", elf_errmsg(-1));
	rc = read_program(prog, image, elf, err);
	elf_end(elf);
	return rc;
}

int kb_load_elf(const struct kb_image *image, const struct kb_elf *prog, struct kb_bus *mem, struct kb_boot *boot,
		struct kvmbox_error *err)
{
	int rc = kb_elf_check(prog, mem, prog->entry, err);

	rc = rc ? rc : kb_elf_load(prog, image, mem, err);
	if (!rc)
		*boot = (struct kb_boot){
			.mode = prog->is64 ? KB_BOOT_LONG64 : KB_BOOT_PROTECTED32, .entry = prog->entry,
		};
	return rc;
}
