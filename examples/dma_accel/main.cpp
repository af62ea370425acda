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

// What the driver says of a job, times in ps: three readings of the box's time register.
struct guest_job {
	unsigned number;
	char name[16];
	uint64_t bytes, device, from, irq, to;
};

std::vector<guest_job> parse(const std::string &output)
{
	std::vector<guest_job> jobs;
	std::istringstream lines(output);
	std::string line;

	while (std::getline(lines, line)) {
		guest_job j;

		if (std::sscanf(line.c_str(),
				"job %u bytes %" SCNu64 " device_ps %" SCNu64 " from_ps %" SCNu64 " irq_ps %" SCNu64 " to_ps %"
				SCNu64 " %15[^\r\n]", &j.number, &j.bytes, &j.device, &j.from, &j.irq, &j.to, j.name) == 7)
			jobs.push_back(j);
	}
	return jobs;
}

// Guest and SystemC agree when every moment one side saw lies between those the other saw before and after it.
bool agree(const guest_job &g, const accel::measurement &m)
{
	const uint64_t doorbell = kvmbox::to_ps(m.start), end = kvmbox::to_ps(m.end), asked = kvmbox::to_ps(m.asked);

	return g.bytes == m.bytes && g.device == end - doorbell && g.from <= doorbell && end <= g.irq &&
	       g.irq <= g.to && g.to <= asked;
}

bool compare(const std::vector<guest_job> &guest, const std::vector<accel::measurement> &all)
{
	std::vector<accel::measurement> systemc;
	bool all_agree = true;

	for (const auto &m : all)
		if (!m.error)
			systemc.push_back(m);
	if (guest.empty() || guest.size() != systemc.size()) {
		std::printf("the guest reports %zu jobs, SystemC measured %zu\n", guest.size(), systemc.size());
		return false;
	}
	std::printf("\n                          |  device busy, ns    | doorbell to driver awake, ns\n"
		    "job                 bytes |    guest   SystemC  |    guest   SystemC  difference\n");
	for (size_t i = 0; i < guest.size(); i++) {
		const guest_job &g = guest[i];
		const double busy = double(kvmbox::to_ps(systemc[i].end - systemc[i].start)) / 1e3;
		const double awake = double(kvmbox::to_ps(systemc[i].asked - systemc[i].start)) / 1e3;
		const double seen = double(g.to - g.from) / 1e3;
		const bool ok = agree(g, systemc[i]);

		std::printf("%3u %-12s %9" PRIu64 " | %8.0f  %8.0f  | %8.0f  %8.0f  %10.0f%s\n", g.number, g.name, g.bytes,
			    double(g.device) / 1e3, busy, seen, awake, seen - awake, ok ? "" : "  <- DISAGREES");
		all_agree = all_agree && ok;
	}
	return all_agree;
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
	// The driver makes DMA fail on purpose; it says so itself.
	sc_core::sc_report_handler::set_actions(kvmbox::msg_tlm, sc_core::SC_DO_NOTHING);

	kvmbox::box pc("pc", config);
	accel device("accel", pc, options);

	sc_core::sc_start();

	const std::string output = pc.serial_output();
	std::fputs(output.c_str(), stdout);
	if (pc.exit_status() != 0) {
		std::printf("the guest driver did not succeed (exit status %d)\n", pc.exit_status());
		return 1;
	}
	const bool all_agree = compare(parse(output), device.jobs());
	const kvmbox_stats s = pc.stats();
	std::printf("guest and SystemC %s. %.3f ms of simulated time, %" PRIu64 " device accesses, %" PRIu64
		    " interrupts, %" PRIu64 " bytes of DMA\n", all_agree ? "agree" : "DISAGREE", double(s.guest_ps) / 1e9,
		    s.transports, s.interrupts, s.dma_bytes);
	return all_agree ? 0 : 1;
}
