/* CPU models: see cpu_model.h. Features: Intel SDM volume 2 "CPUID", AMD APM volume 3, appendix E, x86-64 psABI "micro-architecture levels". */
#include "vcpu/cpu_model.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vcpu/cpuid_names.h"

#define INTEL "GenuineIntel"
#define AMD "AuthenticAMD"

struct cache {
	unsigned kib, ways;
};

struct model {
	const char *name, *about;
	const char *base;     /* model whose features it has, too */
	const char *features;
	const char *vendor;   /* NULL: identity and caches are the host's */
	const char *brand;
	unsigned family, model, stepping;
	struct cache l1d, l1i, l2, l3;
};

/* The box's own, or nobody's business: in every model as far as the table has them. */
static const char always[] = "hypervisor x2apic tsc_deadline_timer tsc_adjust nonstop_tsc arat";

static const struct model models[] = {
	{ .name = "x86-64", .about = "psABI level 1: any 64-bit CPU",
	  .features = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 syscall nx lm ht cmp_legacy topoext" },
	{ .name = "x86-64-v2", .about = "psABI level 2: SSE4.2", .base = "x86-64",
	  .features = "cx16 lahf_lm popcnt pni ssse3 sse4_1 sse4_2" },
	{ .name = "x86-64-v3", .about = "psABI level 3: AVX2", .base = "x86-64-v2",
	  .features = "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave xsaveopt" },
	{ .name = "x86-64-v4", .about = "psABI level 4: AVX-512", .base = "x86-64-v3",
	  .features = "avx512f avx512bw avx512cd avx512dq avx512vl xsavec" },
	{ .name = "nehalem", .about = "Intel Xeon 5500, 2009", .base = "x86-64-v2", .features = "rdtscp ss",
	  .vendor = INTEL, .brand = "Intel(R) Xeon(R) CPU X5570", .family = 6, .model = 26, .stepping = 5,
	  .l1d = { 32, 8 }, .l1i = { 32, 4 }, .l2 = { 256, 8 }, .l3 = { 8192, 16 } },
	{ .name = "sandybridge", .about = "Intel Xeon E5-2600, 2012", .base = "nehalem", .features = "aes pclmulqdq avx xsave xsaveopt pcid",
	  .vendor = INTEL, .brand = "Intel(R) Xeon(R) CPU E5-2690 0", .family = 6, .model = 45, .stepping = 7,
	  .l1d = { 32, 8 }, .l1i = { 32, 8 }, .l2 = { 256, 8 }, .l3 = { 20480, 20 } },
	{ .name = "haswell", .about = "Intel Xeon E5-2600 v3, 2014", .base = "sandybridge",
	  .features = "f16c rdrand fsgsbase erms smep fma movbe avx2 bmi1 bmi2 abm invpcid pdpe1gb",
	  .vendor = INTEL, .brand = "Intel(R) Xeon(R) CPU E5-2690 v3", .family = 6, .model = 63, .stepping = 2,
	  .l1d = { 32, 8 }, .l1i = { 32, 8 }, .l2 = { 256, 8 }, .l3 = { 30720, 20 } },
	{ .name = "skylake-server", .about = "Intel Xeon Gold 6100, 2017", .base = "haswell",
	  .features = "adx rdseed smap 3dnowprefetch avx512f avx512bw avx512cd avx512dq avx512vl clflushopt clwb pku xsavec xgetbv1 xsaves spec_ctrl spec_ctrl_ssbd",
	  .vendor = INTEL, .brand = "Intel(R) Xeon(R) Gold 6148", .family = 6, .model = 85, .stepping = 4,
	  .l1d = { 32, 8 }, .l1i = { 32, 8 }, .l2 = { 1024, 16 }, .l3 = { 28160, 11 } },
	{ .name = "icelake-server", .about = "Intel Xeon Gold 6300, 2021", .base = "skylake-server",
	  .features = "avx512vbmi avx512ifma avx512_vbmi2 avx512_vnni avx512_bitalg avx512_vpopcntdq gfni vaes vpclmulqdq sha_ni umip rdpid fsrm la57 wbnoinvd arch_capabilities",
	  .vendor = INTEL, .brand = "Intel(R) Xeon(R) Gold 6338", .family = 6, .model = 106, .stepping = 6,
	  .l1d = { 48, 12 }, .l1i = { 32, 8 }, .l2 = { 1280, 20 }, .l3 = { 49152, 12 } },
	{ .name = "epyc", .about = "AMD EPYC 7001 (Zen), 2017", .base = "x86-64-v3",
	  .features = "aes pclmulqdq rdrand rdseed adx sha_ni clflushopt fsgsbase smep smap xsavec xgetbv1 xsaves arat cr8_legacy sse4a misalignsse 3dnowprefetch osvw pdpe1gb mmxext fxsr_opt rdtscp clzero xsaveerptr amd_ibpb",
	  .vendor = AMD, .brand = "AMD EPYC 7601 32-Core Processor", .family = 23, .model = 1, .stepping = 2,
	  .l1d = { 32, 8 }, .l1i = { 64, 4 }, .l2 = { 512, 8 }, .l3 = { 8192, 16 } },
	{ .name = "epyc-rome", .about = "AMD EPYC 7002 (Zen 2), 2019", .base = "epyc", .features = "clwb rdpid umip wbnoinvd amd_stibp amd_ssbd",
	  .vendor = AMD, .brand = "AMD EPYC 7742 64-Core Processor", .family = 23, .model = 49, .stepping = 0,
	  .l1d = { 32, 8 }, .l1i = { 32, 8 }, .l2 = { 512, 8 }, .l3 = { 16384, 16 } },
	{ .name = "epyc-milan", .about = "AMD EPYC 7003 (Zen 3), 2021", .base = "epyc-rome", .features = "erms fsrm invpcid pcid pku vaes vpclmulqdq amd_ibrs",
	  .vendor = AMD, .brand = "AMD EPYC 7763 64-Core Processor", .family = 25, .model = 1, .stepping = 1,
	  .l1d = { 32, 8 }, .l1i = { 32, 8 }, .l2 = { 512, 8 }, .l3 = { 32768, 16 } },
	{ .name = "epyc-genoa", .about = "AMD EPYC 9004 (Zen 4), 2022", .base = "epyc-milan",
	  .features = "avx512f avx512bw avx512cd avx512dq avx512vl avx512ifma avx512vbmi avx512_vbmi2 avx512_vnni avx512_bitalg avx512_vpopcntdq avx512_bf16 gfni la57 amd_lfence_rdtsc null_sel_clr_base autoibrs",
	  .vendor = AMD, .brand = "AMD EPYC 9654 96-Core Processor", .family = 25, .model = 17, .stepping = 1,
	  .l1d = { 32, 8 }, .l1i = { 32, 8 }, .l2 = { 1024, 8 }, .l3 = { 32768, 16 } },
};

#define MODELS (sizeof(models) / sizeof(models[0]))

const char *kb_cpu_model_name(size_t i)
{
	return i == 0 ? "host" : i <= MODELS ? models[i - 1].name : NULL;
}

const char *kb_cpu_model_about(size_t i)
{
	return i == 0 ? "all that KVM on this host offers (default)" : i <= MODELS ? models[i - 1].about : NULL;
}

static const struct model *find_model(const char *name)
{
	size_t i;

	for (i = 0; name && i < MODELS; i++)
		if (!strcmp(models[i].name, name))
			return &models[i];
	return NULL;
}

static bool listed(const char *list, const char *name)
{
	const size_t len = strlen(name);
	const char *p = list;

	while ((p = strstr(p, name)) != NULL) {
		if ((p == list || p[-1] == ' ') && (p[len] == ' ' || !p[len]))
			return true;
		p += len;
	}
	return false;
}

static bool has(const struct model *m, const char *name)
{
	for (; m; m = find_model(m->base))
		if (listed(m->features, name))
			return true;
	return false;
}

/* ---- what a table says ------------------------------------------------------ */

static void add_name(char *list, size_t room, const char *sign, const char *name)
{
	size_t n = strlen(list);

	if (n + strlen(name) + 3 <= room)
		snprintf(list + n, room - n, "%s%s%s", n ? " " : "", sign, name);
}

/* Takes away what the model has not; missing: what it has and the table not. */
static void keep_features(struct kb_cpuid *table, const struct model *m, char *missing)
{
	size_t i;
	unsigned bit;

	for (i = 0; i < kb_cpuid_words_count; i++) {
		const struct kb_cpuid_word *w = &kb_cpuid_words[i];
		uint32_t *reg = kb_cpuid_word_reg(table, w), of_word = 0, of_model = 0;

		for (bit = 0; bit < 32; bit++) {
			if (!w->name[bit])
				continue;
			of_word |= 1u << bit;
			if (listed(always, w->name[bit]) || has(m, w->name[bit]))
				of_model |= 1u << bit;
			if (!w->mirror && has(m, w->name[bit]) && !(reg && *reg >> bit & 1))
				add_name(missing, KB_CPU_MISSING_MAX, "", w->name[bit]);
		}
		if (reg)
			*reg &= of_model | (w->function == 0x80000001 ? ~of_word : 0); /* two words share a register there */
	}
}

/* Not missed: what only some hosts' tables say, or what follows from the number of CPUs. */
static void forgive(char *missing)
{
	static const char *const names[] = { "ht", "cmp_legacy", "topoext", "ss", "arat" };
	char kept[KB_CPU_MISSING_MAX] = "", *save = NULL, *name;
	size_t i;

	for (name = strtok_r(missing, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
		for (i = 0; i < sizeof(names) / sizeof(names[0]) && strcmp(name, names[i]) != 0; i++)
			;
		if (i == sizeof(names) / sizeof(names[0]))
			add_name(kept, sizeof(kept), "", name);
	}
	strcpy(missing, kept);
}

void kb_cpu_difference(const struct kb_cpuid *wanted, const struct kb_cpuid *shown, char *names, size_t room)
{
	struct kb_cpuid a = *wanted, b = *shown;
	size_t i;
	unsigned bit;

	names[0] = 0;
	for (i = 0; i < kb_cpuid_words_count; i++) {
		const struct kb_cpuid_word *w = &kb_cpuid_words[i];
		const uint32_t *want = kb_cpuid_word_reg(&a, w), *show = kb_cpuid_word_reg(&b, w);
		uint32_t differs = (want ? *want : 0) ^ (show ? *show : 0);

		for (bit = 0; bit < 32 && !w->mirror; bit++)
			if (w->name[bit] && differs >> bit & 1)
				add_name(names, room, show && *show >> bit & 1 ? "" : "-", w->name[bit]);
	}
}

/* ---- identity ----------------------------------------------------------------- */

/* The leaf, made if need be; NULL: the table is full. */
static struct kvm_cpuid_entry2 *leaf(struct kb_cpuid *table, uint32_t function, uint32_t index, bool indexed)
{
	struct kvm_cpuid_entry2 *e = kb_cpuid_find(table, function, index);

	if (e || table->head.nent >= KB_CPUID_MAX)
		return e;
	e = &table->entries[table->head.nent++];
	*e = (struct kvm_cpuid_entry2){
		.function = function, .index = index, .flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
	};
	return e;
}

static void put_vendor(struct kb_cpuid *table, const char *vendor)
{
	const bool amd = !strcmp(vendor, AMD);
	uint32_t text[3], i;

	memcpy(text, vendor, sizeof(text));
	for (i = 0; i < 2; i++) {
		struct kvm_cpuid_entry2 *e = leaf(table, i ? 0x80000000 : 0, 0, false);

		if (!e)
			continue;
		/* Intel's extended leaf has none. */
		e->ebx = i && !amd ? 0 : text[0];
		e->edx = i && !amd ? 0 : text[1];
		e->ecx = i && !amd ? 0 : text[2];
	}
}

static void put_brand(struct kb_cpuid *table, const char *brand)
{
	char text[48] = "";
	uint32_t i;

	snprintf(text, sizeof(text), "%s", brand);
	for (i = 0; i < 3; i++) {
		struct kvm_cpuid_entry2 *e = leaf(table, 0x80000002 + i, 0, false);
		uint32_t regs[4];

		if (!e)
			continue;
		memcpy(regs, text + 16 * i, sizeof(regs));
		e->eax = regs[0];
		e->ebx = regs[1];
		e->ecx = regs[2];
		e->edx = regs[3];
	}
}

struct identity {
	unsigned family, model, stepping;
};

/* SDM volume 2, figure "Version Information Returned by CPUID in EAX". */
static struct identity identity_of(struct kb_cpuid *table)
{
	const struct kvm_cpuid_entry2 *e = kb_cpuid_find(table, 1, 0);
	const uint32_t eax = e ? e->eax : 0;
	struct identity id = { eax >> 8 & 0xf, eax >> 4 & 0xf, eax & 0xf };

	if (id.family == 0xf || id.family == 6)
		id.model |= eax >> 12 & 0xf0;
	if (id.family == 0xf)
		id.family += eax >> 20 & 0xff;
	return id;
}

static void put_identity(struct kb_cpuid *table, const struct identity *id)
{
	const unsigned base = id->family > 0xf ? 0xf : id->family;
	struct kvm_cpuid_entry2 *e = kb_cpuid_find(table, 1, 0), *ext = kb_cpuid_find(table, 0x80000001, 0);

	if (!e)
		return;
	e->eax = (id->family - base) << 20 | (id->model & 0xf0) << 12 | base << 8 | (id->model & 0xf) << 4 | id->stepping;
	if (ext && ext->eax) /* AMD repeats it */
		ext->eax = e->eax;
}

/* ---- caches ----------------------------------------------------------------------- */

#define LINE 64u

/* Leaf 4, and 0x8000001d, which is the same; kb_cpuid_fit() says who shares them. SDM volume 2, APM volume 3 E.4.16. */
static void put_cache_leaves(struct kb_cpuid *table, uint32_t function, const struct model *m)
{
	const struct { struct cache c; uint32_t type, level; } caches[] = {
		{ m->l1d, 1, 1 }, { m->l1i, 2, 1 }, { m->l2, 3, 2 }, { m->l3, 3, 3 }, { { 0, 0 }, 0, 0 },
	};
	uint32_t i;

	kb_cpuid_remove(table, function);
	for (i = 0; i < sizeof(caches) / sizeof(caches[0]); i++) {
		const struct cache c = caches[i].c;
		struct kvm_cpuid_entry2 *e = leaf(table, function, i, true);

		if (!e)
			return;
		e->eax = caches[i].type | caches[i].level << 5 | (c.kib ? 1u << 8 : 0);
		e->ebx = c.kib ? (c.ways - 1) << 22 | (LINE - 1) : 0;
		e->ecx = c.kib ? c.kib * 1024 / LINE / c.ways - 1 : 0;
	}
}

/* L2 and L3 ways in 0x80000006, APM volume 3 table "L2/L3 Cache and TLB Associativity Field Encodings". */
static uint32_t ways_code(unsigned ways)
{
	return ways >= 16 ? 8 : ways >= 8 ? 6 : ways >= 4 ? 4 : ways;
}

static void put_caches(struct kb_cpuid *table, const struct model *m)
{
	struct kvm_cpuid_entry2 *e;

	if (!strcmp(m->vendor, INTEL)) {
		put_cache_leaves(table, 4, m);
		e = leaf(table, 2, 0, false);
		if (e) { /* descriptor FF: see leaf 4 */
			e->eax = 0x00feff01;
			e->ebx = e->ecx = e->edx = 0;
		}
		e = leaf(table, 0x80000006, 0, false);
		if (e) {
			e->eax = e->ebx = e->edx = 0;
			e->ecx = m->l2.kib << 16 | ways_code(m->l2.ways) << 12 | LINE;
		}
		return;
	}
	put_cache_leaves(table, 0x8000001d, m);
	e = leaf(table, 0x80000005, 0, false);
	if (e) {
		e->ecx = m->l1d.kib << 24 | m->l1d.ways << 16 | 1u << 8 | LINE;
		e->edx = m->l1i.kib << 24 | m->l1i.ways << 16 | 1u << 8 | LINE;
	}
	e = leaf(table, 0x80000006, 0, false);
	if (e) {
		e->ecx = m->l2.kib << 16 | ways_code(m->l2.ways) << 12 | 1u << 8 | LINE;
		e->edx = m->l3.kib / 512 << 18 | ways_code(m->l3.ways) << 12 | 1u << 8 | LINE;
	}
}

/* ---- the text ------------------------------------------------------------------------ */

static int number(const char *key, const char *text, unsigned max, unsigned *out, struct kvmbox_error *err)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 0);
	if (*text < '0' || *text > '9' || *end || errno || n > max)
		return kb_fail(err, EINVAL, "CPU %s=%s: it must be a number from 0 to %u", key, text, max);
	*out = (unsigned)n;
	return 0;
}

