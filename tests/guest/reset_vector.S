/*
 * Firmware image of 64 KiB, ending at 4 GiB: from the reset vector in real mode it prints over port 0xe9 and ends with
 * status 0. Uses no RAM.
 */
	.code16
	.text
	.globl _start
	.org 0xf000, 0xff /* within reach of the reset vector's jump */
start:
	mov $text, %si
1:	mov %cs:(%si), %al
	inc %si
	test %al, %al
	jz 2f
	out %al, $0xe9
	jmp 1b
2:	mov %cr0, %eax
	and $1, %al /* status 1: not in real mode */
	out %al, $0xf4
3:	cli
	hlt
	jmp 3b
text:
	.asciz "hello from the reset vector\n"

	.org 0xfff0, 0xff
_start:
	jmp start
	.org 0x10000, 0xff

	.section .note.GNU-stack, "", @progbits
