// What KVM cannot do on this host is completed by the box: instructions of ring 0, system calls from ring 3, vector code on devices.
#include "tests/kvm/step_fixture.h"

#include <cpuid.h>

#include <random>

using namespace fixture;

namespace {

// The kernel's struct has another size in C++.
constexpr unsigned long get_xsave = _IOR(KVMIO, 0xa4, uint8_t[4096]), set_xsave = _IOW(KVMIO, 0xa5, uint8_t[4096]);
constexpr uint64_t data_gpa = 0x100000, entry_gpa = 0x200000, missing = 0x40000000, stack_top = 0x70000;
constexpr uint8_t end_port = 0xf0, vector_port = 0x80;

// For each exception a port write that tells its vector, and the end.
GUEST_CODE(vectors, R"(
	.set vector, 0
	.rept 32
	.balign 16
	out %al, $0x80 + vector
	out %al, $0xf0
1:	jmp 1b
	.set vector, vector + 1
	.endr
)")

class assist : public stepped {
protected:
	kb_assist_needs needs{};
	kb_region early{};
	std::vector<unsigned> told; // ports below 0x100

	void SetUp() override
	{
		stepped::SetUp();
		if (IsSkipped() || HasFatalFailure())
			return;
		const kvmbox_probe_result *host = kb_probe_cached();
		needs.insns = !host->ring0_insns;
		needs.syscall = !host->syscalls;
		needs.hypercall = !host->hypercalls;
		free_clock();
		early.name = "early";
		early.base = 0x80;
		early.size = 0x80;
		early.opaque = this;
		early.write = [](void *o, uint64_t off, unsigned, uint64_t) {
			auto *t = static_cast<assist *>(o);
			t->told.push_back(unsigned(0x80 + off));
			if (0x80 + off == end_port)
				kb_vcpu_end(t->v);
		};
		ASSERT_EQ(kb_bus_add(&vm->io, &early, &err), 0);
	}
	void switch_on()
	{
		ASSERT_EQ(kb_assist_init(v, &needs, &err), 0) << err.msg;
		ASSERT_EQ(kb_msrs_install(&v->msrs, vm->api, vm->fd, &err), 0) << err.msg;
	}
	// code at code_gpa, each exception tells its vector.
	void load(const uint8_t *start, const uint8_t *end, unsigned ring = 0)
	{
		stepped::load(start, end, vectors_start, vectors_end, ring);
		for (unsigned i = 0; i < 32; i++)
			gate(i, handler_gpa + 16 * i, i == 3 ? 3 : 0);
		kvm_regs r = regs();
		r.rsp = stack_top;
		ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, KVM_SET_REGS, &r), 0);
		// one page that is not there, and everything the vector unit has
		poke<uint64_t>(KB_BOOT_PD + 0x1000, peek<uint64_t>(KB_BOOT_PD + 0x1000) & ~1ull);
		enable_vectors();
	}
	void enable_vectors()
	{
		kvm_sregs s;
		kvm_xcrs x{};
		x.nr_xcrs = 1;
		x.xcrs[0].value = 7;
		ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, KVM_GET_SREGS, &s), 0);
		s.cr4 |= 0x40000;
		if (kb_kvm_linux.ioctl(v->fd, KVM_SET_SREGS, &s) == 0)
			kb_kvm_linux.ioctl(v->fd, KVM_SET_XCRS, &x);
	}
	void sregs(std::function<void(kvm_sregs &)> change)
	{
		kvm_sregs s;
		ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, KVM_GET_SREGS, &s), 0);
		change(s);
		ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, KVM_SET_SREGS, &s), 0);
	}
	// Ends by the code's own doing.
	void good()
	{
		ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
		ASSERT_EQ(told, std::vector<unsigned>{end_port}) << "an exception: " << told[0] - vector_port;
	}
	// Ends in an exception at the code's instruction with this offset; error -1: it has no code.
	void faults(unsigned vector, int64_t error, uint64_t offset)
	{
		ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
		ASSERT_EQ(told, (std::vector<unsigned>{vector_port + vector, end_port}));
		uint64_t frame = regs().rsp;
		if (error >= 0) {
			EXPECT_EQ(peek<uint64_t>(frame), uint64_t(error));
			frame += 8;
		}
		EXPECT_EQ(peek<uint64_t>(frame), code_gpa + offset);
	}
	uint64_t cr2()
	{
		kvm_sregs s{};
		kb_kvm_linux.ioctl(v->fd, KVM_GET_SREGS, &s);
		return s.cr2;
	}
	uint64_t done(kb_assist_kind k) { return v->stats.assists[k]; }
};

#define NEEDS(what)                                                                                    \
	if (!needs.what)                                                                               \
	GTEST_SKIP() << "KVM on this host does this itself"

// ---- instructions ----------------------------------------------------------------------------------------------------

GUEST_CODE(simple, R"(
	mov $0xf0f1, %ebx
	popcnt %ebx, %eax
	mov %eax, 0x100000
	fwait
	stac
	pushfq
	pop 0x100008
	clac
	pushfq
	pop 0x100010
	out %al, $0xf0
)")

TEST_F(assist, a_kernels_instructions)
{
	NEEDS(insns);
	load(simple_start, simple_end);
	switch_on();
	good();
	EXPECT_EQ(peek<uint32_t>(data_gpa), 9u);
	EXPECT_EQ(peek<uint64_t>(data_gpa + 8) & 0x40000, 0x40000u);
	EXPECT_EQ(peek<uint64_t>(data_gpa + 16) & 0x40000, 0u);
	EXPECT_EQ(done(KB_ASSIST_INTEGER), 1u);
	EXPECT_EQ(done(KB_ASSIST_SYSTEM), 3u);
	EXPECT_EQ(v->stats.exits[KB_EXIT_ASSIST], 4u);
	EXPECT_EQ(v->clock.now_ps, 1000u) << "the port write's exit; the others exist because of the host";
}

