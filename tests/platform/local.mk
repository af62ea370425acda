# Platform tests: one program per elaboration (SystemC has one kernel per process). NAME_test is made from NAME_test.cpp.
TLM_TEST_LIBS = $(SYSTEMC_LIBS) $(GTEST_LIBS) -lpthread
PLATFORM_CPPFLAGS = $(TLM_CPPFLAGS)

# The "glue" ones run over a stand-in for the C core and need no KVM.
check_LTLIBRARIES += tests/platform/libfakebox.la
tests_platform_libfakebox_la_SOURCES = tests/platform/fake_box.cpp tests/platform/fake_box.h
tests_platform_libfakebox_la_CXXFLAGS = $(TLM_CXXFLAGS)
GLUE_LIBS = libkbtlm.la tests/platform/libfakebox.la libkbplatforms.la libkbdevices.la libkbvcpu.la $(TLM_TEST_LIBS) $(LIBELF_LIBS) $(JANSSON_LIBS) $(ZYDIS_LIBS)
noinst_HEADERS += tests/platform/platform_test.h

GLUE_TESTS = \
	tests/platform/config_test \
	tests/platform/dma_test \
	tests/platform/end_test \
	tests/platform/exception_test \
	tests/platform/input_test \
	tests/platform/kill_test \
	tests/platform/pace_test \
	tests/platform/posted_end_test \
	tests/platform/posted_test \
	tests/platform/stats_test \
	tests/platform/time_fs_test \
	tests/platform/time_ns_test \
	tests/platform/transport_test
check_PROGRAMS += $(GLUE_TESTS)
TESTS += $(GLUE_TESTS)

tests_platform_config_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_config_test_LDADD = $(GLUE_LIBS)
tests_platform_dma_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_dma_test_LDADD = $(GLUE_LIBS)
tests_platform_end_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_end_test_LDADD = $(GLUE_LIBS)
tests_platform_exception_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_exception_test_LDADD = $(GLUE_LIBS)
tests_platform_input_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_input_test_LDADD = $(GLUE_LIBS)
tests_platform_kill_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_kill_test_LDADD = $(GLUE_LIBS)
tests_platform_pace_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_pace_test_LDADD = $(GLUE_LIBS)
tests_platform_posted_end_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_posted_end_test_LDADD = $(GLUE_LIBS)
tests_platform_posted_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_posted_test_LDADD = $(GLUE_LIBS)
tests_platform_stats_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_stats_test_LDADD = $(GLUE_LIBS)
tests_platform_transport_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_transport_test_LDADD = $(GLUE_LIBS)
tests_platform_time_fs_test_SOURCES = tests/platform/time_test.cpp
tests_platform_time_fs_test_CPPFLAGS = $(PLATFORM_CPPFLAGS) -DTEST_RESOLUTION=-15
tests_platform_time_fs_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_time_fs_test_LDADD = $(GLUE_LIBS)
tests_platform_time_ns_test_SOURCES = tests/platform/time_test.cpp
tests_platform_time_ns_test_CPPFLAGS = $(PLATFORM_CPPFLAGS) -DTEST_RESOLUTION=-9
tests_platform_time_ns_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_time_ns_test_LDADD = $(GLUE_LIBS)

# With the real box; those with a guest skip where KVM is not usable.
REAL_LIBS = libkvmbox-tlm.la libkvmbox.la $(TLM_TEST_LIBS)
PUPPET_CPPFLAGS = $(PLATFORM_CPPFLAGS) -DPUPPET='"$(abs_builddir)/tests/platform/puppet.elf"'
noinst_HEADERS += tests/platform/puppeteer.h

REAL_TESTS = \
	tests/platform/config_real_test \
	tests/platform/count_test \
	tests/platform/guest_test \
	tests/platform/guest_abort_test \
	tests/platform/pause_test \
	tests/platform/pieces_test \
	tests/platform/wake_test
check_PROGRAMS += $(REAL_TESTS)
TESTS += $(REAL_TESTS)

