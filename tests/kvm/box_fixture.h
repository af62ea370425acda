// The simulator's side of the C ABI for tests: time, an event queue, one transport function, posted writes on request,
// and a record of everything the box asked for.
#ifndef KB_BOX_FIXTURE_H
#define KB_BOX_FIXTURE_H

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include <kvmbox/kvmbox.h>

extern "C" {
#include "platforms/box.h"
#include "vcpu/probe.h"
}
#include "tests/guest/script.h"

namespace fixture {

constexpr uint64_t ns = 1000, us = 1000 * ns, ms = 1000 * us, s = 1000 * ms, never = KVMBOX_TIME_NEVER;

inline std::string guest_path(const std::string &name) { return std::string(GUESTS "/") + name; }

// An access as it arrived.
struct bus_cycle {
	unsigned bar;
	uint64_t offset;
	unsigned len;
	bool write;
	uint64_t value; // what was written, or what the read got
	uint64_t delay_ps, sim_ps, guest_ps;

	bool operator==(const bus_cycle &o) const { return key() == o.key(); }
	std::tuple<unsigned, uint64_t, unsigned, bool, uint64_t, uint64_t, uint64_t, uint64_t> key() const
	{
		return {bar, offset, len, write, value, delay_ps, sim_ps, guest_ps};
	}
	friend void PrintTo(const bus_cycle &a, std::ostream *o)
	{
		*o << (a.write ? "write" : "read") << " BAR " << a.bar << "+" << a.offset << " len " << a.len << " value "
		   << a.value << " delay " << a.delay_ps << " at sim " << a.sim_ps << " guest " << a.guest_ps;
	}
};

// A call of check_wait.
struct yielded {
	uint64_t at_ps, t_ps;
	kvmbox_wait how;
	bool operator==(const yielded &o) const { return at_ps == o.at_ps && t_ps == o.t_ps && how == o.how; }
	friend void PrintTo(const yielded &w, std::ostream *o)
	{
		*o << "check_wait(" << w.t_ps << (w.how == KVMBOX_WAIT_IDLE ? ", idle" : "") << ") at " << w.at_ps;
	}
};

class simulator {
public:
	kvmbox_box *box = nullptr;
	uint64_t now_ps = 0;
	std::multimap<uint64_t, std::function<void()>> events;
	std::vector<bus_cycle> accesses;
	std::vector<yielded> waits;
	std::vector<std::string> messages;
	std::vector<uint16_t> commands;
	bool record_waits = false, backwards = false;
	std::function<int(kvmbox_access &)> on_access;               // after the access was recorded
	std::function<bool(uint64_t, kvmbox_wait, int &)> on_wait; // true: result given, nothing simulated
	uint64_t wait_limit = never; // calls before check_wait ends the run: a net for guests that never end
	uint64_t wait_count = 0;
	bool lazy = false; // it comes back when it has got to a time, and does what is due then in the next turn
	// With ops(true): what to answer before anything is posted, and what was asked for.
	std::function<int(const kvmbox_access &)> on_post;
	std::vector<uint64_t> post_at;
	std::vector<kvmbox_function *> pushes;

	void at(uint64_t t, std::function<void()> f) { events.emplace(t, std::move(f)); }
	bool said(const std::string &part) const
	{
		for (auto &m : messages)
			if (m.find(part) != std::string::npos)
				return true;
		return false;
	}

	static const kvmbox_ops *ops(bool posts = false)
	{
		static const kvmbox_ops plain = make_ops(), posting = [] {
			kvmbox_ops p = make_ops();
			p.post = [](void *t, const kvmbox_access *a, uint64_t ps) { return self(t).post(*a, ps); };
			p.push = [](void *t, kvmbox_function *f) { return self(t).push(f); };
			return p;
		}();
		return posts ? &posting : &plain;
	}

private:
	struct posted_write {
		kvmbox_access a;
		uint64_t data, due_ps;
	};
	uint64_t last_guest_ps = 0;
	std::deque<posted_write> posted; // of all functions: one after the other
	uint64_t free_ps = 0;            // when the last one is over

	static kvmbox_ops make_ops()
	{
		kvmbox_ops p{};
		p.check_wait = [](void *t, uint64_t ps, kvmbox_wait how) { return self(t).check_wait(ps, how); };
		p.now = [](void *t) { return self(t).now_ps; };
		p.next_event = [](void *t) {
			return self(t).events.empty() ? never : self(t).events.begin()->first;
		};
		p.transport = [](void *t, kvmbox_access *a) { return self(t).transport(*a); };
		p.command_changed = [](void *t, kvmbox_function *, uint16_t c) { self(t).commands.push_back(c); };
		p.log = [](void *t, kvmbox_log_level, const char *m) { self(t).messages.push_back(m); };
		return p;
	}
	static simulator &self(void *t) { return *static_cast<simulator *>(t); }

