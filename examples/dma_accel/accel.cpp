// The accelerator's registers and its worker thread; see accel_regs.h.
#include "accel.h"

#include <cstring>
#include <numeric>

using sc_core::sc_time;
using sc_core::sc_time_stamp;

namespace {

kvmbox::function_config identity(const accel::options &o)
{
	kvmbox::function_config f("function", ACCEL_VENDOR_ID, ACCEL_DEVICE_ID);

	f.class_code = ACCEL_CLASS;
	f.revision = ACCEL_REVISION;
	f.memory_bar(ACCEL_BAR_REGS, ACCEL_REGS_SIZE);
	f.memory_bar(ACCEL_BAR_WINDOW, ACCEL_WINDOW_SIZE, true, true);
	f.intx_pin = 1;
	f.power_management = true;
	if (o.msix) {
		f.memory_bar(ACCEL_BAR_MSIX, 0x1000);
		f.msix_vectors = ACCEL_VECTORS;
		f.msix_bar = ACCEL_BAR_MSIX;
	}
	f.msi_vectors = o.msi ? 1 : 0;
	return f;
}

uint64_t in_ps(const sc_time &t)
{
	return kvmbox::to_ps(t);
}

// A register is 32 or (half of a pair) 64 bits wide.
bool is_pair(uint64_t offset)
{
	return offset == ACCEL_REG_DESC_ADDR || offset == ACCEL_REG_RING_ADDR || (offset >= ACCEL_REG_JOB_START_PS && offset <= ACCEL_REG_JOB_DURATION_PS);
}

} // namespace

accel::accel(sc_core::sc_module_name name, kvmbox::box &pc, options o)
	: pci_device(name, pc, identity(o)), m_window(ACCEL_WINDOW_SIZE), m_one_vector(o.msi && !o.msix)
{
	SC_THREAD(work);
}

// ---- registers ----------------------------------------------------------------------

uint64_t accel::read(unsigned bar, uint64_t offset, unsigned len, sc_time &)
{
	uint64_t value = 0;

	if (bar == ACCEL_BAR_WINDOW) {
		std::memcpy(&value, &m_window[offset], len);
		return value;
	}
	if (bar != ACCEL_BAR_REGS)
		return 0;
	if (len == 4)
		return read_register(offset);
	if (len == 8 && is_pair(offset))
		return read_register(offset) | uint64_t(read_register(offset + 4)) << 32;
	return 0;
}

void accel::write(unsigned bar, uint64_t offset, unsigned len, uint64_t value, sc_time &)
{
	if (bar == ACCEL_BAR_WINDOW)
		std::memcpy(&m_window[offset], &value, len);
	if (bar != ACCEL_BAR_REGS)
		return;
	if (len == 4) {
		write_register(offset, uint32_t(value));
	} else if (len == 8 && is_pair(offset)) {
		write_register(offset, uint32_t(value));
		write_register(offset + 4, uint32_t(value >> 32));
	}
}

