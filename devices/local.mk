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
