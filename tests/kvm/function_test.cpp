// PCI functions implemented behind the C ABI: accesses, their timing, interrupts and DMA, with the script guest. The
// simulator here takes no posted writes, so that all accesses stall the guest; posted_test.cpp has the other one.
#include "tests/kvm/box_fixture.h"

using namespace fixture;

namespace {

class function : public box_test {
protected:
	kvmbox_function *f = nullptr;

	void start(const kvmbox_function_config &config, bool fixed = true)
	{
		if (fixed)
			use_fixed_clock();
		create_script();
		f = add(config);
		ASSERT_NE(f, nullptr);
		power_on();
	}
	static uint64_t pattern(uint64_t off) { return 0x1111111111111111ull * (off / 8 % 15 + 1) + off % 8; }
	void serve_pattern()
	{
		sim.on_access = [](kvmbox_access &a) {
			uint64_t v = pattern(a.offset);
			if (!a.write)
				memcpy(a.data, &v, a.len);
			return 0;
		};
	}
};

// ---- accesses ----------------------------------------------------------------------------------------------

TEST_F(function, accesses_of_every_width_arrive_as_they_are)
{
	auto config = simple_function();
	config.bar[1] = {0x100, true, false, false};
	config.bar[2] = {0x2000, false, true, true};
	start(config);
	serve_pattern();
	uint64_t mem = bar_address(f, 0), io = bar_address(f, 1), mem64 = bar_address(f, 2);
	EXPECT_FALSE(kvmbox_function_bar_address(f, 5, &mem64));
	mem64 = bar_address(f, 2);
	std::vector<size_t> reads;
	for (unsigned width : {1u, 2u, 4u, 8u}) {
		reads.push_back(read(mem + 0x40 + width, width));
		write(mem64 + 0x1ff8, 0x8877665544332211, width);
	}
	for (unsigned width : {1u, 2u, 4u}) {
		reads.push_back(in(io + 0x10 * width, width));
		out(io + 0xfc, 0x44332211, width);
	}
	play();

	ASSERT_EQ(sim.accesses.size(), 14u);
	size_t n = 0;
	for (unsigned width : {1u, 2u, 4u, 8u}) {
		const bus_cycle &r = sim.accesses[n++], &w = sim.accesses[n++];
		uint64_t mask = UINT64_MAX >> (64 - 8 * width);
		if (width == 8) { // aligned by chance of the address only
			EXPECT_EQ(r.offset, 0x48u);
		}
		EXPECT_EQ(std::make_tuple(r.bar, r.offset, r.len, r.write), std::make_tuple(0u, 0x40ull + width, width, false));
		EXPECT_EQ(value(reads[n / 2 - 1]), pattern(0x40 + width) & mask) << width;
		EXPECT_EQ(std::make_tuple(w.bar, w.offset, w.len, w.write, w.value),
			  std::make_tuple(2u, 0x1ff8ull, width, true, 0x8877665544332211 & mask));
	}
	for (unsigned width : {1u, 2u, 4u}) {
		const bus_cycle &r = sim.accesses[n++], &w = sim.accesses[n++];
		uint64_t mask = UINT64_MAX >> (64 - 8 * width);
		EXPECT_EQ(std::make_tuple(r.bar, r.offset, r.len, r.write), std::make_tuple(1u, 0x10ull * width, width, false));
		EXPECT_EQ(value(reads[n / 2 - 1]), pattern(0x10 * width) & mask);
		EXPECT_EQ(std::make_tuple(w.bar, w.offset, w.len, w.write, w.value),
			  std::make_tuple(1u, 0xfcull, width, true, 0x44332211 & mask));
	}
	EXPECT_EQ(stats().transports, 14u);
	EXPECT_EQ(stats().transport_errors, 0u);
}

TEST_F(function, space_and_owner_are_given)
{
	auto config = simple_function();
	config.bar[1] = {0x10, true, false, false};
	start(config);
	std::vector<kvmbox_space> spaces;
	sim.on_access = [&](kvmbox_access &a) {
		EXPECT_EQ(a.function, f);
		EXPECT_EQ(kvmbox_function_opaque(a.function), this);
		EXPECT_STREQ(kvmbox_function_name(a.function), "dut");
		spaces.push_back(a.space);
		return 0;
	};
	read(bar_address(f, 0));
	in(bar_address(f, 1));
	play();
	EXPECT_EQ(spaces, (std::vector<kvmbox_space>{KVMBOX_SPACE_MEMORY, KVMBOX_SPACE_IO}));
}

TEST_F(function, wide_and_unaligned_accesses_are_split)
{
	auto config = simple_function();
	config.max_access = 4;
	start(config);
	sim.on_access = [](kvmbox_access &a) {
		for (unsigned i = 0; i < a.len && !a.write; i++)
			a.data[i] = static_cast<uint8_t>(a.offset + i);
		return 0;
	};
	uint64_t b = bar_address(f, 0);
	size_t wide = read(b + 0x10, 8), odd = read(b + 0x21, 4);
	step(SCRIPT_COPY16, b + 0x30);
	step(SCRIPT_ADD, b + 0x40, 4, 1);
	size_t crossing = read(b + 0xffc, 8); // 4 bytes of ours, 4 of nobody
	play();
	std::vector<std::tuple<uint64_t, unsigned, bool>> seen, expected = {
		{0x10, 4, false}, {0x14, 4, false}, {0x21, 1, false}, {0x22, 2, false}, {0x24, 1, false}, {0x30, 4, false},
		{0x34, 4, false}, {0x38, 4, false}, {0x3c, 4, false}, {0x40, 4, false}, {0x40, 4, true}, {0xffc, 4, false},
	};
	for (auto &a : sim.accesses)
		seen.emplace_back(a.offset, a.len, a.write);
	EXPECT_EQ(seen, expected);
	EXPECT_EQ(value(wide), 0x1716151413121110u);
	EXPECT_EQ(value(odd), 0x24232221u);
	EXPECT_EQ(peek<uint64_t>(SCRIPT_SCRATCH), 0x3736353433323130u);
	EXPECT_EQ(peek<uint64_t>(SCRIPT_SCRATCH + 8), 0x3f3e3d3c3b3a3938u);
	EXPECT_EQ(sim.accesses[10].value, 0x43424141u);
	EXPECT_EQ(value(crossing), 0xfffffffffffefdfcull);
}

TEST_F(function, errors_read_as_ones_and_are_counted)
{
	start(simple_function());
	sim.on_access = [](kvmbox_access &a) {
		memset(a.data, 0x55, a.len); // must not show
		a.delay_ps += 3 * us;
		return a.offset < 0x10 ? -EIO : 0;
	};
	uint64_t b = bar_address(f, 0);
	size_t bad = read(b, 4), bad8 = read(b + 8, 8), t1 = time();
	write(b + 4, 1);
	size_t t2 = time(), good = read(b + 0x10);
	play();
	EXPECT_EQ(value(bad), 0xffffffffu);
	EXPECT_EQ(value(bad8), UINT64_MAX);
	EXPECT_EQ(value(good), 0x55555555u);
	EXPECT_EQ(value(t2) - value(t1), 5 * us) << "a failing target takes its time, too";
	EXPECT_EQ(stats().transport_errors, 3u);
	EXPECT_EQ(stats().transports, 4u);
}

TEST_F(function, rom_is_read_without_the_simulator)
{
	std::vector<uint8_t> rom(3000);
	for (size_t i = 0; i < rom.size(); i++)
		rom[i] = static_cast<uint8_t>(i * 7);
	auto config = simple_function();
	config.rom = rom.data();
	config.rom_size = rom.size();
	start(config);
	std::fill(rom.begin(), rom.end(), 0); // it was copied
	config_write(f, 0x30, 0xf0000001);
	size_t first = read(0xf0000000, 4), behind = read(0xf0000000 + 3000, 4);
	write(0xf0000000, 0);
	size_t again = read(0xf0000000, 4);
	play();
	EXPECT_EQ(value(first), 0x150e0700u);
	EXPECT_EQ(value(again), 0x150e0700u);
	EXPECT_EQ(value(behind), 0xffffffffu);
	EXPECT_EQ(sim.accesses.size(), 0u);
	EXPECT_EQ(bar_address(f, 6), 0xf0000000u);
}

TEST_F(function, the_guest_may_move_a_bar_at_run_time)
{
	start(simple_function());
	serve_pattern();
	uint64_t from = bar_address(f, 0), to = 0xe8000000;
	ASSERT_NE(from, to);
	size_t r0 = read(from + 8, 8);
	config_write(f, 0x10, to);
	size_t gone = read(from + 8, 8), r1 = read(to + 0x10, 8);
	config_write(f, 4, 0, 2); // decoding off
	size_t off = read(to + 0x10, 8);
	config_write(f, 4, 2, 2);
	size_t on = read(to + 0x18, 8);
	config_write(f, 0x10, 0x100000); // over RAM: the RAM stays
	size_t ram = read(0x100000, 8);
	size_t out_of_it = read(to + 0x18, 8);
	play();
	EXPECT_EQ(value(r0), pattern(8));
	EXPECT_EQ(value(gone), UINT64_MAX);
	EXPECT_EQ(value(r1), pattern(0x10));
	EXPECT_EQ(value(off), UINT64_MAX);
	EXPECT_EQ(value(on), pattern(0x18));
	EXPECT_EQ(value(ram), peek<uint64_t>(0x100000));
	EXPECT_EQ(value(out_of_it), UINT64_MAX);
	EXPECT_EQ(sim.accesses.size(), 3u);
	EXPECT_GE(stats().unassigned, 3u);
	uint64_t a;
	EXPECT_FALSE(kvmbox_function_bar_address(f, 0, &a));
}

TEST_F(function, command_changes_are_told)
{
	start(simple_function());
	ASSERT_EQ(sim.commands.size(), 1u) << "the firmware's work";
	EXPECT_EQ(sim.commands[0] & 7, 2);
	EXPECT_FALSE(kvmbox_bus_master(f));
	config_write(f, 4, 6, 2);
	config_write(f, 4, 6, 2); // no change
	play();
	ASSERT_EQ(sim.commands.size(), 2u);
	EXPECT_EQ(sim.commands[1], 6);
	EXPECT_TRUE(kvmbox_bus_master(f));
}

TEST_F(function, bars_are_left_alone_on_request)
{
	set("assign_bars", "no");
	use_fixed_clock();
	create_script();
	f = add(simple_function());
	power_on();
	uint64_t a;
	EXPECT_FALSE(kvmbox_function_bar_address(f, 0, &a));
	config_write(f, 0x10, 0xf0000000);
	config_write(f, 4, 2, 2);
	read(0xf0000004);
	play();
	EXPECT_EQ(sim.accesses.size(), 1u);
}

// ---- time ----------------------------------------------------------------------------------------------------

TEST_F(function, the_delay_reaches_the_guest_to_the_picosecond)
{
	start(simple_function());
	sim.on_access = [](kvmbox_access &a) {
		EXPECT_EQ(a.delay_ps, 0u);
		a.delay_ps += a.offset;
		return 0;
	};
	uint64_t b = bar_address(f, 0);
	std::vector<size_t> t;
	const uint64_t delays[] = {0, 4, 700, 0xffc};
	for (uint64_t d : delays) {
		t.push_back(time());
		write(b + d, 0);
	}
	t.push_back(time());
	sim.events.emplace(0, [] {});
	play();
	for (size_t i = 0; i < 4; i++)
		EXPECT_EQ(value(t[i + 1]) - value(t[i]), 2 * cfg.fixed_exit_ps + delays[i]);
}

TEST_F(function, seven_hundred_nanoseconds)
{
	set("fixed_exit", "3ns");
	start(simple_function());
	sim.on_access = [](kvmbox_access &a) {
		a.delay_ps += 700 * ns;
		return 0;
	};
	size_t t1 = time(), r = read(bar_address(f, 0)), t2 = time();
	play();
	(void)r;
	EXPECT_EQ(value(t2) - value(t1), 706 * ns);
}

TEST_F(function, synchronised_accesses_wait_for_the_simulator_first)
{
	start(simple_function());
	sim.record_waits = true;
	uint64_t b = bar_address(f, 0);
	write(b, 1);
	read(b);
	play();
	ASSERT_EQ(sim.accesses.size(), 2u);
	for (auto &a : sim.accesses) {
		EXPECT_EQ(a.sim_ps, a.guest_ps);
		EXPECT_EQ(a.delay_ps, 0u);
		yielded w{0, a.guest_ps, KVMBOX_WAIT_UNTIL};
		bool found = false;
		for (auto &x : sim.waits)
			found |= x.t_ps == w.t_ps && x.how == w.how && x.at_ps < x.t_ps;
		EXPECT_TRUE(found) << a.guest_ps;
	}
}

TEST_F(function, loosely_timed_accesses_carry_the_lead)
{
	auto config = simple_function();
	config.mode = KVMBOX_LOOSELY_TIMED;
	start(config);
	sim.record_waits = true;
	sim.on_access = [](kvmbox_access &a) {
		a.delay_ps += 5 * us;
		return 0;
	};
	uint64_t b = bar_address(f, 0);
	size_t t1 = time();
	write(b, 1);
	size_t t2 = time();
	play();
	ASSERT_EQ(sim.accesses.size(), 1u);
	const bus_cycle &a = sim.accesses[0];
	EXPECT_GT(a.delay_ps, 0u);
	EXPECT_EQ(a.sim_ps + a.delay_ps, a.guest_ps);
	for (auto &w : sim.waits)
		EXPECT_NE(w.t_ps, a.guest_ps) << "it must not wait";
	EXPECT_EQ(value(t2) - value(t1), 2 * cfg.fixed_exit_ps + 5 * us);
}

TEST_F(function, a_target_may_let_the_simulator_run)
{
	start(simple_function());
	sim.on_access = [this](kvmbox_access &) {
		sim.now_ps += 40 * us; // it waited inside b_transport
		return 0;
	};
	size_t t1 = time();
	write(bar_address(f, 0), 1);
	size_t t2 = time();
	play();
	EXPECT_EQ(value(t2) - value(t1), 2 * cfg.fixed_exit_ps + 40 * us);
}

TEST_F(function, a_delay_beyond_the_end_of_time_ends_the_run)
{
	start(simple_function());
	sim.wait_limit = 100000;
	sim.on_access = [](kvmbox_access &a) {
		a.delay_ps = UINT64_MAX;
		return 0;
	};
	write(bar_address(f, 0), 1);
	time();
	load_steps();
	EXPECT_LT(run(), 0);
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_ERROR);
	EXPECT_TRUE(says("time")) << err.msg;
	EXPECT_FALSE(sim.backwards);
}

