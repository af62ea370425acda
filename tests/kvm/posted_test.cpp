// Posted writes and bus latencies behind the C ABI: what the guest pays, when the simulator is asked, and in which order.
#include "tests/kvm/box_fixture.h"

using namespace fixture;

namespace {

class posted : public box_test {
protected:
	kvmbox_function *f = nullptr;
	uint64_t exit_ps = 0;

	void SetUp() override
	{
		box_test::SetUp();
		posts = true;
	}
	// Every access takes 700 us, which is longer than anything the guest does meanwhile.
	void start(const kvmbox_function_config &config = simple_function(), uint64_t takes = 700 * us)
	{
		use_fixed_clock();
		create_script();
		f = add(config);
		ASSERT_NE(f, nullptr);
		power_on();
		exit_ps = cfg.fixed_exit_ps;
		sim.on_access = [takes](kvmbox_access &a) {
			a.delay_ps += takes;
			return 0;
		};
	}
	uint64_t bar() { return bar_address(f, 0); }
	uint64_t between(size_t from, size_t to) { return value(to) - value(from); }
};

// ---- what the guest pays ----------------------------------------------------------------------------------------

TEST_F(posted, a_write_does_not_wait_for_its_target)
{
	start();
	size_t t1 = time();
	write(bar() + 8, 0x1234);
	size_t t2 = time();
	play();
	EXPECT_EQ(between(t1, t2), 2 * exit_ps);
	ASSERT_EQ(sim.accesses.size(), 1u);
	const bus_cycle &a = sim.accesses[0];
	EXPECT_EQ(std::make_tuple(a.bar, a.offset, a.len, a.write, a.value), std::make_tuple(0u, 8ull, 4u, true, 0x1234ull));
	EXPECT_EQ(a.sim_ps, value(t1) + exit_ps) << "at the time of the write";
	EXPECT_EQ(a.guest_ps, a.sim_ps) << "the guest has not gone beyond it";
	EXPECT_EQ(a.delay_ps, 0u);
	EXPECT_EQ(stats().transports, 1u);
}

TEST_F(posted, a_write_costs_what_is_configured)
{
	set("posted_write", "123ns");
	start();
	size_t t1 = time();
	write(bar(), 1);
	write(bar(), 2);
	size_t t2 = time();
	play();
	EXPECT_EQ(between(t1, t2), 3 * exit_ps + 2 * 123 * ns);
	EXPECT_EQ(sim.post_at[0], value(t1) + exit_ps);
	EXPECT_EQ(sim.post_at[1], value(t1) + 2 * exit_ps + 123 * ns);
}

TEST_F(posted, a_read_costs_request_target_and_completion)
{
	set("bus_request", "300ns");
	set("bus_completion", "5ns");
	set("posted_write", "1ns");
	start(simple_function(), 700 * ns);
	size_t t1 = time();
	read(bar());
	size_t t2 = time();
	play();
	EXPECT_EQ(between(t1, t2), 2 * exit_ps + 300 * ns + 700 * ns + 5 * ns);
	EXPECT_EQ(sim.accesses[0].sim_ps, value(t1) + exit_ps + 300 * ns);
}

TEST_F(posted, a_write_arrives_after_the_request_latency_and_the_guest_does_not_pass_that)
{
	set("bus_request", "2.5us");
	start();
	size_t t1 = time();
	write(bar(), 1);
	size_t t2 = time(), t3 = time(), t4 = time();
	play();
	EXPECT_EQ(between(t1, t2), 2 * exit_ps);
	ASSERT_EQ(sim.accesses.size(), 1u);
	const bus_cycle &a = sim.accesses[0];
	EXPECT_EQ(a.sim_ps, value(t1) + exit_ps + 2500 * ns);
	EXPECT_LE(value(t3), a.sim_ps);
	EXPECT_GT(value(t4), a.sim_ps);
	EXPECT_LE(a.guest_ps, a.sim_ps + exit_ps) << "the exit under way at most";
}

TEST_F(posted, functions_have_their_own_latencies)
{
	set("bus_request", "300ns");
	set("bus_completion", "40ns");
	set("posted_write", "7ns");
	auto config = simple_function();
	config.bus_request_ps = 1 * us;
	config.bus_completion_ps = KVMBOX_NO_LATENCY;
	start(config, 0);
	size_t t1 = time();
	read(bar());
	size_t t2 = time();
	write(bar(), 1);
	size_t t3 = time();
	play();
	EXPECT_EQ(between(t1, t2), 2 * exit_ps + 1 * us);
	EXPECT_EQ(between(t2, t3), 2 * exit_ps + 7 * ns) << "the box's";
}

TEST_F(posted, io_writes_and_functions_that_do_not_post_stall)
{
	set("bus_request", "300ns");
	set("bus_completion", "40ns");
	auto config = simple_function();
	config.bar[1] = {0x10, true, false, false};
	config.non_posted_writes = true;
	start(config);
	size_t t1 = time();
	write(bar(), 1);
	size_t t2 = time();
	out(bar_address(f, 1), 1);
	size_t t3 = time();
	play();
	EXPECT_EQ(between(t1, t2), 2 * exit_ps + 700 * us + 340 * ns);
	EXPECT_EQ(between(t2, t3), 2 * exit_ps + 700 * us + 340 * ns);
	EXPECT_TRUE(sim.post_at.empty());
}

TEST_F(posted, io_writes_are_never_posted)
{
	auto config = simple_function();
	config.bar[1] = {0x10, true, false, false};
	start(config);
	size_t t1 = time();
	out(bar_address(f, 1), 1);
	size_t t2 = time();
	play();
	EXPECT_EQ(between(t1, t2), 2 * exit_ps + 700 * us);
}

// ---- order -------------------------------------------------------------------------------------------------------

TEST_F(posted, a_read_comes_after_the_writes_before_it)
{
	start();
	size_t t1 = time();
	write(bar(), 1);
	write(bar() + 4, 2);
	read(bar() + 8);
	size_t t2 = time();
	play();
	ASSERT_EQ(sim.accesses.size(), 3u);
	EXPECT_EQ(sim.accesses[1].sim_ps, sim.accesses[0].sim_ps + 700 * us);
	EXPECT_EQ(sim.accesses[2].sim_ps, sim.accesses[0].sim_ps + 1400 * us);
	EXPECT_EQ(between(t1, t2), 2 * exit_ps + 2100 * us);
}

TEST_F(posted, configuration_accesses_push)
{
	start();
	config_read(f, 0);
	write(bar(), 1);
	size_t t1 = time();
	step(SCRIPT_CONFIG_READ, 0x00, 4); // the host bridge: nothing to push there
	size_t t2 = time();
	config_read(f, 4, 2);
	size_t t3 = time();
	config_read(f, 4, 2);
	size_t t4 = time();
	play();
	EXPECT_EQ(sim.pushes, (std::vector<kvmbox_function *>{f})) << "only what is owed";
	EXPECT_LT(between(t1, t2), 700 * us);
	EXPECT_EQ(value(t3), sim.accesses[0].sim_ps + 700 * us + exit_ps);
	EXPECT_EQ(between(t3, t4), between(t1, t2));
}

TEST_F(posted, decoding_off_does_not_lose_what_was_written_before)
{
	set("bus_request", "50us");
	start();
	write(bar(), 7);
	config_write(f, 4, 0, 2);
	config_write(f, 4, 2, 2);
	play();
	ASSERT_EQ(sim.accesses.size(), 1u);
	EXPECT_EQ(sim.commands.size(), 3u);
	EXPECT_EQ(sim.pushes.size(), 1u);
}

TEST_F(posted, a_reset_comes_after_the_writes_before_it)
{
	set("bus_request", "50us");
	start();
	std::vector<std::string> order;
	write(bar(), 1);
	out(0xcf9, 6);
	time();
	load_steps();
	sim.on_access = [&](kvmbox_access &) {
		EXPECT_EQ(sim.commands.size(), 1u) << "the function is not reset yet";
		poke<uint32_t>(SCRIPT_STEPS, SCRIPT_END); // for the guest's second life
		poke<uint64_t>(SCRIPT_STEPS + 16, 0);
		return 0;
	};
	ASSERT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_EXIT);
	EXPECT_EQ(kvmbox_exit_status(box), 0);
	EXPECT_EQ(sim.accesses.size(), 1u);
	EXPECT_EQ(sim.pushes, (std::vector<kvmbox_function *>{nullptr}));
}

