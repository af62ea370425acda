/* The reference loop: see raw.h. Set-up is the library's, the loop is not. */
#include "tests/bench/raw.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "platforms/boot.h"
#include "platforms/config.h"
#include "platforms/tables.h"
#include "tests/bench/accesses.h"
#include "vcpu/vcpu.h"

#define RAM_SIZE (64ull << 20)

struct raw {
	struct kb_vm *vm;
	struct kb_vcpu *v;
};

static int make(struct raw *r, const char *guest, struct kvmbox_error *err)
{
	static const struct kb_vcpu_client none;
	struct kvmbox_config cfg;
	const struct kb_tables_config tables = { .ram_below_4g = RAM_SIZE };
	struct kb_boot boot;
	struct kb_firmware fw;
	struct kb_cpuid cpuid;
	int rc = kb_vm_create(&r->vm, &kb_kvm_linux, NULL, err);

	if (!rc)
		rc = kb_vm_add_ram(r->vm, "RAM", 0, RAM_SIZE, KB_RAM_HUGEPAGES, NULL, err);
	if (!rc)
		rc = kb_cpuid_supported(&cpuid, &kb_kvm_linux, r->vm->kvm_fd, err);
	if (rc)
		return rc;
	kb_cpuid_fit(&cpuid, 0, 1);
	rc = kb_vcpu_create(&r->v, r->vm, 0, &cpuid, &none, err);
	if (rc)
		return rc;
	r->v->run->kvm_valid_regs = 0; /* a bare loop asks for nothing */
	kvmbox_config_init(&cfg);
	rc = kvmbox_config_set(&cfg, "guest", guest, err);
	if (!rc)
		rc = kb_load_guest(&r->vm->mem, &cfg, &tables, &boot, &fw, err);
	kvmbox_config_clear(&cfg);
	if (rc)
		return rc;
	kb_boot_write_tables(&r->vm->mem, &boot, false);
	return kb_vcpu_start_long64(r->v, boot.entry, KB_BOOT_STACK_TOP, KB_BOOT_GDT, KB_BOOT_PML4, err);
}

struct raw *raw_create(const char *guest, struct kvmbox_error *err)
{
	struct raw *r = calloc(1, sizeof(*r));

	if (r && make(r, guest, err)) {
		raw_destroy(r);
		return NULL;
	}
	return r;
}

void raw_destroy(struct raw *r)
{
	kb_vcpu_destroy(r->v);
	kb_vm_destroy(r->vm);
	free(r);
}

int raw_block(struct raw *r, uint64_t *stamps)
{
	struct kvm_run *run = r->v->run;
	int fd = r->v->fd;
	unsigned n = 0;

	for (;;) {
		if (ioctl(fd, KVM_RUN, 0) < 0) {
			if (errno == EINTR)
				continue;
			return -1;
		}
		if (run->exit_reason != KVM_EXIT_MMIO)
			return -1;
		if (run->mmio.phys_addr == BENCH_BAR + BENCH_MARK)
			return run->mmio.data[0];
		if (n < BENCH_BLOCK)
			stamps[n++] = kb_tsc();
		if (!run->mmio.is_write)
			memset(run->mmio.data, 0x5a, 4);
	}
}
