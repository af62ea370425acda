/* System calls on KVM: see kvm.h. */
#include "vcpu/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int linux_open(const char *path, int flags)
{
	return open(path, flags);
}

static int linux_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg);
}

const struct kb_kvm_api kb_kvm_linux = {
	.open = linux_open,
	.close = close,
	.ioctl = linux_ioctl,
	.mmap = mmap,
	.munmap = munmap,
};

int kb_kvm_ioctl(const struct kb_kvm_api *api, int fd, unsigned long request, void *arg)
{
	int rc;

	do
		rc = api->ioctl(fd, request, arg);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : rc;
}

int kb_kvm_check(const struct kb_kvm_api *api, int fd, int cap)
{
	int rc = kb_kvm_ioctl(api, fd, KVM_CHECK_EXTENSION, (void *)(long)cap);

	return rc < 0 ? 0 : rc;
}

static int open_failed(int code, struct kvmbox_error *err)
{
	switch (code) {
	case ENOENT:
		return kb_fail(err, code,
			       "/dev/kvm does not exist: the kvm module is not loaded or this machine gives no access to virtualisation. Load it (modprobe kvm_intel, kvm_amd, or the one your cloud provides), switch virtualisation on in the firmware, or give the container the device (--device /dev/kvm)");
	case EACCES:
	case EPERM:
		return kb_fail(err, code,
			       "no permission to open /dev/kvm: add the user to the group that owns it (usermod -aG kvm $USER, then log in again) or run as root");
	case ENODEV:
	case ENXIO:
		return kb_fail(err, code,
			       "/dev/kvm is there but no KVM backend answers: load kvm_intel or kvm_amd, or switch virtualisation on in the firmware");
	case EBUSY:
		return kb_fail(err, code, "/dev/kvm is busy: another hypervisor holds the virtualisation hardware; stop it");
	default:
		return kb_fail(err, code, "cannot open /dev/kvm: %s", strerror(code));
	}
}

int kb_kvm_open(const struct kb_kvm_api *api, struct kvmbox_error *err)
{
	int fd = api->open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int version;

	if (fd < 0)
		return open_failed(errno, err);
	version = kb_kvm_ioctl(api, fd, KVM_GET_API_VERSION, NULL);
	if (version == KVM_API_VERSION)
		return fd;
	api->close(fd);
	if (version < 0)
		return kb_fail(err, ENODEV, "/dev/kvm does not answer KVM_GET_API_VERSION (%s): it is not a KVM device",
			       strerror(-version));
	return kb_fail(err, ENODEV, "/dev/kvm speaks API version %d, kvmbox needs %d", version, KVM_API_VERSION);
}

#define NAME(r) { r, #r }
static const struct {
	unsigned long request;
	const char *name;
} request_names[] = {
	NAME(KVM_GET_API_VERSION), NAME(KVM_CHECK_EXTENSION), NAME(KVM_CREATE_VM), NAME(KVM_CREATE_VCPU),
	NAME(KVM_GET_VCPU_MMAP_SIZE), NAME(KVM_SET_USER_MEMORY_REGION), NAME(KVM_SET_TSS_ADDR),
	NAME(KVM_SET_IDENTITY_MAP_ADDR), NAME(KVM_GET_SUPPORTED_CPUID), NAME(KVM_SET_CPUID2), NAME(KVM_GET_CPUID2), NAME(KVM_GET_REGS),
	NAME(KVM_SET_REGS), NAME(KVM_GET_SREGS), NAME(KVM_SET_SREGS), NAME(KVM_GET_MSRS), NAME(KVM_SET_MSRS),
	NAME(KVM_GET_FPU), NAME(KVM_SET_FPU), NAME(KVM_SET_GUEST_DEBUG), NAME(KVM_GET_VCPU_EVENTS),
	NAME(KVM_SET_VCPU_EVENTS), NAME(KVM_INTERRUPT), NAME(KVM_NMI), NAME(KVM_TRANSLATE), NAME(KVM_RUN),
	NAME(KVM_SET_SIGNAL_MASK), NAME(KVM_GET_TSC_KHZ), NAME(KVM_ENABLE_CAP), NAME(KVM_SET_MP_STATE),
	NAME(KVM_SET_XCRS), NAME(KVM_GET_XCRS), NAME(KVM_GET_DEBUGREGS), NAME(KVM_SET_DEBUGREGS),
	NAME(KVM_X86_SET_MSR_FILTER), NAME(KVM_CREATE_IRQCHIP), NAME(KVM_CREATE_PIT2), NAME(KVM_SET_GSI_ROUTING),
	NAME(KVM_GET_IRQCHIP), NAME(KVM_SET_IRQCHIP), NAME(KVM_GET_PIT2), NAME(KVM_SET_PIT2), NAME(KVM_GET_LAPIC), NAME(KVM_SET_LAPIC),
	NAME(KVM_IRQ_LINE), NAME(KVM_SIGNAL_MSI), NAME(KVM_SET_DEVICE_ATTR),
};

const char *kb_kvm_request_name(unsigned long request)
{
	size_t i;

	for (i = 0; i < sizeof(request_names) / sizeof(request_names[0]); i++)
		if (request_names[i].request == request)
			return request_names[i].name;
	return "KVM ioctl";
}
