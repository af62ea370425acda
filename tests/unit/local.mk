# Unit tests: one program per device or bus, linked with the room's pieces directly.
UNIT_TESTS = tests/unit/bus tests/unit/timer
UNIT_TESTS += tests/unit/cpuid tests/unit/kvm
check_PROGRAMS += $(UNIT_TESTS)
TESTS += $(UNIT_TESTS)

tests_unit_bus_SOURCES = tests/unit/bus_test.cpp
tests_unit_bus_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_bus_LDADD = $(TEST_LIBS)

tests_unit_timer_SOURCES = tests/unit/timer_test.cpp
tests_unit_timer_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_timer_LDADD = $(TEST_LIBS)

tests_unit_cpuid_SOURCES = tests/unit/cpuid_test.cpp
tests_unit_cpuid_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_cpuid_LDADD = $(TEST_LIBS)

tests_unit_kvm_SOURCES = tests/unit/kvm_test.cpp
tests_unit_kvm_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_kvm_LDADD = $(TEST_LIBS)
