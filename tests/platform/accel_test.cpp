// The example's accelerator: CTRL.RESET gives up a job that would take hours, and the next one works; the ring takes work while
// it is at work, wraps, survives what fails, halts where memory ends, and refuses what makes no sense (accel_regs.h).
#include "agenda.h"

#include "examples/dma_accel/accel.h"

namespace {

constexpr uint64_t list = 0x1800000, source = list + 0x1000, target = list + 0x100000, slow = list, quick = list + 0x40;
constexpr uint64_t ring = list + 0x200000, ring_source = ring + 0x1000, ring_target = ring + 0x2000, nowhere = 192ull << 30;
constexpr unsigned ring_entries = 4, on = ACCEL_CTRL_ENABLE | ACCEL_CTRL_RING;

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
		refusals(slot);
		work(slot);
		halt(slot);
	}
	// LAST_ERROR after each write that must be refused, 0 after the good one in between.
	void refused(unsigned slot, accel_reg reg, uint32_t value)
	{
		box.write(slot, ACCEL_REG_CTRL, 4, ACCEL_CTRL_RESET | ACCEL_CTRL_ENABLE);
		box.write(slot, ACCEL_REG_RING_ADDR, 8, bad_addr ? ring + 8 : ring);
		box.write(slot, ACCEL_REG_RING_ENTRIES, 4, entries);
		if (turn_on)
			box.write(slot, ACCEL_REG_CTRL, 4, on);
		box.write(slot, reg, 4, value);
		errors.push_back(box.read(slot, ACCEL_REG_LAST_ERROR, 4));
		controls.push_back(box.read(slot, ACCEL_REG_CTRL, 4));
	}
	void refusals(unsigned slot)
	{
		refused(slot, ACCEL_REG_CTRL, on); // good
		bad_addr = true;
		refused(slot, ACCEL_REG_CTRL, on);
		bad_addr = false;
		for (unsigned n : { 0u, 1u, ACCEL_MAX_RING + 1 }) {
			entries = n;
			refused(slot, ACCEL_REG_CTRL, on);
		}
		entries = ring_entries;
		refused(slot, ACCEL_REG_RING_TAIL, 1); // the ring is off
		turn_on = true;
		refused(slot, ACCEL_REG_RING_TAIL, ring_entries);
		refused(slot, ACCEL_REG_DOORBELL, 1);
	}
	void start_ring(unsigned slot, uint64_t address, uint32_t ps_per_byte)
	{
		box.write(slot, ACCEL_REG_CTRL, 4, ACCEL_CTRL_RESET);
		box.write(slot, ACCEL_REG_PROC_PS_PER_BYTE, 4, ps_per_byte);
		box.write(slot, ACCEL_REG_RING_ADDR, 8, address);
		box.write(slot, ACCEL_REG_RING_ENTRIES, 4, ring_entries);
		box.write(slot, ACCEL_REG_CTRL, 4, on);
	}
	size_t wait_for(unsigned i, accel_status status)
	{
		return box.add({ AGENDA_POLL, 0, 0, 0, ring + i * sizeof(accel_desc) + offsetof(accel_desc, operand),
				 uint64_t(status) << 32 | (i + 1), 0, 0 });
	}
	// Three descriptors, the last two while the first one is being worked on; then a fourth and, again, the first.
	void work(unsigned slot)
	{
		start_ring(slot, ring, 1000000);
		box.write(slot, ACCEL_REG_RING_TAIL, 4, 1);
		first_busy = box.read(slot, ACCEL_REG_STATUS, 4);
		box.write(slot, ACCEL_REG_RING_TAIL, 4, 3);
		box.write(slot, ACCEL_REG_CTRL, 4, ACCEL_CTRL_ENABLE); // not while BUSY
		still_on = box.read(slot, ACCEL_REG_CTRL, 4);
		wait_for(1, ACCEL_ERR_OPCODE);
		wait_for(2, ACCEL_OK);
		three = box.read(slot, ACCEL_REG_RING_HEAD, 4);
		box.write(slot, ACCEL_REG_RING_TAIL, 4, 1);
		wait_for(3, ACCEL_OK);
	}
	void halt(unsigned slot)
	{
		start_ring(slot, nowhere, 100);
		box.write(slot, ACCEL_REG_RING_TAIL, 4, 2);
		halted = box.read(slot, ACCEL_REG_STATUS, 4);
		stuck = box.read(slot, ACCEL_REG_RING_HEAD, 4);
		box.write(slot, ACCEL_REG_RING_TAIL, 4, 3);
		tail_kept = box.read(slot, ACCEL_REG_RING_TAIL, 4);
		start_ring(slot, ring, 100);
		recovered = box.read(slot, ACCEL_REG_STATUS, 4);
	}
	agenda_box box;
	accel device;
	bool bad_addr = false, turn_on = false;
	unsigned entries = ring_entries;
	std::vector<size_t> errors, controls;
	size_t busy, idle, done, after;
	size_t first_busy, still_on, three, halted, stuck, tail_kept, recovered;
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

