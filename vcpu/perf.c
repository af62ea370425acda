/* Performance counters of the guest: see perf.h. */
#include "vcpu/perf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int linux_open(struct perf_event_attr *attr, pid_t pid, int cpu, int group, unsigned long flags)
{
	return (int)syscall(SYS_perf_event_open, attr, pid, cpu, group, flags);
}

static int linux_notify(int fd, int sig, pid_t tid)
{
	struct f_owner_ex owner = { .type = F_OWNER_TID, .pid = tid };

	if (fcntl(fd, F_SETOWN_EX, &owner) < 0 || fcntl(fd, F_SETSIG, sig) < 0)
		return -1;
	return fcntl(fd, F_SETFL, O_ASYNC);
}

static int linux_period(int fd, uint64_t events)
{
	return ioctl(fd, PERF_EVENT_IOC_PERIOD, &events);
}

const struct kb_perf_api kb_perf_linux = {
	.open = linux_open, .read = read, .close = close, .devices = "/sys/bus/event_source/devices",
	.paranoid = "/proc/sys/kernel/perf_event_paranoid", .notify = linux_notify, .period = linux_period,
};

/* An overflow that does not come: a counter that is to be armed later has to have some. */
#define NEVER (1ull << 47)

/* One small number in a file; -1: there is none. */
static long read_number(const char *path)
{
	FILE *f = fopen(path, "re");
	long n;

	if (!f)
		return -1;
	if (fscanf(f, "%ld", &n) != 1)
		n = -1;
	fclose(f);
	return n;
}

/*
 * The PMU types of the core types, as PERF_TYPE_HARDWARE events of a hybrid CPU name them in their upper half (perf_event_open(2),
 * PERF_PMU_TYPE_SHIFT). Core PMUs are those with a file "cpus"; a CPU with cores of one type has none and takes 0.
 */
static int core_types(const struct kb_perf_api *api, uint64_t types[KB_PERF_PMUS])
{
	DIR *dir = opendir(api->devices);
	const struct dirent *e;
	char path[512];
	int n = 0;

	while (dir && n < KB_PERF_PMUS && (e = readdir(dir))) {
		long type;

		if (strncmp(e->d_name, "cpu_", 4) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s/cpus", api->devices, e->d_name);
		if (access(path, R_OK) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s/type", api->devices, e->d_name);
		type = read_number(path);
		if (type > 0)
			types[n++] = (uint64_t)type;
	}
	if (dir)
		closedir(dir);
	if (n == 0)
		types[n++] = 0;
	return n;
}

static int failed(const struct kb_perf_api *api, int code, struct kvmbox_error *err)
{
	switch (code) {
	case EACCES:
	case EPERM:
		return kb_fail(err, code,
			       "no permission to count what the guest executes: kernel.perf_event_paranoid is %ld and must be 1 or less (sysctl kernel.perf_event_paranoid=1), or the program needs CAP_PERFMON; a container's seccomp profile may forbid perf_event_open altogether. clock=tsc needs none of this",
			       read_number(api->paranoid));
	case ENOENT:
	case ENODEV:
	case ENXIO:
	case EOPNOTSUPP:
	case ENOSYS:
	case EINVAL:
		return kb_fail(err, code,
			       "this host has no performance counters that count a guest (perf_event_open: %s), as is usual in cloud machines: use clock=tsc, or clock=step or fixed for runs that repeat exactly",
			       strerror(code));
	case EMFILE:
		return kb_fail(err, code, "too many open files for the performance counters: raise ulimit -n");
	default:
		return kb_fail(err, code, "cannot open the performance counters: %s", strerror(code));
	}
}

static int open_counters(struct kb_perf *p, const struct kb_perf_api *api, enum kb_perf_event event, uint64_t period,
			 struct kvmbox_error *err)
{
	uint64_t types[KB_PERF_PMUS];
	int i, n = core_types(api, types);

	*p = (struct kb_perf){ .api = api };
	for (i = 0; i < n; i++) {
		struct perf_event_attr attr = {
			.type = PERF_TYPE_HARDWARE, .size = sizeof(attr),
			.config = (__u64)types[i] << 32 |
				(event == KB_PERF_CYCLES ? PERF_COUNT_HW_CPU_CYCLES : PERF_COUNT_HW_INSTRUCTIONS),
			/* Pinned: always on the PMU or in an error, never an estimate. On a hybrid CPU each sleeps elsewhere. */
			.exclude_host = 1, .pinned = n == 1, .sample_period = period,
		};
		int fd = api->open(&attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);

		if (fd < 0) {
			int code = errno;

			kb_perf_close(p);
			return failed(api, code, err);
		}
		p->fd[p->fds++] = fd;
	}
	return 0;
}

int kb_perf_open(struct kb_perf *p, const struct kb_perf_api *api, enum kb_perf_event event, struct kvmbox_error *err)
{
	return open_counters(p, api, event, 0, err);
}

int kb_perf_open_overflow(struct kb_perf *p, const struct kb_perf_api *api, enum kb_perf_event event, int sig, pid_t tid,
			  struct kvmbox_error *err)
{
	int i, rc = open_counters(p, api, event, NEVER, err);

	for (i = 0; !rc && i < p->fds; i++)
		if (api->notify(p->fd[i], sig, tid) < 0)
			rc = kb_fail(err, errno, "the performance counters' overflow cannot be made a signal: %s", strerror(errno));
	if (rc)
		kb_perf_close(p);
	return rc;
}

int kb_perf_arm(const struct kb_perf *p, uint64_t events)
{
	int i;

	for (i = 0; i < p->fds; i++)
		if (p->api->period(p->fd[i], events) < 0)
			return -errno;
	return 0;
}

void kb_perf_close(struct kb_perf *p)
{
	while (p->fds)
		p->api->close(p->fd[--p->fds]);
}

int kb_perf_read(const struct kb_perf *p, uint64_t *count)
{
	int i;

	*count = 0;
	for (i = 0; i < p->fds; i++) {
		uint64_t n;

		if (p->api->read(p->fd[i], &n, sizeof(n)) != (ssize_t)sizeof(n))
			return -EIO;
		*count += n;
	}
	return 0;
}
