// Stops by instruction count with a PMU, which the test plays: where the box runs the guest freely, the hook in front of KVM_RUN
// steps it, counts, and lets the overflow be late by a number of instructions. The box must come to the places that stepping comes to.
#include <filesystem>
#include <fstream>
#include <map>

#include <unistd.h>

#include "tests/kvm/step_fixture.h"

using fixture::code_gpa;
using fixture::handler_gpa;

namespace {

constexpr uint64_t margin = 60;

struct pmu {
	std::map<int, uint64_t> counts, aims, periods;
	int next = 1000, running = 0; // the counter of the core type that the thread is on
	uint64_t skid = 0, turn = 0;
	bool taken_away = false;

	int current() const { return std::next(counts.begin(), running % int(counts.size()))->first; }
	// One more; true: time for the overflow's signal.
	bool count()
	{
		const int fd = current();
		const bool late = ++counts[fd] == aims[fd] + skid;

		if (late)
			aims[fd] = counts[fd] + periods[fd];
		if (turn && counts[fd] % turn == 0)
			running++;
		return late;
	}
} the_pmu;

const kb_perf_api fake = {
	[](perf_event_attr *attr, pid_t, int, int, unsigned long) {
		EXPECT_TRUE(attr->exclude_host);
		the_pmu.counts[the_pmu.next] = 0;
		the_pmu.aims[the_pmu.next] = UINT64_MAX;
		return the_pmu.next++;
	},
	[](int fd, void *buf, size_t len) -> ssize_t {
		if (the_pmu.taken_away)
			return 0;
		memcpy(buf, &the_pmu.counts.at(fd), len);
		return ssize_t(len);
	},
	[](int fd) { return the_pmu.counts.erase(fd) == 1 ? 0 : -1; },
	"/nowhere", "/nowhere",
	[](int, int, pid_t) { return 0; },
	[](int fd, uint64_t events) {
		the_pmu.periods[fd] = events;
		the_pmu.aims[fd] = the_pmu.counts.at(fd) + events;
		return 0;
	},
};

// Computes, sometimes accesses devices, sleeps. The handler comes back by RDI (the hook's steps do not stop behind IRET).
GUEST_CODE(worker, R"(
	mov $0xd0000000, %ebx
	lea 3f(%rip), %rdi
	mov $0x110, %edx
1:	inc %ecx
	xor %ecx, %eax
	test $15, %cl
	jnz 1b
	out %al, (%dx)
	mov %eax, (%rbx)
	addl $1, (%rbx)
	mov 8(%rbx), %esi
	test $63, %cl
	jnz 1b
	sti
	hlt
3:	jmp 1b
)")
GUEST_CODE(jump_back, R"(
	mov $0x60000, %esp
	inc %ebp
	jmp *%rdi
)")

GUEST_CODE(thinker, "1: inc %ecx\n xor %ecx, %eax\n jmp 1b\n")

struct place {
	uint64_t rip, rcx, rax, rbp;
	bool operator==(const place &o) const { return rip == o.rip && rcx == o.rcx && rax == o.rax && rbp == o.rbp; }
	friend void PrintTo(const place &p, std::ostream *o)
	{
		*o << std::hex << "RIP " << p.rip << " RCX " << p.rcx << " RAX " << p.rax << " RBP " << p.rbp;
	}
};

class counted_by_pmu : public fixture::stepped {
protected:
	bool queued = false; // an interrupt that KVM has not delivered yet

