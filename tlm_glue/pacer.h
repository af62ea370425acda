/*
 * Paces simulated time to the wall clock: never ahead of it, and it says how
 * far behind. Knows nothing of SystemC; the box calls hold() once per tick of
 * simulated time, from a process of its own, so that the whole simulation is
 * paced, whatever the guest does.
 */
#ifndef KVMBOX_TLM_PACER_H
#define KVMBOX_TLM_PACER_H

#include <cstdint>
#include <string>

#include <kvmbox/tlm_box.h>

namespace kvmbox {

class pacer {
public:
	/* factor: simulated seconds per second of the wall clock, 1e-6 to 1e6. */
	explicit pacer(double factor);

	/* Simulated time between two calls of hold(): a millisecond of the wall clock. */
	uint64_t tick_ps() const { return m_tick_ps; }
	/* The host has been away on purpose (a pause): what passed until the next hold() is not lag. */
	void rebase() { m_based = false; }
	/*
	 * Simulated time is now_ps and may go on to next_ps (a tick later): sleeps the host
	 * until the wall clock has got there. True: it is worth a warning that it got there before.
	 */
	bool hold(uint64_t now_ps, uint64_t next_ps);

	const pace_stats &stats() const { return m_stats; }
	/* For the warning. */
	std::string text() const;

private:
	uint64_t wall(uint64_t ps) const;
	bool behind(uint64_t now_ns, uint64_t lag_ns);

	double m_factor;
	uint64_t m_tick_ps;
	bool m_based = false;
	uint64_t m_base_ps = 0, m_base_ns = 0; /* these two are the same moment */
	uint64_t m_warned_ns = 0;              /* host time of the last warning, 0: none yet */
	uint64_t m_silence_ns = 0;             /* no other for so long after it */
	pace_stats m_stats;
};

} // namespace kvmbox

#endif
