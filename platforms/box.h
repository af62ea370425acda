/*
 * The box behind the C ABI: a PC, the simulator's callbacks, and how their
 * times meet. Private to platforms/.
 */
#ifndef KB_BOX_H
#define KB_BOX_H

#include <kvmbox/kvmbox.h>

#include "platforms/pc.h"

struct kvmbox_function {
	struct kvmbox_box *box;
	struct kb_pci_function *pci;
	enum kvmbox_access_mode mode;
	uint8_t io_bars; /* bit n: BAR n is in I/O space */
	bool posts;      /* memory writes are posted */
	bool unpushed;   /* something was posted since the last access that pushes */
	uint64_t request_ps, completion_ps, posted_ps;
	void *opaque;
	struct kvmbox_function *next;
};

/* Where the host's time goes. The guest's own is part of the box's here, the vCPU knows it. */
enum kb_host { KB_HOST_OUTSIDE, KB_HOST_BOX, KB_HOST_SIMULATOR, KB_HOST_IDLE, KB_HOST_KINDS };

/* A stopwatch that always runs for one of them: whatever the transitions, the parts are the whole. */
struct kb_host_time {
	enum kb_host now;
	uint64_t since; /* host TSC */
	uint64_t ticks[KB_HOST_KINDS];
};

/*
 * What ended a slice: the guest's run from one hand-over to the next, or up to a chipset timer. In the order
 * of struct kvmbox_stats.
 */
enum kb_slice_end {
	KB_SLICE_QUANTUM, KB_SLICE_TIMER, KB_SLICE_EVENT, KB_SLICE_ACCESS, KB_SLICE_HALT, KB_SLICE_END,
	KB_SLICE_ENDS
};

struct kb_slice {
	bool open;
	uint64_t end_ps;        /* when it ends at the latest, */
	enum kb_slice_end why; /* and why then */
	uint64_t ended[KB_SLICE_ENDS];
};

struct kvmbox_box {
	struct kvmbox_config cfg;
	const struct kvmbox_ops *ops;
	void *opaque;
	struct kb_pc *pc;
	struct kvmbox_function *functions;
	struct kvmbox_watch *watches;
	enum kvmbox_end_reason end;
	bool started, running;
	bool cancelled;    /* check_wait asked for the end, or is broken: then failure says how */
	struct kvmbox_error failure;
	uint64_t sim_ps;   /* the simulator's time, as of the last call down */
	uint64_t event_ps; /* its next event */
	uint64_t due_ps, last_due_ps; /* first and last arrival of posted writes it had not reached when they were posted */
	unsigned futile_idles; /* waits of a sleeping guest in a row that moved no time */
	struct kb_host_time host;
	struct kb_slice slice;
	uint64_t run_ps, run_from_ps; /* guest time of former runs; where this one began */
	uint64_t yields, transports, transport_errors, dma_bytes, dma_errors;
};

/* kvmbox_create() on another table of system calls, for tests. */
int kb_box_create(struct kvmbox_box **out, const struct kvmbox_config *cfg, const struct kvmbox_ops *ops, void *opaque,
		  const struct kb_kvm_api *api, struct kvmbox_error *err);

/* Guest time. */
static inline uint64_t kb_box_now(const struct kvmbox_box *box)
{
	return box->pc->vcpu->clock.now_ps;
}

/* Do slices end at the simulator's events? */
static inline bool kb_box_sees_events(const struct kvmbox_box *box)
{
	return box->ops->next_event && box->cfg.slice_to_events;
}

/*
 * From now on the host's time is what's, until told otherwise; returns whose it was. Outside of a run it stays nobody's.
 */
static inline enum kb_host kb_box_host(struct kvmbox_box *box, enum kb_host what)
{
	struct kb_host_time *h = &box->host;
	enum kb_host before = h->now;
	uint64_t t;

	if (before != KB_HOST_OUTSIDE && before != what) {
		t = kb_tsc();
		h->ticks[before] += t - h->since;
		h->since = t;
		h->now = what;
	}
	return before;
}

/* The guest has lost control: its slice is over. */
static inline void kb_box_end_slice(struct kvmbox_box *box, enum kb_slice_end why)
{
	if (box->slice.open)
		box->slice.ended[why]++;
	box->slice.open = false;
}

/* Looks at the simulator's clock and next event again; after every call down that may move them. */
void kb_box_refresh(struct kvmbox_box *box);
/* Lets the simulator catch up with the guest. False: it wants the run to end. */
bool kb_box_catch_up(struct kvmbox_box *box);
/* The same, and gives what is due at that time its turns. */
bool kb_box_settle(struct kvmbox_box *box);
/* Waits until the posted writes of f, NULL: of all functions, have completed; the guest stalls. */
void kb_box_push(struct kvmbox_box *box, struct kvmbox_function *f);
/* Gives what is due at the simulator's time one turn. */
void kb_box_turn(struct kvmbox_box *box);
/* A posted write arrives at t: the slice ends there. */
void kb_box_due(struct kvmbox_box *box, uint64_t t);

#endif
