/* Blocks of accesses to two targets in turn: one the box synchronises for, one it does not. */
#ifndef BENCH_YIELD_H
#define BENCH_YIELD_H

#define BENCH_YIELD_BLOCK 100
#define BENCH_YIELD_ROUNDS 60
#define BENCH_YIELD_DEVICE 1 /* and the one after it */

#endif
