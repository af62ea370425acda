// platforms/aml.h, platforms/buf.h: AML byte for byte (ACPI 6.3, chapter 20 and section 6.4), its limits, slips of the caller.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

extern "C" {
#include "platforms/aml.h"
}

namespace {

using bytes = std::vector<uint8_t>;

bytes operator+(bytes a, const bytes &b)
{
	a.insert(a.end(), b.begin(), b.end());
	return a;
}

bytes text(const std::string &s) { return {s.begin(), s.end()}; }

// What the calls write; nothing if they went wrong.
bytes aml(const std::function<void(kb_aml *)> &calls, size_t cap = 0x2000)
{
	bytes room(cap, 0xcc);
	kb_buf b{room.data(), room.size(), 0, false};
	kb_aml a;
	kb_aml_start(&a, &b);
	calls(&a);
	bool ok = kb_aml_ok(&a);
	kb_aml_finish(&a, &b);
	EXPECT_EQ(b.overflow, !ok);
	EXPECT_LE(b.len, cap);
	room.resize(ok ? b.len : 0);
	return room;
}

bytes name(const char *n)
{
	return aml([=](kb_aml *a) { kb_aml_ref(a, n); });
}

bytes integer(uint64_t v)
{
	return aml([=](kb_aml *a) { kb_aml_int(a, v); });
}

TEST(aml, integers_take_the_shortest_form)
{
	EXPECT_EQ(integer(0), (bytes({0x00})));
	EXPECT_EQ(integer(1), (bytes({0x01})));
	EXPECT_EQ(integer(2), (bytes({0x0a, 0x02})));
	EXPECT_EQ(integer(0xff), (bytes({0x0a, 0xff})));
	EXPECT_EQ(integer(0x100), (bytes({0x0b, 0x00, 0x01})));
	EXPECT_EQ(integer(0xffff), (bytes({0x0b, 0xff, 0xff})));
	EXPECT_EQ(integer(0x10000), (bytes({0x0c, 0, 0, 1, 0})));
	EXPECT_EQ(integer(0xffffffff), (bytes({0x0c, 0xff, 0xff, 0xff, 0xff})));
	EXPECT_EQ(integer(0x100000000), (bytes({0x0e, 0, 0, 0, 0, 1, 0, 0, 0})));
	EXPECT_EQ(integer(0xfffffffffffffffe), (bytes({0x0e, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})));
	EXPECT_EQ(integer(UINT64_MAX), (bytes({0xff})));
}

TEST(aml, names)
{
	EXPECT_EQ(name("_HID"), text("_HID"));
	EXPECT_EQ(name("RTC"), text("RTC_"));
	EXPECT_EQ(name("A"), text("A___"));
	EXPECT_EQ(name("C00F"), text("C00F"));
	EXPECT_EQ(name("\\_SB"), text("\\_SB_"));
	EXPECT_EQ(name("^PRT"), text("^PRT_"));
	EXPECT_EQ(name("^^PRT"), text("^^PRT_"));
	EXPECT_EQ(name("\\_SB.PCI0"), text("\\") + bytes({0x2e}) + text("_SB_PCI0"));
	EXPECT_EQ(name("_SB.PCI0.ISA"), bytes({0x2f, 3}) + text("_SB_PCI0ISA_"));
	EXPECT_EQ(name("\\A.B.C.D"), text("\\") + bytes({0x2f, 4}) + text("A___B___C___D___"));
	EXPECT_EQ(name("\\"), (bytes({'\\', 0}))) << "the root itself";
	EXPECT_EQ(name("^"), (bytes({'^', 0})));
}

TEST(aml, names_that_are_none)
{
	for (const char *n : {"", "toolong", "ABCDE", "lowr", "_HId", "0ABC", "A-B", "A.", ".A", "A..B", "A.0B", "A.ABCDE",
			      "A\\", "\\\\A", "^\\A", "A^B", " A", "A B", "\xc3\x84"})
		EXPECT_EQ(name(n), bytes()) << n;
	std::string longest = "A";
	for (int i = 1; i < 255; i++)
		longest += ".A";
	EXPECT_EQ(name(longest.c_str()).size(), 2u + 4 * 255);
	EXPECT_EQ(name((longest + ".A").c_str()), bytes());
}

TEST(aml, strings_and_ids)
{
	EXPECT_EQ(aml([](kb_aml *a) { kb_aml_string(a, "ACPI0007"); }), bytes({0x0d}) + text("ACPI0007") + bytes({0}));
	EXPECT_EQ(aml([](kb_aml *a) { kb_aml_string(a, ""); }), (bytes({0x0d, 0})));
	EXPECT_EQ(aml([](kb_aml *a) { kb_aml_string(a, "\x7f"); }), (bytes({0x0d, 0x7f, 0})));
	EXPECT_EQ(aml([](kb_aml *a) { kb_aml_string(a, "\x80"); }), bytes());
	auto id = [](const char *s) { return aml([=](kb_aml *a) { kb_aml_eisaid(a, s); }); };
	EXPECT_EQ(id("PNP0A03"), (bytes({0x0c, 0x41, 0xd0, 0x0a, 0x03}))) << "as in section 19.6.36";
	EXPECT_EQ(id("PNP0C0F"), (bytes({0x0c, 0x41, 0xd0, 0x0c, 0x0f})));
	EXPECT_EQ(id("INT0800"), (bytes({0x0c, 0x25, 0xd4, 0x08, 0x00})));
	EXPECT_EQ(id("PNP0000"), (bytes({0x0b, 0x41, 0xd0}))) << "an integer like others";
	EXPECT_EQ(id("AAA0000"), (bytes({0x0b, 0x04, 0x21})));
	for (const char *s : {"", "PNP0A0", "PNP0A033", "pnp0A03", "PNP0a03", "PN00A03", "PNP0A0G", "@NP0A03", "PNP-A03"})
		EXPECT_EQ(id(s), bytes()) << s;
}

// ---- lengths (section 20.2.4) ----

// A buffer in which everything behind the length is n bytes long.
bytes body(size_t n)
{
	size_t count = n >= 0x10005 ? n - 5 : n >= 259 ? n - 3 : n >= 4 ? n - 2 : n - 1; // its size takes 1 to 5 bytes
	bytes b(count, 0x5a);
	return aml([&](kb_aml *a) { kb_aml_buffer(a, b.data(), b.size()); }, count + 16);
}

TEST(aml, package_lengths_at_their_boundaries)
{
	const struct {
		size_t body; // without the length's own bytes
		bytes length;
	} cases[] = {
		{1, {0x02}},
		{61, {0x3e}},
		{62, {0x3f}},                     // 63 in all: the last that one byte holds
		{63, {0x41, 0x04}},               // 65: 64 does not exist, it would need two bytes and be 65 then
		{64, {0x42, 0x04}},
		{0xfff - 3, {0x4e, 0xff}},        // 4094
		{0xfff - 2, {0x4f, 0xff}},        // 4095
		{0xfff - 1, {0x81, 0x00, 0x01}},  // 4097
		{0x1000, {0x83, 0x00, 0x01}},
		{0xfffff - 4, {0x8e, 0xff, 0xff}},
		{0xfffff - 3, {0x8f, 0xff, 0xff}},       // 1048575
		{0xfffff - 2, {0xc1, 0x00, 0x00, 0x01}}, // 1048577
		{0x123456, {0xca, 0x45, 0x23, 0x01}},
	};
	for (const auto &c : cases) {
		bytes b = body(c.body);
		ASSERT_EQ(b.size(), 1 + c.length.size() + c.body) << c.body;
		EXPECT_EQ(b[0], 0x11);
		EXPECT_EQ(bytes(b.begin() + 1, b.begin() + 1 + static_cast<long>(c.length.size())), c.length) << c.body;
		EXPECT_EQ(b.back(), c.body > 1 ? 0x5a : 0);
	}
}

TEST(aml, the_length_counts_what_it_encloses)
{
	// Decoded again, every length up to over 4096 leads to the end.
	for (size_t n = 1; n < 4200; n++) {
		if (n == 3 || n == 258)
			continue; // body() has no buffer of that size
		bytes b = body(n);
		unsigned more = b[1] >> 6;
		size_t len = more ? b[1] & 0xf : b[1];
		for (unsigned i = 0; i < more; i++)
			len |= static_cast<size_t>(b[2 + i]) << (4 + 8 * i);
		ASSERT_EQ(len + 1, b.size()) << n;
		ASSERT_EQ(b[1] & (more ? 0x30 : 0), 0) << "reserved bits";
	}
}

TEST(aml, nested)
{
	auto nested = [](size_t n) {
		return aml([=](kb_aml *a) {
			bytes fill(n, 0xee);
			kb_aml_scope_begin(a, "\\_SB");
			kb_aml_device_begin(a, "DEV");
			kb_aml_name(a, "BUF");
			kb_aml_buffer(a, fill.data(), fill.size());
			kb_aml_end(a);
			kb_aml_end(a);
		});
	};
	bytes inner = bytes({0x08}) + text("BUF_") + bytes({0x11, 0x02, 0x00});
	EXPECT_EQ(nested(0), bytes({0x10, 0x15}) + text("\\_SB_") + bytes({0x5b, 0x82, 0x0d}) + text("DEV_") + inner);
	// The inner ones' longer lengths make the outer ones longer.
	inner = bytes({0x08}) + text("BUF_") + bytes({0x11, 0x35, 0x0a, 0x32}) + bytes(50, 0xee);
	EXPECT_EQ(nested(50), bytes({0x10, 0x4a, 0x04}) + text("\\_SB_") + bytes({0x5b, 0x82, 0x41, 0x04}) + text("DEV_") + inner);
}

// ---- terms ----

TEST(aml, methods_and_conditions)
{
	EXPECT_EQ(aml([](kb_aml *a) {
			  kb_aml_method_begin(a, "_PIC", 1);
			  kb_aml_store(a);
			  kb_aml_arg(a, 0);
			  kb_aml_ref(a, "PICF");
			  kb_aml_end(a);
		  }),
		  bytes({0x14, 0x0c}) + text("_PIC") + bytes({0x01, 0x70, 0x68}) + text("PICF"));
	EXPECT_EQ(aml([](kb_aml *a) {
			  kb_aml_if_begin(a);
			  kb_aml_equal(a);
			  kb_aml_local(a, 7);
			  kb_aml_int(a, 5);
			  kb_aml_return(a);
			  kb_aml_int(a, 1);
			  kb_aml_end(a);
			  kb_aml_else_begin(a);
			  kb_aml_return(a);
			  kb_aml_arg(a, 6);
			  kb_aml_end(a);
		  }),
		  (bytes({0xa0, 0x07, 0x93, 0x67, 0x0a, 0x05, 0xa4, 0x01, 0xa1, 0x03, 0xa4, 0x6e})));
	EXPECT_EQ(aml([](kb_aml *a) {
			  kb_aml_name(a, "_S5");
			  kb_aml_package_begin(a, 2);
			  kb_aml_int(a, 5);
			  kb_aml_int(a, 0);
			  kb_aml_end(a);
		  }),
		  bytes({0x08}) + text("_S5_") + bytes({0x12, 0x05, 0x02, 0x0a, 0x05, 0x00}));
}

TEST(aml, buffers)
{
	EXPECT_EQ(aml([](kb_aml *a) { kb_aml_buffer(a, "\x11\x22", 2); }), (bytes({0x11, 0x05, 0x0a, 0x02, 0x11, 0x22})));
	EXPECT_EQ(aml([](kb_aml *a) { kb_aml_buffer(a, "\x11", 1); }), (bytes({0x11, 0x03, 0x01, 0x11})));
	EXPECT_EQ(aml([](kb_aml *a) { kb_aml_buffer(a, nullptr, 0); }), (bytes({0x11, 0x02, 0x00})));
}

// ---- resources ----

bytes resource(const std::function<void(kb_aml *)> &calls)
{
	bytes b = aml([&](kb_aml *a) {
		kb_aml_resources_begin(a);
		calls(a);
		kb_aml_resources_end(a);
	});
	if (b.size() < 6)
		return {};
	// Buffer, length, its size as one byte, descriptors, end tag without checksum
	EXPECT_EQ(b[0], 0x11);
	EXPECT_EQ(b[1], b.size() - 1);
	EXPECT_EQ(b[2], 0x0a);
	EXPECT_EQ(b[3], b.size() - 4);
	EXPECT_EQ(b[b.size() - 2], 0x79);
	EXPECT_EQ(b[b.size() - 1], 0x00);
	return {b.begin() + 4, b.end() - 2};
}

TEST(aml, small_descriptors)
{
	EXPECT_EQ(resource([](kb_aml *a) { kb_aml_io(a, 0x3f8, 8); }), (bytes({0x47, 0x01, 0xf8, 0x03, 0xf8, 0x03, 0x01, 0x08})));
	EXPECT_EQ(resource([](kb_aml *a) { kb_aml_irq(a, 0); }), (bytes({0x22, 0x01, 0x00})));
	EXPECT_EQ(resource([](kb_aml *a) { kb_aml_irq(a, 4); }), (bytes({0x22, 0x10, 0x00})));
	EXPECT_EQ(resource([](kb_aml *a) { kb_aml_irq(a, 15); }), (bytes({0x22, 0x00, 0x80})));
	EXPECT_EQ(resource([](kb_aml *a) { kb_aml_irq(a, 16); }), bytes());
	EXPECT_EQ(aml([](kb_aml *a) {
			  kb_aml_resources_begin(a);
			  kb_aml_resources_end(a);
		  }),
		  (bytes({0x11, 0x05, 0x0a, 0x02, 0x79, 0x00})));
}

TEST(aml, large_descriptors)
{
	EXPECT_EQ(resource([](kb_aml *a) { kb_aml_interrupt(a, 0x12345678, KB_AML_IRQ_CONSUMER | KB_AML_IRQ_LOW | KB_AML_IRQ_SHARED); }),
		  (bytes({0x89, 0x06, 0x00, 0x0d, 0x01, 0x78, 0x56, 0x34, 0x12})));
	EXPECT_EQ(resource([](kb_aml *a) { kb_aml_memory32_fixed(a, 0xfed00000, 0x400, true); }),
		  (bytes({0x86, 0x09, 0x00, 0x01, 0x00, 0x00, 0xd0, 0xfe, 0x00, 0x04, 0x00, 0x00})));
	EXPECT_EQ(resource([](kb_aml *a) { kb_aml_memory32_fixed(a, 1, 2, false); })[3], 0x00);
	EXPECT_EQ(resource([](kb_aml *a) { kb_aml_bus_window(a, 0, 0xff); }),
		  (bytes({0x88, 0x0d, 0x00, 0x02, 0x0c, 0x00, 0, 0, 0, 0, 0xff, 0, 0, 0, 0x00, 0x01})));
	EXPECT_EQ(resource([](kb_aml *a) { kb_aml_io_window(a, 0xc000, 0xfeff); }),
		  (bytes({0x88, 0x0d, 0x00, 0x01, 0x0c, 0x03, 0, 0, 0x00, 0xc0, 0xff, 0xfe, 0, 0, 0x00, 0x3f})));
	EXPECT_EQ(resource([](kb_aml *a) { kb_aml_memory32_window(a, 0xe0000000, 0xfebfffff); }),
		  (bytes({0x87, 0x17, 0x00, 0x00, 0x0c, 0x01, 0, 0, 0, 0, 0, 0, 0, 0xe0, 0xff, 0xff, 0xbf, 0xfe, 0, 0, 0, 0,
			 0x00, 0x00, 0xc0, 0x1e})));
	EXPECT_EQ(resource([](kb_aml *a) { kb_aml_memory64_window(a, 0x4000000000, 0x5fffffffff); }),
		  (bytes({0x8a, 0x2b, 0x00, 0x00, 0x0c, 0x01, 0, 0, 0, 0, 0, 0, 0, 0,
			 0, 0, 0, 0, 0x40, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x5f, 0, 0, 0,
			 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0})));
}

TEST(aml, windows_that_are_none)
{
	EXPECT_EQ(resource([](kb_aml *a) { kb_aml_io_window(a, 1, 0); }), bytes());
	EXPECT_EQ(resource([](kb_aml *a) { kb_aml_io_window(a, 0, 0xffff); }), bytes()) << "length 0x10000";
	EXPECT_EQ(resource([](kb_aml *a) { kb_aml_io_window(a, 0, 0xfffe); }).size(), 16u);
	EXPECT_EQ(resource([](kb_aml *a) { kb_aml_memory32_window(a, 0, 0xffffffff); }), bytes());
	EXPECT_EQ(resource([](kb_aml *a) { kb_aml_memory64_window(a, 0, UINT64_MAX); }), bytes());
	EXPECT_EQ(resource([](kb_aml *a) { kb_aml_memory64_window(a, 1, UINT64_MAX); }).size(), 46u);
}

// ---- limits ----

TEST(aml, slips_of_the_caller_are_told)
{
	EXPECT_EQ(aml([](kb_aml *a) { kb_aml_end(a); }), bytes());
	EXPECT_EQ(aml([](kb_aml *a) { kb_aml_resources_end(a); }), bytes());
	EXPECT_EQ(aml([](kb_aml *a) { kb_aml_scope_begin(a, "\\"); }), bytes()) << "not ended";
	EXPECT_EQ(aml([](kb_aml *a) { kb_aml_method_begin(a, "M", 8), kb_aml_end(a); }), bytes());
	EXPECT_EQ(aml([](kb_aml *a) { kb_aml_package_begin(a, 256), kb_aml_end(a); }), bytes());
	EXPECT_EQ(aml([](kb_aml *a) { kb_aml_arg(a, 7); }), bytes());
	EXPECT_EQ(aml([](kb_aml *a) { kb_aml_local(a, 8); }), bytes());
	for (unsigned depth : {KB_AML_DEPTH, KB_AML_DEPTH + 1, KB_AML_DEPTH + 5}) {
		bytes b = aml([=](kb_aml *a) {
			for (unsigned i = 0; i < depth; i++)
				kb_aml_if_begin(a), kb_aml_int(a, 1);
			for (unsigned i = 0; i < depth; i++)
				kb_aml_end(a);
		});
		EXPECT_EQ(b.empty(), depth > KB_AML_DEPTH) << depth;
	}
}

TEST(aml, never_writes_behind_its_buffer)
{
	auto program = [](kb_aml *a) {
		kb_aml_scope_begin(a, "\\_SB.PCI0");
		kb_aml_name(a, "_CRS");
		kb_aml_resources_begin(a);
		for (uint16_t i = 0; i < 10; i++)
			kb_aml_io(a, i, 1), kb_aml_memory64_window(a, i, 0x100);
		kb_aml_resources_end(a);
		kb_aml_name(a, "_HID");
		kb_aml_eisaid(a, "PNP0A03");
		kb_aml_string(a, "text");
		kb_aml_end(a);
	};
	bytes whole = aml(program);
	ASSERT_FALSE(whole.empty());
	for (size_t cap = 0; cap < whole.size(); cap++) {
		bytes room(whole.size() + 64, 0xcc);
		kb_buf b{room.data(), cap, 0, false};
		kb_aml a;
		kb_aml_start(&a, &b);
		program(&a);
		kb_aml_finish(&a, &b);
		ASSERT_TRUE(b.overflow) << cap;
		for (size_t i = cap; i < room.size(); i++)
			ASSERT_EQ(room[i], 0xcc) << cap << " " << i;
	}
	EXPECT_EQ(aml(program, whole.size()), whole);
}

// ---- buf.h ----

TEST(buf, fills_up_to_the_last_byte_and_drops_the_rest)
{
	uint8_t room[9] = {9, 9, 9, 9, 9, 9, 9, 9, 9};
	kb_buf b{room, 8, 0, false};
	kb_buf_le(&b, 0x0403020100, 3);
	kb_buf_align(&b, 4);
	kb_buf_string(&b, "abc");
	EXPECT_FALSE(b.overflow);
	EXPECT_EQ(b.len, 8u);
	EXPECT_EQ(memcmp(room, "\0\1\2\0abc\0\11", 9), 0);
	kb_buf_align(&b, 8);
	kb_buf_put(&b, "x", 0);
	EXPECT_FALSE(b.overflow);
	kb_buf_put(&b, "x", 1);
	EXPECT_TRUE(b.overflow);
	b.len = 4; // even where there is room again
	kb_buf_put(&b, "x", 1);
	kb_buf_align(&b, 3);
	EXPECT_EQ(b.len, 4u);
	EXPECT_EQ(room[8], 9);
}

TEST(buf, inserts_and_overwrites)
{
	uint8_t room[8] = {};
	kb_buf b{room, sizeof(room), 0, false};
	kb_buf_put(&b, "adef", 4);
	kb_buf_insert(&b, 1, "bc", 2);
	kb_buf_insert(&b, 6, "g", 1);
	EXPECT_EQ(memcmp(room, "abcdefg", 8), 0);
	kb_buf_set(&b, 5, 0x5a59, 2);
	EXPECT_EQ(memcmp(room, "abcdeYZ", 8), 0);
	kb_buf_set(&b, 6, 0x5a59, 2);
	kb_buf_set(&b, 100, 0, 1);
	kb_buf_set(&b, SIZE_MAX, 0, 8);
	EXPECT_EQ(memcmp(room, "abcdeYZ", 8), 0) << "beyond the end nothing happens";
	kb_buf_insert(&b, 0, "xy", 2);
	EXPECT_TRUE(b.overflow);
	EXPECT_EQ(memcmp(room, "abcdeYZ", 8), 0);
}

TEST(buf, checksum)
{
	EXPECT_EQ(kb_checksum("", 0), 0);
	EXPECT_EQ(kb_checksum("\x01\xff", 2), 0);
	EXPECT_EQ(kb_checksum("\x01\x02\x03", 3), 0xfa);
	EXPECT_EQ(kb_checksum("\xff\xff\xff", 3), 3);
}

} // namespace
