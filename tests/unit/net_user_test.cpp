// "user" of kvmbox/net.h: frames made by hand against libslirp. RFC 826, 791, 768, 793, 2131.
#include <config.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <random>
#include <sys/socket.h>

#include "tests/unit/net_fixture.h"

namespace {

#ifndef HAVE_SLIRP

class net_user : public net_test {};

TEST_F(net_user, is_named_as_left_out)
{
	refuse("user", -ENOTSUP, "built without slirp");
}

#else

const std::string everybody(6, '\xff'), guest_mac("\x52\x54\0\x12\x34\x56", 6);
const std::string guest_ip("\x0a\0\2\x0f", 4), router_ip("\x0a\0\2\2", 4);

std::string be16(unsigned v) { return { static_cast<char>(v >> 8), static_cast<char>(v) }; }
std::string be32(uint32_t v) { return be16(v >> 16) + be16(v & 0xffff); }
unsigned u8(const std::string &s, size_t at) { return at < s.size() ? static_cast<unsigned char>(s[at]) : 0; }
unsigned u16(const std::string &s, size_t at) { return u8(s, at) << 8 | u8(s, at + 1); }
uint32_t u32(const std::string &s, size_t at) { return static_cast<uint32_t>(u16(s, at)) << 16 | u16(s, at + 2); }

std::string checksum(const std::string &s)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < s.size(); i += 2)
		sum += u16(s, i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return be16(~sum & 0xffff);
}

std::string ip(unsigned protocol, const std::string &from, const std::string &to, const std::string &payload)
{
	std::string h = "\x45" + std::string(1, 0) + be16(static_cast<unsigned>(20 + payload.size())) + be32(0x00014000) + "\x40" +
			std::string(1, static_cast<char>(protocol)) + be16(0) + from + to;
	h.replace(10, 2, checksum(h));
	return h + payload;
}

std::string with_pseudo_sum(unsigned protocol, const std::string &from, const std::string &to, std::string segment, size_t at)
{
	segment.replace(at, 2, checksum(from + to + be16(protocol) + be16(static_cast<unsigned>(segment.size())) + segment));
	return ip(protocol, from, to, segment);
}

std::string udp(const std::string &from, unsigned from_port, const std::string &to, unsigned to_port, const std::string &data)
{
	return with_pseudo_sum(17, from, to, be16(from_port) + be16(to_port) + be16(static_cast<unsigned>(8 + data.size())) + be16(0) + data, 6);
}

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

class net_user : public net_test {
protected:
	card c;
	std::string router_mac = std::string("\x52\x55\x0a\0\2\2", 6);

