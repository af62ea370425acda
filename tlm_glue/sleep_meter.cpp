// Host time slept: see sleep_meter.h.
#include "tlm_glue/sleep_meter.h"

#include <ctime>

namespace kvmbox {
namespace {

uint64_t read_clock(clockid_t id)
{
	timespec t;

	clock_gettime(id, &t);
	return static_cast<uint64_t>(t.tv_sec) * 1000000000u + static_cast<uint64_t>(t.tv_nsec);
}

} // namespace

uint64_t sleep_meter::s_paced;

uint64_t sleep_meter::napped()
{
	const uint64_t wall = read_clock(CLOCK_MONOTONIC), cpu = read_clock(CLOCK_THREAD_CPUTIME_ID);
	const uint64_t passed = wall - m_wall, busy = cpu - m_cpu;
	m_wall = wall;
	m_cpu = cpu;
	return passed > busy ? passed - busy : 0;
}

void sleep_meter::nap(bool on)
{
	m_napping = on;
	if (!on)
		return;
	m_wall = read_clock(CLOCK_MONOTONIC);
	m_cpu = read_clock(CLOCK_THREAD_CPUTIME_ID);
}

} // namespace kvmbox
