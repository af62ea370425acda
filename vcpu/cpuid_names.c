/* Names of CPUID feature bits: see cpuid_names.h. */
#include "vcpu/cpuid_names.h"

/*
 * A bit that the kernel does not print (osxsave, arch_capabilities before 5.2 and
 * so on) goes by the kernel's macro name in lower case.
 */
const struct kb_cpuid_word kb_cpuid_words[] = {
	{ 0x1, 0, KB_EDX, false, {
		[0] = "fpu", [1] = "vme", [2] = "de", [3] = "pse", [4] = "tsc", [5] = "msr", [6] = "pae",
		[7] = "mce", [8] = "cx8", [9] = "apic", [11] = "sep", [12] = "mtrr", [13] = "pge",
		[14] = "mca", [15] = "cmov", [16] = "pat", [17] = "pse36", [18] = "pn", [19] = "clflush",
		[21] = "dts", [22] = "acpi", [23] = "mmx", [24] = "fxsr", [25] = "sse", [26] = "sse2",
		[27] = "ss", [28] = "ht", [29] = "tm", [30] = "ia64", [31] = "pbe" } },
	{ 0x1, 0, KB_ECX, false, {
		[0] = "pni", [1] = "pclmulqdq", [2] = "dtes64", [3] = "monitor", [4] = "ds_cpl", [5] = "vmx",
		[6] = "smx", [7] = "est", [8] = "tm2", [9] = "ssse3", [10] = "cid", [11] = "sdbg",
		[12] = "fma", [13] = "cx16", [14] = "xtpr", [15] = "pdcm", [17] = "pcid", [18] = "dca",
		[19] = "sse4_1", [20] = "sse4_2", [21] = "x2apic", [22] = "movbe", [23] = "popcnt",
		[24] = "tsc_deadline_timer", [25] = "aes", [26] = "xsave", [27] = "osxsave", [28] = "avx",
		[29] = "f16c", [30] = "rdrand", [31] = "hypervisor" } },
	{ 0x6, 0, KB_EAX, false, {
		[0] = "dtherm", [1] = "ida", [2] = "arat", [4] = "pln", [6] = "pts", [7] = "hwp",
		[8] = "hwp_notify", [9] = "hwp_act_window", [10] = "hwp_epp", [11] = "hwp_pkg_req",
		[19] = "hfi" } },
	{ 0x6, 0, KB_ECX, false, { [0] = "aperfmperf", [3] = "epb" } },
	{ 0x7, 0, KB_EBX, false, {
		[0] = "fsgsbase", [1] = "tsc_adjust", [2] = "sgx", [3] = "bmi1", [4] = "hle", [5] = "avx2",
		[6] = "fdp_excptn_only", [7] = "smep", [8] = "bmi2", [9] = "erms", [10] = "invpcid",
		[11] = "rtm", [12] = "cqm", [13] = "zero_fcs_fds", [14] = "mpx", [15] = "rdt_a",
		[16] = "avx512f", [17] = "avx512dq", [18] = "rdseed", [19] = "adx", [20] = "smap",
		[21] = "avx512ifma", [23] = "clflushopt", [24] = "clwb", [25] = "intel_pt",
		[26] = "avx512pf", [27] = "avx512er", [28] = "avx512cd", [29] = "sha_ni",
		[30] = "avx512bw", [31] = "avx512vl" } },
	{ 0x7, 0, KB_ECX, false, {
		[0] = "prefetchwt1", [1] = "avx512vbmi", [2] = "umip", [3] = "pku", [4] = "ospke",
		[5] = "waitpkg", [6] = "avx512_vbmi2", [7] = "shstk", [8] = "gfni", [9] = "vaes",
		[10] = "vpclmulqdq", [11] = "avx512_vnni", [12] = "avx512_bitalg", [13] = "tme",
		[14] = "avx512_vpopcntdq", [16] = "la57", [22] = "rdpid", [23] = "key_locker",
		[24] = "bus_lock_detect", [25] = "cldemote", [27] = "movdiri", [28] = "movdir64b",
		[29] = "enqcmd", [30] = "sgx_lc", [31] = "pks" } },
	{ 0x7, 0, KB_EDX, false, {
		[1] = "sgx_keys", [2] = "avx512_4vnniw", [3] = "avx512_4fmaps", [4] = "fsrm", [5] = "uintr",
		[8] = "avx512_vp2intersect", [9] = "srbds_ctrl", [10] = "md_clear",
		[11] = "rtm_always_abort", [13] = "tsx_force_abort", [14] = "serialize",
		[15] = "hybrid_cpu", [16] = "tsxldtrk", [18] = "pconfig", [19] = "arch_lbr", [20] = "ibt",
		[22] = "amx_bf16", [23] = "avx512_fp16", [24] = "amx_tile", [25] = "amx_int8",
		[26] = "spec_ctrl", [27] = "intel_stibp", [28] = "flush_l1d",
		[29] = "arch_capabilities", [30] = "core_capabilities", [31] = "spec_ctrl_ssbd" } },
	{ 0x7, 1, KB_EAX, false, {
		[0] = "sha512", [1] = "sm3", [2] = "sm4", [3] = "rao_int", [4] = "avx_vnni",
		[5] = "avx512_bf16", [6] = "lass", [7] = "cmpccxadd", [8] = "arch_perfmon_ext",
		[10] = "fzrm", [11] = "fsrs", [12] = "fsrc", [17] = "fred", [18] = "lkgs",
		[19] = "wrmsrns", [20] = "nmi_src", [21] = "amx_fp16", [22] = "hreset",
		[23] = "avx_ifma", [26] = "lam", [27] = "msrlist", [30] = "invd_disable",
		[31] = "movrs" } },
	{ 0x7, 1, KB_EBX, false, { [0] = "intel_ppin" } },
	{ 0x7, 1, KB_ECX, false, { [5] = "msr_imm" } },
	{ 0x7, 1, KB_EDX, false, {
		[4] = "avx_vnni_int8", [5] = "avx_ne_convert", [8] = "amx_complex", [10] = "avx_vnni_int16",
		[13] = "utmr", [14] = "prefetchiti", [15] = "user_msr", [17] = "uiret_uif",
		[18] = "cet_sss", [19] = "avx10", [21] = "apx_f" } },
	{ 0x7, 2, KB_EDX, false, {
		[0] = "intel_psfd", [1] = "ipred_ctrl", [2] = "rrsba_ctrl", [3] = "ddpd_u",
		[4] = "bhi_ctrl", [5] = "mcdt_no", [7] = "monitor_mitg_no" } },
	{ 0xd, 1, KB_EAX, false, {
		[0] = "xsaveopt", [1] = "xsavec", [2] = "xgetbv1", [3] = "xsaves", [4] = "xfd" } },
	{ 0x80000001, 0, KB_EDX, false, {
		[11] = "syscall", [19] = "mp", [20] = "nx", [22] = "mmxext", [25] = "fxsr_opt",
		[26] = "pdpe1gb", [27] = "rdtscp", [29] = "lm", [30] = "3dnowext", [31] = "3dnow" } },
	/* AMD repeats these bits of leaf 1 (APM volume 3, Fn8000_0001_EDX): both copies change together. */
	{ 0x80000001, 0, KB_EDX, true, {
		[0] = "fpu", [1] = "vme", [2] = "de", [3] = "pse", [4] = "tsc", [5] = "msr", [6] = "pae",
		[7] = "mce", [8] = "cx8", [9] = "apic", [12] = "mtrr", [13] = "pge", [14] = "mca",
		[15] = "cmov", [16] = "pat", [17] = "pse36", [23] = "mmx", [24] = "fxsr" } },
	{ 0x80000001, 0, KB_ECX, false, {
		[0] = "lahf_lm", [1] = "cmp_legacy", [2] = "svm", [3] = "extapic", [4] = "cr8_legacy",
		[5] = "abm", [6] = "sse4a", [7] = "misalignsse", [8] = "3dnowprefetch", [9] = "osvw",
		[10] = "ibs", [11] = "xop", [12] = "skinit", [13] = "wdt", [15] = "lwp", [16] = "fma4",
		[17] = "tce", [19] = "nodeid_msr", [21] = "tbm", [22] = "topoext", [23] = "perfctr_core",
		[24] = "perfctr_nb", [26] = "bpext", [27] = "ptsc", [28] = "perfctr_llc",
		[29] = "mwaitx", [30] = "addr_mask_ext" } },
	{ 0x80000007, 0, KB_EBX, false, {
		[0] = "overflow_recov", [1] = "succor", [2] = "hwa", [3] = "smca" } },
	{ 0x80000007, 0, KB_EDX, false, {
		[7] = "hw_pstate", [8] = "nonstop_tsc", [9] = "cpb", [10] = "eff_freq_ro",
		[11] = "proc_feedback", [12] = "acc_power", [15] = "fast_cppc" } },
	{ 0x80000008, 0, KB_EBX, false, {
		[0] = "clzero", [1] = "irperf", [2] = "xsaveerptr", [3] = "invlpgb", [4] = "rdpru",
		[6] = "mba", [8] = "mcommit", [9] = "wbnoinvd", [12] = "amd_ibpb", [13] = "int_wbinvd",
		[14] = "amd_ibrs", [15] = "amd_stibp", [16] = "ibrs_all", [17] = "amd_stibp_always_on",
		[18] = "ibrs_preferred", [19] = "amd_ibrs_same_mode", [20] = "efer_lmsle_mbz",
		[23] = "amd_ppin", [24] = "amd_ssbd", [25] = "virt_ssbd", [26] = "amd_ssb_no",
		[27] = "cppc", [28] = "amd_psfd", [29] = "btc_no", [30] = "amd_ibpb_ret",
		[31] = "brs" } },
	{ 0x80000021, 0, KB_EAX, false, {
		[0] = "no_nested_data_bp", [1] = "wrmsr_xx_base_ns", [2] = "amd_lfence_rdtsc",
		[5] = "verw_clear", [6] = "null_sel_clr_base", [8] = "autoibrs", [9] = "no_smm_ctl_msr",
		[10] = "amd_fsrs", [11] = "amd_fsrc", [17] = "amd_workload_class", [20] = "prefetchi",
		[27] = "sbpb", [28] = "ibpb_brtype", [29] = "srso_no" } },
};

