// The same run alone and with every core wanted by others: what the guest sees does not depend on it.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <kvmbox/probe.h>

namespace {

std::string run(const std::string &options)
{
	FILE *f = popen((SUBJECT " " + options + " 2>/dev/null").c_str(), "r");
	std::string out;
	char buf[4096];
	size_t n;

	while ((n = fread(buf, 1, sizeof(buf), f)))
		out.append(buf, n);
	EXPECT_EQ(pclose(f), 0) << out;
	return out;
}

// The same, while signals come.
std::string run_bombarded(const std::string &options, unsigned long &sent)
{
	const int sig = SIGRTMIN + 7; // kb_kick_signal()
	int fds[2];
	std::string out;
	char buf[4096];
	ssize_t n;

	if (pipe(fds))
		return "no pipe";
	const auto before = signal(sig, SIG_IGN); // for the child, until the box handles it: the first signal may beat any line of it
	const pid_t pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		freopen("/dev/null", "w", stderr);
		close(fds[0]);
		alarm(120);
		execl("/bin/sh", "sh", "-c", ("exec " SUBJECT " " + options).c_str(), nullptr);
		_exit(127);
	}
	signal(sig, before);
	close(fds[1]);
	std::atomic<bool> over{false};
	std::thread bombs([&] {
		for (; !over; sent++) {
			kill(pid, sig);
			std::this_thread::sleep_for(std::chrono::microseconds(400));
		}
	});
	while ((n = read(fds[0], buf, sizeof(buf))) > 0)
		out.append(buf, size_t(n));
	close(fds[0]);
	siginfo_t how{};
	waitid(P_PID, id_t(pid), &how, WEXITED | WNOWAIT); // the pid stays its own until the signals are over
	over = true;
	bombs.join();
	waitpid(pid, nullptr, 0);
	EXPECT_EQ(how.si_code, CLD_EXITED);
	EXPECT_EQ(how.si_status, 0) << out;
	return out;
}

// Two busy processes for each core.
class load {
public:
	load()
	{
		for (unsigned i = 0; i < 2 * std::max(1u, std::thread::hardware_concurrency()); i++) {
			const pid_t pid = fork();

			if (pid == 0) {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				alarm(120);
				for (;;)
					;
			}
			m_pids.push_back(pid);
		}
	}
	~load()
	{
		for (pid_t p : m_pids) {
			kill(p, SIGKILL);
			waitpid(p, nullptr, 0);
		}
	}

private:
	std::vector<pid_t> m_pids;
};

// What a 10 us read took the guest, median, ps.
double median_read_ps(const std::string &trace)
{
	std::istringstream in(trace);
	std::string line;
	std::vector<double> took;

	while (std::getline(in, line)) {
		unsigned op;
		unsigned long long value, from, to;

		if (std::sscanf(line.c_str(), "guest %u: %llu from %llu to %llu", &op, &value, &from, &to) == 4 && op == 1)
			took.push_back(double(to - from));
	}
	EXPECT_EQ(took.size(), 150u);
	if (took.empty())
		return 0;
	std::nth_element(took.begin(), took.begin() + long(took.size() / 2), took.end());
	return took[took.size() / 2];
}

class under_load : public testing::Test {
protected:
	void SetUp() override
	{
		static kvmbox_probe_result host{};

		if (!host.usable && kvmbox_probe(&host) < 0)
			GTEST_SKIP() << host.why_not.msg;
	}
};

class exact : public under_load, public testing::WithParamInterface<const char *> {};

TEST_P(exact, same_to_the_byte)
{
	const std::string alone = run(GetParam()), again = run(GetParam());

	EXPECT_GT(alone.size(), 10000u);
	EXPECT_EQ(alone, again);
	load l;
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(run(GetParam()), alone) << "under load, run " << i;
}

// The kick's own signal, from outside, every few hundred microseconds: at any moment of a step.
TEST_P(exact, same_to_the_byte_whatever_signals_come)
{
	const std::string alone = run(GetParam());
	unsigned long sent = 0;

	EXPECT_GT(alone.size(), 10000u);
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(run_bombarded(GetParam(), sent), alone) << "run " << i;
	EXPECT_GT(sent, 300u);
}

INSTANTIATE_TEST_SUITE_P(clocks, exact, testing::Values("clock=fixed", "clock=fixed fixed_exit=500ns quantum=100us", "clock=step step=200ns"),
			 [](auto &i) { return std::to_string(i.index); });

// README states the error of the tsc clock; this is far beyond it. Without account of what the host takes away it is milliseconds.
TEST_F(under_load, tsc_within_its_bound)
{
	const double alone = median_read_ps(run("clock=tsc"));
	load l;
	const double loaded = median_read_ps(run("clock=tsc"));

	std::printf("a read of 10 us and two looks at the clock take the guest %.3f us alone, %.3f us under load (medians)\n",
		    alone / 1e6, loaded / 1e6);
	EXPECT_GE(alone, 10e6);
	EXPECT_GE(loaded, 10e6);
	EXPECT_LT(alone, 110e6);
	EXPECT_LT(loaded, 110e6);
}

} // namespace
