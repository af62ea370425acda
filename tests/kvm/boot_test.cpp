// Kernels in the box: each boot protocol of platforms/loader.h, as the kernel sees it.
#include "tests/kvm/box_fixture.h"

using namespace fixture;

namespace {

struct kernel_test : box_test {
	std::string initrd_path;

	void SetUp() override
	{
		box_test::SetUp();
		sim.wait_limit = 1000000;
	}
	void TearDown() override
	{
		box_test::TearDown();
		if (!initrd_path.empty())
			unlink(initrd_path.c_str());
	}
	// Returns the line the kernel is to print of it.
	std::string give_initrd(size_t size)
	{
		char path[] = "/tmp/kvmbox_initrd_XXXXXX", line[64];
		std::string content;
		uint32_t sum = 0;
		for (size_t i = 0; i < size; i++) {
			content += static_cast<char>(i * 7 + (i >> 8));
			sum = (sum << 5 | sum >> 27) ^ static_cast<uint8_t>(content.back());
		}
		int fd = mkstemp(path);
		EXPECT_GE(fd, 0);
		EXPECT_EQ(::write(fd, content.data(), size), static_cast<ssize_t>(size));
		close(fd);
		initrd_path = path;
		set("initrd", path);
		snprintf(line, sizeof(line), "module %zx %x\n", size, sum);
		return line;
	}
	void expect_report(const std::string &cmdline, const std::string &module)
	{
		ASSERT_EQ(create(), 0) << err.msg;
		ASSERT_EQ(run(), 0) << err.msg << serial();
		EXPECT_EQ(kvmbox_end(box), KVMBOX_END_EXIT) << serial();
		EXPECT_EQ(kvmbox_exit_status(box), 0) << serial();
		EXPECT_EQ(serial(), "command line " + cmdline + "\nRAM 0 9fc00\nRAM 100000 1f00000\n" + module + "RSDP e0000\n");
	}
};

class kernels : public kernel_test, public testing::WithParamInterface<const char *> {
	void SetUp() override
	{
		kernel_test::SetUp();
		set("guest", guest_path(GetParam()));
	}
};

TEST_P(kernels, is_handed_what_its_protocol_promises)
{
	std::string module = give_initrd(5000);
	set("cmdline", "root=/dev/ram0 \"quiet or not\"");
	expect_report("root=/dev/ram0 \"quiet or not\"", module);
}

TEST_P(kernels, needs_neither_command_line_nor_initrd)
{
	expect_report("", "");
}

TEST_P(kernels, is_loaded_anew_by_a_reset)
{
	std::string module = give_initrd(5000);
	set("cmdline", "reset");
	expect_report("reset", module);
}

std::string protocol(const testing::TestParamInfo<const char *> &info)
{
	std::string n = info.param;
	return n.substr(7, n.find('.') - 7);
}

INSTANTIATE_TEST_SUITE_P(all, kernels,
			 testing::Values("kernel_multiboot1.elf", "kernel_multiboot2.elf", "kernel_pvh.elf", "kernel_bzimage32.bin",
					 "kernel_bzimage64.bin"),
			 protocol);

TEST_F(kernel_test, keys_without_a_guest_are_refused)
{
	set("cmdline", "x");
	EXPECT_EQ(create(), -EINVAL);
	EXPECT_TRUE(says("guest=PATH")) << err.msg;
	set("cmdline", "");
	set("initrd", "/nowhere");
	EXPECT_EQ(create(), -EINVAL);
	EXPECT_TRUE(says("guest=PATH")) << err.msg;
}

TEST_F(kernel_test, an_initrd_that_vanishes_is_an_error_of_the_reset)
{
	give_initrd(100);
	set("guest", guest_path("kernel_pvh.elf"));
	set("cmdline", "reset");
	ASSERT_EQ(create(), 0) << err.msg;
	unlink(initrd_path.c_str());
	EXPECT_EQ(run(), -ENOENT);
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_ERROR);
	EXPECT_TRUE(says("initrd") && says(initrd_path)) << err.msg;
}

} // namespace
