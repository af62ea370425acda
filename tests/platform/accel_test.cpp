// The example's accelerator: CTRL.RESET gives up a job that would take hours, and the next one works (accel_regs.h).
#include "agenda.h"

#include "examples/dma_accel/accel.h"

namespace {

constexpr uint64_t list = 0x1800000, source = list + 0x1000, target = list + 0x100000, slow = list, quick = list + 0x40;

struct bench : sc_core::sc_module {
	explicit bench(sc_core::sc_module_name nm) : sc_module(nm), box("box", "clock=fixed"), device("accel", box.pc)
	{
		const unsigned slot = device.function().bdf() >> 3;
		auto start = [&](uint64_t desc, uint32_t ps_per_byte) {
			box.write(slot, ACCEL_REG_CTRL, 4, ACCEL_CTRL_ENABLE);
			box.write(slot, ACCEL_REG_PROC_PS_PER_BYTE, 4, ps_per_byte);
			box.write(slot, ACCEL_REG_DESC_ADDR, 8, desc);
			box.write(slot, ACCEL_REG_DOORBELL, 4, 1);
		};

		start(slow, 0xffffffff);
		busy = box.read(slot, ACCEL_REG_STATUS, 4);
		box.write(slot, ACCEL_REG_CTRL, 4, ACCEL_CTRL_RESET);
		idle = box.read(slot, ACCEL_REG_STATUS, 4);
		start(quick, 100);
		done = box.add({ AGENDA_POLL, 0, 0, 0, quick + offsetof(accel_desc, operand), uint64_t(ACCEL_OK) << 32 | 7, 0, 0 });
		after = box.read(slot, ACCEL_REG_COMPLETED, 4);
	}
	agenda_box box;
	accel device;
	size_t busy, idle, done, after;
};

std::unique_ptr<bench> b;
std::string unusable;

} // namespace

void elaborate()
{
	unusable = unusable_host();
	if (unusable.empty())
		b = std::make_unique<bench>("bench");
}

TEST(accelerator, ResetAbortsAJob)
{
	accel_desc d[3] = {};
	uint8_t result[16];

	if (!unusable.empty())
		GTEST_SKIP() << unusable;
	d[0] = { source, target, ACCEL_MAX_LENGTH / 2, ACCEL_OP_COPY, 0, 0, 0 };
	d[2] = { source, target, 16, ACCEL_OP_ADD, 0, 7, 0 };
	ASSERT_TRUE(b->box.debug(tlm::TLM_WRITE_COMMAND, list, d, sizeof(d)));
	b->box.run();
	EXPECT_EQ(b->box[b->busy].value & ACCEL_STATUS_BUSY, ACCEL_STATUS_BUSY);
	EXPECT_EQ(b->box[b->idle].value & ACCEL_STATUS_BUSY, 0u);
	EXPECT_EQ(b->box[b->after].value, 1u);
	EXPECT_LT(sc_core::sc_time_stamp(), ns(1e9)); // the first one would take half an hour
	ASSERT_TRUE(b->box.debug(tlm::TLM_READ_COMMAND, target, result, sizeof(result)));
	EXPECT_EQ(result[0], 7);
	ASSERT_TRUE(b->box.debug(tlm::TLM_READ_COMMAND, slow, d, sizeof(d)));
	EXPECT_EQ(d[0].status, uint32_t(ACCEL_PENDING));
}
