/*
 * kvmbox/tlm_config.h - what a box and a PCI function are made of.
 */
#ifndef KVMBOX_TLM_CONFIG_H
#define KVMBOX_TLM_CONFIG_H

#include <cstdint>
#include <string>
#include <vector>

#include <kvmbox/kvmbox.h>

namespace kvmbox {

/*
 * Message types of everything reported through sc_report_handler, for use with
 * sc_report_handler::set_actions().
 */
extern const char msg_config[]; /* "/kvmbox/config": a configuration that cannot be */
extern const char msg_bind[];   /* "/kvmbox/bind": the model was put together wrongly */
extern const char msg_guest[];  /* "/kvmbox/guest": the guest's end; the box's log */
extern const char msg_tlm[];    /* "/kvmbox/tlm": an access or DMA that failed */
extern const char msg_kvm[];    /* "/kvmbox/kvm": the host cannot run the box */

/*
 * The configuration of a box: struct kvmbox_config with an owner. Fields are
 * reached with ->, except strings, which are set with set(). Errors are
 * SC_REPORT_ERROR(msg_config): they throw unless the user's policy says otherwise; a
 * key that is refused keeps its value.
 *
 * quantum_ps 0, as after construction, means not given: then it is tlm_global_quantum's
 * value when the simulation starts, or 1 ms if there is none.
 *
 *	kvmbox::config cfg("guest=hello.elf ram=64M");
 *	cfg.set("quantum", "1us");	// keys: kvmbox_config_help()
 *	cfg->time_scale = 0.5;
 */
class config {
public:
	config();
	explicit config(const std::string &text);
	/* "key=value" arguments; "help" prints the keys to stdout and makes help_wanted() true. */
	config(int argc, const char *const *argv);
	config(const config &other);
	config &operator=(const config &other);
	~config();

	void set(const std::string &key, const std::string &value);
	void parse(const std::string &text); /* "key=value key='a b'" */
	void parse_args(int argc, const char *const *argv); /* argv[0] is skipped */
	bool help_wanted() const { return m_help; }

	::kvmbox_config *operator->() { return &m_c; }
	const ::kvmbox_config *operator->() const { return &m_c; }
	const ::kvmbox_config &c_config() const { return m_c; }

	/* The box calls sc_stop() when the guest has ended. Key "stop_simulation", set() only. */
	bool stop_simulation = true;

private:
	void copy(const config &other);

	::kvmbox_config m_c;
	bool m_help = false;
};

/* kvmbox_function_config with an owner; see there for units and limits. */
struct function_config {
	std::string name;      /* SystemC name below the box, and in messages */
	int slot = -1, fn = 0; /* slot -1: the next free device */
	uint16_t vendor = 0, device = 0, subsystem_vendor = 0, subsystem = 0;
	uint32_t class_code = 0xFF0000; /* base class FFh: fits no defined class */
	uint8_t revision = 0;
	::kvmbox_bar bar[6] = {};
	unsigned intx_pin = 0; /* 1-4 = INTA-INTD */
	unsigned msi_vectors = 0, msix_vectors = 0, msix_bar = 0;
	uint32_t msix_table_offset = 0, msix_pba_offset = 0;
	bool power_management = false;
	std::vector<uint8_t> vendor_cap;
	std::vector<uint8_t> rom;
	kvmbox_access_mode mode = KVMBOX_SYNCHRONISED;
	unsigned max_access = 0; /* 0: 8 bytes */
	bool posted_writes = true; /* memory writes do not wait for the target; false: they stall the guest, as reads do */
	/* Beside the target's time, see kvmbox_config. 0: the box's; KVMBOX_NO_LATENCY: none. */
	uint64_t bus_request_ps = 0, bus_completion_ps = 0, posted_write_ps = 0;

	function_config() = default;
	function_config(std::string name_, uint16_t vendor_, uint16_t device_)
		: name(std::move(name_)), vendor(vendor_), device(device_)
	{
	}
	function_config &memory_bar(unsigned i, uint64_t size, bool is64 = false, bool prefetchable = false)
	{
		bar[i] = { size, false, is64, prefetchable };
		return *this;
	}
	function_config &io_bar(unsigned i, uint64_t size)
	{
		bar[i] = { size, true, false, false };
		return *this;
	}
};

} // namespace kvmbox

#endif
