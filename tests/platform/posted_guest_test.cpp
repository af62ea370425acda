// A real guest's writes and reads against bus latencies and slow targets: to the picosecond, with clock=fixed.
#include "agenda.h"

namespace {

constexpr uint64_t exit_ps = 100000, request_ps = 250000, completion_ps = 150000, posted_ps = 30000, takes_ps = 700000;
constexpr uint64_t long_way_ps = 1000000000;

struct slow : kvmbox::pci_device {
	struct access {
		uint64_t offset, at_ps;
		bool write;
	};
	std::vector<access> log;
	bool waits;

	slow(sc_core::sc_module_name n, kvmbox::box &b, const kvmbox::function_config &f, bool waits_)
		: pci_device(n, b, f), waits(waits_)
	{
	}
	void take_time(uint64_t offset, bool write, sc_core::sc_time &delay)
	{
		EXPECT_EQ(delay, sc_core::SC_ZERO_TIME);
		log.push_back({ offset, kvmbox::to_ps(sc_core::sc_time_stamp()), write });
		if (waits)
			sc_core::wait(kvmbox::from_ps(takes_ps));
		else
			delay += kvmbox::from_ps(takes_ps);
	}
	uint64_t read(unsigned, uint64_t offset, unsigned, sc_core::sc_time &delay) override
	{
		take_time(offset, false, delay);
		return offset;
	}
	void write(unsigned, uint64_t offset, unsigned, uint64_t, sc_core::sc_time &delay) override
	{
		take_time(offset, true, delay);
	}
};

enum slot : unsigned { WAITS = 3, ANNOTATES, STALLS, OWN, FAR };

struct bench : sc_core::sc_module {
	agenda_box box;
	slow waits, annotates, stalls, own, far;

	static kvmbox::function_config at(slot s)
	{
		kvmbox::function_config f("", 0x1234, 1);

		f.slot = int(s);
		f.memory_bar(0, 0x1000);
		f.posted_writes = s != STALLS;
		if (s == OWN) {
			f.bus_request_ps = 3000;
			f.bus_completion_ps = KVMBOX_NO_LATENCY;
			f.posted_write_ps = 5000;
		}
		if (s == FAR)
			f.bus_request_ps = long_way_ps;
		return f;
	}
	explicit bench(sc_core::sc_module_name n)
		: sc_module(n),
		  box("box", "clock=fixed fixed_exit=100ns bus_request=250ns bus_completion=150ns posted_write=30ns "
			     "slice_to_events=" TEST_SLICES),
		  waits("waits", box.pc, at(WAITS), true), annotates("annotates", box.pc, at(ANNOTATES), false),
		  stalls("stalls", box.pc, at(STALLS), true), own("own", box.pc, at(OWN), false), far("far", box.pc, at(FAR), false)
	{
		for (slot s : { WAITS, ANNOTATES, STALLS, OWN }) {
			reads.push_back(box.read(s, 8, 4));
			writes.push_back(box.write(s, 0x10, 4, 1));
			flushes.push_back(box.read(s, 0x18, 4));
		}
		last = box.write(FAR, 0x20, 4, 1);
	}
	std::vector<size_t> reads, writes, flushes;
	size_t last;
};

class posted_guest : public agenda_test<bench> {
protected:
	const agenda_step &read(slot s) { return b->box[b->reads[s - WAITS]]; }
	const agenda_step &write(slot s) { return b->box[b->writes[s - WAITS]]; }
	const agenda_step &flush(slot s) { return b->box[b->flushes[s - WAITS]]; }
	static uint64_t took(const agenda_step &s) { return s.after - s.before - 2 * exit_ps; }
};

} // namespace

void elaborate()
{
	posted_guest::build();
}

TEST_F(posted_guest, AReadCostsRequestTargetAndCompletion)
{
	for (slot s : { WAITS, ANNOTATES, STALLS })
		EXPECT_EQ(took(read(s)), request_ps + takes_ps + completion_ps) << s;
	EXPECT_EQ(took(read(OWN)), 3000 + takes_ps);
	EXPECT_EQ(b->waits.log[0].at_ps, read(WAITS).before + exit_ps + request_ps);
	EXPECT_EQ(b->own.log[0].at_ps, read(OWN).before + exit_ps + 3000);
}

TEST_F(posted_guest, APostedWriteCostsWhatIsConfiguredAndArrivesAfterTheRequest)
{
	EXPECT_EQ(took(write(WAITS)), posted_ps);
	EXPECT_EQ(took(write(ANNOTATES)), posted_ps);
	EXPECT_EQ(took(write(OWN)), 5000u);
	for (auto &d : { std::make_pair(&b->waits, WAITS), std::make_pair(&b->annotates, ANNOTATES), std::make_pair(&b->stalls, STALLS) }) {
		ASSERT_EQ(d.first->log.size(), 3u);
		EXPECT_TRUE(d.first->log[1].write);
		EXPECT_EQ(d.first->log[1].at_ps, write(d.second).before + exit_ps + request_ps);
	}
	EXPECT_EQ(b->own.log[1].at_ps, write(OWN).before + exit_ps + 3000);
}

TEST_F(posted_guest, AnyOtherWriteCostsWhatAReadCosts)
{
	EXPECT_EQ(took(write(STALLS)), request_ps + takes_ps + completion_ps);
}

TEST_F(posted_guest, AReadBeginsWhenTheWriteHasCompleted)
{
	for (auto &d : { std::make_pair(&b->waits, WAITS), std::make_pair(&b->annotates, ANNOTATES) }) {
		const uint64_t over = d.first->log[1].at_ps + takes_ps;

		EXPECT_LT(flush(d.second).before + exit_ps + request_ps, over);
		EXPECT_EQ(d.first->log[2].at_ps, over);
		EXPECT_EQ(flush(d.second).after, over + takes_ps + completion_ps + exit_ps);
	}
	EXPECT_EQ(took(flush(STALLS)), request_ps + takes_ps + completion_ps);
}

// The guest was gone long before.
TEST_F(posted_guest, TheLastWriteArrivesBeforeTheSimulationEnds)
{
	const agenda_step &s = b->box[b->last];

	ASSERT_EQ(b->far.log.size(), 1u);
	EXPECT_EQ(b->far.log[0].at_ps, s.before + exit_ps + long_way_ps);
	EXPECT_LT(kvmbox::to_ps(b->box.pc.time()), s.before + long_way_ps);
	EXPECT_EQ(kvmbox::to_ps(sc_core::sc_time_stamp()), b->far.log[0].at_ps);
	EXPECT_EQ(sc_core::sc_get_status(), sc_core::SC_STOPPED);
	EXPECT_EQ(b->box.pc.stats().transports, 13u);
	EXPECT_EQ(b->box.pc.stats().transport_errors, 0u);
}
