/* Guests that are no ELF files: raw bytes and firmware images. See loader.h. */
#include "platforms/loader_image.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "vcpu/error.h"

#define FIRMWARE_STEP 0x1000u
#define FIRMWARE_MAX (16u << 20)
#define RESET_VECTOR 0xfffffff0u /* F000:FFF0 with the CS base after reset, SDM volume 3 section 10.1.4 */

int kb_load_flat(const struct kb_image *image, struct kb_bus *mem, const struct kvmbox_config *cfg,
		 struct kb_boot *boot, struct kvmbox_error *err)
{
	int rc = kb_image_check_range(mem, "the flat image", cfg->guest_base, image->size, err);

	if (rc)
		return rc;
	if (cfg->guest_entry - cfg->guest_base >= image->size)
		return kb_fail(err, EINVAL,
			       "guest_entry 0x%" PRIx64 " lies outside the image (0x%" PRIx64 "-0x%" PRIx64 ")",
			       cfg->guest_entry, cfg->guest_base, cfg->guest_base + (image->size - 1));
	rc = kb_image_load(image, mem, cfg->guest_base, image->size, 0, image->size, err);
	if (rc)
		return rc;
	*boot = (struct kb_boot){ .mode = KB_BOOT_LONG64, .entry = cfg->guest_entry };
	return 0;
}

int kb_load_reset(const struct kb_image *image, struct kb_boot *boot, struct kb_firmware *firmware,
		  struct kvmbox_error *err)
{
	uint8_t *bytes;
	int rc;

	if (image->size % FIRMWARE_STEP || image->size > FIRMWARE_MAX)
		return kb_fail(err, EINVAL,
			       "is no firmware image: its size must be a multiple of 4 KiB up to 16 MiB, not %" PRIu64 " bytes",
			       image->size);
	bytes = malloc(image->size);
	if (!bytes)
		return kb_fail(err, ENOMEM, "out of memory for a firmware image of %" PRIu64 " bytes", image->size);
	rc = kb_image_read(image, 0, bytes, image->size, err);
	if (rc) {
		free(bytes);
		return rc;
	}
	*firmware = (struct kb_firmware){ .image = bytes, .size = image->size };
	*boot = (struct kb_boot){ .mode = KB_BOOT_REAL16, .entry = RESET_VECTOR };
	return 0;
}
