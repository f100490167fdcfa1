/**
 * What a study found: for each guest cell and metric, the comparison with the native cell, and what it rests on.
 * Pure: the same study and options always give the same verdicts.
 */

import { type ComparedCell, type CompareInput, compareCells, Runs } from './cell-comparison.ts';
import { type Cell, keyOfCell, nativeOf } from './cells.ts';
import { type MetricName, metrics, type Sample, type Study, type SweepPoint } from './samples.ts';
import { type Comparison, intervalOfSamples, isNarrowEnough } from './statistics.ts';
import type { Verdict } from './verdict.ts';

export interface VerdictOptions {
  /** 0.95 when not given. */
  confidence?: number;
  resamples?: number;
  /** Tolerances in place of those of {@link metrics}, as fractions. */
  tolerances?: Partial<Record<MetricName, number>>;
}

export interface CellVerdict extends ComparedCell {
  metric: MetricName;
}

/** One message size of a sweep; told and not judged, as the paper's claim is about the whole curve. */
export interface SweepVerdict extends ComparedCell {
  /** The name under which the points were measured. */
  sweep: string;
  quantity: 'latencyUs' | 'bandwidthMBps';
  messageBytes: number;
}

/** Compares every guest cell of the study with its native cell, in the order of the study's design. */
export function verdictsOf(study: Study, options: VerdictOptions = {}): CellVerdict[] {
  const runs = new Runs(study);
  return guestCells(study).flatMap((cell) =>
    metricsOf(cell).map((metric) => ({
      metric,
      ...compareCells(runs, cell, inputFor(metric, options)),
    })),
  );
}

/** Compares the sweeps of every guest cell point by point, by sweep, quantity and message size. */
export function sweepVerdicts(study: Study, options: VerdictOptions = {}): SweepVerdict[] {
  const runs = new Runs(study);
  return guestCells(study).flatMap((cell) => {
    const both = [...runs.counted(cell), ...runs.counted(nativeOf(cell))];
    const names = new Set(
      both.flatMap(({ measured }) => Object.keys(measured).filter((name) => Array.isArray(measured[name]))),
    );
    return [...names].flatMap((sweep) => {
      const sizes = new Set(
        both.flatMap((sample) => pointsOf(sample, sweep).map((point) => point.messageBytes)),
      );
      const ascending = [...sizes].sort((a, b) => a - b);
      return (['latencyUs', 'bandwidthMBps'] as const).flatMap((quantity) =>
        ascending.map((messageBytes) => ({
          sweep,
          quantity,
          messageBytes,
          ...compareCells(runs, cell, {
            confidence: options.confidence,
            resamples: options.resamples,
            stream: `${sweep} ${quantity} ${messageBytes}`,
            isRate: quantity === 'bandwidthMBps',
            tolerance: undefined,
            valueIn: (sample) =>
              pointsOf(sample, sweep).find((point) => point.messageBytes === messageBytes)?.[quantity],
          }),
        })),
      );
    });
  });
}

export interface VerdictSummary {
  counts: Record<Verdict['kind'], number>;
  /** Verdicts that rest on an interval, judged or told. */
  withInterval: number;
  /** How many of these intervals miss the truth by chance alone, on average. */
  expectedMisses: number;
}

/** Counts verdicts by kind. */
export function summaryOf(verdicts: readonly { comparison: Comparison }[]): VerdictSummary {
  const counts: VerdictSummary['counts'] = {
    'none-seen': 0,
    overhead: 0,
    faster: 0,
    'not-decided': 0,
    told: 0,
    'no-ratio': 0,
  };
  let withInterval = 0;
  let expectedMisses = 0;
  for (const { comparison } of verdicts) {
    counts[comparison.verdict.kind]++;
    if (comparison.ratio === undefined || comparison.n < 2) continue;
    withInterval++;
    expectedMisses += 1 - comparison.confidence;
  }
  return { counts, withInterval, expectedMisses };
}

/**
 * Whether more repeats of a cell would add little: all metrics that are judged are known to within `precision` (a
 * fraction), for a guest as ratio to native and for native by themselves. Benchmarks without a judged metric are
 * known well enough after as many runs as a judgement takes.
 */
export function isCellNarrow(
  study: Study,
  cell: Cell,
  precision: number,
  options: VerdictOptions = {},
): boolean {
  const runs = new Runs(study);
  const judged = metricsOf(cell).filter((metric) => toleranceOf(metric, options) !== undefined);
  if (judged.length === 0) {
    const enough = { estimate: 1, low: 1, high: 1 };
    return isNarrowEnough([{ interval: enough, n: runs.counted(cell).length }], precision);
  }
  return isNarrowEnough(
    judged.map((metric) => {
      const input = inputFor(metric, options);
      if (cell.environment !== 'native') {
        const { comparison } = compareCells(runs, cell, input);
        return { interval: comparison.ratio, n: comparison.n };
      }
      const values = runs.counted(cell).flatMap((sample) => input.valueIn(sample) ?? []);
      const stream = `${keyOfCell(cell)} ${metric}`;
      return {
        interval: intervalOfSamples(values, {
          confidence: options.confidence,
          resamples: options.resamples,
          seed: runs.seed,
          stream,
        }),
        n: values.length,
      };
    }),
    precision,
  );
}

/** The metrics that a cell's benchmark gives, in the order of {@link metrics}. */
export function metricsOf({ benchmark }: Pick<Cell, 'benchmark'>): MetricName[] {
  return (Object.keys(metrics) as MetricName[]).filter((name) => metrics[name].benchmark === benchmark);
}

/** The values of a cell for one metric that count, in the order of repeats: no warm-ups, no failed runs. */
export function valuesOf(study: Study, cell: Cell, metric: MetricName): number[] {
  return new Runs(study).counted(cell).flatMap(({ measured }) => numberIn(measured[metric]) ?? []);
}

function inputFor(metric: MetricName, options: VerdictOptions): CompareInput {
  return {
    confidence: options.confidence,
    resamples: options.resamples,
    stream: metric,
    isRate: metrics[metric].isRate,
    tolerance: toleranceOf(metric, options),
    valueIn: ({ measured }) => numberIn(measured[metric]),
  };
}

function guestCells({ head }: Study): Cell[] {
  return head.cells.filter(({ environment }) => environment !== 'native');
}

function toleranceOf(metric: MetricName, { tolerances }: VerdictOptions): number | undefined {
  const own = metrics[metric];
  return tolerances?.[metric] ?? ('tolerance' in own ? own.tolerance : undefined);
}

/** A number as it was measured; what a file says instead of one counts as not there. */
function numberIn(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}

function pointsOf({ measured }: Sample, sweep: string): readonly SweepPoint[] {
  const points = measured[sweep];
  return typeof points === 'object' && points !== null ? points : [];
}
