/** Two studies side by side: two machines, two kernels, before and after tuning. Pure; the value is plain JSON. */

import type { Interval } from './bootstrap.ts';
import { type Cell, keyOfCell } from './cells.ts';
import { type MetricName, metrics, type Study } from './samples.ts';
import { compareSamples } from './statistics.ts';
import { metricsOf, valuesOf } from './verdicts.ts';

export interface StudyComparison {
  format: 1;
  a: StudyName;
  b: StudyName;
  /** What differs in machines, specs, sizes and versions. */
  differences: Difference[];
  /** Every metric of the cells that both studies have runs of, in the order of A's design. */
  compared: ComparedMetric[];
  /** Cells with runs in one study only. */
  onlyInA: Cell[];
  onlyInB: Cell[];
}

export interface StudyName {
  id: string;
  hostname: string;
  createdAt: string;
}

export interface Difference {
  /** A path: `host.kernel`, `packages.hpcc`, `spec.repeats`. */
  what: string;
  /** None where the study does not say. */
  a?: string;
  b?: string;
}

export interface ComparedMetric {
  cell: Cell;
  metric: MetricName;
  unit: string;
  isRate: boolean;
  /** Medians, and of how many runs. */
  a: { median?: number; runs: number };
  b: { median?: number; runs: number };
  /** B divided by A, with its 95 % interval; none where there is nothing to divide. */
  ratio?: Interval;
  /** What B is beside A; `unclear` where the interval holds 1 or there are too few runs. */
  outcome: 'better' | 'worse' | 'unclear';
  /** Why there is no ratio. */
  reason?: string;
  /** What a reader must know before they believe the ratio. */
  cautions: string[];
}

export interface CompareStudiesOptions {
  confidence?: number;
  resamples?: number;
}

/** With fewer runs on a side, an interval says too little to call one study better. */
const fewestRuns = 3;

export function compareStudies(a: Study, b: Study, options: CompareStudiesOptions = {}): StudyComparison {
  const [inA, inB] = [cellsWithRuns(a), cellsWithRuns(b)];
  const shared = [...inA].filter(([key]) => inB.has(key)).map(([, cell]) => cell);
  return {
    format: 1,
    a: nameOf(a),
    b: nameOf(b),
    differences: differencesOf(a, b),
    compared: shared.flatMap((cell) =>
      metricsOf(cell).flatMap((metric) => compareMetric(a, b, cell, metric, options)),
    ),
    onlyInA: [...inA].filter(([key]) => !inB.has(key)).map(([, cell]) => cell),
    onlyInB: [...inB].filter(([key]) => !inA.has(key)).map(([, cell]) => cell),
  };
}

function nameOf({ head }: Study): StudyName {
  return { id: head.id, hostname: head.host.hostname, createdAt: head.createdAt };
}

/** Cells with at least one run that counts, in the order of the design. */
function cellsWithRuns({ head, samples }: Study): Map<string, Cell> {
  const counted = samples
    .filter(({ isWarmUp, outcome }) => !isWarmUp && outcome === 'ok')
    .map(({ cell }) => cell);
  const keys = new Set(counted.map(keyOfCell));
  return new Map(
    [...head.cells, ...counted]
      .map((cell) => [keyOfCell(cell), cell] as const)
      .filter(([key]) => keys.has(key)),
  );
}

function compareMetric(
  a: Study,
  b: Study,
  cell: Cell,
  metric: MetricName,
  options: CompareStudiesOptions,
): ComparedMetric[] {
  const [valuesA, valuesB] = [valuesOf(a, cell, metric), valuesOf(b, cell, metric)];
  if (valuesA.length === 0 && valuesB.length === 0) return [];
  const { unit, isRate } = metrics[metric];
  const result = compareSamples(valuesA, valuesB, {
    isRate,
    confidence: options.confidence,
    resamples: options.resamples,
    // Of both seeds, so that the order of studies or a third one changes nothing for this pair.
    seed: a.head.seed,
    stream: `compare ${b.head.seed} ${keyOfCell(cell)} ${metric}`,
  });
  const { ratio, native, guest, verdict, n } = result;
  const isClear = ratio !== undefined && n >= fewestRuns && (ratio.low > 1 || ratio.high < 1);
  return [
    {
      cell,
      metric,
      unit,
      isRate,
      a: { ...(native === undefined ? {} : { median: native.median }), runs: native?.n ?? 0 },
      b: { ...(guest === undefined ? {} : { median: guest.median }), runs: guest?.n ?? 0 },
      ...(ratio === undefined ? {} : { ratio }),
      outcome: isClear ? (ratio.low > 1 === isRate ? 'better' : 'worse') : 'unclear',
      ...(verdict.kind === 'no-ratio' ? { reason: reasonFor(valuesA, valuesB, verdict.reason) } : {}),
      cautions: cautionsFor(a, b, cell),
    },
  ];
}

/** The words for native and guest do not fit two studies. */
function reasonFor(a: readonly number[], b: readonly number[], reason: string): string {
  if (a.length === 0) return 'A has no value';
  if (b.length === 0) return 'B has no value';
  return reason.replace('native', 'A').replace('guest', 'B');
}

function cautionsFor(a: Study, b: Study, cell: Cell): string[] {
  const cautions: string[] = [];
  if (cell.environment === 'tcg') cautions.push('emulated: says nothing about virtualization overhead');
  const [sizesA, sizesB] = [a.head.sizes, b.head.sizes];
  const hpl = ({ hpl: sizes }: Study['head']['sizes']) => JSON.stringify(sizes[cell.cores]);
  if (cell.benchmark === 'hpcc' && hpl(sizesA) !== hpl(sizesB)) {
    cautions.push('HPL has another size or grid in B');
  }
  if (cell.benchmark === 'stream' && sizesA.streamElements !== sizesB.streamElements) {
    cautions.push('STREAM has arrays of another size in B');
  }
  return cautions;
}

/** What the two heads say differently, apart from what is always another: names, times, seeds, lists of cells. */
export function differencesOf(a: Study, b: Study): Difference[] {
  const [left, right] = [factsOf(a), factsOf(b)];
  return [...new Set([...left.keys(), ...right.keys()])].flatMap((what) => {
    const [one, other] = [left.get(what), right.get(what)];
    if (one === other) return [];
    return [{ what, ...(one === undefined ? {} : { a: one }), ...(other === undefined ? {} : { b: other }) }];
  });
}

function factsOf({ head, samples }: Study): Map<string, string> {
  const facts = new Map<string, string>();
  const { host, lodgeVersion, packages, sizes, spec } = head;
  const guestKernels = [...new Set(samples.flatMap(({ found }) => found.guestKernel ?? []))]
    .sort()
    .join(', ');
  flatten('host', host, facts);
  facts.set('lodge', lodgeVersion);
  if (guestKernels !== '') facts.set('guest kernel', guestKernels);
  flatten('packages', packages, facts);
  flatten('sizes', sizes, facts);
  flatten('spec', spec, facts);
  return facts;
}

function flatten(path: string, value: unknown, facts: Map<string, string>): void {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    for (const [key, inner] of Object.entries(value)) flatten(`${path}.${key}`, inner, facts);
  } else {
    facts.set(path, typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value)));
  }
}
