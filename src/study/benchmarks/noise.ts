/** What the operating system takes of a program's time (study-side/noise.c). Pure. */

import { join } from 'node:path';
import * as z from 'zod';
import type { Benchmark } from './benchmark.ts';
import { outputError, parseJsonLine } from './output.ts';
import { keptOffTransparentPages } from './pages.ts';
import { onCpu, pinnedCpus } from './placement.ts';

const spinSeconds = 5;
const quantumUs = 1000;
/** A clock that takes longer to read than this sees only itself. (User-mode Linux takes about 14 us.) */
const slowestReadNs = 100_000;

const amount = z.number().nonnegative();
const shape = z.strictObject({
  program: z.literal('noise'),
  seconds: z.number().min(spinSeconds * 0.99),
  quantumUs: z.literal(quantumUs),
  quanta: z.int().positive(),
  readNs: z.int().positive(),
  thresholdNs: z.int().positive(),
  lostPercent: amount.max(100),
  detours: z.int().nonnegative(),
  longestUs: amount,
  disturbedQuanta: z.int().nonnegative(),
  worstQuantumPercent: amount.max(100),
  detourUs: z.strictObject({ p50: amount, p90: amount, p99: amount }),
});

export const noise: Benchmark = {
  name: 'noise',
  needs: [{ program: 'taskset', package: 'util-linux' }],
  timeLimitMs: () => 120_000,

  command: (input) => {
    const cpu = pinnedCpus(input)?.[0];
    const argv = [...onCpu(cpu), join(input.programsDir, 'noise'), `${spinSeconds}`, `${quantumUs}`];
    return keptOffTransparentPages({ argv, env: {}, input: '' }, input);
  },

  parse: (stdout) => {
    const result = parseJsonLine('noise', shape, stdout);
    if (result.readNs > slowestReadNs) {
      throw outputError(
        'noise',
        `reading the clock takes ${result.readNs} ns, too long to see noise`,
        stdout,
      );
    }
    return { 'noise-percent': result.lostPercent, 'noise-max-us': result.longestUs };
  },
};
