// devices/ide.h: registers, protocols and commands of the ATA channel.
#include "tests/unit/block_fixture.h"

#include <cerrno>
#include <map>

extern "C" {
#include "devices/ide.h"
#include "devices/ide_regs.h"
}

namespace {

constexpr uint16_t data_port = 0x1f0, error_port = 0x1f1, feature_port = 0x1f1, count_port = 0x1f2, low_port = 0x1f3,
		   mid_port = 0x1f4, high_port = 0x1f5, device_port = 0x1f6, status_port = 0x1f7, control_port = 0x3f6;
constexpr uint8_t ready = 0x50, drq = 0x58, failed = 0x51;
constexpr uint8_t lba_bit = 0x40, dev1 = 0x10;
constexpr uint8_t abrt = 0x04, idnf = 0x10, unc = 0x40;

class ide : public block_test {
protected:
	kb_bus io, mem;
	kb_pci_bus *pci = nullptr;
	kb_ide *d = nullptr;
	kvmbox_block *second = nullptr;
	bool irq = false;
	int interrupts = 0;

	void SetUp() override
	{
		block_test::SetUp();
		kb_bus_init(&io, "port", 0xffff);
		kb_bus_init(&mem, "memory", UINT64_MAX);
		kb_pci_bus_config cfg{};
		cfg.mem = &mem;
		cfg.io = &io;
		ASSERT_EQ(kb_pci_bus_create(&pci, &cfg, &err), 0) << err.msg;
	}
	void TearDown() override
	{
		kb_ide_destroy(d);
		kb_pci_bus_destroy(pci);
		EXPECT_EQ(io.count, 0u);
		kb_bus_destroy(&io);
		kb_bus_destroy(&mem);
		kvmbox_block_close(second);
		block_test::TearDown();
	}
	kb_ide_config config()
	{
		kb_ide_config c{};
		c.io = &io;
		c.pci = pci;
		c.disk[0] = b;
		c.disk[1] = second;
		c.irq.opaque = this;
		c.irq.set = [](void *o, int, bool level) {
			static_cast<ide *>(o)->irq = level;
			static_cast<ide *>(o)->interrupts += level;
		};
		return c;
	}
	// Disks as back ends spell them.
	void create(const std::string &first, const std::string &other = "")
	{
		open(first);
		if (!other.empty()) {
			ASSERT_EQ(kvmbox_block_open(&second, other.c_str(), &user, &err), 0) << err.msg;
		}
		kb_ide_config c = config();
		ASSERT_EQ(kb_ide_create(&d, &c, &err), 0) << err.msg;
	}
	void create_image(size_t sectors, const std::string &options = "")
	{
		image(sectors * 512);
		create(spec() + options);
	}
	void out(uint16_t port, uint32_t v, size_t len = 1) { kb_bus_write(&io, port, &v, len); }
	uint32_t in(uint16_t port, size_t len = 1)
	{
		uint32_t v = 0;
		kb_bus_read(&io, port, &v, len);
		return v;
	}
	uint8_t alternate() { return static_cast<uint8_t>(in(control_port)); }
	uint8_t status() { return static_cast<uint8_t>(in(status_port)); }
	void address(uint64_t lba, unsigned count, uint8_t device = 0)
	{
		out(device_port, lba_bit | device | (lba >> 24 & 15));
		out(count_port, count);
		out(low_port, lba & 0xff);
		out(mid_port, lba >> 8 & 0xff);
		out(high_port, lba >> 16 & 0xff);
	}
	void address48(uint64_t lba, unsigned count, uint8_t device = 0)
	{
		out(device_port, lba_bit | device);
		out(count_port, count >> 8);
		out(low_port, lba >> 24 & 0xff);
		out(mid_port, lba >> 32 & 0xff);
		out(high_port, lba >> 40 & 0xff);
		out(count_port, count & 0xff);
		out(low_port, lba & 0xff);
		out(mid_port, lba >> 8 & 0xff);
		out(high_port, lba >> 16 & 0xff);
	}
	void command(uint8_t c) { out(status_port, c); }
	std::string take(size_t bytes, size_t width = 2)
	{
		std::string s;
		for (size_t i = 0; i < bytes; i += width) {
			uint32_t v = in(data_port, width);
			s.append(reinterpret_cast<char *>(&v), width);
		}
		return s;
	}
	void give(const std::string &s, size_t width = 2)
	{
		for (size_t i = 0; i < s.size(); i += width) {
			uint32_t v = 0;
			memcpy(&v, &s[i], width);
			out(data_port, v, width);
		}
	}
	// A whole command that reads: blocks of so many sectors, each with its interrupt.
	std::string read_blocks(uint8_t cmd, unsigned sectors, unsigned per_block, size_t width = 2)
	{
		std::string s;
		command(cmd);
		while (sectors) {
			unsigned n = std::min(sectors, per_block);
			EXPECT_TRUE(irq);
			EXPECT_EQ(alternate(), drq);
			EXPECT_TRUE(irq); // that does not acknowledge it
			EXPECT_EQ(status(), drq);
			EXPECT_FALSE(irq);
			s += take(n * 512, width);
			sectors -= n;
		}
		EXPECT_FALSE(irq);
		EXPECT_EQ(status(), ready);
		return s;
	}
	void write_blocks(uint8_t cmd, const std::string &s, unsigned per_block, size_t width = 2)
	{
		command(cmd);
		EXPECT_FALSE(irq); // the first block is asked for without
		EXPECT_EQ(status(), drq);
		for (size_t at = 0; at < s.size(); at += per_block * 512) {
			give(s.substr(at, per_block * 512), width);
			EXPECT_TRUE(irq);
			EXPECT_EQ(status(), at + per_block * 512 < s.size() ? drq : ready);
		}
		EXPECT_FALSE(irq);
	}
	void expect_error(uint8_t error)
	{
		EXPECT_TRUE(irq);
		EXPECT_EQ(status(), failed);
		EXPECT_EQ(in(error_port), error);
		EXPECT_FALSE(irq);
	}
	std::vector<uint16_t> identify(uint8_t device = 0)
	{
		out(device_port, device);
		std::string s = read_blocks(0xec, 1, 1);
		std::vector<uint16_t> words(256);
		memcpy(words.data(), s.data(), 512);
		return words;
	}
	static std::string text(const std::vector<uint16_t> &w, unsigned from, unsigned to)
	{
		std::string s;
		for (; from <= to; from++) {
			s += static_cast<char>(w[from] >> 8);
			s += static_cast<char>(w[from]);
		}
		return s;
	}
	static std::string pattern(size_t sectors, int seed)
	{
		std::string s;
		for (size_t i = 0; i < sectors * 512; i++)
			s += static_cast<char>(i * 13 + i / 512 + static_cast<size_t>(seed));
		return s;
	}
	uint32_t pci_read(unsigned off, unsigned len) { return kb_pci_config_read(pci, KB_IDE_SLOT << 3, off, len); }
	void pci_write(unsigned off, unsigned len, uint32_t v) { kb_pci_config_write(pci, KB_IDE_SLOT << 3, off, len, v); }
};

TEST_F(ide, pci_function)
{
	create("memory:1M");
	EXPECT_EQ(pci_read(0, 4), 0x70108086u);
	EXPECT_EQ(pci_read(8, 4) >> 8, 0x010100u); // both channels in compatibility mode
	EXPECT_EQ(pci_read(4, 2) & 1, 1u);
	EXPECT_EQ(pci_read(0x40, 4), 0x8000u);
	EXPECT_EQ(pci_read(0x3d, 1), 0u);
	// The enable bit of the channel gates its ports.
	pci_write(0x40, 2, 0);
	EXPECT_EQ(status(), 0xff);
	EXPECT_EQ(alternate(), 0xff);
	out(count_port, 0x55);
	pci_write(0x40, 4, 0x80008000);
	EXPECT_EQ(pci_read(0x40, 4), 0x8000u); // there is no second channel
	EXPECT_EQ(status(), ready);
	EXPECT_EQ(in(count_port), 1u);
	pci_write(0x40, 2, 0);
	kb_pci_bus_reset(pci);
	EXPECT_EQ(status(), ready);
}

TEST_F(ide, signature_after_reset)
{
	create("memory:1M");
	EXPECT_EQ(status(), ready);
	EXPECT_EQ(in(error_port), 1u);
	EXPECT_EQ(in(count_port), 1u);
	EXPECT_EQ(in(low_port), 1u);
	EXPECT_EQ(in(mid_port), 0u);
	EXPECT_EQ(in(high_port), 0u);
	EXPECT_EQ(in(device_port) & 0x5f, 0u);
	EXPECT_EQ(interrupts, 0);
}

TEST_F(ide, identify)
{
	create("memory:1M", "memory:16G");
	auto w = identify();
	EXPECT_EQ(w[0], 0x0040);
	EXPECT_EQ(w[60] | w[61] << 16, 2048);
	EXPECT_EQ(w[100] | w[101] << 16, 2048);
	EXPECT_EQ(w[3], 16);
	EXPECT_EQ(w[6], 63);
	EXPECT_EQ(w[1], 2);
	EXPECT_EQ(w[57] | w[58] << 16, 2 * 16 * 63);
	EXPECT_EQ(w[47], 0x8010);
	EXPECT_EQ(w[49] & 0x0300, 0x0200); // LBA, no DMA
	EXPECT_EQ(w[59], 0);
	EXPECT_EQ(w[63], 0);
	EXPECT_EQ(w[83] & 0xc000, 0x4000);
	EXPECT_EQ(w[84] & 0xc000, 0x4000);
	EXPECT_EQ(w[87] & 0xc000, 0x4000);
	EXPECT_EQ(w[83] & 0x3400, 0x3400);
	EXPECT_EQ(w[82] & w[85], 0x0060);
	EXPECT_EQ(text(w, 27, 46), "kvmbox disk" + std::string(29, ' '));
	EXPECT_EQ(w[255] & 0xff, 0xa5);
	unsigned sum = 0;
	for (uint16_t x : w)
		sum += (x & 0xff) + (x >> 8);
	EXPECT_EQ(sum % 256, 0u);
	auto w2 = identify(dev1);
	EXPECT_EQ(w2[60] | w2[61] << 16, 16 << 21);
	EXPECT_EQ(w2[1], 16383);
	EXPECT_NE(text(w, 10, 19), text(w2, 10, 19));
}

TEST_F(ide, large_disks_need_48_bits)
{
	create("memory:200G");
	auto w = identify();
	EXPECT_EQ(w[60] | w[61] << 16, 0x0fffffff);
	EXPECT_EQ(w[100] | static_cast<uint64_t>(w[101]) << 16, 200ull << 21);
	const uint64_t lba = (190ull << 21) + 5;
	address48(lba, 1);
	write_blocks(0x34, pattern(1, 3), 1);
	EXPECT_EQ(read(lba * 512, 512), pattern(1, 3));
	address48(lba, 1);
	EXPECT_EQ(read_blocks(0x24, 1, 1), pattern(1, 3));
}

TEST_F(ide, read_sectors)
{
	create_image(300);
	address(7, 3);
	EXPECT_EQ(read_blocks(0x20, 3, 1), before.substr(7 * 512, 3 * 512));
	address(0, 0); // 256
	EXPECT_EQ(read_blocks(0x21, 256, 1, 4), before.substr(0, 256 * 512));
	address48(299, 1);
	EXPECT_EQ(read_blocks(0x24, 1, 1), before.substr(299 * 512));
}

TEST_F(ide, read_multiple)
{
	create_image(300);
	address(1, 5);
	command(0xc4);
	expect_error(abrt); // not set up
	for (unsigned n : {1u, 2u, 4u, 8u, 16u}) {
		out(count_port, n);
		command(0xc6);
		EXPECT_EQ(status(), ready);
		EXPECT_EQ(identify()[59], 0x100 | n);
		address(1, 37);
		EXPECT_EQ(read_blocks(0xc4, 37, n, 4), before.substr(512, 37 * 512));
		address48(2, 16);
		EXPECT_EQ(read_blocks(0x29, 16, n), before.substr(1024, 16 * 512));
	}
	for (unsigned n : {3u, 17u, 32u, 255u}) {
		out(count_port, n);
		command(0xc6);
		expect_error(abrt);
	}
	EXPECT_EQ(identify()[59], 0x110);
	out(count_port, 0);
	command(0xc6);
	EXPECT_EQ(status(), ready);
	EXPECT_EQ(identify()[59], 0);
}

TEST_F(ide, write)
{
	create_image(300);
	address(9, 3);
	write_blocks(0x30, pattern(3, 1), 1);
	EXPECT_EQ(read(9 * 512, 3 * 512), pattern(3, 1));
	address(0, 0);
	write_blocks(0x31, pattern(256, 2), 1, 4);
	out(count_port, 8);
	command(0xc6);
	address(100, 20);
	status();
	write_blocks(0xc5, pattern(20, 3), 8);
	address48(280, 20);
	write_blocks(0x39, pattern(20, 4), 8, 4);
	EXPECT_EQ(read(0, 100 * 512), pattern(256, 2).substr(0, 100 * 512));
	EXPECT_EQ(read(100 * 512, 20 * 512), pattern(20, 3));
	EXPECT_EQ(read(280 * 512, 20 * 512), pattern(20, 4));
}

TEST_F(ide, chs)
{
	create_image(16 * 63 * 3);
	// Cylinder 1, head 2, sector 3
	out(device_port, 2);
	out(count_port, 1);
	out(low_port, 3);
	out(mid_port, 1);
	out(high_port, 0);
	EXPECT_EQ(read_blocks(0x20, 1, 1), before.substr((1 * 16 * 63 + 2 * 63 + 2) * 512, 512));
	out(low_port, 0);
	command(0x20);
	expect_error(idnf);
	out(low_port, 64);
	command(0x20);
	expect_error(idnf);
	// Another geometry: 4 heads, 8 sectors
	out(device_port, 3);
	out(count_port, 8);
	command(0x91);
	EXPECT_EQ(status(), ready);
	EXPECT_EQ(identify()[54], 16 * 63 * 3 / 32);
	out(device_port, 2);
	out(count_port, 1);
	out(low_port, 8);
	out(mid_port, 2);
	EXPECT_EQ(read_blocks(0x20, 1, 1), before.substr((2 * 32 + 2 * 8 + 7) * 512, 512));
	out(device_port, 4);
	command(0x20);
	expect_error(idnf);
	out(count_port, 0);
	command(0x91);
	expect_error(abrt);
}

TEST_F(ide, beyond_the_end)
{
	create_image(100);
	const struct {
		uint64_t lba;
		unsigned count;
	} bad[] = {{100, 1}, {99, 2}, {0, 0}, {0x0fffffff, 1}, {0, 101}};
	for (auto &x : bad)
		for (uint8_t c : {0x20, 0x30, 0x40}) {
			address(x.lba, x.count);
			command(c);
			expect_error(idnf);
		}
	for (uint8_t c : {0x24, 0x34, 0x42}) {
		address48(0xffffffffffffull, 1);
		command(c);
		expect_error(idnf);
		address48(0, 0); // 65536
		command(c);
		expect_error(idnf);
	}
	EXPECT_EQ(in(data_port, 2), 0xffffu);
	EXPECT_EQ(read(0, 100 * 512), before);
}

TEST_F(ide, verify)
{
	create_image(100);
	address(3, 97);
	command(0x40);
	EXPECT_TRUE(irq);
	EXPECT_EQ(status(), ready);
	address48(0, 100);
	command(0x42);
	EXPECT_EQ(status(), ready);
}

TEST_F(ide, medium_errors)
{
	create_image(64);
	ASSERT_EQ(truncate(path().c_str(), 10 * 512), 0); // behind our back
	out(count_port, 8);
	command(0xc6);
	address(4, 16);
	command(0xc4); // 4-11: the end of the block is not there
	EXPECT_EQ(status(), failed);
	EXPECT_EQ(in(error_port), unc);
	EXPECT_EQ(in(low_port), 4u); // where the block began
	EXPECT_EQ(in(data_port, 2), 0xffffu);
	address(8, 4);
	command(0x20);
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(status(), drq);
		take(512);
	}
	EXPECT_EQ(status(), failed);
	EXPECT_EQ(in(low_port), 10u);
	address48(5, 20);
	command(0x42);
	expect_error(unc);
	address(1, 1);
	command(0x30);
	give(pattern(1, 1));
	EXPECT_EQ(status(), failed);
	EXPECT_EQ(in(error_port), abrt);
	EXPECT_TRUE(said("failed"));
}

