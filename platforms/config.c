/* The box's configuration and its text form: see kvmbox/kvmbox.h and config.h. */
#include "platforms/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "devices/chardev.h"
#include "platforms/units.h"
#include "vcpu/error.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

enum type { SIZE, ADDRESS, TIME, BOOL, NUMBER, COUNT, WORD, PATH, STRING };

/* Any field: the table's offsets and field_size() say how much of it is used. */
union value {
	uint64_t u64;
	bool yes;
	double number;
	unsigned count;
	unsigned word; /* enums: index of the word */
	char *s;
};

_Static_assert(sizeof(enum kvmbox_guest_format) == sizeof(unsigned), "enums are handled as unsigned");
_Static_assert(sizeof(enum kvmbox_clock_source) == sizeof(unsigned), "enums are handled as unsigned");
_Static_assert(sizeof(enum kvmbox_tsc) == sizeof(unsigned), "enums are handled as unsigned");
_Static_assert(sizeof(enum kvmbox_irqchip) == sizeof(unsigned), "enums are handled as unsigned");
_Static_assert(sizeof(enum kvmbox_counting) == sizeof(unsigned), "enums are handled as unsigned");
_Static_assert(sizeof(enum kvmbox_slices) == sizeof(unsigned), "enums are handled as unsigned");
_Static_assert(sizeof(enum kvmbox_assists) == sizeof(unsigned), "enums are handled as unsigned");

struct key {
	const char *name;
	enum type type;
	size_t offset;
	const char *standard; /* the default, as text */
	int (*check)(const struct key *key, const union value *v, struct kvmbox_error *err); /* may be NULL */
	const char *meaning;
	const char *const *words; /* WORD: in the order of the enum, NULL at the end */
};

/* In the order of the enums of kvmbox.h. */
static const char *const format_words[] = { "auto", "elf", "flat", "reset", "linux", "multiboot", NULL };
static const char *const clock_words[] = { "tsc", "fixed", "step", "perf-cycles", "perf-insns", "host", NULL };
static const char *const irqchip_words[] = { "user", "kernel", NULL };
static const char *const count_words[] = { "step", "pmu", NULL };
static const char *const slices_words[] = { "precise", "eager", NULL };
static const char *const tsc_words[] = { "auto", "guest", "host", NULL };
static const char *const assists_words[] = { "auto", "no", NULL };
static const char *const bool_words[] = { "no", "yes", "false", "true", "0", "1", "off", "on", NULL };

/* ---- range checks ---- */

static int check_ram(const struct key *key, const union value *v, struct kvmbox_error *err)
{
	if (v->u64 % KB_RAM_STEP)
		return kb_fail(err, EINVAL, "%s must be a multiple of 4K, not 0x%" PRIx64 " bytes", key->name, v->u64);
	if (v->u64 < KB_RAM_MIN || v->u64 > KB_RAM_MAX)
		return kb_fail(err, EINVAL, "%s must be at least 1M and at most 64G, not 0x%" PRIx64 " bytes",
			       key->name, v->u64);
	return 0;
}

static int check_time(const struct key *key, const union value *v, struct kvmbox_error *err)
{
	if (v->u64 > KB_CONFIG_TIME_MAX)
		return kb_fail(err, EINVAL, "%s must be at most one day (86400s)", key->name);
	return 0;
}

static int check_quantum(const struct key *key, const union value *v, struct kvmbox_error *err)
{
	if (v->u64 == 0)
		return kb_fail(err, EINVAL,
			       "%s must be longer than 0: it is how far the guest may run ahead of the simulator; 1us to 1ms are usual",
			       key->name);
	return check_time(key, v, err);
}

static int check_cpus(const struct key *key, const union value *v, struct kvmbox_error *err)
{
	if (v->count < 1 || v->count > KB_CPUS_MAX)
		return kb_fail(err, EINVAL, "%s must be at least 1 and at most %u, not %u", key->name, KB_CPUS_MAX, v->count);
	return 0;
}

static int check_cpu_quantum(const struct key *key, const union value *v, struct kvmbox_error *err)
{
	if (v->u64 == 0)
		return kb_fail(err, EINVAL, "%s must be longer than 0: it is how far one CPU may run ahead of another", key->name);
	return check_time(key, v, err);
}

