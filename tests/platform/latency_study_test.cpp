// examples/latency_study with a few points: the same twice, and nothing faster than the device can be.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace {

std::string run(const std::string &arguments, int *status)
{
	FILE *f = popen((STUDY " " + arguments + " 2>/dev/null").c_str(), "r");
	std::string out;
	char buf[4096];
	size_t n;

	while ((n = std::fread(buf, 1, sizeof(buf), f)))
		out.append(buf, n);
	*status = pclose(f);
	return out;
}

struct row {
	double latency_us;
	unsigned depth, commands;
	double kiops, mean, min, max, theory_kiops, theory_us, outstanding;
};

std::vector<row> parse(const std::string &csv)
{
	std::vector<row> rows;
	std::istringstream in(csv);
	std::string line;

	std::getline(in, line);
	EXPECT_EQ(line.substr(0, 30), "device_latency_us,queue_depth,");
	while (std::getline(in, line)) {
		row r;

		EXPECT_EQ(std::sscanf(line.c_str(), "%lf,%u,%u,%lf,%lf,%lf,%lf,%lf,%lf,%lf", &r.latency_us, &r.depth, &r.commands,
				      &r.kiops, &r.mean, &r.min, &r.max, &r.theory_kiops, &r.theory_us, &r.outstanding), 10) << line;
		rows.push_back(r);
	}
	return rows;
}

// The device's limits, from first principles: channels, link, and that a command takes its latency and its transfer.
void plausible(const row &r, unsigned channels, double transfer_us)
{
	SCOPED_TRACE(testing::Message() << r.latency_us << " us, depth " << r.depth);
	const double rounding = 1.0001; // of the CSV
	EXPECT_LE(r.kiops, 1e3 * r.depth / (r.latency_us + transfer_us) * rounding);
	EXPECT_LE(r.kiops, 1e3 * channels / r.latency_us * rounding);
	EXPECT_LE(r.kiops, 1e3 / transfer_us * rounding);
	EXPECT_GE(r.max, r.min);
	EXPECT_GE(r.mean * rounding, r.latency_us + transfer_us);
	// The first depth commands count for the rate only, so this is not exact.
	EXPECT_LE(r.outstanding, r.depth * 1.5);
	EXPECT_NEAR(r.theory_kiops * r.theory_us * 1e-3, r.depth, 1e-3 * r.depth); // Little's law
}

struct latency_study : testing::Test {
	void SetUp() override
	{
		if (access("/dev/kvm", R_OK | W_OK))
			GTEST_SKIP() << "/dev/kvm is not usable";
	}
};

const char points[] = "latency=1us,30us depth=1,4,16 commands=64 channels=4";

TEST_F(latency_study, is_reproducible)
{
	const std::string svg = "latency_study_test." + std::to_string(getpid()) + ".svg";
	std::string picture[2], csv[2];

	for (int i = 0; i < 2; i++) {
		int status;

		csv[i] = run(std::string(points) + " svg=" + svg, &status);
		ASSERT_EQ(status, 0);
		std::ifstream in(svg);
		picture[i].assign(std::istreambuf_iterator<char>(in), {});
		std::remove(svg.c_str());
	}
	EXPECT_EQ(csv[0], csv[1]);
	EXPECT_EQ(picture[0], picture[1]);
	EXPECT_NE(picture[0].find("</svg>"), std::string::npos);
}

TEST_F(latency_study, is_physically_plausible)
{
	int status;
	const auto rows = parse(run(points, &status));

	ASSERT_EQ(status, 0);
	ASSERT_EQ(rows.size(), 6u);
	for (const row &r : rows)
		plausible(r, 4, 0.512);
	// And not only slow: the 30 us device is limited by itself, the driver costs little.
	for (const row &r : rows) {
		if (r.latency_us == 30) {
			EXPECT_GT(r.kiops, 0.9 * r.theory_kiops) << r.depth;
		}
	}
}

// Without interrupts, and in the time of this host.
TEST_F(latency_study, polling_and_host_time)
{
	for (const char *how : { "completion=poll", "clock=tsc" }) {
		int status;
		const auto rows = parse(run(std::string("latency=2us depth=1,8 commands=32 channels=4 ") + how, &status));

		ASSERT_EQ(status, 0) << how;
		ASSERT_EQ(rows.size(), 2u);
		for (const row &r : rows)
			plausible(r, 4, 0.512);
	}
}

TEST_F(latency_study, refuses_nonsense)
{
	for (const char *bad : { "depth=0", "depth=65", "depth=x", "completion=maybe", "length=4", "nonsense=1" }) {
		int status;

		run(bad, &status);
		EXPECT_NE(status, 0) << bad;
	}
}

} // namespace

int main(int argc, char **argv)
{
	testing::InitGoogleTest(&argc, argv);
	return RUN_ALL_TESTS();
}
