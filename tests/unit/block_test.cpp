// kvmbox/block.h on real files: raw images, locks, snapshots, RAM disks, completion.
#include <algorithm>
#include <random>
#include <sys/mount.h>
#include <sys/resource.h>

#include "tests/unit/block_fixture.h"

namespace {

class block : public block_test {};

TEST_F(block, bad_specs_are_refused_by_name)
{
	const std::string img = image(4096);
	const struct { std::string spec; int rc; const char *text; } cases[] = {
		{ "", -EINVAL, "use raw:PATH" },
		{ "raw:", -EINVAL, "use raw:PATH" },
		{ "qcow2:" + img, -EINVAL, "use raw:PATH" },
		{ "raw:" + img + ",", -EINVAL, "option \"\"" },
		{ "raw:" + img + ",readnly", -EINVAL, "option \"readnly\"" },
		{ "raw:" + img + ",readonly=1", -EINVAL, "option \"readonly=1\"" },
		{ "raw:" + img + ",readonly,readonly", -EINVAL, "given twice" },
		{ "raw:" + img + ",readonly,snapshot", -EINVAL, "choose one" },
		{ "raw:" + img + ",timeout=3", -EINVAL, "timeout" },
		{ "raw:" + dir, -EINVAL, "neither a regular file nor a block device" },
		{ "raw:/dev/null", -EINVAL, "neither a regular file nor a block device" },
		{ "raw:" + dir + "/nowhere", -ENOENT, "No such file" },
		{ "memory:", -EINVAL, "use raw:PATH" },
		{ "memory:0", -EINVAL, "no size" },
		{ "memory:-1", -EINVAL, "no size" },
		{ "memory:1X", -EINVAL, "no size" },
		{ "memory:1KiB", -EINVAL, "no size" },
		{ "memory:9999999999T", -EINVAL, "no size" },
		{ "memory:99999999999999999999", -EINVAL, "no size" },
	};
	for (const auto &c : cases) {
		err = {};
		EXPECT_EQ(kvmbox_block_open(&b, c.spec.c_str(), &user, &err), c.rc) << c.spec;
		EXPECT_TRUE(message(c.text)) << c.spec << ": " << err.msg;
		EXPECT_TRUE(message("disk0: ")) << err.msg;
	}
	std::string many = "raw:" + img;
	for (int i = 0; i < 40; i++)
		many += ",x";
	EXPECT_EQ(kvmbox_block_open(&b, many.c_str(), &user, &err), -EINVAL);
	EXPECT_EQ(kvmbox_block_open(&b, nullptr, nullptr, nullptr), -EINVAL);
	b = nullptr;
	kvmbox_block_close(nullptr);
}

TEST_F(block, a_fifo_or_an_empty_file_is_no_disk)
{
	ASSERT_EQ(mkfifo((dir + "/fifo").c_str(), 0600), 0);
	EXPECT_EQ(kvmbox_block_open(&b, ("raw:" + dir + "/fifo,readonly").c_str(), &user, &err), -EINVAL);
	image(0);
	EXPECT_EQ(kvmbox_block_open(&b, spec().c_str(), &user, &err), -EINVAL);
	EXPECT_TRUE(message("is empty")) << err.msg;
	b = nullptr;
}

TEST_F(block, a_comma_in_a_path_is_doubled)
{
	put(dir + "/a,b", std::string(512, 'c'));
	open("raw:" + dir + "/a,,b,readonly");
	EXPECT_EQ(read(0, 512), std::string(512, 'c'));
	EXPECT_TRUE(info().readonly);
}

TEST_F(block, raw_reads_and_writes_the_file)
{
	image(8192);
	open(spec());
	EXPECT_EQ(info().size, 8192u);
	EXPECT_EQ(info().block_size, 512u);
	EXPECT_FALSE(info().readonly);
	EXPECT_EQ(info().spec, spec());
	EXPECT_EQ(read(0, 8192), before);
	EXPECT_EQ(write(512, std::string(1024, 'w')), 0);
	EXPECT_EQ(kvmbox_block_flush(b), 0);
	EXPECT_EQ(contents(path()), before.substr(0, 512) + std::string(1024, 'w') + before.substr(1536));
}

TEST_F(block, requests_are_checked)
{
	char buf[1024];
	open("memory:1M");
	const uint64_t end = 1 << 20;
	const struct { uint64_t offset, length; } bad[] = {
		{ 1, 512 }, { 0, 511 }, { end, 512 }, { end - 512, 1024 }, { UINT64_MAX - 511, 512 },
		{ UINT64_MAX - 511, 1024 }, { 512, UINT64_MAX - 511 }, { 0, 1ull << 63 }, { end + 512, 0 },
	};
	for (auto &c : bad)
		for (auto op : { KVMBOX_BLOCK_READ, KVMBOX_BLOCK_WRITE, KVMBOX_BLOCK_DISCARD, KVMBOX_BLOCK_WRITE_ZEROES })
			EXPECT_EQ(request(op, c.offset, c.length, buf), -EINVAL) << c.offset << " " << c.length;
	EXPECT_EQ(request(KVMBOX_BLOCK_READ, 0, 512, nullptr), -EINVAL);
	EXPECT_EQ(request(static_cast<kvmbox_block_op>(5), 0, 512, buf), -EINVAL);
	EXPECT_EQ(request(static_cast<kvmbox_block_op>(-1), 0, 512, buf), -EINVAL);
	EXPECT_EQ(request(KVMBOX_BLOCK_READ, 0, 512, buf, KVMBOX_BLOCK_FUA), -EINVAL);
	EXPECT_EQ(request(KVMBOX_BLOCK_WRITE, 0, 512, buf, KVMBOX_BLOCK_UNMAP), -EINVAL);
	EXPECT_EQ(request(KVMBOX_BLOCK_WRITE_ZEROES, 0, 512, nullptr, 4), -EINVAL);
	EXPECT_EQ(request(KVMBOX_BLOCK_READ, end, 0, nullptr), 0);
	EXPECT_EQ(request(KVMBOX_BLOCK_WRITE, 0, 0, nullptr), 0);
	EXPECT_EQ(request(KVMBOX_BLOCK_FLUSH, 1, UINT64_MAX, nullptr), 0) << "a flush has no range";
	kvmbox_block_request r{};
	EXPECT_EQ(kvmbox_block_wait(b, &r), -EINVAL) << "never submitted";
	EXPECT_EQ(log, "") << "a guest's mistakes are not the disk's";
}

TEST_F(block, readonly_takes_no_change)
{
	char buf[512] = {};
	image(4096);
	open(spec() + ",readonly");
	EXPECT_TRUE(info().readonly);
	EXPECT_FALSE(info().discard);
	for (auto op : { KVMBOX_BLOCK_WRITE, KVMBOX_BLOCK_DISCARD, KVMBOX_BLOCK_WRITE_ZEROES })
		EXPECT_EQ(request(op, 0, 512, buf), -EROFS);
	EXPECT_EQ(kvmbox_block_flush(b), 0);
	EXPECT_EQ(read(0, 4096), before);
	EXPECT_EQ(contents(path()), before);
}

TEST_F(block, the_last_partial_sector_is_filled_up)
{
	image(1000);
	open(spec());
	EXPECT_EQ(info().size, 1024u);
	EXPECT_EQ(read(0, 1024), before + std::string(24, 0));
	EXPECT_EQ(request(KVMBOX_BLOCK_DISCARD, 512, 512, nullptr), 0);
	EXPECT_EQ(request(KVMBOX_BLOCK_WRITE_ZEROES, 512, 512, nullptr), 0);
	EXPECT_EQ(contents(path()), before.substr(0, 512) + std::string(488, 0)) << "its length stays";
	EXPECT_EQ(write(512, std::string(512, 'z')), 0);
	EXPECT_EQ(contents(path()), before.substr(0, 512) + std::string(512, 'z'));
	EXPECT_EQ(read(512, 512), std::string(512, 'z'));
}

TEST_F(block, a_disk_smaller_than_a_sector)
{
	image(1);
	open(spec() + ",snapshot");
	EXPECT_EQ(info().size, 512u);
	EXPECT_EQ(read(0, 512), before + std::string(511, 0));
	EXPECT_EQ(write(0, std::string(512, 'z')), 0);
	EXPECT_EQ(read(0, 512), std::string(512, 'z'));
	EXPECT_EQ(contents(path()), before);
}

TEST_F(block, discard_gives_space_back)
{
	for (std::string options : { "", ",snapshot" }) {
		image(1 << 20);
		open(spec() + options);
		ASSERT_TRUE(info().discard);
		EXPECT_EQ(request(KVMBOX_BLOCK_DISCARD, 0, 1 << 20, nullptr), 0);
		EXPECT_EQ(read(0, 1 << 20), std::string(1 << 20, 0));
		struct stat st;
		ASSERT_EQ(stat(path().c_str(), &st), 0);
		EXPECT_EQ(st.st_size, 1 << 20);
		if (options.empty())
			EXPECT_LT(st.st_blocks, 64);
		else
			EXPECT_EQ(contents(path()), before);
		close();
	}
}

TEST_F(block, an_image_that_shrinks_fails_and_is_not_made_up)
{
	image(8192);
	open(spec());
	ASSERT_EQ(truncate(path().c_str(), 2048), 0);
	char buf[1024];
	EXPECT_EQ(read(0, 2048), before.substr(0, 2048));
	EXPECT_EQ(kvmbox_block_read(b, 1536, buf, 1024), -EIO);
	EXPECT_EQ(kvmbox_block_read(b, 4096, buf, 512), -EIO);
	EXPECT_TRUE(said("read of 512 bytes at 4096 of raw:")) << log;
	for (auto op : { KVMBOX_BLOCK_WRITE, KVMBOX_BLOCK_DISCARD, KVMBOX_BLOCK_WRITE_ZEROES })
		EXPECT_EQ(request(op, 4096, 512, buf), -EIO);
	EXPECT_EQ(contents(path()).size(), 2048u);
}

TEST_F(block, errors_of_the_host_reach_the_device_and_do_not_flood_the_log)
{
	char buf[512] = {};
	image(512);
	ASSERT_EQ(truncate(path().c_str(), 1 << 20), 0);
	open(spec());
	struct rlimit old, small;
	ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = 65536;
	auto handler = signal(SIGXFSZ, SIG_IGN);
	ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (int i = 0; i < 1000; i++)
		EXPECT_EQ(kvmbox_block_write(b, 65536, buf, 512), -EFBIG);
	setrlimit(RLIMIT_FSIZE, &old);
	signal(SIGXFSZ, handler);
	EXPECT_LT(log_lines(), 30u);
	EXPECT_TRUE(said("disk0: write of 512 bytes at 65536")) << log;
}

TEST_F(block, a_full_file_system_is_ENOSPC)
{
	const std::string mnt = dir + "/mnt";
	ASSERT_EQ(mkdir(mnt.c_str(), 0700), 0);
	if (mount("none", mnt.c_str(), "tmpfs", 0, "size=64k"))
		GTEST_SKIP() << "mounting a small file system takes root";
	put(mnt + "/img", "x");
	ASSERT_EQ(truncate((mnt + "/img").c_str(), 1 << 20), 0);
	open("raw:" + mnt + "/img");
	EXPECT_EQ(write(0, std::string(1 << 20, 'x')), -ENOSPC);
	close();
	ASSERT_EQ(setenv("TMPDIR", mnt.c_str(), 1), 0);
	open("raw:" + mnt + "/img,snapshot");
	EXPECT_EQ(write(0, std::string(1 << 20, 'y')), -ENOSPC) << "the temporary file's folder is full";
	close();
	unsetenv("TMPDIR");
	EXPECT_EQ(umount(mnt.c_str()), 0);
}

TEST_F(block, a_block_device)
{
	image(1 << 20);
	FILE *f = popen(("losetup --find --show " + path() + " 2>/dev/null").c_str(), "re");
	char dev[64] = "";
	bool there = f && fscanf(f, "%63s", dev) == 1;
	if (f)
		pclose(f);
	if (!there)
		GTEST_SKIP() << "a loop device takes root and losetup (Debian: mount)";
	struct detach {
		std::string dev;
		~detach() { EXPECT_EQ(system(("losetup -d " + dev).c_str()), 0); }
	} at_the_end{ dev };
	kvmbox_block *other;
	const std::string device = std::string("raw:") + dev;
	open(device);
	EXPECT_EQ(info().size, 1u << 20);
	EXPECT_EQ(kvmbox_block_open(&other, device.c_str(), &user, &err), -EBUSY);
	EXPECT_TRUE(message("in use")) << err.msg;
	EXPECT_EQ(kvmbox_block_open(&other, (device + ",readonly").c_str(), &user, &err), -EBUSY);
	compare_with_array(before, 200, 12);
	close();
	open(device + ",snapshot");
	EXPECT_EQ(write(0, std::string(4096, 's')), 0);
	close();
}

TEST_F(block, snapshots_need_a_folder_for_their_file)
{
	image(4096);
	ASSERT_EQ(setenv("TMPDIR", (dir + "/none").c_str(), 1), 0);
	EXPECT_EQ(kvmbox_block_open(&b, (spec() + ",snapshot").c_str(), &user, &err), -ENOENT);
	unsetenv("TMPDIR");
	EXPECT_TRUE(message("set TMPDIR")) << err.msg;
	b = nullptr;
}

TEST_F(block, a_huge_sparse_disk_is_discarded_in_one_request)
{
	image(512);
	if (truncate(path().c_str(), 8ll << 40))
		GTEST_SKIP() << "the file system has no files of 8 TiB";
	open(spec() + ",snapshot");
	EXPECT_EQ(request(KVMBOX_BLOCK_DISCARD, 4096, (8ull << 40) - 4096, nullptr), 0);
	EXPECT_EQ(read(0, 512), before);
	EXPECT_EQ(write((8ull << 40) - 512, std::string(512, 'e')), 0);
	EXPECT_EQ(read((8ull << 40) - 512, 512), std::string(512, 'e'));
}

// Locks

TEST_F(block, one_writer_or_many_readers)
{
	kvmbox_block *other = nullptr;
	image(4096);
	open(spec());
	for (std::string options : { "", ",readonly", ",snapshot" }) {
		EXPECT_EQ(kvmbox_block_open(&other, (spec() + options).c_str(), &user, &err), -EBUSY);
		EXPECT_TRUE(message("is in use")) << err.msg;
		EXPECT_TRUE(message("another disk of this process")) << err.msg;
	}
	ASSERT_EQ(kvmbox_block_open(&other, (spec() + ",nolock").c_str(), &user, &err), 0) << err.msg;
	kvmbox_block_close(other);
	EXPECT_EQ(kvmbox_block_open(&other, spec().c_str(), &user, &err), -EBUSY) << "closing another descriptor must not unlock";
	close();
	open(spec() + ",snapshot");
	for (std::string options : { ",readonly", ",snapshot" }) {
		ASSERT_EQ(kvmbox_block_open(&other, (spec() + options).c_str(), &user, &err), 0) << err.msg;
		kvmbox_block_close(other);
	}
	EXPECT_EQ(kvmbox_block_open(&other, spec().c_str(), &user, &err), -EBUSY);
	close();
	open(spec());
}

TEST_F(block, the_holder_of_a_lock_is_named)
{
	int ready[2];
	image(4096);
	ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		alarm(60);
		kvmbox_block *mine;
		char ok = kvmbox_block_open(&mine, spec().c_str(), nullptr, nullptr) == 0;
		if (::write(ready[1], &ok, 1) == 1)
			pause();
		_exit(0);
	}
	char ok = 0;
	EXPECT_EQ(::read(ready[0], &ok, 1), 1);
	EXPECT_TRUE(ok);
	EXPECT_EQ(kvmbox_block_open(&b, spec().c_str(), &user, &err), -EBUSY);
	EXPECT_TRUE(message("process " + std::to_string(pid) + " (block_test")) << err.msg;
	kill(pid, SIGKILL);
	waitpid(pid, nullptr, 0);
	::close(ready[0]);
	::close(ready[1]);
	open(spec());
}

