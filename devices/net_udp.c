/* "udp:ADDR:PORT-ADDR:PORT": one frame per datagram. See kvmbox/net.h, udp(7). */
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/net_impl.h"

/* Numbers only: names could take long to look up, and have dashes in them. */
static int resolve(const struct kvmbox_net *n, const char *text, size_t len, struct addrinfo **out,
		   struct kvmbox_error *err)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	const char *colon = memrchr(text, ':', len);
	const char *host = text, *host_end = colon;
	char address[64], port[8];
	uint64_t number;

	if (colon && *host == '[' && host_end[-1] == ']')
		host++, host_end--;
	if (!colon || host_end <= host || (size_t)(host_end - host) >= sizeof(address) ||
	    (size_t)(text + len - colon - 1) >= sizeof(port))
		return kb_fail(err, EINVAL, "%s: \"%.*s\" is not ADDR:PORT", n->user.what, (int)len, text);
	memcpy(address, host, (size_t)(host_end - host));
	address[host_end - host] = 0;
	memcpy(port, colon + 1, (size_t)(text + len - colon - 1));
	port[text + len - colon - 1] = 0;
	if (!kb_spec_number(port, 1, 65535, &number) || getaddrinfo(address, port, &hints, out))
		return kb_fail(err, EINVAL, "%s: \"%.*s\" is not ADDR:PORT with a numeric address and a port from 1 to 65535",
			       n->user.what, (int)len, text);
	return 0;
}

static int make_socket(const struct kvmbox_net *n, const struct addrinfo *local, const struct addrinfo *remote,
		       const char *place, struct kvmbox_error *err)
{
	int fd, rc = 0;

	if (local->ai_family != remote->ai_family)
		return kb_fail(err, EINVAL, "%s: udp:%s has one IPv4 and one IPv6 address", n->user.what, place);
	fd = socket(local->ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return kb_fail(err, errno, "%s: cannot create a socket: %s", n->user.what, strerror(errno));
	/* Connected: the kernel keeps out what others send. */
	if (bind(fd, local->ai_addr, local->ai_addrlen))
		rc = kb_fail(err, errno, "%s: cannot receive at udp:%s: %s", n->user.what, place, strerror(errno));
	else if (connect(fd, remote->ai_addr, remote->ai_addrlen))
		rc = kb_fail(err, errno, "%s: cannot send to udp:%s: %s", n->user.what, place, strerror(errno));
	if (rc)
		close(fd);
	return rc ? rc : fd;
}

static int udp_open(struct kvmbox_net *n, const char *place, struct kb_spec *s, struct kvmbox_error *err)
{
	const char *dash = strchr(place, '-');
	struct addrinfo *local = NULL, *remote = NULL;
	int rc = kb_spec_check(s, n->user.what, "mac or pcap", err);

	if (rc)
		return rc;
	if (!dash)
		return kb_fail(err, EINVAL, "%s: udp:%s names one end only; use udp:ADDR:PORT-ADDR:PORT, this end first",
			       n->user.what, place);
	rc = resolve(n, place, (size_t)(dash - place), &local, err);
	if (!rc)
		rc = resolve(n, dash + 1, strlen(dash + 1), &remote, err);
	if (!rc)
		rc = make_socket(n, local, remote, place, err);
	if (local)
		freeaddrinfo(local);
	if (remote)
		freeaddrinfo(remote);
	if (rc < 0)
		return rc;
	n->fd = rc;
	return 0;
}

/* ECONNREFUSED tells, once, of a datagram sent before: nobody was there yet. Try again. */
static bool try_again(int *tries)
{
	return (errno == ECONNREFUSED || errno == EINTR) && ++*tries < 4;
}

static int udp_send(struct kvmbox_net *n, const uint8_t *frame, size_t len)
{
	int tries = 0;
	ssize_t rc;

	do
		rc = send(n->fd, frame, len, MSG_NOSIGNAL);
	while (rc < 0 && try_again(&tries));
	return rc < 0 ? -errno : 0;
}

static ssize_t udp_receive(struct kvmbox_net *n, uint8_t *frame, size_t size)
{
	int tries = 0;
	ssize_t len;

	do
		len = recv(n->fd, frame, size, 0);
	while (len < 0 && try_again(&tries));
	return len < 0 ? -EAGAIN : len;
}

const struct kb_net_ops kb_net_udp = {
	.kind = "udp:", .open = udp_open, .send = udp_send, .receive = udp_receive,
};
