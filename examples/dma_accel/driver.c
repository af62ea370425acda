/*
 * Guest driver of the DMA accelerator (accel_regs.h): finds it, shows its BARs, runs jobs by interrupt, checks every
 * byte against its own computation and compares the time it sees with the time the device says it took.
 *
 * A line per job: what it was, the device's own figure for its duration, and three readings of the time register:
 * before the doorbell, in the interrupt handler, and when main() goes on. Exit status 0 only if all was right, else
 * the number of the stage that failed (enum stage).
 */
#include "accel_regs.h"
#include "kvmbox_guest.h"

enum stage { FIND = 1, BARS, REGISTERS, INTERRUPTS, WINDOW, JOBS, ERRORS };

#define MAX_JOB (256u << 10)
#define CHAIN 4
#define GUARD 64u        /* bytes behind a destination that must stay as they are */
#define FILL 0xa5
#define NOWHERE (192ull << 30) /* no RAM and no device there */

enum { VECTOR_DONE = 0x50, VECTOR_ERROR = 0x51 };
enum { DONE = 1, FAILED = 2 };

/* So that an interrupt finds main() wherever it is: the wait for it need not begin first. */
GUEST_OPTIONS(GUEST_IRQ_ON);

static uint8_t src[MAX_JOB] __attribute__((aligned(4096)));
static uint8_t dst[MAX_JOB + GUARD] __attribute__((aligned(4096)));
static struct accel_desc list[CHAIN] __attribute__((aligned(32)));

static unsigned bdf, irq;
static uint64_t regs, window;
static struct msix msix;

/* What the interrupt handlers leave for main(). */
static volatile int event;
static volatile uint64_t event_ps;

static void fail(enum stage stage, const char *what)
{
	printf("accel: FAILED: %s\n", what);
	exit((int)stage);
}

static uint32_t reg(enum accel_reg r)
{
	return mmio_read32(regs + r);
}

static void set_reg(enum accel_reg r, uint32_t value)
{
	mmio_write32(regs + r, value);
}

/* ---- interrupts: the handlers run at CPL0, so no more than needed ---------------------------------- */

static GUEST_CPL0 void msix_done(int vector)
{
	event_ps = time_ps();
	event = vector == VECTOR_DONE ? DONE : FAILED;
	lapic_eoi();
}

/* INTA is a level: the device must let go before the end-of-interrupt. */
static GUEST_CPL0 void intx(int vector)
{
	uint32_t status = mmio_read32(regs + ACCEL_REG_INT_STATUS);

	(void)vector;
	if (status) {
		event_ps = time_ps();
		mmio_write32(regs + ACCEL_REG_INT_STATUS, status);
		event = status & ACCEL_INT_ERROR ? FAILED : DONE;
	}
	pic_eoi(irq);
}

static void set_up_interrupts(void)
{
	if (msix_init(&msix, bdf)) {
		if (msix.entries != ACCEL_VECTORS)
			fail(INTERRUPTS, "wrong number of MSI-X vectors");
		lapic_init();
		irq_handler(VECTOR_DONE, msix_done);
		irq_handler(VECTOR_ERROR, msix_done);
		msix_route(&msix, ACCEL_VECTOR_DONE, VECTOR_DONE);
		msix_route(&msix, ACCEL_VECTOR_ERROR, VECTOR_ERROR);
		printf("accel: MSI-X, %u vectors\n", msix.entries);
	} else {
		irq = pci_read8(bdf, PCI_INTERRUPT_LINE);
		if (pci_read8(bdf, PCI_INTERRUPT_PIN) == 0 || irq > 15)
			fail(INTERRUPTS, "neither MSI-X nor an interrupt pin");
		pic_init();
		irq_handler(PIC_VECTOR + (int)irq, intx);
		pic_unmask(irq);
		printf("accel: INTx, IRQ %u\n", irq);
	}
	set_reg(ACCEL_REG_INT_ENABLE, ACCEL_INT_DONE | ACCEL_INT_ERROR);
}

/* Sleeps until a handler has spoken; returns DONE or FAILED. */
static int wait_event(void)
{
	int seen;

	wait_until(&event);
	seen = event;
	event = 0;
	return seen;
}

/* ---- the function, its registers, its window ------------------------------------------------------------- */

