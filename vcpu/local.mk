# vcpu/: KVM itself. Knows no device.
noinst_LTLIBRARIES += libkbvcpu.la
libkbvcpu_la_SOURCES = \
	vcpu/assist.c vcpu/assist.h vcpu/assist_insn.h vcpu/assist_mem.c vcpu/assist_native.c vcpu/assist_integer.c vcpu/assist_iret.c \
	vcpu/assist_state.c vcpu/assist_state.h vcpu/assist_syscall.c vcpu/assist_system.c vcpu/assist_xsave.c \
	vcpu/bus.c vcpu/bus.h \
	vcpu/clock.c vcpu/clock.h vcpu/clock_fixed.c vcpu/clock_host.c vcpu/clock_perf.c \
	vcpu/clock_step.c vcpu/clock_tsc.c \
	vcpu/cpu_model.c vcpu/cpu_model.h \
	vcpu/cpuid.c vcpu/cpuid.h vcpu/cpuid_names.c vcpu/cpuid_names.h \
	vcpu/count.c vcpu/count.h vcpu/error.c vcpu/error.h \
	vcpu/exit.c vcpu/exit.h \
	vcpu/guest_tsc.c vcpu/guest_tsc.h vcpu/histogram.c vcpu/histogram.h \
	vcpu/insn.c vcpu/insn.h \
	vcpu/kick.c vcpu/kick.h \
	vcpu/irqchip.c vcpu/irqchip.h \
	vcpu/kvm.c vcpu/kvm.h \
	vcpu/linear.c vcpu/linear.h \
	vcpu/log.c vcpu/log.h \
	vcpu/msr.c vcpu/msr.h \
	vcpu/perf.c vcpu/perf.h \
	vcpu/probe.c vcpu/probe.h vcpu/probe_behaviour.c vcpu/probe_behaviour.h \
	vcpu/probe_assists.c vcpu/probe_assists.h vcpu/probe_guest.S vcpu/probe_guest.h vcpu/probe_vm.c vcpu/probe_vm.h \
	vcpu/pvclock.c vcpu/pvclock.h \
	vcpu/run.c vcpu/run.h vcpu/step.c vcpu/step.h vcpu/step_user.c vcpu/step_user.h \
	vcpu/steal.c vcpu/steal.h vcpu/vcpu.c vcpu/vcpu.h vcpu/view.c vcpu/view.h vcpu/where.c vcpu/x86.h \
	vcpu/vm.c vcpu/vm.h
kvmboxinclude_HEADERS += vcpu/include/kvmbox/error.h vcpu/include/kvmbox/probe.h

bin_PROGRAMS += kvmbox-info
kvmbox_info_SOURCES = vcpu/info.c
kvmbox_info_LDADD = libkbvcpu.la $(ZYDIS_LIBS)
dist_man1_MANS += vcpu/kvmbox-info.1
