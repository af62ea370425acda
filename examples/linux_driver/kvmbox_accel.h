/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/accelN, the character device of kvmbox_accel.c.
 *
 * Each open file has a buffer of its own, ACCEL_IOC_INFO tells how big, that mmap() maps (shared, from offset 0).
 * Operations work on it; addresses are offsets in it, or in the device's window for the two window operations.
 *
 * write() takes an array of struct kvmbox_accel_op and queues them in order; it returns how many bytes it took, always
 * whole operations. A file may have queue_depth operations that have been written and whose results have not been read:
 * with that many, write() fails with EBUSY. While the device's ring is full, which other files can cause, it waits, or
 * fails with EAGAIN if the file is O_NONBLOCK. An operation that cannot be (EINVAL: no such opcode, length 0, flags or
 * reserved not 0; EMSGSIZE: longer than max_length; ERANGE: outside the buffer) is not queued, nor are those behind it;
 * the error is returned if it is the first one. Whether it is inside the window is the device's business.
 *
 * read() gives an array of struct kvmbox_accel_result, in the order of the operations of the file, as many as are
 * there. Without any it waits for the first one, or fails with EAGAIN if the file is O_NONBLOCK; it returns 0 when no
 * operation is under way either. poll() says when each would do something.
 *
 * All fail with ENODEV once the device is gone; the buffer stays.
 */
#ifndef KVMBOX_ACCEL_H
#define KVMBOX_ACCEL_H

#include <linux/ioctl.h>
#include <linux/types.h>

struct kvmbox_accel_op {
	__u64 user_data; /* comes back with the result */
	__u64 src;
	__u64 dst;
	__u32 length;    /* bytes of the source */
	__u16 opcode;    /* enum accel_opcode of accel_regs.h */
	__u16 flags;     /* 0 */
	__u32 operand;
	__u32 reserved;  /* 0 */
};

struct kvmbox_accel_result {
	__u64 user_data;
	__s32 error;     /* 0; EINVAL: the device refused it; EIO: it failed; ETIMEDOUT: no answer; ENODEV: device gone, all negative */
	__u32 status;    /* enum accel_status, ACCEL_PENDING without an answer */
};

/* interrupts: how the device reports */
#define KVMBOX_ACCEL_INTX 0
#define KVMBOX_ACCEL_MSI 1
#define KVMBOX_ACCEL_MSIX 2

struct kvmbox_accel_info {
	__u32 version;     /* of the device: ACCEL_REG_VERSION */
	__u32 interrupts;
	__u32 max_length;  /* bytes of one operation */
	__u32 buffer_size;
	__u32 window_size;
	__u32 queue_depth; /* operations of one file */
	__u32 ring_size;   /* operations of all files together */
	__u32 timeout_ms;  /* the device is reset when it makes no progress for so long */
};

#define ACCEL_IOC_INFO _IOR('K', 0x80, struct kvmbox_accel_info)
/* What the device takes for a byte, in picoseconds, for all files; CAP_SYS_ADMIN. */
#define ACCEL_IOC_SET_SPEED _IOW('K', 0x81, __u32)

#endif
