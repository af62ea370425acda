// A real guest on KVM against SystemC models: accesses, DMA, interrupts, time.
#include "puppeteer.h"

#include <tlm_utils/simple_initiator_socket.h>
#include <tlm_utils/simple_target_socket.h>

namespace {

/* What a model that knows nothing of kvmbox looks like. */
template <unsigned W> struct foreign : sc_core::sc_module {
	tlm_utils::simple_target_socket<foreign, W> socket;
	std::function<void(tlm::tlm_generic_payload &, sc_core::sc_time &)> on;

	explicit foreign(sc_core::sc_module_name n) : sc_module(n), socket("socket")
	{
		socket.register_b_transport(this, &foreign::b_transport);
	}
	void b_transport(tlm::tlm_generic_payload &gp, sc_core::sc_time &delay)
	{
		gp.set_response_status(tlm::TLM_OK_RESPONSE);
		on(gp, delay);
	}
};

struct master : sc_core::sc_module {
	tlm_utils::simple_initiator_socket<master> socket;
	unsigned invalidations = 0;
	explicit master(sc_core::sc_module_name n) : sc_module(n), socket("socket")
	{
		socket.register_invalidate_direct_mem_ptr(this, &master::invalidate);
	}
	void invalidate(sc_dt::uint64, sc_dt::uint64) { invalidations++; }
	tlm::tlm_response_status access(tlm::tlm_command c, uint64_t addr, void *p, unsigned len)
	{
		tlm::tlm_generic_payload gp;
		sc_core::sc_time t;
		gp.set_command(c);
		gp.set_address(addr);
		gp.set_data_ptr(static_cast<unsigned char *>(p));
		gp.set_data_length(len);
		gp.set_streaming_width(len);
		socket->b_transport(gp, t);
		return gp.get_response_status();
	}
};

struct bench : sc_core::sc_module {
	kvmbox::box &pc;
	puppeteer guest;
	kvmbox::pci_function &gpu, &nic;
	foreign<32> narrow, all;
	foreign<64> wide;
	master dma;
	sc_core::sc_signal<bool, sc_core::SC_MANY_WRITERS> irq;

