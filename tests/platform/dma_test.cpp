// DMA into guest memory through TLM sockets: tlm_glue over a stand-in box.
#include "platform_test.h"
#include "fake_box.h"

#include <tlm_utils/simple_initiator_socket.h>

#include <numeric>

namespace {

template <unsigned W> struct agent : sc_core::sc_module {
	tlm_utils::simple_initiator_socket<agent, W> socket;
	unsigned invalidations = 0, responses = 0;
	explicit agent(sc_core::sc_module_name n) : sc_module(n), socket("socket")
	{
		socket.register_invalidate_direct_mem_ptr(this, &agent::invalidate);
		socket.register_nb_transport_bw(this, &agent::backward);
	}
	void invalidate(sc_dt::uint64, sc_dt::uint64) { invalidations++; }
	tlm::tlm_sync_enum backward(tlm::tlm_generic_payload &, tlm::tlm_phase &phase, sc_core::sc_time &)
	{
		responses += phase == tlm::BEGIN_RESP;
		return tlm::TLM_COMPLETED;
	}
};

struct bench : sc_core::sc_module {
	kvmbox::box pc;
	kvmbox::pci_function &function;
	agent<32> a;
	agent<128> wide;
	agent<32> chipset;
	static kvmbox::function_config cfg() { return kvmbox::function_config("f", 1, 2); }
	explicit bench(sc_core::sc_module_name n)
		: sc_module(n), pc("pc"), function(pc.add_function(cfg())), a("a"), wide("wide"), chipset("chipset")
	{
		a.socket.bind(function.dma());
		wide.socket.bind(function.dma<128>());
		chipset.socket.bind(pc.dma());
	}
	kvmbox_box &c() { return *pc.c_box(); }
};

bench *top;

struct payload : tlm::tlm_generic_payload {
	payload(tlm::tlm_command cmd, uint64_t addr, void *p, unsigned len)
	{
		set_command(cmd);
		set_address(addr);
		set_data_ptr(static_cast<unsigned char *>(p));
		set_data_length(len);
		set_streaming_width(len);
		set_response_status(tlm::TLM_INCOMPLETE_RESPONSE);
	}
};

tlm::tlm_response_status b(payload &gp)
{
	sc_core::sc_time t = ns(3);
	top->a.socket->b_transport(gp, t);
	EXPECT_EQ(t, ns(3));
	return gp.get_response_status();
}

class dma : public testing::Test {
protected:
	void SetUp() override
	{
		std::iota(ram().begin(), ram().end(), 0);
		top->c().msi_writes.clear();
		reports::clear();
	}
	void TearDown() override { top->c().set_command(0, 6); }
	std::vector<uint8_t> &ram() { return top->c().ram; }
	std::vector<uint8_t> bytes(uint64_t at, size_t n) { return { ram().begin() + at, ram().begin() + at + n }; }
	using v = std::vector<uint8_t>;
	uint8_t buf[64] = {};
};

TEST_F(dma, reads_and_writes)
{
	payload r(tlm::TLM_READ_COMMAND, 0x100, buf, 5);
	EXPECT_EQ(b(r), tlm::TLM_OK_RESPONSE);
	EXPECT_TRUE(r.is_dmi_allowed());
	EXPECT_EQ(v(buf, buf + 5), (v{ 0, 1, 2, 3, 4 }));
	memset(buf, 0x77, 3);
	payload w(tlm::TLM_WRITE_COMMAND, 0x101, buf, 3);
	EXPECT_EQ(b(w), tlm::TLM_OK_RESPONSE);
	EXPECT_EQ(bytes(0x100, 5), (v{ 0, 0x77, 0x77, 0x77, 4 }));
}

TEST_F(dma, spans_regions_and_other_sockets)
{
	memset(buf, 0x11, 8);
	payload w(tlm::TLM_WRITE_COMMAND, kvmbox_box::high_base - 4, buf, 8);
	EXPECT_EQ(b(w), tlm::TLM_OK_RESPONSE);
	EXPECT_EQ(top->c().high[3], 0x11);
	sc_core::sc_time t;
	payload r(tlm::TLM_READ_COMMAND, kvmbox_box::high_base - 1, buf, 2);
	top->wide.socket->b_transport(r, t);
	EXPECT_EQ(r.get_response_status(), tlm::TLM_OK_RESPONSE);
	top->chipset.socket->b_transport(r, t);
	EXPECT_EQ(r.get_response_status(), tlm::TLM_OK_RESPONSE);
	EXPECT_EQ(buf[1], 0x11);
}

TEST_F(dma, byte_enables_repeat)
{
	uint8_t be[] = { 0xff, 0, 0 };
	memset(buf, 0xEE, 8);
	payload w(tlm::TLM_WRITE_COMMAND, 0x10, buf, 8);
	w.set_byte_enable_ptr(be);
	w.set_byte_enable_length(3);
	EXPECT_EQ(b(w), tlm::TLM_OK_RESPONSE);
	EXPECT_EQ(bytes(0x10, 8), (v{ 0xEE, 0x11, 0x12, 0xEE, 0x14, 0x15, 0xEE, 0x17 }));

	memset(buf, 0, 8);
	payload r(tlm::TLM_READ_COMMAND, 0x20, buf, 4);
	uint8_t be2[] = { 0, 0xff, 0xff, 0 };
	r.set_byte_enable_ptr(be2);
	r.set_byte_enable_length(4);
	EXPECT_EQ(b(r), tlm::TLM_OK_RESPONSE);
	EXPECT_EQ(v(buf, buf + 4), (v{ 0, 0x21, 0x22, 0 }));

	r.set_byte_enable_length(0);
	EXPECT_EQ(b(r), tlm::TLM_BYTE_ENABLE_ERROR_RESPONSE);
}

TEST_F(dma, streaming_width_wraps_the_address)
{
	uint8_t in[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 };
	payload w(tlm::TLM_WRITE_COMMAND, 0x30, in, 10);
	w.set_streaming_width(4);
	EXPECT_EQ(b(w), tlm::TLM_OK_RESPONSE);
	EXPECT_EQ(bytes(0x30, 6), (v{ 9, 10, 7, 8, 0x34, 0x35 }));

	payload r(tlm::TLM_READ_COMMAND, 0x40, buf, 5);
	r.set_streaming_width(2);
	EXPECT_EQ(b(r), tlm::TLM_OK_RESPONSE);
	EXPECT_EQ(v(buf, buf + 5), (v{ 0x40, 0x41, 0x40, 0x41, 0x40 }));

	/* wider than the data: not a streaming burst */
	payload wide(tlm::TLM_READ_COMMAND, 0x40, buf, 3);
	wide.set_streaming_width(100);
	EXPECT_EQ(b(wide), tlm::TLM_OK_RESPONSE);
	EXPECT_EQ(buf[2], 0x42);
}

/* Against the definition in IEEE 1666-2011, byte by byte. */
TEST_F(dma, byte_enables_and_streaming_together)
{
	uint32_t seed = 1;
	auto rnd = [&](unsigned n) { return (seed = seed * 1664525u + 1013904223u) / 65536u % n; };

	for (int round = 0; round < 5000; round++) {
		uint8_t be[8];
		const unsigned len = 1 + rnd(40), width = 1 + rnd(44), be_len = 1 + rnd(8);
		const uint64_t addr = 0x200 + rnd(16);
		const bool wr = rnd(2);
		for (auto &x : be)
			x = rnd(2) ? 0xff : 0;
		for (auto &x : buf)
			x = static_cast<uint8_t>(rnd(256));
		std::vector<uint8_t> mem = ram(), data(buf, buf + sizeof(buf));
		for (unsigned i = 0; i < len; i++) {
			uint8_t &m = mem[addr + i % width];
			if (be[i % be_len])
				(wr ? m : data[i]) = wr ? data[i] : m;
		}
		payload p(wr ? tlm::TLM_WRITE_COMMAND : tlm::TLM_READ_COMMAND, addr, buf, len);
		p.set_byte_enable_ptr(be);
		p.set_byte_enable_length(be_len);
		p.set_streaming_width(width);
		ASSERT_EQ(b(p), tlm::TLM_OK_RESPONSE);
		ASSERT_EQ(mem, ram());
		ASSERT_EQ(data, v(buf, buf + sizeof(buf)));
	}
}

TEST_F(dma, bad_requests)
{
	payload hole(tlm::TLM_WRITE_COMMAND, kvmbox_box::high_base + 0xFFE, buf, 4);
	EXPECT_EQ(b(hole), tlm::TLM_ADDRESS_ERROR_RESPONSE);
	EXPECT_FALSE(hole.is_dmi_allowed());
	hole.set_streaming_width(3); /* scattered, and the last byte is in the hole: nothing may be written */
	top->c().high[0xFFE] = 0x99;
	EXPECT_EQ(b(hole), tlm::TLM_ADDRESS_ERROR_RESPONSE);
	EXPECT_EQ(top->c().high[0xFFE], 0x99);
	payload top_of_memory(tlm::TLM_READ_COMMAND, UINT64_MAX - 1, buf, 4);
	EXPECT_EQ(b(top_of_memory), tlm::TLM_ADDRESS_ERROR_RESPONSE);
	EXPECT_GE(reports::count("/kvmbox/tlm", "not all of it is guest RAM"), 2u);

	payload none(tlm::TLM_READ_COMMAND, 0, buf, 0);
	none.set_streaming_width(4);
	EXPECT_EQ(b(none), tlm::TLM_BURST_ERROR_RESPONSE);
	payload zero_width(tlm::TLM_READ_COMMAND, 0, buf, 4);
	zero_width.set_streaming_width(0);
	EXPECT_EQ(b(zero_width), tlm::TLM_BURST_ERROR_RESPONSE);
	payload null(tlm::TLM_READ_COMMAND, 0, nullptr, 4);
	EXPECT_EQ(b(null), tlm::TLM_BURST_ERROR_RESPONSE);
	payload ignore(tlm::TLM_IGNORE_COMMAND, UINT64_MAX, nullptr, 0);
	EXPECT_EQ(b(ignore), tlm::TLM_OK_RESPONSE);
	EXPECT_FALSE(ignore.is_dmi_allowed());
}

TEST_F(dma, four_bytes_into_the_window_are_an_msi)
{
	uint32_t data = 0x4051;
	payload w(tlm::TLM_WRITE_COMMAND, 0xFEE01000, &data, 4);
	EXPECT_EQ(b(w), tlm::TLM_OK_RESPONSE);
	EXPECT_FALSE(w.is_dmi_allowed());
	EXPECT_EQ(top->c().msi_writes, (std::vector<std::pair<uint64_t, uint32_t>>{ { 0xFEE01000, 0x4051 } }));
	uint8_t be[] = { 0xff };
	w.set_byte_enable_ptr(be);
	w.set_byte_enable_length(1);
	EXPECT_EQ(b(w), tlm::TLM_OK_RESPONSE);
	EXPECT_EQ(top->c().msi_writes.size(), 2u);
	EXPECT_EQ(top->a.socket->transport_dbg(w), 0u); /* no side effects */
	EXPECT_EQ(top->c().msi_writes.size(), 2u);
	payload r(tlm::TLM_READ_COMMAND, 0xFEE01000, &data, 4);
	EXPECT_EQ(b(r), tlm::TLM_ADDRESS_ERROR_RESPONSE);
}

TEST_F(dma, bus_master_off)
{
	tlm::tlm_dmi dmi;
	payload r(tlm::TLM_READ_COMMAND, 0x100, buf, 4);
	top->c().set_command(0, 2);
	EXPECT_EQ(b(r), tlm::TLM_GENERIC_ERROR_RESPONSE);
	EXPECT_EQ(reports::count("/kvmbox/tlm", "not enabled bus mastering"), 1u);
	EXPECT_FALSE(top->a.socket->get_direct_mem_ptr(r, dmi));
	EXPECT_TRUE(dmi.is_none_allowed());
	EXPECT_EQ(dmi.get_start_address(), 0x100u);
	EXPECT_EQ(dmi.get_end_address(), 0x100u);
	EXPECT_EQ(top->a.socket->transport_dbg(r), 4u); /* debug looks all the same */
	EXPECT_EQ(buf[3], 3);
	sc_core::sc_time t;
	top->chipset.socket->b_transport(r, t); /* the chipset has no such bit */
	EXPECT_EQ(r.get_response_status(), tlm::TLM_OK_RESPONSE);
}

TEST_F(dma, dmi_and_its_end)
{
	tlm::tlm_dmi dmi;
	payload r(tlm::TLM_READ_COMMAND, 0x123, buf, 4);
	const unsigned before = top->a.invalidations;
	top->c().set_command(0, 0); /* nothing handed out yet: nobody to tell */
	EXPECT_EQ(top->a.invalidations, before);
	top->c().set_command(0, 6);
	ASSERT_TRUE(top->a.socket->get_direct_mem_ptr(r, dmi));
	EXPECT_TRUE(dmi.is_read_write_allowed());
	EXPECT_EQ(dmi.get_start_address(), 0u);
	EXPECT_EQ(dmi.get_end_address(), kvmbox_box::ram_size - 1);
	EXPECT_EQ(dmi.get_dmi_ptr()[0x123], 0x23);
	top->c().set_command(0, 7);
	EXPECT_EQ(top->a.invalidations, before);
	top->c().set_command(0, 3);
	EXPECT_EQ(top->a.invalidations, before + 1);
	EXPECT_EQ(top->wide.invalidations, before + 1);
	top->c().set_command(0, 2);
	EXPECT_EQ(top->a.invalidations, before + 1);
}

TEST_F(dma, dmi_of_rom_is_read_only)
{
	tlm::tlm_dmi dmi;
	payload r(tlm::TLM_READ_COMMAND, kvmbox_box::rom_base + 8, buf, 4);
	ASSERT_TRUE(top->a.socket->get_direct_mem_ptr(r, dmi));
	EXPECT_TRUE(dmi.is_read_allowed());
	EXPECT_FALSE(dmi.is_write_allowed());
	r.set_write();
	EXPECT_FALSE(top->a.socket->get_direct_mem_ptr(r, dmi));
	payload hole(tlm::TLM_READ_COMMAND, 0x80000000, buf, 4);
	EXPECT_FALSE(top->a.socket->get_direct_mem_ptr(hole, dmi));
}

TEST_F(dma, debug_transport_stops_at_a_hole)
{
	payload r(tlm::TLM_READ_COMMAND, kvmbox_box::high_base + 0xFFE, buf, 8);
	EXPECT_EQ(top->a.socket->transport_dbg(r), 2u);
	payload over(tlm::TLM_WRITE_COMMAND, kvmbox_box::high_base - 2, buf, 8);
	memset(buf, 0x42, 8);
	EXPECT_EQ(top->a.socket->transport_dbg(over), 8u);
	EXPECT_EQ(top->c().high[5], 0x42);
	payload rom(tlm::TLM_WRITE_COMMAND, kvmbox_box::rom_base, buf, 8);
	EXPECT_EQ(top->a.socket->transport_dbg(rom), 0u);
	rom.set_read();
	EXPECT_EQ(top->a.socket->transport_dbg(rom), 8u);
	EXPECT_EQ(buf[7], 0xAA);
}

/* An approximately timed initiator. */
TEST_F(dma, non_blocking_initiator)
{
	payload w(tlm::TLM_WRITE_COMMAND, 0x50, buf, 4);
	tlm::tlm_phase phase = tlm::BEGIN_REQ;
	sc_core::sc_time t = ns(5);
	memset(buf, 0x66, 4);
	EXPECT_EQ(top->a.socket->nb_transport_fw(w, phase, t), tlm::TLM_ACCEPTED);
	sc_core::sc_start();
	EXPECT_EQ(top->a.responses, 1u);
	EXPECT_EQ(w.get_response_status(), tlm::TLM_OK_RESPONSE);
	EXPECT_EQ(bytes(0x50, 4), (v{ 0x66, 0x66, 0x66, 0x66 }));
}

TEST_F(dma, msi_from_a_device_wakes_an_idle_guest)
{
	uint64_t woken = 0;
	const uint64_t t0 = kvmbox::to_ps(sc_core::sc_time_stamp());
	fake::jobs.push_back([&](kvmbox_box &box) {
		sc_core::sc_spawn([] {
			uint32_t data = 0x31;
			payload w(tlm::TLM_WRITE_COMMAND, 0xFEE00000, &data, 4);
			sc_core::wait(ns(50));
			b(w);
		});
		box.wait(KVMBOX_TIME_NEVER, KVMBOX_WAIT_IDLE);
		woken = box.now();
	});
	top->pc.serial_input("");
	sc_core::sc_start();
	EXPECT_EQ(woken, t0 + 50000);
}

} // namespace

void elaborate()
{
	top = new bench("top");
	sc_core::sc_start(sc_core::SC_ZERO_TIME);
}
