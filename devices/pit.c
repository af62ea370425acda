/*
 * 8254: see pit.h. Times below are in ticks, the number of clock pulses that
 * have happened since time 0. What the datasheet lets happen "on the next CLK
 * pulse" after a write in tick t happens in tick t + 1.
 */
#include "devices/pit.h"

#include <errno.h>
#include <stdlib.h>

enum {
	/* Control word (figure 7) */
	CW_BCD = 0x01,
	CW_MODE_SHIFT = 1,
	CW_RW_SHIFT = 4,
	CW_SELECT_SHIFT = 6,
	SELECT_READ_BACK = 3,
	RW_LATCH = 0,
	RW_LSB = 1,
	RW_MSB = 2,
	RW_BOTH = 3,
	CW_PROGRAMMED = 0x3f, /* what the status byte gives back */
	CW_RESET = RW_BOTH << CW_RW_SHIFT,

	/* Read-back command and status byte (figures 10 and 11) */
	READ_BACK_NO_COUNT = 0x20,
	READ_BACK_NO_STATUS = 0x10,
	STATUS_OUT = 0x80,
	STATUS_NULL = 0x40,

	/* Port 0x61 */
	P61_GATE2 = 0x01,
	P61_WRITABLE = 0x0f, /* gate 2, speaker data, parity and channel check enables */
	P61_REFRESH = 0x10,
	P61_OUT2 = 0x20,
	REFRESH_TICKS = 18,  /* what firmware gives counter 1: 15 us */
};

#define NEVER UINT64_MAX

struct counter {
	uint8_t cw;        /* control word as written, bits 0-5 */
	unsigned mode;     /* 0-5 */
	uint16_t cr;       /* count register */
	uint8_t lsb;       /* first half of a count under way */
	bool have_count;   /* written since the control word */
	bool null_count;   /* CR not yet in CE */
	bool write_msb, read_msb; /* byte flip-flops of RW_BOTH */
	bool gate;

	bool count_latched, status_latched;
	uint16_t latch;
	uint8_t status;

	/* The counting element: n loaded at tick origin, or `held` ticks counted by tick stop. */
	bool loaded, running;
	uint32_t n;
	uint64_t origin, held, stop;
	uint64_t load_at;  /* tick of the next CR to CE transfer, or NEVER */
	uint16_t stale;    /* what CE shows while not loaded */
};

struct kb_pit {
	struct kb_bus *io;
	struct kb_timers *timers;
	struct kb_line irq;
	struct kb_timer timer;
	struct counter counter[3];
	uint8_t port61;
	struct kb_region ports, control;
};

static uint64_t pit_ticks(const struct kb_pit *pit)
{
	return kb_ps_to_ticks(kb_timers_now(pit->timers), KB_PIT_HZ);
}

static bool periodic(const struct counter *c)
{
	return c->mode == 2 || c->mode == 3;
}

static bool hardware_triggered(const struct counter *c)
{
	return c->mode == 1 || c->mode == 5;
}

/* 0 stands for the largest count. */
static uint32_t decode_count(const struct counter *c)
{
	uint32_t n = c->cr;

	if (c->cw & CW_BCD)
		n = (n >> 12) * 1000 + (n >> 8 & 15) * 100 + (n >> 4 & 15) * 10 + (n & 15);
	if (n == 0)
		n = c->cw & CW_BCD ? 10000 : 65536;
	return n == 1 && periodic(c) ? 2 : n;
}

static uint64_t elapsed(const struct counter *c, uint64_t t)
{
	return c->running ? t - c->origin : c->held;
}

static void stop_counting(struct counter *c, uint64_t t)
{
	if (!c->running)
		return;
	c->held = t - c->origin;
	c->stop = t;
	c->running = false;
}

/* Mode 3: ticks of the high half. */
static uint32_t high_half(const struct counter *c)
{
	return (c->n + 1) / 2;
}

