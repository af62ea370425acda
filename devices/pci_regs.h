/*
 * PCI configuration space: names and bits of PCI Local Bus 3.0 (chapter 6,
 * section 6.1 ff.), its capabilities (appendix H; MSI and MSI-X 6.8) and of
 * PCI Bus Power Management 1.2 (section 3.2).
 */
#ifndef KB_PCI_REGS_H
#define KB_PCI_REGS_H

/* Configuration mechanism #1 (3.2.2.3.2) */
enum {
	KB_PCI_CONFIG_ADDRESS = 0xcf8,
	KB_PCI_RESET_CONTROL = 0xcf9, /* the chipset's; only dwords at 0xcf8 are CONFIG_ADDRESS */
	KB_PCI_CONFIG_DATA = 0xcfc,
};
#define KB_PCI_CONFIG_ENABLE 0x80000000u
#define KB_PCI_CONFIG_WRITABLE 0x80fffffcu /* bits 30-24 and 1-0 read as zero */

/* Type-0 header (6.1) */
enum {
	KB_PCI_VENDOR_ID = 0x00,
	KB_PCI_DEVICE_ID = 0x02,
	KB_PCI_COMMAND = 0x04,
	KB_PCI_STATUS = 0x06,
	KB_PCI_REVISION_ID = 0x08,
	KB_PCI_CLASS_CODE = 0x09, /* 3 bytes: interface, subclass, base class */
	KB_PCI_CACHE_LINE_SIZE = 0x0c,
	KB_PCI_LATENCY_TIMER = 0x0d,
	KB_PCI_HEADER_TYPE = 0x0e,
	KB_PCI_BAR0 = 0x10,
	KB_PCI_SUBSYSTEM_VENDOR_ID = 0x2c,
	KB_PCI_SUBSYSTEM_ID = 0x2e,
	KB_PCI_ROM_ADDRESS = 0x30,
	KB_PCI_CAPABILITIES = 0x34,
	KB_PCI_INTERRUPT_LINE = 0x3c,
	KB_PCI_INTERRUPT_PIN = 0x3d,
	KB_PCI_HEADER_END = 0x40,
	KB_PCI_CONFIG_SIZE = 0x100,
};

/* Command (6.2.2) */
enum {
	KB_PCI_COMMAND_IO = 0x0001,
	KB_PCI_COMMAND_MEMORY = 0x0002,
	KB_PCI_COMMAND_MASTER = 0x0004,
	KB_PCI_COMMAND_PARITY = 0x0040,
	KB_PCI_COMMAND_SERR = 0x0100,
	KB_PCI_COMMAND_INTX_DISABLE = 0x0400,
};

/* Status (6.2.3) */
enum {
	KB_PCI_STATUS_INTERRUPT = 0x0008,
	KB_PCI_STATUS_CAP_LIST = 0x0010,
	KB_PCI_STATUS_FAST_B2B = 0x0080,
	KB_PCI_STATUS_MASTER_PARITY = 0x0100,
	KB_PCI_STATUS_DEVSEL_MEDIUM = 0x0200,
	KB_PCI_STATUS_SIGNALED_TARGET_ABORT = 0x0800,
	KB_PCI_STATUS_RECEIVED_TARGET_ABORT = 0x1000,
	KB_PCI_STATUS_RECEIVED_MASTER_ABORT = 0x2000,
	KB_PCI_STATUS_SIGNALED_SYSTEM_ERROR = 0x4000,
	KB_PCI_STATUS_PARITY_ERROR = 0x8000,
	KB_PCI_STATUS_ERRORS = 0xf900, /* write 1 to clear */
};

enum { KB_PCI_HEADER_MULTIFUNCTION = 0x80 };
enum { KB_PCI_LATENCY_WRITABLE = 0xf8 }; /* the lower bits may be read-only (6.2.4) */

/* Base addresses (6.2.5) */
enum {
	KB_PCI_BAR_IO = 0x1,
	KB_PCI_BAR_64 = 0x4,
	KB_PCI_BAR_PREFETCHABLE = 0x8,
	KB_PCI_ROM_ENABLE = 0x1,
};

/* Capability IDs (appendix H) and the offsets in a capability */
enum {
	KB_PCI_CAP_PM = 0x01,
	KB_PCI_CAP_MSI = 0x05,
	KB_PCI_CAP_VENDOR = 0x09,
	KB_PCI_CAP_MSIX = 0x11,
	KB_PCI_CAP_NEXT = 1,
};

/* Power management (PM 1.2, 3.2) */
enum {
	KB_PCI_PM_PMC = 2,
	KB_PCI_PM_PMCSR = 4,
	KB_PCI_PM_SIZE = 8,
	KB_PCI_PMC_VERSION_1_2 = 0x0003,
	KB_PCI_PMCSR_STATE = 0x0003,
	KB_PCI_PMCSR_D0 = 0,
	KB_PCI_PMCSR_D3HOT = 3,
	KB_PCI_PMCSR_NO_SOFT_RESET = 0x0008,
};

/* MSI (6.8.1), 64-bit address and per-vector masking */
enum {
	KB_PCI_MSI_CONTROL = 2,
	KB_PCI_MSI_ADDRESS = 4,
	KB_PCI_MSI_ADDRESS_HIGH = 8,
	KB_PCI_MSI_DATA = 12,
	KB_PCI_MSI_MASK = 16,
	KB_PCI_MSI_PENDING = 20,
	KB_PCI_MSI_SIZE = 24,
	KB_PCI_MSI_ENABLE = 0x0001,
	KB_PCI_MSI_CAPABLE_SHIFT = 1, /* multiple message capable, log2 */
	KB_PCI_MSI_ENABLED_SHIFT = 4, /* multiple message enable, log2 */
	KB_PCI_MSI_COUNT = 7,         /* either, shifted down */
	KB_PCI_MSI_64BIT = 0x0080,
	KB_PCI_MSI_MASKING = 0x0100,
};

/* MSI-X (6.8.2) */
enum {
	KB_PCI_MSIX_CONTROL = 2,
	KB_PCI_MSIX_TABLE = 4,
	KB_PCI_MSIX_PBA = 8,
	KB_PCI_MSIX_SIZE = 12,
	KB_PCI_MSIX_FUNCTION_MASK = 0x4000,
	KB_PCI_MSIX_ENABLE = 0x8000,
	KB_PCI_MSIX_ENTRY_SIZE = 16,
	KB_PCI_MSIX_ENTRY_DATA = 8,
	KB_PCI_MSIX_ENTRY_CONTROL = 12,
	KB_PCI_MSIX_ENTRY_MASKED = 0x1,
};

#endif
