// platforms/config.h, platforms/units.h: defaults, text forms, range checks, quoting, help.
#include <gtest/gtest.h>

#include <cerrno>
#include <clocale>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "platforms/config.h"
#include "platforms/units.h"
}

namespace {

constexpr uint64_t us = 1000000, ms = 1000 * us, s = 1000 * ms;

struct config : testing::Test {
	kvmbox_config c;
	kvmbox_error err{};
	config() { kvmbox_config_init(&c); }
	~config() override { kvmbox_config_clear(&c); }
	int set(const char *key, const char *value)
	{
		err.msg[0] = 0;
		return kvmbox_config_set(&c, key, value, &err);
	}
	int parse(const char *text)
	{
		err.msg[0] = 0;
		return kvmbox_config_parse(&c, text, &err);
	}
	bool says(const char *text) const { return strstr(err.msg, text) != nullptr; }
};

TEST_F(config, counts)
{
	EXPECT_EQ(set("cpus", "64"), 0) << err.msg;
	EXPECT_EQ(c.cpus, 64u);
	for (const char *bad : {"", "0", "65", "-1", "+2", "2.0", "2K", " 2", "0x2", "two", "4294967298", "99999999999999999999"}) {
		EXPECT_EQ(set("cpus", bad), -EINVAL) << bad;
		EXPECT_TRUE(says("cpus")) << err.msg;
	}
	EXPECT_EQ(c.cpus, 64u);
}

TEST_F(config, defaults)
{
	EXPECT_EQ(c.ram, 64ull << 20);
	EXPECT_TRUE(c.hugepages);
	EXPECT_EQ(c.guest, nullptr);
	EXPECT_EQ(c.guest_format, KVMBOX_GUEST_AUTO);
	EXPECT_EQ(c.initrd, nullptr);
	EXPECT_STREQ(c.cmdline, "");
	EXPECT_EQ(c.guest_base, 0x100000u);
	EXPECT_EQ(c.guest_entry, 0x100000u);
	EXPECT_STREQ(c.cpu, "");
	EXPECT_EQ(c.quantum_ps, ms);
	EXPECT_EQ(c.cpus, 1u);
	EXPECT_EQ(c.clock, KVMBOX_CLOCK_TSC);
	EXPECT_EQ(c.time_scale, 1.0);
	EXPECT_EQ(c.fixed_exit_ps, us);
	EXPECT_EQ(c.step_ps, 1000u);
	EXPECT_EQ(c.cycle_ps, 500u);
	EXPECT_TRUE(c.slice_to_events);
	EXPECT_TRUE(c.assign_bars);
	EXPECT_STREQ(c.serial, "stdio");
	EXPECT_STREQ(c.debugcon, "null");
	EXPECT_EQ(c.debugcon_port, 0xe9u);
	EXPECT_EQ(c.disk, nullptr);
	EXPECT_EQ(c.disk2, nullptr);
	EXPECT_EQ(c.fw_cfg, nullptr);
	EXPECT_EQ(c.boot_menu_ps, 0u);
	EXPECT_STREQ(c.start_date, "2000-01-01T00:00:00");
	EXPECT_STREQ(c.pace, "none");
	EXPECT_TRUE(c.pvclock);
	EXPECT_EQ(c.assists, KVMBOX_ASSISTS_AUTO);
	EXPECT_EQ(c.tsc, KVMBOX_TSC_AUTO);
	EXPECT_EQ(c.tsc_bound_ps, us);
	EXPECT_EQ(c.completion_timeout_ps, s);
	EXPECT_FALSE(c.reset_ends);
	EXPECT_FALSE(c.stats);
	EXPECT_EQ(c.stats_json, nullptr);
	EXPECT_EQ(kb_config_check(&c, &err), 0) << err.msg;
}

TEST_F(config, sizes)
{
	const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{"1M", 1ull << 20},       {"1048576", 1ull << 20}, {"0x100000", 1ull << 20}, {"0X200000", 2ull << 20},
		{"4096K", 4096ull << 10}, {"3MiB", 3ull << 20},    {"2GiB", 2ull << 30},     {"2048KiB", 2048ull << 10},
		{"64G", 64ull << 30},     {"64m", 64ull << 20},    {"0x10M", 16ull << 20},
	};
	for (const auto &g : good) {
		EXPECT_EQ(set("ram", g.text), 0) << g.text << ": " << err.msg;
		EXPECT_EQ(c.ram, g.bytes) << g.text;
	}
	for (const char *bad : {"", "M", "1.5G", "64Q", "64MB", "64 M", "-1M", "+1M", " 1M", "0x", "0xZ", "1Mi", "1MiBs",
				"18446744073709551616", "17179869184G", "0x10000000000000000", "64M,", "1T"}) {
		EXPECT_EQ(set("ram", bad), -EINVAL) << bad;
		EXPECT_TRUE(says("ram=")) << err.msg;
	}
	EXPECT_EQ(c.ram, 16ull << 20) << "a bad value leaves the old one";
	EXPECT_EQ(set("guest_base", "18446744073709551615"), 0);
	EXPECT_EQ(c.guest_base, UINT64_MAX);
	EXPECT_EQ(set("guest_base", "17179869183G"), 0);
	EXPECT_EQ(c.guest_base, UINT64_MAX << 30);
}