/* Whether the transfer at load_at falls on the middle of a square wave, whose low half follows. */
static bool loads_low_half(const struct counter *c)
{
	return c->mode == 3 && c->loaded && c->running &&
	       (c->load_at - c->origin) % c->n == high_half(c);
}

/* Does the CR to CE transfer if its tick has come. */
static void counter_sync(struct counter *c, uint64_t t)
{
	bool low;

	if (c->load_at > t)
		return;
	low = loads_low_half(c);
	c->n = decode_count(c);
	/* May lie before time 0: differences to it are right all the same. */
	c->origin = c->load_at - (low ? high_half(c) : 0);
	c->held = 0;
	c->stop = c->load_at;
	c->loaded = true;
	c->running = c->gate || hardware_triggered(c);
	c->null_count = false;
	c->load_at = NEVER;
}

/* OUT, after counter_sync(). */
static bool counter_out(const struct counter *c, uint64_t t)
{
	uint64_t e = elapsed(c, t);

	if (!c->loaded)
		return c->mode != 0;
	switch (c->mode) {
	case 0:
	case 1:
		return e >= c->n;
	case 2:
		return !c->running || e % c->n != c->n - 1;
	case 3:
		return !c->running || e % c->n < high_half(c);
	default: /* a strobe of one tick, which a falling gate does not stretch */
		return e != c->n || (!c->running && t != c->stop);
	}
}

static uint16_t to_bcd(uint32_t v)
{
	return (uint16_t)(v / 1000 % 10 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10);
}

/* Mode 3 counts down by two in each half, from an even number. */
static uint32_t square_count(const struct counter *c, uint64_t e)
{
	uint32_t pos = (uint32_t)(e % c->n);

	if (pos >= high_half(c))
		pos -= high_half(c);
	return (c->n & ~1u) - 2 * pos;
}

/* The counting element as the CPU reads it, after counter_sync(). */
static uint16_t counter_value(const struct counter *c, uint64_t t)
{
	uint64_t e = elapsed(c, t);
	uint32_t v;

	if (!c->loaded)
		return c->stale;
	if (c->mode == 3)
		v = square_count(c, e);
	else if (c->mode == 2)
		v = (uint32_t)(c->n - e % c->n);
	else if (c->cw & CW_BCD)
		v = (uint32_t)(c->n + 10000 - e % 10000);
	else
		v = (uint32_t)(c->n - e); /* wraps as the counter does */
	return c->cw & CW_BCD ? to_bcd(v) : (uint16_t)v;
}

/* First tick after t at which OUT may change while nothing is reloaded; after counter_sync(). */
static uint64_t next_edge(const struct counter *c, uint64_t t)
{
	uint64_t e = t - c->origin, low_at;

	if (!c->loaded || !c->running)
		return NEVER;
	if (!periodic(c)) {
		if (e < c->n)
			return c->origin + c->n;
		return c->mode >= 4 && e == c->n ? t + 1 : NEVER;
	}
	low_at = c->mode == 2 ? c->n - 1 : high_half(c);
	e %= c->n;
	return e < low_at ? t + (low_at - e) : t + (c->n - e);
}

/* Tick at which a count written now gets into a counter that is already counting. */
static uint64_t reload_tick(const struct counter *c, uint64_t t)
{
	if (!periodic(c) || !c->loaded)
		return t + 1;
	if (!c->running)
		return c->load_at; /* a rising gate has loaded it or will */
	/* Mode 2: the end of the period; mode 3: of the half (figures 17 and 18). */
	if (c->mode == 3)
		return next_edge(c, t);
	return t + c->n - (t - c->origin) % c->n;
}

/*
 * Brings the line to OUT0 and arms the timer for the next edge, skipping all but the
 * last two periods before the end of an advance: they hold a rising edge
 * whatever the line was.
 */
