# platforms/: the PC, its loaders and the C ABI; links the rooms below into libkvmbox.
noinst_LTLIBRARIES += libkbplatforms.la
libkbplatforms_la_SOURCES = \
	platforms/acpi.c platforms/acpi.h \
	platforms/aml.c platforms/aml.h \
	platforms/mptable.c platforms/mptable.h \
	platforms/smbios.c platforms/smbios.h \
	platforms/tables.c platforms/tables.h \
	platforms/boot.c platforms/boot.h \
	platforms/box.c platforms/box.h platforms/box_dma.c platforms/box_function.c \
	platforms/buf.c platforms/buf.h \
	platforms/config.c platforms/config.h \
	platforms/fw_tables.c platforms/fw_tables.h \
	platforms/loader.c platforms/loader.h \
	platforms/loader_elf.c platforms/loader_flat.c platforms/loader_kind.c \
	platforms/loader_linux.c platforms/loader_linux.h platforms/loader_vmlinux.c \
	platforms/loader_multiboot.c platforms/loader_multiboot2.c platforms/loader_multiboot.h \
	platforms/loader_place.c platforms/loader_place.h \
	platforms/loader_image.c platforms/loader_image.h \
	platforms/pc.c platforms/pc.h platforms/pc_chipset.c platforms/pc_chipset.h \
	platforms/pc_clocks.c platforms/pc_clocks.h platforms/pc_cpus.c platforms/pc_cpus.h platforms/pc_firmware.c platforms/pc_firmware.h platforms/pc_start.c platforms/pc_start.h \
	platforms/stats.c \
	platforms/units.c platforms/units.h

lib_LTLIBRARIES += libkvmbox.la
libkvmbox_la_SOURCES =
libkvmbox_la_LIBADD = libkbplatforms.la libkbdevices.la libkbvcpu.la $(LIBELF_LIBS) $(JANSSON_LIBS) $(ZYDIS_LIBS)
libkvmbox_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 -no-undefined -export-symbols-regex '^kvmbox_'
kvmboxinclude_HEADERS += platforms/include/kvmbox/kvmbox.h
pkgconfig_DATA += platforms/kvmbox.pc
