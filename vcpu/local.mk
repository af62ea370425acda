# vcpu/: KVM itself. Knows no device.
noinst_LTLIBRARIES += libkbvcpu.la
libkbvcpu_la_SOURCES = \
	vcpu/bus.c vcpu/bus.h \
	vcpu/clock.c vcpu/clock.h \
	vcpu/exit.c vcpu/exit.h \
	vcpu/kick.c vcpu/kick.h \
	vcpu/run.c vcpu/vcpu.c vcpu/vcpu.h vcpu/where.c vcpu/x86.h \
	vcpu/vm.c vcpu/vm.h \
	vcpu/error.c vcpu/error.h \
	vcpu/cpuid.h vcpu/kvm.c vcpu/kvm.h \
	vcpu/log.c vcpu/log.h
kvmboxinclude_HEADERS += vcpu/include/kvmbox/error.h vcpu/include/kvmbox/probe.h
