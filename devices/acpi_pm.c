/* ACPI fixed hardware: see acpi_pm.h. Names are those of ACPI 6.4, tables 4.14 to 4.17. */
#include "devices/acpi_pm.h"

#include <errno.h>
#include <stdlib.h>

enum {
	TMR_STS = 1 << 0, /* and TMR_EN, and so on */
	BM_STS = 1 << 4,
	GBL_STS = 1 << 5,
	PWRBTN_STS = 1 << 8,
	SLPBTN_STS = 1 << 9,
	RTC_STS = 1 << 10,
	PCIEXP_WAKE_STS = 1 << 14,
	WAK_STS = 1 << 15,
	STS_CLEARABLE = TMR_STS | BM_STS | GBL_STS | PWRBTN_STS | SLPBTN_STS | RTC_STS | PCIEXP_WAKE_STS | WAK_STS,
	EN_EVENTS = TMR_STS | GBL_STS | PWRBTN_STS | SLPBTN_STS | RTC_STS,
	EN_WRITABLE = EN_EVENTS | PCIEXP_WAKE_STS, /* PCIEXP_WAKE_DIS */

	SCI_EN = 1 << 0,
	BM_RLD = 1 << 1,
	SLP_TYP_SHIFT = 10,
	SLP_TYP = 7 << SLP_TYP_SHIFT,
	SLP_EN = 1 << 13, /* write-only, as is GBL_RLS (bit 2) */
	CNT_WRITABLE = BM_RLD | SLP_TYP,
};

struct kb_acpi_pm {
	struct kb_acpi_pm_config cfg;
	struct kb_region region;
	struct kb_timer timer;
	uint32_t status, enable, control;
	uint64_t synced; /* overflows up to this tick of the PM timer have been seen */
	bool rtc;
	unsigned long sleeps; /* unknown sleep types, for the log's sake */
};

static uint64_t now_tick(const struct kb_acpi_pm *pm)
{
	return kb_ps_to_ticks(kb_timers_now(pm->cfg.timers), KB_ACPI_PM_HZ);
}

static unsigned timer_bits(const struct kb_acpi_pm *pm)
{
	return pm->cfg.timer32 ? 32 : 24;
}

static uint32_t timer_value(const struct kb_acpi_pm *pm)
{
	return (uint32_t)(now_tick(pm) & UINT32_MAX >> (32 - timer_bits(pm)));
}

/* TMR_STS: "any time the most significant bit of the counter changes". */
static void sync(struct kb_acpi_pm *pm)
{
	uint64_t tick = now_tick(pm);
	unsigned msb = timer_bits(pm) - 1;

	if (tick >> msb != pm->synced >> msb)
		pm->status |= TMR_STS;
	pm->synced = tick;
}

/* After sync(), and a change of status or enable. Once TMR_STS is set another overflow changes nothing. */
static void update(struct kb_acpi_pm *pm)
{
	unsigned msb = timer_bits(pm) - 1;
	uint64_t next = KB_TIME_NEVER;

	if (pm->enable & ~pm->status & TMR_STS)
		next = kb_ticks_to_ps(((pm->synced >> msb) + 1) << msb, KB_ACPI_PM_HZ);
	kb_timer_arm(&pm->timer, next);
	kb_line_set(&pm->cfg.sci, pm->status & pm->enable & EN_EVENTS);
}

static void overflow(void *opaque)
{
	struct kb_acpi_pm *pm = opaque;

	sync(pm);
	update(pm);
}

void kb_acpi_pm_power_button(struct kb_acpi_pm *pm)
{
	pm->status |= PWRBTN_STS;
	sync(pm);
	update(pm);
}

void kb_acpi_pm_rtc(void *opaque, int pin, bool level)
{
	struct kb_acpi_pm *pm = opaque;

	(void)pin;
	if (level && !pm->rtc)
		pm->status |= RTC_STS;
	pm->rtc = level;
	sync(pm);
	update(pm);
}