static int check_fixed_exit(const struct key *key, const union value *v, struct kvmbox_error *err)
{
	/* A guest that polls a device would hold simulated time still for ever. */
	if (v->u64 == 0)
		return kb_fail(err, EINVAL, "%s must be longer than 0: with clock=fixed nothing else moves time on",
			       key->name);
	return check_time(key, v, err);
}

/* What a clock counts must take time, and not so much that one event outlasts every quantum. */
static int check_event(const struct key *key, const union value *v, struct kvmbox_error *err)
{
	if (v->u64 == 0 || v->u64 > KB_EVENT_MAX)
		return kb_fail(err, EINVAL, "%s must be longer than 0 and at most 1ms", key->name);
	return 0;
}

/* Firmware is told in milliseconds, 16 bits of them. */
static int check_boot_menu(const struct key *key, const union value *v, struct kvmbox_error *err)
{
	if (v->u64 > KB_BOOT_MENU_MAX)
		return kb_fail(err, EINVAL, "%s must be at most 60s", key->name);
	return 0;
}

static int check_port(const struct key *key, const union value *v, struct kvmbox_error *err)
{
	if (v->u64 > 0xffff)
		return kb_fail(err, EINVAL, "%s must be at most 0xffff, not 0x%" PRIx64, key->name, v->u64);
	return 0;
}

static int check_scale(const struct key *key, const union value *v, struct kvmbox_error *err)
{
	/* Written so that a NaN fails. */
	if (!(v->number > 0 && v->number <= KB_TIME_SCALE_MAX))
		return kb_fail(err, EINVAL, "%s must be greater than 0 and at most 1e6, not %g", key->name, v->number);
	return 0;
}

static int check_word(const struct key *key, const union value *v, struct kvmbox_error *err)
{
	unsigned count = 0;

	while (key->words[count])
		count++;
	if (v->word >= count)
		return kb_fail(err, EINVAL, "%s is %u, which is none of its enum's values", key->name, v->word);
	return 0;
}

/* The syntax kb_chardev_create() takes; whether the path can be opened shows there. */
static int check_chardev(const struct key *key, const union value *v, struct kvmbox_error *err)
{
	return kb_chardev_check(v->s, key->name, err);
}

/* Two digits at s as a number; the caller has checked that they are digits. */
static unsigned two(const char *s)
{
	return (unsigned)(s[0] - '0') * 10 + (unsigned)(s[1] - '0');
}

