// vcpu/cpuid.h: feature names, edits, fitting the table to the box.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

extern "C" {
#include "vcpu/cpuid.h"
#include "vcpu/cpuid_names.h"
}

namespace {

std::vector<kvm_cpuid_entry2> supported; // what the fake kernel says
int fails;

// The request goes by its name: some kernel headers give another number (and structure) to C++.
int fake_ioctl(int, unsigned long request, void *arg)
{
	auto *table = static_cast<kb_cpuid *>(arg);

	if (fails || strcmp(kb_kvm_request_name(request), "KVM_GET_SUPPORTED_CPUID") || table->head.nent < supported.size()) {
		errno = fails ? fails : E2BIG;
		return -1;
	}
	table->head.nent = static_cast<uint32_t>(supported.size());
	std::copy(supported.begin(), supported.end(), table->entries);
	return 0;
}

const kb_kvm_api fake = {nullptr, nullptr, fake_ioctl, nullptr, nullptr};

kvm_cpuid_entry2 leaf(uint32_t f, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	kvm_cpuid_entry2 e{};
	e.function = f;
	e.eax = a;
	e.ebx = b;
	e.ecx = c;
	e.edx = d;
	return e;
}

kvm_cpuid_entry2 subleaf(uint32_t f, uint32_t i, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	kvm_cpuid_entry2 e = leaf(f, a, b, c, d);
	e.index = i;
	e.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	return e;
}

// Everything on: features are told apart by what the code takes away.
class cpuid : public testing::Test {
protected:
	kb_cpuid t{};
	kvmbox_error err{};

	void SetUp() override
	{
		fails = 0;
		supported = {
			leaf(0, 0x1f, 0x756e6547, 0x6c65746e, 0x49656e69),
			leaf(1, 0x000806f8, 0x00100800, 0x7fffffff, 0xbfebfbff),
			subleaf(4, 0, 0x1c004121, 0x02c0003f, 0x3f, 0),
			subleaf(4, 1, 0x1c03c163, 0x03c0003f, 0xfff, 4),
			subleaf(4, 2, 0, 0, 0, 0),
			leaf(5, 0x40, 0x40, 3, 0x1120),
			subleaf(7, 0, 1, 0xffffffff, 0xffffffff, 0xffffffff),
			subleaf(7, 1, 0x30, 0, 0, 0),
			leaf(0xa, 0x08300805, 0, 0, 0x603),
			subleaf(0xb, 0, 1, 2, 0x100, 7),
			subleaf(0xb, 1, 4, 16, 0x201, 7),
			subleaf(0xd, 0, 0x2e7, 2696, 2696, 0),
			subleaf(0xd, 1, 0x1f, 2568, 0x800, 0),
			subleaf(0xd, 2, 256, 576, 0, 0),
			subleaf(0xd, 5, 64, 1088, 0, 0),
			subleaf(0xd, 6, 512, 1152, 0, 0),
			subleaf(0xd, 7, 1024, 1664, 0, 0),
			subleaf(0xd, 9, 8, 2688, 0, 0),
			subleaf(0xd, 11, 16, 0, 1, 0),
			leaf(0x15, 2, 200, 24000000, 0),
			subleaf(0x1f, 0, 1, 2, 0x100, 7),
			leaf(0x80000000, 0x80000008, 0, 0, 0),
			leaf(0x80000001, 0, 0, 0x121, 0x2c100800),
			leaf(0x80000002, 0x20555043, 0x20202020, 0x20202020, 0x20202020), // "CPU   ..."
			leaf(0x80000003, 0x20202020, 0x20202020, 0x20202020, 0x20202020),
			leaf(0x80000004, 0x20202020, 0x20202020, 0x20202020, 0x20202020),
			leaf(0x80000007, 0, 0, 0, 0x100),
			leaf(0x80000008, 0x392e, 0, 0, 0),
			leaf(0x40000000, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d),
			leaf(0x40000001, 0x01007efb, 0, 0, 0),
		};
		ASSERT_EQ(kb_cpuid_supported(&t, &fake, 3, &err), 0) << err.msg;
	}

