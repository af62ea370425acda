/*
 * HPET: see hpet.h. Names are the specification's, section 2.3. Times are in
 * ticks of the 100 MHz clock since time 0; the counter is that plus an offset
 * while it runs.
 */
#include "devices/hpet.h"

#include <errno.h>
#include <stdlib.h>

enum {
	GCAP_ID = 0x000,
	GEN_CONF = 0x010,
	GINTR_STA = 0x020,
	MAIN_CNT = 0x0f0,
	TIM = 0x100, /* + 0x20 * n */
	TIM_STRIDE = 0x20,
	TIM_CONF = 0x00,
	TIM_COMP = 0x08,
	TIM_FSB = 0x10,

	ENABLE_CNF = 1 << 0,
	LEG_RT_CNF = 1 << 1,

	INT_TYPE_CNF = 1 << 1, /* level */
	INT_ENB_CNF = 1 << 2,
	TYPE_CNF = 1 << 3, /* periodic */
	PER_INT_CAP = 1 << 4,
	SIZE_CAP = 1 << 5,
	VAL_SET_CNF = 1 << 6,
	MODE32_CNF = 1 << 8,
	INT_ROUTE_SHIFT = 9,
	INT_ROUTE_CNF = 0x1f << INT_ROUTE_SHIFT,
	FSB_EN_CNF = 1 << 14,
	FSB_INT_DEL_CAP = 1 << 15,
	TIM_CAPS = PER_INT_CAP | SIZE_CAP | FSB_INT_DEL_CAP,
	TIM_WRITABLE = INT_TYPE_CNF | INT_ENB_CNF | TYPE_CNF | VAL_SET_CNF | MODE32_CNF | FSB_EN_CNF,
};

#define GCAP_REVISION 0x01ull
#define GCAP_NUM_TIM ((KB_HPET_COMPARATORS - 1ull) << 8)
#define GCAP_COUNT_SIZE (1ull << 13)
#define GCAP_LEG_RT (1ull << 15)
#define GCAP_VENDOR (0x8086ull << 16)
#define GCAP_PERIOD ((1000000000000000ull / KB_HPET_HZ) << 32) /* femtoseconds per tick */

#define LOWER 0x00000000ffffffffull
#define UPPER 0xffffffff00000000ull

struct comparator {
	struct kb_hpet *hpet;
	unsigned index;
	uint32_t conf;
	uint64_t comp, period, fsb;
	bool set_upper;         /* VAL_SET_CNF counts for the upper half of this value, too */
	uint64_t synced;        /* matches up to this tick have been seen */
	bool due;               /* an edge or message is owed */
	uint64_t not_before_ps; /* and may be given then */
	struct kb_timer timer;
};

struct kb_hpet {
	struct kb_hpet_config cfg;
	struct kb_region region;
	uint32_t conf, status;
	uint64_t counter; /* halted: its value; running: its value at tick 0 */
	bool legacy_in[2];
	bool legacy_was; /* as told */
	uint32_t driven;  /* I/O APIC inputs that are high */
	struct comparator comparator[KB_HPET_COMPARATORS];
};

static uint64_t now_tick(const struct kb_hpet *h)
{
	return kb_ps_to_ticks(kb_timers_now(h->cfg.timers), KB_HPET_HZ);
}

static bool running(const struct kb_hpet *h)
{
	return h->conf & ENABLE_CNF;
}

static uint64_t main_counter(const struct kb_hpet *h)
{
	return running(h) ? h->counter + now_tick(h) : h->counter;
}

static bool periodic(const struct comparator *c)
{
	return c->conf & TYPE_CNF;
}

/* Messages have no level. */
static bool level_triggered(const struct comparator *c)
{
	return (c->conf & (INT_TYPE_CNF | FSB_EN_CNF)) == INT_TYPE_CNF;
}

static bool enabled(const struct comparator *c)
{
	return running(c->hpet) && c->conf & INT_ENB_CNF;
}

/* ---- matches ------------------------------------------------------------------ */

