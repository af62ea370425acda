/* Completing instructions that KVM cannot: see assist.h. */
#include "vcpu/assist.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vcpu/assist_insn.h"
#include "vcpu/linear.h"
#include "vcpu/step_user.h"
#include "vcpu/x86.h"

#define DR6_BS 0x4000u

static struct kvm_regs *regs(struct kb_vcpu *v)
{
	return &v->run->s.regs.regs;
}

static struct kvm_sregs *sregs(struct kb_vcpu *v)
{
	return &v->run->s.regs.sregs;
}

int kb_assist_call(struct kb_vcpu *v, unsigned long request, void *arg, struct kvmbox_error *err)
{
	int rc = kb_kvm_ioctl(v->vm->api, v->fd, request, arg);

	return rc < 0 ? kb_fail(err, -rc, "completing an instruction: %s failed on vCPU %u: %s", kb_kvm_request_name(request), v->id,
				strerror(-rc)) : 0;
}

int kb_assist_fault(struct kb_assisted *a, int vector)
{
	a->vector = vector;
	a->has_error = false;
	return KB_ASSIST_FAULTED;
}

int kb_assist_fault_code(struct kb_assisted *a, int vector, uint32_t error)
{
	a->vector = vector;
	a->has_error = true;
	a->error = error;
	return KB_ASSIST_FAULTED;
}

const char *kb_assist_kind_name(enum kb_assist_kind kind)
{
	static const char *const names[KB_ASSIST_KINDS] = {
		"system calls", "page faults looked at", "INT and IRET", "XSAVE and XRSTOR", "system instructions",
		"integer instructions", "run by the CPU", "undefined instructions",
	};

	return names[kind];
}

/* ---- decoding ------------------------------------------------------------------ */

