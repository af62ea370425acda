// The kvm-clock page's arithmetic and its MSRs, without KVM.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

extern "C" {
#include "vcpu/pvclock.h"
#include "vcpu/vm.h"
}

namespace {

struct time_info {
	uint32_t version, pad0;
	uint64_t tsc_timestamp, system_time;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad[2];
};

// As in Linux's pvclock_scale_delta() and __pvclock_read_cycles().
uint64_t read_clock(const time_info &p, uint64_t tsc)
{
	uint64_t delta = tsc - p.tsc_timestamp;

	delta = p.shift < 0 ? delta >> -p.shift : delta << p.shift;
	return p.system_time + uint64_t((unsigned __int128)delta * p.mul >> 32);
}

kb_rate rate_of(double hz, double scale)
{
	kb_rate r;
	kb_rate_init(&r, uint64_t(hz), 1e12 * scale);
	return r;
}

const double frequencies[] = {1e6, 33e6, 800e6, 999999937, 2596122000., 3e9, 4.29e9, 6e9};
const double scales[] = {1e-6, 1e-3, 0.01, 0.1, 1 / 3., 0.999999, 1, 1.5, 10, 1000, 1e6};

TEST(pvclock_scale, within_a_nanosecond_over_a_quantum_and_never_ahead)
{
	for (double hz : frequencies)
		for (double scale : scales) {
			const kb_rate r = rate_of(hz, scale);
			const kb_pvclock_scale s = kb_pvclock_scale_of(r.ps_per_tick);
			for (double ns : {0., 1., 10., 999., 1e4, 1e6, 1e7, 1e8}) {
				const uint64_t ticks = uint64_t(ns / 1e9 / scale * hz);
				const time_info p = {0, 0, 0, 0, s.mul, s.shift, 0, {}};
				const unsigned __int128 exact = (unsigned __int128)ticks * r.ps_per_tick; // ps, 32 bits of fraction
				const long double is = (long double)read_clock(p, ticks), should = (long double)exact / 4294967296.0L / 1000;
				EXPECT_LE(is, should) << hz << " " << scale << " " << ticks;
				EXPECT_GT(is, should - 1.3L) << hz << " " << scale << " " << ticks << ": floor and 0.3";
			}
		}
}

TEST(pvclock_scale, stands_still_at_rate_0_for_any_tsc_and_can_be_divided_by)
{
	const kb_pvclock_scale s = kb_pvclock_scale_of(0);
	const time_info p = {0, 0, 5, 77, s.mul, s.shift, 0, {}};

	EXPECT_GT(s.mul, 1000000u); // guests divide 10^6 << 32 by it, some in 32 bits
	for (uint64_t tsc : {0ull, 5ull, 1ull << 62, ~0ull, 4ull})
		EXPECT_EQ(read_clock(p, tsc), 77u);
}

struct pvclock : testing::Test {
	kb_vm vm{};
	std::vector<uint8_t> memory = std::vector<uint8_t>(0x3000), rom_bytes = std::vector<uint8_t>(0x1000);
	kb_region ram{}, more{}, rom{}, device{};
	kb_msrs msrs{};
	kb_pvclock p{};
	kb_clock clock{};
	kb_view view{};