TEST_F(function, guest_time_never_goes_back)
{
	set("quantum", "20us");
	start(simple_function(), false);
	uint64_t x = 1;
	sim.on_access = [&x](kvmbox_access &a) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		a.delay_ps = x >> 40; // anything up to 16 us, also less than what came in
		return 0;
	};
	uint64_t b = bar_address(f, 0);
	std::vector<size_t> t;
	for (int i = 0; i < 100; i++) {
		t.push_back(time());
		write(b, i);
	}
	play();
	for (size_t i = 1; i < t.size(); i++)
		EXPECT_LT(value(t[i - 1]), value(t[i]));
}

// ---- interrupts ----------------------------------------------------------------------------------------------

TEST_F(function, intx_is_a_level_through_the_8259s)
{
	auto config = simple_function();
	config.intx_pin = 1;
	config.slot = 4;
	start(config);
	uint64_t b = bar_address(f, 0);
	int irqs = 0;
	sim.on_access = [&](kvmbox_access &a) {
		kvmbox_intx(f, a.write);
		irqs += a.write;
		return 0;
	};
	size_t line = config_read(f, 0x3c, 1), pin = config_read(f, 0x3d, 1);
	for (unsigned irq : {5u, 9u, 10u, 11u})
		step(SCRIPT_UNMASK, irq);
	size_t quiet = config_read(f, 6, 2);
	write(b, 1);
	size_t raised = config_read(f, 6, 2);
	read(b);
	size_t dropped = config_read(f, 6, 2);
	play();
	EXPECT_EQ(value(pin), 1u);
	EXPECT_EQ(value(line), 10u) << "slot 4, INTA: PIRQA";
	EXPECT_EQ(value(quiet) & 8, 0u);
	EXPECT_EQ(value(raised) & 8, 8u);
	EXPECT_EQ(value(dropped) & 8, 0u);
	EXPECT_EQ(result().interrupts, 0u) << "interrupts were off";
}

