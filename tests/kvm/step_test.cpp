// Single-stepping on real KVM: what an instruction is, exact in both rings; stops by count; clock=step.
// Port 0x1ff ends the run; writes to other ports of 0x100-0x1ff note the time, which is the number of instructions.
#include <signal.h>
#include <sys/time.h>

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

// String I/O, and IN, are marks, too.
static const std::vector<uint64_t> plain_marks{2, 16, 24, 32, 36, 44, 52, 57, 59, 63, 64, 67, 67, 67, 71, 3075};

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

// Faults do not count, nor does their delivery; int3 does. 3 instructions for ud2, 3 for int3.
GUEST_CODE(traps, MARK R"(
	ud2
)" MARK R"(
	mov $0x7000000000, %rbx
	mov 0(%rbx), %al       # 2 bytes, a page fault: one instruction of the handler more
)" MARK R"(
	pushfq
	pop %rax
	mov %rax, 0x3000
	pushfq
	popfq
)" MARK END)

// #UD and #PF: the error code of the latter is dropped. #BP.
GUEST_CODE(trap_handlers, R"(
	addq $2, (%rsp)
	iretq
	.balign 16
	add $8, %rsp
	addq $2, (%rsp)
	iretq
	.balign 16
	swapgs
	swapgs
	iretq
)")

class rings : public step, public testing::WithParamInterface<unsigned> {
protected:
	void gates()
	{
		gate(14, handler_gpa + 16);
		gate(3, handler_gpa + 32, 3);
	}
};

TEST_P(rings, exceptions)
{
	load(traps_start, traps_end, trap_handlers_start, trap_handlers_end, GetParam());
	gates();
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	// ud2: 2 of the handler. #PF: mov, 3 of the handler.
	EXPECT_EQ(at, (std::vector<uint64_t>{2, 6, 12, 19, 21}));
	EXPECT_EQ(peek<uint64_t>(0x3000) & 0x100, 0u) << "the guest sees our TF";
}

INSTANTIATE_TEST_SUITE_P(both, rings, testing::Values(0u, 3u));

GUEST_CODE(user_calls, MARK R"(
	mov $3, %ecx
1:	int3
	dec %ecx
	jnz 1b
)" MARK END)

TEST_F(step, swapgs_and_iret_between_the_rings)
{
	load(user_calls_start, user_calls_end, trap_handlers_start, trap_handlers_end, 3);
	gate(3, handler_gpa + 32, 3);
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_EQ(at, (std::vector<uint64_t>{2, 2 + 1 + 3 * 6 + 2, 2 + 1 + 3 * 6 + 4}));
}

// ---- stops by count ------------------------------------------------------------------

struct place {
	uint64_t rip, rcx, rsp;
	unsigned ring;
	bool operator==(const place &o) const { return rip == o.rip && rcx == o.rcx && rsp == o.rsp && ring == o.ring; }
	friend void PrintTo(const place &p, std::ostream *o)
	{
		*o << std::hex << "RIP " << p.rip << " RCX " << p.rcx << " RSP " << p.rsp << " ring " << p.ring;
	}
};

GUEST_CODE(mixed, MARK R"(
	mov $2, %ecx
1:	int3
	dec %ecx
	jnz 1b
	ud2
	cld
	mov $4, %ecx
	mov $0x3000, %esi
	mov $0x3100, %edi
	rep movsb
	mov $0xd0000000, %ebx
	mov %eax, (%rbx)
	addl $1, (%rbx)
	mov $0x110, %edx
	mov $2, %ecx
	mov $0x3000, %esi
	rep outsb
	pushfq
	pop %rax
)" MARK END)

class counted : public step, public testing::WithParamInterface<unsigned> {
protected:
	void restart()
	{
		kb_vcpu_stop_after(v, UINT64_MAX, nullptr);
		kb_clock_init_step(&v->clock, v->tsc_hz, insn);
		synced_ps = 0;
		at.clear();
		mmio_log.clear();
		port_log.clear();
		load(mixed_start, mixed_end, trap_handlers_start, trap_handlers_end, GetParam());
		gate(3, handler_gpa + 32, 3);
		if (GetParam() == 0) // KVM's emulator knows no int3: two bytes less
			poke<uint8_t>(code_gpa + 11, 0x90);
	}
	place here() { return {regs().rip, regs().rcx, regs().rsp, ring()}; }
};

