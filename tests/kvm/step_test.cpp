// Single-stepping on real KVM: what an instruction is, exact in both rings; stops by count; clock=step.
// Port 0x1ff ends the run; writes to other ports of 0x100-0x1ff note the time, which is the number of instructions.
#include "tests/kvm/rival.h"
#include "tests/kvm/step_fixture.h"

using fixture::code_gpa;
using fixture::cycle;
using fixture::handler_gpa;
using fixture::insn;

namespace {

using step = fixture::stepped;

#define END "mov $0x1ff, %edx\n out %al, (%dx)\n 9: jmp 9b\n"
#define MARK "mov $0x101, %edx\n out %al, (%dx)\n"

// Skips the two bytes of a faulting instruction; for int3 see its own.
GUEST_CODE(skip2, R"(
	addq $2, (%rsp)
	iretq
)")

GUEST_CODE(back, R"(
	nop
	iretq
)")

GUEST_CODE(plain, MARK R"(
	nop
	mov $5, %ecx
1:	dec %ecx
	jnz 1b
)" MARK R"(
	call 2f
	jmp 3f
2:	push %rax
	pop %rax
	ret
3:	cld
)" MARK R"(
	mov $3, %ecx
	mov $0x3000, %esi
	mov $0x3100, %edi
	rep movsb
)" MARK R"(
	xor %ecx, %ecx
	rep stosb
)" MARK R"(
	mov $5, %ecx
	mov $0x3000, %edi
	mov $0x63, %al
	repne scasb
)" MARK R"(
	mov $5, %ecx
	mov $0x3000, %esi
	mov $0x3008, %edi
	repe cmpsb
)" MARK R"(
	mov $0xd0000000, %ebx
	mov %eax, (%rbx)
	mov (%rbx), %eax
	addl $1, (%rbx)
	in (%dx), %al
)" MARK R"(
	mov $2, %ecx
	mov $0x3000, %esi
	mov $0x110, %edx
	rep outsb
	mov $3, %ecx
	mov $0x3100, %edi
	rep insb
)" MARK R"(
	mov $3000, %ecx
	mov $0x3200, %edi
	rep stosb
)" END)

static const std::vector<uint64_t> plain_marks{2, 16, 24, 32, 36, 44, 51, 58, 60, 61, 68, 3073};

TEST_F(step, plain_instructions_in_ring_0)
{
	load(plain_start, plain_end, back_start, back_end, 0);
	kb_bus_write(&vm->mem, 0x3000, "abcde", 5);
	kb_bus_write(&vm->mem, 0x3008, "abx", 3);
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_EQ(at, plain_marks);
}

TEST_F(step, plain_instructions_in_ring_3)
{
	load(plain_start, plain_end, back_start, back_end, 3);
	kb_bus_write(&vm->mem, 0x3000, "abcde", 5);
	kb_bus_write(&vm->mem, 0x3008, "abx", 3);
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_EQ(at, plain_marks);
}

} // namespace
