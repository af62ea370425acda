/* The idle benchmark's guest sleeps this often. */
#ifndef BENCH_IDLE_H
#define BENCH_IDLE_H

#define BENCH_IDLE_WAKES 2000

#endif
