// Every guest of tests/guest on the whole PC, without SystemC: what it prints, how it ends, what time has passed.
#include <memory>

#include "tests/kvm/box_fixture.h"
#include "tests/kvm/rival.h"

using namespace fixture;

namespace {

// What a run looked like from outside.
struct outcome {
	std::string serial, debugcon;
	std::vector<yielded> waits;
	uint64_t time_ps, entries, mmio, pio, hlt, interrupts;
};

class guest : public box_test {
protected:
	void load(const std::string &name)
	{
		bool elf = name.find(".elf") != std::string::npos, rom = name.find(".rom") != std::string::npos;

		set("guest", guest_path(name));
		set("guest_format", elf ? "auto" : rom ? "reset" : "flat");
		sim.wait_limit = 1000000;
	}
	void run_to_exit(const std::string &name, int status = 0)
	{
		load(name);
		debugcon_to_file();
		ASSERT_EQ(create(), 0) << err.msg;
		ASSERT_EQ(run(), 0) << err.msg << serial();
		EXPECT_EQ(kvmbox_end(box), KVMBOX_END_EXIT) << serial();
		EXPECT_EQ(kvmbox_exit_status(box), status) << serial();
		EXPECT_FALSE(sim.backwards);
		EXPECT_EQ(kvmbox_time(box), stats().guest_ps);
		EXPECT_LE(sim.now_ps, kvmbox_time(box));
	}
	outcome observe(const std::string &name)
	{
		sim = simulator();
		sim.record_waits = true;
		run_to_exit(name);
		kvmbox_stats st = stats();
		outcome o{serial(), debugcon(), sim.waits, st.guest_ps, st.entries, st.exits_mmio, st.exits_pio, st.exits_hlt,
			  st.interrupts};
		destroy();
		unlink(debugcon_path.c_str());
		return o;
	}
};

// ---- guests that end by themselves --------------------------------------------------------------------------

struct ending {
	const char *name, *serial, *debugcon; // serial: how it starts
	uint64_t at_least_ps;                 // sleeps and spins alone take that
	bool noise;                           // prints at random
};

void PrintTo(const ending &e, std::ostream *o)
{
	*o << e.name;
}

class ending_guest : public guest, public testing::WithParamInterface<std::tuple<ending, const char *>> {
};

TEST_P(ending_guest, ends_well)
{
	auto [e, clock] = GetParam();
	set("clock", clock);
	run_to_exit(e.name);
	EXPECT_EQ(serial().substr(0, strlen(e.serial)), e.serial);
	if (!e.noise) {
		EXPECT_EQ(serial().empty(), !*e.serial) << serial();
		EXPECT_EQ(debugcon(), e.debugcon);
	}
	EXPECT_GE(kvmbox_time(box), e.at_least_ps);
}

const ending endings[] = {
	{"exits.elf", "", "debug\n", 0, false},
	{"timer_pit.elf", "20 ticks of 999847 ns took ", "", 20 * 999847 * ns, false},
	{"timer_lapic.elf", "lapic timer ", "", 30 * ms, false},
	{"x2apic.elf", "x2apic timer: 5 ticks of 2 ms took ", "", 11 * ms, false},
	{"rtc.elf", "rtc 00-01-01 00:00:0", "", 1 * s, false},
	{"irq_nest.elf", "", "", 5 * ms, false},
	{"ioapic.elf", "10 ticks of 999847 ns took ", "", 20 * ms, false},
	{"hpet.elf", "hpet ", "", 100 * s, false},
	{"acpi_pm.elf", "acpi events 400\n", "", 2343 * ms, false},
	{"hlt.elf", "sleep 100571 ns took ", "", 61 * ms, false},
	{"string_io.elf", ">string to COM1\n", "string to debugcon\n", 0, false},
	{"acpi.elf", "ACPI: RSDP at e0000, 4 tables\n", "", 0, false},
	{"prot32.elf", "hello from protected mode\n", "", 0, false},
	{"flat.bin", "", "hello from flat code\n", 0, false},
	{"reset_vector.rom", "", "hello from the reset vector\n", 0, false},
	{"hostile_rom.rom", "", "", 0, true},
};

std::string ending_name(const testing::TestParamInfo<std::tuple<ending, const char *>> &info)
{
	std::string n = std::get<0>(info.param).name;
	n[n.find('.')] = '_';
	return n + "_" + std::get<1>(info.param);
}

INSTANTIATE_TEST_SUITE_P(all, ending_guest,
			 testing::Combine(testing::ValuesIn(endings), testing::Values("tsc", "fixed")), ending_name);

// ---- KVM's interrupt controllers --------------------------------------------------------------------------------

class kernel_irqchip : public guest {
protected:
	void SetUp() override
	{
		guest::SetUp();
		set("irqchip", "kernel");
		set("clock", "host");
	}
};

// What both claim: the guests that do not look at what only one of them has, or sleep for long by the wall clock. A status is that
// of the last check, which KVM's own do not pass.
struct kernel_guest {
	const char *name;
	int status;
};

void PrintTo(const kernel_guest &g, std::ostream *o)
{
	*o << g.name;
}

class kernel_irqchip_guest : public kernel_irqchip, public testing::WithParamInterface<kernel_guest> {
};

TEST_P(kernel_irqchip_guest, ends_well)
{
	run_to_exit(GetParam().name, GetParam().status);
}

const kernel_guest kernel_guests[] = {
	{"exits.elf", 0}, {"timer_pit.elf", 0}, {"irq_nest.elf", 0}, {"hlt.elf", 0}, {"string_io.elf", 0}, {"acpi.elf", 0},
	{"rtc.elf", 0}, {"prot32.elf", 0}, {"flat.bin", 0}, {"reset_vector.rom", 0}, {"hostile_rom.rom", 0},
	{"timer_lapic.elf", 9}, // an expiry while masked comes when it is unmasked
	{"x2apic.elf", 60},     // reserved bits are not looked at
};

INSTANTIATE_TEST_SUITE_P(all, kernel_irqchip_guest, testing::ValuesIn(kernel_guests), [](const auto &of) {
	std::string n = of.param.name;
	n[n.find('.')] = '_';
	return n;
});

TEST_F(kernel_irqchip, is_refused_with_simulated_time_or_several_cpus)
{
	load("hlt.elf");
	set("clock", "tsc");
	EXPECT_EQ(create(), -EINVAL);
	EXPECT_TRUE(says("clock=host")) << err.msg;
	set("clock", "host");
	set("cpus", "2");
	EXPECT_EQ(create(), -EOPNOTSUPP);
	EXPECT_TRUE(says("cpus=1")) << err.msg;
}

// ---- several CPUs ---------------------------------------------------------------------------------------------

class several_cpus : public guest, public testing::WithParamInterface<std::tuple<const char *, const char *>> {
protected:
	void SetUp() override
	{
		guest::SetUp();
		set("cpus", std::get<0>(GetParam()));
		set("clock", std::get<1>(GetParam()));
		set("step", "100ns");
		if (std::string(std::get<1>(GetParam())) == "step" && !kb_probe_cached()->step[0])
			GTEST_SKIP() << "KVM on this host does not single-step";
	}
};

TEST_P(several_cpus, start_interrupt_each_other_and_agree_on_time)
{
	run_to_exit("smp.elf");
	EXPECT_EQ(serial(), std::string(std::get<0>(GetParam())) + " CPUs\n");
}

TEST_P(several_cpus, a_message_to_none_of_them_is_told)
{
	uint32_t data = 0x41;
	load("smp.elf");
	ASSERT_EQ(create(), 0) << err.msg;
	for (uint64_t mode : {0x000, 0x100}) { // fixed, lowest priority
		sim.messages.clear();
		data = uint32_t(0x41 | mode);
		kvmbox_dma(box, nullptr, 0xfee77000, &data, 4, true);
		EXPECT_TRUE(sim.said("no APIC has this destination")) << mode;
	}
}

TEST_P(several_cpus, end_together)
{
	set("cpu_quantum", "10us");
	load("spin.elf");
	ASSERT_EQ(create(), 0) << err.msg;
	sim.on_wait = [this](uint64_t, kvmbox_wait, int &) {
		kvmbox_stop(box);
		return false;
	};
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(run(), 0) << err.msg;
		EXPECT_EQ(kvmbox_end(box), KVMBOX_END_STOPPED);
	}
}

