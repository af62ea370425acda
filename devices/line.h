/*
 * A wire from an output to an input: interrupt pins, timer gates, reset.
 * The driver owns the struct; the receiver gave it the callback.
 */
#ifndef KB_LINE_H
#define KB_LINE_H

#include <stdbool.h>
#include <stddef.h>

struct kb_line {
	void (*set)(void *opaque, int pin, bool level); /* NULL: not connected */
	void *opaque;
	int pin;
	bool level; /* as last driven */
};

/* Drives the line; the receiver is told about changes only. */
static inline void kb_line_set(struct kb_line *line, bool level)
{
	if (line->level == level)
		return;
	line->level = level;
	if (line->set)
		line->set(line->opaque, line->pin, level);
}

#endif
