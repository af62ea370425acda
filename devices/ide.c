/* An ATA channel and its disks: see ide.h. Sections are those of ATA/ATAPI-7 volume 1 (commands) and 2 (registers, protocols). */
#include "devices/ide.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/ide_regs.h"
#include "devices/pci_regs.h"

#define SECTOR 512u
#define MULTIPLE_MAX 16u /* sectors per block; a power of two */
#define BUFFER (MULTIPLE_MAX * SECTOR)
#define MAX_28 0x0fffffffull
#define MAX_48 0x0000ffffffffffffull

/* Kinds of transfers */
enum { KIND_WRITE = 1, KIND_EXT = 2, KIND_MULTIPLE = 4 };

/* A register of the command block: two deep for 48-bit commands (volume 2, 8.1). */
struct fifo {
	uint8_t now, before;
};

struct disk {
	struct kvmbox_block *block; /* NULL: no device */
	unsigned index;
	uint64_t sectors;
	uint16_t cylinders;
	uint8_t heads, spt;  /* of CHS addresses */
	uint8_t multiple;    /* sectors per block of READ and WRITE MULTIPLE, 0: off */
	bool write_cache, look_ahead;
	uint8_t status, error;
	bool intrq;
	/* Of the command under way */
	bool writing, ext;
	uint64_t lba;
	uint32_t left;       /* sectors behind the block in the buffer */
	uint32_t per_block;
	uint32_t pos, end;   /* of the data still to go through the data register; pos == end: none */
	uint8_t buffer[BUFFER];
};

struct kb_ide {
	struct kb_bus *io;
	struct kb_line irq;
	struct kb_pci_function *function;
	struct kb_region command, control;
	struct disk disk[2];
	struct fifo feature, count, low, mid, high; /* both devices hear all writes */
	uint8_t device, device_control;
};

static struct disk *selected(struct kb_ide *ide)
{
	return &ide->disk[ide->device & KB_ATA_DEV1 ? 1 : 0];
}

static void update_irq(struct kb_ide *ide)
{
	kb_line_set(&ide->irq, selected(ide)->intrq && !(ide->device_control & KB_ATA_NIEN));
}

static void interrupt(struct kb_ide *ide, struct disk *d)
{
	d->intrq = true;
	update_irq(ide);
}

/* ---- the end of commands -------------------------------------------------- */

static void done(struct kb_ide *ide, struct disk *d)
{
	d->status = KB_ATA_DRDY | KB_ATA_DSC;
	d->error = 0;
	d->pos = d->end = d->left = 0;
	interrupt(ide, d);
}

static void failed(struct kb_ide *ide, struct disk *d, uint8_t error)
{
	d->status = KB_ATA_DRDY | KB_ATA_DSC | KB_ATA_ERR;
	d->error = error;
	d->pos = d->end = d->left = 0;
	interrupt(ide, d);
}

/* What a failed transfer leaves in the registers: the sector it failed at. */
static void show_lba(struct kb_ide *ide, const struct disk *d)
{
	uint64_t lba = d->lba;

	if (!(ide->device & KB_ATA_LBA) && !d->ext) {
		uint32_t track = (uint32_t)(lba / d->spt), cylinder = track / d->heads;

		ide->low.now = (uint8_t)(lba % d->spt + 1);
		ide->mid.now = (uint8_t)cylinder;
		ide->high.now = (uint8_t)(cylinder >> 8);
		ide->device = (uint8_t)((ide->device & 0xf0) | track % d->heads);
		return;
	}
	ide->low = (struct fifo){ (uint8_t)lba, (uint8_t)(lba >> 24) };
	ide->mid = (struct fifo){ (uint8_t)(lba >> 8), (uint8_t)(lba >> 32) };
	ide->high = (struct fifo){ (uint8_t)(lba >> 16), (uint8_t)(lba >> 40) };
	if (!d->ext)
		ide->device = (uint8_t)((ide->device & 0xf0) | (lba >> 24 & 0x0f));
}

static void media_failed(struct kb_ide *ide, struct disk *d, uint8_t error)
{
	show_lba(ide, d);
	failed(ide, d, error);
}

/* ---- PIO transfers (volume 2, 11.6 and 11.7) ------------------------------- */