TEST_F(assist, what_is_switched_off_ends_the_run_with_a_report)
{
	NEEDS(insns);
	load(simple_start, simple_end);
	EXPECT_EQ(run(), KB_END_ERROR);
	EXPECT_NE(std::string(err.msg).find("popcnt"), std::string::npos) << err.msg;
	EXPECT_NE(std::string(err.msg).find("bytes there: f3 0f b8 c3"), std::string::npos) << err.msg;
	EXPECT_NE(std::string(err.msg).find("assists=auto"), std::string::npos) << err.msg;
}

// One form of an instruction: its length, its bytes.
#define FORM(text) ".byte 91f - 90f\n90: " text "\n91:\n"
asm(".pushsection .rodata\nforms:\n"
    FORM("popcnt %rbx, %rax") FORM("popcnt %bx, %ax") FORM("popcntl (%rsi), %ecx") FORM("popcntq 3(%rsi,%rdi,2), %r15")
    FORM("crc32b %bl, %eax") FORM("crc32q (%rsi), %rax") FORM("crc32w %bx, %r9d") FORM("adcx %rbx, %rax") FORM("adox (%rsi), %rcx")
    FORM("andn %rbx, %rcx, %rax") FORM("andn (%rsi), %ebx, %r8d") FORM("bextr %rbx, %rcx, %rax") FORM("blsi %rbx, %rax")
    FORM("blsr %ebx, %eax") FORM("blsmsk (%rsi), %rax") FORM("bzhi %rbx, %rcx, %rax") FORM("mulx %rbx, %rcx, %rax")
    FORM("pdep %rbx, %rcx, %rax") FORM("pext (%rsi), %rcx, %r13") FORM("rorx $13, (%rsi), %rax") FORM("rorx $7, %ebx, %eax")
    FORM("sarx %rbx, %rcx, %rax") FORM("shlx %r9, 8(%rsi), %r12") FORM("shrx %ebx, (%rsi), %eax") FORM("movd %eax, %xmm3")
    FORM("movq %rbx, %xmm9") FORM("movq %xmm2, %rax") FORM("movd %xmm2, (%rsi)") FORM("movq (%rsi), %xmm1") FORM("movss (%rsi), %xmm4")
    FORM("movss %xmm4, 4(%rsi)") FORM("movsd 1(%rsi), %xmm5") FORM("movsd %xmm5, (%rsi)") FORM("movlps (%rsi), %xmm6")
    FORM("movhps %xmm6, (%rsi)") FORM("movhpd (%rsi), %xmm7") FORM("lddqu 5(%rsi), %xmm8") FORM("movntdqa (%rsi), %xmm8")
    FORM("movmskps %xmm1, %eax") FORM("paddd %xmm1, %xmm2") FORM("paddq (%rsi), %xmm10") FORM("pshufb %xmm3, %xmm4")
    FORM("pshufd $0x1b, (%rsi), %xmm0") FORM("mulps %xmm1, %xmm2") FORM("addsd (%rsi), %xmm2") FORM("cvtsi2sd %rax, %xmm3")
    FORM("cvttsd2si %xmm3, %rax") FORM("ucomisd %xmm1, %xmm2") FORM("pcmpeqb %xmm1, %xmm2") FORM("ptest %xmm1, %xmm2")
    FORM("aesenc %xmm1, %xmm2") FORM("pclmulqdq $1, %xmm1, %xmm2") FORM("palignr $3, (%rsi), %xmm2") FORM("pcmpistri $0, %xmm1, %xmm2")
    FORM("vmovdqu (%rsi), %ymm1") FORM("vmovdqu %ymm15, 7(%rsi)") FORM("vmovups %xmm3, (%rsi)") FORM("vpxor %ymm1, %ymm2, %ymm3")
    FORM("vpaddd (%rsi,%rdi), %ymm12, %ymm13") FORM("vaddps %ymm1, %ymm2, %ymm3") FORM("vmovd %eax, %xmm14") FORM("vzeroupper")
    FORM("vbroadcastss (%rsi), %ymm2") FORM("vfmadd231ps %xmm1, %xmm2, %xmm3") FORM("vextractf128 $1, %ymm2, (%rsi)")
    FORM("stmxcsr 8(%rsi)") FORM("fildl (%rsi)") FORM("fld1") FORM("fadd %st(2), %st") FORM("fstpl (%rsi)") FORM("fmull (%rsi)")
    FORM("fxch %st(3)") FORM("emms") FORM("paddb %mm1, %mm2") FORM("movq %mm3, (%rsi)")
    ".byte 0\n.popsection");
extern "C" const uint8_t forms[];

// Ring 3 runs on the CPU: what it does there is right.
class differential : public assist {
protected:
	struct state {
		kvm_regs r;
		alignas(64) uint8_t x[4096], memory[128];
	};
	std::mt19937_64 random{1};

