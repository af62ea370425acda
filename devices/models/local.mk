# devices/models/: SystemC PCI device models that attach to the box from outside.
