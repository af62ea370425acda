# devices/: the chipset. Knows buses, lines and timers; no KVM, no SystemC.
noinst_LTLIBRARIES += libkbdevices.la
libkbdevices_la_SOURCES = \
	devices/acpi_pm.c devices/acpi_pm.h \
	devices/chardev.c devices/chardev.h devices/chardev_impl.h \
	devices/chardev_pty.c devices/chardev_stdio.c devices/chardev_unix.c \
	devices/debugport.c devices/debugport.h \
	devices/hpet.c devices/hpet.h \
	devices/ioapic.c devices/ioapic.h \
	devices/lapic.c devices/lapic.h devices/lapic_internal.h devices/lapic_msr.c devices/lapic_timer.c \
	devices/line.h \
	devices/pci.c devices/pci.h devices/pci_internal.h devices/pci_regs.h \
	devices/pci_assign.c devices/pci_decode.c devices/pci_function.c devices/pci_msi.c \
	devices/pic.c devices/pic.h \
	devices/pit.c devices/pit.h \
	devices/reset.c devices/reset.h \
	devices/rtc.c devices/rtc.h \
	devices/simtime.c devices/simtime.h \
	devices/timer.c devices/timer.h \
	devices/uart.c devices/uart.h
