// platforms/acpi.h: every table's place, length, checksum and fields (ACPI 6.3, chapter 5), and what iasl says of them.
#include <algorithm>
#include <map>
#include <set>

#include "tests/unit/tables_fixture.h"

using namespace tables_fixture;

namespace {

constexpr uint32_t base = 0xe0000;

class acpi : public testing::Test {
protected:
	kb_tables_config cfg = pc();
	bytes area = bytes(0x10000);
	std::map<std::string, bytes> table;
	std::map<std::string, uint64_t> address;

	void build()
	{
		kb_buf b{area.data(), area.size(), 0, false};
		kb_acpi_build(&b, base, &cfg);
		ASSERT_FALSE(b.overflow);
		area.resize(b.len);
		walk();
	}
	void take(uint64_t at)
	{
		ASSERT_GE(at, base);
		ASSERT_LE(at - base + 36, area.size());
		std::string signature = chars(area, at - base, 4);
		uint64_t len = le(area, at - base + 4, 4);
		ASSERT_LE(at - base + len, area.size()) << signature;
		EXPECT_EQ(table.count(signature), 0u) << signature;
		table[signature] = slice(area, at - base, len);
		address[signature] = at;
	}
	// As an operating system does.
	void walk()
	{
		bytes rsdp = slice(area, 0, 36);
		ASSERT_EQ(chars(rsdp, 0, 8), "RSD PTR ");
		take(le(rsdp, 16, 4));
		take(le(rsdp, 24, 8));
		ASSERT_EQ(table.count("RSDT"), 1u);
		ASSERT_EQ(table.count("XSDT"), 1u);
		const bytes &xsdt = table["XSDT"], &rsdt = table["RSDT"];
		ASSERT_EQ((xsdt.size() - 36) / 8, (rsdt.size() - 36) / 4);
		for (size_t i = 0; 36 + 8 * i < xsdt.size(); i++) {
			EXPECT_EQ(le(xsdt, 36 + 8 * i, 8), le(rsdt, 36 + 4 * i, 4));
			take(le(xsdt, 36 + 8 * i, 8));
		}
		ASSERT_EQ(table.count("FACP"), 1u);
		take(le(table["FACP"], 36, 4));
		take(le(table["FACP"], 40, 4));
	}
};

TEST_F(acpi, root_pointer)
{
	build();
	bytes rsdp = slice(area, 0, 36);
	EXPECT_EQ(sum(slice(rsdp, 0, 20)), 0) << "checksum of ACPI 1.0";
	EXPECT_EQ(sum(rsdp), 0);
	EXPECT_EQ(chars(rsdp, 9, 6), "KVMBOX");
	EXPECT_EQ(rsdp[15], 2);
	EXPECT_EQ(le(rsdp, 20, 4), 36u);
}

TEST_F(acpi, tables_are_sound)
{
	cfg.ecam_base = 0xd0000000;
	build();
	std::map<std::string, unsigned> revisions = {{"RSDT", 1}, {"XSDT", 1}, {"FACP", 6}, {"APIC", 5},
						     {"HPET", 1}, {"MCFG", 1}, {"DSDT", 2}};
	EXPECT_EQ(table.size(), revisions.size() + 1); // FACS
	for (const auto &[signature, revision] : revisions) {
		ASSERT_EQ(table.count(signature), 1u) << signature;
		const bytes &t = table[signature];
		EXPECT_EQ(sum(t), 0) << signature;
		EXPECT_EQ(t[8], revision) << signature;
		EXPECT_EQ(chars(t, 10, 6), "KVMBOX");
		EXPECT_EQ(chars(t, 16, 8), "KVMBOXPC");
		EXPECT_EQ(le(t, 24, 4), 1u);
		EXPECT_EQ(address[signature] % 16, 0u) << signature;
	}
	// None over another.
	std::map<uint64_t, uint64_t> ranges = {{base, base + 36}};
	for (const auto &[signature, t] : table)
		ranges[address[signature]] = address[signature] + t.size();
	for (auto i = ranges.begin(); std::next(i) != ranges.end(); ++i)
		EXPECT_LE(i->second, std::next(i)->first);
}

TEST_F(acpi, facs)
{
	build();
	const bytes &t = table["FACS"];
	ASSERT_EQ(t.size(), 64u);
	EXPECT_EQ(address["FACS"] % 64, 0u);
	EXPECT_EQ(t[32], 2);
	for (size_t i = 8; i < 64; i++)
		EXPECT_EQ(t[i], i == 32 ? 2 : 0) << i;
}

// space, width, offset, access size, address
bytes gas(uint8_t space, uint8_t width, uint8_t access, uint64_t at)
{
	bytes b = {space, width, 0, access};
	for (unsigned i = 0; i < 8; i++)
		b.push_back(static_cast<uint8_t>(at >> 8 * i));
	return b;
}

TEST_F(acpi, fadt)
{
	build();
	const bytes &t = table["FACP"];
	ASSERT_EQ(t.size(), 276u);
	EXPECT_EQ(t[131], 3) << "6.3";
	EXPECT_EQ(le(t, 36, 4), address["FACS"]);
	EXPECT_EQ(le(t, 132, 8), 0u) << "only one of the two may be set";
	EXPECT_EQ(le(t, 40, 4), address["DSDT"]);
	EXPECT_EQ(le(t, 140, 8), address["DSDT"]);
	EXPECT_EQ(le(t, 46, 2), 9u);
	EXPECT_EQ(le(t, 48, 4), 0u) << "no SMI command port: always in ACPI mode";
	EXPECT_EQ(le(t, 56, 4), 0x600u);
	EXPECT_EQ(le(t, 60, 4), 0u);
	EXPECT_EQ(le(t, 64, 4), 0x604u);
	EXPECT_EQ(le(t, 76, 4), 0x608u);
	EXPECT_EQ(le(t, 80, 4), 0u);
	EXPECT_EQ(t[88], 4);
	EXPECT_EQ(t[89], 2);
	EXPECT_EQ(t[91], 4);
	EXPECT_EQ(t[92], 0) << "no GPEs";
	EXPECT_GT(le(t, 96, 2), 100u);
	EXPECT_GT(le(t, 98, 2), 1000u);
	EXPECT_EQ(t[108], 0x32);
	EXPECT_EQ(slice(t, 116, 12), gas(1, 8, 1, 0xcf9));
	EXPECT_EQ(t[128], 6);
	EXPECT_EQ(slice(t, 148, 12), gas(1, 32, 2, 0x600));
	EXPECT_EQ(slice(t, 160, 12), gas(0, 0, 0, 0));
	EXPECT_EQ(slice(t, 172, 12), gas(1, 16, 2, 0x604));
	EXPECT_EQ(slice(t, 208, 12), gas(1, 32, 3, 0x608));
	for (size_t i = 220; i < 276; i++)
		EXPECT_EQ(t[i], 0) << i;
}

TEST_F(acpi, fadt_flags_follow_the_hardware)
{
	enum { i8042 = 2, power = 1 << 4, no_rtc = 1 << 6, wide = 1 << 8, reset = 1 << 10, hardware_reduced = 1 << 20 };
	build();
	uint64_t boot = le(table["FACP"], 109, 2), flags = le(table["FACP"], 112, 4);
	EXPECT_EQ(boot, 5u) << "ISA devices, no 8042, no VGA";
	EXPECT_EQ(flags & (power | no_rtc | wide | reset | hardware_reduced), uint64_t(power | no_rtc | reset));
	EXPECT_EQ(flags & 1, 1u) << "WBINVD is mandatory";
	cfg.i8042 = cfg.power_button = cfg.rtc_event = cfg.pm_timer_32bit = true;
	table.clear();
	area.assign(0x10000, 0);
	build();
	EXPECT_EQ(le(table["FACP"], 109, 2), boot | i8042);
	EXPECT_EQ(le(table["FACP"], 112, 4), (flags | wide) & ~uint64_t(power | no_rtc));
}

TEST_F(acpi, madt)
{
	cfg.cpus = 3;
	cfg.ioapic_id = 7;
	build();
	const bytes &t = table["APIC"];
	EXPECT_EQ(le(t, 36, 4), 0xfee00000u);
	EXPECT_EQ(le(t, 40, 4), 1u) << "8259s, too";
	const bytes entries = {
		0, 8, 0, 0, 1, 0, 0, 0, 0, 8, 1, 1, 1, 0, 0, 0, 0, 8, 2, 2, 1, 0, 0, 0,
		1, 12, 7, 0, 0x00, 0x00, 0xc0, 0xfe, 0, 0, 0, 0,
		2, 10, 0, 0, 2, 0, 0, 0, 0, 0,    // IRQ 0 on pin 2, as the bus has it
		2, 10, 0, 9, 9, 0, 0, 0, 0xd, 0,  // SCI: level, active high
		4, 6, 0xff, 0, 0, 1,              // NMI on LINT1 of all
	};
	EXPECT_EQ(slice(t, 44, t.size() - 44), entries);
}

TEST_F(acpi, madt_without_moved_timer)
{
	cfg.pit_gsi = 0;
	build();
	EXPECT_EQ(table["APIC"].size(), 44u + 8 + 12 + 10 + 6);
}

TEST_F(acpi, hpet)
{
	build();
	const bytes &t = table["HPET"];
	ASSERT_EQ(t.size(), 56u);
	EXPECT_EQ(le(t, 36, 4), 0x8086a201u);
	EXPECT_EQ(slice(t, 40, 12), gas(0, 64, 0, 0xfed00000));
	EXPECT_EQ(t[52], 0);
	EXPECT_EQ(le(t, 53, 2), 100u);
	EXPECT_EQ(t[55], 0);
}

TEST_F(acpi, what_is_not_there_is_not_told)
{
	cfg.hpet_base = 0;
	build();
	EXPECT_EQ(table.count("HPET"), 0u);
	EXPECT_EQ(table.count("MCFG"), 0u);
	EXPECT_EQ(table.size(), 6u);
}

TEST_F(acpi, mcfg)
{
	cfg.ecam_base = 0xd0000000;
	cfg.pci_last_bus = 15;
	build();
	const bytes &t = table["MCFG"];
	ASSERT_EQ(t.size(), 60u);
	EXPECT_EQ(le(t, 36, 8), 0u);
	EXPECT_EQ(le(t, 44, 8), 0xd0000000u);
	EXPECT_EQ(slice(t, 52, 8), (bytes{0, 0, 0, 15, 0, 0, 0, 0}));
}

TEST_F(acpi, most_cpus)
{
	cfg.cpus = KB_TABLES_CPUS_MAX;
	build();
	EXPECT_EQ(table["APIC"].size(), 44u + 254 * 8 + 12 + 20 + 6);
	EXPECT_EQ(table["APIC"][44 + 253 * 8 + 3], 253);
	EXPECT_EQ(sum(table["DSDT"]), 0);
}

TEST_F(acpi, never_writes_behind_its_buffer)
{
	build();
	size_t whole = area.size();
	for (size_t cap = 0; cap < whole; cap += cap < 512 ? 1 : 37) {
		bytes room(whole + 64, 0xcc);
		kb_buf b{room.data(), cap, 0, false};
		kb_acpi_build(&b, base, &cfg);
		ASSERT_TRUE(b.overflow) << cap;
		ASSERT_TRUE(std::all_of(room.begin() + static_cast<long>(cap), room.end(), [](uint8_t x) { return x == 0xcc; })) << cap;
	}
}

// ---- iasl ----

class iasl : public acpi {
protected:
	folder dir;
	std::string out;