// ---- what the device answers ----------------------------------------------------------------------------------------

class answer : public posted, public testing::WithParamInterface<std::tuple<const char *, bool>> {
};

/* The interrupt is there when the guest looks next, also where slices do not end at the simulator's events. */
TEST_P(answer, is_seen_at_its_time)
{
	set("slice_to_events", std::get<0>(GetParam()));
	set("quantum", "1s");
	sim.lazy = std::get<1>(GetParam());
	auto config = simple_function();
	config.msi_vectors = 1;
	start(config);
	uint64_t rang = 0;
	sim.on_access = [&](kvmbox_access &) {
		EXPECT_EQ(kvmbox_msi(f, 0), 1);
		rang = sim.now_ps;
		return 0;
	};
	unsigned cap = kb_pci_config_read(box->pc->pci, kvmbox_function_bdf(f), 0x34, 1);
	config_write(f, cap + 4, 0xfee00000);
	config_write(f, cap + 8, 0);
	config_write(f, cap + 12, 0x50, 2);
	config_write(f, cap + 2, 1, 2);
	config_write(f, 4, 6, 2);
	step(SCRIPT_IRQ, 1);
	write(bar(), 1);
	size_t n = step(SCRIPT_COUNT, 0x50), t1 = time();
	play();
	EXPECT_EQ(value(n), 1u) << "before the guest's next instruction";
	EXPECT_GT(value(t1), rang + exit_ps) << "the handler came first";
	EXPECT_LT(value(t1), rang + 20 * exit_ps);
}

