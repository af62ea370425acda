/*
 * Names of CPUID feature bits as Linux prints them in /proc/cpuinfo, for
 * cpuid.c. From Intel SDM volume 2 "CPUID" and AMD APM volume 3 appendix E.
 */
#ifndef KB_CPUID_NAMES_H
#define KB_CPUID_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kb_cpuid_reg { KB_EAX, KB_EBX, KB_ECX, KB_EDX };

/* One register full of feature bits. */
struct kb_cpuid_word {
	uint32_t function, index;
	enum kb_cpuid_reg reg;
	bool mirror;          /* repeats bits that another word has under the same names */
	const char *name[32]; /* by bit; NULL: none */
};

/* Another spelling of a name. */
struct kb_cpuid_alias {
	const char *alias, *name;
};

extern const struct kb_cpuid_word kb_cpuid_words[];
extern const size_t kb_cpuid_words_count;
extern const struct kb_cpuid_alias kb_cpuid_aliases[];
extern const size_t kb_cpuid_aliases_count;

#endif
