// The run loop sets the guest's TSC: each offset that KVM gets is that of the guest's time at the entry. No project host
// honours the offset, so what KVM is told is recorded on its way.
#include "tests/kvm/vcpu_fixture.h"

using fixture::code_gpa;

namespace {

#define END "mov $0x1ff, %edx\n out %al, (%dx)\n 9: jmp 9b\n"

struct set_call {
	uint64_t offset, tsc, now_ps;
};

class tsc_guest : public fixture::vcpu {
protected:
	std::vector<set_call> calls;
	int fail_from = 1 << 30;

	void simulate(double scale, uint64_t bound_ps)
	{
		const uint64_t cost[2] = {8000000, 8000000};
		const kb_view_ways ways = {{4000000, 4000000}, {4000000, 4000000}, {1000000, 1000000}, {1000000, 1000000}};
		kb_clock_init_tsc(&v->clock, v->tsc_hz, scale, cost);
		kb_view_calibrate(&v->view, v->tsc_hz, &ways);
		fixture::ioctl_hook = [this](int, unsigned long request, void *arg, int &rc) {
			if (request != KVM_SET_DEVICE_ATTR)
				return false;
			set_call c{0, kb_tsc(), v->clock.now_ps};
			memcpy(&c.offset, reinterpret_cast<void *>(static_cast<kvm_device_attr *>(arg)->addr), 8);
			calls.push_back(c);
			rc = int(calls.size()) > fail_from ? (errno = EIO, -1) : 0;
			return true;
		};
		ASSERT_EQ(kb_guest_tsc_init(&v->tsc, fixture::hooked_api(), v->fd, true, &v->clock, &v->msrs, &err), 0);
		hz = uint64_t(double(v->tsc_hz) / scale);
		ASSERT_EQ(kb_guest_tsc_simulate(&v->tsc, hz, bound_ps, &err), 0) << err.msg;
		calls.clear();
	}
	uint64_t hz;
};

GUEST_CODE(accesses, R"(
	mov $0xd0000000, %ebx
	mov $200, %ecx
1:	mov (%rbx), %eax
	mov %eax, 8(%rbx)
	dec %ecx
	jnz 1b
)" END)

TEST_F(tsc_guest, every_offset_is_guest_time)
{
	for (double scale : {0.1, 1.0, 10.0}) {
		v->msrs = kb_msrs{};
		simulate(scale, 1000000);
		load(accesses_start, accesses_end);
		mmio_log.clear();
		ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
		EXPECT_GT(calls.size(), 300u) << "an access takes the host longer than the bound";
		int64_t last = INT64_MIN, second = int64_t(v->tsc_hz);
		size_t early = 0;
		for (const set_call &c : calls) {
			// In force from some 4 us after the call on; by then the guest's TSC is its time, or more if it has seen more.
			int64_t at = int64_t((unsigned __int128)c.now_ps * hz / 1000000000000u), shows = int64_t(c.tsc + c.offset);
			EXPECT_LE(shows, at + second / 1000);
			early += shows + second / 100000 < at;
			EXPECT_GE(shows + second / 1000, last);
			last = shows;
		}
		EXPECT_LT(early, calls.size() / 10) << "a host that is busy between two instructions of ours is none of the guest's fault";
	}
}

TEST_F(tsc_guest, within_the_bound_it_is_left_alone)
{
	simulate(1, 1000000000000000); // 1000 s
	calls.clear();
	load(accesses_start, accesses_end);
	v->clock.now_ps = uint64_t((unsigned __int128)kb_tsc() * 1000000000000u / hz); // as the host's
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_EQ(calls.size(), 0u);
}

TEST_F(tsc_guest, kvm_that_stops_taking_it_ends_the_run)
{
	simulate(1, 1000000);
	fail_from = 20;
	load(accesses_start, accesses_end);
	EXPECT_EQ(run(), KB_END_ERROR);
	EXPECT_NE(strstr(err.msg, "cannot set the guest's TSC"), nullptr) << err.msg;
}

GUEST_CODE(writes_tsc, R"(
	mov $0x10, %ecx
	mov $0x1000, %eax
	xor %edx, %edx
	wrmsr
	mov $0x3b, %ecx
	rdmsr
	mov %eax, 0x2000
	mov %edx, 0x2004
)" END)

TEST_F(tsc_guest, the_guests_writes_come_to_the_box)
{
	simulate(1, 1000000);
	ASSERT_EQ(kb_msrs_install(&v->msrs, vm->api, vm->fd, &err), 0) << err.msg;
	load(writes_tsc_start, writes_tsc_end);
	ASSERT_EQ(run(), KB_END_REQUESTED) << err.msg;
	EXPECT_EQ(peek<uint64_t>(0x2000), v->tsc.adjust);
	EXPECT_LT(int64_t(v->tsc.adjust), 0x1000);
	EXPECT_EQ(v->tsc.adjust, v->tsc.moved);
	EXPECT_LT(kb_guest_tsc_at(&v->tsc, v->clock.now_ps), 0x1000u + v->tsc_hz) << "goes on from there";
}

} // namespace
