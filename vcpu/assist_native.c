/*
 * Instructions that only compute are left to the CPU: it executes them in ring 3 of a VM of their own, on the guest's registers and with the
 * memory operand copied. Vector, x87, BMI and the like, thousands in all, with the results, flags and exceptions that the CPU gives them.
 *
 * The instruction keeps its bytes but for its memory operand, which becomes an absolute address (Intel SDM vol. 2, 2.1-2.7). It is the
 * guest's choice, so it runs where it can do no harm: a VM that has nothing but itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vcpu/assist_insn.h"
#include "vcpu/assist_state.h"
#include "vcpu/linear.h"
#include "vcpu/probe_guest.h"
#include "vcpu/probe_vm.h"
#include "vcpu/x86.h"

#define OPERAND_MAX 512u /* FXSAVE's */

struct kb_assist_native {
	struct kb_probe_vm g;
};

enum kind { NONE, INTEGER, X87, MMX, SSE, AVX, AVX512 };

static enum kind kind_of(const struct kb_assisted *a)
{
	const bool vex = a->in.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;

	switch (a->in.meta.isa_ext) {
	case ZYDIS_ISA_EXT_ADOX_ADCX: case ZYDIS_ISA_EXT_BMI1: case ZYDIS_ISA_EXT_BMI2: case ZYDIS_ISA_EXT_LZCNT:
	case ZYDIS_ISA_EXT_MOVBE: case ZYDIS_ISA_EXT_TBM:
		return INTEGER;
	case ZYDIS_ISA_EXT_X87:
		return X87;
	case ZYDIS_ISA_EXT_MMX:
		return MMX;
	case ZYDIS_ISA_EXT_SSE: case ZYDIS_ISA_EXT_SSE2: case ZYDIS_ISA_EXT_SSE3: case ZYDIS_ISA_EXT_SSSE3: case ZYDIS_ISA_EXT_SSE4A:
	case ZYDIS_ISA_EXT_AES: case ZYDIS_ISA_EXT_PCLMULQDQ: case ZYDIS_ISA_EXT_SHA:
		return SSE;
	case ZYDIS_ISA_EXT_SSE4:
		return a->in.mnemonic == ZYDIS_MNEMONIC_CRC32 ? INTEGER : SSE;
	case ZYDIS_ISA_EXT_AVX: case ZYDIS_ISA_EXT_AVX2: case ZYDIS_ISA_EXT_F16C: case ZYDIS_ISA_EXT_FMA: case ZYDIS_ISA_EXT_AVXAES:
	case ZYDIS_ISA_EXT_VAES: case ZYDIS_ISA_EXT_VPCLMULQDQ: case ZYDIS_ISA_EXT_AVX_VNNI: case ZYDIS_ISA_EXT_GFNI:
	case ZYDIS_ISA_EXT_AVX512EVEX: case ZYDIS_ISA_EXT_AVX512VEX:
		return a->in.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY ? SSE :
			vex && a->in.meta.isa_ext != ZYDIS_ISA_EXT_AVX512VEX ? AVX : AVX512;
	default:
		return NONE;
	}
}

/* What may be left to the CPU: registers that go along, and one memory operand with an address of its own. */
static bool suits(const struct kb_assisted *a, const ZydisDecodedOperand **mem)
{
	unsigned i;

	*mem = NULL;
	if (a->in.attributes & (ZYDIS_ATTRIB_HAS_LOCK | ZYDIS_ATTRIB_IS_PRIVILEGED))
		return false;
	if (!a->code64 && (!a->s->cs.db || (a->in.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && a->in.raw.vex.W)))
		return false;
	for (i = 0; i < a->in.operand_count; i++) {
		const ZydisDecodedOperand *op = &a->op[i];

		if (op->type == ZYDIS_OPERAND_TYPE_REGISTER) {
			ZydisRegisterClass c = ZydisRegisterGetClass(op->reg.value);

			if (c == ZYDIS_REGCLASS_SEGMENT || c == ZYDIS_REGCLASS_IP || c == ZYDIS_REGCLASS_DEBUG || c == ZYDIS_REGCLASS_TABLE)
				return false;
		} else if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
			if (*mem || op->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT || op->mem.type != ZYDIS_MEMOP_TYPE_MEM ||
			    op->size > 8 * OPERAND_MAX || !op->size)
				return false;
			*mem = op;
		} else if (op->type == ZYDIS_OPERAND_TYPE_POINTER) {
			return false;
		}
	}
	return true;
}

