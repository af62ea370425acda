// Boxes with an accelerator and devices made to be a nuisance, run by guests that do random things
// (tests/guest/hostile_pci.c, hostile_rom.S). Whatever they do, the host stays sane: the simulation returns, figures add up,
// memory is only written by whom it may be, log and memory use stay bounded.
//
// Built twice: tame guests (TEST_WILD 0) avoid what would end them, on a reproducible clock, so that they must get through
// all their steps; wild ones reset, overwrite and stop themselves, and may end in any way.
#include "platform_test.h"

#include <chrono>
#include <memory>

#include <sys/resource.h>

#include <kvmbox/probe.h>
#include <tlm_utils/simple_initiator_socket.h>
#include <tlm_utils/simple_target_socket.h>

#include "examples/dma_accel/accel.h"
#include "tests/guest/hostile_pci.h"

namespace {

constexpr bool wild = TEST_WILD;
constexpr unsigned boxes = 3;
constexpr unsigned kilosteps = wild ? 200 : 350; // of each box
constexpr uint64_t silence_s = 2, patience_s = 120; // wild: without an exit; altogether (host time)

// One function of the nuisance device: checks every access, does what its registers say. See hostile_pci.h.
class nuisance : public sc_core::sc_module {
public:
	nuisance(sc_core::sc_module_name nm, kvmbox::pci_function &f, kvmbox::pci_function *crowd)
		: sc_module(nm), dma("dma"), m_f(f), m_crowd(crowd)
	{
		for (unsigned i : { 0u, 1u, 2u, 4u, 5u }) {
			if (!f.configuration().bar[i].size)
				continue;
			m_bars.push_back(std::make_unique<bar_target>(("bar" + std::to_string(i)).c_str()));
			m_bars.back()->register_b_transport(this, &nuisance::b_transport, int(i));
			f.bar(i).bind(*m_bars.back());
		}
		dma.bind(f.dma<64>());
		dma.register_invalidate_direct_mem_ptr(this, &nuisance::invalidate);
	}

	tlm_utils::simple_initiator_socket<nuisance, 64> dma;
	uint64_t accesses = 0, bad = 0, errors = 0, dma_done = 0, dma_refused = 0, dmi_used = 0, invalidations = 0;

private:
	using bar_target = tlm_utils::simple_target_socket_tagged<nuisance>;

	void b_transport(int bar, tlm::tlm_generic_payload &gp, sc_core::sc_time &delay)
	{
		const uint64_t size = m_f.configuration().bar[bar].size;
		const uint64_t at = gp.get_address();
		const unsigned len = gp.get_data_length();

		accesses++;
		if ((len != 1 && len != 2 && len != 4 && len != 8) || at % len || at >= size || len > size - at ||
		    gp.get_streaming_width() != len || gp.get_byte_enable_ptr() || delay > m_f.parent().time())
			bad++;
		gp.set_response_status(tlm::TLM_OK_RESPONSE);
		if (bar != HOSTILE_REGS_BAR) {
			if (gp.is_read())
				memset(gp.get_data_ptr(), int(at), len);
			return;
		}
		if (at >= HOSTILE_ERRORS) {
			errors++;
			gp.set_response_status(static_cast<tlm::tlm_response_status>(-int(at % 6)));
			return;
		}
		if (gp.is_write() && len == 4) {
			uint32_t v;
			memcpy(&v, gp.get_data_ptr(), sizeof(v));
			write(at, v, delay);
		}
	}

	void write(uint64_t at, uint32_t v, sc_core::sc_time &delay)
	{
		switch (at) {
		case HOSTILE_ADDR: m_addr = (m_addr & ~0xffffffffull) | v; break;
		case HOSTILE_ADDR_HI: m_addr = (m_addr & 0xffffffff) | uint64_t(v) << 32; break;
		case HOSTILE_LENGTH: m_length = v % 4096; break;
		case HOSTILE_GO: go(v); break;
		case HOSTILE_INTX: m_f.intx(v & 1); break;
		case HOSTILE_MSI: m_f.interrupt(v & 0x80 ? v : v % 16); break;
		case HOSTILE_DELAY: delay += ns(v % 2048); break;
		case HOSTILE_WAIT: wait(ns(v % 2048)); break;
		case HOSTILE_CROWD_MSI: m_crowd->interrupt(v); break;
		default: break;
		}
	}

	// What is a tame device's own decision: the guarded memory is for when it may not master the bus, and no message is an INIT.
	bool decent(uint32_t how) const
	{
		const bool guard = m_addr < HOSTILE_GUARD + HOSTILE_GUARD_SIZE && m_addr + 8192 > HOSTILE_GUARD;
		const bool init = m_addr >> 20 == 0xfee && (how >> 8 & 7) == 5;

		return wild || ((!guard || !m_f.bus_master()) && !init);
	}