TEST_F(config, ram_limits)
{
	for (const char *bad : {"0", "1023K", "1048575", "4098K", "1048577", "65G", "68719480832"})
		EXPECT_EQ(set("ram", bad), -EINVAL) << bad;
	EXPECT_EQ(set("ram", "5000000"), -EINVAL);
	EXPECT_TRUE(says("multiple of 4K")) << err.msg;
	EXPECT_EQ(set("ram", "1028K"), 0);
	EXPECT_EQ(c.ram, 1028u << 10);
}

TEST_F(config, times)
{
	const struct {
		const char *text;
		uint64_t ps;
	} good[] = {
		{"1ps", 1},
		{"10ns", 10000},
		{"1.5us", 1500000},
		{"0.1us", 100000},
		{"0.000001us", 1},
		{"0.3ms", 300000000},
		{"2ms", 2 * ms},
		{"1.000000000001s", s + 1},
		{"1.500000000000000000000s", s + s / 2},
		{"1.0ps", 1},
		{"86400s", 86400 * s},
	};
	for (const auto &g : good) {
		EXPECT_EQ(set("quantum", g.text), 0) << g.text << ": " << err.msg;
		EXPECT_EQ(c.quantum_ps, g.ps) << g.text;
	}
	for (const char *bad : {"", "1", "1.5", "ms", "1.ms", ".5ms", "1m", "1 ms", "-1ms", "1e3ns", "1.5ps", "0.0001ns",
				"1MS", "1msx", "86400.000000000001s", "18446744073709551616ps", "1.2.3s",
				"18446744073709551615s", "0x10ns"})
		EXPECT_EQ(set("quantum", bad), -EINVAL) << bad;
	EXPECT_EQ(c.quantum_ps, 86400 * s);
	EXPECT_EQ(set("quantum", "5"), -EINVAL);
	EXPECT_TRUE(says("ps, ns, us, ms or s")) << err.msg;
	EXPECT_EQ(set("quantum", "1.5ps"), -EINVAL);
	EXPECT_TRUE(says("whole number of picoseconds")) << err.msg;
}

TEST_F(config, kernel_keys)
{
	EXPECT_EQ(parse("guest_format=linux initrd='my disk.img' cmdline=\"console=ttyS0  a='b c'\""), 0) << err.msg;
	EXPECT_EQ(c.guest_format, KVMBOX_GUEST_LINUX);
	EXPECT_STREQ(c.initrd, "my disk.img");
	EXPECT_STREQ(c.cmdline, "console=ttyS0  a='b c'");
	EXPECT_EQ(set("guest_format", "multiboot"), 0);
	EXPECT_EQ(c.guest_format, KVMBOX_GUEST_MULTIBOOT);
	EXPECT_EQ(set("initrd", ""), 0);
	EXPECT_EQ(c.initrd, nullptr);
}

