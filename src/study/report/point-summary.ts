/** What a figure or table says of the runs of one point. Pure. */

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

/** `92.1 [91.8, 92.5]`, all to as many digits as the interval deserves. */
export function formatSummary({ middle, low, high }: PointSummary): string {
  const digits = 4;
  if (low === undefined || high === undefined) return formatSignificant(middle, digits);
  return `${formatSignificant(middle, digits)} [${formatSignificant(low, digits)}, ${formatSignificant(high, digits)}]`;
}
