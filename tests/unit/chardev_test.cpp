// devices/chardev.h: real files, ptys and sockets; terminals as a shell hands them out.
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <poll.h>
#include <random>
#include <sstream>
#include <string>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <vector>

extern "C" {
#include "devices/chardev.h"
}
#include "tests/unit/backend_fixture.h"

namespace {

constexpr size_t MIB = 1 << 20;

// A device that takes at most `room` bytes.
struct device {
	std::string got;
	size_t room = SIZE_MAX;
	static size_t take(void *o, const uint8_t *bytes, size_t len)
	{
		auto *d = static_cast<device *>(o);
		size_t n = std::min(len, d->room);
		d->got.append(reinterpret_cast<const char *>(bytes), n);
		d->room -= n;
		return n;
	}
};

class chardev : public testing::Test {
protected:
	kvmbox_error err{};
	std::string log;
	struct kb_log sink{};
	kb_chardev *c = nullptr;
	device dev;
	std::string dir;
	size_t fds_before = 0;

	void SetUp() override
	{
		alarm(60);
		fds_before = open_fds();
		sink.fn = [](void *o, kvmbox_log_level, const char *msg) {
			*static_cast<std::string *>(o) += std::string(msg) + "\n";
		};
		sink.opaque = &log;
		char name[] = "/tmp/kb-chardev-XXXXXX";
		dir = mkdtemp(name);
	}
	void TearDown() override
	{
		kb_chardev_destroy(c);
		EXPECT_EQ(open_fds(), fds_before);
		EXPECT_EQ(system(("rm -rf " + dir).c_str()), 0);
		alarm(0);
	}
	int create(const std::string &spec, kb_chardev **out)
	{
		int rc = kb_chardev_create(out, spec.c_str(), "COM1", &sink, &err);
		if (rc == 0)
			kb_chardev_on_input(*out, device::take, &dev);
		return rc;
	}
	void open(const std::string &spec) { ASSERT_EQ(create(spec, &c), 0) << err.msg; }
	void write(const std::string &s) { kb_chardev_write(c, s.data(), s.size()); }
	bool pump(const std::function<bool()> &done)
	{
		return until([&] { return kb_chardev_poll(c), done(); });
	}
	std::vector<int> fds()
	{
		int a[8];
		size_t n = kb_chardev_fds(c, a, 8);
		return {a, a + n};
	}
	// Would a run loop sleep on these?
	bool quiet()
	{
		std::vector<pollfd> p;
		for (int fd : fds())
			p.push_back({fd, POLLIN, 0});
		return ::poll(p.data(), p.size(), 0) == 0;
	}
};

// Whatever arrives on a non-blocking fd until it has n bytes.
std::string read_n(int fd, size_t n, const std::function<void()> &meanwhile = [] {})
{
	std::string s;
	until([&] {
		char buf[65536];
		ssize_t got;
		meanwhile();
		while (s.size() < n && (got = ::read(fd, buf, std::min(sizeof(buf), n - s.size()))) > 0)
			s.append(buf, static_cast<size_t>(got));
		return s.size() >= n;
	});
	return s;
}

// Specs

TEST_F(chardev, bad_specs_are_refused_with_the_list_of_kinds)
{
	for (const char *spec : {"", "nul", "null:", "stdio:x", "file", "file:", "unix", "unix:", "pty:/dev/x", "Memory"}) {
		EXPECT_EQ(create(spec, &c), -EINVAL) << spec;
		for (const char *kind : {"COM1", "null", "stdio", "file:PATH", "pty", "unix:PATH", "memory"})
			EXPECT_NE(strstr(err.msg, kind), nullptr) << err.msg;
	}
	EXPECT_EQ(kb_chardev_create(&c, nullptr, "COM1", nullptr, nullptr), -EINVAL);
	EXPECT_EQ(c, nullptr);
	kb_chardev_destroy(nullptr);
}

// null, memory

TEST_F(chardev, logfile_gets_a_copy)
{
	open("memory,logfile=" + dir + "/a,,b");
	write("Hello ");
	write("guest");
	const char *text;
	EXPECT_EQ(kb_chardev_output(c, &text), 11u);
	EXPECT_EQ(contents(dir + "/a,b"), "Hello guest");
	kb_chardev_destroy(c);
	c = nullptr;
	open("unix:" + dir + "/s,logfile=" + dir + "/log");
	write("nobody listens");
	EXPECT_EQ(contents(dir + "/log"), "nobody listens");
}

TEST_F(chardev, bad_options)
{
	EXPECT_EQ(create("memory,logfile=" + dir + "/none/x", &c), -ENOENT);
	EXPECT_NE(strstr(err.msg, "COM1: cannot open"), nullptr) << err.msg;
	EXPECT_EQ(create("file:" + dir + "/none/x,logfile=" + dir + "/y", &c), -ENOENT);
	for (const char *spec : {"null,logfile", "null,logfile=", "null,log=x", "null,"}) {
		EXPECT_LT(create(spec, &c), 0) << spec;
		EXPECT_NE(strstr(err.msg, "COM1"), nullptr) << err.msg;
	}
	EXPECT_EQ(c, nullptr);
}

TEST_F(chardev, null_swallows)
{
	open("null");
	write("gone");
	EXPECT_EQ(kb_chardev_dropped(c), 0u);
	EXPECT_FALSE(kb_chardev_poll(c));
	EXPECT_TRUE(fds().empty());
	const char *text = nullptr;
	EXPECT_EQ(kb_chardev_output(c, &text), 0u);
	EXPECT_STREQ(text, "");
	EXPECT_EQ(kb_chardev_feed(c, "x", 1), -EINVAL);
}

TEST_F(chardev, memory_keeps_output_and_delivers_input)
{
	open("memory");
	const char *text = nullptr;
	EXPECT_EQ(kb_chardev_output(c, &text), 0u);
	EXPECT_STREQ(text, "");
	write("hello ");
	write("world");
	EXPECT_EQ(kb_chardev_output(c, &text), 11u);
	EXPECT_STREQ(text, "hello world");
	EXPECT_FALSE(kb_chardev_poll(c));
	EXPECT_EQ(kb_chardev_feed(c, "abcdef", 6), 0);
	dev.room = 2;
	EXPECT_TRUE(kb_chardev_poll(c));
	EXPECT_EQ(dev.got, "ab");
	EXPECT_FALSE(kb_chardev_poll(c));
	dev.room = 3;
	EXPECT_TRUE(kb_chardev_offer(c));
	EXPECT_EQ(dev.got, "abcde");
	dev.room = 100;
	EXPECT_EQ(kb_chardev_feed(c, "g", 1), 0);
	EXPECT_TRUE(kb_chardev_poll(c));
	EXPECT_EQ(dev.got, "abcdefg");
	EXPECT_FALSE(kb_chardev_offer(c));
	EXPECT_TRUE(fds().empty());
}

TEST_F(chardev, memory_is_bounded)
{
	open("memory");
	std::string chunk(MIB, 'x');
	for (int i = 0; i < 64; i++)
		write(chunk);
	EXPECT_EQ(kb_chardev_dropped(c), 0u);
	write("y");
	write(chunk);
	EXPECT_EQ(kb_chardev_dropped(c), MIB + 1);
	const char *text;
	EXPECT_EQ(kb_chardev_output(c, &text), 64 * MIB);
	EXPECT_EQ(text[64 * MIB], 0);
	EXPECT_EQ(text[64 * MIB - 1], 'x');
	std::string much(64 * MIB, 'i');
	EXPECT_EQ(kb_chardev_feed(c, much.data(), much.size() + 1), -ENOSPC);
	EXPECT_EQ(kb_chardev_feed(c, much.data(), much.size()), 0);
	EXPECT_EQ(kb_chardev_feed(c, "x", 1), -ENOSPC);
	EXPECT_TRUE(kb_chardev_poll(c));
	EXPECT_EQ(dev.got.size(), 64 * MIB);
}

// The queue against std::string, with sizes that make it wrap and grow.
TEST_F(chardev, input_queue_keeps_order)
{
	open("memory");
	std::mt19937 rng(7);
	std::string all;
	for (int i = 0; i < 3000; i++) {
		std::string s(rng() % 300, 0);
		for (char &ch : s)
			ch = static_cast<char>(rng());
		all += s;
		ASSERT_EQ(kb_chardev_feed(c, s.data(), s.size()), 0);
		dev.room = rng() % 280;
		kb_chardev_poll(c);
	}
	dev.room = SIZE_MAX;
	kb_chardev_poll(c);
	EXPECT_TRUE(dev.got == all);
}

TEST_F(chardev, callbacks_may_call_back)
{
	open("memory");
	kb_chardev_on_input(c, [](void *o, const uint8_t *bytes, size_t) -> size_t {
		auto *cd = static_cast<kb_chardev *>(o);
		EXPECT_FALSE(kb_chardev_poll(cd));
		EXPECT_FALSE(kb_chardev_offer(cd));
		kb_chardev_write(cd, bytes, 1);
		return 1;
	}, c);
	EXPECT_EQ(kb_chardev_feed(c, "echo", 4), 0);
	EXPECT_TRUE(kb_chardev_poll(c));
	const char *text;
	kb_chardev_output(c, &text);
	EXPECT_STREQ(text, "echo");
}

TEST_F(chardev, may_be_destroyed_by_its_own_input)
{
	open("memory");
	kb_chardev_on_input(c, [](void *o, const uint8_t *, size_t) -> size_t {
		auto **p = static_cast<kb_chardev **>(o);
		kb_chardev_destroy(*p);
		*p = nullptr;
		return 1;
	}, &c);
	EXPECT_EQ(kb_chardev_feed(c, "abc", 3), 0);
	kb_chardev_poll(c);
	EXPECT_EQ(c, nullptr);
}

// file

TEST_F(chardev, file_is_truncated_and_written)
{
	std::string path = dir + "/log";
	std::ofstream(path) << "old contents";
	open("file:" + path);
	write("new\n");
	EXPECT_EQ(contents(path), "new\n"); // without waiting for destroy
	EXPECT_TRUE(fds().empty());
	EXPECT_FALSE(kb_chardev_poll(c));
	EXPECT_EQ(kb_chardev_feed(c, "x", 1), -EINVAL);
}

TEST_F(chardev, file_errors)
{
	EXPECT_EQ(create("file:" + dir + "/none/log", &c), -ENOENT);
	EXPECT_NE(strstr(err.msg, "/none/log"), nullptr);
	EXPECT_EQ(create("file:" + dir, &c), -EISDIR);
	std::string fifo = dir + "/fifo";
	ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
	EXPECT_EQ(create("file:" + fifo, &c), -ENXIO); // and does not hang
	open("file:/dev/full");
	write("12345");
	write("678");
	EXPECT_EQ(kb_chardev_dropped(c), 8u);
	EXPECT_NE(log.find("No space"), std::string::npos) << log;
}

TEST_F(chardev, a_fifo_whose_reader_left_does_not_kill)
{
	std::string fifo = dir + "/fifo";
	ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
	int reader = ::open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	open("file:" + fifo);
	write("abc");
	char buf[8];
	EXPECT_EQ(read(reader, buf, sizeof(buf)), 3);
	close(reader);
	write("defg");
	EXPECT_EQ(kb_chardev_dropped(c), 4u);
	sigset_t pending;
	sigpending(&pending);
	EXPECT_FALSE(sigismember(&pending, SIGPIPE));
}

TEST_F(chardev, warnings_about_drops_are_rate_limited)
{
	open("file:/dev/full");
	for (int i = 0; i < 10000; i++)
		write("x");
	EXPECT_EQ(kb_chardev_dropped(c), 10000u);
	EXPECT_LT(std::count(log.begin(), log.end(), '\n'), 40);
}

// pty

class pty : public chardev {
protected:
	std::string slave;
	void SetUp() override
	{
		chardev::SetUp();
		open("pty");
		size_t at = log.find("/dev/pts/");
		ASSERT_NE(at, std::string::npos) << log;
		slave = log.substr(at, log.find('\n', at) - at);
	}
	int attach() { return ::open(slave.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC); }
};

TEST_F(pty, carries_all_bytes_both_ways)
{
	std::string all;
	for (int i = 0; i < 256; i++)
		all += static_cast<char>(i);
	write(all); // before anyone attached
	int fd = attach();
	ASSERT_GE(fd, 0);
	EXPECT_EQ(read_n(fd, all.size()), all);
	ASSERT_EQ(::write(fd, all.data(), all.size()), 256);
	EXPECT_TRUE(pump([&] { return dev.got.size() >= 256; }));
	EXPECT_EQ(dev.got, all);
	EXPECT_TRUE(quiet());
	close(fd);
}

TEST_F(pty, survives_close_and_reopen)
{
	for (int i = 0; i < 3; i++) {
		int fd = attach();
		ASSERT_GE(fd, 0);
		ASSERT_EQ(::write(fd, "in", 2), 2);
		EXPECT_TRUE(pump([&] { return dev.got == "in"; }));
		write("out");
		EXPECT_EQ(read_n(fd, 3), "out");
		close(fd);
		EXPECT_FALSE(kb_chardev_poll(c));
		EXPECT_TRUE(quiet()); // a hung-up master would make a run loop spin
		dev.got.clear();
	}
	EXPECT_EQ(kb_chardev_dropped(c), 0u);
}

TEST_F(pty, output_nobody_reads_is_bounded)
{
	std::string text;
	for (int i = 0; text.size() < 3 * MIB; i++)
		text += std::to_string(i) + "\n";
	for (size_t at = 0; at < text.size(); at += 4096)
		write(text.substr(at, 4096));
	uint64_t dropped = kb_chardev_dropped(c);
	EXPECT_GT(dropped, MIB);
	EXPECT_LT(dropped, 2 * MIB + 1);
	int fd = attach();
	std::string kept = read_n(fd, text.size() - dropped, [&] { kb_chardev_poll(c); });
	// The kernel moves its own buffers along meanwhile, so what is missing need not be the end.
	EXPECT_TRUE(kept.substr(0, MIB) == text.substr(0, MIB));
	EXPECT_EQ(kept.size(), text.size() - dropped);
	write("more");
	EXPECT_EQ(read_n(fd, 4), "more");
	close(fd);
}

TEST_F(pty, takes_no_more_input_than_the_device)
{
	int fd = attach();
	std::string text(3000, 'i');
	dev.room = 5;
	ASSERT_EQ(::write(fd, text.data(), text.size()), 3000);
	EXPECT_TRUE(pump([&] { return dev.got.size() == 5; }));
	EXPECT_TRUE(fds().empty()); // nothing to wait for until the device takes more
	dev.room = SIZE_MAX;
	EXPECT_TRUE(pump([&] { return dev.got.size() == 3000; }));
	EXPECT_EQ(fds().size(), 1u);
	close(fd);
}

TEST_F(pty, descriptors_are_close_on_exec)
{
	ASSERT_EQ(fds().size(), 1u);
	EXPECT_TRUE(fcntl(fds()[0], F_GETFD) & FD_CLOEXEC);
	int some;
	EXPECT_EQ(kb_chardev_fds(c, &some, 0), 0u);
}

// unix

class unix_socket : public chardev {
protected:
	std::string path;
	void SetUp() override
	{
		chardev::SetUp();
		path = dir + "/com1";
	}
	void listen() { open("unix:" + path); }
	int connect_to(const std::string &p)
	{
		sockaddr_un addr{};
		addr.sun_family = AF_UNIX;
		strcpy(addr.sun_path, p.c_str());
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (::connect(fd, reinterpret_cast<sockaddr *>(&addr), sizeof(addr))) {
			close(fd);
			return -1;
		}
		fcntl(fd, F_SETFL, O_NONBLOCK);
		return fd;
	}
	int attach()
	{
		int fd = connect_to(path);
		if (fd >= 0)
			kb_chardev_poll(c);
		return fd;
	}
	void send(int fd, const std::string &s)
	{
		ASSERT_EQ(::send(fd, s.data(), s.size(), MSG_NOSIGNAL), static_cast<ssize_t>(s.size()));
	}
	bool at_eof(int fd)
	{
		char b;
		return until([&] { return kb_chardev_poll(c), ::recv(fd, &b, 1, 0) == 0; }, 1000);
	}
	bool exists() { return access(path.c_str(), F_OK) == 0; }
};

TEST_F(unix_socket, talks_and_logs)
{
	listen();
	write("early ");
	EXPECT_TRUE(quiet());
	int fd = attach();
	ASSERT_GE(fd, 0);
	EXPECT_NE(log.find("connected"), std::string::npos);
	EXPECT_NE(log.find("process " + std::to_string(getpid())), std::string::npos) << log;
	write("late");
	EXPECT_EQ(read_n(fd, 10), "early late");
	send(fd, "input");
	EXPECT_TRUE(pump([&] { return dev.got == "input"; }));
	EXPECT_TRUE(quiet());
	EXPECT_EQ(fds().size(), 2u);
	for (int f : fds())
		EXPECT_TRUE(fcntl(f, F_GETFD) & FD_CLOEXEC);
	close(fd);
}

TEST_F(unix_socket, second_client_is_refused_and_the_first_stays)
{
	listen();
	int first = attach(), second = attach();
	ASSERT_GE(second, 0);
	std::string note = read_n(second, 10);
	EXPECT_EQ(note.substr(0, 7), "kvmbox:");
	while (!note.empty() && note.back() != '\n')
		note += read_n(second, 1);
	EXPECT_NE(note.find("COM1"), std::string::npos);
	EXPECT_TRUE(at_eof(second));
	write("still");
	EXPECT_EQ(read_n(first, 5), "still");
	close(first);
	close(second);
}

TEST_F(unix_socket, reconnects)
{
	listen();
	for (int i = 0; i < 3; i++) {
		int fd = attach();
		send(fd, "x");
		EXPECT_TRUE(pump([&] { return dev.got.size() == static_cast<size_t>(i) + 1; }));
		write("y");
		EXPECT_EQ(read_n(fd, 1), "y");
		close(fd);
		kb_chardev_poll(c);
		EXPECT_TRUE(quiet());
		write("");
	}
	EXPECT_NE(log.find("disconnected"), std::string::npos);
}

TEST_F(unix_socket, output_waits_for_the_next_client)
{
	listen();
	int fd = attach();
	close(fd);
	write("missed"); // must not raise SIGPIPE either
	write("?");
	fd = attach();
	kb_chardev_poll(c);
	EXPECT_EQ(read_n(fd, 7, [&] { kb_chardev_poll(c); }), "missed?");
	close(fd);
}

TEST_F(unix_socket, input_of_a_client_that_left_is_not_lost)
{
	listen();
	dev.room = 0;
	int fd = attach();
	std::string words(10000, 'w'); // more than is read ahead: the rest is in the socket still
	send(fd, words);
	kb_chardev_poll(c);
	close(fd);
	int next = connect_to(path);
	for (int i = 0; i < 3; i++)
		kb_chardev_poll(c);
	EXPECT_TRUE(quiet()); // the newcomer waits without making a run loop spin
	send(next, " and first");
	dev.room = SIZE_MAX;
	EXPECT_TRUE(pump([&] { return dev.got == words + " and first"; })) << dev.got.size();
	write("hi");
	EXPECT_EQ(read_n(next, 2), "hi");
	close(next);
}

TEST_F(unix_socket, half_closed_client_still_reads)
{
	listen();
	int fd = attach();
	send(fd, "cmd");
	shutdown(fd, SHUT_WR);
	EXPECT_TRUE(pump([&] { return dev.got == "cmd"; }));
	kb_chardev_poll(c);
	EXPECT_TRUE(quiet());
	write("answer");
	EXPECT_EQ(read_n(fd, 6), "answer");
	close(fd);
	fd = attach();
	write("next");
	EXPECT_EQ(read_n(fd, 4, [&] { kb_chardev_poll(c); }), "next");
	close(fd);
}

TEST_F(unix_socket, a_client_that_does_not_read_costs_a_bounded_queue)
{
	listen();
	int fd = attach();
	std::string text;
	for (int i = 0; text.size() < 4 * MIB; i++)
		text += std::to_string(i) + "\n";
	for (size_t at = 0; at < text.size(); at += 8192)
		write(text.substr(at, 8192));
	uint64_t dropped = kb_chardev_dropped(c);
	EXPECT_GT(dropped, MIB);
	std::string kept = read_n(fd, text.size() - dropped, [&] { kb_chardev_poll(c); });
	EXPECT_EQ(kept.size(), text.size() - dropped);
	EXPECT_TRUE(kept == text.substr(0, kept.size()));
	close(fd);
}

TEST_F(unix_socket, queue_without_client_drops_the_new)
{
	listen();
	write(std::string(MIB, 'a'));
	EXPECT_EQ(kb_chardev_dropped(c), 0u);
	write("bcd");
	EXPECT_EQ(kb_chardev_dropped(c), 3u);
	int fd = attach();
	EXPECT_TRUE(read_n(fd, MIB, [&] { kb_chardev_poll(c); }) == std::string(MIB, 'a'));
	close(fd);
}

TEST_F(unix_socket, file_is_removed_on_destroy_unless_replaced)
{
	listen();
	EXPECT_TRUE(exists());
	kb_chardev_destroy(c);
	c = nullptr;
	EXPECT_FALSE(exists());
	listen();
	unlink(path.c_str());
	std::ofstream(path) << "someone else's";
	kb_chardev_destroy(c);
	c = nullptr;
	EXPECT_EQ(contents(path), "someone else's");
}

TEST_F(unix_socket, stale_socket_is_replaced)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	sockaddr_un addr{};
	addr.sun_family = AF_UNIX;
	strcpy(addr.sun_path, path.c_str());
	ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr *>(&addr), sizeof(addr)), 0);
	close(fd);
	ASSERT_TRUE(exists());
	listen();
	fd = attach();
	EXPECT_GE(fd, 0);
	close(fd);
}

