/*
 * Option "pcap=FILE": what passes, for Wireshark and the like, stamped with
 * simulated time in nanoseconds. See pcap(3pcap), pcap-savefile(5).
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/net_impl.h"

#ifndef HAVE_LIBPCAP

int kb_pcap_open(struct kb_pcap **out, const char *path, const char *what, struct kvmbox_error *err)
{
	(void)out;
	return kb_fail(err, ENOTSUP, "%s: cannot record to %s: kvmbox was built without libpcap", what, path);
}

bool kb_pcap_write(struct kb_pcap *p, uint64_t time_ps, const uint8_t *frame, size_t len)
{
	(void)p;
	(void)time_ps;
	(void)frame;
	(void)len;
	return false;
}

void kb_pcap_close(struct kb_pcap *p)
{
	(void)p;
}

#else

#include <pcap/pcap.h>

struct kb_pcap {
	pcap_t *handle;
	pcap_dumper_t *dumper;
};

int kb_pcap_open(struct kb_pcap **out, const char *path, const char *what, struct kvmbox_error *err)
{
	struct kb_pcap *p = calloc(1, sizeof(*p));
	FILE *f;

	if (!p)
		return kb_fail(err, ENOMEM, "%s: out of memory", what);
	f = fopen(path, "wbe");
	if (!f) {
		free(p);
		return kb_fail(err, errno, "%s: cannot open %s for the capture: %s", what, path, strerror(errno));
	}
	p->handle = pcap_open_dead_with_tstamp_precision(DLT_EN10MB, (int)KVMBOX_NET_FRAME_MAX,
							 PCAP_TSTAMP_PRECISION_NANO);
	p->dumper = p->handle ? pcap_dump_fopen(p->handle, f) : NULL;
	if (!p->dumper || pcap_dump_flush(p->dumper)) {
		if (!p->dumper)
			fclose(f);
		kb_pcap_close(p);
		return kb_fail(err, EIO, "%s: cannot write the capture %s", what, path);
	}
	*out = p;
	return 0;
}

/* Flushed at once: captures are read while they grow, and after crashes. */
bool kb_pcap_write(struct kb_pcap *p, uint64_t time_ps, const uint8_t *frame, size_t len)
{
	uint64_t ns = time_ps / 1000;
	struct pcap_pkthdr h = {
		.ts = { .tv_sec = (time_t)(ns / 1000000000), .tv_usec = (suseconds_t)(ns % 1000000000) },
		.caplen = (bpf_u_int32)len,
		.len = (bpf_u_int32)len,
	};

	pcap_dump((u_char *)p->dumper, &h, frame);
	return !pcap_dump_flush(p->dumper);
}

void kb_pcap_close(struct kb_pcap *p)
{
	if (!p)
		return;
	if (p->dumper)
		pcap_dump_close(p->dumper);
	if (p->handle)
		pcap_close(p->handle);
	free(p);
}

#endif