INSTANTIATE_TEST_SUITE_P(cpus, several_cpus, testing::Combine(testing::Values("2", "4"), testing::Values("tsc", "fixed", "step")),
			 [](const auto &of) {
				 return std::string(std::get<0>(of.param)) + "_" + std::get<1>(of.param);
			 });

TEST_F(guest, several_cpus_repeat_themselves_event_for_event)
{
	set("cpus", "3");
	use_fixed_clock();
	outcome a = observe("smp.elf"), b = observe("smp.elf");
	EXPECT_EQ(a.waits, b.waits);
	EXPECT_EQ(a.time_ps, b.time_ps);
	EXPECT_EQ(a.mmio, b.mmio);
	EXPECT_EQ(a.hlt, b.hlt);
	EXPECT_EQ(a.interrupts, b.interrupts);
}

TEST_F(guest, what_goes_with_one_cpu_only_is_refused)
{
	set("cpus", "2");
	load("smp.elf");
	set("clock", "perf-insns");
	EXPECT_EQ(create(), -EOPNOTSUPP);
	EXPECT_TRUE(says("cpus=1")) << err.msg;
	set("clock", "tsc");
	ASSERT_EQ(create(), 0) << err.msg;
	EXPECT_EQ(kvmbox_stop_after(box, 1, &err), -EOPNOTSUPP);
	EXPECT_TRUE(says("2")) << err.msg;
}