TEST_F(config, the_command_line_can_be_added_to)
{
	EXPECT_EQ(parse("cmdline+=one cmdline+='two three' cmdline+="), 0) << err.msg;
	EXPECT_STREQ(c.cmdline, "one two three");
	EXPECT_EQ(set("cmdline+", c.cmdline), 0); // the old value itself
	EXPECT_STREQ(c.cmdline, "one two three one two three");
	EXPECT_EQ(parse("cmdline=anew cmdline+=a=b"), 0) << err.msg;
	EXPECT_STREQ(c.cmdline, "anew a=b");
	EXPECT_EQ(set("initrd+", "x"), -EINVAL);
	EXPECT_TRUE(says("there is no key")) << err.msg;
	free(c.cmdline);
	c.cmdline = nullptr; // as a struct filled in by hand may have it
	EXPECT_EQ(set("cmdline+", "x"), 0);
	EXPECT_STREQ(c.cmdline, "x");
}

TEST_F(config, clocks_of_the_guest)
{
	EXPECT_EQ(parse("pvclock=no tsc=guest tsc_bound=0 assists=no"), 0) << err.msg;
	EXPECT_EQ(c.assists, KVMBOX_ASSISTS_NO);
	EXPECT_FALSE(c.pvclock);
	EXPECT_EQ(c.tsc, KVMBOX_TSC_GUEST);
	EXPECT_EQ(c.tsc_bound_ps, 0u);
	EXPECT_EQ(set("tsc", "host"), 0);
	EXPECT_EQ(c.tsc, KVMBOX_TSC_HOST);
	EXPECT_EQ(set("tsc", "simulated"), -EINVAL);
	EXPECT_TRUE(says("must be one of: auto guest host")) << err.msg;
	EXPECT_EQ(set("tsc_bound", "86401s"), -EINVAL);
	EXPECT_TRUE(says("one day")) << err.msg;
}

TEST_F(config, zero_times)
{
	for (const char *zero : {"0", "0ps", "0.000s"}) {
		EXPECT_EQ(set("quantum", zero), -EINVAL) << zero;
		EXPECT_TRUE(says("quantum must be longer than 0")) << err.msg;
		EXPECT_EQ(set("fixed_exit", zero), -EINVAL) << zero;
		EXPECT_TRUE(says("fixed_exit must be longer than 0")) << err.msg;
	}
	EXPECT_EQ(set("completion_timeout", "0"), 0) << err.msg;
	EXPECT_EQ(c.completion_timeout_ps, 0u);
	EXPECT_EQ(set("completion_timeout", "0us"), 0) << err.msg;
	EXPECT_EQ(c.quantum_ps, ms);
	EXPECT_EQ(c.fixed_exit_ps, us);
}

TEST_F(config, bus_latencies)
{
	EXPECT_EQ(c.bus_request_ps, 0u);
	EXPECT_EQ(c.bus_completion_ps, 0u);
	EXPECT_EQ(c.posted_write_ps, 0u);
	EXPECT_EQ(parse("bus_request=150ns bus_completion=2us posted_write=7ps"), 0) << err.msg;
	EXPECT_EQ(c.bus_request_ps, 150000u);
	EXPECT_EQ(c.bus_completion_ps, 2 * us);
	EXPECT_EQ(c.posted_write_ps, 7u);
	EXPECT_EQ(set("posted_write", "0"), 0) << err.msg;
	for (const char *key : {"bus_request", "bus_completion", "posted_write"}) {
		EXPECT_EQ(set(key, "86401s"), -EINVAL) << key;
		EXPECT_TRUE(says(key)) << err.msg;
		EXPECT_EQ(set(key, "-1ns"), -EINVAL) << key;
	}
}

