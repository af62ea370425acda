# devices/: the chipset. Knows buses, lines and timers; no KVM, no SystemC.
noinst_LTLIBRARIES += libkbdevices.la
libkbdevices_la_SOURCES = \
	devices/acpi_pm.c devices/acpi_pm.h \
	devices/backend.c devices/backend.h \
	devices/block.c devices/block_impl.h devices/block_nbd.c devices/block_raw.c devices/block_snapshot.c \
	devices/chardev.c devices/chardev.h devices/chardev_impl.h \
	devices/chardev_pty.c devices/chardev_stdio.c devices/chardev_unix.c \
	devices/debugport.c devices/debugport.h \
	devices/hpet.c devices/hpet.h \
	devices/ioapic.c devices/ioapic.h \
	devices/lapic.c devices/lapic.h devices/lapic_internal.h devices/lapic_msr.c devices/lapic_timer.c \
	devices/line.h \
	devices/net.c devices/net_impl.h devices/net_hub.c devices/net_pcap.c devices/net_tap.c \
	devices/net_udp.c devices/net_unix.c devices/net_user.c \
	devices/pci.c devices/pci.h devices/pci_internal.h devices/pci_regs.h \
	devices/pci_assign.c devices/pci_decode.c devices/pci_function.c devices/pci_msi.c \
	devices/pic.c devices/pic.h \
	devices/pit.c devices/pit.h \
	devices/reset.c devices/reset.h \
	devices/ring.c devices/ring.h \
	devices/rtc.c devices/rtc.h \
	devices/simtime.c devices/simtime.h \
	devices/timer.c devices/timer.h \
	devices/uart.c devices/uart.h \
	devices/unix_socket.c devices/unix_socket.h
libkbdevices_la_LIBADD = $(KB_BACKENDS_LIBS)
kvmboxinclude_HEADERS += \
	devices/include/kvmbox/backend.h devices/include/kvmbox/block.h devices/include/kvmbox/net.h
