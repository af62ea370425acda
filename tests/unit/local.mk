# Unit tests: one program per device or bus, linked with the room's pieces directly.
UNIT_TESTS = tests/unit/bus tests/unit/timer
check_PROGRAMS += $(UNIT_TESTS)
TESTS += $(UNIT_TESTS)

tests_unit_bus_SOURCES = tests/unit/bus_test.cpp
tests_unit_bus_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_bus_LDADD = $(TEST_LIBS)

tests_unit_timer_SOURCES = tests/unit/timer_test.cpp
tests_unit_timer_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_timer_LDADD = $(TEST_LIBS)

UNIT_TESTS += tests/unit/chardev tests/unit/uart
tests_unit_chardev_SOURCES = tests/unit/chardev_test.cpp
tests_unit_chardev_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_chardev_LDADD = $(TEST_LIBS)

tests_unit_uart_SOURCES = tests/unit/uart_test.cpp
tests_unit_uart_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_uart_LDADD = $(TEST_LIBS)