static int set_key(struct kb_cpuid *table, const char *key, const char *value, struct kvmbox_error *err)
{
	struct identity id = identity_of(table);
	int rc = 0;

	if (!strcmp(key, "vendor")) {
		if (strlen(value) != 12)
			return kb_fail(err, EINVAL, "CPU vendor=%s: a vendor has 12 characters, as GenuineIntel has", value);
		put_vendor(table, value);
	} else if (!strcmp(key, "brand")) {
		if (strlen(value) > 47)
			return kb_fail(err, EINVAL, "CPU brand=%s: it can have 47 characters", value);
		put_brand(table, value);
	} else if (!strcmp(key, "family")) {
		rc = number(key, value, 0xf + 0xff, &id.family, err);
	} else if (!strcmp(key, "model")) {
		rc = number(key, value, 0xff, &id.model, err);
	} else if (!strcmp(key, "stepping")) {
		rc = number(key, value, 0xf, &id.stepping, err);
	} else {
		return kb_fail(err, EINVAL, "there is no CPU key \"%s\"; they are vendor, family, model, stepping, brand", key);
	}
	if (!rc)
		put_identity(table, &id);
	return rc;
}

static int unknown_model(const char *name, struct kvmbox_error *err)
{
	char list[400] = "";
	size_t i;

	for (i = 0; kb_cpu_model_name(i); i++)
		add_name(list, sizeof(list), "", kb_cpu_model_name(i));
	return kb_fail(err, EINVAL, "there is no CPU model and no feature \"%s\"; models are: %s", name, list);
}

