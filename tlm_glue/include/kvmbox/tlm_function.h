/*
 * kvmbox/tlm_function.h - a PCI function seen from the SystemC side: BARs are
 * initiator sockets, DMA are target sockets, interrupts are calls or signals.
 *
 * Reads, writes to I/O BARs, and all writes of a function with posted_writes off:
 *  b_transport is called by the box's process, and the guest stalls for what the
 *  target takes, be it by wait() or by the delay it returns.
 * Memory writes are posted (PCI 3.0 section 3.2.5; PCIe 2.4.1): the guest goes on
 *  at once, b_transport is called by a process of the function ("posted"), one
 *  write after the other. A target that takes long is busy that long, by wait() or
 *  by its delay alike: the next access begins when the write has completed. Reads
 *  of the function, its I/O BARs and configuration accesses push the writes before
 *  them: they begin when all have completed. With 64 writes under way the guest
 *  stalls until one has completed. So calls for one function never overlap; those
 *  for different functions may, which matters to a target they share.
 * Synchronised (the default), b_transport is called at the very time of the access
 *  (plus bus_request) with a delay of 0. The guest does not pass the arrival
 *  of a posted write before the target has seen it; what the target answers at once
 *  (interrupt, DMA) the guest finds at that time, with slice_to_events=no as well.
 * Loosely timed, it is called where SystemC is; the delay is the guest's lead (plus
 *  bus_request), or up to where the write before has completed. The target may
 *  consume it, in part or all, by waiting, and returns what is left plus its own.
 */
#ifndef KVMBOX_TLM_FUNCTION_H
#define KVMBOX_TLM_FUNCTION_H

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <systemc>
#include <tlm>
#include <vector>

#include <kvmbox/tlm_config.h>
#include <kvmbox/tlm_dma.h>

namespace kvmbox {

class box;
class pci_function;
class posted_queue;
class flight;

/* On every payload that comes from the box; plain targets ignore it. */
struct pci_extension : tlm::tlm_extension<pci_extension> {
	pci_function *function = nullptr; /* the function addressed */
	uint16_t bdf = 0;                 /* bus << 8 | device << 3 | function */
	unsigned bar = 0;                 /* 0-5 */
	kvmbox_space space = KVMBOX_SPACE_MEMORY;
	bool posted = false;              /* the guest does not wait for its completion */
	uint16_t requester = 0;           /* BDF of the initiator: 0, the root complex */

	tlm_extension_base *clone() const override { return new pci_extension(*this); }
	void copy_from(const tlm_extension_base &other) override
	{
		*this = static_cast<const pci_extension &>(other);
	}
};

/* Makes module the current one, so that what is created meanwhile becomes its child. */
class child_scope {
public:
	explicit child_scope(sc_core::sc_module &m);
	~child_scope();
	child_scope(const child_scope &) = delete;
	child_scope &operator=(const child_scope &) = delete;

private:
	sc_core::sc_simcontext *m_context;
};

/* Type-erased initiator socket: BARs can be bound to a target of any width. */
class initiator {
public:
	virtual ~initiator() = default;
	virtual tlm::tlm_fw_transport_if<> *target() = 0; /* after elaboration */
};

template <unsigned W> class initiator_of : public initiator {
public:
	initiator_of(const char *name, tlm::tlm_bw_transport_if<> &bw) : m_socket(name) { m_socket.bind(bw); }
	tlm::tlm_fw_transport_if<> *target() override { return m_socket.operator->(); }
	template <class T> void bind(T &target) { m_socket.bind(target); }

private:
	tlm::tlm_initiator_socket<W> m_socket;
};

/* One BAR. bind() exactly once, before the simulation starts. */
class bar_port {
public:
	/* A target socket, of any width; or, through a parent module, its initiator socket. */
	template <unsigned W> void bind(tlm::tlm_base_target_socket_b<W> &target) { connect<W>(target); }
	template <unsigned W> void bind(tlm::tlm_base_initiator_socket_b<W> &parent) { connect<W>(parent); }
	/* A transport interface, without a socket. */
	void bind(tlm::tlm_fw_transport_if<> &target);
	template <class T> void operator()(T &target) { bind(target); }

	/* Added to the offset: with one target for all BARs it keeps them apart. */
	uint64_t address_base = 0;

private:
	friend class pci_function;
	template <unsigned W, class T> void connect(T &target);
	bool may_bind();
	bool bound() const { return m_socket || m_target; }

	pci_function *m_function = nullptr;
	unsigned m_index = 0;
	std::shared_ptr<initiator> m_socket; /* shared by the BARs of bind_all() */
	tlm::tlm_fw_transport_if<> *m_target = nullptr;
};

/* Made by box::add_function(), owned by the box. */
class pci_function : public sc_core::sc_module, protected tlm::tlm_bw_transport_if<> {
public:
	pci_function(sc_core::sc_module_name name, box &b, const function_config &cfg);
	~pci_function() override;
	const char *kind() const override { return "kvmbox::pci_function"; }

