/* What the PC tells firmware: see pc_firmware.h. File names and meanings are SeaBIOS's (docs/Runtime_config.md there). */
#include "platforms/pc_firmware.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platforms/fw_tables.h"
#include "platforms/loader_image.h"
#include "platforms/pc_chipset.h"

#define MS (KB_PS_PER_S / 1000)
#define FILE_MAX (64u << 20)

static int add_number(struct kb_fw_cfg *f, unsigned key, uint64_t v, unsigned len, struct kvmbox_error *err)
{
	return kb_fw_cfg_add(f, key, &v, len, err);
}

static int add_file(struct kb_fw_cfg *f, const char *name, uint64_t v, unsigned len, struct kvmbox_error *err)
{
	return kb_fw_cfg_add_file(f, name, &v, len, err);
}

static int add_items(struct kb_pc *pc, struct kvmbox_error *err)
{
	uint64_t menu = pc->cfg->boot_menu_ps;
	int rc = add_number(pc->fw_cfg, KB_FW_CFG_RAM_SIZE, pc->cfg->ram, 8, err);

	if (!rc)
		rc = add_number(pc->fw_cfg, KB_FW_CFG_CPUS, pc->cpus, 2, err);
	if (!rc)
		rc = add_number(pc->fw_cfg, KB_FW_CFG_MAX_CPUS, pc->cpus, 2, err);
	if (!rc)
		rc = add_number(pc->fw_cfg, KB_FW_CFG_BOOT_MENU, menu != 0, 2, err);
	if (!rc && menu)
		rc = add_file(pc->fw_cfg, "etc/boot-menu-wait", (menu + MS - 1) / MS, 4, err);
	/* There is no display: the console is COM1. */
	return rc ? rc : add_file(pc->fw_cfg, "etc/sercon-port", KB_PC_COM1_PORT, 2, err);
}

/* ---- the user's files --------------------------------------------------------- */

static int add_contents(struct kb_fw_cfg *f, const char *name, const char *path, struct kvmbox_error *err)
{
	struct kb_image image;
	uint8_t *bytes = NULL;
	int rc = kb_image_open(&image, path, err);

	if (rc)
		return rc;
	if (image.size > FILE_MAX)
		rc = kb_fail(err, EFBIG, "is larger than 64 MiB");
	else if (!(bytes = malloc(image.size + 1)))
		rc = kb_fail(err, ENOMEM, "out of memory");
	else
		rc = kb_image_read(&image, 0, bytes, image.size, err);
	kb_image_close(&image);
	if (!rc)
		rc = kb_fw_cfg_add_file(f, name, bytes, image.size, err);
	free(bytes);
	return rc;
}

/* entry: NAME:FILE; is cut in two. */
static int add_entry(struct kb_fw_cfg *f, char *entry, struct kvmbox_error *err)
{
	char *path = strchr(entry, ':');
	int rc;

	if (!path || path == entry || !path[1])
		return kb_fail(err, EINVAL, "fw_cfg: \"%.100s\" is not of the form NAME:FILE", entry);
	*path++ = 0;
	rc = add_contents(f, entry, path, err);
	return rc ? kb_fail_in(err, rc, "fw_cfg file %.100s", path) : 0;
}

static int add_users(struct kb_pc *pc, struct kvmbox_error *err)
{
	char *list, *entry, *rest;
	int rc = 0;

	if (!pc->cfg->fw_cfg)
		return 0;
	rest = list = strdup(pc->cfg->fw_cfg);
	if (!list)
		return kb_fail(err, ENOMEM, "out of memory");
	while (!rc && (entry = strsep(&rest, ",")))
		rc = add_entry(pc->fw_cfg, entry, err);
	free(list);
	return rc;
}

int kb_pc_tell_firmware(struct kb_pc *pc, const struct kb_tables_config *tables, struct kvmbox_error *err)
{
	int rc = add_items(pc, err);

	if (!rc)
		rc = kb_fw_tables_add(pc->fw_cfg, tables, err);
	return rc ? rc : add_users(pc, err);
}
