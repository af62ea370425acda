/*
 * Completion timeouts: one event and one process watch over all accesses of a
 * box that are under way. It costs an access two assignments: it is armed by the
 * first one, and when it fires during a later one it re-arms for the remainder.
 */
#ifndef KVMBOX_TLM_WATCHDOG_H
#define KVMBOX_TLM_WATCHDOG_H

#include <systemc>
#include <tlm>
#include <vector>

namespace kvmbox {

/* The access a process has under way, if any. */
class flight {
	friend class watchdog;
	sc_core::sc_process_handle m_process;
	sc_core::sc_time m_since;
	bool m_active = false;
};

class watchdog {
public:
	watchdog() : m_event("watchdog") {}
	/* During elaboration; makes the process. timeout 0: nothing ever times out. */
	void start(const sc_core::sc_time &timeout);
	/* f's accesses will be made by this process. f must outlive the watchdog. */
	void watch(flight &f, const sc_core::sc_process_handle &process);

	/* Calls the target, by f's process; false when the timeout hit. */
	bool b_transport(flight &f, tlm::tlm_fw_transport_if<> &target, tlm::tlm_generic_payload &gp, sc_core::sc_time &delay);
	/* Without accesses under way it does not keep a simulation going that has nothing else to do. */
	void rest();
	const sc_core::sc_time &timeout() const { return m_timeout; }

private:
	struct expired {}; /* thrown into a target that does not answer */

	void arm(const sc_core::sc_time &t);
	void bark();

	std::vector<flight *> m_flights;
	sc_core::sc_event m_event;
	sc_core::sc_time m_timeout;
	bool m_armed = false;
};

} // namespace kvmbox

#endif
