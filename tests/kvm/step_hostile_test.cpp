// Guests that make trouble while they are stepped, and a KVM that fails: the box goes on, or says why not.
#include <cstdlib>
#include <random>

#include "tests/kvm/step_fixture.h"

using fixture::code_gpa;
using fixture::cycle;
using fixture::handler_gpa;
using fixture::idt_gpa;
using fixture::insn;
using fixture::tss_gpa;

namespace {

class hostile : public fixture::stepped {
protected:
	bool traps_ring3() const { return !kb_probe_cached()->step[1]; }
	// However it ends: soon, and with a reason.
	kb_end run_for(uint64_t n)
	{
		err.msg[0] = 0;
		EXPECT_EQ(kb_vcpu_stop_after(v, n, &err), 0);
		kb_end e = run();
		EXPECT_TRUE(err.msg[0] || (e != KB_END_ERROR && e != KB_END_SHUTDOWN));
		EXPECT_LE(v->stats.steps, n + 1);
		return e;
	}
};

#define END "mov $0x1ff, %edx\n out %al, (%dx)\n 9: jmp 9b\n"

GUEST_CODE(count_traps, R"(
	incl 0x3000
	iretq
)")

// It single-steps itself.
GUEST_CODE(own_tf, R"(
	pushfq
	orl $0x100, (%rsp)
	popfq
	nop
	mov $3, %ecx
1:	dec %ecx
	jnz 1b
	pushfq
	andl $~0x100, (%rsp)
	popfq
	nop
)" END)

TEST_F(hostile, a_guest_that_steps_itself_in_ring_3)
{
	load(own_tf_start, own_tf_end, count_traps_start, count_traps_end, 3);
	free_clock();
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	const auto traps = peek<uint32_t>(0x3000);
	EXPECT_EQ(traps, 11u);
	step_clock();
	v->step.why = KB_STEP_CLOCK;
	at.clear();
	poke<uint32_t>(0x3000, 0);
	load(own_tf_start, own_tf_end, count_traps_start, count_traps_end, 3);
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_EQ(peek<uint32_t>(0x3000), traps);
	EXPECT_EQ(at, (std::vector<uint64_t>{15 + 2 * traps + 2}));
}

GUEST_CODE(loop3, R"(
1:	nop
	int3
	.byte 0xf1
	mov %ss, %eax
	mov %eax, %ss
	nop
	pushfq
	popfq
	jmp 1b
)")
GUEST_CODE(just_iret, "iretq\n")

TEST_F(hostile, traps_shadows_and_breakpoints_in_ring_3)
{
	load(loop3_start, loop3_end, just_iret_start, just_iret_end, 3);
	EXPECT_EQ(run_for(1000), KB_END_COUNTED) << err.msg;
	EXPECT_GE(v->clock.now_ps, 1000 * insn);
	EXPECT_LE(v->clock.now_ps, 1001 * insn); // MOV SS may take the next one along
}

struct bad_idt {
	const char *name;
	uint16_t limit;
	uint64_t low, high;
	kb_end end;
	const char *says;
};

class idt : public hostile, public testing::WithParamInterface<bad_idt> {
};

TEST_P(idt, does_not_break_the_box)
{
	load(loop3_start, loop3_end, just_iret_start, just_iret_end, 3);
	if (!traps_ring3())
		GTEST_SKIP() << "this host needs no IDT for ring 3";
	kvm_sregs s;
	ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, KVM_GET_SREGS, &s), 0);
	s.idt.limit = GetParam().limit;
	ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, KVM_SET_SREGS, &s), 0);
	poke<uint64_t>(idt_gpa + 16, GetParam().low);
	poke<uint64_t>(idt_gpa + 24, GetParam().high);
	const kb_end e = run_for(100);
	EXPECT_EQ(e, GetParam().end) << err.msg;
	EXPECT_NE(strstr(err.msg, GetParam().says), nullptr) << err.msg;
}

