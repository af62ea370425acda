/* KVM's interrupt controllers: see irqchip.h. */
#include "vcpu/irqchip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define IOAPIC_PINS 24u
#define PIC_PINS 16u
#define IOAPIC_PIT 2u /* where ISA IRQ 0 goes */
#define ROUTES (PIC_PINS + IOAPIC_PINS + 1)

/* Registers of struct kvm_lapic_state, by their xAPIC offsets. */
enum { LAPIC_SVR = 0xf0, LAPIC_LVT_LINT0 = 0x350, LAPIC_LVT_LINT1 = 0x360 };
enum { SVR_ENABLED = 0x1ff, LVT_EXTINT = 0x700, LVT_NMI = 0x400 };

static int call(const struct kb_irqchip *c, int fd, unsigned long request, void *arg, struct kvmbox_error *err)
{
	int rc = kb_kvm_ioctl(c->vm->api, fd, request, arg);

	return rc < 0 ? kb_fail(err, -rc, "%s failed: %s", kb_kvm_request_name(request), strerror(-rc)) : 0;
}

static int vm_ioctl(const struct kb_irqchip *c, unsigned long request, void *arg, struct kvmbox_error *err)
{
	return call(c, c->vm->fd, request, arg, err);
}

static struct kvm_irq_routing_entry route(unsigned gsi, unsigned chip, unsigned pin)
{
	return (struct kvm_irq_routing_entry){
		.gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

static struct kvm_irq_routing_entry to_pic(unsigned gsi, unsigned irq)
{
	return route(gsi, irq < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, irq % 8);
}

static int set_routes(struct kb_irqchip *c, struct kvmbox_error *err)
{
	struct { /* struct kvm_irq_routing */
		uint32_t nr, flags;
		struct kvm_irq_routing_entry entry[ROUTES];
	} r = { .nr = ROUTES };
	unsigned n = 0, pin;

	r.entry[n++] = to_pic(0, 0);
	r.entry[n++] = route(0, KVM_IRQCHIP_IOAPIC, IOAPIC_PIT);
	for (pin = 1; pin < IOAPIC_PINS; pin++)
		r.entry[n++] = route(pin, KVM_IRQCHIP_IOAPIC, pin);
	for (pin = 0; pin < PIC_PINS; pin++)
		r.entry[n++] = to_pic(KB_GSI_PIC + pin, pin);
	return vm_ioctl(c, KVM_SET_GSI_ROUTING, &r, err);
}

static int setup(struct kb_irqchip *c, struct kvmbox_error *err)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	unsigned i;
	int rc = vm_ioctl(c, KVM_CREATE_IRQCHIP, NULL, err);

	if (!rc)
		rc = vm_ioctl(c, KVM_CREATE_PIT2, &pit, err);
	if (!rc)
		rc = set_routes(c, err);
	for (i = 0; i < 3 && !rc; i++) {
		c->start[i].chip_id = i;
		rc = vm_ioctl(c, KVM_GET_IRQCHIP, &c->start[i], err);
	}
	return rc ? rc : vm_ioctl(c, KVM_GET_PIT2, &c->pit, err);
}

int kb_irqchip_create(struct kb_irqchip **out, struct kb_vm *vm, struct kvmbox_error *err)
{
	static const int needed[] = { KVM_CAP_IRQCHIP, KVM_CAP_PIT2, KVM_CAP_PIT_STATE2, KVM_CAP_IRQ_ROUTING, KVM_CAP_SIGNAL_MSI };
	struct kb_irqchip *c;
	size_t i;
	int rc;

	*out = NULL;
	for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (kb_kvm_check(vm->api, vm->fd, needed[i]) <= 0)
			return kb_fail(err, EOPNOTSUPP, "KVM on this host has no interrupt controllers of its own (capability %d is missing); use irqchip=user",
				       needed[i]);
	c = calloc(1, sizeof(*c));
	if (!c)
		return kb_fail(err, ENOMEM, "out of memory creating the interrupt controllers");
	c->vm = vm;
	rc = setup(c, err);
	if (rc) {
		free(c);
		return rc;
	}
	*out = c;
	return 0;
}

void kb_irqchip_destroy(struct kb_irqchip *c)
{
	free(c);
}

static void put(struct kvm_lapic_state *l, unsigned reg, uint32_t value)
{
	memcpy(l->regs + reg, &value, sizeof(value));
}

int kb_irqchip_start_cpu(struct kb_irqchip *c, int vcpu_fd, struct kvmbox_error *err)
{
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_lapic_state lapic;
	unsigned lvt;
	int rc = call(c, vcpu_fd, KVM_GET_LAPIC, &lapic, err);

	if (rc)
		return rc;
	memset(lapic.regs + 0x80, 0, 0x380); /* all but ID and version: IRR, ISR, timer... */
	put(&lapic, 0xe0, UINT32_MAX); /* DFR: flat */
	put(&lapic, LAPIC_SVR, SVR_ENABLED);
	for (lvt = 0x320; lvt <= 0x370; lvt += 0x10)
		put(&lapic, lvt, 1u << 16);
	put(&lapic, LAPIC_LVT_LINT0, LVT_EXTINT);
	put(&lapic, LAPIC_LVT_LINT1, LVT_NMI);
	rc = call(c, vcpu_fd, KVM_SET_LAPIC, &lapic, err);
	return rc ? rc : call(c, vcpu_fd, KVM_SET_MP_STATE, &mp, err);
}

int kb_irqchip_reset(struct kb_irqchip *c, struct kvmbox_error *err)
{
	unsigned i;
	int rc = 0;

	for (i = 0; i < 3 && !rc; i++)
		rc = vm_ioctl(c, KVM_SET_IRQCHIP, &c->start[i], err);
	return rc ? rc : vm_ioctl(c, KVM_SET_PIT2, &c->pit, err);
}

int kb_irqchip_set_elcr(struct kb_irqchip *c, uint16_t level, struct kvmbox_error *err)
{
	int rc;

	c->start[KVM_IRQCHIP_PIC_MASTER].chip.pic.elcr = (uint8_t)level;
	c->start[KVM_IRQCHIP_PIC_SLAVE].chip.pic.elcr = (uint8_t)(level >> 8);
	rc = vm_ioctl(c, KVM_SET_IRQCHIP, &c->start[KVM_IRQCHIP_PIC_MASTER], err);
	return rc ? rc : vm_ioctl(c, KVM_SET_IRQCHIP, &c->start[KVM_IRQCHIP_PIC_SLAVE], err);
}

void kb_irqchip_set(struct kb_irqchip *c, unsigned gsi, bool level)
{
	struct kvm_irq_level irq = { .irq = gsi, .level = level };

	kb_kvm_ioctl(c->vm->api, c->vm->fd, KVM_IRQ_LINE, &irq);
}

bool kb_irqchip_msi(struct kb_irqchip *c, uint64_t addr, uint32_t data)
{
	struct kvm_msi msi = { .address_lo = (uint32_t)addr, .address_hi = (uint32_t)(addr >> 32), .data = data };

	return kb_kvm_ioctl(c->vm->api, c->vm->fd, KVM_SIGNAL_MSI, &msi) > 0;
}

void kb_irqchip_mute_pit(struct kb_irqchip *c, bool mute)
{
	struct kvm_pit_state2 pit;

	if (kb_kvm_ioctl(c->vm->api, c->vm->fd, KVM_GET_PIT2, &pit) < 0)
		return;
	pit.flags = mute ? pit.flags | KVM_PIT_FLAGS_HPET_LEGACY : pit.flags & ~(uint32_t)KVM_PIT_FLAGS_HPET_LEGACY;
	kb_kvm_ioctl(c->vm->api, c->vm->fd, KVM_SET_PIT2, &pit);
}
