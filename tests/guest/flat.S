/* Raw bytes, 64-bit, first byte first, wherever they are loaded: prints over port 0xe9 and ends with status 0. */
	.text
	.globl _start
_start:
	lea text(%rip), %rsi
1:	lodsb
	test %al, %al
	jz 2f
	out %al, $0xe9
	jmp 1b
2:	xor %eax, %eax
	out %al, $0xf4
3:	cli
	hlt
	jmp 3b
text:
	.asciz "hello from flat code\n"

	.section .note.GNU-stack, "", @progbits
