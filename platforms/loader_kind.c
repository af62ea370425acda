/* What a guest's file is, by its first bytes: see loader_image.h. */
#include "platforms/loader_image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vcpu/error.h"

/* Files people take for a kernel the box could start, and what to do instead. */
static const struct {
	unsigned at, len;
	const char *magic, *what;
} others[] = {
	{ 0, 2, "\x1f\x8b", "is compressed with gzip; unpack it (gunzip), only an initrd may be compressed" },
	{ 0, 6, "\xfd" "7zXZ\0", "is compressed with xz; unpack it (unxz), only an initrd may be compressed" },
	{ 0, 4, "\x28\xb5\x2f\xfd", "is compressed with zstd; unpack it (unzstd), only an initrd may be compressed" },
	{ 0, 3, "BZh", "is compressed with bzip2; unpack it (bunzip2), only an initrd may be compressed" },
	{ 0, 4, "\x04\x22\x4d\x18", "is compressed with lz4; unpack it (unlz4), only an initrd may be compressed" },
	{ 0, 4, "\x02\x21\x4c\x18", "is compressed with lz4; unpack it (unlz4), only an initrd may be compressed" },
	{ 0, 3, "\x5d\0\0", "is compressed with lzma; unpack it (unlzma), only an initrd may be compressed" },
	{ 0, 4, "\x89LZO", "is compressed with lzop; unpack it (lzop -d), only an initrd may be compressed" },
	{ 0x38, 4, "ARM\x64", "is a Linux kernel for AArch64; the guest CPU runs x86-64 and i386" },
	{ 0x38, 4, "RSC\x05", "is a Linux kernel for RISC-V; the guest CPU runs x86-64 and i386" },
	{ 0x24, 4, "\x18\x28\x6f\x01", "is a Linux zImage for ARM; the guest CPU runs x86-64 and i386" },
	{ 0, 4, "\x27\x05\x19\x56", "is a U-Boot image; give the kernel that is packed in it" },
	{ 0, 6, "070701", "is a cpio archive; it looks like an initrd: give the kernel as guest= and this as initrd=" },
	{ 0, 4, "QFI\xfb", "is a qcow2 disk image, not a program" },
	{ 0, 2, "MZ", "is an EFI or DOS program, not a bzImage: it can only be started by UEFI firmware; give the bzImage itself (in a unified kernel image it is the section .linux: objcopy -O binary --only-section=.linux)" },
};

int kb_head_read(const struct kb_image *image, struct kb_head *head, struct kvmbox_error *err)
{
	int rc;

	*head = (struct kb_head){ .len = image->size < KB_HEAD_MAX ? (unsigned)image->size : KB_HEAD_MAX };
	head->bytes = malloc(KB_HEAD_MAX);
	if (!head->bytes)
		return kb_fail(err, ENOMEM, "out of memory for its first %u bytes", head->len);
	rc = kb_image_read(image, 0, head->bytes, head->len, err);
	if (!rc)
		kb_multiboot_find(head);
	return rc;
}

void kb_head_free(struct kb_head *head)
{
	free(head->bytes);
	head->bytes = NULL;
}

static bool has(const struct kb_head *head, unsigned at, unsigned len, const char *magic)
{
	return head->len >= at + len && memcmp(head->bytes + at, magic, len) == 0;
}

bool kb_head_is_elf(const struct kb_head *head)
{
	return has(head, 0, 4, "\177ELF");
}

bool kb_head_is_bzimage(const struct kb_head *head)
{
	return has(head, 0x202, 4, "HdrS");
}

int kb_head_refuse(const struct kb_head *head, const char *what, struct kvmbox_error *err)
{
	char text[40] = "";
	unsigned len = head->len < 4 ? head->len : 4, i;

	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (has(head, others[i].at, others[i].len, others[i].magic))
			return kb_fail(err, ENOEXEC, "%s", others[i].what);
	for (i = 0; i < len; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%02x", i ? " " : "", head->bytes[i]);
	snprintf(text + strlen(text), sizeof(text) - strlen(text), " \"");
	for (i = 0; i < len; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%c",
			 head->bytes[i] >= 0x20 && head->bytes[i] < 0x7f ? head->bytes[i] : '.');
	return kb_fail(err, ENOEXEC, "is %s (starts with %s\"); say guest_format=flat or guest_format=reset if it is raw code or a firmware image",
		       what, text);
}
