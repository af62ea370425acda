// Picoseconds <-> sc_time: see kvmbox/tlm_time.h.
#include <kvmbox/tlm_time.h>

#include <cmath>

namespace kvmbox {
namespace {

/* Exactly one of the two is above 1, unless the resolution is 1 ps. */
struct scale {
	uint64_t ps_per_unit = 1, units_per_ps = 1;
};

/* The resolution is a power of ten of seconds (IEEE 1666-2011 section 5.10.3). */
scale find_scale()
{
	long exp = std::lround(std::log10(sc_core::sc_get_time_resolution().to_seconds())) + 12;
	scale s;

	for (; exp > 0; exp--)
		s.ps_per_unit *= 10;
	for (; exp < 0; exp++)
		s.units_per_ps *= 10;
	return s;
}

const scale &the_scale()
{
	static const scale s = find_scale();
	return s;
}

uint64_t mul_saturated(uint64_t a, uint64_t b)
{
	uint64_t r;

	return __builtin_mul_overflow(a, b, &r) ? UINT64_MAX : r;
}

uint64_t div_up(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

} // namespace

sc_core::sc_time from_ps(uint64_t ps)
{
	const scale &s = the_scale();

	if (ps == UINT64_MAX)
		return never();
	if (s.ps_per_unit > 1)
		ps = div_up(ps, s.ps_per_unit);
	return sc_core::sc_time::from_value(mul_saturated(ps, s.units_per_ps));
}

uint64_t to_ps(const sc_core::sc_time &t)
{
	const scale &s = the_scale();

	if (t.value() == UINT64_MAX)
		return UINT64_MAX;
	return mul_saturated(t.value() / s.units_per_ps, s.ps_per_unit);
}

uint64_t to_ps_up(const sc_core::sc_time &t)
{
	const scale &s = the_scale();

	if (t.value() == UINT64_MAX)
		return UINT64_MAX;
	return mul_saturated(div_up(t.value(), s.units_per_ps), s.ps_per_unit);
}

} // namespace kvmbox
