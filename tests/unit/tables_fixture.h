// A configuration, the tables of it, and the outside programs that judge them.
#ifndef KB_TABLES_FIXTURE_H
#define KB_TABLES_FIXTURE_H

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" {
#include "platforms/acpi.h"
#include "platforms/mptable.h"
#include "platforms/smbios.h"
#include "platforms/tables.h"
}

namespace tables_fixture {

using bytes = std::vector<uint8_t>;

inline uint64_t le(const bytes &b, size_t at, unsigned n)
{
	uint64_t v = 0;
	EXPECT_LE(at + n, b.size());
	if (at + n <= b.size())
		memcpy(&v, &b[at], n);
	return v;
}

inline std::string chars(const bytes &b, size_t at, size_t n)
{
	EXPECT_LE(at + n, b.size());
	return at + n <= b.size() ? std::string(b.begin() + static_cast<long>(at), b.begin() + static_cast<long>(at + n)) : "";
}

inline bytes slice(const bytes &b, size_t at, size_t n)
{
	EXPECT_LE(at + n, b.size());
	return at + n <= b.size() ? bytes(b.begin() + static_cast<long>(at), b.begin() + static_cast<long>(at + n)) : bytes();
}

inline uint8_t sum(const bytes &b)
{
	unsigned s = 0;
	for (uint8_t x : b)
		s += x;
	return static_cast<uint8_t>(s);
}

inline kb_tables_config pc()
{
	kb_tables_config c{};
	c.cpus = 1;
	c.cpu_vendor = "GenuineIntel";
	c.cpu_name = "Some CPU @ 2.00GHz";
	c.cpu_signature = 0x806c1;
	c.cpu_features = 0x0783fbff;
	c.ram_below_4g = 256 << 20;
	c.lapic_base = 0xfee00000;
	c.ioapic_base = 0xfec00000;
	c.ioapic_version = 0x20;
	c.pit_gsi = 2;
	c.pic_on_pin0 = true;
	c.hpet_base = 0xfed00000;
	c.hpet_id = 0x8086a201;
	c.hpet_min_tick = 100;
	c.sci_irq = 9;
	c.pm_event = 0x600;
	c.pm_control = 0x604;
	c.pm_timer = 0x608;
	c.reset_port = 0xcf9;
	c.reset_value = 6;
	c.s5_type = 5;
	c.pci_io = {0xc000, 0x3f00};
	c.pci_mem32 = {0xe0000000, 0x1ec00000};
	c.pci_mem64 = {0x4000000000, 0x2000000000};
	for (unsigned i = 0; i < 4; i++) {
		c.pirq_gsi[i] = static_cast<uint8_t>(16 + i);
		c.pirq_irq[i] = static_cast<uint8_t>((const int[]){10, 11, 5, 9}[i]);
	}
	c.com1_port = 0x3f8;
	c.com1_irq = 4;
	c.ports[0] = {0x80, 1};
	c.ports[1] = {0xf4, 4};
	c.version = "1.2.3";
	return c;
}

// A folder of its own, and shell commands in it.
class folder {
public:
	folder() { EXPECT_NE(mkdtemp(path), nullptr); }
	~folder()
	{
		std::error_code ec;
		std::filesystem::remove_all(path, ec);
	}
	void write(const std::string &name, const bytes &b) const
	{
		std::ofstream f(std::string(path) + "/" + name, std::ios::binary);
		f.write(reinterpret_cast<const char *>(b.data()), static_cast<std::streamsize>(b.size()));
		ASSERT_TRUE(f.good());
	}
	bytes read(const std::string &name) const
	{
		std::ifstream f(std::string(path) + "/" + name, std::ios::binary);
		return {std::istreambuf_iterator<char>(f), {}};
	}
	// Its exit status; out: what it printed, errors too. The administrator's programs are found as well.
	int run(const std::string &command, std::string &out) const
	{
		std::string all = std::string("cd ") + path + " && PATH=$PATH:/usr/sbin:/sbin && { " + command + "; } 2>&1";
		FILE *p = popen(all.c_str(), "r");
		char buf[4096];
		size_t n;
		out.clear();
		if (!p)
			return -1;
		while ((n = fread(buf, 1, sizeof(buf), p)) > 0)
			out.append(buf, n);
		int rc = pclose(p);
		return WIFEXITED(rc) ? WEXITSTATUS(rc) : -1;
	}
	bool has(const std::string &program) const
	{
		std::string out;
		return run("command -v " + program, out) == 0;
	}

private:
	char path[32] = "/tmp/kb-tables-XXXXXX";
};

} // namespace tables_fixture

#endif
