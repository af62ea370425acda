/* Reset ports and the keyboard controller: see reset.h. */
#include "devices/reset.h"

#include <errno.h>
#include <stdlib.h>

/* System control port A. */
#define PORT_92 0x92
#define P92_FAST_RESET 0x01
#define P92_A20 0x02

/* Reset control. Bit 3 (full reset on ICH) is kept for reading back. */
#define CF9_HARD 0x02
#define CF9_RESET 0x04
#define CF9_WRITABLE 0x0e

/* Keyboard controller. */
#define PORT_KBD_DATA 0x60
#define PORT_KBD_COMMAND 0x64

enum {
	STATUS_OBF = 0x01, /* output buffer full */
	STATUS_SYS = 0x04, /* copy of the command byte's bit */
	STATUS_COMMAND = 0x08, /* last write went to 0x64 */
	STATUS_UNLOCKED = 0x10,
	STATUS_TIMEOUT = 0x40,
};

enum {
	CTR_IRQ = 0x01,
	CTR_SYS = 0x04,
	CTR_DISABLE_KBD = 0x10,
	CTR_DISABLE_AUX = 0x20,
	CTR_TRANSLATE = 0x40,
	CTR_WRITABLE = 0x7f,
};

enum {
	OUTPUT_RUN = 0x01, /* low: the CPU's reset pin */
	OUTPUT_A20 = 0x02,
	OUTPUT_OBF = 0x10,
	OUTPUT_IDLE = 0xc0, /* clock and data to the keyboard, high */
};

enum {
	CMD_READ_CTR = 0x20,
	CMD_WRITE_CTR = 0x60,
	CMD_SELF_TEST = 0xaa,
	CMD_TEST_KBD = 0xab,
	CMD_DISABLE_KBD = 0xad,
	CMD_ENABLE_KBD = 0xae,
	CMD_READ_INPUT = 0xc0,
	CMD_READ_OUTPUT = 0xd0,
	CMD_WRITE_OUTPUT = 0xd1,
	CMD_WRITE_KBD_BUFFER = 0xd2,
	CMD_WRITE_AUX_BUFFER = 0xd3,
	CMD_WRITE_AUX = 0xd4,
	CMD_A20_OFF = 0xdd,
	CMD_A20_ON = 0xdf,
	CMD_PULSE = 0xf0, /* low four bits: output port bits not to pulse */
};

#define SELF_TEST_PASSED 0x55
#define INTERFACE_OK 0x00
#define INPUT_PORT 0xa0     /* keyboard not locked, manufacturing jumper not set */
#define KBD_NO_ANSWER 0xfe  /* with STATUS_TIMEOUT: nothing clocked the byte in */

struct kb_reset {
	struct kb_reset_config cfg;
	struct kb_region p92, kbd_data, kbd_command;
	uint8_t port92, cf9;
	uint8_t status, ctr, output; /* of the keyboard controller */
	uint8_t data;                /* output buffer */
	uint8_t pending;             /* command that waits for its byte at 0x60; 0 none */
};

/* Last thing of an access: the callback may reset this device. */
static void fire(struct kb_reset *r, const char *how)
{
	if (r->cfg.reset)
		r->cfg.reset(r->cfg.opaque, how);
}

static uint64_t p92_read(void *opaque, uint64_t off, unsigned len)
{
	struct kb_reset *r = opaque;

	(void)off, (void)len;
	return r->port92;
}

static void p92_write(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_reset *r = opaque;
	bool rises = value & ~(uint64_t)r->port92 & P92_FAST_RESET;

	(void)off, (void)len;
	r->port92 = value & (P92_FAST_RESET | P92_A20);
	if (rises)
		fire(r, "port 0x92 fast reset");
}

uint8_t kb_reset_cf9_read(void *reset)
{
	return ((struct kb_reset *)reset)->cf9;
}

void kb_reset_cf9_write(void *reset, uint8_t value)
{
	struct kb_reset *r = reset;
	bool rises = value & ~r->cf9 & CF9_RESET;

	r->cf9 = value & CF9_WRITABLE;
	if (rises)
		fire(r, value & CF9_HARD ? "port 0xcf9 hard reset" : "port 0xcf9 soft reset");
}

bool kb_reset_a20(const struct kb_reset *r)
{
	return r->port92 & P92_A20 || r->output & OUTPUT_A20;
}

static void kbd_update(struct kb_reset *r)
{
	kb_line_set(&r->cfg.irq1, r->status & STATUS_OBF && r->ctr & CTR_IRQ);
}

/* Fills the output buffer; what was not read yet is lost. */
static void kbd_answer(struct kb_reset *r, uint8_t data, uint8_t flags)
{
	r->data = data;
	r->status = (uint8_t)((r->status & ~STATUS_TIMEOUT) | STATUS_OBF | flags);
	kbd_update(r);
}

static void kbd_set_ctr(struct kb_reset *r, unsigned ctr)
{
	r->ctr = ctr & CTR_WRITABLE;
	r->status = (uint8_t)((r->status & ~STATUS_SYS) | (r->ctr & CTR_SYS));
	kbd_update(r);
}

static void kbd_set_output(struct kb_reset *r, uint8_t value)
{
	bool falls = r->output & ~value & OUTPUT_RUN;

	r->output = value & (OUTPUT_RUN | OUTPUT_A20);
	if (falls)
		fire(r, "keyboard controller output port");
}

static uint8_t kbd_output_port(const struct kb_reset *r)
{
	return (uint8_t)(r->output | OUTPUT_IDLE | (r->status & STATUS_OBF ? OUTPUT_OBF : 0));
}