TEST_F(function, intx_arrives_as_long_as_it_is_asserted)
{
	auto config = simple_function();
	config.intx_pin = 2;
	config.slot = 4; // INTB: PIRQB, IRQ 11
	start(config);
	sim.on_access = [&](kvmbox_access &) {
		kvmbox_intx(f, true);
		sim.at(sim.now_ps + 500 * us, [this] { kvmbox_intx(f, false); });
		return 0;
	};
	step(SCRIPT_UNMASK, 11);
	write(bar_address(f, 0), 1);
	step(SCRIPT_SLEEP);
	size_t t = time(); // the level stays: it interrupts again after the end-of-interrupt, and nothing else gets done
	sim.at(1 * ms, [] {});
	step(SCRIPT_IRQ, 1);
	for (int i = 0; i < 600; i++)
		time();
	size_t n = step(SCRIPT_COUNT, 0x20 + 11);
	for (int i = 0; i < 100; i++)
		time();
	step(SCRIPT_IRQ, 0);
	play();
	EXPECT_GE(value(t), 500 * us);
	EXPECT_GT(value(n), 2u);
	EXPECT_EQ(result().vector[0x2b], value(n)) << "and no more once it is gone";
	auto r = result();
	// Let go while the CPU is about to take it: one spurious interrupt is what 8259s do then.
	EXPECT_LE(r.vector[0x27] + r.vector[0x2f], 1u);
	EXPECT_EQ(r.interrupts - r.vector[0x27] - r.vector[0x2f], r.vector[0x2b]);
	EXPECT_EQ(stats().interrupts, result().interrupts);
}