INSTANTIATE_TEST_SUITE_P(slices, answer, testing::Combine(testing::Values("yes", "no"), testing::Bool()));

/* Two writes of one instruction: the second arrives where the simulator is already. */
TEST_P(answer, is_the_last_half_of_an_access)
{
	set("slice_to_events", std::get<0>(GetParam()));
	sim.lazy = std::get<1>(GetParam());
	auto config = simple_function();
	config.max_access = 2;
	start(config, 0);
	write(bar(), 1);
	step(SCRIPT_END);
	play();
	ASSERT_EQ(sim.accesses.size(), 2u);
	EXPECT_EQ(sim.accesses[0].sim_ps, sim.accesses[1].sim_ps);
}

TEST_F(posted, several_on_their_way_all_end_slices)
{
	set("slice_to_events", "no");
	set("quantum", "1s");
	set("bus_request", "3.5us");
	start(simple_function(), 0);
	for (int i = 0; i < 12; i++)
		write(bar(), static_cast<uint64_t>(i));
	for (int i = 0; i < 8; i++)
		time();
	play();
	ASSERT_EQ(sim.accesses.size(), 12u);
	for (size_t i = 0; i < 12; i++) {
		EXPECT_EQ(sim.accesses[i].value, i);
		EXPECT_EQ(sim.accesses[i].sim_ps, sim.post_at[i]);
		EXPECT_LE(sim.accesses[i].guest_ps, sim.accesses[i].sim_ps + 3500 * ns + exit_ps);
	}
}

// ---- loosely timed -----------------------------------------------------------------------------------------------------

