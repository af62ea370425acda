# tests/: unit (no KVM, no SystemC), kvm (guests on /dev/kvm), platform (SystemC), bench.
# install (what is outside the code: packaging, scripts), linux (boots it). The driver reports each GoogleTest case as one automake result.
EXTRA_DIST += tests/gtest-driver
LOG_DRIVER = $(SHELL) $(top_srcdir)/tests/gtest-driver
TEST_EXTENSIONS = .sh
SH_LOG_DRIVER = $(LOG_DRIVER)
SH_LOG_COMPILER = $(SHELL)
AM_TESTS_ENVIRONMENT = KB_TEST_TIMEOUT=$${KB_TEST_TIMEOUT:-600}; export KB_TEST_TIMEOUT; $(INSTALL_TESTS_ENVIRONMENT)

# A test program without lines of its own: NAME_test is made from NAME_test.cpp and linked with the C core's pieces.
AM_DEFAULT_SOURCE_EXT = .cpp
LDADD = $(TEST_LIBS)
if HAVE_GTEST
TEST_CPPFLAGS = $(AM_CPPFLAGS)
TEST_LIBS = libkbplatforms.la libkbdevices.la libkbvcpu.la $(GTEST_LIBS) $(LIBELF_LIBS) $(JANSSON_LIBS) $(ZYDIS_LIBS) -lpthread

include $(srcdir)/tests/unit/local.mk
include $(srcdir)/tests/kvm/local.mk
if HAVE_SYSTEMC
include $(srcdir)/tests/platform/local.mk
endif
else
TESTS += tests/install/no_gtest.sh
endif
include $(srcdir)/tests/install/local.mk
include $(srcdir)/tests/linux/local.mk
include $(srcdir)/tests/guest/local.mk
include $(srcdir)/tests/bench/local.mk