TEST_F(block, qemu_and_we_respect_each_other)
{
	if (!have_program("qemu-io"))
		GTEST_SKIP() << "no qemu-io (Debian: qemu-utils)";
	image(65536);
	auto qemu = [&](std::vector<std::string> options) {
		std::vector<std::string> args{ "qemu-io", "-f", "raw", "-c", "read 0 512" };
		args.insert(args.end(), options.begin(), options.end());
		args.push_back(path());
		return child(args).wait();
	};
	ASSERT_EQ(qemu({}), 0);
	open(spec());
	EXPECT_NE(qemu({}), 0) << "a writer while we write";
	EXPECT_NE(qemu({ "-r" }), 0) << "a reader while we write";
	close();
	open(spec() + ",readonly");
	EXPECT_NE(qemu({}), 0) << "a writer while we read";
	EXPECT_EQ(qemu({ "-r" }), 0) << "a reader while we read";
	close();
	child writer({ "qemu-io", "-f", "raw", "-c", "sleep 100000", path() });
	int rc;
	EXPECT_TRUE(until([&] {
		rc = kvmbox_block_open(&b, (spec() + ",readonly").c_str(), &user, &err);
		if (!rc)
			close();
		return rc;
	}));
	EXPECT_EQ(rc, -EBUSY);
	EXPECT_TRUE(message("(qemu-io)")) << err.msg;
	EXPECT_EQ(kvmbox_block_open(&b, spec().c_str(), &user, &err), -EBUSY);
	b = nullptr;
}

