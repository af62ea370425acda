// Life and death of a box: bad inputs, stop, failing system calls, simulators that break the rules.
#include <dirent.h>
#include <sys/mman.h>
#include <sys/time.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "tests/kvm/box_fixture.h"
#include "tests/kvm/vcpu_fixture.h"

using namespace fixture;

namespace {

int open_fds()
{
	int n = 0;
	DIR *d = opendir("/proc/self/fd");
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

class box_ : public box_test {
protected:
	std::string scratch;

	void TearDown() override
	{
		box_test::TearDown();
		if (!scratch.empty())
			unlink(scratch.c_str());
	}
	// A copy of a guest, changed.
	std::string damaged(const std::string &name, const std::function<void(std::string &)> &change)
	{
		char path[] = "/tmp/kvmbox_guest_XXXXXX";
		std::ifstream in(guest_path(name));
		std::string bytes{std::istreambuf_iterator<char>(in), {}};

		if (!scratch.empty())
			unlink(scratch.c_str());
		close(mkstemp(path));
		change(bytes);
		std::ofstream(path) << bytes;
		return scratch = path;
	}
	void refuse(int code, std::initializer_list<const char *> words)
	{
		int fds = open_fds();

		err.msg[0] = 0;
		EXPECT_EQ(create(), code) << err.msg;
		EXPECT_EQ(box, nullptr);
		EXPECT_EQ(open_fds(), fds);
		for (const char *w : words)
			EXPECT_TRUE(says(w)) << w << ": " << err.msg;
		destroy();
	}
	void load(const std::string &name)
	{
		set("guest", guest_path(name));
		ASSERT_EQ(create(), 0) << err.msg;
	}
};

// ---- what cannot be created ----------------------------------------------------------------------------------

TEST_F(box_, guests_that_cannot_be_loaded)
{
	set("guest", "/nonexistent/kernel.elf");
	refuse(-ENOENT, {"/nonexistent/kernel.elf"});
	set("guest", "/tmp");
	err.msg[0] = 0;
	EXPECT_LT(create(), 0);
	EXPECT_TRUE(says("/tmp")) << err.msg;
	set("guest", guest_path("flat.bin"));
	refuse(-ENOEXEC, {"flat.bin", "guest_format"});
	set("guest", damaged("hlt.elf", [](std::string &b) { b.resize(0); }));
	refuse(-ENOEXEC, {"empty"});
	set("guest", damaged("hlt.elf", [](std::string &b) { b.resize(40); }));
	refuse(-ENOEXEC, {"truncated"});
	set("guest", damaged("hlt.elf", [](std::string &b) { b.resize(b.size() / 8); }));
	refuse(-ENOEXEC, {"truncated"});
	set("guest", damaged("hlt.elf", [](std::string &b) { b[18] = static_cast<char>(183), b[19] = 0; }));
	refuse(-ENOEXEC, {"AArch64"});
	set("guest", damaged("hlt.elf", [](std::string &b) { b[5] = 2; }));
	refuse(-ENOEXEC, {"big-endian"});
	set("guest", damaged("hlt.elf", [](std::string &b) { b[16] = 3; }));
	refuse(-ENOEXEC, {"-static"});
	set("guest", guest_path("reset_vector.rom"));
	set("guest_format", "reset");
	set("guest", damaged("reset_vector.rom", [](std::string &b) { b.resize(b.size() - 1); }));
	refuse(-EINVAL, {"4 KiB"});
}

TEST_F(box_, guests_that_do_not_fit)
{
	set("ram", "1M");
	set("guest", guest_path("hlt.elf")); // at 1 MiB
	refuse(-ENOSPC, {"hlt.elf", "segment"});
	set("ram", "32M");
	set("guest", guest_path("flat.bin"));
	set("guest_format", "flat");
	set("guest_base", "32M");
	set("guest_entry", "32M");
	refuse(-ENOSPC, {"flat.bin"});
	set("guest_base", "0x70000");
	set("guest_entry", "0x70000");
	refuse(-EADDRINUSE, {"flat.bin"});
	set("guest_base", "0x100000");
	set("guest_entry", "0x200000");
	refuse(-EINVAL, {"guest_entry"});
	set("guest_base", "0xffffffffffffff00");
	err.msg[0] = 0;
	EXPECT_LT(create(), 0);
	EXPECT_STRNE(err.msg, "");
}

TEST_F(box_, configurations_that_make_no_sense)
{
	auto wrong = [this](const char *key, const char *value, const char *word) {
		err.msg[0] = 0;
		EXPECT_EQ(kvmbox_config_set(&cfg, key, value, &err), -EINVAL) << key << "=" << value;
		EXPECT_TRUE(says(key)) << err.msg;
		EXPECT_TRUE(says(word)) << err.msg;
	};
	wrong("quantum", "0ns", "longer than 0");
	wrong("quantun", "1ms", "quantum");
	wrong("ram", "1000", "4K");
	wrong("ram", "128G", "64G");
	wrong("clock", "sundial", "fixed");
	wrong("serial", "teletype", "stdio");
	wrong("fixed_exit", "0ps", "longer than 0");
	wrong("time_scale", "0", "greater than 0");
	wrong("start_date", "2001-02-29T00:00:00", "YYYY");
	// The same by the fields: found at creation.
	set("guest", guest_path("hlt.elf"));
	cfg.quantum_ps = 0;
	refuse(-EINVAL, {"quantum"});
	cfg.quantum_ps = 1 * ms;
	cfg.ram = 0;
	refuse(-EINVAL, {"ram"});
	cfg.ram = 3u << 20;
	cfg.time_scale = -1;
	refuse(-EINVAL, {"time_scale"});
	cfg.time_scale = 1;
	cfg.clock = static_cast<kvmbox_clock_source>(9);
	refuse(-EINVAL, {"clock"});
	cfg.clock = KVMBOX_CLOCK_TSC;
	set("cpu", "+no_such_feature");
	refuse(-EINVAL, {"no_such_feature"});
	set("cpu", "");
	set("serial", "file:/nonexistent/log");
	refuse(-ENOENT, {"COM1", "/nonexistent/log"});
	set("serial", "memory");
	set("debugcon", "unix:/nonexistent/socket");
	err.msg[0] = 0;
	EXPECT_LT(create(), 0);
	EXPECT_TRUE(says("debug console")) << err.msg;
	set("debugcon", "null");
	EXPECT_EQ(create(), 0) << err.msg;
}

TEST_F(box_, callbacks_are_required)
{
	load("hlt.elf");
	for (int i = 0; i < 3; i++) {
		kvmbox_ops ops = *simulator::ops();
		kvmbox_box *b = box;
		if (i == 0)
			ops.check_wait = nullptr;
		else if (i == 1)
			ops.now = nullptr;
		else
			ops.transport = nullptr;
		EXPECT_EQ(kvmbox_create(&b, &cfg, &ops, &sim, &err), -EINVAL);
		EXPECT_EQ(b, nullptr);
		EXPECT_TRUE(says("kvmbox_ops")) << err.msg;
	}
	kvmbox_box *b;
	EXPECT_EQ(kvmbox_create(&b, &cfg, nullptr, &sim, nullptr), -EINVAL);
}

TEST_F(box_, optional_callbacks_may_be_missing)
{
	static kvmbox_ops ops;
	ops = *simulator::ops();
	ops.next_event = nullptr;
	ops.command_changed = nullptr;
	ops.log = nullptr;
	set("guest", guest_path("reset_cf9.elf"));
	ASSERT_EQ(kvmbox_create(&box, &cfg, &ops, &sim, nullptr), 0);
	sim.box = box;
	add(simple_function());
	EXPECT_EQ(kvmbox_run(box, nullptr), 0);
	EXPECT_EQ(kvmbox_exit_status(box), 0);
}

TEST_F(box_, the_configuration_is_copied)
{
	load("hlt.elf");
	kvmbox_config_clear(&cfg);
	kvmbox_config_init(&cfg);
	EXPECT_EQ(kvmbox_get_config(box)->ram, 32u << 20);
	EXPECT_STREQ(kvmbox_get_config(box)->serial, "memory");
	EXPECT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_exit_status(box), 0);
}

// ---- failing system calls --------------------------------------------------------------------------------------

class failing_ioctl : public box_, public testing::WithParamInterface<bool> {
};

INSTANTIATE_TEST_SUITE_P(irqchip, failing_ioctl, testing::Bool(), [](const auto &of) { return of.param ? "kernel" : "user"; });

TEST_P(failing_ioctl, is_reported_and_leaves_nothing)
{
	set("guest", guest_path("reset_vector.rom"));
	set("guest_format", "reset");
	if (GetParam()) {
		set("irqchip", "kernel");
		set("clock", "host");
		set("pvclock", "no"); // else KVM has it
	}
	int before = open_fds(), failed = 0;
	for (int n = 1;; n++) {
		int calls = 0;
		bool hit = false, optional = false, msrs = false;
		ioctl_hook = [&](int, unsigned long request, void *, int &rc) {
			if (++calls != n)
				return false;
			hit = true;
			msrs = request == KVM_ENABLE_CAP || request == KVM_X86_SET_MSR_FILTER; // no kvm-clock then
			optional = request == KVM_CHECK_EXTENSION || request == KVM_GET_TSC_KHZ || msrs;
			errno = ENOMEM;
			rc = -1;
			return true;
		};
		err.msg[0] = 0;
		sim.messages.clear();
		int rc = kb_box_create(&box, &cfg, simulator::ops(), &sim, hooked_api(), &err);
		ioctl_hook = nullptr;
		EXPECT_EQ(sim.said("no kvm-clock"), msrs && !GetParam()) << "call " << n;
		if (!hit) {
			EXPECT_EQ(rc, 0) << err.msg;
			destroy();
			break;
		}
		if (rc || !optional) {
			failed++;
			EXPECT_LT(rc, 0) << "call " << n;
			EXPECT_STRNE(err.msg, "") << "call " << n;
			EXPECT_EQ(box, nullptr);
		}
		destroy();
		ASSERT_EQ(open_fds(), before) << "call " << n << ": " << err.msg;
	}
	EXPECT_GT(failed, 12);
	EXPECT_EQ(open_fds(), before);
}

TEST_F(box_, every_failing_ioctl_of_a_run_ends_it_with_a_report)
{
	int reported = 0;
	use_fixed_clock();
	for (int n = 1; n < 12; n++) {
		int calls = 0;
		set("guest", guest_path("reset_92.elf"));
		ASSERT_EQ(kb_box_create(&box, &cfg, simulator::ops(), &sim, hooked_api(), &err), 0) << err.msg;
		sim.box = box;
		ioctl_hook = [&](int, unsigned long request, void *, int &rc) {
			// The run's own, and those of the reset.
			if (request == KVM_RUN ? ++calls % 100 != n : ++calls < 400 + n)
				return false;
			errno = EIO;
			rc = -1;
			return true;
		};
		err.msg[0] = 0;
		int rc = run();
		ioctl_hook = nullptr;
		EXPECT_EQ(rc, -EIO) << serial();
		EXPECT_EQ(kvmbox_end(box), KVMBOX_END_ERROR);
		EXPECT_TRUE(says("KVM_")) << err.msg;
		reported += rc == -EIO;
		EXPECT_LT(run(), 0) << "no second life";
		destroy();
		sim = simulator();
	}
	EXPECT_EQ(reported, 11);
}

TEST_F(box_, no_memory_for_ram)
{
	static kb_kvm_api api;
	static int fail_at;
	static int count;
	set("guest", guest_path("hlt.elf"));
	api = kb_kvm_linux;
	api.mmap = [](void *a, size_t l, int p, int f, int fd, off_t o) {
		if (++count == fail_at) {
			errno = ENOMEM;
			return MAP_FAILED;
		}
		return kb_kvm_linux.mmap(a, l, p, f, fd, o);
	};
	int fds = open_fds();
	for (fail_at = 1; fail_at <= 4; fail_at++) { // three pieces of RAM and kvm_run
		count = 0;
		err.msg[0] = 0;
		EXPECT_EQ(kb_box_create(&box, &cfg, simulator::ops(), &sim, &api, &err), -ENOMEM) << fail_at;
		EXPECT_STRNE(err.msg, "");
		EXPECT_EQ(box, nullptr);
		EXPECT_EQ(open_fds(), fds);
	}
}

TEST_F(box_, no_dev_kvm)
{
	static kb_kvm_api api;
	api = kb_kvm_linux;
	set("guest", guest_path("hlt.elf"));
	api.open = [](const char *, int) {
		errno = EACCES;
		return -1;
	};
	EXPECT_EQ(kb_box_create(&box, &cfg, simulator::ops(), &sim, &api, &err), -EACCES);
	EXPECT_TRUE(says("permission") && says("kvm")) << err.msg;
}

// ---- life ----------------------------------------------------------------------------------------------------------

TEST_F(box_, dies_at_any_point)
{
	int fds = open_fds();
	kvmbox_destroy(nullptr);
	set("guest", guest_path("spin.elf"));
	for (int stage = 0; stage < 5; stage++) {
		ASSERT_EQ(create(), 0) << err.msg;
		if (stage > 0)
			add(simple_function());
		if (stage > 1)
			power_on();
		if (stage > 2) {
			sim.at(sim.now_ps + 2 * ms, [this] { kvmbox_stop(box); });
			EXPECT_EQ(run(), 0) << err.msg;
		}
		if (stage > 3)
			kvmbox_stop(box);
		destroy();
		EXPECT_EQ(open_fds(), fds) << stage;
		sim = simulator();
	}
}

TEST_F(box_, two_boxes_take_turns)
{
	simulator other_sim;
	kvmbox_box *other;
	use_fixed_clock();
	create_script();
	ASSERT_EQ(kvmbox_create(&other, &cfg, simulator::ops(), &other_sim, &err), 0) << err.msg;
	other_sim.box = other;
	step(SCRIPT_WRITE, SCRIPT_SCRATCH, 4, 0x1111);
	play();
	script_step steps2[] = {{SCRIPT_WRITE, 4, SCRIPT_SCRATCH, 0x2222}, {SCRIPT_END, 0, 0, 7}};
	ASSERT_EQ(kvmbox_dma(other, nullptr, SCRIPT_STEPS, steps2, sizeof(steps2), true), 0);
	EXPECT_EQ(kvmbox_run(other, &err), 0) << err.msg;
	EXPECT_EQ(kvmbox_exit_status(other), 7);
	EXPECT_EQ(kvmbox_exit_status(box), 0);
	EXPECT_EQ(peek<uint32_t>(SCRIPT_SCRATCH), 0x1111u);
	kvmbox_destroy(other);
}

TEST_F(box_, the_exit_status_is_the_guests)
{
	for (unsigned status : {0u, 1u, 77u, 255u}) {
		create_script();
		EXPECT_EQ(kvmbox_exit_status(box), -1);
		EXPECT_EQ(kvmbox_end(box), KVMBOX_END_NONE);
		steps.clear();
		step(SCRIPT_END, 0, 4, status);
		ASSERT_EQ(kvmbox_dma(box, nullptr, SCRIPT_STEPS, steps.data(), steps.size() * sizeof(steps[0]), true), 0);
		EXPECT_EQ(run(), 0) << err.msg;
		EXPECT_EQ(kvmbox_end(box), KVMBOX_END_EXIT);
		EXPECT_EQ(kvmbox_exit_status(box), static_cast<int>(status));
		EXPECT_EQ(run(), -EINVAL);
		EXPECT_TRUE(says("ended")) << err.msg;
		destroy();
		sim = simulator();
	}
}

TEST_F(box_, no_guest_is_refused_at_run)
{
	ASSERT_EQ(create(), 0) << err.msg;
	EXPECT_EQ(run(), -EINVAL);
	EXPECT_TRUE(says("guest")) << err.msg;
}

TEST_F(box_, a_guest_file_that_vanishes_is_noticed_at_the_reset)
{
	set("guest", damaged("reset_cf9.elf", [](std::string &) {}));
	ASSERT_EQ(create(), 0) << err.msg;
	unlink(scratch.c_str());
	EXPECT_EQ(run(), -ENOENT);
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_ERROR);
	EXPECT_TRUE(says(scratch)) << err.msg;
}

