// Clocks the guest reads without an exit, on the whole PC: the kvm-clock page, its MSRs, CPUID, the TSC.
#include "tests/kvm/box_fixture.h"

#include <algorithm>
#include <cmath>

extern "C" {
#include "vcpu/clock.h"
}
#include "tests/guest/msr.h"
#include "tests/guest/pvclock.h"

using namespace fixture;

namespace {

class pvclock : public box_test {
protected:
	pvclock_result play_page()
	{
		set("guest", guest_path("pvclock.elf"));
		EXPECT_EQ(create(), 0) << err.msg;
		EXPECT_EQ(run(), 0) << err.msg << serial();
		EXPECT_EQ(kvmbox_exit_status(box), 0) << serial();
		EXPECT_FALSE(sim.backwards);
		return peek<pvclock_result>(PVCLOCK_RESULT);
	}
};

// ---- the page ------------------------------------------------------------------------------------------------

struct setting {
	const char *name;
	std::vector<std::pair<const char *, const char *>> keys;
};

void PrintTo(const setting &s, std::ostream *o) { *o << s.name; }

class page : public pvclock, public testing::WithParamInterface<setting> {
};

TEST_P(page, never_steps_back_and_agrees_with_the_time_register)
{
	for (auto &k : GetParam().keys)
		set(k.first, k.second);
	pvclock_result r = play_page();
	const bool still = cfg.clock == KVMBOX_CLOCK_FIXED;
	EXPECT_EQ(r.steps_back, 0u) << r.worst_back_ns << " ns";
	EXPECT_EQ(r.before, 0u);
	EXPECT_EQ(r.behind, 0u) << r.worst_behind_ns << " ns";
	EXPECT_EQ(r.short_halts, 0u);
	EXPECT_GE(r.ticks, 50u);
	EXPECT_EQ(r.start_s, 946684800u);
	EXPECT_GT(r.registers, 200u);
	EXPECT_GT(r.looks, 50000u);
	if (still) {
		EXPECT_EQ(r.exact, r.registers);
	} else if (cfg.time_scale >= 1) {
		EXPECT_GT(r.moves, r.looks * 9 / 10);
	}
	RecordProperty("looks", int(r.looks));
}

INSTANTIATE_TEST_SUITE_P(clocks, page,
			 testing::Values(setting{"tsc", {}}, setting{"slow", {{"time_scale", "0.1"}}},
					 setting{"fast", {{"time_scale", "10"}}}, setting{"fixed", {{"clock", "fixed"}}},
					 setting{"short_slices", {{"quantum", "200us"}}},
					 setting{"eager", {{"slices", "eager"}, {"quantum", "100us"}}}),
			 [](auto &i) { return std::string(i.param.name); });

// Tests on the box with the page's MSRs at hand: steps of tests/guest/msr.c.
enum : uint32_t { wall = 0x4b564d00, system_time = 0x4b564d01, old_wall = 0x11, old_system_time = 0x12, tsc_msr = 0x10, adjust = 0x3b };
constexpr uint64_t at = 0x1800000, enable = 1;

struct time_info {
	uint32_t version, pad0;
	uint64_t tsc_timestamp, system_time;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad[2];
};
struct wall_clock {
	uint32_t version, sec, nsec;
};

class msrs : public pvclock {
protected:
	std::vector<msr_step> list;

