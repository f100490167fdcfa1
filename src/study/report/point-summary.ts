/** What a figure or table says of the runs of one point. Pure. */

import { type Cell, keyOfCell } from '../cells.ts';
import type { MetricName, Study } from '../samples.ts';
import { median } from '../spread.ts';
import { intervalOfSamples } from '../statistics.ts';
import { formatSignificant } from './numbers.ts';

export interface PointSummary {
  /** The middle that the interval is of; the median where there is no interval. */
  middle: number;
  low?: number;
  high?: number;
}

/** With as many resamples the ends are as exact as a figure can show; a report has hundreds of points. */
const resamples = 1000;

/** @param values at least one, finite; fewer than two, or one that is not above 0, have no interval */
export function summarise(values: readonly number[], seed: number, stream: string): PointSummary {
  const interval = values.length < 2 ? undefined : intervalOfSamples(values, { seed, stream, resamples });
  if (interval === undefined) return { middle: median(values) };
  return { middle: interval.estimate, low: interval.low, high: interval.high };
}

/** Of all runs of one metric in one cell, the same wherever a report tells it. @param values as of {@link summarise} */
export function summariseCell(
  { head }: Pick<Study, 'head'>,
  cell: Cell,
  metric: MetricName,
  values: readonly number[],
): PointSummary {
  return summarise(values, head.seed, `cost ${metric} ${keyOfCell(cell)}`);
}

/** `92.11` and `[91.8, 92.5]`, to as many digits as intervals deserve. */
export function summaryTexts({ middle, low, high }: PointSummary): { middle: string; interval?: string } {
  const format = (value: number) => formatSignificant(value, 4);
  return {
    middle: format(middle),
    ...(low === undefined || high === undefined ? {} : { interval: `[${format(low)}, ${format(high)}]` }),
  };
}