	static kvmbox::function_config card(const char *name)
	{
		kvmbox::function_config f(name, 0x1234, 1);
		f.memory_bar(0, 0x1000);
		f.memory_bar(2, 0x2000, true);
		f.intx_pin = 1;
		f.msi_vectors = 1;
		return f;
	}
	bench(sc_core::sc_module_name n, kvmbox::box &b)
		: sc_module(n), pc(b), guest("guest", b), gpu(b.add_function(card("gpu"))),
		  nic(b.add_function(loosely_timed())), narrow("narrow"), all("all"), wide("wide"), dma("dma"), irq("irq")
	{
		gpu.bar(0).bind(narrow.socket);
		gpu.bar(2).bind(wide.socket);
		gpu.irq().bind(irq);
		dma.socket.bind(gpu.dma());
		nic.bind_all(all.socket);
		nic.bar(2).address_base = 0x10000;
	}
	static kvmbox::function_config loosely_timed()
	{
		kvmbox::function_config f = card("nic");
		f.mode = KVMBOX_LOOSELY_TIMED;
		return f;
	}
	static uint64_t bar(kvmbox::pci_function &f, unsigned i)
	{
		uint64_t a = 0;
		EXPECT_TRUE(f.bar_address(i, a));
		return a;
	}
};

bench *top;
std::string why_not;
constexpr uint64_t buffer = 0x2000000; /* guest RAM nobody uses */

class guest : public testing::Test {
protected:
	void SetUp() override
	{
		if (!top)
			GTEST_SKIP() << why_not;
		reports::clear();
	}
	puppeteer &g() { return top->guest; }
	void enable(kvmbox::pci_function &f, uint16_t bits = 7) { g().set_command(f, bits); }
};

TEST_F(guest, reads_and_writes_a_32_bit_target)
{
	std::vector<std::pair<uint64_t, uint64_t>> seen;
	g().run([&] {
		enable(top->gpu);
		top->narrow.on = [&](tlm::tlm_generic_payload &gp, sc_core::sc_time &delay) {
			EXPECT_EQ(delay, sc_core::SC_ZERO_TIME);
			EXPECT_EQ(gp.get_extension<kvmbox::pci_extension>()->bdf, top->gpu.bdf());
			if (gp.is_read()) {
				memset(gp.get_data_ptr(), 0x5A, gp.get_data_length());
			} else {
				uint64_t v = 0;
				memcpy(&v, gp.get_data_ptr(), gp.get_data_length());
				seen.push_back({ gp.get_address(), v });
			}
		};
		const uint64_t a = bench::bar(top->gpu, 0);
		EXPECT_EQ(g().read(a + 0x10, 4), 0x5A5A5A5Au);
		EXPECT_EQ(g().read(a + 0x11, 1), 0x5Au);
		g().write(a + 0x20, 4, 0xDEADBEEF);
		g().write(a + 0xFFE, 2, 0x1234);
		g().write(a + 0x28, 8, 0x0123456789ABCDEF);
	});
	EXPECT_EQ(seen, (std::vector<std::pair<uint64_t, uint64_t>>{
				{ 0x20, 0xDEADBEEF }, { 0xFFE, 0x1234 }, { 0x28, 0x0123456789ABCDEF } }));
}

TEST_F(guest, sees_the_time_a_target_takes)
{
	g().run([&] {
		const uint64_t a = bench::bar(top->gpu, 0);
		for (bool annotated : { false, true }) {
			top->narrow.on = [&](tlm::tlm_generic_payload &, sc_core::sc_time &delay) {
				if (annotated)
					delay += sc_core::sc_time(20, sc_core::SC_MS);
				else
					sc_core::wait(20, sc_core::SC_MS);
			};
			const uint64_t t0 = g().time();
			g().read(a, 4);
			EXPECT_GE(g().time() - t0, 20000000000u);
		}
	});
	EXPECT_GE(top->pc.time(), sc_core::sc_time(40, sc_core::SC_MS));
}

TEST_F(guest, time_and_simulation_stay_within_the_quantum)
{
	g().run([&] {
		for (int i = 0; i < 20; i++) {
			const uint64_t t = g().time();
			const uint64_t sim = kvmbox::to_ps(sc_core::sc_time_stamp());
			/* the guest read its clock a moment ago; it is never ahead when its result arrives */
			EXPECT_LE(t, sim);
		}
	});
}

TEST_F(guest, loosely_timed_function_gets_the_lead_as_delay)
{
	std::vector<uint64_t> at;
	g().run([&] {
		enable(top->nic);
		top->all.on = [&](tlm::tlm_generic_payload &gp, sc_core::sc_time &delay) {
			at.push_back(gp.get_address());
			EXPECT_LT(delay, sc_core::sc_time(100, sc_core::SC_MS));
		};
		g().read(bench::bar(top->nic, 0) + 4, 4);
		g().read(bench::bar(top->nic, 2) + 8, 4);
	});
	EXPECT_EQ(at, (std::vector<uint64_t>{ 4, 0x10008 }));
}

TEST_F(guest, sixty_four_bit_socket_behind_a_64_bit_bar)
{
	g().run([&] {
		top->wide.on = [](tlm::tlm_generic_payload &gp, sc_core::sc_time &) {
			EXPECT_EQ(gp.get_data_length(), 8u);
			EXPECT_EQ(gp.get_address(), 0x1FF8u);
			memcpy(gp.get_data_ptr(), "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
		};
		EXPECT_EQ(g().read(bench::bar(top->gpu, 2) + 0x1FF8, 8), 0x0102030405060708u);
	});
}

TEST_F(guest, failed_reads_are_all_ones_and_the_guest_goes_on)
{
	const uint64_t before = top->pc.stats().transport_errors;
	sc_core::sc_event never;
	g().run([&] {
		const uint64_t a = bench::bar(top->gpu, 0);
		top->narrow.on = [](tlm::tlm_generic_payload &gp, sc_core::sc_time &) {
			memset(gp.get_data_ptr(), 0, 4); /* must not get through */
			gp.set_response_status(tlm::TLM_GENERIC_ERROR_RESPONSE);
		};
		EXPECT_EQ(g().read(a, 4), 0xFFFFFFFFu);
		g().write(a, 4, 0);
		top->narrow.on = [&](tlm::tlm_generic_payload &, sc_core::sc_time &) { sc_core::wait(never); };
		EXPECT_EQ(g().read(a, 2), 0xFFFFu);
		top->narrow.on = [](tlm::tlm_generic_payload &gp, sc_core::sc_time &) { gp.get_data_ptr()[0] = 0x77; };
		EXPECT_EQ(g().read(a, 1), 0x77u);
	});
	EXPECT_EQ(top->pc.stats().transport_errors, before + 3);
	EXPECT_EQ(reports::count("/kvmbox/tlm", "was not answered within"), 1u);
}

TEST_F(guest, memory_is_shared_by_dma_dmi_and_debug)
{
	g().run([&] {
		uint32_t v = 0x11223344;
		tlm::tlm_generic_payload gp;
		tlm::tlm_dmi dmi;

		EXPECT_EQ(top->dma.access(tlm::TLM_WRITE_COMMAND, buffer + 3, &v, 4), tlm::TLM_OK_RESPONSE);
		EXPECT_EQ(g().read(buffer + 3, 4), 0x11223344u);
		g().write(buffer + 0x10, 8, 0xA5A5);
		EXPECT_EQ(top->dma.access(tlm::TLM_READ_COMMAND, buffer + 0x10, &v, 4), tlm::TLM_OK_RESPONSE);
		EXPECT_EQ(v, 0xA5A5u);

		gp.set_command(tlm::TLM_READ_COMMAND);
		gp.set_address(buffer + 3);
		ASSERT_TRUE(top->dma.socket->get_direct_mem_ptr(gp, dmi));
		ASSERT_LE(dmi.get_start_address(), buffer);
		ASSERT_GE(dmi.get_end_address(), buffer + 0x100);
		uint8_t *p = dmi.get_dmi_ptr() + (buffer - dmi.get_start_address());
		EXPECT_EQ(p[3], 0x44);
		p[0x40] = 0x99;
		EXPECT_EQ(g().read(buffer + 0x40, 1), 0x99u);

		gp.set_data_ptr(reinterpret_cast<unsigned char *>(&v));
		gp.set_data_length(4);
		gp.set_streaming_width(4);
		EXPECT_EQ(top->dma.socket->transport_dbg(gp), 4u);
		EXPECT_EQ(v, 0x11223344u);
		EXPECT_EQ(top->dma.access(tlm::TLM_READ_COMMAND, 1ull << 40, &v, 4), tlm::TLM_ADDRESS_ERROR_RESPONSE);
	});
}

TEST_F(guest, bus_master_bit_rules_dma)
{
	g().run([&] {
		uint32_t v = 1;
		const unsigned before = top->dma.invalidations;
		enable(top->gpu, 3);
		EXPECT_EQ(top->dma.invalidations, before + 1); /* handed out by the test before */
		EXPECT_EQ(top->dma.access(tlm::TLM_WRITE_COMMAND, buffer, &v, 4), tlm::TLM_GENERIC_ERROR_RESPONSE);
		EXPECT_EQ(top->gpu.interrupt(), -ENODEV);
		enable(top->gpu, 7);
		EXPECT_EQ(top->dma.access(tlm::TLM_WRITE_COMMAND, buffer, &v, 4), tlm::TLM_OK_RESPONSE);
	});
}

/* The guest sleeps; a device raises its line at a known time; the guest goes on then, not before and not much later. */
TEST_F(guest, intx_signal_wakes_a_sleeping_guest)
{
	unsigned acks = 0;
	g().on_interrupt = [&](unsigned) {
		acks++;
		top->irq.write(false);
		sc_core::wait(sc_core::SC_ZERO_TIME); /* the line is down before the end-of-interrupt */
		sc_core::wait(sc_core::SC_ZERO_TIME);
	};
	g().run([&] {
		EXPECT_LT(g().command(PUPPET_USE_INTX, top->gpu.bdf()), 16u);
		for (int i = 0; i < 3; i++) {
			g().start(PUPPET_SLEEP);
			sc_core::wait(50, sc_core::SC_MS);
			const uint64_t raised = kvmbox::to_ps(sc_core::sc_time_stamp());
			const auto before = top->pc.stats();
			EXPECT_GE(before.exits_hlt, 1u);
			top->irq.write(true);
			const uint64_t woke = g().result();
			EXPECT_GE(woke, raised);
			EXPECT_LT(woke - raised, 50000000000u); /* it does not sleep another round */
		}
	});
	EXPECT_EQ(acks, 3u);
	g().on_interrupt = nullptr;
}

TEST_F(guest, msi_by_call_and_by_dma_into_the_window)
{
	std::vector<unsigned> vectors;
	g().on_interrupt = [&](unsigned v) { vectors.push_back(v); };
	g().run([&] {
		EXPECT_EQ(top->gpu.interrupt(), -ENODEV);
		EXPECT_EQ(g().command(PUPPET_USE_MSI, top->gpu.bdf(), 0x51), 1u);
		g().start(PUPPET_SLEEP);
		sc_core::wait(20, sc_core::SC_MS);
		EXPECT_EQ(top->gpu.interrupt(), 1);
		g().result();

		uint32_t data = 0x51;
		g().start(PUPPET_SLEEP);
		sc_core::wait(20, sc_core::SC_MS);
		EXPECT_EQ(top->dma.access(tlm::TLM_WRITE_COMMAND, 0xFEE00000, &data, 4), tlm::TLM_OK_RESPONSE);
		g().result();
	});
	EXPECT_EQ(vectors, (std::vector<unsigned>{ 0x51, 0x51 }));
	g().on_interrupt = nullptr;
}

/* Last. */
TEST_F(guest, exit_stops_the_simulation)
{
	g().start(PUPPET_EXIT, 0, 42);
	sc_core::sc_start();
	EXPECT_EQ(sc_core::sc_get_status(), sc_core::SC_STOPPED);
	EXPECT_EQ(top->pc.end(), KVMBOX_END_EXIT);
	EXPECT_EQ(top->pc.exit_status(), 42);
	EXPECT_EQ(top->pc.serial_output(), "");
}

} // namespace

void elaborate()
{
	kvmbox::box *pc = puppet_box("pc", why_not, "completion_timeout=100ms");
	if (pc)
		top = new bench("top", *pc);
}
