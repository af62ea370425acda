// The run loop on real KVM: accesses, interrupts, halts, slices, ends.
// Port 0x1ff ends the run. Guest code runs in ring 0, 64-bit, identity mapped.
#include <atomic>
#include <thread>

#include "tests/kvm/rival.h"
#include "tests/kvm/vcpu_fixture.h"

using fixture::cycle;
using fixture::code_gpa;

namespace {

using vcpu = fixture::vcpu;

#define END "mov $0x1ff, %edx\n out %al, (%dx)\n 9: jmp 9b\n"

GUEST_CODE(mmio_sizes, R"(
	mov $0xd0000000, %ebx
	mov (%rbx), %rax
	mov %rax, 0x8(%rbx)
	mov 0x4(%rbx), %ecx
	mov %cx, 0x12(%rbx)
	movb $0x5a, 0x15(%rbx)
	movzwl 0x6(%rbx), %eax
	mov %eax, 0x21(%rbx)
	mov %rax, 0x2000
)" END)

TEST_F(vcpu, mmio_of_every_size_reaches_the_bus)
{
	load(mmio_sizes_start, mmio_sizes_end);
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_EQ(mmio_log, (std::vector<cycle>{
		{0, 8, false, 0}, {8, 8, true, 0x8877665544332211}, {4, 4, false, 0}, {0x12, 2, true, 0x2211},
		{0x15, 1, true, 0x5a}, {6, 2, false, 0},
		{0x21, 1, true, 0x11}, {0x22, 2, true, 0x22}, {0x24, 1, true, 0}}));
	EXPECT_EQ(peek<uint64_t>(0x2000), 0x2211u);
	EXPECT_EQ(v->stats.exits[KB_EXIT_MMIO], 7u);
}

GUEST_CODE(string_io, R"(
	cld
	mov $0x3000, %esi
	mov $5, %ecx
	mov $0x110, %edx
	rep outsb
	mov $0x3100, %edi
	mov $3, %ecx
	mov $0x120, %edx
	rep insl
	mov %ecx, 0x3200
)" END)

// Statistics tell what an exit costs from what the guest computes; never more than the stay took.
TEST_F(vcpu, exits_cost_what_was_measured_at_most_what_they_took)
{
	const uint64_t second[2] = {1000000000000, 1000000000000}, ns[2] = {1000, 1000};
	load(mmio_sizes_start, mmio_sizes_end);
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_EQ(v->stats.kvm_ticks, 0u) << "none was given";
	for (auto cost : {second, ns}) {
		v->stats = kb_vcpu_stats{};
		kb_vcpu_set_exit_cost(v, cost);
		load(mmio_sizes_start, mmio_sizes_end);
		ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
		const uint64_t stays = v->stats.guest_ticks - v->stats.stolen_ticks, ticks = v->tsc_hz / 1000000000;
		EXPECT_EQ(v->stats.kvm_ticks, cost == second ? stays : v->stats.entries * ticks);
	}
}

TEST_F(vcpu, string_io_moves_each_element_once)
{
	load(string_io_start, string_io_end);
	kb_bus_write(&vm->mem, 0x3000, "hello", 5);
	read_value = 0x44332211;
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	ASSERT_EQ(port_log.size(), 9u);
	for (int i = 0; i < 5; i++)
		EXPECT_EQ(port_log[i], (cycle{0x10, 1, true, uint64_t("hello"[i])}));
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(port_log[5 + i], (cycle{0x20, 4, false, 0}));
		EXPECT_EQ(peek<uint32_t>(0x3100 + 4 * i), 0x44332211u);
	}
	EXPECT_EQ(peek<uint32_t>(0x3200), 0u);
}

GUEST_CODE(irq_guest, R"(
	lidt 0x4fff0
	lea 3f(%rip), %rax
	sti
	hlt
	nop
	cli
	mov $0x101, %edx
	out %al, (%dx)      # the test raises the line here, IF=0
	mov $200, %ecx
1:	dec %ecx
	jnz 1b
	mov $0x102, %edx
	out %al, (%dx)      # still not taken
	sti
	nop
	nop
	mov $0x3000, %ecx
2:	dec %ecx
	jnz 2b
)" END R"(
	.balign 16
3:	push %rax
	push %rdx
	mov $0x103, %edx
	mov $0x77, %al
	out %al, (%dx)
	pop %rdx
	pop %rax
	iretq
)")

