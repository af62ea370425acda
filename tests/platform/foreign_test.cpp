// Targets and initiators as other projects write them, attached unchanged: what the guest gets from them, and when.
// clock=fixed: an access costs the guest its exit and the device's time, so times are exact.
#include "agenda.h"

#include <tlm_utils/multi_passthrough_target_socket.h>
#include <tlm_utils/passthrough_target_socket.h>
#include <tlm_utils/simple_target_socket.h>
#include <tlm_utils/tlm_quantumkeeper.h>

using sc_core::sc_time;
using tlm::tlm_generic_payload;

namespace {

constexpr uint64_t exit_ps = 100000;

// ---- targets ------------------------------------------------------------------------------------

// Word registers on a strict bus: everything else is an error.
struct word_regs : sc_core::sc_module {
	tlm_utils::simple_target_socket<word_regs> socket;
	uint32_t reg[4] = { 0x11111111, 0x22222222, 0x33333333, 0x44444444 };

	explicit word_regs(sc_core::sc_module_name nm) : sc_module(nm), socket("socket")
	{
		socket.register_b_transport(this, &word_regs::b_transport);
	}
	void b_transport(tlm_generic_payload &gp, sc_time &)
	{
		const uint64_t at = gp.get_address();

		if (gp.get_byte_enable_ptr())
			gp.set_response_status(tlm::TLM_BYTE_ENABLE_ERROR_RESPONSE);
		else if (gp.get_data_length() != 4 || gp.get_streaming_width() < 4 || at % 4)
			gp.set_response_status(tlm::TLM_BURST_ERROR_RESPONSE);
		else if (at / 4 >= 4)
			gp.set_response_status(tlm::TLM_ADDRESS_ERROR_RESPONSE);
		else if (gp.is_write() && at == 0) // the ID is read-only
			gp.set_response_status(tlm::TLM_COMMAND_ERROR_RESPONSE);
		else {
			if (gp.is_read())
				memcpy(gp.get_data_ptr(), &reg[at / 4], 4);
			else
				memcpy(&reg[at / 4], gp.get_data_ptr(), 4);
			gp.set_response_status(tlm::TLM_OK_RESPONSE);
		}
	}
};

template <class M> using simple32 = tlm_utils::simple_target_socket<M, 32>;
template <class M> using simple64 = tlm_utils::simple_target_socket<M, 64>;
template <class M> using passthrough32 = tlm_utils::passthrough_target_socket<M, 32>;

// Byte i holds i. Offers DMI to everyone. Spends its latency by wait(), after what the initiator owes, or by the delay.
template <template <class> class SOCKET> struct memory : sc_core::sc_module {
	SOCKET<memory> socket;
	std::vector<uint8_t> bytes = std::vector<uint8_t>(4096);
	sc_time latency;
	bool waits;
	std::vector<sc_time> delays; // as they came in
	unsigned dmi_asked = 0;

	memory(sc_core::sc_module_name nm, sc_time latency_ = sc_core::SC_ZERO_TIME, bool waits_ = false)
		: sc_module(nm), socket("socket"), latency(latency_), waits(waits_)
	{
		for (size_t i = 0; i < bytes.size(); i++)
			bytes[i] = uint8_t(i);
		socket.register_b_transport(this, &memory::b_transport);
		socket.register_get_direct_mem_ptr(this, &memory::get_direct_mem_ptr);
	}
	void b_transport(tlm_generic_payload &gp, sc_time &delay)
	{
		const uint64_t at = gp.get_address();

		delays.push_back(delay);
		if (waits) {
			wait(delay);
			delay = sc_core::SC_ZERO_TIME;
			wait(latency);
		} else {
			delay += latency;
		}
		if (at + gp.get_data_length() > bytes.size()) {
			gp.set_response_status(tlm::TLM_ADDRESS_ERROR_RESPONSE);
			return;
		}
		if (gp.is_read())
			memcpy(gp.get_data_ptr(), &bytes[at], gp.get_data_length());
		else
			memcpy(&bytes[at], gp.get_data_ptr(), gp.get_data_length());
		gp.set_dmi_allowed(true);
		gp.set_response_status(tlm::TLM_OK_RESPONSE);
	}
	bool get_direct_mem_ptr(tlm_generic_payload &, tlm::tlm_dmi &d)
	{
		dmi_asked++;
		d.set_dmi_ptr(bytes.data());
		d.set_start_address(0);
		d.set_end_address(bytes.size() - 1);
		d.allow_read_write();
		return true;
	}
};

// One socket for several initiators, told apart by the socket's index.
struct shared : sc_core::sc_module {
	tlm_utils::multi_passthrough_target_socket<shared> socket;
	std::vector<int> callers;

