/*
 * The micro guest of probe_behaviour.c: 64-bit code, position independent,
 * loaded at PG_CODE. Data of the host program, never run by it.
 * Each piece starts at a symbol and ends in port writes or a loop; the host starts pieces by setting RIP.
 */
#include "vcpu/probe_guest.h"

	.section .rodata.kb_probe_guest, "a", @progbits
	.macro piece name
	.balign 16
	.globl kb_pg_\name
	.hidden kb_pg_\name
kb_pg_\name:
	.endm

	piece start

	piece out		/* what an exit costs */
1:	outb %al, $PG_PORT_OUT
	jmp 1b

	piece loop		/* ecx rounds, then a port write: is this ring run by the CPU? */
1:	dec %ecx
	jnz 1b
2:	outb %al, $PG_PORT_OUT
	jmp 2b

	piece spin		/* until kicked */
1:	jmp 1b

	piece steps		/* instructions of 1, 2, 3, 5, 2 (taken jump), 1 bytes: see step_ends[] */
	nop
	xchg %ax, %ax
	lea 1(%rax), %eax
	mov $0x12345678, %eax
	jmp 1f
	nop
1:	nop
	jmp 1b

	piece syscall
	syscall
	outb %al, $PG_PORT_OUT	/* came back, which nobody told it to */
1:	jmp 1b

	piece lstar		/* faults if the system call did not change to ring 0 */
	mov %cr3, %rax
	mov %cs, %eax
	outl %eax, $PG_PORT_SYSCALL
1:	jmp 1b

	piece tsc
	lfence
	rdtsc
	shl $32, %rdx
	or %rdx, %rax
	mov %rax, PG_DATA
	outb %al, $PG_PORT_TSC
1:	jmp 1b

	/*
	 * The ways in and out: the first instruction after an entry reads the TSC, and so does the last one before that which
	 * exits. No loop, whose jump would come between.
	 */
	piece stamps
	.rept PG_STAMPS
	rdtsc
	mov %eax, PG_DATA
	rdtsc
	outl %eax, $PG_PORT_TSC
	.endr
1:	jmp 1b

	piece halt		/* an interrupt ends the halt */
	sti
	hlt
1:	jmp 1b

	piece window		/* interrupts become possible after the nop */
	nop
	sti
	nop
1:	jmp 1b

	piece irq
	outb %al, $PG_PORT_IRQ
	iretq

	piece traps		/* 32 entries of 16 bytes, error codes stay where they are */
	.set vector, 0
	.rept 32
	.balign 16
	mov $vector, %eax
	outl %eax, $PG_PORT_TRAP
1:	jmp 1b
	.set vector, vector + 1
	.endr

	/* What KVM in ring 0 may not know: each ends in a port write, or raises an exception as it should. */
	piece int3
	int3
	piece popcnt
	popcnt %ebx, %eax
	outb %al, $PG_PORT_OUT
	piece cx16
	lock cmpxchg16b PG_DATA
	outb %al, $PG_PORT_OUT
	piece fwait
	fwait
	outb %al, $PG_PORT_OUT
	piece movd
	movd %eax, %xmm0
	outb %al, $PG_PORT_OUT
	piece xsave		/* needs CR4.OSXSAVE */
	mov $1, %eax
	xor %edx, %edx
	xsave PG_DATA
	outb %al, $PG_PORT_OUT

	/* The same in both rings? Where the CPU has no LZCNT and TZCNT they are BSR and BSF, in both. */
	piece lzcnt
	xor %eax, %eax
	mov $5, %ebx
	lzcnt %ebx, %eax
	outl %eax, $PG_PORT_OUT
	piece tzcnt
	mov $7, %eax
	xor %ebx, %ebx
	tzcnt %ebx, %eax
	outl %eax, $PG_PORT_OUT

	piece hypercall
	vmcall
	outb %al, $PG_PORT_OUT

	.org kb_pg_start + PG_INSN - PG_CODE /* an error if that is behind */
	piece end

	.section .note.GNU-stack, "", @progbits
