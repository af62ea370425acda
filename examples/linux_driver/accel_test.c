// SPDX-License-Identifier: GPL-2.0
/*
 * Test of kvmbox_accel.ko against its description, kvmbox_accel.h, and of the device behind it, accel_regs.h.
 * Built with the kernel's nolibc. A line per check, "PASS name" or "FAIL name: what was wrong", and per figure,
 * "name value unit"; the last one sums up. Exit status 0: all passed.
 */
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/time.h>

#include "accel_regs.h"
#include "kvmbox_accel.h"

#define DEVICE "/dev/accel0"
#define SYSFS "/sys/class/misc/accel0/device"
#define DRIVER "/sys/bus/pci/drivers/kvmbox_accel"
#define SLOW 4000000u /* ps per byte: 4 us */
#define NEVER 0xffffffffu

typedef unsigned char byte;

static unsigned passed, failed, calls;
static unsigned buffer_size, window_size, depth;

#define CHECK(name, condition) check(name, condition, #condition)

static int check(const char *name, int ok, const char *what)
{
	if (ok) {
		passed++;
		printf("PASS %s\n", name);
	} else {
		failed++;
		printf("FAIL %s: not %s (errno %d)\n", name, what, errno);
	}
	return ok;
}

/* A call that must fail: CHECK_ERROR(name, call, EINVAL). */
#define CHECK_ERROR(name, call, error) check(name, (errno = 0, (call)) < 0 && errno == (error), #call " fails with " #error)

static unsigned long now_ns(void)
{
	struct timespec t;

	my_syscall2(__NR_clock_gettime, CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ul + t.tv_nsec;
}

static byte pattern(unsigned i, unsigned seed)
{
	return (byte)((i + seed) * 2654435761u >> 24);
}

/* ---- one open file ------------------------------------------------------------------ */

struct user {
	int fd;
	byte *buf;
};

static int user_open(struct user *u, int flags)
{
	u->fd = open(DEVICE, O_RDWR | flags, 0);
	if (u->fd < 0)
		return -1;
	u->buf = mmap(NULL, buffer_size, PROT_READ | PROT_WRITE, MAP_SHARED, u->fd, 0);
	return u->buf == MAP_FAILED ? -1 : 0;
}

static void user_close(struct user *u)
{
	munmap(u->buf, buffer_size);
	close(u->fd);
}

static struct kvmbox_accel_op op(unsigned opcode, __u64 src, __u64 dst, unsigned length, unsigned operand)
{
	struct kvmbox_accel_op o = {
		.user_data = ++calls, .src = src, .dst = dst, .length = length, .opcode = (__u16)opcode, .operand = operand,
	};

	return o;
}

/* write() of one operation: 0 or -1 with errno. */
static int submit(struct user *u, struct kvmbox_accel_op o)
{
	return write(u->fd, &o, sizeof(o)) == sizeof(o) ? 0 : -1;
}

/* Submits it and waits. The result's error, or 1 when write() or read() did not work. */
static int run(struct user *u, struct kvmbox_accel_op o, struct kvmbox_accel_result *r)
{
	if (submit(u, o) < 0 || read(u->fd, r, sizeof(*r)) != sizeof(*r) || r->user_data != o.user_data)
		return 1;
	return r->error;
}

static int set_speed(struct user *u, unsigned ps)
{
	return ioctl(u->fd, ACCEL_IOC_SET_SPEED, &ps);
}

static int works(struct user *u)
{
	struct kvmbox_accel_result r;

	u->buf[0] = 0x55;
	u->buf[64] = 0;
	return run(u, op(ACCEL_OP_COPY, 0, 64, 1, 0), &r) == 0 && u->buf[64] == 0x55;
}

/* ---- operations ------------------------------------------------------------------------ */

static byte expected(const byte *src, const struct kvmbox_accel_op *o, unsigned i)
{
	switch (o->opcode) {
	case ACCEL_OP_ADD:
		return (byte)(src[i] + o->operand);
	case ACCEL_OP_XOR:
		return (byte)(src[i] ^ o->operand >> 8 * (i % 4));
	default:
		return src[i];
	}
}

/* Bytes of the destination that differ from what they should be, its surroundings included. */
static unsigned wrong(struct user *u, const struct kvmbox_accel_op *o)
{
	const byte *src = u->buf + o->src, *dst = u->buf + o->dst;
	unsigned bad = 0;

	for (unsigned i = 0; i < o->length; i++)
		bad += dst[i] != expected(src, o, i);
	for (int i = 1; i <= 64; i++)
		bad += (dst[-i] != 0xa5) + (dst[(int)o->length + i - 1] != 0xa5);
	return bad;
}

static void prepare(struct user *u, const struct kvmbox_accel_op *o)
{
	for (unsigned i = 0; i < o->length; i++)
		u->buf[o->src + i] = pattern(i, o->length + o->opcode);
	memset(u->buf + o->dst - 64, 0xa5, o->length + 128);
}

static void check_bytes(struct user *u, const char *name, unsigned opcode, unsigned operand)
{
	static const unsigned lengths[] = { 1, 63, 1000, 4097, 65536 };
	unsigned bad = 0;

	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct kvmbox_accel_op o = op(opcode, 3, buffer_size / 2 + 77, lengths[i], operand);
		struct kvmbox_accel_result r = { 0 };

		prepare(u, &o);
		bad += run(u, o, &r) != 0 || r.status != ACCEL_OK;
		bad += wrong(u, &o);
	}
	CHECK(name, bad == 0);
}

