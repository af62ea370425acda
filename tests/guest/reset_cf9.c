/* Reset control register: bit 2's rising edge resets, bit 1 makes it a hard one. */
#include "reset.h"

int main(void)
{
	begin();
	outb(0xcf9, 0x02);
	outb(0xcf9, 0x06);
	return not_reset();
}
