/* Registers and memory operands of assisted instructions (Intel SDM vol. 1, 3.7; vol. 3, 4 and 5): see assist_insn.h. */
#include <string.h>

#include "vcpu/assist_insn.h"
#include "vcpu/linear.h"
#include "vcpu/x86.h"

/* ---- general registers ------------------------------------------------------ */

static const uint8_t gpr_offset[16] = {
	offsetof(struct kvm_regs, rax), offsetof(struct kvm_regs, rcx), offsetof(struct kvm_regs, rdx), offsetof(struct kvm_regs, rbx),
	offsetof(struct kvm_regs, rsp), offsetof(struct kvm_regs, rbp), offsetof(struct kvm_regs, rsi), offsetof(struct kvm_regs, rdi),
	offsetof(struct kvm_regs, r8), offsetof(struct kvm_regs, r9), offsetof(struct kvm_regs, r10), offsetof(struct kvm_regs, r11),
	offsetof(struct kvm_regs, r12), offsetof(struct kvm_regs, r13), offsetof(struct kvm_regs, r14), offsetof(struct kvm_regs, r15),
};

static uint64_t load(const struct kb_assisted *a, unsigned id)
{
	uint64_t value;

	memcpy(&value, (const char *)&a->r + gpr_offset[id & 15], sizeof(value));
	return value;
}

static void store(struct kb_assisted *a, unsigned id, uint64_t value)
{
	memcpy((char *)&a->r + gpr_offset[id & 15], &value, sizeof(value));
}

uint64_t kb_assist_gpr(const struct kb_assisted *a, ZydisRegister reg)
{
	unsigned id = (unsigned)ZydisRegisterGetId(reg);

	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR64:
		return load(a, id);
	case ZYDIS_REGCLASS_GPR32:
		return load(a, id) & 0xffffffffu;
	case ZYDIS_REGCLASS_GPR16:
		return load(a, id) & 0xffffu;
	default:
		return 0;
	}
}

void kb_assist_set_gpr(struct kb_assisted *a, ZydisRegister reg, uint64_t value)
{
	unsigned id = (unsigned)ZydisRegisterGetId(reg);

	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR64:
		store(a, id, value);
		break;
	case ZYDIS_REGCLASS_GPR32:
		store(a, id, value & 0xffffffffu);
		break;
	case ZYDIS_REGCLASS_GPR16:
		store(a, id, (load(a, id) & ~0xffffull) | (value & 0xffffu));
		break;
	default:
		break;
	}
}

/* ---- addresses ---------------------------------------------------------------- */

static const struct kvm_segment *segment(const struct kb_assisted *a, ZydisRegister reg)
{
	switch (reg) {
	case ZYDIS_REGISTER_ES:
		return &a->s->es;
	case ZYDIS_REGISTER_CS:
		return &a->s->cs;
	case ZYDIS_REGISTER_SS:
		return &a->s->ss;
	case ZYDIS_REGISTER_FS:
		return &a->s->fs;
	case ZYDIS_REGISTER_GS:
		return &a->s->gs;
	default:
		return &a->s->ds;
	}
}

static uint64_t effective(const struct kb_assisted *a, const ZydisDecodedOperand *op)
{
	const ZydisDecodedOperandMem *m = &op->mem;
	uint64_t ea = m->disp.has_displacement ? (uint64_t)m->disp.value : 0;

	if (ZydisRegisterGetClass(m->base) == ZYDIS_REGCLASS_IP)
		ea += a->r.rip + a->in.length;
	else if (m->base != ZYDIS_REGISTER_NONE)
		ea += kb_assist_gpr(a, m->base);
	if (m->index != ZYDIS_REGISTER_NONE)
		ea += kb_assist_gpr(a, m->index) * m->scale;
	if (a->in.address_width < 64)
		ea &= (1ull << a->in.address_width) - 1;
	return ea;
}

/* Protected mode's checks (SDM vol. 3, 5.3-5.5); real mode's are the limit's. */
static bool allowed(const struct kb_assisted *a, const struct kvm_segment *seg, uint64_t ea, size_t size, bool write)
{
	bool code = seg->type & 8, down = !code && seg->type & 4;
	uint64_t last = ea + size - 1, top = seg->db ? 0xffffffffu : 0xffffu;

	if (a->s->cr0 & X86_CR0_PE &&
	    (seg->unusable || !seg->present || (write && (code || !(seg->type & 2))) || (!write && code && !(seg->type & 2))))
		return false;
	return down ? ea > seg->limit && last <= top : last <= seg->limit;
}

