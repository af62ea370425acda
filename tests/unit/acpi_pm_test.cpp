// devices/acpi_pm.h: PM1 registers, SCI, sleep, and the PM timer.
#include <gtest/gtest.h>

#include <cerrno>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "devices/acpi_pm.h"
}

namespace {

constexpr uint16_t base = 0x600;
enum : unsigned { STS = 0, EN = 2, CNT = 4, TMR = 8 };
enum : unsigned { TMR_STS = 1, PWRBTN = 1 << 8, RTC = 1 << 10, SLP_EN = 1 << 13 };

class acpi_pm : public testing::TestWithParam<bool> {
protected:
	kb_bus io;
	kb_timers q;
	kb_log log{};
	kb_acpi_pm_config cfg{};
	kb_acpi_pm *pm = nullptr;
	kvmbox_error err{};
	bool sci = false;
	int edges = 0, offs = 0;
	std::vector<std::string> messages;

	void SetUp() override
	{
		kb_bus_init(&io, "port", 0xffff);
		kb_timers_init(&q);
		log.opaque = this;
		log.fn = [](void *o, kvmbox_log_level, const char *m) { self(o)->messages.push_back(m); };
		cfg.io = &io;
		cfg.timers = &q;
		cfg.log = &log;
		cfg.port = base;
		cfg.timer32 = GetParam();
		cfg.sci.opaque = this;
		cfg.sci.set = [](void *o, int, bool on) {
			self(o)->sci = on;
			self(o)->edges++;
		};
		cfg.power_off = [](void *o) { self(o)->offs++; };
		cfg.opaque = this;
		ASSERT_EQ(kb_acpi_pm_create(&pm, &cfg, &err), 0) << err.msg;
	}
	void TearDown() override
	{
		kb_acpi_pm_destroy(pm);
		EXPECT_EQ(io.count, 0u);
		EXPECT_EQ(q.head, nullptr);
		kb_bus_destroy(&io);
	}
	static acpi_pm *self(void *o) { return static_cast<acpi_pm *>(o); }
	uint32_t in(unsigned off, size_t len = 2)
	{
		uint32_t v = 0;
		kb_bus_read(&io, base + off, &v, len);
		return v;
	}
	void out(unsigned off, uint32_t v, size_t len = 2) { kb_bus_write(&io, base + off, &v, len); }
	unsigned bits() const { return GetParam() ? 32 : 24; }
	uint64_t half() const { return 1ull << (bits() - 1); } // ticks between overflows
	void to_tick(uint64_t t) { kb_timers_advance(&q, kb_ticks_to_ps(t, KB_ACPI_PM_HZ)); }
};

INSTANTIATE_TEST_SUITE_P(bits, acpi_pm, testing::Bool(),
			 [](const testing::TestParamInfo<bool> &i) { return i.param ? "timer32" : "timer24"; });

TEST_P(acpi_pm, reset_state)
{
	EXPECT_EQ(in(STS), 0u);
	EXPECT_EQ(in(EN), 0u);
	EXPECT_EQ(in(CNT), 1u) << "SCI_EN: always in ACPI mode";
	EXPECT_EQ(in(6), 0u);
	EXPECT_EQ(in(TMR, 4), 0u);
	EXPECT_EQ(in(12, 4), 0xffffffffu) << "not ours";
	EXPECT_FALSE(sci);
}

TEST_P(acpi_pm, timer_is_simulated_time)
{
	to_tick(123456);
	EXPECT_EQ(in(TMR, 4), 123456u);
	kb_timers_advance(&q, 3600 * KB_PS_PER_S);
	uint64_t ticks = 3600ull * KB_ACPI_PM_HZ;
	EXPECT_EQ(in(TMR, 4), ticks & ((1ull << bits()) - 1));
	EXPECT_EQ(in(TMR + 1, 1), ticks >> 8 & 0xff);
	out(TMR, 0, 4);
	EXPECT_EQ(in(TMR, 4), ticks & ((1ull << bits()) - 1)) << "read-only";
	kb_acpi_pm_reset(pm);
	EXPECT_EQ(in(TMR, 4), ticks & ((1ull << bits()) - 1));
}

TEST_P(acpi_pm, overflow_of_the_upper_bit)
{
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER) << "nobody wants to know";
	to_tick(half() - 1);
	EXPECT_EQ(in(STS), 0u);
	to_tick(half());
	EXPECT_EQ(in(STS), TMR_STS) << "0 to 1";
	EXPECT_FALSE(sci);
	out(STS, TMR_STS);
	EXPECT_EQ(in(STS), 0u);
	out(EN, TMR_STS);
	EXPECT_EQ(kb_timers_next(&q), kb_ticks_to_ps(2 * half(), KB_ACPI_PM_HZ));
	to_tick(2 * half() - 1);
	EXPECT_FALSE(sci);
	to_tick(2 * half());
	EXPECT_TRUE(sci) << "1 to 0";
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER) << "no more until it is cleared";
	to_tick(9 * half());
	EXPECT_EQ(edges, 1);
	out(STS, TMR_STS);
	EXPECT_FALSE(sci);
	EXPECT_EQ(kb_timers_next(&q), kb_ticks_to_ps(10 * half(), KB_ACPI_PM_HZ));
	out(EN, 0);
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
}

