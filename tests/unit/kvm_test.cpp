// vcpu/kvm.h and vcpu/probe.h on a kernel that fails in every way: messages, nothing left open.
#include <gtest/gtest.h>

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <set>
#include <string>

extern "C" {
#include "vcpu/cpuid.h"
#include "vcpu/kvm.h"
#include "vcpu/probe.h"
}

namespace {

// A kernel of which every answer can be replaced. Requests go by name: some kernel headers give C++ other numbers.
struct fake_kernel {
	std::set<int> fds;
	std::set<void *> maps;
	kvm_run *run = nullptr;
	kvm_regs regs{};
	int open_errno = 0;
	int api_version = 12;
	int mmap_size = 3 * 4096;
	int interrupted = 0; // so many calls say EINTR first
	std::string failing; // this request fails...
	int failing_errno = 0; // ...so
	std::function<int(kvm_run *)> guest = [](kvm_run *) { return 0; };
} *k;

int fail(int code)
{
	errno = code;
	return -1;
}

int new_fd()
{
	int fd = 1000 + static_cast<int>(k->fds.size());
	k->fds.insert(fd);
	return fd;
}

int fake_open(const char *path, int)
{
	EXPECT_STREQ(path, "/dev/kvm");
	return k->open_errno ? fail(k->open_errno) : new_fd();
}

int fake_close(int fd)
{
	EXPECT_EQ(k->fds.erase(fd), 1u) << "closed what was not open: " << fd;
	return 0;
}

int fake_ioctl(int fd, unsigned long request, void *arg)
{
	std::string name = kb_kvm_request_name(request);

	EXPECT_EQ(k->fds.count(fd), 1u) << name << " on a closed descriptor";
	if (k->interrupted > 0) {
		k->interrupted--;
		return fail(EINTR);
	}
	if (name == k->failing)
		return fail(k->failing_errno);
	if (name == "KVM_GET_API_VERSION")
		return k->api_version;
	if (name == "KVM_CHECK_EXTENSION")
		return 7;
	if (name == "KVM_CREATE_VM" || name == "KVM_CREATE_VCPU")
		return new_fd();
	if (name == "KVM_GET_VCPU_MMAP_SIZE")
		return k->mmap_size;
	if (name == "KVM_SET_MSRS")
		return 3;
	if (name == "KVM_GET_SUPPORTED_CPUID") {
		auto *table = static_cast<kb_cpuid *>(arg);
		table->head.nent = 1;
		table->entries[0] = {};
		table->entries[0].function = 1;
	}
	if (name == "KVM_SET_REGS")
		k->regs = *static_cast<kvm_regs *>(arg);
	if (name == "KVM_GET_REGS")
		*static_cast<kvm_regs *>(arg) = k->regs;
	return name == "KVM_RUN" ? k->guest(k->run) : 0;
}

void *fake_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	if (k->failing == (fd < 0 ? "mmap RAM" : "mmap run")) {
		errno = k->failing_errno;
		return MAP_FAILED;
	}
	void *p = mmap(addr, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | (flags & MAP_FIXED), -1, off);
	k->maps.insert(p);
	if (fd >= 0)
		k->run = static_cast<kvm_run *>(p);
	return p;
}

int fake_munmap(void *addr, size_t len)
{
	EXPECT_EQ(k->maps.erase(addr), 1u);
	return munmap(addr, len);
}

const kb_kvm_api fake = {fake_open, fake_close, fake_ioctl, fake_mmap, fake_munmap};

class kvm : public testing::Test {
protected:
	fake_kernel kernel;
	kvmbox_error err{};
	struct kvmbox_probe_result probe;

