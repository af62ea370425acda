/* The same at ring 0. */
#define BENCH_RING0
#include "accesses.c"
