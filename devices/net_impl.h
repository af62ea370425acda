/*
 * What a network back end brings: private to devices/net*.c. See kvmbox/net.h.
 */
#ifndef KB_NET_IMPL_H
#define KB_NET_IMPL_H

#include <sys/types.h>

#include <kvmbox/net.h>

#include "devices/backend.h"
#include "devices/ring.h"

#define KB_NET_QUEUE  (1u << 20) /* bytes of frames, each after its length in 4 bytes, kept for the card or a peer */
#define KB_NET_BUFFER (KVMBOX_NET_FRAME_MAX + 1u) /* shows that a frame is too long */

struct kb_net_ops {
	const char *kind; /* with the colon if a place follows */
	/* Sets n->state or n->fd; takes its options and checks that there are no others; cleans up after itself on failure. */
	int (*open)(struct kvmbox_net *n, const char *place, struct kb_spec *s, struct kvmbox_error *err);
	void (*close)(struct kvmbox_net *n);
	/* Connections, timers, the host's data; once per poll. */
	void (*service)(struct kvmbox_net *n);
	/* A frame of proper length. 0, or a negative errno: it is lost. */
	int (*send)(struct kvmbox_net *n, const uint8_t *frame, size_t len);
	/* The next frame, size (KB_NET_BUFFER) bytes of it at most: its length, -EAGAIN: none now, else: one was lost. */
	ssize_t (*receive)(struct kvmbox_net *n, uint8_t *frame, size_t size);
	/* Frames are in n->in (kb_net_push()) when receive() is NULL. */
	size_t (*fds)(struct kvmbox_net *n, bool wanted, int *fds, size_t max);
	uint64_t (*deadline)(struct kvmbox_net *n);
};

struct kvmbox_net {
	const struct kb_net_ops *ops;
	void *state; /* the back end's */
	struct kb_backend user;
	struct kvmbox_net_card card;
	struct kvmbox_net_counts counts;
	struct kb_pcap *pcap;
	int fd;           /* one descriptor that is readable when receive() has something, closed with the rest; -1: none */
	struct kb_ring in;
	int event;        /* an eventfd: there is something in n->in */
	bool link, link_changed;
	bool has_mac;
	uint8_t mac[6];
	unsigned busy;    /* callbacks under way */
	bool doomed;      /* closed by one of them */
	size_t held_len;  /* of the frame the card had no room for; 0: none */
	uint8_t held[KB_NET_BUFFER];
};

extern const struct kb_net_ops kb_net_hub, kb_net_tap, kb_net_udp, kb_net_unix, kb_net_user;

void kb_net_set_link(struct kvmbox_net *n, bool up);
/* Appends a frame to n->in; drops and counts it if there is no room. */
void kb_net_push(struct kvmbox_net *n, const uint8_t *frame, size_t len);
/* A frame and its length in 4 bytes, big-endian; all or nothing. */
bool kb_frame_push(struct kb_ring *r, const uint8_t *frame, size_t len);

/* Captures */

struct kb_pcap;

int kb_pcap_open(struct kb_pcap **out, const char *path, const char *what, struct kvmbox_error *err);
/* False: the file takes no more. */
bool kb_pcap_write(struct kb_pcap *p, uint64_t time_ps, const uint8_t *frame, size_t len);
void kb_pcap_close(struct kb_pcap *p);

#endif