	state make()
	{
		state s{};
		uint64_t *const gpr[] = {(uint64_t *)&s.r.rax, (uint64_t *)&s.r.rbx, (uint64_t *)&s.r.rcx, (uint64_t *)&s.r.rdx,
			(uint64_t *)&s.r.rbp, (uint64_t *)&s.r.r8, (uint64_t *)&s.r.r9, (uint64_t *)&s.r.r12, (uint64_t *)&s.r.r13, (uint64_t *)&s.r.r15};
		for (uint64_t *g : gpr)
			*g = random() >> (random() & 63);
		s.r.rsi = data_gpa;
		s.r.rdi = 8;
		s.r.rsp = stack_top;
		s.r.rip = code_gpa;
		s.r.rflags = 2 | (random() & 0x8d5);
		const uint16_t fcw = 0x37f;
		const uint32_t mxcsr = 0x1f80;
		const uint64_t bv = 7;
		memcpy(s.x, &fcw, 2);
		memcpy(s.x + 24, &mxcsr, 4);
		for (unsigned i = 160; i < 416; i++)
			s.x[i] = uint8_t(random());
		for (unsigned i = 576; i < 832; i++)
			s.x[i] = uint8_t(random());
		memcpy(s.x + 512, &bv, 8);
		for (uint8_t &b : s.memory)
			b = uint8_t(random());
		return s;
	}
	state execute(const state &in, const uint8_t *code, unsigned length, unsigned ring)
	{
		uint8_t bytes[32];
		state s = in;
		memcpy(bytes, code, length);
		memcpy(bytes + length, "\xe6\xf0", 2);
		load(bytes, bytes + length + 2, ring);
		kb_bus_write(&vm->mem, data_gpa, in.memory, sizeof(in.memory));
		EXPECT_EQ(kb_kvm_linux.ioctl(v->fd, set_xsave, s.x), 0);
		EXPECT_EQ(kb_kvm_linux.ioctl(v->fd, KVM_SET_REGS, &s.r), 0);
		told.clear();
		EXPECT_EQ(run(), KB_END_REQUESTED) << err.msg;
		EXPECT_EQ(told, std::vector<unsigned>{end_port});
		s.r = regs();
		EXPECT_EQ(kb_kvm_linux.ioctl(v->fd, get_xsave, s.x), 0);
		kb_bus_read(&vm->mem, data_gpa, s.memory, sizeof(s.memory));
		return s;
	}
	static std::string name(const uint8_t *code, unsigned length)
	{
		std::string text;
		char b[4];
		for (unsigned i = 0; i < length; i++) {
			snprintf(b, sizeof(b), "%02x ", code[i]);
			text += b;
		}
		return text;
	}
};

TEST_F(differential, ring_0_computes_as_ring_3_does)
{
	NEEDS(insns);
	switch_on();
	for (const uint8_t *f = forms; *f; f += 1 + *f)
		for (int i = 0; i < 4; i++) {
			SCOPED_TRACE(name(f + 1, *f));
			const state in = make(), user = execute(in, f + 1, *f, 3), kernel = execute(in, f + 1, *f, 0);
			ASSERT_FALSE(HasFailure());
			const uint64_t flags = 0x8d5;
			EXPECT_EQ(user.r.rflags & flags, kernel.r.rflags & flags);
			kvm_regs a = user.r, b = kernel.r;
			a.rflags = b.rflags = 0;
			EXPECT_EQ(memcmp(&a, &b, sizeof(a)), 0);
			EXPECT_EQ(memcmp(user.memory, kernel.memory, sizeof(user.memory)), 0);
			EXPECT_EQ(memcmp(user.x + 32, kernel.x + 32, 384), 0) << "x87 or XMM";
			EXPECT_EQ(memcmp(user.x + 24, kernel.x + 24, 4), 0) << "MXCSR";
			EXPECT_EQ(memcmp(user.x, kernel.x, 6), 0) << "FCW, FSW, FTW";
			EXPECT_EQ(memcmp(user.x + 576, kernel.x + 576, 256), 0) << "upper halves";
			if (HasFailure())
				return;
		}
	EXPECT_GT(done(KB_ASSIST_NATIVE), 200u);
}

// ---- faults ------------------------------------------------------------------------------------------------------------

#define ONE(name, text) GUEST_CODE(name, text "\nout %al, $0xf0\n")
ONE(popcnt_missing, "nop\npopcntl 0x40000000, %eax")
ONE(popcnt_noncanonical, "mov $0x8000000000000000, %rbx\npopcntl (%rbx), %eax")
ONE(cx16_unaligned, "mov $0x100008, %ebx\nlock cmpxchg16b (%rbx)")
ONE(cx16_readonly, "mov $0x200000, %ebx\nlock cmpxchg16b (%rbx)")
ONE(cx16, "mov $0x100000, %esi\nmov $1, %eax\nxor %edx, %edx\nmov $5, %ebx\nmov $6, %ecx\nlock cmpxchg16b (%rsi)\nsetz 0x100010\n"
	  "mov $77, %eax\nlock cmpxchg16b (%rsi)\nsetz 0x100011\nmov %rax, 0x100018\nmov %rdx, 0x100020")
ONE(movaps_unaligned, "mov $0x100008, %ebx\npaddd (%rbx), %xmm0")
ONE(wait, "fwait")
ONE(vector_code, "vpxor %ymm1, %ymm2, %ymm3")
ONE(sse_code, "addps %xmm1, %xmm2")
ONE(undefined, "nop\n.byte 0x0f, 0x04")
ONE(ud1, "ud1 %eax, %eax")
ONE(divide, "mov $0x100000, %ebx\nmovl $0x1f80 & ~0x200, (%rbx)\nldmxcsr (%rbx)\nmovl $0x3f800000, (%rbx)\nmovss (%rbx), %xmm0\nxorps %xmm1, %xmm1\n"
	    "3: divss %xmm1, %xmm0")

