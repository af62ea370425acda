// An NBD server of a hundred lines that does what a test tells it, wrong things above all. NBD: doc/proto.md.
#ifndef NBD_SERVER_H
#define NBD_SERVER_H

#include <cstring>
#include <endian.h>
#include <functional>
#include <stdint.h>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>
#include <vector>

class nbd_server {
public:
	struct request {
		uint16_t flags, type;
		uint64_t handle, offset;
		uint32_t length;
		std::string bytes; // of a write
	};
	enum { READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZEROES };
	enum { F_HAS = 1, F_RO = 2, F_FLUSH = 4, F_FUA = 8, F_TRIM = 32, F_ZEROES = 64 };

	// What the test sets before start().
	uint64_t size = 1 << 20;
	uint16_t flags = F_HAS | F_FLUSH | F_FUA | F_TRIM | F_ZEROES;
	std::string greeting = std::string("NBDMAGICIHAVEOPT\0\3", 18);
	bool silent_handshake = false;
	std::function<void(nbd_server &, const request &)> on_request; // in the server's thread

	explicit nbd_server(const std::string &path) : m_path(path) {}
	~nbd_server()
	{
		shutdown(m_listener, SHUT_RDWR);
		if (m_fd >= 0)
			shutdown(m_fd, SHUT_RDWR);
		if (m_thread.joinable())
			m_thread.join();
		close(m_listener);
		if (m_fd >= 0)
			close(m_fd);
	}
	void start()
	{
		sockaddr_un a{};
		a.sun_family = AF_UNIX;
		strcpy(a.sun_path, m_path.c_str());
		m_listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (bind(m_listener, reinterpret_cast<sockaddr *>(&a), sizeof(a)) || listen(m_listener, 1))
			abort();
		m_thread = std::thread([this] { serve(); });
	}
	std::string uri() const { return "nbd+unix:///?socket=" + m_path; }
	void reply(uint64_t handle, uint32_t error = 0, const std::string &bytes = "", uint32_t magic = 0x67446698)
	{
		std::string s;
		add(s, htobe32(magic));
		add(s, htobe32(error));
		add(s, handle);
		send_all(s + bytes);
	}
	void send_all(const std::string &s)
	{
		for (size_t at = 0; at < s.size();) {
			ssize_t n = send(m_fd, s.data() + at, s.size() - at, MSG_NOSIGNAL);
			if (n <= 0)
				return;
			at += static_cast<size_t>(n);
		}
	}
	void hang_up() { shutdown(m_fd, SHUT_RDWR); }

private:
	template <typename T> static void add(std::string &s, T v) { s.append(reinterpret_cast<char *>(&v), sizeof(v)); }
	bool get(void *p, size_t n)
	{
		for (char *c = static_cast<char *>(p); n;) {
			ssize_t got = recv(m_fd, c, n, 0);
			if (got <= 0)
				return false;
			c += got;
			n -= static_cast<size_t>(got);
		}
		return true;
	}
	template <typename T> bool get(T *v) { return get(v, sizeof(*v)); }
	void option_reply(uint32_t option, uint32_t type, const std::string &data)
	{
		std::string s;
		add(s, htobe64(0x3e889045565a9));
		add(s, htobe32(option));
		add(s, htobe32(type));
		add(s, htobe32(static_cast<uint32_t>(data.size())));
		send_all(s + data);
	}
	bool negotiate()
	{
		uint32_t client, option, length;
		uint64_t magic;
		send_all(greeting);
		if (silent_handshake || !get(&client))
			return false;
		for (;;) {
			if (!get(&magic) || !get(&option) || !get(&length) || be32toh(length) > 4096)
				return false;
			std::string data(be32toh(length), 0);
			if (!get(&data[0], data.size()))
				return false;
			option = be32toh(option);
			if (option != 7) { // NBD_OPT_GO; the others are unsupported
				option_reply(option, 0x80000001, "");
				continue;
			}
			std::string info;
			add(info, static_cast<uint16_t>(0));
			add(info, htobe64(size));
			add(info, htobe16(flags));
			option_reply(option, 3, info);
			option_reply(option, 1, "");
			return true;
		}
	}
	void serve()
	{
		m_fd = accept4(m_listener, nullptr, nullptr, SOCK_CLOEXEC);
		if (m_fd < 0 || !negotiate())
			return;
		for (;;) {
			struct { uint32_t magic; uint16_t flags, type; uint64_t handle, offset; uint32_t length; } __attribute__((packed)) raw;
			if (!get(&raw))
				return;
			request r{ be16toh(raw.flags), be16toh(raw.type), raw.handle, be64toh(raw.offset), be32toh(raw.length), "" };
			if (r.type == WRITE) {
				r.bytes.resize(r.length);
				if (!get(&r.bytes[0], r.length))
					return;
			}
			if (r.type == DISC)
				return;
			if (on_request)
				on_request(*this, r);
		}
	}

	std::string m_path;
	int m_listener = -1, m_fd = -1;
	std::thread m_thread;
};

#endif
