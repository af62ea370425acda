# Benchmarks: "make bench" runs them all, one line "name value unit" per figure. Not part of "make check".
BENCH_GUESTS = tests/bench/accesses.elf tests/bench/accesses0.elf tests/bench/compute.elf \
	tests/bench/idle.elf tests/bench/yield.elf
EXTRA_DIST += tests/bench/accesses.c tests/bench/accesses0.c tests/bench/compute.c \
	tests/bench/idle.c tests/bench/yield.c
tests/bench/accesses.guest.o tests/bench/accesses0.guest.o: tests/bench/accesses.h
tests/bench/accesses0.guest.o: tests/bench/accesses.c
tests/bench/compute.guest.o: tests/bench/compute.h
tests/bench/idle.guest.o: tests/bench/idle.h
tests/bench/yield.guest.o: tests/bench/yield.h
CLEANFILES += $(BENCH_GUESTS) $(BENCH_GUESTS:.elf=.guest.o)

EXTRA_PROGRAMS += tests/bench/seabios
tests_bench_seabios_SOURCES = tests/bench/seabios.c
tests_bench_seabios_LDADD = libkvmbox.la
if HAVE_SYSTEMC
EXTRA_PROGRAMS += tests/bench/mmio tests/bench/sync tests/bench/boot
endif
tests_bench_mmio_SOURCES = tests/bench/mmio.cpp tests/bench/raw.c tests/bench/raw.h \
	tests/bench/accesses.h tests/bench/compute.h
tests_bench_mmio_CPPFLAGS = $(TLM_CPPFLAGS) -DBENCH_GUESTS='"$(abs_builddir)/tests/bench"'
tests_bench_mmio_CXXFLAGS = $(TLM_CXXFLAGS)
tests_bench_mmio_LDADD = libkbtlm.la libkbplatforms.la libkbdevices.la libkbvcpu.la $(SYSTEMC_LIBS) $(LIBELF_LIBS) $(JANSSON_LIBS) $(ZYDIS_LIBS)
tests_bench_sync_SOURCES = tests/bench/sync.cpp tests/bench/idle.h tests/bench/yield.h
tests_bench_sync_CPPFLAGS = $(TLM_CPPFLAGS) -DBENCH_GUESTS='"$(abs_builddir)/tests/bench"'
tests_bench_sync_CXXFLAGS = $(TLM_CXXFLAGS)
tests_bench_sync_LDADD = libkvmbox-tlm.la libkvmbox.la $(SYSTEMC_LIBS)
tests_bench_boot_SOURCES = tests/bench/boot.cpp tests/bench/boot_raw.c tests/bench/boot_raw.h
tests_bench_boot_CPPFLAGS = $(TLM_CPPFLAGS) -DBENCH_IMAGES='"$(abs_top_srcdir)/examples/linux/images.sh"'
tests_bench_boot_CXXFLAGS = $(TLM_CXXFLAGS)
tests_bench_boot_LDADD = libkbtlm.la libkbplatforms.la libkbdevices.la libkbvcpu.la $(SYSTEMC_LIBS) $(LIBELF_LIBS) $(JANSSON_LIBS) $(ZYDIS_LIBS)
CLEANFILES += $(EXTRA_PROGRAMS)

bench: $(EXTRA_PROGRAMS) $(BENCH_GUESTS)
	@for b in $(EXTRA_PROGRAMS); do ./$$b || exit 1; done
.PHONY: bench