/* The next block is to go through the data register. */
static void offer(struct disk *d)
{
	uint32_t sectors = d->left < d->per_block ? d->left : d->per_block;

	d->left -= sectors;
	d->pos = 0;
	d->end = sectors * SECTOR;
	d->status = KB_ATA_DRDY | KB_ATA_DSC | KB_ATA_DRQ;
}

static void read_block(struct kb_ide *ide, struct disk *d)
{
	offer(d);
	if (kvmbox_block_read(d->block, d->lba * SECTOR, d->buffer, d->end)) {
		media_failed(ide, d, KB_ATA_UNC);
		return;
	}
	d->lba += d->end / SECTOR;
	interrupt(ide, d);
}

static int write_sectors(struct disk *d)
{
	struct kvmbox_block_request r = {
		.op = KVMBOX_BLOCK_WRITE, .flags = d->write_cache ? 0 : KVMBOX_BLOCK_FUA,
		.offset = d->lba * SECTOR, .length = d->end, .buffer = d->buffer,
	};

	kvmbox_block_submit(d->block, &r);
	return kvmbox_block_wait(d->block, &r);
}

static void write_block(struct kb_ide *ide, struct disk *d)
{
	if (write_sectors(d)) {
		media_failed(ide, d, KB_ATA_ABRT);
		return;
	}
	d->lba += d->end / SECTOR;
	if (!d->left) {
		done(ide, d);
		return;
	}
	offer(d);
	interrupt(ide, d);
}

/* The guest has taken, or filled, what was offered. */
static void block_over(struct kb_ide *ide, struct disk *d)
{
	if (d->writing) {
		write_block(ide, d);
	} else if (d->left) {
		read_block(ide, d);
	} else { /* reads end without an interrupt */
		d->status = KB_ATA_DRDY | KB_ATA_DSC;
	}
}

static uint64_t read_data(struct kb_ide *ide, unsigned len)
{
	struct disk *d = selected(ide);
	uint64_t v = 0;

	if (d->writing || d->end - d->pos < len)
		return UINT64_MAX;
	memcpy(&v, d->buffer + d->pos, len);
	d->pos += len;
	if (d->pos == d->end)
		block_over(ide, d);
	return v;
}

static void write_data(struct kb_ide *ide, unsigned len, uint64_t value)
{
	struct disk *d = selected(ide);

	if (!d->writing || d->end - d->pos < len)
		return;
	memcpy(d->buffer + d->pos, &value, len);
	d->pos += len;
	if (d->pos == d->end)
		block_over(ide, d);
}

/* ---- addresses ------------------------------------------------------------------ */

static uint64_t address(const struct kb_ide *ide, const struct disk *d)
{
	uint32_t low = (uint32_t)ide->high.now << 16 | (uint32_t)ide->mid.now << 8 | ide->low.now;
	uint32_t cylinder = low >> 8;

	if (d->ext)
		return (uint64_t)ide->high.before << 40 | (uint64_t)ide->mid.before << 32 | (uint64_t)ide->low.before << 24 | low;
	if (ide->device & KB_ATA_LBA)
		return (uint32_t)(ide->device & 0x0f) << 24 | low;
	if (!ide->low.now || ide->low.now > d->spt || (ide->device & 0x0f) >= d->heads)
		return UINT64_MAX; /* sectors count from 1 */
	return ((uint64_t)cylinder * d->heads + (ide->device & 0x0f)) * d->spt + ide->low.now - 1;
}

/* 0 means as many as the register cannot hold. */
static uint32_t sector_count(const struct kb_ide *ide, const struct disk *d)
{
	uint32_t n = d->ext ? (uint32_t)ide->count.before << 8 | ide->count.now : ide->count.now;

	return n ? n : d->ext ? 0x10000 : 0x100;
}

/* Where the command's range begins and how long it is; false: it has failed. */
static bool range(struct kb_ide *ide, struct disk *d, bool ext)
{
	d->ext = ext;
	d->lba = address(ide, d);
	d->left = sector_count(ide, d);
	if (d->lba >= d->sectors || d->left > d->sectors - d->lba) {
		failed(ide, d, KB_ATA_IDNF);
		return false;
	}
	return true;
}

