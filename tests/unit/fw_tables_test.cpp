// platforms/fw_tables.h: the files, played through a table loader of the test's own, give the very tables that
// kb_acpi_build() would have put there.
#include "tests/unit/tables_fixture.h"

#include <cerrno>
#include <map>

extern "C" {
#include "platforms/fw_tables.h"
}

using namespace tables_fixture;

namespace {

class fw_tables : public testing::Test {
protected:
	kb_bus io, mem;
	kb_fw_cfg *f = nullptr;
	kvmbox_error err{};
	std::map<std::string, bytes> files;

	void SetUp() override
	{
		kb_bus_init(&io, "port", 0xffff);
		kb_bus_init(&mem, "memory", UINT64_MAX);
		ASSERT_EQ(kb_fw_cfg_create(&f, &io, &mem, &err), 0) << err.msg;
	}
	void TearDown() override
	{
		kb_fw_cfg_destroy(f);
		kb_bus_destroy(&io);
		kb_bus_destroy(&mem);
	}
	bytes take(size_t n)
	{
		bytes b(n);
		for (uint8_t &x : b)
			kb_bus_read(&io, 0x511, &x, 1);
		return b;
	}
	bytes item(unsigned key, size_t n)
	{
		kb_bus_write(&io, 0x510, &key, 2);
		return take(n);
	}
	static uint32_t be(const bytes &b, size_t at, unsigned n)
	{
		uint32_t v = 0;
		for (unsigned i = 0; i < n; i++)
			v = v << 8 | b[at + i];
		return v;
	}
	void read_files()
	{
		uint32_t n = be(item(0x19, 4), 0, 4);
		bytes dir = take(64 * n);
		for (uint32_t i = 0; i < n; i++)
			files[reinterpret_cast<const char *>(&dir[64 * i + 8])] = item(be(dir, 64 * i + 4, 2), be(dir, 64 * i, 4));
	}
	static std::string name(const bytes &command, size_t at) { return reinterpret_cast<const char *>(&command[at]); }
	static void put_le(bytes &b, size_t at, unsigned n, uint64_t v)
	{
		ASSERT_LE(at + n, b.size());
		memcpy(&b[at], &v, n);
	}
	// What firmware does. Places: where it puts which file.
	void play(std::map<std::string, uint64_t> places)
	{
		const bytes script = files["etc/table-loader"];
		std::map<std::string, bool> allocated;
		ASSERT_EQ(script.size() % 128, 0u);
		ASSERT_FALSE(script.empty());
		for (size_t at = 0; at < script.size(); at += 128) {
			const bytes c = slice(script, at, 128);
			const std::string file = name(c, 4);
			ASSERT_TRUE(files.count(file)) << file;
			switch (le(c, 0, 4)) {
			case 1:
				EXPECT_EQ(places[file] % le(c, 60, 4), 0u);
				EXPECT_EQ(c[64], file == "etc/acpi/rsdp" ? 2 : 1); // F segment, high memory
				allocated[file] = true;
				break;
			case 2: {
				const std::string to = name(c, 60);
				ASSERT_TRUE(allocated[file] && allocated[to]);
				const size_t off = le(c, 116, 4);
				const unsigned n = c[120];
				put_le(files[file], off, n, le(files[file], off, n) + places[to]);
				break;
			}
			case 3: {
				const size_t off = le(c, 60, 4);
				ASSERT_TRUE(allocated[file]);
				ASSERT_LT(off, files[file].size());
				files[file][off] = static_cast<uint8_t>(files[file][off] - sum(slice(files[file], le(c, 64, 4), le(c, 68, 4))));
				break;
			}
			default:
				FAIL() << "command " << le(c, 0, 4);
			}
		}
	}
	void expect_range(size_t i, uint64_t base, uint64_t size, unsigned type)
	{
		const bytes e = slice(files["etc/e820"], 20 * i, 20);
		EXPECT_EQ(le(e, 0, 8), base);
		EXPECT_EQ(le(e, 8, 8), size);
		EXPECT_EQ(le(e, 16, 4), type);
	}
	// They end up as if built in their place; but for the RSDP, which is elsewhere.
	void check(const kb_tables_config &cfg, uint32_t base)
	{
		ASSERT_EQ(kb_fw_tables_add(f, &cfg, &err), 0) << err.msg;
		read_files();
		play({{"etc/acpi/rsdp", 0xf5a00}, {"etc/acpi/tables", base}});
		bytes direct(0x10000);
		kb_buf b{};
		b.data = direct.data();
		b.cap = direct.size();
		kb_acpi_build(&b, base, &cfg);
		direct.resize(b.len);
		EXPECT_EQ(files["etc/acpi/rsdp"], slice(direct, 0, 36));
		std::fill(direct.begin(), direct.begin() + 36, 0);
		EXPECT_EQ(files["etc/acpi/tables"], direct);
	}
};

TEST_F(fw_tables, the_loader_gets_what_would_have_been_there)
{
	check(pc(), 0x3fff000);
}

TEST_F(fw_tables, many_cpus_and_no_hpet)
{
	kb_tables_config cfg = pc();
	cfg.cpus = 254;
	cfg.hpet_base = 0;
	check(cfg, 0xbfff0040);
}

TEST_F(fw_tables, more_tables)
{
	kb_tables_config cfg = pc();
	cfg.ecam_base = 0xb0000000;
	check(cfg, 0x40);
}

TEST_F(fw_tables, smbios)
{
	const kb_tables_config cfg = pc();
	ASSERT_EQ(kb_fw_tables_add(f, &cfg, &err), 0) << err.msg;
	read_files();
	const bytes anchor = files["etc/smbios/smbios-anchor"], tables = files["etc/smbios/smbios-tables"];
	ASSERT_EQ(anchor.size(), 24u);
	EXPECT_EQ(chars(anchor, 0, 5), "_SM3_");
	EXPECT_EQ(sum(anchor), 0);
	EXPECT_EQ(le(anchor, 12, 4), tables.size());
	EXPECT_EQ(tables[0], 0); // type 0 comes first
	EXPECT_EQ(tables[tables.size() - 6], 127);
}

TEST_F(fw_tables, e820)
{
	kb_tables_config cfg = pc();
	cfg.ram_above_4g = 1ull << 33;
	ASSERT_EQ(kb_fw_tables_add(f, &cfg, &err), 0) << err.msg;
	read_files();
	EXPECT_EQ(files["etc/e820"].size(), 40u);
	expect_range(0, 0, 256 << 20, 1);
	expect_range(1, 1ull << 32, 1ull << 33, 1);
}

TEST_F(fw_tables, e820_reserves_the_ecam)
{
	kb_tables_config cfg = pc();
	cfg.ecam_base = 0xd0000000;
	ASSERT_EQ(kb_fw_tables_add(f, &cfg, &err), 0) << err.msg;
	read_files();
	EXPECT_EQ(files["etc/e820"].size(), 40u);
	expect_range(1, 0xd0000000, 1 << 20, 2);
}

TEST_F(fw_tables, a_configuration_that_no_table_can_tell_of)
{
	kb_tables_config cfg = pc();
	cfg.cpus = 255;
	EXPECT_EQ(kb_fw_tables_add(f, &cfg, &err), -EINVAL);
	cfg.cpus = 1;
	ASSERT_EQ(kb_fw_cfg_add_file(f, "etc/e820", "x", 1, &err), 0);
	EXPECT_EQ(kb_fw_tables_add(f, &cfg, &err), -EEXIST);
}

} // namespace
