// vcpu/cpuid.h: feature names, edits, fitting the table to the box.
#include <random>
#include <set>

#include "tests/unit/cpuid_fixture.h"

extern "C" {
#include "vcpu/cpuid_names.h"
}

namespace {

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
