/*
 * kvmbox/tlm_box.h - the PC as a SystemC module.
 */
#ifndef KVMBOX_TLM_BOX_H
#define KVMBOX_TLM_BOX_H

#include <atomic>
#include <exception>
#include <memory>
#include <string>
#include <systemc>
#include <thread>
#include <vector>

#include <kvmbox/tlm_config.h>
#include <kvmbox/tlm_dma.h>
#include <kvmbox/tlm_function.h>
#include <kvmbox/tlm_time.h>

namespace kvmbox {

class pacer;
class flight;
class sleep_meter;
class watchdog;

/* How simulated time keeps up with the wall clock (pace=realtime); host ns. All 0 when not paced. */
struct pace_stats {
	uint64_t lag_ns = 0;      /* how far behind it is now; 0 while it keeps up */
	uint64_t max_lag_ns = 0;  /* the most it has been */
	uint64_t given_up_ns = 0; /* lags of more than a second are not made up; their sum */
};

/*
 * A whole x86 PC. The guest runs in one SC_THREAD, started with the simulation.
 *
 * An exception a target throws (or a report action, or kill()) ends the run and
 * comes out of the box's thread, hence of sc_start(). So does one that a posted
 * write's target throws, while the guest runs.
 *
 * When the guest ends, its posted writes are carried out before the box stops the
 * simulation; a target that never answers holds that up by completion_timeout.
 *
 * A guest that waits for input (serial=stdio, pty, unix:) with nothing else
 * going on keeps sc_start() from returning until input comes.
 *
 * Guest and simulated time. The guest computes ahead of SystemC within a slice,
 * then waits until SystemC has caught up. A slice ends at the quantum, the next
 * chipset timer and (slice_to_events) the next SystemC event, give or take what
 * the clock source allows. Accesses (of functions in synchronised mode) and
 * interrupts happen at the guest's time, never before SystemC has reached it. So:
 *
 * - sc_pause(), sc_stop() and pause() by a process at time t: what wakes the
 *   process is an event, the guest has not gone beyond it. While sc_start() is not
 *   running the guest does not, and its clock stands still.
 * - An sc_start(t) ends without an event that anybody could see: a guest in
 *   the midst of computing may have done so up to the end of its slice. It does
 *   nothing further until SystemC has caught up, and nothing outside can tell but for
 *   its RAM. Use start(t) where that matters.
 * - Cutting sc_start() into pieces changes nothing the guest or a model sees.
 *
 * pace=realtime[*factor]: the whole simulation is never ahead of the wall
 * clock (times factor), with a grain of a millisecond. Like a machine that is
 * switched on, such a simulation does not end because nothing is left to do:
 * sc_start() without a time returns at sc_stop(), sc_pause() or the guest's end.
 * Host time between two sc_start() counts as lag, unless resume() was called meanwhile.
 *
 * Statistics: stats() at any time. stats=yes prints them as a table to stdout, stats_json=PATH writes them
 * to a file, both when the guest has ended, however that came about; or when the simulation or the box ends first. A
 * file that cannot be written is SC_REPORT_ERROR: msg_config at the start, msg_guest at the end (a warning if
 * something worse is being reported or the box is being destroyed). Of the host's time, the simulator's
 * part is that of SystemC and all its processes while the guest waits for them, other boxes included, and of
 * what the program does between two sc_start(). Idle is the thread's sleep therein: for pace=,
 * or when the guest waits for input or is paused (then: time not spent on a CPU).
 */
class box : public sc_core::sc_module {
public:
	/* Errors: SC_REPORT_ERROR(msg_kvm), or msg_config when the configuration is at fault. */
	explicit box(sc_core::sc_module_name name, const config &cfg = config());
	~box() override;
	const char *kind() const override { return "kvmbox::box"; }

	/* Before the simulation starts. Errors: SC_REPORT_ERROR(msg_config). */
	pci_function &add_function(const function_config &cfg);

	/* DMA of no function in particular (a chipset agent): no bus master bit. */
	template <unsigned W = 32> dma_agent::socket<W> &dma() { return m_dma.get<W>(); }
	dma_agent &agent() { return m_dma; }

