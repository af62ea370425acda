// A PC that boots Linux, with the accelerator of examples/dma_accel in it. ../linux builds a kernel and images that have
// the driver and its test; `./run linux` calls this with them.
//
//	linux_driver [check] [jobs] [intx|msi] guest=VMLINUX initrd=IMAGE [key=value ...]
//
// check: for test.cpio, which tests the driver and powers off. Its output is shown as it comes; the status is 0 if
// all of it passed and the device saw the work, else 1. jobs: in the end a line "job BYTES START END" for each, times in ps.
// cmdline= replaces the command line, cmdline+= adds to it. Where KVM emulates ring 0, time_scale is 0.1 unless given.
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include <kvmbox/probe.h>

#include "examples/dma_accel/accel.h"

namespace {

// Where KVM emulates ring 0, at 1 to 2 million instructions a second, a millisecond of the host is a tenth of one for the guest: then a
// tick and a driver's time-out of so many milliseconds are worth the instructions of a slow PC, not of one a thousand times too slow.
constexpr double EMULATED_SCALE = 0.1;

// The kernel's delay loop takes two instructions, and the emulator no less than this for it.
constexpr double EMULATED_LOOP_S = 0.7e-6;

// What suits any host, and what this one wants. Where KVM emulates ring 0: less of what costs millions of instructions, and none
// of those that KVM leaves to the box or does byte by byte. Where the TSC cannot follow simulated time, Linux would find
// that it disagrees with all other clocks: it is hidden, and delays count loops, as many in the 10 ms of a tick (lpj) as there can be at
// most: a delay may get longer, but not shorter.
std::string command_line(const kvmbox_probe_result &host, const kvmbox::config &config)
{
	std::string text = "console=ttyS0 panic=-1";

	if (!host.ring0_native)
		text += " rodata=off initcall_blacklist=slab_sysfs_init"
			" clearcpuid=cx16,smap,popcnt,erms,fsrm,xsaveopt,xsavec,xsaves,xgetbv1";
	if (host.tsc_offset || config->clock == KVMBOX_CLOCK_HOST)
		return text;
	if (!host.ring0_native) {
		double loop_s = EMULATED_LOOP_S;

		if (config->clock == KVMBOX_CLOCK_STEP)
			loop_s = 2e-12 * double(config->step_ps);
		text += ",tsc lpj=" + std::to_string(uint64_t(10e-3 / loop_s / config->time_scale) + 1);
	} else {
		text += " tsc=unstable";
	}
	return text;
}

// What the user does not say. The command line needs what he does say of the clock.
void set_defaults(kvmbox::config &config, const std::vector<const char *> &keys)
{
	kvmbox_probe_result host{};
	kvmbox::config given;
	bool scaled = false;

	if (kvmbox_probe(&host) < 0) // the box will tell
		return;
	for (const std::string key : keys) {
		if (key.rfind("clock=", 0) == 0 || key.rfind("time_scale=", 0) == 0 || key.rfind("step=", 0) == 0)
			given.parse(key);
		scaled = scaled || key.rfind("time_scale=", 0) == 0;
	}
	if (!host.ring0_native && given->clock == KVMBOX_CLOCK_TSC && !scaled)
		config->time_scale = given->time_scale = EMULATED_SCALE;
	config.set("cmdline", command_line(host, given));
}

// Shows what the guest has sent (serial=memory).
class screen : public sc_core::sc_module {
public:
	screen(sc_core::sc_module_name nm, const kvmbox::box &pc) : sc_module(nm), m_pc(pc)
	{
		SC_METHOD(show);
	}
	void show()
	{
		const std::string all = m_pc.serial_output();

		std::fwrite(all.data() + m_shown, 1, all.size() - m_shown, stdout);
		std::fflush(stdout);
		m_shown = all.size();
		if (m_pc.end() == KVMBOX_END_NONE)
			next_trigger(sc_core::sc_time(100, sc_core::SC_MS), m_pc.ended());
	}

private:
	SC_HAS_PROCESS(screen);

	const kvmbox::box &m_pc;
	size_t m_shown = 0;
};

// Every check the guest made passed, it went through to the end, and powered off.
bool passed(const kvmbox::box &pc)
{
	std::istringstream lines(pc.serial_output());
	std::string line;
	bool good = false, bad = false;

	while (std::getline(lines, line)) {
		bad = bad || line.rfind("FAIL ", 0) == 0;
		good = good || line.rfind("autotest: passed", 0) == 0;
	}
	return good && !bad && pc.exit_status() == 0;
}

void list_jobs(const accel &device)
{
	for (const auto &job : device.jobs())
		std::printf("job %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", job.bytes, kvmbox::to_ps(job.start), kvmbox::to_ps(job.end));
}

bool report(const kvmbox::box &pc, const accel &device)
{
	const kvmbox_stats s = pc.stats();
	uint64_t bytes = 0, failures = 0;

	for (const auto &job : device.jobs()) {
		bytes += job.bytes;
		failures += job.error != 0;
	}
	std::printf("SystemC saw %zu jobs of %" PRIu64 " bytes, %" PRIu64 " failed as they should; %.3f s of simulated time, %" PRIu64
		    " device accesses, %" PRIu64 " interrupts, %" PRIu64 " bytes of DMA\n", device.jobs().size(), bytes, failures,
		    double(s.guest_ps) / 1e12, s.transports, s.interrupts, s.dma_bytes);
	return !device.jobs().empty();
}

} // namespace

int sc_main(int argc, char **argv)
{
	accel::options options;
	kvmbox::config config("ram=128M");
	std::vector<const char *> keys = { argv[0] };
	bool check = false, jobs = false;

	for (int i = 1; i < argc; i++) {
		const std::string word = argv[i];

		if (word == "check")
			check = true;
		else if (word == "jobs")
			jobs = true;
		else if (word == "intx" || word == "msi")
			options = { false, word == "msi" };
		else
			keys.push_back(argv[i]);
	}
	set_defaults(config, keys);
	if (check)
		config.set("serial", "memory");
	else
		config.set("pace", "realtime"); // idle, the guest waits for somebody who types
	config.parse_args(int(keys.size()), keys.data());
	if (config.help_wanted())
		return 0;
	// The test makes DMA fail on purpose; it says so itself.
	sc_core::sc_report_handler::set_actions(kvmbox::msg_tlm, sc_core::SC_DO_NOTHING);

	kvmbox::box pc("pc", config);
	accel device("accel", pc, options);

	if (!check) {
		sc_core::sc_start();
		return pc.exit_status() == 0 ? 0 : 1;
	}
	screen terminal("screen", pc);

	sc_core::sc_start();
	terminal.show();
	if (jobs)
		list_jobs(device);
	return report(pc, device) && passed(pc) ? 0 : 1;
}