TEST_F(vcpu, interrupts_wait_for_if_and_wake_from_hlt)
{
	load(irq_guest_start, irq_guest_end);
	// The handler is the last 16-byte aligned block.
	uint64_t handler = code_gpa;
	for (const uint8_t *p = irq_guest_start; p < irq_guest_end; p++)
		if (p[0] == 0x50 && p[1] == 0x52)
			handler = code_gpa + uint64_t(p - irq_guest_start);
	set_gate(0x45, handler);
	int acks = 0, idles = 0;
	on_ack = [&] { acks++; v->intr = false; return 0x45; };
	on_idle = [&] {
		idles++;
		v->clock.now_ps += 5000000;
		v->intr = true;
		return 0;
	};
	on_port = [&](const cycle &a) {
		if (a.off == 1)
			v->intr = true;
	};
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_EQ(acks, 2);
	EXPECT_EQ(idles, 1);
	std::vector<uint64_t> order;
	for (auto &a : port_log)
		order.push_back(a.off);
	EXPECT_EQ(order, (std::vector<uint64_t>{3, 1, 2, 3, 0xff}));
	EXPECT_EQ(v->stats.interrupts, 2u);
}

GUEST_CODE(nmi_guest, R"(
	lidt 0x4fff0
	hlt
)" END R"(
	push %rax
	push %rdx
	mov $0x103, %edx
	out %al, (%dx)
	pop %rdx
	pop %rax
	iretq
)")

TEST_F(vcpu, nmi_wakes_hlt_in_spite_of_if)
{
	load(nmi_guest_start, nmi_guest_end);
	for (const uint8_t *p = nmi_guest_start; p < nmi_guest_end; p++)
		if (p[0] == 0x50 && p[1] == 0x52)
			set_gate(2, code_gpa + uint64_t(p - nmi_guest_start));
	on_idle = [&] { kb_vcpu_nmi(v); return 0; };
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	ASSERT_EQ(port_log.size(), 2u);
	EXPECT_EQ(port_log[0].off, 3u);
	EXPECT_EQ(v->stats.nmis, 1u);
}

GUEST_CODE(halt_cli, "cli\n hlt\n" END)

TEST_F(vcpu, hlt_with_if_clear_ignores_intr)
{
	load(halt_cli_start, halt_cli_end);
	int idles = 0;
	v->intr = true;
	on_idle = [&] { return ++idles < 3 ? 0 : give_up(); };
	EXPECT_EQ(run(), KB_END_STOPPED);
	EXPECT_EQ(idles, 3);
	EXPECT_TRUE(port_log.empty());
}

GUEST_CODE(spin, "1: jmp 1b\n")

TEST_F(vcpu, slices_end_at_the_deadline)
{
	load(spin_start, spin_end);
	quantum_ps = 500000000; // 0.5 ms
	on_yield = [&] { return yields < 20 ? 0 : give_up(); };
	EXPECT_EQ(run(), KB_END_STOPPED);
	EXPECT_EQ(yields, 20);
	EXPECT_GE(v->clock.now_ps, 20 * quantum_ps);
	EXPECT_GE(v->stats.exits[KB_EXIT_KICK], 20u);
}


GUEST_CODE(count, R"(
	mov $20000, %ecx
1:	dec %ecx
	jnz 1b
)" END)

TEST_F(vcpu, precise_slices_end_exactly_at_the_deadline)
{
	load(spin_start, spin_end);
	kb_vcpu_set_kick(v, 2000000, true); // leaves 2 ms early, so that even a busy host is in time now and then
	quantum_ps = 5000000000;            // 5 ms
	int exact = 0;
	uint64_t deadline = quantum_ps;
	on_yield = [&] {
		exact += v->clock.now_ps == deadline;
		EXPECT_GE(v->clock.now_ps, deadline);
		deadline = v->clock.now_ps + quantum_ps;
		return exact < 5 && yields < 500 ? 0 : give_up(); // a host with much else to do is late now and then
	};
	EXPECT_EQ(run(), KB_END_STOPPED);
	EXPECT_GT(exact, 0);
	EXPECT_EQ(v->stats.overshoot.count[0], uint64_t(exact));
	uint64_t all = 0;
	for (uint64_t n : v->stats.overshoot.count)
		all += n;
	EXPECT_EQ(all, uint64_t(yields));
}

