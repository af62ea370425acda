// kvmbox/net.h: flow to and from the card, hubs, captures, sockets, tap interfaces.
#include <config.h>

#include <arpa/inet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/unit/net_fixture.h"

namespace {

class net : public net_test {};

TEST_F(net, bad_specs_are_refused_by_name)
{
	refuse("", -EINVAL, "use user, tap:IFNAME");
	refuse("tap", -EINVAL, "use user, tap:IFNAME");
	refuse("tap:", -EINVAL, "use user, tap:IFNAME");
	refuse("null:x", -EINVAL, "use user, tap:IFNAME");
	refuse("nullx", -EINVAL, "use user, tap:IFNAME");
	refuse("bridge:br0", -EINVAL, "disk0: no network back end \"bridge:br0\"");
	refuse("null,foo=1", -EINVAL, "\"foo=1\"");
	refuse("null,mac", -EINVAL, "\"mac\"");
	for (std::string mac : { "", "52:54:00:12:34", "52:54:00:12:34:5", "52:54:00:12:34:5g", "52-54-00-12-34-56",
				 "52:54:00:12:34:567", "5254:00:12:34:56:", ":::::::::::::::::" })
		refuse("null,mac=" + mac, -EINVAL, "no MAC address");
	refuse("null,mac=53:54:00:12:34:56", -EINVAL, "group");
	refuse("null,mac=52:54:00:12:34:56,mac=52:54:00:12:34:57", -EINVAL, "given twice");
	kvmbox_net *n;
	EXPECT_EQ(kvmbox_net_open(&n, nullptr, nullptr, nullptr), -EINVAL);
	kvmbox_net_close(nullptr);
}

TEST_F(net, the_cards_address)
{
	uint8_t mac[6];
	card a, b;
	open(&a, "null");
	EXPECT_FALSE(kvmbox_net_mac(a.n, mac));
	EXPECT_EQ(memcmp(mac, "\x52\x54\0\x12\x34\x56", 6), 0);
	open(&b, "null,mac=02:aB:cd:EF:00:ff");
	EXPECT_TRUE(kvmbox_net_mac(b.n, mac));
	EXPECT_EQ(memcmp(mac, "\x02\xab\xcd\xef\0\xff", 6), 0);
}

TEST_F(net, null_takes_frames_of_proper_length)
{
	card a;
	open(&a, "null");
	EXPECT_TRUE(kvmbox_net_link(a.n));
	EXPECT_TRUE(a.send(frame(1)));
	EXPECT_TRUE(a.send(std::string(14, 'x')));
	EXPECT_TRUE(a.send(std::string(KVMBOX_NET_FRAME_MAX, 'x')));
	EXPECT_FALSE(a.send(std::string(13, 'x')));
	EXPECT_FALSE(a.send(""));
	EXPECT_FALSE(a.send(std::string(KVMBOX_NET_FRAME_MAX + 1, 'x')));
	EXPECT_FALSE(a.poll());
	EXPECT_FALSE(a.readable());
	EXPECT_EQ(kvmbox_net_deadline(a.n), UINT64_MAX);
	EXPECT_EQ(a.counts().sent, 3u);
	EXPECT_EQ(a.counts().send_dropped, 3u);
}

// Hubs, and what they show of the flow

TEST_F(net, a_hub_wires_those_of_one_name)
{
	card a, b, c, other;
	open(&a, "hub:lan");
	open(&other, "hub:wan");
	EXPECT_FALSE(kvmbox_net_link(a.n));
	EXPECT_FALSE(a.send(frame(0))) << "nobody there";
	open(&b, "hub:lan");
	EXPECT_TRUE(kvmbox_net_link(a.n));
	EXPECT_TRUE(kvmbox_net_link(b.n));
	EXPECT_TRUE(a.readable()) << "the link's change";
	EXPECT_TRUE(a.poll());
	EXPECT_EQ(a.link_changes, 1);
	EXPECT_FALSE(a.readable());
	EXPECT_FALSE(b.poll()) << "it has come up with its link";
	open(&c, "hub:lan");
	EXPECT_TRUE(a.send(frame(1)));
	EXPECT_TRUE(b.send(frame(2)));
	for (card *p : { &a, &b, &c, &other })
		p->poll();
	EXPECT_EQ(a.got, std::vector<std::string>{ frame(2) });
	EXPECT_EQ(b.got, std::vector<std::string>{ frame(1) });
	EXPECT_EQ(c.got, (std::vector<std::string>{ frame(1), frame(2) }));
	EXPECT_TRUE(other.got.empty());
	kvmbox_net_close(b.n);
	kvmbox_net_close(c.n);
	b.n = c.n = nullptr;
	EXPECT_FALSE(kvmbox_net_link(a.n));
	EXPECT_TRUE(a.readable());
	EXPECT_TRUE(a.poll());
	EXPECT_EQ(a.link_changes, 2);
}

TEST_F(net, a_card_without_room_gets_the_same_frame_again)
{
	card a, b;
	open(&a, "hub:lan");
	open(&b, "hub:lan");
	b.room = 1;
	for (size_t i = 0; i < 3; i++)
		EXPECT_TRUE(a.send(frame(i)));
	EXPECT_TRUE(b.readable());
	EXPECT_TRUE(b.poll());
	EXPECT_EQ(b.got.size(), 1u);
	EXPECT_FALSE(b.readable()) << "a box must not spin on what the card does not take";
	EXPECT_FALSE(b.poll());
	EXPECT_FALSE(kvmbox_net_offer(b.n));
	b.room = 2;
	EXPECT_TRUE(kvmbox_net_offer(b.n));
	EXPECT_EQ(b.got, (std::vector<std::string>{ frame(0), frame(1), frame(2) }));
	EXPECT_EQ(b.counts().received, 3u);
	EXPECT_FALSE(b.readable());
}

TEST_F(net, nobody_attached_leaves_frames_where_they_are)
{
	card a, b;
	open(&a, "hub:lan");
	open(&b, "hub:lan");
	kvmbox_net_attach(b.n, nullptr);
	EXPECT_TRUE(a.send(frame(1)));
	EXPECT_FALSE(b.poll());
	EXPECT_FALSE(b.readable());
	b.attach();
	EXPECT_TRUE(b.readable());
	EXPECT_TRUE(b.poll());
	EXPECT_EQ(b.got, std::vector<std::string>{ frame(1) });
}

TEST_F(net, a_flood_is_bounded_in_memory_and_in_time)
{
	card a, b;
	open(&a, "hub:lan");
	open(&b, "hub:lan");
	const size_t sent = 100000;
	for (size_t i = 0; i < sent; i++)
		a.send(frame(i));
	const uint64_t dropped = b.counts().receive_dropped, kept = sent - dropped;
	EXPECT_LE(kept, (1u << 20) / 64);
	EXPECT_GT(kept, (1u << 20) / 64 - 2);
	EXPECT_TRUE(b.poll());
	EXPECT_LE(b.got.size(), 64u) << "one poll does not take it all";
	EXPECT_TRUE(b.readable());
	while (b.poll())
		;
	ASSERT_EQ(b.got.size(), kept);
	for (size_t i = 0; i < kept; i++)
		ASSERT_EQ(b.got[i], frame(i));
}

TEST_F(net, callbacks_may_send_poll_and_close)
{
	card a, b;
	open(&a, "hub:lan");
	open(&b, "hub:lan");
	b.then = [&] {
		EXPECT_FALSE(b.poll());
		EXPECT_FALSE(kvmbox_net_offer(b.n));
		EXPECT_TRUE(b.send("echo of " + b.got.back()));
	};
	EXPECT_TRUE(a.send(frame(1)));
	EXPECT_TRUE(b.poll());
	EXPECT_TRUE(a.has(1));
	EXPECT_EQ(a.got[0], "echo of " + frame(1));
	b.then = [&] { kvmbox_net_close(b.n); };
	a.send(frame(2));
	a.send(frame(3));
	EXPECT_TRUE(b.poll());
	b.n = nullptr;
	EXPECT_EQ(b.got.size(), 2u) << "nothing after close";
	EXPECT_TRUE(a.poll());
	EXPECT_FALSE(kvmbox_net_link(a.n));
}

// Captures

#ifdef HAVE_LIBPCAP
TEST_F(net, captures_carry_simulated_time)
{
	card a, b;
	const std::string path = dir + "/x,y.pcap";
	open(&a, "hub:lan");
	open(&b, "hub:lan,pcap=" + dir + "/x,,y.pcap");
	now_ps = 5000000000123456; // 5000 s and 123.456 ns
	EXPECT_TRUE(b.send(frame(1)));
	EXPECT_TRUE(a.send(frame(2, 1514)));
	now_ps += 1000000000;
	b.room = 0;
	b.poll();
	EXPECT_FALSE(b.send(std::string(3, 'x'))) << "no frame, not recorded";
	now_ps += 1000000000;
	b.room = 9;
	EXPECT_TRUE(kvmbox_net_offer(b.n));
	const std::string f = contents(path); // there before the end
	auto u32 = [&](size_t at) {
		uint32_t v = 0;
		if (f.size() >= at + 4)
			memcpy(&v, &f[at], 4);
		return v;
	};
	ASSERT_EQ(f.size(), 24u + 16 + 60 + 16 + 1514);
	EXPECT_EQ(u32(0), 0xa1b23c4du) << "nanoseconds";
	EXPECT_EQ(u32(20), 1u) << "Ethernet";
	EXPECT_EQ(u32(24), 5000u);
	EXPECT_EQ(u32(28), 123u);
	EXPECT_EQ(u32(32), 60u);
	EXPECT_EQ(u32(36), 60u);
	EXPECT_EQ(f.substr(40, 60), frame(1));
	EXPECT_EQ(u32(100), 5000u);
	EXPECT_EQ(u32(104), 2000123u) << "when the card has taken it";
	EXPECT_EQ(u32(108), 1514u);
	EXPECT_EQ(f.substr(116), frame(2, 1514));
}

TEST_F(net, captures_that_cannot_be_written)
{
	refuse("null,pcap=" + dir + "/none/x", -ENOENT, "for the capture");
	refuse("null,pcap=/dev/full", -EIO, "/dev/full");
	refuse("hub:lan,pcap=" + dir, -EISDIR, "for the capture");
	card a;
	ASSERT_EQ(mkfifo((dir + "/fifo").c_str(), 0600), 0);
	int reader = ::open((dir + "/fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	open(&a, "null,pcap=" + dir + "/fifo");
	auto old = signal(SIGPIPE, SIG_IGN);
	::close(reader);
	EXPECT_TRUE(a.send(frame(1))) << "the network goes on";
	signal(SIGPIPE, old);
	EXPECT_TRUE(said("the capture ends here")) << log;
	EXPECT_TRUE(a.send(frame(2)));
}
#else
TEST_F(net, captures_are_named_as_left_out)
{
	refuse("null,pcap=" + dir + "/x", -ENOTSUP, "built without libpcap");
}
#endif

// Stream sockets

class net_unix : public net_test {
protected:
	std::string path() const { return dir + "/s"; }
	int raw = -1;

	void TearDown() override
	{
		if (raw >= 0)
			::close(raw);
		net_test::TearDown();
	}
	// The peer as bytes.
	void dial()
	{
		sockaddr_un a{};
		a.sun_family = AF_UNIX;
		strcpy(a.sun_path, path().c_str());
		raw = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		ASSERT_EQ(connect(raw, reinterpret_cast<sockaddr *>(&a), sizeof(a)), 0);
	}
	static std::string wire(const std::string &frame, uint32_t length)
	{
		length = htonl(length);
		return std::string(reinterpret_cast<char *>(&length), 4) + frame;
	}
	static std::string wire(const std::string &frame) { return wire(frame, static_cast<uint32_t>(frame.size())); }
	void put_raw(const std::string &s) { ASSERT_EQ(::send(raw, s.data(), s.size(), MSG_NOSIGNAL), static_cast<ssize_t>(s.size())); }
	std::string get_raw()
	{
		std::string s;
		char buf[65536];
		ssize_t n;
		while ((n = recv(raw, buf, sizeof(buf), 0)) > 0)
			s.append(buf, static_cast<size_t>(n));
		return s;
	}
	bool hung_up()
	{
		char c;
		return recv(raw, &c, 1, MSG_PEEK) == 0;
	}
};

TEST_F(net_unix, two_boxes)
{
	card a, b;
	refuse("unix:" + path(), -ENOENT, "has to listen there first");
	refuse("unix:" + std::string(200, 'p') + ",listen", -ENAMETOOLONG, "longer than");
	refuse("unix:" + std::string(200, 'p'), -ENAMETOOLONG, "longer than");
	refuse("unix:" + path() + ",server", -EINVAL, "\"server\"");
	open(&a, "unix:" + path() + ",listen");
	refuse("unix:" + path() + ",listen", -EADDRINUSE, "another process listens");
	EXPECT_FALSE(kvmbox_net_link(a.n));
	EXPECT_FALSE(a.send(frame(0)));
	open(&b, "unix:" + path());
	EXPECT_TRUE(kvmbox_net_link(b.n));
	EXPECT_TRUE(a.readable(1000)) << "somebody calls";
	EXPECT_TRUE(a.poll());
	EXPECT_EQ(a.link_changes, 1);
	for (size_t size : { size_t(14), size_t(60), size_t(1514), size_t(KVMBOX_NET_FRAME_MAX) }) {
		EXPECT_TRUE(a.send(frame(size, size).substr(0, size)));
		EXPECT_TRUE(b.readable(1000));
		EXPECT_TRUE(b.has(b.got.size() + 1));
		EXPECT_EQ(b.got.back(), frame(size, size).substr(0, size));
		EXPECT_TRUE(b.send(frame(7)));
		EXPECT_TRUE(a.has(a.got.size() + 1));
	}
	kvmbox_net_close(b.n);
	b.n = nullptr;
	EXPECT_TRUE(a.readable(1000));
	EXPECT_TRUE(until([&] { return a.poll() && !kvmbox_net_link(a.n); }));
	EXPECT_FALSE(a.readable());
	open(&b, "unix:" + path());
	EXPECT_TRUE(a.poll());
	EXPECT_TRUE(kvmbox_net_link(a.n)) << "the next one";
	kvmbox_net_close(a.n);
	a.n = nullptr;
	EXPECT_TRUE(until([&] { return b.poll() && !kvmbox_net_link(b.n); }));
	EXPECT_FALSE(b.readable());
	EXPECT_NE(access(path().c_str(), F_OK), 0) << "the socket's file is gone";
}

TEST_F(net_unix, frames_follow_their_length_in_network_order)
{
	card a;
	open(&a, "unix:" + path() + ",listen");
	dial();
	a.poll();
	EXPECT_TRUE(a.send(frame(1, 300)));
	EXPECT_EQ(get_raw(), std::string("\0\0\x01\x2c", 4) + frame(1, 300));
	const std::string two = wire(frame(2)) + wire(frame(3, 1514));
	for (char c : two) { // byte by byte
		put_raw(std::string(1, c));
		a.poll();
	}
	EXPECT_EQ(a.got, (std::vector<std::string>{ frame(2), frame(3, 1514) }));
}

TEST_F(net_unix, bad_lengths)
{
	card a;
	open(&a, "unix:" + path() + ",listen");
	dial();
	put_raw(wire("") + wire("thirteen byte") + wire(std::string(KVMBOX_NET_FRAME_MAX + 1, 'l')) +
		wire(std::string(70000, 'l')) + wire(frame(1)));
	EXPECT_TRUE(a.has(1)) << "passes over them";
	EXPECT_EQ(a.got[0], frame(1));
	EXPECT_EQ(a.counts().receive_dropped, 4u);
	for (uint32_t length : { 0xffffffffu, 0x80000000u, 0x20001u, 0x47455420u }) {
		put_raw(wire(frame(2), length));
		EXPECT_TRUE(until([&] { return a.poll(), hung_up(); })) << "no more with this one";
		EXPECT_FALSE(kvmbox_net_link(a.n));
		EXPECT_EQ(a.got.size(), 1u);
		::close(raw);
		dial();
		a.poll();
	}
	EXPECT_TRUE(said("not frames after their length")) << log;
	put_raw(wire(frame(3)).substr(0, 20)); // hangs up within a frame
	a.poll();
	::close(raw);
	EXPECT_TRUE(until([&] { return a.poll(), !kvmbox_net_link(a.n); }));
	dial();
	put_raw(wire(frame(4)));
	EXPECT_TRUE(a.has(2));
	EXPECT_EQ(a.got[1], frame(4)) << "the half frame does not count for the next peer";
}

TEST_F(net_unix, what_was_sent_before_hanging_up_arrives)
{
	card a;
	open(&a, "unix:" + path() + ",listen");
	dial();
	a.room = 0;
	a.poll();
	put_raw(wire(frame(1)) + wire(frame(2)));
	a.poll();
	::close(raw);
	raw = -1;
	a.poll();
	EXPECT_FALSE(a.readable()) << "nothing to do before there is room";
	a.room = 9;
	EXPECT_TRUE(kvmbox_net_offer(a.n));
	EXPECT_TRUE(a.has(2));
	EXPECT_TRUE(until([&] { return a.poll(), !kvmbox_net_link(a.n); }));
}

TEST_F(net_unix, a_slow_peer_loses_frames_never_parts_of_them)
{
	card a;
	open(&a, "unix:" + path() + ",listen");
	dial();
	a.poll();
	size_t sent = 0;
	for (size_t i = 0; i < 20000; i++)
		sent += a.send(frame(i, 1514));
	EXPECT_LT(sent, 20000u);
	EXPECT_EQ(a.counts().send_dropped, 20000 - sent);
	EXPECT_FALSE(a.readable()) << "the peer has to read first";
	std::string all;
	EXPECT_TRUE(until([&] {
		all += get_raw();
		a.poll();
		return all.size() >= sent * 1518;
	}));
	ASSERT_EQ(all.size(), sent * 1518);
	for (size_t i = 0; i < sent; i++)
		ASSERT_EQ(all.substr(i * 1518, 1518), wire(frame(i, 1514))) << "the first ones, whole, in order";
	EXPECT_TRUE(a.send(frame(9)));
	EXPECT_EQ(get_raw(), wire(frame(9)));
}

TEST_F(net_unix, a_card_without_room_stops_the_peer)
{
	card a;
	open(&a, "unix:" + path() + ",listen");
	dial();
	a.room = 0;
	const std::string w = wire(frame(1, 1514));
	size_t sent = 0;
	EXPECT_TRUE(until([&] {
		ssize_t n = ::send(raw, w.data(), w.size(), MSG_NOSIGNAL);
		sent += n > 0 ? static_cast<size_t>(n) : 0;
		a.poll();
		return n < 0 && errno == EAGAIN;
	}));
	EXPECT_LT(sent, 4u << 20);
	EXPECT_FALSE(a.readable());
	a.room = SIZE_MAX;
	kvmbox_net_offer(a.n);
	EXPECT_TRUE(a.has(sent / w.size()));
	EXPECT_LE(a.counts().receive_dropped, 0u);
}

TEST_F(net_unix, a_second_peer_is_turned_away)
{
	card a;
	open(&a, "unix:" + path() + ",listen");
	dial();
	a.poll();
	int first = raw;
	dial();
	a.poll();
	EXPECT_TRUE(hung_up());
	std::swap(first, raw);
	::close(first);
	EXPECT_TRUE(a.send(frame(1)));
	EXPECT_EQ(get_raw(), wire(frame(1)));
}

// Datagrams

class net_udp : public net_test {
protected:
	// A port nobody uses now.
	static uint16_t free_port(int *fd, int family = AF_INET)
	{
		sockaddr_in6 a{};
		socklen_t len = family == AF_INET ? sizeof(sockaddr_in) : sizeof(a);
		a.sin6_family = static_cast<sa_family_t>(family);
		if (family == AF_INET)
			reinterpret_cast<sockaddr_in *>(&a)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		else
			a.sin6_addr = in6addr_loopback;
		*fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (bind(*fd, reinterpret_cast<sockaddr *>(&a), len) || getsockname(*fd, reinterpret_cast<sockaddr *>(&a), &len))
			return 0;
		return ntohs(a.sin6_port);
	}
};

TEST_F(net_udp, bad_addresses)
{
	for (std::string place : { "1.2.3.4:5", "1.2.3.4:5-", "-1.2.3.4:5", "127.0.0.1:0-127.0.0.1:5", "127.0.0.1:5-127.0.0.1:65536",
				   "localhost:5-localhost:6", "127.0.0.1-127.0.0.1", ":5-:6", "[::1]:5-::", "[]:5-[]:6",
				   "1.2.3.4.5:6-1.2.3.4:5", "127.0.0.1:5x-127.0.0.1:6" })
		refuse("udp:" + place, -EINVAL, place.find('-') == std::string::npos ? "one end only" : "is not ADDR:PORT");
	refuse("udp:127.0.0.1:5-[::1]:5", -EINVAL, "one IPv4 and one IPv6");
	refuse("udp:203.0.113.1:5555-127.0.0.1:5", -EADDRNOTAVAIL, "cannot receive at");
}

TEST_F(net_udp, two_boxes_and_no_strangers)
{
	int f1, f2, stranger;
	uint16_t p1 = free_port(&f1), p2 = free_port(&f2), p3 = free_port(&stranger);
	ASSERT_TRUE(p1 && p2 && p3);
	::close(f1), ::close(f2);
	auto at = [](uint16_t p) { return "127.0.0.1:" + std::to_string(p); };
	card a, b;
	open(&a, "udp:" + at(p1) + "-" + at(p2));
	EXPECT_TRUE(a.send(frame(0))) << "to nobody";
	EXPECT_TRUE(a.send(frame(0)));
	EXPECT_FALSE(a.poll());
	EXPECT_FALSE(a.readable()) << "the refusal has been seen";
	open(&b, "udp:" + at(p2) + "-" + at(p1));
	EXPECT_TRUE(a.send(frame(1)));
	EXPECT_TRUE(b.readable(1000));
	EXPECT_TRUE(b.has(1));
	EXPECT_EQ(b.got[0], frame(1));
	EXPECT_TRUE(b.send(frame(2, KVMBOX_NET_FRAME_MAX)));
	EXPECT_TRUE(a.has(1));
	EXPECT_EQ(a.got[0], frame(2, KVMBOX_NET_FRAME_MAX));
	sockaddr_in to{};
	to.sin_family = AF_INET, to.sin_port = htons(p1), to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sendto(stranger, frame(3).data(), 60, 0, reinterpret_cast<sockaddr *>(&to), sizeof(to));
	EXPECT_TRUE(b.send(frame(4)));
	EXPECT_TRUE(a.has(2));
	EXPECT_EQ(a.got[1], frame(4)) << "the stranger's is not taken";
	::close(stranger);
}

TEST_F(net_udp, datagrams_that_are_no_frames)
{
	int f1, peer;
	uint16_t p1 = free_port(&f1), p2 = free_port(&peer);
	ASSERT_TRUE(p1 && p2);
	::close(f1);
	card a;
	open(&a, "udp:127.0.0.1:" + std::to_string(p1) + "-127.0.0.1:" + std::to_string(p2));
	sockaddr_in to{};
	to.sin_family = AF_INET, to.sin_port = htons(p1), to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (size_t size : { size_t(0), size_t(13), size_t(KVMBOX_NET_FRAME_MAX + 1), size_t(60000), size_t(14) }) {
		std::string s(size, 'd');
		ASSERT_EQ(sendto(peer, s.data(), size, 0, reinterpret_cast<sockaddr *>(&to), sizeof(to)), static_cast<ssize_t>(size));
	}
	EXPECT_TRUE(a.has(1));
	EXPECT_EQ(a.got[0].size(), 14u);
	EXPECT_EQ(a.counts().receive_dropped, 4u);
	::close(peer);
}

TEST_F(net_udp, ipv6)
{
	int f1, f2;
	uint16_t p1 = free_port(&f1, AF_INET6), p2 = free_port(&f2, AF_INET6);
	::close(f1), ::close(f2);
	if (!p1 || !p2)
		GTEST_SKIP() << "no IPv6 on this host";
	auto at = [](uint16_t p) { return "[::1]:" + std::to_string(p); };
	card a, b;
	open(&a, "udp:" + at(p1) + "-" + at(p2));
	open(&b, "udp:" + at(p2) + "-" + at(p1));
	EXPECT_TRUE(a.send(frame(1)));
	EXPECT_TRUE(b.has(1));
}

// Tap interfaces

class net_tap : public net_test {
protected:
	// Runs in a network of its own, where there is one, so that the host's stays as it is.
	void in_own_network(const std::function<void()> &what)
	{
		fflush(nullptr);
		pid_t pid = fork();
		if (!pid) {
			alarm(60);
			if (unshare(CLONE_NEWNET))
				_exit(77);
			what();
			_exit(testing::Test::HasFailure());
		}
		int status;
		waitpid(pid, &status, 0);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
			GTEST_SKIP() << "tap interfaces take root (a network namespace), and /dev/net/tun";
		EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	static void configure(const char *name, const char *address)
	{
		ifreq ifr{};
		auto *in = reinterpret_cast<sockaddr_in *>(&ifr.ifr_addr);
		int s = socket(AF_INET, SOCK_DGRAM, 0);
		strcpy(ifr.ifr_name, name);
		in->sin_family = AF_INET;
		inet_pton(AF_INET, address, &in->sin_addr);
		EXPECT_EQ(ioctl(s, SIOCSIFADDR, &ifr), 0);
		inet_pton(AF_INET, "255.255.255.0", &in->sin_addr);
		EXPECT_EQ(ioctl(s, SIOCSIFNETMASK, &ifr), 0);
		memset(&ifr.ifr_addr, 0, sizeof(ifr.ifr_addr));
		ifr.ifr_flags = IFF_UP | IFF_RUNNING;
		EXPECT_EQ(ioctl(s, SIOCSIFFLAGS, &ifr), 0);
		::close(s);
	}
	void open_or_leave(card *c, const std::string &spec)
	{
		if (access("/dev/net/tun", F_OK))
			_exit(77);
		int rc = kvmbox_net_open(&c->n, spec.c_str(), &user, &err);
		if (rc == -ENODEV || rc == -ENOENT || rc == -EPERM)
			_exit(77);
		ASSERT_EQ(rc, 0) << err.msg;
		c->attach();
	}
};

TEST_F(net_tap, talks_to_the_hosts_network)
{
	in_own_network([&] {
		card a;
		open_or_leave(&a, "tap:kbtest0");
		EXPECT_TRUE(said("tap interface kbtest0")) << log;
		EXPECT_FALSE(a.send(frame(1))) << "the interface is down";
		configure("kbtest0", "10.9.8.1");
		sockaddr_in to{};
		to.sin_family = AF_INET, to.sin_port = htons(7777);
		inet_pton(AF_INET, "10.9.8.2", &to.sin_addr);
		int s = socket(AF_INET, SOCK_DGRAM, 0);
		EXPECT_EQ(sendto(s, "hello", 5, 0, reinterpret_cast<sockaddr *>(&to), sizeof(to)), 5);
		std::string arp;
		EXPECT_TRUE(a.readable(5000));
		EXPECT_TRUE(until([&] {
			a.poll();
			for (auto &f : a.got)
				if (f.size() >= 42 && f.substr(12, 2) == "\x08\x06")
					arp = f;
			return !arp.empty();
		}));
		ASSERT_GE(arp.size(), 42u);
		EXPECT_EQ(arp.substr(38, 4), "\x0a\x09\x08\x02") << "who has 10.9.8.2";
		const std::string mac("\x52\x54\0\x12\x34\x56", 6), host = arp.substr(6, 6);
		EXPECT_TRUE(a.send(host + mac + std::string("\x08\x06\0\1\x08\0\6\4\0\2", 10) + mac + arp.substr(38, 4) + host +
				   arp.substr(28, 4)));
		EXPECT_TRUE(until([&] {
			a.poll();
			return std::any_of(a.got.begin(), a.got.end(), [&](const std::string &f) {
				return f.substr(0, 6) == mac && f.find("hello") == 42;
			});
		})) << "the datagram follows the answer";
		::close(s);
	});
}

TEST_F(net_tap, errors_say_what_to_do)
{
	refuse("tap:an_interface_name_too_long", -EINVAL, "at most 15 characters");
	in_own_network([&] {
		card a, b;
		open_or_leave(&a, "tap:kbtest0");
		refuse("tap:kbtest0", -EBUSY, "has another user");
		refuse("tap:lo", -EINVAL, "not a tap interface");
		if (setresuid(65534, 65534, 65534))
			_exit(77);
		kvmbox_net *n;
		int rc = kvmbox_net_open(&n, "tap:kbtest1", &user, &err);
		EXPECT_TRUE(rc == -EPERM || rc == -EACCES) << rc;
		EXPECT_TRUE(message("sudo ip tuntap add dev kbtest1 mode tap user $USER")) << err.msg;
	});
}

TEST_F(net_tap, a_deleted_interface_takes_the_link_down)
{
	if (!have_program("ip"))
		GTEST_SKIP() << "no ip (Debian: iproute2)";
	in_own_network([&] {
		card a;
		open_or_leave(&a, "tap:kbtest0");
		configure("kbtest0", "10.9.8.1");
		EXPECT_EQ(system("ip link delete kbtest0"), 0);
		EXPECT_TRUE(until([&] { return a.poll(), !kvmbox_net_link(a.n); }));
		EXPECT_TRUE(said("was deleted")) << log;
		a.poll();
		EXPECT_EQ(a.link_changes, 1);
		EXPECT_FALSE(a.readable());
		EXPECT_FALSE(a.send(frame(1)));
	});
}

} // namespace