tests_platform_config_real_test_CPPFLAGS = $(PLATFORM_CPPFLAGS)
tests_platform_config_real_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_config_real_test_LDADD = $(REAL_LIBS)
tests_platform_count_test_CPPFLAGS = $(PUPPET_CPPFLAGS)
tests_platform_count_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_count_test_LDADD = $(REAL_LIBS)
tests_platform_guest_test_CPPFLAGS = $(PUPPET_CPPFLAGS)
tests_platform_guest_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_guest_test_LDADD = $(REAL_LIBS)
tests_platform_guest_abort_test_CPPFLAGS = $(PUPPET_CPPFLAGS)
tests_platform_guest_abort_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_guest_abort_test_LDADD = $(REAL_LIBS)
tests_platform_pause_test_CPPFLAGS = $(PUPPET_CPPFLAGS)
tests_platform_pause_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_pause_test_LDADD = $(REAL_LIBS)
tests_platform_pieces_test_CPPFLAGS = $(PUPPET_CPPFLAGS)
tests_platform_pieces_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_pieces_test_LDADD = $(REAL_LIBS)
tests_platform_wake_test_CPPFLAGS = $(PUPPET_CPPFLAGS)
tests_platform_wake_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_wake_test_LDADD = $(REAL_LIBS)

check_DATA += tests/platform/puppet.elf
CLEANFILES += tests/platform/puppet.elf
GUEST_CLEAN += tests/platform/puppet.guest.o
EXTRA_DIST += tests/platform/puppet.c tests/platform/puppet_regs.h
tests/platform/puppet.guest.o: tests/platform/puppet_regs.h

# The timing study in examples/, run as a user would.
check_PROGRAMS += tests/platform/latency_study_test
TESTS += tests/platform/latency_study_test
tests_platform_latency_study_test_CPPFLAGS = -DSTUDY='"$(abs_builddir)/examples/latency_study/latency_study"'
tests_platform_latency_study_test_LDADD = $(GTEST_LIBS) -lpthread

# Statistics of the examples.
check_PROGRAMS += tests/platform/stats_real_test
TESTS += tests/platform/stats_real_test
tests_platform_stats_real_test_CPPFLAGS = $(AM_CPPFLAGS) -DDMA_ACCEL='"$(abs_builddir)/examples/dma_accel/dma_accel"' \
	-DPLAIN_C='"$(abs_builddir)/examples/plain_c/plain_c"'
tests_platform_stats_real_test_LDADD = libkvmbox.la $(GTEST_LIBS) $(JANSSON_LIBS) -lpthread

# Guest and SystemC measure the same durations; one program per clock source.
CLOCK_STUDY_TESTS = tests/platform/clock_study_fixed_test tests/platform/clock_study_step_test \
	tests/platform/clock_study_tsc_test
check_PROGRAMS += $(CLOCK_STUDY_TESTS)
TESTS += $(CLOCK_STUDY_TESTS)
CLOCK_STUDY_CPPFLAGS = $(PLATFORM_CPPFLAGS) -DCLOCK_STUDY='"$(abs_builddir)/tests/platform/clock_study.elf"'

tests_platform_clock_study_fixed_test_SOURCES = tests/platform/clock_study_test.cpp
tests_platform_clock_study_fixed_test_CPPFLAGS = $(CLOCK_STUDY_CPPFLAGS) -DTEST_CLOCK_FIXED=1
tests_platform_clock_study_fixed_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_clock_study_fixed_test_LDADD = $(REAL_LIBS)

tests_platform_clock_study_step_test_SOURCES = tests/platform/clock_study_test.cpp
tests_platform_clock_study_step_test_CPPFLAGS = $(CLOCK_STUDY_CPPFLAGS) -DTEST_CLOCK_FIXED=0 -DTEST_CLOCK_STEP=1
tests_platform_clock_study_step_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_clock_study_step_test_LDADD = $(REAL_LIBS)

tests_platform_clock_study_tsc_test_SOURCES = tests/platform/clock_study_test.cpp
tests_platform_clock_study_tsc_test_CPPFLAGS = $(CLOCK_STUDY_CPPFLAGS) -DTEST_CLOCK_FIXED=0
tests_platform_clock_study_tsc_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_clock_study_tsc_test_LDADD = $(REAL_LIBS)

