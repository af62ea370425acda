// SPDX-License-Identifier: GPL-2.0
/*
 * The quick init, for tests: loads /kvmbox_accel.ko, runs /accel_test, with kvmbox.test=clock on the kernel's command line also
 * /delay_test.ko and /clock_test, unloads the driver, shows what the kernel complained of, powers off. Built with the kernel's nolibc, because a shell's forks and execs cost seconds where ring 0 is emulated. Its last line is
 * "autotest: passed" or "autotest: failed: why".
 */
#include <linux/fcntl.h>

static const char *failure;

static void fail(const char *what)
{
	printf("autotest: %s: errno %d\n", what, errno);
	if (!failure)
		failure = what;
}

/* For system calls nolibc has no function for. */
static long checked(long result, const char *what)
{
	if (result < 0) {
		errno = (int)-result;
		fail(what);
	}
	return result;
}

static void load(const char *module, const char *parameters)
{
	int fd = open(module, O_RDONLY, 0);

	if (fd < 0) {
		fail(module);
		return;
	}
	checked(my_syscall3(__NR_finit_module, fd, parameters, 0), "finit_module");
	close(fd);
}

static int run(char *program)
{
	char *argv[] = { program, NULL }, *envp[] = { NULL };
	int status = -1;
	pid_t child = fork();

	if (child == 0) {
		execve(program, argv, envp);
		fail("execve");
		exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		fail("fork or wait");
	return status;
}

/* The kernel's warnings and worse: a line "complaint LEVEL TEXT" each. */
static void show_complaints(void)
{
	static char log[1 << 18];
	int size = checked(my_syscall3(__NR_syslog, 3 /* SYSLOG_ACTION_READ_ALL */, log, sizeof(log) - 1), "syslog");
	char *line = log, *end;

	log[size < 0 ? 0 : size] = 0;
	for (; *line; line = end) {
		int level = *line == '<' ? atoi(line + 1) & 7 : 7;
		char *text = strchr(line, ']');

		end = strchr(line, '\n');
		if (!end)
			return;
		*end++ = 0;
		if (level <= 4)
			printf("complaint %d%s\n", level, text ? text + 1 : line);
	}
}

/* delay_test.ko says ECANCELED when it has printed its lines. */
static void test_delays(void)
{
	int fd = open("/delay_test.ko", O_RDONLY, 0);

	if (fd < 0 || my_syscall3(__NR_finit_module, fd, "", 0) != -ECANCELED)
		fail("delay_test.ko");
	close(fd);
}

/* Is the word on the kernel's command line? */
static int wanted(const char *word)
{
	static char text[4096];
	const size_t length = strlen(word);
	int fd = open("/proc/cmdline", O_RDONLY, 0);
	char *at;

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		fail("/proc/cmdline");
	close(fd);
	for (at = text; at; at = strchr(at, ' ')) {
		while (*at == ' ')
			at++;
		if (strncmp(at, word, length) == 0 && (at[length] == ' ' || at[length] == '\n' || !at[length]))
			return 1;
	}
	return 0;
}

int main(void)
{
	printf("autotest: hello\n");
	if (mount("proc", "/proc", "proc", 0, NULL) || mount("sysfs", "/sys", "sysfs", 0, NULL) ||
	    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL))
		fail("mount");
	load("/kvmbox_accel.ko", "timeout_ms=2000");
	if (run("/accel_test") != 0)
		fail("accel_test");
	if (wanted("kvmbox.test=clock")) {
		test_delays();
		if (run("/clock_test") != 0)
			fail("clock_test");
	}
	checked(my_syscall2(__NR_delete_module, "kvmbox_accel", O_NONBLOCK), "delete_module");
	show_complaints();
	if (failure)
		printf("autotest: failed: %s\n", failure);
	else
		printf("autotest: passed\n");
	reboot(LINUX_REBOOT_CMD_POWER_OFF);
	return 1;
}
