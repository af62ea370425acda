/* A KVM virtual machine: see vm.h. */
#include "vcpu/vm.h"

#include <cpuid.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE (2ull << 20)
#define SMALL_PAGE 4096ull

/*
 * Three pages KVM needs on Intel CPUs without unrestricted guest (a TSS for
 * vm86) and one for an identity map; below the firmware area at 4 GiB and in
 * nobody's way (api.rst, KVM_SET_TSS_ADDR and KVM_SET_IDENTITY_MAP_ADDR).
 */
#define KVM_IDENTITY_MAP_GPA 0xfeffc000ull
#define KVM_TSS_GPA 0xfeffd000ull

static uint64_t host_gpa_limit(void)
{
	unsigned a, b, c, d;

	if (!__get_cpuid(0x80000008, &a, &b, &c, &d) || (a & 0xff) < 36 || (a & 0xff) > 52)
		return (1ull << 36) - 1;
	return (1ull << (a & 0xff)) - 1;
}

static int failed(struct kvmbox_error *err, unsigned long request, int rc)
{
	return kb_fail(err, -rc, "%s failed: %s", kb_kvm_request_name(request), strerror(-rc));
}

static int setup(struct kb_vm *vm, struct kvmbox_error *err)
{
	uint64_t identity = KVM_IDENTITY_MAP_GPA;
	int rc;

	vm->kvm_fd = kb_kvm_open(vm->api, err);
	if (vm->kvm_fd < 0)
		return vm->kvm_fd;
	vm->fd = kb_kvm_ioctl(vm->api, vm->kvm_fd, KVM_CREATE_VM, NULL);
	if (vm->fd < 0)
		return failed(err, KVM_CREATE_VM, vm->fd);
	rc = kb_kvm_ioctl(vm->api, vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
	if (rc < (int)sizeof(struct kvm_run))
		return failed(err, KVM_GET_VCPU_MMAP_SIZE, rc < 0 ? rc : -EINVAL);
	vm->run_size = (size_t)rc;
	rc = kb_kvm_ioctl(vm->api, vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	if (rc < 0)
		return failed(err, KVM_SET_IDENTITY_MAP_ADDR, rc);
	rc = kb_kvm_ioctl(vm->api, vm->fd, KVM_SET_TSS_ADDR, (void *)KVM_TSS_GPA);
	if (rc < 0)
		return failed(err, KVM_SET_TSS_ADDR, rc);
	rc = kb_kvm_check(vm->api, vm->fd, KVM_CAP_NR_MEMSLOTS);
	vm->max_slots = rc > 0 ? (uint32_t)rc : 32;
	return 0;
}

int kb_vm_create(struct kb_vm **out, const struct kb_kvm_api *api, const struct kb_log *log,
		 struct kvmbox_error *err)
{
	struct kb_vm *vm = calloc(1, sizeof(*vm));
	int rc;

	*out = NULL;
	if (!vm)
		return kb_fail(err, ENOMEM, "out of memory creating the VM");
	vm->api = api;
	vm->log = log;
	vm->kvm_fd = vm->fd = -1;
	vm->gpa_limit = host_gpa_limit();
	kb_bus_init(&vm->mem, "memory", vm->gpa_limit);
	kb_bus_init(&vm->io, "port", 0xffff);
	rc = setup(vm, err);
	if (rc) {
		kb_vm_destroy(vm);
		return rc;
	}
	*out = vm;
	return 0;
}

void kb_vm_destroy(struct kb_vm *vm)
{
	if (!vm)
		return;
	while (vm->ram)
		kb_vm_remove_ram(vm, vm->ram);
	if (vm->fd >= 0)
		vm->api->close(vm->fd);
	if (vm->kvm_fd >= 0)
		vm->api->close(vm->kvm_fd);
	kb_bus_destroy(&vm->mem);
	kb_bus_destroy(&vm->io);
	free(vm);
}

static uint32_t free_slot(const struct kb_vm *vm)
{
	uint32_t slot = 0;
	const struct kb_ram *r = vm->ram;

	while (r) {
		if (r->slot == slot) {
			slot++;
			r = vm->ram;
		} else {
			r = r->next;
		}
	}
	return slot;
}

static int set_slot(struct kb_vm *vm, const struct kb_ram *ram, bool present)
{
	struct kvm_userspace_memory_region slot = {
		.slot = ram->slot,
		.flags = ram->region.readonly ? KVM_MEM_READONLY : 0,
		.guest_phys_addr = ram->region.base,
		.memory_size = present ? ram->region.size : 0,
		.userspace_addr = (uintptr_t)ram->region.host,
	};

	return kb_kvm_ioctl(vm->api, vm->fd, KVM_SET_USER_MEMORY_REGION, &slot);
}

/* Host pages whose address equals base modulo 2 MiB, so that KVM can map huge pages. */
static int map_pages(struct kb_vm *vm, struct kb_ram *ram, uint64_t base, uint64_t size, bool huge)
{
	uint8_t *map;

	ram->map_size = size + HUGE_PAGE;
	map = vm->api->mmap(NULL, ram->map_size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return -errno;
	ram->map = map;
	ram->region.host = map + ((base - (uintptr_t)map) & (HUGE_PAGE - 1));
	if (huge)
		madvise(map, ram->map_size, MADV_HUGEPAGE);
	/* A fork (a test, a tool) must not turn guest pages copy-on-write under KVM. */
	madvise(map, ram->map_size, MADV_DONTFORK);
	return 0;
}

static void free_ram(struct kb_vm *vm, struct kb_ram *ram)
{
	if (ram->map)
		vm->api->munmap(ram->map, ram->map_size);
	free(ram);
}

int kb_vm_add_ram(struct kb_vm *vm, const char *name, uint64_t base, uint64_t size, unsigned flags,
		  struct kb_ram **out, struct kvmbox_error *err)
{
	struct kb_ram *ram;
	int rc;

	if (size == 0 || (base | size) % SMALL_PAGE)
		return kb_fail(err, EINVAL, "memory %s at 0x%" PRIx64 ", 0x%" PRIx64 " bytes: both must be multiples of 4 KiB and the size not 0",
			       name, base, size);
	if (size > SIZE_MAX - HUGE_PAGE)
		return kb_fail(err, EINVAL, "memory %s: 0x%" PRIx64 " bytes is beyond any address space", name, size);
	ram = calloc(1, sizeof(*ram));
	if (!ram)
		return kb_fail(err, ENOMEM, "out of memory adding memory %s", name);
	ram->region = (struct kb_region){
		.name = name, .base = base, .size = size, .readonly = flags & KB_RAM_READONLY,
	};
	ram->slot = free_slot(vm);
	if (ram->slot >= vm->max_slots) {
		free(ram);
		return kb_fail(err, ENOSPC, "no KVM memory slot left for %s (this host has %u)", name, vm->max_slots);
	}
	rc = map_pages(vm, ram, base, size, flags & KB_RAM_HUGEPAGES);
	if (rc) {
		kb_fail(err, -rc, "cannot get %" PRIu64 " MiB of host memory for %s: %s; ask for less (ram=)",
			size >> 20, name, strerror(-rc));
		goto fail;
	}
	rc = kb_bus_add(&vm->mem, &ram->region, err);
	if (rc)
		goto fail;
	rc = set_slot(vm, ram, true);
	if (rc < 0) {
		kb_fail(err, -rc, "KVM refuses memory %s at 0x%" PRIx64 ", 0x%" PRIx64 " bytes (KVM_SET_USER_MEMORY_REGION): %s",
			name, base, size, strerror(-rc));
		kb_bus_remove(&vm->mem, &ram->region);
		goto fail;
	}
	ram->next = vm->ram;
	vm->ram = ram;
	if (out)
		*out = ram;
	return 0;
fail:
	free_ram(vm, ram);
	return rc;
}

void kb_vm_remove_ram(struct kb_vm *vm, struct kb_ram *ram)
{
	struct kb_ram **p;

	for (p = &vm->ram; *p && *p != ram; p = &(*p)->next)
		;
	if (!*p)
		return;
	*p = ram->next;
	kb_bus_remove(&vm->mem, &ram->region);
	if (set_slot(vm, ram, false) < 0) {
		/* KVM may still reach the pages: better to leak them than to let the guest write to freed ones. */
		kb_logf(vm->log, KVMBOX_LOG_ERROR, "KVM does not give memory %s back; its pages are kept", ram->region.name);
		ram->map = NULL;
	}
	free_ram(vm, ram);
}