uint32_t accel::read_register(uint64_t offset)
{
	switch (offset) {
	case ACCEL_REG_ID: return ACCEL_ID;
	case ACCEL_REG_VERSION: return ACCEL_VERSION;
	case ACCEL_REG_CTRL: return m_ctrl;
	case ACCEL_REG_STATUS: return m_status;
	case ACCEL_REG_INT_ENABLE: return m_int_enable;
	case ACCEL_REG_INT_STATUS: return m_int_status;
	case ACCEL_REG_DESC_ADDR: return uint32_t(m_desc_addr);
	case ACCEL_REG_DESC_ADDR + 4: return uint32_t(m_desc_addr >> 32);
	case ACCEL_REG_COMPLETED: return m_completed;
	case ACCEL_REG_PROC_PS_PER_BYTE: return m_proc_ps;
	case ACCEL_REG_LAST_ERROR: return m_last_error;
	case ACCEL_REG_JOB_START_PS: return uint32_t(m_start_ps);
	case ACCEL_REG_JOB_START_PS + 4: return uint32_t(m_start_ps >> 32);
	case ACCEL_REG_JOB_END_PS: return uint32_t(m_end_ps);
	case ACCEL_REG_JOB_END_PS + 4: return uint32_t(m_end_ps >> 32);
	case ACCEL_REG_JOB_DURATION_PS:
		if (!m_jobs.empty() && m_jobs.back().asked == sc_core::SC_ZERO_TIME)
			m_jobs.back().asked = sc_time_stamp();
		return uint32_t(m_end_ps - m_start_ps);
	case ACCEL_REG_JOB_DURATION_PS + 4: return uint32_t((m_end_ps - m_start_ps) >> 32);
	case ACCEL_REG_MAX_LENGTH: return ACCEL_MAX_LENGTH;
	case ACCEL_REG_SCRATCH: return m_scratch;
	case ACCEL_REG_RING_ADDR: return uint32_t(m_ring_addr);
	case ACCEL_REG_RING_ADDR + 4: return uint32_t(m_ring_addr >> 32);
	case ACCEL_REG_RING_ENTRIES: return m_ring_entries;
	case ACCEL_REG_RING_TAIL: return m_tail;
	case ACCEL_REG_RING_HEAD: return m_head;
	default: return 0;
	}
}

void accel::write_register(uint64_t offset, uint32_t value)
{
	switch (offset) {
	case ACCEL_REG_CTRL:
		write_ctrl(value);
		break;
	case ACCEL_REG_INT_ENABLE:
		m_int_enable = value & (ACCEL_INT_DONE | ACCEL_INT_ERROR);
		update_intx();
		break;
	case ACCEL_REG_INT_STATUS:
		m_int_status &= ~value;
		if (value & ACCEL_INT_ERROR)
			m_status &= ~ACCEL_STATUS_ERROR;
		update_intx();
		break;
	case ACCEL_REG_DESC_ADDR:
		m_desc_addr = (m_desc_addr & ~0xffffffffull) | value;
		break;
	case ACCEL_REG_DESC_ADDR + 4:
		m_desc_addr = (m_desc_addr & 0xffffffff) | uint64_t(value) << 32;
		break;
	case ACCEL_REG_DOORBELL:
		doorbell(value);
		break;
	case ACCEL_REG_PROC_PS_PER_BYTE:
		m_proc_ps = value;
		break;
	case ACCEL_REG_SCRATCH:
		m_scratch = value;
		break;
	case ACCEL_REG_RING_ADDR:
		m_ring_addr = (m_ring_addr & ~0xffffffffull) | value;
		break;
	case ACCEL_REG_RING_ADDR + 4:
		m_ring_addr = (m_ring_addr & 0xffffffff) | uint64_t(value) << 32;
		break;
	case ACCEL_REG_RING_ENTRIES:
		m_ring_entries = value;
		break;
	case ACCEL_REG_RING_TAIL:
		ring_tail(value);
		break;
	default: // read-only or nothing there
		break;
	}
}

void accel::write_ctrl(uint32_t value)
{
	if (value & ACCEL_CTRL_RESET)
		reset();
	value &= ACCEL_CTRL_ENABLE | ACCEL_CTRL_RING;
	if (m_status & ACCEL_STATUS_BUSY)
		value = (value & ~ACCEL_CTRL_RING) | (m_ctrl & ACCEL_CTRL_RING);
	else if ((value & ~m_ctrl & ACCEL_CTRL_RING) && !ring_on())
		value &= ~ACCEL_CTRL_RING;
	m_ctrl = value;
}

bool accel::ring_on()
{
	if (m_ring_entries < 2 || m_ring_entries > ACCEL_MAX_RING || m_ring_addr % sizeof(accel_desc)) {
		refuse();
		return false;
	}
	m_job_addr = m_ring_addr;
	m_job_count = m_ring_entries;
	m_head = m_tail = 0;
	return true;
}

