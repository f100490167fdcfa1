import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { makeScale, niceStep } from '../../../src/study/report/scales.ts';

const base = { rangePx: [0, 100] as const, tickCount: 5 };
const values = (scale: { ticks: readonly { value: number }[] }) => scale.ticks.map(({ value }) => value);

describe('a linear scale', () => {
  it('begins at zero and ends on a tick beyond the values', () => {
    const scale = makeScale({ ...base, kind: 'linear', values: [10.6, 76.4] });
    expect(values(scale)).toEqual([0, 20, 40, 60, 80]);
    expect(scale.domain).toEqual([0, 80]);
    expect(scale.at(40)).toBe(50);
  });

  it('names ticks without the noise of binary fractions', () => {
    const scale = makeScale({ ...base, kind: 'linear', values: [0.08] });
    expect(scale.ticks.map(({ label }) => label)).toEqual(['0', '0.02', '0.04', '0.06', '0.08']);
  });

  it('spans both signs with a tick at zero', () => {
    expect(values(makeScale({ ...base, kind: 'linear', values: [-0.012, 0.02] }))).toEqual([
      -0.02, -0.01, 0, 0.01, 0.02,
    ]);
  });

  it('reads large numbers in groups of three digits', () => {
    const labels = makeScale({ ...base, kind: 'linear', values: [33_000] }).ticks.map(({ label }) => label);
    expect(labels.at(-1)).toBe('40\u202F000');
  });

  it.each([[[]], [[Number.NaN]], [[0]], [[5]], [[-5]], [[Number.POSITIVE_INFINITY, 3]]])(
    'has finite places for %j',
    (given: number[]) => {
      const scale = makeScale({ ...base, kind: 'linear', values: given });
      expect(scale.ticks.length).toBeGreaterThan(1);
      expect(scale.ticks.map(({ value }) => scale.at(value)).every(Number.isFinite)).toBe(true);
    },
  );

  it('holds any values within its ends, on few ticks', () => {
    const number = fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e12, max: 1e12 });
    fc.assert(
      fc.property(fc.array(number, { minLength: 1 }), (given) => {
        const scale = makeScale({ ...base, kind: 'linear', values: given });
        const slack = Math.max(...given.map(Math.abs)) * 1e-8 + 1e-80;
        expect(Math.min(...given)).toBeGreaterThanOrEqual(scale.domain[0] - slack);
        expect(Math.max(...given)).toBeLessThanOrEqual(scale.domain[1] + slack);
        expect(scale.ticks.length).toBeLessThanOrEqual(12);
      }),
    );
  });
});

describe('a logarithmic scale', () => {
  it('has powers of ten', () => {
    expect(values(makeScale({ ...base, kind: 'log', values: [0.6, 1200] }))).toEqual([
      0.1, 1, 10, 100, 1000, 10000,
    ]);
  });

  it('has 1, 2 and 5 where the values are close together', () => {
    expect(values(makeScale({ ...base, kind: 'log', values: [3, 40] }))).toEqual([2, 5, 10, 20, 50]);
  });

  it('ends no more than one power beyond the values when ticks are thinned', () => {
    const scale = makeScale({ ...base, tickCount: 3, kind: 'log', values: [0.6, 900] });
    expect(scale.domain).toEqual([0.1, 1000]);
    expect(values(scale)).toEqual([0.1, 10, 1000]);
  });

  it('passes over what has no logarithm', () => {
    const scale = makeScale({ ...base, kind: 'log', values: [0, -3, Number.NaN, 7] });
    expect(scale.domain[0]).toBeGreaterThan(0);
    expect(scale.at(7)).toBeGreaterThanOrEqual(0);
  });

  it('sets doublings at equal distances, and one value in the middle', () => {
    const scale = makeScale({ ...base, kind: 'log', values: [1, 8], ticks: [1, 2, 4, 8] });
    const places = [1, 2, 4, 8].map((value) => Math.round(scale.at(value)));
    expect(places).toEqual([0, 33, 67, 100]);
    expect(makeScale({ ...base, kind: 'log', values: [2], ticks: [2] }).at(2)).toBeCloseTo(50);
  });
});

describe('a nice step', () => {
  it.each([
    [0.8, 1],
    [1, 1],
    [1.1, 2],
    [2.5, 5],
    [6, 10],
    [0.013, 0.02],
    [30_000, 50_000],
  ])('for at least %d is %d', (atLeast, step) => {
    expect(niceStep(atLeast)).toBeCloseTo(step, 10);
  });
});
