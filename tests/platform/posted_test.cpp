// Posted writes on the SystemC side, over a stand-in box: when and in which order targets see them, and what goes wrong.
#include "platform_test.h"
#include "fake_box.h"

namespace {

using sc_core::sc_time;

sc_time now()
{
	return sc_core::sc_time_stamp();
}

enum style { annotates, waits, mixes };

/* Records what it sees, and takes its time. */
struct target : sc_core::sc_module, tlm::tlm_fw_transport_if<> {
	struct seen {
		uint64_t address, value;
		bool write, posted;
		sc_time at, delay;
	};
	std::vector<seen> log;
	sc_time takes;
	style how = annotates;
	std::function<void(tlm::tlm_generic_payload &, sc_time &)> on; /* instead of taking time */
	tlm::tlm_response_status status = tlm::TLM_OK_RESPONSE;

	explicit target(sc_core::sc_module_name n) : sc_module(n) {}
	void b_transport(tlm::tlm_generic_payload &gp, sc_time &delay) override
	{
		uint64_t v = 0;

		if (gp.is_write())
			memcpy(&v, gp.get_data_ptr(), gp.get_data_length());
		log.push_back({ gp.get_address(), v, gp.is_write(), gp.get_extension<kvmbox::pci_extension>()->posted, now(), delay });
		gp.set_response_status(status);
		if (on) {
			on(gp, delay);
			return;
		}
		const sc_time all = takes, waited = how == waits ? all : how == mixes ? all / 4 : sc_core::SC_ZERO_TIME;
		if (waited != sc_core::SC_ZERO_TIME)
			sc_core::wait(waited);
		delay += all - waited;
	}
	tlm::tlm_sync_enum nb_transport_fw(tlm::tlm_generic_payload &, tlm::tlm_phase &, sc_time &) override
	{
		return tlm::TLM_COMPLETED;
	}
	bool get_direct_mem_ptr(tlm::tlm_generic_payload &, tlm::tlm_dmi &) override { return false; }
	unsigned transport_dbg(tlm::tlm_generic_payload &) override { return 0; }

	void reset()
	{
		log.clear();
		takes = sc_core::SC_ZERO_TIME;
		on = nullptr;
		how = annotates;
		status = tlm::TLM_OK_RESPONSE;
	}
	std::vector<uint64_t> values() const
	{
		std::vector<uint64_t> v;
		for (auto &s : log)
			v.push_back(s.value);
		return v;
	}
};

struct bench : sc_core::sc_module {
	kvmbox::box pc;
	kvmbox::pci_function &sync, &loose, &stalls, &io_only;
	target t, u, v, w;

