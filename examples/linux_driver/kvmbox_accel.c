// SPDX-License-Identifier: GPL-2.0
/*
 * Driver of the DMA accelerator of examples/dma_accel, whose data sheet is accel_regs.h. The interface to user space is
 * described in kvmbox_accel.h.
 *
 * All files share the device's ring. An interrupt reaps what is done from its tail end and puts the results into the
 * files' queues; adev->lock guards ring and queues. A device that stops answering is reset by the watchdog, which fails
 * what was under way: so everything that waits for an operation ends.
 *
 * The device may go (unbind, hot-unplug) while files are open: adev stays as long as a file refers to it, what belongs
 * to the PCI function ends with remove(). adev->files_lock orders open, mmap and ioctl against that.
 */
#include <linux/capability.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/jiffies.h>
#include <linux/kfifo.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/poll.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "accel_regs.h"
#include "kvmbox_accel.h"

#define RING_SIZE	128 /* one is always free */
#define QUEUE_DEPTH	64
#define BUFFER_SIZE	SZ_256K

static unsigned int timeout_ms = 5000;
module_param(timeout_ms, uint, 0444);
MODULE_PARM_DESC(timeout_ms, "reset the device after so long without progress (default 5000)");

/* What the driver remembers of a descriptor. */
struct slot {
	struct accel_file *file;
	u64 user_data;
	u32 dst, out;	/* where in the file's buffer the device writes how much */
};

struct accel_dev {
	struct kref ref;
	struct pci_dev *pdev;
	struct miscdevice misc;
	int id;
	char name[16];
	unsigned int interrupts;	/* KVMBOX_ACCEL_* */
	void __iomem *regs;

	struct mutex files_lock;	/* files, gone; outermost */
	struct list_head files;
	bool gone;

	spinlock_t lock;		/* the ring and all that follows, the files' queues */
	struct accel_desc *ring;
	dma_addr_t ring_dma;
	struct slot slots[RING_SIZE];
	unsigned int head;		/* the oldest descriptor that was not reaped */
	unsigned int tail;		/* where the next one goes */
	bool dead;			/* nothing goes into the ring any more */
	u32 speed;			/* picoseconds per byte */
	unsigned long progress;		/* jiffies of the last one */
	struct delayed_work watchdog;
	wait_queue_head_t room;		/* in the ring */
};

struct accel_file {
	struct accel_dev *adev;
	struct list_head node;
	void *buffer;
	dma_addr_t buffer_dma;
	wait_queue_head_t wait;
	unsigned int under_way;		/* in the ring */
	DECLARE_KFIFO(results, struct kvmbox_accel_result, QUEUE_DEPTH);
	struct mutex read_lock;		/* one reader at a time */
};

static DEFINE_IDA(accel_ida);

static u32 reg_read(struct accel_dev *adev, enum accel_reg reg)
{
	return readl(adev->regs + reg);
}

static void reg_write(struct accel_dev *adev, enum accel_reg reg, u32 value)
{
	writel(value, adev->regs + reg);
}

static void accel_free(struct kref *ref)
{
	kfree(container_of(ref, struct accel_dev, ref));
}

/* ---- the ring ------------------------------------------------------------------ */

static unsigned int ring_next(unsigned int i)
{
	return (i + 1) % RING_SIZE;
}

static bool ring_full(const struct accel_dev *adev)
{
	return ring_next(adev->tail) == adev->head;
}

static void ring_start(struct accel_dev *adev)
{
	lockdep_assert_held(&adev->lock);

	adev->head = 0;
	adev->tail = 0;
	reg_write(adev, ACCEL_REG_CTRL, ACCEL_CTRL_RESET);
	lo_hi_writeq(adev->ring_dma, adev->regs + ACCEL_REG_RING_ADDR);
	reg_write(adev, ACCEL_REG_RING_ENTRIES, RING_SIZE);
	reg_write(adev, ACCEL_REG_PROC_PS_PER_BYTE, adev->speed);
	reg_write(adev, ACCEL_REG_CTRL, ACCEL_CTRL_ENABLE | ACCEL_CTRL_RING);
	reg_write(adev, ACCEL_REG_INT_ENABLE, ACCEL_INT_DONE | ACCEL_INT_ERROR);
}

