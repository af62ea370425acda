// DMA into guest memory: see kvmbox/tlm_dma.h.
#include <kvmbox/tlm_box.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>

#include "tlm_glue/ratelimit.h"

namespace kvmbox {
namespace {

bool is_msi(uint64_t addr)
{
	return addr >> 20 == 0xFEE;
}

bool all_enabled(const tlm::tlm_generic_payload &gp)
{
	const unsigned char *be = gp.get_byte_enable_ptr();

	return !be || std::all_of(be, be + gp.get_byte_enable_length(),
				  [](unsigned char b) { return b == TLM_BYTE_ENABLED; });
}

/* The RAM or ROM region around addr, by its first byte; host null: none. */
struct region {
	uint8_t *host = nullptr;
	uint64_t start = 0, end = 0; /* inclusive */
	bool readonly = false;

	region(::kvmbox_box *box, uint64_t addr)
	{
		uint8_t *p = box ? kvmbox_dma_ptr(box, addr, &start, &end, &readonly) : nullptr;

		if (p)
			host = p - (addr - start); /* p is addr's own byte */
	}
};

tlm::tlm_response_status status_of(int error)
{
	switch (error) {
	case 0:
		return tlm::TLM_OK_RESPONSE;
	case -EFAULT:
		return tlm::TLM_ADDRESS_ERROR_RESPONSE;
	default:
		return tlm::TLM_GENERIC_ERROR_RESPONSE;
	}
}

} // namespace

::kvmbox_function *dma_agent::function() const
{
	return m_function ? m_function->c_function() : nullptr;
}

sc_core::sc_module &dma_agent::module() const
{
	return m_function ? static_cast<sc_core::sc_module &>(*m_function) : m_box;
}

std::string dma_agent::socket_name(unsigned width) const
{
	return width == 32 ? "dma" : "dma" + std::to_string(width);
}

void dma_agent::check_elaborating() const
{
	if (module().simcontext()->elaboration_done())
		SC_REPORT_ERROR(msg_bind, (std::string(module().name()) +
					   ": dma() makes a socket, which is too late once the simulation has started").c_str());
}

void dma_agent::complain(uint64_t addr, uint64_t len, bool write, int error)
{
	if (!ratelimit(m_errors))
		return;
	std::ostringstream s;
	s << module().name() << ": DMA " << (write ? "write" : "read") << " of " << len << " bytes at 0x" << std::hex
	  << addr << std::dec << " failed: ";
	if (error == -EPERM)
		s << "the driver has not enabled bus mastering (PCI command register bit 2)";
	else if (error == -EFAULT)
		s << "not all of it is guest RAM";
	else
		s << strerror(-error);
	if (m_errors > 1)
		s << " (error " << m_errors << " of this agent)";
	SC_REPORT_WARNING(msg_tlm, s.str().c_str());
}

int dma_agent::transfer(uint64_t addr, void *buf, size_t len, bool write)
{
	if (!m_box.c_box() || (m_function && !m_function->c_function()))
		return -ENODEV;
	const int r = kvmbox_dma(m_box.c_box(), function(), addr, buf, len, write);
	if (write && is_msi(addr))
		m_box.wake();
	m_box.rethrow();
	if (r < 0)
		complain(addr, len, write, r);
	return r < 0 ? r : 0;
}

/* Is [addr, addr + len) memory without a hole? */
bool dma_agent::is_memory(uint64_t addr, uint64_t len) const
{
	while (len) {
		const region r(m_box.c_box(), addr);

		if (!r.host)
			return false;
		if (r.end - addr >= len - 1)
			return true;
		len -= r.end - addr + 1;
		addr = r.end + 1;
		if (!addr)
			return false;
	}
	return true;
}

/*
 * Byte i goes to address + i % streaming width if enable[i % enable length]
 * is set (IEEE 1666-2011 sections 14.11 and 14.14). Done in runs of enabled
 * bytes at ascending addresses; checked before, so that nothing is half done.
 */
int dma_agent::scattered(tlm::tlm_generic_payload &gp)
{
	const unsigned len = gp.get_data_length(), width = std::min(gp.get_streaming_width(), len);
	const unsigned char *be = gp.get_byte_enable_ptr();
	const unsigned be_len = gp.get_byte_enable_length();

	if (!is_memory(gp.get_address(), width)) {
		complain(gp.get_address(), width, gp.is_write(), -EFAULT);
		return -EFAULT;
	}
	for (unsigned i = 0, n; i < len; i += n) {
		const unsigned to_wrap = std::min(width - i % width, len - i);
		const bool on = !be || be[i % be_len];

		for (n = 1; n < to_wrap && (!be || !!be[(i + n) % be_len] == on); n++)
			;
		if (!on)
			continue;
		int r = transfer(gp.get_address() + i % width, gp.get_data_ptr() + i, n, gp.is_write());
		if (r)
			return r;
	}
	return 0;
}

tlm::tlm_response_status dma_agent::access(tlm::tlm_generic_payload &gp)
{
	const unsigned len = gp.get_data_length();

	if (gp.get_command() == tlm::TLM_IGNORE_COMMAND)
		return tlm::TLM_OK_RESPONSE;
	if (!len || !gp.get_streaming_width() || !gp.get_data_ptr())
		return tlm::TLM_BURST_ERROR_RESPONSE;
	if (gp.get_byte_enable_ptr() && !gp.get_byte_enable_length())
		return tlm::TLM_BYTE_ENABLE_ERROR_RESPONSE;
	/* Before the addresses are looked at: a function that may not master learns nothing about them. */
	if (m_function && !m_function->bus_master()) {
		complain(gp.get_address(), len, gp.is_write(), -EPERM);
		return tlm::TLM_GENERIC_ERROR_RESPONSE;
	}
	if (gp.get_streaming_width() >= len && all_enabled(gp))
		return status_of(transfer(gp.get_address(), gp.get_data_ptr(), len, gp.is_write()));
	return status_of(scattered(gp));
}

void dma_agent::b_transport(tlm::tlm_generic_payload &gp, sc_core::sc_time &)
{
	const tlm::tlm_response_status status = m_box.c_box() ? access(gp) : tlm::TLM_GENERIC_ERROR_RESPONSE;

	gp.set_response_status(status);
	gp.set_dmi_allowed(status == tlm::TLM_OK_RESPONSE && gp.get_command() != tlm::TLM_IGNORE_COMMAND &&
			   region(m_box.c_box(), gp.get_address()).host);
}

unsigned dma_agent::transport_dbg(tlm::tlm_generic_payload &gp)
{
	unsigned done = 0;
	uint64_t addr = gp.get_address();

	if (gp.get_command() == tlm::TLM_IGNORE_COMMAND || !gp.get_data_ptr())
		return 0;
	while (done < gp.get_data_length()) {
		const region r(m_box.c_box(), addr);

		if (!r.host || (r.readonly && gp.is_write()))
			break;
		uint8_t *p = r.host + (addr - r.start);
		/* end - addr first: end + 1 may be 0 */
		const unsigned n = static_cast<unsigned>(
			std::min<uint64_t>(r.end - addr, gp.get_data_length() - done - 1u)) + 1;
		if (gp.is_write())
			memcpy(p, gp.get_data_ptr() + done, n);
		else
			memcpy(gp.get_data_ptr() + done, p, n);
		done += n;
		addr += n;
		if (!addr)
			break;
	}
	return done;
}

bool dma_agent::get_direct_mem_ptr(tlm::tlm_generic_payload &gp, tlm::tlm_dmi &dmi)
{
	const uint64_t addr = gp.get_address();
	const bool may = !m_function || m_function->bus_master();
	const region r(may ? m_box.c_box() : nullptr, addr);

	dmi.init();
	if (!r.host || (r.readonly && gp.is_write())) {
		/* Only this address: what is refused today may be granted once the driver has set up the function. */
		dmi.set_start_address(addr);
		dmi.set_end_address(addr);
		dmi.set_granted_access(tlm::tlm_dmi::DMI_ACCESS_NONE);
		return false;
	}
	dmi.set_start_address(r.start);
	dmi.set_end_address(r.end);
	dmi.set_dmi_ptr(r.host);
	dmi.set_granted_access(r.readonly ? tlm::tlm_dmi::DMI_ACCESS_READ : tlm::tlm_dmi::DMI_ACCESS_READ_WRITE);
	m_dmi_out = true;
	return true;
}

void dma_agent::invalidate()
{
	if (!m_dmi_out)
		return;
	m_dmi_out = false;
	for (auto &s : m_sockets)
		s.second->invalidate();
}

} // namespace kvmbox
