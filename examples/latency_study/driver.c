/*
 * The study's driver: keeps DEPTH commands outstanding at each point of the sweep and measures, with the box's
 * simulated-time register, the throughput and every command's latency (from its doorbell to when the driver sees it is
 * done). One line per point on COM1.
 */
#include "kvmbox_guest.h"
#include "storage_regs.h"

#define VECTOR 0x41

static struct storage_command sq[STORAGE_QUEUE] __attribute__((aligned(4096)));
static volatile struct storage_completion cq[STORAGE_QUEUE] __attribute__((aligned(4096)));
static uint64_t buffer[STORAGE_MAX_DEPTH][STORAGE_MAX_LENGTH / 8] __attribute__((aligned(4096)));

static uint64_t regs;
static uint32_t length, poll;
static uint32_t submitted, seen;   /* since the start */
static uint32_t block;
static uint64_t started[STORAGE_MAX_DEPTH]; /* by command id */
static volatile int interrupted;

static GUEST_CPL0 void done(int vector)
{
	(void)vector;
	interrupted = 1;
	lapic_eoi();
}

static uint32_t reg(enum storage_reg r)
{
	return mmio_read32(regs + r);
}

static void set_reg(enum storage_reg r, uint32_t value)
{
	mmio_write32(regs + r, value);
}

static void find(void)
{
	const unsigned bdf = pci_find(STORAGE_VENDOR_ID, STORAGE_DEVICE_ID, 0);
	struct pci_bar bar;

	if (bdf == GUEST_PCI_NONE || !pci_bar(bdf, 0, &bar))
		panic("storage: no device");
	regs = bar.address;
	pci_enable(bdf, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	length = reg(STORAGE_REG_LENGTH);
	poll = reg(STORAGE_REG_POLL);
	if (reg(STORAGE_REG_ID) != STORAGE_ID || length > STORAGE_MAX_LENGTH)
		panic("storage: registers");
	set_reg(STORAGE_REG_SQ, (uint32_t)(uintptr_t)sq);
	set_reg(STORAGE_REG_CQ, (uint32_t)(uintptr_t)cq);
	if (poll)
		return;
	lapic_init();
	irq_handler(VECTOR, done);
	if (!msi_enable(bdf, VECTOR, 0))
		panic("storage: no MSI");
}

static void submit(uint32_t id)
{
	buffer[id][0] = 0;
	sq[submitted++ % STORAGE_QUEUE] = (struct storage_command){
		.id = id, .block = ++block, .buffer = (uint32_t)(uintptr_t)buffer[id], .length = length,
	};
}

static void ring_doorbell(void)
{
	barrier();
	set_reg(STORAGE_REG_DOORBELL, submitted);
}

/* Until at least one completion is there. Returns the time at which the driver knows. */
static uint64_t wait_completion(void)
{
	uint64_t now;

	for (;;) {
		if (!poll) {
			while (cq[seen % STORAGE_QUEUE].sequence != seen + 1) {
				wait_until(&interrupted);
				interrupted = 0;
			}
		}
		now = time_ps();
		barrier();
		if (cq[seen % STORAGE_QUEUE].sequence == seen + 1)
			return now;
	}
}

struct result {
	uint64_t from, to;               /* ps: first doorbell, last completion */
	uint64_t sum, min, max, counted; /* latencies, ps */
};

/* The first depth commands meet an empty device: they count for the throughput, not for the latency. */
static void note(struct result *r, uint64_t latency, uint32_t number, uint32_t depth)
{
	if (number < depth)
		return;
	r->sum += latency;
	r->counted++;
	if (latency < r->min)
		r->min = latency;
	if (latency > r->max)
		r->max = latency;
}

static void run_point(uint32_t depth, uint32_t commands, struct result *r)
{
	uint32_t left = commands - depth, number = 0;

	*r = (struct result){ .from = time_ps(), .min = UINT64_MAX };
	for (uint32_t id = 0; id < depth; id++) {
		started[id] = r->from;
		submit(id);
	}
	ring_doorbell();
	while (number < commands) {
		const uint32_t before = submitted;
		const uint64_t now = wait_completion();

		for (; cq[seen % STORAGE_QUEUE].sequence == seen + 1; seen++, number++) {
			const uint32_t id = cq[seen % STORAGE_QUEUE].id;

			if (id >= depth || buffer[id][0] == 0 || buffer[id][0] != buffer[id][length / 8 - 1])
				panic("storage: wrong data");
			note(r, now - started[id], number, depth);
			r->to = now;
			if (left) {
				left--;
				started[id] = now;
				submit(id);
			}
		}
		if (submitted != before)
			ring_doorbell();
	}
}

int main(void)
{
	struct result r;

	find();
	for (;;) {
		uint32_t depth, commands;

		set_reg(STORAGE_REG_NEXT, 1);
		depth = reg(STORAGE_REG_DEPTH);
		commands = reg(STORAGE_REG_COMMANDS);
		if (!depth)
			return 0;
		if (depth > STORAGE_MAX_DEPTH || commands <= depth)
			panic("storage: depth %u, %u commands", depth, commands);
		run_point(depth, commands, &r);
		printf("point depth %u ps %lu mean %lu min %lu max %lu\n", depth, r.to - r.from, r.sum / r.counted, r.min,
		       r.max);
	}
}