TEST_F(ide, read_only_disk)
{
	create_image(64, ",readonly");
	address(3, 1);
	command(0x30);
	expect_error(abrt);
	EXPECT_EQ(in(data_port, 2), 0xffffu);
	command(0xe7);
	EXPECT_EQ(status(), ready);
	address(3, 1);
	EXPECT_EQ(read_blocks(0x20, 1, 1), before.substr(3 * 512, 512));
}

TEST_F(ide, set_features)
{
	create("memory:1M");
	const std::map<std::pair<unsigned, unsigned>, bool> cases = {
		{{0x02, 0}, true}, {{0x82, 0}, true}, {{0xaa, 0}, true}, {{0x55, 0}, true}, {{0x03, 0}, true}, {{0x03, 1}, true},
		{{0x03, 8}, true}, {{0x03, 12}, true}, {{0x03, 13}, false}, {{0x03, 0x20}, false}, {{0x03, 0x45}, false},
		{{0x00, 0}, false}, {{0x05, 0}, false}, {{0xff, 0}, false}};
	for (auto &c : cases) {
		out(feature_port, c.first.first);
		out(count_port, c.first.second);
		command(0xef);
		EXPECT_EQ(status(), c.second ? ready : failed) << c.first.first << " " << c.first.second;
	}
	out(feature_port, 0x82);
	command(0xef);
	EXPECT_EQ(identify()[85] & 0x60, 0x40); // the order above left look-ahead on
	address(1, 1);
	write_blocks(0x30, pattern(1, 1), 1); // through to the medium
	EXPECT_EQ(read(512, 512), pattern(1, 1));
}