void accel::ring_tail(uint32_t tail)
{
	const uint32_t on = ACCEL_CTRL_ENABLE | ACCEL_CTRL_RING;

	if ((m_ctrl & on) != on || tail >= m_job_count || (m_status & ACCEL_STATUS_HALTED)) {
		refuse();
		return;
	}
	m_tail = tail;
	if (m_tail != m_head && !(m_status & ACCEL_STATUS_BUSY))
		start();
}

void accel::doorbell(uint32_t count)
{
	if ((m_ctrl & (ACCEL_CTRL_ENABLE | ACCEL_CTRL_RING)) != ACCEL_CTRL_ENABLE || count == 0 ||
	    count > ACCEL_MAX_DESCRIPTORS || (m_status & ACCEL_STATUS_BUSY) || m_desc_addr % sizeof(accel_desc)) {
		refuse();
		return;
	}
	m_job_count = count;
	m_job_addr = m_desc_addr;
	m_job_proc_ps = m_proc_ps;
	m_start_ps = in_ps(sc_time_stamp());
	start();
}

void accel::refuse()
{
	m_last_error = ACCEL_ERR_DOORBELL;
	m_status |= ACCEL_STATUS_ERROR;
	raise(ACCEL_INT_ERROR);
}

void accel::start()
{
	m_status |= ACCEL_STATUS_BUSY;
	m_job_generation = m_generation;
	m_start.notify(sc_core::SC_ZERO_TIME);
}

void accel::reset()
{
	m_generation++;
	m_status = m_int_enable = m_int_status = m_completed = m_last_error = m_scratch = 0;
	m_proc_ps = ACCEL_PROC_PS_DEFAULT;
	m_ring_entries = m_tail = m_head = 0;
	m_desc_addr = m_ring_addr = m_start_ps = m_end_ps = 0;
	m_ctrl = 0;
	m_start.cancel();
	m_abort.notify();
	update_intx();
}

void accel::raise(uint32_t cause)
{
	m_int_status |= cause;
	if (m_int_enable & cause)
		interrupt(cause == ACCEL_INT_DONE || m_one_vector ? ACCEL_VECTOR_DONE : ACCEL_VECTOR_ERROR);
}

// INTA is a level; interrupt() has raised it, if the driver enabled no MSI-X.
void accel::update_intx()
{
	if (!(m_int_status & m_int_enable))
		clear_interrupt();
}

// ---- jobs ---------------------------------------------------------------------------------

void accel::work()
{
	for (;;) {
		wait(m_start);
		m_running = m_job_generation;
		if (m_ctrl & ACCEL_CTRL_RING)
			run_ring();
		else
			run_list();
	}
}

void accel::run_list()
{
	const sc_time start = sc_time_stamp();
	measurement m = { 0, start, start, sc_core::SC_ZERO_TIME, 0 };
	bool irq = false;

	for (uint32_t i = 0; i < m_job_count && !m.error; i++) {
		accel_desc d{};

		m.error = run_descriptor(m_job_addr + i * sizeof(d), d);
		if (aborted())
			return;
		irq = d.flags & ACCEL_FLAG_IRQ;
		m.bytes += d.length;
		if (irq && !m.error && i + 1 < m_job_count)
			raise(ACCEL_INT_DONE);
	}
	end_job(m, irq, true);
}

// A descriptor is a job here: what it takes is latched when the device gets to it.
void accel::run_ring()
{
	bool last = false;

	while (!last) {
		const sc_time start = sc_time_stamp();
		measurement m = { 0, start, start, sc_core::SC_ZERO_TIME, 0 };
		accel_desc d{};

		m_job_proc_ps = m_proc_ps;
		m_start_ps = in_ps(start);
		m.error = run_descriptor(m_job_addr + m_head * sizeof(d), d);
		if (aborted())
			return;
		m.bytes = d.length;
		if (d.status == ACCEL_PENDING) {
			m_status |= ACCEL_STATUS_HALTED;
			last = true;
		} else {
			m_head = (m_head + 1) % m_job_count;
			last = m_head == m_tail;
		}
		end_job(m, d.flags & ACCEL_FLAG_IRQ, last);
	}
}

