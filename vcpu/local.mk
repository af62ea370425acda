# vcpu/: KVM itself. Knows no device.
noinst_LTLIBRARIES += libkbvcpu.la
libkbvcpu_la_SOURCES = \
	vcpu/bus.c vcpu/bus.h \
	vcpu/error.c vcpu/error.h \
	vcpu/cpuid.h vcpu/kvm.c vcpu/kvm.h \
	vcpu/log.c vcpu/log.h
kvmboxinclude_HEADERS += vcpu/kvmbox/error.h vcpu/kvmbox/probe.h