static bool is_date(const char *s)
{
	static const char pattern[] = "dddd-dd-ddTdd:dd:dd";
	static const unsigned char days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	unsigned year, month;
	size_t i;

	for (i = 0; i < sizeof(pattern); i++)
		if (pattern[i] == 'd' ? s[i] < '0' || s[i] > '9' : s[i] != pattern[i])
			return false;
	year = two(s) * 100 + two(s + 2);
	month = two(s + 5);
	if (year < 1970 || month < 1 || month > 12)
		return false;
	if (two(s + 8) < 1 || two(s + 11) > 23 || two(s + 14) > 59 || two(s + 17) > 59)
		return false;
	return two(s + 8) <= days[month - 1] ||
	       (month == 2 && two(s + 8) == 29 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
}

static int check_date(const struct key *key, const union value *v, struct kvmbox_error *err)
{
	if (v->s && (strcmp(v->s, "host") == 0 || is_date(v->s)))
		return 0;
	return kb_fail(err, EINVAL,
		       "%s must be host, or a UTC date and time from 1970 on in the form YYYY-MM-DDTHH:MM:SS", key->name);
}

/* Whoever owns simulated time does the pacing (tlm_glue/pacer.h). 0: no pacing; negative: not in this syntax. */
static double parse_pace(const char *s)
{
	static const char realtime[] = "realtime";
	const size_t len = sizeof(realtime) - 1;
	double factor;

	if (strcmp(s, "none") == 0)
		return 0;
	if (strcmp(s, realtime) == 0)
		return 1;
	if (strncmp(s, realtime, len) != 0 || s[len] != '*' || kb_parse_double(s + len + 1, &factor))
		return -1;
	return factor >= KB_PACE_MIN && factor <= KB_PACE_MAX ? factor : -1;
}

static int check_pace(const struct key *key, const union value *v, struct kvmbox_error *err)
{
	if (v->s && parse_pace(v->s) >= 0)
		return 0;
	return kb_fail(err, EINVAL, "%s must be one of: none realtime realtime*FACTOR, with a factor from 1e-6 to 1e6",
		       key->name);
}

double kvmbox_config_pace(const struct kvmbox_config *cfg)
{
	double factor = cfg->pace ? parse_pace(cfg->pace) : 0;

	return factor > 0 ? factor : 0;
}

/* ---- the table ---- */

#define KEY(field, type, standard, check, meaning) \
	{ #field, type, offsetof(struct kvmbox_config, field), standard, check, meaning, NULL }
#define KEY_WORD(field, words, standard, meaning) \
	{ #field, WORD, offsetof(struct kvmbox_config, field), standard, check_word, meaning, words }
#define KEY_PS(field, standard, check, meaning) \
	{ #field, TIME, offsetof(struct kvmbox_config, field##_ps), standard, check, meaning, NULL }

static const struct key keys[] = {
	KEY(ram, SIZE, "64M", check_ram, "guest RAM, a multiple of 4K from 1M to 64G"),
	KEY(hugepages, BOOL, "yes", NULL, "advise transparent huge pages for RAM"),
	KEY(guest, PATH, "", NULL, "path of the guest program; empty: nothing is loaded"),
	KEY_WORD(guest_format, format_words, "auto",
	    "auto (as the file says), elf, flat (raw bytes, 64-bit entry), reset (firmware ending at 4 GiB), linux (bzImage, vmlinux, PVH), multiboot (2 or 1)"),
	KEY(initrd, PATH, "", NULL, "linux: initial RAM disk; multiboot: module 0; empty: none"),
	KEY(cmdline, STRING, "", NULL, "linux, multiboot: command line; cmdline+=TEXT adds to it, after a blank"),
	KEY(guest_base, ADDRESS, "0x100000", NULL, "flat: load address"),
	KEY(guest_entry, ADDRESS, "0x100000", NULL, "flat: first instruction"),
	KEY(fw_cfg, PATH, "", NULL, "reset: more files for the firmware, NAME:FILE[,NAME:FILE]..."),
	KEY_PS(boot_menu, "0", check_boot_menu, "reset: how long the firmware offers its boot menu; 0: not at all"),
	KEY(disk, PATH, "", NULL, "IDE disk: raw:PATH nbd:URI memory:SIZE, with options (kvmbox/block.h)"),
	KEY(disk2, PATH, "", NULL, "the second disk on the same channel"),
	KEY(cpu, STRING, "", NULL, "[MODEL][,+feature,-feature,...][,family=N,model=N,stepping=N,vendor=..,brand=..][,enforce]; kvmbox-info --cpus lists models"),
	KEY_WORD(irqchip, irqchip_words, "user",
	    "interrupt controllers and PIT: user (simulated time) or kernel (KVM's own: wall clock; needs clock=host and one CPU)"),
	KEY(cpus, COUNT, "1", check_cpus, "CPUs, 1 to 64; they take turns on one host thread"),
	KEY_PS(cpu_quantum, "100us", check_cpu_quantum, "longest lead of one CPU over another"),
	KEY_PS(quantum, "1ms", check_quantum, "longest lead of the guest over the simulator"),
	KEY_WORD(clock, clock_words, "tsc",
	    "guest clock: tsc (host CPU time), fixed (every exit costs fixed_exit), step (every instruction takes step; single-stepped), perf-cycles, perf-insns (PMU), host"),
	KEY(time_scale, NUMBER, "1.0", check_scale, "simulated seconds per second of guest CPU time (not of clock=fixed)"),
	KEY_PS(fixed_exit, "1us", check_fixed_exit, "clock=fixed: cost of one exit"),
	KEY_PS(step, "1ns", check_event, "clock=step, perf-insns: what one instruction takes"),
	KEY_PS(cycle, "500ps", check_event, "clock=perf-cycles: what one cycle takes"),
	KEY_WORD(count, count_words, "step",
	    "how stop_after() counts instructions: step (single steps) or pmu (performance counter, then steps)"),
	KEY_WORD(slices, slices_words, "precise",
	    "precise (the guest stalls up to an event at t) or eager (it is kicked at t and leaves somewhat later)"),
	KEY(slice_to_events, BOOL, "yes", NULL, "end slices at the simulator's next event, too"),
	KEY(pace, STRING, "none", check_pace,
	    "none, or realtime[*FACTOR]: simulated time is never ahead of FACTOR times the wall clock"),
	KEY(assign_bars, BOOL, "yes", NULL, "the box gives BARs addresses before the guest starts"),
	KEY(serial, STRING, "stdio", check_chardev, "COM1: null stdio file:PATH pty unix:PATH memory; logfile=PATH after a comma: a copy of the output"),
	KEY(debugcon, STRING, "null", check_chardev, "debug console: same syntax as serial"),
	KEY(debugcon_port, ADDRESS, "0xe9", check_port, "its port; at 0x402 come the messages of SeaBIOS and OVMF"),
	KEY(pvclock, BOOL, "yes", NULL, "kvm-clock: the guest reads simulated time from a page, without an exit"),
	KEY_WORD(tsc, tsc_words, "auto",
	    "the guest's TSC: guest (simulated time; refused where the host's KVM cannot), host (the host's), auto (guest if possible)"),
	KEY_PS(tsc_bound, "1us", check_time, "tsc=guest: the TSC is set at an entry when it would be off by more"),
	KEY_WORD(assists, assists_words, "auto",
	    "what KVM on this host cannot do (see kvmbox-info): auto (the box completes it), no (it ends the run with a report)"),
	KEY(start_date, STRING, "2000-01-01T00:00:00", check_date, "RTC at time 0: YYYY-MM-DDTHH:MM:SS (UTC) or host"),
	KEY_PS(completion_timeout, "1s", check_time, "an access whose target takes longer fails; 0: never"),
	KEY(reset_ends, BOOL, "no", NULL, "guest reset ends the run instead of restarting the guest"),
	KEY_PS(bus_request, "0", check_time, "what any access to a BAR takes from CPU to device"),
	KEY_PS(bus_completion, "0", check_time, "what a read's data, or a non-posted write's completion, takes from device to CPU"),
	KEY_PS(posted_write, "0", check_time, "what a posted write costs the guest, whatever its target takes"),
	KEY(stats, BOOL, "no", NULL, "statistics of the run, as a table on stdout at the guest's end"),
	KEY(stats_json, PATH, "", NULL, "file to write them to as JSON at the guest's end"),
};

static const char *type_name(enum type type)
{
	static const char *const names[] = {
		[SIZE] = "size", [ADDRESS] = "address", [TIME] = "time", [BOOL] = "yes/no", [NUMBER] = "number", [COUNT] = "count",
		[WORD] = "word", [PATH] = "path", [STRING] = "text",
	};
	return names[type];
}

static size_t field_size(enum type type)
{
	switch (type) {
	case SIZE: case ADDRESS: case TIME:
		return sizeof(uint64_t);
	case BOOL:
		return sizeof(bool);
	case NUMBER:
		return sizeof(double);
	case COUNT: case WORD:
		return sizeof(unsigned);
	case PATH: case STRING:
		break;
	}
	return sizeof(char *);
}

static bool is_string(const struct key *key)
{
	return key->type == PATH || key->type == STRING;
}

static union value get(const struct kvmbox_config *cfg, const struct key *key)
{
	union value v = { 0 };

	memcpy(&v, (const char *)cfg + key->offset, field_size(key->type));
	return v;
}

static void put(struct kvmbox_config *cfg, const struct key *key, const union value *v)
{
	memcpy((char *)cfg + key->offset, v, field_size(key->type));
}

/* ---- unknown keys ---- */

#define NAME_MAX_LEN 32

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/* Levenshtein distance; a and b shorter than NAME_MAX_LEN. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[NAME_MAX_LEN], diagonal, up, i, j;
	unsigned len = (unsigned)strlen(b);

	for (j = 0; j <= len; j++)
		row[j] = j;
	for (i = 0; a[i]; i++) {
		diagonal = row[0];
		row[0] = i + 1;
		for (j = 0; j < len; j++) {
			up = row[j + 1];
			row[j + 1] = min3(up + 1, row[j] + 1, diagonal + (a[i] != b[j]));
			diagonal = up;
		}
	}
	return row[len];
}

/* A slip of the fingers, or one name within the other (quantum_ps, timeout). */
static bool is_near(const char *name, const char *known)
{
	size_t len = strlen(name);

	if (len < 2 || len >= NAME_MAX_LEN)
		return false;
	return distance(name, known) <= (len < 5 ? 1 : 2) || strncmp(name, known, strlen(known)) == 0 ||
	       (len > 2 && strstr(known, name));
}

static int unknown_key(const char *name, struct kvmbox_error *err)
{
	char list[ARRAY_SIZE(keys) * (NAME_MAX_LEN + 1) + 1] = "";
	bool near = false;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(keys); i++)
		near |= is_near(name, keys[i].name);
	for (i = 0; i < ARRAY_SIZE(keys); i++) {
		if (near && !is_near(name, keys[i].name))
			continue;
		strcat(list, " ");
		strcat(list, keys[i].name);
	}
	return kb_fail(err, EINVAL, "there is no key \"%.64s\"; %s:%s", name,
		       near ? "did you mean one of these" : "the keys are", list);
}

static const struct key *find_key(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(name, keys[i].name) == 0)
			return &keys[i];
	return NULL;
}

/* ---- values ---- */

/* Index of text in words; false if it is none of them. */
static bool find_word(const char *text, const char *const *words, unsigned *index)
{
	for (*index = 0; words[*index]; ++*index)
		if (strcasecmp(text, words[*index]) == 0)
			return true;
	return false;
}

/* Returns NULL, or what is wrong. A string value is malloc'ed. */
static const char *parse_value(const struct key *key, const char *text, union value *v)
{
	unsigned i;

	switch (key->type) {
	case SIZE: case ADDRESS:
		return kb_parse_size(text, &v->u64);
	case TIME:
		return kb_parse_time(text, &v->u64);
	case NUMBER:
		return kb_parse_double(text, &v->number);
	case COUNT:
		return kb_parse_count(text, &v->count);
	case BOOL:
		if (!find_word(text, bool_words, &i))
			return "write yes or no (or true/false, 1/0, on/off)";
		v->yes = i % 2;
		return NULL;
	case WORD:
		return find_word(text, key->words, &v->word) ? NULL : "no such word";
	case PATH: case STRING:
		break;
	}
	v->s = NULL;
	if (key->type == PATH && !*text)
		return NULL;
	v->s = strdup(text);
	return v->s ? NULL : "out of memory";
}

static int wrong_word(const struct key *key, const char *text, struct kvmbox_error *err)
{
	char list[128] = "";
	unsigned i;

	for (i = 0; key->words[i]; i++) {
		strcat(list, " ");
		strcat(list, key->words[i]);
	}
	return kb_fail(err, EINVAL, "%s=%.200s: must be one of:%s", key->name, text, list);
}

/* cmdline+=TEXT: so that a default can stay. */
static int append_cmdline(struct kvmbox_config *cfg, const char *text, struct kvmbox_error *err)
{
	const char *old = cfg->cmdline ? cfg->cmdline : "";
	char *both;

	if (asprintf(&both, "%s%s%s", old, *old && *text ? " " : "", text) < 0)
		return kb_fail(err, ENOMEM, "cmdline+=%.200s: out of memory", text);
	free(cfg->cmdline);
	cfg->cmdline = both;
	return 0;
}

int kvmbox_config_set(struct kvmbox_config *cfg, const char *name, const char *text, struct kvmbox_error *err)
{
	const struct key *key;
	union value v = { 0 }, old;
	const char *wrong;
	int rc;

	if (!name || !text)
		return kb_fail(err, EINVAL, "kvmbox_config_set: key and value must not be NULL");
	if (strcmp(name, "cmdline+") == 0)
		return append_cmdline(cfg, text, err);
	key = find_key(name);
	if (!key)
		return unknown_key(name, err);
	wrong = parse_value(key, text, &v);
	if (wrong && key->type == WORD)
		return wrong_word(key, text, err);
	if (wrong)
		return kb_fail(err, is_string(key) ? ENOMEM : EINVAL, "%s=%.200s: %s", name, text, wrong);
	rc = key->check ? key->check(key, &v, err) : 0;
	if (rc) {
		rc = kb_fail_in(err, rc, "%s=%.200s", name, text);
		if (is_string(key))
			free(v.s);
		return rc;
	}
	old = get(cfg, key);
	put(cfg, key, &v);
	if (is_string(key)) /* last: text may be the old value itself */
		free(old.s);
	return 0;
}

/* ---- whole configurations ---- */

void kvmbox_config_init(struct kvmbox_config *cfg)
{
	size_t i;

	memset(cfg, 0, sizeof(*cfg));
	/* Out of memory leaves a string NULL, which kb_config_check() reports. */
	for (i = 0; i < ARRAY_SIZE(keys); i++)
		kvmbox_config_set(cfg, keys[i].name, keys[i].standard, NULL);
}

void kvmbox_config_clear(struct kvmbox_config *cfg)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(keys); i++)
		if (is_string(&keys[i]))
			free(get(cfg, &keys[i]).s);
	memset(cfg, 0, sizeof(*cfg));
}