constexpr unsigned pci_cap_msi = 0x05, pci_cap_msix = 0x11;

unsigned find_cap(kvmbox_box *box, kvmbox_function *f, uint8_t id)
{
	struct kb_pci_bus *pci = box->pc->pci;
	unsigned bdf = kvmbox_function_bdf(f), off = kb_pci_config_read(pci, bdf, 0x34, 1);

	while (off && kb_pci_config_read(pci, bdf, off, 1) != id)
		off = kb_pci_config_read(pci, bdf, off + 1, 1);
	return off;
}

TEST_F(function, msi)
{
	auto config = simple_function();
	config.msi_vectors = 4;
	config.intx_pin = 1;
	start(config);
	std::vector<int> rc;
	sim.on_access = [&](kvmbox_access &a) {
		rc.push_back(kvmbox_msi(f, static_cast<unsigned>(a.offset / 4)));
		return 0;
	};
	uint64_t b = bar_address(f, 0);
	unsigned cap = find_cap(box, f, pci_cap_msi);
	ASSERT_NE(cap, 0u);
	write(b, 1); // off: -ENODEV
	config_write(f, cap + 4, 0xfee00000);
	config_write(f, cap + 8, 0);
	config_write(f, cap + 12, 0x48, 2);
	config_write(f, cap + 2, 0x21, 2); // enabled, 4 vectors
	write(b, 1);                       // no bus master: -EPERM
	config_write(f, 4, 6, 2);
	write(b + 8, 1); // vector 2
	step(SCRIPT_SLEEP);
	write(b + 0x10, 1); // there is no vector 4
	config_write(f, cap + 16, 0x2);
	write(b + 4, 1); // masked
	size_t pending = config_read(f, cap + 20);
	config_write(f, cap + 16, 0); // out it goes
	step(SCRIPT_SLEEP);
	size_t none = config_read(f, cap + 20);
	play();
	EXPECT_EQ(rc, (std::vector<int>{-ENODEV, -EPERM, 1, -EINVAL, 0}));
	EXPECT_EQ(value(pending), 2u);
	EXPECT_EQ(value(none), 0u);
	EXPECT_EQ(result().vector[0x4a], 1u);
	EXPECT_EQ(result().vector[0x49], 1u);
	EXPECT_EQ(result().interrupts, 2u);
	EXPECT_EQ(stats().msis, 2u) << "the one that was pending is a message, too";
}

