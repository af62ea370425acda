/* Puts a guest program into memory: see loader.h. */
#include "platforms/loader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "platforms/loader_image.h"
#include "vcpu/error.h"

#define MAGIC_LEN 4 /* "\177ELF" */

/* Reads the first bytes. text: they as the message shows them, room for MAGIC_LEN in hex and ASCII. */
static int sniff(const struct kb_image *image, bool *elf, char *text, size_t room, struct kvmbox_error *err)
{
	uint8_t b[MAGIC_LEN] = { 0 };
	size_t len = image->size < sizeof(b) ? (size_t)image->size : sizeof(b), i;
	int rc = kb_image_read(image, 0, b, len, err);

	if (rc)
		return rc;
	*elf = memcmp(b, "\177ELF", sizeof(b)) == 0;
	text[0] = 0;
	for (i = 0; i < len; i++)
		snprintf(text + strlen(text), room - strlen(text), "%s%02x", i ? " " : "", b[i]);
	snprintf(text + strlen(text), room - strlen(text), " \"");
	for (i = 0; i < len; i++)
		snprintf(text + strlen(text), room - strlen(text), "%c", b[i] >= 0x20 && b[i] < 0x7f ? b[i] : '.');
	snprintf(text + strlen(text), room - strlen(text), "\"");
	return 0;
}

static int load_elf(const struct kb_image *image, struct kb_bus *mem, struct kb_boot *boot, struct kvmbox_error *err)
{
	char start[40];
	bool elf;
	int rc = sniff(image, &elf, start, sizeof(start), err);

	if (rc)
		return rc;
	if (!elf)
		return kb_fail(err, ENOEXEC,
			       "not an ELF file (starts with %s); say guest_format=flat or guest_format=reset", start);
	return kb_load_elf(image, mem, boot, err);
}

static int load(const struct kb_image *image, struct kb_bus *mem, const struct kvmbox_config *cfg,
		struct kb_boot *boot, struct kb_firmware *firmware, struct kvmbox_error *err)
{
	if (image->size == 0)
		return kb_fail(err, cfg->guest_format == KVMBOX_GUEST_RESET ? EINVAL : ENOEXEC, "the file is empty");
	switch (cfg->guest_format) {
	case KVMBOX_GUEST_AUTO:
	case KVMBOX_GUEST_ELF:
		return load_elf(image, mem, boot, err);
	case KVMBOX_GUEST_FLAT:
		return kb_load_flat(image, mem, cfg, boot, err);
	case KVMBOX_GUEST_RESET:
		return kb_load_reset(image, boot, firmware, err);
	}
	return kb_fail(err, EINVAL, "guest_format is %u, which is none of its values", (unsigned)cfg->guest_format);
}

/* The message has room for the end of a long path only. */
static const char *short_path(const char *path)
{
	size_t len = strlen(path), max = 200;

	return len > max ? path + (len - max) : path;
}

int kb_load_guest(struct kb_bus *mem, const struct kvmbox_config *cfg, struct kb_boot *boot,
		  struct kb_firmware *firmware, struct kvmbox_error *err)
{
	struct kb_image image;
	int rc;

	*firmware = (struct kb_firmware){ 0 };
	if (!cfg->guest)
		return kb_fail(err, EINVAL, "no guest program is given; say guest=PATH");
	rc = kb_image_open(&image, cfg->guest, err);
	if (!rc) {
		rc = load(&image, mem, cfg, boot, firmware, err);
		kb_image_close(&image);
	}
	return rc ? kb_fail_in(err, rc, "guest %s", short_path(cfg->guest)) : 0;
}