	void check_clock()
	{
		uint64_t t = kvmbox_time(box);
		backwards |= t < last_guest_ps;
		last_guest_ps = t;
	}
	int check_wait(uint64_t t, kvmbox_wait how)
	{
		int rc = 0;
		check_clock();
		if (record_waits)
			waits.push_back({now_ps, t, how});
		if (++wait_count > wait_limit)
			return -1;
		if (on_wait && on_wait(t, how, rc))
			return rc;
		const bool turn = t <= now_ps;
		while (!events.empty() && events.begin()->first <= t && (!lazy || turn || events.begin()->first < t)) {
			auto e = events.begin();
			auto f = e->second;
			if (e->first > now_ps)
				now_ps = e->first;
			events.erase(e);
			f();
			if (how == KVMBOX_WAIT_IDLE)
				return 0;
		}
		if (t == never)
			return -1;
		if (t > now_ps)
			now_ps = t;
		return 0;
	}
	static bool loosely_timed(const kvmbox_access &a) { return a.function->mode == KVMBOX_LOOSELY_TIMED; }
	int post(const kvmbox_access &a, uint64_t at_ps)
	{
		int rc = on_post ? on_post(a) : 0;

		check_clock();
		if (rc < 0)
			return rc;
		post_at.push_back(at_ps);
		posted.push_back({a, 0, at_ps});
		memcpy(&posted.back().data, a.data, a.len);
		if (posted.size() == 1)
			schedule();
		return 0;
	}
	void schedule()
	{
		const posted_write &p = posted.front();
		at(loosely_timed(p.a) ? now_ps : std::max(p.due_ps, free_ps), [this] { deliver(); });
	}
	void deliver()
	{
		posted_write &p = posted.front();
		uint64_t begin = std::max(p.due_ps, free_ps);
		p.a.data = reinterpret_cast<uint8_t *>(&p.data);
		p.a.delay_ps = begin > now_ps ? begin - now_ps : 0;
		if (access(p.a) < 0)
			kvmbox_post_failed(p.a.function);
		free_ps = now_ps + p.a.delay_ps;
		posted.pop_front();
		if (!posted.empty())
			schedule();
	}
	void finish_posted()
	{
		while (!posted.empty())
			check_wait(events.begin()->first, KVMBOX_WAIT_UNTIL);
		now_ps = std::max(now_ps, free_ps);
	}
	int push(kvmbox_function *f)
	{
		pushes.push_back(f);
		finish_posted();
		return 0;
	}
	int transport(kvmbox_access &a)
	{
		finish_posted();
		return access(a);
	}
	int access(kvmbox_access &a)
	{
		check_clock();
		bus_cycle r{a.bar, a.offset, a.len, a.write, 0, a.delay_ps, now_ps, kvmbox_time(box)};
		int rc = 0;
		if (a.write)
			memcpy(&r.value, a.data, a.len);
		size_t at = accesses.size();
		accesses.push_back(r);
		if (on_access)
			rc = on_access(a);
		if (!a.write)
			memcpy(&accesses[at].value, a.data, a.len);
		return rc;
	}
};

class box_test : public testing::Test {
protected:
	simulator sim;
	kvmbox_config cfg{};
	kvmbox_error err{};
	kvmbox_box *box = nullptr;
	std::vector<script_step> steps;
	std::string debugcon_path;

