/*
 * Character back ends of serial ports and consoles: where the bytes go and
 * come from. Text form: "null", "stdio", "file:PATH", "pty", "unix:PATH"
 * (listening socket, one client at a time), "memory".
 *
 * Nothing here blocks: output a back end cannot take now is kept up to a bound
 * and then dropped (counted); input is taken by kb_chardev_poll(). The
 * terminal's mode is restored by destroy.
 */
#ifndef KB_CHARDEV_H
#define KB_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vcpu/error.h"
#include "vcpu/log.h"

struct kb_chardev;

/* Takes up to len bytes of input, returns how many it took (the rest is offered again). */
typedef size_t (*kb_chardev_input_fn)(void *opaque, const uint8_t *bytes, size_t len);

/*
 * -EINVAL: unknown kind or missing path, the message lists the kinds; else the
 * errno of the open. what names the user ("COM1") in messages. A pty's path
 * and a socket's client are reported to the log (INFO).
 */
int kb_chardev_create(struct kb_chardev **out, const char *spec, const char *what,
		      const struct kb_log *log, struct kvmbox_error *err);
void kb_chardev_destroy(struct kb_chardev *c);

/* Who takes input; set once by the device. */
void kb_chardev_on_input(struct kb_chardev *c, kb_chardev_input_fn fn, void *opaque);
void kb_chardev_write(struct kb_chardev *c, const void *bytes, size_t len);
/* Moves waiting input to the device and waiting output out. True if any input was delivered. */
bool kb_chardev_poll(struct kb_chardev *c);
/* Descriptors worth polling for input (at most max); 0 for null, file and memory. */
size_t kb_chardev_fds(const struct kb_chardev *c, int *fds, size_t max);
uint64_t kb_chardev_dropped(const struct kb_chardev *c);

/* "memory" only: everything written so far (NUL-terminated, owned by c); bytes to be read by the guest. */
size_t kb_chardev_output(const struct kb_chardev *c, const char **text);
int kb_chardev_feed(struct kb_chardev *c, const void *bytes, size_t len);

#endif