// Writes anything anywhere: what it prints is up to it, and it does not reach its end on every clock.
TEST_F(guest, hostile_does_no_harm)
{
	load("hostile.elf");
	ASSERT_EQ(create(), 0) << err.msg;
	run();
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_EXIT) << err.msg;
	EXPECT_TRUE(kvmbox_exit_status(box) == 0) << serial();
}

// One that starts other CPUs anywhere: they may bring the run to its end before it does.
TEST_P(several_cpus, misused_they_do_no_harm)
{
	load("hostile_smp.elf");
	ASSERT_EQ(create(), 0) << err.msg;
	run();
	EXPECT_TRUE(kvmbox_end(box) == KVMBOX_END_EXIT || kvmbox_end(box) == KVMBOX_END_SHUTDOWN || kvmbox_end(box) == KVMBOX_END_ERROR)
		<< kvmbox_end(box) << ": " << err.msg;
}

// ---- the same again -------------------------------------------------------------------------------------------

class repeatable : public guest, public testing::WithParamInterface<const char *> {
protected:
	void twice(bool busy_host = false);
};

void repeatable::twice(bool busy_host)
{
	outcome a = observe(GetParam());
	std::unique_ptr<fixture::rival> rival;
	if (busy_host)
		rival = std::make_unique<fixture::rival>();
	ASSERT_FALSE(HasFatalFailure());
	outcome b = observe(GetParam());
	ASSERT_FALSE(HasFatalFailure());
	EXPECT_EQ(a.serial, b.serial);
	EXPECT_EQ(a.debugcon, b.debugcon);
	EXPECT_EQ(a.waits, b.waits);
	EXPECT_EQ(a.time_ps, b.time_ps);
	EXPECT_EQ(a.mmio, b.mmio);
	EXPECT_EQ(a.pio, b.pio);
	EXPECT_EQ(a.hlt, b.hlt);
	EXPECT_EQ(a.interrupts, b.interrupts);
}

class fixed_clock : public repeatable {
};

TEST_P(fixed_clock, repeats_itself_event_for_event)
{
	use_fixed_clock();
	twice();
}

class step_clock : public repeatable {
};

TEST_P(step_clock, repeats_itself_event_for_event)
{
	if (!kb_probe_cached()->step[0])
		GTEST_SKIP() << "KVM on this host does not single-step";
	set("clock", "step");
	set("step", "100ns"); // a slow CPU: waiting costs instructions
	twice();
}

// And with another process on the same CPU.
class busy_host : public repeatable {
};

TEST_P(busy_host, does_not_show_with_clock_fixed)
{
	use_fixed_clock();
	twice(true);
}