TEST_F(assist, page_faults_of_operands)
{
	NEEDS(insns);
	load(popcnt_missing_start, popcnt_missing_end);
	switch_on();
	faults(14, 0, 1);
	EXPECT_EQ(cr2(), missing);
}
TEST_F(assist, page_fault_of_a_write_to_what_can_only_be_read)
{
	NEEDS(insns);
	load(cx16_readonly_start, cx16_readonly_end);
	poke<uint64_t>(KB_BOOT_PD + 8, peek<uint64_t>(KB_BOOT_PD + 8) & ~2ull);
	switch_on();
	faults(14, 3, 5);
	EXPECT_EQ(cr2(), 0x200000u);
}
TEST_F(assist, not_canonical)
{
	NEEDS(insns);
	load(popcnt_noncanonical_start, popcnt_noncanonical_end);
	switch_on();
	faults(13, 0, 10);
}
TEST_F(assist, cmpxchg16b_unaligned)
{
	NEEDS(insns);
	load(cx16_unaligned_start, cx16_unaligned_end);
	switch_on();
	faults(13, 0, 5);
}
TEST_F(assist, cmpxchg16b)
{
	NEEDS(insns);
	load(cx16_start, cx16_end);
	poke<uint64_t>(data_gpa, 1);
	poke<uint64_t>(data_gpa + 8, 0);
	switch_on();
	good();
	EXPECT_EQ(peek<uint64_t>(data_gpa), 5u);
	EXPECT_EQ(peek<uint64_t>(data_gpa + 8), 6u);
	EXPECT_EQ(peek<uint16_t>(data_gpa + 16), 1u) << "ZF set, then not";
	EXPECT_EQ(peek<uint64_t>(data_gpa + 0x18), 5u);
	EXPECT_EQ(peek<uint64_t>(data_gpa + 0x20), 6u);
	uint64_t pte = peek<uint64_t>(KB_BOOT_PD);
	EXPECT_EQ(pte & 0x60, 0x60u);
}
TEST_F(assist, vector_operand_unaligned)
{
	NEEDS(insns);
	load(movaps_unaligned_start, movaps_unaligned_end);
	switch_on();
	faults(13, 0, 5);
}
TEST_F(assist, vector_state_not_enabled)
{
	NEEDS(insns);
	switch_on();
	load(wait_start, wait_end);
	sregs([](kvm_sregs &s) { s.cr0 |= 0xa; }); // MP, TS
	faults(7, -1, 0);
	told.clear();
	load(sse_code_start, sse_code_end);
	sregs([](kvm_sregs &s) { s.cr4 &= ~0x200ull; });
	faults(6, -1, 0);
	told.clear();
	load(vector_code_start, vector_code_end);
	sregs([](kvm_sregs &s) { s.cr4 &= ~0x40000ull; });
	faults(6, -1, 0);
	told.clear();
	load(vector_code_start, vector_code_end);
	sregs([](kvm_sregs &s) { s.cr0 |= 8; });
	faults(7, -1, 0);
}
TEST_F(assist, exceptions_of_vector_code)
{
	NEEDS(insns);
	load(divide_start, divide_end);
	switch_on();
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_EQ(told, (std::vector<unsigned>{vector_port + 19, end_port}));
	uint8_t x[4096];
	ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, get_xsave, x), 0);
	EXPECT_EQ(x[24] & 4, 4) << "MXCSR says what it was";
}
TEST_F(assist, no_instruction)
{
	NEEDS(insns);
	switch_on();
	load(undefined_start, undefined_end);
	faults(6, -1, 1);
	told.clear();
	load(ud1_start, ud1_end);
	faults(6, -1, 0);
	EXPECT_EQ(done(KB_ASSIST_UNDEFINED), 2u);
}

// ---- XSAVE ---------------------------------------------------------------------------------------------------------------

#define XSAVE_GUEST(name, save, restore)                                                                       \
	ONE(name, "mov $7, %eax\nxor %edx, %edx\nmov $0x100000, %edi\nmov $0x102000, %esi\n" save " (%rdi)\n" restore " (%rsi)")
XSAVE_GUEST(standard, "xsave64", "xrstor64")
XSAVE_GUEST(compacted, "xsavec64", "xrstor64")
XSAVE_GUEST(optimised, "xsaveopt", "xrstor")
ONE(xsave_unaligned, "mov $0x100008, %edi\nxsave (%rdi)")
ONE(xsave_missing, "mov $0x40000000, %edi\nxsave (%rdi)")

class xsave : public assist {
protected:
	uint8_t before[4096]{}, other[4096]{}, after[4096]{}, saved[832]{};

	static void pattern(uint8_t *to, uint8_t seed, uint64_t bv)
	{
		const uint16_t fcw = uint16_t(0x27f | (seed & 1) << 8);
		const uint32_t mxcsr[2] = {0x1f80u | uint32_t(seed & 0x3f), 0x2ffff};

		memset(to, 0, 4096);
		for (unsigned i = 0; i < 128; i++)
			if (i % 16 < 10)
				to[32 + i] = uint8_t(seed + i);
		memcpy(to, &fcw, 2);
		memcpy(to + 24, mxcsr, 8);
		for (unsigned i = 0; i < 256; i++)
			to[160 + i] = uint8_t(seed * 3 + i), to[576 + i] = uint8_t(seed * 7 + i);
		memcpy(to + 512, &bv, 8);
	}
	void prepare(const uint8_t *start, const uint8_t *end, uint64_t bv = 7)
	{
		load(start, end);
		switch_on();
		pattern(before, 0x21, 7);
		ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, set_xsave, before), 0);
		pattern(other, 2, bv);
		kb_bus_write(&vm->mem, 0x102000, other, 832);
		for (unsigned i = 0; i < 832; i += 8)
			poke<uint64_t>(data_gpa + i, 0);
	}
	void finish()
	{
		good();
		kb_bus_read(&vm->mem, data_gpa, saved, sizeof(saved));
		ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, get_xsave, after), 0);
	}
};

