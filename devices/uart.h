/*
 * 16550A UART: eight ports, two 16-byte FIFOs (National Semiconductor PC16550D
 * data sheet, June 1995; section numbers are its own).
 *
 * What differs from the part: there is no baud rate. A character written to THR
 * has left at once, so LSR.THRE and LSR.TEMT are always set, and received
 * characters that stay below the trigger level time out at once. The THRE
 * interrupt is exact: it becomes pending when IER.ETBEI goes from 0 to 1 and
 * after each THR write, and is cleared by the IIR read that reports it or by a
 * THR write (the pin drops and rises, for edge-triggered controllers).
 * The divisor and the line format are kept but mean nothing to the back end,
 * which gets and gives whole bytes; loopback honours the word length. There are
 * no parity and framing errors and no breaks. Overruns happen in loopback only:
 * from the back end no more is taken than fits.
 *
 * The IRQ pin is wired as in a PC: driven by INTR while OUT2 is active, low
 * otherwise; loopback forces OUT2 inactive (section 8.8), so a guest polls then.
 * CTS, DSR and DCD are active if there is a back end.
 */
#ifndef KB_UART_H
#define KB_UART_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/chardev.h"
#include "devices/line.h"
#include "vcpu/bus.h"
#include "vcpu/error.h"

struct kb_uart;

struct kb_uart_config {
	struct kb_bus *io;          /* the port space; must outlive the UART */
	uint16_t port;              /* first of eight ports: 0x3f8 for COM1; a multiple of 8 */
	struct kb_line irq;         /* copied */
	struct kb_chardev *chardev; /* NULL: nothing connected; must outlive the UART */
};

/* -EINVAL: misaligned port; -ENOMEM; errors of kb_bus_add. Takes the chardev's input. */
int kb_uart_create(struct kb_uart **out, const struct kb_uart_config *config, struct kvmbox_error *err);
/* NULL is fine. The IRQ line is left as it is. */
void kb_uart_destroy(struct kb_uart *uart);
/* The MR pin (table I): DLL, DLM and SCR keep their contents. */
void kb_uart_reset(struct kb_uart *uart);
/* Polls the back end; true if the guest has new input. To be called between slices. */
bool kb_uart_poll(struct kb_uart *uart);

#endif
