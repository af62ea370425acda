/* What the hostile guest of tests/platform/hostile_test.cpp and the test itself agree on. */
#ifndef GUEST_HOSTILE_PCI_H
#define GUEST_HOSTILE_PCI_H

#ifdef __cplusplus
#include <cstdint>
#else
#include <stdint.h>
#endif

/* RAM. The guest's image is at 1 MiB; the test reads the mailbox and keeps a pattern in the guarded part. */
#define HOSTILE_RAM "48M"
#define HOSTILE_IMAGE_END 0x300000u
#define HOSTILE_LISTS 0x800000u      /* descriptor lists: only the CPU writes here */
#define HOSTILE_LISTS_SIZE 0x10000u
#define HOSTILE_ARENA 0x1000000u     /* what DMA may overwrite */
#define HOSTILE_ARENA_SIZE 0x800000u
#define HOSTILE_MAILBOX 0x2000000u
#define HOSTILE_GUARD 0x2800000u     /* target of DMA while bus mastering is off, and only then */
#define HOSTILE_GUARD_SIZE 0x10000u
#define HOSTILE_RAM_SIZE 0x3000000u

#define HOSTILE_MAGIC 0x686f7374u
struct hostile_mailbox {
	uint32_t magic, boots;
	uint64_t steps;      /* random actions; each element of a string instruction is one */
	uint64_t interrupts, naps, jobs, forbidden_jobs;
};

/*
 * The second device, two functions. Function 0 ("nuisance"): BAR 0 I/O, 1 registers, 2-3 64-bit memory, 4 I/O, 5 tiny
 * memory; ROM, MSI, INTx. Function 1 ("crowd"): 2048 MSI-X vectors in BAR 0. Subsystem ID: seed; subsystem vendor: thousands of steps;
 * revision: HOSTILE_WILD or 0.
 */
#define HOSTILE_VENDOR 0x1234u
#define HOSTILE_NUISANCE 0x4057u
#define HOSTILE_CROWD 0x4058u
#define HOSTILE_WILD 1u              /* everything is allowed, also what may kill the guest */
#define HOSTILE_CROWD_VECTORS 2048u
#define HOSTILE_REGS_BAR 1
#define HOSTILE_REGS_SIZE 0x1000u

/* Registers of the nuisance, 32 bits each. */
enum {
	HOSTILE_ADDR = 0x00, HOSTILE_ADDR_HI = 0x04,
	HOSTILE_LENGTH = 0x08,     /* modulo 4096 */
	HOSTILE_GO = 0x0c,         /* bit 0: write; bits 1-2: how (transport, nb_transport, debug, DMI); bit 3: byte enables, streaming */
	HOSTILE_INTX = 0x10,       /* bit 0: level */
	HOSTILE_MSI = 0x14,        /* vector */
	HOSTILE_DELAY = 0x18,      /* adds so many ns, modulo 2048, to the delay */
	HOSTILE_WAIT = 0x1c,       /* waits that long */
	HOSTILE_CROWD_MSI = 0x20,  /* vector of the crowd */
	HOSTILE_ERRORS = 0x800,    /* from here on: accesses fail */
};

#endif
