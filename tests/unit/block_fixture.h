// Block back ends under test: an image, shorthands, random requests compared with an array.
#ifndef BLOCK_FIXTURE_H
#define BLOCK_FIXTURE_H

#include <algorithm>
#include <random>
#include <stdexcept>

#include <kvmbox/block.h>

#include "tests/unit/backend_fixture.h"

class block_test : public backend_test {
protected:
	kvmbox_block *b = nullptr;
	std::string before; // the image's bytes

	void TearDown() override
	{
		close();
		backend_test::TearDown();
	}
	std::string path() const { return dir + "/img"; }
	std::string spec() const { return "raw:" + path(); }
	std::string image(size_t size)
	{
		before.clear();
		for (size_t i = 0; i < size; i++)
			before += static_cast<char>(1 + i * 7 % 251 + i / 512 % 3);
		put(path(), before);
		return path();
	}
	void open(const std::string &s)
	{
		if (kvmbox_block_open(&b, s.c_str(), &user, &err))
			throw std::runtime_error(err.msg); // ends the test
	}
	void close()
	{
		kvmbox_block_close(b);
		b = nullptr;
	}
	kvmbox_block_info info() const
	{
		kvmbox_block_info i;
		kvmbox_block_get_info(b, &i);
		return i;
	}
	std::string read(uint64_t offset, size_t length)
	{
		std::string s(length, '?');
		EXPECT_EQ(kvmbox_block_read(b, offset, &s[0], length), 0);
		return s;
	}
	int write(uint64_t offset, const std::string &s) { return kvmbox_block_write(b, offset, s.data(), s.size()); }
	int request(kvmbox_block_op op, uint64_t offset, uint64_t length, void *buffer, unsigned flags = 0)
	{
		kvmbox_block_request r{};
		r.op = op, r.flags = flags, r.offset = offset, r.length = length, r.buffer = buffer;
		kvmbox_block_submit(b, &r);
		return kvmbox_block_wait(b, &r);
	}
	// Would a sleeping box be woken?
	bool readable(int ms = 0)
	{
		int fd;
		if (!kvmbox_block_fds(b, &fd, 1))
			return false;
		pollfd p{ fd, POLLIN, 0 };
		return ::poll(&p, 1, ms) > 0;
	}

	// A request with a callback.
	struct waiter {
		block_test *t;
		kvmbox_block_request r{};
		std::string buffer;
		int result = 1;
		std::function<void()> then;
		explicit waiter(block_test *test) : t(test) {}
		void submit(kvmbox_block_op op, uint64_t offset, const std::string &bytes)
		{
			buffer = bytes;
			r.op = op, r.offset = offset, r.length = buffer.size(), r.buffer = &buffer[0];
			r.opaque = this;
			r.done = [](kvmbox_block_request *q, int rc) {
				auto *w = static_cast<waiter *>(q->opaque);
				w->result = rc;
				w->t->order.push_back(w);
				if (w->then)
					w->then();
			};
			kvmbox_block_submit(t->b, &r);
		}
	};
	std::vector<waiter *> order;

	void compare_with_array(std::string array, int count, unsigned seed)
	{
		std::mt19937 rng(seed);
		const uint64_t size = info().size, sectors = size / 512;
		array.resize(size);
		for (int i = 0; i < count; i++) {
			uint64_t at = rng() % sectors, n = std::min<uint64_t>(1 + rng() % 40, sectors - at);
			uint64_t offset = at * 512, length = n * 512;
			std::string bytes(length, static_cast<char>('a' + i % 26));
			unsigned fua = rng() % 8 ? 0 : KVMBOX_BLOCK_FUA;
			switch (rng() % 6) {
			case 0: case 1:
				ASSERT_EQ(request(KVMBOX_BLOCK_WRITE, offset, length, &bytes[0], fua), 0);
				array.replace(offset, length, bytes);
				break;
			case 2:
				ASSERT_EQ(request(KVMBOX_BLOCK_WRITE_ZEROES, offset, length, nullptr,
						  fua | (rng() % 2 ? KVMBOX_BLOCK_UNMAP : 0)), 0);
				array.replace(offset, length, std::string(length, 0));
				break;
			case 3:
				ASSERT_EQ(request(KVMBOX_BLOCK_DISCARD, offset, length, nullptr), 0);
				bytes = read(offset, length); // stays or becomes zeroes
				for (uint64_t k = 0; k < length; k++)
					ASSERT_TRUE(!bytes[k] || bytes[k] == array[offset + k]);
				array.replace(offset, length, bytes);
				break;
			default:
				ASSERT_EQ(read(offset, length), array.substr(offset, length)) << "request " << i;
			}
		}
		EXPECT_EQ(read(0, size), array);
	}
};

#endif
