/* An alarm clock on PCI: the device of this example. BAR0, 32-bit registers. */
#ifndef ALARM_REGS_H
#define ALARM_REGS_H

#define ALARM_VENDOR 0x4b58
#define ALARM_DEVICE 0xa1a2

#define ALARM_ID 0x00     /* RO: ALARM_ID_VALUE */
#define ALARM_START 0x04  /* WO: ring INTA that many ns from now */
#define ALARM_STATUS 0x08 /* RO: 1 while it rings; reading silences it */
#define ALARM_ID_VALUE 0x434f4c43u

#endif
