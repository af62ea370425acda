// The table of MSRs and what KVM is told of it.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <vector>

extern "C" {
#include "vcpu/vcpu.h"
}

namespace {

struct call {
	unsigned long request;
	kvm_enable_cap cap;
	kvm_msr_filter filter;
};
std::vector<call> calls;
unsigned long failing;

const kb_kvm_api *recorder()
{
	static kb_kvm_api api = [] {
		kb_kvm_api a{};
		a.ioctl = [](int, unsigned long request, void *arg) {
			call c{};
			c.request = request;
			if (request == failing) {
				errno = ENOTTY;
				return -1;
			}
			if (request == KVM_ENABLE_CAP)
				c.cap = *static_cast<kvm_enable_cap *>(arg);
			else
				c.filter = *static_cast<kvm_msr_filter *>(arg);
			calls.push_back(c);
			return 0;
		};
		return a;
	}();
	return &api;
}

struct msr : testing::Test {
	kb_vm vm{};
	kb_vcpu v{};
	kvm_run run{};
	kvmbox_error err{};
	uint64_t written = 0;
	int advanced = 0;

	msr()
	{
		calls.clear();
		failing = 0;
		v.vm = &vm;
		v.run = &run;
		v.client.advance = [](void *o) { static_cast<msr *>(o)->advanced++; };
		v.client.opaque = this;
	}
	int add(uint32_t first, uint32_t count, bool reads = true, bool writes = true)
	{
		kb_msr_range r{first, count, reads, writes, nullptr, nullptr, this};
		r.read = [](void *o, uint32_t index, uint64_t *value) {
			*value = static_cast<msr *>(o)->written + index;
			return index != 0x105;
		};
		r.write = [](void *o, uint32_t index, uint64_t value) {
			static_cast<msr *>(o)->written = value;
			return index != 0x105;
		};
		return kb_msrs_add(&v.msrs, &r, &err);
	}
	bool exit(unsigned reason, uint32_t index, uint64_t data = 0)
	{
		run.exit_reason = reason;
		run.msr.index = index;
		run.msr.data = data;
		run.msr.error = 7;
		v.state = KB_VCPU_READY;
		kb_msr_exit(&v);
		EXPECT_EQ(v.state, KB_VCPU_IO_PENDING);
		return !run.msr.error;
	}
};

TEST_F(msr, ranges_do_not_overlap)
{
	EXPECT_EQ(add(0x100, 16), 0);
	EXPECT_EQ(add(0x110, 1), 0);
	EXPECT_EQ(add(0xffffffff, 1), 0);
	EXPECT_EQ(add(0x10f, 1), -EINVAL);
	EXPECT_EQ(add(0xf0, 17), -EINVAL);
	EXPECT_EQ(add(0xf0, 64), -EINVAL);
	EXPECT_EQ(add(0x104, 2), -EINVAL);
	EXPECT_EQ(add(0x200, 0), -EINVAL);
	EXPECT_EQ(add(0x200, 257), -EINVAL);
	EXPECT_EQ(add(0xfffffff0, 17), -EINVAL);
	while (v.msrs.count < KB_MSR_RANGES)
		ASSERT_EQ(add(0x1000 * v.msrs.count, 256), 0);
	EXPECT_EQ(add(0x900000, 1), -ENOSPC);
	EXPECT_NE(strstr(err.msg, "no room"), nullptr);
}

TEST_F(msr, kvm_is_told_what_to_hand_over)
{
	add(0x100, 16);
	add(0x10, 1, false, true);
	add(0x800, 256, false, false); // none that KVM would answer
	ASSERT_EQ(kb_msrs_install(&v.msrs, recorder(), 3, &err), 0) << err.msg;
	ASSERT_EQ(calls.size(), 2u);
	EXPECT_EQ(calls[0].cap.cap, unsigned(KVM_CAP_X86_USER_SPACE_MSR));
	EXPECT_EQ(calls[0].cap.args[0], unsigned(KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_FILTER));
	const kvm_msr_filter &f = calls[1].filter;
	EXPECT_EQ(f.flags, unsigned(KVM_MSR_FILTER_DEFAULT_ALLOW));
	EXPECT_EQ(f.ranges[0].base, 0x100u);
	EXPECT_EQ(f.ranges[0].nmsrs, 16u);
	EXPECT_EQ(f.ranges[0].flags, unsigned(KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE));
	EXPECT_EQ(f.ranges[1].flags, unsigned(KVM_MSR_FILTER_WRITE));
	EXPECT_EQ(f.ranges[2].nmsrs, 0u);
	for (unsigned i = 0; i < 32; i++)
		EXPECT_EQ(f.ranges[0].bitmap[i], 0) << "denied to KVM";
}

TEST_F(msr, a_kvm_that_cannot_says_so)
{
	failing = KVM_ENABLE_CAP;
	EXPECT_EQ(kb_msrs_install(&v.msrs, recorder(), 3, &err), -ENOTTY);
	EXPECT_NE(strstr(err.msg, "KVM_CAP_X86_USER_SPACE_MSR"), nullptr);
	failing = KVM_X86_SET_MSR_FILTER;
	EXPECT_EQ(kb_msrs_install(&v.msrs, recorder(), 3, &err), -ENOTTY);
	EXPECT_NE(strstr(err.msg, "KVM_X86_SET_MSR_FILTER"), nullptr);
}

TEST_F(msr, exits_reach_the_handlers)
{
	add(0x100, 16);
	EXPECT_TRUE(exit(KVM_EXIT_X86_WRMSR, 0x10f, 1000));
	EXPECT_EQ(written, 1000u);
	EXPECT_TRUE(exit(KVM_EXIT_X86_RDMSR, 0x101));
	EXPECT_EQ(run.msr.data, 1000u + 0x101);
	EXPECT_EQ(advanced, 2);
	EXPECT_EQ(v.stats.exits[KB_EXIT_MSR], 2u);
}

TEST_F(msr, what_is_not_there_is_a_fault)
{
	add(0x100, 16);
	EXPECT_FALSE(exit(KVM_EXIT_X86_RDMSR, 0xff, 5));
	EXPECT_EQ(run.msr.data, 0u) << "nothing of the host's leaks";
	EXPECT_FALSE(exit(KVM_EXIT_X86_WRMSR, 0x110, 5));
	EXPECT_FALSE(exit(KVM_EXIT_X86_RDMSR, 0x105));
	EXPECT_FALSE(exit(KVM_EXIT_X86_WRMSR, 0x105));
	kb_msr_range none{0x300, 1, true, true, nullptr, nullptr, nullptr};
	ASSERT_EQ(kb_msrs_add(&v.msrs, &none, &err), 0);
	EXPECT_FALSE(exit(KVM_EXIT_X86_RDMSR, 0x300));
	EXPECT_FALSE(exit(KVM_EXIT_X86_WRMSR, 0x300));
	EXPECT_EQ(v.msrs.unknown, 6u);
}

} // namespace
