// A device's interrupt at a given time: the guest takes it at that time, to the picosecond where the clock allows.
#include "puppeteer.h"

namespace {

constexpr uint64_t exit_ps = 1000003; /* odd, so that nothing fits by accident */

struct card : kvmbox::pci_device {
	sc_core::sc_signal<bool, sc_core::SC_MANY_WRITERS> irq;

	card(sc_core::sc_module_name n, kvmbox::box &b) : pci_device(n, b, identity()), irq("irq") { function().irq().bind(irq); }
	static kvmbox::function_config identity()
	{
		kvmbox::function_config f("", 0x1234, 1);
		f.memory_bar(0, 0x1000);
		f.intx_pin = 1;
		f.msi_vectors = 1;
		return f;
	}
};

struct machine {
	kvmbox::box &pc;
	puppeteer guest;
	card device;
	uint64_t handler_ps = 0;

	machine(const std::string &name, kvmbox::box &b) : pc(b), guest((name + "_guest").c_str(), b), device((name + "_card").c_str(), b)
	{
		guest.on_interrupt = [this](unsigned) {
			handler_ps = kvmbox::to_ps(sc_core::sc_time_stamp());
			device.irq.write(false);
			sc_core::wait(sc_core::SC_ZERO_TIME); /* the line is down before the end-of-interrupt */
			sc_core::wait(sc_core::SC_ZERO_TIME);
		};
	}
	struct times {
		uint64_t raised, handler, woke;
	};
	/* The guest sleeps or computes; after delay_ps the interrupt. */
	times interrupt_after(uint64_t delay_ps, unsigned op, bool msi)
	{
		times t{};
		guest.run([&] {
			guest.start(op);
			sc_core::wait(kvmbox::from_ps(delay_ps));
			t.raised = kvmbox::to_ps(sc_core::sc_time_stamp());
			if (msi)
				EXPECT_EQ(device.function().interrupt(), 1);
			else
				device.irq.write(true);
			t.woke = guest.result();
			t.handler = handler_ps;
		});
		return t;
	}
	void use(unsigned op, uint64_t vector = 0)
	{
		guest.run([&] {
			guest.set_command(device.function(), 7);
			guest.command(op, device.function().bdf(), vector);
		});
	}
};

machine *fixed, *tsc;
std::string why_not;
const uint64_t delays_ps[] = { 20000000, 33333333, 1000000001, 999999999999, 7777777777777 };

class wake : public testing::TestWithParam<bool> {
protected:
	void SetUp() override
	{
		if (!fixed || !tsc)
			GTEST_SKIP() << why_not;
	}
	static void prepare(machine &m)
	{
		if (GetParam())
			m.use(PUPPET_USE_MSI, 0x51);
		else
			m.use(PUPPET_USE_INTX);
	}
};

/*
 * clock=fixed: from the interrupt to an access in its handler the guest computes, which is free, and exits once: the
 * write arrives exactly one exit later. From there to reading its clock it is the same number of exits each time.
 */
TEST_P(wake, of_a_sleeping_guest_is_exact)
{
	uint64_t rest = 0;
	prepare(*fixed);
	for (uint64_t d : delays_ps) {
		const auto t = fixed->interrupt_after(d, PUPPET_SLEEP, GetParam());
		EXPECT_EQ(t.handler, t.raised + exit_ps) << d;
		EXPECT_EQ((t.woke - t.raised) % exit_ps, 0u) << d;
		if (!rest)
			rest = t.woke - t.raised;
		EXPECT_EQ(t.woke - t.raised, rest) << d;
		EXPECT_LE(rest, 8 * exit_ps);
	}
}

TEST_P(wake, of_a_computing_guest_is_never_early)
{
	prepare(*tsc);
	for (uint64_t d : { delays_ps[0], delays_ps[1], delays_ps[2] }) {
		const auto t = tsc->interrupt_after(d, PUPPET_SPIN, GetParam());
		EXPECT_GT(t.handler, t.raised) << d;
		EXPECT_GE(t.woke, t.handler) << d;
	}
}

INSTANTIATE_TEST_SUITE_P(by, wake, testing::Bool(), [](auto &i) { return i.param ? "msi" : "signal"; });

} // namespace

void elaborate()
{
	kvmbox::box *a = puppet_box("fixed_pc", why_not, "completion_timeout=0 clock=fixed fixed_exit=" + std::to_string(exit_ps) + "ps");
	kvmbox::box *b = a ? puppet_box("tsc_pc", why_not, "completion_timeout=0 clock=tsc") : nullptr;
	if (!b)
		return;
	fixed = new machine("fixed", *a);
	tsc = new machine("tsc", *b);
}