static void update_irq(struct kb_pit *pit)
{
	struct counter *c = &pit->counter[0];
	uint64_t t = pit_ticks(pit), from = t, next;
	uint64_t target = kb_ps_to_ticks(kb_timers_target(pit->timers), KB_PIT_HZ);

	counter_sync(c, t);
	kb_line_set(&pit->irq, counter_out(c, t));
	if (c->loaded && periodic(c) && target > t + 2ull * c->n)
		from = target - 2ull * c->n;
	next = next_edge(c, from);
	if (next > c->load_at)
		next = c->load_at;
	kb_timer_arm(&pit->timer, next == NEVER ? KB_TIME_NEVER : kb_ticks_to_ps(next, KB_PIT_HZ));
}

static void pit_fire(void *opaque)
{
	update_irq(opaque);
}

/* Back to waiting for a count. */
static void unload(struct counter *c, uint64_t t)
{
	c->stale = counter_value(c, t);
	c->loaded = c->running = false;
	c->held = 0;
	c->load_at = NEVER;
}

static void set_control_word(struct counter *c, uint8_t cw, uint64_t t)
{
	unsigned mode = cw >> CW_MODE_SHIFT & 7;

	unload(c, t);
	c->cw = cw & CW_PROGRAMMED;
	c->mode = mode > 5 ? mode & 3 : mode; /* 11x: modes 2 and 3 */
	c->have_count = false;
	c->null_count = true;
	c->write_msb = c->read_msb = false;
	c->count_latched = c->status_latched = false;
}

static void write_count(struct counter *c, uint8_t v, uint64_t t)
{
	/* Any byte stops mode 0, OUT falls at once. */
	if (c->mode == 0)
		unload(c, t);
	switch (c->cw >> CW_RW_SHIFT) {
	case RW_LSB:
		c->cr = v;
		break;
	case RW_MSB:
		c->cr = (uint16_t)(v << 8);
		break;
	default:
		c->write_msb = !c->write_msb;
		if (c->write_msb) {
			c->lsb = v;
			return;
		}
		c->cr = (uint16_t)(c->lsb | v << 8);
	}
	c->have_count = true;
	c->null_count = true;
	if (!hardware_triggered(c))
		c->load_at = reload_tick(c, t);
}

static void latch_count(struct counter *c, uint64_t t)
{
	if (c->count_latched)
		return;
	c->latch = counter_value(c, t);
	c->count_latched = true;
}

static void latch_status(struct counter *c, uint64_t t)
{
	if (c->status_latched)
		return;
	c->status = (uint8_t)(c->cw | (c->null_count ? STATUS_NULL : 0) |
			      (counter_out(c, t) ? STATUS_OUT : 0));
	c->status_latched = true;
}

static void read_back(struct kb_pit *pit, uint8_t cmd, uint64_t t)
{
	unsigned i;

	for (i = 0; i < 3; i++) {
		if (!(cmd >> 1 >> i & 1))
			continue;
		if (!(cmd & READ_BACK_NO_COUNT))
			latch_count(&pit->counter[i], t);
		if (!(cmd & READ_BACK_NO_STATUS))
			latch_status(&pit->counter[i], t);
	}
}

static void write_control(struct kb_pit *pit, uint8_t v, uint64_t t)
{
	unsigned select = v >> CW_SELECT_SHIFT;

	if (select == SELECT_READ_BACK)
		read_back(pit, v, t);
	else if ((v >> CW_RW_SHIFT & 3) == RW_LATCH)
		latch_count(&pit->counter[select], t);
	else
		set_control_word(&pit->counter[select], v, t);
}

static void sync_all(struct kb_pit *pit, uint64_t t)
{
	unsigned i;

	for (i = 0; i < 3; i++)
		counter_sync(&pit->counter[i], t);
}

static void pit_write(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_pit *pit = opaque;
	uint64_t t = pit_ticks(pit);

	(void)len;
	sync_all(pit, t);
	if (off == 3)
		write_control(pit, (uint8_t)value, t);
	else
		write_count(&pit->counter[off], (uint8_t)value, t);
	update_irq(pit);
}

