# platforms/: the PC, its loaders and the C ABI; links the rooms below into libkvmbox.
lib_LTLIBRARIES += libkvmbox.la
libkvmbox_la_SOURCES =
libkvmbox_la_LIBADD = libkbdevices.la libkbvcpu.la $(LIBELF_LIBS)
libkvmbox_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 -no-undefined
kvmboxinclude_HEADERS += platforms/include/kvmbox/kvmbox.h
pkgconfig_DATA += platforms/kvmbox.pc