/* Commands it does not know (those of a mouse port among them) do nothing and give no answer. */
static void kbd_command(struct kb_reset *r, uint8_t cmd)
{
	switch (cmd) {
	case CMD_READ_CTR:
		kbd_answer(r, r->ctr, 0);
		break;
	case CMD_WRITE_CTR:
	case CMD_WRITE_OUTPUT:
	case CMD_WRITE_KBD_BUFFER:
	case CMD_WRITE_AUX_BUFFER:
	case CMD_WRITE_AUX:
		r->pending = cmd;
		break;
	case CMD_SELF_TEST:
		kbd_set_ctr(r, r->ctr | CTR_SYS);
		kbd_answer(r, SELF_TEST_PASSED, 0);
		break;
	case CMD_TEST_KBD:
		kbd_answer(r, INTERFACE_OK, 0);
		break;
	case CMD_DISABLE_KBD:
		kbd_set_ctr(r, r->ctr | CTR_DISABLE_KBD);
		break;
	case CMD_ENABLE_KBD:
		kbd_set_ctr(r, r->ctr & ~(unsigned)CTR_DISABLE_KBD);
		break;
	case CMD_READ_INPUT:
		kbd_answer(r, INPUT_PORT, 0);
		break;
	case CMD_READ_OUTPUT:
		kbd_answer(r, kbd_output_port(r), 0);
		break;
	case CMD_A20_OFF:
		r->output &= (uint8_t)~OUTPUT_A20;
		break;
	case CMD_A20_ON:
		r->output |= OUTPUT_A20;
		break;
	case CMD_PULSE ... CMD_PULSE + 0xf:
		if (!(cmd & OUTPUT_RUN))
			fire(r, "keyboard controller pulse");
		break;
	}
}

static void kbd_byte(struct kb_reset *r, uint8_t value)
{
	uint8_t cmd = r->pending;

	r->pending = 0;
	switch (cmd) {
	case 0: /* for the keyboard */
		kbd_answer(r, KBD_NO_ANSWER, STATUS_TIMEOUT);
		break;
	case CMD_WRITE_CTR:
		kbd_set_ctr(r, value);
		break;
	case CMD_WRITE_OUTPUT:
		kbd_set_output(r, value);
		break;
	case CMD_WRITE_KBD_BUFFER:
		kbd_answer(r, value, 0);
		break;
	default: /* there is no mouse port: the byte goes nowhere */
		break;
	}
}

static uint64_t kbd_data_read(void *opaque, uint64_t off, unsigned len)
{
	struct kb_reset *r = opaque;

	(void)off, (void)len;
	r->status &= (uint8_t)~(STATUS_OBF | STATUS_TIMEOUT);
	kbd_update(r);
	return r->data;
}

static uint64_t kbd_status_read(void *opaque, uint64_t off, unsigned len)
{
	struct kb_reset *r = opaque;

	(void)off, (void)len;
	return r->status; /* input buffer full never shows: everything is done at once */
}

static void kbd_data_write(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_reset *r = opaque;

	(void)off, (void)len;
	r->status &= (uint8_t)~STATUS_COMMAND;
	kbd_byte(r, (uint8_t)value);
}

static void kbd_command_write(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_reset *r = opaque;

	(void)off, (void)len;
	r->status |= STATUS_COMMAND;
	r->pending = 0;
	kbd_command(r, (uint8_t)value);
}

void kb_reset_reset(struct kb_reset *r)
{
	r->port92 = P92_A20;
	r->cf9 = 0;
	r->status = STATUS_UNLOCKED;
	r->output = OUTPUT_RUN | OUTPUT_A20;
	r->data = r->pending = 0;
	kbd_set_ctr(r, CTR_SYS | CTR_DISABLE_KBD | CTR_DISABLE_AUX | CTR_TRANSLATE);
}

static struct kb_region byte_port(struct kb_reset *r, const char *name, uint64_t port, kb_read_fn read, kb_write_fn write)
{
	return (struct kb_region){
		.name = name, .base = port, .size = 1, .max_len = 1,
		.read = read, .write = write, .opaque = r,
	};
}

int kb_reset_create(struct kb_reset **out, const struct kb_reset_config *cfg, struct kvmbox_error *err)
{
	struct kb_reset *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return kb_fail(err, ENOMEM, "out of memory creating the reset ports");
	r->cfg = *cfg;
	r->p92 = byte_port(r, "port92", PORT_92, p92_read, p92_write);
	r->kbd_data = byte_port(r, "i8042-data", PORT_KBD_DATA, kbd_data_read, kbd_data_write);
	r->kbd_command = byte_port(r, "i8042-command", PORT_KBD_COMMAND, kbd_status_read, kbd_command_write);
	rc = kb_bus_add(cfg->io, &r->p92, err);
	if (!rc)
		rc = kb_bus_add(cfg->io, &r->kbd_data, err);
	if (!rc)
		rc = kb_bus_add(cfg->io, &r->kbd_command, err);
	if (rc) {
		kb_reset_destroy(r);
		return rc;
	}
	kb_reset_reset(r);
	*out = r;
	return 0;
}

void kb_reset_destroy(struct kb_reset *r)
{
	if (!r)
		return;
	kb_bus_remove(r->cfg.io, &r->p92);
	kb_bus_remove(r->cfg.io, &r->kbd_data);
	kb_bus_remove(r->cfg.io, &r->kbd_command);
	free(r);
}
