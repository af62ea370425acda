/*
 * The signal that gets a vCPU thread out of KVM_RUN. One number for the whole
 * library: SIGRTMIN+7. Timers of slices use it with SIGEV_THREAD_ID, kvmbox_stop() and kvmbox_kick() with pthread_kill;
 * its handler sets kvm_run->immediate_exit of the vCPU the thread runs. An application must leave the number alone.
 */
#ifndef KB_KICK_H
#define KB_KICK_H

#include <signal.h>

/* Not every glibc names the field that SIGEV_THREAD_ID needs (timer_create(2)). */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static inline int kb_kick_signal(void)
{
	return SIGRTMIN + 7;
}

#endif
