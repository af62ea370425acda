/*
 * kvmbox/tlm_c.h - the C ABI as seen from C++ programs that use namespace
 * kvmbox: a namespace and a struct cannot share one name, so `struct kvmbox`
 * is `struct kvmbox_box` here. Only the spelling differs: the functions have C
 * linkage and the struct is opaque.
 */
#ifndef KVMBOX_TLM_C_H
#define KVMBOX_TLM_C_H

#ifdef KVMBOX_KVMBOX_H
#error "kvmbox/tlm.h brings kvmbox/kvmbox.h with it: do not include kvmbox/kvmbox.h before it"
#endif

#define kvmbox kvmbox_box
#include <kvmbox/kvmbox.h>
#undef kvmbox

#endif
