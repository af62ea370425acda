# KVM tests: tiny guests on the real /dev/kvm; they skip where it is not usable.
KVM_TESTS = \
	tests/kvm/assist_test \
	tests/kvm/boot_test \
	tests/kvm/box_test \
	tests/kvm/clock_source_test \
	tests/kvm/count_pmu_test \
	tests/kvm/function_test \
	tests/kvm/guest_test \
	tests/kvm/guest_tsc_test \
	tests/kvm/posted_test \
	tests/kvm/pvclock_test \
	tests/kvm/probe_test \
	tests/kvm/seabios_test \
	tests/kvm/stats_test \
	tests/kvm/step_hostile_test \
	tests/kvm/step_signals_test \
	tests/kvm/step_test \
	tests/kvm/vcpu_test \
	tests/kvm/vm_test
check_PROGRAMS += $(KVM_TESTS)
TESTS += $(KVM_TESTS)
noinst_HEADERS += tests/kvm/box_fixture.h tests/kvm/rival.h tests/kvm/step_fixture.h \
	tests/kvm/vcpu_fixture.h

# These run the programs of tests/guest.
BOX_TEST_CPPFLAGS = $(AM_CPPFLAGS) -DGUESTS='"$(abs_builddir)/tests/guest"'
tests_kvm_boot_test_CPPFLAGS = $(BOX_TEST_CPPFLAGS)
tests_kvm_box_test_CPPFLAGS = $(BOX_TEST_CPPFLAGS)
tests_kvm_clock_source_test_CPPFLAGS = $(BOX_TEST_CPPFLAGS)
tests_kvm_function_test_CPPFLAGS = $(BOX_TEST_CPPFLAGS)
tests_kvm_guest_test_CPPFLAGS = $(BOX_TEST_CPPFLAGS)
tests_kvm_posted_test_CPPFLAGS = $(BOX_TEST_CPPFLAGS)
tests_kvm_seabios_test_CPPFLAGS = $(BOX_TEST_CPPFLAGS)
tests_kvm_stats_test_CPPFLAGS = $(BOX_TEST_CPPFLAGS)
tests_kvm_pvclock_test_CPPFLAGS = $(BOX_TEST_CPPFLAGS)