check_DATA += tests/platform/clock_study.elf
CLEANFILES += tests/platform/clock_study.elf
GUEST_CLEAN += tests/platform/clock_study.guest.o
EXTRA_DIST += tests/platform/clock_study.c tests/platform/clock_study_regs.h
tests/platform/clock_study.guest.o: tests/platform/clock_study_regs.h

# Hostile guests against SystemC devices.
HOSTILE_TESTS = tests/platform/hostile_tame_test tests/platform/hostile_wild_test
check_PROGRAMS += $(HOSTILE_TESTS)
TESTS += $(HOSTILE_TESTS)
noinst_HEADERS += tests/platform/agenda.h
ACCEL_MODEL = examples/dma_accel/accel.cpp examples/dma_accel/accel.h examples/dma_accel/accel_regs.h
HOSTILE_CPPFLAGS = $(PLATFORM_CPPFLAGS) -DGUESTS='"$(abs_builddir)/tests/guest"'

tests_platform_hostile_tame_test_SOURCES = tests/platform/hostile_test.cpp $(ACCEL_MODEL)
tests_platform_hostile_tame_test_CPPFLAGS = $(HOSTILE_CPPFLAGS) -DTEST_WILD=0
tests_platform_hostile_tame_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_hostile_tame_test_LDADD = $(REAL_LIBS)
tests_platform_hostile_wild_test_SOURCES = tests/platform/hostile_test.cpp $(ACCEL_MODEL)
tests_platform_hostile_wild_test_CPPFLAGS = $(HOSTILE_CPPFLAGS) -DTEST_WILD=1
tests_platform_hostile_wild_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_hostile_wild_test_LDADD = $(REAL_LIBS)

# Guests with an agenda: foreign models, exact times, the accelerator's reset.
AGENDA_TESTS = tests/platform/accel_test tests/platform/agreement_fixed_test tests/platform/agreement_tsc_test \
	tests/platform/foreign_test tests/platform/loose_test tests/platform/posted_events_test \
	tests/platform/posted_no_events_test
check_PROGRAMS += $(AGENDA_TESTS)
TESTS += $(AGENDA_TESTS)
AGENDA_CPPFLAGS = $(PLATFORM_CPPFLAGS) -DAGENDA_GUEST='"$(abs_builddir)/tests/guest/agenda.elf"'

tests_platform_accel_test_SOURCES = tests/platform/accel_test.cpp $(ACCEL_MODEL)
tests_platform_accel_test_CPPFLAGS = $(AGENDA_CPPFLAGS)
tests_platform_accel_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_accel_test_LDADD = $(REAL_LIBS)
tests_platform_agreement_fixed_test_SOURCES = tests/platform/agreement_test.cpp
tests_platform_agreement_fixed_test_CPPFLAGS = $(AGENDA_CPPFLAGS) -DTEST_FIXED=1
tests_platform_agreement_fixed_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_agreement_fixed_test_LDADD = $(REAL_LIBS)
tests_platform_agreement_tsc_test_SOURCES = tests/platform/agreement_test.cpp
tests_platform_agreement_tsc_test_CPPFLAGS = $(AGENDA_CPPFLAGS) -DTEST_FIXED=0
tests_platform_agreement_tsc_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_agreement_tsc_test_LDADD = $(REAL_LIBS)
tests_platform_foreign_test_CPPFLAGS = $(AGENDA_CPPFLAGS)
tests_platform_foreign_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_foreign_test_LDADD = $(REAL_LIBS)

# All clocks of the guest against each other; one program per clock source.
ALL_CLOCKS_TESTS = tests/platform/all_clocks_fixed_test tests/platform/all_clocks_scaled_test \
	tests/platform/all_clocks_step_test tests/platform/all_clocks_tsc_test
