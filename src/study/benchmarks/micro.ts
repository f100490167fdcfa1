/** What a system call and a page fault cost (study-side/micro.c). Pure. */

import { join } from 'node:path';
import * as z from 'zod';
import type { Benchmark } from './benchmark.ts';
import { outputError, parseJsonLine } from './output.ts';
import { keptOffTransparentPages } from './pages.ts';
import { onCpu, pinnedCpus } from './placement.ts';

const timing = z.strictObject({
  bestNs: z.number().positive(),
  medianNs: z.number().positive(),
  batches: z.int().positive(),
  perBatch: z.int().positive(),
});
const shape = z.strictObject({
  program: z.literal('micro'),
  pages: z.enum(['4K', 'thp', '2M', '1G']),
  syscall: timing,
  pageFault: timing,
});

export const micro: Benchmark = {
  name: 'micro',
  needs: [{ program: 'taskset', package: 'util-linux' }],
  timeLimitMs: () => 300_000,

  command: (input) => {
    const cpu = pinnedCpus(input)?.[0];
    const argv = [...onCpu(cpu), join(input.programsDir, 'micro'), input.pages.own];
    return keptOffTransparentPages({ argv, env: {}, input: '' }, input);
  },

  parse: (stdout, input) => {
    const result = parseJsonLine('micro', shape, stdout);
    if (result.pages !== input.pages.own) {
      throw outputError('micro', `it used pages of ${result.pages}, not ${input.pages.own}`, stdout);
    }
    return { 'syscall-ns': result.syscall.medianNs, 'page-fault-ns': result.pageFault.medianNs };
  },
};
