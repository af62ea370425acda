# KVM tests: tiny guests on the real /dev/kvm; they skip where it is not usable.
KVM_TESTS = tests/kvm/probe
check_PROGRAMS += $(KVM_TESTS)
TESTS += $(KVM_TESTS)

tests_kvm_probe_SOURCES = tests/kvm/probe_test.cpp
tests_kvm_probe_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kvm_probe_LDADD = $(TEST_LIBS)
