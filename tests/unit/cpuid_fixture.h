// CPUID tables for tests: what a fake kernel says it supports.
#ifndef CPUID_FIXTURE_H
#define CPUID_FIXTURE_H

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <string>
#include <vector>

extern "C" {
#include "vcpu/cpuid.h"
}

namespace {

std::vector<kvm_cpuid_entry2> supported; // what the fake kernel says
int fails;

// The request goes by its name: some kernel headers give another number (and structure) to C++.
int fake_ioctl(int, unsigned long request, void *arg)
{
	auto *table = static_cast<kb_cpuid *>(arg);

	if (fails || strcmp(kb_kvm_request_name(request), "KVM_GET_SUPPORTED_CPUID") || table->head.nent < supported.size()) {
		errno = fails ? fails : E2BIG;
		return -1;
	}
	table->head.nent = static_cast<uint32_t>(supported.size());
	std::copy(supported.begin(), supported.end(), table->entries);
	return 0;
}

const kb_kvm_api fake = {nullptr, nullptr, fake_ioctl, nullptr, nullptr};

kvm_cpuid_entry2 leaf(uint32_t f, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	kvm_cpuid_entry2 e{};
	e.function = f;
	e.eax = a;
	e.ebx = b;
	e.ecx = c;
	e.edx = d;
	return e;
}

kvm_cpuid_entry2 subleaf(uint32_t f, uint32_t i, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	kvm_cpuid_entry2 e = leaf(f, a, b, c, d);
	e.index = i;
	e.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	return e;
}

// Everything on: features are told apart by what the code takes away.
class cpuid : public testing::Test {
protected:
	kb_cpuid t{};
	kvmbox_error err{};

	void SetUp() override
	{
		fails = 0;
		supported = {
			leaf(0, 0x1f, 0x756e6547, 0x6c65746e, 0x49656e69),
			leaf(1, 0x000806f8, 0x00100800, 0x7fffffff, 0xbfebfbff),
			subleaf(4, 0, 0x1c004121, 0x02c0003f, 0x3f, 0),
			subleaf(4, 1, 0x1c03c163, 0x03c0003f, 0xfff, 4),
			subleaf(4, 2, 0, 0, 0, 0),
			leaf(5, 0x40, 0x40, 3, 0x1120),
			subleaf(7, 0, 1, 0xffffffff, 0xffffffff, 0xffffffff),
			subleaf(7, 1, 0x30, 0, 0, 0),
			leaf(0xa, 0x08300805, 0, 0, 0x603),
			subleaf(0xb, 0, 1, 2, 0x100, 7),
			subleaf(0xb, 1, 4, 16, 0x201, 7),
			subleaf(0xd, 0, 0x2e7, 2696, 2696, 0),
			subleaf(0xd, 1, 0x1f, 2568, 0x800, 0),
			subleaf(0xd, 2, 256, 576, 0, 0),
			subleaf(0xd, 5, 64, 1088, 0, 0),
			subleaf(0xd, 6, 512, 1152, 0, 0),
			subleaf(0xd, 7, 1024, 1664, 0, 0),
			subleaf(0xd, 9, 8, 2688, 0, 0),
			subleaf(0xd, 11, 16, 0, 1, 0),
			leaf(0x15, 2, 200, 24000000, 0),
			subleaf(0x1f, 0, 1, 2, 0x100, 7),
			leaf(0x80000000, 0x80000008, 0, 0, 0),
			leaf(0x80000001, 0, 0, 0x121, 0x2c100800),
			leaf(0x80000002, 0x20555043, 0x20202020, 0x20202020, 0x20202020), // "CPU   ..."
			leaf(0x80000003, 0x20202020, 0x20202020, 0x20202020, 0x20202020),
			leaf(0x80000004, 0x20202020, 0x20202020, 0x20202020, 0x20202020),
			leaf(0x80000007, 0, 0, 0, 0x100),
			leaf(0x80000008, 0x392e, 0, 0, 0),
			leaf(0x40000000, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d),
			leaf(0x40000001, 0x01007efb, 0, 0, 0),
		};
		ASSERT_EQ(kb_cpuid_supported(&t, &fake, 3, &err), 0) << err.msg;
	}

	void amd()
	{
		supported = {
			leaf(0, 0xd, 0x68747541, 0x444d4163, 0x69746e65),
			leaf(1, 0x00b00f21, 0x01020800, 0xfffa3203, 0x178bfbff),
			subleaf(0xd, 0, 7, 832, 832, 0),
			leaf(0x80000000, 0x8000001e, 0x68747541, 0x444d4163, 0x69746e65),
			leaf(0x80000001, 0x00b00f21, 0, 0x204003f7, 0x2fd3fbff),
			leaf(0x80000008, 0x3030, 0, 0x7001, 0),
			leaf(0x8000000a, 1, 8, 0, 0x1000),
			subleaf(0x8000001d, 0, 0x4121, 0x02c0003f, 0x3f, 0),
			subleaf(0x8000001d, 3, 0x3c163, 0x03c0003f, 0x7fff, 1),
			leaf(0x8000001e, 9, 0x107, 3, 0),
		};
		ASSERT_EQ(kb_cpuid_supported(&t, &fake, 3, &err), 0) << err.msg;
	}

	kvm_cpuid_entry2 &at(uint32_t f, uint32_t i = 0)
	{
		static kvm_cpuid_entry2 none;
		kvm_cpuid_entry2 *e = kb_cpuid_find(&t, f, i);
		EXPECT_NE(e, nullptr) << std::hex << f;
		return e ? *e : none = {};
	}

	std::map<std::string, int> names()
	{
		std::map<std::string, int> m;
		kb_cpuid_each(&t, [](void *o, const char *n, int present) {
			auto &map = *static_cast<std::map<std::string, int> *>(o);
			EXPECT_EQ(map.count(n), 0u) << n << " twice";
			map[n] = present;
		}, &m);
		return m;
	}
};

} // namespace

#endif
