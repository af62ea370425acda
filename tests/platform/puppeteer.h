/*
 * The test's end of the puppet's strings: a real guest on KVM does single
 * accesses on command. Needs the program path in PUPPET (puppet.elf).
 */
#ifndef TESTS_PLATFORM_PUPPETEER_H
#define TESTS_PLATFORM_PUPPETEER_H

#include "platform_test.h"
#include "puppet_regs.h"

struct puppeteer : kvmbox::pci_device {
	std::function<void(unsigned vector)> on_interrupt; /* in the guest's interrupt handler */

	puppeteer(sc_core::sc_module_name n, kvmbox::box &b) : pci_device(n, b, identity()) { SC_THREAD(work); }

	/* Lets f pull the strings, from a process of its own, until it returns; then sc_start() has returned, too. */
	void run(const std::function<void()> &f)
	{
		bool done = false;
		m_job = [&] {
			f();
			done = true;
			sc_core::sc_pause();
		};
		m_wake.notify(sc_core::SC_ZERO_TIME);
		sc_core::sc_start();
		EXPECT_TRUE(done) << "the guest ended, or the simulation starved";
	}

	/* The same for a test that starts the simulation itself. */
	void begin(const std::function<void()> &f)
	{
		m_job = f;
		m_wake.notify(sc_core::SC_ZERO_TIME);
	}

	/* From within f. */
	uint64_t read(uint64_t address, unsigned len) { return command(PUPPET_READ | len << 8, address); }
	void write(uint64_t address, unsigned len, uint64_t v) { command(PUPPET_WRITE | len << 8, address, v); }
	uint32_t cfg_read(kvmbox::pci_function &f, unsigned off)
	{
		return static_cast<uint32_t>(command(PUPPET_CFG_READ, f.bdf() << 8 | off));
	}
	void cfg_write(kvmbox::pci_function &f, unsigned off, uint32_t v)
	{
		command(PUPPET_CFG_WRITE, f.bdf() << 8 | off, v);
	}
	void set_command(kvmbox::pci_function &f, uint16_t bits) { cfg_write(f, 4, bits); }
	uint64_t time() { return command(PUPPET_TIME); }
	uint64_t command(unsigned op, uint64_t address = 0, uint64_t value = 0)
	{
		start(op, address, value);
		return result();
	}
	/* The two halves. */
	void start(unsigned op, uint64_t address = 0, uint64_t value = 0)
	{
		m_op = op;
		m_address = address;
		m_value = value;
		m_posted = true;
		m_post.notify(sc_core::SC_ZERO_TIME);
	}
	uint64_t result()
	{
		wait(m_done);
		return m_result;
	}

private:
	SC_HAS_PROCESS(puppeteer);
	static kvmbox::function_config identity()
	{
		kvmbox::function_config f("mailbox", PUPPET_VENDOR, PUPPET_DEVICE);
		f.memory_bar(0, 0x1000);
		return f;
	}
	uint64_t read(unsigned, uint64_t offset, unsigned, sc_core::sc_time &) override
	{
		if (offset != PUPPET_COMMAND)
			return offset == PUPPET_ADDRESS ? m_address : m_value;
		while (!m_posted)
			sc_core::wait(m_post);
		m_posted = false;
		return m_op;
	}
	void write(unsigned, uint64_t offset, unsigned, uint64_t value, sc_core::sc_time &) override
	{
		if (offset == PUPPET_ACK) {
			if (on_interrupt)
				on_interrupt(static_cast<unsigned>(value));
			return;
		}
		m_result = value;
		m_done.notify(sc_core::SC_ZERO_TIME);
	}
	void work()
	{
		for (;;) {
			while (!m_job)
				wait(m_wake);
			auto job = std::move(m_job);
			m_job = nullptr;
			job();
		}
	}

	std::function<void()> m_job;
	sc_core::sc_event m_wake, m_post, m_done;
	uint64_t m_op = 0, m_address = 0, m_value = 0, m_result = 0;
	bool m_posted = false;
};

/* A box for a puppet; null, with the reason in why, where KVM is not usable. */
inline kvmbox::box *puppet_box(const char *name, std::string &why, const std::string &options = "")
{
	try {
		return new kvmbox::box(name, kvmbox::config("serial=memory guest=" PUPPET " " + options));
	} catch (const sc_core::sc_report &r) {
		if (std::string(r.get_msg_type()) != kvmbox::msg_kvm)
			throw;
		why = r.get_msg();
	}
	return nullptr;
}

#endif