TEST_F(xsave, standard_format)
{
	NEEDS(insns);
	prepare(standard_start, standard_end);
	finish();
	EXPECT_EQ(memcmp(saved, before, 416), 0);
	EXPECT_EQ(memcmp(saved + 512, before + 512, 320), 0);
	EXPECT_EQ(memcmp(after, other, 8), 0);
	EXPECT_EQ(memcmp(after + 24, other + 24, 4), 0);
	EXPECT_EQ(memcmp(after + 32, other + 32, 384), 0);
	EXPECT_EQ(memcmp(after + 576, other + 576, 256), 0);
	EXPECT_EQ(done(KB_ASSIST_XSAVE), 2u);
}
TEST_F(xsave, compacted_format)
{
	NEEDS(insns);
	prepare(compacted_start, compacted_end);
	finish();
	EXPECT_EQ(peek<uint64_t>(data_gpa + 520), 7u | 1ull << 63);
	EXPECT_EQ(memcmp(saved, before, 416), 0);
	EXPECT_EQ(memcmp(saved + 576, before + 576, 256), 0) << "AVX comes first there, too";
}
TEST_F(xsave, xsaveopt_and_components_in_their_initial_state)
{
	NEEDS(insns);
	prepare(optimised_start, optimised_end, 1);
	finish();
	EXPECT_EQ(memcmp(saved + 512, before + 512, 8), 0);
	EXPECT_EQ(memcmp(after + 32, other + 32, 128), 0) << "x87 is restored";
	for (unsigned i = 160; i < 416; i++)
		ASSERT_EQ(after[i], 0) << "SSE is initialised";
	for (unsigned i = 576; i < 832; i++)
		ASSERT_EQ(after[i], 0) << "AVX is initialised";
	EXPECT_EQ(memcmp(after + 24, other + 24, 4), 0) << "MXCSR is loaded all the same";
}
TEST_F(xsave, bad_areas)
{
	NEEDS(insns);
	prepare(standard_start, standard_end);
	poke<uint64_t>(0x102000 + 512, 0x107); // a component that XCR0 has not
	faults(13, 0, standard_end - standard_start - 6);
	told.clear();
	load(xsave_unaligned_start, xsave_unaligned_end);
	faults(13, 0, 5);
	told.clear();
	load(xsave_missing_start, xsave_missing_end);
	faults(14, 2, 5);
	EXPECT_EQ(cr2(), missing);
	told.clear();
	load(standard_start, standard_end);
	poke<uint64_t>(0x102000 + 512, 7);
	poke<uint32_t>(0x102000 + 24, 0x80000000); // a reserved bit of MXCSR
	faults(13, 0, standard_end - standard_start - 6);
}

// ---- interrupts by instruction ---------------------------------------------------------------------------------------

ONE(traps, "int3\nint $0x21\nint3")
GUEST_CODE(count3, "incl 0x100000\niretq\n")
GUEST_CODE(count21, "incl 0x100004\niretq\n")

class traps : public assist {
protected:
	void prepare()
	{
		load(traps_start, traps_end);
		kb_bus_write(&vm->mem, handler_gpa + 0x400, count3_start, size_t(count3_end - count3_start));
		kb_bus_write(&vm->mem, handler_gpa + 0x500, count21_start, size_t(count21_end - count21_start));
		gate(3, handler_gpa + 0x400, 3);
		gate(0x21, handler_gpa + 0x500);
		poke<uint64_t>(data_gpa, 0);
		switch_on();
	}
};
TEST_F(traps, int3_and_int_n)
{
	prepare();
	good();
	EXPECT_EQ(peek<uint32_t>(data_gpa), 2u);
	EXPECT_EQ(peek<uint32_t>(data_gpa + 4), 1u);
	EXPECT_EQ(done(KB_ASSIST_INT), needs.insns ? 3u : 0u);
}
TEST_F(traps, counted_when_stepped)
{
	prepare();
	step_clock();
	v->step.why = KB_STEP_CLOCK;
	good();
	EXPECT_EQ(peek<uint32_t>(data_gpa), 2u);
	EXPECT_EQ(v->stats.steps, 3u + 3 * 2 + 1);
	EXPECT_EQ(v->clock.now_ps, 10 * insn);
}
TEST_F(assist, stepped_one_by_one)
{
	NEEDS(insns);
	load(simple_start, simple_end);
	switch_on();
	const uint64_t ends[] = {5, 9, 16, 17, 20, 21};
	for (uint64_t end : ends) {
		ASSERT_EQ(kb_vcpu_stop_after(v, 1, &err), 0) << err.msg;
		ASSERT_EQ(run(), KB_END_COUNTED) << err.msg;
		EXPECT_EQ(regs().rip, code_gpa + end);
	}
}

// ---- system calls ----------------------------------------------------------------------------------------------------------

// Ring 0 sets SYSCALL up and goes to ring 3, which calls three times, touches a page that is missing, and calls to end.
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
	std
	syscall
	cld
	dec %ebx
	jnz 1b
	mov $0x40000000, %ecx
	mov (%rcx), %rax
	mov $100, %eax
	syscall
2:	jmp 2b
)")
GUEST_CODE(entry, R"(
	incl 0x100000
	mov %cs, 0x100008
	mov %r11, 0x100010
	mov %rcx, 0x100018
	mov %rsp, 0x100020
	cmp $100, %eax
	je 1f
	sysretq
1:	out %al, $0xf0
	jmp 1b
)")
#define PAGE_FAULT(name, first)                                                                                        \
	GUEST_CODE(name, first "incl 0x100028\npush %rax\nmov 8(%rsp), %rax\nmov %rax, 0x100030\nmov 0x100038, %rax\n" \
			       "orb $1, (%rax)\npop %rax\nadd $8, %rsp\niretq\n")
PAGE_FAULT(fault_nop, "nop\n")
PAGE_FAULT(fault_plain, "")

class calls : public assist {
protected:
	void prepare(const uint8_t *fault, const uint8_t *fault_end)
	{
		load(calls_start, calls_end);
		kb_bus_write(&vm->mem, entry_gpa, entry_start, size_t(entry_end - entry_start));
		kb_bus_write(&vm->mem, handler_gpa + 0x400, fault, size_t(fault_end - fault));
		gate(14, handler_gpa + 0x400);
		poke<uint64_t>(KB_BOOT_PD + 8, peek<uint64_t>(KB_BOOT_PD + 8) & ~4ull); // the kernel's own
		poke<uint64_t>(KB_BOOT_PD + 0x1000, 0xe6);
		for (unsigned i = 0; i < 0x40; i += 8)
			poke<uint64_t>(data_gpa + i, 0);
		poke<uint64_t>(data_gpa + 0x38, KB_BOOT_PD + 0x1000);
		switch_on();
	}
	void check()
	{
		EXPECT_EQ(peek<uint32_t>(data_gpa), 4u);
		EXPECT_EQ(peek<uint16_t>(data_gpa + 8), 0x10u);
		EXPECT_EQ(peek<uint64_t>(data_gpa + 0x10) & ~0x8d7ull, 0x200u) << "R11: IF, no TF, no DF after CLD";
		EXPECT_EQ(peek<uint64_t>(data_gpa + 0x18), code_gpa + 0x41e);
		EXPECT_EQ(peek<uint64_t>(data_gpa + 0x20), stack_top);
		EXPECT_EQ(peek<uint32_t>(data_gpa + 0x28), 1u) << "page faults that the guest saw";
		EXPECT_EQ(peek<uint64_t>(data_gpa + 0x30), 4u);
		EXPECT_EQ(done(KB_ASSIST_SYSCALL), needs.syscall ? 4u : 0u);
		EXPECT_EQ(regs().rflags & 0x47700, 0u) << "FMASK";
	}
};

