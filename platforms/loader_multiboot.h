/*
 * What the two multiboot versions share: a kernel found by its header, how it is loaded, its module and its sections.
 * Private to platforms/.
 */
#ifndef KB_LOADER_MULTIBOOT_H
#define KB_LOADER_MULTIBOOT_H

#include "platforms/loader_place.h"

#define KB_MULTIBOOT_LOADER "kvmbox"

/* Where the header says to load a file to that is no ELF file, or not to be read as one; as multiboot names them. */
struct kb_multiboot_addresses {
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr;
};

/* A copy of the ELF section headers, and the contents of those that no segment holds. */
struct kb_multiboot_sections {
	uint8_t *table; /* malloc'ed; NULL: none */
	unsigned count, entsize, shndx;
	uint64_t addr, size; /* where the contents go; size 0: none */
};

struct kb_multiboot {
	const struct kb_image *image;
	const struct kvmbox_config *cfg;
	const struct kb_head *head;
	struct kb_elf program;  /* also of a file that is loaded by addresses: one segment */
	bool is_elf;
	uint64_t entry;
	struct kb_place place;
	struct kb_initrd initrd;
	struct kb_multiboot_sections sections;
};

uint32_t kb_multiboot_u32(const struct kb_head *head, unsigned at);

/* Fills in program: by the addresses or, if NULL, by the ELF headers. entry: NULL: the ELF file's. */
int kb_multiboot_program(struct kb_multiboot *m, const struct kb_multiboot_addresses *a, const uint32_t *entry,
			 struct kvmbox_error *err);
/* Finds places for program, module and, with table_max bytes of room for their headers, sections. */
int kb_multiboot_place(struct kb_multiboot *m, unsigned table_max, struct kvmbox_error *err);
/* Everything that has a place but the boot information. */
int kb_multiboot_load(struct kb_multiboot *m, struct kvmbox_error *err);
/* KiB below 640K, and from 1 MiB to the first hole. */
void kb_multiboot_meminfo(const struct kb_multiboot *m, uint32_t *lower, uint32_t *upper);

/* Multiboot 2: loads the kernel and writes its information. */
int kb_load_multiboot2(struct kb_multiboot *m, struct kb_boot *boot, struct kvmbox_error *err);

#endif