INSTANTIATE_TEST_SUITE_P(bad, idt,
	testing::Values(bad_idt{"none", 0, 0, 0, KB_END_ERROR, "there is none"},
			bad_idt{"short", 31 - 1, 0x0000'8e00'0010'4000, 0, KB_END_ERROR, "there is none"},
			bad_idt{"absent", 0xfff, 0x0001'0e00'0010'4000, 0, KB_END_ERROR, "there is none"},
			bad_idt{"unmapped", 0xfff, 0x0000'8e00'0010'4000, 0x70, KB_END_ERROR, "there is none"},
			bad_idt{"not_canonical", 0xfff, 0x0000'8e00'0010'4000, 0x7fff0000, KB_END_ERROR, "there is none"},
			bad_idt{"mmio", 0xfff, 0xd000'8e00'0010'0000, 0, KB_END_ERROR, "there is none"},
			bad_idt{"own_code", 0xfff, 0x0001'8e00'0010'0001, 0, KB_END_ERROR, "cannot emulate"}),
	[](const auto &i) { return i.param.name; });

TEST_F(hostile, no_stack_for_ring_0)
{
	load(loop3_start, loop3_end, just_iret_start, just_iret_end, 3);
	poke<uint64_t>(tss_gpa + 4, 0x700000000000);
	EXPECT_EQ(run_for(100), traps_ring3() ? KB_END_ERROR : KB_END_SHUTDOWN) << err.msg;
}

// Writes its gates while it is stepped through them.
GUEST_CODE(mover, R"(
1:	movw $0x4000, 0x50010
	movw $0x4020, 0x50030
	inc %ecx
	jmp 1b
)")

TEST_F(hostile, a_guest_that_writes_its_gates)
{
	load(mover_start, mover_end, count_traps_start, count_traps_end, 3);
	EXPECT_EQ(run_for(400), KB_END_COUNTED) << err.msg;
	EXPECT_EQ(v->clock.now_ps, 400 * insn);
	EXPECT_EQ(regs().rcx, 100u);
	EXPECT_EQ(peek<uint32_t>(0x3000), 0u) << "the guest saw our traps";
}

// The instruction that moves its own trap to another handler gets it there; and so what.
GUEST_CODE(swapper, R"(
1:	movw $0x4010, 0x50010
	movw $0x4000, 0x50010
	jmp 1b
)")

TEST_F(hostile, a_guest_that_moves_the_handler_under_the_step)
{
	load(swapper_start, swapper_end, count_traps_start, count_traps_end, 3);
	EXPECT_NE(run_for(300), KB_END_NONE);
}

// An interrupt whose gate leads nowhere.
GUEST_CODE(open_guest, "1: nop\n jmp 1b\n")
GUEST_CODE(drop_error, "add $8, %rsp\n iretq\n")

TEST_F(hostile, an_interrupt_to_nowhere)
{
	for (unsigned ring : {0u, 3u}) {
		load(open_guest_start, open_guest_end, drop_error_start, drop_error_end, ring);
		flags(0x202);
		poke<uint64_t>(idt_gpa + 0x45 * 16, 0);
		v->intr = true;
		on_ack = [&] { v->intr = false; return 0x45; };
		v->stats.steps = 0;
		EXPECT_EQ(run_for(50), KB_END_COUNTED) << err.msg; // #NP
		EXPECT_EQ(this->ring(), ring);
	}
}

// Whatever the bytes, the run ends as told. Ring 0 may do what it likes to the machine.
TEST_F(hostile, noise)
{
	for (unsigned seed = 0; seed < 120; seed++) {
		std::mt19937 random(seed);
		uint8_t code[4096];
		for (auto &b : code)
			b = uint8_t(random());
		kb_vcpu_destroy(v);
		kb_vm_destroy(vm);
		ASSERT_EQ(make(), 0) << err.msg;
		step_clock();
		kb_vcpu_set_step(v, kb_probe_cached()->step, kb_probe_cached()->ring0_native);
		load(code, code + sizeof(code), just_iret_start, just_iret_end, seed % 2 ? 3 : 0);
		on_idle = [&] { return give_up(); };
		const kb_end e = run_for(200);
		EXPECT_NE(e, KB_END_NONE) << seed;
	}
}

// ---- a KVM that fails -------------------------------------------------------------------------

struct failing {
	const char *name;
	unsigned long request;
};

class step_fails : public hostile, public testing::WithParamInterface<failing> {
};

TEST_P(step_fails, with_a_report)
{
	load(loop3_start, loop3_end, just_iret_start, just_iret_end, 3);
	if (!traps_ring3() && GetParam().request != KVM_SET_GUEST_DEBUG)
		GTEST_SKIP() << "not needed on this host";
	if (GetParam().request == KVM_GET_VCPU_EVENTS)
		kb_vcpu_nmi(v);
	fixture::ioctl_hook = [&](int, unsigned long request, void *, int &rc) {
		if (request != GetParam().request)
			return false;
		errno = EINVAL;
		rc = -1;
		return true;
	};
	ASSERT_EQ(kb_vcpu_stop_after(v, 30, &err), 0);
	EXPECT_EQ(run(), KB_END_ERROR);
	EXPECT_NE(strstr(err.msg, GetParam().name), nullptr) << err.msg;
	EXPECT_NE(strstr(err.msg, "single-stepping"), nullptr) << err.msg;
}

INSTANTIATE_TEST_SUITE_P(kvm, step_fails,
	testing::Values(failing{"KVM_SET_GUEST_DEBUG", KVM_SET_GUEST_DEBUG}, failing{"KVM_SET_REGS", KVM_SET_REGS},
			failing{"KVM_SET_SREGS", KVM_SET_SREGS}, failing{"KVM_GET_VCPU_EVENTS", KVM_GET_VCPU_EVENTS}),
	[](const auto &i) { return std::string(i.param.name); });

TEST_F(hostile, a_host_that_cannot_step_says_so)
{
	kb_vcpu_set_step(v, (const bool[2]){false, false}, false);
	EXPECT_EQ(kb_vcpu_stop_after(v, 1, &err), -EOPNOTSUPP);
	EXPECT_NE(strstr(err.msg, "single-step"), nullptr) << err.msg;
	load(loop3_start, loop3_end, just_iret_start, just_iret_end, 0);
	EXPECT_EQ(run(), KB_END_ERROR);
	EXPECT_NE(strstr(err.msg, "clock=step"), nullptr) << err.msg;
}

} // namespace