TEST(units, time_ends_below_never)
{
	uint64_t t = 7;
	EXPECT_NE(kb_parse_time("18446744073709551615ps", &t), nullptr);
	EXPECT_NE(kb_parse_time("18446744.073709551615s", &t), nullptr);
	EXPECT_NE(kb_parse_time("18446745s", &t), nullptr);
	EXPECT_EQ(t, 7u);
	EXPECT_EQ(kb_parse_time("18446744.073709551614s", &t), nullptr);
	EXPECT_EQ(t, UINT64_MAX - 1);
}

TEST_F(config, booleans)
{
	for (const char *yes : {"yes", "true", "1", "on", "YES", "True"}) {
		c.reset_ends = false;
		EXPECT_EQ(set("reset_ends", yes), 0) << yes;
		EXPECT_TRUE(c.reset_ends) << yes;
	}
	for (const char *no : {"no", "false", "0", "off", "No"}) {
		c.hugepages = true;
		EXPECT_EQ(set("hugepages", no), 0) << no;
		EXPECT_FALSE(c.hugepages) << no;
	}
	for (const char *bad : {"", "y", "2", "yes ", "maybe"})
		EXPECT_EQ(set("assign_bars", bad), -EINVAL) << bad;
	EXPECT_TRUE(says("yes or no")) << err.msg;
	EXPECT_TRUE(c.assign_bars);
}

TEST_F(config, words)
{
	EXPECT_EQ(set("guest_format", "elf"), 0);
	EXPECT_EQ(c.guest_format, KVMBOX_GUEST_ELF);
	EXPECT_EQ(set("guest_format", "flat"), 0);
	EXPECT_EQ(c.guest_format, KVMBOX_GUEST_FLAT);
	EXPECT_EQ(set("guest_format", "reset"), 0);
	EXPECT_EQ(c.guest_format, KVMBOX_GUEST_RESET);
	EXPECT_EQ(set("guest_format", "pe"), -EINVAL);
	EXPECT_TRUE(says("auto elf flat reset")) << err.msg;
	EXPECT_EQ(c.guest_format, KVMBOX_GUEST_RESET);
	EXPECT_EQ(set("guest_format", "auto"), 0);
	EXPECT_EQ(c.guest_format, KVMBOX_GUEST_AUTO);
	EXPECT_EQ(set("clock", "fixed"), 0);
	EXPECT_EQ(c.clock, KVMBOX_CLOCK_FIXED);
	EXPECT_EQ(set("clock", "step"), 0);
	EXPECT_EQ(c.clock, KVMBOX_CLOCK_STEP);
	EXPECT_EQ(set("clock", "wall"), -EINVAL);
	EXPECT_TRUE(says("tsc fixed step")) << err.msg;
	EXPECT_EQ(set("clock", "perf-cycles"), 0);
	EXPECT_EQ(c.clock, KVMBOX_CLOCK_PERF_CYCLES);
	EXPECT_EQ(set("clock", "perf-insns"), 0);
	EXPECT_EQ(c.clock, KVMBOX_CLOCK_PERF_INSNS);
	EXPECT_EQ(set("clock", "host"), 0);
	EXPECT_EQ(c.clock, KVMBOX_CLOCK_HOST);
	EXPECT_EQ(set("clock", "tsc"), 0);
	EXPECT_EQ(c.clock, KVMBOX_CLOCK_TSC);
}

TEST_F(config, times_of_events_counted)
{
	for (const char *key : {"step", "cycle"}) {
		EXPECT_EQ(set(key, "1ms"), 0) << err.msg;
		EXPECT_EQ(set(key, "1ps"), 0) << err.msg;
		for (const char *bad : {"0", "1001us", "1s", "-1ns", "1"})
			EXPECT_EQ(set(key, bad), -EINVAL) << bad;
	}
	EXPECT_EQ(c.step_ps, 1u);
	EXPECT_EQ(c.cycle_ps, 1u);
}

TEST_F(config, time_scale)
{
	for (const char *good : {"0.5", "2e3", "1e6", "1E-3", "1000000"})
		EXPECT_EQ(set("time_scale", good), 0) << good << err.msg;
	EXPECT_EQ(c.time_scale, 1e6);
	for (const char *bad : {"", "0", "-1", "nan", "inf", "1e400", "1e-400", "1000001", "1,5", "2x", "0x10", " 1", "e", "."})
		EXPECT_EQ(set("time_scale", bad), -EINVAL) << bad;
	EXPECT_EQ(c.time_scale, 1e6);
}

