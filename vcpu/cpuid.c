/*
 * The guest's CPUID table: see cpuid.h. Leaves from the Intel SDM volume 2
 * "CPUID" and AMD APM volume 3 appendix E; paravirtual leaves from the
 * kernel's Documentation/virt/kvm/x86/cpuid.rst.
 */
#include "vcpu/cpuid.h"
#include "vcpu/cpuid_names.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define EXTENDED   0x80000000u
#define HYPERVISOR 0x40000000u
#define NAME_MAX_LEN 32

/*
 * What the box cannot keep: monitor addresses (no exit tells us), AMD's extended APIC space, nested guests, and everything whose interrupt or time base is the kernel's or the host's.
 */
static const char *const cannot_keep[] = {
	"monitor", "mwaitx", "extapic", "vmx", "svm", "smx", "skinit", "sgx",
	"pdcm", "perfctr_core", "perfctr_nb", "perfctr_llc", "arch_lbr", "intel_pt", "ibs", "dts", "dtes64",
	"ds_cpl", "aperfmperf", "hwp",
};

struct feature {
	const struct kb_cpuid_word *word;
	uint32_t mask;
};

int kb_cpuid_supported(struct kb_cpuid *table, const struct kb_kvm_api *api, int kvm_fd, struct kvmbox_error *err)
{
	struct kvm_cpuid_entry2 *leaf1;
	int rc;

	memset(table, 0, sizeof(*table));
	table->head.nent = KB_CPUID_MAX;
	rc = kb_kvm_ioctl(api, kvm_fd, KVM_GET_SUPPORTED_CPUID, table);
	if (rc < 0 || table->head.nent > KB_CPUID_MAX) {
		table->head.nent = 0;
		if (rc == 0)
			rc = -E2BIG;
		return kb_fail(err, -rc, "KVM_GET_SUPPORTED_CPUID failed: %s", strerror(-rc));
	}
	leaf1 = kb_cpuid_find(table, 1, 0);
	if (!leaf1)
		return kb_fail(err, EPROTO, "KVM_GET_SUPPORTED_CPUID gave no leaf 1: KVM does not describe a usable CPU");
	/* hypervisor: not every kernel says it by itself; x2APIC, TSC deadline: the box's own local APIC */
	leaf1->ecx |= 1u << 31 | 1u << 21 | 1u << 24;
	return 0;
}

struct kvm_cpuid_entry2 *kb_cpuid_find(struct kb_cpuid *table, uint32_t function, uint32_t index)
{
	uint32_t i;

	for (i = 0; i < table->head.nent && i < KB_CPUID_MAX; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];

		if (e->function == function &&
		    (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == index))
			return e;
	}
	return NULL;
}

static void zero_leaf(struct kb_cpuid *table, uint32_t function)
{
	uint32_t i;

	for (i = 0; i < table->head.nent; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];

		if (e->function == function)
			e->eax = e->ebx = e->ecx = e->edx = 0;
	}
}

static uint32_t *reg_of(struct kvm_cpuid_entry2 *e, enum kb_cpuid_reg reg)
{
	switch (reg) {
	case KB_EAX:
		return &e->eax;
	case KB_EBX:
		return &e->ebx;
	case KB_ECX:
		return &e->ecx;
	default:
		return &e->edx;
	}
}

/* The register a word lives in, NULL when the table has no such leaf. */
uint32_t *kb_cpuid_word_reg(struct kb_cpuid *table, const struct kb_cpuid_word *w)
{
	struct kvm_cpuid_entry2 *e = kb_cpuid_find(table, w->function, w->index);

	/* A leaf without subleaves has nothing to say about subleaf 1. */
	if (!e || (w->index && !(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)))
		return NULL;
	return reg_of(e, w->reg);
}

static const char *canonical(const char *name)
{
	size_t i;

	for (i = 0; i < kb_cpuid_aliases_count; i++)
		if (strcmp(kb_cpuid_aliases[i].alias, name) == 0)
			return kb_cpuid_aliases[i].name;
	return name;
}

