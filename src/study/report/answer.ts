/** The answer of a study in a few plain sentences. Pure. */

import type { Environment } from '../cells.ts';
import { nameOfSeries } from '../cells.ts';
import type { MetricName, Study } from '../samples.ts';
import type { Verdict } from '../verdict.ts';
import type { CellVerdict } from '../verdicts.ts';
import { formatPercent, formatPercentInterval } from './numbers.ts';
import { allCells } from './series.ts';

/** One statement: what of, what is so, and whether that is good news. */
export interface Statement {
  subject: string;
  text: string;
  mood: 'good' | 'bad' | 'open';
}

interface Family {
  name: string;
  metrics: readonly MetricName[];
}

const families: readonly Family[] = [
  { name: 'HPL', metrics: ['hpl-gflops'] },
  {
    name: 'STREAM',
    metrics: ['stream-copy-mbps', 'stream-scale-mbps', 'stream-add-mbps', 'stream-triad-mbps'],
  },
  { name: 'MPIRandomAccess', metrics: ['randomaccess-gups'] },
  { name: 'PingPong bandwidth', metrics: ['pingpong-bandwidth-mbps'] },
];

const guestNames: Record<Exclude<Environment, 'native'>, string> = {
  kvm: 'a guest under KVM',
  uml: 'a user-mode Linux guest',
  tcg: 'an emulated guest',
};

/** Whether the timings of a cell may be held against native ones. */
export function isComparable({ cell }: Pick<CellVerdict, 'cell'>): boolean {
  return cell.environment === 'kvm' || cell.environment === 'uml';
}

/** The guest environments that the study has cells of. */
export function guestEnvironments(study: Study): Exclude<Environment, 'native'>[] {
  const found = new Set(allCells(study).map(({ environment }) => environment));
  return (['kvm', 'uml', 'tcg'] as const).filter((environment) => found.has(environment));
}

/** Why there is no guest, each reason once. */
export function reasonsForNoGuest({ head }: Study): string[] {
  const reasons = head.notMeasured
    .filter(({ cell }) => cell.environment !== 'native')
    .map(({ reason }) => reason);
  return [...new Set(reasons)];
}

/**
 * What was found of each benchmark in each kind of guest, pinned runs only where there are such. Nothing is said of
 * emulated guests, whatever the verdicts say.
 */
export function answersOf(verdicts: readonly CellVerdict[]): Statement[] {
  return (['kvm', 'uml'] as const).flatMap((environment) => {
    const ofGuest = verdicts.filter(({ cell }) => cell.environment === environment);
    const pinned = ofGuest.filter(({ cell }) => cell.placement === 'mirror');
    const counted = pinned.length > 0 ? pinned : ofGuest;
    return families.flatMap((family): Statement[] => {
      const own = counted.filter(({ metric }) => family.metrics.includes(metric));
      if (own.length === 0) return [];
      return [{ subject: `${family.name} in ${guestNames[environment]}`, ...statementOf(own) }];
    });
  });
}

function statementOf(verdicts: readonly CellVerdict[]): Omit<Statement, 'subject'> {
  const [only] = verdicts;
  if (verdicts.length === 1) return { text: describe(only!), mood: moodOf([only!.comparison.verdict]) };
  const of = (kind: Verdict['kind']) => verdicts.filter(({ comparison }) => comparison.verdict.kind === kind);
  const all = verdicts.length;
  const parts: string[] = [];
  const fine = of('none-seen');
  if (fine.length === all) {
    parts.push(`no overhead seen in any of ${all} comparisons; the largest was ${withPlace(worst(fine))}`);
  } else if (fine.length > 0) {
    parts.push(`no overhead seen in ${fine.length} of ${all} comparisons`);
  }
  const slow = of('overhead');
  if (slow.length === 1) parts.push(`overhead in one: ${withPlace(slow[0]!)}`);
  if (slow.length > 1) {
    const count = slow.length === all ? `all ${all} comparisons` : `${slow.length} of ${all}`;
    parts.push(`overhead in ${count}, from ${withPlace(least(slow))} to ${withPlace(worst(slow))}`);
  }
  const fast = of('faster');
  if (fast.length > 0)
    parts.push(`faster than native in ${fast.length} of ${all}, most in ${withPlace(least(fast))}`);
  const open = of('not-decided').length;
  if (open > 0)
    parts.push(
      `${open === all ? `none of ${all} is` : open === 1 ? 'one is not' : `${open} are not`} decided yet`,
    );
  const nothing = of('no-ratio').length;
  if (nothing > 0) parts.push(`${nothing} of ${all} could not be compared`);
  return { text: parts.join('; '), mood: moodOf(verdicts.map(({ comparison }) => comparison.verdict)) };
}

