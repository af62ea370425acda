/*
 * The PC's pair of interrupt controllers: Intel 8259A (order 231468), master
 * at ports 0x20/0x21, slave on the master's IR2 at 0xa0/0xa1, and the
 * edge/level control registers (ELCR) at 0x4d0/0x4d1.
 *
 * Wired and programmed as in a PC: ICW1.LTIM is ignored in favour of the ELCR,
 * ICW3 is taken but the wiring is fixed, ICW4.uPM is taken for set (there is no
 * MCS-80 here), buffered mode changes nothing. An edge-triggered input latches
 * its rising edge until acknowledged even if it falls before (the chip would
 * answer with a spurious IR7); a level-triggered one follows the pin.
 */
#ifndef KB_PIC_H
#define KB_PIC_H

#include <stdbool.h>

#include "devices/line.h"
#include "vcpu/bus.h"

struct kb_pic;

struct kb_pic_config {
	struct kb_bus *io;  /* must outlive the PIC */
	struct kb_line out; /* INTR of the master; copied, low at first */
};

/* Claims its ports. All inputs low, everything masked. -ENOMEM, -EEXIST. */
int kb_pic_create(struct kb_pic **out, const struct kb_pic_config *cfg, struct kvmbox_error *err);
void kb_pic_destroy(struct kb_pic *pic); /* NULL is fine */

/*
 * Not initialised, everything masked, ELCR all edge, no request; INTR falls.
 * The levels of the inputs are their drivers' and stay: one that is high needs
 * a new rising edge.
 */
void kb_pic_reset(struct kb_pic *pic);

/* Level of an input, irq 0-15; others and 2 (the cascade) are ignored. */
void kb_pic_set_irq(struct kb_pic *pic, int irq, bool level);
/* The same as the receiving end of a struct kb_line: opaque is the struct kb_pic. */
void kb_pic_line_set(void *opaque, int irq, bool level);

/*
 * Interrupt acknowledge (both INTA cycles): the vector, 0-255. Call it when
 * INTR is high; without a request it is the spurious IR7 of the chip asked
 * (the slave's leaves IR2 in service in the master), as in the datasheet.
 */
int kb_pic_ack(struct kb_pic *pic);

#endif
