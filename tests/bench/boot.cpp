// Linux's way to "Run /init" and to the first line of user space in the box, against a bare KVM loop (boot_raw.h) with the same kernel,
// command line and help for what KVM cannot do. Prints "name value unit" lines.
//
//	boot               all kinds in turn, medians of ROUNDS
//	boot KIND IMAGES [KEYS]   one boot: raw | user | kernel (irqchip=) | scaled (user with time_scale=0.1); more key=value
//
// The kernel is examples/linux's; without it there is nothing to measure. Times are s of wall clock and of CPU; where others have the
// CPU, too, ratios of the latter tell more.
#include <dirent.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <string>
#include <vector>

#include <kvmbox/probe.h>
#include <kvmbox/tlm.h>

#include "tests/bench/boot_raw.h"

namespace {

constexpr int ROUNDS = 3;
const char *const kinds[] = { "raw", "user", "kernel", "scaled" };

// ---- one boot -----------------------------------------------------------------------------------

double clock_s(clockid_t id)
{
	timespec t;

	clock_gettime(id, &t);
	return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

// This process's only vCPU.
int vcpu_fd()
{
	DIR *fds = opendir("/proc/self/fd");
	int found = -1;

	while (dirent *e = fds ? readdir(fds) : nullptr) {
		char target[64] = "";
		const std::string path = std::string("/proc/self/fd/") + e->d_name;

		if (readlink(path.c_str(), target, sizeof(target) - 1) > 0 && !std::strncmp(target, "anon_inode:kvm-vcpu", 19))
			found = std::atoi(e->d_name);
	}
	if (fds)
		closedir(fds);
	return found;
}

// A counter of KVM's (api.rst, KVM_GET_STATS_FD); -1: this host has it not.
double kvm_counter(const char *name)
{
	const int fd = ioctl(vcpu_fd(), KVM_GET_STATS_FD, 0);
	kvm_stats_header h;
	double value = -1;

	if (fd < 0)
		return -1;
	if (pread(fd, &h, sizeof(h), 0) == ssize_t(sizeof(h))) {
		const size_t head = offsetof(kvm_stats_desc, bucket_size) + sizeof(uint32_t); // in C++ its sizeof is larger
		const size_t size = head + h.name_size;
		std::vector<char> desc(size * h.num_desc);

		if (pread(fd, desc.data(), desc.size(), h.desc_offset) == ssize_t(desc.size()))
			for (size_t at = 0; at < desc.size(); at += size) {
				kvm_stats_desc d;
				uint64_t v;

				std::memcpy(static_cast<void *>(&d), &desc[at], head);
				if (!std::strcmp(&desc[at + head], name) &&
				    pread(fd, &v, sizeof(v), h.data_offset + d.offset) == ssize_t(sizeof(v)))
					value = double(v);
			}
	}
	close(fd);
	return value;
}

double started;

// A line of the guest's. True: that was the last one.
bool line_came(const char *line, uint64_t exits)
{
	const bool hello = std::strstr(line, "autotest: hello");

	if (std::getenv("BENCH_BOOT_SHOW"))
		std::fprintf(stderr, "%s\n", line);
	if (hello || std::strstr(line, "Run /init as init process"))
		std::printf("%s %.3f %.3f %" PRIu64 " %.0f\n", hello ? "hello" : "init", clock_s(CLOCK_MONOTONIC) - started,
			    clock_s(CLOCK_PROCESS_CPUTIME_ID), exits, kvm_counter("insn_emulation"));
	return hello;
}

struct watcher : sc_core::sc_module {
	const kvmbox::box &pc;
	const sc_core::sc_time period;
	size_t seen = 0;

	SC_HAS_PROCESS(watcher);
	watcher(sc_core::sc_module_name n, const kvmbox::box &b, double scale)
		: sc_module(n), pc(b), period(10 * scale, sc_core::SC_MS)
	{
		SC_METHOD(watch);
	}
	void watch()
	{
		const std::string all = pc.serial_output();

		for (size_t end; (end = all.find('\n', seen)) != std::string::npos; seen = end + 1)
			if (line_came(all.substr(seen, end - seen).c_str(), pc.stats().exits)) {
				sc_core::sc_stop();
				return;
			}
		next_trigger(period);
	}
};

// What examples/linux_driver has, less the HPET, that the bare loop has not. Where the guest's time is the host's, the TSC tells it; the
// local APIC's timer of KVM goes by it.
std::string command_line(bool host_time)
{
	std::string text = "console=ttyS0 panic=-1 hpet=disable";
	kvmbox_probe_result host{};

	kvmbox_probe(&host);
	if (!host.ring0_native)
		text += std::string(" rodata=off initcall_blacklist=slab_sysfs_init"
			" clearcpuid=cx16,smap,popcnt,erms,fsrm,xsaveopt,xsavec,xsaves,xgetbv1") + (host_time ? "" : ",tsc lpj=15000");
	return text;
}

int boot(const std::string &kind, const std::string &images, const char *keys)
{
	kvmbox::config config("ram=128M serial=memory");

	config.set("guest", images + "/vmlinux");
	config.set("initrd", images + "/test.cpio");
	config.set("cmdline", command_line(kind == "raw" || kind == "kernel"));
	if (kind == "kernel")
		config.parse("irqchip=kernel clock=host");
	if (kind == "scaled")
		config.parse("time_scale=0.1");
	config.parse(keys);
	started = clock_s(CLOCK_MONOTONIC);
	if (kind == "raw") {
		kvmbox_error err{};

		if (boot_raw(&config.c_config(), line_came, &err) < 0) {
			std::fprintf(stderr, "boot: %s\n", err.msg);
			return 1;
		}
		return 0;
	}
	kvmbox::box pc("pc", config);
	watcher w("watcher", pc, config->time_scale);

	sc_core::sc_start();
	return 0;
}

// ---- all ----------------------------------------------------------------------------------------------

std::string output_of(const std::string &command)
{
	FILE *f = popen(command.c_str(), "r");
	std::string text;
	char buf[512];

	while (f && std::fgets(buf, sizeof(buf), f))
		text += buf;
	return f && pclose(f) == 0 ? text : "";
}

struct figures {
	std::vector<double> wall, cpu, exits, insns;
};
std::map<std::string, figures> seen; // "user.hello"

bool measure(const std::string &kind, const std::string &images)
{
	const std::string text = output_of("timeout 300 /proc/" + std::to_string(getpid()) + "/exe " + kind + " '" + images + "'");
	double wall, cpu, exits, insns;
	char stage[16];
	int stages = 0;

	for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
		if (std::sscanf(text.c_str() + at, "%15s %lf %lf %lf %lf", stage, &wall, &cpu, &exits, &insns) != 5)
			continue;
		figures &f = seen[kind + "." + stage];

		f.wall.push_back(wall);
		f.cpu.push_back(cpu);
		f.exits.push_back(exits);
		f.insns.push_back(insns);
		stages++;
	}
	if (stages != 2)
		std::fprintf(stderr, "boot: %s did not come to user space\n", kind.c_str());
	return stages == 2;
}

double median(std::vector<double> v)
{
	std::sort(v.begin(), v.end());
	return v[v.size() / 2];
}

void figure(const std::string &name, double value, int digits, const char *unit)
{
	std::printf("boot.%s %.*f %s\n", name.c_str(), digits, value, unit);
}

void show(const std::string &kind)
{
	for (const char *stage : { "init", "hello" }) {
		const std::string name = kind + "." + stage;
		const figures &f = seen[name], &raw = seen[std::string("raw.") + stage];

		figure(name + ".s", median(f.wall), 2, "s");
		figure(name + ".cpu", median(f.cpu), 2, "s");
		figure(name + ".exits", median(f.exits), 0, "exits");
		if (f.insns.back() >= 0)
			figure(name + ".insns", median(f.insns), 0, "instructions");
		if (kind == "raw")
			continue;
		figure(name + ".ratio", median(f.wall) / median(raw.wall), 3, "x");
		figure(name + ".cpu_ratio", median(f.cpu) / median(raw.cpu), 3, "x");
	}
}

int all()
{
	std::string images = output_of("KVMBOX_CACHE_ONLY=1 sh " BENCH_IMAGES);

	if (images.empty()) {
		std::fprintf(stderr, "boot: nothing measured: no kernel; ./run linux builds one\n");
		return 0;
	}
	images.pop_back();
	for (int i = 0; i < ROUNDS; i++)
		for (const char *kind : kinds)
			if (!measure(kind, images))
				return 1;
	for (const char *kind : kinds)
		show(kind);
	if (seen["raw.hello"].insns.back() < 0)
		std::fprintf(stderr, "boot: no count of emulated instructions: this KVM has no statistic \"insn_emulation\"\n");
	return 0;
}

} // namespace

int sc_main(int argc, char **argv)
{
	if (argc == 3 || argc == 4)
		return boot(argv[1], argv[2], argc == 4 ? argv[3] : "");
	return all();
}