static int apply_model(struct kb_cpuid *table, const struct model *m, char *missing)
{
	keep_features(table, m, missing);
	forgive(missing);
	if (m->vendor && !strcmp(m->vendor, INTEL))
		kb_cpuid_edit(table, "-cmp_legacy,-topoext", NULL);
	if (m->vendor) {
		const struct identity id = { m->family, m->model, m->stepping };

		put_vendor(table, m->vendor);
		put_identity(table, &id);
		put_brand(table, m->brand);
		put_caches(table, m);
	}
	return 0;
}

/* The first word may be a model; a feature's name is no reason to refuse it. */
static int first_word(struct kb_cpuid *table, const char *word, char *missing, bool *taken, struct kvmbox_error *err)
{
	const struct model *m = find_model(word);
	struct kb_cpuid scratch = *table;

	*taken = m || !strcmp(word, "host");
	if (m)
		return apply_model(table, m, missing);
	if (*taken || strchr("+-", *word) || strchr(word, '=') || !strcmp(word, "enforce"))
		return 0;
	return kb_cpuid_edit(&scratch, word, NULL) == 0 ? 0 : unknown_model(word, err);
}

static int later_word(struct kb_cpuid *table, char *word, char *edits, size_t room, struct kvmbox_error *err)
{
	char *equals = strchr(word, '=');
	size_t n = strlen(edits);

	if (equals) {
		*equals = 0;
		return set_key(table, word, equals + 1, err);
	}
	if (n + strlen(word) + 2 > room)
		return kb_fail(err, EINVAL, "too many CPU features");
	snprintf(edits + n, room - n, "%s%s", n ? "," : "", word);
	return 0;
}

