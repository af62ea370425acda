/*
 * The guest's CPUID table: what KVM supports, edited by feature names.
 *
 * On kvm_pvm hosts the table is not the last word: KVM_SET_CPUID2 silently ORs the host's features (SSSE3 to
 * AVX-512, POPCNT, XSAVE, SMAP...) back in, KVM_GET_SUPPORTED_CPUID does not even show them, and CPUID in
 * guest user mode is the host's own.
 */
#ifndef KB_CPUID_H
#define KB_CPUID_H

#include <stdbool.h>
#include <stdint.h>

#include "vcpu/kvm.h"

#define KB_CPUID_MAX 256

/* Laid out as struct kvm_cpuid2, for the ioctls. */
struct kb_cpuid {
	struct {
		uint32_t nent, padding;
	} head;
	struct kvm_cpuid_entry2 entries[KB_CPUID_MAX];
};

/* Fills table from KVM_GET_SUPPORTED_CPUID on kvm_fd (the /dev/kvm descriptor). */
int kb_cpuid_supported(struct kb_cpuid *table, const struct kb_kvm_api *api, int kvm_fd, struct kvmbox_error *err);

/*
 * Applies "+name,-name,..." (blanks allowed, no sign means +; NULL or "" nothing). Names as in Linux's /proc/cpuinfo,
 * and some usual other spellings. The last mention of a name counts; + brings back what - took away. XSAVE
 * components go with their feature. On failure the table is unchanged. Apply before kb_cpuid_fit().
 * -EINVAL: unknown name (the message names near ones), or an added feature that the table of the host does not
 * support or the box cannot offer.
 */
int kb_cpuid_edit(struct kb_cpuid *table, const char *edits, struct kvmbox_error *err);

/* The same for a table that lacks some of what is offered: that can be added. */
int kb_cpuid_edit_from(struct kb_cpuid *table, const struct kb_cpuid *offered, const char *edits, struct kvmbox_error *err);

/*
 * Makes the table fit the box: APIC id and vCPU count of vcpu_id/vcpu_count in leaves 1, 4, 0xb, 0x1f, 0x8000001e;
 * max leaves consistent, vendor kept, brand string present and NUL-padded; features the box cannot keep (MONITOR, PMU, nested guests, KVM paravirtual features of the kernel's own clock and
 * irqchip) cleared; hypervisor bit and leaf 0x40000000 kept sane: signature KVMKVMKVM and, of the features in 0x40000001, only
 * NOP_IO_DELAY, to which the box adds what it serves itself. Neither when the edits took "hypervisor" away. May be repeated.
 */
void kb_cpuid_fit(struct kb_cpuid *table, unsigned vcpu_id, unsigned vcpu_count);

/* What the guest is told about its clocks. */
struct kb_cpuid_clocks {
	uint32_t paravirt;    /* bits to add to 0x40000001 EAX */
	uint32_t tsc_khz;     /* the TSC's frequency in simulated time, 0: it has none or nobody knows */
	uint32_t apic_hz;     /* of the local APIC's timer, which is the crystal's */
	bool tsc_simulated;   /* else the TSC is not invariant, for exits and what the host does show in it */
	bool tsc_deadline;    /* the local APIC knows deadlines in it */
	bool x2apic;          /* the box gets the MSRs of the local APIC */
};

/*
 * After kb_cpuid_fit(): leaf 0x15 (crystal and TSC), 0x16 (MHz), 0x40000010 (kHz of TSC and APIC bus), the invariant TSC bit. The paravirtual
 * ones only in a table that has such leaves.
 */
void kb_cpuid_tell_clocks(struct kb_cpuid *table, const struct kb_cpuid_clocks *c);

struct kvm_cpuid_entry2 *kb_cpuid_find(struct kb_cpuid *table, uint32_t function, uint32_t index);

/* Takes a leaf away, with its subleaves. */
void kb_cpuid_remove(struct kb_cpuid *table, uint32_t function);

/* The register that a word of features lives in; NULL when the table has no such leaf. */
struct kb_cpuid_word;
uint32_t *kb_cpuid_word_reg(struct kb_cpuid *table, const struct kb_cpuid_word *word);

/* Calls fn for every known feature name with whether the table has it. */
void kb_cpuid_each(const struct kb_cpuid *table, void (*fn)(void *opaque, const char *name, int present), void *opaque);

#endif
