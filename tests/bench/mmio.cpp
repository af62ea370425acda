// Cost of the access path, DMA bandwidth, and the guest's share of host time. Prints "name value unit" lines.
//
//	mmio              everything
//	mmio PART [ARG]   one part in this process: access GUEST PREFIX | dma | share QUANTUM (SystemC elaborates once)
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <kvmbox/tlm.h>
#include <tlm_utils/simple_initiator_socket.h>
#include <tlm_utils/simple_target_socket.h>

#include "tests/bench/accesses.h"
#include "tests/bench/compute.h"
#include "tests/bench/raw.h"

namespace {

uint64_t tsc()
{
	return __builtin_ia32_rdtsc();
}

template <class T> T median(std::vector<T> v)
{
	std::nth_element(v.begin(), v.begin() + long(v.size() / 2), v.end());
	return v[v.size() / 2];
}

double seconds()
{
	return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double tsc_ns()
{
	static const double value = [] {
		double s = seconds();
		uint64_t t = tsc();

		while (seconds() - s < 0.05)
			;
		return (seconds() - s) * 1e9 / double(tsc() - t);
	}();
	return value;
}

void figure(const std::string &name, double value, const char *unit)
{
	std::printf("%s %.3f %s\n", name.c_str(), value, unit);
}

// ---- access: blocks under the box and under the raw loop take turns -----------------------------------------------

struct target : sc_core::sc_module {
	tlm_utils::simple_target_socket<target> socket;
	struct raw *reference;
	std::vector<uint64_t> stamps;
	std::vector<double> boxed[2], bare[2]; // ticks per access: reads, writes

	target(sc_core::sc_module_name n, struct raw *r) : sc_module(n), socket("socket"), reference(r)
	{
		socket.register_b_transport(this, &target::b_transport);
		stamps.reserve(BENCH_BLOCK + 1);
	}
	static void intervals(const uint64_t *s, size_t n, std::vector<double> &out)
	{
		for (size_t i = 1; i < n; i++)
			out.push_back(double(s[i] - s[i - 1]));
	}
	void b_transport(tlm::tlm_generic_payload &p, sc_core::sc_time &)
	{
		p.set_response_status(tlm::TLM_OK_RESPONSE);
		if (p.get_address() != BENCH_MARK) {
			stamps.push_back(tsc());
			if (p.is_read())
				std::memset(p.get_data_ptr(), 0x5a, p.get_data_length());
			return;
		}
		const int kind = p.get_data_ptr()[0] - 1;
		uint64_t other[BENCH_BLOCK];

		intervals(stamps.data(), stamps.size(), boxed[kind]);
		if (raw_block(reference, other) != kind + 1)
			SC_REPORT_FATAL("bench", "the reference loop lost its way");
		intervals(other, BENCH_BLOCK, bare[kind]);
		stamps.clear();
	}
};

int access(const char *guest, const std::string &prefix)
{
	kvmbox_error err{};
	struct raw *reference = raw_create(guest, &err);

	if (!reference) {
		std::fprintf(stderr, "%s\n", err.msg);
		return 1;
	}
	kvmbox::config cfg("serial=null");
	cfg.set("guest", guest);
	kvmbox::box pc("pc", cfg);
	target t("target", reference);
	kvmbox::pci_function &f = pc.add_function(kvmbox::function_config("bench", 0x1234, 1).memory_bar(0, 0x1000));
	f.bar(0).bind(t.socket);
	sc_core::sc_start();
	raw_destroy(reference);
	if (pc.exit_status() != 0)
		return 1;
	static const char *const names[] = { "read", "write" };
	for (int k = 0; k < 2; k++) {
		const double box = median(t.boxed[k]) * tsc_ns(), bare = median(t.bare[k]) * tsc_ns();

		figure(prefix + names[k] + ".raw", bare, "ns");
		figure(prefix + names[k] + ".box", box, "ns");
		figure(prefix + names[k] + ".ratio", box / bare, "x");
		figure(prefix + names[k] + ".added", box - bare, "ns");
	}
	return 0;
}

// ---- DMA: b_transport into guest RAM against memcpy to the same place ------------------------------------------------

struct dma_bench : sc_core::sc_module {
	tlm_utils::simple_initiator_socket<dma_bench> socket;
	kvmbox::box &pc;

	SC_HAS_PROCESS(dma_bench);
	dma_bench(sc_core::sc_module_name n, kvmbox::box &b) : sc_module(n), socket("socket"), pc(b) { SC_THREAD(run); }

	void transfer(uint64_t addr, uint8_t *buf, size_t len, bool write)
	{
		tlm::tlm_generic_payload p;
		sc_core::sc_time delay;

		p.set_command(write ? tlm::TLM_WRITE_COMMAND : tlm::TLM_READ_COMMAND);
		p.set_address(addr);
		p.set_data_ptr(buf);
		p.set_data_length(unsigned(len));
		p.set_streaming_width(unsigned(len));
		socket->b_transport(p, delay);
		if (p.is_response_error())
			SC_REPORT_FATAL("bench", "DMA failed");
	}
	// Bandwidth of one round of copies, bytes per second.
	template <class F> static double bandwidth(size_t len, F copy)
	{
		const size_t rounds = std::max<size_t>(1, (8u << 20) / len);
		const double start = seconds();

		for (size_t i = 0; i < rounds; i++)
			copy();
		return double(rounds * len) / (seconds() - start);
	}
	void run()
	{
		const uint64_t addr = 16 << 20;
		tlm::tlm_generic_payload p;
		tlm::tlm_dmi dmi;

		p.set_address(addr);
		if (!socket->get_direct_mem_ptr(p, dmi))
			SC_REPORT_FATAL("bench", "no DMI to guest memory");
		uint8_t *ram = dmi.get_dmi_ptr() + (addr - dmi.get_start_address());
		for (size_t len : { size_t(64), size_t(4) << 10, size_t(64) << 10, size_t(1) << 20 }) {
			std::vector<uint8_t> buf(len, 0xa5);

			for (bool write : { true, false }) {
				std::vector<double> ratio, mbs;

				for (int i = 0; i < 21; i++) {
					const double dma = bandwidth(len, [&] { transfer(addr, buf.data(), len, write); });
					const double copy = bandwidth(len, [&] {
						if (write)
							std::memcpy(ram, buf.data(), len);
						else
							std::memcpy(buf.data(), ram, len);
						asm volatile("" : : : "memory");
					});
					ratio.push_back(dma / copy);
					mbs.push_back(dma / 1e6);
				}
				const std::string name = std::string("dma.") + (write ? "write." : "read.") + std::to_string(len);
				figure(name + ".ratio", median(ratio), "x");
				figure(name + ".bandwidth", median(mbs), "MB/s");
			}
		}
		sc_core::sc_stop();
	}
};

int dma()
{
	kvmbox::config cfg("serial=null guest=" BENCH_GUESTS "/accesses.elf");
	kvmbox::box pc("pc", cfg);
	target t("target", nullptr);
	kvmbox::pci_function &f = pc.add_function(kvmbox::function_config("bench", 0x1234, 1).memory_bar(0, 0x1000));
	f.bar(0).bind(t.socket);
	dma_bench b("dma", pc);
	b.socket.bind(pc.dma());
	sc_core::sc_start();
	return 0;
}

// ---- share: the same loop in the guest and in this process --------------------------------------------------------------

int share(const char *quantum)
{
	std::vector<double> host;

	kvmbox::config cfg("serial=null guest=" BENCH_GUESTS "/compute.elf");
	cfg.set("quantum", quantum);
	kvmbox::box pc("pc", cfg);
	auto native = [&] {
		const double s = seconds();
		volatile uint64_t result = bench_compute();

		(void)result;
		host.push_back(seconds() - s);
	};
	native();
	native();
	const double s = seconds();
	sc_core::sc_start();
	const double guest = seconds() - s;
	native();
	native();
	if (pc.exit_status() != 0)
		return 1;
	figure(std::string("guest.share.") + quantum, median(host) / guest, "x");
	return 0;
}

// ---- all: each part in a process of its own ----------------------------------------------------------------------------------

int part(const char *self, std::vector<const char *> args)
{
	const pid_t pid = fork();
	int status = 1;

	if (pid == 0) {
		args.insert(args.begin(), self);
		args.push_back(nullptr);
		execv("/proc/self/exe", const_cast<char *const *>(args.data()));
		_exit(127);
	}
	waitpid(pid, &status, 0);
	return status != 0;
}

} // namespace

int sc_main(int argc, char **argv)
{
	sc_core::sc_report_handler::set_actions("/IEEE_Std_1666/deprecated", sc_core::SC_DO_NOTHING);
	if (argc == 4 && !std::strcmp(argv[1], "access"))
		return access(argv[2], argv[3]);
	if (argc == 2 && !std::strcmp(argv[1], "dma"))
		return dma();
	if (argc == 3 && !std::strcmp(argv[1], "share"))
		return share(argv[2]);
	int bad = part(argv[0], { "access", BENCH_GUESTS "/accesses.elf", "mmio." });
	bad += part(argv[0], { "access", BENCH_GUESTS "/accesses0.elf", "mmio.ring0." });
	bad += part(argv[0], { "dma" });
	for (const char *q : { "100us", "1ms", "10ms" })
		bad += part(argv[0], { "share", q });
	return bad != 0;
}
