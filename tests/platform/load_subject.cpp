// What load_test runs, alone and beside others that want the CPUs: a guest that times a device and waits for its interrupts. Prints all
// that the device and the guest saw, with its time. Arguments: the box's configuration.
#include <kvmbox/tlm.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <tlm_utils/simple_target_socket.h>

#include "tests/guest/agenda.h"

namespace {

constexpr unsigned slot = 4, accesses = 150, alarms = 12;
constexpr uint64_t take_ns = 10000, alarm = 0x100;

// Reads take 10 us. A write of n at alarm: an interrupt n ns later.
struct device : sc_core::sc_module {
	SC_HAS_PROCESS(device);
	device(sc_core::sc_module_name nm, kvmbox::box &pc) : sc_module(nm), socket("socket")
	{
		kvmbox::function_config f("device", 0x1234, 0x5709);

		f.slot = int(slot);
		f.memory_bar(0, 0x1000);
		f.msi_vectors = 1;
		m_function = &pc.add_function(f);
		m_function->bar(0).bind(socket);
		socket.register_b_transport(this, &device::b_transport);
		SC_METHOD(ring);
		sensitive << m_ring;
		dont_initialize();
	}
	void b_transport(tlm::tlm_generic_payload &gp, sc_core::sc_time &delay)
	{
		const std::string at = (sc_core::sc_time_stamp() + delay).to_string();
		uint64_t v = ++m_accesses;

		if (gp.is_write())
			memcpy(&v, gp.get_data_ptr(), gp.get_data_length());
		else
			memcpy(gp.get_data_ptr(), &v, gp.get_data_length());
		std::printf("device %s at %s: %llu = %llu\n", gp.is_write() ? "write" : "read", at.c_str(),
			    static_cast<unsigned long long>(gp.get_address()), static_cast<unsigned long long>(v));
		if (gp.is_read())
			wait(double(take_ns), sc_core::SC_NS);
		else if (gp.get_address() == alarm)
			m_ring.notify(double(v), sc_core::SC_NS);
		gp.set_response_status(tlm::TLM_OK_RESPONSE);
	}
	void ring()
	{
		std::printf("device interrupts at %s\n", sc_core::sc_time_stamp().to_string().c_str());
		m_function->interrupt(0);
	}
	tlm_utils::simple_target_socket<device, 64> socket;

private:
	kvmbox::pci_function *m_function;
	sc_core::sc_event m_ring;
	uint64_t m_accesses = 0;
};

std::vector<agenda_step> agenda()
{
	std::vector<agenda_step> steps;

	for (unsigned i = 0; i < accesses; i++)
		steps.push_back({ AGENDA_READ, slot, 0, 8, 8 * (i % 32), 0, 0, 0 });
	steps.push_back({ AGENDA_MSI, slot, 0, 0, 0, 0, 0, 0 });
	for (unsigned i = 0; i < alarms; i++) {
		steps.push_back({ AGENDA_WRITE, slot, 0, 8, alarm, 1000u << i, 0, 0 });
		steps.push_back({ uint32_t(i % 2 ? AGENDA_SPIN : AGENDA_SLEEP), slot, 0, 0, 0, 0, 0, 0 });
	}
	steps.push_back({});
	return steps;
}

} // namespace

int sc_main(int argc, char **argv)
{
	kvmbox::config cfg("guest=" AGENDA_GUEST " ram=32M serial=memory");

	cfg.parse_args(argc, argv);
	kvmbox::box pc("pc", cfg);
	device d("device", pc);
	std::vector<agenda_step> steps = agenda();
	tlm::tlm_generic_payload gp;

	gp.set_address(AGENDA_ADDR);
	gp.set_data_ptr(reinterpret_cast<unsigned char *>(steps.data()));
	gp.set_data_length(unsigned(steps.size() * sizeof(steps[0])));
	gp.set_write();
	pc.agent().transport_dbg(gp);
	sc_core::sc_start();
	if (pc.end() != KVMBOX_END_EXIT || pc.exit_status() != 0) {
		std::printf("the guest did not come to its end: %s\n", pc.serial_output().c_str());
		return 1;
	}
	gp.set_read();
	pc.agent().transport_dbg(gp);
	for (auto &s : steps)
		std::printf("guest %u: %llu from %llu to %llu\n", s.op, static_cast<unsigned long long>(s.value),
			    static_cast<unsigned long long>(s.before), static_cast<unsigned long long>(s.after));
	return 0;
}
