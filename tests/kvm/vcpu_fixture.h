// A VM with RAM, page tables and one vCPU whose client is scripted by the test.
#ifndef KB_VCPU_FIXTURE_H
#define KB_VCPU_FIXTURE_H

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <vector>

extern "C" {
#include "platforms/boot.h"
#include "vcpu/vcpu.h"
}

// A piece of position-independent 64-bit guest code, as bytes in this program.
#define GUEST_CODE(name, text)                                                              \
	asm(".pushsection .rodata\n.balign 16\n" #name "_start:\n.code64\n" text "\n" #name "_end:\n.popsection"); \
	extern "C" const uint8_t name##_start[], name##_end[];

namespace fixture {

constexpr uint64_t code_gpa = 0x10000, ram_size = 0x400000, mmio_gpa = 0xd0000000;

// The real system calls, with a hook in front of ioctl for fault injection.
inline std::function<bool(int fd, unsigned long request, void *arg, int &rc)> ioctl_hook;

inline const kb_kvm_api *hooked_api()
{
	static kb_kvm_api api = [] {
		kb_kvm_api a = kb_kvm_linux;
		a.ioctl = [](int fd, unsigned long request, void *arg) {
			int rc;
			if (ioctl_hook && ioctl_hook(fd, request, arg, rc))
				return rc;
			return kb_kvm_linux.ioctl(fd, request, arg);
		};
		return a;
	}();
	return &api;
}

struct cycle {
	uint64_t off;
	unsigned len;
	bool write;
	uint64_t value;
	bool operator==(const cycle &o) const
	{
		return off == o.off && len == o.len && write == o.write && value == o.value;
	}
};

class vcpu : public testing::Test {
protected:
	kb_vm *vm = nullptr;
	kb_vcpu *v = nullptr;
	kvmbox_error err{};
	kb_region mmio{}, port{};
	std::vector<cycle> mmio_log, port_log;
	uint64_t read_value = 0x8877665544332211ull;
	uint64_t quantum_ps = 1000000000, synced_ps = 0;
	std::function<void()> on_advance;
	std::function<int()> on_yield, on_idle, on_ack;
	std::function<void(const cycle &)> on_port;
	int yields = 0;

	void SetUp() override
	{
		kvmbox_error why{};
		int fd = kb_kvm_open(&kb_kvm_linux, &why);
		if (fd < 0)
			GTEST_SKIP() << why.msg;
		kb_kvm_linux.close(fd);
		ioctl_hook = nullptr;
		ASSERT_EQ(make(), 0) << err.msg;
	}
	void TearDown() override
	{
		ioctl_hook = nullptr;
		kb_vcpu_destroy(v);
		kb_vm_destroy(vm);
	}
	int make()
	{
		static kb_cpuid cpuid;
		kb_vcpu_client client{};
		client.opaque = this;
		client.advance = [](void *o) {
			auto *t = static_cast<vcpu *>(o);
			if (t->on_advance)
				t->on_advance();
		};
		client.deadline = [](void *o) {
			auto *t = static_cast<vcpu *>(o);
			return t->synced_ps + t->quantum_ps;
		};
		client.yield = [](void *o, kvmbox_error *) {
			auto *t = static_cast<vcpu *>(o);
			t->yields++;
			t->synced_ps = t->v->clock.now_ps;
			return t->on_yield ? t->on_yield() : 0;
		};
		client.idle = [](void *o, kvmbox_error *) {
			auto *t = static_cast<vcpu *>(o);
			return t->on_idle ? t->on_idle() : t->give_up();
		};
		client.ack = [](void *o) {
			auto *t = static_cast<vcpu *>(o);
			return t->on_ack ? t->on_ack() : -1;
		};
		int rc = kb_vm_create(&vm, hooked_api(), nullptr, &err);
		if (rc)
			return rc;
		rc = kb_vm_add_ram(vm, "ram", 0, ram_size, KB_RAM_HUGEPAGES, nullptr, &err);
		if (rc)
			return rc;
		setup_region<true>(mmio, "mmio", mmio_gpa, 0x1000);
		setup_region<false>(port, "port", 0x100, 0x100);
		kb_bus_add(&vm->mem, &mmio, nullptr);
		kb_bus_add(&vm->io, &port, nullptr);
		rc = kb_cpuid_supported(&cpuid, hooked_api(), vm->kvm_fd, &err);
		if (rc)
			return rc;
		kb_cpuid_fit(&cpuid, 0, 1);
		return kb_vcpu_create(&v, vm, 0, &cpuid, &client, &err);
	}
	void load(const uint8_t *start, const uint8_t *end)
	{
		kb_boot boot{KB_BOOT_LONG64, code_gpa, 0, 0, 0};
		kb_bus_write(&vm->mem, code_gpa, start, static_cast<size_t>(end - start));
		kb_boot_write_tables(&vm->mem, &boot, false);
		ASSERT_EQ(kb_vcpu_start_long64(v, code_gpa, 0x60000, KB_BOOT_GDT, KB_BOOT_PML4, &err), 0) << err.msg;
	}
	kb_end run() { return kb_vcpu_run(v, &err); }
	int give_up()
	{
		v->end = KB_END_STOPPED;
		return -1;
	}
	template <class T> T peek(uint64_t gpa)
	{
		T value;
		kb_bus_read(&vm->mem, gpa, &value, sizeof(value));
		return value;
	}
	template <class T> void poke(uint64_t gpa, T value) { kb_bus_write(&vm->mem, gpa, &value, sizeof(value)); }
	// An IDT whose gate for vector leads to code_gpa + offset.
	void set_gate(unsigned vector, uint64_t target)
	{
		uint64_t low = (target & 0xffff) | 0x10ull << 16 | 0x8e00ull << 32 | (target & 0xffff0000) << 32;
		poke<uint64_t>(0x50000 + vector * 16, low);
		poke<uint64_t>(0x50000 + vector * 16 + 8, target >> 32);
		poke<uint16_t>(0x4fff0, 0xfff);
		poke<uint64_t>(0x4fff2, 0x50000);
	}

private:
	template <bool memory> void setup_region(kb_region &r, const char *name, uint64_t base, uint64_t size)
	{
		r.name = name;
		r.base = base;
		r.size = size;
		r.opaque = this;
		r.read = [](void *o, uint64_t off, unsigned len) {
			return static_cast<vcpu *>(o)->got(memory, off, len, false, 0);
		};
		r.write = [](void *o, uint64_t off, unsigned len, uint64_t x) {
			static_cast<vcpu *>(o)->got(memory, off, len, true, x);
		};
	}
	uint64_t got(bool memory, uint64_t off, unsigned len, bool write, uint64_t value)
	{
		cycle a{off, len, write, value};
		(memory ? mmio_log : port_log).push_back(a);
		if (!memory && write && off == 0xff)
			kb_vcpu_end(v);
		if (!memory && on_port)
			on_port(a);
		return read_value;
	}
};

} // namespace fixture

#endif
