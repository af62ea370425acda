/*
 * The local APIC's MSRs: x2APIC mode (Intel SDM vol. 3, section "Extended XAPIC (x2APIC)"), TSC deadline, and the modes themselves
 * (IA32_APIC_BASE). See lapic.h.
 */
#include "devices/lapic_internal.h"

#define BASE_EXTD (1ull << 10)
#define BASE_ENABLE (1ull << 11)

/* Table "x2APIC MSR Address Map": the xAPIC offset is 16 times the index. */
#define INDEX_ICR (KB_LAPIC_MSR + 0x30)
#define INDEX_SELF_IPI (KB_LAPIC_MSR + 0x3f)

#define RESERVED UINT32_MAX

static unsigned offset(uint32_t index)
{
	return (index - KB_LAPIC_MSR) << 4;
}

/* Registers that x2APIC mode has, but for ICR and SELF IPI: what must be 0 in a write; RESERVED: not to be written. False: none. */
static bool reserved_bits(const struct kb_lapic *l, unsigned reg, uint32_t *bits)
{
	switch (reg) {
	case REG_TPR: *bits = ~0xffu; return true;
	case REG_EOI: *bits = RESERVED; return true; /* only 0 can be written */
	case REG_ESR: *bits = RESERVED; return true;
	case REG_SVR: *bits = ~(SVR_WRITABLE | (l->cfg.directed_eoi ? SVR_SUPPRESS_EOI : 0)); return true;
	case REG_LVT ... REG_LVT + 0x50:
		*bits = ~(kb_lapic_lvt_writable(l, (reg - REG_LVT) / 0x10) | LVT_PENDING | LVT_REMOTE_IRR);
		return true;
	case REG_INITIAL_COUNT: *bits = 0; return true;
	case REG_DIVIDE: *bits = ~0xbu; return true;
	default: return false;
	}
}

static bool readable(unsigned reg)
{
	switch (reg) {
	case REG_ID: case REG_VERSION: case REG_TPR: case REG_PPR: case REG_LDR: case REG_SVR: case REG_ESR:
	case REG_ISR ... REG_IRR + 0x70:
	case REG_LVT ... REG_LVT + 0x50:
	case REG_INITIAL_COUNT: case REG_CURRENT_COUNT: case REG_DIVIDE:
		return true;
	default:
		return false;
	}
}

static bool read_x2apic(struct kb_lapic *l, uint32_t index, uint64_t *value)
{
	if (!l->x2apic)
		return false;
	if (index == INDEX_ICR) {
		*value = (uint64_t)l->icr_high << 32 | l->icr_low;
		return true;
	}
	if (!readable(offset(index)))
		return false;
	*value = kb_lapic_reg_read(l, offset(index));
	return true;
}

static bool write_icr(struct kb_lapic *l, uint64_t value)
{
	if ((uint32_t)value & ~(ICR_WRITABLE | ICR_PENDING))
		return false;
	l->icr_high = (uint32_t)(value >> 32);
	l->icr_low = (uint32_t)value & ICR_WRITABLE;
	kb_lapic_icr_send(l);
	return true;
}

static bool write_self_ipi(struct kb_lapic *l, uint64_t value)
{
	if (value & ~0xffull)
		return false;
	kb_lapic_self_ipi(l, (uint8_t)value);
	return true;
}

static bool write_x2apic(struct kb_lapic *l, uint32_t index, uint64_t value)
{
	uint32_t reserved;

	if (!l->x2apic)
		return false;
	if (index == INDEX_ICR)
		return write_icr(l, value);
	if (index == INDEX_SELF_IPI)
		return write_self_ipi(l, value);
	if (!reserved_bits(l, offset(index), &reserved) || value >> 32 || value & reserved)
		return false;
	kb_lapic_reg_write(l, offset(index), (uint32_t)value);
	return true;
}

bool kb_lapic_msr_read(void *lapic, uint32_t index, uint64_t *value)
{
	struct kb_lapic *l = lapic;

	if (index != KB_LAPIC_MSR_DEADLINE)
		return read_x2apic(l, index, value);
	*value = kb_lapic_timer_get_deadline(l);
	return l->cfg.tsc_reaches != NULL;
}

bool kb_lapic_msr_write(void *lapic, uint32_t index, uint64_t value)
{
	struct kb_lapic *l = lapic;

	if (index != KB_LAPIC_MSR_DEADLINE)
		return write_x2apic(l, index, value);
	kb_lapic_timer_set_deadline(l, value);
	return l->cfg.tsc_reaches != NULL;
}

/* Sections "Enabling or Disabling the Local APIC" and "x2APIC State Transitions". */
void kb_lapic_set_base(struct kb_lapic *l, uint64_t base)
{
	bool enabled = base & BASE_ENABLE, x2apic = enabled && base & BASE_EXTD;

	if (l->enabled != enabled) {
		kb_lapic_init_state(l);
		l->id = l->cfg.id;
		l->enabled = enabled;
	}
	if (l->x2apic != x2apic) {
		l->x2apic = x2apic;
		l->id = l->cfg.id; /* software cannot change it in this mode */
		l->icr_high = 0;
	}
	kb_lapic_update(l);
}
