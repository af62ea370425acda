/*
 * ACPI Machine Language, written front to back into a buffer (ACPI 6.3, chapter 20; resource descriptors: section 6.4).
 * Calls follow the grammar: kb_aml_name() is followed by its value, kb_aml_package_begin() by the
 * elements and kb_aml_end(). Nothing is allocated; look at kb_aml_ok() once, at the end.
 */
#ifndef KB_AML_H
#define KB_AML_H

#include "platforms/buf.h"

#define KB_AML_DEPTH 16 /* of nested scopes, devices, packages... */

struct kb_aml {
	struct kb_buf out;
	size_t open[KB_AML_DEPTH]; /* where the length of what is not ended yet goes */
	unsigned depth;
	bool bad;                  /* a name or number that AML cannot express, or an end without a begin */
};

/* Appends to what buf holds; *buf itself is followed up by kb_aml_finish() only. */
void kb_aml_start(struct kb_aml *a, const struct kb_buf *buf);
/* Everything fitted, was expressible, and is ended. */
bool kb_aml_ok(const struct kb_aml *a);
/* Gives the buffer back, marked as overflown unless kb_aml_ok(). */
void kb_aml_finish(struct kb_aml *a, struct kb_buf *buf);

/* ---- terms that enclose others, up to kb_aml_end() ---- */

/* Names as in ASL: "\\_SB.PCI0", "^CRS", "_HID"; segments shorter than four characters are padded. */
void kb_aml_scope_begin(struct kb_aml *a, const char *name);
void kb_aml_device_begin(struct kb_aml *a, const char *name);
/* args: 0-7. Not serialised. */
void kb_aml_method_begin(struct kb_aml *a, const char *name, unsigned args);
/* count: elements, 0-255. */
void kb_aml_package_begin(struct kb_aml *a, unsigned count);
/* Followed by the condition, then the terms; kb_aml_end() before kb_aml_else_begin(). */
void kb_aml_if_begin(struct kb_aml *a);
void kb_aml_else_begin(struct kb_aml *a);
void kb_aml_end(struct kb_aml *a);

/* ---- terms and values ---- */

void kb_aml_name(struct kb_aml *a, const char *name); /* Name(name, the value that follows) */
void kb_aml_ref(struct kb_aml *a, const char *name);  /* the object itself */
void kb_aml_int(struct kb_aml *a, uint64_t v);        /* the shortest form */
void kb_aml_string(struct kb_aml *a, const char *text); /* ASCII 1-127 */
void kb_aml_eisaid(struct kb_aml *a, const char *id); /* "PNP0A03" */
void kb_aml_buffer(struct kb_aml *a, const void *bytes, size_t len);
void kb_aml_arg(struct kb_aml *a, unsigned n);        /* 0-6 */
void kb_aml_local(struct kb_aml *a, unsigned n);      /* 0-7 */
void kb_aml_return(struct kb_aml *a);                 /* followed by the value */
void kb_aml_store(struct kb_aml *a);                  /* followed by value and destination */
void kb_aml_equal(struct kb_aml *a);                  /* followed by two values */

/* ---- resource templates: values; descriptors between begin and end ---- */

void kb_aml_resources_begin(struct kb_aml *a);
void kb_aml_resources_end(struct kb_aml *a);
/* Fixed ports, all 16 address lines decoded. */
void kb_aml_io(struct kb_aml *a, uint16_t port, uint8_t len);
/* ISA interrupt 0-15: edge, active high, exclusive. */
void kb_aml_irq(struct kb_aml *a, unsigned irq);

enum kb_aml_interrupt { /* flags, section 6.4.3.6 */
	KB_AML_IRQ_CONSUMER = 1, KB_AML_IRQ_EDGE = 2, KB_AML_IRQ_LOW = 4, KB_AML_IRQ_SHARED = 8,
};
void kb_aml_interrupt(struct kb_aml *a, uint32_t gsi, unsigned flags);
void kb_aml_memory32_fixed(struct kb_aml *a, uint32_t base, uint32_t size, bool writable);

/* What a bridge passes on: fixed ranges [first, last], positively decoded. */
void kb_aml_bus_window(struct kb_aml *a, uint16_t first, uint16_t last);
void kb_aml_io_window(struct kb_aml *a, uint16_t first, uint16_t last);
void kb_aml_memory32_window(struct kb_aml *a, uint32_t first, uint32_t last);
void kb_aml_memory64_window(struct kb_aml *a, uint64_t first, uint64_t last);

#endif
