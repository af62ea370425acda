/*
 * An instruction that the box completes in KVM's place: what its parts share. Private to the files assist*.c.
 */
#ifndef KB_ASSIST_INSN_H
#define KB_ASSIST_INSN_H

#include <Zydis/Zydis.h>

#include "vcpu/vcpu.h"

struct kb_assisted {
	struct kb_vcpu *v;
	struct kvm_regs r;         /* becomes the guest's if the instruction completes */
	struct kvm_sregs *s;       /* the guest's, as KVM has it */
	bool user;                 /* ring 3 */
	bool code64;
	enum kb_assist_kind kind;
	ZydisDecodedInstruction in;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	uint8_t bytes[15];
	/* the exception it ends in: */
	int vector;
	bool has_error;
	uint32_t error;
	uint64_t cr2;
};

/* How it ended; negative: the run does, with an error. */
enum kb_assist_end {
	KB_ASSIST_DONE,    /* on to the next */
	KB_ASSIST_MOVED,   /* on to where r.rip says */
	KB_ASSIST_FAULTED, /* exception vector, RIP stays */
	KB_ASSIST_TRAPPED, /* exception vector, RIP after it */
	KB_ASSIST_CANNOT,
};

int kb_assist_fault(struct kb_assisted *a, int vector);
int kb_assist_fault_code(struct kb_assisted *a, int vector, uint32_t error);
/* An ioctl on the vCPU; the message names the assist. */
int kb_assist_call(struct kb_vcpu *v, unsigned long request, void *arg, struct kvmbox_error *err);
/* KVM is to deliver an exception (vector < 32) or a software interrupt at the next entry. Flushes v's registers first. */
int kb_assist_inject(struct kb_vcpu *v, int vector, bool soft_interrupt, bool has_error, uint32_t error, struct kvmbox_error *err);

/* General register by Zydis' name, zero-extended; and written as the CPU writes one of its size. */
uint64_t kb_assist_gpr(const struct kb_assisted *a, ZydisRegister reg);
void kb_assist_set_gpr(struct kb_assisted *a, ZydisRegister reg, uint64_t value);

/* Memory operand in pieces of one page each. */
struct kb_assist_span {
	uint64_t linear;
	size_t size;
	struct {
		uint64_t pa;
		size_t size;
	} part[2];
	unsigned parts;
};
/* Effective linear address of a memory operand. DONE or FAULTED: it is no address, or beyond its segment. */
int kb_assist_address(struct kb_assisted *a, const ZydisDecodedOperand *op, size_t size, bool write, uint64_t *linear);
/* size up to 4096. DONE or FAULTED. */
int kb_assist_map(struct kb_assisted *a, uint64_t linear, size_t size, bool write, struct kb_assist_span *span);
/* The two above. */
int kb_assist_operand(struct kb_assisted *a, const ZydisDecodedOperand *op, size_t size, bool write, struct kb_assist_span *span);
/* A part of what was mapped. To a device in accesses of up to 8 bytes. */
void kb_assist_read(struct kb_assisted *a, const struct kb_assist_span *span, size_t off, void *buf, size_t size);
void kb_assist_write(struct kb_assisted *a, const struct kb_assist_span *span, size_t off, const void *buf, size_t size);
/* Host pointer to all of it, or NULL. */
void *kb_assist_host(struct kb_assisted *a, const struct kb_assist_span *span);

/* Each tries; KB_ASSIST_CANNOT: not its kind. */
int kb_assist_system(struct kb_assisted *a, struct kvmbox_error *err);
int kb_assist_iret(struct kb_assisted *a, struct kvmbox_error *err);
int kb_assist_integer(struct kb_assisted *a);
int kb_assist_xsave(struct kb_assisted *a, struct kvmbox_error *err);
int kb_assist_run_native(struct kb_assisted *a, struct kvmbox_error *err);

#endif
