/*
 * A stand-in for libkvmbox: the C ABI without KVM, whose "guest" is a C++
 * function. It lets tests say exactly what the box does to the SystemC side, also
 * what no well-behaved box does, and they run on hosts without /dev/kvm.
 */
#ifndef TESTS_PLATFORM_FAKE_BOX_H
#define TESTS_PLATFORM_FAKE_BOX_H

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <kvmbox/kvmbox.h>

struct kvmbox_function {
	kvmbox_box *box;
	void *opaque;
	std::string name;
	kvmbox_function_config cfg;
	uint16_t command = 6;
	bool intx = false;
	bool msi_enabled = false;
	unsigned post_failures = 0;
	std::vector<unsigned> msis;
};

struct kvmbox_box {
	static constexpr uint64_t ram_size = 0x10000;  /* at 0 */
	static constexpr uint64_t high_base = ram_size; /* a second region right behind, of 4 KiB */
	static constexpr uint64_t rom_base = 0xF0000;  /* 4 KiB */

	const kvmbox_ops *ops;
	void *opaque;
	uint64_t time_ps = 0, quantum_ps = 0;
	uint64_t input_polls = 0, slept_ns = 0;
	unsigned power_presses = 0;
	bool stop = false, in_run = false;
	enum kvmbox_end_reason end = KVMBOX_END_NONE;
	int exit_status = -1;
	std::vector<std::unique_ptr<kvmbox_function>> functions;
	std::vector<uint8_t> ram, high, rom;
	std::vector<std::pair<uint64_t, uint32_t>> msi_writes;
	std::vector<int> fds;
	std::function<bool()> on_poll;

	/* What a vCPU does. */
	int wait(uint64_t t_ps, kvmbox_wait how = KVMBOX_WAIT_UNTIL) { return ops->check_wait(opaque, t_ps, how); }
	uint64_t now() { return ops->now(opaque); }
	/* One access; result (also in the return value), delay in and out. */
	int access(unsigned function, unsigned bar, uint64_t offset, unsigned len, bool write, uint64_t &data,
		   uint64_t &delay_ps, kvmbox_space space = KVMBOX_SPACE_MEMORY);
	/* A posted write, at_ps from now() on. */
	int post(unsigned function, unsigned bar, uint64_t offset, unsigned len, uint64_t data, uint64_t at_ps, uint64_t lead_ps);
	int push(int function = -1); /* -1: all */
	void set_command(unsigned function, uint16_t command);
	void log(kvmbox_log_level level, const char *msg) { ops->log(opaque, level, msg); }
};

namespace fake {

/* What kvmbox_run() does; set before the simulation starts. The default serves jobs. */
extern std::function<int(kvmbox_box &, kvmbox_error *)> program;
/* Runs as a guest when the box is idle next. */
extern std::deque<std::function<void(kvmbox_box &)>> jobs;
/* Makes kvmbox_create() fail. */
extern int create_error;
extern unsigned boxes; /* alive */

int serve_jobs(kvmbox_box &b, kvmbox_error *err);

} // namespace fake

#endif