int kb_cpu_apply(struct kb_cpuid *table, const char *spec, char *missing, struct kvmbox_error *err)
{
	struct kb_cpuid work = *table;
	char *text = strdup(spec ? spec : ""), *save = NULL, *word, edits[2048] = "";
	bool enforce = false, first = true, taken = false;
	int rc = text ? 0 : kb_fail(err, ENOMEM, "out of memory");

	missing[0] = 0;
	for (word = rc ? NULL : strtok_r(text, ",", &save); word && !rc; word = strtok_r(NULL, ",", &save)) {
		word += strspn(word, " \t\n");
		if (!strchr(word, '=')) /* a brand has blanks */
			word[strcspn(word, "\t\n")] = 0;
		taken = false;
		if (first && *word)
			rc = first_word(&work, word, missing, &taken, err);
		first = first && !*word;
		if (!strcmp(word, "enforce"))
			enforce = true;
		else if (!rc && !taken && *word)
			rc = later_word(&work, word, edits, sizeof(edits), err);
	}
	free(text);
	if (!rc)
		rc = kb_cpuid_edit_from(&work, table, edits, err);
	if (!rc && enforce && missing[0])
		rc = kb_fail(err, EOPNOTSUPP, "KVM on this host does not offer all of the CPU: %.600s; leave enforce away to do without", missing);
	if (!rc)
		*table = work;
	return rc;
}
