/* 8259A pair: see pic.h. Names are the datasheet's (ICW/OCW formats: figures 7 and 8). */
#include "devices/pic.h"

#include <errno.h>
#include <stdlib.h>

enum {
	CASCADE = 2,      /* the master's input the slave hangs on */
	SPURIOUS = 7,     /* level of a request that went away */

	ICW1_IC4 = 0x01,  /* ICW4 follows */
	ICW1_SNGL = 0x02, /* no ICW3 */
	ICW1_SELECT = 0x10,
	ICW4_AEOI = 0x02,
	ICW4_SFNM = 0x10,

	OCW2_LEVEL = 0x07,
	OCW2_EOI = 0x20,
	OCW2_SL = 0x40,
	OCW2_R = 0x80,

	OCW3_SELECT = 0x08,
	OCW3_RIS = 0x01,
	OCW3_RR = 0x02,
	OCW3_P = 0x04,
	OCW3_SMM = 0x20,
	OCW3_ESMM = 0x40,

	POLL_REQUEST = 0x80,

	/* IRQ 0, 1, 2 and 8, 13 are edge-triggered on every PC. */
	ELCR_MASTER = 0xf8,
	ELCR_SLAVE = 0xde,
};

enum icw { READY, ICW2, ICW3, ICW4 }; /* what the next write to A0=1 is */

struct chip {
	struct kb_pic *pic;
	struct kb_region region;
	uint8_t pins;   /* levels of IR0-7 */
	uint8_t edges;  /* edge-sense latches */
	uint8_t elcr, elcr_mask;
	uint8_t imr, isr;
	uint8_t base;   /* vector of IR0 */
	uint8_t lowest; /* level with the lowest priority */
	enum icw expect;
	uint8_t icw1;
	bool aeoi, sfnm, rotate_aeoi, smm, poll, read_isr;
};

struct kb_pic {
	struct kb_bus *io;
	struct kb_line out;
	struct chip chip[2]; /* master, slave */
	struct kb_region elcr;
};

static uint8_t bit(int level)
{
	return (uint8_t)(1u << level);
}

static uint8_t irr(const struct chip *c)
{
	return (uint8_t)((c->edges & ~c->elcr) | (c->pins & c->elcr));
}

/* The level in set that has the highest priority, or -1. */
static int first(const struct chip *c, uint8_t set)
{
	int i, level;

	for (i = 1; i <= 8; i++) {
		level = (c->lowest + i) & 7;
		if (set & bit(level))
			return level;
	}
	return -1;
}

static int priority(const struct chip *c, int level)
{
	return (level - c->lowest - 1) & 7; /* 0 is the highest */
}

/* The level to be serviced next, or -1: INT is high unless it is -1. */
static int request(const struct chip *c)
{
	uint8_t blocking = c->isr;
	int level, serviced;

	if (c->expect != READY)
		return -1;
	level = first(c, (uint8_t)(irr(c) & ~c->imr));
	if (level < 0)
		return -1;
	if (c->smm)
		blocking &= (uint8_t)~c->imr;
	serviced = first(c, blocking);
	if (serviced < 0 || priority(c, level) < priority(c, serviced))
		return level;
	/* Special fully nested: the slave may interrupt its own service. */
	if (!c->sfnm || c != &c->pic->chip[0] || level != CASCADE || serviced != CASCADE)
		return -1;
	return level;
}

static void set_pin(struct chip *c, int level, bool high)
{
	if (high && !(c->pins & bit(level)))
		c->edges |= bit(level);
	c->pins = (uint8_t)(high ? c->pins | bit(level) : c->pins & ~bit(level));
}

static void update(struct kb_pic *pic)
{
	set_pin(&pic->chip[0], CASCADE, request(&pic->chip[1]) >= 0);
	kb_line_set(&pic->out, request(&pic->chip[0]) >= 0);
}

/* What INTA and a poll do inside a chip; the caller updates the outputs. */
static void acknowledge(struct chip *c, int level)
{
	c->edges &= (uint8_t)~bit(level);
	if (!c->aeoi)
		c->isr |= bit(level);
	else if (c->rotate_aeoi)
		c->lowest = (uint8_t)level;
	/* INT drops at INTA: what else the slave has is a new edge for the master. */
	if (c == &c->pic->chip[1])
		set_pin(&c->pic->chip[0], CASCADE, false);
}

int kb_pic_ack(struct kb_pic *pic)
{
	struct chip *c = &pic->chip[0];
	int level = request(c);

	if (level >= 0)
		acknowledge(c, level);
	if (level == CASCADE) {
		c = &pic->chip[1];
		level = request(c);
		if (level >= 0)
			acknowledge(c, level);
	}
	if (level < 0)
		level = SPURIOUS;
	update(pic);
	return c->base | level;
}

void kb_pic_set_irq(struct kb_pic *pic, int irq, bool level)
{
	if (irq < 0 || irq > 15 || irq == CASCADE)
		return;
	set_pin(&pic->chip[irq >> 3], irq & 7, level);
	update(pic);
}

void kb_pic_line_set(void *opaque, int irq, bool level)
{
	kb_pic_set_irq(opaque, irq, level);
}

/* The edge-sense circuit is reset: a high input needs a new rising edge. */
static void start_icw(struct chip *c, uint8_t value)
{
	c->icw1 = value;
	c->expect = ICW2;
	c->edges = 0;
	c->imr = c->isr = 0;
	c->lowest = 7;
	c->smm = c->poll = c->read_isr = false;
	c->aeoi = c->sfnm = c->rotate_aeoi = false;
}