	void SetUp() override
	{
		if (!dir.has("iasl"))
			GTEST_SKIP() << "iasl is not installed (Debian: apt-get install acpica-tools)";
	}
	void expect_no_complaint(const std::string &what)
	{
		std::string lower = out;
		std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return static_cast<char>(tolower(c)); });
		size_t clean = lower.find("0 errors, 0 warnings, 0 remarks");
		if (clean != std::string::npos)
			lower.erase(clean, strlen("0 errors, 0 warnings, 0 remarks"));
		for (const char *word : {"error", "warning", "remark", "invalid", "incorrect", "unknown", "could not"})
			EXPECT_EQ(lower.find(word), std::string::npos) << what << ": " << out;
	}
	// There and back: the same again, but for the compiler's name and what follows from it.
	void expect_round_trip(const std::string &signature)
	{
		const bytes &t = table[signature];
		dir.write(signature + ".dat", t);
		ASSERT_EQ(dir.run("iasl -d " + signature + ".dat", out), 0) << out;
		expect_no_complaint(signature);
		ASSERT_EQ(dir.run("iasl -w3 -oa -p again " + signature + ".dsl", out), 0) << out;
		EXPECT_NE(out.find("0 Errors, 0 Warnings, 0 Remarks"), std::string::npos) << out;
		expect_no_complaint(signature);
		bytes again = dir.read("again.aml");
		ASSERT_EQ(again.size(), t.size()) << signature;
		if (signature == "FACS") {
			EXPECT_EQ(again, t);
			return;
		}
		EXPECT_EQ(slice(again, 0, 9), slice(t, 0, 9)) << signature;
		EXPECT_EQ(slice(again, 10, 18), slice(t, 10, 18)) << signature;
		EXPECT_EQ(slice(again, 36, t.size() - 36), slice(t, 36, t.size() - 36)) << signature;
	}
	void expect_round_trips()
	{
		build();
		for (const auto &t : table)
			expect_round_trip(t.first);
	}
	std::string dsl()
	{
		build();
		expect_round_trip("DSDT");
		bytes b = dir.read("DSDT.dsl");
		return {b.begin(), b.end()};
	}
};

