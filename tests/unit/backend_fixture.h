// What the tests of block and network back ends share: a folder, the log, simulated time, time limits.
#ifndef BACKEND_FIXTURE_H
#define BACKEND_FIXTURE_H

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <poll.h>
#include <sstream>
#include <string>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <kvmbox/backend.h>

inline size_t open_fds()
{
	size_t n = 0;
	DIR *d = opendir("/proc/self/fd");
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

inline bool until(const std::function<bool()> &done, int ms = 20000)
{
	auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
	while (!done()) {
		if (std::chrono::steady_clock::now() > end)
			return false;
		usleep(500);
	}
	return true;
}

inline std::string contents(const std::string &path)
{
	std::ifstream f(path, std::ios::binary);
	std::stringstream s;
	s << f.rdbuf();
	return s.str();
}

inline void put(const std::string &path, const std::string &bytes)
{
	std::ofstream(path, std::ios::binary) << bytes;
}

// A program that ends with us.
class child {
public:
	explicit child(const std::vector<std::string> &args)
	{
		m_pid = fork();
		if (m_pid)
			return;
		std::vector<char *> argv;
		for (auto &a : args)
			argv.push_back(const_cast<char *>(a.c_str()));
		argv.push_back(nullptr);
		int null = open("/dev/null", O_RDWR);
		dup2(null, 0), dup2(null, 1), dup2(null, 2);
		alarm(120);
		execvp(argv[0], argv.data());
		_exit(127);
	}
	~child() { end(SIGKILL); }
	child(const child &) = delete;
	child &operator=(const child &) = delete;
	int wait()
	{
		int status = -1;
		if (m_pid > 0)
			waitpid(m_pid, &status, 0);
		m_pid = 0;
		return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	}
	void end(int sig)
	{
		if (m_pid > 0)
			kill(m_pid, sig);
		wait();
	}
	bool alive() { return m_pid > 0 && waitpid(m_pid, nullptr, WNOHANG) == 0; }
	pid_t pid() const { return m_pid; }

private:
	pid_t m_pid;
};

inline bool have_program(const char *name)
{
	return system((std::string("command -v ") + name + " >/dev/null").c_str()) == 0;
}

class backend_test : public testing::Test {
protected:
	kvmbox_error err{};
	std::string log, dir;
	uint64_t now_ps = 0;
	kvmbox_backend_user user{};
	size_t fds_before = 0;

	void SetUp() override
	{
		alarm(120);
		user.what = "disk0";
		user.log = [](void *o, kvmbox_log_level, const char *msg) {
			*static_cast<std::string *>(o) += std::string(msg) + "\n";
		};
		user.log_opaque = &log;
		user.now_ps = [](void *o) { return *static_cast<uint64_t *>(o); };
		user.now_opaque = &now_ps;
		char name[] = "/tmp/kb-backend-XXXXXX";
		dir = mkdtemp(name);
		fds_before = open_fds();
	}
	void TearDown() override
	{
		EXPECT_EQ(open_fds(), fds_before);
		EXPECT_EQ(system(("rm -rf " + dir).c_str()), 0);
		alarm(0);
	}
	bool said(const std::string &text) const { return log.find(text) != std::string::npos; }
	bool message(const std::string &text) const { return std::string(err.msg).find(text) != std::string::npos; }
	size_t log_lines() const { return static_cast<size_t>(std::count(log.begin(), log.end(), '\n')); }
};

#endif
