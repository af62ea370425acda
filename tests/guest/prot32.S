/*
 * ELF32 guest: started in 32-bit protected mode without paging. Prints over COM1 and ends with status 0; 1: not in the
 * expected state. No C, no interrupts (kvm_pvm cannot return from one in this mode).
 */
	.code32
	.text
	.globl _start
_start:
	mov %cr0, %eax
	and $0x80000001, %eax
	cmp $1, %eax /* protected, not paged */
	jne bad
	push %esp /* there is a stack */
	pop %eax
	cmp %esp, %eax
	jne bad
	mov %cs, %eax
	cmp $0x10, %ax
	jne bad
	mov %ds, %eax
	cmp $0x18, %ax
	jne bad
	mov $text, %esi
1:	mov $0x3fd, %edx
2:	in (%dx), %al
	test $0x20, %al
	jz 2b
	mov $0x3f8, %edx
	lodsb
	test %al, %al
	jz 3f
	out %al, (%dx)
	jmp 1b
3:	xor %eax, %eax
	jmp 4f
bad:	mov $1, %al
4:	out %al, $0xf4
	cli
	hlt

	.section .rodata, "a"
text:
	.asciz "hello from protected mode\n"

	.section .note.GNU-stack, "", @progbits