TEST_F(ide, commands_without_data)
{
	create("memory:1M");
	for (uint8_t c : {0x10, 0x70, 0xe0, 0xe1, 0xe2, 0xe3, 0xe5, 0xe6, 0xe7, 0xea}) {
		command(c);
		EXPECT_TRUE(irq) << int(c);
		EXPECT_EQ(status(), ready) << int(c);
	}
	command(0xe5);
	EXPECT_EQ(in(count_port), 0xffu);
	for (uint8_t c : {0x00, 0x08, 0xa0, 0xa1, 0xc8, 0xca, 0x25, 0x35, 0xb0, 0xf8, 0xff}) {
		command(c);
		expect_error(abrt);
	}
}

TEST_F(ide, device_1_absent)
{
	create("memory:1M");
	out(device_port, dev1);
	EXPECT_EQ(status(), 0);
	EXPECT_EQ(alternate(), 0);
	EXPECT_EQ(in(error_port), 0u);
	for (uint8_t c : {0xec, 0x20, 0x30, 0xe7}) {
		command(c);
		EXPECT_EQ(status(), 0);
	}
	EXPECT_EQ(in(data_port, 2), 0xffffu);
	give("xxxx");
	EXPECT_EQ(interrupts, 0);
	out(device_port, 0);
	EXPECT_EQ(status(), ready);
}