/* No DMA and no interrupt once the read has come back. */
static void device_stop(struct accel_dev *adev)
{
	reg_write(adev, ACCEL_REG_CTRL, ACCEL_CTRL_RESET);
	reg_read(adev, ACCEL_REG_CTRL);
}

static int status_to_error(u32 status)
{
	switch (status) {
	case ACCEL_OK:
		return 0;
	case ACCEL_ERR_OPCODE:
	case ACCEL_ERR_LENGTH:
	case ACCEL_ERR_WINDOW:
		return -EINVAL;
	default:
		return -EIO;
	}
}

/* The oldest descriptor is done, its file learns it. */
static void ring_pop(struct accel_dev *adev, u32 status, int error)
{
	struct slot *slot = &adev->slots[adev->head];
	struct accel_file *file = slot->file;
	struct kvmbox_accel_result result = {
		.user_data = slot->user_data,
		.error = error,
		.status = status,
	};

	lockdep_assert_held(&adev->lock);

	if (!error && slot->out)
		dma_sync_single_range_for_cpu(&adev->pdev->dev, file->buffer_dma, slot->dst, slot->out, DMA_BIDIRECTIONAL);
	/* There is room: accel_queue() counts. */
	kfifo_put(&file->results, result);
	file->under_way--;
	wake_up(&file->wait);
	slot->file = NULL;
	adev->head = ring_next(adev->head);
}

static bool ring_reap(struct accel_dev *adev)
{
	bool any = false;

	lockdep_assert_held(&adev->lock);

	while (adev->head != adev->tail) {
		struct accel_desc *desc = &adev->ring[adev->head];
		u32 status = le32_to_cpu(READ_ONCE(desc->status));

		if (status == ACCEL_PENDING)
			break;
		/* The data before the status, as the device wrote them. */
		dma_rmb();
		ring_pop(adev, status, status_to_error(status));
		any = true;
	}
	if (any) {
		adev->progress = jiffies;
		wake_up_interruptible(&adev->room);
	}
	return any;
}

static void ring_fail_all(struct accel_dev *adev, int error)
{
	while (adev->head != adev->tail)
		ring_pop(adev, ACCEL_PENDING, error);
	wake_up_interruptible(&adev->room);
}

static void accel_watchdog(struct work_struct *work)
{
	struct accel_dev *adev = container_of(to_delayed_work(work), struct accel_dev, watchdog);
	unsigned long timeout = msecs_to_jiffies(timeout_ms), now;
	bool overdue;

	spin_lock_irq(&adev->lock);
	now = jiffies;
	overdue = adev->head != adev->tail && !time_before(now, adev->progress + timeout);
	if (overdue && ring_reap(adev)) {
		dev_warn_ratelimited(&adev->pdev->dev, "an interrupt was lost\n");
	} else if (overdue) {
		dev_err_ratelimited(&adev->pdev->dev, "no progress for %u ms (status %#x, last error %u): reset\n", timeout_ms,
				    reg_read(adev, ACCEL_REG_STATUS), reg_read(adev, ACCEL_REG_LAST_ERROR));
		device_stop(adev);
		ring_reap(adev);
		ring_fail_all(adev, -ETIMEDOUT);
		ring_start(adev);
	}
	if (adev->head != adev->tail)
		schedule_delayed_work(&adev->watchdog, adev->progress + timeout - now);
	spin_unlock_irq(&adev->lock);
}

/* ---- interrupts ------------------------------------------------------------------ */

/* MSI-X: one message per event, nothing to be acknowledged. */
static irqreturn_t accel_done(int irq, void *data)
{
	struct accel_dev *adev = data;

	spin_lock(&adev->lock);
	ring_reap(adev);
	spin_unlock(&adev->lock);
	return IRQ_HANDLED;
}

