import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { describeVerdict, type VerdictInput, verdictOf } from '../../src/study/verdict.ts';

const input: VerdictInput = { n: 5, tolerance: 0.01, confidence: 0.95 };
const interval = (low: number, estimate: number, high: number) => ({ low, estimate, high });

describe('a verdict', () => {
  it.each([
    ['within the tolerance', interval(-0.005, 0.001, 0.008), 'none-seen'],
    ['within the tolerance and beyond 0', interval(0.002, 0.005, 0.01), 'none-seen'],
    ['on the good side, and not sure to be faster', interval(-0.05, -0.02, 0.001), 'none-seen'],
    ['beyond 0 and past the tolerance', interval(0.001, 0.01, 0.02), 'overhead'],
    ['beyond the tolerance', interval(0.04, 0.05, 0.06), 'overhead'],
    ['below 0 and past the tolerance', interval(-0.06, -0.04, -0.001), 'faster'],
    ['below 0 by less than the tolerance', interval(-0.009, -0.004, -0.001), 'none-seen'],
    ['on both sides of 0 and past the tolerance', interval(-0.001, 0.005, 0.02), 'not-decided'],
    ['from exactly 0 past the tolerance', interval(0, 0.01, 0.02), 'not-decided'],
  ])('of an interval %s', (_, overhead, kind) => {
    expect(verdictOf(overhead, input).kind).toBe(kind);
    expect(verdictOf(overhead, { ...input, n: 2 }).kind).toBe('not-decided');
    expect(verdictOf(overhead, { ...input, tolerance: undefined }).kind).toBe('told');
  });
  it('asks for what would shrink the interval enough', () => {
    // From 5 pairs a half width of 2 % is to become 1 %: 4 degrees of freedom reach 2.776, so that 1.2415 standard
    // deviations must become 0.6208, which 13 pairs (2.179 / sqrt 13 = 0.6043) give and 12 (0.6354) do not.
    expect(verdictOf(interval(-0.02, 0, 0.02), input)).toEqual({
      kind: 'not-decided',
      fraction: 0,
      moreRepeats: 8,
      isAtLeast: false,
    });
  });
  it('never asks for none, nor for what cannot be counted', () => {
    const part = fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1, noNaN: true }));
    const estimate = fc.oneof(fc.constantFrom(0, 0.01), fc.double({ min: -1, max: 1, noNaN: true }));
    fc.assert(
      fc.property(
        estimate,
        part,
        part,
        fc.integer({ min: 1, max: 30 }),
        fc.constantFrom(0, 0.01),
        (e, below, above, n, tolerance) => {
          const verdict = verdictOf(interval(e - below, e, e + above), { ...input, n, tolerance });
          if (verdict.kind !== 'not-decided') return;
          expect(Number.isInteger(verdict.moreRepeats)).toBe(true);
          expect(verdict.moreRepeats).toBeGreaterThanOrEqual(Math.max(1, 3 - n));
          expect(verdict.moreRepeats).toBeLessThanOrEqual(100);
        },
      ),
    );
  });
});

describe('a verdict in words', () => {
  it.each([
    [interval(0.0478, 0.0512, 0.0541), {}, 'overhead of 5.1 % [4.8, 5.4]'],
    [interval(-0.004, 0.0005, 0.0061), {}, 'no overhead seen [-0.40, 0.61]'],
    [interval(-0.034, -0.03, -0.026), {}, 'faster by 3.0 % [2.6, 3.4]'],
    [interval(-0.02, 0, 0.02), {}, 'not decided: needs 8 more repeats'],
    [interval(-2, 0, 2), {}, 'not decided: needs more than 100 more repeats'],
    [interval(1, 1, 1), { n: 1 }, 'not decided: needs at least 2 more repeats'],
    [interval(0, 0, 0), { n: 2 }, 'not decided: needs 1 more repeat'],
    [interval(19.1, 20, 21), { tolerance: undefined }, '+2000 % [1910, 2100]'],
    [interval(0.5, 0.5, 0.5), { tolerance: undefined, n: 1 }, '+50.0 %'],
    [interval(-0.2, -0.1, 0), { tolerance: undefined }, '-10.0 % [-20.0, 0]'],
  ])('%j %j', (overhead, more, text) => {
    expect(describeVerdict(verdictOf(overhead, { ...input, ...more }))).toBe(text);
  });
  it('gives the reason for none', () => {
    expect(describeVerdict({ kind: 'no-ratio', reason: 'there are no native runs' })).toBe(
      'there are no native runs',
    );
  });
});