static void check_checksum(struct user *u)
{
	struct kvmbox_accel_op o = op(ACCEL_OP_CHECKSUM, 4096, 64, 100000, 0);
	struct kvmbox_accel_result r;
	__u64 sum = 0, got;

	for (unsigned i = 0; i < o.length; i++)
		sum += u->buf[o.src + i] = pattern(i, 9);
	memset(u->buf, 0xa5, 128);
	CHECK("checksum", run(u, o, &r) == 0);
	memcpy(&got, u->buf + o.dst, sizeof(got));
	CHECK("checksum.value", got == sum && u->buf[63] == 0xa5 && u->buf[72] == 0xa5);
}

/* To the window and back; and as another mapping of the BAR sees it. */
static void check_window(struct user *u)
{
	struct kvmbox_accel_op out = op(ACCEL_OP_TO_WINDOW, 0, 0x4000, 8192, 0), back = op(ACCEL_OP_FROM_WINDOW, 0x4000, 0x10000, 8192, 0);
	struct kvmbox_accel_result r;
	int fd = open(SYSFS "/resource2", O_RDWR, 0);
	volatile __u32 *window;
	unsigned bad = 0;

	prepare(u, &(struct kvmbox_accel_op){ .src = 0, .dst = 0x10000, .length = 8192 });
	CHECK("window.write", run(u, out, &r) == 0);
	CHECK("window.read", run(u, back, &r) == 0);
	back.src = 0;
	CHECK("window.value", wrong(u, &back) == 0);

	window = mmap(NULL, window_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (!CHECK("window.mmap", fd >= 0 && window != MAP_FAILED))
		return;
	for (unsigned i = 0; i < 16; i++)
		bad += window[0x4000 / 4 + i] != ((__u32 *)u->buf)[i];
	CHECK("window.mmap.read", bad == 0);
	window[(window_size - 4) / 4] = 0x12345678;
	CHECK("window.mmap.write", run(u, op(ACCEL_OP_FROM_WINDOW, window_size - 4, 0, 4, 0), &r) == 0 &&
	      *(__u32 *)u->buf == 0x12345678);
	munmap((void *)window, window_size);
	close(fd);
	CHECK("window.outside", run(u, op(ACCEL_OP_TO_WINDOW, 0, window_size - 3, 4, 0), &r) == -EINVAL && r.status == ACCEL_ERR_WINDOW);
}

/* More than the ring holds, each using what the one before made: in order, none lost. */
static void check_ring(struct user *u)
{
	static struct kvmbox_accel_op ops[64];
	static struct kvmbox_accel_result results[64];
	const unsigned rounds = 5, length = 256;
	unsigned bad = 0;

	for (unsigned i = 0; i < length; i++)
		u->buf[i] = pattern(i, 1);
	for (unsigned round = 0; round < rounds; round++) {
		const unsigned first = calls + 1;
		ssize_t n = 0;

		for (unsigned i = 0; i < 64; i++)
			ops[i] = op(ACCEL_OP_ADD, 0, 0, length, 1);
		bad += write(u->fd, ops, sizeof(ops)) != sizeof(ops);
		while (n < (ssize_t)sizeof(results)) {
			ssize_t got = read(u->fd, (char *)results + n, sizeof(results) - n);

			if (got <= 0)
				break;
			n += got;
		}
		bad += n != sizeof(results);
		for (unsigned i = 0; i < 64; i++)
			bad += results[i].user_data != first + i || results[i].error || results[i].status != ACCEL_OK;
	}
	CHECK("ring.results", bad == 0);
	for (unsigned i = 0; i < length; i++)
		bad += u->buf[i] != (byte)(pattern(i, 1) + 64 * rounds);
	CHECK("ring.data", bad == 0);
}

/* One that fails does not disturb those around it. */
static void check_failure_between(struct user *u)
{
	struct kvmbox_accel_op ops[3] = {
		op(ACCEL_OP_COPY, 0, 1024, 16, 0), op(ACCEL_OP_FROM_WINDOW, window_size, 2048, 16, 0), op(ACCEL_OP_COPY, 0, 3072, 16, 0),
	};
	struct kvmbox_accel_result r[3];
	ssize_t n = 0;

	CHECK("between.write", write(u->fd, ops, sizeof(ops)) == sizeof(ops));
	while (n < (ssize_t)sizeof(r)) {
		ssize_t got = read(u->fd, (char *)r + n, sizeof(r) - n);

		if (got <= 0)
			break;
		n += got;
	}
	CHECK("between.results", n == sizeof(r) && !r[0].error && r[1].error == -EINVAL && !r[2].error &&
	      r[1].status == ACCEL_ERR_WINDOW && r[1].user_data == ops[1].user_data);
}

/* ---- what the driver must refuse ------------------------------------------------------------- */

static void check_bad_ops(struct user *u)
{
	struct kvmbox_accel_op good = op(ACCEL_OP_COPY, 0, 4096, 64, 0), o, two[2];
	struct kvmbox_accel_result r;

	CHECK_ERROR("bad.opcode.0", submit(u, op(0, 0, 4096, 64, 0)), EINVAL);
	CHECK_ERROR("bad.opcode.7", submit(u, op(7, 0, 4096, 64, 0)), EINVAL);
	CHECK_ERROR("bad.length.0", submit(u, op(ACCEL_OP_COPY, 0, 4096, 0, 0)), EINVAL);
	CHECK_ERROR("bad.length.max", submit(u, op(ACCEL_OP_COPY, 0, 0, ACCEL_MAX_LENGTH + 1, 0)), EMSGSIZE);
	CHECK_ERROR("bad.length.buffer", submit(u, op(ACCEL_OP_COPY, 0, 0, buffer_size + 1, 0)), ERANGE);
	CHECK_ERROR("bad.source", submit(u, op(ACCEL_OP_COPY, buffer_size - 63, 0, 64, 0)), ERANGE);
	CHECK_ERROR("bad.source.wrap", submit(u, op(ACCEL_OP_COPY, -(__u64)32, 0, 64, 0)), ERANGE);
	CHECK_ERROR("bad.destination", submit(u, op(ACCEL_OP_COPY, 0, buffer_size - 63, 64, 0)), ERANGE);
	CHECK_ERROR("bad.destination.wrap", submit(u, op(ACCEL_OP_FROM_WINDOW, 0, ~(__u64)0, 64, 0)), ERANGE);
	CHECK_ERROR("bad.destination.sum", submit(u, op(ACCEL_OP_CHECKSUM, 0, buffer_size - 7, 1, 0)), ERANGE);
	CHECK("good.destination.sum", run(u, op(ACCEL_OP_CHECKSUM, 0, buffer_size - 8, 1, 0), &r) == 0);
	o = good;
	o.flags = 1;
	CHECK_ERROR("bad.flags", submit(u, o), EINVAL);
	o = good;
	o.reserved = 1;
	CHECK_ERROR("bad.reserved", submit(u, o), EINVAL);
	CHECK_ERROR("bad.write.part", write(u->fd, &good, sizeof(good) - 1), EINVAL);
	CHECK_ERROR("bad.write.nothing", write(u->fd, &good, 0), EINVAL);
	CHECK_ERROR("bad.write.pointer", write(u->fd, (void *)8, sizeof(good)), EFAULT);
	CHECK_ERROR("bad.write.kernel", write(u->fd, (void *)0xffffffff81000000, sizeof(good)), EFAULT);
	two[0] = good;
	two[1] = op(99, 0, 4096, 64, 0);
	CHECK("bad.second.not_taken", write(u->fd, two, sizeof(two)) == sizeof(good) && read(u->fd, &r, sizeof(r)) == sizeof(r) &&
	      r.user_data == good.user_data);
	CHECK("bad.nothing_left", read(u->fd, &r, sizeof(r)) == 0);
}

static void check_bad_calls(struct user *u)
{
	struct kvmbox_accel_result r;
	struct kvmbox_accel_op o = op(ACCEL_OP_COPY, 0, 4096, 64, 0);
	unsigned speed = 1;

	CHECK_ERROR("bad.ioctl", ioctl(u->fd, _IO('K', 0x8f), 0), ENOTTY);
	CHECK_ERROR("bad.ioctl.size", ioctl(u->fd, _IOR('K', 0x80, __u32), &speed), ENOTTY);
	CHECK_ERROR("bad.ioctl.info", ioctl(u->fd, ACCEL_IOC_INFO, (void *)8), EFAULT);
	CHECK_ERROR("bad.ioctl.speed", ioctl(u->fd, ACCEL_IOC_SET_SPEED, (void *)0xffffffff81000000), EFAULT);
	CHECK_ERROR("bad.read.small", read(u->fd, &r, sizeof(r) - 1), EINVAL);
	CHECK("bad.read.submit", submit(u, o) == 0);
	CHECK_ERROR("bad.read.pointer", read(u->fd, (void *)8, sizeof(r)), EFAULT);
	CHECK("bad.read.kept", read(u->fd, &r, sizeof(r)) == sizeof(r) && r.user_data == o.user_data);
	CHECK_ERROR("bad.seek", lseek(u->fd, 0, SEEK_SET), ESPIPE);
	errno = 0;
	CHECK("bad.mmap.large", mmap(NULL, buffer_size + 4096, PROT_READ, MAP_SHARED, u->fd, 0) == MAP_FAILED && errno == EINVAL);
	CHECK("bad.mmap.offset", mmap(NULL, 4096, PROT_READ, MAP_SHARED, u->fd, buffer_size) == MAP_FAILED && errno == EINVAL);
	CHECK("bad.mmap.private", mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, u->fd, 0) == MAP_FAILED && errno == EINVAL);
}

