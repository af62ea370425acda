/* kvm-clock in user space: see pvclock.h. */
#include "vcpu/pvclock.h"

#include <inttypes.h>
#include <string.h>

#include "vcpu/vm.h"

enum {
	MSR_WALL_CLOCK_OLD = 0x11, MSR_SYSTEM_TIME_OLD = 0x12,
	MSR_PARAVIRT = 0x4b564d00, MSR_PARAVIRT_COUNT = 256, /* the range Linux keeps for KVM */
	MSR_WALL_CLOCK = MSR_PARAVIRT, MSR_SYSTEM_TIME,
};

#define ENABLE 1u
#define TSC_STABLE 1u /* flags: readings of different vCPUs do not step back */

struct time_info {
	uint32_t version, pad0;
	uint64_t tsc_timestamp, system_time;
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags, pad[2];
};
_Static_assert(sizeof(struct time_info) == 32, "the guest's layout");

struct wall_clock {
	uint32_t version, sec, nsec;
};

/*
 * As precise as 32 bits allow when ticks are shifted up. Shifting them down loses parts of a tick: no further than to
 * keep that, and the multiplier's rounding over a tenth of a second, below a quarter of a nanosecond.
 */
struct kb_pvclock_scale kb_pvclock_scale_of(uint64_t ps_per_tick)
{
	/* Moves for no TSC. The multiplier is not small: guests get a frequency of (10^6 << 32) / mul, SeaBIOS in 32 bits. */
	struct kb_pvclock_scale s = { .mul = 1u << 31, .shift = -63 };
	unsigned __int128 ps = ps_per_tick;

	if (!ps_per_tick)
		return s;
	for (s.shift = 0; ps / 1000 >> s.shift > UINT32_MAX; s.shift++)
		;
	if (s.shift) {
		s.mul = (uint32_t)(ps / 1000 >> s.shift);
		return s;
	}
	for (; ps / 1000 < 1u << 29 && s.shift > -62; s.shift--)
		ps <<= 1;
	s.mul = (uint32_t)(ps / 1000);
	return s;
}

/* len bytes of guest RAM, in one piece; NULL: there is none at addr. */
static uint8_t *guest_ram(struct kb_vm *vm, uint64_t addr, size_t len)
{
	const struct kb_region *r = kb_bus_find(&vm->mem, addr);

	if (!r || !r->host || r->readonly || r->size - (addr - r->base) < len)
		return NULL;
	return r->host + (addr - r->base);
}

/* Odd while it is being written: a reader on another CPU starts over. */
static void publish(uint8_t *to, uint32_t version, const void *what, size_t len)
{
	uint32_t *shown = (uint32_t *)(void *)to; /* aligned to 4 */

	__atomic_store_n(shown, version - 1, __ATOMIC_RELAXED);
	__asm__ volatile("" : : : "memory"); /* x86 keeps stores in order (SDM vol. 3, 8.2.2); ThreadSanitizer knows no fences */
	memcpy(to + sizeof(version), (const uint8_t *)what + sizeof(version), len - sizeof(version));
	__atomic_store_n(shown, version, __ATOMIC_RELEASE);
}

/* Where the line through the guest's time at the opening of the view starts: not after the stay does. */
static void start_of_line(const struct kb_clock *c, const struct kb_view *view, uint64_t *stamp, uint64_t *ps)
{
	uint64_t rate = c->rate.ps_per_tick, lead = view->lead;
	unsigned __int128 lead_ps = ((unsigned __int128)lead * rate >> 32) + 1;

	*stamp = kb_view_opens(view);
	*ps = c->now_ps;
	if (!rate)
		return;
	if (lead_ps > *ps) { /* there is no time before 0 */
		lead = (uint64_t)(((unsigned __int128)*ps << 32) / rate);
		lead_ps = *ps;
	}
	*ps -= (uint64_t)lead_ps;
	*stamp -= lead;
	/* Whole nanoseconds; the rest is a bit of TSC. */
	*stamp -= (uint64_t)(((unsigned __int128)(*ps % 1000) << 32) / rate);
	*ps -= *ps % 1000;
}

