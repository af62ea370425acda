// The smallest box: a guest prints a line on COM1. Arguments: the box's key=value configuration.
#include <kvmbox/tlm.h>

int sc_main(int argc, char **argv)
{
	kvmbox::config cfg("guest=" GUEST);
	cfg.parse_args(argc, argv);
	if (cfg.help_wanted())
		return 0;
	kvmbox::box pc("pc", cfg);

	sc_core::sc_start();
	return pc.exit_status();
}