static uint32_t word_mask(const struct kb_cpuid_word *w, const char *name)
{
	unsigned bit;

	for (bit = 0; bit < 32; bit++)
		if (w->name[bit] && strcmp(w->name[bit], name) == 0)
			return 1u << bit;
	return 0;
}

/* The bit of a canonical name; mask 0 when unknown. */
static struct feature feature_find(const char *name)
{
	struct feature f = { NULL, 0 };
	size_t i;

	for (i = 0; i < kb_cpuid_words_count && !f.mask; i++)
		if (!kb_cpuid_words[i].mirror) {
			f.word = &kb_cpuid_words[i];
			f.mask = word_mask(f.word, name);
		}
	return f;
}

static int feature_get(struct kb_cpuid *table, const char *name)
{
	struct feature f = feature_find(name);
	const uint32_t *reg = f.mask ? kb_cpuid_word_reg(table, f.word) : NULL;

	return reg && (*reg & f.mask);
}

/* Clears the feature, or sets it where host has it; both the bit and its mirror. */
static void feature_put(struct kb_cpuid *table, struct kb_cpuid *host, const char *name, int on)
{
	size_t i;

	for (i = 0; i < kb_cpuid_words_count; i++) {
		const struct kb_cpuid_word *w = &kb_cpuid_words[i];
		uint32_t mask = word_mask(w, name);
		uint32_t *reg = mask ? kb_cpuid_word_reg(table, w) : NULL;
		const uint32_t *has = on && reg ? kb_cpuid_word_reg(host, w) : NULL;

		if (!reg)
			continue;
		if (!on)
			*reg &= ~mask;
		else if (has)
			*reg |= *has & mask;
	}
}

/* ---- edits ---------------------------------------------------------------- */

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/* Levenshtein distance; both at most NAME_MAX_LEN long. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[NAME_MAX_LEN + 1], i, j;
	unsigned n = (unsigned)strnlen(b, NAME_MAX_LEN);

	for (j = 0; j <= n; j++)
		row[j] = j;
	for (i = 1; i <= NAME_MAX_LEN && a[i - 1]; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (j = 1; j <= n; j++) {
			unsigned above = row[j];

			row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[n];
}

#define NEAR 3
struct near {
	const char *name[NEAR];
	unsigned score[NEAR];
};

/* Keeps the NEAR best, best first. */
static void near_offer(struct near *near, const char *candidate, const char *wanted)
{
	size_t len = strlen(wanted), i, j;
	unsigned score = distance(candidate, wanted);
	unsigned limit = len <= 4 ? 1 : len <= 8 ? 2 : 3;

	if (len >= 3 && strncmp(candidate, wanted, len) == 0)
		score = 1; /* "avx512": its relatives */
	if (score > limit)
		return;
	for (i = 0; i < NEAR; i++)
		if (near->name[i] && strcmp(near->name[i], candidate) == 0)
			return;
	for (i = 0; i < NEAR && near->name[i] && near->score[i] <= score; i++)
		;
	if (i == NEAR)
		return;
	for (j = NEAR - 1; j > i; j--) {
		near->name[j] = near->name[j - 1];
		near->score[j] = near->score[j - 1];
	}
	near->name[i] = candidate;
	near->score[i] = score;
}

static void lower(char *s)
{
	for (; *s; s++)
		if (*s >= 'A' && *s <= 'Z')
			*s = (char)(*s - 'A' + 'a');
}

static int unknown_name(const char *name, struct kvmbox_error *err)
{
	struct near near = { 0 };
	char folded[NAME_MAX_LEN + 1], list[160] = "";
	size_t i, n = 0;
	unsigned bit;

	snprintf(folded, sizeof(folded), "%s", name);
	lower(folded);
	for (i = 0; i < kb_cpuid_words_count; i++)
		for (bit = 0; bit < 32; bit++)
			if (kb_cpuid_words[i].name[bit])
				near_offer(&near, kb_cpuid_words[i].name[bit], folded);
	for (i = 0; i < kb_cpuid_aliases_count; i++)
		near_offer(&near, kb_cpuid_aliases[i].alias, folded);
	for (i = 0; i < NEAR && near.name[i] && n < sizeof(list); i++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", i ? ", " : "", near.name[i]);
	if (n == 0)
		return kb_fail(err, EINVAL,
			       "unknown CPU feature '%s': use the names of the flags line in /proc/cpuinfo", name);
	return kb_fail(err, EINVAL, "unknown CPU feature '%s': did you mean %s?", name, list);
}

static bool box_cannot(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(cannot_keep) / sizeof(cannot_keep[0]); i++)
		if (strcmp(cannot_keep[i], name) == 0)
			return true;
	return false;
}

