// kvmbox::config: see kvmbox/tlm_config.h.
#include <kvmbox/tlm_config.h>

#include <new>
#include <systemc>

namespace kvmbox {

const char msg_config[] = "/kvmbox/config";
const char msg_bind[] = "/kvmbox/bind";
const char msg_guest[] = "/kvmbox/guest";
const char msg_tlm[] = "/kvmbox/tlm";
const char msg_kvm[] = "/kvmbox/kvm";

namespace {

void report(const std::string &what)
{
	SC_REPORT_ERROR(msg_config, what.c_str());
}

} // namespace

config::config()
{
	kvmbox_config_init(&m_c);
	m_c.quantum_ps = 0; /* not given */
}

/* Delegating: from here on the object is complete, so a throw below runs the destructor. */
config::config(const std::string &text) : config()
{
	parse(text);
}

config::config(int argc, const char *const *argv) : config()
{
	parse_args(argc, argv);
}

config::config(const config &other) : config()
{
	copy(other);
}

config &config::operator=(const config &other)
{
	if (this != &other)
		copy(other);
	return *this;
}

config::~config()
{
	kvmbox_config_clear(&m_c);
}

void config::copy(const config &other)
{
	::kvmbox_config c;

	if (kvmbox_config_copy(&c, &other.m_c) < 0)
		throw std::bad_alloc();
	kvmbox_config_clear(&m_c);
	m_c = c;
	m_help = other.m_help;
	stop_simulation = other.stop_simulation;
}

void config::set(const std::string &key, const std::string &value)
{
	kvmbox_error err{};

	if (key == "stop_simulation") {
		if (value == "yes" || value == "no")
			stop_simulation = value == "yes";
		else
			report("stop_simulation=" + value + ": expected yes or no");
		return;
	}
	if (kvmbox_config_set(&m_c, key.c_str(), value.c_str(), &err) < 0)
		report(err.msg);
}

void config::parse(const std::string &text)
{
	kvmbox_error err{};

	if (kvmbox_config_parse(&m_c, text.c_str(), &err) < 0)
		report(err.msg);
}

void config::parse_args(int argc, const char *const *argv)
{
	for (int i = 1; i < argc; i++) {
		const std::string arg = argv[i];
		const size_t eq = arg.find('=');

		if (arg == "help" || arg == "--help") {
			kvmbox_config_help(stdout);
			fputs("stop_simulation: yes/no, default yes; sc_stop() when the guest has ended\n", stdout);
			m_help = true;
		} else if (eq == std::string::npos || eq == 0) {
			report("argument '" + arg + "': expected key=value, or help for a list of keys");
		} else {
			set(arg.substr(0, eq), arg.substr(eq + 1));
		}
	}
}

} // namespace kvmbox
