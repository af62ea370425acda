// Guest accesses as TLM transactions, interrupts and waiting: tlm_glue over a stand-in box.
#include "platform_test.h"
#include "fake_box.h"

#include <tlm_utils/simple_target_socket.h>

namespace {

/* What a model that knows nothing of kvmbox looks like. */
template <unsigned W> struct foreign : sc_core::sc_module {
	tlm_utils::simple_target_socket<foreign, W> socket;
	std::function<void(tlm::tlm_generic_payload &, sc_core::sc_time &)> on;
	unsigned calls = 0;

	explicit foreign(sc_core::sc_module_name n) : sc_module(n), socket("socket")
	{
		socket.register_b_transport(this, &foreign::b_transport);
	}
	void b_transport(tlm::tlm_generic_payload &gp, sc_core::sc_time &delay)
	{
		calls++;
		gp.set_response_status(tlm::TLM_OK_RESPONSE);
		on(gp, delay);
	}
};

/* A target that only speaks the non-blocking protocol. */
struct nb_only : sc_core::sc_module {
	tlm_utils::simple_target_socket<nb_only> socket;
	explicit nb_only(sc_core::sc_module_name n) : sc_module(n), socket("socket")
	{
		socket.register_nb_transport_fw(this, &nb_only::nb_transport_fw);
	}
	tlm::tlm_sync_enum nb_transport_fw(tlm::tlm_generic_payload &gp, tlm::tlm_phase &, sc_core::sc_time &t)
	{
		gp.get_data_ptr()[0] = 0x5A;
		gp.set_response_status(tlm::TLM_OK_RESPONSE);
		t += ns(7);
		return tlm::TLM_COMPLETED;
	}
};

struct registers : kvmbox::pci_device {
	uint32_t id = 0xADDE0001, scratch = 0, status = 0xFF, key = 0, ticks = 0, written = 0;
	using pci_device::interrupt;
	using pci_device::clear_interrupt;
	using pci_device::dma_read;
	using pci_device::dma_write;

	registers(sc_core::sc_module_name n, kvmbox::box &b) : pci_device(n, b, identity())
	{
		reg(0, 0x00, id, read_only);
		reg(0, 0x04, scratch);
		reg(0, 0x08, status, write_1_to_clear).on_write([this](uint32_t v) { written = v; });
		reg(0, 0x0C, key, write_only);
		reg(2, 0x00, ticks).on_read([this] { ticks++; });
	}
	static kvmbox::function_config identity()
	{
		kvmbox::function_config f("", 0x1234, 0xADDE);
		f.memory_bar(0, 0x1000).io_bar(2, 0x10);
		f.intx_pin = 1;
		return f;
	}
};

struct bench : sc_core::sc_module {
	kvmbox::box pc;
	kvmbox::pci_function &gpu, &nic, &odd;
	foreign<32> mmio, all;
	foreign<64> wide;
	nb_only nb;
	registers regs;
	sc_core::sc_signal<bool> irq;