void accel::end_job(const measurement &m, bool irq, bool last)
{
	m_jobs.push_back(m);
	m_jobs.back().end = sc_time_stamp();
	m_end_ps = in_ps(sc_time_stamp());
	if (last)
		m_status &= ~ACCEL_STATUS_BUSY;
	if (m.error) {
		m_last_error = m.error;
		m_status |= ACCEL_STATUS_ERROR;
		raise(ACCEL_INT_ERROR);
	} else if (irq) {
		raise(ACCEL_INT_DONE);
	}
}

// One descriptor from fetch to status word. Returns ACCEL_PENDING (0) for success, else what went wrong; d.status is what
// was written to memory, or ACCEL_PENDING.
uint32_t accel::run_descriptor(uint64_t address, accel_desc &d)
{
	std::vector<uint8_t> data;
	uint32_t status;

	if (!dma_read(address, &d, sizeof(d))) {
		d.status = ACCEL_PENDING;
		return ACCEL_ERR_DMA;
	}
	d.status = ACCEL_PENDING;
	status = execute(d, data);
	if (aborted())
		return status;
	if (!dma_write(address + offsetof(accel_desc, status), &status, sizeof(status)))
		return ACCEL_ERR_DMA;
	d.status = status;
	m_completed++;
	return status == ACCEL_OK ? 0 : status;
}

uint32_t accel::execute(const accel_desc &d, std::vector<uint8_t> &data)
{
	const bool from_window = d.opcode == ACCEL_OP_FROM_WINDOW, to_window = d.opcode == ACCEL_OP_TO_WINDOW;
	const uint64_t window_at = from_window ? d.src : d.dst;

	if (d.opcode < ACCEL_OP_COPY || d.opcode > ACCEL_OP_FROM_WINDOW)
		return ACCEL_ERR_OPCODE;
	if (d.length == 0 || d.length > ACCEL_MAX_LENGTH)
		return ACCEL_ERR_LENGTH;
	if ((from_window || to_window) &&
	    (window_at > ACCEL_WINDOW_SIZE || d.length > ACCEL_WINDOW_SIZE - window_at))
		return ACCEL_ERR_WINDOW;

	data.resize(d.length);
	if (from_window)
		std::memcpy(data.data(), &m_window[d.src], d.length);
	else if (!dma_read(d.src, data.data(), d.length))
		return ACCEL_ERR_DMA;
	wait(sc_time(double(m_job_proc_ps), sc_core::SC_PS) * d.length, m_abort);
	if (aborted())
		return ACCEL_PENDING;
	if (to_window) {
		std::memcpy(&m_window[d.dst], data.data(), d.length);
		return ACCEL_OK;
	}
	return process(d, data) ? ACCEL_OK : ACCEL_ERR_DMA;
}

// Computes in place and writes the result to memory.
bool accel::process(const accel_desc &d, std::vector<uint8_t> &data)
{
	if (d.opcode == ACCEL_OP_CHECKSUM) {
		uint64_t sum = std::accumulate(data.begin(), data.end(), uint64_t(0));

		return dma_write(d.dst, &sum, sizeof(sum));
	}
	for (size_t i = 0; i < data.size(); i++) {
		if (d.opcode == ACCEL_OP_ADD)
			data[i] = uint8_t(data[i] + d.operand);
		else if (d.opcode == ACCEL_OP_XOR)
			data[i] = uint8_t(data[i] ^ d.operand >> 8 * (i % 4));
	}
	return dma_write(d.dst, data.data(), data.size());
}
