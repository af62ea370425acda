/*
 * Posted writes of one PCI function: a bounded queue, and the process that hands
 * them over, so that the guest goes on meanwhile. See kvmbox/tlm_function.h for
 * what targets may rely on.
 */
#ifndef KVMBOX_TLM_POSTED_H
#define KVMBOX_TLM_POSTED_H

#include <array>

#include <kvmbox/tlm_box.h>

#include "tlm_glue/watchdog.h"

namespace kvmbox {

class posted_queue {
public:
	posted_queue(box &b, pci_function &f) : m_box(b), m_function(f) {}
	/* During elaboration; makes the process. */
	void start();

	/* All that follows is called by the guest's process. At once, unless it is full. -EAGAIN: its process is gone. */
	int post(const ::kvmbox_access &a, uint64_t at_ps);
	/* Returns when the writes posted so far have been carried out. */
	void drain();
	/* The same for an access that is due after delay; then delay is for its target. */
	void push(sc_core::sc_time &delay);
	unsigned count() const { return m_count; }

private:
	struct entry {
		::kvmbox_access access; /* data: the bytes below */
		uint64_t data;
		sc_core::sc_time due;
	};
	class popper;

	void run();
	void deliver();
	void give_up();
	bool loosely_timed() const { return m_function.configuration().mode == KVMBOX_LOOSELY_TIMED; }

	box &m_box;
	pci_function &m_function;
	flight m_flight;
	std::array<entry, 64> m_ring;
	unsigned m_head = 0, m_count = 0;
	sc_core::sc_event m_posted, m_done;
	sc_core::sc_time m_free; /* when the last write handed over has completed, its delay included */
	bool m_gone = false;     /* the process was killed, or the run is over */
};

} // namespace kvmbox

#endif
