// One sc_start() or thousands of them: the same run, event for event. Each way runs in a process of its own.
#include "puppeteer.h"

#include <sys/wait.h>
#include <unistd.h>

#include <sstream>

namespace {

sc_core::sc_time piece() { return sc_core::sc_time(1, sc_core::SC_US); }
sc_core::sc_time longest_delay() { return sc_core::sc_time(44 * 100001, sc_core::SC_PS); }

struct recorder : kvmbox::pci_device {
	std::ostringstream trace;

	recorder(sc_core::sc_module_name n, kvmbox::box &b) : pci_device(n, b, identity()) { SC_THREAD(ring); }
	SC_HAS_PROCESS(recorder);
	static kvmbox::function_config identity()
	{
		kvmbox::function_config f("", 0x1234, 1);
		f.memory_bar(0, 0x1000);
		f.msi_vectors = 1;
		return f;
	}
	void note(const char *what, uint64_t value)
	{
		trace << what << " " << value << " at " << sc_core::sc_time_stamp().value() << "\n";
	}
	uint64_t read(unsigned, uint64_t offset, unsigned, sc_core::sc_time &delay) override
	{
		note("read", offset);
		if (offset & 4)
			sc_core::wait(sc_core::sc_time(1234567, sc_core::SC_PS));
		delay += sc_core::sc_time(offset * 100001, sc_core::SC_PS);
		return offset;
	}
	void write(unsigned, uint64_t offset, unsigned, uint64_t value, sc_core::sc_time &) override
	{
		note("write", value + offset);
		m_rung.notify(sc_core::sc_time(value, sc_core::SC_PS));
	}
	void ring()
	{
		for (;;) {
			wait(m_rung);
			note("interrupt", function().interrupt() == 1);
		}
	}
	sc_core::sc_event m_rung;
};

/* What the guest does: accesses, sleeps until a device or its LAPIC timer wakes it, looks at its clock. */
void script(puppeteer &guest, recorder &device)
{
	uint64_t a = 0;

	guest.on_interrupt = [&](unsigned v) { device.note("handler", v); };
	guest.set_command(device.function(), 7);
	EXPECT_EQ(guest.command(PUPPET_USE_MSI, device.function().bdf(), 0x51), 1u);
	EXPECT_TRUE(device.function().bar_address(0, a));
	guest.write(0xFEE00320, 4, 0x51);
	for (unsigned i = 0; i < 12; i++) {
		device.note("value", guest.read(a + 4 * i, 4));
		device.note("time", guest.time());
		if (i % 3 == 2)
			guest.write(0xFEE00380, 4, 20000 + 12345 * i);
		else
			guest.write(a + 8 * i, 4, i % 2 ? 37000001 * i : 100000000);
		device.note("woke", guest.command(PUPPET_SLEEP));
	}
}

using way = void (*)(kvmbox::box &, const bool &done);

/* In the child: the trace goes to the pipe, or "-" and the reason why there is none. */
void play(way run, int fd)
{
	std::string why, out;
	kvmbox::box *pc = puppet_box("pc", why, "clock=fixed fixed_exit=1us");

	if (pc) {
		bool done = false;
		puppeteer guest("guest", *pc);
		recorder device("device", *pc);
		guest.begin([&] {
			script(guest, device);
			done = true;
			sc_core::sc_pause();
		});
		run(*pc, done);
		out = device.trace.str();
	} else {
		out = "-" + why;
	}
	_exit(write(fd, out.data(), out.size()) == static_cast<ssize_t>(out.size()) && !testing::Test::HasFailure() ? 0 : 1);
}

std::string result_of(way run)
{
	int fds[2], status = 0;
	char buf[4096];
	ssize_t n;
	std::string out;

	EXPECT_EQ(pipe(fds), 0);
	const pid_t child = fork();
	if (child == 0)
		play(run, fds[1]);
	close(fds[1]);
	while ((n = read(fds[0], buf, sizeof(buf))) > 0)
		out.append(buf, static_cast<size_t>(n));
	close(fds[0]);
	EXPECT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(status, 0);
	return out;
}

class pieces : public testing::Test {
protected:
	static std::string whole;
	static void SetUpTestSuite()
	{
		whole = result_of([](kvmbox::box &, const bool &) { sc_core::sc_start(); });
	}
	void SetUp() override
	{
		ASSERT_NE(whole, "");
		if (whole[0] == '-')
			GTEST_SKIP() << whole.substr(1);
	}
};
std::string pieces::whole;

TEST_F(pieces, a_second_run_is_the_same)
{
	EXPECT_NE(whole.find("handler 81"), std::string::npos) << whole;
	EXPECT_EQ(result_of([](kvmbox::box &, const bool &) { sc_core::sc_start(); }), whole);
}

TEST_F(pieces, of_a_microsecond)
{
	EXPECT_EQ(result_of([](kvmbox::box &, const bool &done) {
			  while (!done)
				  sc_core::sc_start(piece());
		  }), whole);
}

/* And the guest never computes past the end of a piece: its clock is ahead by the exit or access under way at most. */
TEST_F(pieces, with_ends_the_guest_knows)
{
	EXPECT_EQ(result_of([](kvmbox::box &pc, const bool &done) {
			  while (!done) {
				  pc.start(piece());
				  EXPECT_LE(pc.time(), sc_core::sc_time_stamp() + piece() + longest_delay());
			  }
		  }), whole);
}

TEST_F(pieces, with_pauses_in_between)
{
	EXPECT_EQ(result_of([](kvmbox::box &pc, const bool &done) {
			  sc_core::sc_spawn([&] {
				  while (!done) {
					  sc_core::wait(sc_core::sc_time(7100001, sc_core::SC_PS));
					  pc.pause();
				  }
			  });
			  while (!done) {
				  sc_core::sc_start();
				  const auto t = pc.time();
				  EXPECT_EQ(pc.time(), t);
				  pc.resume();
			  }
		  }), whole);
}

} // namespace

void elaborate()
{
}