TEST_F(iasl, takes_every_table)
{
	expect_round_trips();
}

TEST_F(iasl, takes_every_table_of_a_big_machine)
{
	cfg.cpus = KB_TABLES_CPUS_MAX;
	cfg.ecam_base = 0xb0000000;
	cfg.pci_last_bus = 254;
	cfg.i8042 = cfg.power_button = cfg.pm_timer_32bit = true;
	expect_round_trips();
}

TEST_F(iasl, takes_every_table_of_a_small_machine)
{
	cfg.hpet_base = 0;
	cfg.com1_port = 0;
	cfg.pci_mem64.size = 0;
	cfg.pci_io.size = 0;
	cfg.s5_type = 0;
	expect_round_trips();
}

// All blanks to one.
std::string squeeze(const std::string &s)
{
	std::string r;
	for (char c : s)
		if (!isspace(static_cast<unsigned char>(c)))
			r += c;
		else if (!r.empty() && r.back() != ' ')
			r += ' ';
	return r;
}

TEST_F(iasl, reads_the_devices)
{
	std::string s = squeeze(dsl());
	for (const char *part :
	     {"Device (PCI0) { Name (_HID, EisaId (\"PNP0A03\")", "Device (PIT) { Name (_HID, EisaId (\"PNP0100\")",
	      "Device (RTC) { Name (_HID, EisaId (\"PNP0B00\")", "Device (COM1) { Name (_HID, EisaId (\"PNP0501\")",
	      "Device (HPET) { Name (_HID, EisaId (\"PNP0103\")", "Device (C000) { Name (_HID, \"ACPI0007\"",
	      "IO (Decode16, 0x03F8, // Range Minimum 0x03F8, // Range Maximum 0x01, // Alignment 0x08, // Length ) IRQNoFlags () {4}",
	      "0xC000, // Range Minimum 0xFEFF, // Range Maximum", "0xE0000000, // Range Minimum 0xFEBFFFFF, // Range Maximum",
	      "0x0000004000000000, // Range Minimum 0x0000005FFFFFFFFF, // Range Maximum",
	      "0xFED00000, // Address Base 0x00000400, // Address Length",
	      "Name (_S5, Package (0x04) // _S5_: S5 System State { 0x05, 0x05, Zero, Zero })",
	      "Method (_PIC, 1, NotSerialized) // _PIC: Interrupt Model { PICF = Arg0 }",
	      "If (PICF) { Return (PRTA) /* \\_SB_.PCI0.PRTA */ } Return (PRTP)"})
		EXPECT_NE(s.find(part), std::string::npos) << part << "\n" << s.substr(0, 4000);
	EXPECT_EQ(s.find("PNP0A08"), std::string::npos);
}