	void TearDown() override
	{
		kvmbox_net_close(c.n);
		c.n = nullptr;
		net_test::TearDown();
	}
	void start(const std::string &options = "") { open(&c, "user" + options); }
	void tell(const std::string &packet, const std::string &type = std::string("\x08\0", 2))
	{
		EXPECT_TRUE(c.send(router_mac + guest_mac + type + packet));
	}
	// The next frame that is so; others are passed over.
	std::string hear(const std::function<bool(const std::string &)> &is)
	{
		std::string found;
		until([&] {
			c.poll();
			while (!c.got.empty() && found.empty()) {
				if (is(c.got.front()))
					found = c.got.front();
				c.got.erase(c.got.begin());
			}
			return !found.empty();
		});
		return found;
	}
	static bool is_tcp(const std::string &f) { return u16(f, 12) == 0x800 && u8(f, 23) == 6; }
	std::string hear_tcp(unsigned flags)
	{
		return hear([&](const std::string &f) { return is_tcp(f) && (u8(f, 47) & flags) == flags; });
	}
	void arp(const std::string &who, const std::string &mine = guest_ip)
	{
		EXPECT_TRUE(c.send(everybody + guest_mac + std::string("\x08\x06\0\1\x08\0\6\4\0\1", 10) + guest_mac + mine +
				   std::string(6, 0) + who));
	}
	static bool is_arp_reply(const std::string &f) { return u16(f, 12) == 0x806 && u16(f, 20) == 2; }
	// So that libslirp knows where the guest is.
	void introduce()
	{
		arp(router_ip);
		EXPECT_FALSE(hear(is_arp_reply).empty());
	}
	std::string discover()
	{
		std::string bootp = std::string("\1\1\6\0", 4) + "xidx" + std::string(20, 0) + guest_mac + std::string(10 + 64 + 128, 0) +
				    "\x63\x82\x53\x63" + std::string("\x35\1\1\xff", 4);
		return everybody + guest_mac + std::string("\x08\0", 2) +
		       udp(std::string(4, 0), 68, std::string(4, '\xff'), 67, bootp);
	}
	static std::string dhcp_option(const std::string &f, unsigned code)
	{
		for (size_t at = 14 + 20 + 8 + 240; at + 1 < f.size() && u8(f, at) != 255; at += 2 + u8(f, at + 1))
			if (u8(f, at) == code)
				return f.substr(at + 2, u8(f, at + 1));
		return "";
	}
	static int host_socket(int type, uint16_t *port)
	{
		sockaddr_in a{};
		socklen_t len = sizeof(a);
		a.sin_family = AF_INET;
		a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr *>(&a), sizeof(a)), 0);
		EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr *>(&a), &len), 0);
		*port = ntohs(a.sin_port);
		return fd;
	}
	static uint16_t free_port(int type)
	{
		uint16_t port;
		::close(host_socket(type, &port));
		return port;
	}
	static int dial(uint16_t port)
	{
		sockaddr_in a{};
		a.sin_family = AF_INET, a.sin_port = htons(port), a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		int rc = connect(fd, reinterpret_cast<sockaddr *>(&a), sizeof(a));
		EXPECT_TRUE(rc == 0 || errno == EINPROGRESS);
		return fd;
	}

	// The guest's half of a connection.
	std::string peer_ip;
	unsigned my_port = 0, peer_port = 0;
	uint32_t seq = 1000, ack = 0;
	void tcp(unsigned flags, const std::string &data = "")
	{
		tell(with_pseudo_sum(6, guest_ip, peer_ip, be16(my_port) + be16(peer_port) + be32(seq) + be32(ack) + "\x50" +
				     std::string(1, static_cast<char>(flags)) + be16(32768) + be32(0) + data, 16));
		seq += static_cast<uint32_t>(data.size() + ((flags & (SYN | FIN)) != 0));
	}
	// Answers a SYN from outside.
	void accept(const std::string &syn)
	{
		peer_ip = syn.substr(26, 4);
		peer_port = u16(syn, 34);
		my_port = u16(syn, 36);
		ack = u32(syn, 38) + 1;
		tcp(SYN | ACK);
		EXPECT_FALSE(hear_tcp(ACK).empty());
	}
	static std::string tcp_data(const std::string &f)
	{
		size_t header = 34 + (u8(f, 46) >> 4) * 4;
		return f.substr(header, 14 + u16(f, 16) - header);
	}
};

TEST_F(net_user, bad_options)
{
	for (std::string net : { "", "10.0.2.0", "10.0.2.0/", "10.0.2.0/25", "10.0.2.0/7", "10.0.2.1/24", "10.0.2/24", "a.b.c.d/24",
				 "10.0.2.0/24x", "1000.0.0.0/8", "10.0.2.00000000000000/24" })
		refuse("user,net=" + net, -EINVAL, "is no network");
	for (std::string rule : { "", "tcp", "tcp:", "tcp::80", "tcp::80-", "tcp::80-:", "tcp:80-:80", "icmp::80-:80", "tcp::0-:80",
				  "tcp::80-:65536", "tcp:x:80-:80", "tcp::80-10.0.2.x:80", "tcp:1.2.3.4.5:80-:80", "tcp::8080808080-:80" })
		refuse("user,hostfwd=" + rule, -EINVAL, "hostfwd=");
	refuse("user,restrict=yes", -EINVAL, "restrict=yes");
	refuse("user,smb=/tmp", -EINVAL, "smb");
	refuse("user:x", -EINVAL, "use user");
	uint16_t port;
	int fd = host_socket(SOCK_STREAM, &port);
	listen(fd, 1);
	refuse("user,hostfwd=tcp::" + std::to_string(port) + "-:80", -EADDRINUSE, "cannot listen there");
	::close(fd);
}