TEST_P(busy_host, does_not_show_with_clock_step)
{
	if (!kb_probe_cached()->step[0])
		GTEST_SKIP() << "KVM on this host does not single-step";
	set("clock", "step");
	set("step", "100ns");
	twice(true);
}

std::string guest_name(const testing::TestParamInfo<const char *> &guest_info)
{
	std::string n = guest_info.param;
	n[n.find('.')] = '_';
	return n;
}

INSTANTIATE_TEST_SUITE_P(all, fixed_clock,
			 testing::Values("exits.elf", "timer_pit.elf", "timer_lapic.elf", "x2apic.elf", "rtc.elf", "irq_nest.elf",
					 "ioapic.elf", "hpet.elf", "acpi_pm.elf", "hlt.elf", "string_io.elf", "hostile.elf", "prot32.elf", "flat.bin",
					 "reset_vector.rom", "hostile_rom.rom"),
			 guest_name);

INSTANTIATE_TEST_SUITE_P(some, step_clock,
			 testing::Values("exits.elf", "irq_nest.elf", "string_io.elf", "prot32.elf",
					 "flat.bin", "reset_vector.rom"),
			 guest_name);

INSTANTIATE_TEST_SUITE_P(some, busy_host, testing::Values("irq_nest.elf", "exits.elf"), guest_name);

// ---- guests that do not -----------------------------------------------------------------------------------------

TEST_F(guest, triple_fault_is_reported_with_the_place)
{
	load("triple_fault.elf");
	ASSERT_EQ(create(), 0) << err.msg;
	EXPECT_EQ(run(), -EIO);
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_SHUTDOWN);
	EXPECT_TRUE(says("triple fault")) << err.msg;
	EXPECT_TRUE(says("0f 0b")) << "the ud2: " << err.msg;
	EXPECT_EQ(kvmbox_exit_status(box), -1);
	EXPECT_EQ(run(), -EINVAL) << "it is over";
	EXPECT_TRUE(says("ended")) << err.msg;
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_SHUTDOWN);
}

TEST_F(guest, an_instruction_nobody_knows_is_reported_with_its_bytes)
{
	load("bad_insn.elf");
	ASSERT_EQ(create(), 0) << err.msg;
	EXPECT_EQ(run(), -EIO);
	EXPECT_TRUE(kvmbox_end(box) == KVMBOX_END_SHUTDOWN || kvmbox_end(box) == KVMBOX_END_ERROR);
	EXPECT_TRUE(says("0f b9 c0")) << err.msg;
	EXPECT_EQ(kvmbox_exit_status(box), -1);
}

// The simulator has nothing to wake it with, and says so.
TEST_F(guest, sleeping_for_ever_is_up_to_the_simulator)
{
	load("hlt_forever.elf");
	ASSERT_EQ(create(), 0) << err.msg;
	sim.record_waits = true;
	EXPECT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_STOPPED);
	EXPECT_EQ(serial(), "going to sleep\n");
	ASSERT_FALSE(sim.waits.empty());
	EXPECT_EQ(sim.waits.back().how, KVMBOX_WAIT_IDLE);
	EXPECT_EQ(stats().exits_hlt, 1u);
	// Again: still asleep.
	EXPECT_EQ(run(), 0);
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_STOPPED);
	EXPECT_EQ(stats().exits_hlt, 1u);
}

TEST_F(guest, spinning_yields_every_quantum)
{
	load("spin.elf");
	ASSERT_EQ(create(), 0) << err.msg;
	sim.at(20 * ms, [this] { kvmbox_stop(box); });
	EXPECT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_STOPPED);
	EXPECT_GE(stats().guest_ps, 20 * ms);
	EXPECT_GE(stats().exits_kick, 1u);
	uint64_t t = kvmbox_time(box);
	sim.at(sim.now_ps + 5 * ms, [this] { kvmbox_stop(box); });
	EXPECT_EQ(run(), 0) << err.msg;
	EXPECT_GE(kvmbox_time(box), t + 5 * ms - cfg.quantum_ps);
}