TEST_P(counted, one_by_one_and_all_at_once_come_to_the_same_places)
{
	std::vector<place> places;
	restart();
	ASSERT_EQ(peek<uint8_t>(code_gpa + 11), GetParam() ? 0xcc : 0x90);
	places.push_back(here());
	for (;;) {
		ASSERT_EQ(kb_vcpu_stop_after(v, 1, &err), 0) << err.msg;
		kb_end e = run();
		if (e == KB_END_REQUESTED)
			break;
		ASSERT_EQ(e, KB_END_COUNTED) << err.msg;
		ASSERT_EQ(v->clock.now_ps, places.size() * insn);
		places.push_back(here());
		ASSERT_LT(places.size(), 200u);
	}
	EXPECT_EQ(places.size(), GetParam() ? 39u : 33u);
	const auto marks = at;
	const auto cycles = port_log;
	for (unsigned n = 0; n < places.size(); n++) {
		restart();
		ASSERT_EQ(kb_vcpu_stop_after(v, n, &err), 0);
		ASSERT_EQ(run(), KB_END_COUNTED) << n << ": " << err.msg;
		EXPECT_EQ(here(), places[n]) << n;
		EXPECT_EQ(v->clock.now_ps, n * insn);
		ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg; // and goes on
		EXPECT_EQ(at, marks) << n;
		EXPECT_EQ(port_log, cycles) << n;
	}
}

TEST_P(counted, with_a_clock_that_counts_none)
{
	std::vector<place> places;
	for (unsigned n = 0; n < 33; n++) {
		restart();
		ASSERT_EQ(kb_vcpu_stop_after(v, n, &err), 0);
		ASSERT_EQ(run(), KB_END_COUNTED) << err.msg;
		places.push_back(here());
	}
	free_clock();
	for (unsigned n = 0; n < 33; n++) {
		restart();
		free_clock();
		ASSERT_EQ(kb_vcpu_stop_after(v, n, &err), 0);
		ASSERT_EQ(run(), KB_END_COUNTED) << err.msg;
		EXPECT_EQ(here(), places[n]) << n;
		ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg; // freely
	}
}

INSTANTIATE_TEST_SUITE_P(both, counted, testing::Values(0u, 3u));

TEST_P(counted, nothing_and_no_end)
{
	restart();
	ASSERT_EQ(kb_vcpu_stop_after(v, 0, &err), 0);
	EXPECT_EQ(run(), KB_END_COUNTED);
	EXPECT_EQ(regs().rip, code_gpa);
	ASSERT_EQ(kb_vcpu_stop_after(v, 5, &err), 0);
	ASSERT_EQ(kb_vcpu_stop_after(v, UINT64_MAX, &err), 0);
	EXPECT_EQ(run(), KB_END_REQUESTED) << err.msg;
	restart();
	ASSERT_EQ(kb_vcpu_stop_after(v, UINT64_MAX - 1, &err), 0);
	EXPECT_EQ(run(), KB_END_REQUESTED) << err.msg;
}

// A count set in the middle of an access: the access is the first instruction, and is done.
TEST_P(counted, from_within_an_access)
{
	for (uint64_t n : {0, 1, 2}) {
		restart();
		free_clock();
		std::vector<uint64_t> written;
		static std::vector<uint64_t> *w;
		static kb_vcpu *the_vcpu;
		static uint64_t count;
		w = &written;
		the_vcpu = v;
		count = n;
		mmio.read = [](void *, uint64_t, unsigned) -> uint64_t {
			kb_vcpu_stop_after(the_vcpu, count, nullptr);
			return 41;
		};
		mmio.write = [](void *, uint64_t, unsigned, uint64_t x) { w->push_back(x); };
		ASSERT_EQ(run(), KB_END_COUNTED) << err.msg;
		ASSERT_EQ(written.size(), 2u) << "half an access is left";
		EXPECT_EQ(written[1], 42u);
		const uint64_t rip = regs().rip;
		if (n < 2) {
			EXPECT_EQ(peek<uint8_t>(rip), 0xba); // mov $0x110, %edx
		} else {
			EXPECT_EQ(peek<uint8_t>(rip), 0xb9); // mov $2, %ecx
		}
		EXPECT_EQ(run(), KB_END_REQUESTED) << err.msg;
	}
}

// ---- interrupts and HLT --------------------------------------------------------------------