	explicit shared(sc_core::sc_module_name nm) : sc_module(nm), socket("socket")
	{
		socket.register_b_transport(this, &shared::b_transport);
	}
	void b_transport(int id, tlm_generic_payload &gp, sc_time &)
	{
		callers.push_back(id);
		memset(gp.get_data_ptr(), 0xa0 + id, gp.get_data_length());
		gp.set_response_status(tlm::TLM_OK_RESPONSE);
	}
};

// Knows the non-blocking interface only. At once, or by all four phases.
struct non_blocking : sc_core::sc_module {
	SC_HAS_PROCESS(non_blocking);
	tlm_utils::simple_target_socket<non_blocking> socket;
	bool phases;
	sc_core::sc_event begin;
	tlm_generic_payload *request = nullptr;
	unsigned ended = 0;

	non_blocking(sc_core::sc_module_name nm, bool phases_) : sc_module(nm), socket("socket"), phases(phases_)
	{
		socket.register_nb_transport_fw(this, &non_blocking::nb_transport_fw);
		SC_THREAD(serve);
	}
	void execute(tlm_generic_payload &gp)
	{
		memset(gp.get_data_ptr(), int(0x70 + gp.get_address()), gp.get_data_length());
		gp.set_response_status(tlm::TLM_OK_RESPONSE);
	}
	tlm::tlm_sync_enum nb_transport_fw(tlm_generic_payload &gp, tlm::tlm_phase &phase, sc_time &t)
	{
		if (phase == tlm::END_RESP) {
			ended++;
			return tlm::TLM_COMPLETED;
		}
		if (!phases) {
			execute(gp);
			t += ns(50);
			return tlm::TLM_COMPLETED;
		}
		gp.acquire();
		request = &gp;
		begin.notify(t + ns(40));
		return tlm::TLM_ACCEPTED;
	}
	void serve()
	{
		for (;;) {
			wait(begin);
			tlm::tlm_phase phase = tlm::END_REQ;
			sc_time t;
			tlm_generic_payload &gp = *request;

			socket->nb_transport_bw(gp, phase, t);
			wait(ns(60));
			execute(gp);
			phase = tlm::BEGIN_RESP;
			t = sc_core::SC_ZERO_TIME;
			if (socket->nb_transport_bw(gp, phase, t) == tlm::TLM_COMPLETED)
				ended++;
			gp.release();
		}
	}
};

// A subsystem whose socket is its child's.
struct subsystem : sc_core::sc_module {
	tlm::tlm_target_socket<32> socket;
	memory<simple32> child;

	explicit subsystem(sc_core::sc_module_name nm) : sc_module(nm), socket("socket"), child("child", ns(20))
	{
		socket.bind(child.socket);
	}
};

// An interconnect: decodes, takes the base off the address, as buses do, and does not put it back.
struct router : sc_core::sc_module {
	tlm_utils::simple_target_socket<router> in;
	tlm_utils::simple_initiator_socket<router> low, high;

	explicit router(sc_core::sc_module_name nm) : sc_module(nm), in("in"), low("low"), high("high")
	{
		in.register_b_transport(this, &router::b_transport);
	}
	void b_transport(tlm_generic_payload &gp, sc_time &delay)
	{
		const uint64_t at = gp.get_address();

		delay += ns(10);
		if (at >= 0x3000) {
			gp.set_response_status(tlm::TLM_ADDRESS_ERROR_RESPONSE);
			return;
		}
		gp.set_address(at & 0xfff);
		at < 0x1000 ? low->b_transport(gp, delay) : high->b_transport(gp, delay);
	}
};

// ---- initiators -------------------------------------------------------------------------------------

// A payload pool as small as can be.
struct one_payload : tlm::tlm_mm_interface {
	tlm_generic_payload gp{ this };
	unsigned freed = 0;

