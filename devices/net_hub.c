/* "hub:NAME": the cards of one process, wired together. See kvmbox/net.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/net_impl.h"

struct port {
	char *name;
	struct kvmbox_net *net;
	struct port *next;
};

static struct port *ports;

static bool is_alone(const struct port *p)
{
	for (const struct port *q = ports; q; q = q->next)
		if (q != p && !strcmp(q->name, p->name))
			return false;
	return true;
}

static void wake(struct kvmbox_net *n)
{
	uint64_t one = 1;

	(void)!write(n->event, &one, sizeof(one)); /* full: it is awake */
}

/* Links of all of that name, now that p is there or no more. */
static void update_links(const struct port *p)
{
	for (struct port *q = ports; q; q = q->next)
		if (!strcmp(q->name, p->name) && q->net->link == is_alone(q)) {
			kb_net_set_link(q->net, !q->net->link);
			wake(q->net);
		}
}

static int hub_open(struct kvmbox_net *n, const char *name, struct kb_spec *s, struct kvmbox_error *err)
{
	struct port *p;
	int rc = kb_spec_check(s, n->user.what, "mac or pcap", err);

	if (rc)
		return rc;
	p = malloc(sizeof(*p));
	if (p)
		*p = (struct port){ .name = strdup(name), .net = n, .next = ports };
	if (!p || !p->name) {
		free(p);
		return kb_fail(err, ENOMEM, "%s: out of memory", n->user.what);
	}
	n->state = ports = p;
	update_links(p);
	return 0;
}

static void hub_close(struct kvmbox_net *n)
{
	struct port *p = n->state, **q = &ports;

	while (*q != p)
		q = &(*q)->next;
	*q = p->next;
	update_links(p);
	free(p->name);
	free(p);
}

static int hub_send(struct kvmbox_net *n, const uint8_t *frame, size_t len)
{
	const struct port *p = n->state;

	if (!n->link)
		return -ENOTCONN;
	for (struct port *q = ports; q; q = q->next)
		if (q != p && !strcmp(q->name, p->name)) {
			kb_net_push(q->net, frame, len);
			wake(q->net);
		}
	return 0;
}

const struct kb_net_ops kb_net_hub = {
	.kind = "hub:", .open = hub_open, .close = hub_close, .send = hub_send,
};
