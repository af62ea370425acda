// PCI functions on the SystemC side: see kvmbox/tlm_function.h.
#include <kvmbox/tlm_box.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <sstream>

#include "tlm_glue/posted.h"
#include "tlm_glue/ratelimit.h"

namespace kvmbox {

child_scope::child_scope(sc_core::sc_module &m) : m_context(m.simcontext())
{
	m_context->hierarchy_push(&m);
}

child_scope::~child_scope()
{
	m_context->hierarchy_pop();
}

/*
 * A payload with what hangs on it. The data lives here, not in the box: a
 * target may keep a reference beyond the access.
 */
struct pci_function::slot {
	tlm::tlm_generic_payload gp;
	pci_extension ext;
	uint64_t data = 0;

	slot() { gp.set_extension(&ext); }
	~slot() { gp.clear_extension(&ext); }
};

/* Grows to as many payloads as targets hold on to at once; normally one. */
class pci_function::pool : public tlm::tlm_mm_interface {
public:
	/* With one reference, the caller's. */
	slot &take()
	{
		if (m_free.empty()) {
			m_all.push_back(std::make_unique<slot>());
			m_all.back()->gp.set_mm(this);
			m_free.push_back(m_all.back().get());
		}
		slot &s = *m_free.back();
		m_free.pop_back();
		s.gp.acquire();
		return s;
	}
	void free(tlm::tlm_generic_payload *gp) override
	{
		gp->reset();
		for (auto &s : m_all)
			if (&s->gp == gp)
				m_free.push_back(s.get());
	}

private:
	std::vector<std::unique_ptr<slot>> m_all;
	std::vector<slot *> m_free;
};

/* ---- binding ------------------------------------------------------------- */

bool bar_port::may_bind()
{
	std::ostringstream s;

	if (bound())
		s << m_function->port_name(m_index) << " is bound already";
	else if (!m_function->implemented(m_index))
		s << "there is no " << m_function->port_name(m_index)
		  << ": its size is 0 in the function's configuration";
	else
		return true;
	SC_REPORT_ERROR(msg_bind, (std::string(m_function->name()) + ": " + s.str()).c_str());
	return false;
}

void bar_port::bind(tlm::tlm_fw_transport_if<> &target)
{
	if (may_bind())
		m_target = &target;
}

bar_port &pci_function::bar(unsigned i)
{
	if (i > 5) {
		std::ostringstream s;
		s << name() << ": there is no BAR " << i << ", BARs are 0 to 5";
		SC_REPORT_ERROR(msg_bind, s.str().c_str());
		i = 0;
	}
	return m_port[i];
}

void pci_function::bind_all(tlm::tlm_fw_transport_if<> &target)
{
	for (unsigned i = 0; i < 6; i++)
		if (implemented(i) && !m_port[i].bound())
			m_port[i].m_target = &target;
}

sc_core::sc_in<bool> &pci_function::irq()
{
	if (!m_irq) {
		child_scope scope(*this);
		m_irq = std::make_unique<sc_core::sc_in<bool>>("irq");
	}
	return *m_irq;
}

bool pci_function::implemented(unsigned i) const
{
	return m_config.bar[i].size != 0;
}

std::string pci_function::port_name(unsigned i) const
{
	return "bar" + std::to_string(i);
}

/* Is there anything that could be posted? */
static bool posts(const function_config &cfg)
{
	return cfg.posted_writes &&
	       std::any_of(std::begin(cfg.bar), std::end(cfg.bar), [](const ::kvmbox_bar &b) { return b.size && !b.io; });
}

pci_function::pci_function(sc_core::sc_module_name nm, box &b, const function_config &cfg)
	: sc_module(nm), m_box(b), m_config(cfg), m_dma(b, this), m_pool(new pool)
{
	kvmbox_error err{};
	::kvmbox_function_config c{};

	for (unsigned i = 0; i < m_port.size(); i++) {
		m_port[i].m_function = this;
		m_port[i].m_index = i;
	}
	if (!b.c_box())
		return;
	c.name = m_config.name.c_str();
	c.slot = m_config.slot;
	c.fn = m_config.fn;
	c.vendor = m_config.vendor;
	c.device = m_config.device;
	c.subsystem_vendor = m_config.subsystem_vendor;
	c.subsystem = m_config.subsystem;
	c.class_code = m_config.class_code;
	c.revision = m_config.revision;
	memcpy(c.bar, m_config.bar, sizeof(c.bar));
	c.intx_pin = m_config.intx_pin;
	c.msi_vectors = m_config.msi_vectors;
	c.msix_vectors = m_config.msix_vectors;
	c.msix_bar = m_config.msix_bar;
	c.msix_table_offset = m_config.msix_table_offset;
	c.msix_pba_offset = m_config.msix_pba_offset;
	c.power_management = m_config.power_management;
	c.vendor_cap = m_config.vendor_cap.empty() ? nullptr : m_config.vendor_cap.data();
	c.vendor_cap_len = static_cast<unsigned>(m_config.vendor_cap.size());
	c.rom = m_config.rom.empty() ? nullptr : m_config.rom.data();
	c.rom_size = m_config.rom.size();
	c.mode = m_config.mode;
	c.max_access = m_config.max_access;
	c.non_posted_writes = !m_config.posted_writes;
	c.bus_request_ps = m_config.bus_request_ps;
	c.bus_completion_ps = m_config.bus_completion_ps;
	c.posted_write_ps = m_config.posted_write_ps;
	if (kvmbox_add_function(b.c_box(), &c, this, &m_c, &err) < 0) {
		m_c = nullptr;
		SC_REPORT_ERROR(msg_config, err.msg);
		return;
	}
	if (posts(m_config))
		m_posted = std::make_unique<posted_queue>(b, *this);
}

pci_function::~pci_function() = default;

/* Now the sockets know their targets. */
void pci_function::end_of_elaboration()
{
	for (unsigned i = 0; i < m_port.size(); i++) {
		bar_port &p = m_port[i];

		if (p.m_socket) {
			p.m_target = p.m_socket->target();
		} else if (!p.m_target && implemented(i) &&
			   !(m_config.msix_vectors && m_config.msix_bar == i)) {
			std::ostringstream s;
			s << name() << ": BAR " << i << " (" << m_config.bar[i].size
			  << " bytes) is not bound; call bar(" << i << ").bind(target_socket) or bind_all(target_socket)";
			SC_REPORT_ERROR(msg_bind, s.str().c_str());
		}
	}
	if (m_irq) {
		sc_core::sc_spawn_options o;
		o.spawn_method();
		o.set_sensitivity(&(*m_irq)->value_changed_event());
		sc_core::sc_spawn([this] { intx(m_irq->read()); }, "irq_changed", &o);
	}
	if (m_posted)
		m_posted->start();
}

/* ---- calls up ------------------------------------------------------------ */

void pci_function::intx(bool active)
{
	if (!m_c)
		return;
	kvmbox_intx(m_c, active);
	m_box.wake();
	m_box.rethrow();
}

int pci_function::interrupt(unsigned vector)
{
	if (!m_c)
		return -ENODEV;
	int r = kvmbox_msi(m_c, vector);
	m_box.wake();
	m_box.rethrow();
	return r;
}

bool pci_function::bus_master() const
{
	return m_c && kvmbox_bus_master(m_c);
}

unsigned pci_function::bdf() const
{
	return m_c ? kvmbox_function_bdf(m_c) : 0;
}

bool pci_function::bar_address(unsigned i, uint64_t &address) const
{
	return m_c && kvmbox_function_bar_address(m_c, i, &address);
}

unsigned pci_function::posted() const
{
	return m_posted ? m_posted->count() : 0;
}

/* ---- callbacks ------------------------------------------------------------ */

/* Bus master enable, PCI 3.0 section 6.2.2: without it there is no DMA, also not behind our back. */
void pci_function::command_changed(uint16_t command)
{
	if (!(command & 4))
		m_dma.invalidate();
}

/* Says so, now and then; what the guest can provoke must not flood the log. */
int pci_function::fail(const ::kvmbox_access &a, int error, const std::string &what)
{
	if (!ratelimit(m_errors))
		return error;
	std::ostringstream s;
	s << name() << " BAR " << a.bar << ": "
	  << (a.write ? "write" : "read") << " of " << a.len << " bytes at offset 0x" << std::hex << a.offset << " "
	  << what << std::dec;
	if (m_errors > 1)
		s << " (error " << m_errors << " of this function)";
	SC_REPORT_WARNING(msg_tlm, s.str().c_str());
	return error;
}

int pci_function::transport(::kvmbox_access &a)
{
	sc_core::sc_time delay = from_ps(a.delay_ps);

	if (m_posted)
		m_posted->push(delay);
	const int result = hand_over(a, delay, *m_box.m_flight, false);
	/* Where the guest goes on, relative to the time the C side is told, which a pause may have moved. */
	const sc_core::sc_time end = delay < never() - sc_core::sc_time_stamp() ? sc_core::sc_time_stamp() + delay : never();
	m_box.hold();
	const uint64_t now = to_ps(sc_core::sc_time_stamp()), end_ps = to_ps_up(end);
	a.delay_ps = end_ps > now ? end_ps - now : 0;
	return result;
}

int pci_function::post(const ::kvmbox_access &a, uint64_t at_ps)
{
	return m_posted ? m_posted->post(a, at_ps) : -EAGAIN;
}

void pci_function::push()
{
	sc_core::sc_time none;

	if (m_posted)
		m_posted->push(none);
}

int pci_function::hand_over(::kvmbox_access &a, sc_core::sc_time &delay, flight &f, bool posted)
{
	const unsigned i = a.bar;

	if (i >= m_port.size() || a.len > sizeof(slot::data))
		return -EINVAL;
	if (!m_port[i].m_target)
		return fail(a, -ENXIO, "goes nowhere: nothing is bound there");

	slot &s = m_pool->take();
	tlm::tlm_generic_payload &gp = s.gp;
	gp.set_command(a.write ? tlm::TLM_WRITE_COMMAND : tlm::TLM_READ_COMMAND);
	gp.set_address(m_port[i].address_base + a.offset);
	gp.set_data_ptr(reinterpret_cast<unsigned char *>(&s.data));
	gp.set_data_length(a.len);
	gp.set_streaming_width(a.len);
	gp.set_byte_enable_ptr(nullptr);
	gp.set_byte_enable_length(0);
	gp.set_dmi_allowed(false);
	gp.set_response_status(tlm::TLM_INCOMPLETE_RESPONSE);
	s.ext.function = this;
	s.ext.bdf = static_cast<uint16_t>(kvmbox_function_bdf(m_c));
	s.ext.bar = i;
	s.ext.space = a.space;
	s.ext.posted = posted;
	s.ext.requester = 0;
	s.data = 0;
	if (a.write)
		memcpy(&s.data, a.data, a.len);
	return call(*m_port[i].m_target, s, a, delay, f);
}

int pci_function::call(tlm::tlm_fw_transport_if<> &target, slot &s, ::kvmbox_access &a, sc_core::sc_time &delay, flight &f)
{
	/*
	 * Released at the end, also when the target throws. Not on a timeout:
	 * a target that has only a pointer may still answer, some day.
	 */
	struct release {
		void operator()(tlm::tlm_generic_payload *gp) const { gp->release(); }
	};
	std::unique_ptr<tlm::tlm_generic_payload, release> ref(&s.gp);

	const sc_core::sc_time lead = delay;

	if (!m_box.m_watchdog->b_transport(f, target, s.gp, delay)) {
		ref.release();
		delay = lead;
		return fail(a, -ETIMEDOUT, "was not answered within " + m_box.m_watchdog->timeout().to_string());
	}
	switch (s.gp.get_response_status()) {
	case tlm::TLM_OK_RESPONSE:
		if (!a.write)
			memcpy(a.data, &s.data, a.len);
		return 0;
	case tlm::TLM_INCOMPLETE_RESPONSE:
		return fail(a, -EIO, "came back with TLM_INCOMPLETE_RESPONSE: the target set no response status");
	default:
		return fail(a, -EIO, "failed: " + s.gp.get_response_string());
	}
}

tlm::tlm_sync_enum pci_function::nb_transport_bw(tlm::tlm_generic_payload &, tlm::tlm_phase &, sc_core::sc_time &)
{
	SC_REPORT_ERROR(msg_tlm, (std::string(name()) +
				  ": nb_transport_bw called, but the box uses b_transport only").c_str());
	return tlm::TLM_COMPLETED;
}

} // namespace kvmbox
