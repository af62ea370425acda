/*
 * Architectural constants (Intel SDM vol. 3, "Control registers", "System descriptor types").
 */
#ifndef KB_X86_H
#define KB_X86_H

#define X86_CR0_PE 0x1u
#define X86_CR0_MP 0x2u
#define X86_CR0_EM 0x4u
#define X86_CR0_TS 0x8u
#define X86_CR0_ET 0x10u
#define X86_CR0_NE 0x20u
#define X86_CR0_WP 0x10000u
#define X86_CR0_NW 0x20000000u
#define X86_CR0_CD 0x40000000u
#define X86_CR0_PG 0x80000000u

#define X86_CR4_PSE 0x10u
#define X86_CR4_PAE 0x20u
#define X86_CR4_PGE 0x80u
#define X86_CR4_OSFXSR 0x200u
#define X86_CR4_OSXMMEXCPT 0x400u

#define X86_CR4_LA57 0x1000u
#define X86_CR4_PCIDE 0x20000u
#define X86_CR4_OSXSAVE 0x40000u
#define X86_CR4_SMAP 0x200000u

#define X86_XCR0_X87 0x1u
#define X86_FCW_INIT 0x37fu
#define X86_MXCSR_INIT 0x1f80u
#define X86_CPUID1_ECX_XSAVE 0x4000000u

#define X86_EFER_SCE 0x1u
#define X86_EFER_LME 0x100u
#define X86_EFER_LMA 0x400u
#define X86_EFER_NXE 0x800u

#define X86_EFLAGS_CF 0x1u
#define X86_EFLAGS_FIXED 0x2u
#define X86_EFLAGS_STATUS 0x8d5u /* CF PF AF ZF SF OF */
#define X86_EFLAGS_ZF 0x40u
#define X86_EFLAGS_TF 0x100u
#define X86_EFLAGS_IF 0x200u
#define X86_EFLAGS_OF 0x800u
#define X86_EFLAGS_IOPL 0x3000u
#define X86_EFLAGS_NT 0x4000u
#define X86_EFLAGS_RF 0x10000u
#define X86_EFLAGS_VM 0x20000u
#define X86_EFLAGS_AC 0x40000u

#define X86_DR6_RESET 0xffff0ff0u
#define X86_DR7_RESET 0x400u

/* Segment types, accessed/busy bits set as VMX wants them. */
#define X86_TYPE_DATA 3u
#define X86_TYPE_CODE 11u
#define X86_TYPE_LDT 2u
#define X86_TYPE_TSS32_BUSY 11u
#define X86_TYPE_TSS64_BUSY 11u

enum x86_vector {
	X86_VECTOR_DB = 1, X86_VECTOR_NMI = 2, X86_VECTOR_BP = 3, X86_VECTOR_OF = 4, X86_VECTOR_UD = 6, X86_VECTOR_NM = 7,
	X86_VECTOR_DF = 8, X86_VECTOR_TS = 10, X86_VECTOR_NP = 11, X86_VECTOR_SS = 12, X86_VECTOR_GP = 13, X86_VECTOR_PF = 14,
	X86_VECTOR_MF = 16, X86_VECTOR_AC = 17, X86_VECTOR_XM = 19,
};

#define X86_INT3 0xcc

#define X86_MSR_TSC_AUX 0xc0000103u
#define X86_MSR_STAR 0xc0000081u
#define X86_MSR_LSTAR 0xc0000082u
#define X86_MSR_CSTAR 0xc0000083u
#define X86_MSR_FMASK 0xc0000084u
#define X86_MSR_XSS 0xda0u

/* IA32_APIC_BASE: at 0xFEE00000, enabled, bootstrap processor. */
#define X86_APIC_BASE_RESET 0xfee00900u
#define X86_APIC_BASE_BSP 0x100u

#endif
