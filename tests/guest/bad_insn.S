/*
 * An undefined instruction (ud1) at CPL0 without an IDT: a triple fault, or on a host that emulates CPL0 an emulation
 * failure. Either way the box must report where: at bad_instruction.
 */
	.text
	.globl _start, bad_instruction
_start:
	cli
	lidt no_idt
bad_instruction:
	.byte 0x0f, 0xb9, 0xc0
	mov $1, %al /* still here */
	out %al, $0xf4

	.section .rodata, "a"
	.word 0, 0, 0
no_idt:
	.word 0
	.quad 0

	.section .note.GNU-stack, "", @progbits