// Completion

TEST_F(block, done_comes_from_poll_in_order)
{
	open("memory:64K");
	waiter a(this), c(this);
	a.submit(KVMBOX_BLOCK_WRITE, 0, std::string(512, 'a'));
	c.submit(KVMBOX_BLOCK_READ, 0, std::string(512, 0));
	EXPECT_TRUE(order.empty()) << "never within submit";
	EXPECT_TRUE(kvmbox_block_ready(b, &a.r));
	EXPECT_TRUE(readable());
	EXPECT_TRUE(kvmbox_block_poll(b));
	EXPECT_EQ(order, (std::vector<waiter *>{ &a, &c }));
	EXPECT_EQ(c.buffer, std::string(512, 'a'));
	EXPECT_EQ(a.result, 0);
	EXPECT_FALSE(readable());
	EXPECT_FALSE(kvmbox_block_poll(b));
}

TEST_F(block, wait_takes_the_result_instead_of_the_callback)
{
	open("memory:64K");
	waiter a(this), c(this), d(this);
	for (waiter *w : { &a, &c, &d })
		w->submit(KVMBOX_BLOCK_READ, 0, std::string(512, 0));
	EXPECT_EQ(kvmbox_block_wait(b, &d.r), 0);
	EXPECT_EQ(kvmbox_block_wait(b, &d.r), -EINVAL) << "once";
	d.submit(KVMBOX_BLOCK_READ, 1, std::string(512, 0));
	EXPECT_EQ(kvmbox_block_wait(b, &a.r), 0);
	EXPECT_TRUE(kvmbox_block_poll(b));
	EXPECT_EQ(order, (std::vector<waiter *>{ &c, &d }));
	EXPECT_EQ(d.result, -EINVAL);
}

