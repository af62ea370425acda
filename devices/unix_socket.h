/*
 * Stream sockets with a path, for back ends that listen or connect: unix(7).
 */
#ifndef KB_UNIX_SOCKET_H
#define KB_UNIX_SOCKET_H

#include <sys/stat.h>
#include <sys/un.h>

#include "vcpu/error.h"

#define KB_UNIX_BACKLOG 4

struct kb_unix_listener {
	int fd; /* non-blocking */
	dev_t dev; /* the socket's file, so as not to remove someone else's */
	ino_t ino;
	struct sockaddr_un addr;
};

/*
 * Takes the place of a socket of ours that nobody listens on any more. -ENAMETOOLONG;
 * -EADDRINUSE: another process listens there; -EEXIST: something else is there; ...
 */
int kb_unix_listen(struct kb_unix_listener *l, const char *path, const char *what, struct kvmbox_error *err);
/* Closes it and removes its file. */
void kb_unix_unlisten(struct kb_unix_listener *l);
/* A connected, non-blocking socket, or a negative errno. */
int kb_unix_connect(const char *path, const char *what, struct kvmbox_error *err);

#endif
