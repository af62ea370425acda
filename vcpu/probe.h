/*
 * The probe inside the library: see kvmbox/probe.h for what it finds out.
 */
#ifndef KB_PROBE_H
#define KB_PROBE_H

#include <kvmbox/probe.h>

#include "vcpu/kvm.h"

/* kvmbox_probe() through a replaceable set of system calls. */
int kb_probe(const struct kb_kvm_api *api, struct kvmbox_probe_result *probe);

/*
 * The probe's result, made at the first call (some 20 ms) and kept for the life of the process, for
 * calibration; look at ->usable. Any thread.
 */
const struct kvmbox_probe_result *kb_probe_cached(void);

#endif
