/*
 * As much of an instruction as single-stepping must know (Intel SDM vol. 2, 2.1): which of the few it is that a step
 * treats differently. Private to vcpu/.
 */
#ifndef KB_INSN_H
#define KB_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kb_insn_kind {
	KB_INSN_OTHER,
	KB_INSN_STRING, /* with a REP prefix */
	KB_INSN_BRANCH, /* may lead to where it is */
	KB_INSN_HLT, KB_INSN_SWAPGS, KB_INSN_IRET, KB_INSN_SYSRET, KB_INSN_PUSHF, KB_INSN_POPF, KB_INSN_INT,
	KB_INSN_MOV_SS, /* holds traps off until after the next one */
};

struct kb_insn {
	enum kb_insn_kind kind;
	uint8_t op;      /* first byte behind prefixes and REX */
	uint8_t length;  /* up to the opcode's end */
	uint8_t vector;  /* of KB_INSN_INT */
	bool wide;       /* REX.W */
	bool repne;
	bool scan;       /* KB_INSN_STRING: CMPS, SCAS: ZF may end it */
};

/* bytes: len of them at the instruction; code64: 40-4F are REX prefixes. */
struct kb_insn kb_insn_decode(const uint8_t *bytes, size_t len, bool code64);

#endif