/* ---- commands (volume 1, 6) --------------------------------------------------------- */

static void transfer(struct kb_ide *ide, struct disk *d, unsigned kind)
{
	struct kvmbox_block_info info;

	if (kind & KIND_MULTIPLE && !d->multiple) {
		failed(ide, d, KB_ATA_ABRT);
		return;
	}
	if (!range(ide, d, kind & KIND_EXT))
		return;
	d->per_block = kind & KIND_MULTIPLE ? d->multiple : 1;
	d->writing = kind & KIND_WRITE;
	if (!d->writing) {
		read_block(ide, d);
		return;
	}
	kvmbox_block_get_info(d->block, &info);
	if (info.readonly)
		media_failed(ide, d, KB_ATA_ABRT);
	else
		offer(d); /* the first block of a write is asked for without an interrupt */
}

static void verify(struct kb_ide *ide, struct disk *d, bool ext)
{
	d->per_block = MULTIPLE_MAX;
	if (!range(ide, d, ext))
		return;
	while (d->left) {
		offer(d);
		if (kvmbox_block_read(d->block, d->lba * SECTOR, d->buffer, d->end)) {
			media_failed(ide, d, KB_ATA_UNC);
			return;
		}
		d->lba += d->end / SECTOR;
	}
	done(ide, d);
}

static void flush(struct kb_ide *ide, struct disk *d)
{
	if (kvmbox_block_flush(d->block))
		failed(ide, d, KB_ATA_ABRT);
	else
		done(ide, d);
}

static void put_text(uint8_t *id, unsigned word, unsigned words, const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < words * 2; i++) /* the first character is in the upper half */
		id[word * 2 + (i ^ 1)] = (uint8_t)(i < len ? text[i] : ' ');
}

static void put_word(uint8_t *id, unsigned word, uint64_t v)
{
	id[word * 2] = (uint8_t)v;
	id[word * 2 + 1] = (uint8_t)(v >> 8);
}

static void put_long(uint8_t *id, unsigned word, unsigned words, uint64_t v)
{
	for (; words; words--, v >>= 16)
		put_word(id, word++, v);
}

/* Volume 1, 6.17; the words not named are 0. */
static void fill_identity(const struct disk *d, uint8_t *id)
{
	uint32_t chs = (uint32_t)d->cylinders * d->heads * d->spt;
	uint8_t sum = 0xa5;

	memset(id, 0, SECTOR);
	put_word(id, 0, 0x0040); /* ATA, not removable */
	put_word(id, 1, d->cylinders);
	put_word(id, 3, d->heads);
	put_word(id, 6, d->spt);
	put_text(id, 10, 10, d->index ? "KVMBOX-1" : "KVMBOX-0");
	put_text(id, 23, 4, "1");
	put_text(id, 27, 20, "kvmbox disk");
	put_word(id, 47, 0x8000 | MULTIPLE_MAX);
	put_word(id, 48, 1);      /* 32 bits at a time, obsolete and believed in */
	put_word(id, 49, 0x0a00); /* IORDY, LBA */
	put_word(id, 50, 0x4000);
	put_word(id, 53, 0x0003); /* words 54-58 and 64-70 are valid */
	put_word(id, 54, d->cylinders);
	put_word(id, 55, d->heads);
	put_word(id, 56, d->spt);
	put_long(id, 57, 2, chs);
	put_word(id, 59, d->multiple ? 0x0100 | d->multiple : 0);
	put_long(id, 60, 2, d->sectors < MAX_28 ? d->sectors : MAX_28);
	put_word(id, 64, 0x0003); /* PIO 3 and 4 */
	put_word(id, 67, 120);    /* ns */
	put_word(id, 68, 120);
	put_word(id, 80, 0x00f0); /* ATA-4 to ATA-7 */
	put_word(id, 82, 0x0060); /* look-ahead, write cache */
	put_word(id, 83, 0x7400); /* FLUSH CACHE, FLUSH CACHE EXT, 48 bits */
	put_word(id, 84, 0x4000);
	put_word(id, 85, (d->look_ahead ? 0x40u : 0) | (d->write_cache ? 0x20u : 0));
	put_word(id, 86, 0x3400);
	put_word(id, 87, 0x4000);
	put_long(id, 100, 4, d->sectors);
	id[510] = 0xa5;
	for (unsigned i = 0; i < SECTOR - 1; i++)
		sum = (uint8_t)(sum + (i == 510 ? 0 : id[i]));
	id[511] = (uint8_t)-sum;
}