/* Waiting, not waiting, full queues; a second file has its own of everything. */
static void check_waiting(struct user *u)
{
	struct kvmbox_accel_result r = { 0 };
	struct pollfd p = { .events = POLLIN | POLLOUT };
	struct user other;
	unsigned n = 0;

	if (!CHECK("second.open", user_open(&other, O_NONBLOCK) == 0))
		return;
	memset(u->buf, 1, 4096);
	memset(other.buf, 2, 4096);
	CHECK("second.works", submit(&other, op(ACCEL_OP_COPY, 0, 64, 1, 0)) == 0);
	CHECK("second.first_works", works(u)); /* in the ring behind the other's: that is done, too */
	CHECK("second.result", read(other.fd, &r, sizeof(r)) == sizeof(r) && r.error == 0 && other.buf[64] == 2 && u->buf[1] == 1);
	CHECK("second.nothing", read(other.fd, &r, sizeof(r)) == 0);

	CHECK("slow.speed", set_speed(u, SLOW) == 0);
	CHECK("slow.submit", submit(&other, op(ACCEL_OP_COPY, 0, 8192, 8192, 0)) == 0);
	CHECK_ERROR("slow.read.nonblock", read(other.fd, &r, sizeof(r)), EAGAIN);
	p.fd = other.fd;
	CHECK("slow.poll.before", poll(&p, 1, 0) == 1 && p.revents == POLLOUT);
	p.events = POLLIN;
	CHECK("slow.poll", poll(&p, 1, 10000) == 1 && p.revents == POLLIN);
	CHECK("slow.read", read(other.fd, &r, sizeof(r)) == sizeof(r) && r.error == 0);
	while (n <= depth && submit(&other, op(ACCEL_OP_COPY, 0, 64, 64, 0)) == 0)
		n++;
	CHECK("depth", n == depth && errno == EBUSY);
	p.events = POLLOUT;
	CHECK("depth.poll", poll(&p, 1, 0) == 0);
	user_close(&other); /* with operations under way */
	CHECK("close.busy", set_speed(u, ACCEL_PROC_PS_DEFAULT) == 0 && works(u));
}

