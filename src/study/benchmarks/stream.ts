/** Memory bandwidth by STREAM with OpenMP (study-side/stream.c). Pure. */

import { join } from 'node:path';
import * as z from 'zod';
import type { Benchmark } from './benchmark.ts';
import { outputError, parseJsonLine } from './output.ts';
import { keptOffTransparentPages, pageEnvironment } from './pages.ts';
import { pinnedCpus } from './placement.ts';

const seconds = z.number().positive();
const kernel = z.strictObject({
  bestMBps: z.number().positive(),
  avgSeconds: seconds,
  minSeconds: seconds,
  maxSeconds: seconds,
});
const shape = z.strictObject({
  program: z.literal('stream'),
  elements: z.int().positive(),
  threads: z.int().positive(),
  iterations: z.int().min(10),
  vectors: z.enum(['avx512f', 'avx2', 'default']),
  timerTickUs: z.number().positive(),
  copy: kernel,
  scale: kernel,
  add: kernel,
  triad: kernel,
  maxRelativeError: z.number().nonnegative().nullable(),
  valid: z.boolean(),
});

/** STREAM's published rule: a kernel should take at least this many steps of the clock. */
const leastTicks = 20;
const kernels = ['copy', 'scale', 'add', 'triad'] as const;

export const stream: Benchmark = {
  name: 'stream',
  needs: [],

  // Ten rounds of 80 bytes an element, at the 100 MB/s of an emulated CPU; and 2 ms for the first touch of each page of
  // 4 KiB, as it may take in a user-mode guest on a busy host.
  timeLimitMs: ({ sizes: { streamElements } }) =>
    Math.ceil(120_000 + (10 * 80 * streamElements) / 1e5 + (2 * 24 * streamElements) / 4096),

  command: (input) => {
    const cpus = pinnedCpus(input);
    const places: Record<string, string> =
      cpus === undefined
        ? { OMP_PROC_BIND: 'false' }
        : { OMP_PLACES: cpus.map((cpu) => `{${cpu}}`).join(','), OMP_PROC_BIND: 'true' };
    const command = {
      argv: [join(input.programsDir, 'stream'), `${input.sizes.streamElements}`],
      env: {
        OMP_NUM_THREADS: `${input.cores}`,
        OMP_DYNAMIC: 'false',
        ...places,
        ...pageEnvironment(input.pages.own, input.programsDir).env,
      },
      input: '',
    };
    return keptOffTransparentPages(command, input);
  },

  parse: (stdout, input) => {
    const result = parseJsonLine('stream', shape, stdout);
    const fail = (problem: string) => outputError('stream', problem, stdout);
    if (!result.valid || result.maxRelativeError === null) {
      throw fail(`the arrays do not hold what they must (relative error ${result.maxRelativeError})`);
    }
    if (result.threads !== input.cores) throw fail(`it ran ${result.threads} threads, not ${input.cores}`);
    if (result.elements !== input.sizes.streamElements) {
      throw fail(`its arrays had ${result.elements} elements, not ${input.sizes.streamElements}`);
    }
    for (const name of kernels) {
      const ticks = (result[name].minSeconds * 1e6) / result.timerTickUs;
      if (ticks < leastTicks) {
        throw fail(
          `${name} took ${ticks.toFixed(1)} steps of the clock, too few to be timed; take more elements`,
        );
      }
    }
    return {
      'stream-copy-mbps': result.copy.bestMBps,
      'stream-scale-mbps': result.scale.bestMBps,
      'stream-add-mbps': result.add.bestMBps,
      'stream-triad-mbps': result.triad.bestMBps,
    };
  },
};
