/* What the guest may have seen of the host's TSC: see view.h. */
#include "vcpu/view.h"

/* Of what was calibrated, this much is relied on. */
#define CUSHION(ticks) ((ticks) - (ticks) / 16)

static uint64_t ticks(uint64_t ps, uint64_t tsc_hz)
{
	return (uint64_t)((unsigned __int128)ps * tsc_hz / 1000000000000ull);
}

void kb_view_calibrate(struct kb_view *w, uint64_t tsc_hz, const uint64_t enter_min_ps[2], const uint64_t leave_min_ps[2])
{
	int i;

	for (i = 0; i < 2; i++) {
		w->enter_ticks[i] = ticks(enter_min_ps[i], tsc_hz);
		w->leave_ticks[i] = ticks(leave_min_ps[i], tsc_hz);
	}
}

void kb_view_open(struct kb_view *w, uint64_t tsc, bool ring3)
{
	uint64_t enter = w->enter_ticks[ring3];

	if (w->event && enter > w->enter_ticks[!ring3])
		enter = w->enter_ticks[!ring3];
	w->start = tsc;
	w->ring3 = ring3;
	w->lead = CUSHION(enter);
}

/* A stay in which the guest certainly ran was shorter than the ways in and out alone. */
static void correct(struct kb_view *w, int ring, uint64_t stay)
{
	uint64_t least = w->enter_ticks[ring] + w->leave_ticks[ring];

	if (stay >= least)
		return;
	w->enter_ticks[ring] = (uint64_t)((unsigned __int128)w->enter_ticks[ring] * stay / least);
	w->leave_ticks[ring] = (uint64_t)((unsigned __int128)w->leave_ticks[ring] * stay / least);
}

uint64_t kb_view_close(struct kb_view *w, const struct kb_view_end *end)
{
	uint64_t last, kick, leave = CUSHION(w->leave_ticks[end->ring3]);

	if (end->access && !w->event && end->ring3 == w->ring3)
		correct(w, end->ring3, end->tsc - w->start);
	last = end->tsc - (end->access ? leave : leave / 2);
	if (end->stolen && !__builtin_add_overflow(end->kick, w->slack_ticks, &kick) && kick < last)
		last = kick;
	return last > kb_view_opens(w) ? last - kb_view_opens(w) : 0;
}
