/* What the loaders of Linux kernels share: the zero page. Private to platforms/. */
#ifndef KB_LOADER_LINUX_H
#define KB_LOADER_LINUX_H

#include <asm/bootparam.h>

#include "platforms/loader_place.h"

/* Linux's COMMAND_LINE_SIZE on x86 is 2048, with the NUL. For kernels whose header does not say. */
#define KB_LINUX_CMDLINE_MAX 2047u
/* initrd_addr_max where no header says. */
#define KB_LINUX_INITRD_MAX 0x7fffffffu

/* Completes the zero page, whose hdr is the kernel's or zeros, and writes it to KB_BOOT_INFO, the command line with it. */
void kb_linux_write_params(struct kb_place *place, const struct kvmbox_config *cfg, struct boot_params *params,
			   const struct kb_initrd *initrd);

#endif