TEST_F(config, time_scale_ignores_the_locale)
{
	std::string old = setlocale(LC_NUMERIC, nullptr);
	if (!setlocale(LC_NUMERIC, "de_DE.UTF-8") && !setlocale(LC_NUMERIC, "fr_FR.UTF-8"))
		GTEST_SKIP() << "no locale with a decimal comma is installed (de_DE.UTF-8 or fr_FR.UTF-8)";
	EXPECT_EQ(set("time_scale", "1.5"), 0) << err.msg;
	EXPECT_EQ(c.time_scale, 1.5);
	setlocale(LC_NUMERIC, old.c_str());
}

TEST_F(config, strings)
{
	EXPECT_EQ(set("guest", "/a b/c"), 0);
	EXPECT_STREQ(c.guest, "/a b/c");
	EXPECT_EQ(set("guest", c.guest), 0) << "its own value";
	EXPECT_STREQ(c.guest, "/a b/c");
	EXPECT_EQ(set("guest", ""), 0);
	EXPECT_EQ(c.guest, nullptr);
	EXPECT_EQ(set("cpu", "+avx,-x2apic"), 0);
	EXPECT_STREQ(c.cpu, "+avx,-x2apic");
	for (const char *good : {"null", "stdio", "pty", "memory", "file:/tmp/x", "stdio,logfile=/tmp/z", "unix:/tmp/y"}) {
		EXPECT_EQ(set("serial", good), 0) << good;
		EXPECT_STREQ(c.serial, good);
		EXPECT_EQ(set("debugcon", good), 0) << good;
	}
	for (const char *bad : {"", "file:", "unix:", "tcp:1", "Null", "null "})
		EXPECT_EQ(set("serial", bad), -EINVAL) << bad;
	EXPECT_TRUE(says("null, stdio, file:PATH, pty, unix:PATH or memory")) << err.msg;
	EXPECT_EQ(set("serial", "null,logfil=x"), -EINVAL);
	EXPECT_TRUE(says("logfile=PATH")) << err.msg;
	EXPECT_STREQ(c.serial, "unix:/tmp/y");
}

TEST_F(config, firmware_and_disks)
{
	EXPECT_EQ(parse("disk=raw:/a,readonly disk2=memory:1M fw_cfg=opt/x:/y boot_menu=60s debugcon_port=0x402"), 0) << err.msg;
	EXPECT_STREQ(c.disk, "raw:/a,readonly");
	EXPECT_STREQ(c.disk2, "memory:1M");
	EXPECT_STREQ(c.fw_cfg, "opt/x:/y");
	EXPECT_EQ(c.boot_menu_ps, 60 * s);
	EXPECT_EQ(c.debugcon_port, 0x402u);
	EXPECT_EQ(set("boot_menu", "60001ms"), -EINVAL);
	EXPECT_TRUE(says("boot_menu must be at most 60s")) << err.msg;
	EXPECT_EQ(set("debugcon_port", "0xffff"), 0);
	EXPECT_EQ(set("debugcon_port", "0x10000"), -EINVAL);
	EXPECT_EQ(parse("disk= disk2="), 0);
	EXPECT_EQ(c.disk, nullptr);
}

TEST_F(config, pace)
{
	EXPECT_EQ(kvmbox_config_pace(&c), 0);
	for (auto &good : { std::make_pair("realtime", 1.0), { "realtime*0.5", 0.5 }, { "realtime*20", 20.0 },
			    { "realtime*1e-6", 1e-6 }, { "none", 0.0 } }) {
		EXPECT_EQ(set("pace", good.first), 0) << good.first << err.msg;
		EXPECT_EQ(kvmbox_config_pace(&c), good.second);
	}
	for (auto bad : { "", "fast", "realtime*", "realtime*0", "realtime*-1", "realtime*1e7", "realtime*x", "realtime 2",
			  "realtime*nan" }) {
		EXPECT_EQ(set("pace", bad), -EINVAL) << bad;
		EXPECT_STREQ(c.pace, "none");
	}
}

