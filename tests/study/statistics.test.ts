import { describe, expect, it } from 'vitest';
import { LodgeError } from '../../src/errors.ts';
import {
  type CompareOptions,
  compareSamples,
  intervalOfSamples,
  isNarrowEnough,
  lossOfRate,
  overheadOfRatio,
} from '../../src/study/statistics.ts';
import { blocks, inOrder } from './synthetic.ts';

const rate: CompareOptions = { isRate: true, tolerance: 0.01, seed: 1 };
const time: CompareOptions = { isRate: false, tolerance: 0.01, seed: 1 };

describe('overhead', () => {
  it('reads the same for times and rates of the same runs', () => {
    // 100 units of work natively in 10 s, in the guest in 12.5 s.
    expect(overheadOfRatio(12.5 / 10, false)).toBeCloseTo(0.25, 12);
    expect(overheadOfRatio(100 / 12.5 / (100 / 10), true)).toBeCloseTo(0.25, 12);
  });
  it('becomes the loss of a rate that publications name', () => {
    expect(lossOfRate(overheadOfRatio(0.975, true))).toBeCloseTo(0.025, 12);
    expect(lossOfRate(1)).toBe(0.5);
  });
  it('is the same number, interval and verdict for seconds and for work per second', () => {
    const { native, guest, pairs } = blocks(7, { ratio: 1.08 });
    const asTime = compareSamples(native, guest, { ...time, pairs });
    const invert = (values: number[]) => values.map((value) => 1000 / value);
    const asRate = compareSamples(invert(native), invert(guest), { ...rate, pairs });
    expect(asRate.overhead!.estimate).toBeCloseTo(asTime.overhead!.estimate, 10);
    expect(asRate.overhead!.low).toBeCloseTo(asTime.overhead!.low, 10);
    expect(asRate.overhead!.high).toBeCloseTo(asTime.overhead!.high, 10);
    expect(asRate.verdict.kind).toBe('overhead');
    expect(asTime.verdict.kind).toBe('overhead');
  });
});

describe('known answers', () => {
  it('sees no overhead between identical runs', () => {
    const values = [10.1, 10.2, 10, 10.15, 10.05];
    const { ratio, overhead, verdict } = compareSamples(values, values, { ...rate, pairs: inOrder(5) });
    expect(ratio).toEqual({ estimate: 1, low: 1, high: 1 });
    expect(overhead!.estimate).toBeCloseTo(0, 12);
    expect(verdict.kind).toBe('none-seen');
  });
  it('sees no overhead between runs of the same kind', () => {
    const { native, guest, pairs } = blocks(20, { noise: 'lognormal', seed: 3 });
    const small = (values: number[]) => values.map((value) => 100 * (value / 100) ** 0.3);
    expect(compareSamples(small(native), small(guest), { ...rate, pairs }).verdict.kind).toBe('none-seen');
  });
  it('finds exactly 5 % in times, and in rates that are 5 % lower the time that they cost', () => {
    const native = [100, 103, 98, 110, 95];
    const slower = native.map((value) => value * 1.05);
    const comparison = compareSamples(native, slower, { ...time, pairs: inOrder(5) });
    expect(comparison.verdict).toMatchObject({ kind: 'overhead' });
    expect(comparison.overhead!.estimate).toBeCloseTo(0.05, 10);
    expect(comparison.overhead!.low).toBeCloseTo(0.05, 10);
    expect(comparison.overhead!.high).toBeCloseTo(0.05, 10);
    const lower = native.map((value) => value * 0.95);
    const asRate = compareSamples(native, lower, { ...rate, pairs: inOrder(5) });
    expect(asRate.ratio!.estimate).toBeCloseTo(0.95, 10);
    expect(asRate.overhead!.estimate).toBeCloseTo(1 / 0.95 - 1, 10);
    expect(asRate.verdict.kind).toBe('overhead');
  });
  it('finds 5 % through noise', () => {
    const { native, guest, pairs } = blocks(10, { ratio: 1.05 });
    const { overhead, verdict } = compareSamples(native, guest, { ...time, pairs });
    expect(verdict.kind).toBe('overhead');
    expect(overhead!.low).toBeLessThan(0.05);
    expect(overhead!.high).toBeGreaterThan(0.05);
    expect(overhead!.high - overhead!.low).toBeLessThan(0.04);
  });
  it('says when the guest is faster', () => {
    const { native, guest, pairs } = blocks(10, { ratio: 1.05 });
    expect(compareSamples(native, guest, { ...rate, pairs }).verdict).toMatchObject({ kind: 'faster' });
  });
  it('takes an overhead within the tolerance for none', () => {
    const native = [100, 101, 99, 100.5];
    const guest = native.map((value, index) => value * (1.005 + index * 1e-4));
    expect(compareSamples(native, guest, { ...time, pairs: inOrder(4) }).verdict.kind).toBe('none-seen');
    expect(compareSamples(native, guest, { ...time, tolerance: 0, pairs: inOrder(4) }).verdict.kind).toBe(
      'overhead',
    );
  });
  it('judges runs that never scatter', () => {
    const same = compareSamples([5, 5, 5], [5, 5, 5], { ...rate, pairs: inOrder(3) });
    expect(same.verdict).toEqual({ kind: 'none-seen', fraction: 0, low: 0, high: 0 });
    const slower = compareSamples([5, 5, 5], [4, 4, 4], { ...rate, pairs: inOrder(3) });
    expect(slower.verdict.kind).toBe('overhead');
    expect(slower.overhead!.estimate).toBeCloseTo(0.25, 10);
  });
});