// Adds 1 to 4 to 16 zeros; the second one is none of the operations.
void fill_ring()
{
	const uint8_t zeros[16] = {};

	ASSERT_TRUE(b->box.debug(tlm::TLM_WRITE_COMMAND, ring_source, const_cast<uint8_t *>(zeros), sizeof(zeros)));
	for (uint32_t i = 0; i < ring_entries; i++) {
		accel_desc d = { ring_source, ring_target + i * 0x100, 16, ACCEL_OP_ADD, ACCEL_FLAG_IRQ, i + 1, 0 };

		if (i == 1)
			d.opcode = 99;
		ASSERT_TRUE(b->box.debug(tlm::TLM_WRITE_COMMAND, ring + i * sizeof(d), &d, sizeof(d)));
	}
}

// What every test looks at the results of.
void run_bench()
{
	static bool ran;
	accel_desc d[3] = {};

	if (ran)
		return;
	ran = true;
	d[0] = { source, target, ACCEL_MAX_LENGTH / 2, ACCEL_OP_COPY, 0, 0, 0 };
	d[2] = { source, target, 16, ACCEL_OP_ADD, 0, 7, 0 };
	ASSERT_TRUE(b->box.debug(tlm::TLM_WRITE_COMMAND, list, d, sizeof(d)));
	fill_ring();
	b->box.run();
}

uint64_t seen(size_t step)
{
	return b->box[step].value;
}

TEST(accelerator, ResetAbortsAJob)
{
	accel_desc d;
	uint8_t result[16];

	if (!unusable.empty())
		GTEST_SKIP() << unusable;
	run_bench();
	EXPECT_EQ(b->box[b->busy].value & ACCEL_STATUS_BUSY, ACCEL_STATUS_BUSY);
	EXPECT_EQ(b->box[b->idle].value & ACCEL_STATUS_BUSY, 0u);
	EXPECT_EQ(b->box[b->after].value, 1u);
	EXPECT_LT(sc_core::sc_time_stamp(), ns(1e9)); // the first one would take half an hour
	ASSERT_TRUE(b->box.debug(tlm::TLM_READ_COMMAND, target, result, sizeof(result)));
	EXPECT_EQ(result[0], 7);
	ASSERT_TRUE(b->box.debug(tlm::TLM_READ_COMMAND, slow, &d, sizeof(d)));
	EXPECT_EQ(d.status, uint32_t(ACCEL_PENDING));
}

TEST(accelerator, RingTakesWorkWhileBusy)
{
	uint8_t result[16];

	if (!unusable.empty())
		GTEST_SKIP() << unusable;
	run_bench();
	EXPECT_EQ(seen(b->first_busy), ACCEL_STATUS_BUSY);
	EXPECT_EQ(seen(b->still_on), on);
	EXPECT_EQ(seen(b->three), 3u);
	for (unsigned i = 0; i < ring_entries; i++) {
		ASSERT_TRUE(b->box.debug(tlm::TLM_READ_COMMAND, ring_target + i * 0x100, result, sizeof(result)));
		for (uint8_t byte : result)
			EXPECT_EQ(byte, i == 1 ? 0 : i + 1) << i;
	}
}

TEST(accelerator, RingHaltsWithoutMemory)
{
	if (!unusable.empty())
		GTEST_SKIP() << unusable;
	run_bench();
	EXPECT_EQ(seen(b->halted), ACCEL_STATUS_HALTED | ACCEL_STATUS_ERROR);
	EXPECT_EQ(seen(b->stuck), 0u);
	EXPECT_EQ(seen(b->tail_kept), 2u);
	EXPECT_EQ(seen(b->recovered), 0u);
}

TEST(accelerator, RingRefusals)
{
	if (!unusable.empty())
		GTEST_SKIP() << unusable;
	run_bench();
	ASSERT_EQ(b->errors.size(), 8u);
	for (size_t i = 0; i < b->errors.size(); i++) {
		EXPECT_EQ(seen(b->errors[i]), i == 0 ? 0u : unsigned(ACCEL_ERR_DOORBELL)) << i;
		EXPECT_EQ(seen(b->controls[i]), i == 0 || i > 5 ? on : unsigned(ACCEL_CTRL_ENABLE)) << i;
	}
}
