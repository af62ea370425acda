// The smallest box: runs a guest until it ends, with its serial port on the terminal.
//
//	uart_hello [key=value ...]    ("help" lists the keys; guest=PATH runs another program)
#include <kvmbox/tlm.h>

int sc_main(int argc, char **argv)
{
	kvmbox::config config("serial=stdio guest=" GUEST);

	config.parse_args(argc, argv);
	if (config.help_wanted())
		return 0;

	kvmbox::box pc("pc", config);

	sc_core::sc_start();
	return pc.exit_status();
}