TEST_F(iasl, reads_the_express_bridge)
{
	cfg.ecam_base = 0xd0000000;
	std::string s = squeeze(dsl());
	EXPECT_NE(s.find("EisaId (\"PNP0A08\")"), std::string::npos);
	EXPECT_NE(s.find("Name (_CID, EisaId (\"PNP0A03\")"), std::string::npos);
	EXPECT_NE(s.find("0xD0000000, // Address Base 0x00100000, // Address Length"), std::string::npos) << "ECAM is reserved";
}

// Name (PRTx, Package (0x80) { Package (0x04) { 0x..., n, Zero, gsi }, ... })
std::set<std::vector<unsigned>> routes(const std::string &s, const std::string &name)
{
	std::set<std::vector<unsigned>> all;
	size_t at = s.find("Name (" + name + ", Package (0x80)"), end = s.find("}) ", at);
	while ((at = s.find("Package (0x04) { ", at)) < end) {
		std::vector<unsigned> entry;
		at += strlen("Package (0x04) { ");
		for (int i = 0; i < 4; i++) {
			std::string word = s.substr(at, s.find_first_of(", ", at) - at);
			entry.push_back(word == "Zero" ? 0 : word == "One" ? 1 : static_cast<unsigned>(std::stoul(word, nullptr, 0)));
			at = s.find_first_not_of(", ", s.find_first_of(", ", at));
		}
		all.insert(entry);
	}
	return all;
}

