// Network back ends under test: a card that takes what it has room for.
#ifndef NET_FIXTURE_H
#define NET_FIXTURE_H

#include <algorithm>
#include <stdexcept>

#include <kvmbox/net.h>

#include "tests/unit/backend_fixture.h"

class net_test : public backend_test {
protected:
	struct card {
		kvmbox_net *n = nullptr;
		std::vector<std::string> got;
		size_t room = SIZE_MAX;
		int link_changes = 0;
		std::function<void()> then;
		~card() { kvmbox_net_close(n); }
		void attach()
		{
			kvmbox_net_card c{};
			c.opaque = this;
			c.receive = [](void *o, const void *frame, size_t len) {
				auto *self = static_cast<card *>(o);
				if (!self->room)
					return false;
				self->room--;
				self->got.emplace_back(static_cast<const char *>(frame), len);
				if (self->then)
					self->then();
				return true;
			};
			c.link = [](void *o) { static_cast<card *>(o)->link_changes++; };
			kvmbox_net_attach(n, &c);
		}
		bool send(const std::string &frame) { return kvmbox_net_send(n, frame.data(), frame.size()); }
		bool poll() { return kvmbox_net_poll(n); }
		bool has(size_t count)
		{
			return until([&] { return poll(), got.size() >= count; });
		}
		kvmbox_net_counts counts() const
		{
			kvmbox_net_counts c;
			kvmbox_net_get_counts(n, &c);
			return c;
		}
		// Would a sleeping box be woken?
		bool readable(int ms = 0)
		{
			int fds[4];
			size_t count = kvmbox_net_fds(n, fds, 4);
			std::vector<pollfd> p;
			for (size_t i = 0; i < count; i++)
				p.push_back({ fds[i], POLLIN, 0 });
			return ::poll(p.data(), p.size(), ms) > 0;
		}
	};

	void open(card *c, const std::string &spec)
	{
		if (kvmbox_net_open(&c->n, spec.c_str(), &user, &err))
			throw std::runtime_error(err.msg); // ends the test
		c->attach();
	}
	void refuse(const std::string &spec, int rc, const char *text)
	{
		kvmbox_net *n = nullptr;
		err = {};
		EXPECT_EQ(kvmbox_net_open(&n, spec.c_str(), &user, &err), rc) << spec << ": " << err.msg;
		EXPECT_TRUE(message(text)) << spec << ": " << err.msg;
		kvmbox_net_close(n);
	}
	// A frame to everybody that can be told from others.
	static std::string frame(size_t number, size_t size = 60)
	{
		std::string s(6, '\xff');
		s += std::string("\x52\x54\0\x12\x34\x57\x88\xb5", 8);
		s += std::to_string(number) + ' ';
		if (s.size() < size)
			s.resize(size, 'f');
		return s;
	}
};

#endif
