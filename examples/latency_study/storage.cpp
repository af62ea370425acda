// The study's storage device; see storage_regs.h.
#include "storage.h"

#include <utility>

namespace {

kvmbox::function_config identity()
{
	kvmbox::function_config f("function", STORAGE_VENDOR_ID, STORAGE_DEVICE_ID);

	f.class_code = 0x018000; // mass storage, other
	f.memory_bar(0, 0x1000);
	f.msi_vectors = 1;
	return f;
}

} // namespace

storage::storage(sc_core::sc_module_name name, kvmbox::box &pc, options o)
	: pci_device(name, pc, identity()), m_options(std::move(o)), m_length(m_options.length), m_poll(m_options.poll)
{
	reg(0, STORAGE_REG_ID, m_id, read_only);
	reg(0, STORAGE_REG_NEXT, m_go, write_only).on_write([this](uint32_t) { next_point(); });
	reg(0, STORAGE_REG_DEPTH, m_depth, read_only);
	reg(0, STORAGE_REG_COMMANDS, m_commands, read_only);
	reg(0, STORAGE_REG_LENGTH, m_length, read_only);
	reg(0, STORAGE_REG_POLL, m_poll, read_only);
	reg(0, STORAGE_REG_SQ, m_sq);
	reg(0, STORAGE_REG_CQ, m_cq);
	reg(0, STORAGE_REG_DOORBELL, m_tail, write_only).on_write([this](uint32_t) { m_doorbell.notify(); });
	SC_THREAD(fetch);
	SC_THREAD(link);
	for (unsigned i = 0; i < m_options.channels; i++)
		sc_core::sc_spawn([this] { channel(); }, sc_core::sc_gen_unique_name("channel"));
}

void storage::next_point()
{
	if (m_next == m_options.sweep.size()) {
		m_depth = m_commands = 0;
		return;
	}
	const point &p = m_options.sweep[m_next++];
	m_latency = p.latency;
	m_depth = p.depth;
	m_commands = p.commands;
}

void storage::fetch()
{
	for (;;) {
		wait(m_doorbell);
		// A driver that rings for more than the queue holds gets the queue.
		for (uint32_t n = 0; m_head != m_tail && n < STORAGE_QUEUE; n++) {
			storage_command c;

			if (!dma_read(m_sq + m_head++ % STORAGE_QUEUE * sizeof(c), &c, sizeof(c)) ||
			    c.length > STORAGE_MAX_LENGTH)
				continue;
			m_fetched.push_back(c);
			m_work.notify();
		}
	}
}

void storage::channel()
{
	for (;;) {
		while (m_fetched.empty())
			sc_core::wait(m_work);
		const storage_command c = m_fetched.front();
		m_fetched.pop_front();
		sc_core::wait(m_latency);
		m_read.push_back(c);
		m_data.notify();
	}
}

void storage::link()
{
	for (;;) {
		while (m_read.empty())
			wait(m_data);
		const storage_command c = m_read.front();
		m_read.pop_front();
		wait(m_options.ps_per_byte * c.length);
		complete(c);
	}
}

void storage::complete(const storage_command &c)
{
	const std::vector<uint64_t> data(c.length / sizeof(uint64_t), c.block);
	const storage_completion done = { c.id, ++m_sequence };

	dma_write(c.buffer, data.data(), data.size() * sizeof(uint64_t));
	dma_write(m_cq + (m_sequence - 1) % STORAGE_QUEUE * sizeof(done), &done, sizeof(done));
	if (!m_poll)
		interrupt();
}