// ---- stop ------------------------------------------------------------------------------------------------------------

TEST_F(box_, stop_before_the_run_ends_it_at_once)
{
	load("hlt.elf");
	kvmbox_stop(box);
	kvmbox_stop(box);
	EXPECT_EQ(run(), 0);
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_STOPPED);
	EXPECT_EQ(stats().entries, 0u);
	EXPECT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_EXIT) << "one stop ends one run";
}

TEST_F(box_, stop_from_a_callback_loses_no_access)
{
	use_fixed_clock();
	create_script();
	kvmbox_function *f = add(simple_function());
	power_on();
	uint64_t b = bar_address(f, 0);
	std::vector<size_t> reads;
	for (int i = 0; i < 20; i++) {
		write(b + 4 * static_cast<unsigned>(i), 100 + static_cast<unsigned>(i));
		reads.push_back(read(b + 4 * static_cast<unsigned>(i)));
		step(SCRIPT_ADD, b + 0x100, 4, 1);
	}
	uint32_t counter = 0;
	sim.on_access = [&](kvmbox_access &a) {
		kvmbox_stop(box); // every time
		if (a.offset == 0x100)
			memcpy(a.write ? static_cast<void *>(&counter) : a.data, a.write ? a.data : static_cast<void *>(&counter),
			       4);
		else if (!a.write)
			memcpy(a.data, &sim.accesses[sim.accesses.size() - 2].value, 4); // what was just written
		return 0;
	};
	load_steps();
	int runs = 0;
	do {
		ASSERT_EQ(run(), 0) << err.msg;
		ASSERT_LT(++runs, 200);
	} while (kvmbox_end(box) == KVMBOX_END_STOPPED);
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_EXIT);
	EXPECT_EQ(kvmbox_exit_status(box), 0) << serial();
	EXPECT_EQ(sim.accesses.size(), 80u);
	EXPECT_EQ(counter, 20u);
	for (unsigned i = 0; i < reads.size(); i++)
		EXPECT_EQ(value(reads[i]), 100 + i);
	EXPECT_GT(runs, 40);
}

