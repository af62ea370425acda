/*
 * A boot sector that does with its disk's second sector, which it reads through the BIOS, what that says:
 *   'P', status, text: prints the text to COM1, ends the run with the status (debug exit)
 *   'R', ...:          makes it 'P', writes it back and resets the machine
 * Anything that goes wrong: status 0xff.
 */
	.code16
	.globl _start
	.set buffer, 0x8000
_start:
	ljmp $0, $1f
1:	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %ss
	mov $0x7c00, %sp
	mov $0x42, %ah /* extended read */
	call disk
	cli            /* what the BIOS still prints stays out of our line */
	cld
	mov $buffer, %si
	lodsb
	cmp $'R', %al
	je reset
	cmp $'P', %al
	jne bad
	lodsb
	mov %al, %bl
	mov $0x3f8, %dx
2:	lodsb
	out %al, %dx
	test %al, %al
	jnz 2b
	mov %bl, %al
	jmp exit
reset:
	movb $'P', buffer
	sti
	mov $0x4300, %ax /* extended write */
	call disk
	mov $0xcf9, %dx
	mov $6, %al
	out %al, %dx
3:	hlt
	jmp 3b
disk:	mov $packet, %si /* DL: our disk, from the BIOS on */
	int $0x13
	jc bad
	ret
bad:	mov $0xff, %al
exit:	out %al, $0xf4
4:	hlt
	jmp 4b

	.align 4
packet:	.byte 16, 0
	.word 1           /* sectors */
	.word buffer, 0
	.quad 1           /* LBA */

	.org 510
	.word 0xaa55