// Says where it interrupted.
GUEST_CODE(irq, R"(
	push %rax
	push %rdx
	mov 16(%rsp), %eax
	mov $0x104, %edx
	out %eax, (%dx)
	pop %rdx
	pop %rax
	iretq
)")

GUEST_CODE(shadow, "sti\n nop\n nop\n nop\n" END)

TEST_F(step, sti_holds_an_interrupt_off_for_one_instruction)
{
	load(shadow_start, shadow_end, irq_start, irq_end, 0);
	v->intr = true;
	on_ack = [&] { v->intr = false; return 0x45; };
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	ASSERT_EQ(port_log.size(), 2u);
	EXPECT_EQ(port_log[0].value, code_gpa + 2);
	EXPECT_EQ(at, (std::vector<uint64_t>{2 + 5, 2 + 8 + 4}));
}

GUEST_CODE(work, R"(
1:	nop
	inc %eax
	xor %ebx, %eax
	jmp 1b
)")

TEST_P(rings, interrupts_at_the_very_instruction)
{
	for (unsigned when = 0; when < 13; when++) {
		load(work_start, work_end, irq_start, irq_end, GetParam());
		flags(0x202);
		kb_clock_init_step(&v->clock, v->tsc_hz, insn);
		port_log.clear();
		at.clear();
		bool raised = false;
		on_advance = [&] {
			if (!raised && v->clock.now_ps >= when * insn)
				raised = v->intr = true;
		};
		on_ack = [&] { v->intr = false; return 0x45; };
		ASSERT_EQ(kb_vcpu_stop_after(v, when + 20, &err), 0);
		ASSERT_EQ(run(), KB_END_COUNTED) << err.msg;
		ASSERT_EQ(port_log.size(), 1u) << when;
		const uint64_t rips[] = {0, 1, 3, 5};
		EXPECT_EQ(port_log[0].value, code_gpa + rips[when % 4]) << when;
		EXPECT_EQ(at[0], when + 5) << when;
		EXPECT_EQ(v->clock.now_ps, (when + 20) * insn);
		EXPECT_EQ(regs().rip, code_gpa + rips[(when + 20 - 8) % 4]) << when;
		EXPECT_EQ(ring(), GetParam());
	}
}

TEST_P(rings, nmis_at_the_very_instruction)
{
	for (unsigned when = 1; when < 6; when++) {
		load(work_start, work_end, irq_start, irq_end, GetParam());
		kb_clock_init_step(&v->clock, v->tsc_hz, insn);
		port_log.clear();
		bool raised = false;
		on_advance = [&] {
			if (!raised && v->clock.now_ps >= when * insn) {
				raised = true;
				kb_vcpu_nmi(v);
			}
		};
		ASSERT_EQ(kb_vcpu_stop_after(v, when + 20, &err), 0);
		ASSERT_EQ(run(), KB_END_COUNTED) << err.msg;
		ASSERT_EQ(port_log.size(), 1u) << when;
		const uint64_t rips[] = {0, 1, 3, 5};
		EXPECT_EQ(port_log[0].value, code_gpa + rips[when % 4]) << when;
		EXPECT_EQ(regs().rip, code_gpa + rips[(when + 20 - 8) % 4]) << when;
	}
}

GUEST_CODE(sleeper, "sti\n hlt\n" MARK "hlt\n" MARK END)

TEST_F(step, hlt_counts_once_and_sleeping_not_at_all)
{
	load(sleeper_start, sleeper_end, irq_start, irq_end, 0);
	v->intr = true; // HLT in the shadow: taken in there, not before
	int sleeps = 0;
	on_ack = [&] { v->intr = false; return 0x45; };
	on_idle = [&] {
		sleeps++;
		v->clock.now_ps += 1000 * insn;
		v->intr = true;
		return 0;
	};
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_EQ(sleeps, 1);
	EXPECT_EQ(port_log[0].value, code_gpa + 2);
	EXPECT_EQ(at, (std::vector<uint64_t>{7, 12, 1018, 1023, 1025}));
}

