// What KVM cannot do on this host is completed by the box: instructions of ring 0, and system calls from ring 3.
#include "tests/kvm/step_fixture.h"

using namespace fixture;

namespace {

class assist : public stepped {
protected:
	void SetUp() override
	{
		stepped::SetUp();
		if (IsSkipped() || HasFatalFailure())
			return;
		const kvmbox_probe_result *host = kb_probe_cached();
		needs = {!host->ring0_native, !host->syscalls};
		free_clock();
		ASSERT_EQ(kb_assist_init(v, &needs, &err), 0) << err.msg;
		ASSERT_EQ(kb_msrs_install(&v->msrs, vm->api, vm->fd, &err), 0) << err.msg;
	}
	kb_assist_needs needs{};
};

} // namespace

GUEST_CODE(simple, R"(
	mov $0x1ff, %edx
	mov $0xf0f1, %ebx
	popcnt %ebx, %eax
	mov %eax, 0x100000
	int3
	fwait
	stac
	pushfq
	pop 0x100008
	clac
	pushfq
	pop 0x100010
	mov $0x1ff, %edx
	out %al, %dx
1:	jmp 1b
)")
GUEST_CODE(bp, R"(
	mov $0x1f0, %edx
	out %al, %dx
	iretq
)")

TEST_F(assist, Simple)
{
	load(simple_start, simple_end, bp_start, bp_end, 0);
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_EQ(peek<uint32_t>(0x100000), 9u);
	EXPECT_EQ(peek<uint64_t>(0x100008) & 0x40000, 0x40000u);
	EXPECT_EQ(peek<uint64_t>(0x100010) & 0x40000, 0u);
	EXPECT_EQ(port_log.size(), 2u);
	for (int i = 0; i < KB_ASSIST_KINDS; i++)
		printf("%s %lu\n", kb_assist_kind_name(kb_assist_kind(i)), (unsigned long)v->assist.done[i]);
}

// Ring 0 sets SYSCALL up, goes to ring 3, which calls three times and touches a page that is missing.
GUEST_CODE(calls, R"(
	mov $0xc0000081, %ecx
	xor %eax, %eax
	mov $0x00230010, %edx
	wrmsr
	inc %ecx
	mov $0x200000, %eax
	xor %edx, %edx
	wrmsr
	add $2, %ecx
	mov $0x47700, %eax
	wrmsr
	mov $0x10400, %ecx
	mov $0x202, %r11d
	sysretq
	.org calls_start + 0x400
	mov $3, %ebx
1:	mov %ebx, %eax
	syscall
	dec %ebx
	jnz 1b
	mov $0x40000000, %ecx
	mov (%rcx), %rax
	mov $100, %eax
	syscall
2:	jmp 2b
)")
GUEST_CODE(entry, R"(
	mov %eax, %edi
	mov $0x1f4, %edx
	out %eax, %dx
	mov %cs, %eax
	out %eax, %dx
	mov %r11, 0x100000
	mov %rcx, 0x100008
	mov %rsp, 0x100010
	mov %rsp, %rsi
	mov $0x70000, %esp
	pushfq
	pop 0x100018
	mov %rsi, %rsp
	cmp $100, %edi
	je 1f
	sysretq
1:	mov $0x1ff, %edx
	out %al, %dx
	jmp 1b
)")
GUEST_CODE(pf, R"(
	nop
	push %rax
	push %rdx
	mov $0x1f8, %edx
	mov 16(%rsp), %rax
	out %eax, %dx
	mov %cr2, %rax
	out %eax, %dx
	mov 24(%rsp), %rax
	out %eax, %dx
	mov %cr3, %rax
	mov $0x100020, %edx
	mov (%rdx), %rax
	orl $1, (%rax)
	pop %rdx
	pop %rax
	add $8, %rsp
	iretq
)")

TEST_F(assist, Calls)
{
	load(calls_start, calls_end, pf_start, pf_end, 0);
	kb_bus_write(&vm->mem, 0x200000, entry_start, size_t(entry_end - entry_start));
	poke<uint64_t>(KB_BOOT_PD + 8, peek<uint64_t>(KB_BOOT_PD + 8) & ~4ull);
	poke<uint64_t>(KB_BOOT_PD + 0x1000, (peek<uint64_t>(KB_BOOT_PD) | 4) & ~1ull);
	poke<uint64_t>(0x100020, KB_BOOT_PD + 0x1000);
	kvm_regs r = regs();
	r.rsp = 0x70000;
	ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, KVM_SET_REGS, &r), 0);
	kb_end e = run();
	EXPECT_EQ(e, KB_END_REQUESTED) << err.msg;
	for (auto &c : port_log)
		printf("%lx %u %d %lx\n", c.off, c.len, c.write, c.value);
	for (int i = 0; i < 4; i++)
		printf("%lx\n", peek<uint64_t>(0x100000 + 8 * i));
	for (int i = 0; i < KB_ASSIST_KINDS; i++)
		printf("%s %lu\n", kb_assist_kind_name(kb_assist_kind(i)), (unsigned long)v->assist.done[i]);
}
