/** The benchmarks of a study that are run as commands: all but `boot`, which is a matter of starting guests. */

import type { BenchmarkName } from '../cells.ts';
import type { Benchmark } from './benchmark.ts';
import { hpcc } from './hpcc.ts';
import { micro } from './micro.ts';
import { noise } from './noise.ts';
import { pingpong } from './pingpong.ts';
import { stream } from './stream.ts';

export const benchmarks: Record<Exclude<BenchmarkName, 'boot'>, Benchmark> = {
  hpcc,
  stream,
  pingpong,
  micro,
  noise,
};
