# examples/: programs a user would write, and their guests.
include $(srcdir)/examples/guest/local.mk

# The box without SystemC.
noinst_PROGRAMS += examples/plain_c/plain_c
examples_plain_c_plain_c_SOURCES = examples/plain_c/main.c examples/plain_c/alarm_regs.h
examples_plain_c_plain_c_CPPFLAGS = $(AM_CPPFLAGS) -DGUEST='"$(abs_builddir)/examples/plain_c/guest.elf"'
examples_plain_c_plain_c_LDADD = libkvmbox.la
GUEST_ELFS += examples/plain_c/guest.elf
EXTRA_DIST += examples/plain_c/guest.c
examples/plain_c/guest.guest.o: examples/plain_c/alarm_regs.h

if HAVE_SYSTEMC
noinst_PROGRAMS += examples/uart_hello/uart_hello
examples_uart_hello_uart_hello_SOURCES = examples/uart_hello/main.cpp
examples_uart_hello_uart_hello_CPPFLAGS = $(TLM_CPPFLAGS) -DGUEST='"$(abs_builddir)/examples/uart_hello/hello.elf"'
examples_uart_hello_uart_hello_CXXFLAGS = $(TLM_CXXFLAGS)
examples_uart_hello_uart_hello_LDADD = $(TLM_LIBS)

noinst_PROGRAMS += examples/dma_accel/dma_accel
examples_dma_accel_dma_accel_SOURCES = examples/dma_accel/main.cpp examples/dma_accel/accel.cpp \
	examples/dma_accel/accel.h examples/dma_accel/accel_regs.h
examples_dma_accel_dma_accel_CPPFLAGS = $(TLM_CPPFLAGS) -DGUEST='"$(abs_builddir)/examples/dma_accel/driver.elf"'
examples_dma_accel_dma_accel_CXXFLAGS = $(TLM_CXXFLAGS)
examples_dma_accel_dma_accel_LDADD = $(TLM_LIBS)

noinst_PROGRAMS += examples/linux_driver/linux_driver
examples_linux_driver_linux_driver_SOURCES = examples/linux_driver/main.cpp examples/dma_accel/accel.cpp \
	examples/dma_accel/accel.h examples/dma_accel/accel_regs.h
examples_linux_driver_linux_driver_CPPFLAGS = $(TLM_CPPFLAGS)
examples_linux_driver_linux_driver_CXXFLAGS = $(TLM_CXXFLAGS)
examples_linux_driver_linux_driver_LDADD = $(TLM_LIBS)

noinst_PROGRAMS += examples/latency_study/latency_study
examples_latency_study_latency_study_SOURCES = examples/latency_study/main.cpp examples/latency_study/storage.cpp \
	examples/latency_study/storage.h examples/latency_study/storage_regs.h examples/latency_study/plot.cpp \
	examples/latency_study/plot.h
examples_latency_study_latency_study_CPPFLAGS = $(TLM_CPPFLAGS) -DGUEST='"$(abs_builddir)/examples/latency_study/driver.elf"'
examples_latency_study_latency_study_CXXFLAGS = $(TLM_CXXFLAGS)
examples_latency_study_latency_study_LDADD = $(TLM_LIBS)
endif
EXTRA_DIST += examples/linux/autotest.c examples/linux/base.config examples/linux/cache.sh examples/linux/clock_test.c \
	examples/linux/delay_test.c examples/linux/devices.config \
	examples/linux/images.sh examples/linux/init.sh examples/linux/kernel.sh examples/linux/smp.config \
	examples/linux_driver/Kbuild examples/linux_driver/accel_test.c examples/linux_driver/kvmbox_accel.c \
	examples/linux_driver/kvmbox_accel.h
GUEST_ELFS += examples/latency_study/driver.elf
EXTRA_DIST += examples/latency_study/driver.c examples/latency_study/storage_regs.h examples/latency_study/latency_study.svg
examples/latency_study/driver.guest.o: examples/latency_study/storage_regs.h
