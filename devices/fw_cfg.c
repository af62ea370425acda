/* Firmware configuration device: see fw_cfg.h. */
#include "devices/fw_cfg.h"

#include <errno.h>
#include <endian.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 0x4000u     /* per architecture bit */
#define KEY_WRITE 0x4000u /* selector bit 14: once the way to write; ignored since QEMU 2.4 */

enum { ID_TRADITIONAL = 1, ID_DMA = 2 };

/* FWCfgDmaAccess.control */
enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };

struct dma_access { /* big endian */
	uint32_t control, length;
	uint64_t address;
};

struct file { /* of the directory; big endian */
	uint32_t size;
	uint16_t select, reserved;
	char name[KB_FW_CFG_NAME_MAX + 1];
};
_Static_assert(sizeof(struct dma_access) == 16 && sizeof(struct file) == 64, "as specified");

struct item {
	unsigned key;
	uint8_t *bytes;
	size_t len;
};

struct kb_fw_cfg {
	struct kb_bus *io, *mem;
	struct kb_region ports, dma;
	struct item *items; /* the directory is the first; by key */
	size_t count;
	unsigned files;
	const struct item *selected; /* NULL: no such item */
	size_t off;
	uint32_t dma_high; /* upper half of the DMA address */
};

static struct item *find(const struct kb_fw_cfg *f, unsigned key)
{
	size_t lo = 0, hi = f->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (f->items[mid].key < key)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < f->count && f->items[lo].key == key ? &f->items[lo] : NULL;
}

static void select_item(struct kb_fw_cfg *f, unsigned key)
{
	f->selected = find(f, key & ~KEY_WRITE);
	f->off = 0;
}

/* The next bytes of the item, zeros behind its end. NULL: skips them. */
static void take(struct kb_fw_cfg *f, uint8_t *to, size_t len)
{
	size_t left = f->selected ? f->selected->len - f->off : 0, n = len < left ? len : left;

	if (to && n)
		memcpy(to, f->selected->bytes + f->off, n);
	if (to)
		memset(to + n, 0, len - n);
	f->off += n;
}

/* ---- DMA ------------------------------------------------------------------- */

/* RAM at addr, of which *len bytes, at most those asked for, are in one piece. */
static uint8_t *ram_at(struct kb_fw_cfg *f, uint64_t addr, uint64_t *len)
{
	struct kb_region *r = kb_bus_find(f->mem, addr);

	if (!r || !r->host || r->readonly)
		return NULL;
	if (*len > r->size - (addr - r->base))
		*len = r->size - (addr - r->base);
	return r->host + (addr - r->base);
}

static bool is_ram(struct kb_fw_cfg *f, uint64_t addr, uint64_t len)
{
	uint64_t n;

	if (len > UINT64_MAX - addr)
		return false;
	for (; len; addr += n, len -= n) {
		n = len;
		if (!ram_at(f, addr, &n))
			return false;
	}
	return true;
}

static bool read_to_ram(struct kb_fw_cfg *f, uint64_t addr, uint64_t len)
{
	if (!is_ram(f, addr, len))
		return false;
	while (len) {
		uint64_t n = len;
		uint8_t *to = ram_at(f, addr, &n);

		take(f, to, n);
		addr += n;
		len -= n;
	}
	return true;
}

static void transfer(struct kb_fw_cfg *f, uint64_t at)
{
	struct dma_access a;
	uint32_t control, length;
	bool ok = true;

	if (!is_ram(f, at, sizeof(a)))
		return;
	kb_bus_read(f->mem, at, &a, sizeof(a));
	control = be32toh(a.control);
	length = be32toh(a.length);
	if (control & DMA_SELECT)
		select_item(f, control >> 16);
	if (control & DMA_READ)
		ok = read_to_ram(f, be64toh(a.address), length);
	else if (control & DMA_WRITE)
		ok = false; /* all are read-only */
	else if (control & DMA_SKIP)
		take(f, NULL, length);
	control = htobe32(ok ? 0 : DMA_ERROR);
	kb_bus_write(f->mem, at, &control, sizeof(control));
}

/* ---- ports ------------------------------------------------------------------- */

static uint64_t read_port(void *opaque, uint64_t off, unsigned len)
{
	uint8_t byte;

	if (off != 1 || len != 1)
		return UINT64_MAX;
	take(opaque, &byte, 1);
	return byte;
}

static void write_port(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	if (off == 0 && len == 2)
		select_item(opaque, (unsigned)value);
}

static uint64_t read_dma(void *opaque, uint64_t off, unsigned len)
{
	uint64_t v = 0;

	(void)opaque;
	memcpy(&v, &"QEMU CFG"[off], len);
	return v;
}

static void write_dma(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_fw_cfg *f = opaque;
	uint64_t high = f->dma_high;

	if (len != 4)
		return;
	f->dma_high = off ? 0 : be32toh((uint32_t)value);
	if (off)
		transfer(f, high << 32 | be32toh((uint32_t)value));
}

/* ---- items --------------------------------------------------------------------- */

/* bytes become the item's. */
static int insert(struct kb_fw_cfg *f, unsigned key, uint8_t *bytes, size_t len, struct kvmbox_error *err)
{
	unsigned selected = f->selected ? f->selected->key : KEYS;
	struct item *items = realloc(f->items, (f->count + 1) * sizeof(*items));
	size_t at = f->count;

	if (!items)
		return kb_fail(err, ENOMEM, "out of memory for a firmware configuration item");
	f->items = items;
	for (; at && items[at - 1].key > key; at--)
		items[at] = items[at - 1];
	items[at] = (struct item){ .key = key, .bytes = bytes, .len = len };
	f->count++;
	f->selected = find(f, selected); /* it may have moved */
	return 0;
}

