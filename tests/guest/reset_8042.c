/* Keyboard controller: command 0xfe pulses the CPU's reset line. */
#include "reset.h"

int main(void)
{
	begin();
	for (unsigned i = 0; i < 100 && inb(0x64) & 2; i++)
		; /* input buffer full */
	outb(0x64, 0xfe);
	return not_reset();
}
