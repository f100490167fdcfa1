/** The figures of the paper from the samples of a study: same axes, same names of series. Pure. */

import { type BenchmarkName, nameOfSeries } from '../cells.ts';
import { type MetricName, metrics, type Sample, type Study, type SweepPoint } from '../samples.ts';
import type { Chart, ChartPoint, ChartSeries } from './chart.ts';
import { formatMessageSize } from './numbers.ts';
import { summarise } from './point-summary.ts';
import { allCells, type NamedSeries, seriesOfStudy } from './series.ts';
import { notesFor, warningsFor } from './warnings.ts';

/** The figures of a study; a benchmark that the study does not have gives none. */
export interface StudyFigures {
  hpl?: Chart;
  streamTriad?: Chart;
  /** Copy, scale and add, to stand small beside the triad. */
  streamOthers: Chart[];
  randomAccess?: Chart;
  pingpongLatency?: Chart;
  pingpongBandwidth?: Chart;
}

const explanation = 'Middle of the runs with its 95 % interval. Each small dot is one run.';

export function figuresOfStudy(study: Study): StudyFigures {
  const context: Context = { study, series: seriesOfStudy(study) };
  const has = (benchmark: BenchmarkName) => allCells(study).some((cell) => cell.benchmark === benchmark);
  const byCores = (id: string, title: string, metric: MetricName, xTitle: string) =>
    chartByCores(context, { id, title, metric, xTitle });
  const figures: StudyFigures = { streamOthers: [] };
  if (has('hpcc')) {
    figures.hpl = byCores('figure-2-hpl', 'Figure 2: HPL', 'hpl-gflops', 'Cores');
    figures.randomAccess = byCores(
      'figure-4-randomaccess',
      'Figure 4: MPIRandomAccess',
      'randomaccess-gups',
      'Cores',
    );
  }
  if (has('stream')) {
    figures.streamTriad = byCores(
      'figure-3-stream-triad',
      'Figure 3: STREAM triad',
      'stream-triad-mbps',
      'Threads',
    );
    figures.streamOthers = (['copy', 'scale', 'add'] as const).map((kernel) => ({
      ...byCores(`figure-3-stream-${kernel}`, `STREAM ${kernel}`, `stream-${kernel}-mbps`, 'Threads'),
    }));
  }
  if (has('pingpong')) {
    figures.pingpongLatency = chartOfSweep(context, {
      id: 'figure-5a-pingpong-latency',
      title: 'Figure 5a: PingPong latency',
      value: 'latencyUs',
      yTitle: 'Half round trip (us), less is better',
      yKind: 'log',
    });
    figures.pingpongBandwidth = chartOfSweep(context, {
      id: 'figure-5b-pingpong-bandwidth',
      title: 'Figure 5b: PingPong bandwidth',
      value: 'bandwidthMBps',
      yTitle: 'MB/s, more is better',
      yKind: 'linear',
    });
  }
  return figures;
}

/** All of them, in the order of the paper. */
export function listFigures(figures: StudyFigures): Chart[] {
  const { hpl, streamTriad, streamOthers, randomAccess, pingpongLatency, pingpongBandwidth } = figures;
  return [hpl, streamTriad, ...streamOthers, randomAccess, pingpongLatency, pingpongBandwidth].filter(
    (chart) => chart !== undefined,
  );
}

interface Context {
  study: Study;
  series: readonly NamedSeries[];
}

function chartByCores(
  { study, series }: Context,
  { id, title, metric, xTitle }: { id: string; title: string; metric: MetricName; xTitle: string },
): Chart {
  const { unit, isRate, benchmark } = metrics[metric];
  const runs = usableRuns(study, benchmark);
  const drawn = series.map(({ name, style }): ChartSeries => {
    const byCores = groupBy(runs.filter(isOf(name)), ({ cell }) => cell.cores);
    return {
      name,
      style,
      points: [...byCores].flatMap(([cores, samples]) =>
        point(cores, samples.map(numberOf(metric)), study, `${metric} ${name} ${cores}`),
      ),
    };
  });
  return {
    id,
    title,
    ...aboutSeries(study, series, benchmark, drawn),
    x: {
      title: xTitle,
      kind: 'log',
      ticks: distinct(drawn.flatMap(({ points }) => points.map(({ x }) => x))),
    },
    y: { title: `${unit}, ${isRate ? 'more' : 'less'} is better`, kind: 'linear' },
    isSideBySide: true,
  };
}

