# Unit tests: one program per device or bus, linked with the room's pieces directly.
UNIT_TESTS = tests/unit/bus tests/unit/timer
UNIT_TESTS += tests/unit/cpuid tests/unit/kvm
UNIT_TESTS += tests/unit/pci
check_PROGRAMS += $(UNIT_TESTS)
TESTS += $(UNIT_TESTS)

tests_unit_bus_SOURCES = tests/unit/bus_test.cpp
tests_unit_bus_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_bus_LDADD = $(TEST_LIBS)

tests_unit_timer_SOURCES = tests/unit/timer_test.cpp
tests_unit_timer_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_timer_LDADD = $(TEST_LIBS)

UNIT_TESTS += tests/unit/config
tests_unit_config_SOURCES = tests/unit/config_test.cpp
tests_unit_config_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_config_LDADD = $(TEST_LIBS)

UNIT_TESTS += tests/unit/loader
tests_unit_loader_SOURCES = tests/unit/loader_test.cpp
tests_unit_loader_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_loader_LDADD = $(TEST_LIBS)
UNIT_TESTS += tests/unit/pic
tests_unit_pic_SOURCES = tests/unit/pic_test.cpp
tests_unit_pic_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_pic_LDADD = $(TEST_LIBS)

UNIT_TESTS += tests/unit/pit
tests_unit_pit_SOURCES = tests/unit/pit_test.cpp
tests_unit_pit_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_pit_LDADD = $(TEST_LIBS)

UNIT_TESTS += tests/unit/rtc
tests_unit_rtc_SOURCES = tests/unit/rtc_test.cpp
tests_unit_rtc_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_rtc_LDADD = $(TEST_LIBS)
UNIT_TESTS += tests/unit/lapic tests/unit/simtime tests/unit/reset tests/unit/debugport

tests_unit_lapic_SOURCES = tests/unit/lapic_test.cpp
tests_unit_lapic_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_lapic_LDADD = $(TEST_LIBS)

tests_unit_simtime_SOURCES = tests/unit/simtime_test.cpp
tests_unit_simtime_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_simtime_LDADD = $(TEST_LIBS)

tests_unit_reset_SOURCES = tests/unit/reset_test.cpp
tests_unit_reset_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_reset_LDADD = $(TEST_LIBS)

tests_unit_debugport_SOURCES = tests/unit/debugport_test.cpp
tests_unit_debugport_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_debugport_LDADD = $(TEST_LIBS)
tests_unit_cpuid_SOURCES = tests/unit/cpuid_test.cpp
tests_unit_cpuid_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_cpuid_LDADD = $(TEST_LIBS)

tests_unit_kvm_SOURCES = tests/unit/kvm_test.cpp
tests_unit_kvm_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_kvm_LDADD = $(TEST_LIBS)
tests_unit_pci_SOURCES = tests/unit/pci_fixture.h tests/unit/pci_test.cpp tests/unit/pci_bar_test.cpp \
	tests/unit/pci_msi_test.cpp tests/unit/pci_hostile_test.cpp
tests_unit_pci_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_pci_LDADD = $(TEST_LIBS)
UNIT_TESTS += tests/unit/chardev tests/unit/uart
tests_unit_chardev_SOURCES = tests/unit/chardev_test.cpp
tests_unit_chardev_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_chardev_LDADD = $(TEST_LIBS)

tests_unit_uart_SOURCES = tests/unit/uart_test.cpp
tests_unit_uart_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_uart_LDADD = $(TEST_LIBS)

UNIT_TESTS += tests/unit/clock
tests_unit_clock_SOURCES = tests/unit/clock_test.cpp
tests_unit_clock_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_clock_LDADD = $(TEST_LIBS)