static void find(void)
{
	struct pci_bar bar;

	bdf = pci_find(ACCEL_VENDOR_ID, ACCEL_DEVICE_ID, 0);
	if (bdf == GUEST_PCI_NONE)
		fail(FIND, "no accelerator on the PCI bus");
	printf("accel: %04x:%04x at %02x:%02x.%u class %06x\n", ACCEL_VENDOR_ID, ACCEL_DEVICE_ID, bdf >> 8,
	       bdf >> 3 & 31, bdf & 7, pci_read32(bdf, PCI_REVISION) >> 8);
	for (unsigned n = 0; n < 6; n += bar.is64 ? 2 : 1) {
		if (!pci_bar(bdf, n, &bar))
			continue;
		printf("accel: BAR%u %s%s%s at 0x%lx size 0x%lx\n", n, bar.io ? "I/O" : "memory",
		       bar.is64 ? " 64-bit" : "", bar.prefetchable ? " prefetchable" : "", bar.address, bar.size);
		if (n == ACCEL_BAR_REGS && !bar.io && bar.size == ACCEL_REGS_SIZE)
			regs = bar.address;
		if (n == ACCEL_BAR_WINDOW && bar.is64 && bar.prefetchable && bar.size == ACCEL_WINDOW_SIZE)
			window = bar.address;
	}
	if (!regs || !window)
		fail(BARS, "a BAR is missing, has the wrong kind or no address");
	pci_enable(bdf, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void check_registers(void)
{
	if (reg(ACCEL_REG_ID) != ACCEL_ID || reg(ACCEL_REG_VERSION) != ACCEL_VERSION)
		fail(REGISTERS, "ID or version");
	set_reg(ACCEL_REG_CTRL, ACCEL_CTRL_RESET);
	if (reg(ACCEL_REG_CTRL) || reg(ACCEL_REG_STATUS) || reg(ACCEL_REG_SCRATCH) || reg(ACCEL_REG_COMPLETED))
		fail(REGISTERS, "state after reset");
	set_reg(ACCEL_REG_SCRATCH, 0x12345678);
	if (reg(ACCEL_REG_SCRATCH) != 0x12345678)
		fail(REGISTERS, "scratch register");
	mmio_write64(regs + ACCEL_REG_DESC_ADDR, 0x1122334455667780);
	if (reg(ACCEL_REG_DESC_ADDR) != 0x55667780 || reg((enum accel_reg)(ACCEL_REG_DESC_ADDR + 4)) != 0x11223344)
		fail(REGISTERS, "64-bit register");
	set_reg(ACCEL_REG_CTRL, ACCEL_CTRL_ENABLE);
}

/* A walk through the window with strides that touch its first and last bytes, in all access widths. */
static void check_window(void)
{
	static const uint32_t at[] = { 0, 8, 0x1000, 0x12340, ACCEL_WINDOW_SIZE / 2, ACCEL_WINDOW_SIZE - 8 };
	const unsigned n = sizeof(at) / sizeof(at[0]);

	for (unsigned i = 0; i < n; i++)
		mmio_write64(window + at[i], 0x0123456789abcdefull * (2 * i + 1));
	for (unsigned i = 0; i < n; i++) {
		uint64_t expect = 0x0123456789abcdefull * (2 * i + 1);

		if (mmio_read64(window + at[i]) != expect || mmio_read32(window + at[i] + 4) != expect >> 32 ||
		    mmio_read16(window + at[i] + 2) != (uint16_t)(expect >> 16) ||
		    mmio_read8(window + at[i] + 7) != (uint8_t)(expect >> 56))
			fail(WINDOW, "the window does not hold what was written");
	}
	mmio_write32(window, 0xaabbccdd);
	mmio_write16(window + 4, 0x1122);
	mmio_write8(window + 6, 0x33);
	if (mmio_read64(window) != (0x01331122aabbccddull))
		fail(WINDOW, "narrow writes");
	printf("accel: window of %u KiB ok\n", ACCEL_WINDOW_SIZE >> 10);
}

/* ---- jobs ------------------------------------------------------------------------------------------------------ */

struct job {
	const char *name;
	uint16_t opcode;
	uint32_t length; /* of each descriptor */
	uint32_t operand;
	unsigned count;
};

#define WINDOW_AT 0x4000u

static const struct job jobs[] = {
	{ "copy", ACCEL_OP_COPY, 64, 0, 1 },
	{ "add", ACCEL_OP_ADD, 256, 0x7b, 1 },
	{ "xor", ACCEL_OP_XOR, 1000, 0xdeadbeef, 1 },
	{ "copy", ACCEL_OP_COPY, 4 << 10, 0, 1 },
	{ "checksum", ACCEL_OP_CHECKSUM, 16 << 10, 0, 1 },
	{ "to window", ACCEL_OP_TO_WINDOW, 64 << 10, 0, 1 },
	{ "from window", ACCEL_OP_FROM_WINDOW, 64 << 10, 0, 1 },
	{ "xor chain", ACCEL_OP_XOR, 16 << 10, 0x01020304, CHAIN },
	{ "copy", ACCEL_OP_COPY, 256 << 10, 0, 1 },
};

static uint64_t phys(const void *p)
{
	return (uintptr_t)p;
}

static void describe(struct accel_desc *d, const struct job *job, unsigned i)
{
	*d = (struct accel_desc){
		.src = phys(src + i * job->length),
		.dst = phys(dst + i * job->length),
		.length = job->length,
		.opcode = job->opcode,
		.flags = i + 1 == job->count ? ACCEL_FLAG_IRQ : 0,
		.operand = job->operand,
	};
	if (job->opcode == ACCEL_OP_TO_WINDOW)
		d->dst = WINDOW_AT;
	if (job->opcode == ACCEL_OP_FROM_WINDOW)
		d->src = WINDOW_AT;
}

static uint8_t expected_byte(const struct job *job, uint32_t i)
{
	switch (job->opcode) {
	case ACCEL_OP_ADD:
		return (uint8_t)(src[i] + job->operand);
	case ACCEL_OP_XOR:
		return (uint8_t)(src[i] ^ job->operand >> 8 * (i % 4));
	default:
		return src[i];
	}
}

/* Bytes [from, to) of the destination are untouched. */
static bool untouched(uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		if (dst[i] != FILL)
			return false;
	return true;
}

static bool result_right(const struct job *job)
{
	uint32_t total = job->length * job->count;
	uint64_t sum = 0;

	switch (job->opcode) {
	case ACCEL_OP_CHECKSUM:
		for (uint32_t i = 0; i < total; i++)
			sum += src[i];
		return memcmp(dst, &sum, 8) == 0 && untouched(8, total + GUARD);
	case ACCEL_OP_TO_WINDOW: /* the bytes are checked when they come back */
		return mmio_read8(window + WINDOW_AT + total - 1) == src[total - 1] && untouched(0, total + GUARD);
	default:
		for (uint32_t i = 0; i < total; i++)
			if (dst[i] != expected_byte(job, i))
				return false;
		return untouched(total, total + GUARD);
	}
}

static void ring_doorbell(unsigned count)
{
	mmio_write64(regs + ACCEL_REG_DESC_ADDR, phys(list));
	set_reg(ACCEL_REG_DOORBELL, count);
}

static void run_job(unsigned number, const struct job *job)
{
	uint32_t total = job->length * job->count, completed = reg(ACCEL_REG_COMPLETED);
	uint64_t start, seen, handler, duration;

	for (unsigned i = 0; i < job->count; i++)
		describe(&list[i], job, i);
	memset(dst, FILL, total + GUARD);
	mmio_write64(regs + ACCEL_REG_DESC_ADDR, phys(list));
	start = time_ps();
	set_reg(ACCEL_REG_DOORBELL, job->count);
	if (wait_event() != DONE)
		fail(JOBS, "a good job ended with an error");
	seen = time_ps();
	handler = event_ps;

	duration = mmio_read64(regs + ACCEL_REG_JOB_DURATION_PS);
	if (reg(ACCEL_REG_STATUS) || reg(ACCEL_REG_COMPLETED) != completed + job->count)
		fail(JOBS, "status or completed count");
	set_reg(ACCEL_REG_INT_STATUS, ACCEL_INT_DONE);
	for (unsigned i = 0; i < job->count; i++)
		if (list[i].status != ACCEL_OK)
			fail(JOBS, "a descriptor's status");
	if (!result_right(job))
		fail(JOBS, "the data is wrong");
	if (seen < handler || handler < mmio_read64(regs + ACCEL_REG_JOB_END_PS) || handler - start < duration)
		fail(JOBS, "the interrupt came before the job's end");
	printf("job %2u bytes %6u device_ps %8lu from_ps %10lu irq_ps %10lu to_ps %10lu %s\n", number, total, duration,
	       start, handler, seen, job->name);
}

/* ---- what must fail ------------------------------------------------------------------------------------------------ */

/* list[0..count) fails with status in its last descriptor. */
static void expect_error(unsigned count, uint32_t status, const char *what)
{
	uint32_t completed = reg(ACCEL_REG_COMPLETED);

	ring_doorbell(count);
	if (wait_event() != FAILED)
		fail(ERRORS, what);
	if (msix.cap) { /* the INTx handler has cleared it already */
		if (reg(ACCEL_REG_STATUS) != ACCEL_STATUS_ERROR)
			fail(ERRORS, what);
		set_reg(ACCEL_REG_INT_STATUS, ACCEL_INT_ERROR);
	}
	if (reg(ACCEL_REG_STATUS) || reg(ACCEL_REG_LAST_ERROR) != status)
		fail(ERRORS, what);
	if (count && (list[count - 1].status != status || reg(ACCEL_REG_COMPLETED) != completed + count))
		fail(ERRORS, what);
	printf("accel: %s refused as it should\n", what);
}

static void good_descriptor(unsigned i)
{
	static const struct job copy = { "copy", ACCEL_OP_COPY, 64, 0, CHAIN };

	describe(&list[i], &copy, i);
}

static void no_bus_master(void)
{
	uint64_t limit = time_ns() + 100000000; /* 100 ms */

	good_descriptor(0);
	memset(dst, FILL, 64);
	pci_disable(bdf, PCI_COMMAND_MASTER);
	ring_doorbell(1);
	/* An MSI cannot leave either, so this is the place to poll. */
	while (!(reg(ACCEL_REG_INT_STATUS) & ACCEL_INT_ERROR) && !event)
		if (time_ns() > limit)
			fail(ERRORS, "DMA without bus mastering is not reported");
	barrier();
	if (reg(ACCEL_REG_LAST_ERROR) != ACCEL_ERR_DMA || list[0].status != ACCEL_PENDING || !untouched(0, 64))
		fail(ERRORS, "DMA without bus mastering");
	set_reg(ACCEL_REG_INT_STATUS, ACCEL_INT_ERROR);
	pci_enable(bdf, PCI_COMMAND_MASTER);
	set_reg(ACCEL_REG_CTRL, ACCEL_CTRL_RESET);
	set_reg(ACCEL_REG_CTRL, ACCEL_CTRL_ENABLE);
	set_reg(ACCEL_REG_INT_ENABLE, ACCEL_INT_DONE | ACCEL_INT_ERROR);
	event = 0;
	printf("accel: DMA without bus mastering refused as it should\n");
}

static void check_errors(void)
{
	good_descriptor(0);
	good_descriptor(1);
	good_descriptor(2);
	list[1].opcode = 99;
	expect_error(2, ACCEL_ERR_OPCODE, "bad opcode");
	if (list[0].status != ACCEL_OK || list[2].status != ACCEL_PENDING)
		fail(ERRORS, "descriptors around a bad one");
	good_descriptor(0);
	list[0].length = ACCEL_MAX_LENGTH + 1;
	expect_error(1, ACCEL_ERR_LENGTH, "bad length");
	good_descriptor(0);
	list[0].opcode = ACCEL_OP_TO_WINDOW;
	list[0].dst = ACCEL_WINDOW_SIZE - 63;
	expect_error(1, ACCEL_ERR_WINDOW, "copy past the window");
	good_descriptor(0);
	list[0].src = NOWHERE;
	expect_error(1, ACCEL_ERR_DMA, "source that is no memory");
	expect_error(0, ACCEL_ERR_DOORBELL, "empty doorbell");
	no_bus_master();
}

int main(void)
{
	const unsigned n = sizeof(jobs) / sizeof(jobs[0]);
	uint32_t random = 1;

	for (uint32_t i = 0; i < MAX_JOB; i++)
		src[i] = (uint8_t)((random = random * 1664525 + 1013904223) >> 24);
	find();
	check_registers();
	set_up_interrupts();
	check_window();
	for (unsigned i = 0; i < n; i++)
		run_job(i + 1, &jobs[i]);
	check_errors();
	run_job(n + 1, &jobs[0]);
	puts("accel: all right");
	return 0;
}
