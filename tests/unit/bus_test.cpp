// vcpu/bus.h: lookup, overlap, splitting.
#include <gtest/gtest.h>

#include <cerrno>
#include <random>
#include <vector>

extern "C" {
#include "vcpu/bus.h"
}

namespace {

struct cycle {
	uint64_t off;
	unsigned len;
	bool write;
	uint64_t value;
	bool operator==(const cycle &o) const
	{
		return off == o.off && len == o.len && write == o.write && value == o.value;
	}
};

struct recorder {
	std::vector<cycle> log;
	kb_region region{};
	recorder(const char *name, uint64_t base, uint64_t size, unsigned max_len = 8)
	{
		region.name = name;
		region.base = base;
		region.size = size;
		region.max_len = max_len;
		region.opaque = this;
		region.read = [](void *o, uint64_t off, unsigned len) -> uint64_t {
			static_cast<recorder *>(o)->log.push_back({off, len, false, 0});
			return 0x8877665544332211ull;
		};
		region.write = [](void *o, uint64_t off, unsigned len, uint64_t v) {
			static_cast<recorder *>(o)->log.push_back({off, len, true, v});
		};
	}
};

class bus : public testing::Test {
protected:
	kb_bus b;
	kvmbox_error err{};
	void SetUp() override { kb_bus_init(&b, "memory", (1ull << 52) - 1); }
	void TearDown() override { kb_bus_destroy(&b); }
};

TEST_F(bus, refuses_overlap_and_names_both)
{
	recorder first("first", 0x1000, 0x1000), second("second", 0x1fff, 2);
	ASSERT_EQ(kb_bus_add(&b, &first.region, &err), 0);
	EXPECT_EQ(kb_bus_add(&b, &second.region, &err), -EEXIST);
	EXPECT_NE(strstr(err.msg, "first"), nullptr) << err.msg;
	EXPECT_NE(strstr(err.msg, "second"), nullptr) << err.msg;
	second.region.base = 0x2000;
	EXPECT_EQ(kb_bus_add(&b, &second.region, &err), 0);
	recorder around("around", 0, 0x10000);
	EXPECT_EQ(kb_bus_add(&b, &around.region, &err), -EEXIST);
}

TEST_F(bus, refuses_empty_wrapping_and_out_of_space)
{
	recorder r("r", 0x1000, 0);
	EXPECT_EQ(kb_bus_add(&b, &r.region, &err), -EINVAL);
	r.region.base = UINT64_MAX - 10;
	r.region.size = 100;
	EXPECT_EQ(kb_bus_add(&b, &r.region, &err), -EINVAL);
	r.region.base = (1ull << 52) - 8;
	r.region.size = 9;
	EXPECT_EQ(kb_bus_add(&b, &r.region, &err), -EINVAL);
	r.region.size = 8;
	EXPECT_EQ(kb_bus_add(&b, &r.region, &err), 0);
}

TEST_F(bus, find_agrees_with_a_linear_search)
{
	std::mt19937_64 rng(1);
	std::vector<recorder> rs;
	rs.reserve(200);
	for (int i = 0; i < 200; i++) {
		rs.emplace_back("r", rng() % 100000, 1 + rng() % 300);
		if (kb_bus_add(&b, &rs.back().region, nullptr) != 0)
			rs.back().region.size = 0;
	}
	for (int i = 0; i < 20000; i++) {
		uint64_t a = rng() % 101000;
		kb_region *want = nullptr;
		for (auto &r : rs)
			if (r.region.size && a >= r.region.base && a - r.region.base < r.region.size)
				want = &r.region;
		ASSERT_EQ(kb_bus_find(&b, a), want) << a;
		if (i % 97 == 0 && want) {
			kb_bus_remove(&b, want);
			ASSERT_EQ(kb_bus_find(&b, a), nullptr);
			want->size = 0;
		}
	}
}

TEST_F(bus, passes_natural_accesses_whole)
{
	recorder r("r", 0x1000, 0x100);
	ASSERT_EQ(kb_bus_add(&b, &r.region, &err), 0);
	uint64_t v = 0;
	kb_bus_read(&b, 0x1008, &v, 8);
	EXPECT_EQ(v, 0x8877665544332211ull);
	v = 0;
	kb_bus_read(&b, 0x1004, &v, 4);
	EXPECT_EQ(v, 0x44332211ull);
	uint32_t w = 0xdeadbeef;
	kb_bus_write(&b, 0x1004, &w, 4);
	EXPECT_EQ(r.log, (std::vector<cycle>{{8, 8, false, 0}, {4, 4, false, 0}, {4, 4, true, 0xdeadbeef}}));
}

TEST_F(bus, splits_unaligned_odd_and_wide)
{
	recorder r("r", 0x1000, 0x100), narrow("narrow", 0x2000, 0x10, 1);
	ASSERT_EQ(kb_bus_add(&b, &r.region, &err), 0);
	ASSERT_EQ(kb_bus_add(&b, &narrow.region, &err), 0);
	uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	kb_bus_write(&b, 0x1003, bytes, 5);
	EXPECT_EQ(r.log, (std::vector<cycle>{{3, 1, true, 1}, {4, 4, true, 0x05040302}}));
	kb_bus_write(&b, 0x2000, bytes, 2);
	EXPECT_EQ(narrow.log, (std::vector<cycle>{{0, 1, true, 1}, {1, 1, true, 2}}));
}

TEST_F(bus, crosses_regions_and_gaps)
{
	recorder a("a", 0x1000, 4), c("c", 0x1006, 2);
	ASSERT_EQ(kb_bus_add(&b, &a.region, &err), 0);
	ASSERT_EQ(kb_bus_add(&b, &c.region, &err), 0);
	uint64_t v = 0;
	kb_bus_read(&b, 0x1002, &v, 6);
	EXPECT_EQ(v, 0x2211ffff2211ull);
	EXPECT_EQ(b.unassigned_reads, 1u);
	EXPECT_EQ(a.log, (std::vector<cycle>{{2, 2, false, 0}}));
	EXPECT_EQ(c.log, (std::vector<cycle>{{0, 2, false, 0}}));
}

TEST_F(bus, ram_and_rom)
{
	uint8_t mem[16] = {};
	kb_region ram{};
	ram.name = "ram";
	ram.base = 0x100;
	ram.size = sizeof(mem);
	ram.host = mem;
	ASSERT_EQ(kb_bus_add(&b, &ram, &err), 0);
	uint32_t v = 0x01020304;
	kb_bus_write(&b, 0x103, &v, 4);
	EXPECT_EQ(mem[3], 4);
	EXPECT_EQ(mem[6], 1);
	ram.readonly = true;
	v = 0;
	kb_bus_write(&b, 0x103, &v, 4);
	kb_bus_read(&b, 0x103, &v, 4);
	EXPECT_EQ(v, 0x01020304u);
}

TEST_F(bus, a_handler_may_remove_its_own_region)
{
	struct self {
		kb_bus *bus;
		kb_region region{};
		int calls = 0;
	} s;
	s.bus = &b;
	s.region.name = "self";
	s.region.base = 0x1000;
	s.region.size = 0x10;
	s.region.max_len = 1;
	s.region.opaque = &s;
	s.region.write = [](void *o, uint64_t, unsigned, uint64_t) {
		auto *p = static_cast<self *>(o);
		p->calls++;
		kb_bus_remove(p->bus, &p->region);
	};
	ASSERT_EQ(kb_bus_add(&b, &s.region, &err), 0);
	uint32_t v = 0;
	kb_bus_write(&b, 0x1000, &v, 4);
	EXPECT_EQ(s.calls, 1);
	EXPECT_EQ(b.unassigned_writes, 1u);
}

} // namespace