/* ---- registers ------------------------------------------------------------------ */

static void enter_sleep(struct kb_acpi_pm *pm)
{
	unsigned type = pm->control >> SLP_TYP_SHIFT & 7;

	if (type == KB_ACPI_SLP_TYP_S5) {
		if (pm->cfg.power_off)
			pm->cfg.power_off(pm->cfg.opaque);
	} else if (kb_log_ratelimit(&pm->sleeps)) {
		kb_logf(pm->cfg.log, KVMBOX_LOG_WARNING,
			"the guest asks for sleep type %u (PM1_CNT); ignored, there is only S5, which is %u", type,
			KB_ACPI_SLP_TYP_S5);
	}
}

/* Registers by dwords; of the 32 bits mask were written. */
static void reg_write(struct kb_acpi_pm *pm, uint64_t reg, uint32_t value, uint32_t mask)
{
	value &= mask;
	if (reg == KB_ACPI_PM_EVT) {
		pm->status &= ~(value & STS_CLEARABLE);
		if (mask >> 16)
			pm->enable = ((pm->enable & ~(mask >> 16)) | value >> 16) & EN_WRITABLE;
	} else if (reg == KB_ACPI_PM_CNT) {
		pm->control = ((pm->control & ~mask) | value) & CNT_WRITABLE;
		if (value & SLP_EN)
			enter_sleep(pm);
	}
}

static uint32_t reg_read(const struct kb_acpi_pm *pm, uint64_t reg)
{
	switch (reg) {
	case KB_ACPI_PM_EVT: return pm->status | pm->enable << 16;
	case KB_ACPI_PM_CNT: return pm->control | SCI_EN;
	default: return timer_value(pm);
	}
}

static uint64_t acpi_read(void *opaque, uint64_t off, unsigned len)
{
	struct kb_acpi_pm *pm = opaque;

	if (off < KB_ACPI_PM_CNT)
		sync(pm);
	return reg_read(pm, off & ~3ull) >> 8 * (off & 3) & UINT32_MAX >> (32 - 8 * len);
}

static void acpi_write(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_acpi_pm *pm = opaque;
	unsigned shift = 8 * ((unsigned)off & 3);

	sync(pm);
	reg_write(pm, off & ~3ull, (uint32_t)value << shift, UINT32_MAX >> (32 - 8 * len) << shift);
	update(pm);
}

/* ---- life ------------------------------------------------------------------------- */

void kb_acpi_pm_reset(struct kb_acpi_pm *pm)
{
	pm->status = pm->enable = pm->control = 0;
	pm->synced = now_tick(pm);
	update(pm);
}

int kb_acpi_pm_create(struct kb_acpi_pm **out, const struct kb_acpi_pm_config *cfg, struct kvmbox_error *err)
{
	struct kb_acpi_pm *pm;
	int rc;

	if (cfg->port % 4)
		return kb_fail(err, EINVAL, "ACPI port 0x%x is not a multiple of 4", cfg->port);
	pm = calloc(1, sizeof(*pm));
	if (!pm)
		return kb_fail(err, ENOMEM, "out of memory creating the ACPI hardware");
	pm->cfg = *cfg;
	pm->region = (struct kb_region){
		.name = "ACPI PM1 and timer", .base = cfg->port, .size = KB_ACPI_PM_PORTS, .max_len = 4,
		.read = acpi_read, .write = acpi_write, .opaque = pm,
	};
	kb_timer_init(&pm->timer, cfg->timers, overflow, pm);
	kb_acpi_pm_reset(pm);
	rc = kb_bus_add(cfg->io, &pm->region, err);
	if (rc) {
		free(pm);
		return rc;
	}
	*out = pm;
	return 0;
}

void kb_acpi_pm_destroy(struct kb_acpi_pm *pm)
{
	if (!pm)
		return;
	kb_timer_cancel(&pm->timer);
	kb_bus_remove(pm->cfg.io, &pm->region);
	free(pm);
}