static uint64_t pit_read(void *opaque, uint64_t off, unsigned len)
{
	struct kb_pit *pit = opaque;
	uint64_t t = pit_ticks(pit);
	struct counter *c;
	uint16_t v;
	bool msb;

	(void)len;
	if (off == 3)
		return 0xff; /* "no operation (tri-state)" */
	c = &pit->counter[off];
	counter_sync(c, t);
	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	v = c->count_latched ? c->latch : counter_value(c, t);
	msb = c->cw >> CW_RW_SHIFT == RW_MSB;
	if (c->cw >> CW_RW_SHIFT == RW_BOTH) {
		msb = c->read_msb;
		c->read_msb = !msb;
	}
	if (!c->read_msb)
		c->count_latched = false;
	return msb ? v >> 8 : v & 0xff;
}

/* GATE summary: figure 21. */
static void set_gate(struct counter *c, bool gate, uint64_t t)
{
	counter_sync(c, t);
	if (c->gate == gate)
		return;
	c->gate = gate;
	if (hardware_triggered(c)) {
		if (gate && c->have_count)
			c->load_at = t + 1;
		return;
	}
	if (!gate) {
		/* A first load comes whatever the gate; the end of a period does not come any more. */
		if (c->loaded && periodic(c))
			c->load_at = NEVER;
		stop_counting(c, t);
	} else if (periodic(c)) {
		if (c->have_count)
			c->load_at = t + 1;
	} else if (c->loaded) {
		c->origin = t - c->held;
		c->running = true;
	}
}

static void control_write(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_pit *pit = opaque;

	(void)off;
	(void)len;
	pit->port61 = (uint8_t)value & P61_WRITABLE;
	set_gate(&pit->counter[2], pit->port61 & P61_GATE2, pit_ticks(pit));
}

static uint64_t control_read(void *opaque, uint64_t off, unsigned len)
{
	struct kb_pit *pit = opaque;
	uint64_t t = pit_ticks(pit);
	uint8_t v = pit->port61;

	(void)off;
	(void)len;
	counter_sync(&pit->counter[2], t);
	if (t / REFRESH_TICKS & 1)
		v |= P61_REFRESH;
	if (counter_out(&pit->counter[2], t))
		v |= P61_OUT2;
	return v;
}

void kb_pit_reset(struct kb_pit *pit)
{
	unsigned i;

	for (i = 0; i < 3; i++) {
		pit->counter[i] = (struct counter){ .gate = i != 2 };
		set_control_word(&pit->counter[i], CW_RESET, 0);
	}
	pit->port61 = 0;
	update_irq(pit);
}

int kb_pit_create(struct kb_pit **out, const struct kb_pit_config *cfg, struct kvmbox_error *err)
{
	struct kb_pit *pit = calloc(1, sizeof(*pit));
	int rc;

	if (!pit)
		return kb_fail(err, ENOMEM, "out of memory creating the interval timer (PIT)");
	pit->io = cfg->io;
	pit->timers = cfg->timers;
	pit->irq = cfg->irq;
	kb_timer_init(&pit->timer, pit->timers, pit_fire, pit);
	pit->ports = (struct kb_region){
		.name = "PIT", .base = 0x40, .size = 4, .max_len = 1,
		.read = pit_read, .write = pit_write, .opaque = pit,
	};
	pit->control = (struct kb_region){
		.name = "PIT control port", .base = 0x61, .size = 1, .max_len = 1,
		.read = control_read, .write = control_write, .opaque = pit,
	};
	kb_pit_reset(pit);
	rc = kb_bus_add(pit->io, &pit->ports, err);
	if (!rc)
		rc = kb_bus_add(pit->io, &pit->control, err);
	if (rc) {
		kb_pit_destroy(pit);
		return rc;
	}
	*out = pit;
	return 0;
}

void kb_pit_destroy(struct kb_pit *pit)
{
	if (!pit)
		return;
	kb_timer_cancel(&pit->timer);
	kb_bus_remove(pit->io, &pit->ports);
	kb_bus_remove(pit->io, &pit->control);
	free(pit);
}
