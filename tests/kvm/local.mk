# KVM tests: tiny guests on the real /dev/kvm; they skip where it is not usable.
KVM_TESTS = tests/kvm/probe_test tests/kvm/vcpu_test tests/kvm/vm_test
check_PROGRAMS += $(KVM_TESTS)
TESTS += $(KVM_TESTS)
noinst_HEADERS += tests/kvm/vcpu_fixture.h

tests_kvm_probe_SOURCES = tests/kvm/probe_test.cpp
tests_kvm_probe_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kvm_probe_LDADD = $(TEST_LIBS)

tests_kvm_vcpu_SOURCES = tests/kvm/vcpu_test.cpp tests/kvm/vcpu_fixture.h
tests_kvm_vcpu_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kvm_vcpu_LDADD = $(TEST_LIBS)

tests_kvm_vm_SOURCES = tests/kvm/vm_test.cpp tests/kvm/vcpu_fixture.h
tests_kvm_vm_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kvm_vm_LDADD = $(TEST_LIBS)

BOX_TEST_CPPFLAGS = $(TEST_CPPFLAGS) -DGUESTS='"$(abs_builddir)/tests/guest"'
BOX_TESTS = tests/kvm/function tests/kvm/guest tests/kvm/box
check_PROGRAMS += $(BOX_TESTS)
TESTS += $(BOX_TESTS)

tests_kvm_function_SOURCES = tests/kvm/function_test.cpp tests/kvm/box_fixture.h
tests_kvm_function_CPPFLAGS = $(BOX_TEST_CPPFLAGS)
tests_kvm_function_LDADD = $(TEST_LIBS)

tests_kvm_guest_SOURCES = tests/kvm/guest_test.cpp tests/kvm/box_fixture.h
tests_kvm_guest_CPPFLAGS = $(BOX_TEST_CPPFLAGS)
tests_kvm_guest_LDADD = $(TEST_LIBS)

tests_kvm_box_SOURCES = tests/kvm/box_test.cpp tests/kvm/box_fixture.h tests/kvm/vcpu_fixture.h
tests_kvm_box_CPPFLAGS = $(BOX_TEST_CPPFLAGS)
tests_kvm_box_LDADD = $(TEST_LIBS)
