// platforms/smbios.h: entry point and structures (DSP0134 3.0), and what dmidecode says of them.
#include <map>

#include "tests/unit/tables_fixture.h"

using namespace tables_fixture;

namespace {

constexpr uint32_t base = 0xf0000;

struct structure {
	bytes b; // the formatted part
	std::vector<std::string> strings;
	std::string string(size_t at) const
	{
		unsigned n = b.at(at);
		return n == 0 ? "" : strings.at(n - 1);
	}
};

class smbios : public testing::Test {
protected:
	kb_tables_config cfg = pc();
	bytes area = bytes(0x1000);
	std::multimap<unsigned, structure> all;
	std::vector<unsigned> order;

	void build()
	{
		kb_buf b{area.data(), area.size(), 0, false};
		kb_smbios_build(&b, base, &cfg);
		ASSERT_FALSE(b.overflow);
		area.resize(b.len);
		parse();
	}
	void parse()
	{
		std::map<uint64_t, int> handles;
		size_t at = le(area, 16, 8) - base, end = at + le(area, 12, 4);
		ASSERT_EQ(end, area.size());
		while (at < end) {
			structure s;
			size_t len = area.at(at + 1);
			ASSERT_GE(len, 4u);
			s.b = slice(area, at, len);
			EXPECT_EQ(handles[le(s.b, 2, 2)]++, 0) << "handles are unique";
			at += len;
			if (area.at(at) == 0)
				at++;
			else
				while (area.at(at)) {
					s.strings.emplace_back(reinterpret_cast<char *>(&area[at]));
					at += s.strings.back().size() + 1;
				}
			EXPECT_EQ(area.at(at), 0) << "two zeros end it";
			at++;
			order.push_back(s.b[0]);
			all.emplace(s.b[0], s);
		}
		EXPECT_EQ(at, end);
	}
	const structure &one(unsigned type)
	{
		static const structure none{bytes(256), {}};
		EXPECT_EQ(all.count(type), 1u) << type;
		auto i = all.find(type);
		return i == all.end() ? none : i->second;
	}
};

TEST_F(smbios, entry_point)
{
	build();
	bytes ep = slice(area, 0, 24);
	EXPECT_EQ(chars(ep, 0, 5), "_SM3_");
	EXPECT_EQ(sum(ep), 0);
	EXPECT_EQ(ep[6], 24);
	EXPECT_EQ(ep[7], 3);
	EXPECT_EQ(ep[8], 0);
	EXPECT_EQ(ep[10], 1);
	EXPECT_EQ(le(ep, 16, 8), base + 32u);
	EXPECT_EQ(order, (std::vector<unsigned>{0, 1, 3, 4, 16, 17, 19, 32, 127}));
}

TEST_F(smbios, lengths)
{
	cfg.ram_above_4g = 1 << 30;
	build();
	const std::map<unsigned, size_t> lengths = {{0, 0x18}, {1, 0x1b}, {3, 0x16}, {4, 0x30}, {16, 0x17}, {17, 0x28},
						    {19, 0x1f}, {32, 0xb}, {127, 4}};
	for (const auto &[type, s] : all)
		EXPECT_EQ(s.b.size(), lengths.at(type)) << type;
}

TEST_F(smbios, strings)
{
	build();
	EXPECT_EQ(one(0).string(4), "kvmbox");
	EXPECT_EQ(one(0).string(5), "1.2.3");
	EXPECT_EQ(one(0).string(8), "01/01/2026");
	EXPECT_EQ(one(1).string(4), "kvmbox");
	EXPECT_EQ(one(1).string(5), "kvmbox PC");
	EXPECT_EQ(one(1).string(6), "1.2.3");
	EXPECT_EQ(one(4).string(7), "GenuineIntel");
	EXPECT_EQ(one(4).string(16), "Some CPU @ 2.00GHz");
	EXPECT_TRUE(one(16).strings.empty());
}

TEST_F(smbios, strings_that_are_not_there)
{
	cfg.cpu_vendor = cfg.version = nullptr;
	cfg.cpu_name = "";
	build();
	EXPECT_EQ(one(0).string(5), "unknown");
	EXPECT_EQ(one(4).string(7), "unknown");
	EXPECT_EQ(one(4).string(16), "unknown");
}

TEST_F(smbios, processor)
{
	cfg.cpus = 6;
	for (size_t i = 0; i < 16; i++)
		cfg.uuid[i] = static_cast<uint8_t>(i);
	build();
	const bytes &b = one(4).b;
	EXPECT_EQ(le(b, 8, 4), 0x806c1u);
	EXPECT_EQ(le(b, 12, 4), 0x0783fbffu);
	EXPECT_EQ(b[0x23], 6);
	EXPECT_EQ(b[0x24], 6);
	EXPECT_EQ(b[0x25], 6);
	EXPECT_EQ(le(b, 0x2a, 2), 6u);
	EXPECT_EQ(slice(one(1).b, 8, 16), bytes(cfg.uuid, cfg.uuid + 16));
}

TEST_F(smbios, memory_sizes)
{
	const struct {
		uint64_t below, above;
		unsigned size, extended;
	} cases[] = {
		{1 << 20, 0, 1, 0},
		{(1 << 20) + 4096, 0, 0x8000 | 1028, 0},
		{256 << 20, 0, 256, 0},
		{3ull << 30, 1ull << 30, 4096, 0},
		{3ull << 30, (29ull << 30) - (2 << 20), 0x7ffe, 0},
		{3ull << 30, (29ull << 30) - (1 << 20), 0x7fff, 0x7fff},
		{3ull << 30, 61ull << 30, 0x7fff, 65536},
	};
	for (const auto &c : cases) {
		cfg.ram_below_4g = c.below;
		cfg.ram_above_4g = c.above;
		all.clear();
		area.assign(0x1000, 0);
		build();
		EXPECT_EQ(le(one(17).b, 12, 2), c.size);
		EXPECT_EQ(le(one(17).b, 0x1c, 4), c.extended);
		EXPECT_EQ(le(one(16).b, 7, 4), (c.below + c.above) >> 10);
		ASSERT_EQ(all.count(19), c.above ? 2u : 1u);
		auto r = all.find(19);
		EXPECT_EQ(le(r->second.b, 4, 4), 0u);
		EXPECT_EQ(le(r->second.b, 8, 4), (c.below >> 10) - 1);
		EXPECT_EQ(le(r->second.b, 12, 2), le(one(16).b, 2, 2)) << "its array";
		EXPECT_EQ(le(one(17).b, 4, 2), le(one(16).b, 2, 2));
		if (c.above) {
			++r;
			EXPECT_EQ(le(r->second.b, 4, 4), 0x400000u);
			EXPECT_EQ(le(r->second.b, 8, 4), 0x400000 + (c.above >> 10) - 1);
		}
	}
}

TEST_F(smbios, never_writes_behind_its_buffer)
{
	build();
	for (size_t cap = 0; cap < area.size(); cap++) {
		bytes room(area.size() + 64, 0xcc);
		kb_buf b{room.data(), cap, 0, false};
		kb_smbios_build(&b, base, &cfg);
		ASSERT_TRUE(b.overflow) << cap;
		for (size_t i = cap; i < room.size(); i++)
			ASSERT_EQ(room[i], 0xcc);
	}
}

// As dmidecode's own --dump-bin has it: the structures at 32.
TEST_F(smbios, dmidecode_reads_them)
{
	folder dir;
	std::string out;
	if (!dir.has("dmidecode"))
		GTEST_SKIP() << "dmidecode is not installed (Debian: apt-get install dmidecode)";
	cfg.cpus = 2;
	cfg.ram_below_4g = 3ull << 30;
	cfg.ram_above_4g = 1ull << 30;
	build();
	bytes dump = area;
	const uint64_t at = 32;
	memcpy(&dump[16], &at, sizeof(at));
	dump[5] = static_cast<uint8_t>(dump[5] - sum(slice(dump, 0, 24)));
	dir.write("dump", dump);
	ASSERT_EQ(dir.run("dmidecode --from-dump dump", out), 0) << out;
	for (const char *part :
	     {"SMBIOS 3.0.0 present", "Vendor: kvmbox", "Product Name: kvmbox PC", "System is a virtual machine", "ACPI is supported",
	      "Manufacturer: GenuineIntel", "Version: Some CPU @ 2.00GHz", "Core Count: 2", "Size: 4 GB", "Maximum Capacity: 4 GB",
	      "Range Size: 3 GB", "Range Size: 1 GB", "Status: No errors detected", "End Of Table"})
		EXPECT_NE(out.find(part), std::string::npos) << part << "\n" << out;
	for (const char *part : {"OUT OF SPEC", "BAD INDEX", "<BAD", "TRUNCATED", "Wrong DMI", "Invalid", "broken", "inconsistent"})
		EXPECT_EQ(out.find(part), std::string::npos) << part << "\n" << out;
}

} // namespace
