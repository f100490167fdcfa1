/** What a figure shows, before anybody decides how wide it is. Plain values. */

import type { SeriesStyle } from './look.ts';

export interface ChartPoint {
  x: number;
  /** The middle of the runs. */
  y: number;
  /** Its interval, where there is one. */
  low?: number;
  high?: number;
  /** Every single run, warm-ups left out, outliers kept. */
  raw: readonly number[];
}

export interface ChartSeries {
  name: string;
  style: SeriesStyle;
  points: readonly ChartPoint[];
}

export interface ChartAxis {
  /** With its unit: `Message size (bytes)`. */
  title: string;
  kind: 'linear' | 'log';
  /** Ticks to be made whatever the values, such as the numbers of cores that were measured. */
  ticks?: readonly number[];
  format?: (value: number) => string;
  /** Values that the axis is to reach whatever is drawn, so that neighbours have the same axis. */
  reach?: readonly number[];
}

export interface Chart {
  /** Fit for a file name: `figure-2-hpl`. */
  id: string;
  title: string;
  subtitle?: string;
  /** What a reader must know before they look, such as that timings are emulated. Shown over the plot. */
  warnings: readonly string[];
  /** Shown under the plot. */
  notes: readonly string[];
  x: ChartAxis;
  y: ChartAxis;
  series: readonly ChartSeries[];
  /** Whether the points of different series at the same x are set side by side, so that none hides another. */
  isSideBySide: boolean;
}

/** How a figure is drawn. */
export interface Drawing {
  widthPx: number;
  /** Height of the area between the axes. */
  plotHeightPx: number;
  /** Whether colours are written out for a file by itself, or named for a page. */
  colours: 'light' | 'page';
  /** Without a legend where a neighbour has the same one. */
  legend?: boolean;
}

/** How far above the highest run an axis goes for the intervals. */
const roomForIntervals = 1.5;

/**
 * The values that an axis is to show. An interval of few runs may be many times as wide as all that was measured,
 * and would leave it a line at the bottom: the axis ends before, and what goes on is drawn as an arrow.
 */
export function axisValues(
  series: readonly Pick<ChartSeries, 'points'>[],
  { kind }: Pick<ChartAxis, 'kind'>,
): number[] {
  const points = series.flatMap((one) => one.points);
  const measured = points.flatMap(({ y, raw }) => [y, ...raw]);
  const end = kind === 'log' ? Number.POSITIVE_INFINITY : roomForIntervals * Math.max(0, ...measured);
  const ends = points.flatMap(({ low, high }) => [low, high]).filter((value) => value !== undefined);
  return [...measured, ...ends.map((value) => Math.min(value, end))];
}
