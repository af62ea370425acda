/* Statistics as people and as programs read them: see kvmbox/kvmbox.h. */
#include <config.h> /* configure's: "config.h" would be this room's */

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include <kvmbox/kvmbox.h>

#include "vcpu/error.h"
#include "vcpu/histogram.h"
#include "vcpu/vcpu.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* ---- figures made of others ------------------------------------------------- */

uint64_t kvmbox_overshoot_limit(unsigned bucket)
{
	return kb_histogram_limit(bucket);
}

static uint64_t overshoots(const struct kvmbox_stats *s)
{
	uint64_t n = 0;
	unsigned i;

	for (i = 0; i < KVMBOX_OVERSHOOT_BUCKETS; i++)
		n += s->overshoot[i];
	return n;
}

uint64_t kvmbox_overshoot_quantile(const struct kvmbox_stats *s, double share)
{
	const double wanted = share * (double)overshoots(s);
	uint64_t seen = 0, limit;
	unsigned i;

	for (i = 0; i < KVMBOX_OVERSHOOT_BUCKETS; i++) {
		seen += s->overshoot[i];
		if (seen && (double)seen >= wanted)
			break;
	}
	if (i == 0 || !seen)
		return 0;
	limit = kb_histogram_limit(i);
	return limit < s->overshoot_max_ps ? limit : s->overshoot_max_ps;
}

double kvmbox_real_time_factor(const struct kvmbox_stats *s)
{
	return s->host_ns ? (double)s->simulated_ps / 1e3 / (double)s->host_ns : 0;
}

/* ---- the table ---------------------------------------------------------------- */

#define LABEL_WIDTH 24
#define VALUE_WIDTH 16
#define BAR_WIDTH 24

/* Digits in groups of three. */
static const char *count_text(char *buf, size_t size, uint64_t n)
{
	char digits[24];
	size_t len = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, n), i, o = 0;

	for (i = 0; i < len && o + 2 < size; i++) {
		if (i && (len - i) % 3 == 0)
			buf[o++] = ',';
		buf[o++] = digits[i];
	}
	buf[o] = 0;
	return buf;
}

/* Four digits and the unit that suits them. */
static const char *time_text(char *buf, size_t size, double ps)
{
	static const char *const units[] = { "ps", "ns", "us", "ms", "s" };
	size_t u = 0;

	while (u + 1 < ARRAY_SIZE(units) && ps >= 999.95) {
		ps /= 1000;
		u++;
	}
	snprintf(buf, size, "%.*f %s", u == 0 || ps >= 999.95 ? 0 : ps < 9.9995 ? 3 : ps < 99.995 ? 2 : 1, ps, units[u]);
	return buf;
}

static const char *bytes_text(char *buf, size_t size, uint64_t bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
	double n = (double)bytes / 1024;
	size_t u = 0;

	if (bytes < 1024) {
		snprintf(buf, size, "%u bytes", (unsigned)bytes);
		return buf;
	}
	while (u + 1 < ARRAY_SIZE(units) && n >= 1023.95) {
		n /= 1024;
		u++;
	}
	snprintf(buf, size, "%.1f %s", n, units[u]);
	return buf;
}

struct table {
	FILE *out;
	uint64_t whole; /* of the rows that are parts */
};

static void row(struct table *t, const char *label, const char *value, const char *note)
{
	fprintf(t->out, "%-*s%*s%s%s\n", LABEL_WIDTH, label, VALUE_WIDTH, value, *note ? "   " : "", note);
}

/* A part of the whole with its share in per cent and as a bar. */
static void part(struct table *t, const char *label, const char *value, uint64_t n)
{
	static const char bar[BAR_WIDTH + 1] = "########################";
	double share = t->whole ? (double)n / (double)t->whole : 0;
	int len = (int)(share * BAR_WIDTH + 0.5);

	fprintf(t->out, "  %-*s%*s  %5.1f %%%s%.*s\n", LABEL_WIDTH - 2, label, VALUE_WIDTH, value, share * 100, len ? "  " : "",
		len < BAR_WIDTH ? len : BAR_WIDTH, bar);
}

static void count_part(struct table *t, const char *label, uint64_t n)
{
	char text[32];

	if (n)
		part(t, label, count_text(text, sizeof(text), n), n);
}

static void count_row(struct table *t, const char *label, uint64_t n, const char *note)
{
	char text[32];

	row(t, label, count_text(text, sizeof(text), n), note);
}

static void host_part(struct table *t, const char *label, uint64_t ns)
{
	char text[32];

	if (ns)
		part(t, label, time_text(text, sizeof(text), (double)ns * 1e3), ns);
}

static void print_times(struct table *t, const struct kvmbox_stats *s)
{
	char text[32], note[64];

	snprintf(note, sizeof(note), "real-time factor %.4g", kvmbox_real_time_factor(s));
	row(t, "simulated time", time_text(text, sizeof(text), (double)s->simulated_ps), s->host_ns ? note : "");
	row(t, "host time", time_text(text, sizeof(text), (double)s->host_ns * 1e3), "");
	t->whole = s->host_ns;
	host_part(t, "guest", s->host_guest_ns);
	host_part(t, "stolen by the host", s->host_stolen_ns);
	host_part(t, "exits: KVM", s->host_kvm_ns);
	host_part(t, "exits: box", s->host_exits_ns - s->host_kvm_ns);
	host_part(t, "simulator", s->host_simulator_ns);
	host_part(t, "idle", s->host_idle_ns);
}