	void go(uint32_t how)
	{
		unsigned char data[4096], enables[3] = { 0xff, 0, 0xff };
		tlm::tlm_generic_payload gp;
		sc_core::sc_time t;
		const bool write = how & 1;

		if (!decent(how) || (write && !m_f.bus_master() && (how >> 1 & 3) == 2)) // debug transport asks for no permission
			return;
		memset(data, int(how >> 8), sizeof(data));
		gp.set_command(write ? tlm::TLM_WRITE_COMMAND : tlm::TLM_READ_COMMAND);
		gp.set_address(m_addr);
		gp.set_data_ptr(data);
		gp.set_data_length(m_length);
		gp.set_streaming_width(how & 8 ? how >> 8 & 0xff : m_length);
		if (how & 0x10) {
			gp.set_byte_enable_ptr(enables);
			gp.set_byte_enable_length(how >> 5 & 3);
		}
		switch (how >> 1 & 3) {
		case 0:
		case 1:
			dma->b_transport(gp, t);
			count(gp.get_response_status());
			break;
		case 2:
			dma->transport_dbg(gp);
			break;
		default:
			direct(gp, write);
		}
	}

	void count(tlm::tlm_response_status s)
	{
		s == tlm::TLM_OK_RESPONSE ? dma_done++ : dma_refused++;
	}

	void direct(tlm::tlm_generic_payload &gp, bool write)
	{
		tlm::tlm_dmi d;

		if (!dma->get_direct_mem_ptr(gp, d)) {
			dma_refused++;
			return;
		}
		if (m_addr < d.get_start_address() || m_addr > d.get_end_address())
			bad++;
		dmi_used++;
		m_dmi = true;
		// Near the end, too: the whole range must be there. The guest's own memory is left alone.
		volatile unsigned char *p = d.get_dmi_ptr(), *last = p + (d.get_end_address() - d.get_start_address());
		(void)*p;
		(void)*last;
		if (write && d.is_write_allowed() && m_addr >= HOSTILE_ARENA && d.get_start_address() <= HOSTILE_ARENA)
			p[HOSTILE_ARENA - d.get_start_address()] = 0x5a;
	}

	void invalidate(sc_dt::uint64, sc_dt::uint64) { invalidations++; }

	kvmbox::pci_function &m_f, *m_crowd;
	std::vector<std::unique_ptr<bar_target>> m_bars;
	uint64_t m_addr = 0;
	unsigned m_length = 0;
	bool m_dmi = false;
};

// A PC with all of it.
struct rig : sc_core::sc_module {
	rig(sc_core::sc_module_name nm, unsigned seed)
		: sc_module(nm), pc("pc", configuration()), accelerator("accel", pc), m_nuisance(pc.add_function(noisy(seed))),
		  m_crowd(pc.add_function(crowded())), device("device", m_nuisance, &m_crowd), chipset("chipset")
	{
		chipset.bind(pc.dma<128>());
	}

	static kvmbox::config configuration()
	{
		kvmbox::config cfg("guest=" GUESTS "/hostile_pci.elf serial=memory debugcon=null ram=" HOSTILE_RAM);

		cfg.stop_simulation = false; // it goes on with the other boxes
		if (!wild)
			cfg.parse("clock=fixed fixed_exit=100ns");
		return cfg;
	}
	static kvmbox::function_config noisy(unsigned seed)
	{
		kvmbox::function_config f("nuisance", HOSTILE_VENDOR, HOSTILE_NUISANCE);

		f.slot = 9;
		f.io_bar(0, 64).memory_bar(HOSTILE_REGS_BAR, HOSTILE_REGS_SIZE).memory_bar(2, 0x10000, true, true);
		f.io_bar(4, 256).memory_bar(5, 16);
		f.rom.assign(2048, 0x55);
		f.intx_pin = 2;
		f.msi_vectors = 8;
		f.power_management = true;
		f.vendor_cap = { 1, 2, 3, 4, 5 };
		f.subsystem = uint16_t(seed);
		f.subsystem_vendor = kilosteps;
		f.revision = wild ? HOSTILE_WILD : 0;
		f.mode = seed % 2 ? KVMBOX_SYNCHRONISED : KVMBOX_LOOSELY_TIMED;
		return f;
	}
	static kvmbox::function_config crowded()
	{
		kvmbox::function_config f("crowd", HOSTILE_VENDOR, HOSTILE_CROWD);

		f.slot = 9;
		f.fn = 1;
		f.memory_bar(0, 0x10000);
		f.msix_vectors = HOSTILE_CROWD_VECTORS;
		f.intx_pin = 1;
		return f;
	}