int kvmbox_config_copy(struct kvmbox_config *dst, const struct kvmbox_config *src)
{
	bool failed = false;
	size_t i;

	*dst = *src;
	for (i = 0; i < ARRAY_SIZE(keys); i++) {
		union value v = get(src, &keys[i]);

		if (!is_string(&keys[i]) || !v.s)
			continue;
		v.s = strdup(v.s);
		failed |= !v.s;
		put(dst, &keys[i], &v);
	}
	if (failed)
		kvmbox_config_clear(dst);
	return failed ? -ENOMEM : 0;
}

int kb_config_check(const struct kvmbox_config *cfg, struct kvmbox_error *err)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(keys); i++) {
		union value v = get(cfg, &keys[i]);
		int rc = keys[i].check ? keys[i].check(&keys[i], &v, err) : 0;

		if (rc)
			return rc;
	}
	return 0;
}

void kvmbox_config_help(FILE *out)
{
	int name = 3, standard = 7;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(keys); i++) {
		int n = (int)strlen(keys[i].name), s = (int)strlen(keys[i].standard);

		name = n > name ? n : name;
		standard = s > standard ? s : standard;
	}
	fprintf(out, "%-*s  %-7s  %-*s  %s\n", name, "key", "unit", standard, "default", "meaning");
	for (i = 0; i < ARRAY_SIZE(keys); i++)
		fprintf(out, "%-*s  %-7s  %-*s  %s\n", name, keys[i].name, type_name(keys[i].type), standard,
			*keys[i].standard ? keys[i].standard : "\"\"", keys[i].meaning);
}

