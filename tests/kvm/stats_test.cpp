// What the box counts, exactly: a scripted guest on the fixed clock, where every exit takes a microsecond.
#include "box_fixture.h"

#include <chrono>
#include <ctime>

namespace {

using namespace fixture;

// In the order of a difference's fields: what happened between two accesses of the guest to the device.
class counters : public box_test {
protected:
	kvmbox_function *f = nullptr;
	std::vector<kvmbox_stats> at_access; // before the access itself has done anything

	void SetUp() override
	{
		box_test::SetUp();
		if (IsSkipped())
			return;
		use_fixed_clock();
		set("fixed_exit", "1us");
		set("quantum", "1s");
		create_script();
		auto config = simple_function();
		config.intx_pin = 1;
		config.slot = 1; // IRQ 11
		f = add(config);
		power_on();
		sim.on_access = [this](kvmbox_access &a) { return note(a); };
		mark();
	}
	int note(kvmbox_access &)
	{
		at_access.push_back(stats());
		return 0;
	}
	void mark() { read(bar_address(f, 0)); }
	// Exits that need nobody.
	void exits(unsigned n)
	{
		while (n--)
			time();
	}
	kvmbox_stats between(size_t a = 0, size_t b = 1)
	{
		kvmbox_stats d, x = at_access.at(a), y = at_access.at(b);
		auto words = [](kvmbox_stats &st) { return reinterpret_cast<uint64_t *>(&st); };
		for (size_t i = 0; i < sizeof(d) / sizeof(uint64_t); i++)
			words(d)[i] = words(y)[i] - words(x)[i];
		return d;
	}
	// Kicks come when the host likes: entries that ended so are not the guest's.
	static uint64_t calm(const kvmbox_stats &st) { return st.entries - st.exits_kick; }
};

void check_sums(const kvmbox_stats &st)
{
	EXPECT_EQ(st.exits, st.exits_mmio + st.exits_pio + st.exits_hlt + st.exits_kick + st.exits_window + st.exits_msr + st.exits_step + st.exits_assist + st.exits_other);
	EXPECT_EQ(st.slices, st.slices_quantum + st.slices_timer + st.slices_event + st.slices_access + st.slices_halt +
				     st.slices_end);
	EXPECT_EQ(st.host_ns, st.host_guest_ns + st.host_stolen_ns + st.host_exits_ns + st.host_simulator_ns + st.host_idle_ns);
	EXPECT_LE(st.host_kvm_ns, st.host_exits_ns);
	EXPECT_EQ(st.entries, st.exits);
}

TEST_F(counters, exits_by_kind)
{
	exits(3);
	in(0x61);
	out(0xed, 1);
	out(0xed, 1);
	read(0xd8000000); // nobody there
	mark();
	play();
	ASSERT_EQ(at_access.size(), 2u);
	const kvmbox_stats d = between();
	EXPECT_EQ(d.exits_mmio, 5u); // three times, nobody, the second mark
	EXPECT_EQ(d.exits_pio, 3u);
	EXPECT_EQ(d.exits_hlt, 0u);
	EXPECT_EQ(d.exits_window, 0u);
	EXPECT_EQ(d.exits_other, 0u);
	EXPECT_EQ(calm(d), 8u);
	EXPECT_EQ(d.simulated_ps, 8 * us);
	EXPECT_EQ(d.guest_ps, 8 * us);
	EXPECT_EQ(d.transports, 1u);
	EXPECT_EQ(d.unassigned, 3u); // port 0xed, too
	EXPECT_EQ(d.slices, 1u);
	EXPECT_EQ(d.slices_access, 1u);
	check_sums(stats());
}

TEST_F(counters, slices_end_at_the_quantum)
{
	kvmbox_set_quantum(box, 10 * us);
	exits(25);
	mark();
	play();
	const kvmbox_stats d = between();
	EXPECT_EQ(d.slices_quantum, 2u);
	EXPECT_EQ(d.slices_access, 1u);
	EXPECT_EQ(d.slices, 3u);
	EXPECT_EQ(d.yields, 3u);
	check_sums(stats());
}

TEST_F(counters, slices_end_at_the_simulators_events)
{
	sim.on_access = [this](kvmbox_access &a) {
		sim.at(sim.now_ps + 5 * us, [] {});
		sim.at(sim.now_ps + 5 * us, [] {}); // at the same time: no slice of its own
		sim.at(sim.now_ps + 9 * us, [] {});
		return note(a);
	};
	exits(20);
	mark();
	play();
	const kvmbox_stats d = between();
	EXPECT_EQ(d.slices_event, 2u);
	EXPECT_EQ(d.slices_access, 1u);
	EXPECT_EQ(d.slices, 3u);
}

TEST_F(counters, slices_end_at_chipset_timers_without_a_yield)
{
	write(0xfee00320, 0x40);      // one-shot; its interrupt stays pending
	write(0xfee003e0, 0xb);            // divide by 1
	mark();
	write(0xfee00380, 10000);          // 10 us of the 1 GHz clock
	exits(20);
	mark();
	play();
	ASSERT_EQ(at_access.size(), 3u);
	const kvmbox_stats d = between(1, 2);
	EXPECT_EQ(d.slices_timer, 1u);
	EXPECT_EQ(d.slices_access, 1u);
	EXPECT_EQ(d.slices, 2u);
	EXPECT_EQ(d.yields, 1u);
}

TEST_F(counters, slices_end_with_hlt_and_interrupts_count)
{
	sim.on_access = [this](kvmbox_access &a) {
		if (at_access.empty()) {
			sim.at(sim.now_ps + 100 * us, [this] { kvmbox_intx(f, true); });
			sim.at(sim.now_ps + 102 * us, [this] { kvmbox_intx(f, false); }); // before the end-of-interrupt
		}
		return note(a);
	};
	step(SCRIPT_UNMASK, 11);
	step(SCRIPT_IRQ, 1);
	step(SCRIPT_SLEEP);
	step(SCRIPT_IRQ, 0);
	mark();
	play();
	const kvmbox_stats d = between();
	EXPECT_GE(d.interrupts, 1u); // one more if it was let go too late or too early
	EXPECT_EQ(d.exits_hlt, 1u);
	EXPECT_EQ(d.slices_halt, 1u);
	check_sums(stats());
}

TEST_F(counters, the_runs_end_is_a_slices_end)
{
	exits(5);
	step(SCRIPT_END);
	play();
	EXPECT_EQ(stats().slices_end, 1u);
	EXPECT_EQ(stats().slices, 2u);
	check_sums(stats());
}

TEST_F(counters, errors_and_dma)
{
	sim.on_access = [this](kvmbox_access &a) {
		note(a);
		uint32_t v = 0;
		EXPECT_EQ(kvmbox_dma(box, nullptr, SCRIPT_SCRATCH, &v, 4, true), 0);
		EXPECT_LT(kvmbox_dma(box, nullptr, 0xd8000000, &v, 4, true), 0);
		return -EIO;
	};
	mark();
	play();
	const kvmbox_stats d = between();
	EXPECT_EQ(d.transports, 1u);
	EXPECT_EQ(d.transport_errors, 1u);
	EXPECT_EQ(d.dma_bytes, 4u);
	EXPECT_EQ(d.dma_errors, 1u);
}

TEST_F(counters, two_runs_count_the_same)
{
	kvmbox_set_quantum(box, 7 * us);
	exits(100);
	mark();
	play();
	const kvmbox_stats first = between();
	destroy();
	steps.clear();
	at_access.clear();
	sim = simulator();
	sim.on_access = [this](kvmbox_access &a) { return note(a); };
	create_script();
	f = add(simple_function());
	power_on();
	kvmbox_set_quantum(box, 7 * us);
	mark();
	exits(100);
	mark();
	play();
	const kvmbox_stats second = between();
	EXPECT_EQ(first.slices, second.slices);
	EXPECT_EQ(first.slices_quantum, second.slices_quantum);
	EXPECT_EQ(first.yields, second.yields);
	EXPECT_EQ(first.simulated_ps, second.simulated_ps);
	EXPECT_EQ(calm(first), calm(second));
}

// Guest time before the first run and between runs is none of theirs.
TEST_F(counters, simulated_time_is_that_of_the_runs)
{
	EXPECT_EQ(stats().simulated_ps, 0u);
	sim.now_ps = 5 * s;
	sim.on_access = [this](kvmbox_access &a) {
		note(a);
		kvmbox_stop(box);
		return 0;
	};
	load_steps();
	ASSERT_EQ(run(), 0) << err.msg;
	const kvmbox_stats first = stats();
	EXPECT_LT(first.simulated_ps, 100 * ms);
	EXPECT_EQ(first.guest_ps, first.simulated_ps + 5 * s);
	EXPECT_EQ(at_access[0].simulated_ps, first.simulated_ps) << "also within the run";
	sim.now_ps = 7 * s;
	ASSERT_EQ(run(), 0) << err.msg;
	EXPECT_LT(stats().simulated_ps, first.simulated_ps + 100 * ms);
	EXPECT_GE(stats().guest_ps, 7 * s);
}

// ---- the host's time ------------------------------------------------------------------------------------------------

uint64_t wall_ns()
{
	return uint64_t(std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count());
}

void spend(uint64_t host_ns)
{
	for (const uint64_t t0 = wall_ns(); wall_ns() - t0 < host_ns;)
		;
}

constexpr uint64_t host_ms = 1000000;

TEST_F(counters, host_time_is_the_sum_of_its_parts)
{
	std::vector<kvmbox_stats> seen;
	sim.on_access = [&](kvmbox_access &) {
		seen.push_back(stats());
		spend(20 * host_ms);
		seen.push_back(stats());
		return 0;
	};
	const uint64_t before = stats().host_ns;
	exits(200);
	const uint64_t t0 = wall_ns();
	play();
	const uint64_t wall = wall_ns() - t0;
	seen.push_back(stats());
	for (auto &st : seen)
		check_sums(st);
	// The target's time is the simulator's, also while it is under way. (The TSC's rate is known to 0.1 %.)
	EXPECT_GE(seen[1].host_simulator_ns - seen[0].host_simulator_ns, 20 * host_ms * 999 / 1000);
	EXPECT_EQ(seen[1].host_guest_ns, seen[0].host_guest_ns);
	EXPECT_EQ(seen[1].host_exits_ns, seen[0].host_exits_ns);
	const kvmbox_stats &end = seen.back();
	EXPECT_EQ(end.host_idle_ns, 0u);
	EXPECT_GT(end.host_kvm_ns, 0u);
	EXPECT_GT(end.host_exits_ns, 200 * 1000u) << "a microsecond per exit is not much";
	EXPECT_GE(end.host_ns, 20 * host_ms);
	EXPECT_LE(end.host_ns - before, wall * 1001 / 1000);
	spend(5 * host_ms);
	EXPECT_EQ(stats().host_ns, end.host_ns) << "it stands still outside of runs";
}

TEST_F(counters, computing_is_the_guests_time)
{
	set("guest", guest_path("spin.elf"));
	destroy();
	set("clock", "tsc");
	set("quantum", "10ms");
	ASSERT_EQ(create(), 0) << err.msg;
	sim.on_wait = [&](uint64_t t, kvmbox_wait, int &rc) {
		sim.now_ps = t;
		rc = t > 100 * ms ? -1 : 0;
		return true;
	};
	ASSERT_EQ(run(), 0) << err.msg;
	const kvmbox_stats st = stats();
	check_sums(st);
	EXPECT_GE(st.host_guest_ns, 90 * host_ms) << "100 ms on the guest's clock are 100 ms of computing, less stalls";
	EXPECT_GE(st.slices_quantum, 1u);
}

TEST_F(counters, sleep_is_what_the_simulator_says)
{
	std::vector<kvmbox_stats> seen;
	sim.on_access = [&](kvmbox_access &) {
		spend(20 * host_ms);
		seen.push_back(stats());
		kvmbox_slept(box, 8 * host_ms);
		seen.push_back(stats());
		return 0;
	};
	kvmbox_slept(box, 1000 * host_ms); // not in a run
	play();
	const auto moved = seen[1].host_idle_ns - seen[0].host_idle_ns;
	EXPECT_NEAR(double(moved), double(8 * host_ms), 2.0);
	EXPECT_EQ(seen[0].host_idle_ns, 0u);
	EXPECT_GE(seen[1].host_simulator_ns, 11 * host_ms);
	check_sums(stats());
	EXPECT_EQ(stats().host_idle_ns, seen[1].host_idle_ns);
}

TEST_F(counters, more_sleep_than_there_was_is_all_of_it)
{
	std::vector<kvmbox_stats> seen;
	sim.on_access = [&](kvmbox_access &) {
		spend(host_ms);
		seen.push_back(stats());
		kvmbox_slept(box, UINT64_MAX);
		seen.push_back(stats());
		return 0;
	};
	play();
	check_sums(seen[1]);
	EXPECT_GE(seen[1].host_idle_ns, host_ms * 999 / 1000);
	EXPECT_EQ(seen[1].host_exits_ns, seen[0].host_exits_ns);
	check_sums(stats());
}

} // namespace