static void make_decoder(ZydisDecoder *d, const struct kvm_sregs *s)
{
	if (kb_code64(s))
		ZydisDecoderInit(d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	else if (!(s->cr0 & X86_CR0_PE))
		ZydisDecoderInit(d, ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16);
	else if (s->cs.db)
		ZydisDecoderInit(d, ZYDIS_MACHINE_MODE_LEGACY_32, s->ss.db ? ZYDIS_STACK_WIDTH_32 : ZYDIS_STACK_WIDTH_16);
	else
		ZydisDecoderInit(d, ZYDIS_MACHINE_MODE_LEGACY_16, s->ss.db ? ZYDIS_STACK_WIDTH_32 : ZYDIS_STACK_WIDTH_16);
}

static ZyanStatus decode(struct kb_vcpu *v, uint8_t bytes[15], ZydisDecodedInstruction *in, ZydisDecodedOperand *op)
{
	const struct kvm_sregs *s = sregs(v);
	uint64_t rip = kb_code64(s) ? regs(v)->rip : (s->cs.base + regs(v)->rip) & 0xffffffffu;
	ZydisDecoder d;
	size_t n = kb_linear_read(v, rip, bytes, 15);

	make_decoder(&d, s);
	return ZydisDecoderDecodeFull(&d, bytes, n, in, op);
}

void kb_assist_name(struct kb_vcpu *v, char *buf, unsigned size)
{
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction in;
	uint8_t bytes[15];

	if (v->sync_regs && ZYAN_SUCCESS(decode(v, bytes, &in, op)))
		snprintf(buf, size, "%s, %u bytes", ZydisMnemonicGetString(in.mnemonic), in.length);
	else
		snprintf(buf, size, "?");
}

/* What the CPU would make of bytes that are no instruction. */
static int undecodable(struct kb_assisted *a, ZyanStatus status)
{
	a->kind = KB_ASSIST_UNDEFINED;
	if (status == ZYDIS_STATUS_NO_MORE_DATA || !a->v->assist.needs.insns) /* not all of it is in memory: KVM should have seen that */
		return KB_ASSIST_CANNOT;
	return status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG ? kb_assist_fault_code(a, X86_VECTOR_GP, 0) :
		kb_assist_fault(a, X86_VECTOR_UD);
}

/* ---- the end of one --------------------------------------------------------------- */

int kb_assist_inject(struct kb_vcpu *v, int vector, bool soft_interrupt, bool has_error, uint32_t error, struct kvmbox_error *err)
{
	struct kvm_vcpu_events e;
	int rc = kb_step_flush(v, err);

	if (!rc)
		rc = kb_assist_call(v, KVM_GET_VCPU_EVENTS, &e, err);
	if (rc)
		return rc;
	e.interrupt.shadow = 0;
	if (soft_interrupt) {
		e.interrupt.injected = 1;
		e.interrupt.soft = 1;
		e.interrupt.nr = (uint8_t)vector;
	} else {
		e.exception.injected = 1;
		e.exception.pending = 0;
		e.exception.nr = (uint8_t)vector;
		e.exception.has_error_code = has_error;
		e.exception.error_code = error;
	}
	v->run->ready_for_interrupt_injection = 0;
	v->view.event = true;
	kb_step_injected(v, vector);
	return kb_assist_call(v, KVM_SET_VCPU_EVENTS, &e, err);
}

/* The instruction after STI or MOV SS has been executed: KVM is not to hold interrupts off for another one. */
static int end_shadow(struct kb_vcpu *v, struct kvmbox_error *err)
{
	struct kvm_vcpu_events e;
	int rc;

	if (!v->run->if_flag || v->run->ready_for_interrupt_injection)
		return 0;
	rc = kb_assist_call(v, KVM_GET_VCPU_EVENTS, &e, err);
	if (rc || !e.interrupt.shadow)
		return rc;
	e.interrupt.shadow = 0;
	v->run->ready_for_interrupt_injection = 1;
	return kb_assist_call(v, KVM_SET_VCPU_EVENTS, &e, err);
}

/* The trap behind an instruction of a guest that steps itself. */
static int single_step(struct kb_vcpu *v, struct kvmbox_error *err)
{
	struct kvm_debugregs d;
	int rc = kb_assist_call(v, KVM_GET_DEBUGREGS, &d, err);

	if (rc)
		return rc;
	d.dr6 |= DR6_BS;
	rc = kb_assist_call(v, KVM_SET_DEBUGREGS, &d, err);
	return rc ? rc : kb_assist_inject(v, X86_VECTOR_DB, false, false, 0, err);
}

static int complete(struct kb_assisted *a, bool moved, struct kvmbox_error *err)
{
	struct kb_vcpu *v = a->v;
	bool trap = regs(v)->rflags & X86_EFLAGS_TF && !v->step.armed && a->vector < 0;

	if (!moved) {
		a->r.rip += a->in.length;
		if (!a->code64)
			a->r.rip &= 0xffffffffu;
		a->r.rflags &= ~(uint64_t)X86_EFLAGS_RF;
	}
	*regs(v) = a->r;
	v->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
	kb_step_completed(v);
	return trap ? single_step(v, err) : a->vector < 0 ? end_shadow(v, err) : 0;
}

static int fault(struct kb_assisted *a, struct kvmbox_error *err)
{
	struct kb_vcpu *v = a->v;

	regs(v)->rflags |= X86_EFLAGS_RF;
	v->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
	if (a->vector == X86_VECTOR_PF) {
		sregs(v)->cr2 = a->cr2;
		v->run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
	}
	return kb_assist_inject(v, a->vector, false, a->has_error, a->error, err);
}

/* ---- the way in ------------------------------------------------------------------- */

static int dispatch(struct kb_assisted *a, struct kvmbox_error *err)
{
	int end = kb_assist_integer(a);

	if (end == KB_ASSIST_CANNOT)
		end = kb_assist_xsave(a, err);
	if (end == KB_ASSIST_CANNOT)
		end = kb_assist_system(a, err);
	if (end == KB_ASSIST_CANNOT)
		end = kb_assist_run_native(a, err);
	return end;
}

int kb_assist_insn(struct kb_vcpu *v, struct kvmbox_error *err)
{
	struct kb_assisted a = { .v = v, .vector = -1, .kind = KB_ASSIST_SYSTEM };
	ZyanStatus status;
	int end;

	if (!v->assist.on || !v->sync_regs)
		return 1;
	a.r = *regs(v);
	a.s = sregs(v);
	a.user = kb_user(a.s);
	a.code64 = kb_code64(a.s);
	status = decode(v, a.bytes, &a.in, a.op);
	end = ZYAN_SUCCESS(status) ? dispatch(&a, err) : undecodable(&a, status);
	if (end == KB_ASSIST_CANNOT)
		return 1;
	if (end < 0)
		return end;
	v->stats.assists[a.kind]++;
	if (end == KB_ASSIST_FAULTED)
		return fault(&a, err);
	end = complete(&a, end == KB_ASSIST_MOVED, err);
	if (!end && a.vector >= 0) /* INT: the gate's way in */
		end = kb_assist_inject(v, a.vector, a.vector != X86_VECTOR_DB && a.vector != X86_VECTOR_BP && a.vector != X86_VECTOR_OF,
				       false, 0, err);
	return end;
}

#define HYPERCALL_UNKNOWN (-1000ll) /* KVM_ENOSYS (linux/kvm_para.h) */

void kb_assist_kicked(struct kb_vcpu *v)
{
	const struct kvm_sregs *s = sregs(v);
	uint8_t b[3];

	if (!v->assist.needs.hypercall || !v->sync_regs || kb_user(s) ||
	    kb_linear_read(v, kb_code64(s) ? regs(v)->rip : (s->cs.base + regs(v)->rip) & 0xffffffffu, b, 3) != 3 ||
	    b[0] != 0x0f || b[1] != 0x01 || (b[2] != 0xc1 && b[2] != 0xd9)) /* VMCALL, VMMCALL */
		return;
	regs(v)->rax = (uint64_t)HYPERCALL_UNKNOWN & (kb_code64(s) ? UINT64_MAX : UINT32_MAX);
	regs(v)->rip += 3;
	v->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
	v->stats.assists[KB_ASSIST_SYSTEM]++;
	kb_step_completed(v);
}

/* ---- life ---------------------------------------------------------------------------- */

static bool take_syscall_msr(void *opaque, uint32_t index, uint64_t value)
{
	struct kb_vcpu *v = opaque;
	struct { /* struct kvm_msrs */
		uint32_t nmsrs, pad;
		struct kvm_msr_entry entry;
	} m = { .nmsrs = 1, .entry = { .index = index, .data = value } };

	if (kb_kvm_ioctl(v->vm->api, v->fd, KVM_SET_MSRS, &m) != 1)
		return false;
	if (index == X86_MSR_LSTAR)
		v->assist.lstar = value;
	else if (index == X86_MSR_FMASK)
		v->assist.fmask = value;
	return true;
}

int kb_assist_init(struct kb_vcpu *v, const struct kb_assist_needs *needs, struct kvmbox_error *err)
{
	const struct kb_msr_range range = {
		.first = X86_MSR_LSTAR, .count = X86_MSR_FMASK - X86_MSR_LSTAR + 1, .take_writes = true, .write = take_syscall_msr,
		.opaque = v,
	};

	v->assist.on = true;
	v->assist.needs = *needs;
	return needs->syscall ? kb_msrs_add(&v->msrs, &range, err) : 0;
}

void kb_assist_log(const struct kb_log *log, const uint64_t assists[KB_ASSIST_KINDS])
{
	char text[400] = "";
	size_t n = 0;
	int i;

	for (i = 0; i < KB_ASSIST_KINDS; i++)
		if (assists[i] && n < sizeof(text))
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%" PRIu64 " %s", n ? ", " : "", assists[i],
					      kb_assist_kind_name((enum kb_assist_kind)i));
	if (n)
		kb_logf(log, KVMBOX_LOG_INFO, "completed in KVM's place: %s", text);
}
