/* Runs for ever at CPL3, without an exit: only a kick gets it out. */
	.text
	.globl main
main:
	jmp main

	.section .note.GNU-stack, "", @progbits
