// The box: guest thread, waiting, callbacks. See kvmbox/tlm_box.h.
//
// No exception may cross the C frames of kvmbox_run() and its like: every
// callback catches, keeps the exception, asks the box to stop and says no to
// whatever comes after; the C++ caller then throws it on. That includes
// sc_unwind_exception (kill, reset), which must reach the kernel.
#include <kvmbox/tlm_box.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <optional>
#include <type_traits>

#include "tlm_glue/pacer.h"
#include "tlm_glue/poller.h"
#include "tlm_glue/posted.h"
#include "tlm_glue/sleep_meter.h"
#include "tlm_glue/watchdog.h"

namespace kvmbox {

constexpr uint64_t poll_interval_ns = 1000000;
constexpr uint64_t default_quantum_ps = 1000000000;

/* While it lives the guest's thread may sleep: see sleep_meter::nap(). */
struct box::napping {
	napping(const napping &) = delete;
	explicit napping(const box &b_) : b(b_)
	{
		b.count_sleep();
		b.m_sleep->nap(true);
	}
	~napping()
	{
		b.count_sleep();
		b.m_sleep->nap(false);
	}
	const box &b;
};

/* ---- callbacks from C ------------------------------------------------------ */

struct box::callbacks {
	template <class F> static auto guarded(void *opaque, F f) -> decltype(f(*static_cast<box *>(opaque)))
	{
		box &b = *static_cast<box *>(opaque);
		using result = decltype(f(b));

		try {
			return f(b);
		} catch (...) {
			b.keep_exception();
		}
		if constexpr (!std::is_void_v<result>)
			return static_cast<result>(-EIO);
	}

	/* Other processes run meanwhile, a pacer's among them. */
	struct others_turn {
		explicit others_turn(box &b_) : b(b_) { b.m_sleep->take(); }
		~others_turn() { b.count_sleep(); }
		box &b;
	};

	static int check_wait(void *opaque, uint64_t t_ps, enum kvmbox_wait how)
	{
		return guarded(opaque, [=](box &b) {
			const others_turn turn(b);
			return b.check_wait(t_ps, how);
		});
	}
	static uint64_t now(void *)
	{
		return to_ps(sc_core::sc_time_stamp());
	}
	static uint64_t next_event(void *opaque)
	{
		return guarded(opaque, [](box &b) { return b.next_event(); });
	}
	static int transport(void *opaque, ::kvmbox_access *a)
	{
		return guarded(opaque, [=](box &b) {
			const others_turn turn(b);
			auto *f = static_cast<pci_function *>(kvmbox_function_opaque(a->function));
			return b.m_exception ? -EIO : f->transport(*a);
		});
	}
	static int post(void *opaque, const ::kvmbox_access *a, uint64_t at_ps)
	{
		return guarded(opaque, [=](box &b) {
			auto *f = static_cast<pci_function *>(kvmbox_function_opaque(a->function));
			const others_turn turn(b);
			return b.m_exception ? -EIO : f->post(*a, at_ps);
		});
	}
	static int push(void *opaque, ::kvmbox_function *function)
	{
		return guarded(opaque, [=](box &b) {
			const others_turn turn(b);
			if (b.m_exception)
				return -EIO;
			if (function)
				static_cast<pci_function *>(kvmbox_function_opaque(function))->push();
			else
				b.drain();
			b.hold();
			return b.m_stop ? -ECANCELED : 0;
		});
	}
	static void command_changed(void *opaque, ::kvmbox_function *function, uint16_t command)
	{
		guarded(opaque, [=](box &b) {
			auto *f = static_cast<pci_function *>(kvmbox_function_opaque(function));
			if (f && !b.m_destroying)
				f->command_changed(command);
		});
	}
	static void log(void *opaque, enum kvmbox_log_level level, const char *msg)
	{
		guarded(opaque, [=](box &b) { b.log(level, msg); });
	}

