/*
 * What the box has to complete on this host (assist.h), found out with the micro guest. Used by probe_behaviour.c only.
 */
#ifndef KB_PROBE_ASSISTS_H
#define KB_PROBE_ASSISTS_H

#include "vcpu/probe_vm.h"

struct kb_behaviour;

/* 0 with the findings in *b, or -errno if the vCPU cannot go on. After the other tests of rings. */
int kb_probe_assists(struct kb_probe_vm *g, struct kb_behaviour *b);

#endif
