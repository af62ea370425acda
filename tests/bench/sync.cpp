// What it costs the host that guest and SystemC share one time. Prints "name value unit" lines.
//
//	sync              everything
//	sync PART [ARG]   one part in this process: yield | compute QUANTUM | idle (SystemC elaborates once)
//
// sync.yield: the box yields to SystemC and back, as the difference between a synchronised and a loosely timed read.
// sync.compute.Q: a computing guest with quantum Q: simulated seconds per host second, and host time per slice (entry,
// kick, exit, yield and the guest's share of the quantum). sync.idle.wake: HLT until a timer's interrupt, its handler, HLT.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <kvmbox/tlm.h>
#include <tlm_utils/simple_target_socket.h>

#include "tests/bench/idle.h"
#include "tests/bench/yield.h"

namespace {

double seconds()
{
	return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> v)
{
	std::nth_element(v.begin(), v.begin() + long(v.size() / 2), v.end());
	return v[v.size() / 2];
}

void figure(const std::string &name, double value, const char *unit)
{
	std::printf("%s %.3f %s\n", name.c_str(), value, unit);
}

// ---- yield -------------------------------------------------------------------------------------------------------

// Notes the host time between reads that follow each other within a block.
struct target : sc_core::sc_module {
	tlm_utils::simple_target_socket<target> socket;
	std::vector<double> intervals;
	double last = 0;
	unsigned n = 0;

	explicit target(sc_core::sc_module_name name) : sc_module(name), socket("socket")
	{
		socket.register_b_transport(this, &target::b_transport);
		intervals.reserve(BENCH_YIELD_BLOCK * BENCH_YIELD_ROUNDS);
	}
	void b_transport(tlm::tlm_generic_payload &p, sc_core::sc_time &)
	{
		const double now = seconds();

		if (n++ % BENCH_YIELD_BLOCK)
			intervals.push_back(now - last);
		last = now;
		std::memset(p.get_data_ptr(), 0, p.get_data_length());
		p.set_response_status(tlm::TLM_OK_RESPONSE);
	}
};

int yield()
{
	kvmbox::config cfg("serial=null guest=" BENCH_GUESTS "/yield.elf");
	kvmbox::box pc("pc", cfg);
	target synchronised("synchronised"), loose("loose");
	kvmbox::function_config f("synchronised_function", 0x1234, BENCH_YIELD_DEVICE);

	f.memory_bar(0, 0x1000);
	pc.add_function(f).bar(0).bind(synchronised.socket);
	f.name = "loose_function";
	f.device++;
	f.mode = KVMBOX_LOOSELY_TIMED;
	pc.add_function(f).bar(0).bind(loose.socket);
	sc_core::sc_start();
	if (pc.exit_status() != 0 || synchronised.intervals.empty() || loose.intervals.empty())
		return 1;
	const double with = median(synchronised.intervals) * 1e9, without = median(loose.intervals) * 1e9;

	figure("sync.read.synchronised", with, "ns");
	figure("sync.read.loosely_timed", without, "ns");
	figure("sync.yield", with - without, "ns");
	return 0;
}

// ---- compute --------------------------------------------------------------------------------------------------------

int compute(const std::string &quantum)
{
	kvmbox::config cfg("serial=null guest=" BENCH_GUESTS "/compute.elf");

	cfg.set("quantum", quantum);
	kvmbox::box pc("pc", cfg);
	const double start = seconds();
	sc_core::sc_start();
	const double host = seconds() - start;

	if (pc.exit_status() != 0)
		return 1;
	const std::string name = "sync.compute." + quantum;
	const kvmbox_stats s = pc.stats();
	figure(name + ".rtf", double(s.guest_ps) * 1e-12 / host, "x");
	// The same work each time: what the guest's clock says beyond the longest quantum's is kicks, late or stalled for.
	figure(name + ".guest", double(s.guest_ps) * 1e-12, "s");
	figure(name + ".host", host, "s");
	figure(name + ".slice", host * 1e6 / double(std::max<uint64_t>(s.slices, 1)), "us");
	return 0;
}

// ---- idle ------------------------------------------------------------------------------------------------------------

int idle()
{
	kvmbox::config cfg("serial=null guest=" BENCH_GUESTS "/idle.elf");
	kvmbox::box pc("pc", cfg);
	const double start = seconds();
	sc_core::sc_start();
	const double host = seconds() - start;

	if (pc.exit_status() != 0)
		return 1;
	figure("sync.idle.wake", host * 1e6 / BENCH_IDLE_WAKES, "us");
	return 0;
}

// ---- all: each part in a process of its own ----------------------------------------------------------------------------

int part(const char *self, std::vector<const char *> args)
{
	const pid_t pid = fork();
	int status = 1;

	if (pid == 0) {
		args.insert(args.begin(), self);
		args.push_back(nullptr);
		execv("/proc/self/exe", const_cast<char *const *>(args.data()));
		_exit(127);
	}
	waitpid(pid, &status, 0);
	return status != 0;
}

} // namespace

int sc_main(int argc, char **argv)
{
	sc_core::sc_report_handler::set_actions("/IEEE_Std_1666/deprecated", sc_core::SC_DO_NOTHING);
	sc_core::sc_report_handler::set_actions("/OSCI/SystemC", sc_core::SC_INFO, sc_core::SC_DO_NOTHING);
	const std::string what = argc > 1 ? argv[1] : "";
	if (argc == 2 && what == "yield")
		return yield();
	if (argc == 3 && what == "compute")
		return compute(argv[2]);
	if (argc == 2 && what == "idle")
		return idle();
	int bad = part(argv[0], { "yield" });
	for (const char *q : { "10us", "100us", "1ms", "10ms" })
		bad += part(argv[0], { "compute", q });
	bad += part(argv[0], { "idle" });
	return bad != 0;
}