	void amd()
	{
		supported = {
			leaf(0, 0xd, 0x68747541, 0x444d4163, 0x69746e65),
			leaf(1, 0x00b00f21, 0x01020800, 0xfffa3203, 0x178bfbff),
			subleaf(0xd, 0, 7, 832, 832, 0),
			leaf(0x80000000, 0x8000001e, 0x68747541, 0x444d4163, 0x69746e65),
			leaf(0x80000001, 0x00b00f21, 0, 0x204003f7, 0x2fd3fbff),
			leaf(0x80000008, 0x3030, 0, 0x7001, 0),
			leaf(0x8000000a, 1, 8, 0, 0x1000),
			subleaf(0x8000001d, 0, 0x4121, 0x02c0003f, 0x3f, 0),
			subleaf(0x8000001d, 3, 0x3c163, 0x03c0003f, 0x7fff, 1),
			leaf(0x8000001e, 9, 0x107, 3, 0),
		};
		ASSERT_EQ(kb_cpuid_supported(&t, &fake, 3, &err), 0) << err.msg;
	}

	kvm_cpuid_entry2 &at(uint32_t f, uint32_t i = 0)
	{
		static kvm_cpuid_entry2 none;
		kvm_cpuid_entry2 *e = kb_cpuid_find(&t, f, i);
		EXPECT_NE(e, nullptr) << std::hex << f;
		return e ? *e : none = {};
	}

