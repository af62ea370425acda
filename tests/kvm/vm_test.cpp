// Creation under failing system calls, and guest memory.
#include <dirent.h>

#include "tests/kvm/vcpu_fixture.h"

using fixture::code_gpa;

namespace {

using vm_ = fixture::vcpu;

int open_fds()
{
	int n = 0;
	DIR *d = opendir("/proc/self/fd");
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

TEST_F(vm_, every_failing_call_is_reported_and_leaves_nothing)
{
	kb_vcpu_destroy(v);
	kb_vm_destroy(vm);
	v = nullptr;
	vm = nullptr;
	int before = open_fds(), failed = 0;
	for (int n = 1;; n++) {
		int calls = 0;
		bool hit = false;
		fixture::ioctl_hook = [&](int, unsigned long, void *, int &rc) {
			if (++calls != n)
				return false;
			hit = true;
			errno = ENOMEM;
			rc = -1;
			return true;
		};
		err.msg[0] = 0;
		int rc = make();
		fixture::ioctl_hook = nullptr;
		if (rc) {
			failed++;
			EXPECT_LT(rc, 0);
			EXPECT_STRNE(err.msg, "") << "call " << n;
			EXPECT_EQ(v, nullptr);
		}
		kb_vcpu_destroy(v);
		kb_vm_destroy(vm);
		v = nullptr;
		vm = nullptr;
		ASSERT_EQ(open_fds(), before) << "call " << n;
		if (!hit) {
			EXPECT_EQ(rc, 0) << err.msg;
			break;
		}
	}
	EXPECT_GT(failed, 8);
}

TEST_F(vm_, memory_is_checked)
{
	EXPECT_EQ(kb_vm_add_ram(vm, "odd", 0x1000000, 100, 0, nullptr, &err), -EINVAL);
	EXPECT_EQ(kb_vm_add_ram(vm, "none", 0x1000000, 0, 0, nullptr, &err), -EINVAL);
	EXPECT_EQ(kb_vm_add_ram(vm, "huge", 0x1000000, UINT64_MAX & ~0xfffull, 0, nullptr, &err), -EINVAL);
	EXPECT_EQ(kb_vm_add_ram(vm, "second", 0x1000, 0x1000, 0, nullptr, &err), -EEXIST);
	EXPECT_NE(strstr(err.msg, "second"), nullptr) << err.msg;
	EXPECT_NE(strstr(err.msg, "ram"), nullptr) << err.msg;
}

GUEST_CODE(touch, R"(
	mov $0x01000000, %ebx
	mov (%rbx), %eax
	inc %eax
	mov %eax, (%rbx)
	mov (%rbx), %ecx
	mov %eax, 0x2000
	mov %ecx, 0x2004
	mov $0x1ff, %edx
	out %al, (%dx)
)")

TEST_F(vm_, rom_reads_and_drops_writes)
{
	kb_ram *rom;
	ASSERT_EQ(kb_vm_add_ram(vm, "rom", 0x1000000, 0x1000, KB_RAM_READONLY, &rom, &err), 0) << err.msg;
	*reinterpret_cast<uint32_t *>(rom->region.host) = 41;
	load(touch_start, touch_end);
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_EQ(peek<uint32_t>(0x2000), 42u);
	EXPECT_EQ(peek<uint32_t>(0x2004), 41u);
}

TEST_F(vm_, slots_come_and_go_at_run_time)
{
	for (int i = 0; i < 3; i++) {
		kb_ram *ram;
		ASSERT_EQ(kb_vm_add_ram(vm, "late", 0x1000000, 0x200000, 0, &ram, &err), 0) << err.msg;
		*reinterpret_cast<uint32_t *>(ram->region.host) = 100;
		load(touch_start, touch_end);
		ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
		EXPECT_EQ(peek<uint32_t>(0x2004), 101u);
		kb_vm_remove_ram(vm, ram);
		load(touch_start, touch_end);
		ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
		EXPECT_EQ(peek<uint32_t>(0x2004), 0xffffffffu);
	}
}

} // namespace
