/* Sizes, times and numbers as people write them: see units.h. */
#include "platforms/units.h"

#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int digit(char c, unsigned base)
{
	int d = -1;

	if (c >= '0' && c <= '9')
		d = c - '0';
	else if (c >= 'a' && c <= 'f')
		d = c - 'a' + 10;
	else if (c >= 'A' && c <= 'F')
		d = c - 'A' + 10;
	return d < (int)base ? d : -1;
}

/* Takes the digits at *p. False if they do not fit. */
static bool scan(const char **p, unsigned base, uint64_t *value)
{
	int d;

	for (*value = 0; (d = digit(**p, base)) >= 0; ++*p)
		if (__builtin_mul_overflow(*value, base, value) ||
		    __builtin_add_overflow(*value, (uint64_t)d, value))
			return false;
	return true;
}

static bool size_unit(const char *s, unsigned *shift)
{
	static const char letters[] = "KMG";
	const char *l;

	*shift = 0;
	if (!*s)
		return true;
	for (l = letters; *l && strncasecmp(l, s, 1) != 0; l++)
		;
	*shift = 10 * (unsigned)(l - letters + 1);
	return *l && (!s[1] || strcasecmp(s + 1, "iB") == 0);
}

const char *kb_parse_size(const char *text, uint64_t *bytes)
{
	const char *wrong = "not a size; write bytes (decimal or 0x hex), or a number with K, M or G (powers of 1024)";
	const char *p = text;
	unsigned base = 10, shift;
	uint64_t n;

	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
		base = 16;
		p += 2;
	}
	if (digit(*p, base) < 0)
		return wrong;
	if (!scan(&p, base, &n))
		return "too large; a size has at most 64 bits";
	if (!size_unit(p, &shift))
		return wrong;
	if (n > UINT64_MAX >> shift)
		return "too large; a size has at most 64 bits";
	*bytes = n << shift;
	return NULL;
}

/* decimals: 1 unit = 10^decimals ps */
static const struct time_unit {
	char name[3];
	unsigned decimals;
} time_units[] = { { "ps", 0 }, { "ns", 3 }, { "us", 6 }, { "ms", 9 }, { "s", 12 } };

static const struct time_unit *find_time_unit(const char *s)
{
	size_t i;

	for (i = 0; i < sizeof(time_units) / sizeof(time_units[0]); i++)
		if (strcmp(s, time_units[i].name) == 0)
			return &time_units[i];
	return NULL;
}

/*
 * whole.fraction * 10^decimals. Digits, not floating point: 0.1us is exactly
 * 100000 ps. False if the fraction has digits below 1 ps.
 */
static bool scale(uint64_t whole, const char *fraction, unsigned decimals, unsigned __int128 *ps)
{
	int d;

	*ps = whole;
	for (; decimals; decimals--) {
		d = digit(*fraction, 10);
		*ps *= 10;
		if (d >= 0) {
			*ps += (unsigned)d;
			fraction++;
		}
	}
	for (; *fraction == '0'; fraction++)
		;
	return digit(*fraction, 10) < 0;
}

const char *kb_parse_time(const char *text, uint64_t *ps)
{
	const char *p = text, *fraction = "";
	const struct time_unit *unit;
	unsigned __int128 t;
	uint64_t whole;

	if (digit(*p, 10) < 0)
		return "not a time; write a number with a unit: ps, ns, us, ms or s";
	if (!scan(&p, 10, &whole))
		return "too long; times end at about 213 days";
	if (*p == '.') {
		fraction = ++p;
		if (digit(*p, 10) < 0)
			return "not a time; a digit must follow the point";
		for (; digit(*p, 10) >= 0; p++)
			;
	}
	unit = find_time_unit(p);
	if (!unit && (*p || whole || *fraction))
		return "not a time; the number needs a unit: ps, ns, us, ms or s";
	if (!scale(whole, fraction, unit ? unit->decimals : 0, &t))
		return "not a whole number of picoseconds; nothing shorter than 1ps can be told apart";
	if (t >= UINT64_MAX) /* the maximum itself means never */
		return "too long; times end at about 213 days";
	*ps = (uint64_t)t;
	return NULL;
}

const char *kb_parse_count(const char *text, unsigned *count)
{
	static const char *const wrong = "write a whole number";
	char *end;
	unsigned long n;

	if (*text < '0' || *text > '9')
		return wrong;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (*end || errno || n > UINT_MAX)
		return wrong;
	*count = (unsigned)n;
	return NULL;
}

const char *kb_parse_double(const char *text, double *number)
{
	locale_t c;
	double n;
	char *end;

	/* strtod also takes blanks, hex, inf and nan. */
	if (!*text || text[strspn(text, "0123456789.eE+-")])
		return "not a number; write something like 1, 0.5 or 2e3";
	c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	if (c == (locale_t)0)
		return "cannot be read: out of memory";
	n = strtod_l(text, &end, c);
	freelocale(c);
	if (end == text || *end)
		return "not a number; write something like 1, 0.5 or 2e3";
	if (!isfinite(n))
		return "too large a number";
	*number = n;
	return NULL;
}