	static kvmbox::function_config with_bars(const char *name, unsigned n)
	{
		kvmbox::function_config f(name, 0x1234, 1);
		for (unsigned i = 0; i < n; i++)
			f.memory_bar(i, 0x1000);
		f.intx_pin = 1;
		return f;
	}
	explicit bench(sc_core::sc_module_name n)
		: sc_module(n), pc("pc"), gpu(pc.add_function(with_bars("gpu", 3))),
		  nic(pc.add_function(with_bars("nic", 2))), odd(pc.add_function(with_bars("odd", 0))), mmio("mmio"),
		  all("all"), wide("wide"), nb("nb"), regs("regs", pc), irq("irq")
	{
		gpu.bar(0).bind(mmio.socket);
		gpu.bar(1).bind(wide.socket);
		gpu.bar(2)(nb.socket);
		nic.bind_all(all.socket);
		nic.bar(1).address_base = 0x10000;
		gpu.irq().bind(irq);
	}
};

bench *top;

enum { GPU, NIC, ODD, REGS };

/* Runs job as the guest and lets the simulation become quiet again. */
void guest(const std::function<void(kvmbox_box &)> &job)
{
	bool done = false;

	fake::jobs.push_back([&](kvmbox_box &b) {
		job(b);
		done = true;
	});
	top->pc.serial_input("");
	sc_core::sc_start();
	EXPECT_TRUE(done);
}

uint64_t read(kvmbox_box &b, unsigned fn, unsigned bar, uint64_t off, unsigned len, int *result = nullptr)
{
	uint64_t v = 0, delay = 0;
	int r = b.access(fn, bar, off, len, false, v, delay);
	if (result)
		*result = r;
	return v;
}

int write(kvmbox_box &b, unsigned fn, unsigned bar, uint64_t off, unsigned len, uint64_t v)
{
	uint64_t delay = 0;
	return b.access(fn, bar, off, len, true, v, delay);
}

TEST(transport, payload_is_fresh_and_says_where_it_comes_from)
{
	for (int round = 0; round < 2; round++) {
		top->mmio.on = [](tlm::tlm_generic_payload &gp, sc_core::sc_time &delay) {
			EXPECT_EQ(gp.get_address(), 0x10u);
			EXPECT_EQ(gp.get_data_length(), 4u);
			EXPECT_EQ(gp.get_streaming_width(), 4u);
			EXPECT_EQ(gp.get_byte_enable_ptr(), nullptr);
			EXPECT_FALSE(gp.is_dmi_allowed());
			EXPECT_EQ(delay, sc_core::SC_ZERO_TIME);
			auto *e = gp.get_extension<kvmbox::pci_extension>();
			ASSERT_NE(e, nullptr);
			EXPECT_EQ(e->function, &top->gpu);
			EXPECT_EQ(e->bdf, 1u << 3);
			EXPECT_EQ(e->bar, 0u);
			EXPECT_FALSE(e->posted) << "the guest waits for this one";
			EXPECT_TRUE(gp.has_mm());
			if (gp.is_read())
				memcpy(gp.get_data_ptr(), "\x78\x56\x34\x12", 4);
			else
				EXPECT_EQ(memcmp(gp.get_data_ptr(), "\x44\x33\x22\x11", 4), 0);
			/* dirt the next one must not see */
			gp.set_dmi_allowed(true);
			gp.set_address(99);
			gp.set_streaming_width(1);
		};
		guest([](kvmbox_box &b) {
			int r;
			EXPECT_EQ(read(b, GPU, 0, 0x10, 4, &r), 0x12345678u);
			EXPECT_EQ(r, 0);
			EXPECT_EQ(write(b, GPU, 0, 0x10, 4, 0x11223344), 0);
		});
	}
}

TEST(transport, wait_and_delay_both_take_time)
{
	guest([](kvmbox_box &b) {
		const uint64_t t0 = b.now();
		uint64_t v = 0, delay = 0;
		top->mmio.on = [](tlm::tlm_generic_payload &, sc_core::sc_time &) { sc_core::wait(ns(30)); };
		EXPECT_EQ(b.access(GPU, 0, 0, 4, false, v, delay), 0);
		EXPECT_EQ(b.now() - t0, 30000u);
		EXPECT_EQ(delay, 0u);

		top->mmio.on = [](tlm::tlm_generic_payload &, sc_core::sc_time &d) { d += ns(12.5); };
		EXPECT_EQ(b.access(GPU, 0, 0, 4, false, v, delay), 0);
		EXPECT_EQ(b.now() - t0, 30000u);
		EXPECT_EQ(delay, 12500u);
	});
}

TEST(transport, loosely_timed_target_may_trade_delay_for_time)
{
	guest([](kvmbox_box &b) {
		const uint64_t t0 = b.now();
		uint64_t v = 0, delay = 5000;
		top->mmio.on = [](tlm::tlm_generic_payload &, sc_core::sc_time &d) {
			EXPECT_EQ(d, ns(5));
			sc_core::wait(d + ns(1));
			d = sc_core::SC_ZERO_TIME;
		};
		EXPECT_EQ(b.access(GPU, 0, 0, 4, false, v, delay), 0);
		EXPECT_EQ(delay, 0u);
		EXPECT_EQ(b.now() - t0, 6000u);
	});
}

TEST(transport, errors_reach_the_guest_and_the_log)
{
	const unsigned long before = top->gpu.errors();
	reports::clear();
	top->mmio.on = [](tlm::tlm_generic_payload &gp, sc_core::sc_time &) {
		gp.set_response_status(tlm::TLM_ADDRESS_ERROR_RESPONSE);
	};
	guest([](kvmbox_box &b) {
		int r;
		EXPECT_EQ(read(b, GPU, 0, 0x24, 4, &r), 0xFFFFFFFFu); /* buffer untouched */
		EXPECT_EQ(r, -EIO);
		EXPECT_EQ(write(b, GPU, 0, 0x24, 2, 1), -EIO);
	});
	EXPECT_EQ(top->gpu.errors(), before + 2);
	EXPECT_EQ(reports::count("/kvmbox/tlm", "top.pc.gpu BAR 0: read of 4 bytes at offset 0x24 failed: TLM_ADDRESS_ERROR"), 1u);
	EXPECT_EQ(reports::count("/kvmbox/tlm", "write of 2 bytes"), 1u);

	top->mmio.on = [](tlm::tlm_generic_payload &gp, sc_core::sc_time &) {
		gp.set_response_status(tlm::TLM_INCOMPLETE_RESPONSE);
	};
	guest([](kvmbox_box &b) {
		int r;
		read(b, GPU, 0, 0, 4, &r);
		EXPECT_EQ(r, -EIO);
	});
	EXPECT_EQ(reports::count("/kvmbox/tlm", "the target set no response status"), 1u);
}

TEST(transport, error_log_is_rate_limited)
{
	reports::clear();
	top->all.on = [](tlm::tlm_generic_payload &gp, sc_core::sc_time &) {
		gp.set_response_status(tlm::TLM_GENERIC_ERROR_RESPONSE);
	};
	guest([](kvmbox_box &b) {
		for (int i = 0; i < 1000; i++)
			EXPECT_EQ(write(b, NIC, 0, 0, 4, 0), -EIO);
	});
	EXPECT_EQ(top->nic.errors(), 1000u);
	EXPECT_EQ(reports::count("/kvmbox/tlm"), 8u + 6u); /* 1-8, 16, 32, ... 512 */
}

TEST(transport, target_that_never_answers_times_out)
{
	sc_core::sc_event never;
	reports::clear();
	top->mmio.on = [&](tlm::tlm_generic_payload &, sc_core::sc_time &) { sc_core::wait(never); };
	guest([](kvmbox_box &b) {
		for (int i = 0; i < 2; i++) {
			const uint64_t t0 = b.now();
			int r;
			read(b, GPU, 0, 8, 4, &r);
			EXPECT_EQ(r, -ETIMEDOUT);
			EXPECT_EQ(b.now() - t0, 1000000u); /* exactly the timeout */
		}
	});
	EXPECT_EQ(reports::count("/kvmbox/tlm", "was not answered within 1 us"), 2u);

	/* The timeout counts from each access's own beginning. */
	guest([](kvmbox_box &b) {
		int r;
		top->mmio.on = [](tlm::tlm_generic_payload &, sc_core::sc_time &) { sc_core::wait(ns(700)); };
		read(b, GPU, 0, 8, 4, &r);
		EXPECT_EQ(r, 0);
		read(b, GPU, 0, 8, 4, &r);
		EXPECT_EQ(r, 0);
	});

	/* An armed watchdog does not lengthen a simulation that has become quiet. */
	const sc_core::sc_time t = sc_core::sc_time_stamp();
	top->mmio.on = [](tlm::tlm_generic_payload &, sc_core::sc_time &) {};
	guest([](kvmbox_box &b) { read(b, GPU, 0, 0, 4); });
	EXPECT_EQ(sc_core::sc_time_stamp(), t);
}

TEST(transport, timeout_after_long_idle_is_measured_from_the_access)
{
	sc_core::sc_event never;
	top->mmio.on = [&](tlm::tlm_generic_payload &, sc_core::sc_time &) {
		if (top->mmio.calls % 2)
			sc_core::wait(never);
	};
	top->mmio.calls = 1;
	guest([](kvmbox_box &b) {
		int r;
		read(b, GPU, 0, 0, 4, &r); /* arms */
		EXPECT_EQ(r, 0);
		b.wait(b.now() + 400000);
		const uint64_t t0 = b.now();
		read(b, GPU, 0, 0, 4, &r);
		EXPECT_EQ(r, -ETIMEDOUT);
		EXPECT_EQ(b.now() - t0, 1000000u);
	});
}

TEST(transport, sixty_four_bit_socket_and_eight_byte_access)
{
	top->wide.on = [](tlm::tlm_generic_payload &gp, sc_core::sc_time &) {
		EXPECT_EQ(gp.get_data_length(), 8u);
		memset(gp.get_data_ptr(), 0xC3, 8);
	};
	guest([](kvmbox_box &b) { EXPECT_EQ(read(b, GPU, 1, 0, 8), 0xC3C3C3C3C3C3C3C3u); });
}

TEST(transport, non_blocking_target)
{
	guest([](kvmbox_box &b) {
		const uint64_t t0 = b.now();
		EXPECT_EQ(read(b, GPU, 2, 0, 1), 0x5Au);
		EXPECT_EQ(b.now() - t0, 7000u);
	});
}

TEST(transport, one_socket_for_all_bars)
{
	std::vector<std::pair<unsigned, uint64_t>> seen;
	top->all.on = [&](tlm::tlm_generic_payload &gp, sc_core::sc_time &) {
		seen.push_back({ gp.get_extension<kvmbox::pci_extension>()->bar, gp.get_address() });
	};
	guest([](kvmbox_box &b) {
		write(b, NIC, 0, 4, 4, 0);
		write(b, NIC, 1, 4, 4, 0);
	});
	EXPECT_EQ(seen, (std::vector<std::pair<unsigned, uint64_t>>{ { 0, 4 }, { 1, 0x10004 } }));
}

TEST(transport, bar_out_of_range_from_below_is_survived)
{
	guest([](kvmbox_box &b) {
		int r;
		read(b, ODD, 3, 0, 4, &r);
		EXPECT_EQ(r, -ENXIO);
		read(b, GPU, 99, 0, 4, &r);
		EXPECT_EQ(r, -EINVAL);
	});
}

TEST(transport, late_reference_of_a_target_does_not_see_the_next_access)
{
	tlm::tlm_generic_payload *kept = nullptr;
	top->mmio.on = [&](tlm::tlm_generic_payload &gp, sc_core::sc_time &) {
		if (!kept) {
			kept = &gp;
			gp.acquire();
		} else {
			EXPECT_NE(kept, &gp);
		}
	};
	guest([](kvmbox_box &b) {
		write(b, GPU, 0, 0, 4, 1);
		write(b, GPU, 0, 0, 4, 2);
	});
	EXPECT_EQ(kept->get_data_ptr()[0], 1);
	kept->release();
}

/* ---- interrupts -------------------------------------------------------------- */

TEST(interrupt, intx_follows_the_signal_and_wakes)
{
	kvmbox_function *f = top->gpu.c_function();
	guest([&](kvmbox_box &b) {
		const uint64_t t0 = b.now();
		EXPECT_FALSE(f->intx);
		top->mmio.on = [](tlm::tlm_generic_payload &, sc_core::sc_time &) { top->irq.write(true); };
		write(b, GPU, 0, 0, 4, 1);
		b.wait(KVMBOX_TIME_NEVER, KVMBOX_WAIT_IDLE);
		EXPECT_TRUE(f->intx);
		EXPECT_EQ(b.now(), t0);
		top->irq.write(false);
		b.wait(KVMBOX_TIME_NEVER, KVMBOX_WAIT_IDLE);
		EXPECT_FALSE(f->intx);
	});
}

TEST(interrupt, device_base_uses_msi_when_enabled_else_intx)
{
	kvmbox_function *f = top->regs.function().c_function();
	guest([&](kvmbox_box &) {
		EXPECT_TRUE(top->regs.interrupt());
		EXPECT_TRUE(f->intx);
		top->regs.clear_interrupt();
		EXPECT_FALSE(f->intx);
		f->msi_enabled = true;
		EXPECT_TRUE(top->regs.interrupt(3));
		EXPECT_FALSE(f->intx);
		EXPECT_EQ(f->msis, std::vector<unsigned>{ 3 });
		f->msi_enabled = false;
	});
}

/* ---- device base -------------------------------------------------------------- */

TEST(pci_device, registers_by_declaration)
{
	registers &d = top->regs;
	guest([&](kvmbox_box &b) {
		EXPECT_EQ(read(b, REGS, 0, 0, 4), 0xADDE0001u);
		EXPECT_EQ(read(b, REGS, 0, 2, 2), 0xADDEu);
		EXPECT_EQ(read(b, REGS, 0, 3, 1), 0xADu);
		write(b, REGS, 0, 0, 4, 0);
		EXPECT_EQ(d.id, 0xADDE0001u);
		write(b, REGS, 0, 4, 4, 0x11223344);
		write(b, REGS, 0, 5, 1, 0xAA);
		EXPECT_EQ(d.scratch, 0x1122AA44u);
		EXPECT_EQ(read(b, REGS, 0, 0, 8), 0x1122AA44ADDE0001u);
		write(b, REGS, 0, 8, 1, 0x0F);
		EXPECT_EQ(d.status, 0xF0u);
		EXPECT_EQ(d.written, 0x0Fu);
		write(b, REGS, 0, 8, 8, 0x99ull << 32 | 0x10);
		EXPECT_EQ(d.status, 0xE0u);
		EXPECT_EQ(d.key, 0x99u);
		EXPECT_EQ(read(b, REGS, 0, 0xC, 4), 0u);
		EXPECT_EQ(read(b, REGS, 2, 0, 4), 1u);
		EXPECT_EQ(read(b, REGS, 2, 0, 4), 2u);
		int r;
		read(b, REGS, 0, 0x100, 4, &r);
		EXPECT_EQ(r, -EIO);
	});
}

TEST(pci_device, dma_helpers)
{
	guest([&](kvmbox_box &b) {
		uint32_t v = 0xCAFE;
		EXPECT_TRUE(top->regs.dma_write(0x100, &v, 4));
		v = 0;
		EXPECT_TRUE(top->regs.dma_read(0x100, &v, 4));
		EXPECT_EQ(v, 0xCAFEu);
		EXPECT_EQ(b.ram[0x101], 0xCA);
		reports::clear();
		EXPECT_FALSE(top->regs.dma_read(0x80000000, &v, 4));
		EXPECT_EQ(reports::count("/kvmbox/tlm", "DMA read of 4 bytes at 0x80000000 failed"), 1u);
	});
}

/* ---- waiting ------------------------------------------------------------------- */

TEST(waiting, until_and_idle_end_exactly)
{
	guest([](kvmbox_box &b) {
		const uint64_t t0 = b.now();
		b.wait(t0 + 12345);
		EXPECT_EQ(b.now(), t0 + 12345);
		b.wait(t0); /* the past */
		EXPECT_EQ(b.now(), t0 + 12345);
		b.wait(t0 + 20001, KVMBOX_WAIT_IDLE);
		EXPECT_EQ(b.now(), t0 + 20001);
	});
}

TEST(waiting, interrupt_ends_idle_at_its_own_time)
{
	guest([](kvmbox_box &b) {
		const uint64_t t0 = b.now();
		sc_core::sc_spawn([] {
			sc_core::wait(ns(77));
			top->gpu.intx(true);
			sc_core::wait(ns(10));
			top->gpu.intx(false);
		});
		b.wait(t0 + 1000000, KVMBOX_WAIT_IDLE);
		EXPECT_EQ(b.now(), t0 + 77000);
		b.wait(KVMBOX_TIME_NEVER, KVMBOX_WAIT_IDLE);
		EXPECT_EQ(b.now(), t0 + 87000);
	});
}

TEST(waiting, next_event_is_the_simulators)
{
	guest([](kvmbox_box &b) {
		EXPECT_EQ(b.ops->next_event(b.opaque), KVMBOX_TIME_NEVER);
		sc_core::sc_event e;
		e.notify(ns(42));
		EXPECT_EQ(b.ops->next_event(b.opaque), b.now() + 42000);
		e.cancel();
		e.notify(sc_core::SC_ZERO_TIME);
		EXPECT_EQ(b.ops->next_event(b.opaque), b.now());
	});
}

TEST(waiting, guest_that_takes_no_time_starves_nobody)
{
	bool ran = false;
	guest([&](kvmbox_box &b) {
		sc_core::sc_spawn([&] { ran = true; });
		for (int i = 0; i < 3; i++)
			b.wait(b.now());
		EXPECT_TRUE(ran);
	});
}

TEST(box, questions)
{
	EXPECT_EQ(top->pc.end(), KVMBOX_END_NONE);
	EXPECT_EQ(top->pc.exit_status(), -1);
	EXPECT_EQ(top->pc.serial_output(), "out");
	EXPECT_EQ(top->pc.stats().entries, 7u);
	guest([](kvmbox_box &b) { b.time_ps = 1500; });
	EXPECT_EQ(top->pc.time(), ns(1.5));
	EXPECT_EQ(top->gpu.bdf(), 1u << 3);
	uint64_t a;
	EXPECT_TRUE(top->gpu.bar_address(1, a));
	EXPECT_EQ(a, 0xE0100000u);
}

/* Last: ends the box. */
TEST(box, stop_ends_an_idle_guest_but_not_the_simulation)
{
	top->pc.stop();
	sc_core::sc_start();
	EXPECT_EQ(top->pc.end(), KVMBOX_END_STOPPED);
	EXPECT_NE(sc_core::sc_get_status(), sc_core::SC_STOPPED);
}

} // namespace

void elaborate()
{
	top = new bench("top");
}