TEST_F(function, msix)
{
	auto config = simple_function();
	config.bar[0].size = 0x4000;
	config.msix_vectors = 3;
	config.msix_table_offset = 0x2000;
	config.msix_pba_offset = 0x3000;
	start(config);
	std::vector<int> rc;
	sim.on_access = [&](kvmbox_access &a) {
		rc.push_back(kvmbox_msi(f, static_cast<unsigned>(a.offset / 4)));
		return 0;
	};
	uint64_t b = bar_address(f, 0), table = b + 0x2000, pba = b + 0x3000;
	unsigned cap = find_cap(box, f, pci_cap_msix);
	ASSERT_NE(cap, 0u);
	write(b, 1); // off
	config_write(f, cap + 2, 0x8000, 2);
	config_write(f, 4, 6, 2);
	write(table + 16, 0xfee00000);
	write(table + 20, 0);
	write(table + 24, 0x77);
	write(b + 4, 1); // vector 1 is still masked
	size_t pending = read(pba, 8);
	write(table + 28, 0); // unmasked: leaves
	step(SCRIPT_SLEEP);
	size_t gone = read(pba, 8);
	write(b + 4, 1);
	step(SCRIPT_SLEEP);
	config_write(f, cap + 2, 0xc000, 2); // function mask
	write(b + 4, 1);
	config_write(f, 4, 2, 2); // bus master off, then the mask: stays pending
	config_write(f, cap + 2, 0x8000, 2);
	size_t held = read(pba, 8);
	write(b + 4, 1); // not masked, but not allowed either
	config_write(f, 4, 6, 2);
	step(SCRIPT_SLEEP);
	write(b + 12, 1); // no vector 3
	play();
	EXPECT_EQ(rc, (std::vector<int>{-ENODEV, 0, 1, 0, -EPERM, -EINVAL}));
	EXPECT_EQ(value(pending), 2u);
	EXPECT_EQ(value(gone), 0u);
	EXPECT_EQ(value(held), 2u);
	EXPECT_EQ(result().vector[0x77], 3u);
	EXPECT_EQ(stats().msis, 3u);
	EXPECT_EQ(sim.accesses.size(), 6u) << "table and PBA are the box's";
}

TEST_F(function, an_event_interrupts_at_its_time)
{
	auto config = simple_function();
	config.msi_vectors = 1;
	start(config);
	unsigned cap = find_cap(box, f, pci_cap_msi);
	uint64_t due = 0;
	sim.on_access = [&](kvmbox_access &) {
		due = sim.now_ps + 12345678;
		sim.at(due, [this] { EXPECT_EQ(kvmbox_msi(f, 0), 1); });
		return 0;
	};
	config_write(f, cap + 4, 0xfee00000);
	config_write(f, cap + 12, 0x50, 2);
	config_write(f, cap + 2, 1, 2);
	config_write(f, 4, 6, 2);
	write(bar_address(f, 0), 1);
	step(SCRIPT_SLEEP);
	play();
	EXPECT_EQ(result().vector[0x50], 1u);
	EXPECT_EQ(result().last_ps, due + cfg.fixed_exit_ps) << "woken at its time, one exit to read the clock";
}

// ---- DMA -------------------------------------------------------------------------------------------------------

