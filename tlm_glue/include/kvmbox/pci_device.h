/*
 * kvmbox/pci_device.h - base of a PCI device model: derive, declare registers,
 * attach to a box. No sockets to bind. A whole device, a DMA adder:
 *
 *	class adder : public kvmbox::pci_device {
 *	public:
 *		adder(sc_core::sc_module_name name, kvmbox::box &pc)
 *			: pci_device(name, pc, identity())
 *		{
 *			reg(0, 0x00, m_id, read_only);
 *			reg(0, 0x04, m_address);
 *			reg(0, 0x08, m_count).on_write([this](uint32_t) { m_start.notify(); });
 *			reg(0, 0x0C, m_done, write_1_to_clear).on_write([this](uint32_t) { clear_interrupt(); });
 *			SC_THREAD(work);
 *		}
 *
 *	private:
 *		SC_HAS_PROCESS(adder);
 *		static kvmbox::function_config identity()
 *		{
 *			kvmbox::function_config f("adder", 0x1234, 0xADDE);
 *			f.memory_bar(0, 0x1000);
 *			f.intx_pin = 1;
 *			f.msi_vectors = 1;
 *			return f;
 *		}
 *		void work()
 *		{
 *			for (;;) {
 *				wait(m_start);
 *				std::vector<uint32_t> v(m_count % 1024);
 *				if (!dma_read(m_address, v.data(), 4 * v.size()))
 *					continue;
 *				uint32_t sum = std::accumulate(v.begin(), v.end(), 0u);
 *				wait(100, sc_core::SC_NS);
 *				dma_write(m_address, &sum, 4);
 *				m_done = 1;
 *				interrupt();
 *			}
 *		}
 *		uint32_t m_id = 0xADDE0001, m_address = 0, m_count = 0, m_done = 0;
 *		sc_core::sc_event m_start;
 *	};
 *
 * Models with other needs (windows, queues, wide registers) override read()
 * and write(), and may call pci_device's for the rest.
 */
#ifndef KVMBOX_PCI_DEVICE_H
#define KVMBOX_PCI_DEVICE_H

#include <functional>
#include <map>
#include <utility>

#include <kvmbox/tlm.h>

namespace kvmbox {

class pci_device : public sc_core::sc_module, protected tlm::tlm_fw_transport_if<> {
public:
	enum access { read_write, read_only, write_only, write_1_to_clear };

	/* A 32-bit register at a 4-byte aligned offset. */
	class reg_entry {
	public:
		/* Before the guest reads: the callback may update the storage. */
		reg_entry &on_read(std::function<void()> f) { m_on_read = std::move(f); return *this; }
		/* After a write took effect, with the value written (narrow writes: merged into 32 bits). */
		reg_entry &on_write(std::function<void(uint32_t)> f) { m_on_write = std::move(f); return *this; }

	private:
		friend class pci_device;
		uint32_t *m_storage = nullptr;
		access m_access = read_write;
		std::function<void()> m_on_read;
		std::function<void(uint32_t)> m_on_write;
	};

	/* The function's SystemC name below the box is cfg.name, or this module's name without one. */
	pci_device(sc_core::sc_module_name name, box &b, function_config cfg);

	pci_function &function() { return m_function; }

protected:
	/*
	 * One access of the guest to a BAR: naturally aligned, len 1, 2, 4 or 8. They may wait(), or add to delay,
	 * and fail with respond(); no other comes meanwhile. The guest waits for reads, see kvmbox/tlm_function.h. These serve the registers; where there is none: TLM_ADDRESS_ERROR_RESPONSE.
	 */
	virtual uint64_t read(unsigned bar, uint64_t offset, unsigned len, sc_core::sc_time &delay);
	virtual void write(unsigned bar, uint64_t offset, unsigned len, uint64_t value, sc_core::sc_time &delay);
	/* From within read() or write(): the access's outcome, if not TLM_OK_RESPONSE. */
	void respond(tlm::tlm_response_status status) { m_status = status; }

	/* Declares a register. Storage stays the model's. write_only ones read as 0. */
	reg_entry &reg(unsigned bar, uint64_t offset, uint32_t &storage, access how = read_write);

	/* Guest memory. False, reported and nothing transferred: not RAM, or bus mastering is off. */
	bool dma_read(uint64_t addr, void *buf, size_t len);
	bool dma_write(uint64_t addr, const void *buf, size_t len);

	/* MSI-X or MSI when the driver has enabled one, else INTx until clear_interrupt(). False: it was lost. */
	bool interrupt(unsigned vector = 0);
	void clear_interrupt() { m_function.intx(false); }

private:
	reg_entry *find(unsigned bar, uint64_t offset);
	uint32_t read_reg(unsigned bar, uint64_t offset);
	void write_reg(unsigned bar, uint64_t offset, uint32_t value, uint32_t mask);

	void b_transport(tlm::tlm_generic_payload &gp, sc_core::sc_time &delay) override;
	tlm::tlm_sync_enum nb_transport_fw(tlm::tlm_generic_payload &, tlm::tlm_phase &, sc_core::sc_time &) override;
	bool get_direct_mem_ptr(tlm::tlm_generic_payload &, tlm::tlm_dmi &) override { return false; }
	unsigned transport_dbg(tlm::tlm_generic_payload &) override { return 0; }

	pci_function &m_function;
	std::map<std::pair<unsigned, uint64_t>, reg_entry> m_regs; /* by BAR and offset */
	tlm::tlm_response_status m_status = tlm::TLM_OK_RESPONSE;
};

} // namespace kvmbox

#endif