/* "12.3 us of host time each"; nothing if there are none. */
static const char *each(char *buf, size_t size, double ps, uint64_t n, const char *of)
{
	char text[32];

	*buf = 0;
	if (n)
		snprintf(buf, size, "%s %s each", time_text(text, sizeof(text), ps / (double)n), of);
	return buf;
}

static void print_exits(struct table *t, const struct kvmbox_stats *s)
{
	char note[64];

	count_row(t, "exits", s->exits, each(note, sizeof(note), (double)s->host_exits_ns * 1e3, s->exits, "of host time"));
	t->whole = s->exits;
	count_part(t, "memory access", s->exits_mmio);
	count_part(t, "port access", s->exits_pio);
	count_part(t, "HLT", s->exits_hlt);
	count_part(t, "kick", s->exits_kick);
	count_part(t, "interrupt window", s->exits_window);
	count_part(t, "MSR access", s->exits_msr);
	count_part(t, "single step", s->exits_step);
	count_part(t, "assist", s->exits_assist);
	count_part(t, "other", s->exits_other);
}

static void print_assists(struct table *t, const struct kvmbox_stats *s)
{
	t->whole = s->assists_syscall + s->assists_fault + s->assists_int + s->assists_xsave + s->assists_system + s->assists_integer +
		s->assists_native + s->assists_undefined;
	if (!t->whole)
		return;
	count_row(t, "assists", t->whole, "what KVM on this host cannot do");
	count_part(t, "system calls", s->assists_syscall);
	count_part(t, "page faults", s->assists_fault);
	count_part(t, "INT and IRET", s->assists_int);
	count_part(t, "XSAVE and XRSTOR", s->assists_xsave);
	count_part(t, "of kernels", s->assists_system);
	count_part(t, "integer", s->assists_integer);
	count_part(t, "vector, x87...", s->assists_native);
	count_part(t, "undefined", s->assists_undefined);
	fputc('\n', t->out);
}

static void print_slices(struct table *t, const struct kvmbox_stats *s)
{
	char note[64];

	count_row(t, "slices", s->slices, each(note, sizeof(note), (double)s->simulated_ps, s->slices, "of simulated time"));
	t->whole = s->slices;
	count_part(t, "access to a function", s->slices_access);
	count_part(t, "HLT", s->slices_halt);
	count_part(t, "chipset timer", s->slices_timer);
	count_part(t, "simulator's event", s->slices_event);
	count_part(t, "quantum", s->slices_quantum);
	count_part(t, "end of the run", s->slices_end);
	if (s->stalls)
		count_row(t, "  stalls", s->stalls, "too short to run in");
}

/* Overshoots by decade; the quantiles are made of finer buckets. */
static void print_overshoot(struct table *t, const struct kvmbox_stats *s)
{
	static const char *const labels[] = {
		"none", "below 1 ns", "below 10 ns", "below 100 ns", "below 1 us", "below 10 us", "below 100 us", "below 1 ms",
		"below 10 ms", "below 100 ms", "below 1 s", "below 10 s", "10 s and more",
	};
	char median[32], p99[32], max[32];
	unsigned i, bucket = 0;
	uint64_t limit = 1, n;

	t->whole = overshoots(s);
	count_row(t, "kicked slices", t->whole, "");
	fprintf(t->out, "  overshoot: median %s, 99 %% within %s, longest %s\n",
		time_text(median, sizeof(median), (double)kvmbox_overshoot_quantile(s, 0.5)),
		time_text(p99, sizeof(p99), (double)kvmbox_overshoot_quantile(s, 0.99)),
		time_text(max, sizeof(max), (double)s->overshoot_max_ps));
	for (i = 0; i < ARRAY_SIZE(labels); i++) {
		for (n = 0; bucket < KVMBOX_OVERSHOOT_BUCKETS && kb_histogram_limit(bucket) <= limit; bucket++)
			n += s->overshoot[bucket];
		count_part(t, labels[i], n);
		limit = i == 0 ? 1000 : i + 2 < ARRAY_SIZE(labels) ? limit * 10 : UINT64_MAX;
	}
}

static void print_devices(struct table *t, const struct kvmbox_stats *s)
{
	char text[32];

	if (s->steps)
		count_row(t, "instructions stepped", s->steps, "");
	count_row(t, "interrupts", s->interrupts, "");
	if (s->msis)
		count_row(t, "MSIs", s->msis, "");
	if (s->nmis)
		count_row(t, "NMIs", s->nmis, "");
	count_row(t, "accesses to functions", s->transports, "");
	if (s->transport_errors)
		count_row(t, "  failed", s->transport_errors, "");
	if (s->unassigned)
		count_row(t, "accesses to nobody", s->unassigned, "");
	if (s->dma_bytes || s->dma_errors)
		row(t, "DMA", bytes_text(text, sizeof(text), s->dma_bytes), "");
	if (s->dma_errors)
		count_row(t, "  failed", s->dma_errors, "");
}

