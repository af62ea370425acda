// devices/timer.h: order, re-arming, exact tick arithmetic.
#include <gtest/gtest.h>

#include <vector>

extern "C" {
#include "devices/timer.h"
}

namespace {

struct rec {
	kb_timers *q;
	kb_timer t;
	std::vector<std::pair<int, uint64_t>> *log;
	int id;
	uint64_t period = 0;
	static void fire(void *o)
	{
		auto *r = static_cast<rec *>(o);
		r->log->push_back({r->id, kb_timers_now(r->q)});
		if (r->period)
			kb_timer_arm(&r->t, kb_timers_now(r->q) + r->period);
	}
};

TEST(timer, fires_in_order_at_its_own_time)
{
	kb_timers q;
	std::vector<std::pair<int, uint64_t>> log;
	kb_timers_init(&q);
	rec a{&q, {}, &log, 1}, b{&q, {}, &log, 2}, c{&q, {}, &log, 3};
	for (rec *r : {&a, &b, &c})
		kb_timer_init(&r->t, &q, rec::fire, r);
	kb_timer_arm(&a.t, 300);
	kb_timer_arm(&b.t, 100);
	kb_timer_arm(&c.t, 300);
	EXPECT_EQ(kb_timers_next(&q), 100u);
	kb_timers_advance(&q, 99);
	EXPECT_TRUE(log.empty());
	kb_timers_advance(&q, 1000);
	EXPECT_EQ(log, (std::vector<std::pair<int, uint64_t>>{{2, 100}, {1, 300}, {3, 300}}));
	EXPECT_EQ(kb_timers_next(&q), KB_TIME_NEVER);
	EXPECT_EQ(kb_timers_now(&q), 1000u);
}

TEST(timer, rearm_inside_fire_and_never_back)
{
	kb_timers q;
	std::vector<std::pair<int, uint64_t>> log;
	kb_timers_init(&q);
	rec a{&q, {}, &log, 1, 100};
	kb_timer_init(&a.t, &q, rec::fire, &a);
	kb_timer_arm(&a.t, 100);
	kb_timers_advance(&q, 350);
	EXPECT_EQ(log.size(), 3u);
	kb_timers_advance(&q, 10);
	EXPECT_EQ(kb_timers_now(&q), 350u);
	kb_timer_arm(&a.t, KB_TIME_NEVER);
	EXPECT_FALSE(a.t.armed);
	EXPECT_EQ(q.head, nullptr);
}

TEST(timer, late_deadline_does_not_step_back)
{
	kb_timers q;
	std::vector<std::pair<int, uint64_t>> log;
	kb_timers_init(&q);
	rec a{&q, {}, &log, 1};
	kb_timer_init(&a.t, &q, rec::fire, &a);
	kb_timers_advance(&q, 500);
	kb_timer_arm(&a.t, 100);
	kb_timers_advance(&q, 600);
	EXPECT_EQ(log, (std::vector<std::pair<int, uint64_t>>{{1, 500}}));
}

TEST(timer, tick_arithmetic_is_exact_over_years)
{
	const uint64_t hz = 1193182;
	for (uint64_t n : {1ull, 2ull, 1193182ull, 1193182ull * 86400ull * 200ull}) {
		uint64_t t = kb_ticks_to_ps(n, hz);
		EXPECT_EQ(kb_ps_to_ticks(t, hz), n);
		EXPECT_EQ(kb_ps_to_ticks(t - 1, hz), n - 1);
	}
	EXPECT_EQ(kb_ticks_to_ps(UINT64_MAX, 1), KB_TIME_NEVER);
}

} // namespace