TEST_F(calls, reach_ring_0)
{
	prepare(fault_nop_start, fault_nop_end);
	good();
	check();
	EXPECT_EQ(done(KB_ASSIST_FAULT), needs.syscall ? 1u : 0u);
}
TEST_F(calls, handler_without_an_idle_first_instruction)
{
	prepare(fault_plain_start, fault_plain_end);
	good();
	check();
}
TEST_F(calls, stepped)
{
	prepare(fault_plain_start, fault_plain_end);
	step_clock();
	v->step.why = KB_STEP_CLOCK;
	good();
	check();
	EXPECT_EQ(v->stats.steps, 14u + 1 + 3 * 6 + 2 + 2 + 4 * 8 + 9) << "ring 0, ring 3's loop, the fault, the calls, its handler";
}
GUEST_CODE(tick, "incl 0x10002c\niretq\n")
TEST_F(calls, with_interrupts_in_between)
{
	prepare(fault_plain_start, fault_plain_end);
	kb_bus_write(&vm->mem, handler_gpa + 0x600, tick_start, size_t(tick_end - tick_start));
	gate(0x30, handler_gpa + 0x600);
	poke<uint32_t>(code_gpa + 0x401, 99); // 100 is the end
	quantum_ps = 30000000;
	kb_clock_destroy(&v->clock);
	const uint64_t none[2] = {};
	kb_clock_init_tsc(&v->clock, v->tsc_hz, 1.0, none);
	on_yield = [this] { v->intr = true; return 0; };
	on_ack = [this] { v->intr = false; return 0x30; };
	good();
	EXPECT_EQ(peek<uint32_t>(data_gpa), 100u);
	EXPECT_GT(peek<uint32_t>(data_gpa + 0x2c), 10u);
	EXPECT_EQ(peek<uint32_t>(data_gpa + 0x2c), v->stats.interrupts);
	EXPECT_EQ(peek<uint32_t>(data_gpa + 0x28), 1u);
}
// A jump to the entry is no system call, whatever is in the registers.
GUEST_CODE(jump, R"(
	mov $0xc0000081, %ecx
	xor %eax, %eax
	mov $0x00230010, %edx
	wrmsr
	inc %ecx
	mov $0x200000, %eax
	xor %edx, %edx
	wrmsr
	mov $0x10400, %ecx
	mov $0x202, %r11d
	sysretq
	.org jump_start + 0x400
	mov $0x10404, %ecx
	mov $0x200000, %eax
	jmp *%rax
)")
TEST_F(calls, a_jump_is_none)
{
	prepare(fault_plain_start, fault_plain_end);
	NEEDS(syscall);
	kb_bus_write(&vm->mem, code_gpa, jump_start, size_t(jump_end - jump_start));
	gate(14, handler_gpa + 16 * 14);
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_EQ(told, (std::vector<unsigned>{vector_port + 14, end_port}));
	EXPECT_EQ(peek<uint64_t>(regs().rsp), 0x15u);
	EXPECT_EQ(peek<uint64_t>(regs().rsp + 8), entry_gpa);
	EXPECT_EQ(done(KB_ASSIST_SYSCALL), 0u);
}
// The handler moves, the breakpoint follows: LIDT makes no exit, and the next one that comes will do.
TEST_F(calls, another_handler_later)
{
	prepare(fault_nop_start, fault_nop_end);
	gate(14, handler_gpa + 16 * 14);
	int ports = 0;
	// The first call's exit: only now the handler is the real one.
	on_advance = [&] {
		if (!ports++)
			gate(14, handler_gpa + 0x400);
	};
	good();
	check();
}

// ---- devices --------------------------------------------------------------------------------------------------------------

ONE(mmio, "mov $0xd0000000, %esi\nmovd (%rsi), %xmm0\nmovss %xmm0, 4(%rsi)\nvmovdqu 0x20(%rsi), %ymm1\nvmovdqu %ymm1, 0x40(%rsi)\n"
	  "movntdqa 0x10(%rsi), %xmm3\npopcntl 8(%rsi), %eax\nfldl (%rsi)")

class device : public assist {
protected:
	void check(unsigned ring)
	{
		load(mmio_start, mmio_end, ring);
		switch_on();
		good();
		std::vector<cycle> want{{0, 4, false, 0}, {4, 4, true, 0x44332211}};
		for (uint64_t i = 0; i < 4; i++)
			want.push_back({0x20 + 8 * i, 8, false, 0});
		for (uint64_t i = 0; i < 4; i++)
			want.push_back({0x40 + 8 * i, 8, true, read_value});
		want.push_back({0x10, 8, false, 0});
		want.push_back({0x18, 8, false, 0});
		want.push_back({8, 4, false, 0});
		want.push_back({0, 8, false, 0});
		EXPECT_EQ(mmio_log, want);
		EXPECT_EQ(regs().rax, 10u);
	}
};
TEST_F(device, accessed_by_vector_code_in_ring_0) { check(0); }
TEST_F(device, accessed_by_vector_code_in_ring_3) { check(3); }

// ---- other instructions of kernels ---------------------------------------------------------------------------------------