TEST_F(config, start_date)
{
	for (const char *good : {"host", "2024-02-29T23:59:59", "2000-02-29T00:00:00", "1970-01-01T00:00:00"})
		EXPECT_EQ(set("start_date", good), 0) << good << err.msg;
	for (const char *bad : {"", "now", "2023-02-29T00:00:00", "2100-02-29T00:00:00", "2024-13-01T00:00:00",
				"2024-00-01T00:00:00", "2024-04-31T00:00:00", "2024-01-00T00:00:00", "2024-01-01",
				"2024-01-01T24:00:00", "2024-01-01T00:60:00", "2024-01-01T00:00:60", "1969-01-01T00:00:00",
				"2024-01-01T00:00:00Z", "2024-01-01 00:00:00", "2024-1-1T0:0:0"})
		EXPECT_EQ(set("start_date", bad), -EINVAL) << bad;
	EXPECT_STREQ(c.start_date, "1970-01-01T00:00:00");
	EXPECT_TRUE(says("YYYY-MM-DDTHH:MM:SS")) << err.msg;
}

TEST_F(config, unknown_keys_name_near_ones)
{
	EXPECT_EQ(set("quantim", "1ms"), -EINVAL);
	EXPECT_TRUE(says("quantim")) << err.msg;
	EXPECT_TRUE(says(" quantum")) << err.msg;
	EXPECT_FALSE(says("serial")) << err.msg;
	EXPECT_EQ(set("quantum_ps", "1ms"), -EINVAL);
	EXPECT_TRUE(says(": quantum")) << err.msg;
	EXPECT_EQ(set("timeout", "1ms"), -EINVAL);
	EXPECT_TRUE(says("completion_timeout")) << err.msg;
	EXPECT_EQ(set("zzzzzzzz", "1"), -EINVAL);
	EXPECT_TRUE(says("ram") && says("reset_ends")) << "lists all: " << err.msg;
	for (const char *odd : {"", "r", "RAM", "ram "})
		EXPECT_EQ(set(odd, "1M"), -EINVAL) << odd;
	std::string longest(100000, 'q');
	EXPECT_EQ(set(longest.c_str(), longest.c_str()), -EINVAL);
	EXPECT_EQ(set("ram", longest.c_str()), -EINVAL);
	EXPECT_EQ(set(nullptr, "1"), -EINVAL);
	EXPECT_EQ(set("ram", nullptr), -EINVAL);
	EXPECT_EQ(kvmbox_config_set(&c, "ram", "?", nullptr), -EINVAL);
}

TEST_F(config, parse)
{
	EXPECT_EQ(parse("ram=128M  quantum=10us\n\tguest='/a b/c' serial=\"file:/it's\"\n# a comment = 'open\n"
			"cpu=+a#b debugcon=file:/x\" \"y # trailing\nreset_ends=yes #"),
		  0)
		<< err.msg;
	EXPECT_EQ(c.ram, 128ull << 20);
	EXPECT_EQ(c.quantum_ps, 10 * us);
	EXPECT_STREQ(c.guest, "/a b/c");
	EXPECT_STREQ(c.serial, "file:/it's");
	EXPECT_STREQ(c.cpu, "+a#b");
	EXPECT_STREQ(c.debugcon, "file:/x y");
	EXPECT_TRUE(c.reset_ends);
	EXPECT_EQ(parse(""), 0);
	EXPECT_EQ(parse(" \n\t # only this"), 0);
	EXPECT_EQ(parse("guest='' cpu=a=b"), 0) << err.msg;
	EXPECT_EQ(c.guest, nullptr);
	EXPECT_STREQ(c.cpu, "a=b");
	EXPECT_EQ(parse("'guest=/a b'"), 0) << err.msg;
	EXPECT_STREQ(c.guest, "/a b");
}