/* MSI-X' second vector, or the only one, or a shared line. */
static irqreturn_t accel_event(int irq, void *data)
{
	struct accel_dev *adev = data;
	u32 events = reg_read(adev, ACCEL_REG_INT_STATUS);

	/* All ones: the device is gone. */
	if (!events || events == ~0U)
		return IRQ_NONE;
	/* First, so that what comes later raises it again. */
	reg_write(adev, ACCEL_REG_INT_STATUS, events);
	spin_lock(&adev->lock);
	ring_reap(adev);
	spin_unlock(&adev->lock);
	return IRQ_HANDLED;
}

static int accel_request_irqs(struct accel_dev *adev)
{
	struct pci_dev *pdev = adev->pdev;
	int n, ret;

	n = pci_alloc_irq_vectors(pdev, ACCEL_VECTORS, ACCEL_VECTORS, PCI_IRQ_MSIX);
	if (n < 0)
		n = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_MSI | PCI_IRQ_LEGACY);
	if (n < 0)
		return dev_err_probe(&pdev->dev, n, "no interrupt\n");
	adev->interrupts = pdev->msix_enabled ? KVMBOX_ACCEL_MSIX : pdev->msi_enabled ? KVMBOX_ACCEL_MSI : KVMBOX_ACCEL_INTX;

	if (n == 1) {
		ret = pci_request_irq(pdev, 0, accel_event, NULL, adev, "%s", adev->name);
		if (ret)
			goto free_vectors;
		return 0;
	}
	ret = pci_request_irq(pdev, ACCEL_VECTOR_DONE, accel_done, NULL, adev, "%s-done", adev->name);
	if (ret)
		goto free_vectors;
	ret = pci_request_irq(pdev, ACCEL_VECTOR_ERROR, accel_event, NULL, adev, "%s-error", adev->name);
	if (ret)
		goto free_done;
	return 0;

free_done:
	pci_free_irq(pdev, ACCEL_VECTOR_DONE, adev);
free_vectors:
	pci_free_irq_vectors(pdev);
	return ret;
}

static void accel_free_irqs(struct accel_dev *adev)
{
	if (adev->interrupts == KVMBOX_ACCEL_MSIX)
		pci_free_irq(adev->pdev, ACCEL_VECTOR_ERROR, adev);
	pci_free_irq(adev->pdev, 0, adev);
	pci_free_irq_vectors(adev->pdev);
}

/* ---- files ------------------------------------------------------------------------ */

static int accel_open(struct inode *inode, struct file *filp)
{
	struct accel_dev *adev = container_of(filp->private_data, struct accel_dev, misc);
	struct accel_file *file;
	int ret = -ENOMEM;

	file = kzalloc(sizeof(*file), GFP_KERNEL);
	if (!file)
		return -ENOMEM;
	file->buffer = alloc_pages_exact(BUFFER_SIZE, GFP_KERNEL | __GFP_ZERO);
	if (!file->buffer)
		goto free_file;
	file->adev = adev;
	mutex_init(&file->read_lock);
	init_waitqueue_head(&file->wait);
	INIT_KFIFO(file->results);

	/* misc_open() and misc_deregister() exclude each other, so adev is still there. */
	mutex_lock(&adev->files_lock);
	ret = -ENODEV;
	if (adev->gone)
		goto unlock;
	file->buffer_dma = dma_map_single(&adev->pdev->dev, file->buffer, BUFFER_SIZE, DMA_BIDIRECTIONAL);
	ret = -ENOMEM;
	if (dma_mapping_error(&adev->pdev->dev, file->buffer_dma))
		goto unlock;
	list_add(&file->node, &adev->files);
	kref_get(&adev->ref);
	mutex_unlock(&adev->files_lock);

	filp->private_data = file;
	return stream_open(inode, filp);

unlock:
	mutex_unlock(&adev->files_lock);
	free_pages_exact(file->buffer, BUFFER_SIZE);
free_file:
	kfree(file);
	return ret;
}

static bool file_idle(struct accel_file *file)
{
	bool idle;

	spin_lock_irq(&file->adev->lock);
	idle = file->under_way == 0;
	spin_unlock_irq(&file->adev->lock);
	return idle;
}

