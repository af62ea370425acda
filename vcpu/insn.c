/* The little that stepping must know about an instruction: see insn.h. */
#include "vcpu/insn.h"

static bool is_prefix(uint8_t b)
{
	switch (b) {
	case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65: case 0x66: case 0x67: case 0xf0: case 0xf2:
	case 0xf3:
		return true;
	default:
		return false;
	}
}

static bool is_string(uint8_t op)
{
	return (op >= 0x6c && op <= 0x6f) || (op >= 0xa4 && op <= 0xa7) || (op >= 0xaa && op <= 0xaf);
}

static enum kb_insn_kind two_bytes(const uint8_t *p, size_t left)
{
	if (left > 1 && p[0] == 0x01 && p[1] == 0xf8)
		return KB_INSN_SWAPGS;
	if (left && p[0] == 0x07)
		return KB_INSN_SYSRET;
	return left && p[0] >= 0x80 && p[0] <= 0x8f ? KB_INSN_BRANCH : KB_INSN_OTHER;
}

static enum kb_insn_kind one_byte(uint8_t op, bool rep)
{
	if (is_string(op))
		return rep ? KB_INSN_STRING : KB_INSN_OTHER;
	if (op >= 0x70 && op <= 0x7f)
		return KB_INSN_BRANCH;
	switch (op) {
	case 0xf4:
		return KB_INSN_HLT;
	case 0xcf:
		return KB_INSN_IRET;
	case 0x9c:
		return KB_INSN_PUSHF;
	case 0x9d:
		return KB_INSN_POPF;
	case 0xcc: case 0xcd: case 0xce: case 0xf1:
		return KB_INSN_INT;
	case 0x9a: case 0xc2: case 0xc3: case 0xca: case 0xcb: case 0xe0: case 0xe1: case 0xe2: case 0xe3: case 0xe8:
	case 0xe9: case 0xea: case 0xeb: case 0xff:
		return KB_INSN_BRANCH;
	default:
		return KB_INSN_OTHER;
	}
}

struct kb_insn kb_insn_decode(const uint8_t *b, size_t len, bool code64)
{
	struct kb_insn in = { .kind = KB_INSN_OTHER };
	bool rep = false;
	size_t i;

	for (i = 0; i < len && is_prefix(b[i]); i++) {
		rep |= b[i] == 0xf2 || b[i] == 0xf3;
		in.repne = b[i] == 0xf2 || (in.repne && b[i] != 0xf3);
	}
	if (i < len && code64 && (b[i] & 0xf0) == 0x40)
		in.wide = b[i++] & 8;
	if (i == len)
		return in;
	in.op = b[i++];
	in.kind = in.op == 0x0f ? two_bytes(b + i, len - i) : one_byte(in.op, rep);
	in.scan = (in.op & 0xf6) == 0xa6; /* A6, A7, AE, AF */
	in.length = (uint8_t)(in.op != 0x0f ? i : in.kind == KB_INSN_SWAPGS ? i + 2 : i + 1);
	if (in.op == 0x8e && i < len && (b[i] & 0x38) == 0x10)
		in.kind = KB_INSN_MOV_SS;
	if (in.kind == KB_INSN_INT) {
		in.vector = in.op == 0xcc ? 3 : in.op == 0xf1 ? 1 : in.op == 0xce ? 4 : i < len ? b[i] : 0;
		in.length = (uint8_t)(in.length + (in.op == 0xcd));
	}
	return in;
}
