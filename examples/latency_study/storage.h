// A storage device with a latency, a number of channels and a link: see storage_regs.h.
#ifndef STORAGE_H
#define STORAGE_H

#include <deque>
#include <vector>

#include <kvmbox/pci_device.h>

#include "storage_regs.h"

class storage : public kvmbox::pci_device {
public:
	// One point of the sweep.
	struct point {
		sc_core::sc_time latency; // of a command in its channel
		unsigned depth;           // commands the driver keeps outstanding
		unsigned commands;        // to do
	};
	struct options {
		std::vector<point> sweep;
		unsigned channels = 16;
		unsigned length = 4096;                                   // bytes per command
		sc_core::sc_time ps_per_byte{ 125, sc_core::SC_PS };      // of the link: 8 GB/s
		bool poll = false;                                        // no interrupts
	};

	storage(sc_core::sc_module_name name, kvmbox::box &pc, options o);

private:
	SC_HAS_PROCESS(storage);
	void next_point();
	void fetch();
	void channel();
	void link();
	void complete(const storage_command &c);

	const options m_options;
	size_t m_next = 0;             // point after the current one
	sc_core::sc_time m_latency;
	uint32_t m_id = STORAGE_ID, m_go = 0, m_depth = 0, m_commands = 0, m_length, m_poll;
	uint32_t m_sq = 0, m_cq = 0, m_tail = 0;
	uint32_t m_head = 0, m_sequence = 0;
	std::deque<storage_command> m_fetched, m_read; // waiting for a channel, for the link
	sc_core::sc_event m_doorbell, m_work, m_data;
};

#endif
