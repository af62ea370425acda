// vcpu/probe.h on the real KVM: findings hold together, nothing is left behind, every failing call is survived.
#include <gtest/gtest.h>

#include <dirent.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <vector>

extern "C" {
#include "vcpu/kick.h"
#include "vcpu/probe.h"
}

namespace {

size_t open_fds()
{
	size_t n = 0;
	DIR *d = opendir("/proc/self/fd");
	if (!d)
		return 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

size_t mappings()
{
	size_t n = 0;
	if (FILE *f = fopen("/proc/self/maps", "r")) {
		char line[512];
		while (fgets(line, sizeof(line), f))
			if (strstr(line, "kvm"))
				n++;
		fclose(f);
	}
	return n;
}

// Wraps the real calls: counts ioctls, makes one of them or one mmap fail.
struct injector {
	std::vector<std::string> log; // names of the ioctls so far
	long fail_at = -1;            // index in log
	int code = 0;
	int mmaps = 0, mmap_fail_at = -1;
	int absent_cap = -1;          // KVM_CHECK_EXTENSION denies this one
} in;

int inject_ioctl(int fd, unsigned long request, void *arg)
{
	in.log.push_back(kb_kvm_request_name(request));
	if (static_cast<long>(in.log.size()) - 1 == in.fail_at) {
		errno = in.code;
		return -1;
	}
	if (in.log.back() == "KVM_CHECK_EXTENSION" && reinterpret_cast<intptr_t>(arg) == in.absent_cap)
		return 0;
	return kb_kvm_linux.ioctl(fd, request, arg);
}

void *inject_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	if (in.mmaps++ == in.mmap_fail_at) {
		errno = ENOMEM;
		return reinterpret_cast<void *>(-1);
	}
	return kb_kvm_linux.mmap(addr, len, prot, flags, fd, off);
}

const kb_kvm_api injecting = {
	[](const char *path, int flags) { return kb_kvm_linux.open(path, flags); },
	[](int fd) { return kb_kvm_linux.close(fd); }, inject_ioctl, inject_mmap,
	[](void *addr, size_t len) { return kb_kvm_linux.munmap(addr, len); },
};

class probe : public testing::Test {
protected:
	struct kvmbox_probe_result p;

