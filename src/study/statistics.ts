/**
 * Native against guest, for one metric of one cell: the ratio, what it costs, and how sure that is. Pure.
 *
 * **Which ratio.** Runs come in blocks, and a native and a guest run of the same block form a pair. Machines drift
 * (heat, other users, memory that fragments), and what two neighbouring runs share cancels in their ratio; a ratio
 * of two medians keeps it. So the estimate is the middle of the pairs' ratios. It is taken of their logarithms,
 * where swapping native and guest only changes the sign, and where noise that slows both sides in the same way, as
 * interruptions do, is symmetric however skewed it is in each. `bootstrap.ts` says which middle that is, and why.
 * Runs without a partner are compared as two lists where there are too few pairs.
 *
 * **What is left out.** Values that no benchmark can measure (negative, infinite, not a number) are left out with
 * their pairs and counted. A measured 0 is not left out, because that would flatter the side that measured it: it
 * has no ratio, so the comparison has none either, and says so. Outliers always count.
 */

import { LodgeError } from '../errors.ts';
import { seededRandom } from '../random.ts';
import { type Interval, intervalOfDifference, intervalOfMiddle } from './bootstrap.ts';
import { median, type Spread, spreadOf } from './spread.ts';
import { fewestToJudge, type Verdict, verdictOf } from './verdict.ts';

export interface CompareOptions {
  /** Whether more is better. */
  isRate: boolean;
  /** The largest overhead that counts as none, as a fraction; without one nothing is judged. */
  tolerance?: number | undefined;
  /** Which values belong together, as [index in native, index in guest]; none for two lists without pairs. */
  pairs?: readonly (readonly [number, number])[] | undefined;
  /** The share of intervals that are to hold the truth; 0.95 when not given. */
  confidence?: number | undefined;
  /** Resamples of the bootstrap; 4000 when not given. */
  resamples?: number | undefined;
  seed: number;
  /** Names the stream of random numbers, so that comparisons do not share theirs. */
  stream?: string | undefined;
}

export interface Comparison {
  isRate: boolean;
  tolerance?: number;
  confidence: number;
  /** How the two sides were put together. */
  method: 'pairs' | 'lists';
  /** Number of pairs, or of values on the smaller side. */
  n: number;
  native?: Spread;
  guest?: Spread;
  /** Values left out because nothing can measure them. */
  leftOut: { native: number; guest: number };
  /** Guest / native; `low` and `high` are the estimate itself where there are fewer than two pairs. */
  ratio?: Interval;
  /** How much more time the same work takes in the guest, as a fraction: see {@link overheadOfRatio}. */
  overhead?: Interval;
  verdict: Verdict;
}

export const defaultConfidence = 0.95;
export const defaultResamples = 4000;

/**
 * What a ratio guest/native means as overhead, as a fraction; positive when the guest is slower. Times and rates of
 * the same runs give the same number: how much more time the same work takes. A rate that is halved is an overhead
 * of 1 (100 %), and a loss of 0.5: see {@link lossOfRate}.
 */
export function overheadOfRatio(ratio: number, isRate: boolean): number {
  return isRate ? 1 / ratio - 1 : ratio - 1;
}

/** The part of a rate that an overhead takes away, the way most publications put it: 0.025 of an overhead of 0.0256. */
export function lossOfRate(overhead: number): number {
  return overhead / (1 + overhead);
}

/**
 * Compares values of one metric measured natively and in a guest.
 * @throws LodgeError `internal` for pairs that name a value that is not there, or one twice
 * @throws LodgeError `spec-value` for a seed, confidence or tolerance out of range
 */
export function compareSamples(
  native: readonly number[],
  guest: readonly number[],
  options: CompareOptions,
): Comparison {
  const { isRate, tolerance, confidence = defaultConfidence, resamples = defaultResamples } = options;
  checkTolerance(tolerance);
  checkPairs(options.pairs, native.length, guest.length);
  const nativeValues = native.filter(isMeasured);
  const guestValues = guest.filter(isMeasured);
  const nativeSpread = spreadOf(nativeValues);
  const guestSpread = spreadOf(guestValues);
  const pairs = options.pairs
    ?.map(([i, j]) => [native[i]!, guest[j]!] as const)
    .filter(([a, b]) => isMeasured(a) && isMeasured(b));
  const fewerSide = Math.min(nativeValues.length, guestValues.length);
  const byPairs = pairs !== undefined && (pairs.length >= fewestToJudge || fewerSide < fewestToJudge);
  const base = {
    isRate,
    ...(tolerance === undefined ? {} : { tolerance }),
    confidence,
    method: byPairs ? ('pairs' as const) : ('lists' as const),
    n: byPairs ? pairs.length : fewerSide,
    ...(nativeSpread === undefined ? {} : { native: nativeSpread }),
    ...(guestSpread === undefined ? {} : { guest: guestSpread }),
    leftOut: { native: native.length - nativeValues.length, guest: guest.length - guestValues.length },
  };
  const reason = whyNoRatio(nativeValues, guestValues, base.n);
  if (reason !== undefined) return { ...base, verdict: { kind: 'no-ratio', reason } };

  const bootstrap = () => ({
    confidence,
    resamples,
    random: seededRandom(options.seed, `bootstrap ${options.stream ?? ''}`),
  });
  const logs = (values: readonly number[]) => values.map(Math.log);
  const logRatio = byPairs
    ? middleOrPoint(
        pairs.map(([a, b]) => Math.log(b / a)),
        (ratios) => intervalOfMiddle(ratios, bootstrap()),
      )
    : base.n < 2
      ? point(median(logs(guestValues)) - median(logs(nativeValues)))
      : intervalOfDifference(logs(nativeValues), logs(guestValues), bootstrap());
  const ratio = mapped(logRatio, Math.exp);
  const overhead = mapped(ratio, (value) => overheadOfRatio(value, isRate));
  return {
    ...base,
    ratio,
    overhead,
    verdict: verdictOf(overhead, { n: base.n, tolerance, confidence }),
  };
}