TEST_F(guest, spinning_moves_a_fixed_clock_by_the_quantum)
{
	use_fixed_clock();
	load("spin.elf");
	ASSERT_EQ(create(), 0) << err.msg;
	sim.at(2 * ms, [this] { kvmbox_stop(box); });
	EXPECT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_STOPPED);
	EXPECT_GE(kvmbox_time(box), 2 * ms);
}

// ---- resets --------------------------------------------------------------------------------------------------------

class reset_guest : public guest, public testing::WithParamInterface<std::pair<const char *, const char *>> {
};

TEST_P(reset_guest, restarts_the_guest)
{
	run_to_exit(GetParam().first);
	EXPECT_EQ(serial(), "first start\nsecond start, mark in RAM NVRAM\n");
	EXPECT_TRUE(sim.said(GetParam().second));
}

TEST_P(reset_guest, restarts_the_guest_with_kvms_interrupt_controllers)
{
	set("irqchip", "kernel");
	set("clock", "host");
	run_to_exit(GetParam().first);
	EXPECT_EQ(serial(), "first start\nsecond start, mark in RAM NVRAM\n");
}

TEST_P(reset_guest, ends_the_run_on_request)
{
	load(GetParam().first);
	set("reset_ends", "yes");
	ASSERT_EQ(create(), 0) << err.msg;
	EXPECT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_RESET);
	EXPECT_EQ(kvmbox_exit_status(box), -1);
	EXPECT_EQ(serial(), "first start\n");
	EXPECT_EQ(run(), -EINVAL);
	EXPECT_TRUE(says("ended")) << err.msg;
}

INSTANTIATE_TEST_SUITE_P(all, reset_guest,
			 testing::Values(std::make_pair("reset_92.elf", "0x92"), std::make_pair("reset_cf9.elf", "0xcf9"),
					 std::make_pair("reset_8042.elf", "keyboard controller")));

// ---- power ---------------------------------------------------------------------------------------------------------

TEST_F(guest, power_off_is_a_clean_end)
{
	use_fixed_clock();
	create_script();
	out(0x604, 5 << 10 | 1 << 13, 2); // there is no such sleep state
	out(0x604, KB_ACPI_SLP_TYP_S5 << 10 | 1 << 13, 2);
	step(SCRIPT_END, 0, 4, 7);
	load_steps();
	ASSERT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_POWEROFF);
	EXPECT_EQ(kvmbox_exit_status(box), 0);
	EXPECT_EQ(result().steps, 1u) << "the guest does not see the end of its last access";
	EXPECT_TRUE(sim.said("sleep type 5"));
	EXPECT_EQ(run(), -EINVAL);
	EXPECT_TRUE(says("ended")) << err.msg;
}

TEST_F(guest, power_button_is_an_sci)
{
	use_fixed_clock();
	create_script();
	sim.at(3600 * s, [this] { kvmbox_power_button(box); });
	out(0x43, 0x30); // no ticks of the 8254
	out(0x4d1, 0x0c); // IRQ 9 edge-triggered: the script's handler does not take the level away
	step(SCRIPT_UNMASK, 9);
	out(0x602, 0x100, 2);
	step(SCRIPT_SLEEP);
	size_t status = in(0x600, 2);
	out(0x600, 0x100, 2);
	size_t after = in(0x600, 2);
	play();
	EXPECT_EQ(value(status), 0x101u) << "in an hour the timer has overflowed, too";
	EXPECT_EQ(value(after), 1u);
	EXPECT_GE(result().vector[0x29], 1u);
	EXPECT_GE(result().last_ps, 3600 * s);
}

// ---- HPET ----------------------------------------------------------------------------------------------------------

class flooded_guest : public guest, public testing::WithParamInterface<const char *> {
};

// Interrupts faster than anybody can serve them: simulated time goes on all the same, and the guest does get on.
TEST_P(flooded_guest, is_not_stuck)
{
	set("clock", GetParam());
	create_script();
	write(0xfec00000, 0x10 + 2 * 20);
	write(0xfec00010, 0x2070); // edge, active low
	write(0xfed00120, 0x284c, 8); // periodic on input 20
	write(0xfed00128, 1000, 8);
	write(0xfed00128, 1, 8);
	write(0xfed00010, 1, 8);
	step(SCRIPT_IRQ, 1);
	size_t loop = step(SCRIPT_TIME);
	step(SCRIPT_GOTO, loop);
	load_steps();
	sim.at(20 * ms, [this] { kvmbox_stop(box); });
	ASSERT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_STOPPED);
	EXPECT_GE(result().vector[0x70], 10u);
	EXPECT_GE(sim.now_ps, 20 * ms);
}

