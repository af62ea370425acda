/* Getting a vCPU out of the guest: see kick.h. */
#include "vcpu/kick.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vcpu/clock.h"

/* Should one signal come to nothing (a debugger or a sanitizer defers it), the next one follows soon. */
#define BACKSTOP_NS 20000000l

static void on_signal(int sig, siginfo_t *info, void *context)
{
	struct kb_kick *k = info->si_value.sival_ptr;

	(void)sig;
	(void)context;
	/* Only our own: the timer's, or one queued by kb_kick_now(). */
	if (!k || (info->si_code != SI_TIMER && (info->si_code != SI_QUEUE || info->si_pid != getpid())))
		return;
	k->fired = 1;
	__atomic_store_n(&k->run->immediate_exit, 1, __ATOMIC_RELAXED);
}

int kb_kick_init(struct kb_kick *k, struct kvm_run *run, uint64_t tsc_hz, struct kvmbox_error *err)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART };

	*k = (struct kb_kick){ .run = run, .tsc_hz = tsc_hz, .armed_tsc = UINT64_MAX, .latest_tsc = UINT64_MAX };
	sigemptyset(&sa.sa_mask);
	if (sigaction(kb_kick_signal(), &sa, NULL))
		return kb_fail(err, errno, "cannot handle signal %d, which ends the guest's slices: %s",
			       kb_kick_signal(), strerror(errno));
	return 0;
}

int kb_kick_bind(struct kb_kick *k, struct kvmbox_error *err)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = kb_kick_signal() };
	pid_t tid = (pid_t)syscall(SYS_gettid);
	sigset_t set;

	ev.sigev_value.sival_ptr = k;
	ev.sigev_notify_thread_id = tid;
	if (timer_create(CLOCK_MONOTONIC, &ev, &k->timer))
		return kb_fail(err, errno, "cannot create the timer that ends the guest's slices: %s", strerror(errno));
	k->has_timer = true;
	k->armed_tsc = k->latest_tsc = UINT64_MAX;
	sigemptyset(&set);
	sigaddset(&set, kb_kick_signal());
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	__atomic_store_n(&k->thread, tid, __ATOMIC_SEQ_CST);
	return 0;
}

void kb_kick_unbind(struct kb_kick *k)
{
	__atomic_store_n(&k->thread, 0, __ATOMIC_SEQ_CST);
	if (k->has_timer)
		timer_delete(k->timer);
	k->has_timer = false;
	k->armed_tsc = k->latest_tsc = UINT64_MAX;
}

static void set_timer(struct kb_kick *k, uint64_t ns, long interval_ns)
{
	struct itimerspec its = {
		.it_interval = { 0, interval_ns },
		.it_value = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) },
	};

	timer_settime(k->timer, 0, &its, NULL);
}

void kb_kick_within(struct kb_kick *k, uint64_t now_tsc, uint64_t ticks)
{
	uint64_t at, ns;

	if (__builtin_add_overflow(now_tsc, ticks, &at))
		at = UINT64_MAX - 1;
	if (k->armed_tsc <= at)
		return;
	ns = (uint64_t)((unsigned __int128)ticks * 1000000000u / k->tsc_hz);
	set_timer(k, ns ? ns : 1, BACKSTOP_NS);
	k->armed_tsc = at;
	/* The timer counts from when the kernel took it, not from now_tsc: the host may have been busy elsewhere between. */
	if (__builtin_add_overflow(kb_tsc(), ticks, &k->latest_tsc))
		k->latest_tsc = UINT64_MAX;
}

void kb_kick_now(struct kb_kick *k)
{
	pid_t tid;
	siginfo_t info;

	__atomic_store_n(&k->run->immediate_exit, 1, __ATOMIC_RELAXED);
	tid = __atomic_load_n(&k->thread, __ATOMIC_SEQ_CST);
	if (!tid || tid == (pid_t)syscall(SYS_gettid))
		return;
	/* By tid: should the thread end meanwhile this fails, where pthread_sigqueue() is undefined. */
	memset(&info, 0, sizeof(info));
	info.si_signo = kb_kick_signal();
	info.si_code = SI_QUEUE;
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_ptr = k;
	syscall(SYS_rt_tgsigqueueinfo, info.si_pid, tid, info.si_signo, &info);
}