/* Would the CPU let the guest use these registers (SDM vol. 3, 2.5 and 13.1; vol. 2, 2.4)? */
static int allowed(struct kb_assisted *a, enum kind kind, struct kvmbox_error *err)
{
	const uint64_t cr0 = a->s->cr0;
	const uint64_t wanted = kind == AVX512 ? 0xe6 : 6;
	uint64_t xcr0;
	int rc;

	if (kind == INTEGER)
		return KB_ASSIST_DONE;
	if (kind == X87)
		return cr0 & (X86_CR0_EM | X86_CR0_TS) ? kb_assist_fault(a, X86_VECTOR_NM) : KB_ASSIST_DONE;
	if (cr0 & X86_CR0_EM && kind < AVX)
		return kb_assist_fault(a, X86_VECTOR_UD);
	if (kind == SSE && !(a->s->cr4 & X86_CR4_OSFXSR))
		return kb_assist_fault(a, X86_VECTOR_UD);
	if (kind >= AVX) {
		if (!(a->s->cr4 & X86_CR4_OSXSAVE))
			return kb_assist_fault(a, X86_VECTOR_UD);
		rc = kb_fpu_xcr0(a->v, &xcr0, err);
		if (rc)
			return rc;
		if ((xcr0 & wanted) != wanted)
			return kb_assist_fault(a, X86_VECTOR_UD);
	}
	return cr0 & X86_CR0_TS ? kb_assist_fault(a, X86_VECTOR_NM) : KB_ASSIST_DONE;
}

/* ---- the instruction, and what it works on ------------------------------------------ */

/* Clears the bit that extends SIB's index, which is to be none. */
static void no_index(const ZydisDecodedInstruction *in, uint8_t *b)
{
	switch (in->encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_LEGACY:
		if (in->attributes & ZYDIS_ATTRIB_HAS_REX)
			b[in->raw.rex.offset] &= 0xfd;
		break;
	case ZYDIS_INSTRUCTION_ENCODING_VEX:
		if (b[in->raw.vex.offset] == 0xc4)
			b[in->raw.vex.offset + 1] |= 0x40; /* inverted there */
		break;
	case ZYDIS_INSTRUCTION_ENCODING_EVEX:
		b[in->raw.evex.offset + 1] |= 0x40;
		b[in->raw.evex.offset + 3] |= 0x08; /* V' */
		break;
	default:
		break;
	}
}

/* The bytes with a memory operand at address; 0: too long. */
static size_t rewrite(const struct kb_assisted *a, uint8_t out[32], bool memory, uint32_t address)
{
	const ZydisDecodedInstruction *in = &a->in;
	const uint8_t *imm;
	uint8_t *p = out;
	size_t head = in->raw.modrm.offset, tail;

	if (!memory) {
		memcpy(out, a->bytes, in->length);
		return in->length;
	}
	memcpy(p, a->bytes, head);
	no_index(in, p);
	p += head;
	*p++ = (uint8_t)(in->raw.modrm.reg << 3 | 4);
	*p++ = 0x25; /* no base, no index */
	memcpy(p, &address, 4);
	p += 4;
	imm = a->bytes + (in->raw.disp.size ? in->raw.disp.offset + in->raw.disp.size / 8u :
			  in->raw.sib.offset ? in->raw.sib.offset + 1u : head + 1);
	tail = (size_t)(a->bytes + in->length - imm);
	memcpy(p, imm, tail);
	p += tail;
	return p - out <= 15 ? (size_t)(p - out) : 0;
}