describe('pairs of the same block', () => {
  it('see through a machine that drifts, which lists do not', () => {
    const { native, guest, pairs } = blocks(8, { ratio: 1.05, drift: 0.2 });
    const paired = compareSamples(native, guest, { ...time, pairs });
    const lists = compareSamples(native, guest, time);
    expect(paired.method).toBe('pairs');
    expect(lists.method).toBe('lists');
    expect(paired.verdict.kind).toBe('overhead');
    expect(lists.verdict.kind).toBe('not-decided');
    expect(lists.overhead!.high - lists.overhead!.low).toBeGreaterThan(
      5 * (paired.overhead!.high - paired.overhead!.low),
    );
  });
  it('are told apart: the wrong partners give another answer', () => {
    const native = [100, 200, 300, 400];
    const guest = [110, 220, 330, 440];
    const right = compareSamples(native, guest, { ...time, pairs: inOrder(4) });
    const wrong = compareSamples(native, guest, {
      ...time,
      pairs: [
        [0, 3],
        [1, 0],
        [2, 1],
        [3, 2],
      ],
    });
    expect(right.overhead!.high - right.overhead!.low).toBeLessThan(1e-9);
    expect(wrong.verdict.kind).toBe('not-decided');
  });
  it('give way to lists where too few runs have a partner', () => {
    const { native, guest } = blocks(8, { ratio: 1.5 });
    const comparison = compareSamples(native, guest, { ...time, pairs: [[0, 0]] });
    expect(comparison).toMatchObject({ method: 'lists', n: 8, verdict: { kind: 'overhead' } });
  });
  it.each([
    [[[0, 5]]],
    [[[-1, 0]]],
    [[[0, 0.5]]],
    [
      [
        [0, 0],
        [0, 1],
      ],
    ],
    [
      [
        [0, 1],
        [1, 1],
      ],
    ],
  ])('that do not pair up are refused: %j', (pairs) => {
    const options = { ...time, pairs: pairs as unknown as [number, number][] };
    expect(() => compareSamples([1, 2], [1, 2], options)).toThrow(LodgeError);
  });
});

