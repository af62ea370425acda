/*
 * "tap:IFNAME": an Ethernet interface of the host whose other end is the card.
 * See kvmbox/net.h and the kernel's Documentation/networking/tuntap.rst.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "devices/net_impl.h"

#define TUN "/dev/net/tun"

static int explain(const struct kvmbox_net *n, const char *name, int error, struct kvmbox_error *err)
{
	if (error == EPERM || error == EACCES)
		return kb_fail(err, error, "%s: no right to open the tap interface %s; it takes CAP_NET_ADMIN, or an "
			       "interface made for you: sudo ip tuntap add dev %s mode tap user $USER", n->user.what, name, name);
	if (error == EBUSY)
		return kb_fail(err, error, "%s: the interface %s has another user (tap interfaces have one each)",
			       n->user.what, name);
	if (error == EINVAL)
		return kb_fail(err, error, "%s: %s is not a tap interface without options, or no name for one",
			       n->user.what, name);
	return kb_fail(err, error, "%s: cannot open the tap interface %s: %s", n->user.what, name, strerror(error));
}

static int tap_open(struct kvmbox_net *n, const char *name, struct kb_spec *s, struct kvmbox_error *err)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	int rc = kb_spec_check(s, n->user.what, "mac or pcap", err);
	int fd;

	if (rc)
		return rc;
	if (strlen(name) >= sizeof(ifr.ifr_name))
		return kb_fail(err, EINVAL, "%s: interface names have at most %zu characters, %s has more",
			       n->user.what, sizeof(ifr.ifr_name) - 1, name);
	strcpy(ifr.ifr_name, name);
	fd = open(TUN, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
		return kb_fail(err, errno, "%s: the host has no tap interfaces (" TUN ": %s); try modprobe tun",
			       n->user.what, strerror(errno));
	if (fd < 0)
		return explain(n, name, errno, err);
	if (ioctl(fd, TUNSETIFF, &ifr)) {
		rc = explain(n, name, errno, err);
		close(fd);
		return rc;
	}
	n->fd = fd;
	kb_logf(&n->user.log, KVMBOX_LOG_INFO, "%s is on the tap interface %s", n->user.what, ifr.ifr_name);
	return 0;
}

static int tap_send(struct kvmbox_net *n, const uint8_t *frame, size_t len)
{
	ssize_t rc;

	do
		rc = write(n->fd, frame, len);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

static ssize_t tap_receive(struct kvmbox_net *n, uint8_t *frame, size_t size)
{
	ssize_t len = n->link ? read(n->fd, frame, size) : -1;

	if (len >= 0)
		return len;
	if (n->link && errno == EBADFD) {
		kb_logf(&n->user.log, KVMBOX_LOG_WARNING, "%s: the tap interface was deleted", n->user.what);
		kb_net_set_link(n, false);
	}
	return -EAGAIN;
}

const struct kb_net_ops kb_net_tap = {
	.kind = "tap:", .open = tap_open, .send = tap_send, .receive = tap_receive,
};