static struct kb_assist_native *native(struct kb_vcpu *v, struct kvmbox_error *err)
{
	struct kb_assist_native *n = v->assist.native;
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0] = { .value = 0xe7 } };
	int rc;

	if (n)
		return n;
	n = calloc(1, sizeof(*n));
	if (!n) {
		kb_fail(err, ENOMEM, "out of memory for a VM to complete instructions in");
		return NULL;
	}
	rc = kb_probe_vm_create(&n->g, v->vm->api, v->vm->kvm_fd);
	if (rc < 0) {
		kb_fail(err, -rc, "no VM to complete instructions in: %s: %s", kb_kvm_request_name(n->g.failed), strerror(-rc));
		kb_probe_vm_destroy(&n->g);
		free(n);
		return NULL;
	}
	n->g.cr4 = X86_CR4_OSXSAVE; /* as much of the vector state as there is */
	if (kb_probe_start(&n->g, kb_pg_out, 3, 0) < 0)
		n->g.cr4 = 0;
	else if (kb_kvm_ioctl(v->vm->api, n->g.vcpu, KVM_SET_XCRS, &xcrs) < 0) {
		xcrs.xcrs[0].value = 7;
		kb_kvm_ioctl(v->vm->api, n->g.vcpu, KVM_SET_XCRS, &xcrs);
	}
	return v->assist.native = n;
}

void kb_assist_destroy(struct kb_vcpu *v)
{
	if (!v->assist.native)
		return;
	kb_probe_vm_destroy(&v->assist.native->g);
	free(v->assist.native);
	v->assist.native = NULL;
}

static int call(struct kb_probe_vm *g, unsigned long request, void *arg, struct kvmbox_error *err)
{
	int rc = kb_kvm_ioctl(g->api, g->vcpu, request, arg);

	return rc < 0 ? kb_fail(err, -rc, "completing an instruction: %s failed: %s", kb_kvm_request_name(request), strerror(-rc)) : 0;
}

/* Loads the registers. */
static int enter(struct kb_assisted *a, struct kb_probe_vm *g, const struct kb_fpu *fpu, struct kvmbox_error *err)
{
	struct kvm_regs r = a->r;
	int rc = kb_probe_start(g, kb_pg_out, 3, 0);

	if (rc < 0)
		return kb_fail(err, -rc, "completing an instruction: %s failed: %s", kb_kvm_request_name(g->failed), strerror(-rc));
	r.rip = PG_INSN;
	r.rflags = (r.rflags & X86_EFLAGS_STATUS) | X86_EFLAGS_FIXED;
	rc = call(g, KVM_SET_REGS, &r, err);
	if (!rc && fpu)
		rc = call(g, KVM_SET_XSAVE, (void *)(uintptr_t)fpu->area, err);
	return rc;
}

/* KB_ASSIST_DONE, or the exception that the CPU raised. */
static int outcome(struct kb_assisted *a, struct kb_probe_vm *g, bool unaligned)
{
	uint32_t vector;

	if (kb_probe_at_port(g, PG_PORT_OUT))
		return KB_ASSIST_DONE;
	if (!kb_probe_at_port(g, PG_PORT_TRAP) || g->run->io.size != 4 || g->run->io.data_offset > g->run_size - 4)
		return KB_ASSIST_CANNOT;
	memcpy(&vector, (const uint8_t *)g->run + g->run->io.data_offset, 4);
	switch (vector) {
	case X86_VECTOR_GP: case X86_VECTOR_SS:
		return kb_assist_fault_code(a, X86_VECTOR_GP, 0);
	case X86_VECTOR_XM:
		return kb_assist_fault(a, a->s->cr4 & X86_CR4_OSXMMEXCPT ? X86_VECTOR_XM : X86_VECTOR_UD);
	case X86_VECTOR_MF:
		return a->s->cr0 & X86_CR0_NE ? kb_assist_fault(a, X86_VECTOR_MF) : KB_ASSIST_CANNOT;
	case X86_VECTOR_UD:
		if (unaligned) /* a #GP in ring 3, which kvm_pvm makes this of */
			return kb_assist_fault_code(a, X86_VECTOR_GP, 0);
		return kb_assist_fault(a, X86_VECTOR_UD);
	case 0:
		return kb_assist_fault(a, 0);
	default:
		return KB_ASSIST_CANNOT;
	}
}

