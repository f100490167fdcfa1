/** The shapes of `study.json` and of a line of `results.jsonl`: what is read back may be damaged, or be of others. Pure. */

import * as z from 'zod';
import { benchmarkNames, type Cell, environments, pageSizes, placements } from './cells.ts';
import type { Sample, StudyHead } from './samples.ts';

// Keys that are not known are left as they are: they may be of a later lodge, and nothing here reads them.
const amount = z.number().nonnegative();
const count = z.int().nonnegative();
const text = z.string();
const pageSize = z.enum(pageSizes);
const pagesFound = z.looseObject({ hugetlbBytes: amount, transparentBytes: amount, smallBytes: amount });
const sweepPoint = z.looseObject({ messageBytes: amount, latencyUs: amount, bandwidthMBps: amount });

const cell: z.ZodType<Cell> = z.looseObject({
  benchmark: z.enum(benchmarkNames),
  cores: z.int().positive(),
  environment: z.enum(environments),
  pages: z.looseObject({ host: z.exactOptional(pageSize), own: pageSize }),
  placement: z.enum(placements),
});

export const sampleShape: z.ZodType<Sample> = z.looseObject({
  format: z.literal(1),
  cell,
  repeat: count,
  isWarmUp: z.boolean(),
  startedAt: text,
  elapsedMs: amount,
  outcome: z.enum(['ok', 'failed']),
  measured: z.record(text, z.union([amount, z.array(sweepPoint)])),
  found: z.looseObject({
    ownPages: z.exactOptional(pagesFound),
    hostPages: z.exactOptional(pagesFound),
    cpus: z.array(count),
    clockDrift: z.exactOptional(z.looseObject({ fraction: z.number(), uncertainty: amount })),
    guestKernel: z.exactOptional(text),
  }),
  argv: z.array(text),
  error: z.exactOptional(text),
  flags: z.array(text),
});

const hplSize = z.looseObject({ n: count, nb: count, p: count, q: count });

const head = z.looseObject({
  format: z.literal(1),
  id: text,
  createdAt: text,
  spec: z.looseObject({}),
  seed: count,
  lodgeVersion: text,
  image: z.exactOptional(z.looseObject({ name: text, id: text })),
  host: z.looseObject({
    hostname: text,
    cpuModel: text,
    sockets: count,
    numaNodes: count,
    cores: count,
    threads: count,
    memoryBytes: amount,
    kernel: text,
    distribution: text,
    virtualization: z.exactOptional(text),
  }),
  cells: z.array(cell),
  notMeasured: z.array(z.looseObject({ cell, reason: text })),
  sizes: z.looseObject({
    rule: text,
    hpl: z.record(text, hplSize),
    streamElements: amount,
    pingpongRepeats: z.exactOptional(count),
    guestMemoryBytes: z.record(text, amount),
  }),
  packages: z.record(text, text),
});

export const headShape: z.ZodType<StudyHead> = head.superRefine(({ cells, sizes }, context) => {
  for (const [index, { benchmark, cores }] of cells.entries()) {
    const isSized =
      sizes.guestMemoryBytes[cores] !== undefined && (benchmark !== 'hpcc' || sizes.hpl[cores] !== undefined);
    if (isSized) continue;
    context.addIssue({
      code: 'custom',
      path: ['cells', index],
      message: `there is no size for ${cores} cores`,
    });
    return;
  }
});
