# Benchmarks: "make bench" runs them all, one line "name value unit" per figure. Not part of "make check".
BENCH_GUESTS = tests/bench/accesses.elf tests/bench/accesses0.elf tests/bench/compute.elf
EXTRA_DIST += tests/bench/accesses.c tests/bench/accesses0.c tests/bench/compute.c
tests/bench/accesses.guest.o tests/bench/accesses0.guest.o: tests/bench/accesses.h
tests/bench/accesses0.guest.o: tests/bench/accesses.c
tests/bench/compute.guest.o: tests/bench/compute.h
CLEANFILES += $(BENCH_GUESTS) $(BENCH_GUESTS:.elf=.guest.o)

EXTRA_PROGRAMS += tests/bench/mmio
tests_bench_mmio_SOURCES = tests/bench/mmio.cpp tests/bench/raw.c tests/bench/raw.h \
	tests/bench/accesses.h tests/bench/compute.h
tests_bench_mmio_CPPFLAGS = $(TLM_CPPFLAGS) -DBENCH_GUESTS='"$(abs_builddir)/tests/bench"'
tests_bench_mmio_CXXFLAGS = $(TLM_CXXFLAGS)
tests_bench_mmio_LDADD = libkbtlm.la libkbplatforms.la libkbdevices.la libkbvcpu.la $(SYSTEMC_LIBS) $(LIBELF_LIBS)
CLEANFILES += $(EXTRA_PROGRAMS)

bench: $(EXTRA_PROGRAMS) $(BENCH_GUESTS)
	@for b in $(EXTRA_PROGRAMS); do ./$$b || exit 1; done
.PHONY: bench
