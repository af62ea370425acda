/*
 * Start of the guests that are kernels. By -D: MULTIBOOT1, MULTIBOOT2, PVH (32-bit ELF), BZIMAGE (-m32: the 32-bit entry
 * only, -m64: the 64-bit one). Saves the state they are started in and calls kernel_main().
 */
#ifdef BZIMAGE
/* Linux, Documentation/arch/x86/boot.rst: one sector of boot code nobody runs, one of set-up code. */
	.section .setup, "a"
setup:
	.org setup + 0x1ef
	.byte 0xff		/* sentinel: not to be copied */
	.org setup + 0x1f1
	.byte 1			/* setup_sects */
	.word 0
	.long kernel_paragraphs	/* syssize */
	.word 0, 0, 0
	.word 0xaa55		/* boot_flag */
	.byte 0xeb, header_end - 1f
1:	.ascii "HdrS"
	.word 0x20f
	.long 0
	.word 0, 0
	.byte 0, 1		/* type_of_loader, loadflags: LOADED_HIGH */
	.word 0
	.long 0x100000		/* code32_start */
	.long 0, 0, 0
	.word 0
	.byte 0, 0
	.long 0			/* cmd_line_ptr */
	.long 0x7fffffff	/* initrd_addr_max */
	.long 0x1000		/* kernel_alignment */
	.byte 0, 12		/* relocatable_kernel: no; pref_address is where it is linked to */
#ifdef __x86_64__
	.word 1			/* xloadflags: XLF_KERNEL_64 */
#else
	.word 0
#endif
	.long 100		/* cmdline_size */
	.long 0
	.quad 0
	.long 0, 0
	.quad 0			/* setup_data */
	.quad 0x100000		/* pref_address: where it loads to without moving itself */
	.long kernel_memory	/* init_size */
	.long 0
	.long 0
header_end:
	.org setup + 1024
#endif

/* What a bzImage unpacks is its own business. */
.macro CLEAR_BSS
#ifdef BZIMAGE
	xor %eax, %eax
	mov $bss, %edi
	mov $bss_longs, %ecx
	cld
	rep stosl
#endif
.endm

	.section .head, "ax"
#ifdef MULTIBOOT1
	.balign 4
	.long 0x1badb002, 3, -(0x1badb002 + 3)
#endif
#ifdef MULTIBOOT2
	.balign 8
header:
	.long 0xe85250d6, 0, header_end - header, -(0xe85250d6 + header_end - header)
	.word 1, 0		/* information that must be there */
	.long 8 + 4 * 7, 1, 2, 3, 4, 6, 14, 15
	.balign 8
	.word 6, 0		/* modules aligned */
	.long 8
	.word 0, 0
	.long 8
header_end:
#endif
#ifdef PVH
	.pushsection .note.Xen, "a", @note
	.long 4, 4, 18
	.asciz "Xen"
	.long start
	.popsection
#endif

	.globl start
#if defined(BZIMAGE) && defined(__x86_64__)
	.org 0x200
start:
	mov %eax, state
	mov %ebx, state + 4
	mov %esi, state + 8
	mov $stack_top, %esp
	pushfq
	popq state + 16
	mov %cr0, %rax
	mov %eax, state + 24
	mov %cr4, %rax
	mov %eax, state + 28
	mov %cs, state + 32
	mov %ds, state + 34
	mov %es, state + 36
	mov %ss, state + 38
	mov $0xc0000080, %ecx
	rdmsr
	mov %eax, state + 40
	CLEAR_BSS
	call kernel_main
#else
start:
	mov %eax, state
	mov %ebx, state + 4
	mov %esi, state + 8
	mov $stack_top, %esp
	pushf
	popl state + 16
	mov %cr0, %eax
	mov %eax, state + 24
	mov %cr4, %eax
	mov %eax, state + 28
	mov %cs, state + 32
	mov %ds, state + 34
	mov %es, state + 36
	mov %ss, state + 38
	mov %ebp, state + 44
	mov %edi, state + 48
	CLEAR_BSS
	call kernel_main
#endif
1:	cli
	hlt
	jmp 1b

	.bss
	.balign 16
	.space 4096
stack_top:

	.section .note.GNU-stack, "", @progbits
