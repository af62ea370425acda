/*
 * How long the simulation's thread has slept, for the statistics: pacers say so; during a nap, when there may be nothing
 * to do but to wait for input or for resume(), it is what the thread did not spend on a CPU.
 */
#ifndef KVMBOX_TLM_SLEEP_METER_H
#define KVMBOX_TLM_SLEEP_METER_H

#include <cstdint>

namespace kvmbox {

class sleep_meter {
public:
	/* Host ns since the last call. */
	uint64_t take()
	{
		const uint64_t paced = s_paced - m_paced;

		m_paced = s_paced;
		return m_napping ? napped() : paced; /* a nap has the pacers' sleep in it */
	}
	/* Costs two system calls, here and in each take() of a nap. */
	void nap(bool on);
	/* For pacers: the thread has slept; for all boxes. */
	static void add(uint64_t ns) { s_paced += ns; }

private:
	uint64_t napped();

	static uint64_t s_paced;
	uint64_t m_paced = 0;         /* of s_paced, taken */
	uint64_t m_wall = 0, m_cpu = 0; /* at the beginning of the nap or the last take() */
	bool m_napping = false;
};

} // namespace kvmbox

#endif