	/* BAR i: pci_function.bar(0).bind(target). */
	bar_port &bar(unsigned i);
	/* One socket for all BARs that are implemented and not bound yet. */
	template <unsigned W> void bind_all(tlm::tlm_base_target_socket_b<W> &target);
	void bind_all(tlm::tlm_fw_transport_if<> &target);

	/* The function's way to guest memory: a target socket, made when first asked for. */
	template <unsigned W = 32> dma_agent::socket<W> &dma() { return m_dma.get<W>(); }
	dma_agent &agent() { return m_dma; }

	/* INTx as a signal (true: asserted). Made when first asked for, then it has to be bound. */
	sc_core::sc_in<bool> &irq();
	void intx(bool active);
	/* MSI-X or MSI: what kvmbox_msi() says (-ENODEV: the guest enabled neither, use intx()). */
	int interrupt(unsigned vector = 0);

	bool bus_master() const;
	unsigned bdf() const;
	/* Where the guest has put a BAR; false while it is not decoded. */
	bool bar_address(unsigned i, uint64_t &address) const;
	/* Posted writes that are under way. */
	unsigned posted() const;
	/* Accesses of the guest that ended in an error. */
	unsigned long errors() const { return m_errors; }
	const function_config &configuration() const { return m_config; }
	box &parent() { return m_box; }
	::kvmbox_function *c_function() const { return m_c; }

private:
	friend class box;
	friend class bar_port;
	friend class posted_queue;
	struct slot; /* a pooled payload */
	class pool;

	void end_of_elaboration() override;
	/* The box's callbacks. */
	int transport(::kvmbox_access &access);
	int post(const ::kvmbox_access &access, uint64_t at_ps);
	void push();
	void command_changed(uint16_t command);
	/* Calls the target, which takes delay in and out. */
	int hand_over(::kvmbox_access &access, sc_core::sc_time &delay, flight &f, bool posted);
	int call(tlm::tlm_fw_transport_if<> &target, slot &s, ::kvmbox_access &access, sc_core::sc_time &delay, flight &f);
	int fail(const ::kvmbox_access &access, int error, const std::string &what);
	std::string port_name(unsigned i) const;
	bool implemented(unsigned i) const;

	tlm::tlm_bw_transport_if<> &backward() { return *this; }
	tlm::tlm_sync_enum nb_transport_bw(tlm::tlm_generic_payload &, tlm::tlm_phase &,
					   sc_core::sc_time &) override;
	void invalidate_direct_mem_ptr(sc_dt::uint64, sc_dt::uint64) override {} /* the box asks for no DMI */

	box &m_box;
	function_config m_config;
	::kvmbox_function *m_c = nullptr; /* null when the box refused it and the user went on */
	std::array<bar_port, 6> m_port;
	dma_agent m_dma;
	std::unique_ptr<sc_core::sc_in<bool>> m_irq;
	std::unique_ptr<pool> m_pool;
	std::unique_ptr<posted_queue> m_posted; /* null: no write is posted */
	unsigned long m_errors = 0;
};

template <unsigned W, class T> void bar_port::connect(T &target)
{
	if (!may_bind())
		return;
	child_scope scope(*m_function);
	auto s = std::make_shared<initiator_of<W>>(m_function->port_name(m_index).c_str(), m_function->backward());
	s->bind(target);
	m_socket = s;
}

template <unsigned W> void pci_function::bind_all(tlm::tlm_base_target_socket_b<W> &target)
{
	child_scope scope(*this);
	auto s = std::make_shared<initiator_of<W>>("bars", backward());

	s->bind(target);
	for (unsigned i = 0; i < 6; i++)
		if (implemented(i) && !m_port[i].bound())
			m_port[i].m_socket = s;
}

/* Here because it needs child_scope. */
template <unsigned W> struct dma_agent::holder_of : holder {
	explicit holder_of(const char *name) : s(name) {}
	void invalidate() override { s->invalidate_direct_mem_ptr(0, ~0ull); }
	socket<W> s;
};

template <unsigned W> dma_agent::socket<W> &dma_agent::get()
{
	auto &h = m_sockets[W];

	if (!h) {
		check_elaborating();
		child_scope scope(module());
		auto made = std::make_unique<holder_of<W>>(socket_name(W).c_str());
		made->s.register_b_transport(this, &dma_agent::b_transport);
		made->s.register_transport_dbg(this, &dma_agent::transport_dbg);
		made->s.register_get_direct_mem_ptr(this, &dma_agent::get_direct_mem_ptr);
		h = std::move(made);
	}
	return static_cast<holder_of<W> &>(*h).s;
}

} // namespace kvmbox

#endif
