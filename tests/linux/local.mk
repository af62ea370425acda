# Boots of Linux. The kernel and images are not built here: ./run check does.
LINUX_TESTS = \
	tests/linux/intx_clock_test.sh \
	tests/linux/msi_clock_test.sh \
	tests/linux/msix_test.sh
if HAVE_SYSTEMC
TESTS += $(LINUX_TESTS)
endif
EXTRA_DIST += $(LINUX_TESTS) tests/linux/accel_test.expected tests/linux/boot.sh tests/linux/clock.awk