TEST_F(unix_socket, what_is_not_a_stale_socket_stays)
{
	std::ofstream(path) << "precious";
	kb_chardev *other = nullptr;
	EXPECT_EQ(create("unix:" + path, &other), -EEXIST);
	EXPECT_EQ(contents(path), "precious");
	unlink(path.c_str());
	ASSERT_EQ(symlink("/nonexistent", path.c_str()), 0);
	EXPECT_EQ(create("unix:" + path, &other), -EEXIST);
	unlink(path.c_str());

	listen();
	EXPECT_EQ(create("unix:" + path, &other), -EADDRINUSE);
	kb_chardev_poll(c);
	EXPECT_EQ(log.find("connected"), std::string::npos) << "the probe disturbed the listener";
	int fd = attach();
	EXPECT_GE(fd, 0);
	close(fd);
	EXPECT_EQ(other, nullptr);
}

TEST_F(unix_socket, bad_paths)
{
	kb_chardev *other = nullptr;
	EXPECT_EQ(create("unix:" + dir + "/none/s", &other), -ENOENT);
	EXPECT_EQ(create("unix:" + dir + "/" + std::string(200, 'x'), &other), -ENAMETOOLONG);
	EXPECT_EQ(other, nullptr);
}

TEST_F(unix_socket, a_client_may_leave_with_unread_output)
{
	listen();
	int fd = attach();
	write(std::string(4 * MIB, 'z'));
	close(fd); // ECONNRESET on our side
	fd = connect_to(path);
	kb_chardev_poll(c);
	EXPECT_EQ(read_n(fd, 1, [&] { kb_chardev_poll(c); }), "z");
	close(fd);
}

