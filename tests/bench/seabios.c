/*
 * From the start of the program to SeaBIOS's boot prompt without a disk ("No bootable device"): the box against
 * qemu-system-x86_64 with KVM, alternating. Prints "name value unit" lines, medians.
 *
 *	seabios [RUNS]
 *	seabios box       one run in this process, its COM1 on stdout; never ends by itself
 *
 * The same firmware file, RAM and console (serial, through SeaBIOS's sercon); no menu, no disk, no display, no
 * keyboard controller, no SMM on either side. What differs: QEMU's PC has the functions of its PIIX3 and PIIX4 for SeaBIOS
 * to set up, and a DSDT about twice as long for it to parse.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <kvmbox/kvmbox.h>

#define SEABIOS "/usr/share/seabios/bios-256k.bin"
#define PROMPT "No bootable device"
#define TIME_LIMIT_S 120u
#define RUNS_MAX 99

/* ---- the box ------------------------------------------------------------------ */

static int check_wait(void *opaque, uint64_t t_ps, enum kvmbox_wait how)
{
	uint64_t *now_ps = opaque;

	(void)how;
	if (t_ps == KVMBOX_TIME_NEVER)
		return -1;
	if (t_ps > *now_ps)
		*now_ps = t_ps;
	return 0;
}

static uint64_t now(void *opaque)
{
	return *(uint64_t *)opaque;
}

static int no_target(void *opaque, struct kvmbox_access *access)
{
	(void)opaque, (void)access;
	return -ENODEV;
}

static int run_box(void)
{
	static const struct kvmbox_ops ops = { .check_wait = check_wait, .now = now, .transport = no_target };
	struct kvmbox_config cfg;
	struct kvmbox_error err = { 0 };
	struct kvmbox_box *box = NULL;
	uint64_t now_ps = 0;
	int rc;

	kvmbox_config_init(&cfg);
	rc = kvmbox_config_parse(&cfg, "ram=64M guest_format=reset serial=stdio guest=" SEABIOS, &err);
	if (!rc)
		rc = kvmbox_create(&box, &cfg, &ops, &now_ps, &err);
	if (!rc)
		rc = kvmbox_run(box, &err);
	if (rc)
		fprintf(stderr, "seabios: %s\n", err.msg);
	kvmbox_destroy(box);
	kvmbox_config_clear(&cfg);
	return rc != 0;
}

/* ---- measuring ------------------------------------------------------------------ */

struct result {
	double wall_s, cpu_s;
};

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Reads until the prompt comes; false: the program ended before. */
static bool await_prompt(int fd)
{
	char text[16384];
	size_t len = 0;
	ssize_t n;

	while (len < sizeof(text) - 1 && (n = read(fd, text + len, sizeof(text) - 1 - len)) > 0) {
		len += (size_t)n;
		text[len] = 0;
		if (strstr(text, PROMPT))
			return true;
	}
	return false;
}

static void start(char **argv, const int out[2])
{
	close(out[0]);
	dup2(out[1], STDOUT_FILENO);
	alarm(TIME_LIMIT_S); /* survives the exec */
	execvp(argv[0], argv);
	_exit(127);
}

static bool measure(char **argv, struct result *r)
{
	double begin = seconds();
	struct rusage usage;
	int out[2], status;
	bool ok;
	pid_t pid;

	if (pipe(out))
		return false;
	pid = fork();
	if (!pid)
		start(argv, out);
	close(out[1]);
	ok = pid > 0 && await_prompt(out[0]);
	r->wall_s = seconds() - begin;
	close(out[0]);
	if (pid <= 0)
		return false;
	kill(pid, SIGKILL);
	wait4(pid, &status, 0, &usage);
	r->cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
	return ok;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), compare);
	return v[n / 2];
}

/* Returns the median wall time. */
static void report(const char *who, const struct result *r, unsigned runs, struct result *medians)
{
	double wall[RUNS_MAX], cpu[RUNS_MAX];

	for (unsigned i = 0; i < runs; i++) {
		wall[i] = r[i].wall_s;
		cpu[i] = r[i].cpu_s;
	}
	*medians = (struct result){ median(wall, runs), median(cpu, runs) };
	printf("seabios.%s %.3f s\n", who, medians->wall_s);
	printf("seabios.%s.min %.3f s\n", who, wall[0]);
	printf("seabios.%s.max %.3f s\n", who, wall[runs - 1]);
	printf("seabios.%s.cpu %.3f s\n", who, medians->cpu_s);
}

static bool has_qemu(void)
{
	return system("qemu-system-x86_64 --version >/dev/null 2>&1") == 0;
}

static int compare_with_qemu(char *self, unsigned runs)
{
	char *box_argv[] = { self, (char *)"box", NULL };
	char *qemu_argv[] = {
		(char *)"qemu-system-x86_64", (char *)"-accel", (char *)"kvm",
		(char *)"-machine", (char *)"pc,graphics=off,i8042=off,smm=off,usb=off,vmport=off", (char *)"-nodefaults",
		(char *)"-display", (char *)"none", (char *)"-serial", (char *)"stdio", (char *)"-m", (char *)"64",
		(char *)"-bios", (char *)SEABIOS, NULL,
	};
	struct result box[RUNS_MAX], qemu[RUNS_MAX], box_median, qemu_median;
	bool with_qemu = has_qemu();

	for (unsigned i = 0; i < runs; i++) {
		if (!measure(box_argv, &box[i])) {
			fprintf(stderr, "seabios: the box did not come to the prompt\n");
			return 1;
		}
		if (with_qemu && !measure(qemu_argv, &qemu[i])) {
			fprintf(stderr, "seabios: QEMU did not come to the prompt\n");
			with_qemu = false;
		}
	}
	report("box", box, runs, &box_median);
	if (!with_qemu) {
		fprintf(stderr, "seabios: nothing to compare with (Debian: apt-get install qemu-system-x86)\n");
		return 0;
	}
	report("qemu", qemu, runs, &qemu_median);
	printf("seabios.ratio %.3f x\n", box_median.wall_s / qemu_median.wall_s);
	printf("seabios.cpu.ratio %.3f x\n", box_median.cpu_s / qemu_median.cpu_s);
	return 0;
}

int main(int argc, char **argv)
{
	int runs = argc > 1 ? atoi(argv[1]) : 5;

	if (argc > 1 && !strcmp(argv[1], "box"))
		return run_box();
	if (runs < 1 || runs > RUNS_MAX) {
		fprintf(stderr, "usage: seabios [1-%d | box]\n", RUNS_MAX);
		return 2;
	}
	if (access(SEABIOS, R_OK) || access("/dev/kvm", R_OK | W_OK)) {
		fprintf(stderr, "seabios: skipped, needs /dev/kvm and " SEABIOS " (Debian: apt-get install seabios)\n");
		return 0;
	}
	return compare_with_qemu(argv[0], (unsigned)runs);
}