static void identify(struct kb_ide *ide, struct disk *d)
{
	fill_identity(d, d->buffer);
	d->writing = false;
	d->left = 1;
	d->per_block = 1;
	offer(d);
	interrupt(ide, d);
}

static void set_multiple(struct kb_ide *ide, struct disk *d)
{
	unsigned n = ide->count.now;

	if (n > MULTIPLE_MAX || (n & (n - 1))) {
		failed(ide, d, KB_ATA_ABRT);
		return;
	}
	d->multiple = (uint8_t)n;
	done(ide, d);
}

/* Volume 1, 6.49 */
static void set_features(struct kb_ide *ide, struct disk *d)
{
	unsigned mode = ide->count.now;
	bool ok = true;

	switch (ide->feature.now) {
	case 0x02: case 0x82:
		d->write_cache = ide->feature.now == 0x02;
		ok = d->write_cache || !kvmbox_block_flush(d->block);
		break;
	case 0x03: /* PIO: its default, or flow control modes 0-4 */
		ok = mode <= 1 || (mode >= 8 && mode <= 12);
		break;
	case 0x55: case 0xaa:
		d->look_ahead = ide->feature.now == 0xaa;
		break;
	default:
		ok = false;
	}
	if (ok)
		done(ide, d);
	else
		failed(ide, d, KB_ATA_ABRT);
}

static void set_geometry(struct disk *d, unsigned heads, unsigned spt)
{
	uint64_t cylinders = d->sectors / (heads * spt);

	d->heads = (uint8_t)heads;
	d->spt = (uint8_t)spt;
	d->cylinders = (uint16_t)(cylinders < 16383 ? cylinders : 16383);
}

static void init_parameters(struct kb_ide *ide, struct disk *d)
{
	unsigned heads = (ide->device & 0x0fu) + 1, spt = ide->count.now;

	if (!spt) {
		failed(ide, d, KB_ATA_ABRT);
		return;
	}
	set_geometry(d, heads, spt);
	done(ide, d);
}

/* Of a device that is no packet device (volume 2, 9.12). */
static void signature(struct kb_ide *ide)
{
	ide->count = ide->low = (struct fifo){ .now = 1 };
	ide->mid = ide->high = (struct fifo){ 0 };
	ide->device = 0;
}

static void stop(struct disk *d)
{
	d->pos = d->end = d->left = 0;
	d->writing = d->intrq = false;
	d->status = KB_ATA_DRDY | KB_ATA_DSC;
	d->error = KB_ATA_DIAG_PASSED;
}

/* Both do it, device 0 answers. */
static void diagnostic(struct kb_ide *ide)
{
	stop(&ide->disk[0]);
	stop(&ide->disk[1]);
	signature(ide);
	interrupt(ide, &ide->disk[0]);
}

static void power_mode(struct kb_ide *ide, struct disk *d)
{
	ide->count.now = 0xff; /* active or idle */
	done(ide, d);
}

static void execute(struct kb_ide *ide, struct disk *d, uint8_t command)
{
	switch (command) {
	case 0x20: case 0x21: transfer(ide, d, 0); break;
	case 0x24: transfer(ide, d, KIND_EXT); break;
	case 0x29: transfer(ide, d, KIND_EXT | KIND_MULTIPLE); break;
	case 0x30: case 0x31: transfer(ide, d, KIND_WRITE); break;
	case 0x34: transfer(ide, d, KIND_WRITE | KIND_EXT); break;
	case 0x39: transfer(ide, d, KIND_WRITE | KIND_EXT | KIND_MULTIPLE); break;
	case 0xc4: transfer(ide, d, KIND_MULTIPLE); break;
	case 0xc5: transfer(ide, d, KIND_WRITE | KIND_MULTIPLE); break;
	case 0x40: case 0x41: verify(ide, d, false); break;
	case 0x42: verify(ide, d, true); break;
	case 0x91: init_parameters(ide, d); break;
	case 0xc6: set_multiple(ide, d); break;
	case 0xe5: power_mode(ide, d); break;
	case 0xe7: case 0xea: flush(ide, d); break;
	case 0xec: identify(ide, d); break;
	case 0xef: set_features(ide, d); break;
	/* Nothing to do: RECALIBRATE, SEEK, and the power modes, of which all are alike. */
	case 0x10: case 0x70: case 0xe0: case 0xe1: case 0xe2: case 0xe3: case 0xe6: done(ide, d); break;
	default: failed(ide, d, KB_ATA_ABRT);
	}
}

