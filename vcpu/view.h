/*
 * The guest's view of the host's TSC during one stay: from when on, and up to when, it may have read it.
 *
 * KVM_RUN is called at t0 and returns at t1; the guest runs somewhere between. What it can read without an exit (its TSC,
 * the pvclock page) goes on by itself for as long as it runs, and its clock at the exit must not be behind what it has
 * read. How long the guest ran nobody says, but bounds are known: its first instruction comes not before t0 + E, its last
 * one not after t1 - X, where E and X are the shortest way in and the shortest way out, calibrated by the probe.
 * So the clocks are set to show guest time exactly at t0 + E (the view opens), and at the exit the guest's
 * clock moves at least up to t1 - X (it closes). That is more than clock=tsc would charge (the stay less the median
 * cost of an exit) by median - least and the cushion: about a quarter of an exit.
 *
 * The cushion: E and X are taken for three quarters of the least that was calibrated, or for less by half of what the median is above
 * the least. On a quiet kvm_pvm host the least is met within 2 %, and a sixteenth would do (2 us per exit from ring 3 instead of 6). But
 * a calibration made while the core's other hardware thread was busy found all ways, the least ones too, longer by 30 %, and nothing
 * tells. A stay shorter than both together corrects them. Should the guest for all that read earlier than the view opens,
 * it reads a time that is earlier by as much, and nothing worse.
 *
 * X is that of an access or HLT, whose instruction KVM looks at after the guest's last one; exits that come
 * between instructions (interrupt window, kick) are quicker: half of it.
 *
 * The host may take the CPU away during a stay. Usually that time is not charged, but a guest that goes on afterwards has seen it
 * pass. It cannot go on after a kick, though: a pending signal makes KVM_RUN return first. So the view closes at the latest when
 * the kick comes, plus what a late one takes; time stolen after that stays stolen.
 */
#ifndef KB_VIEW_H
#define KB_VIEW_H

#include <stdbool.h>
#include <stdint.h>

struct kb_view {
	/* Ways in and out, surely no longer, ring 0-2 and ring 3, host ticks; 0, not calibrated: sound, but all of an exit is charged. */
	uint64_t enter_ticks[2], leave_ticks[2];
	uint64_t slack_ticks; /* a kick takes no longer than this */
	uint64_t start;       /* host TSC at which the stay began */
	uint64_t lead;        /* from there to the opening */
	bool ring3;           /* the guest was in ring 3 then */
	bool event;           /* an interrupt is on its way in: the ring the guest will be in is not known */
};

/* Pairs are rings 0-2 and ring 3. */
struct kb_view_ways {
	uint64_t enter_min_ps[2], enter_ps[2], leave_min_ps[2], leave_ps[2]; /* least and median */
};
void kb_view_calibrate(struct kb_view *w, uint64_t tsc_hz, const struct kb_view_ways *ways);
/* KVM_RUN is about to be called at tsc for a guest in ring 3 or another. */
void kb_view_open(struct kb_view *w, uint64_t tsc, bool ring3);
/* Where the view opens. */
static inline uint64_t kb_view_opens(const struct kb_view *w)
{
	return w->start + w->lead;
}

struct kb_view_end {
	uint64_t tsc;    /* KVM_RUN has returned */
	bool ring3;      /* the guest is in ring 3 */
	bool access;     /* exit of an instruction: port, memory, HLT, MSR */
	uint64_t kick;   /* host TSC at which the kick was due at the latest; UINT64_MAX: none */
	uint64_t stolen; /* ticks the thread was not running */
};
/* Ticks from the opening up to the last moment at which the guest may have looked. */
uint64_t kb_view_close(struct kb_view *w, const struct kb_view_end *end);

#endif
