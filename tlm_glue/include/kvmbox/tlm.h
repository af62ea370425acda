/*
 * kvmbox/tlm.h - a KVM-backed x86 PC as a SystemC module, a TLM-2.0 initiator.
 *
 *	int sc_main(int argc, char **argv)
 *	{
 *		kvmbox::config cfg(argc, argv);         // guest=hello.elf quantum=10us ...
 *		kvmbox::box pc("pc", cfg);
 *
 *		kvmbox::function_config f("gpu", 0x1234, 0x0001);
 *		f.memory_bar(0, 0x1000);
 *		kvmbox::pci_function &slot = pc.add_function(f);
 *		my_model model("model");                // any TLM-2.0 target
 *		slot.bar(0).bind(model.socket);         // guest accesses come out here
 *		model.dma_socket.bind(slot.dma());      // DMA goes in here
 *		slot.irq().bind(model.irq_signal);      // or slot.interrupt() for MSI
 *
 *		sc_core::sc_start();
 *		return pc.exit_status();
 *	}
 *
 * A new device model starts from kvmbox/pci_device.h instead.
 */
#ifndef KVMBOX_TLM_H
#define KVMBOX_TLM_H

#include <kvmbox/tlm_box.h>
#include <kvmbox/tlm_config.h>
#include <kvmbox/tlm_dma.h>
#include <kvmbox/tlm_function.h>
#include <kvmbox/tlm_time.h>

#endif