static int accel_release(struct inode *inode, struct file *filp)
{
	struct accel_file *file = filp->private_data;
	struct accel_dev *adev = file->adev;

	/* The device may still write to the buffer. It ends: see accel_watchdog(). */
	wait_event(file->wait, file_idle(file));
	mutex_lock(&adev->files_lock);
	list_del(&file->node);
	if (!adev->gone)
		dma_unmap_single(&adev->pdev->dev, file->buffer_dma, BUFFER_SIZE, DMA_BIDIRECTIONAL);
	mutex_unlock(&adev->files_lock);
	free_pages_exact(file->buffer, BUFFER_SIZE);
	kfree(file);
	kref_put(&adev->ref, accel_free);
	return 0;
}

static bool in_buffer(u64 at, u64 length)
{
	return at <= BUFFER_SIZE && length <= BUFFER_SIZE - at;
}

/* Bytes it writes. */
static u32 op_out(const struct kvmbox_accel_op *op)
{
	return op->opcode == ACCEL_OP_CHECKSUM ? sizeof(u64) : op->length;
}

static int check_op(const struct kvmbox_accel_op *op)
{
	if (op->opcode < ACCEL_OP_COPY || op->opcode > ACCEL_OP_FROM_WINDOW || !op->length || op->flags || op->reserved)
		return -EINVAL;
	if (op->length > ACCEL_MAX_LENGTH)
		return -EMSGSIZE;
	if (op->opcode != ACCEL_OP_FROM_WINDOW && !in_buffer(op->src, op->length))
		return -ERANGE;
	if (op->opcode != ACCEL_OP_TO_WINDOW && !in_buffer(op->dst, op_out(op)))
		return -ERANGE;
	return 0;
}

static void ring_push(struct accel_dev *adev, struct accel_file *file, const struct kvmbox_accel_op *op, bool irq)
{
	struct accel_desc *desc = &adev->ring[adev->tail];
	struct slot *slot = &adev->slots[adev->tail];
	u64 src = op->src, dst = op->dst;

	lockdep_assert_held(&adev->lock);

	*slot = (struct slot) { .file = file, .user_data = op->user_data };
	if (op->opcode != ACCEL_OP_FROM_WINDOW) {
		dma_sync_single_range_for_device(&adev->pdev->dev, file->buffer_dma, src, op->length, DMA_BIDIRECTIONAL);
		src += file->buffer_dma;
	}
	if (op->opcode != ACCEL_OP_TO_WINDOW) {
		slot->dst = dst;
		slot->out = op_out(op);
		dst += file->buffer_dma;
	}
	*desc = (struct accel_desc) {
		.src = cpu_to_le64(src),
		.dst = cpu_to_le64(dst),
		.length = cpu_to_le32(op->length),
		.opcode = cpu_to_le16(op->opcode),
		.flags = cpu_to_le16(irq ? ACCEL_FLAG_IRQ : 0),
		.operand = cpu_to_le32(op->operand),
	};
	file->under_way++;
	if (adev->head == adev->tail) {
		adev->progress = jiffies;
		schedule_delayed_work(&adev->watchdog, msecs_to_jiffies(timeout_ms));
	}
	adev->tail = ring_next(adev->tail);
}

/*
 * As many of the n operations as there is room for; only the last one interrupts. Returns how many, or why none: EBUSY
 * is the file's own affair, EAGAIN the ring's.
 */
static int accel_queue(struct accel_file *file, const struct kvmbox_accel_op *ops, unsigned int n)
{
	struct accel_dev *adev = file->adev;
	unsigned int depth, room, i;
	int ret = 0;

	spin_lock_irq(&adev->lock);
	depth = file->under_way + kfifo_len(&file->results);
	room = (adev->head + RING_SIZE - adev->tail - 1) % RING_SIZE;
	if (adev->dead)
		ret = -ENODEV;
	else if (depth >= QUEUE_DEPTH)
		ret = -EBUSY;
	else if (!room)
		ret = -EAGAIN;
	if (ret)
		goto unlock;

	n = min3(n, QUEUE_DEPTH - depth, room);
	for (i = 0; i < n; i++)
		ring_push(adev, file, &ops[i], i + 1 == n);
	/* writel() orders the descriptors before the doorbell. */
	reg_write(adev, ACCEL_REG_RING_TAIL, adev->tail);
	ret = n;
unlock:
	spin_unlock_irq(&adev->lock);
	return ret;
}

