// SeaBIOS in the box: it finds its way by the firmware configuration device, installs our tables, and boots from IDE disks.
#include "tests/kvm/box_fixture.h"

#define SEABIOS "/usr/share/seabios/bios-256k.bin"

namespace {

using namespace fixture;

class seabios : public box_test {
protected:
	std::vector<std::string> images;
	std::function<bool(const std::string &)> watch; // sees what came out of COM1; true: that is enough

	void SetUp() override
	{
		box_test::SetUp();
		if (IsSkipped())
			return;
		if (access(SEABIOS, R_OK))
			GTEST_SKIP() << SEABIOS << " is not there (Debian: apt-get install seabios)";
		set("guest", SEABIOS);
		set("guest_format", "reset");
		set("quantum", "10ms");
		sim.on_wait = [this](uint64_t, kvmbox_wait, int &) {
			if (sim.now_ps > 300 * s || (watch && watch(serial())))
				kvmbox_stop(box);
			return false;
		};
	}
	void TearDown() override
	{
		box_test::TearDown();
		for (auto &i : images)
			unlink(i.c_str());
	}
	// A disk with our boot sector, and what that is to do: see tests/guest/boot_sector.S.
	std::string image(const std::string &second_sector)
	{
		char path[] = "/tmp/kvmbox_disk_XXXXXX";
		std::ifstream boot(guest_path("boot_sector.bin"), std::ios::binary);
		std::string bytes{std::istreambuf_iterator<char>(boot), {}};
		int fd = mkstemp(path);

		EXPECT_EQ(bytes.size(), 512u);
		EXPECT_GE(fd, 0);
		images.push_back(path);
		bytes += second_sector;
		bytes.resize(1 << 20);
		EXPECT_EQ(::write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
		close(fd);
		return path;
	}
	void boot()
	{
		ASSERT_EQ(create(), 0) << err.msg;
		ASSERT_EQ(run(), 0) << err.msg;
	}
	static size_t count(const std::string &text, const std::string &part)
	{
		size_t n = 0;
		for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
			n++;
		return n;
	}
	static bool has(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

	// ---- what it left in memory ----

	std::string memory(uint64_t gpa, size_t n)
	{
		std::string t(n, 0);
		EXPECT_EQ(kvmbox_dma(box, nullptr, gpa, &t[0], n, false), 0) << std::hex << gpa;
		return t;
	}
	static uint8_t sum(const std::string &t)
	{
		unsigned v = 0;
		for (char c : t)
			v += static_cast<uint8_t>(c);
		return static_cast<uint8_t>(v);
	}
	// A whole ACPI table, sound.
	std::string table(uint64_t gpa)
	{
		std::string t = memory(gpa, peek<uint32_t>(gpa + 4));
		EXPECT_EQ(sum(t), 0) << t.substr(0, 4);
		EXPECT_GT(gpa, 0x100000u) << t.substr(0, 4);
		return t;
	}
};

TEST_F(seabios, no_bootable_device)
{
	watch = [](const std::string &out) { return has(out, "No bootable device"); };
	boot();
	EXPECT_TRUE(has(serial(), "SeaBIOS (version")) << serial();
	EXPECT_TRUE(has(serial(), "No bootable device")) << serial();
	EXPECT_FALSE(has(serial(), "boot menu")) << serial();

	// Our tables, in places of its choice
	std::string f = memory(0xf0000, 0x10000);
	size_t rsdp = f.find("RSD PTR ");
	ASSERT_NE(rsdp, std::string::npos);
	EXPECT_EQ(sum(f.substr(rsdp, 20)), 0);
	EXPECT_EQ(sum(f.substr(rsdp, 36)), 0);
	std::string xsdt = table(peek<uint64_t>(0xf0000 + rsdp + 24)), names;
	for (size_t at = 36; at < xsdt.size(); at += 8) {
		uint64_t gpa;
		memcpy(&gpa, &xsdt[at], 8);
		std::string t = table(gpa);
		names += t.substr(0, 4) + " ";
		if (t.substr(0, 4) == "FACP") {
			names += table(peek<uint64_t>(gpa + 140)).substr(0, 4) + " ";
			names += memory(peek<uint32_t>(gpa + 36), 4) + " ";
		}
	}
	EXPECT_EQ(names, "FACP DSDT FACS APIC HPET MCFG ");
	size_t smbios = 0; // its code has the signature as well
	while (smbios < f.size() && (f.compare(smbios, 5, "_SM3_") || sum(f.substr(smbios, 24))))
		smbios += 16;
	ASSERT_LT(smbios, f.size());
	EXPECT_TRUE(has(memory(peek<uint64_t>(0xf0000 + smbios + 16), peek<uint32_t>(0xf0000 + smbios + 12)), "kvmbox"));
}

TEST_F(seabios, boots_from_a_disk)
{
	set("disk", "raw:" + image(std::string("P\x05""the disk is read\r\n")) + ",readonly");
	boot();
	EXPECT_EQ(kvmbox_end(box), KVMBOX_END_EXIT) << serial();
	EXPECT_EQ(kvmbox_exit_status(box), 5) << serial();
	EXPECT_TRUE(has(serial(), "Booting from Hard Disk")) << serial();
	EXPECT_TRUE(has(serial(), "the disk is read\r\n")) << serial();
}

TEST_F(seabios, the_boot_menu_takes_the_second_disk)
{
	int typed = 0;
	set("disk", "raw:" + image(std::string("P\x01""first\r\n")));
	set("disk2", "raw:" + image(std::string("P\x02""second\r\n")));
	set("boot_menu", "20s");
	watch = [this, &typed](const std::string &out) {
		if (typed == 0 && has(out, "Press ESC for boot menu"))
			typed += kvmbox_serial_input(box, "\x1b", 1) == 0;
		else if (typed == 1 && has(out, "Select boot device") && has(out, "2. "))
			typed += kvmbox_serial_input(box, "2", 1) == 0;
		return false;
	};
	boot();
	EXPECT_EQ(typed, 2);
	EXPECT_TRUE(has(serial(), "1. ata0-0: kvmbox disk")) << serial();
	EXPECT_TRUE(has(serial(), "2. ata0-1: kvmbox disk")) << serial();
	EXPECT_EQ(kvmbox_exit_status(box), 2) << serial();
	EXPECT_TRUE(has(serial(), "second\r\n")) << serial();
	EXPECT_FALSE(has(serial(), "first")) << serial();
}

TEST_F(seabios, boots_again_after_a_guest_reset)
{
	set("disk", "raw:" + image(std::string("R\x07""after the reset\r\n")));
	boot();
	EXPECT_EQ(kvmbox_exit_status(box), 7) << serial();
	EXPECT_EQ(count(serial(), "SeaBIOS (version"), 2u) << serial();
	EXPECT_EQ(count(serial(), "after the reset\r\n"), 1u) << serial();
	EXPECT_TRUE(sim.said("the guest resets the machine"));
}

// Where computing takes no time kvm-clock stands still, and SeaBIOS takes the TSC's frequency from it before it says a word.
// (All of a boot would be stepped through.)
TEST_F(seabios, starts_with_a_clock_of_exits)
{
	use_fixed_clock();
	watch = [](const std::string &out) { return has(out, "SeaBIOS (version"); };
	boot();
	EXPECT_TRUE(has(serial(), "SeaBIOS (version")) << serial();
}

// KVM's own interrupt controllers and PIT
TEST_F(seabios, boots_with_the_kernels_irqchip)
{
	set("irqchip", "kernel");
	set("clock", "host");
	set("disk", "raw:" + image(std::string("P\x03""by KVM's PIT\r\n")));
	if (create() == -EOPNOTSUPP)
		GTEST_SKIP() << err.msg;
	destroy();
	boot();
	EXPECT_EQ(kvmbox_exit_status(box), 3) << serial();
}

// More CPUs wait where it left them; its messages come out of the debug console; files of the user's reach it.
TEST_F(seabios, cpus_messages_and_files)
{
	char path[] = "/tmp/kvmbox_file_XXXXXX";
	int fd = mkstemp(path);
	ASSERT_GE(fd, 0);
	images.push_back(path);
	ASSERT_EQ(::write(fd, "/rom@genroms/none\n", 18), 18);
	close(fd);
	debugcon_to_file();
	set("debugcon_port", "0x402");
	set("fw_cfg", std::string("bootorder:") + path);
	set("cpus", "2");
	watch = [](const std::string &out) { return has(out, "No bootable device"); };
	boot();
	EXPECT_TRUE(has(debugcon(), "Found 2 cpu(s) max supported 2 cpu(s)")) << debugcon();
	EXPECT_TRUE(has(debugcon(), "boot order:\n1: /rom@genroms/none\n")) << debugcon();
	EXPECT_TRUE(has(debugcon(), "via xsdt")) << debugcon();
}

// ---- without SeaBIOS ----

class disks : public box_test {};

// A disk's interrupt goes to IRQ 14; the guest finds it on PCI, and finds no firmware configuration it does not need.
TEST_F(disks, without_firmware)
{
	set("disk", "memory:1M");
	create_script();
	const uint64_t bdf = 31 << 3;
	size_t id = step(SCRIPT_CONFIG_READ, bdf << 8), type = step(SCRIPT_CONFIG_READ, bdf << 8 | 8);
	size_t nothing = in(0x511);
	step(SCRIPT_UNMASK, 2);
	step(SCRIPT_UNMASK, 14);
	step(SCRIPT_IRQ, 1);
	out(0x1f6, 0x40);
	out(0x1f7, 0xec); // IDENTIFY DEVICE
	step(SCRIPT_SLEEP);
	size_t status = in(0x1f7), word = in(0x1f0, 2);
	out(0x1f7, 0xe7); // FLUSH CACHE
	step(SCRIPT_SLEEP);
	size_t done = in(0x1f7);
	play();
	EXPECT_EQ(value(id), 0x70108086u);
	EXPECT_EQ(value(type) >> 8, 0x010100u);
	EXPECT_EQ(value(nothing), 0xffu);
	EXPECT_EQ(value(status), 0x58u);
	EXPECT_EQ(value(word), 0x0040u);
	EXPECT_EQ(value(done), 0x50u);
	EXPECT_EQ(result().interrupts, 2u);
}

TEST_F(disks, errors)
{
	set("guest", guest_path("reset_vector.rom"));
	set("guest_format", "reset");
	set("disk2", "memory:1M");
	EXPECT_EQ(create(), -EINVAL);
	EXPECT_TRUE(says("disk2 without disk")) << err.msg;
	set("disk2", "");
	set("disk", "raw:/nonexistent/image");
	EXPECT_EQ(create(), -ENOENT);
	EXPECT_TRUE(says("/nonexistent/image")) << err.msg;
	set("disk", "elsewhere:x");
	EXPECT_EQ(create(), -EINVAL);
	set("disk", "");
	for (const char *bad : {"opt/x", ":x", "opt/x:", "opt/a:/dev/null,", "opt/a:/etc/passwd,opt/a:/etc/passwd", "etc/e820:/etc/passwd"}) {
		set("fw_cfg", bad);
		EXPECT_LT(create(), 0) << bad;
		EXPECT_TRUE(says("fw_cfg")) << err.msg;
	}
	set("fw_cfg", "opt/x:/nonexistent/file");
	EXPECT_EQ(create(), -ENOENT);
	EXPECT_TRUE(says("/nonexistent/file")) << err.msg;
	set("fw_cfg", "opt/a:/etc/passwd,opt/b:/etc/hostname");
	EXPECT_EQ(create(), 0) << err.msg;
}

} // namespace
