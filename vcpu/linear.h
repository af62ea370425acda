/*
 * Guest memory by linear address, through the guest's page tables (Intel SDM vol. 3, chapter 4) and descriptor tables
 * (3.4, 3.5, 6.10-6.14), without a system call: as the registers of the last exit say. RAM only. Private to vcpu/.
 */
#ifndef KB_LINEAR_H
#define KB_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vcpu/vcpu.h"

/* Bytes read, from the start: fewer than len where something is not mapped or not RAM. */
size_t kb_linear_read(const struct kb_vcpu *v, uint64_t linear, void *buf, size_t len);
/* False: not all of it could be written. */
bool kb_linear_write(const struct kb_vcpu *v, uint64_t linear, const void *buf, size_t len);

/* Linear address of the handler that the guest's IDT (or real mode's vector table) has for vector. */
bool kb_linear_gate(const struct kb_vcpu *v, unsigned vector, uint64_t *handler);
/* The segment that loading selector would give; false: null, or not in the tables, or not present. */
bool kb_linear_segment(const struct kb_vcpu *v, uint16_t selector, struct kvm_segment *seg);

#endif