	static const ::kvmbox_ops ops;
};

const ::kvmbox_ops box::callbacks::ops = {
	callbacks::check_wait,      callbacks::now, callbacks::next_event, callbacks::transport,
	callbacks::command_changed, callbacks::log, callbacks::post, callbacks::push,
};

/* ---- the way in from other threads ------------------------------------------ */

/*
 * Wakes the box from a thread that is not the simulation's. While attached,
 * the kernel sleeps instead of ending the simulation when it has nothing to do.
 */
struct box::host_events : sc_core::sc_prim_channel {
	explicit host_events(box &b)
		: sc_prim_channel("host_events"), m_box(b), inputs([this] {
			  input = true;
			  async_request_update();
		  })
	{
	}
	void signal() { async_request_update(); }
	void update() override
	{
		if (m_box.m_pause_asked.exchange(false) && m_box.m_paused)
			sc_core::sc_pause();
		m_box.wake();
		m_box.unhold();
	}
	void attach(bool yes)
	{
		if (yes)
			async_attach_suspending();
		else
			async_detach_suspending();
	}

	box &m_box;
	std::atomic<bool> input{ false };
	poller inputs;
};

void box::stop()
{
	m_stop = true;
	if (m_c)
		kvmbox_stop(m_c);
	m_host->signal();
}

/* ---- pause and pieces ----------------------------------------------------------- */

/* Everything else is another thread's: SystemC may only be told in update(). */
void box::pause()
{
	m_paused = true;
	if (std::this_thread::get_id() == m_host_thread) {
		if (sc_core::sc_get_status() == sc_core::SC_RUNNING)
			sc_core::sc_pause();
		return;
	}
	m_pause_asked = true;
	m_host->signal();
}

void box::resume()
{
	m_rebase = true;
	m_paused = false;
	if (std::this_thread::get_id() == m_host_thread)
		unhold();
	else
		m_host->signal();
}

void box::stop_after(uint64_t instructions)
{
	kvmbox_error err{};

	if (m_c && kvmbox_stop_after(m_c, instructions, &err) < 0)
		SC_REPORT_ERROR(msg_kvm, (std::string(name()) + ": stop_after(): " + err.msg).c_str());
	wake();
}

void box::unhold()
{
	if (!m_paused || m_stop)
		m_resumed.notify(sc_core::SC_ZERO_TIME);
}

void box::hold()
{
	if (!m_paused || m_stop)
		return;
	const napping nap(*this);
	while (m_paused && !m_stop)
		wait(m_resumed);
}

/* An event at the end is what makes slices end there, see next_event(). Nobody waits for it. */
void box::start(const sc_core::sc_time &t)
{
	struct scope {
		sc_core::sc_event &e;
		~scope() { e.cancel(); }
	} end{ m_period_end };

	m_period_end.notify(t);
	sc_core::sc_start(t);
}

pace_stats box::pace() const
{
	return m_pacer ? m_pacer->stats() : pace_stats();
}

/* A method process; see pacer.h. */
void box::keep_pace()
{
	if (!m_pacing)
		return;
	const sc_core::sc_time tick = from_ps(m_pacer->tick_ps()), now = sc_core::sc_time_stamp();

	if (m_rebase.exchange(false))
		m_pacer->rebase();
	next_trigger(tick);
	if (m_pacer->hold(to_ps(now), to_ps_up(now + tick)))
		SC_REPORT_WARNING(msg_guest, (std::string(name()) + ": " + m_pacer->text()).c_str());
}

/* ---- life -------------------------------------------------------------------- */

box::box(sc_core::sc_module_name nm, const config &cfg)
	: sc_module(nm), m_config(cfg), m_dma(*this, nullptr), m_host(new host_events(*this)), m_sleep(new sleep_meter),
	  m_host_thread(std::this_thread::get_id()), m_wake("wake"), m_ended("ended"), m_counted("counted"), m_resumed("resumed"),
	  m_period_end("period_end"), m_watchdog(new watchdog), m_flight(new flight)
{
	kvmbox_error err{};
	if (!cfg->quantum_ps)
		m_config->quantum_ps = default_quantum_ps;
	m_global_quantum = !cfg->quantum_ps;
	const int r = kvmbox_create(&m_c, &m_config.c_config(), &callbacks::ops, this, &err);

	if (r < 0) {
		m_c = nullptr;
		SC_REPORT_ERROR(r == -EINVAL ? msg_config : msg_kvm, err.msg);
		return;
	}
	try {
		rethrow();
	} catch (...) {
		m_destroying = true;
		kvmbox_destroy(m_c);
		throw;
	}
}

box::~box()
{
	m_destroying = true;
	const std::string trouble = finish_stats();
	if (!trouble.empty())
		SC_REPORT_WARNING(msg_guest, trouble.c_str());
	if (m_c)
		kvmbox_destroy(m_c);
}

pci_function &box::add_function(const function_config &cfg)
{
	if (simcontext()->elaboration_done())
		SC_REPORT_ERROR(msg_bind, (std::string(name()) +
					   ": add_function() comes too late once the simulation has started").c_str());
	child_scope scope(*this);
	m_functions.push_back(std::make_unique<pci_function>(
		cfg.name.empty() ? sc_core::sc_gen_unique_name("function") : cfg.name.c_str(), *this, cfg));
	rethrow();
	return *m_functions.back();
}

/*
 * The processes are made here and not in the constructor: until now nothing
 * is left behind in the kernel when elaboration fails and the box goes.
 */
void box::end_of_elaboration()
{
	if (!m_c)
		return;
	check_stats_file();
	const double pace = kvmbox_config_pace(&m_config.c_config());
	if (pace > 0) {
		m_pacer = std::make_unique<pacer>(pace);
		m_pacing = true;
		sc_core::sc_spawn_options p;
		p.spawn_method();
		sc_core::sc_spawn([this] { keep_pace(); }, "pace", &p);
	}

	sc_core::sc_spawn_options t;
	t.set_stack_size(stack_bytes);
	m_thread = sc_core::sc_spawn([this] { run(); }, "vcpu", &t);
	m_watchdog->start(from_ps(m_config->completion_timeout_ps));
	m_watchdog->watch(*m_flight, m_thread);
}

void box::run()
{
	const uint64_t global = to_ps(tlm::tlm_global_quantum::instance().get());
	if (m_global_quantum && global && kvmbox_set_quantum(m_c, global) < 0)
		SC_REPORT_WARNING(msg_config, (std::string(name()) + ": tlm_global_quantum is longer than a box takes; it keeps " +
					       from_ps(default_quantum_ps).to_string()).c_str());

	kvmbox_error err{};
	int r;
	m_running = m_begun = true;
	do
		r = kvmbox_run(m_c, &err);
	while (r >= 0 && end() == KVMBOX_END_COUNTED && stop_at_count());
	m_running = m_pacing = false;
	m_watchdog->rest();
	m_ended.notify(sc_core::SC_ZERO_TIME);
	/* Nothing is thrown in front of what ended the run. */
	const std::string trouble = finish_stats();
	if (!trouble.empty() && (m_exception || r < 0))
		SC_REPORT_WARNING(msg_guest, trouble.c_str());
	rethrow();
	report_end(r, err.msg);
	if (!trouble.empty())
		SC_REPORT_ERROR(msg_guest, trouble.c_str());
}

/* The guest has done its instructions. SystemC gets there, then both stop, as by pause(). False: the box is stopped for good. */
bool box::stop_at_count()
{
	wait_until(time());
	if (!m_stop) {
		m_counted.notify();
		m_paused = true;
		sc_core::sc_pause();
		hold();
	}
	return !m_stop && !m_exception;
}

void box::report_end(int result, const std::string &message)
{
	if (m_config.stop_simulation && end() != KVMBOX_END_STOPPED && end() != KVMBOX_END_COUNTED &&
	    end() != KVMBOX_END_NONE) {
		drain();
		sc_core::sc_stop();
	}
	if (result < 0)
		SC_REPORT_ERROR(msg_guest, message.c_str());
}

/* ---- statistics ----------------------------------------------------------------- */

void box::count_sleep() const
{
	const uint64_t ns = m_sleep->take();

	if (ns)
		kvmbox_slept(m_c, ns);
}

/* Now rather than after a run of hours. */
void box::check_stats_file()
{
	const char *path = m_config->stats_json;
	FILE *f = path ? fopen(path, "ae") : nullptr;

	if (f)
		fclose(f);
	else if (path)
		SC_REPORT_ERROR(msg_config, (std::string(name()) + ": stats_json=" + path + ": cannot write there: " +
					     strerror(errno)).c_str());
}

/* At the guest's end, or the simulation's if that comes first; once. Returns what went wrong, or "". */
std::string box::finish_stats()
{
	kvmbox_error err{};

	if (!m_begun || m_stats_done)
		return "";
	m_stats_done = true;
	const ::kvmbox_stats s = stats();
	if (m_config->stats) {
		printf("\n---- %s: statistics of the run ----\n\n", name());
		kvmbox_stats_print(&s, stdout);
		putchar('\n');
		fflush(stdout);
	}
	if (m_config->stats_json && kvmbox_stats_write_json(&s, m_config->stats_json, &err) < 0)
		return std::string(name()) + ": " + err.msg;
	return "";
}

void box::end_of_simulation()
{
	const std::string trouble = finish_stats();

	if (!trouble.empty())
		SC_REPORT_ERROR(msg_guest, trouble.c_str());
}

void box::keep_exception()
{
	if (!m_exception)
		m_exception = std::current_exception();
	/* In an up-call of another process it is that process's business, and rethrow() comes at once. */
	if (m_running && sc_core::sc_get_current_process_handle() == m_thread)
		kvmbox_stop(m_c);
}

/* At once: the guest's process is thrown out of whatever it waits for. */
bool box::abandon(std::exception_ptr e)
{
	if (!m_running)
		return false;
	if (!m_exception)
		m_exception = std::move(e);
	kvmbox_stop(m_c);
	m_thread.throw_it(run_over());
	return true;
}

void box::rethrow()
{
	if (!m_exception)
		return;
	std::exception_ptr e;
	std::swap(e, m_exception);
	std::rethrow_exception(e);
}

void box::log(kvmbox_log_level level, const char *msg)
{
	if (m_destroying && level == KVMBOX_LOG_ERROR)
		level = KVMBOX_LOG_WARNING; /* nobody could catch it */
	switch (level) {
	case KVMBOX_LOG_ERROR:
		SC_REPORT_ERROR(msg_guest, msg);
		break;
	case KVMBOX_LOG_WARNING:
		SC_REPORT_WARNING(msg_guest, msg);
		break;
	case KVMBOX_LOG_INFO:
		SC_REPORT_INFO_VERB(msg_guest, msg, sc_core::SC_HIGH);
		break;
	default:
		SC_REPORT_INFO_VERB(msg_guest, msg, sc_core::SC_DEBUG);
	}
}

/* ---- questions ---------------------------------------------------------------- */

kvmbox_end_reason box::end() const
{
	return m_c ? ::kvmbox_end(m_c) : KVMBOX_END_ERROR;
}

int box::exit_status() const
{
	return m_c ? kvmbox_exit_status(m_c) : -1;
}

sc_core::sc_time box::time() const
{
	return from_ps(m_c ? kvmbox_time(m_c) : 0);
}

::kvmbox_stats box::stats() const
{
	::kvmbox_stats s{};

	if (m_c) {
		if (m_running)
			count_sleep();
		kvmbox_get_stats(m_c, &s);
	}
	return s;
}

std::string box::serial_output() const
{
	const char *text = nullptr;
	const size_t len = m_c ? kvmbox_serial_output(m_c, &text) : 0;

	return text ? std::string(text, len) : std::string();
}

void box::serial_input(const std::string &s)
{
	const int r = m_c ? kvmbox_serial_input(m_c, s.data(), s.size()) : 0;

	wake();
	rethrow();
	if (r < 0)
		SC_REPORT_ERROR(msg_guest, "serial_input() needs serial=memory");
}

void box::power_button()
{
	if (m_c)
		kvmbox_power_button(m_c);
	wake();
	rethrow();
}

/* ---- waiting ------------------------------------------------------------------- */

/*
 * Delta, not immediate: it also comes from update(), where only that is
 * allowed. Without idle there is nobody to wake: the box looks by itself.
 */
void box::wake()
{
	if (m_idle)
		m_wake.notify(sc_core::SC_ZERO_TIME);
}

int box::check_wait(uint64_t t_ps, kvmbox_wait how)
{
	if (m_exception || m_stop)
		return -ECANCELED;
	poll_now_and_then();
	if (how == KVMBOX_WAIT_IDLE)
		wait_idle(from_ps(t_ps));
	else
		wait_until(from_ps(t_ps));
	hold();
	return m_stop ? -ECANCELED : 0;
}

void box::wait_until(const sc_core::sc_time &t)
{
	/* Others may have something to do at this very time: a guest that takes none must not starve them. */
	if (t <= sc_core::sc_time_stamp() && sc_core::sc_pending_activity_at_current_time())
		wait(sc_core::SC_ZERO_TIME);
	while (t > sc_core::sc_time_stamp() && !m_stop)
		wait(t - sc_core::sc_time_stamp());
}

void box::wait_idle(const sc_core::sc_time &t)
{
	const bool forever = t == never();
	struct scope {
		box &b;
		bool attached = false;
		std::optional<napping> nap = std::nullopt;
		~scope()
		{
			b.m_idle = false;
			if (attached)
				b.m_host->attach(false);
		}
	};

	/* With no posted write under way, the watchdog must not keep the simulation going. */
	m_watchdog->rest();
	if (t <= sc_core::sc_time_stamp()) {
		wait_until(t);
		return;
	}
	{
		scope s{ *this };
		m_idle = true;
		if (watch_inputs() && forever) {
			m_host->attach(true);
			s.attached = true;
			s.nap.emplace(*this);
		}
		if (forever)
			wait(m_wake);
		else
			wait(t - sc_core::sc_time_stamp(), m_wake);
	}
	if (m_host->input.exchange(false))
		kvmbox_poll(m_c);
}

/* Asks the watcher for a call when input is there. True if there is anything to watch. */
bool box::watch_inputs()
{
	int fds[16];
	const size_t n = kvmbox_poll_fds(m_c, fds, 16);

	return n && m_host->inputs.watch(std::vector<int>(fds, fds + std::min<size_t>(n, 16)));
}

/* A busy guest's character devices: once per millisecond of host time. */
void box::poll_now_and_then()
{
	timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	const uint64_t ns = static_cast<uint64_t>(ts.tv_sec) * 1000000000u + static_cast<uint64_t>(ts.tv_nsec);
	if (ns - m_polled_ns < poll_interval_ns)
		return;
	m_polled_ns = ns;
	kvmbox_poll(m_c);
}

uint64_t box::next_event() const
{
	if (m_paused)
		return to_ps(sc_core::sc_time_stamp()); /* the guest yields before it does anything */
	const sc_core::sc_time dt = sc_core::sc_time_to_pending_activity();
	const sc_core::sc_time now = sc_core::sc_time_stamp();

	return dt >= never() - now ? KVMBOX_TIME_NEVER : to_ps(now + dt);
}

/* ---- posted writes --------------------------------------------------------------- */

/* While the guest runs, it will rest the watchdog when it goes to sleep. */
void box::posted_done()
{
	if (m_idle || !m_running)
		m_watchdog->rest();
}

void box::drain()
{
	for (auto &f : m_functions)
		if (f->m_posted)
			f->m_posted->drain();
}

} // namespace kvmbox