/* ---- a device that does not answer, or goes ------------------------------------------------------ */

static void check_timeout(struct user *u)
{
	struct kvmbox_accel_result r;

	CHECK("timeout.speed", set_speed(u, NEVER) == 0);
	CHECK("timeout", run(u, op(ACCEL_OP_COPY, 0, 65536, 65536, 0), &r) == -ETIMEDOUT && r.status == ACCEL_PENDING);
	CHECK("timeout.after", set_speed(u, ACCEL_PROC_PS_DEFAULT) == 0 && works(u));
}

/* Without bus mastering neither data nor interrupts get through. */
static void check_no_master(struct user *u)
{
	int fd = open(SYSFS "/config", O_RDWR, 0);
	unsigned short command = 0, off;
	struct kvmbox_accel_result r;

	if (!CHECK("master.config", lseek(fd, 4, SEEK_SET) == 4 && read(fd, &command, 2) == 2 && (command & 6) == 6))
		return;
	off = command & ~4;
	CHECK("master.off", lseek(fd, 4, SEEK_SET) == 4 && write(fd, &off, 2) == 2);
	CHECK("master.timeout", run(u, op(ACCEL_OP_COPY, 0, 65536, 64, 0), &r) == -ETIMEDOUT);
	CHECK("master.on", lseek(fd, 4, SEEK_SET) == 4 && write(fd, &command, 2) == 2);
	CHECK("master.after", works(u));
	close(fd);
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY, 0);
	int ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	close(fd);
	return ok;
}

