/* 16550A UART: see uart.h. Section numbers: National Semiconductor PC16550D data sheet. */
#include "devices/uart.h"

#include <errno.h>
#include <stdlib.h>

/* Ports: table II. */
enum { RBR_THR_DLL, IER_DLM, IIR_FCR, LCR, MCR, LSR, MSR, SCR, PORTS };

enum { /* 8.7 */
	IER_ERBFI = 0x01,
	IER_ETBEI = 0x02,
	IER_ELSI = 0x04,
	IER_EDSSI = 0x08,
	IER_MASK = 0x0f,
};

enum { /* 8.6, table IV; in order of priority */
	IIR_LINE_STATUS = 0x06,
	IIR_DATA = 0x04,
	IIR_TIMEOUT = 0x0c,
	IIR_THRE = 0x02,
	IIR_MODEM = 0x00,
	IIR_NONE = 0x01,
	IIR_FIFOS = 0xc0,
};

enum { /* 8.5 */
	FCR_ENABLE = 0x01,
	FCR_RCVR_RESET = 0x02,
	FCR_TRIGGER_SHIFT = 6,
};

enum { /* 8.1 */
	LCR_WLS = 0x03,
	LCR_DLAB = 0x80,
};

enum { /* 8.8 */
	MCR_DTR = 0x01,
	MCR_RTS = 0x02,
	MCR_OUT1 = 0x04,
	MCR_OUT2 = 0x08,
	MCR_LOOP = 0x10,
	MCR_MASK = 0x1f,
};

enum { /* 8.4 */
	LSR_DR = 0x01,
	LSR_OE = 0x02,
	LSR_THRE = 0x20,
	LSR_TEMT = 0x40,
};

enum { /* 8.9 */
	MSR_CTS = 0x10,
	MSR_DSR = 0x20,
	MSR_RI = 0x40,
	MSR_DCD = 0x80,
	MSR_DELTAS = 0x0f,
};

#define FIFO_SIZE 16u

struct kb_uart {
	struct kb_region region;
	struct kb_bus *io;
	struct kb_line irq;
	struct kb_chardev *chardev;
	uint8_t dll, dlm, ier, lcr, mcr, msr, scr;
	uint8_t fcr;       /* enable and trigger level */
	bool overrun;      /* LSR.OE */
	bool thre_pending; /* the THRE interrupt, before IER.ETBEI */
	uint8_t fifo[FIFO_SIZE]; /* without FIFO mode: RBR in its first byte */
	unsigned head, count;
};

static unsigned capacity(const struct kb_uart *u)
{
	return u->fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

static unsigned trigger(const struct kb_uart *u)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };

	return u->fcr & FCR_ENABLE ? levels[u->fcr >> FCR_TRIGGER_SHIFT] : 1;
}

/* Interrupts */

static uint8_t iir(const struct kb_uart *u)
{
	if ((u->ier & IER_ELSI) && u->overrun)
		return IIR_LINE_STATUS;
	if ((u->ier & IER_ERBFI) && u->count)
		return u->count >= trigger(u) ? IIR_DATA : IIR_TIMEOUT;
	if ((u->ier & IER_ETBEI) && u->thre_pending)
		return IIR_THRE;
	if ((u->ier & IER_EDSSI) && (u->msr & MSR_DELTAS))
		return IIR_MODEM;
	return IIR_NONE;
}