TEST_F(ide, the_interrupt_is_the_selected_devices)
{
	create("memory:1M", "memory:1M");
	command(0xe7);
	EXPECT_TRUE(irq);
	out(device_port, dev1);
	EXPECT_FALSE(irq);
	status(); // of device 1
	out(device_port, 0);
	EXPECT_TRUE(irq);
	command(0x20); // a command takes it back; this one has its own
	EXPECT_TRUE(irq);
	status();
	EXPECT_FALSE(irq);
	out(control_port, KB_ATA_NIEN);
	command(0xe7);
	EXPECT_FALSE(irq);
	out(control_port, 0);
	EXPECT_TRUE(irq);
}

TEST_F(ide, software_reset)
{
	create_image(100);
	address(5, 3);
	command(0x20);
	take(100);
	out(control_port, KB_ATA_SRST);
	EXPECT_EQ(alternate(), KB_ATA_BSY);
	EXPECT_EQ(status(), KB_ATA_BSY);
	command(0xec); // not heard
	EXPECT_FALSE(irq);
	out(control_port, 0);
	EXPECT_EQ(status(), ready);
	EXPECT_EQ(in(error_port), 1u);
	EXPECT_EQ(in(low_port), 1u);
	EXPECT_EQ(in(mid_port), 0u);
	EXPECT_EQ(in(data_port, 2), 0xffffu);
	EXPECT_FALSE(irq);
}

