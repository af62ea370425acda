// stats=yes and stats_json= of whole programs, as a user gives them: examples/dma_accel and examples/plain_c.
#include <gtest/gtest.h>
#include <jansson.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>

#include <kvmbox/probe.h>

namespace {

class programs : public testing::Test {
protected:
	std::string json, out;
	int status = -1;
	std::shared_ptr<json_t> o;

	void SetUp() override
	{
		kvmbox_probe_result host;
		char p[] = "/tmp/kvmbox_stats_XXXXXX";

		kvmbox_probe(&host);
		if (!host.usable)
			GTEST_SKIP() << host.why_not.msg;
		const int fd = mkstemp(p);
		ASSERT_GE(fd, 0);
		close(fd);
		json = p;
	}
	void TearDown() override { unlink(json.c_str()); }
	void run(const std::string &command)
	{
		FILE *f = popen((command + " 2>&1 </dev/null").c_str(), "r");
		char buf[4096];
		size_t n;
		while ((n = fread(buf, 1, sizeof(buf), f)))
			out.append(buf, n);
		status = pclose(f);
		o.reset(json_load_file(json.c_str(), 0, nullptr), json_decref);
	}
	uint64_t get(const std::string &name) const
	{
		json_t *v = json_object_get(o.get(), name.c_str());
		EXPECT_TRUE(json_is_integer(v)) << name;
		return static_cast<uint64_t>(json_integer_value(v));
	}
	uint64_t sum(const std::string &prefix, std::initializer_list<const char *> parts) const
	{
		uint64_t n = 0;
		for (const char *p : parts)
			n += get(prefix + p);
		return n;
	}
	void check_sums() const
	{
		EXPECT_EQ(get("host_ns"), sum("host_", { "guest_ns", "stolen_ns", "exits_ns", "simulator_ns", "idle_ns" }));
		EXPECT_LE(get("host_kvm_ns"), get("host_exits_ns"));
		EXPECT_EQ(get("exits"), sum("exits_", { "mmio", "pio", "hlt", "kick", "window", "other" }));
		EXPECT_EQ(get("slices"), sum("slices_", { "quantum", "timer", "event", "access", "halt", "end" }));
	}
	unsigned tables() const
	{
		unsigned n = 0;
		for (size_t at = 0; (at = out.find("real-time factor", at)) != std::string::npos; at++)
			n++;
		return n;
	}
};

TEST_F(programs, dma_accel)
{
	run(DMA_ACCEL " stats=yes stats_json=" + json);
	ASSERT_EQ(status, 0) << out;
	EXPECT_EQ(tables(), 1u) << out;
	ASSERT_TRUE(o);
	check_sums();
	EXPECT_GT(get("host_simulator_ns"), 0u);
	EXPECT_GT(get("host_guest_ns"), 0u);
	EXPECT_EQ(get("host_idle_ns"), 0u);
	EXPECT_GT(get("slices_access"), 0u);
	EXPECT_LE(get("slices_access"), get("transports"));
	EXPECT_EQ(get("transport_errors"), 0u);
	EXPECT_GE(get("msis"), 10u) << "one per job";
	EXPECT_NE(out.find(std::to_string(get("transports")) + " device accesses"), std::string::npos) << out;
	EXPECT_NE(out.find(std::to_string(get("dma_bytes")) + " bytes of DMA"), std::string::npos) << out;
}

TEST_F(programs, dma_accel_says_nothing_unasked)
{
	run(DMA_ACCEL);
	ASSERT_EQ(status, 0) << out;
	EXPECT_EQ(tables(), 0u) << out;
}

TEST_F(programs, dma_accel_with_an_unwritable_path)
{
	run(DMA_ACCEL " stats_json=/nonexistent/s.json");
	EXPECT_NE(status, 0);
	EXPECT_NE(out.find("/nonexistent/s.json"), std::string::npos) << out;
}

TEST_F(programs, plain_c)
{
	run(PLAIN_C " stats=yes stats_json=" + json);
	ASSERT_EQ(status, 0) << out;
	EXPECT_EQ(tables(), 1u) << out;
	ASSERT_TRUE(o);
	check_sums();
	EXPECT_GT(get("slices_halt"), 0u);
}

TEST_F(programs, plain_c_with_an_unwritable_path)
{
	run(PLAIN_C " stats_json=/dev/full");
	EXPECT_NE(status, 0);
	EXPECT_NE(out.find("/dev/full"), std::string::npos) << out;
}

} // namespace
