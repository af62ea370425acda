/*
 * kvmbox/tlm_dma.h - the way into guest memory: target sockets for DMA
 * (IEEE 1666-2011 clauses 11 and 14). Made by pci_function::dma() and
 * box::dma(), one per bus width asked for.
 *
 * b_transport and nb_transport_fw: the address is a guest physical address. A
 *  4-byte write to FEE00000h-FEEFFFFFh is an MSI. Byte enables and streaming
 *  width are honoured. No delay is added: the device model knows its link.
 *   TLM_ADDRESS_ERROR      not all RAM; nothing was transferred
 *   TLM_GENERIC_ERROR      the function's bus master enable is off
 *   TLM_BURST_ERROR        length 0, streaming width 0, no data pointer
 *   TLM_BYTE_ENABLE_ERROR  byte enable length 0
 * transport_dbg: RAM and ROM, without looking at bus master, never an MSI;
 *  returns the bytes up to the first hole. ROM is not written.
 * get_direct_mem_ptr: the whole RAM region, ROM read-only; denied while bus
 *  mastering is off, and invalidated when it goes off.
 */
#ifndef KVMBOX_TLM_DMA_H
#define KVMBOX_TLM_DMA_H

#include <map>
#include <memory>
#include <string>
#include <systemc>
#include <tlm>
#include <tlm_utils/simple_target_socket.h>

#include <kvmbox/kvmbox.h>

namespace kvmbox {

class box;
class pci_function;

class dma_agent {
public:
	template <unsigned W> using socket = tlm_utils::simple_target_socket<dma_agent, W>;

	/* function null: the chipset, which needs no bus master bit. */
	dma_agent(box &b, pci_function *function) : m_box(b), m_function(function) {}
	dma_agent(const dma_agent &) = delete;
	dma_agent &operator=(const dma_agent &) = delete;

	template <unsigned W> socket<W> &get();

	void b_transport(tlm::tlm_generic_payload &gp, sc_core::sc_time &delay);
	unsigned transport_dbg(tlm::tlm_generic_payload &gp);
	bool get_direct_mem_ptr(tlm::tlm_generic_payload &gp, tlm::tlm_dmi &dmi);

	/* One transfer without a socket; errors are counted and logged. 0 or what kvmbox_dma() says. */
	int transfer(uint64_t addr, void *buf, size_t len, bool write);
	/* Takes back every DMI pointer handed out. */
	void invalidate();

private:
	struct holder {
		virtual ~holder() = default;
		virtual void invalidate() = 0;
	};
	template <unsigned W> struct holder_of;

	::kvmbox_function *function() const;
	bool is_memory(uint64_t addr, uint64_t len) const;
	int scattered(tlm::tlm_generic_payload &gp);
	tlm::tlm_response_status access(tlm::tlm_generic_payload &gp);
	void complain(uint64_t addr, uint64_t len, bool write, int error);
	std::string socket_name(unsigned width) const;
	sc_core::sc_module &module() const;
	void check_elaborating() const;

	box &m_box;
	pci_function *m_function;
	std::map<unsigned, std::unique_ptr<holder>> m_sockets; /* by width */
	bool m_dmi_out = false;
	unsigned long m_errors = 0;
};

} // namespace kvmbox

#endif