	void free(tlm_generic_payload *p) override
	{
		p->reset();
		freed++;
	}
};

constexpr uint64_t area = 0x1800000; // what the initiator writes to
constexpr unsigned words = 8;
constexpr uint64_t blocking_at = area, non_blocking_at = area + 0x100, direct_at = area + 0x200, done_at = area + 0x300;

// Writes memory in each of the three ways when its register is written.
struct initiator : sc_core::sc_module {
	SC_HAS_PROCESS(initiator);
	tlm_utils::simple_target_socket<initiator> regs;
	tlm_utils::simple_initiator_socket<initiator> blocking;
	tlm_utils::simple_initiator_socket<initiator, 64> nb;
	sc_core::sc_event go, response;
	one_payload pool;
	std::vector<tlm::tlm_response_status> status;
	unsigned responses = 0, invalidated = 0;
	sc_time took;
	bool dmi_hint = false, dmi_granted = false;
	tlm::tlm_dmi dmi;

	explicit initiator(sc_core::sc_module_name nm) : sc_module(nm), regs("regs"), blocking("blocking"), nb("nb")
	{
		regs.register_b_transport(this, &initiator::b_transport);
		nb.register_nb_transport_bw(this, &initiator::nb_transport_bw);
		blocking.register_invalidate_direct_mem_ptr(this, &initiator::invalidate);
		SC_THREAD(work);
	}
	void b_transport(tlm_generic_payload &gp, sc_time &delay)
	{
		go.notify(delay);
		gp.set_response_status(tlm::TLM_OK_RESPONSE);
	}
	static void set(tlm_generic_payload &gp, uint64_t addr, uint64_t &data)
	{
		gp.set_command(tlm::TLM_WRITE_COMMAND);
		gp.set_address(addr);
		gp.set_data_ptr(reinterpret_cast<unsigned char *>(&data));
		gp.set_data_length(sizeof(data));
		gp.set_streaming_width(sizeof(data));
		gp.set_byte_enable_ptr(nullptr);
		gp.set_dmi_allowed(false);
		gp.set_response_status(tlm::TLM_INCOMPLETE_RESPONSE);
	}
	void work()
	{
		wait(go);
		temporally_decoupled();
		by_phases();
		by_pointer();
		tlm_generic_payload gp;
		sc_time t;
		uint64_t done = 1;
		set(gp, done_at, done);
		blocking->b_transport(gp, t);
	}
	void temporally_decoupled()
	{
		tlm_utils::tlm_quantumkeeper keeper;
		const sc_time start = sc_core::sc_time_stamp();

		keeper.set_global_quantum(sc_time(1, sc_core::SC_US));
		keeper.reset();
		for (uint64_t i = 0; i < words; i++) {
			tlm_generic_payload gp;
			uint64_t data = 0xb0 + i;
			sc_time t = keeper.get_local_time();

			set(gp, blocking_at + 8 * i, data);
			blocking->b_transport(gp, t);
			status.push_back(gp.get_response_status());
			dmi_hint = gp.is_dmi_allowed();
			keeper.set(t + ns(300));
			if (keeper.need_sync())
				keeper.sync();
		}
		keeper.sync();
		took = sc_core::sc_time_stamp() - start;
	}
	void by_phases()
	{
		for (uint64_t i = 0; i < words; i++) {
			tlm_generic_payload &gp = pool.gp;
			uint64_t data = 0xc0 + i;
			tlm::tlm_phase phase = tlm::BEGIN_REQ;
			sc_time t;

			gp.acquire();
			set(gp, non_blocking_at + 8 * i, data);
			if (nb->nb_transport_fw(gp, phase, t) != tlm::TLM_COMPLETED)
				wait(response);
			status.push_back(gp.get_response_status());
			gp.release();
		}
	}
	tlm::tlm_sync_enum nb_transport_bw(tlm_generic_payload &, tlm::tlm_phase &phase, sc_time &t)
	{
		if (phase != tlm::BEGIN_RESP)
			return tlm::TLM_ACCEPTED;
		responses++;
		response.notify(t);
		phase = tlm::END_RESP;
		return tlm::TLM_COMPLETED;
	}
	void by_pointer()
	{
		tlm_generic_payload gp;
		uint64_t none = 0;

		set(gp, direct_at, none);
		dmi_granted = blocking->get_direct_mem_ptr(gp, dmi);
		if (!dmi_granted || !dmi.is_read_write_allowed() || direct_at + 8 * words - 1 > dmi.get_end_address())
			return;
		for (uint64_t i = 0; i < words; i++) {
			uint64_t data = 0xd0 + i;
			memcpy(dmi.get_dmi_ptr() + (direct_at + 8 * i - dmi.get_start_address()), &data, sizeof(data));
		}
	}
	void invalidate(sc_dt::uint64, sc_dt::uint64) { invalidated++; }
};

// ---- the bench -----------------------------------------------------------------------------------------

enum slot : unsigned {
	WORDS = 3, NARROW, WAITS, WAITS_LOOSELY, ANNOTATES, ANNOTATES_LOOSELY, SHARED_A, SHARED_B, PASSTHROUGH, AT_ONCE, PHASES,
	WIDE, CHILD, ROUTER, MASTER,
};

struct bench : sc_core::sc_module {
	agenda_box box;
	word_regs strict, narrow;
	memory<simple32> waits, waits_loosely, annotates, annotates_loosely, low, high;
	memory<passthrough32> pass;
	memory<simple64> wide;
	shared both;
	non_blocking at_once, phases;
	subsystem child;
	router bus;
	initiator master;