TEST_F(function, dma_is_checked)
{
	start(simple_function());
	std::vector<uint8_t> buf(0x20000, 0x5a), back(0x20000);
	auto dma = [&](kvmbox_function *who, uint64_t addr, size_t len, bool write) {
		return kvmbox_dma(box, who, addr, buf.data(), len, write);
	};
	kb_pci_config_write(box->pc->pci, kvmbox_function_bdf(f), 4, 2, 2);
	EXPECT_EQ(dma(f, 0x200000, 4, true), -EPERM);
	kb_pci_config_write(box->pc->pci, kvmbox_function_bdf(f), 4, 2, 6);
	EXPECT_EQ(dma(f, 0x200000, 4, true), 0);
	EXPECT_EQ(peek<uint32_t>(0x200000), 0x5a5a5a5au);
	uint64_t before = stats().dma_bytes, errors = stats().dma_errors;
	EXPECT_EQ(dma(f, 0x200000, 0, true), 0);
	EXPECT_EQ(dma(f, 0x1fffffc, 8, true), -EFAULT) << "behind the end of RAM";
	EXPECT_EQ(peek<uint32_t>(0x1fffffc), 0u) << "nothing was transferred";
	EXPECT_EQ(dma(f, 0x9fffc, 8, false), -EFAULT) << "into the legacy hole";
	EXPECT_EQ(dma(f, 0xa0000, 1, false), -EFAULT);
	EXPECT_EQ(dma(f, UINT64_MAX - 3, 8, true), -EFAULT) << "wraps";
	EXPECT_EQ(dma(f, UINT64_MAX, 1, true), -EFAULT);
	EXPECT_EQ(dma(f, 0, SIZE_MAX, true), -EFAULT);
	EXPECT_EQ(dma(f, bar_address(f, 0), 4, true), -EFAULT) << "peer to peer";
	EXPECT_EQ(dma(f, 0xfed80000, 8, false), -EFAULT);
	EXPECT_EQ(stats().dma_errors, errors + 8);
	before += 4; // the look at RAM
	EXPECT_EQ(stats().dma_bytes, before);
	EXPECT_EQ(sim.accesses.size(), 0u);
	// Firmware area and RAM above it are two pieces, but one range.
	for (size_t i = 0; i < buf.size(); i++)
		buf[i] = static_cast<uint8_t>(i ^ i >> 8);
	uint64_t across = 0x100000 - 0x8000;
	std::vector<uint8_t> saved(0x10000);
	ASSERT_EQ(kvmbox_dma(box, f, across, saved.data(), saved.size(), false), 0);
	EXPECT_EQ(dma(f, across, 0x10000, true), 0);
	EXPECT_EQ(kvmbox_dma(box, f, across, back.data(), 0x10000, false), 0);
	EXPECT_EQ(memcmp(buf.data(), back.data(), 0x10000), 0);
	EXPECT_EQ(stats().dma_bytes, before + 0x30000);
}

TEST_F(function, dma_into_the_message_window_interrupts)
{
	start(simple_function());
	sim.on_access = [this](kvmbox_access &) {
		uint32_t data = 0x63;
		uint64_t wide = 0x64;
		EXPECT_EQ(kvmbox_dma(box, f, 0xfee00000, &wide, 8, true), -EFAULT);
		EXPECT_EQ(kvmbox_dma(box, f, 0xfee00002, &data, 4, true), -EFAULT);
		EXPECT_EQ(kvmbox_dma(box, f, 0xfee00000, &data, 2, true), -EFAULT);
		EXPECT_EQ(kvmbox_dma(box, f, 0xfee00000, &data, 4, false), -EFAULT);
		EXPECT_EQ(kvmbox_dma(box, f, 0xfee00000, &data, 4, true), 0);
		return 0;
	};
	config_write(f, 4, 6, 2);
	write(bar_address(f, 0), 1);
	step(SCRIPT_SLEEP);
	play();
	EXPECT_EQ(result().vector[0x63], 1u);
	EXPECT_EQ(result().interrupts, 1u);
	EXPECT_EQ(stats().dma_errors, 4u);
}

TEST_F(function, direct_pointers)
{
	start(simple_function());
	uint64_t from, to;
	bool readonly = true;
	uint8_t *p = kvmbox_dma_ptr(box, 0x200010, &from, &to, &readonly);
	ASSERT_NE(p, nullptr);
	EXPECT_FALSE(readonly);
	EXPECT_EQ(from, 0x100000u);
	EXPECT_EQ(to, 0x1ffffffu);
	poke<uint32_t>(0x200010, 0xcafe);
	EXPECT_EQ(*reinterpret_cast<uint32_t *>(p), 0xcafeu);
	ASSERT_NE(kvmbox_dma_ptr(box, 0, &from, &to, &readonly), nullptr);
	EXPECT_EQ(to, 0x9ffffu);
	EXPECT_EQ(kvmbox_dma_ptr(box, 0xa0000, &from, &to, &readonly), nullptr);
	EXPECT_EQ(kvmbox_dma_ptr(box, bar_address(f, 0), &from, &to, &readonly), nullptr);
	EXPECT_EQ(kvmbox_dma_ptr(box, 0xfee00000, &from, &to, &readonly), nullptr);
	EXPECT_EQ(kvmbox_dma_ptr(box, 0x2000000, &from, &to, &readonly), nullptr);
	EXPECT_EQ(kvmbox_dma_ptr(box, UINT64_MAX, &from, &to, &readonly), nullptr);
}

TEST_F(function, the_guest_sees_dma_and_dma_sees_the_guest)
{
	start(simple_function());
	sim.on_access = [this](kvmbox_access &a) {
		uint64_t v = 0;
		if (a.write) {
			EXPECT_EQ(kvmbox_dma(box, f, SCRIPT_SCRATCH, &v, 8, false), 0);
			EXPECT_EQ(v, 0x1122334455667788u);
			v = ~v;
			EXPECT_EQ(kvmbox_dma(box, f, SCRIPT_SCRATCH + 8, &v, 8, true), 0);
		}
		return 0;
	};
	config_write(f, 4, 6, 2);
	write(SCRIPT_SCRATCH, 0x1122334455667788, 8);
	write(bar_address(f, 0), 1);
	size_t r = read(SCRIPT_SCRATCH + 8, 8);
	play();
	EXPECT_EQ(value(r), ~0x1122334455667788u);
}