describe('too little to decide', () => {
  it('is one run a side, however clear it looks', () => {
    const comparison = compareSamples([10], [5], { ...rate, pairs: inOrder(1) });
    expect(comparison.verdict).toEqual({ kind: 'not-decided', fraction: 1, moreRepeats: 2, isAtLeast: true });
    expect(compareSamples([10], [5], rate).verdict).toMatchObject({ kind: 'not-decided', moreRepeats: 2 });
  });
  it('is two runs a side, even if they agree', () => {
    const { verdict } = compareSamples([10, 10], [10, 10], { ...rate, pairs: inOrder(2) });
    expect(verdict).toMatchObject({ kind: 'not-decided', moreRepeats: 1, isAtLeast: false });
  });
  it('is noise that is wider than the tolerance, and says how much more is needed', () => {
    const { native, guest, pairs } = blocks(4, { ratio: 1.003 });
    const { verdict } = compareSamples(native, guest, { ...time, pairs });
    expect(verdict.kind).toBe('not-decided');
    if (verdict.kind === 'not-decided') {
      expect(verdict.isAtLeast).toBe(false);
      expect(verdict.moreRepeats).toBeGreaterThan(2);
      expect(verdict.moreRepeats).toBeLessThan(100);
    }
  });
  it('stops counting at a hundred', () => {
    const native = [100, 150, 70, 120, 60];
    const guest = [160, 93.75, 105, 80, 60];
    expect(compareSamples(native, guest, { ...time, pairs: inOrder(5) }).verdict).toMatchObject({
      kind: 'not-decided',
      moreRepeats: 100,
      isAtLeast: true,
    });
  });
  it('estimates the repeats needed so that they mostly suffice', () => {
    // Of studies that are told to go on, those that do as told are to be decided more often than not.
    let told = 0;
    let decided = 0;
    for (let seed = 1; seed <= 120; seed++) {
      const first = blocks(5, { seed });
      const { verdict } = compareSamples(first.native, first.guest, { ...time, pairs: first.pairs });
      if (verdict.kind !== 'not-decided' || verdict.isAtLeast) continue;
      told++;
      const all = blocks(5 + verdict.moreRepeats, { seed });
      const after = compareSamples(all.native, all.guest, { ...time, pairs: all.pairs, resamples: 1000 });
      if (after.verdict.kind !== 'not-decided') decided++;
    }
    expect(told).toBeGreaterThan(50);
    expect(decided / told).toBeGreaterThan(0.5);
  });
});

describe('an outlier', () => {
  const native = [100, 100.3, 99.8, 100.1, 99.9, 100.2, 99.7, 100, 100.1, 99.9];
  it('is kept and shown, and does not decide for the others', () => {
    const guest = [100.1, 99.9, 100, 5000, 100.2, 99.8, 100.1, 99.9, 100.3, 99.9];
    const {
      verdict,
      guest: spread,
      overhead,
    } = compareSamples(native, guest, { ...time, pairs: inOrder(10) });
    expect(spread).toMatchObject({ n: 10, outliers: [3], max: 5000 });
    expect(verdict.kind).toBe('none-seen');
    expect(overhead!.high).toBeGreaterThan(0.001);
  });
  it('among few runs leaves it undecided', () => {
    const guest = [100.1, 99.9, 100, 5000, 100.2];
    const { verdict } = compareSamples(native.slice(0, 5), guest, { ...time, pairs: inOrder(5) });
    expect(verdict.kind).toBe('not-decided');
  });
});

describe('a metric without a tolerance', () => {
  const plain: CompareOptions = { isRate: false, seed: 1 };
  it('is told with its interval and not judged', () => {
    const { native, guest, pairs } = blocks(6, { ratio: 3 });
    const { verdict } = compareSamples(native, guest, { ...plain, pairs });
    expect(verdict).toMatchObject({ kind: 'told', low: expect.any(Number), high: expect.any(Number) });
  });
  it('has no interval from one run', () => {
    expect(compareSamples([2], [3], { ...plain, pairs: inOrder(1) }).verdict).toEqual({
      kind: 'told',
      fraction: 0.5,
    });
  });
});

