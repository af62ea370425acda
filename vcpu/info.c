/*
 * kvmbox-info: can this host run the box, and what is lost where it cannot do
 * all? Prints what kvmbox_probe() found, for people or as JSON. See kvmbox-info(1).
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <kvmbox/probe.h>
#include "vcpu/cpu_model.h"

#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

static const char *yes_no(bool yes)
{
	return yes ? "yes" : "no";
}

/* Picoseconds as microseconds with one digit. */
static void print_us(const char *what, uint64_t ps)
{
	if (ps)
		printf("%-18s %" PRIu64 ".%" PRIu64 " us\n", what, ps / 1000000, ps / 100000 % 10);
	else
		printf("%-18s not measured\n", what);
}

/* In, out: median (least). */
static void print_parts(const struct kvmbox_probe_result *p, int i)
{
	if (p->leave_ps[i])
		printf("%-18s %.1f us in (at least %.1f), %.1f us out (at least %.1f)\n", "  of this",
		       (double)p->enter_ps[i] / 1e6, (double)p->enter_min_ps[i] / 1e6, (double)p->leave_ps[i] / 1e6,
		       (double)p->leave_min_ps[i] / 1e6);
	else
		printf("%-18s way in and way out not known\n", "  of this");
}

static void print_caps(const struct kvmbox_probe_result *p)
{
	size_t i, width = 0;

	for (i = 0; i < p->caps; i++)
		if (strlen(p->cap[i].name) > width)
			width = strlen(p->cap[i].name);
	for (i = 0; i < p->caps; i++) {
		const struct kvmbox_capability *c = &p->cap[i];

		printf("  %-*s  %-3s  %s", (int)width, c->name, yes_no(c->present), c->purpose);
		if (!c->present)
			printf("\n  %-*s       %swithout: %s", (int)width, "", c->required ? "REQUIRED; " : "", c->without);
		putchar('\n');
	}
}

/* What assists=auto switches on. */
static void print_assists(const struct kvmbox_probe_result *p)
{
	const bool needed[] = { !p->syscalls, !p->ring0_insns, !p->hypercalls };
	static const char *const names[] = { "ring 3 system calls", "ring 0 instructions", "hypercalls" };
	const char *sep = "";
	size_t i;

	printf("%-18s ", "assists needed");
	for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (needed[i]) {
			printf("%s%s", sep, names[i]);
			sep = ", ";
		}
	printf("%s\n", *sep ? "" : "none");
}

static void print_text(const struct kvmbox_probe_result *p)
{
	printf("%-18s %s\n", "KVM backend", p->backend);
	printf("%-18s %s\n", "usable", yes_no(p->usable));
	if (!p->usable) {
		printf("%-18s %s.\n", "because", p->why_not.msg);
		if (!p->api_version) /* no KVM at all: a list of noes says nothing more */
			return;
	}
	if (p->tsc_khz)
		printf("%-18s %" PRIu32 ".%03" PRIu32 " MHz\n", "guest TSC", p->tsc_khz / 1000, p->tsc_khz % 1000);
	else
		printf("%-18s frequency unknown\n", "guest TSC");
	print_us("exit from ring 0", p->exit_ps[0]);
	print_parts(p, 0);
	print_us("exit from ring 3", p->exit_ps[1]);
	print_parts(p, 1);
	print_us("kick by signal", p->kick_ps);
	print_assists(p);
	printf("\n");
	print_caps(p);
}

/* RFC 8259 section 7. Bytes above 0x7f pass as they are. */
static void json_string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void json_member(const char *indent, const char *key, const char *value)
{
	printf("%s\"%s\": ", indent, key);
	json_string(value);
	printf(",\n");
}

static const char *json_bool(bool yes)
{
	return yes ? "true" : "false";
}

static void json_cap(const struct kvmbox_capability *c, bool last)
{
	printf("    {\n");
	json_member("      ", "name", c->name);
	json_member("      ", "purpose", c->purpose);
	json_member("      ", "without", c->without);
	printf("      \"present\": %s,\n      \"required\": %s,\n      \"value\": %d\n    }%s\n",
	       json_bool(c->present), json_bool(c->required), c->value, last ? "" : ",");
}

