/*
 * A KVM virtual machine: its descriptors, its two buses, and guest memory.
 */
#ifndef KB_VM_H
#define KB_VM_H

#include <stdbool.h>
#include <stdint.h>

#include "vcpu/bus.h"
#include "vcpu/kvm.h"
#include "vcpu/log.h"

/* One piece of guest memory: anonymous host pages behind a KVM slot and a region of the memory bus. */
struct kb_ram {
	struct kb_region region;
	uint32_t slot;
	void *map;       /* what to unmap: region.host lies inside */
	size_t map_size;
	struct kb_ram *next;
};

struct kb_vm {
	const struct kb_kvm_api *api;
	const struct kb_log *log;
	int kvm_fd, fd;
	size_t run_size;    /* bytes of a vCPU's kvm_run mapping */
	struct kb_bus mem, io;
	struct kb_ram *ram; /* all pieces */
	uint32_t max_slots;
	uint64_t gpa_limit; /* highest guest physical address */
};

/* Opens KVM and makes an empty VM. On failure *out is NULL; errors as kb_kvm_open() or of KVM_CREATE_VM. */
int kb_vm_create(struct kb_vm **out, const struct kb_kvm_api *api, const struct kb_log *log,
		 struct kvmbox_error *err);
/* Frees all memory, too. NULL is fine. */
void kb_vm_destroy(struct kb_vm *vm);

enum kb_ram_flags {
	KB_RAM_READONLY = 1,  /* ROM: guest and bus writes are dropped; filled through region.host */
	KB_RAM_HUGEPAGES = 2, /* advise transparent huge pages */
};

/*
 * Adds size bytes (multiple of 4 KiB) at base, zeroed; also while a vCPU exists. name must outlive it.
 * -EINVAL, -EEXIST (overlap, both named), -ENOMEM, -ENOSPC (no slot left), or what KVM says.
 */
int kb_vm_add_ram(struct kb_vm *vm, const char *name, uint64_t base, uint64_t size, unsigned flags,
		  struct kb_ram **out, struct kvmbox_error *err);
/* Takes the slot away and frees the pages. */
void kb_vm_remove_ram(struct kb_vm *vm, struct kb_ram *ram);

#endif
