# tests/: unit (no KVM, no SystemC), kvm (guests on /dev/kvm), platform (SystemC), bench.
# The driver reports each GoogleTest case as one automake result.
EXTRA_DIST += tests/gtest-driver
LOG_DRIVER = $(SHELL) $(top_srcdir)/tests/gtest-driver
AM_TESTS_ENVIRONMENT = KB_TEST_TIMEOUT=$${KB_TEST_TIMEOUT:-300}; export KB_TEST_TIMEOUT;

if HAVE_GTEST
TEST_CPPFLAGS = $(AM_CPPFLAGS) $(GTEST_CFLAGS)
TEST_LIBS = libkbplatforms.la libkbdevices.la libkbvcpu.la $(GTEST_LIBS) $(LIBELF_LIBS) -lpthread

include $(srcdir)/tests/unit/local.mk
include $(srcdir)/tests/kvm/local.mk
if HAVE_SYSTEMC
include $(srcdir)/tests/platform/local.mk
endif
endif
include $(srcdir)/tests/guest/local.mk
if HAVE_SYSTEMC
include $(srcdir)/tests/bench/local.mk
endif