	void SetUp() override
	{
		fixture::stepped::SetUp();
		if (IsSkipped() || HasFatalFailure())
			return;
		the_pmu = pmu();
		on_idle = [this] { v->intr = true; return 0; };
		on_ack = [this] { v->intr = false; return 0x45; };
		fixture::ioctl_hook = [this](int fd, unsigned long request, void *, int &rc) {
			queued |= request == KVM_INTERRUPT;
			if (request != KVM_RUN || v->run->immediate_exit)
				return false;
			if (the_pmu.counts.empty() || v->step.armed)
				return queued = false;
			rc = run_counted(fd);
			return true;
		};
	}
	void TearDown() override
	{
		fixture::stepped::TearDown();
		EXPECT_TRUE(the_pmu.counts.empty()) << "counters are left open";
	}
	int run_counted(int fd)
	{
		for (;;) {
			const uint64_t rip = regs().rip; // kvm_run has it only after the first run
			kvm_guest_debug d{}, off{};

			if (queued) { // no step stops at the handler
				d.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
				d.arch.debugreg[0] = handler_gpa;
				d.arch.debugreg[7] = 1;
			} else if (peek<uint8_t>(rip) != 0xf4) { // a step over HLT would hide its exit
				d.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
			}
			kb_kvm_linux.ioctl(fd, KVM_SET_GUEST_DEBUG, &d);
			int rc = kb_kvm_linux.ioctl(fd, KVM_RUN, nullptr), code = errno;
			kb_kvm_linux.ioctl(fd, KVM_SET_GUEST_DEBUG, &off);
			errno = code;
			if (rc == 0 && v->run->exit_reason != KVM_EXIT_DEBUG)
				return rc;
			if (queued && v->run->s.regs.regs.rip == handler_gpa) // delivered
				queued = false;
			else if (v->run->s.regs.regs.rip != rip && the_pmu.count())
				rc = -1, errno = EINTR;
			if (rc < 0)
				return rc;
		}
	}
	// The clock counts none of it, and depends on no window.
	void start(const uint8_t *code = worker_start, const uint8_t *end = worker_end)
	{
		uint64_t no_cost[2] = {0, 0};

		load(code, end, jump_back_start, jump_back_end, 0);
		kb_clock_destroy(&v->clock);
		kb_clock_init_tsc(&v->clock, v->tsc_hz, 1.0, no_cost);
		v->step.why = 0;
		v->stats.steps = 0;
		synced_ps = 0;
		v->intr = false;
	}
	void by_pmu(const kb_perf_api *api = &fake)
	{
		ASSERT_EQ(kb_vcpu_count_by(v, api, &err), 0) << err.msg;
		v->count.margin = margin;
	}
	place stop_after(uint64_t n)
	{
		EXPECT_EQ(kb_vcpu_stop_after(v, n, &err), 0) << err.msg;
		EXPECT_EQ(run(), KB_END_COUNTED) << err.msg;
		return {regs().rip, regs().rcx, regs().rax, regs().rbp};
	}
	// From the start, after n, in one go.
	place stepped_to(uint64_t n)
	{
		EXPECT_EQ(kb_vcpu_count_by(v, nullptr, &err), 0);
		start();
		return stop_after(n);
	}
};

TEST_F(counted_by_pmu, comes_where_stepping_comes)
{
	for (uint64_t n : {margin - 1, margin, margin + 1, margin + 2, uint64_t(200), uint64_t(777), uint64_t(778), uint64_t(779), uint64_t(2000)}) {
		const place there = stepped_to(n);
		for (uint64_t skid : {uint64_t(0), uint64_t(1), uint64_t(7), margin}) {
			by_pmu();
			start();
			the_pmu.skid = skid;
			EXPECT_EQ(stop_after(n), there) << n << ", overflow late by " << skid;
			if (n > 500) {
				EXPECT_LE(v->stats.steps, margin) << "it has been stepped";
			}
		}
	}
}

TEST_F(counted_by_pmu, again_and_again)
{
	const place there = stepped_to(3000);
	by_pmu();
	the_pmu.skid = 5;
	start();
	stop_after(1000);
	stop_after(0);
	stop_after(999);
	EXPECT_EQ(stop_after(1001), there);
}

// Runs that end otherwise do not disturb it.
TEST_F(counted_by_pmu, through_stops_and_slices)
{
	const place there = stepped_to(3000);
	unsigned stops = 0;
	kb_end e;

	by_pmu();
	start();
	quantum_ps = 1000000000; // 1 ms: some in that time
	on_port = [&](const fixture::cycle &) {
		if (++stops % 2)
			kb_vcpu_stop(v);
	};
	ASSERT_EQ(kb_vcpu_stop_after(v, 3000, &err), 0);
	while ((e = run()) == KB_END_STOPPED)
		;
	ASSERT_EQ(e, KB_END_COUNTED) << err.msg;
	EXPECT_EQ((place{regs().rip, regs().rcx, regs().rax, regs().rbp}), there);
	EXPECT_GT(stops, 10u);
	EXPECT_GT(yields, 0);
}

// The thread changes between cores of two types all the time; each has its counter.
TEST_F(counted_by_pmu, on_a_hybrid_cpu)
{
	const auto dir = std::filesystem::temp_directory_path() / ("count_pmu_test." + std::to_string(getpid()));
	const std::string devices = dir.string();
	kb_perf_api hybrid = fake;

	for (auto [name, type] : std::map<std::string, int>{{"cpu_core", 4}, {"cpu_atom", 10}}) {
		std::filesystem::create_directories(dir / name);
		std::ofstream(dir / name / "type") << type << "\n";
		std::ofstream(dir / name / "cpus") << "0-3\n";
	}
	hybrid.devices = devices.c_str();
	for (uint64_t n : {uint64_t(1000), uint64_t(1777)}) {
		const place there = stepped_to(n);
		for (uint64_t turn : {1, 37, 10000}) {
			the_pmu.turn = turn;
			by_pmu(&hybrid);
			start();
			EXPECT_EQ(stop_after(n), there) << n << ", " << turn;
			EXPECT_LE(v->stats.steps, 2 * margin);
		}
	}
	std::filesystem::remove_all(dir);
}

// Set in the middle of an access, which is the first of them.
TEST_F(counted_by_pmu, from_within_an_access)
{
	std::vector<place> places;

	for (const kb_perf_api *api : {static_cast<const kb_perf_api *>(nullptr), &fake}) {
		bool set = false;
		ASSERT_EQ(kb_vcpu_count_by(v, api, &err), 0);
		v->count.margin = margin;
		start();
		on_port = [&](const fixture::cycle &) {
			if (!set) {
				EXPECT_EQ(kb_vcpu_stop_after(v, 500, &err), 0);
			}
			set = true;
		};
		ASSERT_EQ(run(), KB_END_COUNTED) << err.msg;
		places.push_back({regs().rip, regs().rcx, regs().rax, regs().rbp});
	}
	EXPECT_EQ(places[0], places[1]);
}

TEST_F(counted_by_pmu, an_overflow_that_is_too_late_is_an_error)
{
	by_pmu();
	the_pmu.skid = margin + 20;
	start(thinker_start, thinker_end);
	ASSERT_EQ(kb_vcpu_stop_after(v, 555, &err), 0);
	EXPECT_EQ(run(), KB_END_ERROR);
	EXPECT_NE(strstr(err.msg, "20 instructions too far"), nullptr) << err.msg;
	kb_vcpu_stop_after(v, UINT64_MAX, nullptr);
}

TEST_F(counted_by_pmu, a_counter_that_is_taken_away_is_an_error)
{
	by_pmu();
	start();
	on_port = [&](const fixture::cycle &) { the_pmu.taken_away = true; };
	ASSERT_EQ(kb_vcpu_stop_after(v, 5000, &err), 0);
	EXPECT_EQ(run(), KB_END_ERROR);
	EXPECT_NE(strstr(err.msg, "taken away"), nullptr) << err.msg;
	kb_vcpu_stop_after(v, UINT64_MAX, nullptr);
}

TEST_F(counted_by_pmu, no_pmu_is_said)
{
	kb_perf_api none = fake;

	none.open = [](perf_event_attr *, pid_t, int, int, unsigned long) {
		errno = ENOENT;
		return -1;
	};
	EXPECT_EQ(kb_vcpu_count_by(v, &none, &err), -ENOENT);
	EXPECT_NE(strstr(err.msg, "no performance counters"), nullptr) << err.msg;
	EXPECT_EQ(stepped_to(100), (start(), stop_after(100)));
}

} // namespace