static uint64_t width(const struct comparator *c)
{
	return c->conf & MODE32_CNF ? LOWER : UINT64_MAX;
}

/* Ticks from c->synced to the next match; 0: 2^64 of them. */
static uint64_t distance(const struct comparator *c)
{
	uint64_t d = (c->comp - (c->hpet->counter + c->synced)) & width(c);

	return d ? d : width(c) + 1;
}

/* Sees what has matched up to a tick. */
static void sync(struct comparator *c, uint64_t tick)
{
	uint64_t d = distance(c), passed = tick - c->synced;

	c->synced = tick;
	if (!d || d > passed)
		return;
	if (periodic(c) && c->period)
		c->comp = (c->comp + ((passed - d) / c->period + 1) * c->period) & width(c);
	if (level_triggered(c))
		c->hpet->status |= 1u << c->index;
	else if (enabled(c))
		c->due = true;
}

static void sync_all(struct kb_hpet *h)
{
	uint64_t tick = now_tick(h);
	unsigned i;

	for (i = 0; i < KB_HPET_COMPARATORS && running(h); i++)
		sync(&h->comparator[i], tick);
}

/* ---- interrupts ---------------------------------------------------------------- */

static bool legacy(const struct kb_hpet *h)
{
	return (h->conf & (ENABLE_CNF | LEG_RT_CNF)) == (ENABLE_CNF | LEG_RT_CNF);
}

static unsigned route(const struct comparator *c)
{
	return (c->conf & INT_ROUTE_CNF) >> INT_ROUTE_SHIFT;
}

static void drive(struct kb_hpet *h, uint32_t inputs)
{
	uint32_t changed = h->driven ^ inputs;
	unsigned i;

	h->driven = inputs;
	for (i = 0; changed; i++, changed >>= 1)
		if (changed & 1 && h->cfg.input)
			h->cfg.input(h->cfg.opaque, (int)i, inputs >> i & 1);
}

/* Wires of level-triggered comparators and those passed through; an edge goes up and down again on top of it. */
static void update_lines(struct kb_hpet *h, const struct comparator *edge)
{
	bool irq[2] = { false, false };
	uint32_t inputs = 0;
	unsigned i;

	for (i = 0; i < KB_HPET_COMPARATORS; i++) {
		const struct comparator *c = &h->comparator[i];

		if (c != edge && !(level_triggered(c) && enabled(c) && h->status >> i & 1))
			continue;
		if (legacy(h) && i < 2)
			irq[i] = true;
		else
			inputs |= 1u << route(c) & h->cfg.routes;
	}
	for (i = 0; i < 2; i++)
		kb_line_set(&h->cfg.legacy[i], legacy(h) ? irq[i] : h->legacy_in[i]);
	drive(h, inputs);
}

/*
 * For a match that somebody can notice, that is: not for a level-triggered one
 * while the last still waits, so that an idle or hostile guest's cuts no slices.
 */
static void arm(struct comparator *c)
{
	uint64_t d = distance(c), t = KB_TIME_NEVER;

	if (!enabled(c) || (level_triggered(c) && c->hpet->status >> c->index & 1))
		d = 0;
	else if (c->due)
		t = c->not_before_ps;
	if (t == KB_TIME_NEVER && d && d <= UINT64_MAX - c->synced) {
		t = kb_ticks_to_ps(c->synced + d, KB_HPET_HZ);
		if (t < c->not_before_ps)
			t = c->not_before_ps;
	}
	kb_timer_arm(&c->timer, t);
}

static void give_edge(struct comparator *c)
{
	struct kb_hpet *h = c->hpet;

	c->due = false;
	c->not_before_ps = kb_timers_now(h->cfg.timers) + KB_HPET_MIN_PS;
	if (!(c->conf & FSB_EN_CNF))
		update_lines(h, c);
	else if (h->cfg.msi)
		h->cfg.msi(h->cfg.opaque, c->fsb >> 32, (uint32_t)c->fsb);
}