const size_t kb_cpuid_words_count = sizeof(kb_cpuid_words) / sizeof(kb_cpuid_words[0]);

/* Spellings of the manuals and of other tools; and names Linux makes up from several bits. */
const struct kb_cpuid_alias kb_cpuid_aliases[] = {
	{ "sse3", "pni" },
	{ "sse4.1", "sse4_1" },
	{ "sse4.2", "sse4_2" },
	{ "sse4-1", "sse4_1" },
	{ "sse4-2", "sse4_2" },
	{ "lzcnt", "abm" },
	{ "sha", "sha_ni" },
	{ "pclmul", "pclmulqdq" },
	{ "cmpxchg8b", "cx8" },
	{ "cmpxchg16b", "cx16" },
	{ "mwait", "monitor" },
	{ "tsc_deadline", "tsc_deadline_timer" },
	{ "tsc-deadline", "tsc_deadline_timer" },
	{ "constant_tsc", "nonstop_tsc" },
	{ "invtsc", "nonstop_tsc" },
	{ "xd", "nx" },
	{ "gbpages", "pdpe1gb" },
	{ "mwaitpkg", "waitpkg" },
	{ "avx512_ifma", "avx512ifma" },
	{ "avx512_vbmi", "avx512vbmi" },
	{ "user_shstk", "shstk" },
	{ "split_lock_detect", "core_capabilities" },
	{ "ibpb", "amd_ibpb" },
	{ "ibrs", "amd_ibrs" },
	{ "stibp", "amd_stibp" },
	{ "ssbd", "amd_ssbd" },
};

const size_t kb_cpuid_aliases_count = sizeof(kb_cpuid_aliases) / sizeof(kb_cpuid_aliases[0]);
