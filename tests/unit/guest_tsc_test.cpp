// The guest's TSC on guest time: when it is set, to what, and the guest's own writes. KVM is a recorder.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>

extern "C" {
#include "vcpu/guest_tsc.h"
}

namespace {

int sets;
uint64_t offset;
int failing;

const kb_kvm_api *recorder()
{
	static kb_kvm_api api = [] {
		kb_kvm_api a{};
		a.ioctl = [](int fd, unsigned long, void *arg) {
			const kvm_device_attr *attr = static_cast<kvm_device_attr *>(arg);

			EXPECT_EQ(fd, 42);
			EXPECT_EQ(attr->group, unsigned(KVM_VCPU_TSC_CTRL));
			EXPECT_EQ(attr->attr, unsigned(KVM_VCPU_TSC_OFFSET));
			if (failing) {
				errno = failing;
				return -1;
			}
			sets++;
			memcpy(&offset, reinterpret_cast<void *>(attr->addr), sizeof(offset));
			return 0;
		};
		return a;
	}();
	return &api;
}

constexpr uint64_t hz = 2000000000, us = 1000000, ms = 1000 * us;

struct guest_tsc : testing::Test {
	kb_guest_tsc g{};
	kb_clock clock{};
	kb_msrs msrs{};
	kb_view view{};
	kvmbox_error err{};

