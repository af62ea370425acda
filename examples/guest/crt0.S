/*
 * Start-up of guest programs: from the box's LONG64 state (platforms/loader.h) to main() at CPL3, or at CPL0 for
 * GUEST_RING0. All tables are laid out by the assembler and linker, so that only a few dozen instructions run at
 * CPL0, where a kvm_pvm host emulates. Selectors are Linux's (kernel 0x10/0x18, user 0x33/0x2b): kvm_pvm knows no
 * others at CPL3. Intel SDM volume 3: 4.5 (paging), 6.14 (64-bit IDT), 8.7 and volume 1 19.5.2 (TSS, I/O bitmap).
 */
#define KERNEL_CS 0x10
#define KERNEL_SS 0x18
#define USER_SS   0x2b
#define USER_CS   0x33
#define TSS_SEL   0x40

#define PAGE_USER 0x07 /* present, writable, user */
#define PAGE_UC   0x18 /* uncached: devices */
#define PAGE_PS   0x80 /* 2 MiB page */

	.section .text.start, "ax"
	.globl _start
_start:
	cli
	cld
	mov $guest_pml4, %eax
	mov %rax, %cr3
	lgdt gdt_pointer
	lidt idt_pointer
	mov $guest_kernel_stack_top, %esp
	pushq $KERNEL_CS
	pushq $1f
	lretq
1:	mov $KERNEL_SS, %eax
	mov %eax, %ss
	mov $USER_SS, %eax
	mov %eax, %ds
	mov %eax, %es
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	mov $TSS_SEL, %eax
	ltr %ax

	/* x87 and SSE: CR0 EM and TS off, MP and NE on; CR4 OSFXSR and OSXMMEXCPT */
	mov %cr0, %rax
	and $~0x0c, %eax
	or $0x22, %eax
	mov %rax, %cr0
	mov %cr4, %rax
	or $0x600, %eax
	mov %rax, %cr4
	fninit
	/* XSAVE, where there is one: every state component of x87, SSE and AVX that the CPU has */
	mov $1, %eax
	cpuid
	bt $26, %ecx
	jnc 2f
	mov %cr4, %rax
	or $0x40000, %eax
	mov %rax, %cr4
	mov $0xd, %eax
	xor %ecx, %ecx
	cpuid
	and $7, %eax
	xor %ecx, %ecx
	xor %edx, %edx
	xsetbv
2:
	mov guest_options, %eax
	mov $0x002, %ecx
	test $2, %eax /* GUEST_IRQ_ON */
	jz 3f
	or $0x200, %ecx
3:	test $1, %eax /* GUEST_RING0 */
	jnz 4f
	pushq $USER_SS
	pushq $guest_stack_top
	pushq %rcx
	pushq $USER_CS
	pushq $user_start
	iretq
4:	mov $guest_stack_top, %esp
	xor %ebp, %ebp
	pushq %rcx
	popfq
	jmp 5f

user_start:
	xor %ebp, %ebp
	ldmxcsr default_mxcsr
5:	call main
	mov %eax, %edi
	call exit
	ud2

/* ---- vectors: one 16-byte stub each, at a page's start so that the IDT below can be computed by the assembler ---- */

#define HAS_ERROR_CODE(v) (v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21 || v == 29 || v == 30)

	.section .text.vectors, "ax"
	.balign 4096
	.globl guest_vectors
guest_vectors:
	.set v, 0
	.rept 256
	.balign 16, 0xcc
	.if v == 3
	jmp kernel_call_entry
	.elseif v < 32
	.if !HAS_ERROR_CODE(v)
	pushq $0
	.endif
	pushq $v
	jmp exception_entry
	.else
	pushq $v
	jmp irq_entry
	.endif
	.set v, v + 1
	.endr
	.balign 16, 0xcc

/* int3 from kernel_call(): rax = function, rdi, rsi its arguments, rdx becomes the frame. The caller expects a call's clobbers. */
kernel_call_entry:
	mov %rsp, %rdx
	sub $8, %rsp
	cld
	call *%rax
	add $8, %rsp
	iretq

/* Interrupts: the registers a C function may change; the function itself keeps the others. */
irq_entry:
	push %rax
	push %rcx
	push %rdx
	push %rsi
	push %rdi
	push %r8
	push %r9
	push %r10
	push %r11
	mov 72(%rsp), %edi
	mov guest_irq_table(, %rdi, 8), %rax
	sub $8, %rsp
	cld
	call *%rax
	add $8, %rsp
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rdi
	pop %rsi
	pop %rdx
	pop %rcx
	pop %rax
	add $8, %rsp
	iretq

