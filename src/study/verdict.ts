/** From an interval of overhead to a judgement in words. Pure. */

import type { Interval } from './bootstrap.ts';
import { studentReach } from './student.ts';

/** Overheads are fractions: 0.05 is 5 % slower. `low` and `high` are the ends of the interval. */
export type Verdict =
  /** The whole interval is within the tolerance, or on the side where the guest is faster. */
  | { kind: 'none-seen'; fraction: number; low: number; high: number }
  /** The guest is slower for sure, and not by so little that the tolerance covers it. */
  | { kind: 'overhead'; fraction: number; low: number; high: number }
  /** The guest is faster for sure, and not by so little that the tolerance covers it. */
  | { kind: 'faster'; fraction: number; low: number; high: number }
  /** More repeats would tell; `isAtLeast` when it takes more than the number that is named. */
  | { kind: 'not-decided'; fraction: number; moreRepeats: number; isAtLeast: boolean }
  /** A metric without a tolerance: its overhead is told and not judged. One pair of runs has no interval. */
  | { kind: 'told'; fraction: number; low?: number; high?: number }
  /** There is nothing to compare. */
  | { kind: 'no-ratio'; reason: string };

/** With fewer pairs than this nothing is judged: two runs that agree may do so by chance. */
export const fewestToJudge = 3;

/** More repeats than this are not counted out: the estimate is no better than the spread it comes from. */
export const mostRepeatsTold = 100;

export interface VerdictInput {
  /** Number of pairs that the interval comes from. */
  n: number;
  tolerance?: number | undefined;
  confidence: number;
}

/** Judges an overhead; the rules are those of {@link Verdict}. */
export function verdictOf(overhead: Interval, input: VerdictInput): Verdict {
  const { estimate: fraction, low, high } = overhead;
  const { n, tolerance } = input;
  if (tolerance === undefined) return { kind: 'told', fraction, ...(n < 2 ? {} : { low, high }) };
  if (n >= fewestToJudge) {
    if (high < 0 && low < -tolerance) return { kind: 'faster', fraction, low, high };
    if (high <= tolerance) return { kind: 'none-seen', fraction, low, high };
    if (low > 0) return { kind: 'overhead', fraction, low, high };
  }
  return { kind: 'not-decided', fraction, ...moreRepeats(overhead, { ...input, tolerance }) };
}

/**
 * How many more pairs would decide, if they scatter like those there are: the interval's upper part must shrink
 * below the tolerance, or its lower part above 0, and parts shrink like the reach of Student's t over the root of n.
 */
function moreRepeats(
  { estimate, low, high }: Interval,
  { n, tolerance, confidence }: VerdictInput & { tolerance: number },
): { moreRepeats: number; isAtLeast: boolean } {
  const missing = Math.max(1, fewestToJudge - n);
  if (n < 2) return { moreRepeats: missing, isAtLeast: true };
  // By what factor either part must shrink: below 0 where that part can never decide, 1 or more where it does.
  const shrink = Math.max(
    shrinkage(tolerance - estimate, high - estimate),
    shrinkage(estimate, estimate - low),
  );
  const width = (repeats: number) => studentReach(repeats - 1, confidence) / Math.sqrt(repeats);
  for (let more = missing; more <= mostRepeatsTold; more++) {
    if (width(n + more) <= shrink * width(n)) return { moreRepeats: more, isAtLeast: false };
  }
  return { moreRepeats: mostRepeatsTold, isAtLeast: true };
}

function shrinkage(wanted: number, part: number): number {
  return part === 0 ? (wanted > 0 ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY) : wanted / part;
}

/** The verdict as part of a sentence: `overhead of 5.1 % [4.8, 5.4]`. */
export function describeVerdict(verdict: Verdict): string {
  switch (verdict.kind) {
    case 'none-seen':
      return `no overhead seen ${rangeText(verdict)}`;
    case 'overhead':
      return `overhead of ${percentText(verdict.fraction)} % ${rangeText(verdict)}`;
    case 'faster':
      return `faster by ${percentText(-verdict.fraction)} % ${rangeText({ low: -verdict.high, high: -verdict.low })}`;
    case 'told':
      return `${verdict.fraction < 0 ? '' : '+'}${percentText(verdict.fraction)} % ${rangeText(verdict)}`.trim();
    case 'not-decided': {
      const { moreRepeats: more, isAtLeast } = verdict;
      const count = !isAtLeast
        ? `${more}`
        : more >= mostRepeatsTold
          ? `more than ${more}`
          : `at least ${more}`;
      return `not decided: needs ${count} more ${more === 1 ? 'repeat' : 'repeats'}`;
    }
    case 'no-ratio':
      return verdict.reason;
  }
}

function rangeText({ low, high }: { low?: number; high?: number }): string {
  return low === undefined || high === undefined ? '' : `[${percentText(low)}, ${percentText(high)}]`;
}

/** A fraction as a percentage, with more decimals the smaller it is. */
function percentText(fraction: number): string {
  const percent = fraction * 100;
  const text = percent.toFixed(Math.abs(percent) < 1 ? 2 : Math.abs(percent) < 100 ? 1 : 0);
  return Number(text) === 0 ? '0' : text;
}
