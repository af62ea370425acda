// Where an access by linear address goes, and the page fault if it goes nowhere (Intel SDM vol. 3, 4.6, 4.7).
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

extern "C" {
#include "vcpu/linear.h"
#include "vcpu/x86.h"
}

namespace {

constexpr uint64_t pml4 = 0x1000, pdpt = 0x2000, pd = 0x3000, pt = 0x4000, page = 0x5000;
enum : uint64_t { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80 };

struct linear : testing::Test {
	std::vector<uint8_t> ram = std::vector<uint8_t>(0x10000);
	kb_vm vm{};
	kb_vcpu v{};
	kb_region region{};
	std::vector<uint8_t> run = std::vector<uint8_t>(sizeof(kvm_run));
	uint64_t pa = 0;
	uint32_t error = 0;

	void SetUp() override
	{
		kb_bus_init(&vm.mem, "memory", UINT64_MAX);
		region.name = "ram";
		region.size = ram.size();
		region.host = ram.data();
		ASSERT_EQ(kb_bus_add(&vm.mem, &region, nullptr), 0);
		v.vm = &vm;
		v.run = reinterpret_cast<kvm_run *>(run.data());
		sregs().cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_WP;
		sregs().cr4 = X86_CR4_PAE;
		sregs().efer = X86_EFER_LMA;
		sregs().cr3 = pml4;
		put(pml4, pdpt | P | W | U);
		put(pdpt, pd | P | W | U);
		put(pd, pt | P | W | U);
		put(pt + 8, page | P | W | U);
	}
	void TearDown() override { kb_bus_destroy(&vm.mem); }
	kvm_sregs &sregs() { return v.run->s.regs.sregs; }
	void put(uint64_t at, uint64_t e) { memcpy(&ram[at], &e, 8); }
	uint64_t get(uint64_t at)
	{
		uint64_t e;
		memcpy(&e, &ram[at], 8);
		return e;
	}
	// -1: goes through; else the error code.
	int64_t access(unsigned how, uint64_t at = 0x1234)
	{
		return kb_linear_access(&v, at, how, &pa, &error) ? -1 : int64_t(error);
	}
};

TEST_F(linear, is_translated_and_leaves_its_mark)
{
	EXPECT_EQ(access(0), -1);
	EXPECT_EQ(pa, page + 0x234);
	EXPECT_EQ(get(pt + 8) & (A | D), +A);
	EXPECT_EQ(get(pd) & (A | D), +A);
	EXPECT_EQ(get(pml4) & (A | D), +A);
	EXPECT_EQ(access(KB_LINEAR_WRITE | KB_LINEAR_USER), -1);
	EXPECT_EQ(get(pt + 8) & (A | D), A | D);
}
TEST_F(linear, not_present)
{
	EXPECT_EQ(access(0, 0x2000), 0);
	EXPECT_EQ(access(KB_LINEAR_WRITE, 0x2000), 2);
	EXPECT_EQ(access(KB_LINEAR_USER, 0x2000), 4);
	put(pdpt, 0);
	EXPECT_EQ(access(KB_LINEAR_WRITE | KB_LINEAR_USER), 6);
	EXPECT_EQ(get(pml4) & A, 0u) << "a fault leaves none";
	put(pml4, 0xdead000 | P | W | U); // a table where there is no memory
	EXPECT_EQ(access(0), 0);
}
TEST_F(linear, every_level_has_to_allow_it)
{
	for (uint64_t level : {pml4, pdpt, pd, pt + 8}) {
		const uint64_t e = get(level);
		put(level, e & ~W);
		EXPECT_EQ(access(KB_LINEAR_WRITE), 3) << level;
		EXPECT_EQ(access(0), -1) << level;
		sregs().cr0 &= ~uint64_t(X86_CR0_WP);
		EXPECT_EQ(access(KB_LINEAR_WRITE), -1) << "the kernel may without CR0.WP";
		EXPECT_EQ(access(KB_LINEAR_WRITE | KB_LINEAR_USER), 7) << level;
		sregs().cr0 |= X86_CR0_WP;
		put(level, e & ~U);
		EXPECT_EQ(access(KB_LINEAR_USER), 5) << level;
		EXPECT_EQ(access(KB_LINEAR_WRITE), -1) << level;
		put(level, e);
	}
}
TEST_F(linear, smap)
{
	sregs().cr4 |= X86_CR4_SMAP;
	EXPECT_EQ(access(0), 1);
	EXPECT_EQ(access(KB_LINEAR_AC), -1);
	EXPECT_EQ(access(KB_LINEAR_USER), -1);
	put(pt + 8, page | P | W);
	EXPECT_EQ(access(0), -1);
}
TEST_F(linear, large_pages)
{
	put(pd, 0x200000 | P | W | U | PS);
	EXPECT_EQ(access(KB_LINEAR_WRITE, 0x123456), -1);
	EXPECT_EQ(pa, 0x323456u);
	EXPECT_EQ(get(pd) & (A | D), A | D);
	put(pdpt, 0x40000000 | P | W | U | PS);
	EXPECT_EQ(access(0, 0x123456), -1);
	EXPECT_EQ(pa, 0x40123456u);
}
TEST_F(linear, without_paging)
{
	sregs() = {};
	EXPECT_EQ(access(KB_LINEAR_WRITE, 0x1234567890), -1);
	EXPECT_EQ(pa, 0x34567890u);
}
TEST_F(linear, two_levels)
{
	sregs().efer = 0;
	sregs().cr4 = X86_CR4_PSE;
	sregs().cr3 = pml4;
	const uint32_t e[2] = {uint32_t(pt | P | U), uint32_t(0xc00000 | P | U | W | PS)};
	memcpy(&ram[pml4], e, sizeof(e));
	const uint32_t leaf = page | P | W | U;
	memcpy(&ram[pt + 4], &leaf, 4);
	EXPECT_EQ(access(0), -1);
	EXPECT_EQ(pa, page + 0x234);
	EXPECT_EQ(access(KB_LINEAR_WRITE | KB_LINEAR_USER), 7);
	EXPECT_EQ(access(KB_LINEAR_WRITE, 0x412345), -1);
	EXPECT_EQ(pa, 0xc12345u);
}

} // namespace