TEST_P(acpi_pm, power_button)
{
	kb_acpi_pm_power_button(pm);
	EXPECT_EQ(in(STS), PWRBTN);
	EXPECT_FALSE(sci);
	out(EN, PWRBTN);
	EXPECT_TRUE(sci) << "it is a level";
	out(STS, PWRBTN);
	EXPECT_FALSE(sci);
	kb_acpi_pm_power_button(pm);
	EXPECT_TRUE(sci);
	out(EN, 0);
	EXPECT_FALSE(sci);
	EXPECT_EQ(in(STS), PWRBTN);
	kb_acpi_pm_reset(pm);
	EXPECT_EQ(in(STS), 0u);
}

TEST_P(acpi_pm, rtc_alarm_is_an_edge)
{
	out(EN, RTC);
	kb_acpi_pm_rtc(pm, 0, true);
	EXPECT_TRUE(sci);
	out(STS, RTC);
	EXPECT_FALSE(sci) << "the pin is still high";
	kb_acpi_pm_rtc(pm, 0, true);
	EXPECT_FALSE(sci);
	kb_acpi_pm_rtc(pm, 0, false);
	EXPECT_FALSE(sci);
	kb_acpi_pm_rtc(pm, 0, true);
	EXPECT_TRUE(sci);
}

TEST_P(acpi_pm, registers_by_bytes_and_dwords)
{
	out(EN, 0xffff);
	EXPECT_EQ(in(EN), 0x4721u) << "defined bits";
	out(EN + 1, 0x01, 1);
	EXPECT_EQ(in(EN), 0x0121u);
	out(EN, 0, 1);
	EXPECT_EQ(in(EN), 0x0100u);
	kb_acpi_pm_power_button(pm);
	EXPECT_EQ(in(STS, 4), 0x01000100u);
	out(STS, 0xff, 1);
	EXPECT_EQ(in(STS), PWRBTN);
	out(STS + 1, 0x01, 1);
	EXPECT_EQ(in(STS), 0u);
	kb_acpi_pm_power_button(pm);
	out(STS, 0x0001ffff, 4);
	EXPECT_EQ(in(STS, 4), 0x00010000u);
	out(CNT, 0xdffe);
	EXPECT_EQ(in(CNT), 0x1c03u) << "BM_RLD and SLP_TYP are kept";
	EXPECT_EQ(offs, 0);
	out(CNT + 1, 0, 1);
	EXPECT_EQ(in(CNT), 0x0003u);
}

TEST_P(acpi_pm, soft_off)
{
	out(CNT, KB_ACPI_SLP_TYP_S5 << 10);
	EXPECT_EQ(offs, 0);
	out(CNT, KB_ACPI_SLP_TYP_S5 << 10 | SLP_EN);
	EXPECT_EQ(offs, 1);
	EXPECT_EQ(in(CNT) & SLP_EN, 0u) << "write-only";
	out(CNT + 1, (KB_ACPI_SLP_TYP_S5 << 10 | SLP_EN) >> 8, 1);
	EXPECT_EQ(offs, 2);
	EXPECT_TRUE(messages.empty());
}

TEST_P(acpi_pm, other_sleep_states_are_noted)
{
	for (unsigned type = 0; type < 7; type++)
		out(CNT, type << 10 | SLP_EN);
	EXPECT_EQ(offs, 0);
	ASSERT_EQ(messages.size(), 7u);
	EXPECT_NE(messages[5].find("sleep type 5"), std::string::npos) << messages[5];
	for (int i = 0; i < 10000; i++)
		out(CNT, SLP_EN);
	EXPECT_LT(messages.size(), 30u) << "no flood";
}

TEST_P(acpi_pm, create_refuses_and_leaves_nothing)
{
	kb_acpi_pm *second = nullptr;
	EXPECT_EQ(kb_acpi_pm_create(&second, &cfg, &err), -EEXIST);
	cfg.port = 0x602;
	EXPECT_EQ(kb_acpi_pm_create(&second, &cfg, &err), -EINVAL);
	EXPECT_NE(std::string(err.msg).find("0x602"), std::string::npos) << err.msg;
	EXPECT_EQ(second, nullptr);
	EXPECT_EQ(io.count, 1u);
	kb_acpi_pm_destroy(nullptr);
}

TEST_P(acpi_pm, hostile)
{
	std::mt19937_64 rng(6);
	for (int i = 0; i < 200000; i++) {
		uint64_t r = rng(), v = rng();
		unsigned off = static_cast<unsigned>(r >> 16) % 12;
		size_t len = 1 + (r >> 8) % 4;
		if (r & 1)
			kb_bus_write(&io, base + off, &v, len);
		else
			kb_bus_read(&io, base + off, &v, len);
		if (r & 2)
			kb_acpi_pm_rtc(pm, 0, r & 4);
		if (r & 8)
			kb_acpi_pm_power_button(pm);
		edges = 0;
		kb_timers_advance(&q, q.now_ps + (v & 0xffffffffff));
		ASSERT_LE(edges, 1);
		ASSERT_EQ(sci, (in(STS) & in(EN) & 0x721) != 0);
		ASSERT_EQ(in(TMR, 4), kb_ps_to_ticks(q.now_ps, KB_ACPI_PM_HZ) & ((1ull << bits()) - 1));
	}
}

} // namespace
