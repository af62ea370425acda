/* The smallest guest: one line over COM1, status 0. */
#include "kvmbox_guest.h"

int main(void)
{
	puts("hello from the guest");
	return 0;
}
