/* What each KVM_EXIT_* means: accesses go to the buses, ends become reports. */
#include "vcpu/exit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAME(r) [r] = #r
static const char *const exit_names[] = {
	NAME(KVM_EXIT_UNKNOWN), NAME(KVM_EXIT_EXCEPTION), NAME(KVM_EXIT_IO), NAME(KVM_EXIT_HYPERCALL),
	NAME(KVM_EXIT_DEBUG), NAME(KVM_EXIT_HLT), NAME(KVM_EXIT_MMIO), NAME(KVM_EXIT_IRQ_WINDOW_OPEN),
	NAME(KVM_EXIT_SHUTDOWN), NAME(KVM_EXIT_FAIL_ENTRY), NAME(KVM_EXIT_INTR), NAME(KVM_EXIT_SET_TPR),
	NAME(KVM_EXIT_TPR_ACCESS), NAME(KVM_EXIT_NMI), NAME(KVM_EXIT_INTERNAL_ERROR), NAME(KVM_EXIT_SYSTEM_EVENT),
	NAME(KVM_EXIT_IOAPIC_EOI), NAME(KVM_EXIT_HYPERV), NAME(KVM_EXIT_X86_RDMSR), NAME(KVM_EXIT_X86_WRMSR),
	NAME(KVM_EXIT_DIRTY_RING_FULL), NAME(KVM_EXIT_X86_BUS_LOCK), NAME(KVM_EXIT_XEN),
#ifdef KVM_EXIT_NOTIFY
	NAME(KVM_EXIT_NOTIFY),
#endif
#ifdef KVM_EXIT_MEMORY_FAULT
	NAME(KVM_EXIT_MEMORY_FAULT),
#endif
};

const char *kb_exit_name(uint32_t reason)
{
	if (reason < sizeof(exit_names) / sizeof(exit_names[0]) && exit_names[reason])
		return exit_names[reason];
	return "an exit reason this box does not know";
}

static void access_port(struct kb_vcpu *v)
{
	struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	uint32_t i;

	v->stats.exits[KB_EXIT_PIO]++;
	/* String I/O: count elements at one port; an end asked for by one of them lets the rest happen. */
	for (i = 0; i < run->io.count; i++, data += run->io.size) {
		v->client.advance(v->client.opaque);
		if (run->io.direction == KVM_EXIT_IO_IN)
			kb_bus_read(&v->vm->io, run->io.port, data, run->io.size);
		else
			kb_bus_write(&v->vm->io, run->io.port, data, run->io.size);
	}
	v->state = KB_VCPU_IO_PENDING;
}

static void access_memory(struct kb_vcpu *v)
{
	struct kvm_run *run = v->run;
	size_t len = run->mmio.len <= sizeof(run->mmio.data) ? run->mmio.len : sizeof(run->mmio.data);

	v->stats.exits[KB_EXIT_MMIO]++;
	v->client.advance(v->client.opaque);
	if (run->mmio.is_write)
		kb_bus_write(&v->vm->mem, run->mmio.phys_addr, run->mmio.data, len);
	else
		kb_bus_read(&v->vm->mem, run->mmio.phys_addr, run->mmio.data, len);
	v->state = KB_VCPU_IO_PENDING;
}

static int finish(struct kb_vcpu *v, enum kb_end end)
{
	v->end = end;
	return -EIO;
}

static const char *suberror_name(uint32_t suberror)
{
	switch (suberror) {
	case KVM_INTERNAL_ERROR_SIMUL_EX:
		return "simultaneous exceptions";
	case KVM_INTERNAL_ERROR_DELIVERY_EV:
		return "fault while delivering an event";
	case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
		return "unexpected exit of the CPU";
	default:
		return "unknown suberror";
	}
}