TEST_F(box_, stop_from_another_thread)
{
	load("spin.elf");
	for (int i = 0; i < 5; i++) {
		std::atomic<bool> go{false};
		sim.on_wait = [&](uint64_t, kvmbox_wait, int &) {
			go = true;
			return false;
		};
		std::thread t([&] {
			while (!go)
				std::this_thread::yield();
			kvmbox_stop(box);
		});
		EXPECT_EQ(run(), 0) << err.msg;
		EXPECT_EQ(kvmbox_end(box), KVMBOX_END_STOPPED);
		t.join();
	}
	sim.on_wait = nullptr;
	std::thread early([this] { kvmbox_stop(box); }); // before, at, or soon after the run
	EXPECT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_STOPPED);
	early.join();
}

// A quantum that never ends for the guest: only the kick gets it out.
TEST_F(box_, stop_reaches_a_guest_that_computes)
{
	set("quantum", "1000s");
	use_fixed_clock();
	load("spin.elf");
	std::atomic<bool> ended{false};
	std::thread t([&] {
		std::this_thread::sleep_for(std::chrono::milliseconds(5));
		kvmbox_stop(box);
	});
	EXPECT_EQ(run(), 0) << err.msg;
	ended = true;
	t.join();
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_STOPPED);
}

TEST_F(box_, the_first_run_may_race_with_stop)
{
	set("guest", guest_path("spin.elf"));
	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(create(), 0) << err.msg;
		std::thread t([this] { kvmbox_stop(box); });
		EXPECT_EQ(run(), 0) << err.msg;
		EXPECT_EQ(kvmbox_end(box), KVMBOX_END_STOPPED);
		t.join();
		destroy();
		sim = simulator();
	}
}

