/**
 * One guest cell beside its native cell: which runs count, which form pairs, and what is to be known of them. Pure.
 */

import { type Cell, keyOfCell, nativeOf } from './cells.ts';
import type { Sample, Study } from './samples.ts';
import { type Comparison, compareSamples } from './statistics.ts';

/** What became of the runs of one cell. */
export interface RunCounts {
  /** Runs whose value counts. */
  used: number;
  warmUps: number;
  failed: number;
  /** Runs that ended well and did not give this metric. */
  without: number;
  /** Runs without a partner of the same repeat on the other side. */
  unpaired: number;
}

/** A flag that runs carry, and how many do. Flagged runs count like others. */
export interface FlagCount {
  flag: string;
  side: 'native' | 'guest';
  runs: number;
}

/** What makes timings of an environment something else than the overhead of hardware virtualization. */
export type Caveat = 'timings-emulated' | 'paging-not-nested';

export interface ComparedCell {
  cell: Cell;
  /** The native cell that it is compared with. */
  native: Cell;
  runs: { native: RunCounts; guest: RunCounts };
  flags: FlagCount[];
  caveats: Caveat[];
  comparison: Comparison;
}

/** The samples of a study by cell, looked through once. */
export class Runs {
  readonly seed: number;
  readonly #byCell = new Map<string, Sample[]>();
  readonly #whyNot: Map<string, string>;

  constructor({ head, samples }: Study) {
    this.seed = head.seed;
    this.#whyNot = new Map(head.notMeasured.map(({ cell, reason }) => [keyOfCell(cell), reason]));
    for (const sample of samples) {
      const key = keyOfCell(sample.cell);
      const list = this.#byCell.get(key);
      if (list === undefined) this.#byCell.set(key, [sample]);
      else list.push(sample);
    }
  }

  all(cell: Cell): readonly Sample[] {
    return this.#byCell.get(keyOfCell(cell)) ?? [];
  }

  /** Those that count, by repeat; a repeat that is there twice keeps the order in which it was measured. */
  counted(cell: Cell): Sample[] {
    return this.all(cell)
      .filter(({ isWarmUp, outcome }) => !isWarmUp && outcome === 'ok')
      .toSorted((a, b) => a.repeat - b.repeat);
  }

  whyNot(cell: Cell): string | undefined {
    return this.#whyNot.get(keyOfCell(cell));
  }
}

export interface CompareInput {
  confidence?: number | undefined;
  resamples?: number | undefined;
  /** What is compared, to give its resampling a stream of its own. */
  stream: string;
  isRate: boolean;
  tolerance: number | undefined;
  /** The value of one run; none when it did not give this metric. */
  valueIn: (sample: Sample) => number | undefined;
}

/** Compares a guest cell with its native cell in one value of each run. */
export function compareCells(runs: Runs, cell: Cell, input: CompareInput): ComparedCell {
  const native = nativeOf(cell);
  const sides = [native, cell].map((one) =>
    runs.counted(one).flatMap((sample) => {
      const value = input.valueIn(sample);
      return value === undefined ? [] : [{ sample, value }];
    }),
  );
  const [nativeSide, guestSide] = [sides[0]!, sides[1]!];
  const pairs = pairsByRepeat(
    nativeSide.map(({ sample }) => sample.repeat),
    guestSide.map(({ sample }) => sample.repeat),
  );
  const comparison = compareSamples(
    nativeSide.map(({ value }) => value),
    guestSide.map(({ value }) => value),
    {
      isRate: input.isRate,
      tolerance: input.tolerance,
      pairs,
      confidence: input.confidence,
      resamples: input.resamples,
      seed: runs.seed,
      stream: `${keyOfCell(cell)} ${input.stream}`,
    },
  );
  const { verdict } = comparison;
  const reason = verdict.kind === 'no-ratio' ? whyNothing(runs, native, cell, verdict.reason) : undefined;
  return {
    cell,
    native,
    runs: {
      native: countsOf(runs.all(native), nativeSide.length, pairs.length),
      guest: countsOf(runs.all(cell), guestSide.length, pairs.length),
    },
    flags: [
      ...flagsOf(nativeSide.map(({ sample }) => sample)).map((flag) => ({
        ...flag,
        side: 'native' as const,
      })),
      ...flagsOf(guestSide.map(({ sample }) => sample)).map((flag) => ({ ...flag, side: 'guest' as const })),
    ],
    caveats: caveatsOf(cell),
    comparison: reason === undefined ? comparison : { ...comparison, verdict: { kind: 'no-ratio', reason } },
  };
}

/** The k-th run of a repeat on one side goes with the k-th of the same repeat on the other. */
function pairsByRepeat(native: readonly number[], guest: readonly number[]): [number, number][] {
  const waiting = new Map<number, number[]>();
  for (const [index, repeat] of native.entries()) {
    waiting.set(repeat, [...(waiting.get(repeat) ?? []), index]);
  }
  return guest.flatMap((repeat, index): [number, number][] => {
    const partner = waiting.get(repeat)?.shift();
    return partner === undefined ? [] : [[partner, index]];
  });
}

/** What is known of why a side has no runs says more than that it has none. */
function whyNothing(runs: Runs, native: Cell, guest: Cell, reason: string): string {
  for (const [side, cell] of [
    ['native', native],
    ['guest', guest],
  ] as const) {
    if (runs.counted(cell).length > 0) continue;
    const why = runs.whyNot(cell);
    if (why !== undefined) return `${side} was not measured: ${why}`;
    const failed = runs.all(cell).filter(({ outcome }) => outcome === 'failed');
    if (failed.length > 0) return `all ${failed.length} ${side} runs failed`;
    return `there are no ${side} runs`;
  }
  return reason;
}

function countsOf(samples: readonly Sample[], used: number, pairs: number): RunCounts {
  const warmUps = samples.filter(({ isWarmUp }) => isWarmUp).length;
  const failed = samples.filter(({ isWarmUp, outcome }) => !isWarmUp && outcome === 'failed').length;
  return { used, warmUps, failed, without: samples.length - warmUps - failed - used, unpaired: used - pairs };
}

function flagsOf(samples: readonly Sample[]): { flag: string; runs: number }[] {
  const counts = new Map<string, number>();
  for (const { flags } of samples) {
    for (const flag of new Set(flags)) counts.set(flag, (counts.get(flag) ?? 0) + 1);
  }
  return [...counts].map(([flag, runs]) => ({ flag, runs }));
}

function caveatsOf({ environment }: Cell): Caveat[] {
  if (environment === 'tcg') return ['timings-emulated'];
  return environment === 'uml' ? ['paging-not-nested'] : [];
}
