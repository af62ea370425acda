/* Puts a guest program into memory: see loader.h. */
#include "platforms/loader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "platforms/loader_image.h"
#include "vcpu/error.h"

struct job {
	const struct kb_image *image;
	struct kb_bus *mem;
	const struct kvmbox_config *cfg;
	const struct kb_tables_config *tables;
	struct kb_boot *boot;
};

/* Keys that only kernels take. */
static int refuse_kernel_keys(const struct kvmbox_config *cfg, const char *what, struct kvmbox_error *err)
{
	const char *key = cfg->initrd ? "initrd" : cfg->cmdline && *cfg->cmdline ? "cmdline" : NULL;

	return key ? kb_fail(err, EINVAL,
			     "%s= is given, but this is %s, which takes none; a Linux, PVH or multiboot kernel does", key, what) : 0;
}

static int load_plain(const struct job *j, const struct kb_elf *elf, struct kvmbox_error *err)
{
	int rc = refuse_kernel_keys(j->cfg, "a plain ELF program", err);

	return rc ? rc : kb_load_elf(j->image, elf, j->mem, j->boot, err);
}

static int load_multiboot(const struct job *j, const struct kb_head *head, struct kvmbox_error *err)
{
	return kb_load_multiboot(j->image, head, j->mem, j->cfg, j->tables, j->boot, err);
}

static int load_elf(const struct job *j, const struct kb_head *head, struct kvmbox_error *err)
{
	const enum kvmbox_guest_format format = j->cfg->guest_format;
	struct kb_elf elf;
	int rc = kb_elf_read(&elf, j->image, err);

	if (rc)
		return rc;
	if (format == KVMBOX_GUEST_ELF)
		return load_plain(j, &elf, err);
	if (format == KVMBOX_GUEST_AUTO && head->multiboot && !elf.pvh)
		return load_multiboot(j, head, err);
	if (elf.pvh || elf.is_linux)
		return kb_load_vmlinux(j->image, &elf, j->mem, j->cfg, j->tables, j->boot, err);
	if (format == KVMBOX_GUEST_LINUX)
		return kb_fail(err, ENOEXEC,
			       "is an ELF file without a PVH entry and without Linux's note: build the kernel with CONFIG_PVH=y, or give its bzImage; guest_format=elf starts it as a plain program");
	return load_plain(j, &elf, err);
}

static int load_other(const struct job *j, const struct kb_head *head, struct kvmbox_error *err)
{
	switch (j->cfg->guest_format) {
	case KVMBOX_GUEST_ELF:
		return kb_head_refuse(head, "not an ELF file", err);
	case KVMBOX_GUEST_LINUX:
		return kb_head_refuse(head, "neither a bzImage nor an ELF file", err);
	default:
		return head->multiboot ? load_multiboot(j, head, err) :
		       kb_head_refuse(head, "neither an ELF file nor a kernel", err);
	}
}

static int load_found(const struct job *j, const struct kb_head *head, struct kvmbox_error *err)
{
	const enum kvmbox_guest_format format = j->cfg->guest_format;

	if (format == KVMBOX_GUEST_MULTIBOOT)
		return head->multiboot ? load_multiboot(j, head, err) :
		       kb_head_refuse(head, "without a multiboot header (version 2 in its first 32 KiB, version 1 in its first 8 KiB)", err);
	if (kb_head_is_elf(head))
		return load_elf(j, head, err);
	if (kb_head_is_bzimage(head) && format != KVMBOX_GUEST_ELF)
		return kb_load_bzimage(j->image, j->mem, j->cfg, j->tables, j->boot, err);
	return load_other(j, head, err);
}

static int load_by_kind(const struct job *j, struct kvmbox_error *err)
{
	struct kb_head head;
	int rc = kb_head_read(j->image, &head, err);

	rc = rc ? rc : load_found(j, &head, err);
	kb_head_free(&head);
	return rc;
}

static int load(const struct job *j, struct kb_firmware *firmware, struct kvmbox_error *err)
{
	const struct kvmbox_config *cfg = j->cfg;
	int rc;

	if (j->image->size == 0)
		return kb_fail(err, cfg->guest_format == KVMBOX_GUEST_RESET ? EINVAL : ENOEXEC, "the file is empty");
	switch (cfg->guest_format) {
	case KVMBOX_GUEST_AUTO:
	case KVMBOX_GUEST_ELF:
	case KVMBOX_GUEST_LINUX:
	case KVMBOX_GUEST_MULTIBOOT:
		return load_by_kind(j, err);
	case KVMBOX_GUEST_FLAT:
		rc = refuse_kernel_keys(cfg, "a flat image (guest_format=flat)", err);
		return rc ? rc : kb_load_flat(j->image, j->mem, cfg, j->boot, err);
	case KVMBOX_GUEST_RESET:
		rc = refuse_kernel_keys(cfg, "a firmware image (guest_format=reset)", err);
		return rc ? rc : kb_load_reset(j->image, j->boot, firmware, err);
	}
	return kb_fail(err, EINVAL, "guest_format is %u, which is none of its values", (unsigned)cfg->guest_format);
}

/* The message has room for the end of a long path only. */
const char *kb_short_path(const char *path)
{
	size_t len = strlen(path), max = 200;

	return len > max ? path + (len - max) : path;
}

int kb_load_guest(struct kb_bus *mem, const struct kvmbox_config *cfg, const struct kb_tables_config *tables,
		  struct kb_boot *boot, struct kb_firmware *firmware, struct kvmbox_error *err)
{
	struct kb_image image;
	int rc;

	*firmware = (struct kb_firmware){ 0 };
	if (!cfg->guest)
		return kb_fail(err, EINVAL, "no guest program is given; say guest=PATH");
	rc = kb_image_open(&image, cfg->guest, err);
	if (!rc) {
		const struct job j = { &image, mem, cfg, tables, boot };

		rc = load(&j, firmware, err);
		kb_image_close(&image);
	}
	return rc ? kb_fail_in(err, rc, "guest %s", kb_short_path(cfg->guest)) : 0;
}