static void write_command(struct kb_ide *ide, uint8_t command)
{
	struct disk *d = selected(ide);

	if (ide->device_control & KB_ATA_SRST)
		return;
	if (command == 0x90) {
		diagnostic(ide);
		return;
	}
	if (!d->block)
		return;
	d->intrq = false; /* also for commands that raise none */
	update_irq(ide);
	d->pos = d->end = d->left = 0; /* it ends a transfer under way */
	execute(ide, d, command);
}

/* ---- registers (volume 2, 8) ----------------------------------------------------------- */

/* Device 0 answers for an absent device 1 (9.16.1). */
static uint8_t status(struct kb_ide *ide)
{
	if (ide->device_control & KB_ATA_SRST)
		return KB_ATA_BSY;
	return selected(ide)->block ? selected(ide)->status : 0;
}

static uint8_t show(const struct kb_ide *ide, const struct fifo *r)
{
	return ide->device_control & KB_ATA_HOB ? r->before : r->now;
}

static uint8_t read_register(struct kb_ide *ide, unsigned reg)
{
	uint8_t v;

	switch (reg) {
	case KB_ATA_ERROR: return selected(ide)->block ? selected(ide)->error : 0;
	case KB_ATA_COUNT: return show(ide, &ide->count);
	case KB_ATA_LOW: return show(ide, &ide->low);
	case KB_ATA_MID: return show(ide, &ide->mid);
	case KB_ATA_HIGH: return show(ide, &ide->high);
	case KB_ATA_DEVICE: return ide->device | KB_ATA_DEVICE_ONES;
	default:
		v = status(ide);
		selected(ide)->intrq = false;
		update_irq(ide);
		return v;
	}
}

static void push(struct fifo *r, uint8_t v)
{
	r->before = r->now;
	r->now = v;
}

static void write_register(struct kb_ide *ide, unsigned reg, uint8_t v)
{
	ide->device_control &= (uint8_t)~KB_ATA_HOB;
	switch (reg) {
	case KB_ATA_ERROR: push(&ide->feature, v); break;
	case KB_ATA_COUNT: push(&ide->count, v); break;
	case KB_ATA_LOW: push(&ide->low, v); break;
	case KB_ATA_MID: push(&ide->mid, v); break;
	case KB_ATA_HIGH: push(&ide->high, v); break;
	case KB_ATA_DEVICE:
		ide->device = v;
		update_irq(ide);
		break;
	default: write_command(ide, v);
	}
}

static bool decoded(const struct kb_ide *ide)
{
	return kb_pci_function_config16(ide->function, IDETIM) & IDETIM_DECODE;
}

/* Only the data register is wider than a byte. */
static uint64_t command_read(void *opaque, uint64_t off, unsigned len)
{
	struct kb_ide *ide = opaque;
	uint64_t v = 0;

	if (!decoded(ide))
		return UINT64_MAX;
	if (off == KB_ATA_DATA)
		return read_data(ide, len);
	for (unsigned i = 0; i < len; i++)
		v |= (uint64_t)read_register(ide, (unsigned)off + i) << 8 * i;
	return v;
}

static void command_write(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_ide *ide = opaque;

	if (!decoded(ide))
		return;
	if (off == KB_ATA_DATA) {
		write_data(ide, len, value);
		return;
	}
	for (unsigned i = 0; i < len; i++)
		write_register(ide, (unsigned)off + i, (uint8_t)(value >> 8 * i));
}