/* No instruction runs between the matches of one advance: they are one interrupt. */
static void fire(void *opaque)
{
	struct comparator *c = opaque;
	struct kb_hpet *h = c->hpet;

	sync(c, kb_ps_to_ticks(kb_timers_target(h->cfg.timers), KB_HPET_HZ));
	if (c->due)
		give_edge(c);
	update_lines(h, NULL);
	arm(c);
}

/* After a change of anything. */
static void update(struct kb_hpet *h)
{
	unsigned i;

	for (i = 0; i < KB_HPET_COMPARATORS; i++) {
		struct comparator *c = &h->comparator[i];

		if (!level_triggered(c))
			h->status &= ~(1u << i);
		if (!enabled(c) || level_triggered(c))
			c->due = false;
	}
	if (legacy(h) != h->legacy_was && h->cfg.legacy_mode)
		h->cfg.legacy_mode(h->cfg.opaque, legacy(h));
	h->legacy_was = legacy(h);
	update_lines(h, NULL);
	for (i = 0; i < KB_HPET_COMPARATORS; i++)
		arm(&h->comparator[i]);
}

void kb_hpet_legacy_in(void *hpet, int pin, bool level)
{
	struct kb_hpet *h = hpet;

	h->legacy_in[pin & 1] = level;
	update_lines(h, NULL);
}

/* ---- registers ------------------------------------------------------------------ */

/* Of the 64 bits of a register, mask were written; value has them in place. */
static void put(uint64_t *reg, uint64_t value, uint64_t mask)
{
	*reg = (*reg & ~mask) | (value & mask);
}

static void conf_write(struct kb_hpet *h, uint64_t value, uint64_t mask)
{
	uint64_t counter = main_counter(h);
	bool was = running(h);
	unsigned i;

	if (!(mask & LOWER))
		return;
	h->conf = (uint32_t)value & (ENABLE_CNF | LEG_RT_CNF);
	if (running(h) == was)
		return;
	h->counter = running(h) ? counter - now_tick(h) : counter;
	for (i = 0; i < KB_HPET_COMPARATORS; i++)
		h->comparator[i].synced = now_tick(h);
}

static void counter_write(struct kb_hpet *h, uint64_t value, uint64_t mask)
{
	uint64_t counter = main_counter(h);

	put(&counter, value, mask);
	h->counter = running(h) ? counter - now_tick(h) : counter;
}

static void fit(struct comparator *c)
{
	c->comp &= width(c);
	c->period &= width(c);
}

static void tim_conf_write(struct comparator *c, uint64_t value, uint64_t mask)
{
	uint32_t keep = c->conf & INT_ROUTE_CNF, wish = (uint32_t)value & INT_ROUTE_CNF;

	if (!(mask & LOWER))
		return;
	if (c->hpet->cfg.routes >> (wish >> INT_ROUTE_SHIFT) & 1)
		keep = wish;
	c->conf = ((uint32_t)value & TIM_WRITABLE) | keep;
	if (!periodic(c))
		c->conf &= ~(uint32_t)VAL_SET_CNF;
	c->set_upper = false;
	fit(c);
}

/* Section 2.3.9.2: in periodic mode a write is the period, and with VAL_SET_CNF the comparator's value, too. */
static void tim_comp_write(struct comparator *c, uint64_t value, uint64_t mask)
{
	bool set = c->conf & VAL_SET_CNF;

	if (!periodic(c) || set || (c->set_upper && mask == UPPER))
		put(&c->comp, value, mask);
	if (periodic(c))
		put(&c->period, value, mask);
	c->set_upper = set && mask == LOWER;
	c->conf &= ~(uint32_t)VAL_SET_CNF;
	fit(c);
}