TEST_F(vcpu, eager_slices_overshoot_and_say_so)
{
	load(spin_start, spin_end);
	quantum_ps = 500000000;
	on_yield = [&] { return yields < 20 ? 0 : give_up(); };
	EXPECT_EQ(run(), KB_END_STOPPED);
	EXPECT_GT(v->stats.overshoot.max_ps, 0u);
	EXPECT_EQ(v->stats.stalls, 0u);
}

TEST_F(vcpu, precise_slices_too_short_to_run_still_get_the_guest_on)
{
	load(count_start, count_end);
	kb_vcpu_set_kick(v, 50000, true);
	quantum_ps = 10000; // a model's 100 MHz clock
	EXPECT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_GT(v->stats.stalls, 0u);
	EXPECT_GE(v->stats.entries + 1, v->stats.stalls); // never twice in a row
}

// Its registers are the same at every kick: that must not be taken for a stay that was too short.
TEST_F(vcpu, a_waiting_guest_does_not_get_longer_slices)
{
	load(spin_start, spin_end);
	quantum_ps = 500000000;
	on_yield = [&] { return yields < 100 ? 0 : give_up(); };
	EXPECT_EQ(run(), KB_END_STOPPED);
	EXPECT_LT(v->min_ticks, v->tsc_hz / 2000);
}

TEST_F(vcpu, the_shortest_slices_make_progress)
{
	load(count_start, count_end);
	quantum_ps = 1; // a picosecond
	EXPECT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_GT(yields, 0);
}

TEST_F(vcpu, progress_even_if_the_host_needs_longer_than_the_floor)
{
	load(count_start, count_end);
	quantum_ps = 1;
	v->floor_ticks = v->min_ticks = 1; // ask for the impossible
	EXPECT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_GT(v->min_ticks, 1u);
}

// Guest time is the CPU time the guest got, not what passed on the host's clock.
TEST_F(vcpu, a_host_that_runs_others_makes_no_guest_time)
{
	load(spin_start, spin_end);
	fixture::rival r;
	timespec from, to, wall_from, wall_to;
	quantum_ps = 20000000000; // 20 ms: longer than a turn of the host's scheduler
	on_yield = [&] { return v->clock.now_ps < 300000000000 ? 0 : give_up(); };
	clock_gettime(CLOCK_MONOTONIC, &wall_from);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
	EXPECT_EQ(run(), KB_END_STOPPED);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
	clock_gettime(CLOCK_MONOTONIC, &wall_to);
	auto ms = [](const timespec &a, const timespec &b) {
		return double(b.tv_sec - a.tv_sec) * 1e3 + double(b.tv_nsec - a.tv_nsec) / 1e6;
	};
	const double cpu = ms(from, to), guest = double(v->clock.now_ps) / 1e9;
	EXPECT_LT(guest, cpu * 1.05 + 1);
	EXPECT_GT(guest, cpu * 0.8); // the rest is entries and exits
	EXPECT_GT(ms(wall_from, wall_to), 1.3 * cpu) << "the rival was none";
	EXPECT_GT(v->stats.stolen_ticks, 0u);
}

TEST_F(vcpu, time_never_goes_back_and_always_moves)
{
	load(count_start, count_end);
	uint64_t last = 0;
	quantum_ps = 100000000;
	on_advance = [&] {
		EXPECT_GE(v->clock.now_ps, last);
		last = v->clock.now_ps;
	};
	EXPECT_EQ(run(), KB_END_REQUESTED);
	EXPECT_GT(last, 0u);
}