TEST_F(posted, loosely_timed_writes_carry_the_lead_and_end_no_slice)
{
	set("bus_request", "300ns");
	auto config = simple_function();
	config.mode = KVMBOX_LOOSELY_TIMED;
	start(config);
	sim.record_waits = true;
	size_t t1 = time();
	for (int i = 0; i < 5; i++)
		write(bar(), 1);
	size_t t2 = time();
	play();
	EXPECT_EQ(between(t1, t2), 6 * exit_ps);
	ASSERT_EQ(sim.accesses.size(), 5u);
	for (size_t i = 0; i < 5; i++) {
		const bus_cycle &a = sim.accesses[i];
		EXPECT_EQ(a.sim_ps, sim.accesses[0].sim_ps) << "nobody waits";
		EXPECT_EQ(a.sim_ps + a.delay_ps, value(t1) + exit_ps + 300 * ns + i * 700 * us) << "each when the last is over";
	}
	for (auto &w : sim.waits)
		EXPECT_TRUE(w.t_ps == w.at_ps || w.t_ps >= value(t2)) << w.t_ps << " at " << w.at_ps;
}

TEST_F(posted, a_loosely_timed_read_after_writes)
{
	auto config = simple_function();
	config.mode = KVMBOX_LOOSELY_TIMED;
	start(config);
	size_t t1 = time();
	write(bar(), 1);
	size_t t2 = time();
	read(bar());
	size_t t3 = time();
	play();
	EXPECT_EQ(between(t1, t2), 2 * exit_ps);
	EXPECT_GE(between(t1, t3), 2 * exit_ps + 700 * us);
}

// ---- the simulator's answers ------------------------------------------------------------------------------------------------

TEST_F(posted, eagain_goes_by_transport)
{
	start();
	sim.on_post = [](const kvmbox_access &) { return -EAGAIN; };
	size_t t1 = time();
	write(bar(), 1);
	size_t t2 = time();
	play();
	EXPECT_EQ(between(t1, t2), 2 * exit_ps + 700 * us);
	EXPECT_EQ(sim.accesses.size(), 1u);
	EXPECT_EQ(stats().transports, 1u);
	EXPECT_EQ(stats().transport_errors, 0u);
}

TEST_F(posted, other_errors_drop_the_write)
{
	start();
	sim.on_post = [](const kvmbox_access &) { return -EIO; };
	size_t t1 = time();
	write(bar(), 1);
	size_t t2 = time();
	play();
	EXPECT_EQ(between(t1, t2), 2 * exit_ps);
	EXPECT_EQ(sim.accesses.size(), 0u);
	EXPECT_EQ(stats().transports, 1u);
	EXPECT_EQ(stats().transport_errors, 1u);
}

TEST_F(posted, late_errors_are_counted)
{
	start();
	sim.on_access = [](kvmbox_access &a) { return a.write ? -EIO : 0; };
	write(bar(), 1);
	write(bar(), 1);
	size_t r = read(bar());
	play();
	EXPECT_EQ(value(r), 0u);
	EXPECT_EQ(stats().transports, 3u);
	EXPECT_EQ(stats().transport_errors, 2u);
}

TEST_F(posted, a_wait_for_room_stalls_the_guest)
{
	start();
	uint64_t lead = 0;
	sim.on_post = [&](const kvmbox_access &a) {
		lead = a.delay_ps;
		sim.now_ps += 90 * us; // what takes so long
		return 0;
	};
	size_t t1 = time();
	write(bar(), 1);
	size_t t2 = time();
	play();
	EXPECT_GT(lead, 0u);
	EXPECT_LT(lead, 90 * us);
	EXPECT_EQ(between(t1, t2), 2 * exit_ps + 90 * us - lead);
}

TEST_F(posted, a_wait_for_room_under_the_second_half_of_a_write)
{
	auto config = simple_function();
	config.max_access = 2;
	start(config, 0);
	sim.on_post = [&](const kvmbox_access &a) {
		if (a.offset)
			sim.now_ps += 90 * us;
		return 0;
	};
	size_t t1 = time();
	write(bar(), 1);
	size_t t2 = time();
	play();
	EXPECT_EQ(between(t1, t2), 2 * exit_ps + 90 * us);
}

