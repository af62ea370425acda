// The study's picture: throughput and latency over queue depth, as SVG.
#ifndef PLOT_H
#define PLOT_H

#include <string>
#include <vector>

// What one point of the sweep gave; theory from Little's law, see main.cpp.
struct result {
	double latency_us;          // of the device
	unsigned depth;
	double kiops, theory_kiops;
	double mean_us, theory_us;
};

// results: grouped by latency, depths rising. False: the file cannot be written.
bool plot(const std::string &path, const std::string &subtitle, const std::vector<result> &results);

#endif