TEST_F(box_, a_box_may_run_on_another_thread_than_before)
{
	load("hlt.elf");
	std::thread first([this] {
		sim.at(1 * us, [this] { kvmbox_stop(box); });
		EXPECT_EQ(run(), 0) << err.msg;
	});
	first.join();
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_STOPPED);
	kvmbox_stop(box); // the thread it ran on is gone
	EXPECT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_STOPPED);
	EXPECT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_EXIT);
	EXPECT_EQ(kvmbox_exit_status(box), 0);
}

// Threads that come and go have the same pthread_t: the kick must know them apart.
TEST_F(box_, every_run_may_have_a_thread_of_its_own)
{
	load("spin.elf");
	for (int i = 0; i < 4; i++) {
		uint64_t yields = stats().slices;
		std::thread t([this] {
			sim.at(sim.now_ps + 3 * ms, [this] { kvmbox_stop(box); });
			EXPECT_EQ(run(), 0) << err.msg;
		});
		t.join();
		EXPECT_EQ(kvmbox_end(box), KVMBOX_END_STOPPED);
		EXPECT_GT(stats().slices, yields);
	}
}

kvmbox_box *signal_box;

TEST_F(box_, stop_from_a_signal_handler)
{
	load("spin.elf");
	signal_box = box;
	auto old = signal(SIGALRM, [](int) { kvmbox_stop(signal_box); });
	itimerval t{{0, 0}, {0, 20000}};
	setitimer(ITIMER_REAL, &t, nullptr);
	EXPECT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_STOPPED);
	signal(SIGALRM, old);
}

