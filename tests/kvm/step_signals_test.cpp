// Signals while the guest is stepped, at any moment: whatever KVM has half done is neither lost nor done twice.
#include <signal.h>
#include <sys/time.h>

#include "tests/kvm/step_fixture.h"

using fixture::handler_gpa;
using fixture::insn;

namespace {

#define END "mov $0x1ff, %edx\n out %al, (%dx)\n 9: jmp 9b\n"

constexpr uint64_t calls = 0x3000, interrupts = 0x3008;
constexpr unsigned vector = 0x45;

// Calls of ring 0, ECX of them.
GUEST_CODE(caller, R"(
1:	nop
	int3
	dec %ecx
	jnz 1b
)" END)
GUEST_CODE(handlers, R"(
	incl 0x3000
	iretq
	.balign 16
	incl 0x3008
	iretq
)")

class signals : public fixture::stepped {
protected:
	void TearDown() override
	{
		quiet();
		fixture::stepped::TearDown();
	}
	void start(uint64_t n, uint64_t rflags)
	{
		load(caller_start, caller_end, handlers_start, handlers_end, 3);
		gate(3, handler_gpa, 3);
		gate(vector, handler_gpa + 16);
		kvm_regs r = regs();
		r.rcx = n;
		r.rflags = rflags;
		ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, KVM_SET_REGS, &r), 0);
		poke<uint64_t>(calls, 0);
		poke<uint64_t>(interrupts, 0);
	}
	// A profiler's, say.
	void storm(long every_us)
	{
		struct sigaction sa{};
		sa.sa_handler = [](int) {};
		sigaction(SIGALRM, &sa, &m_before);
		m_stormy = true;
		itimerval often{{0, every_us}, {0, every_us}};
		setitimer(ITIMER_REAL, &often, nullptr);
	}
	void quiet()
	{
		itimerval never{};
		if (!m_stormy)
			return;
		setitimer(ITIMER_REAL, &never, nullptr);
		sigaction(SIGALRM, &m_before, nullptr);
		m_stormy = false;
	}

private:
	struct sigaction m_before{};
	bool m_stormy = false;
};

// A signal between KVM_INTERRUPT and the delivery. KVM leaves the vector in kvm_run's interrupt_bitmap then.
TEST_F(signals, an_interrupt_that_waits_comes_once)
{
	bool queued = false;
	unsigned early = 0;
	fixture::ioctl_hook = [&](int fd, unsigned long request, void *arg, int &rc) {
		queued |= request == KVM_INTERRUPT;
		if (request != KVM_RUN || !queued)
			return false;
		queued = false;
		early++;
		v->run->immediate_exit = 1;
		rc = kb_kvm_linux.ioctl(fd, request, arg);
		v->run->immediate_exit = 0;
		return true;
	};
	on_ack = [&] { v->intr = false; return int(vector); };
	for (uint64_t when = 0; when < 8; when++) {
		start(10, 0x202);
		kb_clock_init_step(&v->clock, v->tsc_hz, insn);
		at.clear();
		bool raised = false;
		on_advance = [&] {
			if (!raised && v->clock.now_ps >= when * insn)
				raised = v->intr = true;
			if (v->clock.now_ps > 1000 * insn)
				kb_vcpu_stop(v);
		};
		ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
		EXPECT_EQ(peek<uint32_t>(calls), 10u) << when;
		EXPECT_EQ(peek<uint32_t>(interrupts), 1u) << when;
		EXPECT_EQ(at, (std::vector<uint64_t>{10 * 6 + 2 + 2})) << when;
	}
	EXPECT_EQ(early, 8u);
}

TEST_F(signals, calls_of_ring_0_are_not_lost)
{
	for (int i = 0; i < 3; i++) {
		start(1000, 0x202);
		kb_clock_init_step(&v->clock, v->tsc_hz, insn);
		at.clear();
		storm(150);
		ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
		quiet();
		EXPECT_EQ(peek<uint32_t>(calls), 1000u);
		EXPECT_EQ(at, (std::vector<uint64_t>{1000 * 6 + 2}));
	}
	EXPECT_GT(v->stats.exits[KB_EXIT_KICK], 0u);
}

// Up to where an interrupt may be taken: ring 3 runs freely, and enters ring 0 here all the time.
TEST_F(signals, nor_when_stepping_for_an_interrupt)
{
	free_clock();
	v->intr = true;
	on_ack = [] { return int(vector); };
	for (int i = 0; i < 3; i++) {
		start(3000, 2);
		storm(150);
		ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
		quiet();
		EXPECT_EQ(peek<uint32_t>(calls), 3000u);
		EXPECT_EQ(peek<uint32_t>(interrupts), 0u);
	}
}

// Stopped anywhere, then stepped a bit, then on.
TEST_F(signals, nor_when_stepping_begins_at_one)
{
	uint64_t stops = 0;
	kb_end e;

	for (uint64_t rflags : {0x202, 2}) {
		free_clock();
		start(20000, rflags);
		fixture::ioctl_hook = [&](int fd, unsigned long request, void *arg, int &rc) {
			if (request != KVM_RUN)
				return false;
			rc = kb_kvm_linux.ioctl(fd, request, arg);
			if (rc < 0 && errno == EINTR && !v->step.why)
				v->stop = true;
			return true;
		};
		storm(150);
		while ((e = run()) == KB_END_STOPPED || e == KB_END_COUNTED) {
			if (e == KB_END_COUNTED)
				continue;
			stops++;
			ASSERT_EQ(kb_vcpu_stop_after(v, 3, &err), 0);
		}
		quiet();
		ASSERT_EQ(e, KB_END_REQUESTED) << err.msg;
		EXPECT_EQ(peek<uint32_t>(calls), 20000u) << std::hex << rflags;
	}
	EXPECT_GT(stops, 100u);
}

} // namespace