static void reg_write(struct kb_hpet *h, unsigned reg, uint64_t value, uint64_t mask)
{
	unsigned n = (reg - TIM) / TIM_STRIDE;

	switch (reg) {
	case GEN_CONF:
		conf_write(h, value, mask);
		return;
	case GINTR_STA:
		h->status &= ~(uint32_t)(value & mask);
		return;
	case MAIN_CNT:
		counter_write(h, value, mask);
		return;
	}
	if (reg < TIM || n >= KB_HPET_COMPARATORS)
		return;
	switch (reg % TIM_STRIDE) {
	case TIM_CONF:
		tim_conf_write(&h->comparator[n], value, mask);
		break;
	case TIM_COMP:
		tim_comp_write(&h->comparator[n], value, mask);
		break;
	case TIM_FSB:
		put(&h->comparator[n].fsb, value, mask);
		break;
	}
}

static uint64_t reg_read(const struct kb_hpet *h, unsigned reg)
{
	unsigned n = (reg - TIM) / TIM_STRIDE;

	switch (reg) {
	case GCAP_ID: return GCAP_REVISION | GCAP_NUM_TIM | GCAP_COUNT_SIZE | GCAP_LEG_RT | GCAP_VENDOR | GCAP_PERIOD;
	case GEN_CONF: return h->conf;
	case GINTR_STA: return h->status;
	case MAIN_CNT: return main_counter(h);
	}
	if (reg < TIM || n >= KB_HPET_COMPARATORS)
		return 0;
	switch (reg % TIM_STRIDE) {
	case TIM_CONF: return h->comparator[n].conf | TIM_CAPS | (uint64_t)h->cfg.routes << 32;
	case TIM_COMP: return h->comparator[n].comp;
	case TIM_FSB: return h->comparator[n].fsb;
	default: return 0;
	}
}

static uint64_t hpet_read(void *opaque, uint64_t off, unsigned len)
{
	struct kb_hpet *h = opaque;
	unsigned reg = (unsigned)off & ~7u;

	if (reg != MAIN_CNT)
		sync_all(h);
	return reg_read(h, reg) >> 8 * (off & 7) & UINT64_MAX >> (64 - 8 * len);
}

static void hpet_write(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_hpet *h = opaque;
	unsigned shift = 8 * ((unsigned)off & 7);

	if (len < 4)
		return;
	sync_all(h);
	reg_write(h, (unsigned)off & ~7u, value << shift, UINT64_MAX >> (64 - 8 * len) << shift);
	update(h);
}

/* ---- life ------------------------------------------------------------------------- */

void kb_hpet_reset(struct kb_hpet *h)
{
	unsigned i;

	h->conf = h->status = 0;
	h->counter = 0;
	for (i = 0; i < KB_HPET_COMPARATORS; i++) {
		struct comparator *c = &h->comparator[i];

		c->conf = 0;
		c->comp = UINT64_MAX;
		c->period = c->fsb = c->not_before_ps = 0;
		c->set_upper = false;
	}
	update(h);
}

int kb_hpet_create(struct kb_hpet **out, const struct kb_hpet_config *cfg, struct kvmbox_error *err)
{
	struct kb_hpet *h = calloc(1, sizeof(*h));
	unsigned i;
	int rc;

	if (!h)
		return kb_fail(err, ENOMEM, "out of memory creating the HPET");
	h->cfg = *cfg;
	h->region = (struct kb_region){
		.name = "HPET", .base = KB_HPET_BASE, .size = KB_HPET_SIZE, .max_len = 8,
		.read = hpet_read, .write = hpet_write, .opaque = h,
	};
	for (i = 0; i < KB_HPET_COMPARATORS; i++) {
		h->comparator[i].hpet = h;
		h->comparator[i].index = i;
		kb_timer_init(&h->comparator[i].timer, cfg->timers, fire, &h->comparator[i]);
	}
	kb_hpet_reset(h);
	rc = kb_bus_add(cfg->mem, &h->region, err);
	if (rc) {
		free(h);
		return rc;
	}
	*out = h;
	return 0;
}

void kb_hpet_destroy(struct kb_hpet *h)
{
	unsigned i;

	if (!h)
		return;
	for (i = 0; i < KB_HPET_COMPARATORS; i++)
		kb_timer_cancel(&h->comparator[i].timer);
	kb_bus_remove(h->cfg.mem, &h->region);
	free(h);
}
