# Unit tests: one program per device or bus, linked with the room's pieces directly.
UNIT_TESTS = tests/unit/bus tests/unit/timer
UNIT_TESTS += tests/unit/pci
check_PROGRAMS += $(UNIT_TESTS)
TESTS += $(UNIT_TESTS)

tests_unit_bus_SOURCES = tests/unit/bus_test.cpp
tests_unit_bus_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_bus_LDADD = $(TEST_LIBS)

tests_unit_timer_SOURCES = tests/unit/timer_test.cpp
tests_unit_timer_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_timer_LDADD = $(TEST_LIBS)

tests_unit_pci_SOURCES = tests/unit/pci_fixture.h tests/unit/pci_test.cpp tests/unit/pci_bar_test.cpp \
	tests/unit/pci_msi_test.cpp tests/unit/pci_hostile_test.cpp
tests_unit_pci_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_pci_LDADD = $(TEST_LIBS)