void kvmbox_stats_print(const struct kvmbox_stats *s, FILE *out)
{
	struct table t = { .out = out };

	print_times(&t, s);
	fputc('\n', out);
	print_exits(&t, s);
	fputc('\n', out);
	print_assists(&t, s);
	print_slices(&t, s);
	fputc('\n', out);
	if (overshoots(s)) {
		print_overshoot(&t, s);
		fputc('\n', out);
	}
	print_devices(&t, s);
}

/* ---- JSON ------------------------------------------------------------------------ */

#define FIELD(name) { #name, offsetof(struct kvmbox_stats, name) }

static const struct {
	const char *name;
	size_t offset;
} fields[] = {
	FIELD(guest_ps), FIELD(simulated_ps),
	FIELD(host_ns), FIELD(host_guest_ns), FIELD(host_stolen_ns), FIELD(host_exits_ns), FIELD(host_simulator_ns), FIELD(host_idle_ns),
	FIELD(host_kvm_ns),
	FIELD(entries), FIELD(exits), FIELD(exits_mmio), FIELD(exits_pio), FIELD(exits_hlt), FIELD(exits_kick),
	FIELD(exits_window), FIELD(exits_msr), FIELD(exits_step), FIELD(exits_assist), FIELD(exits_other),
	FIELD(slices), FIELD(slices_quantum), FIELD(slices_timer), FIELD(slices_event), FIELD(slices_access),
	FIELD(slices_halt), FIELD(slices_end), FIELD(stalls), FIELD(yields),
	FIELD(assists_syscall), FIELD(assists_fault), FIELD(assists_int), FIELD(assists_xsave), FIELD(assists_system),
	FIELD(assists_integer), FIELD(assists_native), FIELD(assists_undefined),
	FIELD(steps), FIELD(interrupts), FIELD(nmis), FIELD(msis), FIELD(transports), FIELD(transport_errors), FIELD(dma_bytes),
	FIELD(dma_errors), FIELD(unassigned), FIELD(overshoot_max_ps),
};

_Static_assert((ARRAY_SIZE(fields) + KVMBOX_OVERSHOOT_BUCKETS) * sizeof(uint64_t) == sizeof(struct kvmbox_stats),
	       "every field is in the table");

static json_t *number(uint64_t n)
{
	return n <= INT64_MAX ? json_integer((json_int_t)n) : json_real((double)n);
}

/* Takes buckets that are empty out. */
static json_t *histogram(const struct kvmbox_stats *s)
{
	json_t *array = json_array();
	bool failed = !array;
	unsigned i;

	for (i = 0; i < KVMBOX_OVERSHOOT_BUCKETS && !failed; i++) {
		uint64_t limit = kb_histogram_limit(i);

		if (s->overshoot[i])
			failed = json_array_append_new(array, json_pack("{s:o, s:o}",
				"below_ps", limit == UINT64_MAX ? json_null() : number(limit), "count", number(s->overshoot[i])));
	}
	if (!failed)
		return array;
	json_decref(array);
	return NULL;
}

static json_t *to_json(const struct kvmbox_stats *s)
{
	json_t *o = json_object();
	bool failed = json_object_set_new(o, "version", json_string(PACKAGE_VERSION));
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		uint64_t value;

		memcpy(&value, (const char *)s + fields[i].offset, sizeof(value));
		failed |= json_object_set_new(o, fields[i].name, number(value));
	}
	failed |= json_object_set_new(o, "real_time_factor", json_real(kvmbox_real_time_factor(s)));
	failed |= json_object_set_new(o, "overshoots", number(overshoots(s)));
	failed |= json_object_set_new(o, "overshoot_median_ps", number(kvmbox_overshoot_quantile(s, 0.5)));
	failed |= json_object_set_new(o, "overshoot_p99_ps", number(kvmbox_overshoot_quantile(s, 0.99)));
	failed |= json_object_set_new(o, "overshoot", histogram(s));
	if (!failed)
		return o;
	json_decref(o);
	return NULL;
}

int kvmbox_stats_write_json(const struct kvmbox_stats *s, const char *path, struct kvmbox_error *err)
{
	json_t *o = to_json(s);
	FILE *f;
	int code = 0;

	errno = 0;
	if (!o)
		return kb_fail(err, ENOMEM, "out of memory writing the statistics to %s", path);
	f = fopen(path, "we");
	if (!f || json_dumpf(o, f, JSON_INDENT(2)) < 0 || fputc('\n', f) == EOF)
		code = errno ? errno : EIO;
	if (f && fclose(f) && !code)
		code = errno;
	json_decref(o);
	if (code)
		return kb_fail(err, code, "cannot write the statistics to %s: %s; check the path and the space there", path, strerror(code));
	return 0;
}
