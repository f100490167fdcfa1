/** What a person asks of a study: the keys of `study.yaml` and the flags of `lodge study` are the same. */

import * as z from 'zod';
import { time } from '../guest/spec.ts';
import { benchmarkNames, environments, pageSizes, placements } from './cells.ts';

/** All combinations of the paper's kind: pages that back the guest's memory, pages that the benchmark has in it. */
export const pageCombinations = pageSizes.flatMap((host) =>
  pageSizes.map((own) => `${host}/${own}` as const),
);

const fraction = z
  .union([z.string(), z.number()], { error: 'must be a share such as 1% or 0.01' })
  .transform((value, context) => {
    const match = /^(\d+(?:\.\d+)?)\s*(%?)$/.exec(String(value).trim());
    const number = match === null ? Number.NaN : Number(match[1]) / (match[2] === '%' ? 100 : 1);
    if (number > 0 && number < 1) return number;
    context.addIssue({ code: 'custom', message: `'${value}' is not a share such as 1% or 0.01` });
    return z.NEVER;
  });

const count = (least: number, most: number) =>
  z
    .number({ error: `must be a whole number from ${least} to ${most}` })
    .refine((value) => Number.isInteger(value) && value >= least && value <= most, {
      error: `must be a whole number from ${least} to ${most}`,
    });

/** Runs of each cell when nothing is said. */
const defaultRepeats = 5;

export const studySpecSchema = z
  .strictObject({
    size: z
      .enum(['quick', 'full'])
      .default('full')
      .describe(
        "`full`: the paper's sizes, scaled to this machine's memory; `quick`: small ones, for minutes.",
      ),
    environments: z
      .array(z.enum(environments))
      .min(1)
      .default(['native', 'kvm', 'uml'])
      .describe('Where the benchmarks run. `tcg` is measured only when named: its timings are emulated.'),
    image: z
      .string({ error: 'must be the name of an image, or a path' })
      .min(1)
      .optional()
      .describe(
        'Where the programs come from, natively and in guests: the name of an image, or a path. Default: this host.',
      ),
    pages: z
      .array(z.enum(pageCombinations))
      .min(1)
      .optional()
      .describe(
        'Pages of guests as `host/own`; native runs take the second. Default: those of the paper, thp/thp and 1G.',
      ),
    cores: z
      .array(count(1, 4096))
      .min(1)
      .optional()
      .describe("Numbers of cores. Default: powers of two up to this job's cores, and all of them."),
    placements: z
      .array(z.enum(placements))
      .min(1)
      .optional()
      .describe('`mirror`: pinned, and guests laid out as their CPUs. `free`: unpinned, as a contrast.'),
    benchmarks: z
      .array(z.enum(benchmarkNames))
      .min(1)
      .default([...benchmarkNames])
      .describe('What is run.'),
    repeats: count(1, 1000).optional().describe('Runs of each cell at least. Default: 5.'),
    'max-repeats': count(1, 1000)
      .optional()
      .describe(
        'Runs of each cell at most, while intervals are wider than `precision`. Default: 5 quick, 20 full.',
      ),
    precision: fraction
      .prefault('1%')
      .describe('Half the width of an interval that is narrow enough, as a share of the value.'),
    'warm-ups': count(0, 100).default(1).describe('Runs of each cell that are thrown away first.'),
    'memory-share': fraction
      .prefault('60%')
      .describe("The share of this job's free memory that a benchmark or guest may take."),
    'run-timeout': time.optional().describe('How long one run may take; by default what its benchmark says.'),
    seed: count(0, 0xffff_ffff)
      .optional()
      .describe('Of the order of runs and the bootstrap. Default: random, and recorded.'),
    launcher: z
      .enum(['local', 'slurm'])
      .default('local')
      .describe('What starts the runs: this process, or `srun` on the nodes `native` and `guest`.'),
    native: z.string().min(1).optional().describe('With `launcher: slurm`: the node that is a host.'),
    guest: z
      .string()
      .min(1)
      .optional()
      .describe('With `launcher: slurm`: the node that is a guest of a cluster that runs.'),
  })
  .superRefine((spec, context) => {
    for (const key of ['native', 'guest'] as const) {
      const isDue = spec.launcher === 'slurm';
      if ((spec[key] !== undefined) === isDue) continue;
      const message =
        spec.launcher === 'slurm'
          ? 'through Slurm a study needs both nodes'
          : 'goes with `launcher: slurm` only';
      context.addIssue({ code: 'custom', path: [key], message });
    }
    const least = spec.repeats ?? defaultRepeats;
    const most = spec['max-repeats'];
    if (most === undefined || most >= least) return;
    context.addIssue({
      code: 'custom',
      path: ['max-repeats'],
      message: `${most} is less than the ${least} that are run at least`,
    });
  });

/** A study's spec, checked and completed with defaults; times in milliseconds, shares as fractions. */
export type StudySpec = z.output<typeof studySpecSchema>;

/** The most repeats of a cell. */
export function mostRepeats(spec: StudySpec): number {
  return Math.max(
    leastRepeats(spec),
    spec['max-repeats'] ?? (spec.size === 'full' ? 20 : leastRepeats(spec)),
  );
}

/** The fewest repeats of a cell. */
export function leastRepeats(spec: StudySpec): number {
  return spec.repeats ?? defaultRepeats;
}