static void check_unbind(struct user *u)
{
	struct kvmbox_accel_result r;
	struct kvmbox_accel_info info;
	struct pollfd p = { .fd = u->fd, .events = POLLIN };
	char target[256];
	const char *name;
	long n = my_syscall3(__NR_readlink, SYSFS, target, sizeof(target) - 1);

	target[n < 0 ? 0 : n] = 0;
	name = strrchr(target, '/');
	if (!CHECK("unbind.name", name != NULL))
		return;
	name++;
	CHECK("unbind.busy", set_speed(u, NEVER) == 0 && submit(u, op(ACCEL_OP_COPY, 0, 65536, 65536, 0)) == 0);
	u->buf[5] = 77;
	CHECK("unbind", put(DRIVER "/unbind", name));
	CHECK("unbind.result", read(u->fd, &r, sizeof(r)) == sizeof(r) && r.error == -ENODEV && r.status == ACCEL_PENDING);
	CHECK_ERROR("unbind.read", read(u->fd, &r, sizeof(r)), ENODEV);
	CHECK_ERROR("unbind.write", submit(u, op(ACCEL_OP_COPY, 0, 64, 64, 0)), ENODEV);
	CHECK_ERROR("unbind.ioctl", ioctl(u->fd, ACCEL_IOC_INFO, &info), ENODEV);
	CHECK("unbind.poll", poll(&p, 1, 0) == 1 && (p.revents & POLLHUP));
	CHECK("unbind.buffer", u->buf[5] == 77);
	CHECK("unbind.no_file", open(DEVICE, O_RDWR, 0) < 0 && errno == ENOENT);
	user_close(u);
	CHECK("bind", put(DRIVER "/bind", name));
	CHECK("bind.open", user_open(u, 0) == 0);
	CHECK("bind.works", works(u));
}

/* ---- figures ------------------------------------------------------------------------------------- */