TEST_F(vcpu, stop_from_another_thread)
{
	load(spin_start, spin_end);
	quantum_ps = 1000000000000000; // 1000 s: only the stop can end it
	on_yield = [&] { return give_up(); };
	std::thread t([&] {
		std::this_thread::sleep_for(std::chrono::milliseconds(20));
		kb_vcpu_stop(v);
	});
	EXPECT_EQ(run(), KB_END_STOPPED);
	t.join();
	EXPECT_EQ(yields, 0);
	// And it goes on afterwards.
	quantum_ps = 1000000;
	EXPECT_EQ(run(), KB_END_STOPPED);
	EXPECT_GT(yields, 0);
}

TEST_F(vcpu, a_stop_before_the_run_is_not_lost)
{
	load(spin_start, spin_end);
	quantum_ps = 1000000000000000;
	kb_vcpu_stop(v);
	EXPECT_EQ(run(), KB_END_STOPPED);
	EXPECT_EQ(v->stats.entries, 0u);
}

TEST_F(vcpu, may_move_to_another_thread)
{
	load(spin_start, spin_end);
	quantum_ps = 1000000000;
	on_yield = [&] { return give_up(); };
	EXPECT_EQ(run(), KB_END_STOPPED);
	std::thread t([&] { EXPECT_EQ(run(), KB_END_STOPPED); });
	t.join();
	EXPECT_EQ(yields, 2);
}

GUEST_CODE(rmw, "mov $0xd0000000, %ebx\n addl $1, (%rbx)\n" END)

TEST_F(vcpu, a_stop_inside_an_access_completes_it)
{
	load(rmw_start, rmw_end);
	// End requested by the read: the write half must still happen before run() returns.
	static kb_vcpu *the_vcpu;
	static int writes;
	the_vcpu = v;
	writes = 0;
	mmio.read = [](void *, uint64_t, unsigned) -> uint64_t { kb_vcpu_end(the_vcpu); return 41; };
	mmio.write = [](void *, uint64_t, unsigned, uint64_t x) { writes += x == 42; };
	EXPECT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_EQ(writes, 1);
	EXPECT_TRUE(port_log.empty());
	EXPECT_EQ(run(), KB_END_REQUESTED);
	EXPECT_EQ(writes, 1);
	EXPECT_EQ(port_log.size(), 1u);
}

// ---- ends -------------------------------------------------------------------------

GUEST_CODE(triple, "lidt 1f(%rip)\n ud2\n 1: .word 0\n .quad 0\n")

TEST_F(vcpu, triple_fault_ends_with_a_report)
{
	load(triple_start, triple_end);
	EXPECT_EQ(run(), KB_END_SHUTDOWN);
	EXPECT_NE(strstr(err.msg, "triple fault"), nullptr) << err.msg;
	EXPECT_NE(strstr(err.msg, "64-bit mode"), nullptr) << err.msg;
	EXPECT_NE(strstr(err.msg, "RIP 0x1"), nullptr) << err.msg;
}

GUEST_CODE(fpu_mmio, "mov $0xd0000000, %ebx\n fldl (%rbx)\n" END)

TEST_F(vcpu, an_instruction_kvm_cannot_emulate_is_named)
{
	load(fpu_mmio_start, fpu_mmio_end);
	EXPECT_EQ(run(), KB_END_ERROR);
	EXPECT_NE(strstr(err.msg, "cannot emulate"), nullptr) << err.msg;
	EXPECT_NE(strstr(err.msg, "dd 03"), nullptr) << err.msg;
	EXPECT_NE(strstr(err.msg, "ring 0"), nullptr) << err.msg;
}

// ---- failing system calls ------------------------------------------------------------

struct failure {
	int code;
	const char *says;
};

class run_fails : public vcpu, public testing::WithParamInterface<failure> {
};

TEST_P(run_fails, with_a_report)
{
	load(spin_start, spin_end);
	int calls = 0;
	fixture::ioctl_hook = [&](int, unsigned long request, void *, int &rc) {
		if (request != KVM_RUN || ++calls <= 2)
			return false;
		errno = GetParam().code;
		rc = -1;
		return true;
	};
	EXPECT_EQ(run(), KB_END_ERROR);
	EXPECT_NE(strstr(err.msg, GetParam().says), nullptr) << err.msg;
	EXPECT_NE(strstr(err.msg, "RIP 0x10000"), nullptr) << err.msg;
}