INSTANTIATE_TEST_SUITE_P(clocks, flooded_guest, testing::Values("tsc", "fixed"));

// ---- INTx at the I/O APIC ------------------------------------------------------------------------------------------

class intx_input : public guest, public testing::WithParamInterface<int> {
};

// Level, active low, at 16 + slot mod 4, and nowhere else.
TEST_P(intx_input, is_16_to_19)
{
	const unsigned slot = 4 + static_cast<unsigned>(GetParam());
	use_fixed_clock();
	create_script();
	auto config = simple_function();
	config.intx_pin = 1;
	config.slot = static_cast<int>(slot);
	kvmbox_function *f = add(config);
	power_on();
	out(0x43, 0x30);
	auto entry = [this](unsigned pin, uint32_t v) {
		write(0xfec00000, 0x10 + 2 * pin);
		write(0xfec00010, v);
	};
	for (unsigned pin = 1; pin < 24; pin++)
		entry(pin, 0x40 + pin + (pin >= 16 ? 0xa000u : 0u));
	sim.at(100 * us, [f] { kvmbox_intx(f, true); });
	sim.at(2 * ms, [f] { kvmbox_intx(f, false); });
	for (int i = 0; i < 150; i++)
		step(SCRIPT_TIME); // an exit each, 1 us
	write(0xfec00000, 0x10 + 2 * (16 + slot % 4));
	size_t asserted = read(0xfec00010);
	step(SCRIPT_SLEEP); // until the level is gone: its handler does not take it away
	play();
	EXPECT_EQ(value(asserted), 0x40u + 16 + slot % 4 + 0xa000 + 0x4000) << "remote IRR";
	EXPECT_GT(result().vector[0x40 + 16 + slot % 4], 1u) << "delivered again after the EOI";
	for (unsigned pin = 1; pin < 24; pin++)
		EXPECT_EQ(result().vector[0x40 + pin] != 0, pin == 16 + slot % 4) << pin;
}

INSTANTIATE_TEST_SUITE_P(slots, intx_input, testing::Range(0, 4));

TEST_F(guest, pirqd_and_sci_share_a_wire_to_the_8259s)
{
	use_fixed_clock();
	create_script();
	auto config = simple_function();
	config.intx_pin = 1;
	config.slot = 7; // PIRQD, IRQ 9
	kvmbox_function *f = add(config);
	power_on();
	sim.on_access = [&](kvmbox_access &a) {
		if (a.offset == 0)
			kvmbox_power_button(box);
		kvmbox_intx(f, a.offset == 0);
		return 0;
	};
	uint64_t bar = bar_address(f, 0);
	out(0x602, 0x100, 2);
	out(0xa0, 0x0a); // OCW3: read IRR
	size_t none = in(0xa0);
	read(bar);
	size_t both = in(0xa0);
	read(bar + 4);
	size_t one = in(0xa0);
	out(0x600, 0x100, 2);
	size_t neither = in(0xa0);
	play();
	EXPECT_EQ(value(none) & 2, 0u);
	EXPECT_EQ(value(both) & 2, 2u);
	EXPECT_EQ(value(one) & 2, 2u) << "the SCI";
	EXPECT_EQ(value(neither) & 2, 0u);
}

// ---- sleep is exact ---------------------------------------------------------------------------------------------------

