/*
 * Counting what a thread's guests execute, by the host's performance counters (perf_event_open(2)): guest code only
 * (exclude_host), whatever core type the thread runs on.
 */
#ifndef KB_PERF_H
#define KB_PERF_H

#include <linux/perf_event.h>
#include <stdint.h>
#include <sys/types.h>

#include "vcpu/error.h"

/* The system calls, so that a test can play a PMU. Same results as the calls: -1 and errno on failure. */
struct kb_perf_api {
	int (*open)(struct perf_event_attr *attr, pid_t pid, int cpu, int group, unsigned long flags);
	ssize_t (*read)(int fd, void *buf, size_t len);
	int (*close)(int fd);
	const char *devices; /* /sys/bus/event_source/devices, or a test's own folder */
	const char *paranoid; /* /proc/sys/kernel/perf_event_paranoid */
	/* Overflows of fd send sig to the thread; the next one comes after so many events. */
	int (*notify)(int fd, int sig, pid_t tid);
	int (*period)(int fd, uint64_t events);
};

extern const struct kb_perf_api kb_perf_linux;

enum kb_perf_event { KB_PERF_CYCLES, KB_PERF_INSNS };

/* Core types of one CPU; hybrid CPUs have two or three. */
#define KB_PERF_PMUS 4

struct kb_perf {
	const struct kb_perf_api *api;
	int fd[KB_PERF_PMUS];
	int fds;
};

/*
 * Counters for the calling thread, running. On failure nothing is open. -ENOENT, -EOPNOTSUPP, -ENODEV...: no PMU here;
 * -EACCES, -EPERM: not allowed; the message says what to do.
 */
int kb_perf_open(struct kb_perf *p, const struct kb_perf_api *api, enum kb_perf_event event, struct kvmbox_error *err);
/*
 * The same, counters that can overflow: sig then goes to the thread tid, the caller, and ends its KVM_RUN. None comes before
 * kb_perf_arm().
 */
int kb_perf_open_overflow(struct kb_perf *p, const struct kb_perf_api *api, enum kb_perf_event event, int sig, pid_t tid,
			  struct kvmbox_error *err);
/* Each counter overflows after so many of its events from now on, not 0, and again. Negative errno. */
int kb_perf_arm(const struct kb_perf *p, uint64_t events);
/* Harmless when not open (all 0). */
void kb_perf_close(struct kb_perf *p);
/* Events so far, into *count. -EIO: the PMU is taken away (pinned counters, another user). */
int kb_perf_read(const struct kb_perf *p, uint64_t *count);

#endif
