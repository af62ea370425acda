# KVM tests: tiny guests on the real /dev/kvm; they skip where it is not usable.
KVM_TESTS = tests/kvm/probe_test tests/kvm/vcpu_test tests/kvm/vm_test
check_PROGRAMS += $(KVM_TESTS)
TESTS += $(KVM_TESTS)
noinst_HEADERS += tests/kvm/vcpu_fixture.h