	void SetUp() override { k = &kernel; }
	void TearDown() override
	{
		EXPECT_TRUE(kernel.fds.empty()) << kernel.fds.size() << " descriptors left open";
		EXPECT_TRUE(kernel.maps.empty()) << kernel.maps.size() << " mappings left";
	}
	::testing::AssertionResult says(const char *text)
	{
		return strstr(probe.why_not.msg, text) ? ::testing::AssertionSuccess()
						       : ::testing::AssertionFailure() << '"' << probe.why_not.msg << '"';
	}
	void expect_unusable(int rc, int code)
	{
		EXPECT_EQ(rc, -code) << probe.why_not.msg;
		EXPECT_FALSE(probe.usable);
		EXPECT_GT(strlen(probe.why_not.msg), 20u);
		EXPECT_GT(probe.caps, 30u) << "the list is there all the same";
		EXPECT_LE(probe.caps, size_t{KVMBOX_PROBE_CAPS});
		EXPECT_NE(probe.backend[0], 0);
	}
};

TEST_F(kvm, open_says_what_is_wrong_and_what_to_do)
{
	const struct { int code; const char *cause, *cure; } cases[] = {
		{ENOENT, "does not exist", "modprobe"}, {EACCES, "permission", "group"}, {EPERM, "permission", "group"},
		{ENODEV, "backend", "load"}, {ENXIO, "backend", "load"}, {EBUSY, "busy", "stop"},
		{EMFILE, "Too many open files", "/dev/kvm"},
	};
	for (const auto &c : cases) {
		kernel.open_errno = c.code;
		err.msg[0] = 0;
		EXPECT_EQ(kb_kvm_open(&fake, &err), -c.code);
		EXPECT_NE(strstr(err.msg, c.cause), nullptr) << err.msg;
		EXPECT_NE(strstr(err.msg, c.cure), nullptr) << err.msg;
		expect_unusable(kb_probe(&fake, &probe), c.code);
		EXPECT_TRUE(says(c.cause));
		EXPECT_EQ(probe.api_version, 0);
	}
	EXPECT_EQ(kb_kvm_open(&fake, nullptr), -EMFILE);
}

TEST_F(kvm, open_refuses_other_api_versions)
{
	kernel.api_version = 11;
	EXPECT_EQ(kb_kvm_open(&fake, &err), -ENODEV);
	EXPECT_NE(strstr(err.msg, "11"), nullptr) << err.msg;
	EXPECT_NE(strstr(err.msg, "12"), nullptr) << err.msg;
	expect_unusable(kb_probe(&fake, &probe), ENODEV);
	kernel.failing = "KVM_GET_API_VERSION";
	for (int code : {ENOTTY, EBADF}) {
		kernel.failing_errno = code;
		EXPECT_EQ(kb_kvm_open(&fake, &err), -ENODEV);
		EXPECT_NE(strstr(err.msg, "not a KVM device"), nullptr) << err.msg;
	}
}

TEST_F(kvm, interrupted_calls_are_repeated)
{
	kernel.interrupted = 5;
	int fd = kb_kvm_open(&fake, &err);
	ASSERT_GE(fd, 0) << err.msg;
	EXPECT_EQ(kernel.interrupted, 0);
	kernel.interrupted = 2;
	EXPECT_EQ(kb_kvm_check(&fake, fd, KVM_CAP_USER_MEMORY), 7);
	kernel.failing = "KVM_CHECK_EXTENSION";
	kernel.failing_errno = EINVAL;
	EXPECT_EQ(kb_kvm_check(&fake, fd, KVM_CAP_USER_MEMORY), 0);
	EXPECT_EQ(kb_kvm_ioctl(&fake, fd, KVM_CHECK_EXTENSION, nullptr), -EINVAL);
	fake.close(fd);
}

TEST_F(kvm, requests_have_names)
{
	EXPECT_STREQ(kb_kvm_request_name(KVM_RUN), "KVM_RUN");
	EXPECT_STREQ(kb_kvm_request_name(KVM_CREATE_VM), "KVM_CREATE_VM");
	ASSERT_NE(kb_kvm_request_name(0), nullptr);
	EXPECT_NE(kb_kvm_request_name(0)[0], 0);
}

