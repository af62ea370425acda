/* The guest of the access benchmark: blocks of reads and writes at a fixed address, with a marker behind each. */
#ifndef BENCH_ACCESSES_H
#define BENCH_ACCESSES_H

#define BENCH_BAR 0xE0000000u /* where the box puts the only BAR there is */
#define BENCH_REG 0x10u       /* accesses under test */
#define BENCH_MARK 0x20u      /* written behind each block: enum bench_mark */
#define BENCH_BLOCK 200u      /* accesses in a block */
#define BENCH_ROUNDS 15u      /* blocks of each kind */

enum bench_mark { BENCH_READS_DONE = 1, BENCH_WRITES_DONE = 2 };

#endif