void kb_pvclock_show(struct kb_pvclock *p, const struct kb_clock *clock, const struct kb_view *view, uint64_t tsc_offset)
{
	struct time_info info = { .flags = p->several ? 0 : TSC_STABLE };
	uint64_t stamp, ps;

	if (!p->page)
		return;
	if (p->ps_per_tick != clock->rate.ps_per_tick) {
		p->ps_per_tick = clock->rate.ps_per_tick;
		p->scale = kb_pvclock_scale_of(p->ps_per_tick);
	}
	start_of_line(clock, view, &stamp, &ps);
	info.tsc_timestamp = stamp + tsc_offset;
	info.system_time = ps / 1000;
	info.tsc_to_system_mul = p->scale.mul;
	info.tsc_shift = p->scale.shift;
	p->version += 2;
	publish(p->page, p->version, &info, sizeof(info));
}

void kb_pvclock_show_step(struct kb_pvclock *p, const struct kb_clock *clock, bool exited)
{
	const struct kb_pvclock_scale still = kb_pvclock_scale_of(0);
	struct time_info info = {
		.flags = p->several ? 0 : TSC_STABLE, .system_time = clock->now_ps / 1000, .tsc_to_system_mul = still.mul, .tsc_shift = still.shift,
	};

	if (!p->page || (!exited && ++p->steps < KB_PVCLOCK_STEPS))
		return;
	p->steps = 0;
	p->version += 2;
	publish(p->page, p->version, &info, sizeof(info));
}

/* The time of day at guest time 0; the guest adds its system time. Written once, now. */
static bool write_wall_clock(struct kb_pvclock *p, uint64_t addr)
{
	struct wall_clock w = { .sec = (uint32_t)p->start_s };
	uint8_t *to = guest_ram(p->vm, addr, sizeof(w));
	uint32_t version;

	if (!to || addr % 4)
		return false;
	memcpy(&version, to, sizeof(version));
	publish(to, (version & ~1u) + 2, &w, sizeof(w));
	return true;
}

static bool set_system_time(struct kb_pvclock *p, uint64_t value)
{
	uint8_t *page = NULL;

	if (value & ENABLE) {
		page = guest_ram(p->vm, value & ~(uint64_t)ENABLE, sizeof(struct time_info));
		if (!page || (value & 2))
			return false;
	}
	p->page = page; /* written at the next entry */
	return true;
}

static bool msr_read(void *opaque, uint32_t index, uint64_t *value)
{
	struct kb_pvclock *p = opaque;

	if (p->by != KB_PVCLOCK_BOX)
		return false;
	switch (index) {
	case MSR_WALL_CLOCK: case MSR_WALL_CLOCK_OLD:
		*value = p->wall_clock;
		return true;
	case MSR_SYSTEM_TIME: case MSR_SYSTEM_TIME_OLD:
		*value = p->system_time;
		return true;
	default:
		return false;
	}
}

static bool msr_write(void *opaque, uint32_t index, uint64_t value)
{
	struct kb_pvclock *p = opaque;
	bool wall = index == MSR_WALL_CLOCK || index == MSR_WALL_CLOCK_OLD;

	if (p->by != KB_PVCLOCK_BOX || (!wall && index != MSR_SYSTEM_TIME && index != MSR_SYSTEM_TIME_OLD))
		return false;
	if (wall ? write_wall_clock(p, value) : set_system_time(p, value)) {
		*(wall ? &p->wall_clock : &p->system_time) = value;
		return true;
	}
	if (kb_log_ratelimit(&p->refused))
		kb_logf(p->vm->log, KVMBOX_LOG_WARNING,
			"the guest wants its paravirtual %s at 0x%" PRIx64 ", which is not aligned to 4 or not all RAM: #GP",
			wall ? "wall clock" : "clock", value);
	return false;
}

int kb_pvclock_init(struct kb_pvclock *p, struct kb_vm *vm, enum kb_pvclock_by by, struct kb_msrs *msrs, struct kvmbox_error *err)
{
	struct kb_msr_range range = {
		.first = MSR_WALL_CLOCK_OLD, .count = 2, .take_reads = true, .take_writes = true, .read = msr_read,
		.write = msr_write, .opaque = p,
	};
	int rc;

	*p = (struct kb_pvclock){ .vm = vm, .by = by, .scale = kb_pvclock_scale_of(0) };
	if (by == KB_PVCLOCK_KVM)
		return 0;
	rc = kb_msrs_add(msrs, &range, err);
	if (rc)
		return rc;
	/* Steal time and such: host time again. No CPUID bit offers them, but KVM would answer. */
	range.first = MSR_PARAVIRT;
	range.count = MSR_PARAVIRT_COUNT;
	return kb_msrs_add(msrs, &range, err);
}

void kb_pvclock_reset(struct kb_pvclock *p)
{
	p->page = NULL;
	p->system_time = p->wall_clock = 0;
}
