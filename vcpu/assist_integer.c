/* POPCNT and CMPXCHG16B (Intel SDM vol. 2), which kernels use often; the CPU itself does the others: see assist_insn.h. */
#include <string.h>

#include "vcpu/assist_insn.h"
#include "vcpu/x86.h"

static int popcnt(struct kb_assisted *a)
{
	const size_t size = a->op[0].size / 8;
	struct kb_assist_span span;
	uint64_t value = 0;

	if (a->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
		value = kb_assist_gpr(a, a->op[1].reg.value);
	} else {
		if (kb_assist_operand(a, &a->op[1], size, false, &span))
			return KB_ASSIST_FAULTED;
		kb_assist_read(a, &span, 0, &value, size);
	}
	kb_assist_set_gpr(a, a->op[0].reg.value, (uint64_t)__builtin_popcountll(value));
	a->r.rflags = (a->r.rflags & ~(uint64_t)X86_EFLAGS_STATUS) | (value ? 0 : X86_EFLAGS_ZF);
	return KB_ASSIST_DONE;
}

typedef unsigned __int128 wide;

static wide join(uint64_t high, uint64_t low)
{
	return (wide)high << 64 | low;
}

/* The host's CMPXCHG16B: KVM runs on nothing that lacks it. Returns what was there. */
static wide exchange(void *p, wide expected, wide desired)
{
	uint64_t low = (uint64_t)expected, high = (uint64_t)(expected >> 64);

	__asm__ volatile("lock cmpxchg16b %2"
			 : "+a"(low), "+d"(high), "+m"(*(wide *)p)
			 : "b"((uint64_t)desired), "c"((uint64_t)(desired >> 64))
			 : "cc");
	return join(high, low);
}

/* Always writes, so it needs memory that can be written. Devices get it in pieces. */
static int cmpxchg16b(struct kb_assisted *a)
{
	const wide expected = join(a->r.rdx, a->r.rax), desired = join(a->r.rcx, a->r.rbx);
	struct kb_assist_span span;
	uint64_t linear;
	wide old;
	void *p;

	if (kb_assist_address(a, &a->op[0], 16, true, &linear))
		return KB_ASSIST_FAULTED;
	if (linear % 16)
		return kb_assist_fault_code(a, X86_VECTOR_GP, 0);
	if (kb_assist_map(a, linear, 16, true, &span))
		return KB_ASSIST_FAULTED;
	p = kb_assist_host(a, &span);
	if (p) {
		old = exchange(p, expected, desired);
	} else {
		kb_assist_read(a, &span, 0, &old, 16);
		kb_assist_write(a, &span, 0, old == expected ? &desired : &old, 16);
	}
	a->r.rflags &= ~(uint64_t)X86_EFLAGS_ZF;
	if (old == expected) {
		a->r.rflags |= X86_EFLAGS_ZF;
	} else {
		a->r.rax = (uint64_t)old;
		a->r.rdx = (uint64_t)(old >> 64);
	}
	return KB_ASSIST_DONE;
}

int kb_assist_integer(struct kb_assisted *a)
{
	enum kb_assist_kind was = a->kind;

	a->kind = KB_ASSIST_INTEGER;
	switch (a->in.mnemonic) {
	case ZYDIS_MNEMONIC_POPCNT:
		return popcnt(a);
	case ZYDIS_MNEMONIC_CMPXCHG16B:
		return cmpxchg16b(a);
	default:
		a->kind = was;
		return KB_ASSIST_CANNOT;
	}
}