static int execute(struct kb_assisted *a, struct kb_probe_vm *g, bool fpu, bool unaligned, struct kvmbox_error *err)
{
	struct kvm_regs r;
	struct kb_fpu state;
	int rc = fpu ? kb_fpu_get(&state, a->v, err) : 0, end;

	if (!rc)
		rc = enter(a, g, fpu ? &state : NULL, err);
	if (rc)
		return rc;
	rc = kb_probe_run(g);
	if (rc < 0)
		return kb_fail(err, -rc, "completing an instruction: KVM_RUN failed: %s", strerror(-rc));
	end = outcome(a, g, unaligned);
	if (end == KB_ASSIST_CANNOT)
		return end;
	if (end == KB_ASSIST_DONE) {
		rc = call(g, KVM_GET_REGS, &r, err);
		if (rc)
			return rc;
		r.rip = a->r.rip;
		r.rflags = (a->r.rflags & ~(uint64_t)X86_EFLAGS_STATUS) | (r.rflags & X86_EFLAGS_STATUS);
		a->r = r;
	}
	if (fpu) { /* with an exception, too: its flags */
		rc = call(g, KVM_GET_XSAVE, state.area, err);
		if (!rc)
			rc = kb_fpu_put(&state, a->v, err);
	}
	return rc ? rc : end;
}

/* ---- the way in ------------------------------------------------------------------------ */

/* Whether all of it lies in memory: what is written only under a mask must not be read from a device before. */
static bool in_ram(struct kb_assisted *a, const struct kb_assist_span *span)
{
	uint64_t left;
	unsigned i;

	for (i = 0; i < span->parts; i++)
		if (!kb_linear_host(a->v, span->part[i].pa, false, &left))
			return false;
	return true;
}

int kb_assist_run_native(struct kb_assisted *a, struct kvmbox_error *err)
{
	const ZydisDecodedOperand *mem;
	struct kb_assist_native *n;
	struct kb_assist_span span;
	enum kind kind = kind_of(a);
	size_t at = 0, size = 0, length;
	uint8_t insn[32];
	bool writes = false, masked;
	int end;

	if (kind == NONE || !suits(a, &mem))
		return KB_ASSIST_CANNOT;
	a->kind = KB_ASSIST_NATIVE;
	end = allowed(a, kind, err);
	if (end)
		return end;
	n = native(a->v, err);
	if (!n)
		return -EIO; /* err says why */
	if (mem) {
		size = mem->size / 8u;
		writes = mem->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
		end = kb_assist_operand(a, mem, size, writes, &span);
		if (end)
			return end;
		masked = mem->actions & (ZYDIS_OPERAND_ACTION_CONDREAD | ZYDIS_OPERAND_ACTION_CONDWRITE) ||
			a->in.avx.mask.reg > ZYDIS_REGISTER_K0;
		if (masked && !in_ram(a, &span))
			return KB_ASSIST_CANNOT;
		at = PG_DATA + (span.linear & 63); /* aligned or not as it was */
		if (masked || mem->actions & ZYDIS_OPERAND_ACTION_MASK_READ)
			kb_assist_read(a, &span, 0, n->g.ram + at, size);
	}
	length = rewrite(a, insn, mem, (uint32_t)at);
	if (!length)
		return KB_ASSIST_CANNOT;
	memcpy(insn + length, (const uint8_t[]){ 0xe6, PG_PORT_OUT }, 2); /* OUT imm8, AL */
	memcpy(n->g.ram + PG_INSN, insn, length + 2);
	end = execute(a, &n->g, kind != INTEGER, mem && size > 8 && span.linear % size, err);
	if (!end && writes)
		kb_assist_write(a, &span, 0, n->g.ram + at, size);
	return end;
}
