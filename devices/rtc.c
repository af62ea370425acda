/*
 * MC146818A: see rtc.h. "Counts" below are those of the divider chain: pulses
 * of 32768 Hz, an update at every multiple of 32768, a periodic interrupt at
 * every multiple of its period.
 */
#include "devices/rtc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

enum {
	SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM,
	DAY_OF_WEEK, DAY, MONTH, YEAR, REG_A, REG_B, REG_C, REG_D,
	CENTURY = 0x32,
	CMOS_SIZE = 128,
	INDEX_NMI = 0x80,

	A_UIP = 0x80,
	A_DV_RESET = 0x60, /* both bits: divider held in reset */
	A_RS = 0x0f,
	A_INITIAL = 0x26,  /* 32768 Hz, 1024 Hz periodic rate */

	B_SET = 0x80,
	B_PIE = 0x40,
	B_AIE = 0x20,
	B_UIE = 0x10,
	B_SQWE = 0x08,
	B_DM = 0x04,       /* binary */
	B_24H = 0x02,

	C_IRQF = 0x80,
	C_PF = 0x40,
	C_AF = 0x20,
	C_UF = 0x10,
	C_FLAGS = C_PF | C_AF | C_UF, /* where B has the enables */

	D_VRT = 0x80,

	SECONDS_READ_ONLY = 0x80,
	HOURS_PM = 0x80,
	DONT_CARE = 0xc0,  /* alarm codes 0xc0-0xff */
};

#define RTC_HZ 32768ull
#define FIRST_UPDATE 16384ull /* count at which the divider leaves reset: 500 ms before an update */
#define UIP_PS (244 * KB_PS_PER_US)
#define DAY_S 86400
#define UNIX_EPOCH_DAY 719528 /* 1970-01-01, in days since 0000-01-01 */
#define LAST_YEAR 9999

struct kb_rtc {
	struct kb_bus *io;
	struct kb_timers *timers;
	struct kb_line irq;
	struct kb_timer timer;
	struct kb_region region;
	uint8_t index;
	bool nmi_masked;
	uint8_t cmos[CMOS_SIZE]; /* time as of count `synced`; C without IRQF */

	/* The divider had count div_base at div_epoch_ps. */
	bool div_held;
	uint64_t div_base, div_epoch_ps;
	uint64_t synced;
};

struct date {
	unsigned year, month, day;
};

/* Dates. Day numbers count from 0000-01-01 of the proleptic Gregorian calendar. */