describe('values without a ratio', () => {
  it.each([Number.NaN, Number.POSITIVE_INFINITY, -1])('leaves out %d with its pair and counts it', (bad) => {
    const comparison = compareSamples([100, bad, 100, 100, 100], [100, 100, 100, 100, bad], {
      ...rate,
      pairs: inOrder(5),
    });
    expect(comparison).toMatchObject({
      n: 3,
      method: 'pairs',
      leftOut: { native: 1, guest: 1 },
      verdict: { kind: 'none-seen' },
    });
  });
  it('does not pass over a measured 0', () => {
    const zero = compareSamples([100, 100, 100, 100], [100, 0, 100, 100], { ...rate, pairs: inOrder(4) });
    expect(zero).not.toHaveProperty('ratio');
    expect(zero.verdict).toEqual({
      kind: 'no-ratio',
      reason: '1 of 4 guest runs measured 0, which has no ratio',
    });
    expect(compareSamples([0, 0], [1, 1], time).verdict).toMatchObject({ kind: 'no-ratio' });
  });
  it('says which side has nothing', () => {
    expect(compareSamples([], [1], rate).verdict).toMatchObject({ reason: 'no native run gave a value' });
    expect(compareSamples([1], [Number.NaN], rate).verdict).toMatchObject({
      reason: 'no guest run gave a value',
    });
    expect(compareSamples([1, 2], [1, 2], { ...rate, pairs: [] }).verdict).toMatchObject({
      reason: 'no native and guest runs form a pair',
    });
  });
});

describe('what is refused', () => {
  it.each([
    { seed: -1 },
    { confidence: 95 },
    { confidence: 0 },
    { tolerance: -0.1 },
    { tolerance: Number.NaN },
  ])('%j', (bad) => {
    const { native, guest, pairs } = blocks(5, {});
    expect(() => compareSamples(native, guest, { ...rate, pairs, ...bad })).toThrow(LodgeError);
  });
});

describe('the interval of one list', () => {
  it('holds its middle', () => {
    const { native } = blocks(10, {});
    const { estimate, low, high } = intervalOfSamples(native, { seed: 1 })!;
    expect(low).toBeLessThan(100);
    expect(high).toBeGreaterThan(100);
    expect(estimate).toBeGreaterThan(low);
    expect(estimate).toBeLessThan(high);
  });
  it('is a point for one value, and nothing where there is no middle to speak of', () => {
    const one = intervalOfSamples([7], { seed: 1 })!;
    expect(one.estimate).toBeCloseTo(7, 10);
    expect(one.low).toBe(one.high);
    for (const values of [[], [1, 0], [1, Number.NaN], [-1]]) {
      expect(intervalOfSamples(values, { seed: 1 })).toBeUndefined();
    }
  });
});

describe('narrow enough', () => {
  const interval = { estimate: 2, low: 1.98, high: 2.02 };
  it('is half of the width, relative to the estimate', () => {
    expect(isNarrowEnough([{ interval, n: 5 }], 0.0101)).toBe(true);
    expect(isNarrowEnough([{ interval, n: 5 }], 0.0099)).toBe(false);
  });
  it('is asked of each', () => {
    const wide = { estimate: 2, low: 1, high: 3 };
    expect(
      isNarrowEnough(
        [
          { interval, n: 5 },
          { interval: wide, n: 5 },
        ],
        0.02,
      ),
    ).toBe(false);
    expect(
      isNarrowEnough(
        [
          { interval, n: 5 },
          { interval: undefined, n: 0 },
        ],
        0.02,
      ),
    ).toBe(false);
    expect(isNarrowEnough([], 0.02)).toBe(false);
  });
  it('is not two runs that happen to agree', () => {
    expect(isNarrowEnough([{ interval, n: 2 }], 0.5)).toBe(false);
  });
});
