# tlm_glue/: the only room that knows SystemC.
pkgconfig_DATA += tlm_glue/kvmbox-tlm.pc