// ---- counting instructions ----

TEST_F(box_, stops_after_so_many_instructions_and_goes_on)
{
	set("clock", "step");
	set("step", "3ns");
	set("time_scale", "0.5");
	create_script();
	auto t = time();
	load_steps();
	ASSERT_EQ(kvmbox_stop_after(box, 1000, &err), 0) << err.msg;
	ASSERT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_COUNTED);
	EXPECT_EQ(kvmbox_time(box), 1000 * 1500u);
	ASSERT_EQ(kvmbox_stop_after(box, 0, &err), 0);
	ASSERT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_COUNTED);
	EXPECT_EQ(kvmbox_time(box), 1000 * 1500u);
	ASSERT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_EXIT);
	EXPECT_EQ(kvmbox_exit_status(box), 0) << serial();
	EXPECT_EQ(value(t) % 1500, 0u);
	EXPECT_FALSE(sim.backwards);
}

TEST_F(box_, counts_with_every_clock)
{
	for (const char *clock : {"tsc", "fixed"}) {
		steps.clear();
		set("clock", clock);
		create_script();
		load_steps();
		ASSERT_EQ(kvmbox_stop_after(box, 1000, &err), 0) << err.msg;
		ASSERT_EQ(run(), 0) << err.msg;
		EXPECT_EQ(kvmbox_end(box), KVMBOX_END_COUNTED);
		ASSERT_EQ(kvmbox_stop_after(box, 1u << 20, &err), 0) << err.msg;
		ASSERT_EQ(kvmbox_stop_after(box, KVMBOX_COUNT_NEVER, &err), 0) << err.msg;
		ASSERT_EQ(run(), 0) << err.msg;
		EXPECT_EQ(kvmbox_end(box), KVMBOX_END_EXIT);
		destroy();
	}
}

