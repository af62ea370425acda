/*
 * kvmbox/tlm_time.h - picoseconds of the C ABI <-> sc_time, exact in integers
 * for every SystemC time resolution. The first call fixes the resolution.
 */
#ifndef KVMBOX_TLM_TIME_H
#define KVMBOX_TLM_TIME_H

#include <cstdint>
#include <systemc>

namespace kvmbox {

/* The largest sc_time: "never". Not sc_max_time(), which needs a kernel. */
inline sc_core::sc_time never()
{
	return sc_core::sc_time::from_value(UINT64_MAX);
}

/* Rounds up to SystemC's resolution, saturates; KVMBOX_TIME_NEVER is never(). */
sc_core::sc_time from_ps(uint64_t ps);
/* Rounds down to a picosecond, saturates; never() is KVMBOX_TIME_NEVER. */
uint64_t to_ps(const sc_core::sc_time &t);
/* Rounds up to a picosecond. */
uint64_t to_ps_up(const sc_core::sc_time &t);

} // namespace kvmbox

#endif