	void SetUp() override
	{
		kvmbox_error err{};
		int fd = kb_kvm_open(&kb_kvm_linux, &err);
		if (fd < 0)
			GTEST_SKIP() << err.msg;
		close(fd);
		in = injector{};
	}
	const kvmbox_capability *cap(const char *name)
	{
		for (size_t i = 0; i < p.caps; i++)
			if (!strcmp(p.cap[i].name, name))
				return &p.cap[i];
		ADD_FAILURE() << "no line " << name;
		static kvmbox_capability none;
		return &none;
	}
	void check_consistent(int rc)
	{
		EXPECT_EQ(p.usable, rc == 0);
		EXPECT_EQ(rc == 0, p.why_not.msg[0] == 0) << p.why_not.msg;
		EXPECT_LE(p.caps, size_t{KVMBOX_PROBE_CAPS});
		EXPECT_NE(p.backend[0], 0);
	}
	// In which calls of a clean run a failure makes a difference: all but the many KVM_RUNs in a row.
	std::vector<long> points()
	{
		std::vector<long> at;
		EXPECT_EQ(kb_probe(&injecting, &p), 0) << p.why_not.msg;
		std::vector<std::string> log = in.log;
		for (size_t i = 0; i < log.size(); i++)
			if (log[i] != "KVM_RUN" || i + 1 == log.size() || log[i - 1] != "KVM_RUN" || log[i + 1] != "KVM_RUN" ||
			    i % 41 == 0)
				at.push_back(static_cast<long>(i));
		return at;
	}
};

TEST_F(probe, finds_a_usable_kvm)
{
	memset(&p, 0xa5, sizeof(p));
	ASSERT_EQ(kvmbox_probe(&p), 0) << p.why_not.msg;
	check_consistent(0);
	EXPECT_EQ(p.api_version, 12);
	std::set<std::string> names;
	for (size_t i = 0; i < p.caps; i++) {
		const kvmbox_capability &c = p.cap[i];
		EXPECT_TRUE(names.insert(c.name).second) << c.name << " twice";
		EXPECT_TRUE(c.purpose && *c.purpose) << c.name;
		EXPECT_TRUE(c.without && *c.without) << c.name;
		EXPECT_TRUE(c.present || !c.required) << c.name;
	}
	EXPECT_EQ(cap("KVM_CAP_SYNC_REGS")->value & 7, 7);
	EXPECT_EQ(cap("ring 0 native")->present, p.ring0_native);
}

TEST_F(probe, measures_what_calibration_needs)
{
	ASSERT_EQ(kvmbox_probe(&p), 0) << p.why_not.msg;
	for (uint64_t ps : {p.exit_ps[0], p.exit_ps[1], p.kick_ps}) {
		EXPECT_GT(ps, 100000u) << "faster than a system call";
		EXPECT_LT(ps, 1000000000000u);
	}
	EXPECT_TRUE(cap("ring 3 ports")->present);
	if (cap("KVM_CAP_GET_TSC_KHZ")->present) {
		EXPECT_GT(p.tsc_khz, 100000u);
	}
}

TEST_F(probe, splits_the_exit_into_the_ways_in_and_out)
{
	ASSERT_EQ(kvmbox_probe(&p), 0) << p.why_not.msg;
	EXPECT_EQ(p.tsc_offset, cap("TSC offset")->present);
	if (!p.leave_ps[0])
		GTEST_SKIP() << "the guest's TSC is not the host's";
	for (int ring = 0; ring < 2; ring++) {
		EXPECT_GT(p.enter_min_ps[ring], 50000u) << ring;
		EXPECT_GT(p.leave_min_ps[ring], 50000u) << ring;
		EXPECT_LE(p.enter_min_ps[ring], p.enter_ps[ring]) << ring;
		EXPECT_LE(p.leave_min_ps[ring], p.leave_ps[ring]) << ring;
		// The least of both is within any exit's cost; a median taken at another time is close to it unless the host is busy.
		EXPECT_LT(p.enter_min_ps[ring] + p.leave_min_ps[ring], 2 * p.exit_ps[ring]) << ring;
	}
}

TEST_F(probe, knows_no_ways_where_the_guests_tsc_is_another)
{
	// KVM_RUN that starts late, as seen by us: a TSC before ours, which no guest of ours can have. Here: readings spoiled.
	static kvm_run *run;
	static bool spoil;
	kb_kvm_api api = kb_kvm_linux;
	run = nullptr;
	spoil = true;
	api.mmap = [](void *addr, size_t len, int prot, int flags, int fd, off_t off) {
		void *at = kb_kvm_linux.mmap(addr, len, prot, flags, fd, off);
		if (fd >= 0)
			run = static_cast<kvm_run *>(at);
		return at;
	};
	api.ioctl = [](int fd, unsigned long request, void *arg) {
		int rc = kb_kvm_linux.ioctl(fd, request, arg);
		if (spoil && request == KVM_RUN && rc == 0 && run->exit_reason == KVM_EXIT_IO && run->io.port == 0xe4)
			*reinterpret_cast<uint32_t *>(reinterpret_cast<char *>(run) + run->io.data_offset) += 1u << 31;
		return rc;
	};
	ASSERT_EQ(kb_probe(&api, &p), 0) << p.why_not.msg;
	for (int ring = 0; ring < 2; ring++) {
		EXPECT_EQ(p.enter_min_ps[ring], 0u);
		EXPECT_EQ(p.leave_ps[ring], 0u);
		EXPECT_GT(p.exit_ps[ring], 0u);
	}
}

// What kvm-hosts.md measured by other means.
TEST_F(probe, knows_kvm_pvm)
{
	if (access("/sys/module/kvm_pvm", F_OK) != 0)
		GTEST_SKIP() << "not a kvm_pvm host";
	ASSERT_EQ(kvmbox_probe(&p), 0) << p.why_not.msg;
	if (p.ring0_native)
		GTEST_SKIP() << "kvm_pvm is loaded, but another backend runs";
	EXPECT_STREQ(p.backend, "PVM (software)");
	EXPECT_TRUE(cap("ring 3 native")->present);
	EXPECT_TRUE(cap("single-step in ring 0")->present);
	EXPECT_FALSE(cap("single-step in ring 3")->present);
	EXPECT_FALSE(cap("ring 3 system calls")->present);
	EXPECT_FALSE(cap("ring 0 instructions")->present);
	EXPECT_FALSE(cap("hypercalls end")->present);
	EXPECT_FALSE(cap("ring 0 LZCNT")->present);
	EXPECT_FALSE(cap("ring 0 TZCNT of 0")->present);
	EXPECT_FALSE(p.syscalls || p.ring0_insns || p.hypercalls);
	EXPECT_FALSE(cap("TSC offset")->present);
	EXPECT_TRUE(cap("interrupt window")->present);
}

TEST_F(probe, hardware_backends_do_it_all)
{
	ASSERT_EQ(kvmbox_probe(&p), 0) << p.why_not.msg;
	if (strcmp(p.backend, "VMX") != 0 && strcmp(p.backend, "SVM") != 0)
		GTEST_SKIP() << "backend is " << p.backend;
	for (const char *name : {"ring 0 native", "ring 3 native", "single-step in ring 0", "single-step in ring 3",
				 "ring 3 system calls", "interrupt window", "ring 0 instructions", "hypercalls end", "ring 0 LZCNT",
				 "ring 0 TZCNT of 0"})
		EXPECT_TRUE(cap(name)->present) << name;
	EXPECT_TRUE(p.syscalls && p.ring0_insns && p.hypercalls) << "nothing is assisted";
}

TEST_F(probe, leaves_nothing_behind)
{
	struct sigaction mine = {}, after;
	sigset_t blocked, mask;
	mine.sa_handler = [](int) {};
	mine.sa_flags = SA_RESTART;
	sigaction(kb_kick_signal(), &mine, nullptr);
	sigemptyset(&blocked);
	sigaddset(&blocked, kb_kick_signal());
	sigaddset(&blocked, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
	size_t fds = open_fds(), maps = mappings();
	EXPECT_EQ(kvmbox_probe(&p), 0) << p.why_not.msg;
	EXPECT_EQ(open_fds(), fds);
	EXPECT_EQ(mappings(), maps);
	sigaction(kb_kick_signal(), nullptr, &after);
	EXPECT_EQ(after.sa_handler, mine.sa_handler);
	EXPECT_TRUE(after.sa_flags & SA_RESTART);
	pthread_sigmask(SIG_UNBLOCK, &blocked, &mask);
	EXPECT_TRUE(sigismember(&mask, kb_kick_signal()));
	EXPECT_TRUE(sigismember(&mask, SIGUSR1));
	signal(kb_kick_signal(), SIG_DFL);
}

std::atomic<int> foreign;

TEST_F(probe, passes_on_kicks_of_others)
{
	struct sigaction mine = {};
	std::atomic<bool> done{false};
	int sent = 0;
	foreign = 0;
	mine.sa_sigaction = [](int, siginfo_t *, void *) { foreign++; };
	mine.sa_flags = SA_SIGINFO;
	sigaction(kb_kick_signal(), &mine, nullptr);
	std::thread runner([&] {
		while (!done)
			usleep(1000);
	});
	std::thread kicker([&] {
		while (!done) {
			if (pthread_kill(runner.native_handle(), kb_kick_signal()) == 0)
				sent++;
			usleep(300);
		}
	});
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(kvmbox_probe(&p), 0) << p.why_not.msg;
	done = true;
	kicker.join();
	runner.join();
	EXPECT_GT(sent, 10);
	EXPECT_GT(foreign, 10); // equal signals merge, so not each of them
	signal(kb_kick_signal(), SIG_DFL);
}

TEST_F(probe, other_signals_do_not_disturb)
{
	struct sigaction mine = {};
	std::atomic<bool> done{false};
	pthread_t self = pthread_self();
	mine.sa_handler = [](int) {};
	sigaction(SIGUSR1, &mine, nullptr);
	std::thread pest([&] {
		while (!done) {
			pthread_kill(self, SIGUSR1);
			usleep(500);
		}
	});
	EXPECT_EQ(kvmbox_probe(&p), 0) << p.why_not.msg;
	done = true;
	pest.join();
	EXPECT_TRUE(cap("kick by signal")->present);
	signal(SIGUSR1, SIG_DFL);
}

TEST_F(probe, several_threads_may_probe)
{
	std::vector<std::thread> threads;
	std::atomic<int> good{0};
	for (int i = 0; i < 4; i++)
		threads.emplace_back([&] {
			struct kvmbox_probe_result mine;
			if (kvmbox_probe(&mine) == 0 && mine.kick_ps)
				good++;
		});
	for (auto &t : threads)
		t.join();
	EXPECT_EQ(good, 4);
}

TEST_F(probe, the_cached_one_stays)
{
	const struct kvmbox_probe_result *first = kb_probe_cached();
	ASSERT_TRUE(first->usable) << first->why_not.msg;
	struct kvmbox_probe_result copy = *first;
	EXPECT_EQ(kb_probe_cached(), first);
	EXPECT_EQ(memcmp(&copy, first, sizeof(copy)), 0);
}

TEST_F(probe, refuses_without_each_required_capability)
{
	const struct { int cap; const char *name; bool required; } caps[] = {
		{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY", true},
		{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT", true},
		{KVM_CAP_SYNC_REGS, "KVM_CAP_SYNC_REGS", true},
		{KVM_CAP_READONLY_MEM, "KVM_CAP_READONLY_MEM", true},
		{KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP", false},
		{KVM_CAP_SET_GUEST_DEBUG, "KVM_CAP_SET_GUEST_DEBUG", false},
	};
	for (const auto &c : caps) {
		in = injector{};
		in.absent_cap = c.cap;
		int rc = kb_probe(&injecting, &p);
		EXPECT_EQ(rc, c.required ? -EOPNOTSUPP : 0) << c.name;
		check_consistent(rc);
		EXPECT_FALSE(cap(c.name)->present);
		EXPECT_EQ(cap(c.name)->required, c.required);
		if (c.required) {
			EXPECT_NE(strstr(p.why_not.msg, c.name), nullptr) << p.why_not.msg;
		}
	}
}

TEST_F(probe, survives_every_failing_call)
{
	size_t fds = open_fds(), maps = mappings(), refused = 0;
	std::vector<long> at = points();
	ASSERT_GT(at.size(), 60u);
	for (long n : at) {
		in = injector{};
		in.fail_at = n;
		in.code = n % 2 ? EIO : ENOMEM;
		memset(&p, 0xa5, sizeof(p));
		int rc = kb_probe(&injecting, &p);
		check_consistent(rc);
		refused += rc != 0;
		ASSERT_EQ(open_fds(), fds) << "call " << n;
		ASSERT_EQ(mappings(), maps) << "call " << n;
	}
	EXPECT_GT(refused, 40u);
	for (int n = 0; n < 2; n++) {
		in = injector{};
		in.mmap_fail_at = n;
		EXPECT_EQ(kb_probe(&injecting, &p), -ENOMEM);
		check_consistent(-ENOMEM);
		ASSERT_EQ(open_fds(), fds);
	}
}

TEST_F(probe, an_interrupted_call_changes_nothing)
{
	for (long n : points()) {
		if (n % 3)
			continue;
		in = injector{};
		in.fail_at = n;
		in.code = EINTR;
		EXPECT_EQ(kb_probe(&injecting, &p), 0) << "call " << n << ' ' << in.log[static_cast<size_t>(n)] << ": " << p.why_not.msg;
	}
}

// The program people call; make check runs in the folder it is built in.
TEST(info, program)
{
	auto run = [](const char *args, std::string &out) {
		std::string cmd = std::string("./kvmbox-info ") + args + " 2>&1";
		char buf[4096];
		FILE *f = popen(cmd.c_str(), "r");
		out.clear();
		while (f && fgets(buf, sizeof(buf), f))
			out += buf;
		int status = f ? pclose(f) : -1;
		return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	};
	std::string out;
	if (access("./kvmbox-info", X_OK) != 0)
		GTEST_SKIP() << "kvmbox-info is not in the current folder";
	EXPECT_EQ(run("--help", out), 0);
	EXPECT_NE(out.find("Usage: kvmbox-info"), std::string::npos) << out;
	EXPECT_EQ(run("--version", out), 0);
	EXPECT_EQ(out.find("kvmbox-info "), 0u) << out;
	EXPECT_EQ(run("--nonsense", out), 2);
	EXPECT_EQ(run("extra", out), 2);
	struct kvmbox_probe_result p;
	int want = kvmbox_probe(&p) == 0 ? 0 : 1;
	EXPECT_EQ(run("", out), want);
	EXPECT_NE(out.find(p.backend), std::string::npos) << out;
	EXPECT_NE(out.find(want ? p.why_not.msg : "KVM_CAP_SYNC_REGS"), std::string::npos) << out;
	EXPECT_EQ(run("--json", out), want);
	EXPECT_EQ(out.front(), '{');
	EXPECT_NE(out.find(want ? "\"usable\": false" : "\"usable\": true"), std::string::npos) << out;
	EXPECT_EQ(run("--cpus", out), want);
	EXPECT_EQ(out.find("x86-64-v3 ") != std::string::npos, want == 0) << out;
	EXPECT_EQ(run("--help > /dev/full", out), 2);
	EXPECT_EQ(run("--json > /dev/full", out), 2);
}

} // namespace