TEST_F(function, firmware_is_read_only_for_devices)
{
	set("guest", guest_path("reset_vector.rom"));
	set("guest_format", "reset");
	ASSERT_EQ(create(), 0) << err.msg;
	uint64_t from, to;
	bool readonly = false;
	EXPECT_NE(kvmbox_dma_ptr(box, 0xfffffff0, &from, &to, &readonly), nullptr);
	EXPECT_TRUE(readonly);
	EXPECT_EQ(from, 0xffff0000u);
	EXPECT_EQ(to, 0xffffffffu);
	uint32_t v = 0, w = 0;
	EXPECT_EQ(kvmbox_dma(box, nullptr, 0xfffffff0, &v, 4, false), 0);
	EXPECT_EQ(kvmbox_dma(box, nullptr, 0xfffffff0, &w, 4, true), -EFAULT);
	EXPECT_EQ(kvmbox_dma(box, nullptr, 0xfffffff0, &w, 4, false), 0);
	EXPECT_EQ(v, w);
	EXPECT_EQ(kvmbox_dma(box, nullptr, 0xfffffff0, &w, 32, false), -EFAULT) << "across 4 GiB into nothing";
}

// ---- configuration errors --------------------------------------------------------------------------------------

TEST_F(function, bad_configurations_are_refused_by_name)
{
	create_script();
	auto refuse = [&](int code, const char *word, auto change) {
		auto config = simple_function();
		kvmbox_function *out = reinterpret_cast<kvmbox_function *>(1);
		change(config);
		err.msg[0] = 0;
		EXPECT_EQ(kvmbox_add_function(box, &config, nullptr, &out, &err), code) << word;
		EXPECT_EQ(out, nullptr);
		EXPECT_TRUE(says(word)) << word << ": " << err.msg;
		EXPECT_TRUE(says("dut")) << err.msg;
	};
	using c = kvmbox_function_config;
	refuse(-EINVAL, "power of two", [](c &k) { k.bar[0].size = 0x1001; });
	refuse(-EINVAL, "BAR 3", [](c &k) { k.bar[3].size = 8; });
	refuse(-EINVAL, "I/O", [](c &k) { k.bar[1] = {0x200, true, false, false}; });
	refuse(-EINVAL, "is64", [](c &k) { k.bar[5] = {0x1000, false, true, false}; });
	refuse(-EINVAL, "is64", [](c &k) { k.bar[0].is64 = true, k.bar[1].size = 0x1000; });
	refuse(-EINVAL, "32 bits", [](c &k) { k.bar[0].size = 1ull << 32; });
	refuse(-EINVAL, "half", [](c &k) { k.bar[0] = {1ull << 63, false, true, false}; });
	refuse(-EINVAL, "intx_pin", [](c &k) { k.intx_pin = 5; });
	refuse(-EINVAL, "msi_vectors", [](c &k) { k.msi_vectors = 3; });
	refuse(-EINVAL, "msi_vectors", [](c &k) { k.msi_vectors = 64; });
	refuse(-EINVAL, "msix_vectors", [](c &k) { k.msix_vectors = 2049; });
	refuse(-EINVAL, "msix_bar", [](c &k) { k.msix_vectors = 1, k.msix_bar = 1; });
	refuse(-EINVAL, "msix_bar", [](c &k) { k.msix_vectors = 1, k.msix_bar = 77; });
	refuse(-EINVAL, "overlap", [](c &k) { k.msix_vectors = 1, k.msix_table_offset = k.msix_pba_offset = 8; });
	refuse(-EINVAL, "max_access", [](c &k) { k.max_access = 3; });
	refuse(-EINVAL, "max_access", [](c &k) { k.max_access = 16; });
	refuse(-EINVAL, "class_code", [](c &k) { k.class_code = 0x1000000; });
	refuse(-EINVAL, "vendor", [](c &k) { k.vendor = 0xffff; });
	refuse(-EINVAL, "rom", [](c &k) { k.rom_size = 1; });
	refuse(-EINVAL, "vendor_cap", [](c &k) { k.vendor_cap = "x", k.vendor_cap_len = 250; });
	refuse(-EINVAL, "slot", [](c &k) { k.slot = 32; });
	refuse(-EINVAL, "slot", [](c &k) { k.slot = 3, k.fn = 8; });
	refuse(-EINVAL, "fn", [](c &k) { k.fn = 1; });
	refuse(-EINVAL, "mode", [](c &k) { k.mode = static_cast<kvmbox_access_mode>(7); });
	refuse(-EEXIST, "taken", [](c &k) { k.slot = 0; });
	add(simple_function());
}

