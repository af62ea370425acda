/*
 * kvmbox/net.h - network back ends: where a network card's cable goes.
 *
 *   user[,net=A.B.C.D/N][,hostfwd=tcp|udp:[ADDR]:PORT-[GUEST]:PORT]...[,restrict]
 *                              libslirp: NAT through the host's own sockets, no rights needed. The guest is
 *                              A.B.C.15 by DHCP, the router .2, a DNS server .3; default 10.0.2.0/24. hostfwd: who
 *                              connects to the host's port (ADDR: default 127.0.0.1) reaches the guest's. restrict: the
 *                              guest reaches nothing but what hostfwd opens
 *   tap:IFNAME                 a tap interface of the host, made if there is none
 *   unix:PATH[,listen]         a stream socket to another box or to QEMU (-netdev stream,addr.type=unix,addr.path=PATH):
 *                              each frame after its length in 4 bytes, big-endian
 *   udp:ADDR:PORT-ADDR:PORT    one frame per datagram, from the first address to the second (QEMU: -netdev dgram);
 *                              [ADDR] for IPv6
 *   hub:NAME                   all of that name in this process, wired together
 *   null                       a cable to nowhere
 *
 * All take mac=XX:XX:XX:XX:XX:XX, the address the card shall have, and pcap=FILE, which
 * records what passes (both ways; the pcap format, nanoseconds of simulated time).
 *
 * Frames are Ethernet frames from destination address to payload, without
 * preamble and FCS, KVMBOX_NET_FRAME_MIN to _MAX bytes; others are dropped and counted,
 * whoever sends them. Frames shorter than 60 bytes are not padded, no offloads are used.
 *
 * Flow. A card that has no room says so and gets the same frame again later;
 * meanwhile nothing more is taken from the host. The other way, what a peer
 * does not take at once is queued (unix:, 1 MiB) or dropped, and counted. Each poll hands over
 * a bounded number of frames, so that a flood cannot stop the simulation.
 *
 * Time. The world beyond the cable runs on the host's time, and a run with one is not
 * reproducible (hub: and null are). Time-outs that libslirp has towards the guest
 * (retransmissions, idle connections) run on simulated time, for the guest's sake: a simulation
 * slower than reality would lose its connections otherwise. A guest that sleeps while it
 * waits for an answer skips through its own time-outs unless the simulation is paced (pace=realtime).
 */
#ifndef KVMBOX_NET_H
#define KVMBOX_NET_H

#include <kvmbox/backend.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KVMBOX_NET_FRAME_MIN 14u
#define KVMBOX_NET_FRAME_MAX 16384u /* jumbo frames, and the longest that common cards can send */

struct kvmbox_net;

/*
 * -EINVAL: spec (the message lists kinds or options); -ENOTSUP: built without the
 * library; -EPERM and the like: the message says what right is missing; else the errno of the open.
 */
int kvmbox_net_open(struct kvmbox_net **out, const char *spec, const struct kvmbox_backend_user *user,
		    struct kvmbox_error *err);
/* NULL is fine. May be called from the callbacks. */
void kvmbox_net_close(struct kvmbox_net *n);

/* Both are called by poll(), receive() also by offer(). */
struct kvmbox_net_card {
	/* One frame. False: no room now, it is offered again. May call send(). */
	bool (*receive)(void *opaque, const void *frame, size_t len);
	/* The cable was plugged in or out; kvmbox_net_link() says which. May be NULL. */
	void (*link)(void *opaque);
	void *opaque;
};

/* Who receives. NULL: nobody; then frames stay where they are. Copied. */
void kvmbox_net_attach(struct kvmbox_net *n, const struct kvmbox_net_card *card);
/*
 * Sends one frame; it is the caller's again afterwards. Whatever becomes of it, the card has sent it: false is for
 * statistics (too short or long, no link, dropped by the queue or the host).
 */
bool kvmbox_net_send(struct kvmbox_net *n, const void *frame, size_t len);
/* Is there anybody at the other end, as far as can be known? */
bool kvmbox_net_link(const struct kvmbox_net *n);
/* The MAC address of the spec. False if there is none: the address is the default then, 52:54:00:12:34:56. */
bool kvmbox_net_mac(const struct kvmbox_net *n, uint8_t mac[6]);

/* Takes frames from the host to the card and queued ones out. True if the card got any or its link changed. */
bool kvmbox_net_poll(struct kvmbox_net *n);
/* Offers the frame that had no room once more, and the next ones that were taken from the host already. True if one was taken. */
bool kvmbox_net_offer(struct kvmbox_net *n);
/* Descriptors (at most max) that become readable when poll() has something to do. The answer changes with every call: ask each time. */
size_t kvmbox_net_fds(struct kvmbox_net *n, int *fds, size_t max);
/* Simulated time (ps, of the user's clock) by which poll() must be called, UINT64_MAX if only the descriptors matter. */
uint64_t kvmbox_net_deadline(struct kvmbox_net *n);

struct kvmbox_net_counts {
	uint64_t sent, received;                 /* frames the card sent that were passed on; frames it took */
	uint64_t send_dropped, receive_dropped;
};

void kvmbox_net_get_counts(const struct kvmbox_net *n, struct kvmbox_net_counts *counts);

#ifdef __cplusplus
}
#endif

#endif
