# Platform tests: one program per elaboration (SystemC has one kernel per
# process). The "glue" ones run over a stand-in for the C core and need no KVM.
PLATFORM_CPPFLAGS = $(TLM_CPPFLAGS) $(GTEST_CFLAGS)

check_LTLIBRARIES += tests/platform/libfakebox.la
tests_platform_libfakebox_la_SOURCES = tests/platform/fake_box.cpp tests/platform/fake_box.h
tests_platform_libfakebox_la_CPPFLAGS = $(TLM_CPPFLAGS)
tests_platform_libfakebox_la_CXXFLAGS = $(TLM_CXXFLAGS)
GLUE_LIBS = libkbtlm.la tests/platform/libfakebox.la $(SYSTEMC_LIBS) $(GTEST_LIBS) -lpthread

GLUE_TESTS = \
	tests/platform/config \
	tests/platform/dma \
	tests/platform/end \
	tests/platform/exception \
	tests/platform/input \
	tests/platform/kill \
	tests/platform/pace \
	tests/platform/time_fs \
	tests/platform/time_ns \
	tests/platform/transport
check_PROGRAMS += $(GLUE_TESTS)
TESTS += $(GLUE_TESTS)

tests_platform_config_SOURCES = tests/platform/config_test.cpp tests/platform/platform_test.h
tests_platform_config_CPPFLAGS = $(PLATFORM_CPPFLAGS)
tests_platform_config_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_config_LDADD = $(GLUE_LIBS)

tests_platform_dma_SOURCES = tests/platform/dma_test.cpp
tests_platform_dma_CPPFLAGS = $(PLATFORM_CPPFLAGS)
tests_platform_dma_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_dma_LDADD = $(GLUE_LIBS)

tests_platform_end_SOURCES = tests/platform/end_test.cpp
tests_platform_end_CPPFLAGS = $(PLATFORM_CPPFLAGS)
tests_platform_end_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_end_LDADD = $(GLUE_LIBS)

tests_platform_exception_SOURCES = tests/platform/exception_test.cpp
tests_platform_exception_CPPFLAGS = $(PLATFORM_CPPFLAGS)
tests_platform_exception_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_exception_LDADD = $(GLUE_LIBS)

tests_platform_input_SOURCES = tests/platform/input_test.cpp
tests_platform_input_CPPFLAGS = $(PLATFORM_CPPFLAGS)
tests_platform_input_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_input_LDADD = $(GLUE_LIBS)

tests_platform_kill_SOURCES = tests/platform/kill_test.cpp
tests_platform_kill_CPPFLAGS = $(PLATFORM_CPPFLAGS)
tests_platform_kill_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_kill_LDADD = $(GLUE_LIBS)

tests_platform_pace_SOURCES = tests/platform/pace_test.cpp
tests_platform_pace_CPPFLAGS = $(PLATFORM_CPPFLAGS)
tests_platform_pace_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_pace_LDADD = $(GLUE_LIBS)

tests_platform_time_fs_SOURCES = tests/platform/time_test.cpp
tests_platform_time_fs_CPPFLAGS = $(PLATFORM_CPPFLAGS) -DTEST_RESOLUTION=-15
tests_platform_time_fs_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_time_fs_LDADD = $(GLUE_LIBS)

tests_platform_time_ns_SOURCES = tests/platform/time_test.cpp
tests_platform_time_ns_CPPFLAGS = $(PLATFORM_CPPFLAGS) -DTEST_RESOLUTION=-9
tests_platform_time_ns_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_time_ns_LDADD = $(GLUE_LIBS)

tests_platform_transport_SOURCES = tests/platform/transport_test.cpp
tests_platform_transport_CPPFLAGS = $(PLATFORM_CPPFLAGS)
tests_platform_transport_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_transport_LDADD = $(GLUE_LIBS)

# With the real box; those with a guest skip where KVM is not usable.
GUEST_TESTS = tests/platform/config_real tests/platform/guest tests/platform/guest_abort \
	tests/platform/pause tests/platform/pieces tests/platform/wake
check_PROGRAMS += $(GUEST_TESTS)
TESTS += $(GUEST_TESTS)
REAL_LIBS = libkvmbox-tlm.la libkvmbox.la $(SYSTEMC_LIBS) $(GTEST_LIBS) -lpthread
PUPPET_CPPFLAGS = $(PLATFORM_CPPFLAGS) -DPUPPET='"$(abs_builddir)/tests/platform/puppet.elf"'

tests_platform_config_real_SOURCES = tests/platform/config_real_test.cpp
tests_platform_config_real_CPPFLAGS = $(PLATFORM_CPPFLAGS)
tests_platform_config_real_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_config_real_LDADD = $(REAL_LIBS)

tests_platform_guest_SOURCES = tests/platform/guest_test.cpp tests/platform/puppeteer.h
tests_platform_guest_CPPFLAGS = $(PUPPET_CPPFLAGS)
tests_platform_guest_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_guest_LDADD = $(REAL_LIBS)

tests_platform_guest_abort_SOURCES = tests/platform/guest_abort_test.cpp
tests_platform_guest_abort_CPPFLAGS = $(PUPPET_CPPFLAGS)
tests_platform_guest_abort_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_guest_abort_LDADD = $(REAL_LIBS)

tests_platform_pause_SOURCES = tests/platform/pause_test.cpp tests/platform/puppeteer.h
tests_platform_pause_CPPFLAGS = $(PUPPET_CPPFLAGS)
tests_platform_pause_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_pause_LDADD = $(REAL_LIBS)

tests_platform_pieces_SOURCES = tests/platform/pieces_test.cpp tests/platform/puppeteer.h
tests_platform_pieces_CPPFLAGS = $(PUPPET_CPPFLAGS)
tests_platform_pieces_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_pieces_LDADD = $(REAL_LIBS)

tests_platform_wake_SOURCES = tests/platform/wake_test.cpp tests/platform/puppeteer.h
tests_platform_wake_CPPFLAGS = $(PUPPET_CPPFLAGS)
tests_platform_wake_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_wake_LDADD = $(REAL_LIBS)

check_DATA += tests/platform/puppet.elf
CLEANFILES += tests/platform/puppet.elf
GUEST_CLEAN += tests/platform/puppet.guest.o
EXTRA_DIST += tests/platform/puppet.c tests/platform/puppet_regs.h
tests/platform/puppet.guest.o: tests/platform/puppet_regs.h
