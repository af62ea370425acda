// vcpu/cpu_model.h: models, additions and removals, identity, what a host cannot give.
#include "tests/unit/cpuid_fixture.h"

extern "C" {
#include "vcpu/cpu_model.h"
}

namespace {

class cpu_model : public cpuid {
protected:
	char missing[KB_CPU_MISSING_MAX] = "";

	int apply(const std::string &spec)
	{
		err.msg[0] = 0;
		return kb_cpu_apply(&t, spec.c_str(), missing, &err);
	}
	void again()
	{
		t = kb_cpuid{};
		ASSERT_EQ(kb_cpuid_supported(&t, &fake, 3, &err), 0);
	}
	void refused(const std::string &spec, const char *why, int code = -EINVAL)
	{
		kb_cpuid before = t;
		EXPECT_EQ(apply(spec), code) << spec;
		EXPECT_NE(strstr(err.msg, why), nullptr) << spec << ": " << err.msg;
		EXPECT_EQ(memcmp(&before, &t, sizeof(t)), 0) << spec << " changed the table";
	}
	std::string brand()
	{
		std::string s;
		for (uint32_t i = 0; i < 3; i++)
			for (uint32_t r : {at(0x80000002 + i).eax, at(0x80000002 + i).ebx, at(0x80000002 + i).ecx, at(0x80000002 + i).edx})
				s.append(reinterpret_cast<char *>(&r), 4);
		return s.c_str();
	}
};

TEST_F(cpu_model, host_and_nothing_change_nothing)
{
	kb_cpuid before = t;
	for (const char *spec : {"", "host", " ", ",,", "host,"}) {
		EXPECT_EQ(apply(spec), 0) << spec << ": " << err.msg;
		EXPECT_EQ(memcmp(&before, &t, sizeof(t)), 0) << spec;
		EXPECT_STREQ(missing, "");
	}
	EXPECT_EQ(kb_cpu_apply(&t, nullptr, missing, &err), 0);
}

TEST_F(cpu_model, levels_keep_the_hosts_identity)
{
	uint32_t signature = at(1).eax;
	ASSERT_EQ(apply("x86-64-v2"), 0) << err.msg;
	auto n = names();
	for (const char *has : {"fpu", "sse2", "lm", "nx", "syscall", "pni", "ssse3", "sse4_2", "popcnt", "cx16", "hypervisor", "x2apic", "nonstop_tsc"})
		EXPECT_TRUE(n[has]) << has;
	for (const char *no : {"avx", "avx2", "bmi1", "aes", "rdrand", "xsave", "abm", "smap", "monitor", "rdtscp"})
		EXPECT_FALSE(n[no]) << no;
	EXPECT_EQ(at(1).eax, signature);
	EXPECT_EQ(at(0xd).eax, 0u) << "the state components go with XSAVE";
	EXPECT_STREQ(missing, "");
	again();
	ASSERT_EQ(apply("x86-64-v4"), 0) << err.msg;
	EXPECT_TRUE(names()["avx512vl"] && names()["fma"] && names()["abm"]);
	EXPECT_FALSE(names()["avx512vbmi"]);
	EXPECT_EQ(at(0xd).eax, 0xe7u) << "PKRU is gone, the rest stays";
}

TEST_F(cpu_model, a_model_brings_its_identity_and_caches)
{
	ASSERT_EQ(apply("haswell"), 0) << err.msg;
	EXPECT_EQ(at(1).eax, 0x306f2u);
	EXPECT_EQ(brand(), "Intel(R) Xeon(R) CPU E5-2690 v3");
	EXPECT_EQ(at(0).ebx, 0x756e6547u);
	const uint32_t sizes[] = {32 << 10, 32 << 10, 256 << 10, 30 << 20};
	for (uint32_t i = 0; i < 4; i++) {
		auto &e = at(4, i);
		uint32_t ways = (e.ebx >> 22) + 1, line = (e.ebx & 0xfff) + 1, sets = e.ecx + 1;
		EXPECT_EQ(ways * line * sets, sizes[i]) << i;
		EXPECT_EQ(e.eax >> 5 & 7, i < 2 ? 1u : i);
	}
	EXPECT_EQ(at(4, 4).eax, 0u) << "the list's end";
	kb_cpuid_fit(&t, 0, 4);
	EXPECT_EQ(at(4, 3).eax >> 14 & 0xfff, 3u) << "four share the last";
	EXPECT_EQ(brand(), "Intel(R) Xeon(R) CPU E5-2690 v3");
}

TEST_F(cpu_model, an_amd_model)
{
	ASSERT_EQ(apply("epyc-genoa"), 0) << err.msg;
	EXPECT_EQ(at(1).eax, 0x00a10f11u);
	EXPECT_EQ(at(0).ebx, 0x68747541u);
	EXPECT_EQ(at(0x80000000).ebx, 0x68747541u) << "AMD says it twice";
	EXPECT_EQ(at(0x80000006).ecx >> 16, 1024u);
	EXPECT_EQ(at(0x80000006).edx >> 18, 64u) << "in units of 512 KiB";
	EXPECT_EQ((at(0x8000001d, 3).ebx >> 22) + 1, 16u);
	EXPECT_NE(std::string(missing).find("clzero"), std::string::npos) << missing;
	amd();
	ASSERT_EQ(apply("nehalem"), 0) << err.msg;
	EXPECT_FALSE(names()["topoext"] || names()["cmp_legacy"]) << "AMD's topology leaves";
	EXPECT_EQ(at(0x80000000).ebx, 0u);
}

TEST_F(cpu_model, what_the_host_lacks_is_told)
{
	at(1).ecx &= ~(1u << 23); // popcnt
	supported.clear();
	kb_cpuid host = t;
	ASSERT_EQ(apply("x86-64-v2"), 0) << err.msg;
	EXPECT_STREQ(missing, "popcnt");
	t = host;
	refused("x86-64-v2,enforce", "popcnt", -EOPNOTSUPP);
	EXPECT_EQ(apply("x86-64,enforce"), 0) << err.msg;
	EXPECT_STREQ(missing, "");
}

TEST_F(cpu_model, features_come_and_go_on_top)
{
	ASSERT_EQ(apply("x86-64-v2,+aes,-sse4_2,avx"), 0) << err.msg;
	EXPECT_TRUE(names()["aes"] && names()["avx"]);
	EXPECT_FALSE(names()["sse4_2"]);
	again();
	ASSERT_EQ(apply("-aes +aes,-avx2"), 0) << err.msg;
	EXPECT_TRUE(names()["aes"]);
	EXPECT_FALSE(names()["avx2"]);
	again();
	refused("x86-64,+3dnow", "3dnow");
	refused("x86-64,+monitor", "box");
	refused("x86-64,+nosuch", "unknown CPU feature");
	refused("+aes,x86-64", "unknown CPU feature"); // the model comes first
	refused("haswel", "models are: host x86-64");
}

TEST_F(cpu_model, keys)
{
	ASSERT_EQ(apply("family=0x19,model=0x11,stepping=1,vendor=AuthenticAMD,brand=My CPU (R) 3.0"), 0) << err.msg;
	EXPECT_EQ(at(1).eax, 0x00a10f11u);
	EXPECT_EQ(at(0).edx, 0x69746e65u);
	EXPECT_EQ(brand(), "My CPU (R) 3.0");
	again();
	ASSERT_EQ(apply("haswell,stepping=3"), 0) << err.msg;
	EXPECT_EQ(at(1).eax, 0x306f3u);
	again();
	refused("stepping=16", "0 to 15");
	refused("model=256", "0 to 255");
	refused("family=271", "0 to 270");
	for (const char *bad : {"family=", "family=-1", "family=six", "family=6x", "family=99999999999999999999"})
		refused(bad, "number");
	refused("vendor=Intel", "12 characters");
	refused("brand=" + std::string(48, 'x'), "47");
	refused("colour=red", "no CPU key");
	refused("=", "no CPU key");
}

TEST_F(cpu_model, every_model_applies_everywhere)
{
	for (bool is_amd : {false, true})
		for (size_t i = 0; kb_cpu_model_name(i); i++) {
			if (is_amd)
				amd();
			else
				SetUp();
			EXPECT_NE(kb_cpu_model_about(i), nullptr);
			ASSERT_EQ(apply(kb_cpu_model_name(i)), 0) << err.msg;
			EXPECT_LT(t.head.nent, unsigned{KB_CPUID_MAX});
			kb_cpuid_fit(&t, 0, 2);
			auto n = names();
			EXPECT_TRUE(n["lm"] && n["sse2"]) << kb_cpu_model_name(i);
		}
	EXPECT_EQ(kb_cpu_model_about(100), nullptr);
}

TEST_F(cpu_model, a_full_table_is_no_reason_to_fall)
{
	for (uint32_t &n = t.head.nent; n < KB_CPUID_MAX; n++)
		t.entries[n] = leaf(0x20000000 + n, 0, 0, 0, 0);
	for (size_t i = 0; kb_cpu_model_name(i); i++) {
		kb_cpuid full = t;
		EXPECT_EQ(kb_cpu_apply(&full, kb_cpu_model_name(i), missing, &err), 0);
		EXPECT_LE(full.head.nent, unsigned{KB_CPUID_MAX});
	}
}

TEST_F(cpu_model, difference)
{
	kb_cpuid other = t;
	char text[100];
	kb_cpuid_find(&other, 1, 0)->ecx &= ~(1u << 25); // aes
	kb_cpu_difference(&other, &t, text, sizeof(text));
	EXPECT_STREQ(text, "aes");
	kb_cpu_difference(&t, &other, text, sizeof(text));
	EXPECT_STREQ(text, "-aes");
	kb_cpu_difference(&t, &t, text, sizeof(text));
	EXPECT_STREQ(text, "");
	kb_cpuid none{};
	kb_cpu_difference(&none, &t, text, sizeof(text));
	EXPECT_LT(strlen(text), sizeof(text));
	EXPECT_GT(strlen(text), 60u) << "cut, not dropped";
}

} // namespace