	void SetUp() override
	{
		const kvmbox_probe_result *host = kb_probe_cached();

		if (!host->usable)
			GTEST_SKIP() << host->why_not.msg;
		kvmbox_config_init(&cfg);
		set("serial", "memory");
		set("ram", "32M");
	}
	void TearDown() override
	{
		destroy();
		kvmbox_config_clear(&cfg);
		if (!debugcon_path.empty())
			unlink(debugcon_path.c_str());
	}
	void set(const char *key, const std::string &value)
	{
		ASSERT_EQ(kvmbox_config_set(&cfg, key, value.c_str(), &err), 0) << err.msg;
	}
	void use_fixed_clock() { set("clock", "fixed"); }
	void debugcon_to_file()
	{
		char path[] = "/tmp/kvmbox_test_XXXXXX";
		int fd = mkstemp(path);
		ASSERT_GE(fd, 0);
		close(fd);
		debugcon_path = path;
		set("debugcon", "file:" + debugcon_path);
	}
	std::string debugcon() const
	{
		std::ifstream f(debugcon_path);
		return {std::istreambuf_iterator<char>(f), {}};
	}
	bool posts = false; // the simulator takes posted writes
	int create()
	{
		int rc = kvmbox_create(&box, &cfg, simulator::ops(posts), &sim, &err);
		sim.box = box;
		return rc;
	}
	void destroy()
	{
		kvmbox_destroy(box);
		sim.box = box = nullptr;
	}
	int run() { return kvmbox_run(box, &err); }
	// BARs have their addresses, and no instruction was executed.
	void power_on()
	{
		kvmbox_stop(box);
		ASSERT_EQ(run(), 0) << err.msg;
		ASSERT_EQ(kvmbox_end(box), KVMBOX_END_STOPPED);
	}
	std::string serial() const
	{
		const char *text;
		size_t n = kvmbox_serial_output(box, &text);
		return {text, n};
	}
	kvmbox_stats stats() const
	{
		kvmbox_stats st;
		kvmbox_get_stats(box, &st);
		return st;
	}
	bool says(const std::string &part) const { return strstr(err.msg, part.c_str()); }

	template <class T> T peek(uint64_t gpa)
	{
		T v{};
		EXPECT_EQ(kvmbox_dma(box, nullptr, gpa, &v, sizeof(v), false), 0) << std::hex << gpa;
		return v;
	}
	template <class T> void poke(uint64_t gpa, T v)
	{
		EXPECT_EQ(kvmbox_dma(box, nullptr, gpa, &v, sizeof(v), true), 0) << std::hex << gpa;
	}

	// ---- the script guest ----

	void create_script()
	{
		set("guest", guest_path("script.elf"));
		ASSERT_EQ(create(), 0) << err.msg;
	}
	// Returns the step's index, for value().
	size_t step(script_op op, uint64_t addr = 0, unsigned width = 4, uint64_t value = 0)
	{
		steps.push_back({op, width, addr, value});
		return steps.size() - 1;
	}
	size_t read(uint64_t addr, unsigned width = 4) { return step(SCRIPT_READ, addr, width); }
	size_t write(uint64_t addr, uint64_t value, unsigned width = 4) { return step(SCRIPT_WRITE, addr, width, value); }
	size_t in(uint64_t port, unsigned width = 1) { return step(SCRIPT_IN, port, width); }
	size_t out(uint64_t port, uint64_t value, unsigned width = 1) { return step(SCRIPT_OUT, port, width, value); }
	size_t time() { return step(SCRIPT_TIME); }
	size_t config_read(kvmbox_function *f, unsigned off, unsigned width = 4)
	{
		return step(SCRIPT_CONFIG_READ, kvmbox_function_bdf(f) << 8 | off, width);
	}
	size_t config_write(kvmbox_function *f, unsigned off, uint64_t value, unsigned width = 4)
	{
		return step(SCRIPT_CONFIG_WRITE, kvmbox_function_bdf(f) << 8 | off, width, value);
	}
	void load_steps()
	{
		step(SCRIPT_END);
		ASSERT_EQ(kvmbox_dma(box, nullptr, SCRIPT_STEPS, steps.data(), steps.size() * sizeof(steps[0]), true), 0);
	}
	// Runs the steps to their end.
	void play()
	{
		load_steps();
		ASSERT_EQ(run(), 0) << err.msg;
		ASSERT_EQ(kvmbox_end(box), KVMBOX_END_EXIT) << serial();
		ASSERT_EQ(kvmbox_exit_status(box), 0) << serial();
		EXPECT_EQ(serial(), "");
		EXPECT_FALSE(sim.backwards);
	}
	uint64_t value(size_t index) { return peek<script_step>(SCRIPT_STEPS + index * sizeof(script_step)).value; }
	script_result result() { return peek<script_result>(SCRIPT_RESULT); }

	// ---- a function ----

	static kvmbox_function_config simple_function()
	{
		kvmbox_function_config f{};
		f.name = "dut";
		f.slot = -1;
		f.vendor = 0x1234;
		f.device = 0x5678;
		f.class_code = 0xff0000;
		f.bar[0].size = 0x1000;
		return f;
	}
	kvmbox_function *add(const kvmbox_function_config &f)
	{
		kvmbox_function *out;
		EXPECT_EQ(kvmbox_add_function(box, &f, this, &out, &err), 0) << err.msg;
		return out;
	}
	uint64_t bar_address(kvmbox_function *f, unsigned bar)
	{
		uint64_t a = 0;
		EXPECT_TRUE(kvmbox_function_bar_address(f, bar, &a)) << "BAR " << bar;
		return a;
	}
};

} // namespace fixture

#endif