	guest_tsc()
	{
		const uint64_t no_cost[2] = {0, 0};
		sets = failing = 0;
		offset = 77;
		kb_clock_init_tsc(&clock, hz, 1, no_cost);
	}
	void init(bool shifts = true) { ASSERT_EQ(kb_guest_tsc_init(&g, recorder(), 42, shifts, &clock, &msrs, &err), 0) << err.msg; }
	void simulate(uint64_t rate = hz, uint64_t bound_ps = us)
	{
		init();
		ASSERT_EQ(kb_guest_tsc_simulate(&g, rate, bound_ps, &err), 0) << err.msg;
		sets = 0;
	}
	uint64_t enter()
	{
		EXPECT_EQ(kb_guest_tsc_enter(&g, &view, false, &err), 0) << err.msg;
		EXPECT_EQ(g.offset, offset);
		return kb_view_opens(&view) + offset; // what the guest's first RDTSC shows at the earliest
	}
	bool wr(uint32_t index, uint64_t value)
	{
		for (unsigned i = 0; i < msrs.count; i++)
			if (msrs.range[i].first == index)
				return msrs.range[i].write(&g, index, value);
		ADD_FAILURE() << "nobody writes " << index;
		return false;
	}
};

TEST_F(guest_tsc, unshifted_is_the_hosts_and_nothing_is_touched)
{
	init(false);
	EXPECT_EQ(sets, 0);
	EXPECT_EQ(msrs.count, 0u);
	EXPECT_EQ(kb_guest_tsc_enter(&g, &view, false, &err), 0);
	EXPECT_EQ(sets, 0);
	EXPECT_EQ(kb_guest_tsc_simulate(&g, hz, us, &err), -EOPNOTSUPP);
	EXPECT_NE(strstr(err.msg, "cannot shift"), nullptr);
	EXPECT_NE(strstr(err.msg, "tsc=host"), nullptr);
}

TEST_F(guest_tsc, host_is_offset_0)
{
	init();
	EXPECT_EQ(sets, 1);
	EXPECT_EQ(offset, 0u);
}

TEST_F(guest_tsc, a_still_clock_has_no_tsc)
{
	kb_clock_init_fixed(&clock, hz, 1, 1);
	init();
	EXPECT_EQ(kb_guest_tsc_simulate(&g, hz, us, &err), -EOPNOTSUPP);
	EXPECT_NE(strstr(err.msg, "clock=fixed"), nullptr);
	EXPECT_FALSE(g.simulated);
}

TEST_F(guest_tsc, kvm_that_refuses_is_an_error)
{
	failing = ENXIO;
	EXPECT_EQ(kb_guest_tsc_init(&g, recorder(), 42, true, &clock, &msrs, &err), -ENXIO);
	failing = 0;
	msrs = kb_msrs{};
	simulate();
	failing = EIO;
	clock.now_ps = ms;
	EXPECT_EQ(kb_guest_tsc_enter(&g, &view, false, &err), -EIO);
	EXPECT_NE(strstr(err.msg, "KVM_VCPU_TSC_OFFSET"), nullptr);
}

TEST_F(guest_tsc, is_guest_time_where_the_view_opens)
{
	for (uint64_t rate : {hz, hz / 10, hz * 10}) {
		msrs = kb_msrs{};
		simulate(rate, 0);
		for (uint64_t t : {0 * ms, 5 * ms, 7 * ms + 1234567, 3600000 * ms}) {
			clock.now_ps = t;
			EXPECT_EQ(enter(), uint64_t((unsigned __int128)t * rate / 1000000000000u)) << rate << " " << t;
			kb_guest_tsc_leave(&g, &view, 0);
		}
	}
}

// Host time goes on between two entries, guest time does not: set again when the bound is passed, and not before.
TEST_F(guest_tsc, is_set_when_off_by_more_than_the_bound)
{
	simulate(hz, 1000 * ms); // 1 s
	clock.now_ps = 10000 * ms;
	enter();
	EXPECT_EQ(sets, 1);
	for (int i = 0; i < 100; i++)
		enter();
	EXPECT_EQ(sets, 1);
	clock.now_ps += 2000 * ms;
	EXPECT_EQ(enter(), 24000000000u);
	EXPECT_EQ(sets, 2);
	g.bound_ticks = 0;
	enter();
	enter();
	EXPECT_EQ(sets, 4);
}

TEST_F(guest_tsc, never_goes_back)
{
	simulate(hz, 0);
	clock.now_ps = 5 * ms;
	uint64_t first = enter();
	kb_guest_tsc_leave(&g, &view, 40000); // it ran 20 us ahead of its clock
	clock.now_ps += us;
	EXPECT_EQ(enter(), first + 40000);
	kb_guest_tsc_leave(&g, &view, 0);
	clock.now_ps += 100 * us;
	EXPECT_EQ(enter(), first + 202000);
}

TEST_F(guest_tsc, the_guest_may_set_it)
{
	simulate(hz, 0);
	clock.now_ps = 5 * ms; // 10 000 000 ticks
	enter();
	ASSERT_TRUE(wr(0x10, 1000));
	EXPECT_EQ(g.adjust, uint64_t(-9999000));
	EXPECT_EQ(enter(), 1000u) << "back, as it wished";
	kb_guest_tsc_leave(&g, &view, 0);
	clock.now_ps += us;
	EXPECT_EQ(enter(), 3000u);
	ASSERT_TRUE(wr(0x3b, 5));
	EXPECT_EQ(enter(), 10000000u + 2000 + 5);
	uint64_t value = 0;
	for (unsigned i = 0; i < msrs.count; i++)
		if (msrs.range[i].first == 0x3b) {
			EXPECT_TRUE(msrs.range[i].read(&g, 0x3b, &value));
		} else {
			EXPECT_FALSE(msrs.range[i].take_reads) << "RDMSR of the TSC is KVM's";
		}
	EXPECT_EQ(value, 5u);
	ASSERT_EQ(kb_guest_tsc_reset(&g, &err), 0);
	EXPECT_EQ(enter(), 10002000u);
}

TEST_F(guest_tsc, the_guest_may_set_the_hosts)
{
	init();
	uint64_t before = kb_tsc();
	ASSERT_TRUE(wr(0x10, 1000));
	EXPECT_LE(offset, 1000 - before);
	EXPECT_GT(int64_t(offset), int64_t(1000 - before) - int64_t(hz));
	EXPECT_EQ(g.offset, offset);
	ASSERT_TRUE(wr(0x3b, 0));
	EXPECT_EQ(offset, 0u);
	failing = EIO;
	EXPECT_FALSE(wr(0x3b, 1));
	EXPECT_EQ(g.adjust, 0u);
}

} // namespace
