// The demo: a PC whose guest driver exercises a SystemC accelerator. Prints the
// guest's own table, then each job as the guest and as SystemC measured it.
//
//	dma_accel [intx] [key=value ...]    (key=value: the box's configuration, "help" lists it)
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "accel.h"

namespace {

struct guest_job {
	unsigned number;
	uint64_t bytes, guest_ns, device_ns;
};

// The driver's "job N bytes B guest_ns G device_ns D ..." lines.
std::vector<guest_job> parse(const std::string &output)
{
	std::vector<guest_job> jobs;
	std::istringstream lines(output);
	std::string line;

	while (std::getline(lines, line)) {
		guest_job j;

		if (std::sscanf(line.c_str(), "job %u bytes %" SCNu64 " guest_ns %" SCNu64 " device_ns %" SCNu64, &j.number,
				&j.bytes, &j.guest_ns, &j.device_ns) == 4)
			jobs.push_back(j);
	}
	return jobs;
}

// Both sides' figures, side by side. They agree when the guest read exactly the duration SystemC measured, and
// when the time it saw from doorbell to interrupt contains it.
bool compare(const std::vector<guest_job> &guest, const std::vector<accel::measurement> &all)
{
	std::vector<accel::measurement> systemc;
	bool agree = true;

	for (const auto &m : all)
		if (!m.error)
			systemc.push_back(m);
	if (guest.empty() || guest.size() != systemc.size()) {
		std::printf("the guest reports %zu jobs, SystemC measured %zu\n", guest.size(), systemc.size());
		return false;
	}
	std::printf("\n%4s %8s | %12s %12s | %12s | %12s\n", "job", "bytes", "guest ns", "device ns", "SystemC ns",
		    "software ns");
	for (size_t i = 0; i < guest.size(); i++) {
		const guest_job &g = guest[i];
		const uint64_t ps = kvmbox::to_ps(systemc[i].end - systemc[i].start), ns = ps / 1000;
		const bool ok = g.bytes == systemc[i].bytes && g.device_ns == ns && g.guest_ns >= ns;

		std::printf("%4u %8" PRIu64 " | %12" PRIu64 " %12" PRIu64 " | %12" PRIu64 " | %12" PRId64 " %s\n", g.number,
			    g.bytes, g.guest_ns, g.device_ns, ns, int64_t(g.guest_ns - ns), ok ? "" : "<- DISAGREES");
		agree = agree && ok;
	}
	return agree;
}

} // namespace

int sc_main(int argc, char **argv)
{
	accel::options options;
	kvmbox::config config("serial=memory guest=" GUEST);

	if (argc > 1 && !std::strcmp(argv[1], "intx")) {
		options.msix = false;
		argc--;
		argv++;
	}
	config.parse_args(argc, argv);
	if (config.help_wanted())
		return 0;

	kvmbox::box pc("pc", config);
	accel device("accel", pc, options);

	sc_core::sc_start();

	const std::string output = pc.serial_output();
	std::fputs(output.c_str(), stdout);
	if (pc.exit_status() != 0) {
		std::printf("the guest driver did not succeed (exit status %d)\n", pc.exit_status());
		return 1;
	}
	const bool agree = compare(parse(output), device.jobs());
	std::printf("guest and SystemC %s; %s of simulated time\n", agree ? "agree" : "DISAGREE",
		    sc_core::sc_time_stamp().to_string().c_str());
	return agree ? 0 : 1;
}