TEST_F(net_user, dhcp_offers_an_address)
{
	start();
	EXPECT_TRUE(kvmbox_net_link(c.n));
	EXPECT_TRUE(c.send(discover()));
	EXPECT_TRUE(c.readable()) << "the answer is there at once";
	std::string offer = hear([](const std::string &f) { return u16(f, 12) == 0x800 && u16(f, 36) == 68; });
	ASSERT_GT(offer.size(), 282u);
	EXPECT_EQ(offer.substr(58, 4), guest_ip);
	EXPECT_EQ(dhcp_option(offer, 53), "\2") << "an offer";
	EXPECT_EQ(dhcp_option(offer, 3), router_ip);
	EXPECT_EQ(dhcp_option(offer, 6), std::string("\x0a\0\2\3", 4));
	EXPECT_EQ(dhcp_option(offer, 1), std::string("\xff\xff\xff\0", 4));
}

TEST_F(net_user, another_network)
{
	start(",net=192.168.64.0/18");
	EXPECT_TRUE(c.send(discover()));
	std::string offer = hear([](const std::string &f) { return u16(f, 12) == 0x800 && u16(f, 36) == 68; });
	ASSERT_GT(offer.size(), 282u);
	EXPECT_EQ(offer.substr(58, 4), "\xc0\xa8\x40\x0f");
	EXPECT_EQ(dhcp_option(offer, 3), "\xc0\xa8\x40\x02");
	EXPECT_EQ(dhcp_option(offer, 1), std::string("\xff\xff\xc0\0", 4));
}

TEST_F(net_user, the_router_answers_arp)
{
	start();
	arp(router_ip);
	std::string reply = hear(is_arp_reply);
	ASSERT_GE(reply.size(), 42u);
	EXPECT_EQ(reply.substr(0, 6), guest_mac);
	EXPECT_EQ(reply.substr(22, 6), router_mac);
	EXPECT_EQ(reply.substr(28, 4), router_ip);
}

TEST_F(net_user, hostfwd_reaches_the_guest)
{
	uint16_t port = free_port(SOCK_STREAM);
	start(",hostfwd=tcp::" + std::to_string(port) + "-:22");
	introduce();
	int host = dial(port);
	EXPECT_TRUE(c.readable(5000)) << "a sleeping box is woken";
	std::string syn = hear_tcp(SYN);
	ASSERT_GE(syn.size(), 54u);
	EXPECT_EQ(syn.substr(30, 4), guest_ip);
	EXPECT_EQ(u16(syn, 36), 22u);
	accept(syn);
	EXPECT_EQ(::send(host, "to guest", 8, MSG_NOSIGNAL), 8);
	std::string f = hear([](const std::string &g) { return is_tcp(g) && tcp_data(g).size() >= 8; });
	EXPECT_EQ(tcp_data(f), "to guest");
	ack += 8;
	tcp(ACK | PSH, "to host");
	char buf[16];
	ssize_t n = 0;
	EXPECT_TRUE(until([&] { return c.poll(), (n = recv(host, buf, sizeof(buf), 0)) > 0; }));
	EXPECT_EQ(std::string(buf, static_cast<size_t>(std::max<ssize_t>(n, 0))), "to host");
	::close(host);
	EXPECT_FALSE(hear_tcp(FIN).empty());
}

