// Input watch thread: see poller.h.
#include "tlm_glue/poller.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <system_error>

namespace kvmbox {

poller::~poller()
{
	if (m_thread.joinable()) {
		{
			std::lock_guard<std::mutex> l(m_lock);
			m_quit = true;
		}
		nudge();
		m_thread.join();
	}
	if (m_control >= 0)
		close(m_control);
}

/* The thread takes no signals: they are for those who know what they mean. */
bool poller::start()
{
	sigset_t all, old;

	if (m_control < 0)
		m_control = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m_control < 0)
		return false;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	try {
		m_thread = std::thread([this] { run(); });
	} catch (const std::system_error &) {
	}
	pthread_sigmask(SIG_SETMASK, &old, nullptr);
	return m_thread.joinable();
}

void poller::nudge()
{
	const uint64_t one = 1;

	/* Cannot fail but when the counter is full, and then the thread is awake. */
	if (write(m_control, &one, sizeof(one)) < 0)
		return;
}

bool poller::watch(const std::vector<int> &fds)
{
	if (!m_thread.joinable() && !start())
		return false;
	{
		std::lock_guard<std::mutex> l(m_lock);
		if (m_armed && m_fds == fds)
			return true;
		m_fds = fds;
		m_armed = true;
	}
	nudge();
	return true;
}

void poller::run()
{
	std::vector<pollfd> p;
	uint64_t count;

	for (;;) {
		p.assign(1, { m_control, POLLIN, 0 });
		{
			std::lock_guard<std::mutex> l(m_lock);
			if (m_quit)
				return;
			if (m_armed)
				for (int fd : m_fds)
					p.push_back({ fd, POLLIN, 0 });
		}
		if (poll(p.data(), p.size(), -1) < 0)
			continue;
		if (p[0].revents) {
			if (read(m_control, &count, sizeof(count)) < 0)
				continue;
			continue;
		}
		{
			std::lock_guard<std::mutex> l(m_lock);
			m_armed = false;
		}
		m_ready();
		/* Input the guest does not take stays ready: do not spin on it. */
		std::this_thread::sleep_for(std::chrono::milliseconds(1));
	}
}

} // namespace kvmbox
