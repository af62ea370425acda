// A timing study: how throughput and latency of a storage device, seen by its driver, depend on the device's latency and
// on the number of commands outstanding. One simulation does the whole sweep. CSV on stdout, a picture on request.
//
//	latency_study [latency=1us,5us,...] [depth=1,2,...] [commands=N] [channels=N] [length=BYTES] [link=BYTES_PER_NS]
//	              [completion=msi|poll] [svg=FILE] [key=value ...]    (the box's configuration, "help" lists it)
//
// clock=fixed is the default here: every exit of the guest costs fixed_exit = 100 ns, computing is free, and two runs are
// equal to the byte. clock=tsc gives the driver the speed of this host.
//
// Theory, of the device alone: with L its latency, C channels, D commands outstanding and T the time of one transfer on the
// link, throughput X = min(D / (L + T), C / L, 1 / T), and by Little's law latency = D / X. The driver's own time
// comes on top; that is what the measured lines show beyond the dotted ones.
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "plot.h"
#include "storage.h"

namespace {

struct study {
	std::vector<std::string> latencies = { "1us", "5us", "20us", "100us" };
	std::vector<unsigned> depths = { 1, 2, 4, 8, 16, 32, 64 };
	unsigned commands = 256;
	double link = 8; // bytes per ns
	std::string svg;
	storage::options device;
};

std::vector<std::string> split(const std::string &s)
{
	std::vector<std::string> parts;
	std::istringstream in(s);
	std::string part;

	while (std::getline(in, part, ','))
		parts.push_back(part);
	return parts;
}

unsigned number(const std::string &s, unsigned long low, unsigned long high)
{
	char *end;
	const unsigned long v = std::strtoul(s.c_str(), &end, 10);

	if (s.empty() || *end || v < low || v > high)
		throw std::string(s + ": a number from " + std::to_string(low) + " to " + std::to_string(high) + " is wanted");
	return unsigned(v);
}

sc_core::sc_time duration(const std::string &s)
{
	kvmbox::config c; // it knows how to read a time

	c.set("fixed_exit", s);
	return kvmbox::from_ps(c->fixed_exit_ps);
}

// True if the argument is the study's own.
bool take(study &s, const std::string &key, const std::string &value)
{
	if (key == "latency") {
		s.latencies = split(value);
	} else if (key == "depth") {
		s.depths.clear();
		for (const auto &d : split(value))
			s.depths.push_back(number(d, 1, STORAGE_MAX_DEPTH));
	} else if (key == "commands") {
		s.commands = number(value, 2, 1000000);
	} else if (key == "channels") {
		s.device.channels = number(value, 1, 1024);
	} else if (key == "length") {
		s.device.length = number(value, 8, STORAGE_MAX_LENGTH) & ~7u;
	} else if (key == "link") {
		s.link = number(value, 1, 1000);
	} else if (key == "completion") {
		if (value != "msi" && value != "poll")
			throw std::string("completion=msi or completion=poll");
		s.device.poll = value == "poll";
	} else if (key == "svg") {
		s.svg = value;
	} else {
		return false;
	}
	return true;
}

void parse(study &s, kvmbox::config &config, int argc, char **argv)
{
	std::vector<const char *> rest = { argv[0] };

	for (int i = 1; i < argc; i++) {
		const std::string a = argv[i];
		const size_t eq = a.find('=');

		if (eq == std::string::npos || !take(s, a.substr(0, eq), a.substr(eq + 1)))
			rest.push_back(argv[i]);
	}
	config.parse_args(int(rest.size()), rest.data());
	s.device.ps_per_byte = sc_core::sc_time(1000 / s.link, sc_core::SC_PS);
	std::sort(s.depths.begin(), s.depths.end());
	for (const auto &l : s.latencies)
		for (unsigned d : s.depths)
			s.device.sweep.push_back({ duration(l), d, std::max(s.commands, 2 * d) });
}

// Prints the CSV; returns what the picture shows. Empty: the guest's lines are not what was asked for.
std::vector<result> report(const study &s, const std::string &output)
{
	std::vector<result> results;
	std::istringstream lines(output);
	std::string line;
	const double transfer = s.device.ps_per_byte.to_seconds() * s.device.length;

	std::printf("device_latency_us,queue_depth,commands,kiops,mean_us,min_us,max_us,theory_kiops,theory_us,mean_outstanding\n");
	while (std::getline(lines, line)) {
		unsigned depth;
		uint64_t ps, mean, min, max;

		if (std::sscanf(line.c_str(), "point depth %u ps %" SCNu64 " mean %" SCNu64 " min %" SCNu64 " max %" SCNu64,
				&depth, &ps, &mean, &min, &max) != 5)
			continue;
		if (results.size() == s.device.sweep.size() || s.device.sweep[results.size()].depth != depth)
			return {};
		const storage::point &p = s.device.sweep[results.size()];
		const double latency = p.latency.to_seconds(), rate = p.commands / (double(ps) * 1e-12);
		const double theory = std::min({ depth / (latency + transfer), s.device.channels / latency, 1 / transfer });

		results.push_back({ latency * 1e6, depth, rate / 1e3, theory / 1e3, double(mean) / 1e6, depth / theory * 1e6 });
		std::printf("%g,%u,%u,%.3f,%.3f,%.3f,%.3f,%.3f,%.3f,%.2f\n", latency * 1e6, depth, p.commands, rate / 1e3,
			    double(mean) / 1e6, double(min) / 1e6, double(max) / 1e6, theory / 1e3, depth / theory * 1e6,
			    rate * double(mean) * 1e-12);
	}
	return results.size() == s.device.sweep.size() ? results : std::vector<result>();
}

std::string describe(const study &s, const kvmbox::config &c)
{
	char buf[256];

	std::snprintf(buf, sizeof(buf), "%u B per command, %u channels, link %g GB/s, completion by %s; %s", s.device.length,
		      s.device.channels, s.link, s.device.poll ? "polling" : "MSI",
		      c->clock == KVMBOX_CLOCK_FIXED ? "guest clock fixed: reproducible" : "guest clock tsc");
	std::string text = buf;
	if (c->clock == KVMBOX_CLOCK_FIXED) {
		std::snprintf(buf, sizeof(buf), ", %g ns per exit", double(c->fixed_exit_ps) / 1e3);
		text += buf;
	}
	return text;
}

} // namespace

int sc_main(int argc, char **argv)
{
	study s;
	kvmbox::config config("serial=memory clock=fixed fixed_exit=100ns guest=" GUEST);

	try {
		parse(s, config, argc, argv);
	} catch (const std::string &what) {
		std::fprintf(stderr, "latency_study: %s\n", what.c_str());
		return 2;
	}
	if (config.help_wanted())
		return 0;
	sc_core::sc_report_handler::set_actions("/OSCI/SystemC", sc_core::SC_INFO, sc_core::SC_DO_NOTHING); // stdout is CSV
	kvmbox::box pc("pc", config);
	storage device("storage", pc, s.device);

	sc_core::sc_start();

	if (pc.exit_status() != 0) {
		std::fprintf(stderr, "the guest did not succeed (exit status %d):\n%s", pc.exit_status(), pc.serial_output().c_str());
		return 1;
	}
	const std::vector<result> results = report(s, pc.serial_output());
	if (results.empty()) {
		std::fprintf(stderr, "the guest's results are not those of the sweep\n");
		return 1;
	}
	if (!s.svg.empty() && !plot(s.svg, describe(s, config), results)) {
		std::perror(s.svg.c_str());
		return 1;
	}
	return 0;
}