static int edit_one(struct kb_cpuid *table, struct kb_cpuid *host, const char *given, int on,
		    struct kvmbox_error *err)
{
	const char *name = canonical(given);

	if (!feature_find(name).mask)
		return unknown_name(given, err);
	if (on && box_cannot(name))
		return kb_fail(err, EINVAL, "CPU feature '%s' cannot be added: the box does not model what it needs",
			       given);
	if (on && !feature_get(host, name))
		return kb_fail(err, EINVAL,
			       "CPU feature '%s' cannot be added: KVM on this host does not support it",
			       given);
	feature_put(table, host, name, on);
	return 0;
}

/* XSAVE components (SDM volume 1 section 13.1) by the feature that needs them. */
static const struct {
	const char *feature;
	uint32_t components;
} xsave_owners[] = {
	{ "avx", 0xe4 }, { "mpx", 0x18 }, { "avx512f", 0xe0 }, { "pku", 0x200 }, { "amx_tile", 0x60000 },
};

/* Leaf 0xd without the components in lost; its size then is that of what remains. */
static void xsave_drop(struct kb_cpuid *table, uint32_t lost)
{
	struct kvm_cpuid_entry2 *e = kb_cpuid_find(table, 0xd, 0);
	uint32_t i, size = 512 + 64; /* legacy area and header */

	if (!e || !(e->eax & lost))
		return;
	e->eax &= ~lost;
	for (i = 0; i < table->head.nent; i++) {
		struct kvm_cpuid_entry2 *c = &table->entries[i];

		if (c->function != 0xd || c->index < 2 || c->index > 31 || (c->ecx & 1))
			continue; /* ecx bit 0: a supervisor state, not in XCR0 */
		if (!(e->eax >> c->index & 1))
			c->eax = c->ebx = c->ecx = c->edx = 0;
		else if (c->ebx <= 0x10000 && c->eax <= 0x10000 && c->ebx + c->eax > size)
			size = c->ebx + c->eax;
	}
	e->ecx = size;
}

/*
 * Leaf 0xd follows what the edits took away, and only that: on kvm_pvm it describes
 * components whose features the table does not show and the guest has all the same.
 */
static void xsave_follow(struct kb_cpuid *table, struct kb_cpuid *host)
{
	uint32_t lost = 0;
	size_t i;

	if (feature_get(host, "xsave") && !feature_get(table, "xsave")) {
		zero_leaf(table, 0xd);
		return;
	}
	for (i = 0; i < sizeof(xsave_owners) / sizeof(xsave_owners[0]); i++)
		if (feature_get(host, xsave_owners[i].feature) && !feature_get(table, xsave_owners[i].feature))
			lost |= xsave_owners[i].components;
	xsave_drop(table, lost);
}

int kb_cpuid_edit(struct kb_cpuid *table, const char *edits, struct kvmbox_error *err)
{
	return kb_cpuid_edit_from(table, table, edits, err);
}

