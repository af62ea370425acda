/* cli; hlt: nothing ever wakes it. */
#include "kvmbox_guest.h"

int main(void)
{
	puts("going to sleep");
	halt();
}