TEST_F(ide, execute_device_diagnostic)
{
	create("memory:1M");
	out(device_port, dev1); // heard by device 0 whoever is selected
	command(0x90);
	EXPECT_TRUE(irq);
	EXPECT_EQ(in(device_port) & 0x1f, 0u);
	EXPECT_EQ(in(error_port), 1u);
	EXPECT_EQ(in(count_port), 1u);
	EXPECT_EQ(status(), ready);
	EXPECT_FALSE(irq);
}

TEST_F(ide, hob_shows_the_former_contents)
{
	create("memory:1M");
	address48(0x112233445566, 0x7788);
	EXPECT_EQ(in(low_port), 0x66u);
	out(control_port, KB_ATA_HOB);
	EXPECT_EQ(in(count_port), 0x77u);
	EXPECT_EQ(in(low_port), 0x33u);
	EXPECT_EQ(in(mid_port), 0x22u);
	EXPECT_EQ(in(high_port), 0x11u);
	out(low_port, 0x99); // a write ends it
	EXPECT_EQ(in(low_port), 0x99u);
}

TEST_F(ide, a_command_ends_a_transfer)
{
	create_image(100);
	address(5, 3);
	command(0x30);
	give(std::string(100, 'x'));
	address(6, 1);
	EXPECT_EQ(read_blocks(0x20, 1, 1), before.substr(6 * 512, 512));
	EXPECT_EQ(read(0, 100 * 512), before);
}