// Anybody's signals interrupt KVM_RUN; with the fixed clock that must not show.
TEST_F(box_, other_signals_do_not_move_a_fixed_clock)
{
	use_fixed_clock();
	create_script();
	auto old = signal(SIGALRM, [](int) {});
	itimerval t{{0, 300}, {0, 300}}, off{};
	std::vector<size_t> times;
	for (int i = 0; i < 300; i++)
		times.push_back(time());
	setitimer(ITIMER_REAL, &t, nullptr);
	play();
	setitimer(ITIMER_REAL, &off, nullptr);
	signal(SIGALRM, old);
	for (size_t i = 1; i < times.size(); i++)
		EXPECT_EQ(value(times[i]) - value(times[i - 1]), cfg.fixed_exit_ps) << i;
}

// ---- simulators that break the rules ------------------------------------------------------------------------------------

TEST_F(box_, check_wait_may_end_the_run)
{
	load("spin.elf");
	sim.wait_limit = 5;
	EXPECT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_STOPPED);
	EXPECT_EQ(sim.wait_count, 6u) << "and is not asked again";
	sim.wait_limit = 10;
	EXPECT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_STOPPED);
	EXPECT_EQ(sim.wait_count, 11u);
}

// check_wait ends the run within an access: what the guest got must not be made up if it goes on later.
TEST_F(box_, a_run_ended_within_an_access_loses_nothing)
{
	use_fixed_clock();
	create_script();
	kvmbox_function *f = add(simple_function());
	power_on();
	sim.on_access = [](kvmbox_access &a) {
		if (!a.write)
			memset(a.data, 0x42, a.len);
		return 0;
	};
	uint64_t b = bar_address(f, 0);
	std::vector<size_t> reads;
	for (unsigned i = 0; i < 10; i++) {
		write(b, i);
		reads.push_back(read(b + 4));
		step(SCRIPT_ADD, b + 8, 4, 1);
	}
	load_steps();
	int n = 0, runs = 0;
	sim.on_wait = [&](uint64_t, kvmbox_wait, int &rc) {
		rc = -1;
		return ++n % 2 == 1;
	};
	do {
		ASSERT_EQ(run(), 0) << err.msg;
		ASSERT_LT(++runs, 200);
	} while (kvmbox_end(box) == KVMBOX_END_STOPPED);
	EXPECT_EQ(kvmbox_exit_status(box), 0) << serial();
	EXPECT_EQ(sim.accesses.size(), 40u);
	for (size_t r : reads)
		EXPECT_EQ(value(r), 0x42424242u);
	EXPECT_GT(runs, 10);
}

