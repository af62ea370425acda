/*
 * The puppet: a guest that does what a SystemC test tells it, through a
 * mailbox device. Registers of the mailbox's BAR 0, 64 bits each.
 */
#ifndef TESTS_PLATFORM_PUPPET_REGS_H
#define TESTS_PLATFORM_PUPPET_REGS_H

#define PUPPET_VENDOR 0x1234
#define PUPPET_DEVICE 0x9999

enum puppet_register {
	PUPPET_COMMAND = 0x00, /* read: the next command; the mailbox answers when there is one */
	PUPPET_ADDRESS = 0x08, /* of the command; for configuration space bdf << 8 | offset */
	PUPPET_VALUE = 0x10,
	PUPPET_RESULT = 0x18,  /* write: the command is done */
	PUPPET_ACK = 0x20,     /* write: from the interrupt handler, the vector */
};

/* Command: operation, length << 8. */
enum puppet_command {
	PUPPET_READ = 1,   /* memory */
	PUPPET_WRITE,
	PUPPET_CFG_READ,   /* configuration space */
	PUPPET_CFG_WRITE,
	PUPPET_TIME,       /* result: ps */
	PUPPET_USE_INTX,   /* address: bdf; result: IRQ */
	PUPPET_USE_MSI,    /* address: bdf; value: vector; result: messages */
	PUPPET_SLEEP,      /* until an interrupt arrives; result: ps when it goes on */
	PUPPET_SPIN,       /* the same, but computing */
	PUPPET_EXIT,       /* with status value */
};

#endif