interface SweepChart {
  id: string;
  title: string;
  value: 'latencyUs' | 'bandwidthMBps';
  yTitle: string;
  yKind: 'linear' | 'log';
}

function chartOfSweep({ study, series }: Context, { id, title, value, yTitle, yKind }: SweepChart): Chart {
  const runs = usableRuns(study, 'pingpong');
  const drawn = series.map(({ name, style }): ChartSeries => {
    const bySize = groupBy(runs.filter(isOf(name)).flatMap(sweepOf), ({ messageBytes }) => messageBytes);
    return {
      name,
      style,
      points: [...bySize].flatMap(([bytes, points]) =>
        point(
          bytes,
          points.map((one) => one[value]),
          study,
          `${value} ${name} ${bytes}`,
        ),
      ),
    };
  });
  const sizes = drawn.flatMap(({ points }) => points.map(({ x }) => x));
  return {
    id,
    title,
    ...aboutSeries(study, series, 'pingpong', drawn),
    x: {
      title: 'Message size',
      kind: 'log',
      format: formatMessageSize,
      ...(sizes.length === 0 ? {} : { ticks: powersOfFour(Math.min(...sizes), Math.max(...sizes)) }),
    },
    y: { title: yTitle, kind: yKind },
    isSideBySide: false,
  };
}

/** What is said around a chart: warnings and notes for its environments, and which series could not be drawn. */
function aboutSeries(
  study: Study,
  series: readonly NamedSeries[],
  benchmark: BenchmarkName,
  drawn: readonly ChartSeries[],
): Pick<Chart, 'subtitle' | 'warnings' | 'notes' | 'series'> {
  const planned = new Set(
    study.head.cells.filter((cell) => cell.benchmark === benchmark).map((cell) => nameOfSeries(cell)),
  );
  const isDrawn = (name: string) => drawn.some((one) => one.name === name && one.points.length > 0);
  const shown = series.filter(({ name }) => isDrawn(name)).map(({ series: { environment } }) => environment);
  const missing = series.filter(({ name }) => planned.has(name) && !isDrawn(name)).map(({ name }) => name);
  return {
    subtitle: explanation,
    warnings: warningsFor(shown),
    notes: [
      ...notesFor(shown),
      ...(missing.length === 0 ? [] : [`Without a usable run, and so not drawn: ${missing.join('; ')}.`]),
    ],
    series: drawn.filter(({ points }) => points.length > 0),
  };
}

/** Runs that count: no warm-ups, none that failed. Those with flags are kept. */
export function usableRuns(study: Study, benchmark: BenchmarkName): Sample[] {
  return study.samples.filter(
    ({ cell, outcome, isWarmUp }) => cell.benchmark === benchmark && outcome === 'ok' && !isWarmUp,
  );
}

function isOf(name: string): (sample: Sample) => boolean {
  return ({ cell }) => nameOfSeries(cell) === name;
}

function numberOf(metric: MetricName): (sample: Sample) => number {
  return ({ measured }) => {
    const value = measured[metric];
    return typeof value === 'number' ? value : Number.NaN;
  };
}

function sweepOf({ measured }: Sample): readonly SweepPoint[] {
  return Object.values(measured).flatMap((value) => (Array.isArray(value) ? value : []));
}

function point(x: number, values: readonly number[], { head }: Study, stream: string): ChartPoint[] {
  const raw = values.filter(Number.isFinite);
  if (raw.length === 0) return [];
  const { middle, low, high } = summarise(raw, head.seed, `figure ${stream}`);
  return [{ x, y: middle, raw, ...(low === undefined || high === undefined ? {} : { low, high }) }];
}

function powersOfFour(low: number, high: number): number[] {
  const ticks: number[] = [];
  for (let size = 1; size <= high; size *= 4) if (size >= low) ticks.push(size);
  return ticks.length > 1 ? ticks : distinct([low, high]);
}

function distinct(values: readonly number[]): number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}

function groupBy<T>(values: readonly T[], keyOf: (value: T) => number): Map<number, T[]> {
  const groups = new Map<number, T[]>();
  for (const value of values) {
    const key = keyOf(value);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [value]);
    else group.push(value);
  }
  return groups;
}
