/*
 * The box's configuration beyond the public calls of kvmbox/kvmbox.h. (Not
 * autoconf's config.h: include it as "platforms/config.h".)
 */
#ifndef KB_PLATFORMS_CONFIG_H
#define KB_PLATFORMS_CONFIG_H

#include <kvmbox/kvmbox.h>

/* Limits that kvmbox_config_set() and kb_config_check() keep. */
#define KB_RAM_MIN (1ull << 20)
#define KB_RAM_MAX (64ull << 30)
#define KB_RAM_STEP 4096ull
#define KB_CPUS_MAX 64u
#define KB_TIME_SCALE_MAX 1e6
#define KB_EVENT_MAX 1000000000ull /* ps: what one instruction or cycle that a clock counts may take */
#define KB_PACE_MIN 1e-6 /* simulated seconds per second of the wall clock */
#define KB_PACE_MAX 1e6
/* Longest quantum, exit cost and timeout: a day. Sums of a few never wrap. */
#define KB_CONFIG_TIME_MAX (86400ull * 1000000000000ull)
#define KB_BOOT_MENU_MAX 60000000000000ull /* 60 s */

/*
 * The checks of kvmbox_config_set() for a struct filled in by hand. -EINVAL
 * names the first bad field. guest, initrd, cmdline, cpu and stats_json may be NULL, other strings not.
 */
int kb_config_check(const struct kvmbox_config *cfg, struct kvmbox_error *err);

#endif