	void SetUp() override
	{
		kb_bus_init(&vm.mem, "memory", ~0ull);
		add(ram, "ram", 0x1000, 0x1000, memory.data());
		add(more, "more ram", 0x2000, 0x2000, memory.data() + 0x1000);
		add(rom, "rom", 0x10000, 0x1000, rom_bytes.data());
		rom.readonly = true;
		add(device, "device", 0x20000, 0x1000, nullptr);
		start(KB_PVCLOCK_BOX);
		const uint64_t no_cost[2] = {0, 0};
		kb_clock_init_tsc(&clock, 2596122000, 1, no_cost);
	}
	void TearDown() override { kb_bus_destroy(&vm.mem); }
	void add(kb_region &r, const char *name, uint64_t base, uint64_t size, uint8_t *host)
	{
		r.name = name, r.base = base, r.size = size, r.host = host;
		ASSERT_EQ(kb_bus_add(&vm.mem, &r, nullptr), 0);
	}
	void start(kb_pvclock_by by)
	{
		msrs = kb_msrs{};
		ASSERT_EQ(kb_pvclock_init(&p, &vm, by, &msrs, nullptr), 0);
	}
	const kb_msr_range *range(uint32_t index)
	{
		for (unsigned i = 0; i < msrs.count; i++)
			if (index - msrs.range[i].first < msrs.range[i].count)
				return &msrs.range[i];
		return nullptr;
	}
	bool wr(uint32_t index, uint64_t value) { return range(index)->write(range(index)->opaque, index, value); }
	bool rd(uint32_t index, uint64_t *value) { return range(index)->read(range(index)->opaque, index, value); }
	time_info shown(uint64_t tsc, uint64_t lead, uint64_t offset = 0)
	{
		view.start = tsc;
		view.lead = lead;
		kb_pvclock_show(&p, &clock, &view, offset);
		time_info t;
		memcpy(&t, memory.data(), sizeof(t));
		return t;
	}
};

constexpr uint32_t system_time = 0x4b564d01, wall = 0x4b564d00;

// Stepped, each entry is an instruction: a reader of some tens of them gets through, and the page lags by no more than it may.
TEST_F(pvclock, lets_a_stepped_guest_read)
{
	auto now = [this] {
		time_info t;
		memcpy(&t, memory.data(), sizeof(t));
		return t;
	};
	ASSERT_TRUE(wr(system_time, 0x1001));
	clock.now_ps = 5000000;
	kb_pvclock_show_step(&p, &clock, true);
	const time_info t = now();
	EXPECT_EQ(read_clock(t, 12345), 5000u);
	EXPECT_EQ(read_clock(t, UINT64_MAX / 2), 5000u) << "stands still";
	for (unsigned i = 0; i < KB_PVCLOCK_STEPS - 1; i++) {
		clock.now_ps += 1000;
		kb_pvclock_show_step(&p, &clock, false);
		ASSERT_EQ(now().version, t.version) << i;
	}
	clock.now_ps += 1000;
	kb_pvclock_show_step(&p, &clock, false);
	EXPECT_EQ(read_clock(now(), 0), clock.now_ps / 1000);
	clock.now_ps += 1000;
	kb_pvclock_show_step(&p, &clock, true);
	EXPECT_EQ(read_clock(now(), 0), clock.now_ps / 1000) << "after any other exit it is right";
	EXPECT_EQ(now().version % 2, 0u);
}

TEST_F(pvclock, shows_the_guest_clock_where_the_view_opens)
{
	std::mt19937_64 random(1);
	ASSERT_TRUE(wr(system_time, 0x1001));
	for (double scale : scales) {
		const uint64_t no_cost[2] = {0, 0};
		kb_clock_init_tsc(&clock, 2596122000, scale, no_cost);
		for (int i = 0; i < 2000; i++) {
			clock.now_ps = random() >> (4 + random() % 60);
			const uint64_t tsc = (1ull << 40) + random() % (1ull << 50), lead = random() % 50000, offset = random(), later = random() % 100000;
			const time_info t = shown(tsc, lead, offset);
			const double tick_ns = scale / 2.596122;
			// At the opening, and later; whole ns, a tick of rounding.
			const double at = double(read_clock(t, tsc + lead + offset)) - double(clock.now_ps / 1000);
			const double then = double(read_clock(t, tsc + lead + offset + later)) - double(clock.now_ps / 1000);
			EXPECT_LE(at, 0) << scale << " " << clock.now_ps << " " << lead;
			EXPECT_GE(at, -1.3 - tick_ns - double(clock.now_ps) * 2e-16) << scale << " " << clock.now_ps << " " << lead;
			EXPECT_NEAR(then, double(later) * tick_ns, 1.5 + 2 * tick_ns + double(later) * tick_ns * 1e-8 + double(clock.now_ps) * 2e-16);
			// Earlier than it can: a little less, not the far future. (There is no earlier at time 0.)
			if (double(clock.now_ps) > double(lead) * tick_ns * 1000 + 1) {
				EXPECT_LE(read_clock(t, tsc + offset), clock.now_ps / 1000 + uint64_t(1));
			}
			EXPECT_EQ(t.version % 2, 0u);
			EXPECT_EQ(t.flags, 1);
		}
	}
}

TEST_F(pvclock, a_still_clock_is_exact)
{
	ASSERT_TRUE(wr(system_time, 0x1001));
	kb_clock_init_fixed(&clock, 2596122000, 1, 1);
	clock.now_ps = 123456789;
	const time_info t = shown(1000000, 5000);
	EXPECT_EQ(read_clock(t, 1), 123456u);
	EXPECT_EQ(read_clock(t, 1ull << 60), 123456u);
}

TEST_F(pvclock, no_page_no_write)
{
	shown(1000000, 0);
	ASSERT_TRUE(wr(system_time, 0x1001));
	kb_pvclock_reset(&p);
	shown(1000000, 0);
	for (uint8_t b : memory)
		ASSERT_EQ(b, 0);
	uint64_t value = 1;
	EXPECT_TRUE(rd(system_time, &value));
	EXPECT_EQ(value, 0u);
}

TEST_F(pvclock, only_aligned_ram_in_one_piece)
{
	for (uint64_t bad : {0x0ull, 0xff0ull, 0x1fe4ull, 0x1ffcull, 0x3fe4ull, 0x4000ull, 0x10000ull, 0x20000ull, 0x1002ull, ~3ull})
		EXPECT_FALSE(wr(system_time, bad | 1)) << std::hex << bad;
	for (uint64_t bad : {0x0ull, 0x1ff8ull, 0x3ff8ull, 0x10000ull, 0x20000ull, 0x1001ull, 0x1002ull, ~0ull})
		EXPECT_FALSE(wr(wall, bad)) << std::hex << bad;
	for (uint64_t good : {0x1000ull, 0x1fe0ull, 0x2004ull, 0x2ff0ull, 0x3fe0ull}) {
		EXPECT_TRUE(wr(system_time, good | 1)) << std::hex << good;
		shown(1000000, 0);
	}
	EXPECT_TRUE(wr(wall, 0x1ff4));
	EXPECT_FALSE(wr(system_time, 0x10001)) << "and the page stays where it is";
	EXPECT_EQ(p.page, memory.data() + 0x2fe0);
	for (uint8_t b : rom_bytes)
		ASSERT_EQ(b, 0);
}

TEST_F(pvclock, wall_clock_version_moves_on_whatever_was_there)
{
	p.start_s = 1000;
	memset(memory.data(), 0xff, 4);
	for (int i = 0; i < 3; i++) {
		uint32_t before, w[3];
		memcpy(&before, memory.data(), 4);
		EXPECT_TRUE(wr(0x11, 0x1000));
		memcpy(w, memory.data(), sizeof(w));
		EXPECT_NE(w[0], before);
		EXPECT_EQ(w[0] % 2, 0u);
		EXPECT_EQ(w[1], 1000u);
	}
}

TEST_F(pvclock, whoever_serves_it)
{
	uint64_t value;
	start(KB_PVCLOCK_NOBODY);
	for (uint32_t m : {0x11u, 0x12u, wall, system_time}) {
		EXPECT_TRUE(range(m)->take_reads && range(m)->take_writes);
		EXPECT_FALSE(wr(m, 0x1001));
		EXPECT_FALSE(rd(m, &value));
	}
	EXPECT_EQ(p.page, nullptr);
	start(KB_PVCLOCK_KVM);
	EXPECT_EQ(msrs.count, 0u);
}

} // namespace
