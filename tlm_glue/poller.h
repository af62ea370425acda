/*
 * Watches file descriptors from a thread of its own, so that the simulation
 * costs nothing extra while it runs and wakes at once when it sleeps. The
 * thread touches nothing but the descriptors; ready() has to be thread-safe.
 */
#ifndef KVMBOX_TLM_POLLER_H
#define KVMBOX_TLM_POLLER_H

#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace kvmbox {

class poller {
public:
	explicit poller(std::function<void()> ready) : m_ready(std::move(ready)) {}
	~poller();
	/*
	 * Calls ready() once when one of the descriptors is readable or broken, at most
	 * every millisecond; to be asked again then. False: no thread or descriptor to be had.
	 */
	bool watch(const std::vector<int> &fds);

private:
	bool start();
	void run();
	void nudge();

	std::function<void()> m_ready;
	std::thread m_thread;
	int m_control = -1; /* eventfd: something below has changed */
	std::mutex m_lock;  /* for all that follows */
	std::vector<int> m_fds;
	bool m_armed = false, m_quit = false;
};

} // namespace kvmbox

#endif
