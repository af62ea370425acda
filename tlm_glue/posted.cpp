// Posted writes on their way to a target: see posted.h.
#include "tlm_glue/posted.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace kvmbox {

namespace {

using sc_core::sc_time;
using sc_core::sc_time_stamp;

sc_time left(const sc_time &t)
{
	return t > sc_time_stamp() ? t - sc_time_stamp() : sc_core::SC_ZERO_TIME;
}

/* Saturates: a target's delay may say anything. */
sc_time after(const sc_time &t, const sc_time &d)
{
	return d < never() - t ? t + d : never();
}

} // namespace

/* ---- the guest's side ---------------------------------------------------------- */

int posted_queue::post(const ::kvmbox_access &a, uint64_t at_ps)
{
	const sc_time leaves = after(sc_time_stamp(), from_ps(a.delay_ps));

	while (m_count == m_ring.size() && !m_gone)
		sc_core::wait(m_done);
	if (m_gone)
		return -EAGAIN;
	entry &e = m_ring[(m_head + m_count++) % m_ring.size()];
	e.access = a;
	e.access.data = reinterpret_cast<uint8_t *>(&e.data);
	e.data = 0;
	memcpy(&e.data, a.data, std::min<size_t>(a.len, sizeof(e.data)));
	/* The wait for room may have taken longer than the guest's lead. */
	e.due = after(from_ps(at_ps), sc_time_stamp() > leaves ? sc_time_stamp() - leaves : sc_core::SC_ZERO_TIME);
	/* Immediately if it can go now: the guest gives it a turn before it does anything else. */
	if (loosely_timed() || e.due <= sc_time_stamp())
		m_posted.notify();
	else
		m_posted.notify(e.due - sc_time_stamp());
	return 0;
}

void posted_queue::drain()
{
	while (m_count)
		sc_core::wait(m_done);
}

void posted_queue::push(sc_time &delay)
{
	const sc_time at = after(sc_time_stamp(), delay);

	if (m_count) {
		drain();
		m_box.hold(); /* one of them may have paused the box */
	}
	if (!loosely_timed() && m_free > sc_time_stamp())
		sc_core::wait(m_free - sc_time_stamp());
	delay = left(std::max(at, m_free));
}

/* ---- the writes' side ------------------------------------------------------------ */

void posted_queue::start()
{
	sc_core::sc_spawn_options o;

	o.set_stack_size(box::stack_bytes);
	m_box.m_watchdog->watch(m_flight, sc_core::sc_spawn([this] { run(); }, "posted", &o));
}

/*
 * kill() and reset() are the kernel's business; a reset process goes on with the next write. What else a target throws
 * ends the run, in the box's process if that is still in the guest.
 */
void posted_queue::run()
{
	try {
		for (;;) {
			while (!m_count)
				sc_core::wait(m_posted);
			deliver();
		}
	} catch (const sc_core::sc_unwind_exception &u) {
		if (!u.is_reset())
			give_up();
		throw;
	} catch (...) {
		give_up();
		if (!m_box.abandon(std::current_exception()))
			throw;
	}
}

void posted_queue::give_up()
{
	m_gone = true;
	for (; m_count; m_count--)
		kvmbox_post_failed(m_function.c_function());
	m_done.notify();
}

/* A write counts until it is over, however that comes about. */
class posted_queue::popper {
public:
	explicit popper(posted_queue &q) : m_queue(q) {}
	~popper()
	{
		m_queue.m_head = (m_queue.m_head + 1) % m_queue.m_ring.size();
		m_queue.m_count--;
		m_queue.m_done.notify();
		m_queue.m_box.posted_done();
	}

private:
	posted_queue &m_queue;
};

void posted_queue::deliver()
{
	entry &e = m_ring[m_head];
	const sc_time begin = std::max(e.due, m_free);

	while (!loosely_timed() && begin > sc_time_stamp())
		sc_core::wait(begin - sc_time_stamp());
	popper pop(*this);
	sc_time delay = left(begin);
	if (m_function.hand_over(e.access, delay, m_flight, true) < 0)
		kvmbox_post_failed(m_function.c_function());
	m_free = after(sc_time_stamp(), delay);
}

} // namespace kvmbox
