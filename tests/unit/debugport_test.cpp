// devices/debugport.h: debug exit and debug console.
#include <gtest/gtest.h>

#include <cerrno>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "devices/debugport.h"
}

namespace {

class debugport : public testing::Test {
protected:
	kb_bus io;
	kb_debugport_config cfg{};
	kb_debugport *d = nullptr;
	kvmbox_error err{};
	std::vector<unsigned> exits;
	std::string text;
	void SetUp() override
	{
		kb_bus_init(&io, "port", 0xffff);
		cfg.io = &io;
		cfg.console_port = KB_DEBUGPORT_CONSOLE;
		cfg.exit_opaque = &exits;
		cfg.exit = [](void *o, unsigned status) { static_cast<std::vector<unsigned> *>(o)->push_back(status); };
		cfg.put_opaque = &text;
		cfg.put = [](void *o, const uint8_t *bytes, size_t len) {
			static_cast<std::string *>(o)->append(reinterpret_cast<const char *>(bytes), len);
		};
	}
	void TearDown() override
	{
		kb_debugport_destroy(d);
		EXPECT_EQ(io.count, 0u);
		kb_bus_destroy(&io);
	}
	void create() { ASSERT_EQ(kb_debugport_create(&d, &cfg, &err), 0) << err.msg; }
	void out(uint16_t port, uint32_t v, size_t len) { kb_bus_write(&io, port, &v, len); }
};

TEST_F(debugport, exit_takes_all_widths_and_the_low_byte)
{
	create();
	out(0xf4, 0x12, 1);
	out(0xf4, 0x3456, 2);
	out(0xf4, 0x789abcde, 4);
	EXPECT_EQ(exits, (std::vector<unsigned>{0x12, 0x56, 0xde}));
	out(0xf5, 1, 1);
	out(0xf6, 1, 2);
	EXPECT_EQ(exits.size(), 3u);
	uint8_t v = 0;
	kb_bus_read(&io, 0xf4, &v, 1);
	EXPECT_EQ(v, 0xff);
}

TEST_F(debugport, console)
{
	create();
	for (char c : std::string("ok\n\0x", 5))
		out(0xe9, static_cast<uint8_t>(c), 1);
	EXPECT_EQ(text, std::string("ok\n\0x", 5));
	uint8_t v = 0;
	kb_bus_read(&io, 0xe9, &v, 1);
	EXPECT_EQ(v, 0xe9);
	kb_debugport_reset(d);
	EXPECT_TRUE(exits.empty());
}

TEST_F(debugport, works_without_callbacks)
{
	cfg.exit = nullptr;
	cfg.put = nullptr;
	create();
	out(0xf4, 1, 1);
	out(0xe9, 1, 1);
	EXPECT_TRUE(exits.empty() && text.empty());
}

TEST_F(debugport, create_leaves_nothing_on_failure)
{
	kb_region taken{};
	taken.name = "taken";
	taken.base = 0xe9;
	taken.size = 1;
	ASSERT_EQ(kb_bus_add(&io, &taken, &err), 0);
	EXPECT_EQ(kb_debugport_create(&d, &cfg, &err), -EEXIST);
	EXPECT_EQ(d, nullptr);
	EXPECT_EQ(io.count, 1u);
	kb_bus_remove(&io, &taken);
}

TEST_F(debugport, hostile)
{
	create();
	std::mt19937_64 rng(5);
	size_t dots = 0;
	for (int i = 0; i < 200000; i++) {
		uint64_t r = rng(), v = rng();
		uint16_t port = static_cast<uint16_t>(0xe0 + (r >> 8) % 0x20);
		size_t len = 1 + (r >> 16) % 8;
		if (r & 1)
			kb_bus_read(&io, port, &v, len);
		else
			kb_bus_write(&io, port, &v, len);
		dots += !(r & 1) && port <= 0xe9 && 0xe9u < port + len;
		for (unsigned s : exits)
			ASSERT_LT(s, 256u);
		exits.clear();
	}
	EXPECT_EQ(text.size(), dots);
}

} // namespace
