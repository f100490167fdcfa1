/** What one list of measured values looks like: middle, quartiles, spread, outliers. Pure. */

/** From the middle of the values to their middle half, as five numbers and the values that stand far off. */
export interface Spread {
  /** Number of values. */
  n: number;
  median: number;
  firstQuartile: number;
  thirdQuartile: number;
  min: number;
  max: number;
  /** A standard deviation that outliers do not move: 1.4826 times the median distance from the median. */
  madSigma: number;
  /** Indices of the values beyond {@link outlierSigmas}; they are kept in all statistics, and shown. */
  outliers: number[];
}

/** How many robust standard deviations from the median a value is shown as an outlier. */
export const outlierSigmas = 3;

/** With fewer values than this the median distance says too little for one of them to be called far off. */
const fewestForOutliers = 5;

// What turns the two mean and median distances into the standard deviation of a normal distribution.
const sigmaPerMedianDistance = 1.4826;
const sigmaPerMeanDistance = Math.sqrt(Math.PI / 2);

/**
 * The value below which a share of the sorted values lies, interpolated linearly between neighbours.
 * Definition 7 of R. Hyndman and Y. Fan, "Sample quantiles in statistical packages", 1996.
 * @param sorted ascending, at least one
 * @param share 0 to 1
 */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const position = share * (sorted.length - 1);
  const below = Math.floor(position);
  const value = sorted[below]!;
  const next = sorted[Math.min(below + 1, sorted.length - 1)]!;
  // Equal neighbours give themselves exactly, with no error of rounding.
  return value === next ? value : value + (position - below) * (next - value);
}

/** The middle value, or the mean of the two middle ones; NaN of nothing. */
export function median(values: ArrayLike<number>): number {
  return values.length === 0 ? Number.NaN : quantile(Float64Array.from(values).sort(), 0.5);
}

/**
 * Describes values of one metric; nothing for none.
 *
 * Outliers are those farther than three robust standard deviations from the median (F. Hampel, "The influence curve
 * and its role in robust estimation", 1974). Where more than half of the values are the same, their median distance
 * is 0 and the mean distance takes its place (B. Iglewicz and D. Hoaglin, "How to detect and handle outliers", 1993).
 */
export function spreadOf(values: readonly number[]): Spread | undefined {
  if (values.length === 0) return undefined;
  const sorted = Float64Array.from(values).sort();
  const middle = quantile(sorted, 0.5);
  const distances = values.map((value) => Math.abs(value - middle));
  const madSigma = sigmaPerMedianDistance * median(distances);
  const meanDistance = distances.reduce((sum, distance) => sum + distance, 0) / values.length;
  const limit = outlierSigmas * (madSigma > 0 ? madSigma : sigmaPerMeanDistance * meanDistance);
  const outliers =
    values.length < fewestForOutliers ? [] : [...values.keys()].filter((index) => distances[index]! > limit);
  return {
    n: values.length,
    median: middle,
    firstQuartile: quantile(sorted, 0.25),
    thirdQuartile: quantile(sorted, 0.75),
    min: sorted[0]!,
    max: sorted[sorted.length - 1]!,
    madSigma,
    outliers,
  };
}