static int internal_error(struct kb_vcpu *v, const char *where, struct kvmbox_error *err)
{
	const struct kvm_run *run = v->run;
	char data[160] = "", name[48];
	size_t n = 0;
	uint32_t i;

	for (i = 0; i < run->internal.ndata && i < 6 && n < sizeof(data); i++)
		n += (size_t)snprintf(data + n, sizeof(data) - n, "%s%" PRIx64, i ? " " : "", (uint64_t)run->internal.data[i]);
	kb_assist_name(v, name, sizeof(name));
	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
		kb_fail(err, EIO, "KVM cannot emulate this instruction (%s), and the box does not complete it; %s. %s", name, where,
			v->assist.on ? "Use another one: plain moves for device accesses, and in ring 0 nothing unusual"
			: "With assists=auto the box completes many that KVM does not");
	else
		kb_fail(err, EIO, "KVM internal error %u (%s; data %s; instruction %s); %s. This points at guest state KVM refuses",
			run->internal.suberror, suberror_name(run->internal.suberror), data, name, where);
	return finish(v, KB_END_ERROR);
}

static int system_event(struct kb_vcpu *v, const char *where, struct kvmbox_error *err)
{
	kb_fail(err, EIO, "KVM reports system event %u (1 shutdown, 2 reset, 3 crash); %s", v->run->system_event.type, where);
	return finish(v, KB_END_SHUTDOWN);
}

/* Exits that end the run. */
static int fatal(struct kb_vcpu *v, struct kvmbox_error *err)
{
	const struct kvm_run *run = v->run;
	char where[512];

	v->stats.exits[KB_EXIT_OTHER]++;
	kb_vcpu_where(v, where, sizeof(where));
	switch (run->exit_reason) {
	case KVM_EXIT_SHUTDOWN:
		kb_fail(err, EIO, "triple fault: the guest took an exception it could not deliver (no valid IDT, stack or handler); %s", where);
		return finish(v, KB_END_SHUTDOWN);
	case KVM_EXIT_FAIL_ENTRY:
		kb_fail(err, EIO, "the CPU refused to enter the guest (KVM_EXIT_FAIL_ENTRY, hardware reason 0x%" PRIx64 " on CPU %u): invalid guest state; %s",
			(uint64_t)run->fail_entry.hardware_entry_failure_reason, run->fail_entry.cpu, where);
		return finish(v, KB_END_ERROR);
	case KVM_EXIT_INTERNAL_ERROR:
		return internal_error(v, where, err);
	case KVM_EXIT_SYSTEM_EVENT:
		return system_event(v, where, err);
	default:
		kb_fail(err, EIO, "%s (%u): the box did not ask for such exits; %s", kb_exit_name(run->exit_reason),
			run->exit_reason, where);
		return finish(v, KB_END_ERROR);
	}
}

/* What KVM gave up on the box may complete. */
static int gave_up(struct kb_vcpu *v, struct kvmbox_error *err)
{
	int rc = v->run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION ? kb_assist_insn(v, err) : 1;

	if (rc > 0)
		return fatal(v, err);
	v->stats.exits[KB_EXIT_ASSIST]++;
	return rc;
}

int kb_exit_handle(struct kb_vcpu *v, struct kvmbox_error *err)
{
	switch (v->run->exit_reason) {
	case KVM_EXIT_MMIO:
		access_memory(v);
		return 0;
	case KVM_EXIT_IO:
		access_port(v);
		return 0;
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		kb_msr_exit(v);
		return 0;
	case KVM_EXIT_HLT:
		v->stats.exits[KB_EXIT_HLT]++;
		v->state = KB_VCPU_HALTED;
		return 0;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		v->stats.exits[KB_EXIT_WINDOW]++;
		return 0;
	case KVM_EXIT_INTERNAL_ERROR:
		return gave_up(v, err);
	case KVM_EXIT_DEBUG:
		if (!kb_assist_debug(v))
			return fatal(v, err);
		v->stats.exits[KB_EXIT_ASSIST]++;
		return 0;
	case KVM_EXIT_INTR:
	case KVM_EXIT_SET_TPR: /* CR8 is looked at after every exit */
	case KVM_EXIT_NMI:
		v->stats.exits[KB_EXIT_OTHER]++;
		return 0;
	default:
		return fatal(v, err);
	}
}