TEST_F(block, a_callback_may_submit_again_and_poll_returns)
{
	open("memory:64K");
	waiter a(this);
	a.then = [&] {
		EXPECT_FALSE(kvmbox_block_poll(b)) << "not within itself";
		a.submit(KVMBOX_BLOCK_READ, 0, std::string(512, 0));
	};
	a.submit(KVMBOX_BLOCK_READ, 0, std::string(512, 0));
	EXPECT_TRUE(kvmbox_block_poll(b));
	EXPECT_EQ(order.size(), 1u);
	EXPECT_TRUE(readable());
	EXPECT_TRUE(kvmbox_block_poll(b));
	EXPECT_EQ(order.size(), 2u);
}

TEST_F(block, a_callback_may_close)
{
	open("memory:64K");
	waiter a(this), c(this);
	a.then = [&] { close(); };
	a.submit(KVMBOX_BLOCK_READ, 0, std::string(512, 0));
	c.submit(KVMBOX_BLOCK_READ, 0, std::string(512, 0));
	kvmbox_block *mine = b;
	EXPECT_TRUE(kvmbox_block_poll(mine));
	EXPECT_EQ(order, (std::vector<waiter *>{ &a })) << "no callback after close";
}

// Everything against a plain array

TEST_F(block, random_requests_agree_with_an_array)
{
	for (std::string options : { "", ",snapshot" }) {
		image(300000);
		open(spec() + options);
		compare_with_array(before, 3000, 7);
		close();
		if (!options.empty()) {
			EXPECT_EQ(contents(path()), before) << "the image has changed";
		}
	}
	open("memory:300000");
	compare_with_array(std::string(300000, 0), 2000, 8);
}

} // namespace
