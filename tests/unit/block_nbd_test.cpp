// "nbd:" of kvmbox/block.h: against qemu-nbd, and against servers that err, lie, stall and die.
#include <config.h>

#include <memory>

#include "tests/unit/block_fixture.h"
#include "tests/unit/nbd_server.h"

namespace {

#ifndef HAVE_LIBNBD

class block_nbd : public block_test {};

TEST_F(block_nbd, is_named_as_left_out)
{
	EXPECT_EQ(kvmbox_block_open(&b, "nbd://localhost", &user, &err), -ENOTSUP);
	EXPECT_TRUE(message("built without libnbd")) << err.msg;
	b = nullptr;
}

#else

using server = nbd_server;

class block_nbd : public block_test {
protected:
	std::string sock() const { return dir + "/s"; }
	void refuse(const std::string &what, int rc, const char *text)
	{
		err = {};
		EXPECT_EQ(kvmbox_block_open(&b, what.c_str(), &user, &err), rc) << err.msg;
		EXPECT_TRUE(message(text)) << err.msg;
		b = nullptr;
	}
};

TEST_F(block_nbd, bad_specs)
{
	refuse("nbd:", -EINVAL, "use raw:PATH");
	refuse("nbd://localhost,timeout=0", -EINVAL, "whole seconds");
	refuse("nbd://localhost,timeout=1.5", -EINVAL, "whole seconds");
	refuse("nbd://localhost,nolock", -EINVAL, "\"nolock\"");
	refuse("nbd:gopher://localhost/", -EINVAL, "gopher");
	refuse("nbd+unix:///x?socket=" + sock(), -ENOENT, "cannot connect");
	put(sock(), "");
	refuse("nbd+unix:///x?socket=" + sock(), -ECONNREFUSED, "cannot connect");
}

class block_qemu_nbd : public block_nbd {
protected:
	std::unique_ptr<child> nbd;
	void serve(std::vector<std::string> options)
	{
		std::vector<std::string> args{ "qemu-nbd", "-k", sock(), "-x", "disk", "-t" };
		args.insert(args.end(), options.begin(), options.end());
		args.push_back(path());
		nbd = std::make_unique<child>(args);
		if (!until([&] { return listens() || !nbd->alive(); }) || !nbd->alive())
			throw std::runtime_error("qemu-nbd does not serve");
	}
	bool listens() const
	{
		sockaddr_un a{};
		a.sun_family = AF_UNIX;
		strcpy(a.sun_path, sock().c_str());
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		int rc = connect(fd, reinterpret_cast<sockaddr *>(&a), sizeof(a));
		::close(fd);
		return rc == 0;
	}
	void SetUp() override
	{
		block_nbd::SetUp();
		if (!have_program("qemu-nbd"))
			GTEST_SKIP() << "no qemu-nbd (Debian: qemu-utils)";
	}
	std::string uri() const { return "nbd:nbd+unix:///disk?socket=" + sock(); }
};

TEST_F(block_qemu_nbd, agrees_with_an_array)
{
	image(300032);
	serve({ "-f", "raw" });
	open(uri());
	compare_with_array(before, 2000, 9);
	const std::string all = read(0, 300032);
	close();
	nbd->end(SIGTERM);
	EXPECT_EQ(contents(path()), all);
}

TEST_F(block_qemu_nbd, a_qcow2_image)
{
	ASSERT_EQ(child({ "qemu-img", "create", "-f", "qcow2", path(), "1G" }).wait(), 0);
	serve({ "-f", "qcow2" });
	open(uri());
	EXPECT_EQ(info().size, 1u << 30);
	EXPECT_TRUE(info().discard);
	const std::string big(9 << 20, 'b'); // more than one request of the server's
	EXPECT_EQ(write(512 << 20, big), 0);
	EXPECT_EQ(read(512 << 20, 9 << 20), big);
	EXPECT_EQ(kvmbox_block_flush(b), 0);
	EXPECT_EQ(request(KVMBOX_BLOCK_WRITE_ZEROES, 0, 1 << 30, nullptr, KVMBOX_BLOCK_UNMAP), 0);
	EXPECT_EQ(read(512 << 20, 512), std::string(512, 0));
	close();
	open(uri()); // what one connection wrote the next one reads
	EXPECT_EQ(read((512 << 20) - 512, 1024), std::string(1024, 0));
}

TEST_F(block_qemu_nbd, a_snapshot_leaves_the_export_alone)
{
	image(65536);
	serve({ "-f", "raw", "-r" });
	refuse(uri(), -EROFS, "for reading only");
	refuse("nbd:nbd+unix:///other?socket=" + sock(), -ENOENT, "cannot connect");
	open(uri() + ",snapshot");
	compare_with_array(before, 500, 10);
	close();
	open(uri() + ",readonly");
	EXPECT_EQ(read(0, 65536), before);
	EXPECT_EQ(write(0, std::string(512, 'x')), -EROFS);
}

TEST_F(block_qemu_nbd, a_killed_server_is_an_error_for_good)
{
	image(65536);
	serve({ "-f", "raw" });
	open(uri());
	EXPECT_EQ(read(0, 512), before.substr(0, 512));
	waiter under_way(this);
	kill(nbd->pid(), SIGSTOP);
	under_way.submit(KVMBOX_BLOCK_READ, 0, std::string(512, 0));
	nbd->end(SIGKILL);
	EXPECT_TRUE(until([&] { return readable(); })) << "a sleeping box is woken";
	EXPECT_TRUE(kvmbox_block_poll(b));
	EXPECT_EQ(under_way.result, -EIO);
	char buf[512] = {};
	EXPECT_EQ(kvmbox_block_read(b, 0, buf, 512), -EIO);
	EXPECT_EQ(kvmbox_block_write(b, 0, buf, 512), -EIO);
	EXPECT_EQ(kvmbox_block_flush(b), -EIO);
	EXPECT_TRUE(said("is lost")) << log;
	unlink(sock().c_str());
	serve({ "-f", "raw" });
	EXPECT_EQ(kvmbox_block_read(b, 0, buf, 512), -EIO) << "no reconnection";
}

// Servers of our own

class block_nbd_server : public block_nbd {
protected:
	std::unique_ptr<server> s;
	void SetUp() override
	{
		block_nbd::SetUp();
		fds_before = open_fds();
		s = std::make_unique<server>(sock());
	}
	void TearDown() override
	{
		close();
		s.reset();
		block_nbd::TearDown();
	}
	void connect(const std::string &options = "")
	{
		s->start();
		open(s->uri() + options);
	}
};

TEST_F(block_nbd_server, handshakes_gone_wrong)
{
	s->greeting = "GET / HTTP/1.1\r\n\r\n";
	s->start();
	refuse(s->uri(), -EIO, "cannot connect");
}

TEST_F(block_nbd_server, a_silent_handshake_times_out)
{
	s->silent_handshake = true;
	s->greeting = "NBDMA";
	s->start();
	refuse(s->uri() + ",timeout=1", -ETIMEDOUT, "did not answer within 1 s");
}

TEST_F(block_nbd_server, sizes_no_disk_has)
{
	s->size = 0;
	s->start();
	refuse(s->uri(), -EINVAL, "is empty");
	s = std::make_unique<server>(dir + "/t");
	s->size = UINT64_MAX - 5;
	s->start();
	err = {};
	EXPECT_LT(kvmbox_block_open(&b, s->uri().c_str(), &user, &err), 0);
	EXPECT_NE(err.msg[0], 0);
	b = nullptr;
}

TEST_F(block_nbd_server, errors_are_the_requests_results)
{
	const struct { uint32_t nbd; int rc; } cases[] = { { 28, -ENOSPC }, { 5, -EIO }, { 22, -EIO }, { 1, -EROFS }, { 12, -EIO }, { 9999, -EIO } };
	size_t i = 0;
	s->on_request = [&](server &srv, const server::request &r) { srv.reply(r.handle, cases[i].nbd); };
	connect();
	for (; i < 6; i++)
		EXPECT_EQ(write(0, std::string(512, 'x')), cases[i].rc) << cases[i].nbd;
	EXPECT_FALSE(said("is lost")) << log;
}

TEST_F(block_nbd_server, answers_in_any_order)
{
	std::vector<server::request> seen;
	s->on_request = [&](server &srv, const server::request &r) {
		seen.push_back(r);
		if (seen.size() < 16)
			return;
		for (size_t i = seen.size(); i--;)
			srv.reply(seen[i].handle, 0, std::string(512, static_cast<char>('a' + seen[i].offset / 512)));
	};
	connect();
	std::vector<std::unique_ptr<waiter>> w;
	for (size_t i = 0; i < 16; i++) {
		w.push_back(std::make_unique<waiter>(this));
		w[i]->submit(KVMBOX_BLOCK_READ, 512 * i, std::string(512, 0));
	}
	for (size_t i = 0; i < 16; i++) {
		EXPECT_EQ(kvmbox_block_wait(b, &w[i]->r), 0) << "all were under way at once";
		EXPECT_EQ(w[i]->buffer, std::string(512, static_cast<char>('a' + i)));
	}
	EXPECT_TRUE(order.empty());
}

TEST_F(block_nbd_server, overlapping_changes_keep_their_order)
{
	std::string disk(1 << 20, 'o');
	std::vector<server::request> held;
	bool overlapped = false, first = true;
	s->on_request = [&](server &srv, const server::request &r) {
		// Answers come late, the data of a write is there only then.
		for (auto &h : held)
			if ((h.type == server::WRITE || r.type == server::WRITE) && h.offset < r.offset + r.length &&
			    r.offset < h.offset + h.length)
				overlapped = true;
		held.push_back(r);
		if (first && held.size() < 2)
			return;
		first = false;
		while (!held.empty()) {
			auto h = held.back();
			held.pop_back();
			if (h.type == server::WRITE)
				disk.replace(h.offset, h.length, h.bytes), srv.reply(h.handle);
			else
				srv.reply(h.handle, 0, disk.substr(h.offset, h.length));
		}
	};
	connect();
	waiter a(this), c(this), d(this);
	a.submit(KVMBOX_BLOCK_WRITE, 0, std::string(1024, 'n'));
	d.submit(KVMBOX_BLOCK_READ, 4096, std::string(512, 0)); // beside it: at once
	c.submit(KVMBOX_BLOCK_READ, 512, std::string(8192, 0)); // across it: after it
	EXPECT_EQ(kvmbox_block_wait(b, &c.r), 0);
	EXPECT_EQ(c.buffer, std::string(512, 'n') + std::string(8192 - 512, 'o'));
	EXPECT_EQ(kvmbox_block_wait(b, &a.r), 0);
	EXPECT_EQ(kvmbox_block_wait(b, &d.r), 0);
	EXPECT_FALSE(overlapped);
}

TEST_F(block_nbd_server, a_server_without_extras)
{
	std::string disk(1 << 20, 'o');
	s->flags = server::F_HAS | server::F_FLUSH;
	unsigned flushes = 0, others = 0;
	s->on_request = [&](server &srv, const server::request &r) {
		flushes += r.type == server::FLUSH;
		others += r.type > server::FLUSH || r.flags;
		if (r.type == server::WRITE)
			disk.replace(r.offset, r.length, r.bytes);
		srv.reply(r.handle, 0, r.type == server::READ ? disk.substr(r.offset, r.length) : "");
	};
	connect();
	EXPECT_FALSE(info().discard);
	EXPECT_EQ(request(KVMBOX_BLOCK_DISCARD, 0, 4096, nullptr), 0) << "does nothing";
	EXPECT_EQ(read(0, 512), std::string(512, 'o'));
	EXPECT_EQ(request(KVMBOX_BLOCK_WRITE_ZEROES, 512, 1 << 19, nullptr), 0) << "writes";
	EXPECT_EQ(read(0, 1 << 20), std::string(512, 'o') + std::string(1 << 19, 0) + std::string((1 << 19) - 512, 'o'));
	EXPECT_EQ(flushes, 0u);
	std::string x(512, 'x');
	EXPECT_EQ(request(KVMBOX_BLOCK_WRITE, 0, 512, &x[0], KVMBOX_BLOCK_FUA), 0);
	EXPECT_EQ(flushes, 1u) << "in place of FUA";
	EXPECT_EQ(others, 0u);
}

TEST_F(block_nbd_server, an_export_that_ends_within_a_sector)
{
	std::string disk(1000, 'o');
	s->size = 1000;
	s->on_request = [&](server &srv, const server::request &r) {
		if (r.offset + r.length > 1000)
			return srv.reply(r.handle, 22);
		if (r.type == server::WRITE)
			disk.replace(r.offset, r.length, r.bytes);
		srv.reply(r.handle, 0, r.type == server::READ ? disk.substr(r.offset, r.length) : "");
	};
	connect();
	EXPECT_EQ(info().size, 1024u);
	EXPECT_EQ(read(0, 1024), std::string(1000, 'o') + std::string(24, 0));
	EXPECT_EQ(write(512, std::string(512, 'x')), -ENOSPC);
	EXPECT_EQ(write(512, std::string(488, 'x') + std::string(24, 0)), 0);
	EXPECT_EQ(read(512, 512), std::string(488, 'x') + std::string(24, 0));
}

TEST_F(block_nbd_server, silence_ends_with_EIO_for_who_waits)
{
	connect(",timeout=1");
	char buf[512];
	EXPECT_EQ(kvmbox_block_read(b, 0, buf, 512), -EIO);
	EXPECT_TRUE(said("silent for too long")) << log;
}

TEST_F(block_nbd_server, silence_wakes_who_sleeps)
{
	connect(",timeout=1");
	waiter a(this);
	a.submit(KVMBOX_BLOCK_READ, 0, std::string(512, 0));
	EXPECT_FALSE(kvmbox_block_poll(b));
	EXPECT_TRUE(readable(20000));
	EXPECT_TRUE(until([&] { return kvmbox_block_poll(b); }));
	EXPECT_EQ(a.result, -EIO);
}

TEST_F(block_nbd_server, idleness_is_no_silence)
{
	s->on_request = [](server &srv, const server::request &r) { srv.reply(r.handle, 0, std::string(r.length, 'k')); };
	connect(",timeout=4");
	EXPECT_EQ(read(0, 512), std::string(512, 'k'));
	usleep(4200000);
	EXPECT_FALSE(kvmbox_block_poll(b));
	EXPECT_EQ(read(0, 512), std::string(512, 'k'));
}

TEST_F(block_nbd_server, garbage_for_an_answer)
{
	s->on_request = [](server &srv, const server::request &r) { srv.reply(r.handle, 0, "", 0x12345678); };
	connect();
	char buf[512];
	EXPECT_EQ(kvmbox_block_read(b, 0, buf, 512), -EIO);
	EXPECT_EQ(kvmbox_block_read(b, 0, buf, 512), -EIO);
}

TEST_F(block_nbd_server, an_answer_to_nothing)
{
	s->on_request = [](server &srv, const server::request &r) { srv.reply(~r.handle); };
	connect();
	char buf[512];
	EXPECT_EQ(kvmbox_block_read(b, 0, buf, 512), -EIO);
}

TEST_F(block_nbd_server, hanging_up_in_the_middle_of_an_answer)
{
	s->on_request = [](server &srv, const server::request &r) {
		srv.reply(r.handle, 0, std::string(100, 'p'));
		srv.hang_up();
	};
	connect();
	waiter a(this), c(this);
	a.submit(KVMBOX_BLOCK_READ, 0, std::string(512, 0));
	c.submit(KVMBOX_BLOCK_READ, 512, std::string(512, 0));
	EXPECT_EQ(kvmbox_block_wait(b, &a.r), -EIO);
	EXPECT_EQ(kvmbox_block_wait(b, &c.r), -EIO);
}

TEST_F(block_nbd_server, closing_with_requests_under_way_leaves_their_buffers_alone)
{
	connect();
	auto a = std::make_unique<waiter>(this);
	a->submit(KVMBOX_BLOCK_READ, 0, std::string(1 << 20, 0));
	close();
	a.reset(); // the sanitizers watch
	EXPECT_TRUE(order.empty());
}

TEST_F(block_nbd_server, a_write_larger_than_the_socket_by_polling_alone)
{
	size_t got = 0;
	s->on_request = [&](server &srv, const server::request &r) {
		usleep(20000); // until the socket is full
		got += r.bytes.size();
		srv.reply(r.handle);
	};
	s->size = 64 << 20;
	connect();
	waiter a(this);
	a.submit(KVMBOX_BLOCK_WRITE, 0, std::string(16 << 20, 'x'));
	while (order.empty() && readable(20000))
		kvmbox_block_poll(b);
	EXPECT_EQ(a.result, 0);
	EXPECT_EQ(got, 16u << 20);
}

#endif

} // namespace
