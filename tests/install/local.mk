# What is not code of the box: the installed tree, configure's messages, ./run. Shell scripts whose results look like
# GoogleTest's.
INSTALL_TESTS = \
	tests/install/configure_test.sh \
	tests/install/dist_test.sh \
	tests/install/driver_test.sh \
	tests/install/installed_test.sh \
	tests/install/linux_test.sh \
	tests/install/run_test.sh
TESTS += $(INSTALL_TESTS)
INSTALL_TESTS_ENVIRONMENT = \
	CC='$(CC)'; CXX='$(CXX)'; MAKE='$(MAKE)'; PKG_CONFIG='$(PKG_CONFIG)'; NM='$(NM)'; \
	KB_SAN='$(KB_SAN)'; SYSTEMC_STD='$(SYSTEMC_STD)'; export CC CXX MAKE PKG_CONFIG NM KB_SAN SYSTEMC_STD; \
	KB_PC_FILES='$(pkgconfigdir)'; KB_INCLUDES='$(kvmboxincludedir)'; KB_LIBS='$(libdir)'; \
	KB_BIN='$(bindir)'; export KB_PC_FILES KB_INCLUDES KB_LIBS KB_BIN;
EXTRA_DIST += $(INSTALL_TESTS) tests/install/no_gtest.sh tests/install/cases.sh tests/install/adder_guest.c \
	tests/install/my_model.h