static bool ring_has_room(struct accel_dev *adev)
{
	bool room;

	spin_lock_irq(&adev->lock);
	room = adev->dead || !ring_full(adev);
	spin_unlock_irq(&adev->lock);
	return room;
}

static ssize_t accel_write(struct file *filp, const char __user *buf, size_t count, loff_t *pos)
{
	struct accel_file *file = filp->private_data;
	struct accel_dev *adev = file->adev;
	struct kvmbox_accel_op *ops;
	unsigned int n, good = 0;
	int ret = 0;

	if (!count || count % sizeof(*ops))
		return -EINVAL;
	n = min_t(size_t, count / sizeof(*ops), QUEUE_DEPTH);
	ops = memdup_user(buf, n * sizeof(*ops));
	if (IS_ERR(ops))
		return PTR_ERR(ops);
	while (good < n && !ret) {
		ret = check_op(&ops[good]);
		if (!ret)
			good++;
	}
	if (!good)
		goto out;

	for (;;) {
		ret = accel_queue(file, ops, good);
		if (ret != -EAGAIN || (filp->f_flags & O_NONBLOCK))
			break;
		ret = wait_event_interruptible(adev->room, ring_has_room(adev));
		if (ret)
			break;
	}
out:
	kfree(ops);
	return ret < 0 ? ret : (ssize_t)(ret * sizeof(*ops));
}

/* Results, or nothing to wait for. */
static bool file_readable(struct accel_file *file)
{
	bool readable;

	spin_lock_irq(&file->adev->lock);
	readable = !kfifo_is_empty(&file->results) || !file->under_way;
	spin_unlock_irq(&file->adev->lock);
	return readable;
}

static ssize_t accel_read(struct file *filp, char __user *buf, size_t count, loff_t *pos)
{
	struct accel_file *file = filp->private_data;
	struct accel_dev *adev = file->adev;
	struct kvmbox_accel_result results[8];
	unsigned int n;
	ssize_t done = 0;
	int ret;

	if (count < sizeof(results[0]))
		return -EINVAL;
	if (filp->f_flags & O_NONBLOCK)
		ret = mutex_trylock(&file->read_lock) ? 0 : -EAGAIN;
	else
		ret = mutex_lock_interruptible(&file->read_lock);
	if (ret)
		return ret;
	if (!(filp->f_flags & O_NONBLOCK))
		ret = wait_event_interruptible(file->wait, file_readable(file));
	else if (!file_readable(file))
		ret = -EAGAIN;
	if (ret)
		goto unlock;
	do {
		n = min_t(size_t, (count - done) / sizeof(results[0]), ARRAY_SIZE(results));
		spin_lock_irq(&adev->lock);
		/* Looked at only, until user space has them: a bad address loses none. */
		n = kfifo_out_peek(&file->results, results, n);
		spin_unlock_irq(&adev->lock);
		ret = copy_to_user(buf + done, results, n * sizeof(results[0])) ? -EFAULT : 0;
		if (ret)
			break;
		spin_lock_irq(&adev->lock);
		n = kfifo_out(&file->results, results, n);
		spin_unlock_irq(&adev->lock);
		done += n * sizeof(results[0]);
	} while (n == ARRAY_SIZE(results));
	if (!done && !ret && READ_ONCE(adev->dead))
		ret = -ENODEV;
unlock:
	mutex_unlock(&file->read_lock);
	return done ? done : ret;
}

static __poll_t accel_poll(struct file *filp, poll_table *wait)
{
	struct accel_file *file = filp->private_data;
	struct accel_dev *adev = file->adev;
	__poll_t mask = 0;

	poll_wait(filp, &file->wait, wait);
	poll_wait(filp, &adev->room, wait);
	spin_lock_irq(&adev->lock);
	if (!kfifo_is_empty(&file->results))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (adev->dead)
		mask |= EPOLLERR | EPOLLHUP;
	else if (!ring_full(adev) && file->under_way + kfifo_len(&file->results) < QUEUE_DEPTH)
		mask |= EPOLLOUT | EPOLLWRNORM;
	spin_unlock_irq(&adev->lock);
	return mask;
}