/**
 * The middle of the values of one metric with its interval, as drawn in figures. Nothing for no values, for a 0 and
 * for values that nothing can measure; the value itself for one.
 */
export function intervalOfSamples(
  values: readonly number[],
  options: Pick<CompareOptions, 'confidence' | 'resamples' | 'seed' | 'stream'>,
): Interval | undefined {
  if (values.length === 0 || !values.every((value) => isMeasured(value) && value > 0)) return undefined;
  const { confidence = defaultConfidence, resamples = defaultResamples } = options;
  const random = seededRandom(options.seed, `interval ${options.stream ?? ''}`);
  const interval = middleOrPoint(values.map(Math.log), (logs) =>
    intervalOfMiddle(logs, { confidence, resamples, random }),
  );
  return mapped(interval, Math.exp);
}

/**
 * Whether each interval is known to within `precision`: half of its width is at most that fraction of its estimate.
 * Never for an empty list, nor for an interval of fewer runs than a judgement takes.
 *
 * Stopping as soon as this holds picks moments at which the spread looks small, so intervals hold the truth a little
 * less often: simulated with normal noise, 93 to 95 times of 100 when the first look is after 5 pairs, 91 to 93 when
 * it is after 3. So look after 5.
 * @param intervals ratios of guest to native, or {@link intervalOfSamples} for native runs alone, each with how many
 *   values it comes from
 * @param precision as a fraction
 */
export function isNarrowEnough(
  intervals: readonly { interval: Interval | undefined; n: number }[],
  precision: number,
): boolean {
  return (
    intervals.length > 0 &&
    intervals.every(
      ({ interval, n }) =>
        interval !== undefined &&
        n >= fewestToJudge &&
        (interval.high - interval.low) / 2 <= precision * interval.estimate,
    )
  );
}

function isMeasured(value: number): boolean {
  return Number.isFinite(value) && value >= 0;
}

function whyNoRatio(native: readonly number[], guest: readonly number[], n: number): string | undefined {
  if (native.length === 0) return 'no native run gave a value';
  if (guest.length === 0) return 'no guest run gave a value';
  if (n === 0) return 'no native and guest runs form a pair';
  const zeros = (values: readonly number[]) => values.filter((value) => value === 0).length;
  const [ofNative, ofGuest] = [zeros(native), zeros(guest)];
  if (ofNative > 0) return `${ofNative} of ${native.length} native runs measured 0, which has no ratio`;
  if (ofGuest > 0) return `${ofGuest} of ${guest.length} guest runs measured 0, which has no ratio`;
  return undefined;
}

function middleOrPoint(
  values: readonly number[],
  intervalOf: (values: readonly number[]) => Interval,
): Interval {
  return values.length < 2 ? point(values[0]!) : intervalOf(values);
}

function point(estimate: number): Interval {
  return { estimate, low: estimate, high: estimate };
}

/** The interval on another scale; a falling one swaps the ends. */
function mapped({ estimate, low, high }: Interval, scale: (value: number) => number): Interval {
  const [a, b] = [scale(low), scale(high)];
  return { estimate: scale(estimate), low: Math.min(a, b), high: Math.max(a, b) };
}

function checkTolerance(tolerance: number | undefined): void {
  if (tolerance !== undefined && !(tolerance >= 0 && Number.isFinite(tolerance))) {
    throw new LodgeError('spec-value', `${tolerance} is not a tolerance`, {
      fix: 'give a fraction, as in 0.01 for 1 %',
    });
  }
}

function checkPairs(pairs: CompareOptions['pairs'], natives: number, guests: number): void {
  if (pairs === undefined) return;
  const isIn = (index: number, length: number) => Number.isInteger(index) && index >= 0 && index < length;
  const areIn = pairs.every(([i, j]) => isIn(i, natives) && isIn(j, guests));
  const areOnce = [0, 1].every((side) => new Set(pairs.map((pair) => pair[side])).size === pairs.length);
  if (!areIn || !areOnce) throw new LodgeError('internal', 'pairs of runs name values that do not pair up');
}