	static kvmbox::function_config card(const char *name, kvmbox_access_mode mode, bool posts)
	{
		kvmbox::function_config f(name, 0x1234, 1);
		f.memory_bar(0, 0x1000).io_bar(1, 0x10);
		f.mode = mode;
		f.posted_writes = posts;
		f.bus_request_ps = 1;
		f.bus_completion_ps = 2;
		f.posted_write_ps = 3;
		return f;
	}
	explicit bench(sc_core::sc_module_name n)
		: sc_module(n), pc("pc"), sync(pc.add_function(card("sync", KVMBOX_SYNCHRONISED, true))),
		  loose(pc.add_function(card("loose", KVMBOX_LOOSELY_TIMED, true))),
		  stalls(pc.add_function(card("stalls", KVMBOX_SYNCHRONISED, false))),
		  io_only(pc.add_function(kvmbox::function_config("io", 1, 2).io_bar(0, 4))), t("t"), u("u"), v("v"), w("w")
	{
		sync.bind_all(t);
		loose.bind_all(u);
		stalls.bind_all(v);
		io_only.bind_all(w);
	}
};

bench *top;

enum { SYNC, LOOSE, STALLS, IO };

/* Runs job as the guest and lets the simulation become quiet again. */
void guest(const std::function<void(kvmbox_box &)> &job)
{
	bool done = false;

	top->t.reset();
	top->u.reset();
	reports::clear();
	fake::jobs.push_back([&](kvmbox_box &b) {
		job(b);
		done = true;
	});
	top->pc.serial_input("");
	sc_core::sc_start();
	EXPECT_TRUE(done);
	EXPECT_EQ(top->sync.posted() + top->loose.posted(), 0u);
}

/* A posted write that arrives after ps. */
int post(kvmbox_box &b, int fn, uint64_t value, uint64_t ps = 0, uint64_t lead_ps = 0)
{
	return b.post(unsigned(fn), 0, 0x10, 4, value, b.now() + ps, lead_ps);
}

uint64_t read(kvmbox_box &b, int fn, uint64_t delay = 0, kvmbox_space space = KVMBOX_SPACE_MEMORY)
{
	uint64_t value;

	b.access(unsigned(fn), space == KVMBOX_SPACE_IO, 0, 4, false, value, delay, space);
	return delay;
}

const style styles[] = { annotates, waits, mixes };

/* ---- when ------------------------------------------------------------------------ */

TEST(posted, configuration_goes_down)
{
	const auto &c = top->sync.c_function()->cfg;
	guest([](kvmbox_box &) {}); /* the processes have begun */
	EXPECT_FALSE(c.non_posted_writes);
	EXPECT_EQ(c.bus_request_ps, 1u);
	EXPECT_EQ(c.bus_completion_ps, 2u);
	EXPECT_EQ(c.posted_write_ps, 3u);
	EXPECT_TRUE(top->stalls.c_function()->cfg.non_posted_writes);
	EXPECT_EQ(sc_core::sc_find_object("top.pc.stalls.posted"), nullptr);
	EXPECT_EQ(sc_core::sc_find_object("top.pc.io.posted"), nullptr) << "nothing to post, no process";
}

TEST(posted, target_sees_it_at_its_time_while_the_guest_goes_on)
{
	guest([](kvmbox_box &b) {
		const uint64_t t0 = b.now();
		top->t.takes = ns(700);
		top->t.how = waits;
		EXPECT_EQ(post(b, SYNC, 0x11223344, 5000), 0);
		EXPECT_EQ(b.now(), t0) << "it returns at once";
		EXPECT_EQ(top->t.log.size(), 0u);
		EXPECT_EQ(b.ops->next_event(b.opaque), t0 + 5000) << "the guest's slice ends there";
		EXPECT_EQ(top->sync.posted(), 1u);
		b.wait(t0 + 4999);
		EXPECT_EQ(top->t.log.size(), 0u);
		b.wait(t0 + 5000);
		b.wait(t0 + 5000); /* its turn */
		ASSERT_EQ(top->t.log.size(), 1u);
		const target::seen &s = top->t.log[0];
		EXPECT_EQ(kvmbox::to_ps(s.at), t0 + 5000);
		EXPECT_EQ(s.delay, sc_core::SC_ZERO_TIME);
		EXPECT_TRUE(s.posted && s.write);
		EXPECT_EQ(s.value, 0x11223344u);
		EXPECT_EQ(b.now(), t0 + 5000);
		EXPECT_EQ(top->sync.posted(), 1u) << "under way";
	});
}

TEST(posted, one_that_is_due_gets_the_next_turn)
{
	guest([](kvmbox_box &b) {
		post(b, SYNC, 1);
		EXPECT_EQ(top->t.log.size(), 0u);
		EXPECT_EQ(b.ops->next_event(b.opaque), b.now());
		b.wait(b.now());
		EXPECT_EQ(top->t.log.size(), 1u);
	});
}

TEST(posted, one_after_the_other_whatever_the_style)
{
	for (style how : styles)
		guest([=](kvmbox_box &b) {
			const sc_time t0 = now();
			top->t.takes = ns(700);
			top->t.how = how;
			for (uint64_t i = 0; i < 4; i++)
				post(b, SYNC, i, 1000 * i);
			EXPECT_EQ(now(), t0);
			b.wait(b.now() + 10000000);
			ASSERT_EQ(top->t.values(), (std::vector<uint64_t>{ 0, 1, 2, 3 })) << how;
			for (unsigned i = 0; i < 4; i++) {
				EXPECT_EQ(top->t.log[i].at, t0 + i * ns(700)) << how;
				EXPECT_EQ(top->t.log[i].delay, sc_core::SC_ZERO_TIME) << how;
			}
		});
}

TEST(posted, functions_do_not_wait_for_each_other)
{
	guest([](kvmbox_box &b) {
		const sc_time t0 = now();
		top->t.takes = ns(700);
		top->t.how = waits;
		post(b, SYNC, 1);
		b.wait(b.now() + 1000);
		post(b, LOOSE, 2);
		read(b, LOOSE);
		EXPECT_EQ(now(), t0 + ns(1));
		EXPECT_EQ(top->u.log.size(), 2u);
	});
}

/* ---- reads push -------------------------------------------------------------------- */

TEST(posted, reads_begin_when_the_writes_have_completed)
{
	for (kvmbox_space space : { KVMBOX_SPACE_MEMORY, KVMBOX_SPACE_IO })
		for (style how : styles)
			guest([=](kvmbox_box &b) {
				const sc_time t0 = now();
				top->t.takes = ns(700);
				top->t.how = how;
				post(b, SYNC, 1);
				post(b, SYNC, 2, 400);
				const uint64_t delay = read(b, SYNC, 0, space);
				ASSERT_EQ(top->t.log.size(), 3u);
				EXPECT_FALSE(top->t.log[2].write || top->t.log[2].posted);
				EXPECT_EQ(top->t.log[2].at, t0 + ns(1400)) << how;
				EXPECT_EQ(top->t.log[2].delay, sc_core::SC_ZERO_TIME) << how;
				EXPECT_EQ(now() + kvmbox::from_ps(delay), t0 + ns(2100)) << how;
			});
}

TEST(posted, push_waits_for_the_completion)
{
	for (style how : styles)
		guest([=](kvmbox_box &b) {
			const sc_time t0 = now();
			top->t.takes = ns(700);
			top->t.how = how;
			post(b, SYNC, 1, 300);
			EXPECT_EQ(b.push(SYNC), 0);
			EXPECT_EQ(now(), t0 + ns(700.3)) << how;
			EXPECT_EQ(b.push(SYNC), 0);
			EXPECT_EQ(b.push(LOOSE), 0);
			EXPECT_EQ(b.push(IO), 0);
			EXPECT_EQ(now(), t0 + ns(700.3)) << how;
		});
}

TEST(posted, push_of_all_functions)
{
	guest([](kvmbox_box &b) {
		const sc_time t0 = now();
		top->t.takes = ns(700);
		top->u.takes = ns(900);
		top->t.how = top->u.how = waits;
		post(b, SYNC, 1);
		post(b, LOOSE, 1);
		EXPECT_EQ(b.push(), 0);
		EXPECT_EQ(now(), t0 + ns(900));
	});
}

TEST(posted, the_run_ending_under_a_read_that_carries_its_lead)
{
	guest([](kvmbox_box &b) {
		top->t.takes = ns(10);
		post(b, SYNC, 1);
		EXPECT_EQ(read(b, SYNC, 50000), 50000u);
		EXPECT_EQ(top->t.log[1].delay, ns(40)) << "it waited 10 ns for the write";
	});
}

/* ---- flow control ----------------------------------------------------------------------- */

TEST(posted, a_full_queue_stalls_the_guest_until_there_is_room)
{
	for (style how : styles)
		guest([=](kvmbox_box &b) {
			const sc_time t0 = now();
			top->t.takes = ns(700);
			top->t.how = how;
			for (uint64_t i = 0; i < 64; i++)
				post(b, SYNC, i);
			EXPECT_EQ(now(), t0);
			EXPECT_EQ(top->sync.posted(), 64u);
			post(b, SYNC, 64);
			/* an annotating target's first write has left the queue, the time it takes holds up the second */
			EXPECT_EQ(now(), t0 + (how == annotates ? ns(0) : how == mixes ? ns(175) : ns(700)));
			post(b, SYNC, 65);
			EXPECT_EQ(now(), t0 + ns(700) + (how == annotates ? ns(0) : how == mixes ? ns(175) : ns(700)));
			read(b, SYNC);
			ASSERT_EQ(top->t.log.size(), 67u);
			for (unsigned i = 0; i < 66; i++) {
				EXPECT_EQ(top->t.log[i].value, i);
				EXPECT_EQ(top->t.log[i].at, t0 + i * ns(700));
			}
		});
}

TEST(posted, room_that_comes_within_the_guests_lead_costs_nothing)
{
	guest([](kvmbox_box &b) {
		const sc_time t0 = now();
		top->t.takes = ns(700);
		top->t.how = waits;
		for (uint64_t i = 0; i < 64; i++)
			post(b, SYNC, i);
		post(b, SYNC, 64, 900000 + 5000, 900000); /* the guest is at +900 ns, the bus takes 5 ns */
		EXPECT_EQ(now(), t0 + ns(700));
		post(b, SYNC, 65, 200000 + 5000, 200000); /* at +900 ns still, but there is no room before +1400 */
		EXPECT_EQ(now(), t0 + ns(1400));
		top->t.takes = sc_core::SC_ZERO_TIME; /* from the fourth on */
		b.wait(b.now() + 1000000);
		EXPECT_EQ(top->t.log.size(), 66u);
	});
}

/* ---- loosely timed ------------------------------------------------------------------------- */

TEST(posted, loosely_timed_ones_are_handed_over_at_once_with_the_lead)
{
	guest([](kvmbox_box &b) {
		const sc_time t0 = now();
		post(b, LOOSE, 1, 5000);
		EXPECT_EQ(b.ops->next_event(b.opaque), b.now());
		b.wait(b.now());
		ASSERT_EQ(top->u.log.size(), 1u);
		EXPECT_EQ(top->u.log[0].at, t0);
		EXPECT_EQ(top->u.log[0].delay, ns(5));
		EXPECT_GT(b.ops->next_event(b.opaque), b.now() + 5000) << "nothing ends the guest's lead";
		EXPECT_EQ(now(), t0);
	});
}

/* The lead may be consumed by waiting, be added to, or come back smaller: an access ends when it says. */
TEST(posted, loosely_timed_targets_may_do_anything_with_the_lead)
{
	struct {
		const char *what;
		std::function<void(sc_time &)> does;
		double end; /* ns */
	} const cases[] = {
		{ "adds", [](sc_time &d) { d += ns(700); }, 705 },
		{ "waits for all, then adds", [](sc_time &d) { sc_core::wait(d); d = ns(700); }, 705 },
		{ "waits for all and its own", [](sc_time &d) { sc_core::wait(d + ns(700)); d = sc_core::SC_ZERO_TIME; }, 705 },
		{ "waits on top of it", [](sc_time &) { sc_core::wait(ns(700)); }, 705 },
		{ "waits for a part", [](sc_time &d) { sc_core::wait(ns(2)); d += ns(698); }, 705 },
		{ "returns less", [](sc_time &d) { d = ns(1); }, 1 },
		{ "forgets it", [](sc_time &d) { d = sc_core::SC_ZERO_TIME; }, 0 },
	};
	for (auto &c : cases)
		guest([&](kvmbox_box &b) {
			b.wait(b.now() + 10000000); /* what the case before it annotated is over */
			const sc_time t0 = now();
			top->u.on = [&](tlm::tlm_generic_payload &gp, sc_time &d) {
				if (gp.is_write())
					c.does(d);
			};
			post(b, LOOSE, 1, 5000);
			b.wait(b.now());
			const uint64_t delay = read(b, LOOSE, 6000);
			ASSERT_EQ(top->u.log.size(), 2u) << c.what;
			const target::seen &r = top->u.log[1];
			EXPECT_EQ(r.at + r.delay, t0 + std::max(ns(c.end), ns(6))) << c.what;
			EXPECT_EQ(now() + kvmbox::from_ps(delay), t0 + std::max(ns(c.end), ns(6))) << c.what;
		});
}

TEST(posted, loosely_timed_ones_stay_in_order_behind_a_slow_one)
{
	guest([](kvmbox_box &b) {
		const sc_time t0 = now();
		top->u.takes = ns(100);
		top->u.how = mixes;
		for (uint64_t i = 0; i < 4; i++)
			post(b, LOOSE, i, 1000 * i);
		b.wait(b.now() + 1000000);
		ASSERT_EQ(top->u.values(), (std::vector<uint64_t>{ 0, 1, 2, 3 }));
		for (unsigned i = 0; i < 4; i++)
			EXPECT_EQ(top->u.log[i].at + top->u.log[i].delay, t0 + i * ns(100));
	});
}

/* ---- what goes wrong -------------------------------------------------------------------------- */

TEST(posted, errors_are_logged_and_counted)
{
	const unsigned long before = top->sync.errors();
	kvmbox_function *f = top->sync.c_function();
	guest([&](kvmbox_box &b) {
		top->t.status = tlm::TLM_ADDRESS_ERROR_RESPONSE;
		post(b, SYNC, 1);
		post(b, SYNC, 2);
		b.push(SYNC);
	});
	EXPECT_EQ(top->sync.errors(), before + 2);
	EXPECT_EQ(f->post_failures, 2u);
	EXPECT_EQ(reports::count("/kvmbox/tlm", "BAR 0: write of 4 bytes at offset 0x10 failed: TLM_ADDRESS_ERROR"), 2u);
	guest([](kvmbox_box &b) {
		EXPECT_EQ(b.post(SYNC, 99, 0, 4, 0, b.now(), 0), 0);
		b.push(SYNC);
	});
	EXPECT_EQ(f->post_failures, 3u) << "no such BAR";
}

TEST(posted, a_target_that_never_answers_times_out_and_the_next_gets_its_turn)
{
	sc_core::sc_event never;
	const unsigned before = top->sync.c_function()->post_failures;
	guest([&](kvmbox_box &b) {
		const sc_time t0 = now();
		top->t.on = [&](tlm::tlm_generic_payload &, sc_time &d) {
			d += ns(3); /* void */
			if (top->t.log.size() < 3)
				sc_core::wait(never);
		};
		for (uint64_t i = 0; i < 3; i++)
			post(b, SYNC, i);
		read(b, SYNC);
		ASSERT_EQ(top->t.log.size(), 4u);
		EXPECT_EQ(top->t.log[1].at, t0 + ns(1000)) << "exactly the timeout";
		EXPECT_EQ(top->t.log[2].at, t0 + ns(2000));
		EXPECT_EQ(top->t.log[3].at, t0 + ns(2003));
	});
	EXPECT_EQ(top->sync.c_function()->post_failures, before + 2);
	EXPECT_EQ(reports::count("/kvmbox/tlm", "was not answered within 1 us"), 2u);
}

/* Two functions and the guest's own access, begun at different times. */
TEST(posted, every_access_has_its_own_timeout)
{
	sc_core::sc_event never;
	sc_time t0;
	guest([&](kvmbox_box &b) {
		uint64_t v = 0, delay = 0;
		t0 = now();
		top->t.on = top->u.on = top->v.on = [&](tlm::tlm_generic_payload &, sc_time &) { sc_core::wait(never); };
		post(b, SYNC, 1);
		b.wait(b.now() + 300000);
		post(b, LOOSE, 1);
		post(b, SYNC, 2);
		b.wait(b.now() + 100000);
		EXPECT_EQ(b.access(STALLS, 0, 0, 4, false, v, delay), -ETIMEDOUT);
		EXPECT_EQ(now(), t0 + ns(1400));
	});
	EXPECT_EQ(now(), t0 + ns(2000)) << "the second write's, while the guest slept";
	EXPECT_EQ(reports::count("/kvmbox/tlm", "was not answered within 1 us"), 4u);
	top->v.on = nullptr;
}

TEST(posted, two_at_the_same_time_time_out_together)
{
	sc_core::sc_event never;
	guest([&](kvmbox_box &b) {
		const sc_time t0 = now();
		top->t.on = top->u.on = [&](tlm::tlm_generic_payload &, sc_time &) { sc_core::wait(never); };
		post(b, SYNC, 1);
		post(b, LOOSE, 1);
		b.push();
		EXPECT_EQ(now(), t0 + ns(1000));
	});
	EXPECT_EQ(reports::count("/kvmbox/tlm", "was not answered within 1 us"), 2u);
}

TEST(posted, the_timeout_does_not_lengthen_a_simulation_that_is_done)
{
	sc_time t0, takes;
	for (bool slow : { false, true }) {
		guest([&](kvmbox_box &b) {
			t0 = now();
			takes = top->t.takes = slow ? ns(100) : ns(0);
			top->t.how = waits;
			post(b, SYNC, 1);
		});
		EXPECT_EQ(now(), t0 + takes); /* the guest slept before it was over */
	}
}

TEST(posted, a_late_reference_of_a_target_does_not_see_the_next_write)
{
	tlm::tlm_generic_payload *kept = nullptr;
	guest([&](kvmbox_box &b) {
		top->t.on = [&](tlm::tlm_generic_payload &gp, sc_time &) {
			EXPECT_NE(kept, &gp);
			if (!kept) {
				kept = &gp;
				gp.acquire();
			}
		};
		post(b, SYNC, 0x55);
		post(b, SYNC, 0x66);
		b.push();
	});
	ASSERT_NE(kept, nullptr);
	EXPECT_EQ(kept->get_data_ptr()[0], 0x55);
	kept->release();
}

TEST(posted, delays_out_of_all_bounds)
{
	guest([](kvmbox_box &b) {
		const sc_time t0 = now();
		top->u.on = [](tlm::tlm_generic_payload &gp, sc_time &d) {
			if (gp.is_write())
				d = sc_time::from_value(UINT64_MAX - 5);
		};
		post(b, LOOSE, 1);
		post(b, LOOSE, 2, 1000);
		b.wait(b.now());
		EXPECT_EQ(now(), t0);
		EXPECT_EQ(top->u.log.size(), 2u);
		EXPECT_GT(read(b, LOOSE), UINT64_MAX / 2) << "the box says that time is used up";
	});
}

/* The target of a posted write pauses the box: the guest gets no further. */
TEST(posted, a_pause_by_the_target_holds_the_guest)
{
	bool through = false;
	top->t.reset();
	top->t.on = [](tlm::tlm_generic_payload &gp, sc_time &) {
		if (gp.is_write())
			top->pc.pause();
	};
	fake::jobs.push_back([&](kvmbox_box &b) {
		post(b, SYNC, 1, 1000);
		b.wait(b.now() + 1000);
		b.wait(b.now());
		through = true;
	});
	top->pc.serial_input("");
	sc_core::sc_start();
	EXPECT_EQ(sc_core::sc_get_status(), sc_core::SC_PAUSED);
	EXPECT_EQ(top->t.log.size(), 1u);
	sc_core::sc_start(ns(50));
	EXPECT_FALSE(through) << "simulated time goes on, the guest does not";
	top->pc.resume();
	sc_core::sc_start();
	EXPECT_TRUE(through);
}

/* The same under a read that waits for the write: it is not handed over meanwhile. */
TEST(posted, a_pause_by_the_target_holds_the_read_behind_it)
{
	bool through = false;
	const sc_time t0 = now();
	top->t.reset();
	top->t.on = [](tlm::tlm_generic_payload &gp, sc_time &) {
		if (gp.is_write())
			top->pc.pause();
	};
	fake::jobs.push_back([&](kvmbox_box &b) {
		post(b, SYNC, 1, 1000);
		read(b, SYNC);
		through = true;
	});
	top->pc.serial_input("");
	sc_core::sc_start();
	sc_core::sc_start(ns(50));
	EXPECT_EQ(top->t.log.size(), 1u);
	top->pc.resume();
	sc_core::sc_start();
	EXPECT_TRUE(through);
	ASSERT_EQ(top->t.log.size(), 2u);
	EXPECT_EQ(top->t.log[1].at, t0 + ns(51));
}

/* ---- processes ------------------------------------------------------------------------------------ */

sc_core::sc_process_handle queue_process(const char *name)
{
	return sc_core::sc_process_handle(sc_core::sc_find_object(name));
}

TEST(posted, a_reset_of_the_process_gives_up_the_write_under_way)
{
	guest([](kvmbox_box &b) {
		top->t.takes = ns(100);
		top->t.how = waits;
		for (uint64_t i = 0; i < 3; i++)
			post(b, SYNC, i);
		b.wait(b.now() + 150000);
		queue_process("top.pc.sync.posted").reset();
		b.push();
		EXPECT_EQ(top->t.values(), (std::vector<uint64_t>{ 0, 1, 2 }));
		EXPECT_EQ(top->t.log[2].at, top->t.log[1].at + ns(50));
	});
	/* one that has not arrived yet is not lost */
	guest([](kvmbox_box &b) {
		const sc_time t0 = now();
		post(b, SYNC, 7, 200);
		post(b, SYNC, 8, 300);
		b.wait(b.now() + 250);
		post(b, SYNC, 9, 250);
		queue_process("top.pc.sync.posted").reset();
		b.push();
		EXPECT_EQ(top->t.values(), (std::vector<uint64_t>{ 7, 8, 9 }));
		EXPECT_EQ(top->t.log[2].at, t0 + ns(0.5));
	});
}

/* Last: that function posts no more. */
TEST(posted, a_kill_of_the_process_loses_what_is_under_way_but_not_the_guest)
{
	kvmbox_function *f = top->loose.c_function();
	const unsigned before = f->post_failures;
	guest([&](kvmbox_box &b) {
		bool killed = false;
		top->u.takes = ns(100);
		top->u.how = waits;
		for (uint64_t i = 0; i < 4; i++)
			post(b, LOOSE, i);
		sc_core::sc_spawn([&] {
			sc_core::wait(ns(150));
			queue_process("top.pc.loose.posted").kill();
			killed = true;
		});
		read(b, LOOSE); /* waits for them */
		EXPECT_TRUE(killed);
		EXPECT_EQ(top->u.log.size(), 3u) << "two writes and the read";
		EXPECT_EQ(post(b, LOOSE, 5), -EAGAIN);
		EXPECT_EQ(b.push(), 0);
	});
	EXPECT_GE(f->post_failures, before + 2);
}

} // namespace

void elaborate()
{
	top = new bench("top");
}