	kvmbox_end_reason end() const;           /* KVMBOX_END_NONE: still going */
	int exit_status() const;                 /* of the debug-exit port; 0 after a power-off; -1: neither */
	const sc_core::sc_event &ended() const { return m_ended; } /* the guest's end, whatever the reason */
	void stop();                             /* from any thread; the box cannot be started again */
	/*
	 * Stops guest and simulated time together. From a SystemC process: at this time, as sc_pause() does, and the
	 * guest executes nothing more even if the caller is the target of its access. From any other thread: soon, at
	 * the latest when the guest has used up its quantum. sc_start() returns. The guest stays where it is until
	 * resume(); a simulation that is continued without leaves it stalled, and it goes on at SystemC's time.
	 */
	void pause();
	void resume(); /* from any process or thread, or between two sc_start() */
	bool paused() const { return m_paused; }
	/* sc_start(t), but the guest knows: it computes up to the end of this time and no further (all boxes, see above). */
	void start(const sc_core::sc_time &t);
	/*
	 * When exactly this many further instructions are done (kvmbox_stop_after() says what counts, and what it costs), the
	 * box does what pause() does, at the guest's time: sc_start() returns, resume() goes on. From a SystemC process,
	 * or between two sc_start(). KVMBOX_COUNT_NEVER forgets an earlier call. Errors: SC_REPORT_ERROR(msg_kvm).
	 */
	void stop_after(uint64_t instructions);
	const sc_core::sc_event &counted() const { return m_counted; } /* just before it pauses */
	pace_stats pace() const;

	sc_core::sc_time time() const;           /* guest time */
	::kvmbox_stats stats() const;
	std::string serial_output() const;       /* serial=memory: what the guest sent so far */
	void serial_input(const std::string &s); /* serial=memory: for the guest to receive */
	void power_button();                     /* presses ACPI's: an event for the guest */
	const config &configuration() const { return m_config; }
	::kvmbox_box *c_box() const { return m_c; }

private:
	friend class pci_function;
	friend class posted_queue;
	friend class dma_agent;
	struct callbacks;   /* the C ABI's, with C linkage types */
	struct napping;
	struct host_events; /* wakes the simulation from outside */
	struct run_over {}; /* thrown into the guest's process */
	/* Coroutine stacks are SystemC's 64 KiB by default; target models and KVM run on this one. */
	static constexpr int stack_bytes = 1 << 20;

	void end_of_elaboration() override;
	void end_of_simulation() override;
	void run();
	bool stop_at_count();
	void report_end(int result, const std::string &message);
	int check_wait(uint64_t t_ps, kvmbox_wait how);
	void wait_until(const sc_core::sc_time &t);
	void wait_idle(const sc_core::sc_time &t);
	void hold(); /* while paused */
	void unhold();
	void keep_pace();
	void count_sleep() const; /* up to now, in the statistics */
	void check_stats_file();
	std::string finish_stats();
	uint64_t next_event() const;
	void log(kvmbox_log_level level, const char *msg);
	void poll_now_and_then();
	bool watch_inputs();

	/* Up-calls end with these: the first wakes an idle box, the second throws what a callback threw. */
	void wake();
	void rethrow();
	void keep_exception(); /* in a catch block: for later, and ends the run */

	/* Of posted_queue: a write is done; an exception that ends the run, false: there is none to end. */
	void posted_done();
	bool abandon(std::exception_ptr e);
	void drain(); /* until all posted writes have been carried out */

	config m_config;
	::kvmbox_box *m_c = nullptr; /* null when it could not be made and the user went on */
	dma_agent m_dma;
	std::vector<std::unique_ptr<pci_function>> m_functions;
	std::unique_ptr<host_events> m_host;
	std::unique_ptr<sleep_meter> m_sleep;

	std::unique_ptr<pacer> m_pacer; /* null: not paced */
	bool m_pacing = false;
	std::atomic<bool> m_rebase{ false };

	sc_core::sc_process_handle m_thread;
	std::thread::id m_host_thread; /* the one that built the box */
	sc_core::sc_event m_wake, m_ended, m_counted, m_resumed, m_period_end;
	std::exception_ptr m_exception; /* thrown in a callback, on its way to C++ */
	std::atomic<bool> m_stop{ false }, m_paused{ false }, m_pause_asked{ false };
	bool m_global_quantum = false; /* the configuration leaves the quantum to tlm_global_quantum */
	bool m_running = false, m_idle = false, m_destroying = false;
	bool m_begun = false, m_stats_done = false;
	uint64_t m_polled_ns = 0;

	std::unique_ptr<watchdog> m_watchdog;
	std::unique_ptr<flight> m_flight; /* the access the guest waits for */
};

} // namespace kvmbox

#endif