/** One comparison as the end of a sentence: `no overhead seen (−0.3 % [−0.9, +0.4])`. */
export function describe({ comparison: { verdict, overhead } }: Pick<CellVerdict, 'comparison'>): string {
  const numbers =
    overhead === undefined ? '' : formatPercentInterval(overhead.estimate, overhead.low, overhead.high);
  switch (verdict.kind) {
    case 'none-seen':
      return `no overhead seen (${numbers})`;
    case 'overhead':
      return `overhead of ${numbers.replace('+', '')}`;
    case 'faster':
      return `faster than native (${numbers})`;
    case 'told':
      return numbers;
    case 'not-decided':
      return `not decided (${numbers}): needs ${repeatsText(verdict)}`;
    case 'no-ratio':
      return `not compared: ${verdict.reason}`;
  }
}

/** `3 more repeats`, `more than 100 more repeats`. */
export function repeatsText({ moreRepeats, isAtLeast }: { moreRepeats: number; isAtLeast: boolean }): string {
  return `${isAtLeast ? 'at least ' : ''}${moreRepeats} more ${moreRepeats === 1 ? 'repeat' : 'repeats'}`;
}

function withPlace({ cell, comparison: { overhead } }: CellVerdict): string {
  const place = `${nameOfSeries(cell)}, ${coresText(cell.cores)}`;
  if (overhead === undefined) return place;
  return `${formatPercentInterval(overhead.estimate, overhead.low, overhead.high)} (${place})`;
}

export function coresText(cores: number): string {
  return `${cores} ${cores === 1 ? 'core' : 'cores'}`;
}

function worst(verdicts: readonly CellVerdict[]): CellVerdict {
  return verdicts.reduce((a, b) => (overheadOf(b) > overheadOf(a) ? b : a));
}

function least(verdicts: readonly CellVerdict[]): CellVerdict {
  return verdicts.reduce((a, b) => (overheadOf(b) < overheadOf(a) ? b : a));
}

function overheadOf({ comparison }: CellVerdict): number {
  return comparison.overhead?.estimate ?? 0;
}

function moodOf(verdicts: readonly Verdict[]): Statement['mood'] {
  if (verdicts.some(({ kind }) => kind === 'overhead')) return 'bad';
  return verdicts.every(({ kind }) => kind === 'none-seen' || kind === 'faster') ? 'good' : 'open';
}

/** All in one line, as the end of a study shows it. */
export function oneLine(study: Study, verdicts: readonly CellVerdict[]): string {
  const environments = guestEnvironments(study);
  if (environments.length === 0) return 'no guest was measured, so nothing is said of what a guest costs';
  const judged = verdicts.filter((one) => isComparable(one) && one.comparison.tolerance !== undefined);
  const emulated = environments.includes('tcg') ? 'emulated guests (tcg) are not compared' : undefined;
  const count = (kind: Verdict['kind']) =>
    judged.filter(({ comparison }) => comparison.verdict.kind === kind).length;
  const slow = judged.filter(({ comparison }) => comparison.verdict.kind === 'overhead');
  const parts = [
    judged.length === 0 ? 'nothing that is judged was measured in a guest' : `${judged.length} compared`,
    count('none-seen') > 0 ? `no overhead seen in ${count('none-seen')}` : undefined,
    slow.length > 0
      ? `overhead in ${slow.length} (at most ${formatPercent(overheadOf(worst(slow)))})`
      : undefined,
    count('faster') > 0 ? `faster in ${count('faster')}` : undefined,
    count('not-decided') > 0 ? `not decided in ${count('not-decided')}` : undefined,
    count('no-ratio') > 0 ? `no ratio in ${count('no-ratio')}` : undefined,
    emulated,
  ];
  return parts.filter((part) => part !== undefined).join(', ');
}