/* ---- key=value ... ---- */

static bool is_blank(char c)
{
	return c && strchr(" \t\r\n\v\f", c);
}

static const char *skip_blanks_and_comments(const char *p)
{
	while (is_blank(*p) || *p == '#') {
		if (*p == '#')
			p += strcspn(p, "\n");
		else
			p++;
	}
	return p;
}

/* Copies one token without its quotes to out; returns its end, or NULL if a quote stays open. */
static const char *take_token(const char *p, char *out)
{
	char quote = 0;

	for (; *p && (quote || !is_blank(*p)); p++) {
		if (quote ? *p == quote : *p == '\'' || *p == '"')
			quote = quote ? 0 : *p;
		else
			*out++ = *p;
	}
	*out = 0;
	return quote ? NULL : p;
}

int kvmbox_config_parse(struct kvmbox_config *cfg, const char *text, struct kvmbox_error *err)
{
	const char *p, *start;
	char *token, *value;
	int rc = 0;

	if (!text)
		return kb_fail(err, EINVAL, "kvmbox_config_parse: the text is NULL");
	token = malloc(strlen(text) + 1);
	if (!token)
		return kb_fail(err, ENOMEM, "out of memory parsing the configuration");
	for (p = skip_blanks_and_comments(text); *p && !rc; p = skip_blanks_and_comments(p)) {
		start = p;
		p = take_token(p, token);
		if (!p) {
			rc = kb_fail(err, EINVAL, "a quote is not closed: %.100s", start);
			break;
		}
		value = strchr(token, '=');
		if (!value || value == token) {
			rc = kb_fail(err, EINVAL, "\"%.100s\" is not of the form key=value (no blanks around the =)", token);
			break;
		}
		*value++ = 0;
		rc = kvmbox_config_set(cfg, token, value, err);
	}
	free(token);
	return rc;
}
