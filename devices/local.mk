# devices/: the chipset. Knows buses, lines and timers; no KVM, no SystemC.
noinst_LTLIBRARIES += libkbdevices.la
libkbdevices_la_SOURCES = \
	devices/timer.c devices/timer.h \
	devices/line.h devices/chardev.h
libkbdevices_la_SOURCES += devices/pic.c devices/pic.h
libkbdevices_la_SOURCES += devices/pit.c devices/pit.h
libkbdevices_la_SOURCES += devices/rtc.c devices/rtc.h
libkbdevices_la_SOURCES += \
	devices/lapic.c devices/lapic.h \
	devices/simtime.c devices/simtime.h \
	devices/reset.c devices/reset.h \
	devices/debugport.c devices/debugport.h
	devices/line.h devices/chardev.h \
	devices/pci.c devices/pci.h devices/pci_internal.h devices/pci_regs.h \
	devices/pci_function.c devices/pci_decode.c devices/pci_msi.c devices/pci_assign.c
libkbdevices_la_SOURCES += \
	devices/chardev.c devices/chardev_impl.h devices/chardev_pty.c \
	devices/chardev_stdio.c devices/chardev_unix.c \
	devices/uart.c devices/uart.h