	size_t add(msr_op op, uint32_t msr = 0, uint64_t value = 0)
	{
		list.push_back({op, msr, value, 2, {}, 0});
		return list.size() - 1;
	}
	size_t rd(uint32_t msr) { return add(MSR_READ, msr); }
	size_t wr(uint32_t msr, uint64_t value) { return add(MSR_WRITE, msr, value); }
	size_t leaf(uint32_t function) { return add(MSR_CPUID, function); }
	void prepare()
	{
		set("guest", guest_path("msr.elf"));
		if (!box) {
			ASSERT_EQ(create(), 0) << err.msg;
		}
	}
	void play()
	{
		prepare();
		add(MSR_END);
		for (size_t i = 0; i < list.size(); i++)
			poke(MSR_STEPS + i * sizeof(msr_step), list[i]);
		ASSERT_EQ(run(), 0) << err.msg << serial();
		ASSERT_EQ(kvmbox_end(box), KVMBOX_END_EXIT);
		ASSERT_EQ(kvmbox_exit_status(box), 0) << serial();
		for (size_t i = 0; i < list.size(); i++)
			list[i] = peek<msr_step>(MSR_STEPS + i * sizeof(msr_step));
	}
	void expect_faults(const std::vector<size_t> &which, unsigned fault)
	{
		for (size_t i : which)
			EXPECT_EQ(list[i].fault, fault) << "step " << i << ": MSR " << std::hex << list[i].msr << " value " << list[i].value;
	}
};

TEST_F(msrs, old_and_new_numbers_are_the_same_registers)
{
	auto a = wr(system_time, at | enable), b = rd(old_system_time), c = wr(old_wall, at + 0x100), d = rd(wall);
	auto e = wr(old_system_time, at + 0x200), f = rd(system_time); // disabled, and it says what was written
	play();
	expect_faults({a, b, c, d, e, f}, 0);
	EXPECT_EQ(list[b].value, at | enable);
	EXPECT_EQ(list[d].value, at + 0x100);
	EXPECT_EQ(list[f].value, at + 0x200);
}

TEST_F(msrs, the_page_is_written_at_each_entry_while_it_is_enabled)
{
	use_fixed_clock();
	wr(wall, at + 0x100);
	wr(system_time, at | enable);
	add(MSR_EXIT);
	auto v1 = add(MSR_MEMORY, 0, at), t1 = add(MSR_MEMORY, 0, at + 16);
	add(MSR_EXIT);
	auto v2 = add(MSR_MEMORY, 0, at), t2 = add(MSR_MEMORY, 0, at + 16), m = add(MSR_MEMORY, 0, at + 24);
	wr(system_time, (at + 0x200) | enable); // moved
	add(MSR_EXIT);
	auto t3 = add(MSR_MEMORY, 0, at + 16), t4 = add(MSR_MEMORY, 0, at + 0x200 + 16);
	wr(system_time, 0);
	add(MSR_EXIT);
	auto t5 = add(MSR_MEMORY, 0, at + 0x200 + 16);
	play();
	EXPECT_EQ(list[v1].value % 2, 0u);
	EXPECT_EQ(list[v2].value, list[v1].value + 2) << "fixed: one exit, one entry";
	EXPECT_EQ(list[t2].value, list[t1].value + 1000);
	EXPECT_EQ(list[t3].value, list[t2].value) << "left alone";
	EXPECT_EQ(list[t4].value, list[t2].value + 2000);
	EXPECT_EQ(list[t5].value, list[t4].value) << "disabled";
	EXPECT_EQ(list[m].value, 0x01c180000000u) << "multiplier 2^31, shift -63, TSC_STABLE";
	wall_clock w = peek<wall_clock>(at + 0x100);
	EXPECT_EQ(w.sec, 946684800u);
	EXPECT_EQ(w.nsec, 0u);
	EXPECT_EQ(w.version % 2, 0u);
	EXPECT_NE(w.version, 0u);
}

TEST_F(msrs, the_wall_clock_is_the_start_date)
{
	set("start_date", "2026-03-01T12:34:56");
	wr(wall, at);
	play();
	EXPECT_EQ(peek<wall_clock>(at).sec, 1772368496u);
}

// What is no RAM, or only in part, or not aligned.
TEST_F(msrs, hostile_addresses_are_refused)
{
	std::vector<size_t> bad, good;
	const uint64_t end = 32 << 20;
	for (uint64_t a : std::vector<uint64_t>{0xd0000000ull, 0xe0000000ull, 0xfee00000ull, 0xfed80000ull, ~0ull << 2, 0x4000000000ull, 1ull << 51,
			   1ull << 63, end, end - 28, end - 4, 0x9fff0, 0xa0000,
			   0xffff0, at + 2}) {
		bad.push_back(wr(system_time, a | enable));
		add(MSR_EXIT);
	}
	for (uint64_t a : std::vector<uint64_t>{at + 1, at + 2, end, end - 8, 0x9fff8, 0xe0000000, ~0ull, ~0ull << 2})
		bad.push_back(wr(wall, a));
	for (uint64_t a : std::vector<uint64_t>{end - 32, at + 4, at + 0xff0, 0x9ffe0}) { // the last bytes, unaligned to 8, across pages
		good.push_back(wr(system_time, a | enable));
		add(MSR_EXIT);
	}
	good.push_back(wr(wall, end - 12));
	auto again = rd(system_time);
	play();
	expect_faults(bad, 1);
	expect_faults(good, 0);
	EXPECT_EQ(list[again].value, 0x9ffe1u) << "a refused write changes nothing";
	EXPECT_TRUE(sim.said("not aligned to 4 or not all RAM"));
	EXPECT_LT(sim.messages.size(), 20u) << "not one each";
	EXPECT_GT(peek<time_info>(end - 32).system_time, 0u);
	EXPECT_GT(peek<time_info>(at + 0xff0).system_time, 0u);
}

TEST_F(msrs, page_over_the_wall_clock_and_over_itself)
{
	auto a = wr(system_time, at | enable), b = wr(wall, at + 4), c = add(MSR_EXIT), d = wr(wall, at), e = wr(system_time, (at + 8) | enable);
	add(MSR_EXIT);
	play();
	expect_faults({a, b, c, d, e}, 0);
	EXPECT_EQ(peek<time_info>(at + 8).version % 2, 0u);
	EXPECT_GT(peek<time_info>(at + 8).system_time, 0u);
}

// The steps run twice, without the first reset's (msr.c) the second time; the page is enabled in the first run only.
TEST_F(msrs, a_reset_disables_the_page)
{
	use_fixed_clock();
	auto before = add(MSR_EXIT), enabled = add(MSR_WRITE_ONCE, system_time, at | enable);
	add(MSR_EXIT);
	add(MSR_RESET);
	auto a = rd(system_time), b = rd(wall), t1 = add(MSR_MEMORY, 0, at + 16);
	add(MSR_EXIT);
	auto t2 = add(MSR_MEMORY, 0, at + 16);
	play();
	expect_faults({before, enabled, a, b}, 0);
	EXPECT_TRUE(sim.said("resets the machine"));
	EXPECT_EQ(list[a].value, 0u);
	EXPECT_GT(list[t1].value, 0u) << "it was there";
	EXPECT_EQ(list[t2].value, list[t1].value) << "and is no longer written";
}

// Unknown ones, and what KVM would answer with host time.
TEST_F(msrs, what_nobody_models_is_a_fault)
{
	std::vector<size_t> bad;
	for (uint32_t m : {0x4b564d02u, 0x4b564d03u, 0x4b564d04u, 0x4b564d05u, 0x4b564d06u, 0x4b564d08u, 0x4b564dffu, 0x4b564e00u, 0xdeadu}) {
		bad.push_back(rd(m));
		bad.push_back(wr(m, 1));
	}
	auto fine = rd(0x1b);
	play();
	expect_faults(bad, 1);
	expect_faults({fine}, 0);
	EXPECT_GE(stats().exits_msr, bad.size());
}

TEST_F(msrs, pvclock_no_hides_everything)
{
	set("pvclock", "no");
	std::vector<size_t> bad;
	for (uint32_t m : {wall, system_time, old_wall, old_system_time}) {
		bad.push_back(rd(m));
		bad.push_back(wr(m, at));
	}
	auto l = leaf(0x40000001);
	play();
	expect_faults(bad, 1);
	EXPECT_EQ(list[l].reg[0] & 0x01000009u, 0u);
	EXPECT_EQ(peek<uint64_t>(at), 0u);
}

TEST_F(msrs, cpuid_tells_the_clocks)
{
	set("time_scale", "0.5");
	set("tsc", "host");
	auto sig = leaf(0x40000000), feat = leaf(0x40000001), freq = leaf(0x40000010), l15 = leaf(0x15), l16 = leaf(0x16),
	     inv = leaf(0x80000007), max = leaf(0);
	play();
	const double khz = kb_probe_cached()->tsc_khz / 0.5;
	EXPECT_EQ(list[sig].reg[0], 0x40000010u);
	EXPECT_EQ(list[sig].reg[1], 0x4b4d564bu);
	EXPECT_EQ(list[feat].reg[0] & 0x01000009u, 0x01000009u);
	EXPECT_NEAR(list[freq].reg[0], khz, khz / 1e3); // the kernel's figure moves a little from VM to VM
	EXPECT_EQ(list[freq].reg[1], 1000000u);
	EXPECT_EQ(list[l15].reg[2], 1000000000u);
	EXPECT_NEAR(double(list[l15].reg[2]) * list[l15].reg[1] / list[l15].reg[0], khz * 1e3, khz);
	EXPECT_NEAR(list[l16].reg[0], khz / 1e3, khz / 1e6 + 1);
	EXPECT_GE(list[max].reg[0], 0x16u);
	EXPECT_EQ(list[inv].reg[3] & 0x100, 0u) << "the host's TSC is not invariant for the guest";
}

TEST_F(msrs, no_frequency_where_time_stands_still)
{
	use_fixed_clock();
	auto feat = leaf(0x40000001), freq = leaf(0x40000010), l15 = leaf(0x15);
	play();
	EXPECT_EQ(list[feat].reg[0] & 0x01000009u, 0x01000009u);
	EXPECT_EQ(list[freq].reg[0], 0u);
	EXPECT_EQ(list[freq].reg[1], 1000000u);
	EXPECT_EQ(list[l15].reg[1], 0u);
}

// ---- kernels that cannot -----------------------------------------------------------------------------------------

unsigned long failing;
unsigned long failing_cap;

const kb_kvm_api *lame_api()
{
	static kb_kvm_api api = [] {
		kb_kvm_api a = kb_kvm_linux;
		a.ioctl = [](int fd, unsigned long request, void *arg) {
			if (request == failing && (!failing_cap || static_cast<kvm_enable_cap *>(arg)->cap == failing_cap)) {
				errno = ENOTTY;
				return -1;
			}
			return kb_kvm_linux.ioctl(fd, request, arg);
		};
		return a;
	}();
	return &api;
}

class lame : public msrs, public testing::WithParamInterface<bool> {
};

TEST_P(lame, without_a_filter_there_is_no_page_and_the_box_says_so)
{
	failing = GetParam() ? KVM_ENABLE_CAP : KVM_X86_SET_MSR_FILTER;
	failing_cap = GetParam() ? KVM_CAP_X86_USER_SPACE_MSR : 0;
	set("guest", guest_path("msr.elf"));
	ASSERT_EQ(kb_box_create(&box, &cfg, simulator::ops(), &sim, lame_api(), &err), 0) << err.msg;
	sim.box = box;
	EXPECT_TRUE(sim.said("no kvm-clock (pvclock): KVM ")) << sim.messages.size();
	auto l = leaf(0x40000001);
	play();
	EXPECT_EQ(list[l].reg[0] & 0x01000009u, 0u);
	destroy();
	set("pvclock", "no");
	sim.messages.clear();
	ASSERT_EQ(kb_box_create(&box, &cfg, simulator::ops(), &sim, lame_api(), &err), 0) << err.msg;
	EXPECT_FALSE(sim.said("kvm-clock (pvclock)")) << "not asked for, not missed";
}

INSTANTIATE_TEST_SUITE_P(either, lame, testing::Bool());

// ---- the TSC -------------------------------------------------------------------------------------------------------

TEST_F(msrs, tsc_auto_says_what_it_is)
{
	const bool can = kb_probe_cached()->tsc_offset;
	prepare();
	EXPECT_NE(sim.said("tsc=host: "), can);
	EXPECT_EQ(sim.messages.size(), can ? 0u : 1u);
	destroy();
	sim.messages.clear();
	set("tsc", "host");
	prepare();
	EXPECT_FALSE(sim.said("tsc="));
}

TEST_F(msrs, tsc_guest_is_refused_where_it_cannot_be)
{
	set("tsc", "guest");
	if (!kb_probe_cached()->tsc_offset) {
		EXPECT_EQ(create(), -EOPNOTSUPP);
		EXPECT_TRUE(says("tsc=guest: this host's KVM cannot shift")) << err.msg;
		EXPECT_TRUE(says("use tsc=host or tsc=auto")) << err.msg;
		EXPECT_EQ(box, nullptr);
		return;
	}
	use_fixed_clock();
	EXPECT_EQ(create(), -EOPNOTSUPP);
	EXPECT_TRUE(says("clock=fixed")) << err.msg;
}

TEST_F(msrs, tsc_host_is_the_hosts)
{
	set("tsc", "host");
	auto a = add(MSR_TSC), b = add(MSR_TSC);
	uint64_t before = kb_tsc();
	play();
	EXPECT_GT(list[a].value, before);
	EXPECT_GT(list[b].value, list[a].value);
	EXPECT_LT(list[b].value, kb_tsc());
}

} // namespace