TEST_F(box_, a_clock_that_stands_still_is_reported)
{
	load("spin.elf");
	sim.on_wait = [](uint64_t, kvmbox_wait, int &) { return true; };
	EXPECT_EQ(run(), -EIO);
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_ERROR);
	EXPECT_TRUE(says("check_wait")) << err.msg;
	EXPECT_LT(sim.wait_count, 2000u);
}

TEST_F(box_, a_clock_that_stands_still_is_reported_by_a_sleeper)
{
	load("hlt_forever.elf");
	sim.on_wait = [](uint64_t, kvmbox_wait how, int &) { return how == KVMBOX_WAIT_IDLE; };
	EXPECT_EQ(run(), -EIO);
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_ERROR);
	EXPECT_TRUE(says("check_wait")) << err.msg;
}

TEST_F(box_, a_clock_that_stands_still_is_reported_by_an_access)
{
	use_fixed_clock();
	create_script();
	kvmbox_function *f = add(simple_function());
	power_on();
	sim.on_wait = [](uint64_t, kvmbox_wait, int &) { return true; };
	write(bar_address(f, 0), 1);
	load_steps();
	EXPECT_EQ(run(), -EIO);
	EXPECT_TRUE(says("check_wait")) << err.msg;
	EXPECT_EQ(sim.accesses.size(), 0u);
}

// An event that is always due now, one that lies in the past: the guest goes on all the same.
TEST_F(box_, an_event_that_never_goes_away_does_not_stop_the_guest)
{
	set("guest", guest_path("hlt.elf"));
	static kvmbox_ops ops;
	ops = *simulator::ops();
	ops.next_event = [](void *t) { return static_cast<simulator *>(t)->now_ps / 2; };
	ASSERT_EQ(kvmbox_create(&box, &cfg, &ops, &sim, &err), 0) << err.msg;
	sim.box = box;
	EXPECT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_EXIT);
	EXPECT_EQ(kvmbox_exit_status(box), 0) << serial();
}

TEST_F(box_, a_clock_that_goes_back_does_not_take_the_guest_with_it)
{
	load("hlt.elf");
	int n = 0;
	sim.on_wait = [&](uint64_t, kvmbox_wait, int &) {
		if (++n % 3 == 0 && sim.now_ps > 1 * us)
			sim.now_ps -= 1 * us;
		return false;
	};
	EXPECT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_exit_status(box), 0) << serial();
	EXPECT_FALSE(sim.backwards);
}

TEST_F(box_, a_simulator_ahead_of_the_guest_pulls_it_along)
{
	use_fixed_clock();
	create_script();
	sim.now_ps = 5 * s;
	size_t t = time();
	play();
	EXPECT_GE(value(t), 5 * s);
}

TEST_F(box_, nested_runs_are_refused)
{
	load("hlt.elf");
	int nested = 0;
	sim.on_wait = [&](uint64_t, kvmbox_wait, int &) {
		kvmbox_error why{};
		EXPECT_EQ(kvmbox_run(box, &why), -EBUSY);
		EXPECT_NE(strstr(why.msg, "callback"), nullptr) << why.msg;
		nested++;
		return false;
	};
	EXPECT_EQ(run(), 0) << err.msg;
	EXPECT_EQ(kvmbox_exit_status(box), 0);
	EXPECT_GT(nested, 0);
}

// ---- time ---------------------------------------------------------------------------------------------------------------

TEST_F(box_, the_quantum_bounds_the_lead)
{
	set("quantum", "100us");
	use_fixed_clock();
	create_script();
	uint64_t most = 0;
	sim.on_wait = [&](uint64_t t, kvmbox_wait, int &) {
		most = std::max(most, t - sim.now_ps);
		return false;
	};
	for (int i = 0; i < 500; i++)
		time();
	play();
	EXPECT_LE(most, 100 * us);
	EXPECT_GE(most, 90 * us);
}