TEST_F(step, a_stop_in_hlt_waits_for_nothing)
{
	load(sleeper_start, sleeper_end, irq_start, irq_end, 0);
	int sleeps = 0;
	on_idle = [&] { return ++sleeps < 3 ? 0 : give_up(); };
	ASSERT_EQ(kb_vcpu_stop_after(v, 2, &err), 0);
	EXPECT_EQ(run(), KB_END_COUNTED);
	EXPECT_EQ(sleeps, 0);
	EXPECT_EQ(v->state, KB_VCPU_HALTED);
	ASSERT_EQ(kb_vcpu_stop_after(v, 1, &err), 0);
	EXPECT_EQ(run(), KB_END_STOPPED); // asleep: no instruction to count
	EXPECT_EQ(sleeps, 3);
	v->intr = true;
	on_ack = [&] { v->intr = false; return 0x45; };
	EXPECT_EQ(run(), KB_END_COUNTED);
	EXPECT_EQ(regs().rip, handler_gpa + 1);
}

// ---- twice the same ------------------------------------------------------------------------

// Works with interrupts off for different times, lets them in for moments, in both rings.
GUEST_CODE(busy, R"(
	mov $40, %ebp
1:	cli
	mov $0xd0000000, %ebx
	mov (%rbx), %eax         # raises an interrupt
	mov %ebp, %ecx
	shl $2, %ecx
2:	dec %ecx
	jnz 2b
	sti
	nop
	nop
	inc %esi
	cli
	mov %ebp, %ecx
3:	dec %ecx
	jnz 3b
	sti
	mov %esi, 4(%rbx)
	dec %ebp
	jnz 1b
)" END)

class twice : public step {
protected:
	void interrupt_at_reads()
	{
		mmio.opaque = static_cast<twice *>(this);
		mmio.read = [](void *o, uint64_t, unsigned) -> uint64_t {
			static_cast<twice *>(o)->v->intr = true;
			return 0;
		};
	}
	std::string trace()
	{
		std::string text;
		load(busy_start, busy_end, irq_start, irq_end, 0);
		v->clock.now_ps = synced_ps = 0;
		port_log.clear();
		interrupt_at_reads();
		mmio.write = [](void *o, uint64_t, unsigned, uint64_t x) {
			auto *t = static_cast<twice *>(o);
			t->port_log.push_back({t->v->clock.now_ps, 0, true, x});
		};
		on_port = [&](const cycle &c) {
			text += std::to_string(c.value) + " " + std::to_string(v->clock.now_ps) + "\n";
		};
		on_ack = [&] { v->intr = false; return 0x45; };
		EXPECT_EQ(run(), KB_END_REQUESTED) << err.msg;
		for (auto &c : port_log)
			text += std::to_string(c.off) + ":" + std::to_string(c.value) + " ";
		return text;
	}
	// The next instruction after sti; nop, all forty times.
	void expect_exact(const std::string &text)
	{
		size_t n = 0, line = 0;
		const std::string where = std::to_string(code_gpa + 24) + " ";
		for (; text.compare(line, where.size(), where) == 0; n++)
			line = text.find('\n', line) + 1;
		EXPECT_EQ(n, 40u) << text;
	}
};

TEST_F(twice, with_clock_step)
{
	const std::string alone = trace();
	expect_exact(alone);
	kb_clock_init_step(&v->clock, v->tsc_hz, insn);
	EXPECT_EQ(trace(), alone);
	fixture::rival r;
	kb_clock_init_step(&v->clock, v->tsc_hz, insn);
	EXPECT_EQ(trace(), alone);
}

TEST_F(twice, with_clock_fixed)
{
	free_clock();
	const std::string alone = trace();
	expect_exact(alone);
	free_clock();
	EXPECT_EQ(trace(), alone);
	fixture::rival r;
	free_clock();
	EXPECT_EQ(trace(), alone);
}

// Signals come at any time: a profiler's, another box's. They change nothing.
TEST_F(twice, whatever_signals_come)
{
	free_clock();
	const std::string alone = trace();
	struct sigaction sa{}, before;
	sa.sa_handler = [](int) {};
	sigaction(SIGALRM, &sa, &before);
	itimerval often{{0, 1000}, {0, 1000}}, never{};
	setitimer(ITIMER_REAL, &often, nullptr);
	free_clock();
	EXPECT_EQ(trace(), alone);
	step_clock();
	v->step.why = KB_STEP_CLOCK;
	const std::string disturbed = trace();
	setitimer(ITIMER_REAL, &never, nullptr);
	sigaction(SIGALRM, &before, nullptr);
	kb_clock_init_step(&v->clock, v->tsc_hz, insn);
	EXPECT_EQ(trace(), disturbed);
}

