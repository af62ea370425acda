# devices/: the chipset. Knows buses, lines and timers; no KVM, no SystemC.
noinst_LTLIBRARIES += libkbdevices.la
libkbdevices_la_SOURCES = \
	devices/timer.c devices/timer.h \
	devices/line.h devices/chardev.h
libkbdevices_la_SOURCES += \
	devices/chardev.c devices/chardev_impl.h devices/chardev_pty.c \
	devices/chardev_stdio.c devices/chardev_unix.c \
	devices/uart.c devices/uart.h
