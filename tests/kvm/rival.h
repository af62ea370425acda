// Load on the host, for tests of what must not depend on it.
#ifndef KB_RIVAL_H
#define KB_RIVAL_H

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fixture {

// A process that wants the same CPU all the time, for as long as this lives.
class rival {
public:
	rival()
	{
		const int cpu = sched_getcpu();

		sched_getaffinity(0, sizeof(m_before), &m_before);
		cpu_set_t one;
		CPU_ZERO(&one);
		CPU_SET(cpu < 0 ? 0 : cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
		m_pid = fork();
		if (m_pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			alarm(60);
			for (;;)
				;
		}
	}
	~rival()
	{
		kill(m_pid, SIGKILL);
		waitpid(m_pid, nullptr, 0);
		sched_setaffinity(0, sizeof(m_before), &m_before);
	}

private:
	cpu_set_t m_before;
	pid_t m_pid;
};

} // namespace fixture

#endif