TEST_F(box_, slices_end_at_events)
{
	for (bool on : {true, false}) {
		set("slice_to_events", on ? "yes" : "no");
		use_fixed_clock();
		create_script();
		uint64_t guest_then = 0;
		sim.at(123 * us, [&] { guest_then = kvmbox_time(box); });
		steps.clear();
		for (int i = 0; i < 1200; i++)
			time();
		play();
		EXPECT_GE(guest_then, 123 * us);
		if (on) {
			EXPECT_LE(guest_then, 124 * us);
		} else {
			EXPECT_GE(guest_then, 1 * ms);
		}
		destroy();
		sim = simulator();
	}
}

TEST_F(box_, the_time_scale_slows_the_guest_down)
{
	uint64_t took[2];
	for (int i = 0; i < 2; i++) {
		set("time_scale", i ? "1000" : "1");
		create_script();
		size_t t1 = time();
		for (int k = 0; k < 50; k++)
			read(0xfed90000);
		size_t t2 = time();
		play();
		took[i] = value(t2) - value(t1);
		destroy();
		steps.clear();
		sim = simulator();
	}
	EXPECT_GT(took[1], took[0] * 10);
}

TEST_F(box_, statistics_add_up)
{
	use_fixed_clock();
	create_script();
	for (int i = 0; i < 10; i++)
		read(0xfed90000); // nobody
	for (int i = 0; i < 10; i++)
		in(0x80);
	play();
	kvmbox_stats st = stats();
	EXPECT_EQ(st.unassigned, 10u);
	EXPECT_GE(st.exits_mmio, 10u);
	EXPECT_GE(st.exits_pio, 10u);
	EXPECT_EQ(st.guest_ps, kvmbox_time(box));
	EXPECT_GE(st.entries, st.exits_mmio + st.exits_pio);
	EXPECT_EQ(st.transports, 0u);
	EXPECT_GT(st.host_guest_ns, 0u);
}

TEST_F(box_, the_serial_buffer_is_for_memory_only)
{
	set("serial", "null");
	load("hlt.elf");
	const char *text = "x";
	EXPECT_EQ(kvmbox_serial_output(box, &text), 0u);
	EXPECT_STREQ(text, "");
	EXPECT_EQ(kvmbox_serial_input(box, "x", 1), -EINVAL);
	int fds[4];
	EXPECT_EQ(kvmbox_poll_fds(box, fds, 4), 0u);
	EXPECT_FALSE(kvmbox_poll(box));
}

TEST_F(box_, polls_what_is_added)
{
	struct added {
		int polls = 0;
		kvmbox_watch w{};
		kvmbox_box *box = nullptr; // removes itself
		explicit added(size_t (*fds)(void *, int *, size_t))
		{
			w.opaque = this;
			w.fds = fds;
			w.poll = [](void *o) {
				auto *self = static_cast<added *>(o);
				if (self->box)
					kvmbox_remove_watch(self->box, &self->w);
				return ++self->polls == 2;
			};
		}
	};
	auto two = [](void *, int *fds, size_t max) -> size_t {
		for (int i = 0; i < 2 && static_cast<size_t>(i) < max; i++)
			fds[i] = 100 + i;
		return std::min<size_t>(2, max);
	};
	set("serial", "null");
	load("hlt.elf");
	added a(two), b(two);
	kvmbox_add_watch(box, &a.w);
	kvmbox_add_watch(box, &b.w);
	int fds[4];
	EXPECT_EQ(kvmbox_poll_fds(box, fds, 4), 4u);
	EXPECT_EQ(kvmbox_poll_fds(box, fds, 3), 3u);
	EXPECT_EQ(fds[1], 101);
	EXPECT_EQ(fds[2], 100);
	EXPECT_FALSE(kvmbox_poll(box));
	b.box = box;
	EXPECT_TRUE(kvmbox_poll(box));
	EXPECT_FALSE(kvmbox_poll(box));
	EXPECT_EQ(a.polls, 3);
	EXPECT_EQ(b.polls, 2);
	kvmbox_remove_watch(box, &a.w);
	kvmbox_remove_watch(box, &a.w);
	EXPECT_EQ(kvmbox_poll_fds(box, fds, 4), 0u);
}

} // namespace