	explicit bench(sc_core::sc_module_name nm)
		: sc_module(nm), box("box", "clock=fixed fixed_exit=100ns"), strict("strict"), narrow("narrow"),
		  waits("waits", ns(30), true), waits_loosely("waits_loosely", ns(30), true), annotates("annotates", ns(70)),
		  annotates_loosely("annotates_loosely", ns(70)), low("low", ns(5)), high("high", ns(5)), pass("pass"), wide("wide"),
		  both("both"), at_once("at_once", false), phases("phases", true), child("child"), bus("bus"), master("master")
	{
		add(WORDS).bar(0).bind(strict.socket);
		add(NARROW, KVMBOX_SYNCHRONISED, 4).bar(0).bind(narrow.socket);
		add(WAITS).bar(0).bind(waits.socket);
		add(WAITS_LOOSELY, KVMBOX_LOOSELY_TIMED).bar(0).bind(waits_loosely.socket);
		add(ANNOTATES).bar(0).bind(annotates.socket);
		add(ANNOTATES_LOOSELY, KVMBOX_LOOSELY_TIMED).bar(0).bind(annotates_loosely.socket);
		add(SHARED_A).bar(0).bind(both.socket);
		add(SHARED_B).bar(0).bind(both.socket);
		add(PASSTHROUGH).bar(0).bind(pass.socket);
		add(AT_ONCE).bar(0).bind(at_once.socket);
		add(PHASES).bar(0).bind(phases.socket);
		add(WIDE).bar(0).bind(wide.socket);
		add(CHILD).bar(0).bind(child.socket);
		add(ROUTER).bar(0).bind(bus.in);
		bus.low.bind(low.socket);
		bus.high.bind(high.socket);
		kvmbox::pci_function &f = add(MASTER);
		f.bar(0).bind(master.regs);
		master.blocking.bind(f.dma());
		master.nb.bind(f.dma<64>());
	}
	kvmbox::pci_function &add(slot s, kvmbox_access_mode mode = KVMBOX_SYNCHRONISED, unsigned max_access = 0)
	{
		kvmbox::function_config f("slot" + std::to_string(s), 0x1234, uint16_t(s));

		f.slot = int(s);
		f.memory_bar(0, 0x4000);
		f.mode = mode;
		f.max_access = max_access;
		return box.pc.add_function(f);
	}
};

using foreign = agenda_test<bench>;
std::unique_ptr<bench> &b = foreign::b;

// What the agenda does, found again by name.
std::map<std::string, size_t> at;

const agenda_step &step(const std::string &name)
{
	return b->box[at.at(name)];
}

// From look to look at the clock: two exits and the device.
uint64_t device_ps(const std::string &name)
{
	return step(name).after - step(name).before - 2 * exit_ps;
}

void write_agenda()
{
	agenda_box &s = b->box;

	at["word"] = s.read(WORDS, 4, 4);
	at["word write"] = s.write(WORDS, 8, 4, 0xcafe);
	at["word again"] = s.read(WORDS, 8, 4);
	at["half word"] = s.read(WORDS, 4, 2);
	at["byte"] = s.read(WORDS, 5, 1);
	at["two words"] = s.read(WORDS, 8, 8);
	at["straddling"] = s.read(WORDS, 6, 4);
	at["no such word"] = s.read(WORDS, 0x100, 4);
	at["byte write"] = s.write(WORDS, 12, 1, 0x99);
	at["id write"] = s.write(WORDS, 0, 4, 0x99);
	at["id"] = s.read(WORDS, 0, 4);
	at["split"] = s.read(NARROW, 4, 8);
	at["waits"] = s.read(WAITS, 8, 4);
	at["waits loosely"] = s.read(WAITS_LOOSELY, 8, 4);
	at["annotates"] = s.read(ANNOTATES, 16, 4);
	at["annotates loosely"] = s.read(ANNOTATES_LOOSELY, 16, 4);
	at["beyond"] = s.read(ANNOTATES, 0x2000, 4);
	at["a"] = s.read(SHARED_A, 0, 4);
	at["b"] = s.read(SHARED_B, 0, 4);
	at["passthrough write"] = s.write(PASSTHROUGH, 0x20, 8, 0x0123456789abcdef);
	at["passthrough"] = s.read(PASSTHROUGH, 0x24, 2);
	at["at once"] = s.read(AT_ONCE, 1, 1);
	at["phases"] = s.read(PHASES, 4, 4);
	at["phases again"] = s.read(PHASES, 8, 8);
	at["wide"] = s.read(WIDE, 0x18, 8);
	at["wide byte"] = s.read(WIDE, 0x1b, 1);
	at["child"] = s.read(CHILD, 4, 4);
	at["low"] = s.write(ROUTER, 0x10, 4, 0x10101010);
	at["high"] = s.write(ROUTER, 0x1010, 4, 0x20202020);
	at["low again"] = s.read(ROUTER, 0x10, 4);
	at["high again"] = s.read(ROUTER, 0x1010, 4);
	at["nowhere"] = s.read(ROUTER, 0x3000, 4);
	at["start"] = s.write(MASTER, 0, 4, 1);
	at["poll"] = s.add({ AGENDA_POLL, 0, 0, 0, done_at, 1, 0, 0 });
	for (const auto &a : { std::make_pair("blocking", blocking_at), std::make_pair("nb", non_blocking_at), std::make_pair("dmi", direct_at) })
		for (unsigned i = 0; i < words; i++)
			at[a.first + std::to_string(i)] = s.add({ AGENDA_RAM, 0, 0, 0, a.second + 8 * i, 0, 0, 0 });
}

} // namespace