static int add(struct kb_fw_cfg *f, unsigned key, const void *bytes, size_t len, struct kvmbox_error *err)
{
	uint8_t *copy = malloc(len ? len : 1);
	int rc;

	if (!copy)
		return kb_fail(err, ENOMEM, "out of memory for a firmware configuration item of %zu bytes", len);
	if (len)
		memcpy(copy, bytes, len);
	rc = insert(f, key, copy, len, err);
	if (rc)
		free(copy);
	return rc;
}

int kb_fw_cfg_add(struct kb_fw_cfg *f, unsigned key, const void *bytes, size_t len, struct kvmbox_error *err)
{
	if (key >= KB_FW_CFG_FILE_FIRST)
		return kb_fail(err, EINVAL, "firmware configuration item 0x%x: from 0x%x on are files", key, KB_FW_CFG_FILE_FIRST);
	if (find(f, key))
		return kb_fail(err, EEXIST, "firmware configuration item 0x%x is there already", key);
	return add(f, key, bytes, len, err);
}

static bool has_file(const struct kb_fw_cfg *f, const char *name)
{
	const struct item *dir = find(f, KB_FW_CFG_FILE_DIR);
	size_t off;

	for (off = sizeof(uint32_t); off < dir->len; off += sizeof(struct file))
		if (!strcmp((const char *)dir->bytes + off + offsetof(struct file, name), name))
			return true;
	return false;
}

/* Makes room in the directory first: nothing fails afterwards. */
static int grow_directory(struct kb_fw_cfg *f, struct kvmbox_error *err)
{
	struct item *dir = find(f, KB_FW_CFG_FILE_DIR);
	uint8_t *bytes = realloc(dir->bytes, dir->len + sizeof(struct file));

	if (!bytes)
		return kb_fail(err, ENOMEM, "out of memory for the directory of firmware configuration files");
	dir->bytes = bytes;
	return 0;
}

static void list_file(struct kb_fw_cfg *f, const char *name, unsigned key, size_t len)
{
	struct item *dir = find(f, KB_FW_CFG_FILE_DIR);
	struct file file = { .size = htobe32((uint32_t)len), .select = htobe16((uint16_t)key) };
	uint32_t count = htobe32(++f->files);

	strcpy(file.name, name);
	memcpy(dir->bytes + dir->len, &file, sizeof(file));
	dir->len += sizeof(file);
	memcpy(dir->bytes, &count, sizeof(count));
}

int kb_fw_cfg_add_file(struct kb_fw_cfg *f, const char *name, const void *bytes, size_t len, struct kvmbox_error *err)
{
	unsigned key = KB_FW_CFG_FILE_FIRST + f->files;
	int rc;

	if (!*name || strlen(name) > KB_FW_CFG_NAME_MAX)
		return kb_fail(err, EINVAL, "the name of firmware configuration file \"%.80s\" must have 1 to %u characters", name,
			       KB_FW_CFG_NAME_MAX);
	if (len > UINT32_MAX)
		return kb_fail(err, EFBIG, "firmware configuration file %s has 4 GiB or more", name);
	if (key >= KEYS)
		return kb_fail(err, ENOSPC, "there are %u firmware configuration files already", f->files);
	if (has_file(f, name))
		return kb_fail(err, EEXIST, "firmware configuration file %s is there already", name);
	rc = grow_directory(f, err);
	if (!rc)
		rc = add(f, key, bytes, len, err);
	if (!rc)
		list_file(f, name, key, len);
	return rc;
}

/* ---- life cycle ------------------------------------------------------------------ */

void kb_fw_cfg_reset(struct kb_fw_cfg *f)
{
	select_item(f, KB_FW_CFG_SIGNATURE);
	f->dma_high = 0;
}

static int add_own(struct kb_fw_cfg *f, struct kvmbox_error *err)
{
	const uint32_t id = htole32(ID_TRADITIONAL | ID_DMA), no_files = 0;
	int rc = add(f, KB_FW_CFG_SIGNATURE, "QEMU", 4, err);

	if (!rc)
		rc = add(f, KB_FW_CFG_ID, &id, sizeof(id), err);
	return rc ? rc : add(f, KB_FW_CFG_FILE_DIR, &no_files, sizeof(no_files), err);
}

int kb_fw_cfg_create(struct kb_fw_cfg **out, struct kb_bus *io, struct kb_bus *mem, struct kvmbox_error *err)
{
	struct kb_fw_cfg *f = calloc(1, sizeof(*f));
	int rc;

	*out = NULL;
	if (!f)
		return kb_fail(err, ENOMEM, "out of memory creating the firmware configuration device");
	f->io = io;
	f->mem = mem;
	f->ports = (struct kb_region){
		.name = "firmware configuration", .base = KB_FW_CFG_PORT, .size = 2, .max_len = 2,
		.read = read_port, .write = write_port, .opaque = f,
	};
	f->dma = (struct kb_region){
		.name = "firmware configuration DMA", .base = KB_FW_CFG_DMA_PORT, .size = 8, .max_len = 4,
		.read = read_dma, .write = write_dma, .opaque = f,
	};
	rc = add_own(f, err);
	if (!rc)
		rc = kb_bus_add(io, &f->ports, err);
	if (!rc)
		rc = kb_bus_add(io, &f->dma, err);
	if (rc) {
		kb_fw_cfg_destroy(f);
		return rc;
	}
	kb_fw_cfg_reset(f);
	*out = f;
	return 0;
}

void kb_fw_cfg_destroy(struct kb_fw_cfg *f)
{
	if (!f)
		return;
	kb_bus_remove(f->io, &f->ports);
	kb_bus_remove(f->io, &f->dma);
	for (size_t i = 0; i < f->count; i++)
		free(f->items[i].bytes);
	free(f->items);
	free(f);
}
