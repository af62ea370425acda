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

/* Kinds of access, as in a page fault's error code. KB_LINEAR_AC is none of its bits: SMAP does not apply. */
enum { KB_LINEAR_WRITE = 2, KB_LINEAR_USER = 4, KB_LINEAR_AC = 1 << 16 };
/*
 * Where an access goes, as the CPU would decide it; sets accessed and dirty bits (4.6-4.8; without protection keys). The address may be
 * anybody's, RAM or not. False: page fault with *error.
 */
bool kb_linear_access(const struct kb_vcpu *v, uint64_t linear, unsigned access, uint64_t *pa, uint32_t *error);
/* Host address of guest-physical pa and *left bytes there; NULL: no RAM (or ROM, if write). */
uint8_t *kb_linear_host(const struct kb_vcpu *v, uint64_t pa, bool write, uint64_t *left);
/* Does the address have the form that the CPU's mode asks for? */
bool kb_linear_canonical(const struct kb_vcpu *v, uint64_t linear);

/* Linear address of the handler that the guest's IDT (or real mode's vector table) has for vector. */
bool kb_linear_gate(const struct kb_vcpu *v, unsigned vector, uint64_t *handler);
/* The segment that loading selector would give; false: null, or not in the tables, or not present. */
bool kb_linear_segment(const struct kb_vcpu *v, uint16_t selector, struct kvm_segment *seg);

#endif