ONE(descriptors, "mov $0x10, %ecx\nlar %ecx, %eax\nsetz 0x100000\nmov %eax, 0x100004\nlsl %ecx, %eax\nsetz 0x100001\nmov %eax, 0x100008\n"
		 "verr %cx\nsetz 0x100002\nverw %cx\nsetz 0x100003\nmov $0x333, %ecx\nlar %ecx, %eax\nsetz 0x10000c\n"
		 "mov $0x18, %ecx\nverw %cx\nsetz 0x10000d\nmov $0x40, %ecx\nlsl %ecx, %eax\nsetz 0x10000e\nmov %eax, 0x100010\nverr %cx\nsetz 0x10000f")
ONE(stamps, "rdtscp\nmov %eax, 0x100000\nmov %edx, 0x100004\nrdtsc\nmov %eax, 0x100008\nmov %edx, 0x10000c\nxor %ecx, %ecx\nxgetbv\nmov %eax, 0x100010")
ONE(translations, "mov 0x40000000, %rbx\nmov 0x100038, %rax\nmov $0x2000e7, %ecx\nmov %ecx, (%rax)\nmov $2, %edx\nmov $0x100040, %esi\n"
		  "invpcid (%rsi), %rdx\nmov 0x40000000, %rcx\nmov $9, %edx\n3: invpcid (%rsi), %rdx")
ONE(hypercall, "mov $12345, %eax\nvmcall\nmov %rax, 0x100000")
ONE(shadow, "mov %esp, %edi\nsti\npopcnt %ebx, %eax\nmov %eax, 0x100000\nnop\nnop\ncli")
GUEST_CODE(own_steps, "pushfq\norl $0x100, (%rsp)\npopfq\npopcnt %ebx, %eax\nnop\nout %al, $0xf0\n")

TEST_F(assist, descriptors_asked_for)
{
	NEEDS(insns);
	load(descriptors_start, descriptors_end);
	switch_on();
	good();
	EXPECT_EQ(peek<uint32_t>(data_gpa), 0x00010101u) << "LAR, LSL, VERR of code; VERW not";
	EXPECT_EQ(peek<uint32_t>(data_gpa + 4), 0x00af9b00u);
	EXPECT_EQ(peek<uint32_t>(data_gpa + 8), 0xffffffffu);
	EXPECT_EQ(peek<uint32_t>(data_gpa + 12), 0x00010100u) << "none there; data; TSS; not to be read";
	EXPECT_EQ(peek<uint32_t>(data_gpa + 16), 0x206fu);
}
TEST_F(assist, time_stamp_and_xcr0)
{
	NEEDS(insns);
	load(stamps_start, stamps_end);
	switch_on();
	uint64_t before = kb_tsc();
	good();
	EXPECT_GT(peek<uint64_t>(data_gpa), before);
	EXPECT_GT(peek<uint64_t>(data_gpa + 8), peek<uint64_t>(data_gpa));
	EXPECT_EQ(peek<uint32_t>(data_gpa + 16), 7u);
}
TEST_F(assist, invpcid_makes_new_translations_seen)
{
	NEEDS(insns);
	load(translations_start, translations_end);
	poke<uint64_t>(KB_BOOT_PD + 0x1000, 0xe7); // to address 0
	poke<uint64_t>(data_gpa + 0x38, KB_BOOT_PD + 0x1000);
	poke<uint64_t>(0x200000, 0x1234567);
	poke<uint64_t>(data_gpa + 0x40, 0);
	switch_on();
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_EQ(told, (std::vector<unsigned>{vector_port + 13, end_port})) << "type 9";
	EXPECT_EQ(regs().rcx, 0x1234567u);
}
TEST_F(assist, hypercalls_end)
{
	NEEDS(hypercall);
	load(hypercall_start, hypercall_end);
	quantum_ps = 1000000000;
	kb_clock_destroy(&v->clock);
	const uint64_t none[2] = {};
	kb_clock_init_tsc(&v->clock, v->tsc_hz, 1.0, none);
	switch_on();
	good();
	EXPECT_EQ(peek<int64_t>(data_gpa), -1000);
}
TEST_F(assist, interrupts_wait_for_one_instruction_after_sti)
{
	NEEDS(insns);
	load(shadow_start, shadow_end);
	gate(0x30, handler_gpa + 16 * 31); // tells "31"
	switch_on();
	poke<uint32_t>(data_gpa, 99);
	v->intr = true;
	on_ack = [this] { v->intr = false; return 0x30; };
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_EQ(told, (std::vector<unsigned>{vector_port + 31, end_port}));
	EXPECT_EQ(peek<uint64_t>(regs().rsp), code_gpa + 7) << "right behind POPCNT";
	EXPECT_EQ(peek<uint32_t>(data_gpa), 99u);
}
TEST_F(assist, guest_that_steps_itself)
{
	NEEDS(insns);
	load(own_steps_start, own_steps_end);
	switch_on();
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	ASSERT_EQ(told, (std::vector<unsigned>{vector_port + 1, end_port}));
	EXPECT_EQ(peek<uint64_t>(regs().rsp), code_gpa + 9 + 4) << "behind POPCNT";
	kvm_debugregs d;
	ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, KVM_GET_DEBUGREGS, &d), 0);
	EXPECT_EQ(d.dr6 & 0x4000, 0x4000u);
}

// ---- 32-bit protected mode ------------------------------------------------------------------------------------------------

#define CODE32(name, text) GUEST_CODE(name, ".code32\n" text "\n.code64\n")
// A software interrupt, an exception, then to ring 3, whose fault ends it. The handlers end in IRET.
CODE32(prot32, "int $0x21\nincl 0x100000\nud2\nincl 0x100000\n"
	       "push $0x2b\npush $0x6f000\npushf\npush $0x23\npush $0x10400\niret\n"
	       ".org prot32_start + 0x400\nmov %cs, %ss:0x100008\nmov %esp, %ss:0x10000c\nmov %ds, %ss:0x100010\ncli\n1: jmp 1b")