// 8254 mode 0: OUT goes high count + 1 clocks after the count was written, and the clocks are where they are.
TEST_F(guest, a_pit_one_shot_ends_on_its_clock)
{
	use_fixed_clock();
	create_script();
	sim.record_waits = true;
	const uint64_t hz = 1193182, count = 11932;
	step(SCRIPT_UNMASK, 0);
	size_t t0 = time();
	out(0x43, 0x30);
	out(0x40, count & 0xff);
	out(0x40, count >> 8);
	size_t t1 = time();
	step(SCRIPT_SLEEP);
	play();
	uint64_t written = value(t1) - cfg.fixed_exit_ps, clock = written * hz / s; // the clock before
	ASSERT_EQ(value(t1) - value(t0), 4 * cfg.fixed_exit_ps);
	std::vector<yielded> idles;
	for (auto &w : sim.waits)
		if (w.how == KVMBOX_WAIT_IDLE)
			idles.push_back(w);
	ASSERT_EQ(idles.size(), 1u) << "one sleep, one wait";
	uint64_t woken = idles[0].t_ps;
	EXPECT_EQ(woken, ((clock + count + 1) * s + hz - 1) / hz) << "loaded at the next clock, then it counts";
	EXPECT_EQ(result().last_ps, woken + cfg.fixed_exit_ps);
	EXPECT_EQ(result().vector[0x20], 1u);
}

TEST_F(guest, a_lapic_one_shot_ends_on_its_tick)
{
	use_fixed_clock();
	create_script();
	write(0xfee003e0, 0xb); // divide by 1
	write(0xfee00320, 0x70);
	size_t t0 = time();
	write(0xfee00380, 1000000); // 1 ms at 1 GHz
	step(SCRIPT_SLEEP);
	play();
	uint64_t armed = value(t0) + cfg.fixed_exit_ps;
	EXPECT_EQ(result().last_ps, armed + 1 * ms + cfg.fixed_exit_ps);
	EXPECT_EQ(result().vector[0x70], 1u);
}

TEST_F(guest, an_hour_of_sleep_is_one_wait)
{
	use_fixed_clock();
	create_script();
	auto cmos = [this](uint8_t index, uint8_t v) {
		out(0x70, index);
		out(0x71, v);
	};
	out(0x43, 0x30); // no ticks of the 8254
	step(SCRIPT_UNMASK, 8);
	cmos(0x01, 0x00); // alarm at 01:00:00
	cmos(0x03, 0x00);
	cmos(0x05, 0x01);
	cmos(0x0b, 0x22); // alarm interrupt, 24 h
	out(0x70, 0x0c);
	in(0x71);
	step(SCRIPT_SLEEP);
	play();
	EXPECT_EQ(result().vector[0x28], 1u);
	EXPECT_GE(result().last_ps, 3600 * s);
	EXPECT_LT(result().last_ps, 3601 * s);
	EXPECT_LT(stats().slices, 100u) << "waits for an hour";
	EXPECT_LT(stats().entries, 1000u);
}

TEST_F(guest, a_simulator_event_ends_an_hour_of_sleep)
{
	use_fixed_clock();
	create_script();
	auto config = simple_function();
	config.intx_pin = 1;
	config.slot = 4;
	kvmbox_function *f = add(config);
	power_on();
	sim.at(3600 * s, [f] { kvmbox_intx(f, true); });
	sim.at(3600 * s + 1, [f] { kvmbox_intx(f, false); }); // once it is taken: a level that stays would come again for ever
	out(0x43, 0x30);
	step(SCRIPT_UNMASK, 10);
	step(SCRIPT_SLEEP);
	play();
	EXPECT_EQ(result().last_ps, 3600 * s + cfg.fixed_exit_ps);
	EXPECT_LT(stats().slices, 10u);
}

// ---- consoles -----------------------------------------------------------------------------------------------------------

TEST_F(guest, receives_what_is_typed)
{
	use_fixed_clock();
	create_script();
	ASSERT_EQ(kvmbox_serial_input(box, "ab", 2), 0);
	sim.at(1 * ms, [this] { EXPECT_EQ(kvmbox_serial_input(box, "c", 1), 0); });
	step(SCRIPT_UNMASK, 4);
	out(0x3fc, 0x0b); // DTR, RTS, OUT2: interrupts
	size_t a = in(0x3f8), b = in(0x3f8), none = in(0x3fd);
	out(0x3f9, 0x01);
	step(SCRIPT_SLEEP);
	size_t id = in(0x3fa), c = in(0x3f8), after = in(0x3fd);
	out(0x3f8, '!');
	load_steps();
	ASSERT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(value(a), 'a');
	EXPECT_EQ(value(b), 'b');
	EXPECT_EQ(value(none) & 1, 0u);
	EXPECT_EQ(value(id) & 0xf, 4u);
	EXPECT_EQ(value(c), 'c');
	EXPECT_EQ(value(after) & 1, 0u);
	EXPECT_EQ(serial(), "!");
	EXPECT_EQ(result().vector[0x24], 1u);
}