int kb_cpuid_edit_from(struct kb_cpuid *table, const struct kb_cpuid *offered, const char *edits, struct kvmbox_error *err)
{
	struct kb_cpuid host = *offered, work = *table;
	const char *p = edits ? edits : "";

	for (p += strspn(p, ", \t\n"); *p; p += strspn(p, ", \t\n")) {
		char name[NAME_MAX_LEN + 1];
		int on = *p != '-', rc;
		size_t len;

		if (*p == '+' || *p == '-')
			p++;
		len = strcspn(p, ", \t\n");
		if (len == 0)
			return kb_fail(err, EINVAL, "CPU features \"%.200s\": a sign without a name", edits);
		if (len > NAME_MAX_LEN)
			return kb_fail(err, EINVAL, "unknown CPU feature '%.*s...': no name is that long",
				       NAME_MAX_LEN, p);
		memcpy(name, p, len);
		name[len] = '\0';
		rc = edit_one(&work, &host, name, on, err);
		if (rc < 0)
			return rc;
		p += len;
	}
	xsave_follow(&work, &host);
	*table = work;
	return 0;
}

void kb_cpuid_each(const struct kb_cpuid *table, void (*fn)(void *opaque, const char *name, int present), void *opaque)
{
	struct kb_cpuid copy = *table; /* kb_cpuid_word_reg() hands out a writable pointer */
	size_t i;
	unsigned bit;

	for (i = 0; i < kb_cpuid_words_count; i++) {
		const struct kb_cpuid_word *w = &kb_cpuid_words[i];
		const uint32_t *reg = kb_cpuid_word_reg(&copy, w);

		for (bit = 0; !w->mirror && bit < 32; bit++)
			if (w->name[bit])
				fn(opaque, w->name[bit], reg && (*reg >> bit & 1));
	}
}

/* ---- fitting to the box ---------------------------------------------------- */

void kb_cpuid_remove(struct kb_cpuid *table, uint32_t function)
{
	uint32_t from, to = 0;

	for (from = 0; from < table->head.nent; from++)
		if (table->entries[from].function != function)
			table->entries[to++] = table->entries[from];
	table->head.nent = to;
}

/* A new leaf without subleaves; NULL when the table is full. */
static struct kvm_cpuid_entry2 *append(struct kb_cpuid *table, uint32_t function)
{
	struct kvm_cpuid_entry2 *e;

	if (table->head.nent >= KB_CPUID_MAX)
		return NULL;
	e = &table->entries[table->head.nent++];
	*e = (struct kvm_cpuid_entry2){ .function = function };
	return e;
}

static void fit_features(struct kb_cpuid *table)
{
	/*
	 * MONITOR sizes, power, performance counters, SGX, Processor Trace, arch LBR, SVM, perfmon v2: gone with their
	 * features. Crystal and frequencies (0x15, 0x16): Linux takes the APIC timer's frequency from there, but
	 * the box has its own, see kb_cpuid_tell_clocks().
	 */
	static const uint32_t gone[] = { 0x5, 0xa, 0x12, 0x14, 0x15, 0x16, 0x1c, 0x8000000a, 0x80000022 };
	size_t i;

	for (i = 0; i < sizeof(cannot_keep) / sizeof(cannot_keep[0]); i++)
		feature_put(table, NULL, cannot_keep[i], 0);
	feature_put(table, NULL, "osxsave", 0); /* KVM follows CR4 in these two by itself */
	feature_put(table, NULL, "ospke", 0);
	for (i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
		zero_leaf(table, gone[i]);
}

static unsigned bits_for(unsigned count)
{
	unsigned bits = 0;

	while (bits < 8 && (1u << bits) < count)
		bits++;
	return bits;
}

/* Leaves 0xb and 0x1f: one thread per core, all cores in one package. */
static void fit_extended_topology(struct kb_cpuid *table, uint32_t function, unsigned id, unsigned count)
{
	const struct { uint32_t eax, ebx, ecx; } level[] = {
		{ 0, 1, 1u << 8 },               /* threads */
		{ bits_for(count), count, 2u << 8 }, /* cores */
		{ 0, 0, 0 },
	};
	uint32_t i;

	kb_cpuid_remove(table, function);
	for (i = 0; i < 3; i++) {
		struct kvm_cpuid_entry2 *e = append(table, function);

		if (!e)
			return;
		e->index = i;
		e->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		e->eax = level[i].eax;
		e->ebx = level[i].ebx;
		e->ecx = level[i].ecx | i;
		e->edx = id;
	}
}

/* Leaf 4 (Intel) and 0x8000001d (AMD): who shares a cache. Levels 1 and 2 belong to a core, 3 to all. */
static void fit_caches(struct kb_cpuid *table, uint32_t function, unsigned count)
{
	uint32_t sharing = (1u << bits_for(count)) - 1, cores = sharing > 63 ? 63 : sharing, i;

	for (i = 0; i < table->head.nent; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];

		if (e->function != function || (e->eax & 0x1f) == 0)
			continue;
		e->eax &= 0x3fff;
		if ((e->eax >> 5 & 7) >= 3)
			e->eax |= sharing << 14;
		if (function == 4)
			e->eax |= cores << 26;
	}
}