static void measure(struct user *u)
{
	enum { N = 32 };
	unsigned long least = ~0ul, most = 0, sum = 0, start;
	struct kvmbox_accel_result r;
	unsigned bad = 0;

	for (unsigned i = 0; i < N; i++) {
		unsigned long t;

		start = now_ns();
		bad += run(u, op(ACCEL_OP_COPY, 0, 4096, 64, 0), &r) != 0;
		t = now_ns() - start;
		sum += t;
		least = t < least ? t : least;
		most = t > most ? t : most;
	}
	CHECK("measure.latency", bad == 0 && least > 0);
	printf("latency.min %lu ns\nlatency.mean %lu ns\nlatency.max %lu ns\n", least, sum / N, most);

	start = now_ns();
	for (unsigned i = 0; i < 8; i++)
		bad += run(u, op(ACCEL_OP_COPY, 0, buffer_size / 2, buffer_size / 2, 0), &r) != 0;
	sum = now_ns() - start;
	CHECK("measure.throughput", bad == 0 && sum > 0);
	printf("copy.throughput %lu MB/s\n", 8ul * (buffer_size / 2) * 1000 / sum);
}

static int contains(const char *text, const char *what)
{
	for (; *text; text++)
		if (!strncmp(text, what, strlen(what)))
			return 1;
	return 0;
}

/* Of a line of /proc/interrupts: has any CPU taken some? Behind the colon there is a column for each. */
static int any_taken(const char *line)
{
	const char *p = strchr(line, ':') + 1;

	while (*p == ' ' || *p == '0')
		p++;
	return *p >= '1' && *p <= '9';
}

/* The driver's lines of /proc/interrupts, and that they count. */
static void check_interrupts(void)
{
	static char text[8192];
	int fd = open("/proc/interrupts", O_RDONLY, 0);
	unsigned lines = 0, counted = 0;
	ssize_t n = 0, got;

	while (n < (ssize_t)sizeof(text) - 1 && (got = read(fd, text + n, sizeof(text) - 1 - n)) > 0)
		n += got;
	close(fd);
	text[n] = 0;
	for (char *line = text, *end; *line; line = end) {
		for (end = line; *end && *end != '\n';)
			end++;
		if (*end)
			*end++ = 0;
		if (contains(line, "accel0")) {
			printf("interrupts: %s\n", line);
			lines++;
			counted += any_taken(line) != 0;
		}
	}
	CHECK("interrupts.registered", lines > 0);
	CHECK("interrupts.counted", lines > 0 && counted == lines);
}

static int check_info(void)
{
	struct kvmbox_accel_info info = { 0 };
	int fd = open(DEVICE, O_RDWR, 0);

	if (!CHECK("open", fd >= 0) || !CHECK("info", ioctl(fd, ACCEL_IOC_INFO, &info) == 0))
		return 0;
	CHECK("info.version", info.version >= ACCEL_VERSION);
	CHECK("info.sizes", info.max_length == ACCEL_MAX_LENGTH && info.window_size == ACCEL_WINDOW_SIZE &&
	      info.buffer_size >= 262144 && info.queue_depth >= 64 && info.ring_size >= info.queue_depth);
	printf("info.interrupts %s\n", info.interrupts == KVMBOX_ACCEL_MSIX ? "MSI-X" :
	       info.interrupts == KVMBOX_ACCEL_MSI ? "MSI" : "INTx");
	buffer_size = info.buffer_size;
	window_size = info.window_size;
	depth = info.queue_depth;
	close(fd);
	return 1;
}

int main(void)
{
	struct user u;

	if (check_info() && CHECK("mmap", user_open(&u, 0) == 0)) {
		check_bytes(&u, "copy", ACCEL_OP_COPY, 0);
		check_bytes(&u, "add", ACCEL_OP_ADD, 0x7b);
		check_bytes(&u, "xor", ACCEL_OP_XOR, 0xdeadbeef);
		check_checksum(&u);
		check_window(&u);
		check_ring(&u);
		check_failure_between(&u);
		check_bad_ops(&u);
		check_bad_calls(&u);
		check_waiting(&u);
		measure(&u);
		check_interrupts();
		check_timeout(&u);
		check_no_master(&u);
		check_unbind(&u);
		user_close(&u);
	}
	printf("accel_test: %u passed, %u failed\n", passed, failed);
	return failed != 0;
}