TEST_F(function, unnamed_functions_have_a_name)
{
	create_script();
	auto config = simple_function();
	config.name = nullptr;
	f = add(config);
	EXPECT_STREQ(kvmbox_function_name(f), "01.0");
	EXPECT_EQ(kvmbox_function_bdf(f), 8u);
	config.bar[0].size = 5;
	kvmbox_function *out;
	EXPECT_EQ(kvmbox_add_function(box, &config, nullptr, &out, &err), -EINVAL);
}

TEST_F(function, the_bus_fills_up)
{
	create_script();
	kvmbox_function *out;
	auto config = simple_function();
	for (int i = 1; i < 32; i++)
		ASSERT_EQ(kvmbox_add_function(box, &config, nullptr, &out, &err), 0) << err.msg;
	EXPECT_EQ(kvmbox_add_function(box, &config, nullptr, &out, &err), -ENOSPC);
	EXPECT_TRUE(says("taken")) << err.msg;
	power_on();
	EXPECT_EQ(kvmbox_add_function(box, &config, nullptr, &out, &err), -EBUSY) << "too late";
	config.name = nullptr;
	EXPECT_EQ(kvmbox_add_function(box, &config, nullptr, &out, &err), -EBUSY);
	EXPECT_FALSE(says("null")) << err.msg;
}

TEST_F(function, bars_that_do_not_fit_are_named)
{
	create_script();
	auto config = simple_function();
	config.bar[0].size = 1u << 30;
	add(config);
	EXPECT_EQ(run(), -ENOSPC);
	EXPECT_TRUE(says("dut")) << err.msg;
	EXPECT_EQ(run(), -ENOSPC) << "and again";
}

// ---- hostile ------------------------------------------------------------------------------------------------------

class hostile : public function, public testing::WithParamInterface<std::tuple<const char *, int>> {
};

TEST_P(hostile, guests_and_devices_that_do_anything)
{
	auto [guest, seed] = GetParam();
	bool rom = strstr(guest, ".rom");
	uint64_t x = 0x9e3779b97f4a7c15u + static_cast<unsigned>(seed);
	auto rnd = [&x] {
		x ^= x << 13;
		x ^= x >> 7;
		return x ^= x << 17;
	};
	set("guest", guest_path(guest));
	set("guest_format", rom ? "reset" : "elf");
	if (seed % 2)
		use_fixed_clock();
	posts = seed > 2;
	ASSERT_EQ(create(), 0) << err.msg;
	kvmbox_function *fs[3];
	for (int i = 0; i < 3; i++) {
		auto config = simple_function();
		config.bar[0] = {0x400000, false, i == 1, false};
		config.bar[2] = {0x100, true, false, false};
		config.intx_pin = 1 + static_cast<unsigned>(i);
		config.msi_vectors = i == 0 ? 0 : 32;
		config.msix_vectors = i == 2 ? 0 : 64;
		config.power_management = true;
		config.mode = i ? KVMBOX_LOOSELY_TIMED : KVMBOX_SYNCHRONISED;
		config.max_access = i ? 4 : 0;
		fs[i] = add(config);
	}
	auto up = [&] {
		kvmbox_function *g = fs[rnd() % 3];
		uint8_t buf[64];
		switch (rnd() % 5) {
		case 0:
			kvmbox_intx(g, rnd() & 1);
			break;
		case 1:
			kvmbox_msi(g, static_cast<unsigned>(rnd() % 70));
			break;
		case 2: // anywhere, but not over the guest's program
			kvmbox_dma(box, g, rnd() % 4 ? rnd() : 0xfee00000 + rnd() % 0x100000, buf, rnd() % 65, false);
			break;
		case 3:
			memset(buf, 0, sizeof(buf));
			kvmbox_dma(box, g, 0x1f00000 + rnd() % 0x200000, buf, rnd() % 65, true);
			break;
		default:
			kvmbox_serial_input(box, "x", 1);
		}
	};
	sim.wait_limit = 300000;
	sim.on_access = [&](kvmbox_access &a) {
		if (rnd() % 4 == 0)
			up();
		if (rnd() % 8 == 0)
			sim.at(sim.now_ps + rnd() % (50 * us), up);
		if (!a.write)
			for (unsigned i = 0; i < a.len; i++)
				a.data[i] = static_cast<uint8_t>(rnd());
		a.delay_ps = rnd() % 3 ? a.delay_ps : rnd() % (2 * us);
		return rnd() % 16 ? 0 : -EIO;
	};
	int rc = run();
	EXPECT_EQ(rc != 0, err.msg[0] != 0) << err.msg;
	EXPECT_NE(kvmbox_end(box), KVMBOX_END_NONE);
	EXPECT_FALSE(sim.backwards);
	EXPECT_GT(stats().transports, 20u);
	if (kvmbox_end(box) == KVMBOX_END_EXIT) {
		EXPECT_TRUE(kvmbox_exit_status(box) == 0 || kvmbox_exit_status(box) >= 125) << serial();
	}
}

INSTANTIATE_TEST_SUITE_P(guests, hostile,
			 testing::Combine(testing::Values("hostile.elf", "hostile_rom.rom"), testing::Values(1, 2, 3, 4)));

} // namespace
