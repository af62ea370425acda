/* Host time in which a vCPU's thread was not running: see steal.h. */
#include "vcpu/steal.h"

#include <time.h>

#include "vcpu/clock.h"

/* Two kinds of clock are compared: less than this part of the grain says nothing. */
#define NOISE 50

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void kb_steal_init(struct kb_steal *s, uint64_t tsc_hz)
{
	*s = (struct kb_steal){ .tsc_hz = tsc_hz, .grain = tsc_hz / (1000000000u / KB_STEAL_GRAIN_NS) };
}

static void note(struct kb_steal *s, uint64_t tsc)
{
	s->tsc = tsc;
	s->cpu_ns = cpu_ns();
}

void kb_steal_enter(struct kb_steal *s, uint64_t tsc)
{
	if (!s->tsc || tsc - s->tsc > s->grain)
		note(s, tsc);
}

uint64_t kb_steal_leave(struct kb_steal *s, uint64_t tsc, uint64_t ticks)
{
	uint64_t wall, ran, before = s->cpu_ns, since = s->tsc;

	if (ticks <= s->grain)
		return 0;
	note(s, tsc + ticks);
	wall = s->tsc - since;
	ran = (uint64_t)((unsigned __int128)(s->cpu_ns - before) * s->tsc_hz / 1000000000u);
	if (wall < ran + s->grain / NOISE)
		return 0;
	return wall - ran < ticks ? wall - ran : ticks;
}