CODE32(int32, "incl 0x100004\niret\n")
CODE32(ud32, "addl $2, (%esp)\niret\n")
CODE32(gp32, "out %al, $0xf0\n1: jmp 1b")
CODE32(bad_iret, "pushf\npush $0x100\npush $0x10400\niret")

class prot : public assist {
protected:
	void load32(const uint8_t *start, const uint8_t *end)
	{
		load(start, end);
		kb_bus_write(&vm->mem, handler_gpa, int32_start, size_t(int32_end - int32_start));
		kb_bus_write(&vm->mem, handler_gpa + 0x100, ud32_start, size_t(ud32_end - ud32_start));
		kb_bus_write(&vm->mem, handler_gpa + 0x200, gp32_start, size_t(gp32_end - gp32_start));
		const uint64_t gdt[] = {0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff};
		kb_bus_write(&vm->mem, gdt_gpa, gdt, sizeof(gdt));
		poke<uint32_t>(tss_gpa + 4, rsp0);
		poke<uint32_t>(tss_gpa + 8, 0x18);
		for (unsigned i = 0; i < 0x40; i++)
			poke<uint64_t>(idt_gpa + i * 8, 0x8e0000100000ull | (handler_gpa & 0xffff) | (handler_gpa >> 16) << 48 |
				(i == 6 ? 0x100 : i == 13 ? 0x200 : 0));
		poke<uint64_t>(data_gpa, 0);
		ASSERT_EQ(kb_vcpu_start_protected32(v, code_gpa, stack_top, gdt_gpa, &err), 0) << err.msg;
		sregs([](kvm_sregs &s) {
			s.gdt.limit = 0x2f;
			s.idt = {idt_gpa, 0x1ff, {}};
			s.tr.base = tss_gpa;
			s.tr.limit = 0x67;
		});
		switch_on();
	}
};

TEST_F(prot, interrupts_exceptions_and_iret_to_both_rings)
{
	load32(prot32_start, prot32_end);
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_EQ(peek<uint32_t>(data_gpa), 2u);
	EXPECT_EQ(peek<uint32_t>(data_gpa + 4), 1u);
	EXPECT_EQ(peek<uint16_t>(data_gpa + 8), 0x23u);
	EXPECT_EQ(peek<uint32_t>(data_gpa + 12), 0x6f000u);
	EXPECT_EQ(peek<uint16_t>(data_gpa + 16), 0u) << "no segment of ring 0";
	EXPECT_EQ(done(KB_ASSIST_INT), needs.insns ? 4u : 0u);
}
TEST_F(prot, iret_to_no_segment)
{
	load32(bad_iret_start, bad_iret_end);
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_EQ(peek<uint32_t>(regs().rsp), 0x100u) << "#GP names the selector";
	EXPECT_EQ(peek<uint32_t>(regs().rsp + 4), code_gpa + uint64_t(bad_iret_end - bad_iret_start) - 1);
}

// ---- hostile ----------------------------------------------------------------------------------------------------------------

// Random instructions, most of them such as KVM gives up on, on wild operands: the run ends, and the next one works.
TEST_F(assist, random_code)
{
	std::mt19937_64 random{7};
	static const char *const heads[] = {"", "\x0f", "\x66\x0f", "\xf3\x0f", "\xf2\x0f", "\x0f\xae", "\x0f\xc7", "\x0f\x01", "\x48\x0f\xae",
		"\xc5", "\xc4", "\x62\xf1", "\x66\x0f\x38", "\x0f\x38", "\xf2\x0f\x38", "\x66\x0f\x3a", "\xd9", "\xdd", "\x64\x0f", "\xf0\x48\x0f\xc7",
		"\x66\x48\x0f", "\xf3\x48\x0f\xb8", "\xcd", "\x8f"};
	const int rounds = 1500;
	int ends[8] = {};

	switch_on();
	quantum_ps = 2000000000;
	kb_clock_destroy(&v->clock);
	const uint64_t none[2] = {};
	kb_clock_init_tsc(&v->clock, v->tsc_hz, 1.0, none);
	for (int i = 0; i < rounds; i++) {
		uint8_t code[64];
		for (uint8_t &b : code)
			b = uint8_t(random());
		for (size_t n = 0; n < 48; n += 6 + random() % 6) {
			const char *head = heads[random() % (sizeof(heads) / sizeof(heads[0]))];
			memcpy(code + n, head, strlen(head));
		}
		memcpy(code + 62, "\xe6\xf0", 2);
		load(code, code + sizeof(code), random() % 4 ? 0 : 3);
		kvm_regs r = regs();
		uint64_t *const wild[] = {(uint64_t *)&r.rax, (uint64_t *)&r.rbx, (uint64_t *)&r.rcx, (uint64_t *)&r.rdx, (uint64_t *)&r.rsi,
			(uint64_t *)&r.rdi, (uint64_t *)&r.rbp, (uint64_t *)&r.r8, (uint64_t *)&r.r12, (uint64_t *)&r.rsp};
		static const uint64_t values[] = {0, 0xd0000000, 0xd0000ffc, 0x3ffffc, 0x100000, 0x40000000, UINT64_MAX, 0x7fffffffffff, 1ull << 63, KB_BOOT_PML4};
		for (uint64_t *w : wild)
			*w = random() % 3 ? values[random() % 10] : random();
		ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, KVM_SET_REGS, &r), 0);
		int yielded = 0;
		on_yield = [&] { return ++yielded < 5 ? 0 : give_up(); };
		told.clear();
		ends[run()]++;
		ASSERT_EQ(kb_vcpu_start_reset(v, &err), 0) << err.msg;
	}
	on_yield = nullptr;
	told.clear();
	EXPECT_GT(ends[KB_END_REQUESTED], rounds / 4);
	load(simple_start, simple_end);
	good();
}

} // namespace