static int accel_info(struct accel_dev *adev, void __user *arg)
{
	struct kvmbox_accel_info info = {
		.version = reg_read(adev, ACCEL_REG_VERSION),
		.interrupts = adev->interrupts,
		.max_length = ACCEL_MAX_LENGTH,
		.buffer_size = BUFFER_SIZE,
		.window_size = ACCEL_WINDOW_SIZE,
		.queue_depth = QUEUE_DEPTH,
		.ring_size = RING_SIZE - 1,
		.timeout_ms = timeout_ms,
	};

	return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
}

static int accel_set_speed(struct accel_dev *adev, const u32 __user *arg)
{
	u32 speed;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (get_user(speed, arg))
		return -EFAULT;
	spin_lock_irq(&adev->lock);
	adev->speed = speed;
	reg_write(adev, ACCEL_REG_PROC_PS_PER_BYTE, speed);
	spin_unlock_irq(&adev->lock);
	return 0;
}

static long accel_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	struct accel_file *file = filp->private_data;
	struct accel_dev *adev = file->adev;
	long ret;

	mutex_lock(&adev->files_lock);
	if (adev->gone)
		ret = -ENODEV;
	else if (cmd == ACCEL_IOC_INFO)
		ret = accel_info(adev, (void __user *)arg);
	else if (cmd == ACCEL_IOC_SET_SPEED)
		ret = accel_set_speed(adev, (const u32 __user *)arg);
	else
		ret = -ENOTTY;
	mutex_unlock(&adev->files_lock);
	return ret;
}

/* Ordinary pages, each with a reference of the mapping: they may outlive file and device. */
static int accel_mmap(struct file *filp, struct vm_area_struct *vma)
{
	struct accel_file *file = filp->private_data;
	unsigned long pages = vma_pages(vma), i;
	int ret;

	if (vma->vm_pgoff > BUFFER_SIZE >> PAGE_SHIFT || pages > (BUFFER_SIZE >> PAGE_SHIFT) - vma->vm_pgoff)
		return -EINVAL;
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	for (i = 0; i < pages; i++) {
		struct page *page = virt_to_page(file->buffer + ((vma->vm_pgoff + i) << PAGE_SHIFT));

		ret = vm_insert_page(vma, vma->vm_start + (i << PAGE_SHIFT), page);
		if (ret)
			return ret;
	}
	return 0;
}

static const struct file_operations accel_fops = {
	.owner = THIS_MODULE,
	.open = accel_open,
	.release = accel_release,
	.read = accel_read,
	.write = accel_write,
	.poll = accel_poll,
	.unlocked_ioctl = accel_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = accel_mmap,
};

/* ---- the PCI function ---------------------------------------------------------------- */

static int accel_map(struct accel_dev *adev)
{
	struct pci_dev *pdev = adev->pdev;
	u32 id, version;
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return dev_err_probe(&pdev->dev, ret, "cannot enable the device\n");
	if (pci_resource_len(pdev, ACCEL_BAR_REGS) < ACCEL_REGS_SIZE)
		return dev_err_probe(&pdev->dev, -ENODEV, "BAR %d is too small\n", ACCEL_BAR_REGS);
	ret = pcim_iomap_regions(pdev, BIT(ACCEL_BAR_REGS), KBUILD_MODNAME);
	if (ret)
		return dev_err_probe(&pdev->dev, ret, "cannot map BAR %d\n", ACCEL_BAR_REGS);
	adev->regs = pcim_iomap_table(pdev)[ACCEL_BAR_REGS];

	id = reg_read(adev, ACCEL_REG_ID);
	version = reg_read(adev, ACCEL_REG_VERSION);
	if (id != ACCEL_ID || version >> 16 != ACCEL_VERSION >> 16 || version < ACCEL_VERSION)
		return dev_err_probe(&pdev->dev, -ENODEV, "ID %#x version %#x: not ours\n", id, version);

	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		return dev_err_probe(&pdev->dev, ret, "no DMA\n");
	adev->ring = dmam_alloc_coherent(&pdev->dev, RING_SIZE * sizeof(*adev->ring), &adev->ring_dma, GFP_KERNEL);
	return adev->ring ? 0 : -ENOMEM;
}

