// Completion timeouts: see watchdog.h.
#define SC_INCLUDE_DYNAMIC_PROCESSES
#include "tlm_glue/watchdog.h"

#include <algorithm>

namespace kvmbox {

void watchdog::start(const sc_core::sc_time &timeout)
{
	sc_core::sc_spawn_options o;

	m_timeout = timeout;
	o.spawn_method();
	o.dont_initialize();
	o.set_sensitivity(&m_event);
	sc_core::sc_spawn([this] { bark(); }, "completion_timeout", &o);
}

void watchdog::watch(flight &f, const sc_core::sc_process_handle &process)
{
	f.m_process = process;
	m_flights.push_back(&f);
}

void watchdog::arm(const sc_core::sc_time &t)
{
	m_armed = true;
	m_event.notify(t);
}

bool watchdog::b_transport(flight &f, tlm::tlm_fw_transport_if<> &target, tlm::tlm_generic_payload &gp, sc_core::sc_time &delay)
{
	struct scope {
		bool &active;
		explicit scope(bool &a) : active(a) { active = true; }
		~scope() { active = false; }
	} under_way(f.m_active);

	f.m_since = sc_core::sc_time_stamp();
	if (!m_armed && m_timeout != sc_core::SC_ZERO_TIME)
		arm(m_timeout);
	try {
		target.b_transport(gp, delay);
	} catch (const expired &) {
		return false;
	}
	return true;
}

/* throw_it() runs the process it throws into, which may begin its next access before it returns. */
void watchdog::bark()
{
	sc_core::sc_time next = m_timeout;
	bool any = false;

	m_armed = false;
	for (flight *f : m_flights) {
		if (!f->m_active)
			continue;
		const sc_core::sc_time since = sc_core::sc_time_stamp() - f->m_since;
		if (since >= m_timeout) {
			f->m_process.throw_it(expired());
		} else {
			next = std::min(next, m_timeout - since);
			any = true;
		}
	}
	if (any)
		arm(next);
}

void watchdog::rest()
{
	if (!m_armed || std::any_of(m_flights.begin(), m_flights.end(), [](const flight *f) { return f->m_active; }))
		return;
	m_event.cancel();
	m_armed = false;
}

} // namespace kvmbox
