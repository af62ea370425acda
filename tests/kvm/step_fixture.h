// A vCPU that can be stepped, and a guest with both rings: GDT, TSS, IDT, all memory open to ring 3.
#ifndef KB_STEP_FIXTURE_H
#define KB_STEP_FIXTURE_H

#include "tests/kvm/vcpu_fixture.h"

extern "C" {
#include "vcpu/probe.h"
}

namespace fixture {

constexpr uint64_t gdt_gpa = 0x40000, tss_gpa = 0x41000, rsp0 = 0x48000, idt_gpa = 0x50000, handler_gpa = 0x14000;
constexpr uint64_t insn = 1000; // ps

class stepped : public vcpu {
protected:
	std::vector<uint64_t> at; // clock, in instructions, at each port write

	void SetUp() override
	{
		vcpu::SetUp();
		if (IsSkipped() || HasFatalFailure())
			return;
		const kvmbox_probe_result *host = kb_probe_cached();
		if (!host->step[0])
			GTEST_SKIP() << "KVM on this host does not single-step ring 0";
		quantum_ps = 1000000000000000;
		step_clock();
		kb_vcpu_set_step(v, host->step, host->ring0_native);
		on_port = [this](const cycle &) { at.push_back(v->clock.now_ps / insn); };
	}
	void step_clock()
	{
		kb_clock_destroy(&v->clock);
		kb_clock_init_step(&v->clock, v->tsc_hz, insn);
	}
	void free_clock(uint64_t exit_ps = 1000)
	{
		kb_clock_destroy(&v->clock);
		kb_clock_init_fixed(&v->clock, v->tsc_hz, exit_ps, 1000000000);
		v->step.why = 0;
	}
	void gate(unsigned vector, uint64_t target, unsigned dpl = 0)
	{
		poke<uint64_t>(idt_gpa + vector * 16, (target & 0xffff) | 0x10ull << 16 |
			(0x8e00ull | dpl << 13) << 32 | (target & 0xffff0000) << 32);
		poke<uint64_t>(idt_gpa + vector * 16 + 8, target >> 32);
	}
	// code at code_gpa in ring 0 or 3, handlers at handler_gpa; every gate leads to the first of them.
	void load(const uint8_t *start, const uint8_t *end, const uint8_t *h, const uint8_t *h_end, unsigned ring)
	{
		vcpu::load(start, end);
		kb_bus_write(&vm->mem, handler_gpa, h, size_t(h_end - h));
		kvm_sregs s;
		ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, KVM_GET_SREGS, &s), 0);
		for (uint64_t e = s.cr3; e < s.cr3 + 0x6000; e += 8)
			if (peek<uint64_t>(e) & 1)
				poke<uint64_t>(e, peek<uint64_t>(e) | 4);
		const uint64_t gdt[] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff,
			0x00affb000000ffff, 0, 0x206f | (tss_gpa & 0xffffff) << 16 | 0x8bull << 40, 0};
		kb_bus_write(&vm->mem, gdt_gpa, gdt, sizeof(gdt));
		for (unsigned i = 0; i < 0x2070; i += 8)
			poke<uint64_t>(tss_gpa + i, 0);
		poke<uint64_t>(tss_gpa + 4, rsp0);
		poke<uint16_t>(tss_gpa + 0x66, 0x68);
		for (unsigned i = 0; i < 256; i++)
			gate(i, handler_gpa, i == 3 ? 3 : 0);
		s.gdt = {gdt_gpa, sizeof(gdt) - 1, {}};
		s.idt = {idt_gpa, 0xfff, {}};
		s.tr.base = tss_gpa;
		s.tr.limit = 0x206f;
		s.tr.selector = 0x40;
		if (ring) {
			s.cs.selector = 0x33;
			s.ss.selector = 0x2b;
			s.cs.dpl = s.ss.dpl = 3;
			s.ds = s.es = s.fs = s.gs = s.ss;
		}
		ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, KVM_SET_SREGS, &s), 0);
	}
	void flags(uint64_t rflags)
	{
		kvm_regs r;
		ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, KVM_GET_REGS, &r), 0);
		r.rflags = rflags;
		ASSERT_EQ(kb_kvm_linux.ioctl(v->fd, KVM_SET_REGS, &r), 0);
	}
	kvm_regs regs()
	{
		kvm_regs r{};
		EXPECT_EQ(kb_kvm_linux.ioctl(v->fd, KVM_GET_REGS, &r), 0);
		return r;
	}
	unsigned ring()
	{
		kvm_sregs s{};
		EXPECT_EQ(kb_kvm_linux.ioctl(v->fd, KVM_GET_SREGS, &s), 0);
		return s.ss.dpl;
	}
};

} // namespace fixture

#endif
