/* System control port A: bit 0 resets the CPU. */
#include "reset.h"

int main(void)
{
	begin();
	outb(0x92, (uint8_t)((inb(0x92) & ~1u) | 1));
	return not_reset();
}
