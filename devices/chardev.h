/*
 * Character back ends of serial ports and consoles: where the bytes go and
 * come from. Text form: "null", "stdio", "file:PATH", "pty", "unix:PATH"
 * (listening socket, one client at a time), "memory"; each with ",logfile=PATH",
 * which gets a copy of the output. A comma in a path is written twice.
 *
 * Nothing here blocks: output a back end cannot take now is kept up to a bound
 * (1 MiB; "memory": 64 MiB) and then the new bytes are dropped (counted); input
 * is taken by kb_chardev_poll(). The exceptions are writes to stdout and to a
 * regular file, which wait for the terminal, the pipe or the disk as those of
 * any program do. What a pty or a socket cannot deliver because nobody has
 * attached yet (or any more) waits for the next one in that same queue.
 *
 * "stdio" exists once per process. If stdin is a terminal it is switched to
 * raw mode, keys such as Ctrl-C go to the guest, Ctrl-A x quits and Ctrl-A
 * Ctrl-A sends one Ctrl-A. The terminal's mode is restored by destroy, at exit
 * and by fatal signals (handlers installed before are called); a process in
 * the background leaves it alone. O_NONBLOCK of stdin and stdout is not
 * touched: other processes share it.
 *
 * Not thread-safe: used on the box's thread only. The functions may be called
 * from the callbacks, destroy included (it takes effect when the callback's
 * caller is done).
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
 * and a socket's client are reported to the log (INFO). -EBUSY: stdio is taken;
 * -EADDRINUSE: another process listens there; -EEXIST: something that is not
 * our stale socket is in the way. spec, what and *log are copied.
 */
int kb_chardev_create(struct kb_chardev **out, const char *spec, const char *what,
		      const struct kb_log *log, struct kvmbox_error *err);
/* Is it a spec, as far as can be told without opening anything? 0 or -EINVAL. */
int kb_chardev_check(const char *spec, const char *what, struct kvmbox_error *err);
/* NULL is fine. Removes the socket's file. Output still queued is offered once more, then lost. */
void kb_chardev_destroy(struct kb_chardev *c);

/* Who takes input; set once by the device. fn NULL: nobody (input stays where it is). */
void kb_chardev_on_input(struct kb_chardev *c, kb_chardev_input_fn fn, void *opaque);
/* Who is told that the user typed Ctrl-A x; called by kb_chardev_poll(). Other kinds never call it. */
void kb_chardev_on_quit(struct kb_chardev *c, void (*fn)(void *opaque), void *opaque);
void kb_chardev_write(struct kb_chardev *c, const void *bytes, size_t len);
/* Moves waiting input to the device and waiting output out. True if any input was delivered. */
bool kb_chardev_poll(struct kb_chardev *c);
/*
 * Offers input that was already taken from the host once more, without a system
 * call: for a device that has just made room. True if any was delivered.
 */
bool kb_chardev_offer(struct kb_chardev *c);
/*
 * Descriptors worth polling for input (at most max) right now; 0 for null, file
 * and memory. The answer changes with every poll, offer and write: ask each time.
 */
size_t kb_chardev_fds(const struct kb_chardev *c, int *fds, size_t max);
/* Bytes of output nobody will ever see. */
uint64_t kb_chardev_dropped(const struct kb_chardev *c);

/*
 * "memory" only (else an empty text and -EINVAL): everything written so far
 * (NUL-terminated, owned by c, valid until the next write), and bytes to be
 * read by the guest: all of them or -ENOSPC (64 MiB waiting) or -ENOMEM.
 */
size_t kb_chardev_output(const struct kb_chardev *c, const char **text);
int kb_chardev_feed(struct kb_chardev *c, const void *bytes, size_t len);

#endif