TEST_F(net_user, the_guest_reaches_the_hosts_services)
{
	uint16_t tcp_port, udp_port;
	int listener = host_socket(SOCK_STREAM, &tcp_port), server = host_socket(SOCK_DGRAM, &udp_port);
	listen(listener, 1);
	start();
	introduce();
	tell(udp(guest_ip, 4000, router_ip, udp_port, "question"));
	char buf[64];
	sockaddr_in from{};
	socklen_t len = sizeof(from);
	ssize_t n = -1;
	EXPECT_TRUE(until([&] { return (n = recvfrom(server, buf, sizeof(buf), 0, reinterpret_cast<sockaddr *>(&from), &len)) >= 0; }));
	EXPECT_EQ(n, 8);
	EXPECT_EQ(sendto(server, "answer", 6, 0, reinterpret_cast<sockaddr *>(&from), len), 6);
	EXPECT_TRUE(c.readable(5000));
	std::string a = hear([](const std::string &f) { return u16(f, 12) == 0x800 && u8(f, 23) == 17 && u16(f, 36) == 4000; });
	EXPECT_EQ(a.substr(std::min<size_t>(a.size(), 42), 6), "answer");

	peer_ip = router_ip, my_port = 4001, peer_port = tcp_port;
	tcp(SYN);
	std::string syn = hear_tcp(SYN | ACK);
	ASSERT_GE(syn.size(), 54u);
	EXPECT_EQ(u32(syn, 42), seq);
	int conn = -1;
	EXPECT_TRUE(until([&] { return c.poll(), (conn = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)) >= 0; }));
	::close(conn), ::close(listener), ::close(server);
}

TEST_F(net_user, restrict_keeps_the_guest_in)
{
	uint16_t port;
	int server = host_socket(SOCK_DGRAM, &port);
	start(",restrict");
	introduce();
	tell(udp(guest_ip, 4000, router_ip, port, "question"));
	for (int i = 0; i < 50; i++) {
		c.poll();
		usleep(1000);
	}
	char buf[64];
	EXPECT_LT(recv(server, buf, sizeof(buf), 0), 0);
	::close(server);
}

TEST_F(net_user, retransmission_is_on_simulated_time)
{
	uint16_t port = free_port(SOCK_STREAM);
	start(",hostfwd=tcp::" + std::to_string(port) + "-:22");
	introduce();
	int host = dial(port);
	EXPECT_FALSE(hear_tcp(SYN).empty());
	auto syns = [&] {
		return std::count_if(c.got.begin(), c.got.end(), [](const std::string &f) { return is_tcp(f) && u8(f, 47) & SYN; });
	};
	for (int i = 0; i < 100; i++) { // over a second of the host's time, none of the guest's
		c.poll();
		usleep(12000);
	}
	EXPECT_EQ(syns(), 0) << "the guest has had no time to answer";
	uint64_t start_ps = now_ps;
	int steps = 0;
	while (syns() < 2 && ++steps < 1000) {
		uint64_t deadline = kvmbox_net_deadline(c.n);
		ASSERT_NE(deadline, UINT64_MAX) << "a connection has timers";
		now_ps = std::max(now_ps + 1000000000, deadline);
		c.poll();
	}
	EXPECT_EQ(syns(), 2) << "by polling at the deadlines alone";
	EXPECT_GT(now_ps - start_ps, 1000000000000ull);
	EXPECT_LT(now_ps - start_ps, 100000000000000ull);
	::close(host);
}