void elaborate()
{
	foreign::build();
	if (b)
		write_agenda();
}

TEST_F(foreign, WordRegistersTakeWords)
{
	EXPECT_EQ(step("word").value, 0x22222222u);
	EXPECT_EQ(step("word again").value, 0xcafeu);
	EXPECT_EQ(step("split").value, 0x3333333322222222u) << "max_access=4 makes words of it";
}

TEST_F(foreign, ErrorsReadAsOnesAndDropWrites)
{
	EXPECT_EQ(step("half word").value, 0xffffu);
	EXPECT_EQ(step("byte").value, 0xffu);
	EXPECT_EQ(step("two words").value, 0xffffffffffffffffu);
	EXPECT_EQ(step("straddling").value, 0xffffffffu);
	EXPECT_EQ(step("no such word").value, 0xffffffffu);
	EXPECT_EQ(step("beyond").value, 0xffffffffu);
	EXPECT_EQ(step("nowhere").value, 0xffffffffu);
	EXPECT_EQ(step("id").value, 0x11111111u);
	EXPECT_EQ(b->strict.reg[3], 0x44444444u);
	EXPECT_GT(b->box.pc.stats().transport_errors, 0u);
	EXPECT_GT(reports::count(kvmbox::msg_tlm, "TLM_BURST_ERROR_RESPONSE"), 0u);
}

