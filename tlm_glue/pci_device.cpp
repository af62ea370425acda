// Base of PCI device models: see kvmbox/pci_device.h.
#include <kvmbox/pci_device.h>

#include <cerrno>
#include <cstring>
#include <sstream>

namespace kvmbox {
namespace {

function_config named(function_config cfg, const char *name)
{
	if (cfg.name.empty())
		cfg.name = name;
	return cfg;
}

} // namespace

pci_device::pci_device(sc_core::sc_module_name nm, box &b, function_config cfg)
	: sc_module(nm), m_function(b.add_function(named(std::move(cfg), basename())))
{
	m_function.bind_all(static_cast<tlm::tlm_fw_transport_if<> &>(*this));
}

/* ---- registers ------------------------------------------------------------ */

pci_device::reg_entry &pci_device::reg(unsigned bar, uint64_t offset, uint32_t &storage, access how)
{
	const function_config &cfg = m_function.configuration();
	reg_entry &r = m_regs[{ bar, offset }];

	if (bar > 5 || offset % 4 || cfg.bar[bar].size < 4 || offset > cfg.bar[bar].size - 4 || r.m_storage) {
		std::ostringstream s;
		s << name() << ": register at BAR " << bar << " offset 0x" << std::hex << offset
		  << (r.m_storage ? " is declared twice" : " is not in the BAR or not 4-byte aligned");
		SC_REPORT_ERROR(msg_bind, s.str().c_str());
	}
	r.m_storage = &storage;
	r.m_access = how;
	return r;
}

pci_device::reg_entry *pci_device::find(unsigned bar, uint64_t offset)
{
	auto i = m_regs.find({ bar, offset });

	if (i != m_regs.end())
		return &i->second;
	respond(tlm::TLM_ADDRESS_ERROR_RESPONSE);
	return nullptr;
}

uint32_t pci_device::read_reg(unsigned bar, uint64_t offset)
{
	reg_entry *r = find(bar, offset);

	if (!r)
		return UINT32_MAX;
	if (r->m_on_read)
		r->m_on_read();
	return r->m_access == write_only ? 0 : *r->m_storage;
}

/* mask: the bytes written. */
void pci_device::write_reg(unsigned bar, uint64_t offset, uint32_t value, uint32_t mask)
{
	reg_entry *r = find(bar, offset);

	if (!r || r->m_access == read_only)
		return;
	value &= mask;
	if (r->m_access == write_1_to_clear) {
		*r->m_storage &= ~value;
	} else {
		value |= *r->m_storage & ~mask;
		*r->m_storage = value;
	}
	if (r->m_on_write)
		r->m_on_write(value);
}

uint64_t pci_device::read(unsigned bar, uint64_t offset, unsigned len, sc_core::sc_time &)
{
	const unsigned shift = 8 * (offset & 3);
	uint64_t v = read_reg(bar, offset & ~3ull);

	if (len == 8)
		return v | static_cast<uint64_t>(read_reg(bar, offset + 4)) << 32;
	return v >> shift;
}

void pci_device::write(unsigned bar, uint64_t offset, unsigned len, uint64_t value, sc_core::sc_time &)
{
	const unsigned shift = 8 * (offset & 3);
	const uint64_t mask = len >= 4 ? UINT32_MAX : (1u << 8 * len) - 1;

	write_reg(bar, offset & ~3ull, static_cast<uint32_t>(value << shift), static_cast<uint32_t>(mask << shift));
	if (len == 8)
		write_reg(bar, offset + 4, static_cast<uint32_t>(value >> 32), UINT32_MAX);
}

/* ---- the box's side --------------------------------------------------------- */

void pci_device::b_transport(tlm::tlm_generic_payload &gp, sc_core::sc_time &delay)
{
	const pci_extension *ext = gp.get_extension<pci_extension>();
	const unsigned len = gp.get_data_length();
	uint64_t value = 0;

	if (!ext || len > sizeof(value)) {
		gp.set_response_status(tlm::TLM_BURST_ERROR_RESPONSE);
		return;
	}
	m_status = tlm::TLM_OK_RESPONSE;
	if (gp.is_read()) {
		value = read(ext->bar, gp.get_address(), len, delay);
		memcpy(gp.get_data_ptr(), &value, len);
	} else if (gp.is_write()) {
		memcpy(&value, gp.get_data_ptr(), len);
		write(ext->bar, gp.get_address(), len, value, delay);
	}
	gp.set_response_status(m_status);
}

tlm::tlm_sync_enum pci_device::nb_transport_fw(tlm::tlm_generic_payload &gp, tlm::tlm_phase &, sc_core::sc_time &delay)
{
	b_transport(gp, delay); /* never called: the box uses b_transport only */
	return tlm::TLM_COMPLETED;
}

/* ---- what models call --------------------------------------------------------- */

bool pci_device::dma_read(uint64_t addr, void *buf, size_t len)
{
	return m_function.agent().transfer(addr, buf, len, false) == 0;
}

bool pci_device::dma_write(uint64_t addr, const void *buf, size_t len)
{
	return m_function.agent().transfer(addr, const_cast<void *>(buf), len, true) == 0;
}

bool pci_device::interrupt(unsigned vector)
{
	int r = m_function.interrupt(vector);

	if (r != -ENODEV)
		return r >= 0;
	m_function.intx(true);
	return true;
}

} // namespace kvmbox
