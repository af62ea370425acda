// All clocks that a guest can read tell the same time, for ten simulated seconds in which a SystemC model waits random times, the guest
// sleeps and computes. Compiled once per clock source: TEST_CONFIG is the box's configuration, TEST_EXACT: the time of an
// exit is known, TEST_PAUSE_MS the model's longest wait.
#include "platform_test.h"
#include "all_clocks_regs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include <tlm_utils/simple_target_socket.h>

namespace {

constexpr double until_ps = 10e12;

struct waiter : sc_core::sc_module {
	SC_HAS_PROCESS(waiter);
	waiter(sc_core::sc_module_name nm, kvmbox::box &pc) : sc_module(nm), socket("socket")
	{
		kvmbox::function_config f("clocks", CLOCKS_VENDOR, CLOCKS_DEVICE);

		f.memory_bar(0, 0x1000);
		pc.add_function(f).bar(0).bind(socket);
		socket.register_b_transport(this, &waiter::b_transport);
	}
	void b_transport(tlm::tlm_generic_payload &gp, sc_core::sc_time &delay)
	{
		uint64_t v = 0;

		switch (gp.get_address()) {
		case CLOCKS_NOW:
			v = kvmbox::to_ps(sc_core::sc_time_stamp() + delay);
			break;
		case CLOCKS_WAIT:
			take_time(delay);
			break;
		case CLOCKS_UNTIL:
			v = uint64_t(until_ps);
			break;
		case CLOCKS_HAS:
			v = (1u << CLOCKS_COUNT) - 1;
		}
		memcpy(gp.get_data_ptr(), &v, std::min<size_t>(sizeof(v), gp.get_data_length()));
		gp.set_response_status(tlm::TLM_OK_RESPONSE);
	}
	// Waits, annotates, or some of both.
	void take_time(sc_core::sc_time &delay)
	{
		m_random = m_random * 6364136223846793005u + 1442695040888963407u;
		const uint64_t all = (m_random >> 20) % (TEST_PAUSE_MS * 1000000000ull), part = all * (m_random >> 62) / 3;

		if (part)
			wait(kvmbox::from_ps(part));
		delay += kvmbox::from_ps(all - part);
		taken += all;
	}
	tlm_utils::simple_target_socket<waiter> socket;
	uint64_t taken = 0;

private:
	uint64_t m_random = 20261125;
};

std::unique_ptr<kvmbox::box> pc;
std::unique_ptr<waiter> model;
std::string unusable;
std::vector<clocks_sample> samples;

template <class T> void fetch(uint64_t address, T *to, size_t n)
{
	tlm::tlm_generic_payload gp;
	gp.set_read();
	gp.set_address(address);
	gp.set_data_ptr(reinterpret_cast<unsigned char *>(to));
	gp.set_data_length(unsigned(n * sizeof(T)));
	gp.set_streaming_width(gp.get_data_length());
	ASSERT_EQ(pc->agent().transport_dbg(gp), n * sizeof(T));
}

class all_clocks : public testing::Test {
protected:
	void SetUp() override
	{
		if (!pc)
			GTEST_SKIP() << unusable;
		if (pc->end() != KVMBOX_END_NONE)
			return;
		sc_core::sc_start();
		ASSERT_EQ(pc->exit_status(), 0) << pc->serial_output();
		uint64_t n;
		fetch(CLOCKS_SAMPLES, &n, 1);
		ASSERT_LT(n, CLOCKS_MAX);
		samples.resize(n);
		fetch(CLOCKS_SAMPLES + sizeof(n), samples.data(), n);
	}
	static std::vector<clocks_sample> of(clocks_clock c)
	{
		std::vector<clocks_sample> s;
		for (auto &x : samples)
			if (x.clock == c)
				s.push_back(x);
		EXPECT_GE(s.size(), 10u);
		return s;
	}
	// Every reading of a counter of hz that wraps at modulus is one that it can have had between the two looks at the time register,
	// as the first one says where it stands.
	static void expect_counter(clocks_clock c, const char *name, double hz, double modulus, bool down)
	{
		const auto s = of(c);
		const double tick = 1e12 / hz;
		double worst = 0;

		for (auto &x : s) {
			const double least = (double(x.before) - double(s[0].after)) / tick - 1;
			const double most = (double(x.after) - double(s[0].before)) / tick + 1;
			const double step = down ? double(s[0].value) - double(x.value) : double(x.value) - double(s[0].value);
			// The reading nearest to the middle of what is possible.
			const double middle = (least + most) / 2, ticks = step + std::round((middle - step) / modulus) * modulus;

			EXPECT_GE(ticks, least) << name << " at " << x.before;
			EXPECT_LE(ticks, most) << name << " at " << x.before;
			worst = std::max(worst, double(x.after - x.before));
		}
		std::printf("%-14s %5zu readings, each within a look at the time register, at most %.3f us wide\n", name, s.size(),
			    worst / 1e6);
	}
};

TEST_F(all_clocks, ran_for_ten_seconds_most_of_them_in_the_model)
{
	EXPECT_GE(samples.back().after, uint64_t(until_ps) - 2 * TEST_PAUSE_MS * 1000000000ull);
	EXPECT_GE(double(model->taken), 0.5 * until_ps);
}

TEST_F(all_clocks, time_never_goes_back)
{
	for (size_t i = 0; i < samples.size(); i++) {
		EXPECT_GT(samples[i].after, samples[i].before) << i;
		if (i > 0) {
			EXPECT_GT(samples[i].before, samples[i - 1].after) << i;
		}
	}
}

TEST_F(all_clocks, systemc)
{
	expect_counter(CLOCKS_MODEL, "SystemC", 1e12, 1e18, false);
	for (auto &x : of(CLOCKS_MODEL)) {
		EXPECT_GE(x.value, x.before);
		EXPECT_LE(x.value, x.after);
	}
}

TEST_F(all_clocks, time_ports)
{
	for (auto &x : of(CLOCKS_PORT)) {
		EXPECT_GE(x.value, x.before);
		EXPECT_LE(x.value, x.after);
	}
}

TEST_F(all_clocks, pit)
{
	expect_counter(CLOCKS_PIT, "PIT", 1193182, 65536, true);
}

TEST_F(all_clocks, lapic_timer)
{
	auto s = of(CLOCKS_LAPIC);
	expect_counter(CLOCKS_LAPIC, "local APIC", 1e9 / 16, 4294967296.0, true);
	EXPECT_GT(s.front().value, s.back().value);
}

TEST_F(all_clocks, rtc)
{
	expect_counter(CLOCKS_RTC, "RTC", 1, 86400, false);
}

} // namespace

void elaborate()
{
	kvmbox::config cfg("serial=memory completion_timeout=10s guest=" ALL_CLOCKS_GUEST);
	cfg.parse(TEST_CONFIG);
	try {
		pc = std::make_unique<kvmbox::box>("pc", cfg);
	} catch (const sc_core::sc_report &r) {
		if (std::string(r.get_msg_type()) != kvmbox::msg_kvm)
			throw;
		unusable = r.get_msg();
		return;
	}
	model = std::make_unique<waiter>("model", *pc);
}