TEST_F(posted, writes_on_their_way_survive_a_stop)
{
	set("bus_request", "20us");
	start();
	sim.on_post = [this](const kvmbox_access &) {
		kvmbox_stop(box);
		return 0;
	};
	size_t t1 = time();
	write(bar(), 1);
	time();
	load_steps();
	ASSERT_EQ(run(), 0) << err.msg;
	ASSERT_EQ(kvmbox_end(box), KVMBOX_END_STOPPED);
	EXPECT_EQ(sim.accesses.size(), 0u);
	ASSERT_EQ(run(), 0) << err.msg;
	ASSERT_EQ(kvmbox_end(box), KVMBOX_END_EXIT);
	read(bar());
	ASSERT_LE(sim.accesses.size(), 1u);
	for (auto &a : sim.accesses)
		EXPECT_EQ(a.sim_ps, value(t1) + exit_ps + 20 * us);
}

// ---- odd ones ---------------------------------------------------------------------------------------------------------------

TEST_F(posted, split_writes_stay_in_order)
{
	auto config = simple_function();
	config.max_access = 2;
	start(config, 0);
	write(bar(), 0x8877665544332211, 8);
	write(bar() + 0x11, 0xddccbbaa, 4);
	step(SCRIPT_ADD, bar() + 0x20, 4, 1);
	play();
	std::vector<std::tuple<uint64_t, bool, uint64_t>> seen, expected = {
		{0, true, 0x2211}, {2, true, 0x4433}, {4, true, 0x6655}, {6, true, 0x8877}, {0x11, true, 0xaa}, {0x12, true, 0xccbb},
		{0x14, true, 0xdd}, {0x20, false, 0}, {0x22, false, 0}, {0x20, true, 1}, {0x22, true, 0},
	};
	for (auto &a : sim.accesses)
		seen.emplace_back(a.offset, a.write, a.value);
	EXPECT_EQ(seen, expected);
}

TEST_F(posted, a_simulator_that_posts_has_to_push)
{
	kvmbox_ops half = *simulator::ops(true);
	half.push = nullptr;
	set("guest", guest_path("script.elf"));
	EXPECT_EQ(kvmbox_create(&box, &cfg, &half, &sim, &err), -EINVAL);
	EXPECT_TRUE(says("push")) << err.msg;
	EXPECT_EQ(box, nullptr);
}

TEST_F(posted, latencies_out_of_bounds_are_refused)
{
	create_script();
	auto refuse = [&](const char *word, auto change) {
		auto config = simple_function();
		change(config);
		EXPECT_EQ(kvmbox_add_function(box, &config, nullptr, &f, &err), -EINVAL);
		EXPECT_TRUE(says(word) && says("dut")) << err.msg;
		EXPECT_EQ(f, nullptr);
	};
	using c = kvmbox_function_config;
	refuse("bus_request", [](c &k) { k.bus_request_ps = KVMBOX_NO_LATENCY - 1; });
	refuse("bus_completion", [](c &k) { k.bus_completion_ps = 86401 * s; });
	refuse("posted_write", [](c &k) { k.posted_write_ps = 86401 * s; });
	add(simple_function());
}

// The end of time is near all the time.
TEST_F(posted, the_longest_latencies)
{
	set("bus_request", "86400s");
	set("bus_completion", "86400s");
	set("posted_write", "86400s");
	start();
	sim.wait_limit = 100000;
	for (int i = 0; i < 400; i++)
		i % 2 ? write(bar(), 1) : read(bar());
	load_steps();
	EXPECT_LT(run(), 0);
	EXPECT_TRUE(says("time is used up")) << err.msg;
	EXPECT_FALSE(sim.backwards);
}

} // namespace
