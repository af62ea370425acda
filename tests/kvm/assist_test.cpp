// What KVM cannot do on this host is completed by the box: instructions of ring 0, and system calls from ring 3.
#include "tests/kvm/step_fixture.h"

using namespace fixture;

namespace {

// The kernel's struct has another size in C++.
constexpr unsigned long get_xsave = _IOR(KVMIO, 0xa4, uint8_t[4096]), set_xsave = _IOW(KVMIO, 0xa5, uint8_t[4096]);

class assist : public stepped {
protected:
	void SetUp() override
	{
		stepped::SetUp();
		if (IsSkipped() || HasFatalFailure())
			return;
		const kvmbox_probe_result *host = kb_probe_cached();
		needs = {!host->ring0_insns, !host->syscalls};
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
	mov %r11d, %eax
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

// rdi: how; saves to 0x100000, restores from 0x102000.
#define XSAVE_GUEST(name, save, restore)                                                                       \
	GUEST_CODE(name, "mov $7, %eax\nxor %edx, %edx\nmov $0x100000, %edi\nmov $0x102000, %esi\n" save " (%rdi)\n" \
		   restore " (%rsi)\nmov $0x1ff, %edx\nout %al, %dx\n")
XSAVE_GUEST(standard, "xsave64", "xrstor64")
XSAVE_GUEST(compacted, "xsavec64", "xrstor64")

class xsave : public assist {
protected:
	uint8_t area[4096]{}, *got = nullptr;
	uint32_t avx = 0;

	void pattern(uint8_t *to, uint8_t seed, uint64_t bv)
	{
		memset(to, 0, 4096);
		for (unsigned i = 0; i < 128; i++)
			if (i % 16 < 10)
				to[32 + i] = uint8_t(seed + i);
		const uint16_t fcw = 0x27f;
		const uint32_t mxcsr[2] = {0x1fa0, 0x2ffff};
		memcpy(to, &fcw, 2);
		memcpy(to + 24, mxcsr, 8);
		for (unsigned i = 0; i < 256; i++)
			to[160 + i] = uint8_t(seed * 3 + i), to[576 + i] = uint8_t(seed * 7 + i);
		memcpy(to + 512, &bv, 8);
	}
	void put(const uint8_t *from)
	{
		ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, set_xsave, const_cast<uint8_t *>(from)), 0);
	}
	void run_it(const uint8_t *start, const uint8_t *end)
	{
		load(start, end, bp_start, bp_end, 0);
		kvm_sregs sr;
		kvm_xcrs x{};
		x.nr_xcrs = 1;
		x.xcrs[0].value = 7;
		ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, KVM_GET_SREGS, &sr), 0);
		sr.cr4 |= 0x40000;
		ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, KVM_SET_SREGS, &sr), 0);
		ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, KVM_SET_XCRS, &x), 0);
		pattern(area, 1, 7);
		put(area);
		uint8_t other[4096];
		pattern(other, 2, 7);
		kb_bus_write(&vm->mem, 0x102000, other, 832);
		ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	}
};

TEST_F(xsave, Standard)
{
	run_it(standard_start, standard_end);
	uint8_t saved[832], state[4096], other[4096];
	kb_bus_read(&vm->mem, 0x100000, saved, sizeof(saved));
	EXPECT_EQ(memcmp(saved, area, 512 - 96), 0);
	EXPECT_EQ(memcmp(saved + 512, area + 512, 320), 0);
	ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, get_xsave, state), 0);
	pattern(other, 2, 7);
	memset(state + 416, 0, 96);
	EXPECT_EQ(memcmp(state + 32, other + 32, 480), 0);
	EXPECT_EQ(memcmp(state + 576, other + 576, 256), 0);
	EXPECT_EQ(v->assist.done[KB_ASSIST_XSAVE], 2u);
}
TEST_F(xsave, Compacted)
{
	run_it(compacted_start, compacted_end);
	EXPECT_EQ(peek<uint64_t>(0x100000 + 520), 7u | 1ull << 63);
}