TEST_F(guest, the_start_date_is_the_guests)
{
	set("start_date", "1987-06-05T04:03:02");
	load("rtc.elf");
	ASSERT_EQ(create(), 0) << err.msg;
	ASSERT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(serial().substr(0, 22), "rtc 87-06-05 04:03:02\n");
}

// ---- firmware's tables -------------------------------------------------------------------------------------------------

TEST_F(guest, finds_the_tables_before_and_after_a_reset)
{
	run_to_exit("acpi.elf");
	const std::string once = "ACPI: RSDP at e0000, 4 tables\n"
				 "FADT: PM1a 600 and 604, timer 608, SCI 9, reset cf9=6\n"
				 "MADT: 1 CPU, 1 I/O APIC, 2 overrides\n"
				 "HPET: at fed00000\nMCFG: at d0000000\n"
				 "SMBIOS: 3.0, 9 structures\n"
				 "MP: 1.4, 150 entries\n";
	EXPECT_EQ(serial(), once + "once more\n" + once);
}

INSTANTIATE_TEST_SUITE_P(tables, fixed_clock, testing::Values("acpi.elf"), guest_name);

TEST_F(guest, a_firmware_image_finds_none)
{
	load("reset_vector.rom");
	ASSERT_EQ(create(), 0) << err.msg;
	power_on();
	EXPECT_EQ(peek<uint64_t>(0xe0000), 0u); // its 64 KiB start behind
	EXPECT_EQ(peek<uint64_t>(0x400), 0u);
	EXPECT_EQ(peek<uint64_t>(0x9fc10), 0u);
}

TEST_F(guest, images_over_the_tables_are_refused)
{
	load("flat.bin");
	for (const char *at : {"0x4f0", "0x9ff00", "0xe0000", "0xffff0"}) {
		set("guest_base", at);
		set("guest_entry", at);
		EXPECT_EQ(create(), -EADDRINUSE) << at;
		EXPECT_TRUE(says("flat.bin") && says("where the box keeps")) << err.msg;
	}
	set("guest_base", "0xd0000");
	set("guest_entry", "0xd0000");
	EXPECT_EQ(create(), 0) << err.msg;
}

// ---- much memory --------------------------------------------------------------------------------------------------------

TEST_F(guest, memory_above_4_gib)
{
	set("ram", "4G");
	create_script();
	uint64_t from, to;
	bool readonly;
	ASSERT_NE(kvmbox_dma_ptr(box, 0x100000000, &from, &to, &readonly), nullptr);
	EXPECT_EQ(from, 0x100000000u);
	EXPECT_EQ(to, 0x13fffffffu);
	poke<uint64_t>(0x13ffffff8, 0x1122334455667788);
	write(0x100000000, 0xaa55aa55aa55aa55, 8);
	size_t top = read(0x13ffffff8, 8), beyond = read(0x140000000, 8);
	write(0xbffffff8, 0x77, 8);
	size_t low = read(0xbffffff8, 8), hole = read(0xc0000000, 8);
	auto cmos = [this](uint8_t index) {
		out(0x70, index);
		return in(0x71);
	};
	size_t high_low = cmos(0x5b), high_mid = cmos(0x5c), high_top = cmos(0x5d);
	play();
	EXPECT_EQ(peek<uint64_t>(0x100000000), 0xaa55aa55aa55aa55u);
	EXPECT_EQ(value(top), 0x1122334455667788u);
	EXPECT_EQ(value(beyond), UINT64_MAX);
	EXPECT_EQ(value(low), 0x77u);
	EXPECT_EQ(value(hole), UINT64_MAX);
	EXPECT_EQ(value(high_low) | value(high_mid) << 8 | value(high_top) << 16, 0x4000u) << "1 GiB in 64 KiB units";
}

} // namespace
