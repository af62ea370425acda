// SPDX-License-Identifier: GPL-2.0
/*
 * The quick init, for tests: loads /kvmbox_accel.ko, runs /accel_test, unloads the driver, powers off. Built with the
 * kernel's nolibc, because a shell's forks and execs cost seconds where ring 0 is emulated. Its last line is
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

int main(void)
{
	printf("autotest: hello\n");
	if (mount("proc", "/proc", "proc", 0, NULL) || mount("sysfs", "/sys", "sysfs", 0, NULL) ||
	    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL))
		fail("mount");
	load("/kvmbox_accel.ko", "timeout_ms=2000");
	if (run("/accel_test") != 0)
		fail("accel_test");
	checked(my_syscall2(__NR_delete_module, "kvmbox_accel", O_NONBLOCK), "delete_module");
	if (failure)
		printf("autotest: failed: %s\n", failure);
	else
		printf("autotest: passed\n");
	reboot(LINUX_REBOOT_CMD_POWER_OFF);
	return 1;
}
