// A DMA accelerator as a SystemC PCI device: accel_regs.h is its data sheet.
#ifndef ACCEL_H
#define ACCEL_H

#include <cstdint>
#include <vector>

#include <kvmbox/pci_device.h>

#include "accel_regs.h"

class accel : public kvmbox::pci_device {
public:
	struct measurement {
		uint64_t bytes;          // payload of all descriptors
		sc_core::sc_time start, end; // doorbell, last descriptor done
		sc_core::sc_time asked;      // when the driver, awake again, asked for the duration
		uint32_t error;          // enum accel_status of the failure, 0: none
	};

	struct options {
		bool msix = true;        // false: the driver falls back to MSI or INTx
		bool msi = false;        // a single vector for both events
	};

	accel(sc_core::sc_module_name name, kvmbox::box &pc, options o);
	accel(sc_core::sc_module_name name, kvmbox::box &pc) : accel(name, pc, options()) {}

	// Every job since the start, as this side measured it.
	const std::vector<measurement> &jobs() const { return m_jobs; }

private:
	SC_HAS_PROCESS(accel);

	uint64_t read(unsigned bar, uint64_t offset, unsigned len, sc_core::sc_time &delay) override;
	void write(unsigned bar, uint64_t offset, unsigned len, uint64_t value, sc_core::sc_time &delay) override;
	uint32_t read_register(uint64_t offset);
	void write_register(uint64_t offset, uint32_t value);
	void write_ctrl(uint32_t value);
	void doorbell(uint32_t count);
	bool ring_on();
	void ring_tail(uint32_t tail);
	void refuse();
	void start();
	void reset();
	void raise(uint32_t cause);
	void update_intx();

	void work();
	void run_list();
	void run_ring();
	void end_job(const measurement &m, bool irq, bool last);
	uint32_t run_descriptor(uint64_t address, accel_desc &d);
	uint32_t execute(const accel_desc &d, std::vector<uint8_t> &data);
	bool process(const accel_desc &d, std::vector<uint8_t> &data);
	bool aborted() const { return m_generation != m_running; }

	uint32_t m_ctrl = 0, m_status = 0, m_int_enable = 0, m_int_status = 0, m_completed = 0, m_last_error = 0;
	uint32_t m_proc_ps = ACCEL_PROC_PS_DEFAULT, m_scratch = 0;
	uint32_t m_ring_entries = 0, m_tail = 0, m_head = 0;
	uint64_t m_desc_addr = 0, m_ring_addr = 0, m_start_ps = 0, m_end_ps = 0;
	std::vector<uint8_t> m_window;

	// The job under way, latched at the doorbell.
	uint32_t m_job_count = 0, m_job_proc_ps = 0;
	uint64_t m_job_addr = 0;     // the ring's, while CTRL.RING is set
	const bool m_one_vector;
	unsigned m_generation = 0, m_job_generation = 0;
	unsigned m_running = 0; // the worker's; CTRL.RESET makes m_generation differ: its job is dead
	sc_core::sc_event m_start, m_abort;
	std::vector<measurement> m_jobs;
};

#endif