static struct accel_dev *accel_alloc(struct pci_dev *pdev)
{
	struct accel_dev *adev = kzalloc(sizeof(*adev), GFP_KERNEL);

	if (!adev)
		return NULL;
	kref_init(&adev->ref);
	adev->pdev = pdev;
	mutex_init(&adev->files_lock);
	INIT_LIST_HEAD(&adev->files);
	spin_lock_init(&adev->lock);
	init_waitqueue_head(&adev->room);
	INIT_DELAYED_WORK(&adev->watchdog, accel_watchdog);
	adev->speed = ACCEL_PROC_PS_DEFAULT;
	return adev;
}

static int accel_register(struct accel_dev *adev)
{
	adev->misc = (struct miscdevice) {
		.minor = MISC_DYNAMIC_MINOR,
		.name = adev->name,
		.fops = &accel_fops,
		.parent = &adev->pdev->dev,
		.mode = 0600,
	};
	return misc_register(&adev->misc);
}

static int accel_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct accel_dev *adev;
	int ret;

	adev = accel_alloc(pdev);
	if (!adev)
		return -ENOMEM;
	ret = accel_map(adev);
	if (ret)
		goto put;
	ret = ida_alloc(&accel_ida, GFP_KERNEL);
	if (ret < 0)
		goto put;
	adev->id = ret;
	snprintf(adev->name, sizeof(adev->name), "accel%d", adev->id);

	/* Whatever ran before us may have left it at work. */
	device_stop(adev);
	pci_set_master(pdev);
	ret = accel_request_irqs(adev);
	if (ret)
		goto clear_master;
	spin_lock_irq(&adev->lock);
	ring_start(adev);
	spin_unlock_irq(&adev->lock);
	pci_set_drvdata(pdev, adev);
	ret = accel_register(adev);
	if (ret)
		goto stop;
	dev_info(&pdev->dev, "%s, version %u.%u\n", adev->name, reg_read(adev, ACCEL_REG_VERSION) >> 16,
		 reg_read(adev, ACCEL_REG_VERSION) & 0xffff);
	return 0;

stop:
	device_stop(adev);
	accel_free_irqs(adev);
clear_master:
	pci_clear_master(pdev);
	ida_free(&accel_ida, adev->id);
put:
	kref_put(&adev->ref, accel_free);
	return ret;
}

static void accel_remove(struct pci_dev *pdev)
{
	struct accel_dev *adev = pci_get_drvdata(pdev);
	struct accel_file *file;

	misc_deregister(&adev->misc);
	mutex_lock(&adev->files_lock);
	adev->gone = true;

	spin_lock_irq(&adev->lock);
	adev->dead = true;
	device_stop(adev);
	ring_reap(adev);
	ring_fail_all(adev, -ENODEV);
	list_for_each_entry(file, &adev->files, node)
		wake_up(&file->wait);
	spin_unlock_irq(&adev->lock);

	accel_free_irqs(adev);
	cancel_delayed_work_sync(&adev->watchdog);
	list_for_each_entry(file, &adev->files, node)
		dma_unmap_single(&pdev->dev, file->buffer_dma, BUFFER_SIZE, DMA_BIDIRECTIONAL);
	mutex_unlock(&adev->files_lock);

	pci_clear_master(pdev);
	ida_free(&accel_ida, adev->id);
	kref_put(&adev->ref, accel_free);
}

static const struct pci_device_id accel_ids[] = {
	{ PCI_DEVICE(ACCEL_VENDOR_ID, ACCEL_DEVICE_ID) },
	{ }
};
MODULE_DEVICE_TABLE(pci, accel_ids);

static struct pci_driver accel_driver = {
	.name = KBUILD_MODNAME,
	.id_table = accel_ids,
	.probe = accel_probe,
	.remove = accel_remove,
};
module_pci_driver(accel_driver);

MODULE_DESCRIPTION("DMA accelerator of kvmbox's examples");
MODULE_LICENSE("GPL");