	// Debug access to guest memory.
	bool debug(tlm::tlm_command command, uint64_t addr, void *data, unsigned len)
	{
		tlm::tlm_generic_payload gp;

		gp.set_command(command);
		gp.set_address(addr);
		gp.set_data_ptr(static_cast<unsigned char *>(data));
		gp.set_data_length(len);
		return chipset->transport_dbg(gp) == len;
	}
	hostile_mailbox mailbox()
	{
		hostile_mailbox m{};
		debug(tlm::TLM_READ_COMMAND, HOSTILE_MAILBOX, &m, sizeof(m));
		return m;
	}

	kvmbox::box pc;
	accel accelerator;
	kvmbox::pci_function &m_nuisance, &m_crowd;
	nuisance device;
	tlm_utils::simple_initiator_socket<sc_core::sc_module, 128> chipset;
};

std::vector<uint8_t> pattern()
{
	std::vector<uint8_t> p(HOSTILE_GUARD_SIZE);

	for (size_t i = 0; i < p.size(); i++)
		p[i] = uint8_t(i * 7 + (i >> 8));
	return p;
}

double host_seconds()
{
	return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Stops boxes whose guests have stopped doing anything, or go on for too long.
struct warden : sc_core::sc_module {
	SC_HAS_PROCESS(warden);
	warden(sc_core::sc_module_name nm, std::vector<std::unique_ptr<rig>> &r) : sc_module(nm), m_rigs(r) { SC_THREAD(watch); }

	void watch()
	{
		const double start = host_seconds();
		double moved = start;
		uint64_t last = 0;

		for (;;) {
			uint64_t entries = 0;
			unsigned live = 0;

			wait(1, sc_core::SC_MS);
			for (auto &r : m_rigs) {
				entries += r->pc.stats().entries;
				live += r->pc.end() == KVMBOX_END_NONE;
			}
			if (!live)
				return;
			if (entries != last)
				moved = host_seconds();
			last = entries;
			if (host_seconds() - moved > silence_s || host_seconds() - start > patience_s) {
				for (auto &r : m_rigs)
					r->pc.stop();
				return;
			}
		}
	}
	std::vector<std::unique_ptr<rig>> &m_rigs;
};

std::vector<std::unique_ptr<rig>> rigs;
std::unique_ptr<warden> guard;
std::string unusable;

std::string tail(const std::string &s)
{
	return s.size() < 1000 ? s : s.substr(s.size() - 1000);
}

long max_rss_kib()
{
	rusage u{};
	getrusage(RUSAGE_SELF, &u);
	return u.ru_maxrss;
}

} // namespace

void elaborate()
{
	kvmbox_probe_result host{};

	if (kvmbox_probe(&host) < 0) {
		unusable = host.why_not.msg;
		return;
	}
	// A guest's end may be an error; it is looked at below.
	sc_core::sc_report_handler::set_actions(kvmbox::msg_guest, sc_core::SC_ERROR, sc_core::SC_DISPLAY | sc_core::SC_CACHE_REPORT);
	for (unsigned i = 0; i < boxes; i++)
		rigs.push_back(std::make_unique<rig>(("rig" + std::to_string(i)).c_str(), i + 1 + (wild ? 100 : 0)));
	if (wild)
		guard = std::make_unique<warden>("warden", rigs);
}

class hostile : public testing::Test {
protected:
	void SetUp() override
	{
		if (!unusable.empty())
			GTEST_SKIP() << unusable;
		if (ran)
			return;
		ran = true;
		std::vector<uint8_t> p = pattern();
		for (auto &r : rigs)
			ASSERT_TRUE(r->debug(tlm::TLM_WRITE_COMMAND, HOSTILE_GUARD, p.data(), unsigned(p.size())));
		sc_core::sc_start();
		for (auto &r : rigs) {
			const auto m = r->mailbox();
			const auto s = r->pc.stats();

			std::printf("%s: end %d status %d; %u boots, %llu steps, %llu interrupts, %llu naps, %llu jobs; %llu entries, "
				    "%llu transports (%llu failed), %llu bytes DMA (%llu failed), %llu MSIs\n",
				    r->name(), r->pc.end(), r->pc.exit_status(), m.boots, (unsigned long long)m.steps,
				    (unsigned long long)m.interrupts, (unsigned long long)m.naps, (unsigned long long)m.jobs,
				    (unsigned long long)s.entries, (unsigned long long)s.transports,
				    (unsigned long long)s.transport_errors, (unsigned long long)s.dma_bytes,
				    (unsigned long long)s.dma_errors, (unsigned long long)s.msis);
		}
	}
	static bool ran;
};
bool hostile::ran;

TEST_F(hostile, GuestsDidAllTheirSteps)
{
	uint64_t steps = 0, boots = 0;

	for (auto &r : rigs) {
		const auto m = r->mailbox();

		EXPECT_NE(r->pc.end(), KVMBOX_END_NONE) << r->name();
		if (wild) {
			if (m.magic == HOSTILE_MAGIC && m.steps < 1000u * kilosteps + 64)
				steps += m.steps, boots += m.boots;
			continue;
		}
		EXPECT_EQ(r->pc.end(), KVMBOX_END_EXIT) << r->name();
		EXPECT_EQ(r->pc.exit_status(), 0) << r->name() << ": " << tail(r->pc.serial_output());
		EXPECT_EQ(m.magic, HOSTILE_MAGIC) << r->name();
		EXPECT_EQ(m.boots, 1u) << r->name();
		EXPECT_GE(m.steps, 1000u * kilosteps) << r->name();
		EXPECT_GT(m.jobs, 1000u) << r->name();
		EXPECT_GT(m.forbidden_jobs, 500u) << r->name();
		EXPECT_GT(m.interrupts, 200u) << r->name();
		EXPECT_GT(m.naps, 100u) << r->name();
		EXPECT_GT(r->accelerator.jobs().size(), 100u) << r->name();
		EXPECT_GT(r->device.dma_done, 100u) << r->name();
		EXPECT_GT(r->device.dma_refused, 100u) << r->name();
		EXPECT_GT(r->device.dmi_used, 10u) << r->name();
		EXPECT_GT(r->pc.stats().msis, 100u) << r->name();
		steps += m.steps;
	}
	if (wild) {
		EXPECT_GT(steps, 1000u);
		EXPECT_GT(boots, boxes) << "nobody found the way to a reset";
	} else {
		EXPECT_GE(steps, 1000000u);
	}
}

TEST_F(hostile, DevicesSawOnlyProperAccesses)
{
	for (auto &r : rigs) {
		EXPECT_EQ(r->device.bad, 0u) << r->name();
		EXPECT_GT(r->device.accesses, 0u) << r->name();
	}
}

TEST_F(hostile, FiguresAddUp)
{
	for (auto &r : rigs) {
		const auto s = r->pc.stats();
		const auto exits = s.exits_mmio + s.exits_pio + s.exits_hlt + s.exits_kick + s.exits_window + s.exits_msr + s.exits_step + s.exits_assist + s.exits_other;

		SCOPED_TRACE(r->name());
		EXPECT_GE(s.entries + s.entries / 100 + 10, exits); // completions of the last access are no entries
		EXPECT_GT(exits, 0u);
		EXPECT_GE(s.transports, r->device.accesses);
		EXPECT_EQ(s.transport_errors, r->m_nuisance.errors() + r->m_crowd.errors() + r->accelerator.function().errors());
		EXPECT_LE(s.transport_errors, s.transports);
		EXPECT_EQ(kvmbox::to_ps(r->pc.time()), s.guest_ps);
		EXPECT_LE(r->accelerator.jobs().size(), s.transports);
		EXPECT_GE(sc_core::sc_time_stamp() + ns(1e6), r->pc.time() < sc_core::sc_time_stamp() ? r->pc.time() : ns(0));
	}
}

TEST_F(hostile, NobodyWritesWithoutBusMastering)
{
	const std::vector<uint8_t> p = pattern();

	if (wild)
		GTEST_SKIP() << "wild guests may write it themselves";
	for (auto &r : rigs) {
		std::vector<uint8_t> now(p.size());

		ASSERT_TRUE(r->debug(tlm::TLM_READ_COMMAND, HOSTILE_GUARD, now.data(), unsigned(now.size())));
		EXPECT_EQ(now, p) << r->name();
	}
}

TEST_F(hostile, DoNotFloodTheLog)
{
	EXPECT_LT(reports::all().size(), 200u * boxes);
	if (!rigs[0]->pc.c_box())
		return;
	// An INIT to the only CPU, by message, many times.
	const size_t before = reports::all().size();
	for (unsigned i = 0; i < 5000; i++) {
		tlm::tlm_generic_payload gp;
		sc_core::sc_time t;
		uint32_t init = 0x500;

		gp.set_command(tlm::TLM_WRITE_COMMAND);
		gp.set_address(0xfee00000);
		gp.set_data_ptr(reinterpret_cast<unsigned char *>(&init));
		gp.set_data_length(sizeof(init));
		gp.set_streaming_width(sizeof(init));
		rigs[0]->chipset->b_transport(gp, t);
		ASSERT_EQ(gp.get_response_status(), tlm::TLM_OK_RESPONSE);
	}
	EXPECT_LT(reports::all().size() - before, 30u);
}

TEST_F(hostile, DoNotEatMemory)
{
	// RAM of all guests, the program itself, and what sanitizers take.
	EXPECT_LT(max_rss_kib(), long(boxes * HOSTILE_RAM_SIZE / 1024 + 600 * 1024));
}