static void write_ocw2(struct chip *c, uint8_t value)
{
	int level = value & OCW2_LEVEL;

	switch (value & (OCW2_R | OCW2_SL | OCW2_EOI)) {
	case OCW2_R:
		c->rotate_aeoi = true;
		return;
	case 0:
		c->rotate_aeoi = false;
		return;
	case OCW2_SL: /* no operation */
		return;
	case OCW2_R | OCW2_SL: /* set priority */
		c->lowest = (uint8_t)level;
		return;
	}
	/* EOI. In special mask mode the non-specific one passes over masked levels. */
	if (!(value & OCW2_SL))
		level = first(c, (uint8_t)(c->smm ? c->isr & ~c->imr : c->isr));
	if (level < 0)
		return;
	c->isr &= (uint8_t)~bit(level);
	if (value & OCW2_R)
		c->lowest = (uint8_t)level;
}

static void write_ocw3(struct chip *c, uint8_t value)
{
	if (value & OCW3_ESMM)
		c->smm = value & OCW3_SMM;
	if (value & OCW3_RR)
		c->read_isr = value & OCW3_RIS;
	c->poll = value & OCW3_P;
}

static void write_a1(struct chip *c, uint8_t value)
{
	switch (c->expect) {
	case READY:
		c->imr = value; /* OCW1 */
		return;
	case ICW2:
		c->base = value & 0xf8;
		if (!(c->icw1 & ICW1_SNGL)) {
			c->expect = ICW3;
			return;
		}
		break;
	case ICW3:
		break;
	case ICW4:
		c->aeoi = value & ICW4_AEOI;
		c->sfnm = value & ICW4_SFNM;
		c->expect = READY;
		return;
	}
	c->expect = c->icw1 & ICW1_IC4 ? ICW4 : READY;
}

static void chip_write(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct chip *c = opaque;
	uint8_t v = (uint8_t)value;

	(void)len;
	if (off)
		write_a1(c, v);
	else if (v & ICW1_SELECT)
		start_icw(c, v);
	else if (v & OCW3_SELECT)
		write_ocw3(c, v);
	else
		write_ocw2(c, v);
	update(c->pic);
}

static uint64_t read_poll(struct chip *c)
{
	int level = request(c);

	c->poll = false;
	if (level < 0)
		return 0;
	acknowledge(c, level);
	update(c->pic);
	return (uint64_t)level | POLL_REQUEST;
}

static uint64_t chip_read(void *opaque, uint64_t off, unsigned len)
{
	struct chip *c = opaque;

	(void)len;
	if (c->poll)
		return read_poll(c);
	if (off)
		return c->imr;
	return c->read_isr ? c->isr : irr(c);
}

static uint64_t elcr_read(void *opaque, uint64_t off, unsigned len)
{
	struct kb_pic *pic = opaque;

	(void)len;
	return pic->chip[off & 1].elcr;
}

static void elcr_write(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_pic *pic = opaque;
	struct chip *c = &pic->chip[off & 1];
	uint8_t v = (uint8_t)value;

	(void)len;
	v &= c->elcr_mask;
	/* What an input remembers of its old kind must not fire as the new one. */
	c->edges &= (uint8_t)~(c->elcr ^ v);
	c->elcr = v;
	update(pic);
}

void kb_pic_reset(struct kb_pic *pic)
{
	int i;

	for (i = 0; i < 2; i++) {
		struct chip *c = &pic->chip[i];

		start_icw(c, 0);
		c->expect = READY;
		c->base = 0;
		c->elcr = 0;
		/* The chip has no reset pin; masked is what nobody can be surprised by. */
		c->imr = 0xff;
	}
	update(pic);
}

static void chip_init(struct kb_pic *pic, int i)
{
	struct chip *c = &pic->chip[i];

	c->pic = pic;
	c->elcr_mask = i ? ELCR_SLAVE : ELCR_MASTER;
	c->region = (struct kb_region){
		.name = i ? "PIC slave" : "PIC master",
		.base = i ? 0xa0 : 0x20,
		.size = 2,
		.max_len = 1,
		.read = chip_read,
		.write = chip_write,
		.opaque = c,
	};
}

static int claim_ports(struct kb_pic *pic, struct kvmbox_error *err)
{
	int rc = kb_bus_add(pic->io, &pic->chip[0].region, err);

	if (!rc)
		rc = kb_bus_add(pic->io, &pic->chip[1].region, err);
	if (!rc)
		rc = kb_bus_add(pic->io, &pic->elcr, err);
	return rc;
}

int kb_pic_create(struct kb_pic **out, const struct kb_pic_config *cfg, struct kvmbox_error *err)
{
	struct kb_pic *pic = calloc(1, sizeof(*pic));
	int rc;

	if (!pic)
		return kb_fail(err, ENOMEM, "out of memory creating the interrupt controllers (PIC)");
	pic->io = cfg->io;
	pic->out = cfg->out;
	chip_init(pic, 0);
	chip_init(pic, 1);
	pic->elcr = (struct kb_region){
		.name = "PIC ELCR", .base = 0x4d0, .size = 2, .max_len = 1,
		.read = elcr_read, .write = elcr_write, .opaque = pic,
	};
	kb_pic_reset(pic);
	rc = claim_ports(pic, err);
	if (rc) {
		kb_pic_destroy(pic);
		return rc;
	}
	*out = pic;
	return 0;
}

void kb_pic_destroy(struct kb_pic *pic)
{
	if (!pic)
		return;
	kb_bus_remove(pic->io, &pic->chip[0].region);
	kb_bus_remove(pic->io, &pic->chip[1].region);
	kb_bus_remove(pic->io, &pic->elcr);
	free(pic);
}
