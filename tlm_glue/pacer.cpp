// Simulated time after the wall clock: see pacer.h.
#include "tlm_glue/pacer.h"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <sstream>

#include "tlm_glue/sleep_meter.h"

namespace kvmbox {
namespace {

constexpr uint64_t second_ns = 1000000000;
constexpr double tick_ps_at_1 = 1e9;
/* More than this is a matter for a warning, every so often. */
constexpr uint64_t tolerated_ns = second_ns / 10, warning_interval_ns = 10 * second_ns;
/* More than this is not made up: a guest that races through minutes of backlog serves nobody. */
constexpr uint64_t made_up_ns = second_ns;

uint64_t host_ns()
{
	timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return static_cast<uint64_t>(t.tv_sec) * second_ns + static_cast<uint64_t>(t.tv_nsec);
}

void sleep_until(uint64_t ns)
{
	const timespec t = { static_cast<time_t>(ns / second_ns), static_cast<long>(ns % second_ns) };

	/* EINTR comes from the kick's signal and the user's. */
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr) == EINTR)
		;
}

} // namespace

pacer::pacer(double factor)
	: m_factor(factor), m_tick_ps(static_cast<uint64_t>(std::max(1.0, tick_ps_at_1 * factor)))
{
}

uint64_t pacer::wall(uint64_t ps) const
{
	return m_base_ns + static_cast<uint64_t>(static_cast<double>(ps - m_base_ps) / 1e3 / m_factor);
}

/*
 * Sleeping until the end of the coming tick, not to its beginning, is what
 * makes it "never ahead": all that happens within the tick happens after.
 */
bool pacer::hold(uint64_t now_ps, uint64_t next_ps)
{
	const uint64_t now = host_ns();

	if (!m_based) {
		m_base_ps = now_ps;
		m_base_ns = now;
		m_based = true;
	}
	const uint64_t due = wall(next_ps);
	if (now > due)
		return behind(now, now - due);
	m_stats.lag_ns = 0;
	sleep_until(due);
	sleep_meter::add(host_ns() - now);
	return false;
}

bool pacer::behind(uint64_t now_ns, uint64_t lag_ns)
{
	m_stats.lag_ns = lag_ns;
	m_stats.max_lag_ns = std::max(m_stats.max_lag_ns, lag_ns);
	if (lag_ns > made_up_ns) {
		m_stats.given_up_ns += lag_ns;
		m_base_ns += lag_ns;
	}
	if (lag_ns < tolerated_ns || (m_warned_ns && now_ns - m_warned_ns < m_silence_ns))
		return false;
	m_silence_ns = m_warned_ns ? 2 * m_silence_ns : warning_interval_ns; /* who reads it does not want it for ever */
	m_warned_ns = now_ns;
	return true;
}

std::string pacer::text() const
{
	std::ostringstream s;

	s << "the simulation does not keep up with the wall clock: it is " << m_stats.lag_ns / 1000000
	  << " ms behind (at most " << m_stats.max_lag_ns / 1000000 << " ms, " << m_stats.given_up_ns / 1000000
	  << " ms given up)";
	return s.str();
}

} // namespace kvmbox