TEST_F(net_user, a_card_without_room_holds_the_stream_back)
{
	uint16_t port = free_port(SOCK_STREAM);
	start(",hostfwd=tcp::" + std::to_string(port) + "-:22");
	introduce();
	int host = dial(port);
	accept(hear_tcp(SYN));
	c.room = 0;
	const std::string block(65536, 'b');
	size_t sent = 0;
	EXPECT_TRUE(until([&] {
		ssize_t n = ::send(host, block.data(), block.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
		sent += n > 0 ? static_cast<size_t>(n) : 0;
		for (int i = 0; i < 20; i++)
			c.poll();
		return n < 0;
	}));
	EXPECT_LT(sent, 64u << 20) << "the host's program is made to wait";
	EXPECT_FALSE(c.readable());
	c.room = SIZE_MAX;
	kvmbox_net_offer(c.n);
	EXPECT_FALSE(hear([](const std::string &f) { return is_tcp(f) && tcp_data(f)[0] == 'b'; }).empty());
	::close(host);
}

// libslirp 4.7 does not survive some of them.
TEST_F(net_user, fragments_do_not_reach_the_library)
{
	start();
	for (unsigned offset : { 0x2000u, 0x2001u, 0x0001u, 0x1fffu, 0x0100u }) {
		std::string packet = udp(guest_ip, 69, router_ip, 69, "part");
		packet.replace(6, 2, be16(offset));
		packet.replace(10, 2, be16(0));
		packet.replace(10, 2, checksum(packet.substr(0, 20)));
		EXPECT_FALSE(c.send(router_mac + guest_mac + std::string("\x08\0", 2) + packet)) << offset;
	}
	EXPECT_EQ(c.counts().send_dropped, 5u);
	EXPECT_TRUE(said("fragments of IP datagrams are not forwarded")) << log;
	std::string whole = udp(guest_ip, 69, router_ip, 69, "part");
	whole.replace(6, 2, be16(0x4000)); // "do not fragment"
	EXPECT_TRUE(c.send(router_mac + guest_mac + std::string("\x08\0", 2) + whole));
}

// Checksums that let what is wrong elsewhere through.
void repair(std::string &f)
{
	if (f.size() < 54 || u16(f, 12) != 0x800)
		return;
	f.replace(24, 2, be16(0));
	f.replace(24, 2, checksum(f.substr(14, 20)));
	if (u8(f, 23) == 17)
		f.replace(40, 2, be16(0)); // none
	if (u8(f, 23) != 6)
		return;
	f.replace(50, 2, be16(0));
	f.replace(50, 2, checksum(f.substr(26, 8) + be16(6) + be16(static_cast<unsigned>(f.size() - 34)) + f.substr(34)));
}

// A guest that sends anything at all.
TEST_F(net_user, garbage)
{
	start(",restrict"); // it may fabricate a datagram to somebody
	introduce();
	std::mt19937 rng(11);
	std::vector<std::string> seeds{
		discover(), router_mac + guest_mac + std::string("\x08\0", 2) + udp(guest_ip, 53, std::string("\x0a\0\2\3", 4), 53, "dns?"),
		router_mac + guest_mac + std::string("\x08\0", 2) + udp(guest_ip, 69, router_ip, 69, std::string("\0\1../x\0octet\0blksize\0\x39\0", 24)),
		router_mac + guest_mac + std::string("\x08\0", 2) + ip(1, guest_ip, router_ip, std::string("\x08\0\xf7\xff\0\0\0\0", 8)),
		router_mac + guest_mac + std::string("\x08\0", 2) +
			with_pseudo_sum(6, guest_ip, router_ip, be16(1) + be16(2) + be32(3) + be32(0) + "\x50\2" + be16(99) + be32(0), 16),
	};
	for (int i = 0; i < 20000; i++) {
		std::string f = seeds[rng() % seeds.size()];
		for (unsigned k = rng() % 6; k--;)
			f[12 + rng() % (f.size() - 12)] = static_cast<char>(rng());
		if (rng() % 4 == 0)
			f.resize(14 + rng() % 200, static_cast<char>(rng()));
		if (rng() % 8 == 0)
			f.resize(14 + rng() % 9000, 'x');
		if (rng() % 2)
			repair(f);
		c.send(f);
		if (i % 16 == 0)
			c.poll();
		if (i % 256 == 0)
			now_ps += 100000000000;
		c.got.clear();
	}
	arp(router_ip);
	EXPECT_FALSE(hear(is_arp_reply).empty()) << "it still lives";
	EXPECT_GT(c.counts().sent, 15000u);
	EXPECT_GT(c.counts().received, 1000u);
	EXPECT_LT(log_lines(), 100u);
}

#endif

} // namespace
