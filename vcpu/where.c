/* Where the guest is: the part of a report that says RIP, mode and the bytes there. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vcpu/vcpu.h"
#include "vcpu/x86.h"

static const char *mode_name(const struct kvm_sregs *s, uint64_t rflags)
{
	if (!(s->cr0 & X86_CR0_PE))
		return "real mode";
	if (s->efer & X86_EFER_LMA)
		return s->cs.l ? "64-bit mode" : s->cs.db ? "32-bit compatibility mode" : "16-bit compatibility mode";
	if (rflags & X86_EFLAGS_VM)
		return "virtual-8086 mode";
	return s->cs.db ? "32-bit protected mode" : "16-bit protected mode";
}

/* One byte of guest memory at a linear address; false when it is not mapped or not RAM. */
static bool peek(struct kb_vcpu *v, uint64_t linear, uint8_t *byte)
{
	struct kvm_translation t = { .linear_address = linear };
	struct kb_region *r;

	if (kb_kvm_ioctl(v->vm->api, v->fd, KVM_TRANSLATE, &t) < 0 || !t.valid)
		return false;
	r = kb_bus_find(&v->vm->mem, t.physical_address);
	if (!r || !r->host)
		return false;
	*byte = r->host[t.physical_address - r->base];
	return true;
}

void kb_vcpu_where(struct kb_vcpu *v, char *buf, size_t size)
{
	struct kvm_regs r;
	struct kvm_sregs s;
	uint64_t linear;
	size_t n;
	int i;

	if (kb_kvm_ioctl(v->vm->api, v->fd, KVM_GET_REGS, &r) < 0 ||
	    kb_kvm_ioctl(v->vm->api, v->fd, KVM_GET_SREGS, &s) < 0) {
		snprintf(buf, size, "the guest's registers cannot be read (%s)", strerror(errno));
		return;
	}
	linear = r.rip + (s.efer & X86_EFER_LMA && s.cs.l ? 0 : s.cs.base);
	n = (size_t)snprintf(buf, size,
			     "at RIP 0x%" PRIx64 " (CS 0x%x base 0x%" PRIx64 "), %s, ring %u, RSP 0x%" PRIx64 ", RFLAGS 0x%" PRIx64
			     ", CR0 0x%" PRIx64 " CR2 0x%" PRIx64 " CR3 0x%" PRIx64 " CR4 0x%" PRIx64 " EFER 0x%" PRIx64 ", bytes there:",
			     (uint64_t)r.rip, s.cs.selector, (uint64_t)s.cs.base, mode_name(&s, r.rflags), s.cs.dpl,
			     (uint64_t)r.rsp, (uint64_t)r.rflags, (uint64_t)s.cr0, (uint64_t)s.cr2, (uint64_t)s.cr3,
			     (uint64_t)s.cr4, (uint64_t)s.efer);
	for (i = 0; i < 15 && n < size; i++) {
		uint8_t byte;

		if (!peek(v, linear + (uint64_t)i, &byte)) {
			snprintf(buf + n, size - n, i ? " (end of mapped memory)" : " none (not mapped memory)");
			return;
		}
		n += (size_t)snprintf(buf + n, size - n, " %02x", byte);
	}
}