static void json_pair(const char *key, const uint64_t value[2])
{
	printf("  \"%s\": [%" PRIu64 ", %" PRIu64 "],\n", key, value[0], value[1]);
}

static void print_json(const struct kvmbox_probe_result *p)
{
	size_t i;

	printf("{\n");
	json_member("  ", "version", PACKAGE_VERSION);
	json_member("  ", "backend", p->backend);
	printf("  \"usable\": %s,\n", json_bool(p->usable));
	json_member("  ", "why_not", p->usable ? "" : p->why_not.msg);
	printf("  \"api_version\": %d,\n", p->api_version);
	printf("  \"tsc_khz\": %" PRIu32 ",\n", p->tsc_khz);
	printf("  \"ring0_native\": %s,\n", json_bool(p->ring0_native));
	printf("  \"assists\": {\"syscall\": %s, \"insns\": %s, \"hypercall\": %s},\n", json_bool(!p->syscalls), json_bool(!p->ring0_insns),
	       json_bool(!p->hypercalls));
	json_pair("exit_ps", p->exit_ps);
	json_pair("enter_min_ps", p->enter_min_ps);
	json_pair("enter_ps", p->enter_ps);
	json_pair("leave_min_ps", p->leave_min_ps);
	json_pair("leave_ps", p->leave_ps);
	printf("  \"kick_ps\": %" PRIu64 ",\n  \"capabilities\": [\n", p->kick_ps);
	for (i = 0; i < p->caps; i++)
		json_cap(&p->cap[i], i + 1 == p->caps);
	printf("  ]\n}\n");
}

static void print_help(FILE *out)
{
	fprintf(out,
		"Usage: kvmbox-info [OPTION]\n"
		"Says whether this host's KVM can run kvmbox, and what is lost where it lacks something.\n"
		"\n"
		"  -c, --cpus     list the CPU models of cpu=, and what each would lack on this host\n"
		"  -j, --json     print JSON\n"
		"  -h, --help     print this and exit\n"
		"  -V, --version  print the version and exit\n"
		"\n"
		"Exit status: 0 usable, 1 not usable, 2 wrong use.\n");
}

static int print_cpus(void)
{
	static struct kb_cpuid host, table;
	char missing[KB_CPU_MISSING_MAX];
	struct kvmbox_error err;
	int fd = kb_kvm_open(&kb_kvm_linux, &err), rc = fd < 0 ? fd : kb_cpuid_supported(&host, &kb_kvm_linux, fd, &err);
	size_t i;

	for (i = 0; !rc && kb_cpu_model_name(i); i++) {
		table = host;
		rc = kb_cpu_apply(&table, kb_cpu_model_name(i), missing, &err);
		printf("%-16s %s\n", kb_cpu_model_name(i), kb_cpu_model_about(i));
		if (!rc && missing[0])
			printf("%-16s   KVM on this host does not offer: %s\n", "", missing);
	}
	if (fd >= 0)
		kb_kvm_linux.close(fd);
	if (rc)
		fprintf(stderr, "kvmbox-info: %s\n", err.msg);
	return rc ? 1 : 0;
}

/* What was printed must have arrived, else status says so. */
static int finish(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	perror("kvmbox-info: standard output");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "cpus", no_argument, NULL, 'c' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	static struct kvmbox_probe_result probe;
	void (*print)(const struct kvmbox_probe_result *) = print_text;
	int c;

	while ((c = getopt_long(argc, argv, "cjhV", options, NULL)) != -1)
		switch (c) {
		case 'c':
			return finish(print_cpus());
		case 'j':
			print = print_json;
			break;
		case 'h':
			print_help(stdout);
			return finish(0);
		case 'V':
			printf("kvmbox-info %s\n", PACKAGE_VERSION);
			return finish(0);
		default:
			print_help(stderr);
			return 2;
		}
	if (optind < argc) {
		fprintf(stderr, "kvmbox-info: unexpected argument '%s'\n", argv[optind]);
		print_help(stderr);
		return 2;
	}
	kvmbox_probe(&probe);
	print(&probe);
	return finish(probe.usable ? 0 : 1);
}
