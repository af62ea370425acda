/* The "any TLM-2.0 target" of README.md's first example. */
#pragma once
#include <systemc>
#include <tlm>
#include <tlm_utils/simple_initiator_socket.h>
#include <tlm_utils/simple_target_socket.h>

struct my_model : sc_core::sc_module {
	tlm_utils::simple_target_socket<my_model> socket{"socket"};
	tlm_utils::simple_initiator_socket<my_model> dma{"dma"};
	sc_core::sc_out<bool> irq{"irq"};

	explicit my_model(sc_core::sc_module_name name) : sc_module(name)
	{
		socket.register_b_transport(this, &my_model::b_transport);
	}
	void b_transport(tlm::tlm_generic_payload &p, sc_core::sc_time &)
	{
		p.set_response_status(tlm::TLM_OK_RESPONSE);
	}
};