// Ring 3 with interrupts off, and a call of ring 0 that lets them in for a moment.
GUEST_CODE(user_busy, R"(
	mov $20, %ebp
1:	mov $0xd0000000, %ebx
	mov (%rbx), %eax         # raises an interrupt
	mov $300000, %ecx
2:	dec %ecx
	jnz 2b
	int3
	mov %ebp, 4(%rbx)
	dec %ebp
	jnz 1b
)" END)
GUEST_CODE(window, R"(
	nop
	sti
	nop
	nop
	cli
	iretq
)")

TEST_F(twice, ring_3_runs_freely_up_to_where_interrupts_may_be_let_in)
{
	free_clock();
	for (int i = 0; i < 2; i++) {
		load(user_busy_start, user_busy_end, irq_start, irq_end, 3);
		kb_bus_write(&vm->mem, handler_gpa + 0x100, window_start, size_t(window_end - window_start));
		gate(3, handler_gpa + 0x100, 3);
		interrupt_at_reads();
		mmio.write = [](void *, uint64_t, unsigned, uint64_t) {};
		on_ack = [&] { v->intr = false; return 0x45; };
		port_log.clear();
		v->stats.steps = 0;
		ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
		ASSERT_EQ(port_log.size(), 21u);
		for (int n = 0; n < 20; n++)
			EXPECT_EQ(port_log[n].value, handler_gpa + 0x103);
		EXPECT_LT(v->stats.steps, 20u * 20);
	}
}

GUEST_CODE(deaf, "mov $0xd0000000, %ebx\n mov (%rbx), %eax\n cli\n 1: jmp 1b\n")

// An interrupt that is never taken must not stop time.
TEST_F(twice, a_guest_that_never_takes_its_interrupt_does_not_stop_time)
{
	uint64_t first = 0;
	for (int i = 0; i < 2; i++) {
		free_clock();
		load(deaf_start, deaf_end, irq_start, irq_end, 0);
		synced_ps = 0;
		quantum_ps = 1000000;
		yields = 0;
		interrupt_at_reads();
		on_yield = [&] { return yields < 2 ? 0 : give_up(); };
		EXPECT_EQ(run(), KB_END_STOPPED);
		EXPECT_GE(v->clock.now_ps, 1000000000u);
		EXPECT_EQ(v->clock.now_ps, i ? first : v->clock.now_ps);
		first = v->clock.now_ps;
	}
}

// ---- slices -----------------------------------------------------------------------------------

TEST_F(step, slices_end_at_the_first_boundary)
{
	load(work_start, work_end, irq_start, irq_end, 0);
	quantum_ps = 10 * insn + 1;
	std::vector<uint64_t> ends;
	on_yield = [&] { ends.push_back(v->clock.now_ps); return yields < 3 ? 0 : give_up(); };
	EXPECT_EQ(run(), KB_END_STOPPED);
	EXPECT_EQ(ends, (std::vector<uint64_t>{11 * insn, 22 * insn, 33 * insn}));
	EXPECT_EQ(v->stats.overshoot_max_ps, 0u);
}

GUEST_CODE(long_string, "cld\n mov $0x40000, %ecx\n mov $0x200000, %edi\n rep stosb\n" END)

TEST_F(step, slices_and_counts_end_within_string_instructions)
{
	load(long_string_start, long_string_end, irq_start, irq_end, 0);
	quantum_ps = 5000 * insn;
	on_yield = [&] { EXPECT_EQ(v->clock.now_ps, yields * quantum_ps); return 0; };
	ASSERT_EQ(kb_vcpu_stop_after(v, 3 + 1500, &err), 0);
	ASSERT_EQ(run(), KB_END_COUNTED) << err.msg;
	EXPECT_EQ(regs().rcx, 0x40000u - 1500);
	EXPECT_EQ(regs().rdi, 0x200000u + 1500);
	ASSERT_EQ(kb_vcpu_stop_after(v, 0x40000 - 1500, &err), 0);
	ASSERT_EQ(run(), KB_END_COUNTED) << err.msg;
	EXPECT_EQ(regs().rcx, 0u);
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_EQ(v->clock.now_ps, (3 + 0x40000 + 2) * insn);
	EXPECT_EQ(yields, (3 + 0x40000 + 1) / 5000);
}

} // namespace