TEST_F(kvm, probe_names_the_call_that_failed)
{
	for (const char *request : {"KVM_CREATE_VM", "KVM_SET_TSS_ADDR", "KVM_SET_IDENTITY_MAP_ADDR",
				    "KVM_SET_USER_MEMORY_REGION", "KVM_CREATE_VCPU", "KVM_GET_VCPU_MMAP_SIZE",
				    "KVM_GET_SUPPORTED_CPUID", "KVM_SET_CPUID2", "KVM_GET_SREGS", "KVM_SET_SREGS",
				    "KVM_SET_REGS", "KVM_RUN"})
		for (int code : {ENOMEM, EBADF, EINVAL, EFAULT}) {
			kernel.failing = request;
			kernel.failing_errno = code;
			expect_unusable(kb_probe(&fake, &probe), code);
			EXPECT_TRUE(says(request));
			EXPECT_TRUE(says(strerror(code)));
			ASSERT_TRUE(kernel.fds.empty() && kernel.maps.empty()) << request;
		}
}

TEST_F(kvm, probe_survives_lack_of_memory)
{
	for (const char *what : {"mmap RAM", "mmap run"}) {
		kernel.failing = what;
		kernel.failing_errno = ENOMEM;
		expect_unusable(kb_probe(&fake, &probe), ENOMEM);
		EXPECT_TRUE(says("memory"));
	}
	kernel.failing = "";
	kernel.mmap_size = 16;
	expect_unusable(kb_probe(&fake, &probe), EPROTO);
}

TEST_F(kvm, probe_tells_why_the_guest_does_not_run)
{
	kernel.guest = [](kvm_run *run) {
		run->exit_reason = KVM_EXIT_FAIL_ENTRY;
		run->fail_entry.hardware_entry_failure_reason = 0x80000021;
		return 0;
	};
	expect_unusable(kb_probe(&fake, &probe), EIO);
	EXPECT_TRUE(says("0x80000021"));
	kernel.guest = [](kvm_run *run) {
		run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
		run->internal.suberror = 3;
		return 0;
	};
	expect_unusable(kb_probe(&fake, &probe), EIO);
	EXPECT_TRUE(says("internal error 3"));
	kernel.guest = [](kvm_run *run) {
		run->exit_reason = KVM_EXIT_SHUTDOWN;
		return 0;
	};
	expect_unusable(kb_probe(&fake, &probe), EIO);
	EXPECT_TRUE(says("exit reason 8"));
	for (int code : {EINTR, EAGAIN}) { // a guest that never gets anywhere: the backstop ends it
		kernel.guest = [code](kvm_run *) { return fail(code); };
		expect_unusable(kb_probe(&fake, &probe), ETIMEDOUT);
	}
}

// Everything comes out at the port, whatever was asked for: KVM is there, but nothing behaves.
TEST_F(kvm, probe_refuses_a_kvm_whose_behaviour_is_missing)
{
	kernel.guest = [](kvm_run *run) {
		if (run->immediate_exit)
			return fail(EINTR);
		run->exit_reason = KVM_EXIT_IO;
		run->io.direction = KVM_EXIT_IO_OUT;
		run->io.port = 0xe0;
		return 0;
	};
	expect_unusable(kb_probe(&fake, &probe), EOPNOTSUPP);
	EXPECT_TRUE(says("kick by signal"));
	EXPECT_TRUE(says("without it"));
	EXPECT_EQ(probe.api_version, 12);
	for (size_t i = 0; i < probe.caps; i++) {
		std::string name = probe.cap[i].name;
		if (name.find("single-step") == 0 || name.find("interrupt") == 0 || name == "TSC offset" ||
		    name == "ring 3 system calls") {
			EXPECT_FALSE(probe.cap[i].present) << name;
		}
	}
	int rounds = 0; // settling an I/O that never ends must not last for ever
	kernel.guest = [&rounds](kvm_run *run) {
		rounds++;
		run->exit_reason = KVM_EXIT_IO;
		run->io.direction = KVM_EXIT_IO_OUT;
		run->io.port = 0xe0;
		return 0;
	};
	expect_unusable(kb_probe(&fake, &probe), EPROTO);
	EXPECT_LT(rounds, 1000);
}

} // namespace