/* Exceptions: all registers in the order of struct guest_exception, for the dump or the handler. */
exception_entry:
	push %rax
	push %rbx
	push %rcx
	push %rdx
	push %rsi
	push %rdi
	push %rbp
	push %r8
	push %r9
	push %r10
	push %r11
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, %rdi
	mov %rsp, %rbx
	and $-16, %rsp
	cld
	call guest_exception_entry
	mov %rbx, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rbp
	pop %rdi
	pop %rsi
	pop %rdx
	pop %rcx
	pop %rbx
	pop %rax
	add $16, %rsp
	iretq

/* ---- tables ---- */

	.section .rodata.crt0, "a"
default_mxcsr:
	.long 0x1f80
	.weak guest_options
guest_options:
	.long 0
	.balign 8
	.word 0, 0, 0
gdt_pointer:
	.word gdt_end - gdt - 1
	.quad gdt
	.word 0, 0, 0
idt_pointer:
	.word 256 * 16 - 1
	.quad idt

	.section .data.crt0, "aw"
	.balign 16
gdt:
	.quad 0, 0
	.quad 0x00af9b000000ffff /* 0x10 kernel code, 64-bit */
	.quad 0x00cf93000000ffff /* 0x18 kernel data */
	.quad 0
	.quad 0x00cff3000000ffff /* 0x28 user data */
	.quad 0x00affb000000ffff /* 0x30 user code, 64-bit */
	.quad 0
	.word tss_end - tss - 1, guest_tss_0_15 /* 0x40 TSS, 16 bytes */
	.byte guest_tss_16_23, 0x89, 0, guest_tss_24_31
	.quad 0
gdt_end:

	.balign 16
idt:
	.set v, 0
	.rept 256
	.word guest_vectors_0_15 + 16 * v, KERNEL_CS
	.if v == 2 || v == 18
	.byte 1 /* NMI, #MC: their own stack */
	.elseif v == 8
	.byte 2 /* #DF: its own stack */
	.else
	.byte 0
	.endif
	.if v == 3
	.byte 0xee /* interrupt gate that CPL3 may use: kernel_call() */
	.else
	.byte 0x8e
	.endif
	.word guest_vectors_16_31
	.long 0, 0
	.set v, v + 1
	.endr

	/* SDM volume 3, 8.7: the bitmap of zeros lets CPL3 use every port (IOPL would not, on kvm_pvm). */
	.balign 16
	.globl guest_tss
guest_tss:
tss:
	.long 0
	.quad guest_kernel_stack_top, 0, 0 /* RSP0-2 */
	.quad 0
	.quad guest_nmi_stack_top, guest_df_stack_top, 0, 0, 0, 0, 0 /* IST1-7 */
	.quad 0
	.word 0, 0x68 /* the bitmap's offset */
	.fill 0x2000, 1, 0
	.fill 8, 1, 0xff /* the byte of ones behind the bitmap */
tss_end:

	.globl guest_irq_table
guest_irq_table:
	.rept 256
	.quad guest_unexpected_irq
	.endr

	/*
	 * Identity map, open to CPL3: 2 MiB pages below 4 GiB, the last 512 MiB of it uncached for devices. What is above
	 * comes by page fault (map_on_demand in guest.c): kvm_pvm guests have no 1 GiB pages.
	 */
	.section .data.paging, "aw"
	.balign 4096
	.globl guest_pml4
guest_pml4:
	.quad guest_pdpt + PAGE_USER
	.fill 511, 8, 0
guest_pdpt:
	.set v, 0
	.rept 4
	.quad guest_pd + 0x1000 * v + PAGE_USER
	.set v, v + 1
	.endr
	.fill 508, 8, 0
guest_pd:
	.set v, 0
	.rept 2048
	.if v < 2048 - 256
	.quad (v << 21) + PAGE_USER + PAGE_PS
	.else
	.quad (v << 21) + PAGE_USER + PAGE_PS + PAGE_UC
	.endif
	.set v, v + 1
	.endr

	.section .stacks, "aw", @nobits
	.balign 16
	.skip 4096
guest_nmi_stack_top:
	.skip 4096
guest_df_stack_top:
	.skip 16384
guest_kernel_stack_top:
	.skip 65536
guest_stack_top:

	.section .note.GNU-stack, "", @progbits
