# tlm_glue/: the only room that knows SystemC. The convenience library is the
# same code without libkvmbox, for tests that put a stand-in below it.
TLM_CPPFLAGS = $(AM_CPPFLAGS)
TLM_CXXFLAGS = $(AM_CXXFLAGS) -std=$(SYSTEMC_STD) $(KB_SAN_TLM) -I$(top_srcdir)/tlm_glue/include $(SYSTEMC_CFLAGS)
TLM_LIBS = libkvmbox-tlm.la libkvmbox.la $(SYSTEMC_LIBS)
noinst_LTLIBRARIES += libkbtlm.la
libkbtlm_la_SOURCES = \
	tlm_glue/box.cpp \
	tlm_glue/config.cpp \
	tlm_glue/dma.cpp \
	tlm_glue/function.cpp \
	tlm_glue/pacer.cpp tlm_glue/pacer.h \
	tlm_glue/pci_device.cpp \
	tlm_glue/poller.cpp tlm_glue/poller.h \
	tlm_glue/posted.cpp tlm_glue/posted.h \
	tlm_glue/ratelimit.h \
	tlm_glue/sleep_meter.cpp tlm_glue/sleep_meter.h \
	tlm_glue/time.cpp \
	tlm_glue/watchdog.cpp tlm_glue/watchdog.h
libkbtlm_la_CXXFLAGS = $(TLM_CXXFLAGS)

lib_LTLIBRARIES += libkvmbox-tlm.la
libkvmbox_tlm_la_SOURCES =
nodist_EXTRA_libkvmbox_tlm_la_SOURCES = dummy.cpp
libkvmbox_tlm_la_LIBADD = libkbtlm.la libkvmbox.la $(SYSTEMC_LIBS) -lpthread
libkvmbox_tlm_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0
kvmboxinclude_HEADERS += \
	tlm_glue/include/kvmbox/pci_device.h \
	tlm_glue/include/kvmbox/tlm.h \
	tlm_glue/include/kvmbox/tlm_box.h \
	tlm_glue/include/kvmbox/tlm_config.h \
	tlm_glue/include/kvmbox/tlm_dma.h \
	tlm_glue/include/kvmbox/tlm_function.h \
	tlm_glue/include/kvmbox/tlm_time.h
pkgconfig_DATA += tlm_glue/kvmbox-tlm.pc