static bool leap(unsigned year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static unsigned days_in_month(unsigned year, unsigned month)
{
	static const uint8_t days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return month == 2 && leap(year) ? 29 : days[month - 1];
}

static uint32_t days_before_year(unsigned year)
{
	unsigned last = year - 1;

	return year == 0 ? 0 : year * 365 + last / 4 - last / 100 + last / 400 + 1;
}

static uint32_t day_number(const struct date *d)
{
	uint32_t n = days_before_year(d->year) + d->day - 1;
	unsigned m;

	for (m = 1; m < d->month; m++)
		n += days_in_month(d->year, m);
	return n;
}

static struct date date_of(uint32_t day)
{
	struct date d = { .month = 1 };

	d.year = (unsigned)((uint64_t)day * 400 / 146097); /* at most one off */
	if (days_before_year(d.year) > day)
		d.year--;
	else if (days_before_year(d.year + 1) <= day)
		d.year++;
	day -= days_before_year(d.year);
	while (day >= days_in_month(d.year, d.month))
		day -= days_in_month(d.year, d.month++);
	d.day = day + 1;
	return d;
}

/* Registers: data modes. Guests write what they like; what is out of range is brought into it. */

static unsigned decode(const struct kb_rtc *rtc, uint8_t raw)
{
	return rtc->cmos[REG_B] & B_DM ? raw : (raw >> 4) * 10u + (raw & 15);
}

static uint8_t encode(const struct kb_rtc *rtc, unsigned v)
{
	return (uint8_t)(rtc->cmos[REG_B] & B_DM ? v : v / 10 % 10 << 4 | v % 10);
}

static unsigned decode_hour(const struct kb_rtc *rtc, uint8_t raw)
{
	if (rtc->cmos[REG_B] & B_24H)
		return decode(rtc, raw) % 24;
	return decode(rtc, raw & 0x7f) % 12 + (raw & HOURS_PM ? 12 : 0);
}

static uint8_t encode_hour(const struct kb_rtc *rtc, unsigned h)
{
	if (rtc->cmos[REG_B] & B_24H)
		return encode(rtc, h);
	return (uint8_t)(encode(rtc, h % 12 ? h % 12 : 12) | (h >= 12 ? HOURS_PM : 0));
}

static uint32_t time_of_day(const struct kb_rtc *rtc)
{
	return decode_hour(rtc, rtc->cmos[HOURS]) * 3600 + decode(rtc, rtc->cmos[MINUTES]) % 60 * 60 +
	       decode(rtc, rtc->cmos[SECONDS]) % 60;
}

static void set_time_of_day(struct kb_rtc *rtc, uint32_t s)
{
	rtc->cmos[HOURS] = encode_hour(rtc, s / 3600);
	rtc->cmos[MINUTES] = encode(rtc, s / 60 % 60);
	rtc->cmos[SECONDS] = encode(rtc, s % 60);
}

static struct date get_date(const struct kb_rtc *rtc)
{
	struct date d = {
		.year = decode(rtc, rtc->cmos[CENTURY]) * 100 + decode(rtc, rtc->cmos[YEAR]) % 100,
		.month = decode(rtc, rtc->cmos[MONTH]),
		.day = decode(rtc, rtc->cmos[DAY]),
	};

	if (d.month < 1 || d.month > 12)
		d.month = 1;
	if (d.day < 1)
		d.day = 1;
	if (d.day > days_in_month(d.year, d.month))
		d.day = days_in_month(d.year, d.month);
	return d;
}

static void set_date(struct kb_rtc *rtc, const struct date *d)
{
	rtc->cmos[CENTURY] = encode(rtc, d->year / 100);
	rtc->cmos[YEAR] = encode(rtc, d->year % 100);
	rtc->cmos[MONTH] = encode(rtc, d->month);
	rtc->cmos[DAY] = encode(rtc, d->day);
}

/* A number of updates at once. The day of week is a counter of its own, as in the chip. */
static void advance(struct kb_rtc *rtc, uint64_t seconds)
{
	uint64_t s = time_of_day(rtc) + seconds, days = s / DAY_S;
	unsigned dow = decode(rtc, rtc->cmos[DAY_OF_WEEK]);
	struct date d;

	set_time_of_day(rtc, (uint32_t)(s % DAY_S));
	if (!days)
		return;
	d = get_date(rtc);
	d = date_of(day_number(&d) + (uint32_t)days);
	set_date(rtc, &d);
	rtc->cmos[DAY_OF_WEEK] = encode(rtc, (unsigned)((dow + 6 + days) % 7) + 1);
}

/* Alarm: a register's value, or one of these. */
enum { ALARM_ANY = -1, ALARM_NEVER = -2 };

static int alarm_code(const struct kb_rtc *rtc, unsigned reg)
{
	uint8_t raw = rtc->cmos[reg];
	unsigned v;
	bool good;

	if ((raw & DONT_CARE) == DONT_CARE)
		return ALARM_ANY;
	/* The chip compares bytes: a code the time never shows never matches. */
	if (reg == HOURS_ALARM) {
		v = decode_hour(rtc, raw);
		good = encode_hour(rtc, v) == raw;
	} else {
		v = decode(rtc, raw);
		good = v < 60 && encode(rtc, v) == raw;
	}
	return good ? (int)v : ALARM_NEVER;
}

/* Seconds to the next second that matches the alarm, 1 to 86400, or 0: never. Under 300 steps. */
static uint32_t alarm_delay(const struct kb_rtc *rtc)
{
	int hour = alarm_code(rtc, HOURS_ALARM), minute = alarm_code(rtc, MINUTES_ALARM);
	int second = alarm_code(rtc, SECONDS_ALARM);
	uint32_t now = time_of_day(rtc), delay = 1;

	if (hour == ALARM_NEVER || minute == ALARM_NEVER || second == ALARM_NEVER)
		return 0;
	while (delay <= DAY_S) {
		uint32_t s = (now + delay) % DAY_S;

		if (hour != ALARM_ANY && s / 3600 != (uint32_t)hour)
			delay += 3600 - s % 3600;
		else if (minute != ALARM_ANY && s / 60 % 60 != (uint32_t)minute)
			delay += 60 - s % 60;
		else if (second != ALARM_ANY && s % 60 != (uint32_t)second)
			delay += ((uint32_t)second + 60 - s % 60) % 60;
		else
			return delay;
	}
	return 0;
}

/* Divider chain */

static uint64_t divider(const struct kb_rtc *rtc)
{
	if (rtc->div_held)
		return rtc->synced;
	return rtc->div_base + kb_ps_to_ticks(kb_timers_now(rtc->timers) - rtc->div_epoch_ps, RTC_HZ);
}

static uint64_t count_to_ps(const struct kb_rtc *rtc, uint64_t count)
{
	uint64_t ps = kb_ticks_to_ps(count - rtc->div_base, RTC_HZ);

	return ps < KB_TIME_NEVER - rtc->div_epoch_ps ? rtc->div_epoch_ps + ps : KB_TIME_NEVER;
}

/* Counts between periodic interrupts, 0: none. Rates 1 and 2 repeat 8 and 9 (table 5). */
static uint64_t period(const struct kb_rtc *rtc)
{
	unsigned rs = rtc->cmos[REG_A] & A_RS;

	if (rs == 0)
		return 0;
	return 1ull << (rs < 3 ? rs + 6 : rs - 1);
}

static bool updating(const struct kb_rtc *rtc)
{
	return !rtc->div_held && !(rtc->cmos[REG_B] & B_SET);
}

/* Brings time and flags to now. Registers A and B have not changed since the last time. */
static void rtc_sync(struct kb_rtc *rtc)
{
	uint64_t count = divider(rtc), p = period(rtc);
	uint64_t updates = updating(rtc) ? count / RTC_HZ - rtc->synced / RTC_HZ : 0;
	uint32_t alarm;

	if (p && count / p > rtc->synced / p)
		rtc->cmos[REG_C] |= C_PF;
	if (updates) {
		alarm = alarm_delay(rtc);
		if (alarm && alarm <= updates)
			rtc->cmos[REG_C] |= C_AF;
		rtc->cmos[REG_C] |= C_UF;
		advance(rtc, updates);
	}
	rtc->synced = count;
}

/* Count of the first interrupt that is enabled, or UINT64_MAX. After rtc_sync(). */
static uint64_t next_interrupt(const struct kb_rtc *rtc)
{
	uint64_t next = UINT64_MAX, second = rtc->synced / RTC_HZ, p = period(rtc);
	uint8_t enabled = rtc->cmos[REG_B];

	if ((enabled & B_PIE) && p && !rtc->div_held)
		next = (rtc->synced / p + 1) * p;
	if (!updating(rtc))
		return next;
	if ((enabled & B_UIE) && (second + 1) * RTC_HZ < next)
		next = (second + 1) * RTC_HZ;
	if (enabled & B_AIE) {
		uint32_t alarm = alarm_delay(rtc);

		if (alarm && (second + alarm) * RTC_HZ < next)
			next = (second + alarm) * RTC_HZ;
	}
	return next;
}

static bool irqf(const struct kb_rtc *rtc)
{
	return rtc->cmos[REG_C] & rtc->cmos[REG_B] & C_FLAGS;
}

/* The pin stays until register C is read: until then no timer is needed, whatever the rate. */
static void update_irq(struct kb_rtc *rtc)
{
	uint64_t next = irqf(rtc) ? UINT64_MAX : next_interrupt(rtc);

	kb_line_set(&rtc->irq, irqf(rtc));
	kb_timer_arm(&rtc->timer, next == UINT64_MAX ? KB_TIME_NEVER : count_to_ps(rtc, next));
}

static void rtc_fire(void *opaque)
{
	struct kb_rtc *rtc = opaque;

	rtc_sync(rtc);
	update_irq(rtc);
}

static bool update_in_progress(const struct kb_rtc *rtc)
{
	uint64_t next;

	if (!updating(rtc))
		return false;
	next = count_to_ps(rtc, (rtc->synced / RTC_HZ + 1) * RTC_HZ);
	return next - kb_timers_now(rtc->timers) <= UIP_PS;
}

static uint8_t read_flags(struct kb_rtc *rtc)
{
	uint8_t v = (uint8_t)(rtc->cmos[REG_C] | (irqf(rtc) ? C_IRQF : 0));

	rtc->cmos[REG_C] = 0;
	return v;
}

static uint8_t cmos_read(struct kb_rtc *rtc, unsigned reg)
{
	switch (reg) {
	case REG_A:
		return (uint8_t)(rtc->cmos[REG_A] | (update_in_progress(rtc) ? A_UIP : 0));
	case REG_C:
		return read_flags(rtc);
	case REG_D:
		return D_VRT;
	}
	return rtc->cmos[reg];
}

static void write_a(struct kb_rtc *rtc, uint8_t v)
{
	bool hold = (v & A_DV_RESET) == A_DV_RESET;

	rtc->cmos[REG_A] = v & (uint8_t)~A_UIP;
	if (rtc->div_held && !hold) {
		rtc->div_base = rtc->synced = FIRST_UPDATE;
		rtc->div_epoch_ps = kb_timers_now(rtc->timers);
	}
	rtc->div_held = hold;
}

static void cmos_write(struct kb_rtc *rtc, unsigned reg, uint8_t v)
{
	switch (reg) {
	case REG_A:
		write_a(rtc, v);
		return;
	case REG_B:
		/* "The SET bit going high clears the UIE bit." */
		rtc->cmos[REG_B] = v & B_SET ? v & (uint8_t)~B_UIE : v;
		return;
	case REG_C:
	case REG_D:
		return;
	case SECONDS:
		v &= (uint8_t)~SECONDS_READ_ONLY;
	}
	rtc->cmos[reg] = v;
}

static uint64_t rtc_read(void *opaque, uint64_t off, unsigned len)
{
	struct kb_rtc *rtc = opaque;
	uint8_t v;

	(void)len;
	if (off == 0)
		return 0xff; /* the index is write-only */
	rtc_sync(rtc);
	v = cmos_read(rtc, rtc->index);
	update_irq(rtc);
	return v;
}

static void rtc_write(void *opaque, uint64_t off, unsigned len, uint64_t value)
{
	struct kb_rtc *rtc = opaque;
	uint8_t v = (uint8_t)value;

	(void)len;
	if (off == 0) {
		rtc->index = v & (CMOS_SIZE - 1);
		rtc->nmi_masked = v & INDEX_NMI;
		return;
	}
	rtc_sync(rtc);
	cmos_write(rtc, rtc->index, v);
	update_irq(rtc);
}

bool kb_rtc_nmi_masked(const struct kb_rtc *rtc)
{
	return rtc->nmi_masked;
}

void kb_rtc_reset(struct kb_rtc *rtc)
{
	rtc_sync(rtc);
	rtc->cmos[REG_B] &= (uint8_t)~(B_PIE | B_AIE | B_UIE | B_SQWE);
	rtc->cmos[REG_C] = 0;
	rtc->index = 0;
	rtc->nmi_masked = false;
	update_irq(rtc);
}

/* CMOS contents */

/* A size in units of `unit`, in `bytes` bytes from cell on; what does not fit is the largest value. */
static void put_size(struct kb_rtc *rtc, unsigned cell, unsigned bytes, uint64_t size, uint64_t unit)
{
	uint64_t n = size / unit, max = (1ull << (8 * bytes)) - 1;
	unsigned i;

	if (n > max)
		n = max;
	for (i = 0; i < bytes; i++)
		rtc->cmos[cell + i] = (uint8_t)(n >> (8 * i));
}

static uint64_t above(uint64_t size, uint64_t start)
{
	return size > start ? size - start : 0;
}

static void fill_sizes(struct kb_rtc *rtc, uint64_t below_4g, uint64_t above_4g)
{
	const uint64_t kib = 1024, base = 640 * kib;

	put_size(rtc, 0x15, 2, below_4g < base ? below_4g : base, kib);
	put_size(rtc, 0x17, 2, above(below_4g, 1024 * kib), kib);
	put_size(rtc, 0x30, 2, above(below_4g, 1024 * kib), kib);
	put_size(rtc, 0x34, 2, above(below_4g, 16 * 1024 * kib), 64 * kib);
	put_size(rtc, 0x5b, 3, above_4g, 64 * kib);
}

static int set_start(struct kb_rtc *rtc, int64_t unix_s, struct kvmbox_error *err)
{
	const int64_t first = -(int64_t)UNIX_EPOCH_DAY * DAY_S;
	const int64_t end = first + (int64_t)days_before_year(LAST_YEAR + 1) * DAY_S;
	uint32_t day;
	struct date d;

	if (unix_s < first || unix_s >= end)
		return kb_fail(err, EINVAL,
			       "RTC start date %" PRId64 " s since 1970 is outside of the years 0000 to %d; choose one inside",
			       unix_s, LAST_YEAR);
	day = (uint32_t)((unix_s - first) / DAY_S);
	d = date_of(day);
	rtc->cmos[REG_A] = A_INITIAL;
	rtc->cmos[REG_B] = B_24H;
	set_date(rtc, &d);
	set_time_of_day(rtc, (uint32_t)((unix_s - first) % DAY_S));
	rtc->cmos[DAY_OF_WEEK] = (uint8_t)((day + 6) % 7 + 1); /* day 0 was a Saturday; Sunday is 1 */
	return 0;
}

int kb_rtc_create(struct kb_rtc **out, const struct kb_rtc_config *cfg, struct kvmbox_error *err)
{
	struct kb_rtc *rtc = calloc(1, sizeof(*rtc));
	int rc;

	if (!rtc)
		return kb_fail(err, ENOMEM, "out of memory creating the real-time clock (RTC)");
	rtc->io = cfg->io;
	rtc->timers = cfg->timers;
	rtc->irq = cfg->irq;
	kb_timer_init(&rtc->timer, rtc->timers, rtc_fire, rtc);
	rtc->region = (struct kb_region){
		.name = "RTC", .base = 0x70, .size = 2, .max_len = 1,
		.read = rtc_read, .write = rtc_write, .opaque = rtc,
	};
	fill_sizes(rtc, cfg->ram_below_4g, cfg->ram_above_4g);
	rc = set_start(rtc, cfg->start_unix_s, err);
	if (!rc)
		rc = kb_bus_add(rtc->io, &rtc->region, err);
	if (rc) {
		free(rtc);
		return rc;
	}
	kb_rtc_reset(rtc); /* what has passed since time 0 */
	*out = rtc;
	return 0;
}

void kb_rtc_destroy(struct kb_rtc *rtc)
{
	if (!rtc)
		return;
	kb_timer_cancel(&rtc->timer);
	kb_bus_remove(rtc->io, &rtc->region);
	free(rtc);
}

/* Whether text has the shape of form, in which 0 stands for any digit. */
static bool has_form(const char *text, const char *form)
{
	for (; *form; form++, text++)
		if (*form == '0' ? *text < '0' || *text > '9' : *text != *form)
			return false;
	return *text == '\0';
}

static unsigned number(const char *text, unsigned digits)
{
	unsigned n = 0;

	while (digits--)
		n = n * 10 + (unsigned)(*text++ - '0');
	return n;
}

int kb_rtc_parse_date(const char *text, int64_t *unix_s, struct kvmbox_error *err)
{
	bool timed = has_form(text, "0000-00-00T00:00:00");
	unsigned hour = 0, minute = 0, second = 0;
	struct date d;

	if (!timed && !has_form(text, "0000-00-00"))
		return kb_fail(err, EINVAL, "date \"%s\" is not of the form YYYY-MM-DDTHH:MM:SS or YYYY-MM-DD", text);
	d = (struct date){ number(text, 4), number(text + 5, 2), number(text + 8, 2) };
	if (d.month < 1 || d.month > 12 || d.day < 1 || d.day > days_in_month(d.year, d.month))
		return kb_fail(err, EINVAL, "date \"%s\" does not exist: check month and day", text);
	if (timed) {
		hour = number(text + 11, 2);
		minute = number(text + 14, 2);
		second = number(text + 17, 2);
	}
	if (hour > 23 || minute > 59 || second > 59)
		return kb_fail(err, EINVAL, "date \"%s\" does not exist: times go from 00:00:00 to 23:59:59", text);
	*unix_s = ((int64_t)day_number(&d) - UNIX_EPOCH_DAY) * DAY_S + hour * 3600 + minute * 60 + second;
	return 0;
}
