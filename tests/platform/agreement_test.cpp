// Guest and SystemC agree on time: a device with exact delays, timed by the guest, and interrupts at exact times.
// Built with clock=fixed (TEST_FIXED 1), where every figure is exact, and with clock=tsc, where figures are bounds.
#include "agenda.h"

#include <tlm_utils/simple_target_socket.h>

namespace {

constexpr bool fixed = TEST_FIXED;
constexpr uint64_t exit_ps = 100000; // clock=fixed: what each exit costs

const std::vector<uint64_t> delays_ns = { 100, 250, 1000, 3333, 10000, 100000, 1000000 };

enum : unsigned { waits = 0x100, annotates = 0x200, alarm = 0x300, quiet = 0x308, ram_flag = 0x310 };

// Reads at waits + 8 i take delays_ns[i] and return the SystemC time they began at, in ps. So do those at annotates, by the delay
// argument. A write of n to alarm: interrupt n ns later.
struct stopwatch : sc_core::sc_module {
	SC_HAS_PROCESS(stopwatch);
	stopwatch(sc_core::sc_module_name nm, kvmbox::pci_function &f) : sc_module(nm), socket("socket"), m_f(f)
	{
		socket.register_b_transport(this, &stopwatch::b_transport);
		f.bar(0).bind(socket);
		SC_METHOD(ring);
		sensitive << m_ring;
		dont_initialize();
	}

	void b_transport(tlm::tlm_generic_payload &gp, sc_core::sc_time &delay)
	{
		const uint64_t at = gp.get_address(), i = at % 0x100 / 8;
		uint64_t v = kvmbox::to_ps(sc_core::sc_time_stamp() + delay);

		gp.set_response_status(tlm::TLM_OK_RESPONSE);
		if (gp.is_read()) {
			memcpy(gp.get_data_ptr(), &v, gp.get_data_length());
			if (at >= waits && at < annotates && i < delays_ns.size())
				wait(ns(double(delays_ns[i])));
			else if (at >= annotates && at < alarm && i < delays_ns.size())
				delay += ns(double(delays_ns[i]));
			return;
		}
		memcpy(&v, gp.get_data_ptr(), gp.get_data_length());
		if (at == alarm)
			m_ring.notify(ns(double(v)));
		else if (at == quiet)
			m_f.intx(false);
	}

	void ring()
	{
		rung.push_back(kvmbox::to_ps(sc_core::sc_time_stamp()));
		if (m_f.interrupt(0) < 0)
			m_f.intx(true);
	}

	tlm_utils::simple_target_socket<stopwatch, 64> socket;
	std::vector<uint64_t> rung; // when interrupts were raised
	kvmbox::pci_function &m_f;
	sc_core::sc_event m_ring;
};

enum : unsigned { synchronised = 4, loose = 5, pin = 6 };

struct bench : sc_core::sc_module {
	explicit bench(sc_core::sc_module_name nm)
		: sc_module(nm), box("box", fixed ? "clock=fixed fixed_exit=100ns" : "clock=tsc"),
		  sync("sync", add("sync", synchronised, KVMBOX_SYNCHRONISED, 1)),
		  lt("lt", add("lt", loose, KVMBOX_LOOSELY_TIMED, 1)), wire("wire", add("wire", pin, KVMBOX_SYNCHRONISED, 0))
	{
		for (unsigned slot : { synchronised, loose })
			for (unsigned kind : { waits, annotates })
				for (size_t i = 0; i < delays_ns.size(); i++)
					timed.push_back({ box.read(slot, kind + 8 * i, 8), slot, delays_ns[i] * 1000 });
		for (unsigned slot : { synchronised, pin })
			for (agenda_op how : { AGENDA_SLEEP, AGENDA_SPIN })
				for (uint64_t d : delays_ns) {
					// The device's first access sets up what may take time: not behind the alarm.
					box.read(slot, 0, 8);
					box.add({ slot == pin ? AGENDA_INTX : AGENDA_MSI, slot, 0, 0, 0, 0, 0, 0 });
					size_t set = box.write(slot, alarm, 8, d);
					size_t seen = box.add({ uint32_t(how), slot, 0, 0, 0, 0, 0, 0 });
					alarms.push_back({ set, seen, slot, how, d * 1000 });
					if (slot == pin)
						box.write(slot, quiet, 8, 0);
				}
	}

	kvmbox::pci_function &add(const char *name, unsigned slot, kvmbox_access_mode mode, unsigned msis)
	{
		kvmbox::function_config f(name, 0x1234, 0x5709);

		f.slot = int(slot);
		f.memory_bar(0, 0x1000);
		f.mode = mode;
		f.intx_pin = 1;
		f.msi_vectors = msis;
		return box.pc.add_function(f);
	}

	struct timed_access {
		size_t step;
		unsigned slot;
		uint64_t ps;
	};
	struct timed_alarm {
		size_t set, seen;
		unsigned slot;
		agenda_op how;
		uint64_t ps;
	};
	agenda_box box;
	stopwatch sync, lt, wire;
	std::vector<timed_access> timed;
	std::vector<timed_alarm> alarms;
};

using agreement = agenda_test<bench>;

} // namespace

void elaborate()
{
	agreement::build();
}

// The exits of an access and of the look at the clock behind it, and the device's time between them: nothing else.
TEST_F(agreement, DelaysOfAccesses)
{
	for (const auto &t : b->timed) {
		const agenda_step &s = b->box[t.step];

		SCOPED_TRACE("slot " + std::to_string(t.slot) + " offset " + std::to_string(s.offset));
		EXPECT_GE(s.value, s.before);
		EXPECT_GE(s.after, s.value + t.ps);
		if (fixed) {
			EXPECT_EQ(s.value, s.before + exit_ps);
			EXPECT_EQ(s.after - s.before, t.ps + 2 * exit_ps);
		}
	}
}

// A guest in HLT goes on at the very time of the interrupt; its handler sees that time plus its own look at the clock.
// A guest that is awake cannot see it before, and not later than its next exits.
TEST_F(agreement, Interrupts)
{
	size_t of_sync = 0, of_wire = 0;

	ASSERT_EQ(b->sync.rung.size() + b->wire.rung.size(), b->alarms.size());
	for (const auto &a : b->alarms) {
		const agenda_step &set = b->box[a.set], &seen = b->box[a.seen];
		const uint64_t at = a.slot == pin ? b->wire.rung[of_wire++] : b->sync.rung[of_sync++];

		SCOPED_TRACE((a.slot == pin ? "INTx" : "MSI") + std::string(a.how == AGENDA_SLEEP ? " sleeping " : " spinning ") +
			     std::to_string(a.ps / 1000) + " ns");
		EXPECT_GE(at, set.before + a.ps);
		EXPECT_LE(at, set.after + a.ps);
		EXPECT_GE(seen.value, at);
		if (!fixed)
			continue;
		EXPECT_EQ(at, set.before + exit_ps + a.ps);
		if (a.how == AGENDA_SLEEP && at > set.after + 20 * exit_ps) { // it was asleep by then
			EXPECT_EQ(seen.value, at + exit_ps);
		} else {
			EXPECT_LE(seen.value, std::max(at, set.after + 10 * exit_ps) + 4 * exit_ps);
		}
	}
}
