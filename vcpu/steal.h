/*
 * Host time in which a vCPU's thread was not running: the host had given the CPU to somebody else. It must not count as
 * guest time.
 *
 * The kernel tells a thread's CPU time (CLOCK_THREAD_CPUTIME_ID), but asking takes half a microsecond, too long for
 * every entry. So the thread's CPU time is noted at most every KB_STEAL_GRAIN_NS, and asked for after a stay that took
 * longer than that: a thread that has lost the CPU is away for longer. What is lost in the grain before the stay is then put down to
 * the stay; that is the error, and it is bounded by the grain. What a hypervisor below takes away shows only if it tells the host's kernel.
 */
#ifndef KB_STEAL_H
#define KB_STEAL_H

#include <stdint.h>

#define KB_STEAL_GRAIN_NS 100000u

struct kb_steal {
	uint64_t tsc_hz;
	uint64_t grain;   /* KB_STEAL_GRAIN_NS in ticks */
	uint64_t tsc;     /* host TSC of the note, 0: none */
	uint64_t cpu_ns;  /* the thread's CPU time then */
};

void kb_steal_init(struct kb_steal *s, uint64_t tsc_hz);
/* Another thread goes on with the vCPU. */
static inline void kb_steal_forget(struct kb_steal *s)
{
	s->tsc = 0;
}
/* tsc: host TSC, now; a stay in the guest begins. */
void kb_steal_enter(struct kb_steal *s, uint64_t tsc);
/* Of the ticks that the stay from tsc on took, those in which the thread was not running. */
uint64_t kb_steal_leave(struct kb_steal *s, uint64_t tsc, uint64_t ticks);

#endif