static void update_irq(struct kb_uart *u)
{
	bool out2 = (u->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;

	kb_line_set(&u->irq, out2 && iir(u) != IIR_NONE);
}

/* Modem lines */

static uint8_t modem_inputs(const struct kb_uart *u)
{
	if (u->mcr & MCR_LOOP)
		return (uint8_t)((u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
				 (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0));
	return u->chardev ? MSR_CTS | MSR_DSR | MSR_DCD : 0;
}

/* The deltas lie four bits below: DCTS, DDSR and DDCD at any change, TERI at RI's trailing edge only. */
static void update_modem(struct kb_uart *u)
{
	uint8_t now = modem_inputs(u);
	uint8_t changed = (u->msr ^ now) & (MSR_CTS | MSR_DSR | MSR_RI | MSR_DCD);

	if (now & MSR_RI)
		changed &= (uint8_t)~MSR_RI;
	u->msr = (uint8_t)((u->msr & MSR_DELTAS) | now | changed >> 4);
}

/* Receiver */

static void clear_receiver(struct kb_uart *u)
{
	u->head = u->count = 0;
}

static void push(struct kb_uart *u, uint8_t byte)
{
	u->fifo[(u->head + u->count++) % FIFO_SIZE] = byte;
}

/* Section 8.4, OE: a full FIFO keeps what it has, RBR alone is overwritten. */
static void loop_back(struct kb_uart *u, uint8_t byte)
{
	byte &= (uint8_t)(0xff >> (3 - (u->lcr & LCR_WLS)));
	if (u->count < capacity(u)) {
		push(u, byte);
		return;
	}
	u->overrun = true;
	if (!(u->fcr & FCR_ENABLE))
		u->fifo[u->head] = byte;
}

static size_t take_input(void *opaque, const uint8_t *bytes, size_t len)
{
	struct kb_uart *u = opaque;
	size_t n = 0;

	if (u->mcr & MCR_LOOP)
		return 0;
	while (n < len && u->count < capacity(u))
		push(u, bytes[n++]);
	if (n)
		update_irq(u);
	return n;
}

/*
 * An RBR read ends the receive condition, and what is left in the FIFO or the
 * back end is a new one: the pin drops in between, unless the trigger level is
 * still reached (8.11), so that a handler that takes one character
 * per edge gets the next edge.
 */
static uint8_t read_rbr(struct kb_uart *u)
{
	unsigned left;
	uint8_t byte;

	if (!u->count)
		return 0;
	byte = u->fifo[u->head];
	u->head = (u->head + 1) % FIFO_SIZE;
	left = --u->count;
	if (left < trigger(u)) {
		u->count = 0;
		update_irq(u);
		u->count = left;
	}
	update_irq(u);
	if (!u->count && u->chardev)
		kb_chardev_offer(u->chardev);
	return byte;
}

/* Transmitter: THR is full only for as long as this takes. */
static void write_thr(struct kb_uart *u, uint8_t byte)
{
	u->thre_pending = false;
	update_irq(u);
	if (u->mcr & MCR_LOOP)
		loop_back(u, byte);
	else if (u->chardev)
		kb_chardev_write(u->chardev, &byte, 1);
	u->thre_pending = true;
	update_irq(u);
}

static void write_ier(struct kb_uart *u, uint8_t value)
{
	uint8_t rising = value & (uint8_t)~u->ier;

	u->ier = value & IER_MASK;
	if (rising & IER_ETBEI)
		u->thre_pending = true;
	update_irq(u);
}

/* Other bits count only with FCR0 set (8.5). Changing FCR0 clears both FIFOs; the transmitter's is empty anyway. */
static void write_fcr(struct kb_uart *u, uint8_t value)
{
	bool change = (value ^ u->fcr) & FCR_ENABLE;

	if (change || ((value & FCR_ENABLE) && (value & FCR_RCVR_RESET)))
		clear_receiver(u);
	u->fcr = value & FCR_ENABLE ? value & (FCR_ENABLE | 3 << FCR_TRIGGER_SHIFT) : 0;
	update_irq(u);
}

static void write_mcr(struct kb_uart *u, uint8_t value)
{
	u->mcr = value & MCR_MASK;
	update_modem(u);
	update_irq(u);
}

/* Registers */

static uint8_t read_iir(struct kb_uart *u)
{
	uint8_t value = iir(u);

	if (value == IIR_THRE) {
		u->thre_pending = false;
		update_irq(u);
	}
	return value | (u->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint8_t read_lsr(struct kb_uart *u)
{
	uint8_t value = (uint8_t)(LSR_THRE | LSR_TEMT | (u->count ? LSR_DR : 0) | (u->overrun ? LSR_OE : 0));

	u->overrun = false;
	update_irq(u);
	return value;
}

static uint8_t read_msr(struct kb_uart *u)
{
	uint8_t value = u->msr;

	u->msr &= (uint8_t)~MSR_DELTAS;
	update_irq(u);
	return value;
}

static uint64_t uart_read(void *opaque, uint64_t off, unsigned len)
{
	struct kb_uart *u = opaque;
	bool dlab = u->lcr & LCR_DLAB;

	(void)len;
	switch (off) {
	case RBR_THR_DLL:
		return dlab ? u->dll : read_rbr(u);
	case IER_DLM:
		return dlab ? u->dlm : u->ier;
	case IIR_FCR:
		return read_iir(u);
	case LCR:
		return u->lcr;
	case MCR:
		return u->mcr;
	case LSR:
		return read_lsr(u);
	case MSR:
		return read_msr(u);
	default:
		return u->scr;
	}
}

/* LSR and MSR are for reading (8.4: writing is a factory test). */
static void uart_write(void *opaque, uint64_t off, unsigned len, uint64_t value64)
{
	struct kb_uart *u = opaque;
	bool dlab = u->lcr & LCR_DLAB;
	uint8_t value = (uint8_t)value64;

	(void)len;
	if (off == RBR_THR_DLL && dlab)
		u->dll = value;
	else if (off == RBR_THR_DLL)
		write_thr(u, value);
	else if (off == IER_DLM && dlab)
		u->dlm = value;
	else if (off == IER_DLM)
		write_ier(u, value);
	else if (off == IIR_FCR)
		write_fcr(u, value);
	else if (off == LCR)
		u->lcr = value;
	else if (off == MCR)
		write_mcr(u, value);
	else if (off == SCR)
		u->scr = value;
	/* These may have made room for input the back end holds. */
	if ((off == IIR_FCR || off == MCR) && u->chardev)
		kb_chardev_offer(u->chardev);
}

static const char *port_name(uint16_t port)
{
	switch (port) {
	case 0x3f8:
		return "COM1";
	case 0x2f8:
		return "COM2";
	case 0x3e8:
		return "COM3";
	case 0x2e8:
		return "COM4";
	default:
		return "UART";
	}
}

void kb_uart_reset(struct kb_uart *u)
{
	u->ier = u->lcr = u->mcr = u->fcr = 0;
	u->overrun = u->thre_pending = false;
	clear_receiver(u);
	u->msr = modem_inputs(u);
	update_irq(u);
}

int kb_uart_create(struct kb_uart **out, const struct kb_uart_config *config, struct kvmbox_error *err)
{
	struct kb_uart *u;
	int rc;

	if (config->port % PORTS)
		return kb_fail(err, EINVAL, "UART at port 0x%x: the port must be a multiple of 8", config->port);
	u = calloc(1, sizeof(*u));
	if (!u)
		return kb_fail(err, ENOMEM, "out of memory creating the UART at port 0x%x", config->port);
	u->io = config->io;
	u->irq = config->irq;
	u->chardev = config->chardev;
	u->region = (struct kb_region){
		.name = port_name(config->port), .base = config->port, .size = PORTS, .max_len = 1,
		.read = uart_read, .write = uart_write, .opaque = u,
	};
	rc = kb_bus_add(u->io, &u->region, err);
	if (rc) {
		free(u);
		return rc;
	}
	kb_uart_reset(u);
	if (u->chardev)
		kb_chardev_on_input(u->chardev, take_input, u);
	*out = u;
	return 0;
}

void kb_uart_destroy(struct kb_uart *u)
{
	if (!u)
		return;
	if (u->chardev)
		kb_chardev_on_input(u->chardev, NULL, NULL);
	kb_bus_remove(u->io, &u->region);
	free(u);
}

bool kb_uart_poll(struct kb_uart *u)
{
	return u->chardev && kb_chardev_poll(u->chardev);
}
