// Two log-log panels in plain SVG: what the guest measured as lines with marks, theory dotted.
#include "plot.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>

namespace {

const double width = 380, height = 300, top = 84; // of a panel
// A palette that colour-blind readers can tell apart (Okabe and Ito).
const char *const colours[] = { "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9" };

__attribute__((format(printf, 1, 2))) std::string text(const char *fmt, ...)
{
	char buf[512];
	va_list args;

	va_start(args, fmt);
	std::vsnprintf(buf, sizeof(buf), fmt, args);
	va_end(args);
	return buf;
}

const char *colour(size_t i)
{
	return colours[i % (sizeof(colours) / sizeof(colours[0]))];
}

struct panel {
	double left;
	const char *title, *unit;
	double result::*measured, result::*theory;
	double x0 = 0, x1 = 1, y0 = 0, y1 = 1; // logarithms: x base 2, y base 10

	void fit(const std::vector<result> &all)
	{
		double low = 1e300, high = 0, deepest = 2;

		for (const result &r : all) {
			low = std::min({ low, r.*measured, r.*theory });
			high = std::max({ high, r.*measured, r.*theory });
			deepest = std::max(deepest, double(r.depth));
		}
		x1 = std::ceil(std::log2(deepest));
		y0 = std::log10(low / 1.5);
		y1 = std::log10(std::max(high, low * 10) * 1.5);
	}
	double x(double depth) const { return left + (std::log2(depth) - x0) / (x1 - x0) * width; }
	double y(double v) const { return top + (y1 - std::log10(v)) / (y1 - y0) * height; }

	std::string rule(double v, bool decade) const
	{
		std::string s;

		if (std::log10(v) < y0 || std::log10(v) > y1)
			return s;
		s = text("<line x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f' stroke='%s'/>\n", left, left + width, y(v), y(v),
			 decade ? "#ccc" : "#f0f0f0");
		if (decade)
			s += text("<text x='%.1f' y='%.1f' text-anchor='end'>%g</text>\n", left - 8, y(v) + 4, v);
		return s;
	}
	std::string axes() const
	{
		std::string s;

		for (double e = std::floor(y0); e <= y1; e++)
			for (int m = 1; m < 10; m++)
				s += rule(m * std::pow(10, e), m == 1);
		for (double e = x0; e <= x1; e++) {
			const double d = std::exp2(e);

			s += text("<line x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f' stroke='#ddd'/>\n", x(d), x(d), top, top + height);
			s += text("<text x='%.1f' y='%.1f' text-anchor='middle'>%g</text>\n", x(d), top + height + 18, d);
		}
		s += text("<rect x='%.1f' y='%.1f' width='%.1f' height='%.1f' fill='none' stroke='#333'/>\n", left, top, width, height);
		s += text("<text x='%.1f' y='%.1f' text-anchor='middle' class='h'>%s</text>\n", left + width / 2, top - 10, title);
		s += text("<text x='%.1f' y='%.1f' text-anchor='middle'>queue depth (commands outstanding)</text>\n",
			  left + width / 2, top + height + 38);
		s += text("<text transform='translate(%.1f %.1f) rotate(-90)' text-anchor='middle'>%s</text>\n", left - 48,
			  top + height / 2, unit);
		return s;
	}
	std::string line(const std::vector<result> &all, double latency, double result::*what, const char *stroke) const
	{
		std::string s = "<polyline fill='none' " + std::string(stroke) + " points='";

		for (const result &r : all)
			if (r.latency_us == latency)
				s += text("%.1f,%.1f ", x(r.depth), y(r.*what));
		return s + "'/>\n";
	}
	std::string curve(const std::vector<result> &all, double latency, const char *c) const
	{
		std::string s = line(all, latency, theory, text("stroke='%s' stroke-width='1.8' stroke-dasharray='1.5 4' "
								"stroke-linecap='round'", c).c_str());

		s += line(all, latency, measured, text("stroke='%s' stroke-width='1.8'", c).c_str());
		for (const result &r : all)
			if (r.latency_us == latency)
				s += text("<circle cx='%.1f' cy='%.1f' r='3.2' fill='%s'/>\n", x(r.depth), y(r.*measured), c);
		return s;
	}
};

std::string legend(const std::vector<double> &latencies, double y)
{
	double x = 72;
	std::string s = text("<text x='%.1f' y='%.1f'>Device latency:</text>\n", x, y);

	x += 102;
	for (size_t i = 0; i < latencies.size(); i++, x += 86) {
		s += text("<line x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f' stroke='%s' stroke-width='1.8'/>\n", x, x + 26, y - 4,
			  y - 4, colour(i));
		s += text("<circle cx='%.1f' cy='%.1f' r='3.2' fill='%s'/>\n", x + 13, y - 4, colour(i));
		s += text("<text x='%.1f' y='%.1f'>%g µs</text>\n", x + 32, y, latencies[i]);
	}
	x += 20;
	s += text("<line x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f' stroke='#555' stroke-width='1.8' stroke-dasharray='1.5 4' "
		  "stroke-linecap='round'/>\n", x, x + 26, y - 4, y - 4);
	return s + text("<text x='%.1f' y='%.1f'>theory: Little’s law, device only</text>\n", x + 32, y);
}

} // namespace

bool plot(const std::string &path, const std::string &subtitle, const std::vector<result> &results)
{
	panel panels[] = {
		{ 72, "Throughput", "1000 commands per second", &result::kiops, &result::theory_kiops },
		{ 72 + width + 90, "Latency, mean per command", "µs", &result::mean_us, &result::theory_us },
	};
	std::vector<double> latencies;
	std::string s = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 940 470' width='940' height='470' "
			"font-family='DejaVu Sans, Helvetica, Arial, sans-serif' font-size='12' fill='#222'>\n"
			"<style>.h{font-weight:bold;font-size:14px}</style>\n"
			"<rect width='940' height='470' fill='white'/>\n";

	for (const result &r : results)
		if (std::find(latencies.begin(), latencies.end(), r.latency_us) == latencies.end())
			latencies.push_back(r.latency_us);
	s += "<text x='72' y='26' font-weight='bold' font-size='15'>Storage device latency and queue depth, as the guest's "
	     "driver measured them</text>\n<text x='72' y='46'>" + subtitle + "</text>\n";
	for (panel &p : panels) {
		p.fit(results);
		s += p.axes();
		for (size_t i = 0; i < latencies.size(); i++)
			s += p.curve(results, latencies[i], colour(i));
	}
	s += legend(latencies, top + height + 70) + "</svg>\n";

	FILE *f = std::fopen(path.c_str(), "w");
	if (!f)
		return false;
	const bool written = std::fwrite(s.data(), 1, s.size(), f) == s.size();
	return std::fclose(f) == 0 && written;
}