static uint64_t control_read(void *opaque, uint64_t off, unsigned len)
{
	(void)off, (void)len;
	return decoded(opaque) ? status(opaque) : UINT64_MAX;
}

/* Software reset (9.2): begins with SRST, done when it goes. */
static void control_write(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_ide *ide = opaque;

	(void)off, (void)len;
	if (!decoded(ide))
		return;
	ide->device_control = (uint8_t)value;
	if (value & KB_ATA_SRST) {
		stop(&ide->disk[0]);
		stop(&ide->disk[1]);
		signature(ide);
	}
	update_irq(ide);
}

/* ---- life cycle ---------------------------------------------------------------------------- */

static void reset_disk(struct disk *d)
{
	stop(d);
	d->multiple = 0;
	d->write_cache = d->look_ahead = true;
	set_geometry(d, 16, 63);
}

void kb_ide_reset(struct kb_ide *ide)
{
	reset_disk(&ide->disk[0]);
	reset_disk(&ide->disk[1]);
	ide->device_control = 0;
	ide->feature = (struct fifo){ 0 };
	signature(ide);
	update_irq(ide);
}

static int add_function(struct kb_ide *ide, struct kb_pci_bus *pci, struct kvmbox_error *err)
{
	static const struct kb_pci_config cfg = {
		.name = "IDE", .slot = KB_IDE_SLOT, .vendor = 0x8086, .device = 0x7010, .class_code = 0x010100,
	};
	int rc = kb_pci_function_create(&ide->function, pci, &cfg, NULL, NULL, err);

	if (rc)
		return rc;
	kb_pci_function_register(ide->function, KB_PCI_COMMAND, 2, KB_PCI_COMMAND_IO, KB_PCI_COMMAND_IO | KB_PCI_COMMAND_MASTER);
	kb_pci_function_register(ide->function, IDETIM, 2, IDETIM_DECODE, 0xffff);
	return 0;
}

static int open_disk(struct disk *d, struct kvmbox_block *block, struct kvmbox_error *err)
{
	struct kvmbox_block_info info;

	if (!block)
		return 0;
	kvmbox_block_get_info(block, &info);
	if (info.block_size != SECTOR)
		return kb_fail(err, EINVAL, "disk %s has blocks of %u bytes, IDE knows 512", info.spec, info.block_size);
	d->block = block;
	d->sectors = info.size / SECTOR;
	if (d->sectors > MAX_48)
		d->sectors = MAX_48;
	return 0;
}

static int claim(struct kb_ide *ide, struct kvmbox_error *err)
{
	int rc;

	ide->command = (struct kb_region){
		.name = "IDE", .base = KB_IDE_PORT, .size = 8, .max_len = 4,
		.read = command_read, .write = command_write, .opaque = ide,
	};
	ide->control = (struct kb_region){
		.name = "IDE control", .base = KB_IDE_CONTROL_PORT, .size = 1, .max_len = 1,
		.read = control_read, .write = control_write, .opaque = ide,
	};
	rc = kb_bus_add(ide->io, &ide->command, err);
	return rc ? rc : kb_bus_add(ide->io, &ide->control, err);
}

int kb_ide_create(struct kb_ide **out, const struct kb_ide_config *cfg, struct kvmbox_error *err)
{
	struct kb_ide *ide = calloc(1, sizeof(*ide));
	int rc;

	*out = NULL;
	if (!ide)
		return kb_fail(err, ENOMEM, "out of memory creating the IDE channel");
	ide->io = cfg->io;
	ide->irq = cfg->irq;
	ide->disk[1].index = 1;
	rc = open_disk(&ide->disk[0], cfg->disk[0], err);
	if (!rc)
		rc = open_disk(&ide->disk[1], cfg->disk[1], err);
	if (!rc)
		rc = claim(ide, err);
	if (!rc)
		rc = add_function(ide, cfg->pci, err);
	if (rc) {
		kb_ide_destroy(ide);
		return rc;
	}
	kb_ide_reset(ide);
	*out = ide;
	return 0;
}

void kb_ide_destroy(struct kb_ide *ide)
{
	if (!ide)
		return;
	kb_bus_remove(ide->io, &ide->command);
	kb_bus_remove(ide->io, &ide->control);
	free(ide);
}