TEST_F(config, parse_errors)
{
	EXPECT_EQ(parse("ram=32M guest='/a b"), -EINVAL);
	EXPECT_TRUE(says("not closed") && says("guest='/a b")) << err.msg;
	EXPECT_EQ(c.ram, 32ull << 20) << "keys before the bad one stay set";
	EXPECT_EQ(c.guest, nullptr);
	EXPECT_EQ(parse("guest=\"/a'"), -EINVAL);
	EXPECT_EQ(parse("ram"), -EINVAL);
	EXPECT_TRUE(says("key=value")) << err.msg;
	EXPECT_EQ(parse("=1"), -EINVAL);
	EXPECT_EQ(parse("ram = 64M"), -EINVAL);
	EXPECT_EQ(parse("ram=1 reset_ends=yes"), -EINVAL);
	EXPECT_FALSE(c.reset_ends) << "nothing behind the bad one is set";
	EXPECT_EQ(parse("''"), -EINVAL);
	EXPECT_EQ(parse(nullptr), -EINVAL);
	EXPECT_EQ(c.ram, 32ull << 20);
}

TEST_F(config, parse_survives_noise)
{
	const std::vector<std::string> words = {"ram=", "quantum=", "guest=", "'", "\"", " ", "\n", "#", "=", "1.5us", "64M",
						"serial=", "time_scale=", "0x", "9999999999999999999", "\xff", "a", "."};
	std::mt19937 rng(1);
	for (int i = 0; i < 100000; i++) {
		std::string text;
		for (unsigned n = rng() % 12; n; n--)
			text += words[rng() % words.size()];
		int rc = parse(text.c_str());
		ASSERT_TRUE(rc == 0 || (rc == -EINVAL && err.msg[0])) << text;
	}
	EXPECT_EQ(kb_config_check(&c, &err), 0) << err.msg;
}

TEST_F(config, copy_is_deep)
{
	kvmbox_config d;
	ASSERT_EQ(parse("guest=/g cpu=+x ram=2M"), 0);
	ASSERT_EQ(kvmbox_config_copy(&d, &c), 0);
	EXPECT_STREQ(d.guest, "/g");
	EXPECT_NE(d.guest, c.guest);
	EXPECT_NE(d.serial, c.serial);
	kvmbox_config_clear(&c);
	EXPECT_EQ(c.guest, nullptr);
	EXPECT_STREQ(d.cpu, "+x");
	EXPECT_STREQ(d.serial, "stdio");
	EXPECT_EQ(d.ram, 2u << 20);
	EXPECT_EQ(kb_config_check(&d, &err), 0) << err.msg;
	kvmbox_config_clear(&d);
	kvmbox_config_clear(&d);
	ASSERT_EQ(kvmbox_config_copy(&d, &c), 0) << "NULL strings";
	EXPECT_EQ(d.serial, nullptr);
}