static void fit_topology(struct kb_cpuid *table, unsigned id, unsigned count)
{
	struct kvm_cpuid_entry2 *e = kb_cpuid_find(table, 1, 0);
	int amd = feature_get(table, "topoext") || feature_get(table, "cmp_legacy");

	if (e) {
		e->ebx = (e->ebx & 0xff00) | id << 24 | (count > 1 ? count & 0xff : 1) << 16;
		e->edx = count > 1 ? e->edx | 1u << 28 : e->edx & ~(1u << 28);
	}
	fit_caches(table, 4, count);
	fit_caches(table, 0x8000001d, count);
	if (kb_cpuid_find(table, 0xb, 0))
		fit_extended_topology(table, 0xb, id, count);
	if (kb_cpuid_find(table, 0x1f, 0))
		fit_extended_topology(table, 0x1f, id, count);
	if (amd && (e = kb_cpuid_find(table, 0x80000001, 0)))
		e->ecx = count > 1 ? e->ecx | 2 : e->ecx & ~2u; /* cmp_legacy: ht means cores */
	if (amd && (e = kb_cpuid_find(table, 0x80000008, 0)))
		e->ecx = (e->ecx & ~0xf0ffu) | bits_for(count) << 12 | (count - 1);
	if (feature_get(table, "topoext") && (e = kb_cpuid_find(table, 0x8000001e, 0))) {
		e->eax = id;
		e->ebx = id; /* core id, one thread per core */
		e->ecx = 0;  /* node 0 of 1 */
		e->edx = 0;
	}
}

/* Leaf range base..: the first entry says which is the last. */
static void fit_max(struct kb_cpuid *table, uint32_t base)
{
	struct kvm_cpuid_entry2 *first = kb_cpuid_find(table, base, 0);
	uint32_t i, max = base;

	for (i = 0; i < table->head.nent; i++) {
		uint32_t f = table->entries[i].function;

		if ((f & 0xffff0000u) == base && f > max)
			max = f;
	}
	if (first)
		first->eax = max;
}

/* The brand string (0x80000002-4): 48 bytes, NULs behind the text. */
static void fit_brand(struct kb_cpuid *table)
{
	char brand[49] = "";
	uint32_t regs[4];
	unsigned leaf;
	size_t n;

	if (!kb_cpuid_find(table, EXTENDED, 0) && !append(table, EXTENDED))
		return;
	for (leaf = 0; leaf < 3; leaf++) {
		struct kvm_cpuid_entry2 *e = kb_cpuid_find(table, EXTENDED + 2 + leaf, 0);

		if (!e && !append(table, EXTENDED + 2 + leaf))
			return;
		if (e)
			memcpy(brand + 16 * leaf, (uint32_t[]){ e->eax, e->ebx, e->ecx, e->edx }, 16);
	}
	n = strlen(brand);
	while (n > 0 && brand[n - 1] == ' ')
		n--;
	memset(brand + n, 0, sizeof(brand) - n);
	if (n == 0)
		memcpy(brand, "kvmbox virtual CPU", sizeof("kvmbox virtual CPU"));
	for (leaf = 0; leaf < 3; leaf++) {
		struct kvm_cpuid_entry2 *e = kb_cpuid_find(table, EXTENDED + 2 + leaf, 0);

		memcpy(regs, brand + 16 * leaf, 16);
		e->eax = regs[0];
		e->ebx = regs[1];
		e->ecx = regs[2];
		e->edx = regs[3];
	}
}