check_PROGRAMS += $(ALL_CLOCKS_TESTS)
TESTS += $(ALL_CLOCKS_TESTS)
ALL_CLOCKS_CPPFLAGS = $(PLATFORM_CPPFLAGS) -DALL_CLOCKS_GUEST='"$(abs_builddir)/tests/platform/all_clocks.elf"'

tests_platform_all_clocks_fixed_test_SOURCES = tests/platform/all_clocks_test.cpp
tests_platform_all_clocks_fixed_test_CPPFLAGS = $(ALL_CLOCKS_CPPFLAGS) -DTEST_CONFIG='"clock=fixed"' -DTEST_PAUSE_MS=100 -DTEST_WORK=100000
tests_platform_all_clocks_fixed_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_all_clocks_fixed_test_LDADD = $(REAL_LIBS)
tests_platform_all_clocks_scaled_test_SOURCES = tests/platform/all_clocks_test.cpp
tests_platform_all_clocks_scaled_test_CPPFLAGS = $(ALL_CLOCKS_CPPFLAGS) -DTEST_CONFIG='"time_scale=0.1"' -DTEST_PAUSE_MS=100 -DTEST_WORK=100000
tests_platform_all_clocks_scaled_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_all_clocks_scaled_test_LDADD = $(REAL_LIBS)
tests_platform_all_clocks_step_test_SOURCES = tests/platform/all_clocks_test.cpp
tests_platform_all_clocks_step_test_CPPFLAGS = $(ALL_CLOCKS_CPPFLAGS) -DTEST_CONFIG='"clock=step step=100ns"' -DTEST_PAUSE_MS=900 -DTEST_WORK=20
tests_platform_all_clocks_step_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_all_clocks_step_test_LDADD = $(REAL_LIBS)
tests_platform_all_clocks_tsc_test_SOURCES = tests/platform/all_clocks_test.cpp
tests_platform_all_clocks_tsc_test_CPPFLAGS = $(ALL_CLOCKS_CPPFLAGS) -DTEST_CONFIG='"clock=tsc"' -DTEST_PAUSE_MS=100 -DTEST_WORK=100000
tests_platform_all_clocks_tsc_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_all_clocks_tsc_test_LDADD = $(REAL_LIBS)

check_DATA += tests/platform/all_clocks.elf
CLEANFILES += tests/platform/all_clocks.elf
GUEST_CLEAN += tests/platform/all_clocks.guest.o
EXTRA_DIST += tests/platform/all_clocks.c tests/platform/all_clocks_regs.h
tests/platform/all_clocks.guest.o: tests/platform/all_clocks_regs.h

# The same run alone and beside others that want the CPUs.
check_PROGRAMS += tests/platform/load_subject tests/platform/load_test
TESTS += tests/platform/load_test
tests_platform_load_subject_CPPFLAGS = $(AGENDA_CPPFLAGS)
tests_platform_load_subject_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_load_subject_LDADD = $(REAL_LIBS)
tests_platform_load_test_CPPFLAGS = $(AM_CPPFLAGS) -DSUBJECT='"$(abs_builddir)/tests/platform/load_subject"'
tests_platform_load_test_LDADD = libkvmbox.la $(GTEST_LIBS) -lpthread
tests_platform_loose_test_CPPFLAGS = $(AGENDA_CPPFLAGS)
tests_platform_loose_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_loose_test_LDADD = $(REAL_LIBS)
tests_platform_posted_events_test_SOURCES = tests/platform/posted_guest_test.cpp
tests_platform_posted_events_test_CPPFLAGS = $(AGENDA_CPPFLAGS) -DTEST_SLICES='"yes"'
tests_platform_posted_events_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_posted_events_test_LDADD = $(REAL_LIBS)
tests_platform_posted_no_events_test_SOURCES = tests/platform/posted_guest_test.cpp
tests_platform_posted_no_events_test_CPPFLAGS = $(AGENDA_CPPFLAGS) -DTEST_SLICES='"no"'
tests_platform_posted_no_events_test_CXXFLAGS = $(TLM_CXXFLAGS)
tests_platform_posted_no_events_test_LDADD = $(REAL_LIBS)
