/* The C ABI: DMA into guest memory, and messages (MSI) that look like it. */
#include <errno.h>
#include <string.h>

#include "platforms/box.h"

#define MSI_BASE 0xfee00000ull
#define MSI_SIZE 0x100000ull

static bool in_msi_window(uint64_t addr)
{
	return addr - MSI_BASE < MSI_SIZE;
}

/* Is every byte of the range RAM (or, for reads, ROM)? */
static bool all_memory(struct kb_bus *mem, uint64_t addr, size_t len, bool write)
{
	while (len) {
		struct kb_region *r = kb_bus_find(mem, addr);
		uint64_t avail;

		if (!r || !r->host || (write && r->readonly))
			return false;
		avail = r->size - (addr - r->base);
		if (avail >= len)
			return true;
		addr += avail;
		len -= avail;
	}
	return true;
}

static int message(struct kvmbox_box *box, uint64_t addr, const void *buf, size_t len, bool write)
{
	uint32_t data;

	if (!write || len != sizeof(data) || addr % sizeof(data))
		return -EFAULT;
	memcpy(&data, buf, sizeof(data));
	kb_pc_msi(box->pc, addr, data);
	return 0;
}

static int access_memory(struct kvmbox_box *box, uint64_t addr, void *buf, size_t len, bool write)
{
	struct kb_bus *mem = &box->pc->vm->mem;
	uint64_t last;

	if (len == 0)
		return 0;
	if (__builtin_add_overflow(addr, len - 1, &last))
		return -EFAULT;
	if (in_msi_window(addr))
		return message(box, addr, buf, len, write);
	if (!all_memory(mem, addr, len, write))
		return -EFAULT;
	if (write)
		kb_bus_write(mem, addr, buf, len);
	else
		kb_bus_read(mem, addr, buf, len);
	box->dma_bytes += len;
	return 0;
}

int kvmbox_dma(struct kvmbox_box *box, struct kvmbox_function *function, uint64_t addr, void *buf, size_t len, bool write)
{
	int rc = function && !kvmbox_bus_master(function) ? -EPERM : access_memory(box, addr, buf, len, write);

	if (rc)
		box->dma_errors++;
	return rc;
}

uint8_t *kvmbox_dma_ptr(struct kvmbox_box *box, uint64_t addr, uint64_t *start, uint64_t *end, bool *readonly)
{
	struct kb_region *r = kb_bus_find(&box->pc->vm->mem, addr);

	if (!r || !r->host)
		return NULL;
	*start = r->base;
	*end = r->base + (r->size - 1);
	*readonly = r->readonly;
	return r->host + (addr - r->base);
}