TEST_F(ide, wide_accesses_to_narrow_registers)
{
	create("memory:1M");
	out(count_port, 0x0403, 2);
	EXPECT_EQ(in(count_port), 3u);
	EXPECT_EQ(in(low_port), 4u);
	EXPECT_EQ(in(count_port, 2), 0x0403u);
	out(mid_port, 0xec000605, 4); // up to the command
	EXPECT_EQ(status(), drq);
}

TEST_F(ide, machine_reset)
{
	create_image(100);
	out(count_port, 4);
	command(0xc6);
	out(feature_port, 0x82);
	command(0xef);
	address(5, 3);
	command(0x20);
	out(control_port, KB_ATA_NIEN);
	kb_ide_reset(d);
	EXPECT_EQ(alternate(), ready);
	EXPECT_FALSE(irq);
	EXPECT_EQ(in(low_port), 1u);
	auto w = identify();
	EXPECT_EQ(w[59], 0);
	EXPECT_EQ(w[85] & 0x60, 0x60);
}

TEST_F(ide, create_leaves_nothing_on_failure)
{
	open("memory:1M");
	kb_ide_config c = config();
	kb_ide *other = nullptr;
	kb_region taken{};
	taken.name = "taken";
	taken.base = 0x3f6;
	taken.size = 1;
	ASSERT_EQ(kb_bus_add(&io, &taken, &err), 0);
	size_t regions = io.count;
	EXPECT_EQ(kb_ide_create(&other, &c, &err), -EEXIST);
	EXPECT_EQ(other, nullptr);
	EXPECT_EQ(io.count, regions);
	kb_bus_remove(&io, &taken);
	kb_pci_config slot{};
	kb_pci_function *f;
	slot.slot = KB_IDE_SLOT;
	ASSERT_EQ(kb_pci_function_create(&f, pci, &slot, nullptr, nullptr, &err), 0) << err.msg;
	EXPECT_EQ(kb_ide_create(&other, &c, &err), -EEXIST);
	EXPECT_EQ(io.count, regions - 1);
}

TEST_F(ide, hostile)
{
	create("memory:64K", "memory:4K,readonly");
	std::mt19937_64 rng(11);
	const uint16_t ports[] = {0x1f0, 0x1f0, 0x1f0, 0x1f1, 0x1f2, 0x1f3, 0x1f4, 0x1f5, 0x1f6, 0x1f7, 0x1f7, 0x3f6};
	const uint8_t commands[] = {0x20, 0x24, 0x29, 0x30, 0x34, 0x39, 0x40, 0x42, 0x90, 0x91, 0xc4, 0xc5, 0xc6, 0xec, 0xef, 0xe7};
	for (int i = 0; i < 400000; i++) {
		uint64_t r = rng(), v = rng() & (r & 2 ? 0x0707070707070707 : ~0ull);
		uint16_t port = ports[(r >> 8) % 12];
		size_t len = 1 + (r >> 16) % 8;
		if (r & 1) {
			kb_bus_read(&io, port, &v, len);
		} else {
			if (port == 0x1f7 && (r & 4))
				len = 1, v = commands[r >> 24 & 15];
			if (port == 0x3f6 && (r & 0x38))
				v = 0;
			kb_bus_write(&io, port, &v, len);
		}
	}
	out(control_port, KB_ATA_SRST);
	out(control_port, 0);
	EXPECT_EQ(status(), ready);
	identify();
}

} // namespace
