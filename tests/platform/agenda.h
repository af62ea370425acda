// A box whose guest works off an agenda (tests/guest/agenda.h), for tests that look at what targets and guest saw.
#ifndef TESTS_PLATFORM_AGENDA_H
#define TESTS_PLATFORM_AGENDA_H

#include "platform_test.h"

#include <memory>

#include <kvmbox/probe.h>
#include <tlm_utils/simple_initiator_socket.h>

#include "tests/guest/agenda.h"

class agenda_box : public sc_core::sc_module {
public:
	agenda_box(sc_core::sc_module_name nm, const std::string &options)
		: sc_module(nm), pc("pc", configuration(options)), m_chipset("chipset")
	{
		m_chipset.bind(pc.dma<128>());
	}

	// Steps, in order. Each returns its number.
	size_t read(unsigned slot, uint64_t offset, unsigned width, unsigned bar = 0)
	{
		return add({ AGENDA_READ, slot, bar, width, offset, 0, 0, 0 });
	}
	size_t write(unsigned slot, uint64_t offset, unsigned width, uint64_t value, unsigned bar = 0)
	{
		return add({ AGENDA_WRITE, slot, bar, width, offset, value, 0, 0 });
	}
	size_t add(const agenda_step &s)
	{
		m_steps.push_back(s);
		return m_steps.size() - 1;
	}

	// Hands the agenda over, runs the simulation to its end, and takes the results.
	void run()
	{
		std::vector<agenda_step> all = m_steps;

		all.push_back({});
		ASSERT_LE(all.size(), AGENDA_MAX);
		ASSERT_TRUE(debug(tlm::TLM_WRITE_COMMAND, AGENDA_ADDR, all.data(), all.size() * sizeof(all[0])));
		sc_core::sc_start();
		ASSERT_EQ(pc.end(), KVMBOX_END_EXIT);
		ASSERT_EQ(pc.exit_status(), 0) << pc.serial_output();
		ASSERT_TRUE(debug(tlm::TLM_READ_COMMAND, AGENDA_ADDR, m_steps.data(), m_steps.size() * sizeof(all[0])));
	}
	const agenda_step &operator[](size_t i) const { return m_steps[i]; }

	bool debug(tlm::tlm_command command, uint64_t addr, void *data, size_t len)
	{
		tlm::tlm_generic_payload gp;

		gp.set_command(command);
		gp.set_address(addr);
		gp.set_data_ptr(static_cast<unsigned char *>(data));
		gp.set_data_length(unsigned(len));
		return m_chipset->transport_dbg(gp) == len;
	}

	kvmbox::box pc;

private:
	static kvmbox::config configuration(const std::string &options)
	{
		return kvmbox::config("guest=" AGENDA_GUEST " ram=32M serial=memory debugcon=null " + options);
	}

	std::vector<agenda_step> m_steps;
	tlm_utils::simple_initiator_socket<agenda_box, 128> m_chipset;
};

// Why there is no box on this host; empty if there is one.
inline std::string unusable_host()
{
	kvmbox_probe_result host{};

	return kvmbox_probe(&host) < 0 ? host.why_not.msg : "";
}

/*
 * The tests of one bench: a module with a member box (agenda_box), built where the host can run one and run before
 * the first test.
 */
template <class bench> class agenda_test : public testing::Test {
public:
	static void build()
	{
		unusable = unusable_host();
		if (unusable.empty())
			b = std::make_unique<bench>("bench");
	}
	static inline std::unique_ptr<bench> b;

protected:
	void SetUp() override
	{
		static bool ran;

		if (!unusable.empty())
			GTEST_SKIP() << unusable;
		if (!ran)
			b->box.run();
		ran = true;
	}

private:
	static inline std::string unusable;
};

#endif
