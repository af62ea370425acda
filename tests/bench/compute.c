/* Guest: computes at ring 3. */
#include "compute.h"
#include "kvmbox_guest.h"

int main(void)
{
	volatile uint64_t result = bench_compute();
	return result == 0;
}