TEST_F(iasl, reads_a_route_for_every_pin_of_every_slot)
{
	std::string s = squeeze(dsl());
	std::set<std::vector<unsigned>> apic, pic;
	const unsigned irq[] = {10, 11, 5, 9};
	for (unsigned slot = 0; slot < 32; slot++)
		for (unsigned pin = 0; pin < 4; pin++) {
			apic.insert({slot << 16 | 0xffff, pin, 0, 16 + (slot + pin) % 4});
			pic.insert({slot << 16 | 0xffff, pin, 0, irq[(slot + pin) % 4]});
		}
	EXPECT_EQ(routes(s, "PRTA"), apic);
	EXPECT_EQ(routes(s, "PRTP"), pic);
}

// ---- ACPICA, the interpreter of Linux and others ----

class acpica : public acpi {
protected:
	folder dir;
	std::string out;

	void SetUp() override
	{
		if (!dir.has("acpiexec"))
			GTEST_SKIP() << "acpiexec is not installed (Debian: apt-get install acpica-tools)";
	}
	void run(const std::string &commands)
	{
		build();
		dir.write("dsdt", table["DSDT"]);
		ASSERT_EQ(dir.run("acpiexec -di -b '" + commands + "' dsdt </dev/null", out), 0) << out;
		size_t end = out.find("Evaluating _SRS"); // "Resources" tries to set them, too
		for (const char *part : {"AE_", "Error", "Warning", "Excess", "Could not"})
			EXPECT_EQ(out.substr(0, end).find(part), std::string::npos) << part << "\n" << out;
	}
	unsigned count(const std::string &part) const
	{
		unsigned n = 0;
		for (size_t at = 0; (at = out.find(part, at)) != std::string::npos; at++)
			n++;
		return n;
	}
};

TEST_F(acpica, routes_go_to_the_8259_at_first)
{
	run("Evaluate \\_SB.PCI0._PRT");
	for (const char *irq : {"[Integer] = 000000000000000A", "[Integer] = 000000000000000B", "[Integer] = 0000000000000005",
				"[Integer] = 0000000000000009"})
		EXPECT_EQ(count(irq), 32u) << out;
}

TEST_F(acpica, and_to_the_io_apic_when_that_is_chosen)
{
	run("Evaluate \\_PIC 1;Evaluate \\_SB.PCI0._PRT");
	for (const char *gsi : {"[Integer] = 0000000000000010", "[Integer] = 0000000000000011", "[Integer] = 0000000000000012",
				"[Integer] = 0000000000000013"})
		EXPECT_EQ(count(gsi), 32u) << out;
}

TEST_F(acpica, reads_the_bridges_resources)
{
	run("Resources \\_SB.PCI0");
	for (const char *part : {"Bus Number Range", "I/O Range", "16-Bit WORD Address Space", "32-Bit DWORD Address Space",
				 "64-Bit QWORD Address Space", "E0000000", "FEBFFFFF", "0000004000000000", "0000005FFFFFFFFF"})
		EXPECT_NE(out.find(part), std::string::npos) << part << "\n" << out;
}

} // namespace