TEST_F(config, check_of_a_struct_filled_by_hand)
{
	auto refused = [&](const char *field, auto change) {
		kvmbox_config d;
		ASSERT_EQ(kvmbox_config_copy(&d, &c), 0);
		char *strings[] = {d.serial, d.debugcon, d.start_date, d.pace};
		change(d);
		EXPECT_EQ(kb_config_check(&d, &err), -EINVAL) << field;
		EXPECT_TRUE(says(field)) << err.msg;
		d.serial = strings[0], d.debugcon = strings[1], d.start_date = strings[2], d.pace = strings[3];
		kvmbox_config_clear(&d);
	};
	refused("ram", [](auto &d) { d.ram = 0; });
	refused("ram", [](auto &d) { d.ram = (64ull << 20) + 1; });
	refused("ram", [](auto &d) { d.ram = UINT64_MAX & ~4095ull; });
	refused("cpus", [](auto &d) { d.cpus = 0; });
	refused("cpus", [](auto &d) { d.cpus = 65; });
	refused("cpu_quantum", [](auto &d) { d.cpu_quantum_ps = 0; });
	refused("quantum", [](auto &d) { d.quantum_ps = 0; });
	refused("quantum", [](auto &d) { d.quantum_ps = KVMBOX_TIME_NEVER; });
	refused("fixed_exit", [](auto &d) { d.fixed_exit_ps = 0; });
	refused("step", [](auto &d) { d.step_ps = 0; });
	refused("completion_timeout", [](auto &d) { d.completion_timeout_ps = KVMBOX_TIME_NEVER; });
	refused("bus_request", [](auto &d) { d.bus_request_ps = KVMBOX_NO_LATENCY; });
	refused("bus_completion", [](auto &d) { d.bus_completion_ps = KVMBOX_NO_LATENCY; });
	refused("posted_write", [](auto &d) { d.posted_write_ps = KVMBOX_NO_LATENCY; });
	refused("time_scale", [](auto &d) { d.time_scale = NAN; });
	refused("time_scale", [](auto &d) { d.time_scale = INFINITY; });
	refused("time_scale", [](auto &d) { d.time_scale = -0.0; });
	refused("guest_format", [](auto &d) { memset(&d.guest_format, 0x7f, sizeof(d.guest_format)); });
	refused("tsc", [](auto &d) { memset(&d.tsc, 3, sizeof(d.tsc)); });
	refused("tsc_bound", [](auto &d) { d.tsc_bound_ps = KVMBOX_TIME_NEVER; });
	refused("clock", [](auto &d) { memset(&d.clock, 2, sizeof(d.clock)); });
	refused("serial", [](auto &d) { d.serial = nullptr; });
	refused("debugcon", [](auto &d) { d.debugcon = nullptr; });
	refused("start_date", [](auto &d) { d.start_date = nullptr; });
	refused("pace", [](auto &d) { d.pace = nullptr; });
}

TEST_F(config, statistics)
{
	EXPECT_EQ(parse("stats=yes stats_json='a file.json'"), 0) << err.msg;
	EXPECT_TRUE(c.stats);
	EXPECT_STREQ(c.stats_json, "a file.json");
	EXPECT_EQ(set("stats", "table"), -EINVAL);
	EXPECT_TRUE(says("stats") && says("yes or no")) << err.msg;
	kvmbox_config copy;
	ASSERT_EQ(kvmbox_config_copy(&copy, &c), 0);
	EXPECT_STREQ(copy.stats_json, "a file.json");
	EXPECT_NE(copy.stats_json, c.stats_json);
	kvmbox_config_clear(&copy);
	EXPECT_EQ(parse("stats_json="), 0) << err.msg;
	EXPECT_EQ(c.stats_json, nullptr);
}

TEST_F(config, help_is_an_aligned_table_of_all_keys)
{
	char *text = nullptr;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	ASSERT_NE(f, nullptr);
	kvmbox_config_help(f);
	fclose(f);
	std::string all(text, len);
	free(text);
	size_t lines = 0, column = all.find("meaning");
	ASSERT_NE(column, std::string::npos);
	for (size_t at = 0, end; (end = all.find('\n', at)) != std::string::npos; at = end + 1, lines++) {
		std::string line = all.substr(at, end - at);
		ASSERT_GT(line.size(), column) << line;
		EXPECT_EQ(line[column - 1], ' ') << line;
		EXPECT_NE(line[column], ' ') << line;
		if (lines == 0)
			continue;
		std::string key = line.substr(0, line.find(' '));
		const bool any = key == "guest" || key == "initrd" || key == "cmdline" || key == "cpu" || key == "stats_json" ||
				 key == "fw_cfg" || key == "disk" || key == "disk2";
		EXPECT_EQ(set(key.c_str(), "\x01"), any ? 0 : -EINVAL) << key;
		EXPECT_FALSE(says("there is no key")) << err.msg;
	}
	EXPECT_GT(lines, 15u);
	EXPECT_NE(all.find("quantum "), std::string::npos);
	EXPECT_NE(all.find("2000-01-01T00:00:00"), std::string::npos);
}

} // namespace