TEST_F(foreign, TimeSpentByWaiting)
{
	EXPECT_EQ(step("waits").value, 0x0b0a0908u);
	EXPECT_EQ(device_ps("waits"), 30000u);
	EXPECT_EQ(b->waits.delays, std::vector<sc_time>(1)); // synchronised: nothing is owed
	EXPECT_EQ(step("waits loosely").value, 0x0b0a0908u);
	EXPECT_EQ(device_ps("waits loosely"), 30000u);
	EXPECT_GE(b->waits_loosely.delays.at(0), ns(100)) << "at least the exit is owed";
}

TEST_F(foreign, TimeSpentByAnnotation)
{
	EXPECT_EQ(step("annotates").value, 0x13121110u);
	EXPECT_EQ(device_ps("annotates"), 70000u);
	EXPECT_EQ(b->annotates.delays.at(0), sc_core::SC_ZERO_TIME);
	EXPECT_EQ(step("annotates loosely").value, 0x13121110u);
	EXPECT_EQ(device_ps("annotates loosely"), 70000u);
	EXPECT_GE(b->annotates_loosely.delays.at(0), ns(100));
	EXPECT_EQ(device_ps("beyond"), 70000u) << "errors take their time as well";
}

TEST_F(foreign, MultiSocket)
{
	EXPECT_EQ(step("a").value, 0xa0a0a0a0u);
	EXPECT_EQ(step("b").value, 0xa1a1a1a1u);
	EXPECT_EQ(b->both.callers, (std::vector<int>{ 0, 1 }));
}

TEST_F(foreign, PassthroughSocketAndOfferedDmi)
{
	EXPECT_EQ(step("passthrough").value, 0x4567u); // bytes 4 and 5
	EXPECT_EQ(b->pass.bytes[0x20], 0xef);
	EXPECT_EQ(b->pass.dmi_asked, 0u) << "every access of the guest is an access";
	EXPECT_EQ(b->pass.delays.size(), 2u);
}

TEST_F(foreign, NonBlockingOnly)
{
	EXPECT_EQ(step("at once").value, 0x71u);
	EXPECT_EQ(device_ps("at once"), 50000u);
	EXPECT_EQ(step("phases").value, 0x74747474u);
	EXPECT_EQ(step("phases again").value, 0x7878787878787878u);
	EXPECT_EQ(device_ps("phases"), 100000u);
	EXPECT_EQ(device_ps("phases again"), 100000u);
	EXPECT_EQ(b->phases.ended, 2u);
}

TEST_F(foreign, WideSocket)
{
	EXPECT_EQ(step("wide").value, 0x1f1e1d1c1b1a1918u);
	EXPECT_EQ(step("wide byte").value, 0x1bu);
}

TEST_F(foreign, HierarchicalBinding)
{
	EXPECT_EQ(step("child").value, 0x07060504u);
	EXPECT_EQ(device_ps("child"), 20000u);
}

TEST_F(foreign, Router)
{
	EXPECT_EQ(step("low again").value, 0x10101010u);
	EXPECT_EQ(step("high again").value, 0x20202020u);
	EXPECT_EQ(device_ps("low again"), 15000u);
	EXPECT_EQ(b->low.delays.at(0), ns(10)) << "the router's share came along";
	EXPECT_EQ(b->low.bytes[0x10], 0x10);
	EXPECT_EQ(b->high.bytes[0x10], 0x20);
}

TEST_F(foreign, Initiators)
{
	const std::vector<tlm::tlm_response_status> ok(2 * words, tlm::TLM_OK_RESPONSE);

	for (uint64_t i = 0; i < words; i++) {
		EXPECT_EQ(step("blocking" + std::to_string(i)).value, 0xb0 + i);
		EXPECT_EQ(step("nb" + std::to_string(i)).value, 0xc0 + i);
		EXPECT_EQ(step("dmi" + std::to_string(i)).value, 0xd0 + i);
	}
	EXPECT_EQ(b->master.status, ok);
	EXPECT_EQ(b->master.took, ns(300 * words));
	EXPECT_EQ(b->master.responses + b->master.pool.freed, 2 * words);
	EXPECT_TRUE(b->master.dmi_hint);
	EXPECT_TRUE(b->master.dmi_granted);
	EXPECT_LE(b->master.dmi.get_start_address(), area);
}
