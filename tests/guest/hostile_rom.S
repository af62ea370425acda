/*
 * Firmware image of 64 KiB that lives in registers and ROM alone, so that no DMA can hurt it: switches to 32-bit
 * protected mode and makes STEPS random accesses to configuration space (bus mastering, BARs over everything), ports and
 * memory (device hole, BAR window, RAM), then ends with status 0. Left out: the debug exit, what resets the machine, and the
 * local APIC's page. No stack, no IDT: an exception or NMI would show as a shutdown.
 */
#ifndef STEPS
#define STEPS 4000
#endif
#ifndef SEED
#define SEED 1
#endif
#define BASE 0xffff0000 /* of the image */
#define AT(label) (BASE + (label) - image)

/* ebx: xorshift32 state, ebp: steps left, esp: return address; eax, ecx, edx, esi, edi: scratch */

	.code16
	.text
	.globl _start
image:
	.org 0xf000, 0xff /* within reach of the reset vector's jump */
start:
	cli
	lgdtl %cs:gdt_pointer - image
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	ljmpl $0x08, $AT(protected)

	.code32
protected:
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov $(0x9e3779b9 + SEED), %ebx
	mov $STEPS, %ebp

.macro random /* new ebx; changes eax */
	mov %ebx, %eax
	shl $13, %eax
	xor %eax, %ebx
	mov %ebx, %eax
	shr $17, %eax
	xor %eax, %ebx
	mov %ebx, %eax
	shl $5, %eax
	xor %eax, %ebx
.endm

step:
	dec %ebp
	js done
	random
	mov %ebx, %ecx
	shr $24, %ecx
	test $3, %cl
	jz port
	test $1, %cl
	jz config

	/* memory: edi = address by two bits of cl, then an access by bits 5-7 */
	mov %ebx, %edi
	random
	test $2, %cl
	jz 1f
	and $0x00ffffff, %edi /* where BARs are placed first */
	jmp 2f
1:	and $0x1effffff, %edi /* E0000000-FEFFFFFF */
2:	or $0xe0000000, %edi
	test $0x10, %cl
	jz 3f
	and $0x00ffffff, %edi /* RAM: what may just have become a BAR */
	or $0x00100000, %edi
3:	mov %edi, %eax
	and $0xfff00000, %eax
	cmp $0xfee00000, %eax
	je step
	test $0x20, %cl
	jz 5f
	test $0x40, %cl
	jz 4f
	mov %ebx, (%edi)
	jmp step
4:	mov %bl, (%edi)
	jmp step
5:	test $0x40, %cl
	jz 6f
	mov (%edi), %eax
	jmp step
6:	movw (%edi), %ax
	jmp step

	/* configuration space: slots 0-7, any register, mostly the header; value = random or one of the nasty ones */
config:
	mov %ebx, %edi
	random
	mov %edi, %eax
	and $0x38fc, %eax
	test $4, %cl
	jz 1f
	and $0x383c, %eax
1:	or $0x80000000, %eax
	mov $0xcf8, %edx
	out %eax, (%dx)
	mov %edi, %esi
	and $0x1c, %esi
	mov $0xcfc, %edx
	mov %ebx, %eax
	test $8, %cl
	jz 2f
	mov %cs:AT(nasty)(%esi), %eax
2:	test $0x10, %cl
	jz 3f
	out %eax, (%dx)
	jmp step
3:	test $0x20, %cl
	jz 4f
	out %ax, (%dx)
	jmp step
4:	in (%dx), %eax
	jmp step

	/* ports: one of the table or in C000-FFFF, where I/O BARs are placed */
port:
	mov %ebx, %edx
	random
	test $8, %cl
	jz 1f
	and $0x1e, %edx
	movzwl %cs:AT(ports)(%edx), %edx
	jmp 2f
1:	or $0xc000, %edx
2:	movzwl %dx, %edx
	mov %ebx, %eax
	test $0x10, %cl
	jz 3f
	out %al, (%dx)
	jmp step
3:	test $0x20, %cl
	jz 4f
	out %eax, (%dx)
	jmp step
4:	in (%dx), %eax
	jmp step

done:
	xor %eax, %eax
	out %al, $0xf4
	cli
	hlt

	.balign 4
nasty:
	.long 0, 0xffffffff, 0x00100007, 0xe0000000, 0xfee00000, 0x00000007, 0x0000c001, 0xfffffff0
ports:
	.word 0x20, 0x21, 0xa0, 0xa1, 0x40, 0x43, 0x70, 0x71, 0x80, 0xe9, 0x3f8, 0x3f9, 0x3fb, 0x3fc, 0x4d0, 0x5c0

	.balign 8
gdt: /* accessed bits set: the CPU has no reason to write */
	.quad 0
	.quad 0x00cf9b000000ffff
	.quad 0x00cf93000000ffff
gdt_pointer:
	.word . - gdt - 1
	.long AT(gdt)

	.org 0xfff0, 0xff
	.code16
_start:
	jmp start
	.org 0x10000, 0xff

	.section .note.GNU-stack, "", @progbits