TEST_F(unix_socket, without_a_device_clients_come_and_go)
{
	listen();
	kb_chardev_on_input(c, nullptr, nullptr);
	for (int i = 0; i < 3; i++) {
		int fd = attach();
		send(fd, "unheard");
		write("out");
		EXPECT_EQ(read_n(fd, 3, [&] { kb_chardev_poll(c); }), "out");
		EXPECT_TRUE(quiet());
		close(fd);
		kb_chardev_poll(c);
	}
}

// stdio. The processes below report failures on stderr and by their exit code.

#define CHECK(x)                                                              \
	do {                                                                  \
		if (!(x)) {                                                   \
			dprintf(2, "%s:%d: %s\n", __FILE__, __LINE__, #x);   \
			_exit(99);                                            \
		}                                                             \
	} while (0)

kb_chardev *port; // reachable for the leak checker where a test leaves by exit()

void open_stdio(device *d)
{
	CHECK(kb_chardev_create(&port, "stdio", "COM1", nullptr, nullptr) == 0);
	kb_chardev_on_input(port, device::take, d);
}

int wait_for(pid_t pid)
{
	int status = -1;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

// Runs fn in a child with these as stdin and stdout.
pid_t spawn(int in, int out, const std::function<void()> &fn)
{
	pid_t pid = fork();
	if (pid == 0) {
		alarm(30);
		dup2(in, 0);
		dup2(out, 1);
		fn();
		_exit(0);
	}
	return pid;
}

TEST_F(chardev, stdio_pipes_pass_bytes_and_end)
{
	int in[2], out[2];
	ASSERT_EQ(pipe2(in, O_CLOEXEC), 0);
	ASSERT_EQ(pipe2(out, O_CLOEXEC), 0);
	pid_t pid = spawn(in[0], out[1], [&] {
		close(in[1]);
		device d;
		open_stdio(&d);
		kb_chardev *second;
		kvmbox_error e;
		CHECK(kb_chardev_create(&second, "stdio", "COM2", nullptr, &e) == -EBUSY);
		CHECK(!kb_chardev_poll(port)); // nothing there yet: does not block
		kb_chardev_write(port, "ready", 5);
		CHECK(until([&] { return kb_chardev_poll(port), d.got.size() == 6; }));
		CHECK(d.got == "a\x01xb\n\x03"); // no escapes without a terminal
		int fd;
		CHECK(until([&] { return kb_chardev_poll(port), kb_chardev_fds(port, &fd, 1) == 0; })); // EOF
		CHECK(!kb_chardev_poll(port));
		CHECK(!(fcntl(0, F_GETFL) & O_NONBLOCK) && !(fcntl(1, F_GETFL) & O_NONBLOCK));
		kb_chardev_write(port, d.got.data(), d.got.size());
		kb_chardev_destroy(port);
		CHECK(kb_chardev_create(&port, "stdio", "COM2", nullptr, &e) == 0); // free again
		kb_chardev_destroy(port);
	});
	close(in[0]);
	close(out[1]);
	EXPECT_EQ(read_n(out[0], 5), "ready");
	ASSERT_EQ(::write(in[1], "a\x01xb\n\x03", 6), 6);
	close(in[1]);
	EXPECT_EQ(read_n(out[0], 6), "a\x01xb\n\x03");
	EXPECT_EQ(wait_for(pid), 0);
	close(out[0]);
}

TEST_F(chardev, stdout_whose_reader_left_does_not_kill)
{
	int out[2];
	ASSERT_EQ(pipe2(out, O_CLOEXEC), 0);
	int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t pid = spawn(null, out[1], [&] {
		close(out[0]);
		close(out[1]);
		signal(SIGPIPE, SIG_DFL);
		CHECK(until([] {
			pollfd p{1, 0, 0};
			return ::poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
		}));
		device d;
		open_stdio(&d);
		kb_chardev_write(port, "abc", 3);
		kb_chardev_write(port, "de", 2);
		CHECK(kb_chardev_dropped(port) == 5);
		kb_chardev_poll(port);
		kb_chardev_destroy(port);
		sigset_t mask;
		pthread_sigmask(SIG_BLOCK, nullptr, &mask);
		CHECK(!sigismember(&mask, SIGPIPE));
	});
	close(out[0]);
	close(out[1]);
	close(null);
	EXPECT_EQ(wait_for(pid), 0);
}

TEST_F(chardev, closed_stdin_and_stdout_are_survived)
{
	int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t pid = spawn(null, null, [&] {
		close(0);
		close(1);
		device d;
		open_stdio(&d);
		kb_chardev_write(port, "abc", 3);
		CHECK(kb_chardev_dropped(port) == 3);
		kb_chardev_poll(port);
		int fd;
		CHECK(kb_chardev_fds(port, &fd, 1) == 0);
		kb_chardev_destroy(port);
	});
	close(null);
	EXPECT_EQ(wait_for(pid), 0);
}

bool same(const termios &a, const termios &b)
{
	return a.c_iflag == b.c_iflag && a.c_oflag == b.c_oflag && a.c_cflag == b.c_cflag && a.c_lflag == b.c_lflag &&
	       !memcmp(a.c_cc, b.c_cc, sizeof(a.c_cc));
}

/*
 * A shell (session leader) on a new terminal, a job in its own process group,
 * and the user's end of the line, all seen from the shell.
 */
struct shell {
	int master = -1, tty = -1;
	pid_t job = -1;
	termios before{};

	termios mode()
	{
		termios t{};
		CHECK(tcgetattr(tty, &t) == 0);
		return t;
	}
	bool raw()
	{
		return !(mode().c_lflag & (ICANON | ECHO | ISIG));
	}
	bool cooked() { return same(mode(), before); }
	void type(const std::string &s) { CHECK(::write(master, s.data(), s.size()) == static_cast<ssize_t>(s.size())); }
	std::string screen(size_t n) { return read_n(master, n); }
	void foreground(pid_t group)
	{
		signal(SIGTTOU, SIG_IGN);
		CHECK(tcsetpgrp(tty, group) == 0);
	}
	void run(bool fg, const std::function<void()> &fn)
	{
		int go[2];
		CHECK(pipe2(go, O_CLOEXEC) == 0);
		job = spawn(tty, tty, [&] {
			char b;
			close(master);
			setpgid(0, 0);
			CHECK(::read(go[0], &b, 1) == 1);
			fn();
		});
		setpgid(job, job);
		if (fg)
			foreground(job);
		CHECK(::write(go[1], "", 1) == 1);
		close(go[0]);
		close(go[1]);
	}
	int end() { return wait_for(job); }
};

// fn is the shell; true if it and its checks came through.
bool in_terminal(const std::function<void(shell &)> &fn)
{
	pid_t pid = fork();
	if (pid == 0) {
		alarm(30);
		const rlimit none{0, 0};
		setrlimit(RLIMIT_CORE, &none);
		setsid();
		shell s;
		s.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
		CHECK(s.master >= 0 && !grantpt(s.master) && !unlockpt(s.master));
		s.tty = open(ptsname(s.master), O_RDWR | O_CLOEXEC);
		CHECK(s.tty >= 0);
		CHECK(tcgetpgrp(s.tty) == getpid());
		s.before = s.mode();
		CHECK(s.before.c_lflag & ICANON);
		fn(s);
		_exit(0);
	}
	int status = wait_for(pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// A guest that never ends.
void serve(device *d)
{
	open_stdio(d);
	for (;;) {
		kb_chardev_poll(port);
		usleep(500);
	}
}

TEST_F(chardev, terminal_is_raw_while_in_use)
{
	EXPECT_TRUE(in_terminal([](shell &s) {
		s.run(true, [] {
			device d;
			open_stdio(&d);
			kb_chardev_write(port, "up", 2);
			CHECK(until([&] { return kb_chardev_poll(port), d.got.size() >= 4; }));
			CHECK(d.got == "\x03\x1a\r\x04"); // Ctrl-C and friends go to the guest
			kb_chardev_destroy(port);
		});
		CHECK(s.screen(2) == "up");
		CHECK(s.raw());
		CHECK(s.mode().c_oflag == s.before.c_oflag);
		s.type("\x03\x1a\r\x04");
		CHECK(s.end() == 0);
		CHECK(s.cooked());
	}));
}

TEST_F(chardev, escapes)
{
	EXPECT_TRUE(in_terminal([](shell &s) {
		s.run(true, [] {
			device d;
			int quits = 0;
			open_stdio(&d);
			kb_chardev_on_quit(port, [](void *o) { ++*static_cast<int *>(o); }, &quits);
			kb_chardev_write(port, "up", 2);
			CHECK(until([&] { return kb_chardev_poll(port), quits == 1; }));
			CHECK(until([&] { return kb_chardev_poll(port), d.got == "a\x01" "b\x01zc"; }));
			kb_chardev_write(port, "hung", 4);
			d.room = 0; // a guest that hangs: the escape works all the same
			CHECK(until([&] { return kb_chardev_poll(port), quits == 2; }));
			kb_chardev_destroy(port);
		});
		CHECK(s.screen(2) == "up");
		s.type("a\x01\x01" "b\x01");
		s.type("z\x01");
		usleep(2000);
		s.type("xc");
		CHECK(s.screen(4) == "hung");
		s.type("typed in vain for a long time\x01x");
		CHECK(s.end() == 0);
	}));
}

TEST_F(chardev, quit_may_destroy)
{
	EXPECT_TRUE(in_terminal([](shell &s) {
		s.run(true, [] {
			device d;
			open_stdio(&d);
			kb_chardev_on_quit(port, [](void *) {
				kb_chardev_destroy(port);
				port = nullptr;
			}, nullptr);
			kb_chardev_write(port, "up", 2);
			CHECK(until([&] { return kb_chardev_poll(port), !port; }));
		});
		CHECK(s.screen(2) == "up");
		s.type("\x01xabc");
		CHECK(s.end() == 0);
		CHECK(s.cooked());
	}));
}

TEST_F(chardev, terminal_is_restored_at_exit)
{
	EXPECT_TRUE(in_terminal([](shell &s) {
		s.run(true, [] {
			static device d;
			open_stdio(&d);
			kb_chardev_write(port, "up", 2);
			CHECK(until([&] { return kb_chardev_poll(port), d.got == "q"; }));
			exit(0);
		});
		CHECK(s.screen(2) == "up");
		CHECK(s.raw());
		s.type("q");
		CHECK(s.end() == 0);
		CHECK(s.cooked());
	}));
}

TEST_F(chardev, terminal_is_restored_by_fatal_signals)
{
	for (int sig : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGABRT}) {
		EXPECT_TRUE(in_terminal([sig](shell &s) {
			s.run(true, [sig] {
				device d;
				signal(sig, SIG_DFL);
				serve(&d);
			});
			CHECK(until([&] { return s.raw(); }));
			kill(s.job, sig);
			int status = s.end();
			CHECK(WIFSIGNALED(status) && WTERMSIG(status) == sig);
			CHECK(s.cooked());
		})) << sig;
	}
}

TEST_F(chardev, terminal_is_restored_by_a_crash)
{
	EXPECT_TRUE(in_terminal([](shell &s) {
		s.run(true, [] {
			device d;
			signal(SIGSEGV, SIG_DFL); // a sanitizer's handler is not what is tested
			open_stdio(&d);
			kb_chardev_write(port, "up", 2);
			CHECK(until([&] { return kb_chardev_poll(port), d.got == "q"; }));
			raise(SIGSEGV);
		});
		CHECK(s.screen(2) == "up");
		CHECK(s.raw());
		s.type("q");
		int status = s.end();
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
		CHECK(s.cooked());
	}));
}

volatile sig_atomic_t handled;

TEST_F(chardev, earlier_handlers_are_called_and_put_back)
{
	EXPECT_TRUE(in_terminal([](shell &s) {
		s.run(true, [] {
			device d;
			struct sigaction sa{}, now{};
			sa.sa_handler = [](int sig) { handled = sig; };
			sigaction(SIGTERM, &sa, nullptr);
			signal(SIGHUP, SIG_IGN);
			open_stdio(&d);
			kb_chardev_write(port, "up", 2);
			CHECK(until([] { return handled == SIGTERM; }));
			kb_chardev_write(port, "on", 2); // goes on, raw
			CHECK(until([&] { return kb_chardev_poll(port), d.got == "q"; }));
			kb_chardev_destroy(port);
			sigaction(SIGTERM, nullptr, &now);
			CHECK(now.sa_handler == sa.sa_handler);
			sigaction(SIGHUP, nullptr, &now);
			CHECK(now.sa_handler == SIG_IGN);
			sigaction(SIGINT, nullptr, &now);
			CHECK(now.sa_handler == SIG_DFL);
		});
		CHECK(s.screen(2) == "up");
		kill(s.job, SIGHUP); // was ignored: stays ignored
		kill(s.job, SIGTERM);
		CHECK(s.screen(2) == "on");
		CHECK(s.raw());
		s.type("q");
		CHECK(s.end() == 0);
		CHECK(s.cooked());
	}));
}

struct sigaction ours;

// Someone who hooks in after us and calls on: destroy must not break the chain, nor create make a ring of it.
TEST_F(chardev, handlers_on_top_of_ours_keep_working)
{
	EXPECT_TRUE(in_terminal([](shell &s) {
		s.run(true, [] {
			device d;
			struct sigaction sa{};
			open_stdio(&d);
			sa.sa_flags = SA_SIGINFO;
			sa.sa_sigaction = [](int sig, siginfo_t *info, void *ctx) {
				handled = sig;
				ours.sa_sigaction(sig, info, ctx);
			};
			sigaction(SIGTERM, &sa, &ours);
			kb_chardev_destroy(port);
			open_stdio(&d);
			kb_chardev_write(port, "up", 2);
			CHECK(until([&] { return kb_chardev_poll(port), d.got == "q"; }));
			raise(SIGTERM);
		});
		CHECK(s.screen(2) == "up");
		CHECK(s.raw());
		s.type("q");
		int status = s.end();
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
		CHECK(s.cooked());
	}));
}

TEST_F(chardev, stop_and_continue)
{
	EXPECT_TRUE(in_terminal([](shell &s) {
		s.run(true, [] {
			device d;
			serve(&d);
		});
		CHECK(until([&] { return s.raw(); }));
		for (int i = 0; i < 2; i++) {
			int status;
			kill(s.job, SIGTSTP);
			CHECK(waitpid(s.job, &status, WUNTRACED) == s.job);
			CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTSTP);
			CHECK(s.cooked());
			s.foreground(getpid());
			s.foreground(s.job); // fg
			kill(s.job, SIGCONT);
			CHECK(until([&] { return s.raw(); }));
		}
		kill(s.job, SIGTERM);
		CHECK(WIFSIGNALED(s.end()));
		CHECK(s.cooked());
	}));
}

TEST_F(chardev, a_background_job_leaves_the_terminal_alone)
{
	EXPECT_TRUE(in_terminal([](shell &s) {
		s.run(false, [] {
			device d;
			open_stdio(&d);
			kb_chardev_write(port, "up", 2);
			for (;;) {
				int fd;
				bool background = tcgetpgrp(0) != getpgrp();
				kb_chardev_poll(port);
				if (background && kb_chardev_fds(port, &fd, 1) != 0 && tcgetpgrp(0) != getpgrp())
					_exit(98); // would spin on what is typed to the shell
				if (d.got == "yes")
					break;
				usleep(500);
			}
			kb_chardev_destroy(port);
		});
		CHECK(s.screen(2) == "up");
		CHECK(s.cooked());
		s.type("no\n");
		usleep(20000);
		CHECK(s.cooked());
		int status;
		CHECK(waitpid(s.job, &status, WUNTRACED | WNOHANG) == 0); // neither stopped nor gone
		char line[8];
		CHECK(::read(s.tty, line, sizeof(line)) == 3); // the shell gets its input
		s.foreground(s.job);
		kill(s.job, SIGCONT);
		CHECK(until([&] { return s.raw(); }));
		s.type("yes");
		CHECK(s.end() == 0);
		CHECK(s.cooked());
	}));
}

TEST_F(chardev, a_forked_child_does_not_touch_the_terminal)
{
	EXPECT_TRUE(in_terminal([](shell &s) {
		s.run(true, [] {
			static device d;
			open_stdio(&d);
			pid_t pid = fork();
			if (pid == 0)
				raise(SIGTERM);
			CHECK(WIFSIGNALED(wait_for(pid)));
			kb_chardev_write(port, "up", 2);
			CHECK(until([&] { return kb_chardev_poll(port), d.got == "q"; }));
			kb_chardev_destroy(port);
		});
		CHECK(s.screen(2) == "up");
		CHECK(s.raw());
		s.type("q");
		CHECK(s.end() == 0);
		CHECK(s.cooked());
	}));
}

TEST_F(chardev, a_terminal_that_hangs_up_ends_input)
{
	EXPECT_TRUE(in_terminal([](shell &s) {
		s.run(true, [] {
			device d;
			int fd;
			signal(SIGHUP, SIG_IGN);
			open_stdio(&d);
			kb_chardev_write(port, "up", 2);
			CHECK(kb_chardev_fds(port, &fd, 1) == 1);
			CHECK(until([&] { return kb_chardev_poll(port), kb_chardev_fds(port, &fd, 1) == 0; }));
			kb_chardev_write(port, "x", 1);
			CHECK(kb_chardev_dropped(port) == 1);
			kb_chardev_destroy(port);
		});
		CHECK(s.screen(2) == "up");
		signal(SIGHUP, SIG_IGN);
		close(s.master);
		CHECK(s.end() == 0);
	}));
}

} // namespace