	std::map<std::string, int> names()
	{
		std::map<std::string, int> m;
		kb_cpuid_each(&t, [](void *o, const char *n, int present) {
			auto &map = *static_cast<std::map<std::string, int> *>(o);
			EXPECT_EQ(map.count(n), 0u) << n << " twice";
			map[n] = present;
		}, &m);
		return m;
	}
};

TEST_F(cpuid, supported_reports_the_kernels_error)
{
	for (int code : {ENOMEM, EFAULT}) {
		fails = code;
		EXPECT_EQ(kb_cpuid_supported(&t, &fake, 3, &err), -code);
		EXPECT_NE(strstr(err.msg, "KVM_GET_SUPPORTED_CPUID"), nullptr) << err.msg;
		EXPECT_EQ(t.head.nent, 0u);
	}
	fails = 0;
	supported.resize(KB_CPUID_MAX + 1);
	EXPECT_EQ(kb_cpuid_supported(&t, &fake, 3, &err), -E2BIG);
	supported = {leaf(0, 0, 0, 0, 0)};
	EXPECT_EQ(kb_cpuid_supported(&t, &fake, 3, &err), -EPROTO);
	EXPECT_NE(strstr(err.msg, "leaf 1"), nullptr) << err.msg;
}

TEST_F(cpuid, known_bits_have_their_names)
{
	const struct { const char *name; uint32_t function, index; int reg; unsigned bit; } want[] = {
		{"fpu", 1, 0, KB_EDX, 0}, {"apic", 1, 0, KB_EDX, 9}, {"sep", 1, 0, KB_EDX, 11},
		{"clflush", 1, 0, KB_EDX, 19}, {"ht", 1, 0, KB_EDX, 28}, {"pni", 1, 0, KB_ECX, 0},
		{"monitor", 1, 0, KB_ECX, 3}, {"cx16", 1, 0, KB_ECX, 13}, {"x2apic", 1, 0, KB_ECX, 21},
		{"popcnt", 1, 0, KB_ECX, 23}, {"tsc_deadline_timer", 1, 0, KB_ECX, 24}, {"avx", 1, 0, KB_ECX, 28},
		{"hypervisor", 1, 0, KB_ECX, 31}, {"bmi1", 7, 0, KB_EBX, 3}, {"avx2", 7, 0, KB_EBX, 5},
		{"smap", 7, 0, KB_EBX, 20}, {"avx512vl", 7, 0, KB_EBX, 31}, {"umip", 7, 0, KB_ECX, 2},
		{"la57", 7, 0, KB_ECX, 16}, {"rdpid", 7, 0, KB_ECX, 22}, {"fsrm", 7, 0, KB_EDX, 4},
		{"arch_capabilities", 7, 0, KB_EDX, 29}, {"avx_vnni", 7, 1, KB_EAX, 4}, {"lam", 7, 1, KB_EAX, 26},
		{"xsaveopt", 0xd, 1, KB_EAX, 0}, {"xsaves", 0xd, 1, KB_EAX, 3}, {"syscall", 0x80000001, 0, KB_EDX, 11},
		{"nx", 0x80000001, 0, KB_EDX, 20}, {"rdtscp", 0x80000001, 0, KB_EDX, 27}, {"lm", 0x80000001, 0, KB_EDX, 29},
		{"lahf_lm", 0x80000001, 0, KB_ECX, 0}, {"abm", 0x80000001, 0, KB_ECX, 5}, {"topoext", 0x80000001, 0, KB_ECX, 22},
		{"nonstop_tsc", 0x80000007, 0, KB_EDX, 8}, {"clzero", 0x80000008, 0, KB_EBX, 0},
		{"wbnoinvd", 0x80000008, 0, KB_EBX, 9},
	};
	for (const auto &w : want) {
		int hits = 0;
		for (size_t i = 0; i < kb_cpuid_words_count; i++) {
			const kb_cpuid_word &word = kb_cpuid_words[i];
			const char *n = word.name[w.bit];
			if (word.function == w.function && word.index == w.index && word.reg == w.reg && n && !strcmp(n, w.name))
				hits++;
		}
		EXPECT_EQ(hits, 1) << w.name;
	}
}

TEST_F(cpuid, names_are_unique_and_aliases_lead_somewhere)
{
	auto all = names();
	EXPECT_GT(all.size(), 200u);
	for (size_t i = 0; i < kb_cpuid_aliases_count; i++) {
		EXPECT_EQ(all.count(kb_cpuid_aliases[i].name), 1u) << kb_cpuid_aliases[i].name;
		EXPECT_EQ(all.count(kb_cpuid_aliases[i].alias), 0u) << kb_cpuid_aliases[i].alias;
	}
	for (size_t i = 0; i < kb_cpuid_words_count; i++)
		for (const char *n : kb_cpuid_words[i].name)
			if (n) {
				EXPECT_LE(strlen(n), 32u) << n;
				if (kb_cpuid_words[i].mirror) {
					EXPECT_EQ(all.count(n), 1u) << n;
				}
			}
}

TEST_F(cpuid, removes_and_brings_back)
{
	EXPECT_TRUE(names()["popcnt"]);
	ASSERT_EQ(kb_cpuid_edit(&t, "-popcnt, -avx2 -lzcnt,-avx_vnni", &err), 0) << err.msg;
	auto n = names();
	EXPECT_FALSE(n["popcnt"]);
	EXPECT_FALSE(n["avx2"]);
	EXPECT_FALSE(n["abm"]);
	EXPECT_FALSE(n["avx_vnni"]);
	EXPECT_TRUE(n["sse4_2"]);
	EXPECT_EQ(at(1).ecx & 1u << 23, 0u);
	EXPECT_EQ(at(7, 1).eax, 0x20u);
	SetUp();
	ASSERT_EQ(kb_cpuid_edit(&t, " -popcnt,+popcnt , avx2,,", &err), 0) << err.msg;
	EXPECT_TRUE(names()["popcnt"]);
	kb_cpuid before = t;
	EXPECT_EQ(kb_cpuid_edit(&t, nullptr, &err), 0);
	EXPECT_EQ(kb_cpuid_edit(&t, "", &err), 0);
	EXPECT_EQ(memcmp(&before, &t, sizeof(t)), 0);
}

TEST_F(cpuid, amd_copies_of_a_bit_go_together)
{
	amd();
	ASSERT_EQ(kb_cpuid_edit(&t, "-mtrr", &err), 0) << err.msg;
	EXPECT_EQ(at(1).edx & 1u << 12, 0u);
	EXPECT_EQ(at(0x80000001).edx & 1u << 12, 0u);
	SetUp(); // Intel's table does not have the copies: + must not invent them
	ASSERT_EQ(kb_cpuid_edit(&t, "+mtrr", &err), 0) << err.msg;
	EXPECT_EQ(at(0x80000001).edx & 1u << 12, 0u);
}

TEST_F(cpuid, refuses_what_it_does_not_know_and_says_what_is_near)
{
	const struct { const char *edit, *near; } cases[] = {
		{"-popcount", "popcnt"}, {"-avx-2", "avx2"}, {"-POPCNT", "popcnt"}, {"-see2", "sse2"},
		{"-tsc_deadlin", "tsc_deadline"}, {"-cmpxchg16", "cmpxchg16b"}, {"-x2apci", "x2apic"},
		{"-avx512_v", "avx512_v"},
	};
	kb_cpuid before = t;
	for (const auto &c : cases) {
		EXPECT_EQ(kb_cpuid_edit(&t, c.edit, &err), -EINVAL) << c.edit;
		EXPECT_NE(strstr(err.msg, c.near), nullptr) << err.msg;
		EXPECT_NE(strstr(err.msg, c.edit + 1), nullptr) << err.msg;
	}
	EXPECT_EQ(kb_cpuid_edit(&t, "-fpu,-zzzzzz", &err), -EINVAL);
	EXPECT_NE(strstr(err.msg, "/proc/cpuinfo"), nullptr) << err.msg;
	EXPECT_EQ(kb_cpuid_edit(&t, "-sse,-", &err), -EINVAL);
	EXPECT_EQ(kb_cpuid_edit(&t, "- sse", &err), -EINVAL);
	EXPECT_EQ(kb_cpuid_edit(&t, ("-" + std::string(5000, 'a')).c_str(), &err), -EINVAL);
	EXPECT_EQ(kb_cpuid_edit(&t, "-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", nullptr), -EINVAL);
	EXPECT_EQ(memcmp(&before, &t, sizeof(t)), 0) << "a failed edit changed the table";
}

TEST_F(cpuid, refuses_to_add_what_is_not_there)
{
	EXPECT_EQ(kb_cpuid_edit(&t, "+svm", &err), -EINVAL);
	EXPECT_EQ(kb_cpuid_edit(&t, "+3dnow", &err), -EINVAL);
	EXPECT_NE(strstr(err.msg, "3dnow"), nullptr) << err.msg;
	EXPECT_NE(strstr(err.msg, "host"), nullptr) << err.msg;
	EXPECT_EQ(kb_cpuid_edit(&t, "+no_nested_data_bp", &err), -EINVAL); // the whole leaf is missing
	EXPECT_EQ(kb_cpuid_edit(&t, "-no_nested_data_bp", &err), 0) << err.msg;
	EXPECT_EQ(kb_cpuid_edit(&t, "+monitor", &err), -EINVAL); // there, but not in the box
	EXPECT_NE(strstr(err.msg, "box"), nullptr) << err.msg;
}

TEST_F(cpuid, xsave_components_follow_the_edits)
{
	ASSERT_EQ(kb_cpuid_edit(&t, "-avx512f", &err), 0);
	EXPECT_EQ(at(0xd).eax, 0x207u);
	EXPECT_EQ(at(0xd, 5).eax, 0u);
	EXPECT_EQ(at(0xd, 9).eax, 8u);
	EXPECT_EQ(at(0xd, 11).eax, 16u) << "a supervisor state is not of XCR0";
	EXPECT_EQ(at(0xd).ecx, 2696u);
	ASSERT_EQ(kb_cpuid_edit(&t, "-pku", &err), 0);
	EXPECT_EQ(at(0xd).eax, 7u);
	EXPECT_EQ(at(0xd).ecx, 832u);
	ASSERT_EQ(kb_cpuid_edit(&t, "-avx", &err), 0);
	EXPECT_EQ(at(0xd).eax, 3u);
	EXPECT_EQ(at(0xd).ecx, 576u);
	ASSERT_EQ(kb_cpuid_edit(&t, "-xsave", &err), 0);
	EXPECT_EQ(at(0xd).eax, 0u);
	EXPECT_EQ(at(0xd, 1).eax, 0u);
	SetUp(); // kvm_pvm: the bit is hidden, the state is there
	at(1).ecx &= ~(1u << 26 | 1u << 28);
	ASSERT_EQ(kb_cpuid_edit(&t, "-xsave,-avx,-popcnt", &err), 0);
	EXPECT_EQ(at(0xd).eax, 0x2e7u);
}

TEST_F(cpuid, fit_clears_what_the_box_cannot_keep)
{
	kb_cpuid_fit(&t, 0, 1);
	auto n = names();
	for (const char *name : {"monitor", "mwaitx", "vmx", "pdcm", "intel_pt", "sgx", "dts", "osxsave"})
		EXPECT_FALSE(n[name]) << name;
	for (const char *name : {"fpu", "apic", "sse2", "avx2", "popcnt", "hypervisor", "lm", "nonstop_tsc"})
		EXPECT_TRUE(n[name]) << name;
	for (uint32_t f : {5u, 0xau, 0x15u})
		EXPECT_EQ(at(f).eax | at(f).ebx | at(f).ecx | at(f).edx, 0u) << f;
	EXPECT_EQ(at(0x40000000).eax, 0x40000001u);
	EXPECT_EQ(at(0x40000001).eax, 2u) << "only NOP_IO_DELAY needs nothing of the kernel";
	EXPECT_EQ(at(0).ebx, 0x756e6547u);
	EXPECT_EQ(at(0x80000008).eax, 0x392eu);
}

TEST_F(cpuid, fit_numbers_the_vcpus)
{
	kb_cpuid_fit(&t, 5, 6);
	EXPECT_EQ(at(1).ebx, 5u << 24 | 6u << 16 | 0x0800u);
	EXPECT_NE(at(1).edx & 1u << 28, 0u);
	EXPECT_EQ(at(4, 0).eax, 0x121u | 7u << 26) << "first-level cache: not shared; 8 core ids";
	EXPECT_EQ(at(4, 1).eax, 0x163u | 7u << 14 | 7u << 26);
	EXPECT_EQ(at(4, 2).eax, 0u);
	for (uint32_t f : {0xbu, 0x1fu}) {
		EXPECT_EQ(at(f, 0).eax, 0u);
		EXPECT_EQ(at(f, 0).ebx, 1u);
		EXPECT_EQ(at(f, 0).ecx, 0x100u);
		EXPECT_EQ(at(f, 0).edx, 5u);
		EXPECT_EQ(at(f, 1).eax, 3u);
		EXPECT_EQ(at(f, 1).ebx, 6u);
		EXPECT_EQ(at(f, 1).ecx, 0x201u);
		EXPECT_EQ(at(f, 1).edx, 5u);
		EXPECT_EQ(at(f, 2).ebx, 0u);
		EXPECT_EQ(at(f, 2).ecx, 2u);
	}
	EXPECT_EQ(at(0).eax, 0x1fu);
	EXPECT_EQ(at(0x80000000).eax, 0x80000008u);
	kb_cpuid_fit(&t, 0, 1);
	EXPECT_EQ(at(1).ebx, 1u << 16 | 0x0800u);
	EXPECT_EQ(at(1).edx & 1u << 28, 0u);
}

TEST_F(cpuid, fit_numbers_amd_vcpus)
{
	amd();
	kb_cpuid_fit(&t, 2, 4);
	EXPECT_EQ(at(0x80000008).ecx, 2u << 12 | 3u);
	EXPECT_EQ(at(0x8000001e).eax, 2u);
	EXPECT_EQ(at(0x8000001e).ebx, 2u);
	EXPECT_EQ(at(0x8000001e).ecx, 0u);
	EXPECT_EQ(at(0x8000001d, 0).eax, 0x121u);
	EXPECT_EQ(at(0x8000001d, 3).eax, 0x163u | 3u << 14);
	EXPECT_NE(at(0x80000001).ecx & 2, 0u);
	EXPECT_EQ(at(0x80000001).ecx & (4 | 1u << 29), 0u) << "svm, mwaitx";
	EXPECT_EQ(at(0x8000000a).edx, 0u);
	EXPECT_EQ(at(0x80000000).eax, 0x8000001eu);
	EXPECT_EQ(at(0).eax, 0xdu);
	EXPECT_EQ(kb_cpuid_find(&t, 0xb, 0), nullptr) << "a leaf the vendor does not have";
	kb_cpuid_fit(&t, 0, 1);
	EXPECT_EQ(at(0x80000001).ecx & 2, 0u);
}

std::string brand(kb_cpuid *t)
{
	char s[49] = "";
	for (uint32_t i = 0; i < 3; i++) {
		kvm_cpuid_entry2 *e = kb_cpuid_find(t, 0x80000002 + i, 0);
		uint32_t r[4] = {e->eax, e->ebx, e->ecx, e->edx};
		memcpy(s + 16 * i, r, 16);
	}
	for (size_t i = strlen(s); i < 48; i++)
		EXPECT_EQ(s[i], 0) << i;
	return s;
}

TEST_F(cpuid, brand_string_is_there_and_padded_with_nuls)
{
	kb_cpuid_fit(&t, 0, 1);
	EXPECT_EQ(brand(&t), "CPU");
	amd(); // has none
	kb_cpuid_fit(&t, 0, 1);
	EXPECT_EQ(brand(&t), "kvmbox virtual CPU");
	EXPECT_EQ(at(0x80000000).eax, 0x8000001eu);
	memset(&at(0x80000002).eax, 'x', 16);
	memset(&at(0x80000003).eax, 'y', 16);
	memset(&at(0x80000004).eax, 'z', 16);
	kb_cpuid_fit(&t, 0, 1);
	EXPECT_EQ(brand(&t).size(), 48u);
}

TEST_F(cpuid, a_guest_that_shall_not_know_gets_no_hypervisor_leaves)
{
	ASSERT_EQ(kb_cpuid_edit(&t, "-hypervisor", &err), 0);
	kb_cpuid_fit(&t, 0, 1);
	EXPECT_EQ(kb_cpuid_find(&t, 0x40000000, 0), nullptr);
	EXPECT_EQ(kb_cpuid_find(&t, 0x40000001, 0), nullptr);
}

TEST_F(cpuid, clocks_are_told)
{
	const kb_cpuid_clocks c = { 0x01000009, 2596122, 1000000000, true, true, true };

	for (bool is_amd : {false, true}) { // the one has leaves 0x15 and 0x16, the other has not
		if (is_amd)
			amd();
		kb_cpuid_fit(&t, 0, 1);
		kb_cpuid_tell_clocks(&t, &c);
		EXPECT_DOUBLE_EQ(double(at(0x15).ecx) * at(0x15).ebx / at(0x15).eax, 2596122000.0);
		EXPECT_EQ(at(0x15).ecx, 1000000000u) << "the crystal drives the APIC timer";
		EXPECT_EQ(at(0x16).eax, 2596u);
		EXPECT_EQ(at(0x16).ecx, 1000u);
		EXPECT_GE(at(0).eax, 0x16u);
		if (is_amd)
			continue; // no hypervisor leaves in that table
		EXPECT_EQ(at(0x40000000).eax, 0x40000010u);
		EXPECT_EQ(at(0x40000001).eax, 0x0100000bu);
		EXPECT_EQ(at(0x40000010).eax, 2596122u);
		EXPECT_EQ(at(0x40000010).ebx, 1000000u);
		EXPECT_TRUE(names()["nonstop_tsc"] && names()["tsc_deadline_timer"] && names()["x2apic"]);
	}
}

TEST_F(cpuid, a_tsc_that_is_not_simulated_is_not_invariant)
{
	const kb_cpuid_clocks none = { 0, 0, 1000000000, false, false, false };

	kb_cpuid_fit(&t, 0, 1);
	kb_cpuid_tell_clocks(&t, &none);
	EXPECT_FALSE(names()["nonstop_tsc"] || names()["tsc_deadline_timer"] || names()["x2apic"]);
	EXPECT_EQ(at(0x15).ebx, 0u);
	EXPECT_EQ(at(0x40000001).eax, 2u);
	EXPECT_EQ(at(0x40000010).eax, 0u);
	EXPECT_EQ(at(0x40000010).ebx, 1000000u);
}

TEST_F(cpuid, clocks_of_a_guest_without_hypervisor_or_with_an_odd_frequency)
{
	const kb_cpuid_clocks fast = { 0x01000009, UINT32_MAX, 1000000000, true, true, true };

	ASSERT_EQ(kb_cpuid_edit(&t, "-hypervisor", &err), 0);
	kb_cpuid_fit(&t, 0, 1);
	kb_cpuid_tell_clocks(&t, &fast);
	EXPECT_EQ(kb_cpuid_find(&t, 0x40000010, 0), nullptr);
	EXPECT_EQ(at(0x15).ebx, UINT32_MAX);
	EXPECT_EQ(kb_cpuid_find(&t, 0x16, 0), nullptr) << "no room for that many MHz";
	t.head.nent = KB_CPUID_MAX;
	kb_cpuid_tell_clocks(&t, &fast); // full
}

TEST_F(cpuid, fitting_twice_changes_nothing)
{
	kb_cpuid_fit(&t, 1, 2);
	std::multiset<std::string> first, second;
	for (uint32_t i = 0; i < t.head.nent; i++)
		first.emplace(reinterpret_cast<char *>(&t.entries[i]), sizeof(t.entries[i]));
	kb_cpuid_fit(&t, 1, 2);
	for (uint32_t i = 0; i < t.head.nent; i++)
		second.emplace(reinterpret_cast<char *>(&t.entries[i]), sizeof(t.entries[i]));
	EXPECT_EQ(first, second);
}

TEST_F(cpuid, odd_tables_and_edits_do_no_harm)
{
	std::mt19937_64 rng(1);
	const char alphabet[] = "+-, avx512setpcn_";
	const uint32_t functions[] = {0, 1, 4, 7, 0xb, 0xd, 0x1f, 0x40000000, 0x80000000, 0x80000001, 0x80000002,
				      0x80000004, 0x80000008, 0x8000001d, 0x8000001e, 0xffffffff};
	for (int round = 0; round < 2000; round++) {
		std::string edit;
		t.head.nent = static_cast<uint32_t>(rng() % (KB_CPUID_MAX + 1));
		if (round % 50 == 0)
			t.head.nent = round % 100 ? KB_CPUID_MAX : KB_CPUID_MAX - 1;
		for (uint32_t i = 0; i < t.head.nent; i++)
			t.entries[i] = subleaf(functions[rng() % std::size(functions)], static_cast<uint32_t>(rng() % 70),
					       static_cast<uint32_t>(rng()), static_cast<uint32_t>(rng()),
					       static_cast<uint32_t>(rng()), static_cast<uint32_t>(rng()));
		for (size_t n = rng() % 40; n; n--)
			edit += alphabet[rng() % (sizeof(alphabet) - 1)];
		err.msg[0] = 0;
		int rc = kb_cpuid_edit(&t, edit.c_str(), &err);
		EXPECT_TRUE(rc == 0 || (rc == -EINVAL && err.msg[0])) << edit;
		kb_cpuid_edit(&t, "-xsave,-avx,-pku,-fpu", &err);
		kb_cpuid_fit(&t, static_cast<unsigned>(rng()), static_cast<unsigned>(rng() >> (rng() % 64)));
		ASSERT_LE(t.head.nent, unsigned{KB_CPUID_MAX});
	}
}

} // namespace