#define KVM_FEATURE_BIT_NOP_IO_DELAY (1u << 1)

/*
 * Paravirtual leaves. Of what the kernel offers only "no delays after port writes" needs nothing of the
 * kernel's own clock, APIC or hypercalls. The box adds the bits of what it serves itself later.
 */
static void fit_hypervisor(struct kb_cpuid *table)
{
	struct kvm_cpuid_entry2 *e, features = { .function = HYPERVISOR + 1 };
	uint32_t i, kept = 0, signature[3];

	e = kb_cpuid_find(table, HYPERVISOR + 1, 0);
	if (e)
		features.eax = e->eax & KVM_FEATURE_BIT_NOP_IO_DELAY;
	for (i = 0; i < table->head.nent; i++)
		if ((table->entries[i].function & 0xf0000000u) != HYPERVISOR)
			table->entries[kept++] = table->entries[i];
	table->head.nent = kept;
	if (!feature_get(table, "hypervisor") || kept + 2 > KB_CPUID_MAX)
		return;
	memcpy(signature, "KVMKVMKVM\0\0\0", 12);
	e = append(table, HYPERVISOR);
	e->eax = HYPERVISOR + 1;
	e->ebx = signature[0];
	e->ecx = signature[1];
	e->edx = signature[2];
	*append(table, HYPERVISOR + 1) = features;
}

void kb_cpuid_fit(struct kb_cpuid *table, unsigned vcpu_id, unsigned vcpu_count)
{
	unsigned count = vcpu_count < 1 ? 1 : vcpu_count > 255 ? 255 : vcpu_count;

	if (table->head.nent > KB_CPUID_MAX)
		table->head.nent = KB_CPUID_MAX;
	fit_features(table);
	fit_topology(table, vcpu_id & 0xff, count);
	fit_brand(table);
	fit_hypervisor(table);
	fit_max(table, 0);
	fit_max(table, EXTENDED);
}

/* ---- clocks ------------------------------------------------------------------ */

static struct kvm_cpuid_entry2 *find_or_append(struct kb_cpuid *table, uint32_t function)
{
	struct kvm_cpuid_entry2 *e = kb_cpuid_find(table, function, 0);

	return e ? e : append(table, function);
}

/* SDM volume 2, CPUID: TSC hz = crystal hz (ECX) * EBX / EAX; base, maximum and bus frequency in MHz, 16 bits each. */
static void tell_frequencies(struct kb_cpuid *table, const struct kb_cpuid_clocks *c)
{
	uint32_t mhz = (c->tsc_khz + 500) / 1000;
	struct kvm_cpuid_entry2 *e = find_or_append(table, 0x15);

	if (e) {
		e->eax = c->apic_hz / 1000;
		e->ebx = c->tsc_khz;
		e->ecx = c->apic_hz;
		e->edx = 0;
	}
	e = mhz && mhz <= 0xffff ? find_or_append(table, 0x16) : NULL;
	if (e) {
		e->eax = e->ebx = mhz;
		e->ecx = c->apic_hz / 1000000 & 0xffff;
		e->edx = 0;
	}
}

void kb_cpuid_tell_clocks(struct kb_cpuid *table, const struct kb_cpuid_clocks *c)
{
	struct kvm_cpuid_entry2 *e;

	if (!c->tsc_simulated)
		feature_put(table, NULL, "nonstop_tsc", 0);
	if (!c->tsc_deadline)
		feature_put(table, NULL, "tsc_deadline_timer", 0);
	if (!c->x2apic)
		feature_put(table, NULL, "x2apic", 0);
	if (c->tsc_khz)
		tell_frequencies(table, c);
	e = kb_cpuid_find(table, HYPERVISOR + 1, 0);
	if (e) {
		e->eax |= c->paravirt;
		e = find_or_append(table, HYPERVISOR + 0x10);
	}
	if (e) {
		e->eax = c->tsc_khz;
		e->ebx = c->apic_hz / 1000;
	}
	fit_max(table, 0);
	fit_max(table, HYPERVISOR);
}
