/* What the guest may have seen of the host's TSC: see view.h. */
#include "vcpu/view.h"

#define CUSHION 4 /* this part of what was calibrated is not relied on */
#define MARGIN 16 /* nor this one of a stay that was observed */

/* What can be relied on of a way in or out. */
static uint64_t surely(uint64_t min_ps, uint64_t median_ps, uint64_t tsc_hz)
{
	uint64_t spread = median_ps > min_ps ? (median_ps - min_ps) / 2 : 0, ps = min_ps - min_ps / CUSHION;

	if (spread > min_ps / CUSHION)
		ps = spread < min_ps ? min_ps - spread : 0;
	return (uint64_t)((unsigned __int128)ps * tsc_hz / 1000000000000ull);
}

void kb_view_calibrate(struct kb_view *w, uint64_t tsc_hz, const struct kb_view_ways *ways)
{
	int i;

	for (i = 0; i < 2; i++) {
		w->enter_ticks[i] = surely(ways->enter_min_ps[i], ways->enter_ps[i], tsc_hz);
		w->leave_ticks[i] = surely(ways->leave_min_ps[i], ways->leave_ps[i], tsc_hz);
	}
}

void kb_view_open(struct kb_view *w, uint64_t tsc, bool ring3)
{
	uint64_t enter = w->enter_ticks[ring3];

	if (w->event && enter > w->enter_ticks[!ring3])
		enter = w->enter_ticks[!ring3];
	w->start = tsc;
	w->ring3 = ring3;
	w->lead = enter;
}

/* A stay in which the guest certainly ran was shorter than the ways in and out alone. */
static void correct(struct kb_view *w, int ring, uint64_t stay)
{
	uint64_t least = w->enter_ticks[ring] + w->leave_ticks[ring];

	stay -= stay / MARGIN;
	if (stay >= least)
		return;
	w->enter_ticks[ring] = (uint64_t)((unsigned __int128)w->enter_ticks[ring] * stay / least);
	w->leave_ticks[ring] = (uint64_t)((unsigned __int128)w->leave_ticks[ring] * stay / least);
}

uint64_t kb_view_close(struct kb_view *w, const struct kb_view_end *end)
{
	uint64_t last, kick, leave;

	if (end->access && !w->event && end->ring3 == w->ring3)
		correct(w, end->ring3, end->tsc - w->start);
	leave = w->leave_ticks[end->ring3];
	last = end->tsc - (end->access ? leave : leave / 2);
	if (end->stolen && !__builtin_add_overflow(end->kick, w->slack_ticks, &kick) && kick < last)
		last = kick;
	return last > kb_view_opens(w) ? last - kb_view_opens(w) : 0;
}