int kb_assist_address(struct kb_assisted *a, const ZydisDecodedOperand *op, size_t size, bool write, uint64_t *linear)
{
	const struct kvm_segment *seg = segment(a, op->mem.segment);
	int vector = op->mem.segment == ZYDIS_REGISTER_SS ? X86_VECTOR_SS : X86_VECTOR_GP;
	uint64_t ea = effective(a, op);

	if (!a->code64) {
		if (!allowed(a, seg, ea, size, write))
			return kb_assist_fault_code(a, vector, 0);
		*linear = (seg->base + ea) & 0xffffffffu;
		return KB_ASSIST_DONE;
	}
	if (seg == &a->s->fs || seg == &a->s->gs)
		ea += seg->base;
	*linear = ea;
	if (!kb_linear_canonical(a->v, ea) || !kb_linear_canonical(a->v, ea + size - 1))
		return kb_assist_fault_code(a, vector, 0);
	return KB_ASSIST_DONE;
}

/* ---- memory --------------------------------------------------------------------- */

int kb_assist_map(struct kb_assisted *a, uint64_t linear, size_t size, bool write, struct kb_assist_span *span)
{
	unsigned access = (write ? (unsigned)KB_LINEAR_WRITE : 0) | (a->user ? (unsigned)KB_LINEAR_USER : 0) |
		(a->r.rflags & X86_EFLAGS_AC ? (unsigned)KB_LINEAR_AC : 0);
	size_t done, n;

	*span = (struct kb_assist_span){ .linear = linear, .size = size };
	for (done = 0; done < size; done += n) {
		uint64_t at = a->code64 ? linear + done : (linear + done) & 0xffffffffu;

		n = 0x1000 - (size_t)(at & 0xfff);
		if (n > size - done)
			n = size - done;
		if (!kb_linear_access(a->v, at, access, &span->part[span->parts].pa, &a->error)) {
			a->cr2 = at;
			return kb_assist_fault_code(a, X86_VECTOR_PF, a->error);
		}
		span->part[span->parts++].size = n;
	}
	return KB_ASSIST_DONE;
}

int kb_assist_operand(struct kb_assisted *a, const ZydisDecodedOperand *op, size_t size, bool write, struct kb_assist_span *span)
{
	uint64_t linear;
	int end = kb_assist_address(a, op, size, write, &linear);

	return end ? end : kb_assist_map(a, linear, size, write, span);
}

/* What a device gets at a time, as from KVM: up to 8 bytes. The exit it costs is one that any host would make. */
static void access_device(struct kb_vcpu *v, uint64_t pa, uint8_t *buf, size_t size, bool write)
{
	size_t n;

	for (; size; pa += n, buf += n, size -= n) {
		n = size < 8 ? size : 8;
		kb_clock_exit(&v->clock);
		v->client.advance(v->client.opaque);
		if (write)
			kb_bus_write(&v->vm->mem, pa, buf, n);
		else
			kb_bus_read(&v->vm->mem, pa, buf, n);
	}
}

static void access_part(struct kb_vcpu *v, uint64_t pa, uint8_t *buf, size_t size, bool write)
{
	uint64_t left;
	uint8_t *p = kb_linear_host(v, pa, write, &left);

	if (!p || left < size)
		access_device(v, pa, buf, size, write);
	else if (write)
		memcpy(p, buf, size);
	else
		memcpy(buf, p, size);
}

static void access_span(struct kb_assisted *a, const struct kb_assist_span *span, size_t off, uint8_t *buf, size_t size, bool write)
{
	unsigned i;

	for (i = 0; i < span->parts && size; i++) {
		size_t here = span->part[i].size, n;

		if (off >= here) {
			off -= here;
			continue;
		}
		n = here - off < size ? here - off : size;
		access_part(a->v, span->part[i].pa + off, buf, n, write);
		buf += n;
		size -= n;
		off = 0;
	}
}

void kb_assist_read(struct kb_assisted *a, const struct kb_assist_span *span, size_t off, void *buf, size_t size)
{
	access_span(a, span, off, buf, size, false);
}

void kb_assist_write(struct kb_assisted *a, const struct kb_assist_span *span, size_t off, const void *buf, size_t size)
{
	access_span(a, span, off, (uint8_t *)(uintptr_t)buf, size, true);
}

void *kb_assist_host(struct kb_assisted *a, const struct kb_assist_span *span)
{
	uint64_t left;
	uint8_t *p = span->parts == 1 ? kb_linear_host(a->v, span->part[0].pa, true, &left) : NULL;

	return p && left >= span->size ? p : NULL;
}
