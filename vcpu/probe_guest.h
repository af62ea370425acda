/*
 * The micro guest's memory map and ports, shared by probe_guest.S (code) and
 * probe_behaviour.c (tables). Addresses are guest physical = linear.
 */
#ifndef KB_PROBE_GUEST_H
#define KB_PROBE_GUEST_H

#define PG_GDT   0x1000
#define PG_IDT   0x2000
#define PG_TSS   0x3000 /* 0x68 bytes, I/O permission bitmap, end marker: up to 0x5070 */
#define PG_PML4  0x6000
#define PG_PDPT  0x7000
#define PG_PD    0x8000
#define PG_RSP0  0xa000 /* tops of the stacks */
#define PG_RSP3  0xb000
#define PG_DATA  0xb000
#define PG_CODE  0xc000
#define PG_INSN  0xf000 /* assist_native.c: an instruction that is not of the guest's */
#define PG_SIZE  0x10000

/* Linux's selectors: kvm_pvm knows no others in ring 3. */
#define PG_KCS   0x10
#define PG_KDS   0x18
#define PG_USER32 0x23 /* STAR: SYSRET takes +16 for CS and +8 for SS */
#define PG_UDS   0x2b
#define PG_UCS   0x33
#define PG_TR    0x40

/* Ports by which the guest says where it is. */
#define PG_PORT_OUT     0xe0 /* busy with port writes, or through with its loop */
#define PG_PORT_TRAP    0xe1 /* exception, vector in eax */
#define PG_PORT_IRQ     0xe2 /* interrupt PG_VECTOR */
#define PG_PORT_SYSCALL 0xe3 /* system call handler, in ring 0 */
#define PG_PORT_TSC     0xe4 /* TSC stored at PG_DATA; kb_pg_stamps: low halves of the first at PG_DATA, of the last in eax */

#define PG_VECTOR 0x30

#define PG_STAMPS 200 /* entries of kb_pg_stamps */

#endif