INSTANTIATE_TEST_SUITE_P(kvm_run, run_fails,
	testing::Values(failure{EFAULT, "EFAULT"}, failure{ENOMEM, "Cannot allocate"}, failure{EBADF, "Bad file"},
			failure{EAGAIN, "temporarily"}, failure{EINVAL, "Invalid"}, failure{ENOEXEC, "Exec format"}),
	[](const auto &i) { return std::string(strerrorname_np(i.param.code)); });

TEST_F(vcpu, eintr_and_eagain_are_survived)
{
	load(count_start, count_end);
	int calls = 0;
	fixture::ioctl_hook = [&](int, unsigned long request, void *, int &rc) {
		if (request != KVM_RUN || ++calls > 50)
			return false;
		errno = calls % 2 ? EINTR : EAGAIN;
		rc = -1;
		return true;
	};
	EXPECT_EQ(run(), KB_END_REQUESTED) << err.msg;
}

struct strange_exit {
	uint32_t reason;
	const char *says;
	kb_end end;
};

class strange : public vcpu, public testing::WithParamInterface<strange_exit> {
};

TEST_P(strange, ends_with_a_report)
{
	load(spin_start, spin_end);
	fixture::ioctl_hook = [&](int, unsigned long request, void *, int &rc) {
		if (request != KVM_RUN)
			return false;
		v->run->exit_reason = GetParam().reason;
		v->run->internal.suberror = KVM_INTERNAL_ERROR_DELIVERY_EV;
		v->run->internal.ndata = 16;
		rc = 0;
		return true;
	};
	EXPECT_EQ(run(), GetParam().end);
	EXPECT_NE(strstr(err.msg, GetParam().says), nullptr) << err.msg;
	EXPECT_NE(strstr(err.msg, "RIP 0x10000"), nullptr) << err.msg;
}

INSTANTIATE_TEST_SUITE_P(exits, strange,
	testing::Values(strange_exit{KVM_EXIT_FAIL_ENTRY, "refused to enter", KB_END_ERROR},
			strange_exit{KVM_EXIT_INTERNAL_ERROR, "delivering", KB_END_ERROR},
			strange_exit{KVM_EXIT_SHUTDOWN, "triple fault", KB_END_SHUTDOWN},
			strange_exit{KVM_EXIT_SYSTEM_EVENT, "system event", KB_END_SHUTDOWN},
			strange_exit{KVM_EXIT_UNKNOWN, "KVM_EXIT_UNKNOWN", KB_END_ERROR},
			strange_exit{KVM_EXIT_HYPERCALL, "KVM_EXIT_HYPERCALL", KB_END_ERROR},
			strange_exit{KVM_EXIT_DEBUG, "KVM_EXIT_DEBUG", KB_END_ERROR},
			strange_exit{4711, "does not know", KB_END_ERROR}));

TEST_F(vcpu, registers_that_cannot_be_read_do_not_hide_the_report)
{
	load(triple_start, triple_end);
	fixture::ioctl_hook = [&](int, unsigned long request, void *, int &rc) {
		if (request != KVM_GET_REGS && request != KVM_GET_SREGS)
			return false;
		errno = EBADF;
		rc = -1;
		return true;
	};
	EXPECT_EQ(run(), KB_END_SHUTDOWN);
	EXPECT_NE(strstr(err.msg, "triple fault"), nullptr) << err.msg;
	EXPECT_NE(strstr(err.msg, "cannot be read"), nullptr) << err.msg;
}

TEST_F(vcpu, a_failing_interrupt_ends_the_run)
{
	load(irq_guest_start, irq_guest_end);
	on_idle = [&] { v->intr = true; return 0; };
	on_ack = [&] { return 0x45; };
	fixture::ioctl_hook = [&](int, unsigned long request, void *, int &rc) {
		if (request != KVM_INTERRUPT)
			return false;
		errno = ENXIO;
		rc = -1;
		return true;
	};
	EXPECT_EQ(run(), KB_END_ERROR);
	EXPECT_NE(strstr(err.msg, "KVM_INTERRUPT"), nullptr) << err.msg;
}

} // namespace
