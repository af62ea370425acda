// Loosely timed functions: the lead comes as the delay, within tlm_global_quantum, and the guest's times are exact whatever a
// target does with it. With clock=fixed.
#include "agenda.h"

namespace {

constexpr uint64_t exit_ps = 100000, quantum_ps = 3000000, takes_ps = 70000;

enum style {
	annotates,  // adds its own
	waits,      // waits for the lead and its own
	halves,     // waits for half of the lead
	on_top,     // waits for its own, leaves the lead
	keeper,     // adds its own; waits when it has gathered a quantum
	forgets,    // takes no time and returns 0: the guest goes on where it was
	styles,
};

struct decoupled : kvmbox::pci_device {
	struct access {
		uint64_t at_ps, delay_ps;
	};
	std::vector<access> log;
	style how;

	decoupled(sc_core::sc_module_name n, kvmbox::box &b, style s, bool posts) : pci_device(n, b, identity(posts)), how(s) {}
	static kvmbox::function_config identity(bool posts)
	{
		kvmbox::function_config f("", 0x1234, 1);

		f.memory_bar(0, 0x1000);
		f.mode = KVMBOX_LOOSELY_TIMED;
		f.posted_writes = posts;
		return f;
	}
	unsigned slot() { return function().bdf() >> 3; }
	void take_time(sc_core::sc_time &delay)
	{
		const sc_core::sc_time own = kvmbox::from_ps(takes_ps);

		log.push_back({ kvmbox::to_ps(sc_core::sc_time_stamp()), kvmbox::to_ps(delay) });
		switch (how) {
		case waits:
			sc_core::wait(delay + own);
			delay = sc_core::SC_ZERO_TIME;
			break;
		case halves:
			sc_core::wait(delay / 2);
			delay -= delay / 2;
			delay += own;
			break;
		case on_top:
			sc_core::wait(own);
			break;
		case forgets:
			delay = sc_core::SC_ZERO_TIME;
			break;
		case keeper:
			delay += own;
			if (delay < tlm::tlm_global_quantum::instance().get())
				break;
			sc_core::wait(delay);
			delay = sc_core::SC_ZERO_TIME;
			break;
		default:
			delay += own;
		}
	}
	uint64_t read(unsigned, uint64_t, unsigned, sc_core::sc_time &delay) override
	{
		take_time(delay);
		return 0;
	}
	void write(unsigned, uint64_t, unsigned, uint64_t, sc_core::sc_time &delay) override { take_time(delay); }
};

struct bench : sc_core::sc_module {
	agenda_box box;
	std::vector<std::unique_ptr<decoupled>> devices; // two of each style, the second does not post
	struct access {
		size_t step;
		unsigned device;
		bool write;
	};
	std::vector<access> accesses;

	explicit bench(sc_core::sc_module_name nm) : sc_module(nm), box("box", "clock=fixed fixed_exit=100ns")
	{
		for (unsigned i = 0; i < 2 * styles; i++)
			devices.push_back(std::make_unique<decoupled>(sc_core::sc_gen_unique_name("device"), box.pc, style(i / 2), i % 2 == 0));
		// Every device alone, then all of them mixed.
		for (unsigned i = 0; i < 2 * styles; i++)
			for (unsigned n = 0; n < 12; n++)
				add(i, n % 3 != 0);
		for (unsigned n = 0; n < 80; n++)
			add(n * 7 % (2 * styles), n % 4 != 0);
	}
	void add(unsigned i, bool write)
	{
		const unsigned slot = devices[i]->slot();

		accesses.push_back({ write ? box.write(slot, 8, 4, 1) : box.read(slot, 8, 4), i, write });
	}
};

using loose = agenda_test<bench>;

} // namespace

void elaborate()
{
	tlm::tlm_global_quantum::instance().set(kvmbox::from_ps(quantum_ps));
	loose::build();
}

TEST_F(loose, EveryAccessIsWhereTheGuestIs)
{
	std::vector<size_t> next(b->devices.size());
	std::vector<uint64_t> free(b->devices.size());

	for (const auto &a : b->accesses) {
		const agenda_step &s = b->box[a.step];
		decoupled &d = *b->devices[a.device];
		const uint64_t arrives = s.before + exit_ps, begins = std::max(arrives, free[a.device]);
		const uint64_t ends = d.how == forgets ? begins : begins + takes_ps;

		SCOPED_TRACE(testing::Message() << (a.write ? "write" : "read") << " step " << a.step << " style " << d.how << " device " << a.device);
		ASSERT_LT(next[a.device], d.log.size());
		const decoupled::access &seen = d.log[next[a.device]++];
		EXPECT_EQ(seen.at_ps + seen.delay_ps, begins);
		EXPECT_LE(seen.at_ps, begins);
		EXPECT_EQ(s.after, (a.write && a.device % 2 == 0 ? arrives : ends) + exit_ps);
		free[a.device] = d.how == forgets ? 0 : ends;
	}
}

TEST_F(loose, TheLeadIsRealAndWithinTheGlobalQuantum)
{
	uint64_t longest = 0, decoupled_accesses = 0;

	for (auto &d : b->devices)
		for (const auto &a : d->log) {
			EXPECT_LE(a.delay_ps, quantum_ps + exit_ps + takes_ps); // the exit under way, the write before it
			longest = std::max(longest, a.delay_ps);
			decoupled_accesses += a.delay_ps > exit_ps;
		}
	EXPECT_GT(longest, quantum_ps / 2);
	EXPECT_GT(decoupled_accesses, b->accesses.size() / 2);
}
